// LevelBuffer: the definition or repetition levels of one page, kept as a single number as long as all are alike.
//
// Owned by one column writer and its thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "firn/parquet/byte_buffer.h"

namespace firn::parquet {

class LevelBuffer {
 public:
  // Where `max_level` is 0 nothing is kept or encoded.
  explicit LevelBuffer(uint8_t max_level) : max_level_(max_level) {}

  void AppendRun(uint8_t level, int64_t count);
  void Append(std::span<const uint8_t> levels);

  int64_t count() const { return count_; }
  // The page's levels in the RLE hybrid, with its length in four bytes before it (v1) or without (v2).
  void Encode(bool with_length, ByteBuffer& out) const;
  // Adds how often each level is here; `histogram` has max_level + 1 entries.
  void CountInto(std::vector<int64_t>& histogram) const;
  void Clear();
  int64_t bytes() const { return static_cast<int64_t>(levels_.size()); }

 private:
  void Spread();

  uint8_t max_level_;
  bool alike_ = true;
  uint8_t level_ = 0;         // of all, while alike_
  int64_t count_ = 0;
  ByteBuffer levels_;         // one byte each, once they differ
};

}  // namespace firn::parquet
