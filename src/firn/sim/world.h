// World: one simulated run: workers of one pipeline, their broker, store and catalog, and everything that goes wrong.
//
// RunWorld is a function of its options: the same options give the same run, to the byte. The seed draws the shape of
// the world (WorldPlan) and then every latency, fault and decision. After so many commits the trouble ends, the world
// waits until the pipeline has caught up, and the checker holds tables and log against each other.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "firn/sim/checker.h"
#include "firn/sim/fault_kinds.h"

namespace firn::sim {

struct WorldOptions {
  uint64_t seed = 1;
  int64_t commits_max = 50;          // of rows, after which the trouble ends
  int64_t trouble_ms_max = 600'000;  // or after so much simulated time
  std::set<FaultKind> without;       // kinds that do not happen
  bool compaction = false;           // somebody puts small files together, and rows are deleted by position
  std::function<void(const std::string& line)> trace;  // told as it happens, so that a run that dies has told all
};

struct WorldResult {
  uint64_t seed = 0;
  std::vector<std::string> violations;  // empty: all is well
  FaultCounter faults;
  std::string plan;  // the world's shape in words
  // Of the last check, after the end: records that had to be there and those that were excused, by the reason.
  int64_t demanded = 0;
  std::map<std::string, int64_t> excused;
  int64_t checks = 0;
  int64_t commits = 0;
  int64_t records = 0;
  int64_t rows = 0;
  int64_t rejects = 0;
  int64_t processes = 0;
  int64_t simulated_ms = 0;
  uint64_t switches = 0;
};

WorldResult RunWorld(const WorldOptions& options);

}  // namespace firn::sim
