// TableUpkeep: what a worker's loop has to say of a table: which maintenance was done, and the errors that stand. It
// goes from the loop to the page /status, and from there to `firn status`.
//
// Values. The remedy is part of an error: who reads the page need not know the code's meaning.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/compaction/loop.h"
#include "firn/maintenance/table_maintenance.h"

namespace firn::cli {

struct StandingError {
  std::string task;  // "compaction", or a task of maintenance
  std::string code;
  std::string message;
  std::string remedy;
  int64_t since_ms = 0;
  int64_t failures = 0;  // in a row
};

struct TaskDone {
  int64_t runs = 0;
  int64_t last_ms = 0;  // of the last that succeeded; 0: none has
  int64_t next_ms = 0;
  std::map<std::string, int64_t> freed;  // since the worker started: "files", "bytes", "snapshots", ...
};

struct TableUpkeep {
  std::map<std::string, TaskDone> tasks;
  std::vector<StandingError> errors;
};
using Upkeep = std::map<std::string, TableUpkeep>;  // by table; "": of all of them

// What a person can do about it, where the message does not say.
std::string_view RemedyOf(ErrorCode code);

Upkeep UpkeepOf(const compaction::LoopStatus& compaction, const maintenance::MaintenanceStatus& maintenance);
// Of several workers: each task is one worker's, but for the moments of a rebalance; then the last one counts.
void Add(Upkeep& upkeep, Upkeep more);

nlohmann::json ToJson(const Upkeep& upkeep);
nlohmann::json ToJson(const TableUpkeep& upkeep);
// The member "upkeep" of a page /status of this pipeline. kCorruption: it is none; kNotFound: another pipeline's.
Result<Upkeep> ParseUpkeep(std::string_view page, std::string_view pipeline);

}  // namespace firn::cli
