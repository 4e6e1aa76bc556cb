#include "firn/columnar/pool_block.h"

#include <arrow/buffer.h>
#include <arrow/memory_pool.h>

#include <algorithm>
#include <cstring>

#include "firn/base/check.h"

namespace firn::columnar {
namespace {

constexpr int64_t kZerosMin = 64 << 10;

int64_t RoundUp64(int64_t value) { return (value + 63) & ~int64_t{63}; }

// A block that an Arrow array has taken over.
class OwnedBuffer : public arrow::Buffer {
 public:
  OwnedBuffer(uint8_t* data, int64_t size, int64_t capacity) : arrow::Buffer(data, size), block_capacity_(capacity) {}
  ~OwnedBuffer() override { arrow::default_memory_pool()->Free(const_cast<uint8_t*>(data()), block_capacity_); }

 private:
  int64_t block_capacity_;
};

}  // namespace

PoolBlock::~PoolBlock() {
  if (data_ != nullptr) arrow::default_memory_pool()->Free(data_, capacity_);
}

void PoolBlock::Grow(int64_t capacity) {
  int64_t rounded = RoundUp64(capacity);
  arrow::MemoryPool* pool = arrow::default_memory_pool();
  arrow::Status status =
      data_ == nullptr ? pool->Allocate(rounded, &data_) : pool->Reallocate(capacity_, rounded, &data_);
  FIRN_CHECK(status.ok(), "out of memory for a column's values");
  capacity_ = rounded;
}

std::shared_ptr<arrow::Buffer> PoolBlock::Release(int64_t size) {
  if (data_ == nullptr) return nullptr;
  // Padding is written to disk and compared by nobody, but it must not be left-over memory.
  std::memset(data_ + size, 0, static_cast<size_t>(std::min(RoundUp64(size), capacity_) - size));
  auto buffer = std::make_shared<OwnedBuffer>(data_, size, capacity_);
  data_ = nullptr;
  capacity_ = 0;
  return buffer;
}

std::shared_ptr<arrow::Buffer> ZeroBlock::First(int64_t size) {
  if (block_ == nullptr || block_->size() < size) {
    const int64_t capacity = std::max({size, kZerosMin, block_ == nullptr ? 0 : block_->size() * 2});
    PoolBlock block;
    block.Grow(capacity);
    std::memset(block.data(), 0, static_cast<size_t>(block.capacity()));
    block_ = block.Release(capacity);
  }
  return arrow::SliceBuffer(block_, 0, size);
}

}  // namespace firn::columnar
