// KeyColumn: the results of one partition or sort transform over all rows of some batches, in a form that is quick to
// hash, compare and order.
//
// Pure and single-threaded. Agrees value by value with schema::Transform::Apply; computed directly on the Arrow
// buffers, one loop a batch. Byte strings are views into the batches, which must outlive the column.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/schema/partition.h"

namespace arrow {
class RecordBatch;
}

namespace firn::columnar {

class KeyColumn {
 public:
  // Rows are numbered through all batches. A row is null where the source or any struct above it is. kInvalidInput: a
  // source that is missing, inside a list or map, or not of a type for the transform, or batches of another schema;
  // kUnsupported: a transform that Firn does not know.
  static Result<KeyColumn> Compute(const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches,
                                   const schema::Schema& schema, FieldId source_id,
                                   const schema::Transform& transform);

  bool has_nulls() const { return !null_.empty(); }
  bool IsNull(uint32_t row) const { return !null_.empty() && null_[row] != 0; }
  // Of two rows, null equal to null.
  bool Equal(uint32_t a, uint32_t b) const {
    if (IsNull(a) || IsNull(b)) return IsNull(a) && IsNull(b);
    return CompareValid(a, b) == 0;
  }
  // The order of schema::CompareValues of two rows that are not null.
  int CompareValid(uint32_t a, uint32_t b) const { return CompareValid(a, *this, b); }
  // The same of a row here and a row of a column that was computed of other batches by the same transform.
  int CompareValid(uint32_t a, const KeyColumn& other, uint32_t b) const {
    switch (form_) {
      case Form::kNumber: return (numbers_[a] > other.numbers_[b]) - (numbers_[a] < other.numbers_[b]);
      case Form::kWide: return (wides_[a] > other.wides_[b]) - (wides_[a] < other.wides_[b]);
      case Form::kBytes: return bytes_[a].compare(other.bytes_[b]);
      case Form::kNothing: return 0;
    }
    return 0;
  }
  uint64_t Hash(uint32_t row) const;
  schema::Value ValueAt(uint32_t row) const;

  // The values as numbers whose signed order is CompareValid's; nullptr when they are not of that form.
  const int64_t* ordered_numbers() const { return form_ == Form::kNumber ? numbers_.data() : nullptr; }

 private:
  // kNumber: integers and booleans as they are, floats mapped so that signed integers order as they do.
  enum class Form : uint8_t { kNumber, kWide, kBytes, kNothing };
  class Reader;

  Form form_ = Form::kNothing;
  schema::TypePtr result_type_;
  std::vector<uint8_t> null_;  // empty: no nulls
  std::vector<int64_t> numbers_;
  std::vector<__int128> wides_;
  std::vector<std::string_view> bytes_;
};

}  // namespace firn::columnar
