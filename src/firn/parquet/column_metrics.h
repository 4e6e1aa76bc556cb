// Column metrics of a written file, as a manifest entry keeps them (spec: "Manifests", data_file 108 to 128).
//
// Counts and bounds come from the column chunks' statistics, which Arrow computes over every value; NaNs from
// ValueScan. Where a chunk has no minimum or maximum (a value of more than 4 KiB) the file has no bound: left out,
// never guessed.
#pragma once

#include "firn/base/error.h"
#include "firn/parquet/file_layout.h"
#include "firn/parquet/value_scan.h"
#include "firn/schema/type.h"

namespace parquet {
class FileMetaData;
}

namespace firn::parquet {

// `metadata` has the leaf columns of `schema`, in order. Fills everything but file_size_in_bytes.
Result<FileMetrics> MetricsOf(const ::parquet::FileMetaData& metadata, const schema::Schema& schema,
                              const FileLayoutOptions& options, const ValueScan& scan);

}  // namespace firn::parquet
