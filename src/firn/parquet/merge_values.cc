#include "firn/parquet/merge_values.h"

#include <arrow/buffer.h>
#include <arrow/io/memory.h>
#include <fmt/format.h>
#include <parquet/column_reader.h>
#include <parquet/encoding.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>
#include <parquet/schema.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <utility>

#include "firn/parquet/merge_dictionary.h"

namespace firn::parquet {
namespace {

namespace pq = ::parquet;

constexpr int64_t kBatchValues = 16'384;
constexpr size_t kLengthBytes = 4;

std::unexpected<Error> Corrupt(std::string_view what) {
  return Fail(ErrorCode::kCorruption, fmt::format("values cannot be decoded: {}", what));
}

template <typename Action>
Status Guard(Action action) {
  try {
    return action();
  } catch (const std::bad_alloc&) {
    return Fail(ErrorCode::kResourceExhausted, "no memory for a page");
  } catch (const std::exception& e) {
    return Corrupt(e.what());
  }
}

pq::ColumnDescriptor Describe(ValueType type) {
  auto physical = static_cast<pq::Type::type>(type.physical_type);
  const int length = physical == pq::Type::FIXED_LEN_BYTE_ARRAY ? type.value_bytes : -1;
  auto node =
      pq::schema::PrimitiveNode::Make("value", pq::Repetition::REQUIRED, physical, pq::ConvertedType::NONE, length);
  return {node, 0, 0};
}

template <typename T>
void AppendValues(const T* values, int64_t count, int32_t, ByteBuffer& out) {
  out.Append(values, static_cast<size_t>(count) * sizeof(T));
}

void AppendValues(const pq::ByteArray* values, int64_t count, int32_t, ByteBuffer& out) {
  for (int64_t i = 0; i < count; ++i) {
    out.AppendValue(values[i].len);
    out.Append(values[i].ptr, values[i].len);
  }
}

void AppendValues(const pq::FixedLenByteArray* values, int64_t count, int32_t value_bytes, ByteBuffer& out) {
  for (int64_t i = 0; i < count; ++i) out.Append(values[i].ptr, static_cast<size_t>(value_bytes));
}

template <typename DType>
Status DecodeTyped(ValueType type, int32_t encoding, std::string_view body, int64_t count, ByteBuffer& out) {
  const pq::ColumnDescriptor column = Describe(type);
  auto decoder = pq::MakeTypedDecoder<DType>(static_cast<pq::Encoding::type>(encoding), &column);
  decoder->SetData(static_cast<int>(count), reinterpret_cast<const uint8_t*>(body.data()),
                   static_cast<int>(body.size()));
  // Not std::vector: Arrow wants bool[].
  auto values = std::make_unique<typename DType::c_type[]>(static_cast<size_t>(std::min(count, kBatchValues)));
  for (int64_t done = 0; done < count;) {
    const int wanted = static_cast<int>(std::min(count - done, kBatchValues));
    const int got = decoder->Decode(values.get(), wanted);
    if (got != wanted) return Corrupt("they end early");
    AppendValues(values.get(), got, type.value_bytes, out);
    done += got;
  }
  return {};
}

template <typename DType>
Status EncodeTyped(ValueType type, int32_t encoding, std::string_view plain, int64_t count, ByteBuffer& out) {
  using T = typename DType::c_type;
  const pq::ColumnDescriptor column = Describe(type);
  auto encoder = pq::MakeTypedEncoder<DType>(static_cast<pq::Encoding::type>(encoding), false, &column);
  std::vector<uint32_t> offsets;
  if constexpr (std::is_same_v<DType, pq::ByteArrayType>) {
    FIRN_ASSIGN(offsets, PlainOffsets(plain, count, 0));
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(plain.data());
  auto values = std::make_unique<T[]>(static_cast<size_t>(std::min(count, kBatchValues)));
  for (int64_t done = 0; done < count;) {
    const auto batch = static_cast<size_t>(std::min(count - done, kBatchValues));
    for (size_t i = 0; i < batch; ++i) {
      const size_t at = static_cast<size_t>(done) + i;
      if constexpr (std::is_same_v<DType, pq::ByteArrayType>) {
        values[i] =
            T(static_cast<uint32_t>(offsets[at + 1] - offsets[at] - kLengthBytes), bytes + offsets[at] + kLengthBytes);
      } else if constexpr (std::is_same_v<DType, pq::FLBAType>) {
        values[i] = T(bytes + at * static_cast<size_t>(type.value_bytes));
      } else {
        std::memcpy(&values[i], bytes + at * sizeof(T), sizeof(T));
      }
    }
    encoder->Put(values.get(), static_cast<int>(batch));
    done += static_cast<int64_t>(batch);
  }
  auto encoded = encoder->FlushValues();
  out.Append(encoded->data(), static_cast<size_t>(encoded->size()));
  return {};
}

// Calls `action` with the Parquet type that the number stands for.
template <typename Action>
Status WithType(int32_t physical_type, Action action) {
  switch (physical_type) {
    case pq::Type::BOOLEAN: return action(pq::BooleanType());
    case pq::Type::INT32: return action(pq::Int32Type());
    case pq::Type::INT64: return action(pq::Int64Type());
    case pq::Type::FLOAT: return action(pq::FloatType());
    case pq::Type::DOUBLE: return action(pq::DoubleType());
    case pq::Type::BYTE_ARRAY: return action(pq::ByteArrayType());
    case pq::Type::FIXED_LEN_BYTE_ARRAY: return action(pq::FLBAType());
    default: return Fail(ErrorCode::kUnsupported, fmt::format("an unknown physical type: {}", physical_type));
  }
}

int64_t CountValues(ValueType type, std::string_view plain) {
  return static_cast<int64_t>(plain.size()) / type.value_bytes;
}

// Bytes that the first `count` values take.
size_t PlainBytes(std::string_view plain, int64_t count, int32_t value_bytes) {
  if (value_bytes > 0) return static_cast<size_t>(count) * static_cast<size_t>(value_bytes);
  size_t at = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t length = 0;
    std::memcpy(&length, plain.data() + at, sizeof(length));
    at += kLengthBytes + length;
  }
  return at;
}

// Takes the row that has begun last, and may go on, off the others.
DecodedRows TakeLastRow(DecodedRows& rows, int16_t definition_level, int32_t value_bytes) {
  DecodedRows last;
  if (rows.repetition.empty()) return last;
  auto begin = rows.repetition.end();
  while (begin != rows.repetition.begin() && *--begin != 0) continue;
  const auto cut = begin - rows.repetition.begin();
  last.repetition.assign(begin, rows.repetition.end());
  rows.repetition.erase(begin, rows.repetition.end());
  last.count = static_cast<int64_t>(last.repetition.size());
  last.definition.assign(rows.definition.begin() + cut, rows.definition.end());
  rows.definition.erase(rows.definition.begin() + cut, rows.definition.end());
  last.values = std::count(last.definition.begin(), last.definition.end(), static_cast<uint8_t>(definition_level));
  rows.count -= last.count;
  rows.values -= last.values;
  const size_t bytes = PlainBytes(rows.plain.view(), rows.values, value_bytes);
  last.plain.Append(rows.plain.view().substr(bytes));
  ByteBuffer plain;
  plain.Append(rows.plain.view().substr(0, bytes));
  rows.plain = std::move(plain);
  return last;
}

template <typename DType>
Status ReadTyped(pq::ColumnReader& reader, int32_t value_bytes, const std::function<Status(const DecodedRows&)>& take) {
  using T = typename DType::c_type;
  auto& typed = static_cast<pq::TypedColumnReader<DType>&>(reader);
  const int16_t definition_level = reader.descr()->max_definition_level();
  const int16_t repetition_level = reader.descr()->max_repetition_level();
  std::vector<int16_t> definition(kBatchValues);
  std::vector<int16_t> repetition(kBatchValues);
  auto values = std::make_unique<T[]>(kBatchValues);
  DecodedRows rows;
  while (typed.HasNext()) {
    int64_t read = 0;
    const int64_t levels = typed.ReadBatch(kBatchValues, definition.data(), repetition.data(), values.get(), &read);
    if (levels == 0 && read == 0) return Corrupt("they end early");
    const int64_t entries = definition_level > 0 ? levels : read;
    rows.count += entries;
    rows.values += read;
    for (int64_t i = 0; definition_level > 0 && i < levels; ++i) {
      rows.definition.push_back(static_cast<uint8_t>(definition[static_cast<size_t>(i)]));
    }
    for (int64_t i = 0; repetition_level > 0 && i < levels; ++i) {
      rows.repetition.push_back(static_cast<uint8_t>(repetition[static_cast<size_t>(i)]));
    }
    AppendValues(values.get(), read, value_bytes, rows.plain);
    if (rows.count < kDecodedEntriesMax && rows.plain.size() < kDecodedBytesMax) continue;
    const int32_t fixed_bytes = std::is_same_v<DType, pq::ByteArrayType> ? 0
                                : std::is_same_v<DType, pq::FLBAType>    ? value_bytes
                                                                         : static_cast<int32_t>(sizeof(T));
    DecodedRows last = TakeLastRow(rows, definition_level, fixed_bytes);
    if (rows.count > 0) FIRN_TRY(take(rows));
    rows = std::move(last);
  }
  return rows.count > 0 ? take(rows) : Status();
}

__int128 UnscaledDecimal(ValueType type, const uint8_t* at) {
  if (type.physical_type == pq::Type::FIXED_LEN_BYTE_ARRAY) {
    auto value = static_cast<unsigned __int128>(static_cast<__int128>(static_cast<int8_t>(at[0])));
    for (int32_t i = 1; i < type.value_bytes; ++i) value = value << 8 | at[i];
    return static_cast<__int128>(value);
  }
  if (type.value_bytes == 4) {
    int32_t value;
    std::memcpy(&value, at, sizeof(value));
    return value;
  }
  int64_t value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

Status AppendDecimal(ValueType type, __int128 value, ByteBuffer& out) {
  const int32_t bits = 8 * type.value_bytes - 1;
  const __int128 beyond = bits >= 127 ? 0 : value >> bits;
  if (beyond != 0 && beyond != -1) return Corrupt("a decimal beyond its precision");
  if (type.physical_type != pq::Type::FIXED_LEN_BYTE_ARRAY) {
    out.Append(&value, static_cast<size_t>(type.value_bytes));
    return {};
  }
  for (int32_t i = type.value_bytes - 1; i >= 0; --i) {
    out.AppendByte(i >= 16 ? static_cast<uint8_t>(value < 0 ? 0xFF : 0) : static_cast<uint8_t>(value >> (8 * i)));
  }
  return {};
}

template <typename From, typename To>
Status Widen(std::string_view plain, ByteBuffer& out) {
  for (size_t at = 0; at + sizeof(From) <= plain.size(); at += sizeof(From)) {
    From value;
    std::memcpy(&value, plain.data() + at, sizeof(From));
    out.AppendValue(static_cast<To>(value));
  }
  return {};
}

}  // namespace

bool IsKnownEncoding(ValueType type, int32_t encoding) {
  const int32_t physical = type.physical_type;
  const bool integer = physical == pq::Type::INT32 || physical == pq::Type::INT64;
  const bool floating = physical == pq::Type::FLOAT || physical == pq::Type::DOUBLE;
  const bool fixed = physical == pq::Type::FIXED_LEN_BYTE_ARRAY;
  switch (encoding) {
    case pq::Encoding::PLAIN: return true;
    case pq::Encoding::RLE: return physical == pq::Type::BOOLEAN;
    case pq::Encoding::DELTA_BINARY_PACKED: return integer;
    case pq::Encoding::DELTA_LENGTH_BYTE_ARRAY: return physical == pq::Type::BYTE_ARRAY;
    case pq::Encoding::DELTA_BYTE_ARRAY: return physical == pq::Type::BYTE_ARRAY || fixed;
    case pq::Encoding::BYTE_STREAM_SPLIT: return integer || floating || fixed;
    default: return false;
  }
}

Status AppendPlain(ValueType type, int32_t encoding, std::string_view body, int64_t count, ByteBuffer& out) {
  if (count == 0) return {};
  if (encoding == kEncodingPlain && type.physical_type != pq::Type::BOOLEAN) {
    FIRN_TRY(PlainOffsets(body, count, type.value_bytes));
    out.Append(body);
    return {};
  }
  return Guard([&] {
    return WithType(type.physical_type,
                    [&](auto tag) -> Status { return DecodeTyped<decltype(tag)>(type, encoding, body, count, out); });
  });
}

Status AppendEncoded(ValueType type, int32_t encoding, std::string_view plain, int64_t count, ByteBuffer& out) {
  if (encoding == kEncodingPlain && type.physical_type != pq::Type::BOOLEAN) {
    out.Append(plain);
    return {};
  }
  return Guard([&] {
    return WithType(type.physical_type,
                    [&](auto tag) -> Status { return EncodeTyped<decltype(tag)>(type, encoding, plain, count, out); });
  });
}

Status DecodeChunk(std::string_view file, int32_t row_group, int32_t leaf,
                   const std::function<Status(const DecodedRows&)>& take) {
  return Guard([&]() -> Status {
    auto buffer = std::make_shared<arrow::Buffer>(reinterpret_cast<const uint8_t*>(file.data()),
                                                  static_cast<int64_t>(file.size()));
    auto reader = pq::ParquetFileReader::Open(std::make_shared<arrow::io::BufferReader>(buffer));
    auto column = reader->RowGroup(row_group)->Column(leaf);
    return WithType(column->type(), [&](auto tag) -> Status {
      return ReadTyped<decltype(tag)>(*column, column->descr()->type_length(), take);
    });
  });
}

Status AppendConverted(Conversion conversion, ValueType from, ValueType to, std::string_view plain, ByteBuffer& out) {
  switch (conversion) {
    case Conversion::kNone: out.Append(plain); return {};
    case Conversion::kInt32ToInt64: return Widen<int32_t, int64_t>(plain, out);
    case Conversion::kFloatToDouble: return Widen<float, double>(plain, out);
    case Conversion::kDecimal: break;
  }
  const int64_t count = CountValues(from, plain);
  const auto* at = reinterpret_cast<const uint8_t*>(plain.data());
  for (int64_t i = 0; i < count; ++i, at += from.value_bytes) {
    FIRN_TRY(AppendDecimal(to, UnscaledDecimal(from, at), out));
  }
  return {};
}

}  // namespace firn::parquet
