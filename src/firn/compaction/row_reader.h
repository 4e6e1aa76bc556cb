// RowReader: the rows of a Parquet file of any writer as Arrow batches of a table's schema.
//
// One thread's. The file's pages go through a FileMerge first, which finds columns by field id, widens types and fills
// in what the file has not: what comes out of it has the schema's columns. Held in memory: the file in that form,
// unless it is spilled, and what Arrow's reader has decoded of it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "firn/base/error.h"
#include "firn/schema/type.h"

namespace arrow {
class RecordBatch;
}

namespace firn::env {
class SpillFolder;
}

namespace firn::compaction {

inline constexpr int64_t kReadRowsMax = 16'384;  // of a batch

class RowReader {
 public:
  // `spill`: where the file goes in that form; null: it stays in memory. kUnsupported: what FileMerge would refuse.
  // kCorruption: the file cannot be decoded. kResourceExhausted, kIoError: the spill folder's.
  static Result<std::unique_ptr<RowReader>> Open(const schema::Schema& schema, std::shared_ptr<const std::string> file,
                                                 env::SpillFolder* spill = nullptr);
  virtual ~RowReader() = default;
  // Rows in the file's order, of columnar::ToArrowSchema of the schema but for names and nullability; null at the end.
  virtual Result<std::shared_ptr<arrow::RecordBatch>> Next() = 0;
};

}  // namespace firn::compaction
