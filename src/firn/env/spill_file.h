// SpillFile: bytes that one process puts aside on a local disk and reads back, gone when it ends, however it ends.
//
// Append and the end of a file belong to one thread at a time; ReadAt may be called by any number of threads beside
// them, for what Append has returned from. Nothing is synced: a machine that dies takes the process with it. Whoever
// reads carries a checksum of his own: a disk may give back anything.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "firn/base/error.h"

namespace firn::env {

class SpillFile {
 public:
  virtual ~SpillFile() = default;
  // Gives the offset of the first byte. After an error nothing is appended: kResourceExhausted the disk or the quota is
  // full, kIoError.
  virtual Result<int64_t> Append(std::string_view bytes) = 0;
  // All of it, or an error: kCorruption when the file ends before, kIoError.
  virtual Status ReadAt(int64_t offset, char* out, size_t size) = 0;
};

class SpillFolder {
 public:
  virtual ~SpillFolder() = default;
  virtual Result<std::unique_ptr<SpillFile>> NewFile() = 0;
};

// Files without a name (O_TMPFILE; where the file system has none, the name is taken away at once), so that neither a
// crash nor a kill leaves anything behind. Thread-safe.
class LocalSpillFolder final : public SpillFolder {
 public:
  // Makes the folder when it is missing, and tries whether a file can be made there.
  static Result<std::unique_ptr<LocalSpillFolder>> Open(const std::string& path);
  Result<std::unique_ptr<SpillFile>> NewFile() override;
  // The folder's files are memory themselves (tmpfs).
  bool in_memory() const { return in_memory_; }

 private:
  explicit LocalSpillFolder(std::string path) : path_(std::move(path)) {}
  const std::string path_;
  bool in_memory_ = false;
};

// Files of another folder that together hold at most so many bytes: beyond it an append fails with kResourceExhausted.
// The other folder must outlive it; its files may. Thread-safe.
class LimitedSpillFolder final : public SpillFolder {
 public:
  LimitedSpillFolder(SpillFolder& folder, int64_t bytes_max);
  Result<std::unique_ptr<SpillFile>> NewFile() override;
  int64_t bytes() const { return bytes_->load(); }  // in files that live

 private:
  class File;
  SpillFolder& folder_;
  const int64_t bytes_max_;
  const std::shared_ptr<std::atomic<int64_t>> bytes_ = std::make_shared<std::atomic<int64_t>>(0);
};

}  // namespace firn::env
