// ColumnBuilder: growing Arrow columns that can be cut back, so that a record which turns out bad halfway leaves no
// trace. The decoder writes values into them; Finish hands the buffers over as Arrow arrays without copying.
//
// One tree a table: a RowBuilder is the struct of the table's fields. Owned by one worker thread. Every Append* must
// fit the builder's kind (checked unless NDEBUG: it is the hot path; the plan compiler guarantees it). Buffers come
// from Arrow's default memory pool, grow by doubling (by half beyond 1 MiB), and hold a validity bitmap only once a
// null has appeared. Columns to which nothing but nulls came share one block of zeros.
// Offsets are 32 bits wide: a string or binary column holds at most kColumnBytesMax bytes and a list as many elements
// a batch. Cut the batch (Finish) when bytes() nears kBatchBytesSuggestedMax; an append beyond the limit returns false.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "firn/base/check.h"
#include "firn/base/error.h"
#include "firn/columnar/pool_block.h"
#include "firn/schema/type.h"

namespace arrow {
class Array;
struct ArrayData;
class DataType;
class Field;
class RecordBatch;
class Schema;
}  // namespace arrow

namespace firn::columnar {

// What 32-bit offsets can reach in one column of one batch: bytes of a string column, elements of a list.
inline constexpr int64_t kColumnBytesMax = INT32_MAX;
// A batch cut at this size is far from that limit whatever the next record is (records are at most 16 MiB by default).
inline constexpr int64_t kBatchBytesSuggestedMax = int64_t{1} << 30;
// AppendReadableBytes may read, and a byte buffer may be written, this far behind a value's begin.
inline constexpr size_t kReadableBytes = 32;

// The Arrow schema that stands for an Iceberg schema: field ids in the metadata key "PARQUET:field_id" (list element
// and map key/value too), microsecond timestamps ("UTC" for timestamptz), nanoseconds for the v3 kinds, uuid as
// fixed_size_binary(16), decimal128, strings as utf8, binary as binary, lists as list<element>, maps as map. The v3
// kinds that Firn does not write (variant, geometry, geography, unknown) stand as binary.
std::shared_ptr<arrow::Schema> ToArrowSchema(const schema::Schema& schema);
std::shared_ptr<arrow::Field> ToArrowField(const schema::Field& field);

enum class Storage : uint8_t {
  kBool, kInt32, kInt64, kFloat, kDouble, kDecimal128, kFixed, kBytes, kStruct, kList, kMap,
};

class ColumnBuilder {
 public:
  static std::unique_ptr<ColumnBuilder> Make(const schema::Field& field);
  ~ColumnBuilder();

  Storage storage() const { return storage_; }
  int64_t length() const { return length_; }
  int64_t null_count() const { return null_count_; }
  // Bytes in use, children included, and those of nulls that Finish will add; what the memory budget counts. Memory
  // held is at most twice that.
  int64_t bytes() const { return BytesAt(length_); }
  // The same once the column has caught up with `rows` rows. One that has no value yet counts nothing.
  int64_t BytesAt(int64_t rows) const;

  // Struct: its children get nulls too; list, map: an empty range.
  void AppendNull() {
    if (storage_ > Storage::kBytes || length_ == row_capacity_ || validity_.data() == nullptr) [[unlikely]] {
      return AppendNulls(1);
    }
    if (storage_ == Storage::kBytes) {
      offsets()[length_ + 1] = static_cast<int32_t>(byte_count_);
    } else if (storage_ == Storage::kBool) {
      WriteBit(values_.data(), length_, false);
    } else {
      std::memset(values_.data() + length_ * width_, 0, static_cast<size_t>(width_));
    }
    WriteBit(validity_.data(), length_, false);
    ++null_count_;
    ++length_;
  }
  void AppendNulls(int64_t count);
  // Nulls up to `length` rows; nothing when there are as many.
  void FillNulls(int64_t length) {
    if (length_ < length) AppendNulls(length - length_);
  }
  void AppendBool(bool value) {
    Expect(Storage::kBool);
    MakeRoom();
    WriteBit(values_.data(), length_, value);
    CloseValid();
  }
  void AppendInt32(int32_t value) { AppendFixedWidth(Storage::kInt32, value); }   // int, date
  void AppendInt64(int64_t value) { AppendFixedWidth(Storage::kInt64, value); }   // long, time, timestamp*
  void AppendFloat(float value) { AppendFixedWidth(Storage::kFloat, value); }
  void AppendDouble(double value) { AppendFixedWidth(Storage::kDouble, value); }
  void AppendDecimal(__int128 unscaled) { AppendFixedWidth(Storage::kDecimal128, unscaled); }
  // String, binary; fixed and uuid with exactly their length. False, and nothing appended, beyond kColumnBytesMax.
  bool AppendBytes(std::string_view value) {
    if (storage_ == Storage::kFixed) return AppendFixed(value);
    if (!MakeByteRoom(value.size())) [[unlikely]] return false;
    if (!value.empty()) std::memcpy(values_.data() + byte_count_, value.data(), value.size());
    return CloseBytes(value.size());
  }
  // The same for string and binary when kReadableBytes bytes from value.data() on may be read: a short copy is cheap.
  bool AppendReadableBytes(std::string_view value) {
    if (!MakeByteRoom(value.size())) [[unlikely]] return false;
    uint8_t* target = values_.data() + byte_count_;
    __builtin_prefetch(target + 128, 1);
    std::memcpy(target, value.data(), kReadableBytes);
    if (value.size() > kReadableBytes) {
      std::memcpy(target + kReadableBytes, value.data() + kReadableBytes, value.size() - kReadableBytes);
    }
    return CloseBytes(value.size());
  }
  // After its children have been appended to. A child may be left out and is null there, if whoever appends to it next
  // calls FillNulls before (Finish does it by itself): nulls in one go make a wide and sparsely filled table cheap.
  void AppendStruct() {
    Expect(Storage::kStruct);
    MakeRoom();
    CloseValid();
  }
  // Closes the current list: the elements appended since the last close belong to it. Map: as list; keys go to
  // child(0), values to child(1). False, and nothing closed, beyond kColumnBytesMax elements.
  bool AppendList();

  ColumnBuilder& child(size_t index) { return *children_[index]; }
  size_t child_count() const { return children_.size(); }
  std::span<const std::unique_ptr<ColumnBuilder>> children() const { return children_; }
  bool required() const { return required_; }
  // Unclosed elements of a list or map: what AppendList would close over.
  int64_t open_elements() const { return children_[0]->length_ - byte_count_; }

  // The bytes of one value as they are stored; not for kBool and nested columns. Valid until the next append.
  std::string_view Value(int64_t index) const {
    const char* data = reinterpret_cast<const char*>(values_.data());
    if (storage_ != Storage::kBytes) return {data + index * width_, static_cast<size_t>(width_)};
    return {data + offsets()[index], static_cast<size_t>(offsets()[index + 1] - offsets()[index])};
  }

  // Cuts back to `length` rows, children included (an unclosed list loses its open elements).
  void Truncate(int64_t length);
  // The column as an Arrow array; the builder is empty and usable again.
  std::shared_ptr<arrow::Array> Finish();
  std::shared_ptr<arrow::Array> Finish(ZeroBlock& zeros);
  // The same for a column that has no value: `rows` nulls.
  std::shared_ptr<arrow::Array> FinishNulls(int64_t rows, ZeroBlock& zeros);

 private:
  explicit ColumnBuilder(const schema::Field& field);

  void Expect([[maybe_unused]] Storage storage) const {
#ifndef NDEBUG
    FIRN_CHECK(storage_ == storage, "an append that does not fit the column's type");
#endif
  }
  static void WriteBit(uint8_t* bits, int64_t index, bool value) {
    uint8_t& byte = bits[index >> 3];
    int shift = static_cast<int>(index & 7);
    byte = static_cast<uint8_t>((byte & ~(1 << shift)) | (static_cast<int>(value) << shift));
  }
  void MakeRoom() {
    if (length_ == row_capacity_) [[unlikely]] GrowRows(length_ + 1);
  }
  bool MakeByteRoom(size_t size) {
    Expect(Storage::kBytes);
    MakeRoom();
    if (byte_count_ + static_cast<int64_t>(size + kReadableBytes) > values_.capacity()) [[unlikely]] {
      return GrowBytes(size);
    }
    return true;
  }
  void CloseValid() {
    if (validity_.data() != nullptr) WriteBit(validity_.data(), length_, true);
    ++length_;
  }
  bool CloseBytes(size_t size) {
    byte_count_ += static_cast<int64_t>(size);
    __builtin_prefetch(offsets() + length_ + 17, 1);
    offsets()[length_ + 1] = static_cast<int32_t>(byte_count_);
    CloseValid();
    return true;
  }
  template <typename T>
  void AppendFixedWidth(Storage storage, T value) {
    Expect(storage);
    MakeRoom();
    uint8_t* target = values_.data() + length_ * static_cast<int64_t>(sizeof(T));
    __builtin_prefetch(target + 64, 1);
    std::memcpy(target, &value, sizeof(T));
    CloseValid();
  }
  int32_t* offsets() { return reinterpret_cast<int32_t*>(offsets_.data()); }
  const int32_t* offsets() const { return reinterpret_cast<const int32_t*>(offsets_.data()); }
  bool has_offsets() const { return storage_ == Storage::kBytes || is_repeated(); }
  bool is_repeated() const { return storage_ == Storage::kList || storage_ == Storage::kMap; }

  bool AppendFixed(std::string_view value);
  void GrowRows(int64_t rows);
  bool GrowBytes(size_t size);
  void MakeValidity();
  int64_t ValueBytes(int64_t rows) const;  // of fixed-width values
  std::shared_ptr<arrow::ArrayData> FinishData(ZeroBlock& zeros);
  std::shared_ptr<arrow::ArrayData> NullData(int64_t rows, ZeroBlock& zeros) const;
  std::vector<std::shared_ptr<arrow::ArrayData>> NestedData(std::vector<std::shared_ptr<arrow::ArrayData>> children,
                                                            int64_t elements) const;

  Storage storage_;
  bool required_ = false;
  int32_t width_ = 0;             // bytes a value: fixed-width kinds except kBool
  int64_t length_ = 0;
  int64_t null_count_ = 0;
  int64_t row_capacity_ = 0;      // rows that values_ (fixed width), offsets_ and validity_ have room for
  int64_t byte_count_ = 0;        // the last offset: bytes of kBytes, closed elements of kList and kMap
  int64_t row_hint_ = 0;          // size of the last batch, so that the next one grows less often
  int64_t byte_hint_ = 0;
  PoolBlock values_;              // fixed-width values, bits of kBool, bytes of kBytes
  PoolBlock offsets_;             // length_ + 1 offsets
  PoolBlock validity_;            // empty until the first null
  std::shared_ptr<arrow::DataType> type_;
  std::vector<std::unique_ptr<ColumnBuilder>> children_;
};

// All columns of a table.
class RowBuilder {
 public:
  explicit RowBuilder(const schema::Schema& schema);
  ~RowBuilder();
  int64_t row_count() const { return row_count_; }
  int64_t bytes() const;
  ColumnBuilder& column(size_t index) { return *columns_[index]; }
  size_t column_count() const { return columns_.size(); }
  std::span<const std::unique_ptr<ColumnBuilder>> columns() const { return columns_; }
  // One more row. Every column has at most this many values. An optional one may be left out and is null there, if
  // whoever appends to it next calls FillNulls before (Finish does it by itself); a required one must have its value.
  void CloseRow();
  // Takes back whatever was appended since the last CloseRow.
  void DiscardRow();
  // The rows as a batch (FIRN_CHECKs that the columns agree in length); the builder is empty and usable again.
  std::shared_ptr<arrow::RecordBatch> Finish();

 private:
  std::shared_ptr<arrow::Schema> arrow_schema_;
  std::vector<std::unique_ptr<ColumnBuilder>> columns_;
  int64_t row_count_ = 0;
};

}  // namespace firn::columnar
