#include "firn/iceberg/manifest/avro_encoder.h"

#include <fmt/format.h>

#include "firn/base/encoding.h"
#include "firn/schema/bounds.h"

namespace firn::iceberg {
namespace {

using schema::TypeKind;

constexpr int32_t kShownValueLengthMax = 50;  // code points of a text, bytes of others
using schema::Value;

template <typename T>
bool Is(const Value& value) {
  return std::holds_alternative<T>(value);
}

bool FitsFixed(const schema::Type& type, const Value& value) {
  if (!Is<std::string>(value)) return false;
  const size_t size = std::get<std::string>(value).size();
  return type.kind() == TypeKind::kUuid ? size == 16 : size == static_cast<size_t>(type.length());
}

__int128 LargestUnscaled(int32_t precision) {
  __int128 power = 1;
  for (int32_t i = 0; i < precision; ++i) power *= 10;
  return power - 1;
}

bool FitsDecimal(const schema::Type& type, const Value& value) {
  if (!Is<schema::Decimal128>(value)) return false;
  const __int128 unscaled = std::get<schema::Decimal128>(value).unscaled;
  const __int128 largest = LargestUnscaled(type.precision());
  return unscaled >= -largest && unscaled <= largest;
}

// Values may be anything a record held: of text and bytes only the beginning is shown.
std::string ShownValue(const Value& value) {
  return std::visit(
      [](const auto& held) -> std::string {
        using Held = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<Held, std::monostate>) {
          return "null";
        } else if constexpr (std::is_same_v<Held, schema::Decimal128>) {
          return fmt::format("unscaled {}", held.unscaled);
        } else if constexpr (std::is_same_v<Held, std::string>) {
          const bool is_text = schema::IsUtf8(held);
          const std::string_view shown = is_text ? schema::CodePointPrefix(held, kShownValueLengthMax)
                                                 : std::string_view(held).substr(0, kShownValueLengthMax);
          const char* cut = shown.size() < held.size() ? "…" : "";
          return is_text ? fmt::format("'{}{}'", shown, cut) : fmt::format("hex {}{}", HexEncode(shown), cut);
        } else {
          return fmt::format("{}", held);
        }
      },
      value);
}

void EncodeDecimal(const schema::Type& type, __int128 unscaled, ByteWriter& writer) {
  for (int32_t i = DecimalBytes(type.precision()) - 1; i >= 0; --i) {
    writer.PutByte(static_cast<uint8_t>(unscaled >> (8 * i)));
  }
}

}  // namespace

int32_t DecimalBytes(int32_t precision) {
  const __int128 largest = LargestUnscaled(precision);
  int32_t bytes = 1;
  while (bytes < 16 && (largest >> (8 * bytes - 1)) != 0) ++bytes;
  return bytes;
}

void EncodeBytes(std::string_view bytes, ByteWriter& writer) {
  writer.PutZigZagVarint(static_cast<int64_t>(bytes.size()));
  writer.Put(bytes);
}

void EncodeOptionalLong(std::optional<int64_t> value, ByteWriter& writer) {
  writer.PutZigZagVarint(value.has_value() ? kValueBranch : kNullBranch);
  if (value.has_value()) writer.PutZigZagVarint(*value);
}

void EncodeOptionalBytes(const std::optional<std::string>& value, ByteWriter& writer) {
  writer.PutZigZagVarint(value.has_value() ? kValueBranch : kNullBranch);
  if (value.has_value()) EncodeBytes(*value, writer);
}

Result<Value> PromoteValue(const schema::Field& field, const Value& value) {
  const schema::Type& type = *field.type;
  if (schema::IsNull(value)) return value;
  bool fits = false;
  switch (type.kind()) {
    case TypeKind::kBoolean: fits = Is<bool>(value); break;
    case TypeKind::kInt:
    case TypeKind::kDate: fits = Is<int32_t>(value); break;
    case TypeKind::kLong:
      if (Is<int32_t>(value)) return Value(static_cast<int64_t>(std::get<int32_t>(value)));
      [[fallthrough]];
    case TypeKind::kTime:
    case TypeKind::kTimestamp:
    case TypeKind::kTimestamptz: fits = Is<int64_t>(value); break;
    case TypeKind::kDouble:
      if (Is<float>(value)) return Value(static_cast<double>(std::get<float>(value)));
      fits = Is<double>(value);
      break;
    case TypeKind::kFloat: fits = Is<float>(value); break;
    case TypeKind::kDecimal: fits = FitsDecimal(type, value); break;
    case TypeKind::kUuid:
    case TypeKind::kFixed: fits = FitsFixed(type, value); break;
    case TypeKind::kString:
    case TypeKind::kBinary: fits = Is<std::string>(value); break;
    default: break;
  }
  if (!fits) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("the value of partition field '{}' does not fit its type {}: {}",
                                                      field.name, type.ToString(), ShownValue(value)));
  }
  return value;
}

void EncodeOptionalValue(const schema::Type& type, const Value& value, ByteWriter& writer) {
  writer.PutZigZagVarint(schema::IsNull(value) ? kNullBranch : kValueBranch);
  if (const auto* boolean = std::get_if<bool>(&value)) writer.PutByte(*boolean ? 1 : 0);
  if (const auto* number = std::get_if<int32_t>(&value)) writer.PutZigZagVarint(*number);
  if (const auto* number = std::get_if<int64_t>(&value)) writer.PutZigZagVarint(*number);
  if (const auto* number = std::get_if<float>(&value)) writer.PutLittleEndian(*number);
  if (const auto* number = std::get_if<double>(&value)) writer.PutLittleEndian(*number);
  if (const auto* decimal = std::get_if<schema::Decimal128>(&value)) EncodeDecimal(type, decimal->unscaled, writer);
  if (const auto* bytes = std::get_if<std::string>(&value)) {
    // Avro's fixed has no length.
    const bool is_fixed = type.kind() == TypeKind::kUuid || type.kind() == TypeKind::kFixed;
    is_fixed ? writer.Put(*bytes) : EncodeBytes(*bytes, writer);
  }
}

}  // namespace firn::iceberg
