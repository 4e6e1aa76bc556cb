#include "firn/compaction/entry_metrics.h"

#include <optional>
#include <string>
#include <utility>

#include "firn/schema/bounds.h"
#include "firn/schema/value.h"

namespace firn::compaction {
namespace {

using parquet::MetricsMode;
using schema::TypeKind;

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

}  // namespace

MergedMetrics::MergedMetrics(const schema::Schema& schema, const parquet::FileLayoutOptions& options) {
  for (const schema::LeafColumn& leaf : schema::LeafColumns(schema)) {
    Column column;
    column.type = leaf.field->type.get();
    column.id = leaf.field->id.value();
    auto given = options.metrics.find(column.id);
    column.mode = given != options.metrics.end() ? given->second : options.default_metrics;
    if (column.mode.mode == MetricsMode::kNone) continue;
    column.has_bounds = column.mode.mode != MetricsMode::kCounts && !leaf.in_list_or_map;
    columns_.push_back(std::move(column));
  }
}

void MergedMetrics::Add(const iceberg::DataFile& input) {
  for (Column& column : columns_) {
    if (IsFloat(*column.type)) {
      const auto nans = CountOf(input.nan_value_counts, column.id);
      const bool is_known = nans.has_value() || HasNoBoundedValue(input, *column.type, column.id);
      column.nans = column.nans.has_value() && is_known ? std::optional(*column.nans + nans.value_or(0)) : std::nullopt;
    }
    if (!column.has_bounds) continue;
    Include(column, input, input.lower_bounds, -1, column.lower);
    Include(column, input, input.upper_bounds, 1, column.upper);
  }
}

// The smallest lower (or largest upper) bound, each in its own serialization until then: older files may hold a
// narrower type's.
void MergedMetrics::Include(const Column& column, const iceberg::DataFile& input,
                            const std::map<int32_t, std::string>& bounds, int sign, Bound& bound) {
  if (!bound.is_known) return;
  auto found = bounds.find(column.id);
  if (found == bounds.end()) {
    bound.is_known = HasNoBoundedValue(input, *column.type, column.id);
    return;
  }
  auto value = schema::DeserializeSingleValue(*column.type, found->second);
  bound.is_known = value.has_value() && schema::HoldsType(*column.type, *value) && !schema::IsNull(*value);
  if (!bound.is_known) return;
  const bool wider = !bound.value.has_value() || sign * schema::CompareValues(*value, *bound.value) > 0;
  if (wider) bound.value = *std::move(value);
}

void MergedMetrics::Fill(const parquet::FileMetrics& merged, iceberg::DataFile& output) const {
  output.record_count = merged.record_count;
  output.file_size_in_bytes = merged.file_size_in_bytes;
  output.column_sizes = merged.column_sizes;
  output.split_offsets = merged.split_offsets;
  for (const Column& column : columns_) {
    const schema::Type& type = *column.type;
    output.value_counts[column.id] = merged.value_counts.at(column.id);
    output.null_value_counts[column.id] = merged.null_value_counts.at(column.id);
    if (IsFloat(type) && column.nans.has_value()) output.nan_value_counts[column.id] = *column.nans;
    const auto bound_of = [&](const Bound& bound) {
      const bool is_there = column.has_bounds && bound.is_known && bound.value.has_value();
      return is_there ? std::optional(schema::SerializeSingleValue(type, *bound.value)) : std::nullopt;
    };
    std::optional<std::string> lower = bound_of(column.lower);
    std::optional<std::string> upper = bound_of(column.upper);
    if (column.mode.mode == MetricsMode::kTruncate) {
      if (lower.has_value()) lower = schema::TruncateLower(type, *lower, column.mode.truncate_length);
      if (upper.has_value()) upper = schema::TruncateUpper(type, *upper, column.mode.truncate_length);
    }
    if (lower.has_value()) output.lower_bounds[column.id] = *std::move(lower);
    if (upper.has_value()) output.upper_bounds[column.id] = *std::move(upper);
  }
}

}  // namespace firn::compaction
