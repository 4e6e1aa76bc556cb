#include "firn/compaction/spilled_bytes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "firn/columnar/row_run.h"

namespace firn::compaction {
namespace {

constexpr size_t kBlockBytes = 64 << 10;

}  // namespace

Status SpilledBytes::Append(std::string_view bytes) {
  size_ += static_cast<int64_t>(bytes.size());
  while (!bytes.empty()) {
    const size_t taken = std::min(bytes.size(), kBlockBytes - block_.size());
    block_.append(bytes.substr(0, taken));
    bytes.remove_prefix(taken);
    if (block_.size() == kBlockBytes) FIRN_TRY(WriteBlock());
  }
  return {};
}

Status SpilledBytes::Finish() {
  return block_.empty() ? Status() : WriteBlock();
}

Status SpilledBytes::WriteBlock() {
  FIRN_TRY(file_->Append(block_));
  checksums_.push_back(columnar::BlockChecksum(block_.data(), block_.size()));
  block_.clear();
  return {};
}

Status SpilledBytes::ReadAt(int64_t offset, char* out, size_t size) const {
  std::string block;
  while (size > 0) {
    const size_t index = static_cast<size_t>(offset) / kBlockBytes;
    const auto begin = static_cast<int64_t>(index * kBlockBytes);
    if (index >= checksums_.size()) return Fail(ErrorCode::kIoError, "a read beyond the end of a spilled file");
    block.resize(std::min(kBlockBytes, static_cast<size_t>(size_ - begin)));
    if (Status read = file_->ReadAt(begin, block.data(), block.size()); !read.has_value()) {
      return Fail(ErrorCode::kIoError, read.error().message());
    }
    if (columnar::BlockChecksum(block.data(), block.size()) != checksums_[index]) {
      return Fail(ErrorCode::kIoError, "a spill file gave back other bytes than were written to it");
    }
    const auto from = static_cast<size_t>(offset - begin);
    const size_t taken = std::min(size, block.size() - from);
    std::memcpy(out, block.data() + from, taken);
    out += taken;
    offset += static_cast<int64_t>(taken);
    size -= taken;
  }
  return {};
}

}  // namespace firn::compaction
