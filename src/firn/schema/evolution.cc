#include "firn/schema/evolution.h"

#include <fmt/format.h>

namespace firn::schema {

Status CheckPromotion(const Type& from, const Type& to) {
  if (from == to) return {};
  if (from.kind() == TypeKind::kInt && to.kind() == TypeKind::kLong) return {};
  if (from.kind() == TypeKind::kFloat && to.kind() == TypeKind::kDouble) return {};
  bool decimals = from.kind() == TypeKind::kDecimal && to.kind() == TypeKind::kDecimal;
  if (decimals && from.scale() == to.scale() && from.precision() <= to.precision()) return {};
  return Fail(ErrorCode::kInvalidInput,
              fmt::format("Iceberg only widens types (int to long, float to double, a decimal to more digits of the "
                          "same scale); add a new column instead: {} to {}", from.ToString(), to.ToString()));
}

}  // namespace firn::schema
