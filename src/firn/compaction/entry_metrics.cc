#include "firn/compaction/entry_metrics.h"

#include <optional>
#include <string>

#include "firn/schema/bounds.h"
#include "firn/schema/value.h"

namespace firn::compaction {
namespace {

using parquet::MetricsMode;
using schema::TypeKind;
using schema::Value;

std::optional<int64_t> CountOf(const std::map<int32_t, int64_t>& counts, int32_t id) {
  auto found = counts.find(id);
  return found == counts.end() ? std::nullopt : std::optional(found->second);
}

bool IsFloat(const schema::Type& type) {
  return type.kind() == TypeKind::kFloat || type.kind() == TypeKind::kDouble;
}

// Nothing in the column but nulls, and of floats NaN, neither of which bounds speak of.
bool HasNoBoundedValue(const iceberg::DataFile& file, const schema::Type& type, int32_t id) {
  const auto values = CountOf(file.value_counts, id);
  const auto nulls = CountOf(file.null_value_counts, id);
  if (file.record_count == 0) return true;
  if (!values.has_value() || !nulls.has_value()) return false;
  const int64_t nans = IsFloat(type) ? CountOf(file.nan_value_counts, id).value_or(0) : 0;
  return *values == *nulls + nans;
}

class ColumnMerge {
 public:
  ColumnMerge(const schema::Type& type, int32_t id, const std::vector<const iceberg::DataFile*>& inputs)
      : type_(type), id_(id), inputs_(inputs) {}

  std::optional<int64_t> Nans() const {
    int64_t nans = 0;
    for (const iceberg::DataFile* input : inputs_) {
      const auto count = CountOf(input->nan_value_counts, id_);
      if (!count.has_value() && !HasNoBoundedValue(*input, type_, id_)) return std::nullopt;
      nans += count.value_or(0);
    }
    return nans;
  }

  // The smallest lower (or largest upper) bound, each in its own serialization until then: older files may hold a
  // narrower type's.
  std::optional<std::string> Bound(const std::map<int32_t, std::string> iceberg::DataFile::* bounds, int sign) const {
    std::optional<Value> best;
    for (const iceberg::DataFile* input : inputs_) {
      auto found = (input->*bounds).find(id_);
      if (found == (input->*bounds).end()) {
        if (!HasNoBoundedValue(*input, type_, id_)) return std::nullopt;
        continue;
      }
      auto value = schema::DeserializeSingleValue(type_, found->second);
      if (!value.has_value() || !schema::HoldsType(type_, *value) || schema::IsNull(*value)) return std::nullopt;
      if (!best.has_value() || sign * schema::CompareValues(*value, *best) > 0) best = *std::move(value);
    }
    if (!best.has_value()) return std::nullopt;
    return schema::SerializeSingleValue(type_, *best);
  }

 private:
  const schema::Type& type_;
  const int32_t id_;
  const std::vector<const iceberg::DataFile*>& inputs_;
};

}  // namespace

void FillMetrics(const schema::Schema& schema, const parquet::FileLayoutOptions& options,
                 const parquet::FileMetrics& merged, const std::vector<const iceberg::DataFile*>& inputs,
                 iceberg::DataFile& output) {
  output.record_count = merged.record_count;
  output.file_size_in_bytes = merged.file_size_in_bytes;
  output.column_sizes = merged.column_sizes;
  output.split_offsets = merged.split_offsets;
  for (const schema::LeafColumn& leaf : schema::LeafColumns(schema)) {
    const int32_t id = leaf.field->id.value();
    const schema::Type& type = *leaf.field->type;
    auto given = options.metrics.find(id);
    const auto& column = given != options.metrics.end() ? given->second : options.default_metrics;
    if (column.mode == MetricsMode::kNone) continue;
    output.value_counts[id] = merged.value_counts.at(id);
    output.null_value_counts[id] = merged.null_value_counts.at(id);
    const ColumnMerge merge(type, id, inputs);
    if (IsFloat(type)) {
      if (const auto nans = merge.Nans(); nans.has_value()) output.nan_value_counts[id] = *nans;
    }
    if (column.mode == MetricsMode::kCounts || leaf.in_list_or_map) continue;
    std::optional<std::string> lower = merge.Bound(&iceberg::DataFile::lower_bounds, -1);
    std::optional<std::string> upper = merge.Bound(&iceberg::DataFile::upper_bounds, 1);
    if (column.mode == MetricsMode::kTruncate) {
      if (lower.has_value()) lower = schema::TruncateLower(type, *lower, column.truncate_length);
      if (upper.has_value()) upper = schema::TruncateUpper(type, *upper, column.truncate_length);
    }
    if (lower.has_value()) output.lower_bounds[id] = *std::move(lower);
    if (upper.has_value()) output.upper_bounds[id] = *std::move(upper);
  }
}

}  // namespace firn::compaction
