#include "firn/parquet/delta_encoder.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "firn/parquet/run_length.h"

namespace firn::parquet {

template <typename T>
void DeltaEncoder<T>::Put(const uint8_t* values, int64_t count) {
  auto at = [values](int64_t index) {
    T value;
    std::memcpy(&value, values + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
    return value;
  };
  int64_t next = 0;
  if (count_ == 0 && count > 0) {
    first_ = last_ = at(0);
    next = 1;
  }
  count_ += count;
  while (next < count) {
    int64_t taken = std::min<int64_t>(count - next, kBlockValues - filled_);
    Unsigned* deltas = deltas_ + filled_;
    deltas[0] = static_cast<Unsigned>(at(next)) - static_cast<Unsigned>(last_);
    for (int64_t i = 1; i < taken; ++i) {
      deltas[i] = static_cast<Unsigned>(at(next + i)) - static_cast<Unsigned>(at(next + i - 1));
    }
    next += taken;
    last_ = at(next - 1);
    filled_ += static_cast<int>(taken);
    if (filled_ == kBlockValues) PackBlock();
  }
}

template <typename T>
void DeltaEncoder<T>::PackBlock() {
  auto smallest = std::numeric_limits<T>::max();
  for (int i = 0; i < filled_; ++i) smallest = std::min(smallest, static_cast<T>(deltas_[i]));
  for (int i = 0; i < filled_; ++i) deltas_[i] -= static_cast<Unsigned>(smallest);
  std::fill(deltas_ + filled_, deltas_ + kBlockValues, Unsigned{0});
  blocks_.AppendZigZag(smallest);
  // Widths, then miniblocks; those behind the last value have width 0 and no bytes.
  size_t widths_at = blocks_.size();
  blocks_.Extend(kMiniblocks);
  for (int miniblock = 0; miniblock < kMiniblocks; ++miniblock) {
    const Unsigned* deltas = deltas_ + miniblock * kMiniblockValues;
    Unsigned all = 0;
    for (int i = 0; i < kMiniblockValues; ++i) all |= deltas[i];
    int width = BitWidth(all);
    blocks_.data()[widths_at + static_cast<size_t>(miniblock)] = static_cast<uint8_t>(width);
    constexpr size_t kGroups = kMiniblockValues / 8;
    PackGroups(deltas, kGroups, width, blocks_.Extend(kGroups * static_cast<size_t>(width)));
  }
  filled_ = 0;
}

template <typename T>
int64_t DeltaEncoder<T>::page_bytes() const {
  return static_cast<int64_t>(blocks_.size()) + filled_ * static_cast<int64_t>(sizeof(T)) + 32;
}

template <typename T>
void DeltaEncoder<T>::Flush(ByteBuffer& out) {
  if (filled_ > 0) PackBlock();
  out.AppendVarint(kBlockValues);
  out.AppendVarint(kMiniblocks);
  out.AppendVarint(static_cast<uint64_t>(count_));
  out.AppendZigZag(count_ == 0 ? 0 : first_);
  out.Append(blocks_.view());
  blocks_.Clear();
  count_ = 0;
}

template class DeltaEncoder<int32_t>;
template class DeltaEncoder<int64_t>;

}  // namespace firn::parquet
