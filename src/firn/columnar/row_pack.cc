#include "firn/columnar/row_pack.h"

#include <arrow/array.h>
#include <arrow/array/util.h>
#include <arrow/buffer.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/bitmap_ops.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

namespace firn::columnar {
namespace {

constexpr size_t kAlignment = 8;

enum class Validity : uint8_t { kAllValid, kBitmap, kAllNull };

struct Piece {
  const arrow::ArrayData* column;
  int64_t begin;
  int64_t end;
};

int64_t Rows(const std::vector<Piece>& pieces) {
  int64_t rows = 0;
  for (const Piece& piece : pieces) rows += piece.end - piece.begin;
  return rows;
}

int64_t Nulls(const Piece& piece) {
  const arrow::ArrayData& column = *piece.column;
  if (column.buffers[0] == nullptr || column.null_count == 0) return 0;
  const int64_t rows = piece.end - piece.begin;
  return rows - arrow::internal::CountSetBits(column.buffers[0]->data(), column.offset + piece.begin, rows);
}

bool HasLengths(arrow::Type::type id) {
  return id == arrow::Type::STRING || id == arrow::Type::BINARY || id == arrow::Type::LIST || id == arrow::Type::MAP;
}

class Packer {
 public:
  explicit Packer(std::string& out) : out_(out) {}

  void Pack(const std::vector<Piece>& pieces) {
    const int64_t rows = Rows(pieces);
    int64_t nulls = 0;
    for (const Piece& piece : pieces) nulls += Nulls(piece);
    const Validity validity = nulls == 0 ? Validity::kAllValid : nulls == rows ? Validity::kAllNull : Validity::kBitmap;
    out_.push_back(static_cast<char>(validity));
    if (validity == Validity::kAllNull) return;
    if (validity == Validity::kBitmap) PackValidity(pieces, rows);
    PackValues(pieces, rows);
  }

 private:
  void PackValidity(const std::vector<Piece>& pieces, int64_t rows) {
    uint8_t* bits = Reserve(arrow::bit_util::BytesForBits(rows));
    int64_t at = 0;
    for (const Piece& piece : pieces) {
      const arrow::ArrayData& column = *piece.column;
      const int64_t count = piece.end - piece.begin;
      if (column.buffers[0] == nullptr) {
        arrow::bit_util::SetBitsTo(bits, at, count, true);
      } else {
        arrow::internal::CopyBitmap(column.buffers[0]->data(), column.offset + piece.begin, count, bits, at);
      }
      at += count;
    }
  }

  void PackValues(const std::vector<Piece>& pieces, int64_t rows) {
    const arrow::DataType& type = *pieces.front().column->type;
    if (HasLengths(type.id())) return PackLengths(pieces, rows);
    if (type.id() == arrow::Type::STRUCT) return PackStruct(pieces);
    if (type.id() == arrow::Type::BOOL) {
      uint8_t* bits = Reserve(arrow::bit_util::BytesForBits(rows));
      int64_t at = 0;
      for (const Piece& piece : pieces) {
        const int64_t count = piece.end - piece.begin;
        arrow::internal::CopyBitmap(piece.column->buffers[1]->data(), piece.column->offset + piece.begin, count, bits,
                                    at);
        at += count;
      }
      return;
    }
    const int64_t width = type.bit_width() / 8;
    Align();
    for (const Piece& piece : pieces) {
      if (piece.end == piece.begin) continue;
      const uint8_t* values = piece.column->buffers[1]->data() + (piece.column->offset + piece.begin) * width;
      out_.append(reinterpret_cast<const char*>(values), static_cast<size_t>((piece.end - piece.begin) * width));
    }
  }

  // Lengths instead of offsets: they compress.
  void PackLengths(const std::vector<Piece>& pieces, int64_t rows) {
    Align();
    auto* lengths = reinterpret_cast<int32_t*>(Reserve(rows * static_cast<int64_t>(sizeof(int32_t))));
    std::vector<Piece> children;
    for (const Piece& piece : pieces) {
      const arrow::ArrayData* child = piece.column->child_data.empty() ? nullptr : piece.column->child_data[0].get();
      children.push_back({child, 0, 0});
      if (piece.end == piece.begin) continue;
      const auto* offsets = piece.column->GetValues<int32_t>(1);
      for (int64_t row = piece.begin; row < piece.end; ++row) *lengths++ = offsets[row + 1] - offsets[row];
      children.back().begin = offsets[piece.begin];
      children.back().end = offsets[piece.end];
    }
    if (!pieces.front().column->child_data.empty()) return Pack(children);
    for (size_t i = 0; i < pieces.size(); ++i) {
      if (children[i].end == children[i].begin) continue;
      out_.append(reinterpret_cast<const char*>(pieces[i].column->buffers[2]->data()) + children[i].begin,
                  static_cast<size_t>(children[i].end - children[i].begin));
    }
  }

  void PackStruct(const std::vector<Piece>& pieces) {
    const size_t children = pieces.front().column->child_data.size();
    std::vector<Piece> of_child;
    for (size_t i = 0; i < children; ++i) {
      of_child.clear();
      for (const Piece& piece : pieces) {
        const int64_t offset = piece.column->offset;
        of_child.push_back({piece.column->child_data[i].get(), offset + piece.begin, offset + piece.end});
      }
      Pack(of_child);
    }
  }

  void Align() { out_.resize((out_.size() + kAlignment - 1) & ~(kAlignment - 1), '\0'); }

  uint8_t* Reserve(int64_t bytes) {
    const size_t at = out_.size();
    out_.resize(at + static_cast<size_t>(bytes), '\0');
    return reinterpret_cast<uint8_t*>(out_.data() + at);
  }

  std::string& out_;
};

std::unexpected<Error> Torn() {
  return Fail(ErrorCode::kCorruption, "packed rows do not have the form that they were packed in");
}

std::unexpected<Error> Failed(const arrow::Status& status) {
  return Fail(status.IsOutOfMemory() ? ErrorCode::kResourceExhausted : ErrorCode::kInternal,
              fmt::format("unpacking rows: {}", status.message()));
}

using Data = std::shared_ptr<arrow::ArrayData>;

class Unpacker {
 public:
  explicit Unpacker(const std::shared_ptr<arrow::Buffer>& bytes) : bytes_(bytes) {}

  bool done() const { return at_ == bytes_->size(); }

  Result<Data> Unpack(const std::shared_ptr<arrow::DataType>& type, int64_t rows) {
    FIRN_ASSIGN(auto tag, Take(1));
    auto validity = static_cast<Validity>(tag->data()[0]);
    if (validity == Validity::kAllNull) {
      auto nulls = arrow::MakeArrayOfNull(type, rows);
      if (!nulls.ok()) return Failed(nulls.status());
      return (*nulls)->data();
    }
    if (validity != Validity::kAllValid && validity != Validity::kBitmap) return Torn();
    std::shared_ptr<arrow::Buffer> bitmap;
    if (validity == Validity::kBitmap) {
      FIRN_ASSIGN(bitmap, Take(arrow::bit_util::BytesForBits(rows)));
    }
    const int64_t null_count = bitmap == nullptr ? 0 : arrow::kUnknownNullCount;
    if (HasLengths(type->id())) return UnpackLengths(type, rows, std::move(bitmap), null_count);
    if (type->id() == arrow::Type::STRUCT) {
      std::vector<Data> children;
      for (const auto& field : type->fields()) {
        FIRN_ASSIGN(Data child, Unpack(field->type(), rows));
        children.push_back(std::move(child));
      }
      return arrow::ArrayData::Make(type, rows, {std::move(bitmap)}, std::move(children), null_count);
    }
    std::shared_ptr<arrow::Buffer> values;
    if (type->id() == arrow::Type::BOOL) {
      FIRN_ASSIGN(values, Take(arrow::bit_util::BytesForBits(rows)));
    } else {
      FIRN_TRY(Align());
      FIRN_ASSIGN(values, Take(rows * (type->bit_width() / 8)));
    }
    return arrow::ArrayData::Make(type, rows, {std::move(bitmap), std::move(values)}, null_count);
  }

 private:
  Result<Data> UnpackLengths(const std::shared_ptr<arrow::DataType>& type, int64_t rows,
                             std::shared_ptr<arrow::Buffer> bitmap, int64_t null_count) {
    FIRN_TRY(Align());
    FIRN_ASSIGN(auto stored, Take(rows * static_cast<int64_t>(sizeof(int32_t))));
    auto allocated = arrow::AllocateBuffer((rows + 1) * static_cast<int64_t>(sizeof(int32_t)));
    if (!allocated.ok()) return Failed(allocated.status());
    std::shared_ptr<arrow::Buffer> offsets = std::move(*allocated);
    auto* offset = reinterpret_cast<int32_t*>(offsets->mutable_data());
    const auto* lengths = reinterpret_cast<const int32_t*>(stored->data());
    int64_t end = 0;
    offset[0] = 0;
    for (int64_t row = 0; row < rows; ++row) {
      if (lengths[row] < 0) return Torn();
      end += lengths[row];
      if (end > INT32_MAX) return Torn();
      offset[row + 1] = static_cast<int32_t>(end);
    }
    if (type->num_fields() == 0) {
      FIRN_ASSIGN(auto values, Take(end));
      return arrow::ArrayData::Make(type, rows, {std::move(bitmap), std::move(offsets), std::move(values)}, null_count);
    }
    FIRN_ASSIGN(Data child, Unpack(type->field(0)->type(), end));
    return arrow::ArrayData::Make(type, rows, {std::move(bitmap), std::move(offsets)}, {std::move(child)}, null_count);
  }

  Status Align() {
    const int64_t aligned = (at_ + int64_t{kAlignment} - 1) & ~(int64_t{kAlignment} - 1);
    if (aligned > bytes_->size()) return Torn();
    at_ = aligned;
    return {};
  }

  Result<std::shared_ptr<arrow::Buffer>> Take(int64_t size) {
    if (size > bytes_->size() - at_) return Torn();
    auto taken = arrow::SliceBuffer(bytes_, at_, size);
    at_ += size;
    return taken;
  }

  const std::shared_ptr<arrow::Buffer>& bytes_;
  int64_t at_ = 0;
};

}  // namespace

std::shared_ptr<arrow::RecordBatch> RowSlice::Batch() const {
  if (batch == nullptr || (begin == 0 && end == batch->num_rows())) return batch;
  return batch->Slice(begin, end - begin);
}

int64_t BytesOfRows(const arrow::ArrayData& column, int64_t begin, int64_t end) {
  switch (column.type->id()) {
    case arrow::Type::STRING:
    case arrow::Type::BINARY: {
      const auto* offsets = column.GetValues<int32_t>(1);
      return int64_t{offsets[end]} - offsets[begin] + (end - begin) * static_cast<int64_t>(sizeof(int32_t));
    }
    case arrow::Type::LIST:
    case arrow::Type::MAP: {
      const auto* offsets = column.GetValues<int32_t>(1);
      return BytesOfRows(*column.child_data[0], offsets[begin], offsets[end]) +
             (end - begin) * static_cast<int64_t>(sizeof(int32_t));
    }
    case arrow::Type::STRUCT: {
      int64_t bytes = 0;
      for (const auto& child : column.child_data) {
        bytes += BytesOfRows(*child, column.offset + begin, column.offset + end);
      }
      return bytes;
    }
    default: return (end - begin) * std::max(1, column.type->bit_width() / 8);
  }
}

int64_t BytesOfRows(const arrow::RecordBatch& batch, int64_t begin, int64_t end) {
  int64_t bytes = 0;
  for (int i = 0; i < batch.num_columns(); ++i) bytes += BytesOfRows(*batch.column_data(i), begin, end);
  return bytes;
}

void PackRows(std::span<const RowSlice> slices, std::string& out) {
  if (slices.empty()) return;
  Packer packer(out);
  std::vector<Piece> pieces;
  for (int i = 0; i < slices.front().batch->num_columns(); ++i) {
    pieces.clear();
    for (const RowSlice& slice : slices) {
      pieces.push_back({slice.batch->column_data(i).get(), slice.begin, slice.end});
    }
    packer.Pack(pieces);
  }
}

Result<std::shared_ptr<arrow::RecordBatch>> UnpackRows(const std::shared_ptr<arrow::Schema>& schema, int64_t rows,
                                                       const std::shared_ptr<arrow::Buffer>& bytes) {
  Unpacker unpacker(bytes);
  std::vector<Data> columns;
  for (const auto& field : schema->fields()) {
    FIRN_ASSIGN(Data column, unpacker.Unpack(field->type(), rows));
    columns.push_back(std::move(column));
  }
  if (!unpacker.done()) return Torn();
  return arrow::RecordBatch::Make(schema, rows, std::move(columns));
}

}  // namespace firn::columnar
