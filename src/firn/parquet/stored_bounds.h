// What of a column's exact bounds is stored in the file: short ones as they are, long texts and bytes cut so that they
// still enclose every value; and how the bounds of following pages are ordered.
//
// Pure functions and a value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "firn/parquet/format.h"
#include "firn/parquet/leaf_shape.h"
#include "firn/parquet/value_statistics.h"
#include "firn/schema/type.h"

namespace firn::parquet {

// Code points of a text, bytes of a binary. Of fixed-width types nothing is ever cut.
inline constexpr int32_t kChunkBoundCharsMax = 256;  // statistics of a column chunk
inline constexpr int32_t kPageBoundCharsMax = 64;    // column index, as other writers do

// Nothing where a long upper bound has no shorter one above it (0xFF throughout, or a text that is not UTF-8).
std::optional<Bounds> StoredBounds(const schema::Type& type, const Bounds& exact, int32_t chars_max);

class PageOrder {
 public:
  explicit PageOrder(ValueOrder order) : order_(order) {}
  // The bounds of the next page that has values, as they are stored.
  void Add(const std::string& lower, const std::string& upper);
  format::BoundaryOrder order() const;

 private:
  ValueOrder order_;
  bool any_ = false;
  bool ascending_ = true;
  bool descending_ = true;
  std::string lower_;
  std::string upper_;
};

}  // namespace firn::parquet
