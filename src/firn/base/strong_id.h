// StrongId: an integer with a meaning. A FieldId cannot be passed where a SnapshotId is wanted.
//
// Construct explicitly (`FieldId{7}`), read with value(). Ordered, hashable, printable with fmt.
#pragma once

#include <fmt/format.h>

#include <compare>
#include <cstdint>
#include <functional>

namespace firn {

template <typename Tag, typename Integer>
class StrongId {
 public:
  constexpr StrongId() = default;
  constexpr explicit StrongId(Integer value) : value_(value) {}
  constexpr Integer value() const { return value_; }
  constexpr auto operator<=>(const StrongId&) const = default;

 private:
  Integer value_ = 0;
};

using FieldId = StrongId<struct FieldIdTag, int32_t>;           // Iceberg field id
using SnapshotId = StrongId<struct SnapshotIdTag, int64_t>;     // Iceberg snapshot id, 63-bit positive

}  // namespace firn

template <typename Tag, typename Integer>
struct std::hash<firn::StrongId<Tag, Integer>> {
  size_t operator()(firn::StrongId<Tag, Integer> id) const noexcept { return std::hash<Integer>()(id.value()); }
};

template <typename Tag, typename Integer>
struct fmt::formatter<firn::StrongId<Tag, Integer>> : fmt::formatter<Integer> {
  template <typename Context>
  auto format(firn::StrongId<Tag, Integer> id, Context& context) const {
    return fmt::formatter<Integer>::format(id.value(), context);
  }
};
