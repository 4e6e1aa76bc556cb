// TableLoop: compaction and maintenance of a pipeline's tables in one queue, as `run` does them beside ingest and
// `compact --watch` by themselves.
//
// Owned by the command; Run is its thread's, or Start gives it one. upkeep() and status() are any thread's.
// Catalog, store, registry and what `scope` refers to outlive it.
#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "firn/cli/table_upkeep.h"
#include "firn/compaction/loop.h"
#include "firn/config/config.h"
#include "firn/env/threads.h"
#include "firn/maintenance/table_maintenance.h"
#include "firn/metrics/metrics.h"

namespace firn::cli {

// Intervals, and which tables lose old partitions. Pure.
maintenance::MaintenanceOptions MaintenanceOptionsOf(const config::Config& config);

class TableLoop {
 public:
  // `only`: the one table that it is for, as --table says; empty: all of the pipeline, its home included.
  TableLoop(const config::Config& config, const compaction::LoopOptions& options, compaction::CompactionParts parts,
            compaction::CompactionLoop::ScopeFn scope, metrics::Registry& registry, const std::string& only);

  void Run(std::stop_token stop) { loop_.Run(std::move(stop)); }
  void Start(env::Threads& threads) { loop_.Start(threads); }
  void RequestStop() { loop_.RequestStop(); }
  compaction::LoopStatus status() const { return loop_.status(); }
  Upkeep upkeep() const { return UpkeepOf(loop_.status(), maintenance_.status()); }

 private:
  maintenance::TableMaintenance maintenance_;  // outlives the loop, which works on it
  compaction::CompactionLoop loop_;
};

}  // namespace firn::cli
