// Worker: one process's part of a pipeline, from the record source to committed snapshots (DESIGN 2 and 4).
//
// Run blocks the calling thread until it is stopped, caught up, or failed; inside it, one thread polls the source, one
// routes and decodes, one commits. status() and share() may be called from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/env/clock.h"
#include "firn/env/object_store.h"
#include "firn/env/spill_file.h"
#include "firn/env/threads.h"
#include "firn/iceberg/catalog/catalog.h"
#include "firn/ingest/pipeline_options.h"
#include "firn/ingest/pipeline_share.h"
#include "firn/metrics/metrics.h"
#include "firn/stream/record_source.h"

namespace firn::ingest {

struct WorkerDependencies {
  iceberg::Catalog& catalog;
  env::ObjectStore& store;
  stream::RecordSource& source;
  env::Clock& clock;
  env::Random& random;
  metrics::Registry& metrics;
  env::Threads& threads = env::SystemThreads();
  env::SpillFolder* spill = nullptr;  // null: rows that wait stay in memory
};

struct DetachedTable {
  std::string table;
  std::string partition;  // "topic/3"
  std::string reason;
  bool hold = false;             // a person has to decide
  bool lane = false;             // it is catching up now
  int64_t position = -1;         // T: what it has committed; -1: not known
  int64_t home_position = -1;    // H: what the pipeline has
  int64_t retained_records = -1; // from the log's start to T: what retention may still remove; -1: not known
};

// A look at a running worker, cheap enough to take ten times a second.
struct WorkerStatus {
  bool ready = false;            // assigned, home known, nothing is failing
  std::string not_ready_reason;  // and the remedy
  uint64_t records = 0;          // decoded or rejected since start
  uint64_t bytes = 0;            // of their values
  uint64_t rows_committed = 0;
  uint64_t rejects_committed = 0;
  uint64_t dropped = 0;  // by policy
  uint64_t skipped = 0;  // already in their table: read again after a restart
  uint64_t commits = 0;
  uint64_t commit_conflicts = 0;
  uint64_t data_files = 0;
  uint64_t data_file_bytes = 0;
  int64_t lag_records = -1;  // over the assigned partitions, against what is readable now; -1: not known yet
  int64_t buffered_bytes = 0;  // of rows that wait for the next commit: decoded, packed, spilled
  int32_t assigned_partitions = 0;
  int64_t commit_interval_effective_ms = 0;  // commit.interval, longer where several workers' commits would collide
  int64_t workers = 1;                       // of this pipeline, as their commits show them
  int32_t lanes = 0;  // detached tables that catch up at the moment
  std::vector<DetachedTable> detached;
};

// Where the time of the stages went, in CPU seconds of the threads that did it (the per-stage table of the benchmark).
struct StageTimes {
  double fetch = 0, parse = 0, group = 0, encode = 0, upload = 0, commit = 0;
};

struct RunResult {
  WorkerStatus status;
  StageTimes stages;
  bool caught_up = false;
};

class Worker {
 public:
  // kInvalidInput: options that contradict each other (5 × interval > commit_max_age, ...).
  static Result<std::unique_ptr<Worker>> Create(PipelineOptions options, WorkerDependencies dependencies);
  virtual ~Worker() = default;

  // `until_caught_up`: returns when what was readable at the start is committed (RunResult::caught_up). A stop request
  // commits what there is within shutdown_deadline_ms, or leaves the rest to the next start, and returns success.
  virtual Result<RunResult> Run(std::stop_token stop, bool until_caught_up) = 0;
  virtual WorkerStatus status() const = 0;
  // What falls to this worker of the work on the pipeline's tables, as seen some seconds ago; nothing when none of the
  // partitions is its own.
  virtual PipelineShare share() const = 0;
};

}  // namespace firn::ingest
