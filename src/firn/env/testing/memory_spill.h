// MemorySpill: spill files in memory that fill up, tear and lie when a test says so. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "firn/env/spill_file.h"

namespace firn::env {

class MemorySpill final : public SpillFolder {
 public:
  // Of all files together; beyond it appends fail as on a full disk.
  void set_bytes_max(int64_t bytes);
  // From the `nth` append on (1: the next), what is written loses its second half and reads back as zeros.
  void TearAppend(int64_t nth);
  // Every read gives one wrong bit from now on.
  void set_lies(bool lies);
  // Every read fails with kIoError from now on.
  void set_reads_fail(bool fail);

  Result<std::unique_ptr<SpillFile>> NewFile() override;

  int64_t bytes() const;           // in files that live
  int64_t bytes_appended() const;  // ever
  int64_t bytes_read() const;
  int64_t files() const;  // that live

  struct State;

 private:
  std::shared_ptr<State> state_ = MakeState();
  static std::shared_ptr<State> MakeState();
};

}  // namespace firn::env
