// Spill: the files in `spill.dir` that a worker's waiting rows go to when memory is full, one a batch, within
// `spill.limit`.
//
// Thread-safe, its files too: pages that a commit finishes go to the same file as runs of the batch that is being
// filled. A file lives as long as anything that was put there, so it may outlive this object. When the disk is
// full, nothing more is spilled until the next batch; when a file has given back other bytes than were written, nothing
// is spilled any more: such a batch is read again from the source, and would be lost again.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "firn/base/error.h"
#include "firn/env/spill_file.h"

namespace firn::ingest {

class Spill {
 public:
  // `folder` null: rows stay in memory. It must outlive the object and its files.
  Spill(env::SpillFolder* folder, int64_t bytes_max);
  ~Spill();

  // More may be spilled for the batch that is being filled.
  bool usable() const;
  // The file of that batch; null when it is not to be had.
  std::shared_ptr<env::SpillFile> File();
  // What is spilled from now on is of another batch.
  void EndBatch();
  void GiveUp();

  int64_t bytes() const;          // in files that live
  int64_t bytes_written() const;  // ever

 private:
  struct State;
  class LimitedFile;
  env::SpillFolder* const folder_;
  const std::shared_ptr<State> state_;
  mutable std::mutex mutex_;
  std::shared_ptr<env::SpillFile> file_;  // guarded by mutex_
};

}  // namespace firn::ingest
