// RowGroupWriter: all columns of the open row group, and the groups before it, already written.
//
// Owned by one FileLayout and its thread; serves one file after another, in the same memory. Destroyed without Close,
// it writes nothing more into the sink.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "firn/base/error.h"
#include "firn/parquet/column_chunk_writer.h"
#include "firn/parquet/column_metrics.h"
#include "firn/parquet/file_footer.h"
#include "firn/parquet/file_form.h"
#include "firn/parquet/file_output.h"
#include "firn/parquet/page_compressor.h"

namespace arrow {
class RecordBatch;
}

namespace firn::parquet {

class RowGroupWriter {
 public:
  // `form` must outlive it.
  RowGroupWriter(const FileForm& form, std::unique_ptr<PageCompressor> compressor, ByteSink sink);

  // Begins a file; the last one is closed. `columns`: one a leaf.
  Status Open(std::span<const ColumnOptions> columns);
  // Adds rows [begin, end) of a batch to the open row group; after EndRowGroup to a new one.
  Status Write(const arrow::RecordBatch& batch, int64_t begin, int64_t end);
  Status EndRowGroup();
  Status Close();

  int64_t bytes_written() const { return out_.position(); }
  int64_t rows() const { return rows_; }                        // of the open row group
  int64_t stored_bytes() const { return Sum(&ColumnChunkWriter::stored_bytes); }              // its finished pages
  int64_t uncompressed_bytes() const { return Sum(&ColumnChunkWriter::uncompressed_bytes); }  // the same before
  int64_t open_bytes() const { return Sum(&ColumnChunkWriter::open_bytes); }                  // not in a page yet
  int64_t held_bytes() const { return Sum(&ColumnChunkWriter::held_bytes); }                  // memory of all that

  // By leaf, over all row groups written.
  const std::vector<ColumnTotals>& totals() const { return totals_; }
  const std::vector<int64_t>& row_group_offsets() const { return row_group_offsets_; }
  int64_t rows_written() const { return rows_written_; }

 private:
  int64_t Sum(int64_t (ColumnChunkWriter::*bytes)() const) const;

  const FileForm& form_;
  FileFooter footer_;
  std::unique_ptr<PageCompressor> compressor_;
  FileOutput out_;
  PageScratch scratch_;
  std::vector<std::unique_ptr<ColumnChunkWriter>> columns_;
  std::vector<ColumnTotals> totals_;
  std::vector<int64_t> row_group_offsets_;
  int64_t rows_ = 0;
  int64_t rows_written_ = 0;
};

}  // namespace firn::parquet
