// SimSpill: the spill folder of one simulated process: a disk that is full at times, and files that lose the end of
// what was written to them or are not to be read.
//
// It ends with its process, files and all.
#pragma once

#include <cstdint>
#include <memory>

#include "firn/env/spill_file.h"
#include "firn/env/testing/memory_spill.h"
#include "firn/sim/fault_kinds.h"
#include "firn/sim/sim_store.h"

namespace firn::sim {

class SimSpill final : public env::SpillFolder {
 public:
  SimSpill(SimFaults& faults, const Weather& weather) : faults_(faults), weather_(weather) {}
  Result<std::unique_ptr<env::SpillFile>> NewFile() override;
  int64_t bytes_appended() const { return truth_.bytes_appended(); }

 private:
  class File;
  Status Room() const;

  SimFaults& faults_;
  const Weather& weather_;
  env::MemorySpill truth_;
};

}  // namespace firn::sim
