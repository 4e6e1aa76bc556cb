// ExpectTruth: recomputes from the values, with Arrow's readers, what a file says about them, and compares: chunk and
// page statistics, page locations, size statistics, encodings, bloom filters, checksums. Tests only.
#pragma once

#include "firn/parquet/file_layout.h"
#include "firn/parquet/parquet_file_for_test.h"

namespace firn::parquet {

// Strings and binary values of the file are short enough that no bound is cut.
void ExpectTruth(const ParquetFileForTest& file, const FileLayoutOptions& options);

}  // namespace firn::parquet
