#include "firn/parquet/column_metrics.h"

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

void PutBounds(const schema::Type& type, const ColumnMetricsOptions& column, const ColumnTotals& all, int32_t id,
               FileMetrics& metrics) {
  if (IsNull(all.lower) || IsNull(all.upper)) return;
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

void ColumnTotals::Add(const schema::Type& type, const ColumnChunkWriter::Finished& chunk) {
  compressed_bytes += chunk.chunk.compressed_bytes;
  values += chunk.chunk.num_values;
  nulls += chunk.nulls;
  nans += chunk.nans;
  if (!chunk.bounds.known) return;
  Value low = FromStatistic(type, chunk.bounds.lower);
  Value high = FromStatistic(type, chunk.bounds.upper);
  WidenZero(low, high);
  if (IsNull(lower) || CompareValues(low, lower) < 0) lower = std::move(low);
  if (IsNull(upper) || CompareValues(high, upper) > 0) upper = std::move(high);
}

FileMetrics MetricsOf(const std::vector<ColumnTotals>& totals, const std::vector<schema::LeafColumn>& leaves,
                      const FileLayoutOptions& options) {
  FileMetrics metrics;
  for (size_t i = 0; i < leaves.size(); ++i) {
    int32_t id = leaves[i].field->id.value();
    auto found = options.metrics.find(id);
    const auto& column = found != options.metrics.end() ? found->second : options.default_metrics;
    metrics.column_sizes[id] = totals[i].compressed_bytes;
    if (column.mode == MetricsMode::kNone) continue;
    metrics.value_counts[id] = totals[i].values;
    metrics.null_value_counts[id] = totals[i].nulls;
    TypeKind kind = leaves[i].field->type->kind();
    if (kind == TypeKind::kFloat || kind == TypeKind::kDouble) metrics.nan_value_counts[id] = totals[i].nans;
    if (column.mode != MetricsMode::kCounts && !leaves[i].in_list_or_map) {
      PutBounds(*leaves[i].field->type, column, totals[i], id, metrics);
    }
  }
  return metrics;
}

}  // namespace firn::parquet
