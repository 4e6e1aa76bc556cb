#include "firn/parquet/thrift_compact.h"

#include <fmt/format.h>

#include <limits>

namespace firn::parquet {
namespace {

constexpr int kShortDeltaMax = 15;
constexpr size_t kShortListMax = 14;
constexpr uint8_t kLongList = 0xF0;

Status SkipDeep(ThriftReader& reader, ThriftType type, int depth);

Status SkipStruct(ThriftReader& reader, int depth) {
  FIRN_TRY(reader.BeginStruct());
  for (;;) {
    FIRN_ASSIGN(ThriftReader::FieldHeader field, reader.NextField());
    if (field.type == ThriftType::kStop) return {};
    if (field.type == ThriftType::kTrue || field.type == ThriftType::kFalse) continue;
    FIRN_TRY(SkipDeep(reader, field.type, depth));
  }
}

Status SkipList(ThriftReader& reader, int depth) {
  FIRN_ASSIGN(ThriftReader::ListHeader list, reader.BeginList());
  bool is_bool = list.element == ThriftType::kTrue || list.element == ThriftType::kFalse;
  for (uint32_t i = 0; i < list.count; ++i) {
    if (is_bool) {
      FIRN_TRY(reader.BoolElement());
    } else {
      FIRN_TRY(SkipDeep(reader, list.element, depth));
    }
  }
  return {};
}

Status SkipDeep(ThriftReader& reader, ThriftType type, int depth) {
  if (depth == 0) return Fail(ErrorCode::kCorruption, "a Thrift value is nested too deeply");
  switch (type) {
    case ThriftType::kTrue:
    case ThriftType::kFalse: return {};
    case ThriftType::kByte: return reader.SkipBytes(1);
    case ThriftType::kDouble: return reader.SkipBytes(8);
    case ThriftType::kI16:
    case ThriftType::kI32:
    case ThriftType::kI64: FIRN_TRY(reader.Number()); return {};
    case ThriftType::kBinary: FIRN_TRY(reader.Binary()); return {};
    case ThriftType::kStruct: return SkipStruct(reader, depth - 1);
    case ThriftType::kList:
    case ThriftType::kSet: return SkipList(reader, depth - 1);
    default: break;
  }
  // Maps are nowhere in Parquet's structures.
  return Fail(ErrorCode::kCorruption, fmt::format("a Thrift value of a type that Parquet does not use: {}",
                                                  static_cast<int>(type)));
}

}  // namespace

void ThriftWriter::Header(int16_t id, ThriftType type) {
  int delta = id - last_id_;
  if (delta > 0 && delta <= kShortDeltaMax) {
    out_.AppendByte(static_cast<uint8_t>(delta << 4 | static_cast<int>(type)));
  } else {
    out_.AppendByte(static_cast<uint8_t>(type));
    out_.AppendZigZag(id);
  }
  last_id_ = id;
}

void ThriftWriter::BeginList(int16_t id, ThriftType element, size_t count) {
  Header(id, ThriftType::kList);
  if (count <= kShortListMax) {
    out_.AppendByte(static_cast<uint8_t>(count << 4 | static_cast<size_t>(element)));
  } else {
    out_.AppendByte(static_cast<uint8_t>(kLongList | static_cast<uint8_t>(element)));
    out_.AppendVarint(count);
  }
}

void ThriftWriter::EndStruct() {
  out_.AppendByte(static_cast<uint8_t>(ThriftType::kStop));
  if (depth_ > 0) last_id_ = outer_ids_[--depth_];
}

Result<uint64_t> ThriftReader::Varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    FIRN_ASSIGN(uint8_t byte, cursor_.TakeByte());
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  return Fail(ErrorCode::kCorruption, "a Thrift number has more than ten bytes");
}

Result<ThriftReader::FieldHeader> ThriftReader::NextField() {
  FIRN_ASSIGN(uint8_t byte, cursor_.TakeByte());
  auto type = static_cast<ThriftType>(byte & 0x0F);
  if (type == ThriftType::kStop) {
    if (!outer_ids_.empty()) {
      last_id_ = outer_ids_.back();
      outer_ids_.pop_back();
    }
    return FieldHeader{};
  }
  int64_t id = last_id_ + (byte >> 4);
  if (byte >> 4 == 0) {
    FIRN_ASSIGN(id, Number());
  }
  if (id < 0 || id > std::numeric_limits<int16_t>::max() || type > ThriftType::kStruct) {
    return Fail(ErrorCode::kCorruption, fmt::format("a Thrift field that cannot be: id {}, type {}", id, byte & 0x0F));
  }
  last_id_ = static_cast<int16_t>(id);
  return FieldHeader{type, last_id_};
}

Status ThriftReader::BeginStruct() {
  if (outer_ids_.size() >= static_cast<size_t>(kThriftDepthMax)) {
    return Fail(ErrorCode::kCorruption, "a Thrift value is nested too deeply");
  }
  outer_ids_.push_back(last_id_);
  last_id_ = 0;
  return {};
}

Result<int64_t> ThriftReader::Number() {
  FIRN_ASSIGN(uint64_t value, Varint());
  return static_cast<int64_t>(value >> 1 ^ (~(value & 1) + 1));
}

Result<int8_t> ThriftReader::Byte() {
  FIRN_ASSIGN(uint8_t byte, cursor_.TakeByte());
  return static_cast<int8_t>(byte);
}

Result<std::string_view> ThriftReader::Binary() {
  FIRN_ASSIGN(uint64_t length, Varint());
  if (length > cursor_.remaining()) return Fail(ErrorCode::kCorruption, "a Thrift text reaches past the end");
  return cursor_.Take(static_cast<size_t>(length));
}

Result<ThriftReader::ListHeader> ThriftReader::BeginList() {
  FIRN_ASSIGN(uint8_t byte, cursor_.TakeByte());
  uint64_t count = byte >> 4;
  if (count > kShortListMax) {
    FIRN_ASSIGN(count, Varint());
  }
  // Every element has at least one byte.
  if (count > cursor_.remaining()) return Fail(ErrorCode::kCorruption, "a Thrift list reaches past the end");
  return ListHeader{static_cast<ThriftType>(byte & 0x0F), static_cast<uint32_t>(count)};
}

Result<bool> ThriftReader::BoolElement() {
  FIRN_ASSIGN(uint8_t byte, cursor_.TakeByte());
  return byte == static_cast<uint8_t>(ThriftType::kTrue);
}

Status ThriftReader::Skip(ThriftType type) { return SkipDeep(*this, type, kThriftDepthMax); }

}  // namespace firn::parquet
