// RowGroupWriter: all columns of the open row group, and the groups before it, already written.
//
// Owned by one FileLayout and its thread. Destroying it without Close writes nothing more into the sink.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/parquet/column_chunk_writer.h"
#include "firn/parquet/column_metrics.h"
#include "firn/parquet/file_footer.h"
#include "firn/parquet/file_output.h"
#include "firn/parquet/leaf_shape.h"
#include "firn/parquet/page_compressor.h"

namespace arrow {
class RecordBatch;
}

namespace firn::parquet {

class RowGroupWriter {
 public:
  struct Shape {
    std::vector<LeafShape> leaves;
    std::shared_ptr<::parquet::schema::GroupNode> parquet_schema;
    std::string schema_json;
  };
  // `columns`: one a leaf.
  RowGroupWriter(Shape shape, const std::vector<ColumnOptions>& columns, std::unique_ptr<PageCompressor> compressor,
                 ByteSink sink);

  Status Open();
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

  const std::vector<LeafShape> leaves_;
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
