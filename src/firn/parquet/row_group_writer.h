// RowGroupWriter: Arrow's Parquet writer behind one narrow interface without exceptions, with the sizes of the open row
// group, which parquet::arrow::FileWriter itself does not show.
//
// Owned by one FileLayout. Destroying it without Close writes nothing more into the sink.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "firn/base/error.h"
#include "firn/parquet/file_layout.h"

namespace arrow {
class RecordBatch;
class Schema;
}  // namespace arrow

namespace parquet {
class FileMetaData;
class WriterProperties;
namespace schema {
class GroupNode;
}
}  // namespace parquet

namespace firn::parquet {

class RowGroupWriter {
 public:
  struct Shape {
    std::shared_ptr<::parquet::schema::GroupNode> parquet_schema;
    std::shared_ptr<arrow::Schema> arrow_schema;
    std::shared_ptr<::parquet::WriterProperties> properties;
    std::string schema_json;  // stored as "iceberg.schema"
  };
  static Result<std::unique_ptr<RowGroupWriter>> Open(Shape shape, ByteSink sink);
  virtual ~RowGroupWriter() = default;

  // Adds rows to the open row group; after EndRowGroup to a new one.
  virtual Status Write(const arrow::RecordBatch& batch) = 0;
  virtual void EndRowGroup() = 0;
  virtual Result<std::shared_ptr<::parquet::FileMetaData>> Close() = 0;

  virtual int64_t bytes_written() const = 0;           // into the sink
  virtual int64_t row_group_rows() const = 0;
  virtual int64_t row_group_page_bytes() const = 0;    // finished pages of the open row group, compressed
  virtual int64_t row_group_plain_bytes() const = 0;   // the same before compression
  virtual int64_t row_group_value_bytes() const = 0;   // encoded or not, not in a page yet
};

}  // namespace firn::parquet
