// FileFooter: what stands behind the pages of a file: page indexes of all row groups, then the footer.
//
// Owned by one file writer and its thread. Until the end it holds, in their written form, the indexes of the row groups
// that were added, and their metadata.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/parquet/byte_buffer.h"
#include "firn/parquet/column_chunk_writer.h"
#include "firn/parquet/file_output.h"
#include "firn/parquet/format.h"

namespace firn::parquet {

// What all footers of a schema share, in its written form: the schema before the rows, and the end behind them.
struct FooterFrame {
  std::string schema;
  std::string end;
  // `schema_json` is stored as "iceberg.schema".
  static FooterFrame Make(const ::parquet::schema::GroupNode& schema, const std::string& schema_json);
};

class FileFooter {
 public:
  // `frame` must outlive it.
  explicit FileFooter(const FooterFrame& frame) : frame_(frame) {}

  // The chunks of a row group, which stand in the file already.
  void AddRowGroup(int64_t rows, std::vector<ColumnChunkWriter::Finished> chunks);
  Status Write(FileOutput& out);
  void Clear();  // for another file

 private:
  // Of one column chunk; begin and end in indexes_.
  struct Extents {
    size_t column_index_begin = 0;
    size_t offset_index_begin = 0;
    size_t end = 0;
  };

  const FooterFrame& frame_;
  std::vector<format::RowGroup> row_groups_;
  ByteBuffer indexes_;
  std::vector<std::vector<Extents>> extents_;  // by row group and column
  ByteBuffer footer_;
};

}  // namespace firn::parquet
