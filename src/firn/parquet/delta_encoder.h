// DeltaEncoder: DELTA_BINARY_PACKED for one page of 32- or 64-bit integers: the first value, then blocks of 128
// differences, each less the smallest of its block, in four miniblocks of a bit width each.
//
// Owned by one ValueEncoder and its thread. Differences wrap around in the width of the type, as the format says.
#pragma once

#include <cstdint>
#include <type_traits>

#include "firn/parquet/byte_buffer.h"

namespace firn::parquet {

template <typename T>
class DeltaEncoder {
 public:
  // `values` need not be aligned.
  void Put(const uint8_t* values, int64_t count);
  void PutOne(T value) { Put(reinterpret_cast<const uint8_t*>(&value), 1); }
  int64_t page_bytes() const;
  void Flush(ByteBuffer& out);

 private:
  using Unsigned = std::make_unsigned_t<T>;
  static constexpr int kBlockValues = 128;
  static constexpr int kMiniblocks = 4;
  static constexpr int kMiniblockValues = kBlockValues / kMiniblocks;

  void PackBlock();

  int64_t count_ = 0;
  T first_ = 0;
  T last_ = 0;
  int filled_ = 0;                 // of deltas_
  Unsigned deltas_[kBlockValues];
  ByteBuffer blocks_;
};

}  // namespace firn::parquet
