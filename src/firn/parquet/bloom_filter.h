// BloomFilter: the format's split-block bloom filter, which can be folded to a smaller one (format: BloomFilter.md).
//
// Owned by one column writer and its thread. Blocks of 32 bytes, their number a power of two.
#pragma once

#include <cstdint>
#include <vector>

#include "firn/parquet/byte_buffer.h"
#include "firn/parquet/leaf_rows.h"
#include "firn/parquet/leaf_shape.h"

namespace firn::parquet {

class BloomFilter {
 public:
  static constexpr int64_t kBytesMin = 32;

  // Bytes for so many distinct values at that false-positive rate, a power of two, at most `bytes_max`.
  static int64_t BytesFor(int64_t distinct, double false_positive_rate, int64_t bytes_max);

  // `bytes`: a power of two, at least kBytesMin.
  explicit BloomFilter(int64_t bytes) : words_(static_cast<size_t>(bytes / 4), 0) {}

  void Put(const LeafShape& shape, const ValueSpan& span);
  // Halves it until it has no more than `bytes`. Neighbouring blocks become one, so nothing that was put is lost.
  void FoldTo(int64_t bytes);
  int64_t bytes() const { return static_cast<int64_t>(words_.size() * 4); }
  // Header and bits.
  void Append(ByteBuffer& out) const;

 private:
  void PutHash(uint64_t hash);

  std::vector<uint32_t> words_;
};

}  // namespace firn::parquet
