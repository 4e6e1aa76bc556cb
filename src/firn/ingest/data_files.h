// Data files of one table in one batch: one file a partition out of its waiting rows, uploaded, described for the
// manifest.
//
// Runs on the commit thread and `commit.upload_threads` of its own. Nothing is deleted when it fails: an unfinished
// object never becomes visible, a finished one is an orphan.
#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/env/clock.h"
#include "firn/env/object_store.h"
#include "firn/env/threads.h"
#include "firn/iceberg/commit/append.h"
#include "firn/ingest/file_plan.h"
#include "firn/ingest/memory_budget.h"

namespace firn::ingest {

class TableRows;

struct DataFileStageTimes {
  double group_cpu_s = 0;
  double encode_cpu_s = 0;
  double upload_cpu_s = 0;
};

struct WrittenFiles {
  std::vector<iceberg::NewDataFile> files;
  std::vector<MemoryHold> holds;  // of what describes them: metrics of each column of thousands of files
  int64_t rows = 0;
  int64_t bytes = 0;
  int64_t store_time_ms = 0;  // the store's clock at the first upload; 0: no file
  DataFileStageTimes times;
};

// May be called again with the same rows when it has failed: partitions whose files are in the store keep them, the
// others are read and written anew, under other names. Where `rows.lost()`, they are not to be had any more.
// kCancelled: `stop` was requested, which ends it between two parts of a file.
Result<WrittenFiles> WriteDataFiles(TableRows& rows, env::ObjectStore& store, env::Random& random,
                                    env::Threads& threads, int32_t upload_threads, std::stop_token stop = {});

// CPU seconds of the calling thread.
double ThreadCpuSeconds();

}  // namespace firn::ingest
