// WithoutDeleted: a data file again without the rows that were deleted.
//
// Pure. What is left is decoded and encoded anew, as our own writer does it, with metrics that are true of it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "firn/base/error.h"
#include "firn/compaction/row_deletes.h"
#include "firn/parquet/file_layout.h"
#include "firn/schema/type.h"

namespace firn::compaction {

struct FilteredFile {
  int64_t rows_deleted = 0;
  std::shared_ptr<const std::string> bytes;  // null: no row was deleted, or none is left
  parquet::FileMetrics metrics;              // of `bytes`
};

// kUnsupported: what FileMerge would refuse. kCorruption: the file cannot be decoded.
Result<FilteredFile> WithoutDeleted(const schema::Schema& schema, const parquet::FileLayoutOptions& layout,
                                    std::shared_ptr<const std::string> file, const FileDeletes& deletes);

}  // namespace firn::compaction
