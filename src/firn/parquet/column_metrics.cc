#include "firn/parquet/column_metrics.h"

#include <fmt/format.h>
#include <parquet/metadata.h>
#include <parquet/statistics.h>

#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include "firn/schema/bounds.h"
#include "firn/schema/value.h"

namespace firn::parquet {
namespace {

using schema::TypeKind;
using schema::Value;

template <typename T>
std::optional<T> FromLittleEndian(const std::string& bytes) {
  if (bytes.size() != sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

template <typename T>
Value ScalarOrNull(const std::string& bytes) {
  auto value = FromLittleEndian<T>(bytes);
  return value.has_value() ? Value(*value) : Value();
}

Value DecimalOrNull(const std::string& bytes, int32_t precision) {
  if (precision <= 9) {
    auto narrow = FromLittleEndian<int32_t>(bytes);
    return narrow.has_value() ? Value(schema::Decimal128{*narrow}) : Value();
  }
  if (precision <= 18) {
    auto wide = FromLittleEndian<int64_t>(bytes);
    return wide.has_value() ? Value(schema::Decimal128{*wide}) : Value();
  }
  if (bytes.empty() || bytes.size() > 16) return {};
  auto unscaled = static_cast<unsigned __int128>(static_cast<__int128>(static_cast<int8_t>(bytes[0])));
  for (size_t i = 1; i < bytes.size(); ++i) unscaled = unscaled << 8 | static_cast<uint8_t>(bytes[i]);
  return schema::Decimal128{static_cast<__int128>(unscaled)};
}

// A PLAIN-encoded statistic as a value; null when it does not fit the type.
Value FromStatistic(const schema::Type& type, const std::string& bytes) {
  switch (type.kind()) {
    case TypeKind::kBoolean: return bytes.size() == 1 ? Value(bytes[0] != 0) : Value();
    case TypeKind::kInt:
    case TypeKind::kDate: return ScalarOrNull<int32_t>(bytes);
    case TypeKind::kLong:
    case TypeKind::kTime:
    case TypeKind::kTimestamp:
    case TypeKind::kTimestamptz:
    case TypeKind::kTimestampNs:
    case TypeKind::kTimestamptzNs: return ScalarOrNull<int64_t>(bytes);
    case TypeKind::kFloat: return ScalarOrNull<float>(bytes);
    case TypeKind::kDouble: return ScalarOrNull<double>(bytes);
    case TypeKind::kDecimal: return DecimalOrNull(bytes, type.precision());
    default: return bytes;
  }
}

// A zero bound stands for both zeros: -0.0 below, +0.0 above (spec: "Column Metrics", notes on float and double).
void WidenZero(Value& lower, Value& upper) {
  if (auto* low = std::get_if<float>(&lower); low != nullptr && *low == 0) *low = -0.0F;
  if (auto* low = std::get_if<double>(&lower); low != nullptr && *low == 0) *low = -0.0;
  if (auto* high = std::get_if<float>(&upper); high != nullptr && *high == 0) *high = 0.0F;
  if (auto* high = std::get_if<double>(&upper); high != nullptr && *high == 0) *high = 0.0;
}

// What all chunks of one leaf column say together.
struct Accumulated {
  int64_t compressed_bytes = 0;
  int64_t values = 0;
  int64_t nulls = 0;
  bool counts_known = true;
  bool bounds_known = true;
  Value lower;
  Value upper;

  void AddBounds(const schema::Type& type, const ::parquet::EncodedStatistics& statistics, int64_t non_nulls) {
    if (statistics.has_min && statistics.has_max) {
      Value low = FromStatistic(type, statistics.min());
      Value high = FromStatistic(type, statistics.max());
      if (IsNull(low) || IsNull(high)) bounds_known = false;
      if (!bounds_known) return;
      WidenZero(low, high);
      if (IsNull(lower) || CompareValues(low, lower) < 0) lower = std::move(low);
      if (IsNull(upper) || CompareValues(high, upper) > 0) upper = std::move(high);
      return;
    }
    // Floats without bounds are all NaN, which bounds leave out; other types had a value too long to be kept.
    bool is_float = type.kind() == TypeKind::kFloat || type.kind() == TypeKind::kDouble;
    if (non_nulls > 0 && !is_float) bounds_known = false;
  }

  void Add(const schema::Type& type, const ::parquet::ColumnChunkMetaData& chunk) {
    compressed_bytes += chunk.total_compressed_size();
    values += chunk.num_values();
    auto statistics = chunk.is_stats_set() ? chunk.encoded_statistics() : nullptr;
    if (statistics == nullptr || !statistics->has_null_count) {
      counts_known = bounds_known = false;
      return;
    }
    nulls += statistics->null_count;
    AddBounds(type, *statistics, chunk.num_values() - statistics->null_count);
  }
};

void PutBounds(const schema::Type& type, const ColumnMetricsOptions& column, const Accumulated& all, int32_t id,
               FileMetrics& metrics) {
  if (!all.bounds_known || IsNull(all.lower) || IsNull(all.upper)) return;
  std::string lower = schema::SerializeSingleValue(type, all.lower);
  std::optional<std::string> upper = schema::SerializeSingleValue(type, all.upper);
  if (column.mode == MetricsMode::kTruncate) {
    lower = schema::TruncateLower(type, lower, column.truncate_length);
    upper = schema::TruncateUpper(type, *upper, column.truncate_length);
  }
  metrics.lower_bounds[id] = std::move(lower);
  if (upper.has_value()) metrics.upper_bounds[id] = std::move(*upper);
}

}  // namespace

Result<FileMetrics> MetricsOf(const ::parquet::FileMetaData& metadata, const schema::Schema& schema,
                              const FileLayoutOptions& options, const ValueScan& scan) {
  FileMetrics metrics;
  metrics.record_count = metadata.num_rows();
  auto leaves = schema::LeafColumns(schema);
  if (static_cast<int>(leaves.size()) != metadata.num_columns()) {
    return Fail(ErrorCode::kInternal, fmt::format("the file has another number of columns than the schema: {} and {}",
                                                  metadata.num_columns(), leaves.size()));
  }
  std::vector<Accumulated> columns(leaves.size());
  for (int group = 0; group < metadata.num_row_groups(); ++group) {
    auto row_group = metadata.RowGroup(group);
    for (size_t i = 0; i < leaves.size(); ++i) {
      auto chunk = row_group->ColumnChunk(static_cast<int>(i));
      columns[i].Add(*leaves[i].field->type, *chunk);
      if (i > 0) continue;
      int64_t start = chunk->data_page_offset();
      if (chunk->has_dictionary_page()) start = std::min(start, chunk->dictionary_page_offset());
      metrics.split_offsets.push_back(start);
    }
  }
  for (size_t i = 0; i < leaves.size(); ++i) {
    int32_t id = leaves[i].field->id.value();
    auto found = options.metrics.find(id);
    const auto& column = found != options.metrics.end() ? found->second : options.default_metrics;
    metrics.column_sizes[id] = columns[i].compressed_bytes;
    if (column.mode == MetricsMode::kNone || !columns[i].counts_known) continue;
    metrics.value_counts[id] = columns[i].values;
    metrics.null_value_counts[id] = columns[i].nulls;
    if (auto nans = scan.nan_counts().find(id); nans != scan.nan_counts().end()) {
      metrics.nan_value_counts[id] = nans->second;
    }
    if (column.mode != MetricsMode::kCounts && !leaves[i].in_list_or_map) {
      PutBounds(*leaves[i].field->type, column, columns[i], id, metrics);
    }
  }
  return metrics;
}

}  // namespace firn::parquet
