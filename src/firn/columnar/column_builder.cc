#include "firn/columnar/column_builder.h"

#include <arrow/array/array_base.h>
#include <arrow/array/data.h>
#include <arrow/array/util.h>
#include <arrow/buffer.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <algorithm>
#include <bit>
#include <utility>

namespace firn::columnar {
namespace {

constexpr int64_t kRowsMin = 64;
constexpr int64_t kBytesMin = 1024;
constexpr int64_t kDoublingBytesMax = 1 << 20;  // beyond it, half as much again: a column may be hundreds of MiB

int64_t BitmapBytes(int64_t rows) { return (rows + 7) / 8; }
int64_t Grown(int64_t capacity, int64_t bytes) {
  return bytes > kDoublingBytesMax ? capacity + capacity / 2 : capacity * 2;
}
// A batch is seldom of exactly the last one's size.
int64_t WithSlack(int64_t hint) { return hint + hint / 8; }

Storage StorageOf(schema::TypeKind kind) {
  switch (kind) {
    case schema::TypeKind::kBoolean: return Storage::kBool;
    case schema::TypeKind::kInt:
    case schema::TypeKind::kDate: return Storage::kInt32;
    case schema::TypeKind::kLong:
    case schema::TypeKind::kTime:
    case schema::TypeKind::kTimestamp:
    case schema::TypeKind::kTimestamptz:
    case schema::TypeKind::kTimestampNs:
    case schema::TypeKind::kTimestamptzNs: return Storage::kInt64;
    case schema::TypeKind::kFloat: return Storage::kFloat;
    case schema::TypeKind::kDouble: return Storage::kDouble;
    case schema::TypeKind::kDecimal: return Storage::kDecimal128;
    case schema::TypeKind::kUuid:
    case schema::TypeKind::kFixed: return Storage::kFixed;
    case schema::TypeKind::kStruct: return Storage::kStruct;
    case schema::TypeKind::kList: return Storage::kList;
    case schema::TypeKind::kMap: return Storage::kMap;
    case schema::TypeKind::kString:
    case schema::TypeKind::kBinary:
    case schema::TypeKind::kUnknown:
    case schema::TypeKind::kVariant:
    case schema::TypeKind::kGeometry:
    case schema::TypeKind::kGeography: return Storage::kBytes;
  }
  return Storage::kBytes;
}

int32_t WidthOf(const schema::Type& type) {
  switch (StorageOf(type.kind())) {
    case Storage::kInt32:
    case Storage::kFloat: return 4;
    case Storage::kInt64:
    case Storage::kDouble: return 8;
    case Storage::kDecimal128: return 16;
    case Storage::kFixed: return type.kind() == schema::TypeKind::kUuid ? 16 : type.length();
    default: return 0;
  }
}

int64_t CountZeroBits(const uint8_t* bits, int64_t begin, int64_t end) {
  int64_t zeros = 0;
  for (int64_t i = begin; i < end; ++i) zeros += (bits[i >> 3] >> (i & 7) & 1) == 0 ? 1 : 0;
  return zeros;
}

void ClearBits(uint8_t* bits, int64_t begin, int64_t end) {
  for (; begin < end && (begin & 7) != 0; ++begin) bits[begin >> 3] &= static_cast<uint8_t>(~(1 << (begin & 7)));
  if (begin == end) return;
  std::memset(bits + (begin >> 3), 0, static_cast<size_t>((end >> 3) - (begin >> 3)));
  for (begin = std::max(begin, end & ~int64_t{7}); begin < end; ++begin) {
    bits[begin >> 3] &= static_cast<uint8_t>(~(1 << (begin & 7)));
  }
}

}  // namespace

std::unique_ptr<ColumnBuilder> ColumnBuilder::Make(const schema::Field& field) {
  return std::unique_ptr<ColumnBuilder>(new ColumnBuilder(field));
}

ColumnBuilder::ColumnBuilder(const schema::Field& field)
    : storage_(StorageOf(field.type->kind())),
      required_(field.required),
      width_(WidthOf(*field.type)),
      type_(ToArrowField(field)->type()) {
  for (const schema::Field& child : field.type->fields()) children_.push_back(Make(child));
}

ColumnBuilder::~ColumnBuilder() = default;

int64_t ColumnBuilder::ValueBytes(int64_t rows) const {
  return storage_ == Storage::kBool ? BitmapBytes(rows) : rows * width_;
}

int64_t ColumnBuilder::BytesAt(int64_t rows) const {
  int64_t total = 0;
  rows = length_ == 0 ? 0 : std::max(rows, length_);
  total += ValueBytes(rows);
  if (storage_ == Storage::kBytes) total += byte_count_;
  if (has_offsets()) total += rows * 4;
  if (validity_.data() != nullptr || rows > length_) total += BitmapBytes(rows);
  for (const auto& child : children_) total += child->BytesAt(is_repeated() ? child->length_ : rows);
  return total;
}

void ColumnBuilder::GrowRows(int64_t rows) {
  const int64_t bytes = has_offsets() ? row_capacity_ * 4 : ValueBytes(row_capacity_);
  int64_t capacity =
      std::max({kRowsMin, rows, Grown(row_capacity_, bytes), row_capacity_ == 0 ? WithSlack(row_hint_) : 0});
  if (has_offsets()) {
    bool first = offsets_.data() == nullptr;
    offsets_.Grow((capacity + 1) * 4);
    if (first) offsets()[0] = 0;
  } else if (storage_ != Storage::kStruct) {
    values_.Grow(std::max<int64_t>(ValueBytes(capacity), 1));  // fixed(0) has values of no bytes
  }
  if (validity_.data() != nullptr) validity_.Grow(BitmapBytes(capacity));
  row_capacity_ = capacity;
}

bool ColumnBuilder::GrowBytes(size_t size) {
  int64_t needed = byte_count_ + static_cast<int64_t>(size);
  if (needed > kColumnBytesMax) return false;
  int64_t first = values_.data() == nullptr ? WithSlack(byte_hint_) : 0;
  int64_t grown = Grown(values_.capacity(), values_.capacity());
  values_.Grow(std::max({needed + static_cast<int64_t>(kReadableBytes), grown, kBytesMin, first}));
  return true;
}

void ColumnBuilder::MakeValidity() {
  validity_.Grow(BitmapBytes(row_capacity_));
  std::memset(validity_.data(), 0xff, static_cast<size_t>(BitmapBytes(length_)));
}

void ColumnBuilder::AppendNulls(int64_t count) {
  if (count <= 0) return;
  const int64_t end = length_ + count;
  if (end > row_capacity_) GrowRows(end);
  if (validity_.data() == nullptr) MakeValidity();
  if (has_offsets()) {
    // A list that was left open loses its elements: a null row has none.
    if (is_repeated()) {
      for (auto& child : children_) child->Truncate(byte_count_);
    }
    std::fill(offsets() + length_ + 1, offsets() + end + 1, static_cast<int32_t>(byte_count_));
  } else if (storage_ == Storage::kBool) {
    ClearBits(values_.data(), length_, end);
  } else if (storage_ == Storage::kStruct) {
    for (auto& child : children_) child->FillNulls(end);
  } else {
    std::memset(values_.data() + length_ * width_, 0, static_cast<size_t>(count * width_));
  }
  ClearBits(validity_.data(), length_, end);
  null_count_ += count;
  length_ = end;
}

bool ColumnBuilder::AppendFixed(std::string_view value) {
#ifndef NDEBUG
  FIRN_CHECK(static_cast<int64_t>(value.size()) == width_, "a fixed value of another length");
#endif
  MakeRoom();
  if (width_ > 0) std::memcpy(values_.data() + length_ * width_, value.data(), static_cast<size_t>(width_));
  CloseValid();
  return true;
}

bool ColumnBuilder::AppendList() {
#ifndef NDEBUG
  FIRN_CHECK(is_repeated(), "an append that does not fit the column's type");
  FIRN_CHECK(storage_ != Storage::kMap || children_[0]->length_ == children_[1]->length_, "keys without values");
#endif
  if (children_[0]->length_ > kColumnBytesMax) return false;
  MakeRoom();
  byte_count_ = children_[0]->length_;
  offsets()[length_ + 1] = static_cast<int32_t>(byte_count_);
  CloseValid();
  return true;
}

void ColumnBuilder::Truncate(int64_t length) {
  if (length < length_) {
    if (null_count_ > 0) null_count_ -= CountZeroBits(validity_.data(), length, length_);
    length_ = length;
    if (has_offsets()) byte_count_ = offsets()[length];
  }
  int64_t child_length = is_repeated() ? byte_count_ : length;
  for (auto& child : children_) child->Truncate(child_length);
}

// As AppendNulls(rows) and FinishData would have it, with one block for all buffers.
std::shared_ptr<arrow::ArrayData> ColumnBuilder::NullData(int64_t rows, ZeroBlock& zeros) const {
  auto data = arrow::ArrayData::Make(type_, rows, {rows == 0 ? nullptr : zeros.First(BitmapBytes(rows))}, rows);
  if (has_offsets()) data->buffers.push_back(zeros.First((rows + 1) * 4));
  if (storage_ == Storage::kBytes) {
    data->buffers.push_back(zeros.First(0));
  } else if (!has_offsets() && storage_ != Storage::kStruct) {
    data->buffers.push_back(zeros.First(ValueBytes(rows)));
  }
  std::vector<std::shared_ptr<arrow::ArrayData>> children;
  for (const auto& child : children_) children.push_back(child->NullData(is_repeated() ? 0 : rows, zeros));
  data->child_data = NestedData(std::move(children), 0);
  return data;
}

// Arrow's map is a list of non-null entries.
std::vector<std::shared_ptr<arrow::ArrayData>> ColumnBuilder::NestedData(
    std::vector<std::shared_ptr<arrow::ArrayData>> children, int64_t elements) const {
  if (storage_ != Storage::kMap) return children;
  std::vector<std::shared_ptr<arrow::Buffer>> no_nulls{nullptr};
  return {arrow::ArrayData::Make(static_cast<const arrow::MapType&>(*type_).value_type(), elements,
                                 std::move(no_nulls), std::move(children), 0)};
}

std::shared_ptr<arrow::ArrayData> ColumnBuilder::FinishData(ZeroBlock& zeros) {
  if (row_capacity_ == 0) GrowRows(1);  // an empty column still has its first offset
  if (storage_ == Storage::kBytes && values_.data() == nullptr) values_.Grow(kBytesMin);
  std::shared_ptr<arrow::Buffer> validity = validity_.Release(BitmapBytes(length_));
  if (null_count_ == 0) validity = nullptr;
  auto data = arrow::ArrayData::Make(type_, length_, {std::move(validity)}, null_count_);
  if (has_offsets()) data->buffers.push_back(offsets_.Release((length_ + 1) * 4));
  if (storage_ == Storage::kBytes) {
    data->buffers.push_back(values_.Release(byte_count_));
  } else if (!has_offsets() && storage_ != Storage::kStruct) {
    data->buffers.push_back(values_.Release(ValueBytes(length_)));
  }
  std::vector<std::shared_ptr<arrow::ArrayData>> children;
  for (auto& child : children_) {
    if (storage_ == Storage::kStruct && child->length_ == 0) {
      child->Truncate(0);  // what a discarded row has left below it, or a list left open
      children.push_back(child->NullData(length_, zeros));
      continue;
    }
    if (storage_ == Storage::kStruct) child->FillNulls(length_);
    FIRN_CHECK(child->length_ == (is_repeated() ? byte_count_ : length_), "a nested column of another length");
    children.push_back(child->FinishData(zeros));
  }
  data->child_data = NestedData(std::move(children), byte_count_);
  row_hint_ = std::max(length_, row_hint_ / 2);
  if (storage_ == Storage::kBytes) byte_hint_ = std::max(byte_count_, byte_hint_ / 2);
  length_ = null_count_ = row_capacity_ = byte_count_ = 0;
  return data;
}

std::shared_ptr<arrow::Array> ColumnBuilder::Finish(ZeroBlock& zeros) { return arrow::MakeArray(FinishData(zeros)); }

std::shared_ptr<arrow::Array> ColumnBuilder::Finish() {
  ZeroBlock zeros;
  return Finish(zeros);
}

std::shared_ptr<arrow::Array> ColumnBuilder::FinishNulls(int64_t rows, ZeroBlock& zeros) {
  FIRN_CHECK(length_ == 0, "a column with values is no column of nulls");
  Truncate(0);  // what a list left open
  return arrow::MakeArray(NullData(rows, zeros));
}

RowBuilder::RowBuilder(const schema::Schema& schema) : arrow_schema_(ToArrowSchema(schema)) {
  for (const schema::Field& field : schema.fields) columns_.push_back(ColumnBuilder::Make(field));
}

RowBuilder::~RowBuilder() = default;

int64_t RowBuilder::bytes() const {
  int64_t total = 0;
  for (const auto& column : columns_) total += column->BytesAt(row_count_);
  return total;
}

void RowBuilder::CloseRow() {
  ++row_count_;
#ifndef NDEBUG
  for (const auto& column : columns_) {
    FIRN_CHECK(column->length() == row_count_ || (column->length() < row_count_ && !column->required()),
               "a required column without its value, or a column with two");
  }
#endif
}

void RowBuilder::DiscardRow() {
  for (auto& column : columns_) column->Truncate(row_count_);
}

std::shared_ptr<arrow::RecordBatch> RowBuilder::Finish() {
  std::vector<std::shared_ptr<arrow::Array>> arrays;
  ZeroBlock zeros;
  for (auto& column : columns_) {
    if (!column->required() && column->length() == 0 && row_count_ > 0) {
      arrays.push_back(column->FinishNulls(row_count_, zeros));
      continue;
    }
    if (!column->required()) column->FillNulls(row_count_);
    FIRN_CHECK(column->length() == row_count_, "a column of another length than its table");
    arrays.push_back(column->Finish(zeros));
  }
  auto batch = arrow::RecordBatch::Make(arrow_schema_, row_count_, std::move(arrays));
  row_count_ = 0;
  return batch;
}

}  // namespace firn::columnar
