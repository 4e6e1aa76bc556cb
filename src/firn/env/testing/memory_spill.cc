#include "firn/env/testing/memory_spill.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace firn::env {

struct MemorySpill::State {
  std::mutex mutex;
  int64_t bytes_max = INT64_MAX;
  int64_t bytes = 0;
  int64_t appended = 0;
  int64_t bytes_read = 0;
  int64_t files = 0;
  int64_t tear_in = 0;  // appends until the first torn one; 0: none
  bool tearing = false;
  bool lies = false;
  bool reads_fail = false;
};

namespace {

class MemorySpillFile final : public SpillFile {
 public:
  explicit MemorySpillFile(std::shared_ptr<MemorySpill::State> state) : state_(std::move(state)) {
    std::lock_guard lock(state_->mutex);
    ++state_->files;
  }
  ~MemorySpillFile() override {
    std::lock_guard lock(state_->mutex);
    --state_->files;
    state_->bytes -= static_cast<int64_t>(content_.size());
  }

  Result<int64_t> Append(std::string_view bytes) override {
    std::lock_guard lock(state_->mutex);
    const auto size = static_cast<int64_t>(bytes.size());
    if (state_->bytes + size > state_->bytes_max) return Fail(ErrorCode::kResourceExhausted, "the spill disk is full");
    if (state_->tear_in > 0 && --state_->tear_in == 0) state_->tearing = true;
    const auto at = static_cast<int64_t>(content_.size());
    content_.append(bytes);
    if (state_->tearing) std::fill(content_.end() - size / 2, content_.end(), '\0');
    state_->bytes += size;
    state_->appended += size;
    return at;
  }

  Status ReadAt(int64_t offset, char* out, size_t size) override {
    std::lock_guard lock(state_->mutex);
    if (state_->reads_fail) return Fail(ErrorCode::kIoError, "the spill disk does not read");
    if (offset + static_cast<int64_t>(size) > static_cast<int64_t>(content_.size())) {
      return Fail(ErrorCode::kCorruption, "the spill file is shorter than that");
    }
    std::memcpy(out, content_.data() + offset, size);
    state_->bytes_read += static_cast<int64_t>(size);
    if (state_->lies && size > 0) out[size / 2] = static_cast<char>(out[size / 2] ^ 1);
    return {};
  }

 private:
  const std::shared_ptr<MemorySpill::State> state_;
  std::string content_;
};

}  // namespace

std::shared_ptr<MemorySpill::State> MemorySpill::MakeState() {
  return std::make_shared<State>();
}

void MemorySpill::set_bytes_max(int64_t bytes) {
  std::lock_guard lock(state_->mutex);
  state_->bytes_max = bytes;
}

void MemorySpill::TearAppend(int64_t nth) {
  std::lock_guard lock(state_->mutex);
  state_->tear_in = nth;
}

void MemorySpill::set_lies(bool lies) {
  std::lock_guard lock(state_->mutex);
  state_->lies = lies;
}

void MemorySpill::set_reads_fail(bool fail) {
  std::lock_guard lock(state_->mutex);
  state_->reads_fail = fail;
}

Result<std::unique_ptr<SpillFile>> MemorySpill::NewFile() {
  return std::make_unique<MemorySpillFile>(state_);
}

int64_t MemorySpill::bytes() const {
  std::lock_guard lock(state_->mutex);
  return state_->bytes;
}

int64_t MemorySpill::bytes_appended() const {
  std::lock_guard lock(state_->mutex);
  return state_->appended;
}

int64_t MemorySpill::bytes_read() const {
  std::lock_guard lock(state_->mutex);
  return state_->bytes_read;
}

int64_t MemorySpill::files() const {
  std::lock_guard lock(state_->mutex);
  return state_->files;
}

}  // namespace firn::env
