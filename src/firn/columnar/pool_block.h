// Blocks of Arrow's default memory pool: a growing one that becomes a buffer, and zeros that many columns share.
//
// Owned by one ColumnBuilder or one Finish, and its thread; the buffers they hand out may go anywhere.
#pragma once

#include <cstdint>
#include <memory>

namespace arrow {
class Buffer;
}

namespace firn::columnar {

// A block of Arrow's memory pool.
class PoolBlock {
 public:
  PoolBlock() = default;
  ~PoolBlock();
  PoolBlock(const PoolBlock&) = delete;
  PoolBlock& operator=(const PoolBlock&) = delete;

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  int64_t capacity() const { return capacity_; }
  // Keeps what is inside; new bytes are undefined.
  void Grow(int64_t capacity);
  // Hands the block over with its first `size` bytes; this one is empty afterwards. Nullptr when it was empty.
  std::shared_ptr<arrow::Buffer> Release(int64_t size);

 private:
  uint8_t* data_ = nullptr;
  int64_t capacity_ = 0;
};

// The zeros that columns without a value share: validity, offsets and values of nulls alike. Read-only once given out.
class ZeroBlock {
 public:
  std::shared_ptr<arrow::Buffer> First(int64_t size);

 private:
  std::shared_ptr<arrow::Buffer> block_;
};

}  // namespace firn::columnar
