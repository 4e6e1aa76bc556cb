// Runner: many simulated runs over several processes, their coverage, and the shrinking of a failure.
//
// Each run is in a child process, so a broken invariant (FIRN_CHECK, a sanitizer) is a failure of its seed and nothing
// else. Nothing here touches the network or the disk.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "firn/sim/world.h"

namespace firn::sim {

struct SeedOutcome {
  uint64_t seed = 0;
  std::vector<std::string> violations;
  std::string plan;
  std::vector<std::pair<std::string, uint64_t>> faults;  // kind → how often
  int64_t commits = 0;
  int64_t records = 0;
  int64_t rows = 0;
  int64_t rejects = 0;
  int64_t demanded = 0;
  std::map<std::string, int64_t> excused;
  int64_t checks = 0;
  int64_t simulated_ms = 0;
  double cpu_s = 0;
  bool ok() const { return violations.empty(); }
};

// `options` but for the seed. Outcomes come in no order; `tell` is called for each, in this process.
void RunSeeds(const WorldOptions& options, uint64_t first, int64_t runs, int32_t jobs,
              const std::function<void(const SeedOutcome&)>& tell);

// Leaves out kinds of fault and shortens the run as long as it goes on failing. Prints what it does to standard error.
WorldOptions Shrink(WorldOptions failing);

// One run in a child process.
SeedOutcome RunOne(const WorldOptions& options);

}  // namespace firn::sim
