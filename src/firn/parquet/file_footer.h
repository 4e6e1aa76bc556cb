// FileFooter: what stands behind the pages of a file: page indexes of all row groups, then the footer.
//
// Owned by one file writer and its thread. Until the end it holds, in their written form, the indexes of the row groups
// that were added, and their metadata.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/parquet/byte_buffer.h"
#include "firn/parquet/column_chunk_writer.h"
#include "firn/parquet/file_output.h"
#include "firn/parquet/format.h"

namespace firn::parquet {

class FileFooter {
 public:
  // `schema_json` is stored as "iceberg.schema".
  FileFooter(std::shared_ptr<::parquet::schema::GroupNode> schema, std::string schema_json);

  // The chunks of a row group, which stand in the file already.
  void AddRowGroup(int64_t rows, std::vector<ColumnChunkWriter::Finished> chunks);
  Status Write(FileOutput& out);

 private:
  // Of one column chunk; begin and end in indexes_.
  struct Extents {
    size_t column_index_begin = 0;
    size_t offset_index_begin = 0;
    size_t end = 0;
  };

  format::FileMetaData metadata_;
  ByteBuffer indexes_;
  std::vector<std::vector<Extents>> extents_;  // by row group and column
};

}  // namespace firn::parquet
