// UnionDictionary: the dictionary of an output column chunk, grown out of the dictionaries of its inputs.
//
// One thread's. Entries are bytes: equal bytes are one entry, so that values come back bit by bit (both zeros, every
// NaN). The order is that of first appearance, which keeps the first input's indices as they were.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/parquet/byte_buffer.h"

namespace firn::parquet {

// Where the values of a PLAIN body begin: count + 1 offsets, lengths before byte arrays not counted as part of the
// value. `value_bytes` 0: byte arrays. kCorruption unless the body holds exactly `count` values.
Result<std::vector<uint32_t>> PlainOffsets(std::string_view body, int64_t count, int32_t value_bytes);

class UnionDictionary {
 public:
  // `value_bytes`: of a fixed-length type; 0: byte arrays, each with its length before it.
  explicit UnionDictionary(int32_t value_bytes) : value_bytes_(value_bytes) {}

  // Adds the entries of a PLAIN dictionary body and gives each its index here. kCorruption: the body is not that of
  // `count` entries.
  Result<std::vector<uint32_t>> Add(std::string_view body, int64_t count);

  uint32_t size() const { return static_cast<uint32_t>(offsets_.size()); }
  std::string_view body() const { return body_.view(); }
  // An entry in PLAIN form, a byte array with its length before it.
  std::string_view Plain(uint32_t index) const;

 private:
  // What a look-up needs stands in the slot: from there on it is one load far away, that of the value itself.
  struct Slot {
    uint32_t hash = 0;
    uint32_t index = kEmpty;
    uint32_t offset = 0;  // of the value itself, in the body
    uint32_t length = 0;
  };
  static constexpr uint32_t kEmpty = UINT32_MAX;
  static constexpr size_t kBatch = 32;

  uint32_t Find(std::string_view value, uint32_t hash);
  bool Equal(const Slot& slot, std::string_view value) const;
  void Prefetch(std::span<const uint32_t> hashes) const;
  static void Insert(const Slot& slot, std::vector<Slot>& slots);
  void Grow();

  int32_t value_bytes_;
  ByteBuffer body_;
  std::vector<uint32_t> offsets_;  // of the entries' values, lengths before them not counted
  std::vector<Slot> slots_;  // a power of two, at most half full
};

}  // namespace firn::parquet
