// SpilledBytes: the bytes of one file on the spill disk, with checksums of our own: a disk may give back anything.
//
// One thread's. Appended from front to back, then read anywhere.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/env/spill_file.h"

namespace firn::compaction {

class SpilledBytes {
 public:
  explicit SpilledBytes(std::unique_ptr<env::SpillFile> file) : file_(std::move(file)) {}

  // As env::SpillFile.
  Status Append(std::string_view bytes);
  // What was appended last goes to the disk; nothing is appended after it.
  Status Finish();
  int64_t size() const { return size_; }
  // All of it. kIoError: it cannot be read, or is not what was written.
  Status ReadAt(int64_t offset, char* out, size_t size) const;

 private:
  Status WriteBlock();

  const std::unique_ptr<env::SpillFile> file_;
  std::string block_;                // not written yet
  std::vector<uint32_t> checksums_;  // of each block
  int64_t size_ = 0;
};

}  // namespace firn::compaction
