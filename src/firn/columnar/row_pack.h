// RowPack: rows of Arrow batches as one block of bytes and back, for blocks that leave memory or are compressed.
//
// Pure and single-threaded. The bytes are ours and this process's alone (native order, no version): never stored beyond
// its life. Made for small blocks of wide tables: a column without a value is one byte, and nothing is padded but
// fixed- width values, which are read in place.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "firn/base/error.h"

namespace arrow {
struct ArrayData;
class Buffer;
class RecordBatch;
class Schema;
}  // namespace arrow

namespace firn::columnar {

// Bytes of the rows [begin, end) of a column of any type that ToArrowSchema gives, nulls counted as values.
int64_t BytesOfRows(const arrow::ArrayData& column, int64_t begin, int64_t end);
// The same of all columns.
int64_t BytesOfRows(const arrow::RecordBatch& batch, int64_t begin, int64_t end);

// Rows of a batch without a batch of their own: slicing one means a new array for each column of each level.
struct RowSlice {
  std::shared_ptr<arrow::RecordBatch> batch;  // null: there are no more rows
  int64_t begin = 0;
  int64_t end = 0;

  int64_t rows() const { return end - begin; }
  std::shared_ptr<arrow::RecordBatch> Batch() const;  // of these rows alone; null: null
};

// The rows of the slices, one after another; batches of one Arrow schema that ToArrowSchema gave. Appends to `out`,
// which must be empty.
void PackRows(std::span<const RowSlice> slices, std::string& out);

// The batch again: equal to the slices' rows, what stands under nulls excepted. Values are read in place, so the batch
// keeps `bytes`. kCorruption: these bytes are not what PackRows gave for such a schema and number of rows.
Result<std::shared_ptr<arrow::RecordBatch>> UnpackRows(const std::shared_ptr<arrow::Schema>& schema, int64_t rows,
                                                       const std::shared_ptr<arrow::Buffer>& bytes);

}  // namespace firn::columnar
