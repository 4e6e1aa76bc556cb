// Smallest and largest values of pages and column chunks while they are put together.
//
// Pure. Bounds are in the format's PLAIN form without lengths. They are only ever made wider: what cannot be compared
// surely (NaN, a wrong length) makes the whole unknown.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "firn/schema/type.h"

namespace firn::parquet {

// How values of a column are ordered (format: "ColumnOrder", TYPE_ORDER).
enum class BoundOrder : uint8_t {
  kBoolean,
  kInt32,
  kInt64,
  kFloat,
  kDouble,
  kBytes,        // unsigned, lexicographic
  kSignedBytes,  // a big-endian two's complement number: decimals of fixed length
};
BoundOrder BoundOrderOf(const schema::Type& type);

// < 0, 0, > 0. Both are of the order's length, as ValueBounds::Known has checked.
int CompareBounds(BoundOrder order, std::string_view a, std::string_view b);

struct ValueBounds {
  enum class State : uint8_t {
    kUnknown,  // there are values, or may be
    kEmpty,    // there is none but nulls
    kKnown,
  };
  State state = State::kEmpty;
  std::string min;
  std::string max;
  bool min_is_exact = true;
  bool max_is_exact = true;

  static ValueBounds Unknown() { return {.state = State::kUnknown}; }
  // kUnknown where the bytes are not of the order's length, are NaN, or stand in the wrong order. A zero bound of a
  // float is made to stand for both zeros.
  static ValueBounds Known(BoundOrder order, std::string_view min, std::string_view max);
  void Include(BoundOrder order, const ValueBounds& other);
};

}  // namespace firn::parquet
