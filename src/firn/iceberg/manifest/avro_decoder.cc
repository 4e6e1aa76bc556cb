#include "firn/iceberg/manifest/avro_decoder.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <utility>

#include "firn/base/encoding.h"

namespace firn::iceberg {
namespace {

using schema::TypeKind;
using schema::Value;

Result<std::string_view> TakeLengthPrefixed(ByteCursor& cursor) {
  FIRN_ASSIGN(const int64_t length, cursor.TakeZigZagVarint());
  if (length < 0) return Fail(ErrorCode::kCorruption, fmt::format("avro: a negative length: {}", length));
  return cursor.Take(static_cast<size_t>(length));
}

Result<int32_t> Narrow(int64_t value) {
  if (value < std::numeric_limits<int32_t>::min() || value > std::numeric_limits<int32_t>::max()) {
    return Fail(ErrorCode::kCorruption, fmt::format("avro: an int does not fit 32 bits: {}", value));
  }
  return static_cast<int32_t>(value);
}

Result<std::string_view> TakeBytes(const AvroSchema& branch, ByteCursor& cursor) {
  if (branch.kind == AvroKind::kFixed) return cursor.Take(branch.fixed_size);
  if (branch.kind == AvroKind::kBytes || branch.kind == AvroKind::kString) return TakeLengthPrefixed(cursor);
  return UnexpectedKind(branch, "bytes");
}

Status SkipRecord(const AvroSchema& record, ByteCursor& cursor) {
  for (const AvroField& field : record.fields) FIRN_TRY(SkipDatum(*field.schema, cursor));
  return {};
}

Status SkipItems(const AvroSchema& schema, ByteCursor& cursor) {
  while (true) {
    FIRN_ASSIGN(const int64_t count, NextBlockCount(cursor));
    if (count == 0) return {};
    for (int64_t i = 0; i < count; ++i) {
      if (schema.kind == AvroKind::kMap) FIRN_TRY(TakeLengthPrefixed(cursor));
      FIRN_TRY(SkipDatum(*schema.items[0], cursor));
    }
  }
}

// Calls `item(key, value schema)` for each pair of a map in either form.
template <typename Item>
Status DecodePairs(const AvroSchema& schema, ByteCursor& cursor, Item item) {
  FIRN_ASSIGN(const AvroSchema* branch, ResolveUnion(schema, cursor));
  if (branch->kind == AvroKind::kNull) return {};
  if (branch->kind != AvroKind::kArray && branch->kind != AvroKind::kMap) return UnexpectedKind(*branch, "map");
  const AvroSchema& pair = *branch->items[0];
  const bool is_map = branch->kind == AvroKind::kMap;
  if (!is_map && (pair.kind != AvroKind::kRecord || pair.fields.size() != 2)) {
    return UnexpectedKind(pair, "record of key and value");
  }
  while (true) {
    FIRN_ASSIGN(const int64_t count, NextBlockCount(cursor));
    if (count == 0) return {};
    for (int64_t i = 0; i < count; ++i) {
      int32_t key = 0;
      if (is_map) {
        FIRN_ASSIGN(std::string_view text, TakeLengthPrefixed(cursor));
        if (std::from_chars(text.data(), text.data() + text.size(), key).ec != std::errc()) {
          return Fail(ErrorCode::kCorruption, fmt::format("avro: a map key is no field id: '{}'", text.substr(0, 64)));
        }
      } else {
        FIRN_ASSIGN(const std::optional<int32_t> stored, DecodeInt(*pair.fields[0].schema, cursor));
        if (!stored.has_value()) return Fail(ErrorCode::kCorruption, "avro: a map key is null");
        key = *stored;
      }
      FIRN_TRY(item(key, is_map ? pair : *pair.fields[1].schema));
    }
  }
}

Result<Value> DecimalOf(std::string_view bytes) {
  if (bytes.size() > 16) {
    return Fail(ErrorCode::kCorruption, fmt::format("a decimal longer than 16 bytes: {}", bytes.size()));
  }
  unsigned __int128 unscaled = !bytes.empty() && (bytes[0] & 0x80) != 0 ? ~static_cast<unsigned __int128>(0) : 0;
  for (char c : bytes) unscaled = (unscaled << 8) | static_cast<uint8_t>(c);
  return Value(schema::Decimal128{static_cast<__int128>(unscaled)});
}

Result<Value> BytesValue(const AvroSchema& branch, const schema::Type& type, ByteCursor& cursor) {
  FIRN_ASSIGN(std::string_view bytes, TakeBytes(branch, cursor));
  switch (type.kind()) {
    case TypeKind::kDecimal: return DecimalOf(bytes);
    case TypeKind::kUuid: {
      if (bytes.size() == 16) return Value(std::string(bytes));
      Uuid uuid;
      if (!ParseUuid(bytes, uuid)) return Fail(ErrorCode::kCorruption, fmt::format("no UUID: {}", HexEncode(bytes)));
      return Value(std::string(uuid.begin(), uuid.end()));
    }
    case TypeKind::kFixed:
      if (bytes.size() != static_cast<size_t>(type.length())) {
        return Fail(ErrorCode::kCorruption, fmt::format("{} holds a value of {} bytes", type.ToString(), bytes.size()));
      }
      return Value(std::string(bytes));
    case TypeKind::kString:
    case TypeKind::kBinary: return Value(std::string(bytes));
    default: return UnexpectedKind(branch, type.ToString());
  }
}

Result<Value> IntegerValue(const AvroSchema& branch, const schema::Type& type, ByteCursor& cursor) {
  FIRN_ASSIGN(const int64_t value, cursor.TakeZigZagVarint());
  switch (type.kind()) {
    case TypeKind::kInt:
    case TypeKind::kDate: {
      FIRN_ASSIGN(const int32_t narrow, Narrow(value));
      return Value(narrow);
    }
    case TypeKind::kLong:
    case TypeKind::kTime:
    case TypeKind::kTimestamp:
    case TypeKind::kTimestamptz:
    case TypeKind::kTimestampNs:
    case TypeKind::kTimestamptzNs: return Value(value);
    default: return UnexpectedKind(branch, type.ToString());
  }
}

}  // namespace

std::unexpected<Error> UnexpectedKind(const AvroSchema& schema, std::string_view wanted) {
  return Fail(ErrorCode::kCorruption, fmt::format("avro: wanted {}, the file has: {}", wanted, schema.ToString()));
}

Result<int64_t> NextBlockCount(ByteCursor& cursor) {
  FIRN_ASSIGN(int64_t count, cursor.TakeZigZagVarint());
  if (count < 0) {  // the block's size in bytes follows
    FIRN_TRY(cursor.TakeZigZagVarint());
    if (count == INT64_MIN) return Fail(ErrorCode::kCorruption, "avro: impossible item count");
    count = -count;
  }
  // Every item of an Iceberg collection takes a byte or more.
  if (static_cast<uint64_t>(count) > cursor.remaining()) {
    return Fail(ErrorCode::kCorruption,
                fmt::format("avro: more items than bytes ({} left): {}", cursor.remaining(), count));
  }
  return count;
}

Result<const AvroSchema*> ResolveUnion(const AvroSchema& schema, ByteCursor& cursor) {
  const AvroSchema* branch = &schema;
  // Unions do not nest in Avro, but nothing before here has said so; the depth limit ends this.
  while (branch->kind == AvroKind::kUnion) {
    FIRN_ASSIGN(const int64_t index, cursor.TakeZigZagVarint());
    if (index < 0 || static_cast<size_t>(index) >= branch->items.size()) {
      return Fail(ErrorCode::kCorruption, fmt::format("avro: no such union branch: {}", index));
    }
    branch = branch->items[static_cast<size_t>(index)].get();
  }
  return branch;
}

Status SkipDatum(const AvroSchema& schema, ByteCursor& cursor) {
  switch (schema.kind) {
    case AvroKind::kNull: return {};
    case AvroKind::kBoolean: return cursor.Skip(1);
    case AvroKind::kFloat: return cursor.Skip(4);
    case AvroKind::kDouble: return cursor.Skip(8);
    case AvroKind::kFixed: return cursor.Skip(schema.fixed_size);
    case AvroKind::kInt:
    case AvroKind::kLong:
    case AvroKind::kEnum: FIRN_TRY(cursor.TakeZigZagVarint()); return {};
    case AvroKind::kBytes:
    case AvroKind::kString: FIRN_TRY(TakeLengthPrefixed(cursor)); return {};
    case AvroKind::kRecord: return SkipRecord(schema, cursor);
    case AvroKind::kArray:
    case AvroKind::kMap: return SkipItems(schema, cursor);
    case AvroKind::kUnion: {
      FIRN_ASSIGN(const AvroSchema* branch, ResolveUnion(schema, cursor));
      return SkipDatum(*branch, cursor);
    }
  }
  return Fail(ErrorCode::kInternal, "avro: a kind without a way to skip it");
}

Result<std::optional<bool>> DecodeBoolean(const AvroSchema& schema, ByteCursor& cursor) {
  FIRN_ASSIGN(const AvroSchema* branch, ResolveUnion(schema, cursor));
  if (branch->kind == AvroKind::kNull) return std::nullopt;
  if (branch->kind != AvroKind::kBoolean) return UnexpectedKind(*branch, "boolean");
  FIRN_ASSIGN(const uint8_t byte, cursor.TakeByte());
  if (byte > 1) return Fail(ErrorCode::kCorruption, fmt::format("avro: no boolean: {}", byte));
  return byte == 1;
}

Result<std::optional<int64_t>> DecodeLong(const AvroSchema& schema, ByteCursor& cursor) {
  FIRN_ASSIGN(const AvroSchema* branch, ResolveUnion(schema, cursor));
  if (branch->kind == AvroKind::kNull) return std::nullopt;
  if (branch->kind != AvroKind::kInt && branch->kind != AvroKind::kLong) return UnexpectedKind(*branch, "long");
  FIRN_ASSIGN(const int64_t value, cursor.TakeZigZagVarint());
  return value;
}

Result<std::optional<int32_t>> DecodeInt(const AvroSchema& schema, ByteCursor& cursor) {
  FIRN_ASSIGN(const std::optional<int64_t> wide, DecodeLong(schema, cursor));
  if (!wide.has_value()) return std::nullopt;
  FIRN_ASSIGN(const int32_t value, Narrow(*wide));
  return value;
}

Result<std::optional<std::string>> DecodeBytes(const AvroSchema& schema, ByteCursor& cursor) {
  FIRN_ASSIGN(const AvroSchema* branch, ResolveUnion(schema, cursor));
  if (branch->kind == AvroKind::kNull) return std::nullopt;
  FIRN_ASSIGN(std::string_view bytes, TakeBytes(*branch, cursor));
  return std::string(bytes);
}

Status DecodeLongMap(const AvroSchema& schema, ByteCursor& cursor, std::map<int32_t, int64_t>& out) {
  return DecodePairs(schema, cursor, [&](int32_t key, const AvroSchema& value_schema) -> Status {
    FIRN_ASSIGN(const std::optional<int64_t> value, DecodeLong(value_schema, cursor));
    if (value.has_value()) out.insert_or_assign(out.end(), key, *value);
    return {};
  });
}

Status DecodeBytesMap(const AvroSchema& schema, ByteCursor& cursor, std::map<int32_t, std::string>& out) {
  return DecodePairs(schema, cursor, [&](int32_t key, const AvroSchema& value_schema) -> Status {
    FIRN_ASSIGN(std::optional<std::string> value, DecodeBytes(value_schema, cursor));
    if (value.has_value()) out.insert_or_assign(out.end(), key, std::move(*value));
    return {};
  });
}

Status DecodeLongList(const AvroSchema& schema, ByteCursor& cursor, std::vector<int64_t>& out) {
  FIRN_TRY(DecodeArray(schema, cursor, [&](const AvroSchema& item) -> Status {
    FIRN_ASSIGN(const std::optional<int64_t> value, DecodeLong(item, cursor));
    if (!value.has_value()) return Fail(ErrorCode::kCorruption, "avro: null in a list of longs");
    out.push_back(*value);
    return {};
  }));
  return {};
}

Status DecodeIntList(const AvroSchema& schema, ByteCursor& cursor, std::vector<int32_t>& out) {
  FIRN_TRY(DecodeArray(schema, cursor, [&](const AvroSchema& item) -> Status {
    FIRN_ASSIGN(const std::optional<int32_t> value, DecodeInt(item, cursor));
    if (!value.has_value()) return Fail(ErrorCode::kCorruption, "avro: null in a list of ints");
    out.push_back(*value);
    return {};
  }));
  return {};
}

Result<Value> DecodeValue(const AvroSchema& schema, const schema::Type& type, ByteCursor& cursor) {
  FIRN_ASSIGN(const AvroSchema* branch, ResolveUnion(schema, cursor));
  switch (branch->kind) {
    case AvroKind::kNull: return Value();
    case AvroKind::kBoolean: {
      if (type.kind() != TypeKind::kBoolean) return UnexpectedKind(*branch, type.ToString());
      FIRN_ASSIGN(const uint8_t byte, cursor.TakeByte());
      return Value(byte != 0);
    }
    case AvroKind::kInt:
    case AvroKind::kLong: return IntegerValue(*branch, type, cursor);
    case AvroKind::kFloat: {
      FIRN_ASSIGN(const float value, cursor.TakeLittleEndian<float>());
      if (type.kind() == TypeKind::kFloat) return Value(value);
      if (type.kind() == TypeKind::kDouble) return Value(static_cast<double>(value));
      return UnexpectedKind(*branch, type.ToString());
    }
    case AvroKind::kDouble: {
      FIRN_ASSIGN(const double value, cursor.TakeLittleEndian<double>());
      if (type.kind() == TypeKind::kDouble) return Value(value);
      return UnexpectedKind(*branch, type.ToString());
    }
    case AvroKind::kBytes:
    case AvroKind::kString:
    case AvroKind::kFixed: return BytesValue(*branch, type, cursor);
    default: return UnexpectedKind(*branch, type.ToString());
  }
}

}  // namespace firn::iceberg
