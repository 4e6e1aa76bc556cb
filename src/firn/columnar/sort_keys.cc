#include "firn/columnar/sort_keys.h"

#include <fmt/format.h>

#include <utility>

namespace firn::columnar {

Result<SortKeys> SortKeys::Compute(const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches,
                                   const schema::Schema& schema, const schema::SortOrder& order) {
  SortKeys keys;
  if (order.order_id == 0) return keys;
  for (const auto& field : order.fields) {
    auto key = KeyColumn::Compute(batches, schema, field.source_id, field.transform);
    FIRN_ASSIGN(auto column, WithContext(std::move(key), fmt::format("sort order {}", order.order_id)));
    keys.columns_.push_back({std::move(column), field.direction == schema::SortDirection::kDescending,
                             field.null_order == schema::NullOrder::kNullsFirst});
  }
  return keys;
}

}  // namespace firn::columnar
