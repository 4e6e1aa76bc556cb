// ColumnBuilder: growing Arrow columns that can be cut back, so that a record which turns out bad halfway leaves no
// trace. The decoder writes values into them; Finish hands the buffers over as Arrow arrays without copying.
//
// One tree a table: a RowBuilder is the struct of the table's fields. Owned by one worker thread. Every Append* must fit
// the builder's kind (FIRN_CHECK in debug builds only: it is the hot path; the plan compiler guarantees it).
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/schema/type.h"

namespace arrow {
class Array;
class DataType;
class Field;
class RecordBatch;
class Schema;
}  // namespace arrow

namespace firn::columnar {

// The Arrow schema that stands for an Iceberg schema: field ids in the metadata key "PARQUET:field_id" (list element and
// map key/value too), microsecond timestamps ("UTC" for timestamptz), uuid as fixed_size_binary(16), decimal128,
// strings as utf8, binary as binary, lists as list<element>, maps as map.
std::shared_ptr<arrow::Schema> ToArrowSchema(const schema::Schema& schema);

enum class Storage : uint8_t { kBool, kInt32, kInt64, kFloat, kDouble, kDecimal128, kFixed, kBytes, kStruct, kList, kMap };

class ColumnBuilder {
 public:
  static std::unique_ptr<ColumnBuilder> Make(const schema::Field& field);

  Storage storage() const { return storage_; }
  int64_t length() const { return length_; }
  int64_t null_count() const { return null_count_; }
  // Bytes held, children included; what the memory budget counts.
  int64_t bytes() const;

  void AppendNull();  // struct: its children get nulls too; list, map: an empty range
  void AppendBool(bool value);
  void AppendInt32(int32_t value);   // int, date
  void AppendInt64(int64_t value);   // long, time, timestamp*
  void AppendFloat(float value);
  void AppendDouble(double value);
  void AppendDecimal(__int128 unscaled);
  void AppendBytes(std::string_view value);  // string, binary; fixed and uuid with exactly their length
  void AppendStruct();               // after its children have been appended to
  void AppendList();                 // closes the current list: the elements appended since the last close belong to it
  // Map: as list; keys go to child(0), values to child(1).

  ColumnBuilder& child(size_t index) { return *children_[index]; }
  size_t child_count() const { return children_.size(); }
  // Unclosed elements of a list or map: what AppendList would close over.
  int64_t open_elements() const;

  // Cuts back to `length` rows, children included (an unclosed list loses its open elements).
  void Truncate(int64_t length);
  // The column as an Arrow array; the builder is empty and usable again.
  std::shared_ptr<arrow::Array> Finish();

 private:
  explicit ColumnBuilder(const schema::Field& field);
  // The implementation's members follow here (validity bitmap, fixed-width values, offsets and bytes).
  Storage storage_;
  int64_t length_ = 0;
  int64_t null_count_ = 0;
  std::vector<std::unique_ptr<ColumnBuilder>> children_;
};

// All columns of a table.
class RowBuilder {
 public:
  explicit RowBuilder(const schema::Schema& schema);
  int64_t row_count() const { return row_count_; }
  int64_t bytes() const;
  ColumnBuilder& column(size_t index) { return *columns_[index]; }
  size_t column_count() const { return columns_.size(); }
  // Every column has exactly one more row now.
  void CloseRow();
  // Takes back whatever was appended since the last CloseRow.
  void DiscardRow();
  std::shared_ptr<arrow::RecordBatch> Finish();

 private:
  std::shared_ptr<arrow::Schema> arrow_schema_;
  std::vector<std::unique_ptr<ColumnBuilder>> columns_;
  int64_t row_count_ = 0;
};

}  // namespace firn::columnar
