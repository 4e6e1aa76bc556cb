#include "firn/parquet/stored_bounds.h"

#include <utility>

#include "firn/schema/bounds.h"

namespace firn::parquet {

std::optional<Bounds> StoredBounds(const schema::Type& type, const Bounds& exact, int32_t chars_max) {
  std::optional<std::string> upper = schema::TruncateUpper(type, exact.upper, chars_max);
  if (!upper.has_value()) return std::nullopt;
  return Bounds{true, schema::TruncateLower(type, exact.lower, chars_max), std::move(*upper)};
}

void PageOrder::Add(const std::string& lower, const std::string& upper) {
  if (any_) {
    int by_lower = ComparePlain(order_, lower_, lower);
    int by_upper = ComparePlain(order_, upper_, upper);
    ascending_ = ascending_ && by_lower <= 0 && by_upper <= 0;
    descending_ = descending_ && by_lower >= 0 && by_upper >= 0;
  }
  any_ = true;
  lower_ = lower;
  upper_ = upper;
}

format::BoundaryOrder PageOrder::order() const {
  if (ascending_) return format::BoundaryOrder::kAscending;
  return descending_ ? format::BoundaryOrder::kDescending : format::BoundaryOrder::kUnordered;
}

}  // namespace firn::parquet
