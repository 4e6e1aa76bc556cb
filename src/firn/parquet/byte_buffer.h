// ByteBuffer: bytes that grow at their end and are not zeroed first, as std::string and std::vector would do.
//
// Owned by one encoder or page, and its thread. Clear keeps the memory for the next page, Release gives it back,
// ClearAndTrim does one or the other.
// Growing throws std::bad_alloc, which FileLayout turns into an error.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>

namespace firn::parquet {

class ByteBuffer {
 public:
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  bool empty() const { return size_ == 0; }
  uint8_t* data() { return data_.get(); }
  const uint8_t* data() const { return data_.get(); }
  std::string_view view() const { return {reinterpret_cast<const char*>(data_.get()), size_}; }

  // The end of the buffer, with room for `count` bytes behind it; Advance says how many were written.
  uint8_t* Room(size_t count) {
    if (count > capacity_ - size_) [[unlikely]] Grow(count);
    return data_.get() + size_;
  }
  void Advance(size_t count) { size_ += count; }
  // `count` undefined bytes more, and where they are.
  uint8_t* Extend(size_t count) {
    uint8_t* begin = Room(count);
    size_ += count;
    return begin;
  }
  void Append(const void* bytes, size_t count) {
    if (count > 0) std::memcpy(Extend(count), bytes, count);
  }
  void Append(std::string_view bytes) { Append(bytes.data(), bytes.size()); }
  void AppendByte(uint8_t byte) { *Extend(1) = byte; }
  template <typename T>
  void AppendValue(T value) {
    std::memcpy(Extend(sizeof(T)), &value, sizeof(T));
  }
  // ULEB128, as Thrift, RLE and delta headers use it.
  void AppendVarint(uint64_t value) {
    uint8_t* out = Room(10);
    size_t length = 0;
    for (; value >= 0x80; value >>= 7) out[length++] = static_cast<uint8_t>(value | 0x80);
    out[length++] = static_cast<uint8_t>(value);
    size_ += length;
  }
  void AppendZigZag(int64_t value) {
    AppendVarint(static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63));
  }

  void Clear() { size_ = 0; }
  // Keeps what the next use is likely to need, but not what one large use has left.
  void ClearAndTrim() {
    size_ = 0;
    if (capacity_ > kKeptBytesMax) Release();
  }
  void Release() {
    data_.reset();
    size_ = capacity_ = 0;
  }

  static constexpr size_t kKeptBytesMax = 16 << 10;

 private:
  void Grow(size_t count) {
    size_t capacity = std::max({size_ + count, capacity_ * 2, size_t{256}});
    auto* grown = static_cast<uint8_t*>(std::realloc(data_.get(), capacity));
    if (grown == nullptr) throw std::bad_alloc();
    data_.release();
    data_.reset(grown);
    capacity_ = capacity;
  }

  struct Free {
    void operator()(uint8_t* block) const { std::free(block); }
  };
  std::unique_ptr<uint8_t[], Free> data_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace firn::parquet
