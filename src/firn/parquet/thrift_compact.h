// ThriftWriter and ThriftReader: Thrift's compact protocol, as far as Parquet's headers and footers need it.
//
// Pure, over bytes in memory. The writer cannot fail but for memory; structs close in the order in which they were
// opened. The reader is for bytes from outside: it never reads past the end, follows no more than kThriftDepthMax
// levels and believes no count that the bytes left could not hold; whatever is wrong is kCorruption.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "firn/base/byte_cursor.h"
#include "firn/base/check.h"
#include "firn/base/error.h"
#include "firn/parquet/byte_buffer.h"

namespace firn::parquet {

enum class ThriftType : uint8_t {
  kStop = 0, kTrue = 1, kFalse = 2, kByte = 3, kI16 = 4, kI32 = 5, kI64 = 6, kDouble = 7, kBinary = 8, kList = 9,
  kSet = 10, kMap = 11, kStruct = 12,
};

inline constexpr int kThriftDepthMax = 64;

class ThriftWriter {
 public:
  // `last_id`: of the field that was written last into the outermost struct, by another writer.
  explicit ThriftWriter(ByteBuffer& out, int16_t last_id = 0) : out_(out), last_id_(last_id) {}

  // Fields of the open struct, by ascending id.
  void Bool(int16_t id, bool value) { Header(id, value ? ThriftType::kTrue : ThriftType::kFalse); }
  void I16(int16_t id, int16_t value) { Number(id, ThriftType::kI16, value); }
  void I32(int16_t id, int32_t value) { Number(id, ThriftType::kI32, value); }
  void I64(int16_t id, int64_t value) { Number(id, ThriftType::kI64, value); }
  void Binary(int16_t id, std::string_view value) {
    Header(id, ThriftType::kBinary);
    Bytes(value);
  }
  void BeginStruct(int16_t id) {
    Header(id, ThriftType::kStruct);
    BeginElement();
  }
  void BeginList(int16_t id, ThriftType element, size_t count);
  // Ends the struct that BeginStruct or BeginElement opened; at the end also the outermost, which opens by itself.
  void EndStruct();

  // Elements of a list, as many as were said.
  void BeginElement() {
    FIRN_CHECK(depth_ < kDepthMax, "what is written to Parquet files is not nested so deeply");
    outer_ids_[depth_++] = last_id_;
    last_id_ = 0;
  }
  void BoolElement(bool value) {
    out_.AppendByte(static_cast<uint8_t>(value ? ThriftType::kTrue : ThriftType::kFalse));
  }
  void NumberElement(int64_t value) { out_.AppendZigZag(value); }
  void Bytes(std::string_view value) {
    out_.AppendVarint(value.size());
    out_.Append(value);
  }

 private:
  void Header(int16_t id, ThriftType type);
  void Number(int16_t id, ThriftType type, int64_t value) {
    Header(id, type);
    out_.AppendZigZag(value);
  }

  static constexpr size_t kDepthMax = 8;

  ByteBuffer& out_;
  int16_t last_id_;
  size_t depth_ = 0;
  int16_t outer_ids_[kDepthMax];
};

class ThriftReader {
 public:
  explicit ThriftReader(std::string_view bytes) : cursor_(bytes) {}

  struct FieldHeader {
    ThriftType type = ThriftType::kStop;  // kStop: the struct has ended
    int16_t id = 0;
  };
  struct ListHeader {
    ThriftType element = ThriftType::kStop;
    uint32_t count = 0;
  };

  // The next field of the open struct. A bool has its value in the type.
  Result<FieldHeader> NextField();
  Status BeginStruct();  // after NextField or in a list; ends with the field kStop
  Result<int64_t> Number();  // kI16, kI32, kI64
  Result<int8_t> Byte();
  Result<std::string_view> Binary();
  Result<ListHeader> BeginList();
  Result<bool> BoolElement();
  Status SkipBytes(size_t count) { return cursor_.Skip(count); }
  // Passes over a value of that type.
  Status Skip(ThriftType type);

  size_t position() const { return cursor_.position(); }

 private:
  Result<uint64_t> Varint();

  ByteCursor cursor_;
  int16_t last_id_ = 0;
  std::vector<int16_t> outer_ids_;
};

}  // namespace firn::parquet
