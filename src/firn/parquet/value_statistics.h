// ValueStatistics: the smallest and largest value of a page, and how many NaNs a column holds.
//
// Owned by one column writer and its thread. NaN is never a bound; a zero of floating point is -0.0 below and +0.0
// above, as the format and Iceberg want it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "firn/parquet/leaf_rows.h"
#include "firn/parquet/leaf_shape.h"

namespace firn::parquet {

// In PLAIN form, byte arrays without their length, never shortened.
struct Bounds {
  bool known = false;  // else there was no value, or nothing but NaN
  std::string lower;
  std::string upper;

  void Widen(ValueOrder order, const Bounds& other);
};

class ValueStatistics {
 public:
  static std::unique_ptr<ValueStatistics> Make(const LeafShape& shape);
  virtual ~ValueStatistics() = default;

  virtual void Put(const ValueSpan& span) = 0;
  // The bounds of what was put since the last call.
  virtual Bounds TakeBounds() = 0;
  // NaNs among all values that were ever put.
  int64_t nan_count() const { return nan_count_; }

 protected:
  int64_t nan_count_ = 0;
};

}  // namespace firn::parquet
