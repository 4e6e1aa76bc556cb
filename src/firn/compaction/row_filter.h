// RowFilter: rows without those that were deleted; WithoutDeleted: a data file again without them.
//
// Pure; a filter is one thread's. What is left of a file is decoded and encoded anew, as our own writer does it, with
// metrics that are true of it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "firn/base/error.h"
#include "firn/compaction/row_deletes.h"
#include "firn/parquet/file_layout.h"
#include "firn/schema/type.h"

namespace arrow {
class RecordBatch;
}

namespace firn::compaction {

class RowFilter {
 public:
  // Which must outlive it.
  explicit RowFilter(const FileDeletes& deletes) : deletes_(deletes) {}

  // The rows of the file's next batch that stay; null: none.
  Result<std::shared_ptr<arrow::RecordBatch>> Next(const std::shared_ptr<arrow::RecordBatch>& batch);
  int64_t rows_deleted() const { return rows_deleted_; }

 private:
  const FileDeletes& deletes_;
  size_t next_ = 0;
  int64_t first_row_ = 0;
  int64_t rows_deleted_ = 0;
};

struct FilteredFile {
  int64_t rows_deleted = 0;
  std::shared_ptr<const std::string> bytes;  // null: no row was deleted, or none is left
  parquet::FileMetrics metrics;              // of `bytes`
};

// kUnsupported: what FileMerge would refuse. kCorruption: the file cannot be decoded.
Result<FilteredFile> WithoutDeleted(const schema::Schema& schema, const parquet::FileLayoutOptions& layout,
                                    std::shared_ptr<const std::string> file, const FileDeletes& deletes);

}  // namespace firn::compaction
