// Data files of one table in one batch: group rows by partition, write Parquet, upload, describe for the manifest.
//
// Runs on the commit thread. Nothing is deleted when it fails: an unfinished object never becomes visible, a finished
// one is an orphan.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/env/clock.h"
#include "firn/env/object_store.h"
#include "firn/iceberg/catalog/catalog.h"
#include "firn/iceberg/commit/append.h"

namespace arrow {
class RecordBatch;
}

namespace firn::ingest {

struct DataFileStageTimes {
  double group_cpu_s = 0;
  double encode_cpu_s = 0;
  double upload_cpu_s = 0;
};

struct WrittenFiles {
  std::vector<iceberg::NewDataFile> files;
  int64_t rows = 0;
  int64_t bytes = 0;
  int64_t store_time_ms = 0;  // the store's clock at the first upload; 0: no file
  DataFileStageTimes times;
};

// `batches`: rows in the Arrow form of the table's schema `schema_id`. The default spec and sort order of `table` hold;
// where the order cannot be computed (unknown transform, column gone), rows keep theirs and files name no sort order.
Result<WrittenFiles> WriteDataFiles(const iceberg::LoadedTable& table, int32_t schema_id,
                                    const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches,
                                    env::ObjectStore& store, env::Random& random, int32_t upload_threads);

// Can files be written as the table's properties say? kInvalidInput names a property that Firn cannot follow (codec,
// sizes, metrics), kUnsupported a column that Parquet cannot store. For whoever attaches or checks a table; a sort
// order that cannot be computed is no failure, it is told in the log: rows are written without order then.
Status CheckWriteProperties(const iceberg::TableMetadata& metadata);

// CPU seconds of the calling thread.
double ThreadCpuSeconds();

}  // namespace firn::ingest
