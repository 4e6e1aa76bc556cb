#include "firn/schema/value.h"

#include <fmt/format.h>

#include <cstring>
#include <type_traits>

#include "firn/base/byte_cursor.h"
#include "firn/base/check.h"
#include "firn/base/encoding.h"
#include "firn/schema/calendar.h"

namespace firn::schema {
namespace {

int Sign(std::strong_ordering order) { return order < 0 ? -1 : order > 0 ? 1 : 0; }

__int128 PowerOfTen(int32_t exponent) {
  __int128 power = 1;
  for (int32_t i = 0; i < exponent; ++i) power *= 10;
  return power;
}

template <typename T>
std::string LittleEndian(T value) {
  std::string bytes;
  ByteWriter(bytes).PutLittleEndian(value);
  return bytes;
}

template <typename T>
T LoadLittleEndian(std::string_view bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

std::unexpected<Error> WrongLength(const Type& type, std::string_view bytes) {
  return Fail(ErrorCode::kCorruption, fmt::format("a single value of type {} cannot have {} bytes; the file's writer "
                                                  "and the table's schema disagree: 0x{}",
                                                  type.ToString(), bytes.size(), HexEncode(bytes.substr(0, 32))));
}

// Bounds written before a promotion date → timestamp keep their 4 bytes (spec: "Schema Evolution").
Result<Value> TimestampFromDate(const Type& type, std::string_view bytes) {
  bool nanos = type.kind() == TypeKind::kTimestampNs || type.kind() == TypeKind::kTimestamptzNs;
  int64_t units_per_day = nanos ? kMicrosPerDay * kNanosPerMicro : kMicrosPerDay;
  int64_t units = 0;
  if (__builtin_mul_overflow(int64_t{LoadLittleEndian<int32_t>(bytes)}, units_per_day, &units)) {
    return Fail(ErrorCode::kCorruption, fmt::format("a date bound lies outside the range of {}: day {}",
                                                    type.ToString(), LoadLittleEndian<int32_t>(bytes)));
  }
  return Value(units);
}

Result<Value> DecimalFromBytes(const Type& type, std::string_view bytes) {
  if (bytes.empty() || bytes.size() > 16) return WrongLength(type, bytes);
  __int128 unscaled = FromBigEndian(bytes);
  __int128 limit = PowerOfTen(type.precision());
  if (unscaled >= limit || unscaled <= -limit) {
    return Fail(ErrorCode::kCorruption, fmt::format("a value has more digits than its type {}: 0x{}", type.ToString(),
                                                    HexEncode(bytes)));
  }
  return Value(Decimal128{unscaled});
}

std::string FormatDecimal(__int128 unscaled, int32_t scale) {
  bool negative = unscaled < 0;
  // Negating through the unsigned type keeps the smallest value defined.
  auto magnitude = static_cast<unsigned __int128>(unscaled);
  if (negative) magnitude = 0 - magnitude;
  std::string digits = fmt::format("{}", magnitude);
  auto places = static_cast<size_t>(scale);
  if (places > 0) {
    if (digits.size() <= places) digits.insert(0, places + 1 - digits.size(), '0');
    digits.insert(digits.size() - places, ".");
  }
  return negative ? "-" + digits : digits;
}

std::string FormatUuidBytes(const std::string& bytes) {
  Uuid uuid;
  std::memcpy(uuid.data(), bytes.data(), uuid.size());
  return FormatUuid(uuid);
}

}  // namespace

int CompareValues(const Value& a, const Value& b) {
  FIRN_CHECK(a.index() == b.index() && !IsNull(a), "only two non-null values of one type can be compared");
  return std::visit(
      [&](const auto& left) -> int {
        using T = std::decay_t<decltype(left)>;
        const T& right = *std::get_if<T>(&b);
        if constexpr (std::is_same_v<T, std::monostate>) {
          return 0;
        } else if constexpr (std::is_same_v<T, std::string>) {
          int order = left.compare(right);  // char_traits<char> compares as unsigned
          return order < 0 ? -1 : order > 0 ? 1 : 0;
        } else if constexpr (std::is_same_v<T, Decimal128>) {
          return left.unscaled < right.unscaled ? -1 : left.unscaled > right.unscaled ? 1 : 0;
        } else {
          return Sign(std::strong_order(left, right));  // floats: IEEE 754 totalOrder
        }
      },
      a);
}

bool HoldsType(const Type& type, const Value& value) {
  if (IsNull(value)) return true;
  switch (type.kind()) {
    case TypeKind::kBoolean:
      return std::holds_alternative<bool>(value);
    case TypeKind::kInt:
    case TypeKind::kDate:
      return std::holds_alternative<int32_t>(value);
    case TypeKind::kLong:
    case TypeKind::kTime:
    case TypeKind::kTimestamp:
    case TypeKind::kTimestamptz:
    case TypeKind::kTimestampNs:
    case TypeKind::kTimestamptzNs:
      return std::holds_alternative<int64_t>(value);
    case TypeKind::kFloat:
      return std::holds_alternative<float>(value);
    case TypeKind::kDouble:
      return std::holds_alternative<double>(value);
    case TypeKind::kDecimal:
      return std::holds_alternative<Decimal128>(value);
    case TypeKind::kUuid:
      return std::holds_alternative<std::string>(value) && std::get_if<std::string>(&value)->size() == 16;
    case TypeKind::kFixed:
      return std::holds_alternative<std::string>(value) &&
             std::get_if<std::string>(&value)->size() <= static_cast<size_t>(type.length());
    case TypeKind::kString:
    case TypeKind::kBinary:
    case TypeKind::kVariant:
    case TypeKind::kGeometry:
    case TypeKind::kGeography:
      return std::holds_alternative<std::string>(value);
    case TypeKind::kUnknown:
    case TypeKind::kStruct:
    case TypeKind::kList:
    case TypeKind::kMap:
      return false;
  }
  return false;
}

std::string MinimalBigEndian(__int128 value) {
  std::string bytes;
  for (int shift = 120; shift >= 0; shift -= 8) {
    auto byte = static_cast<uint8_t>(static_cast<unsigned __int128>(value) >> shift);
    // A leading byte is dropped while it only repeats the sign bit of the next one.
    if (bytes.empty() && shift > 0) {
      auto next = static_cast<uint8_t>(static_cast<unsigned __int128>(value) >> (shift - 8));
      if ((byte == 0x00 && next < 0x80) || (byte == 0xff && next >= 0x80)) continue;
    }
    bytes += static_cast<char>(byte);
  }
  return bytes;
}

__int128 FromBigEndian(std::string_view bytes) {
  FIRN_CHECK(!bytes.empty() && bytes.size() <= 16, "a decimal has 1 to 16 bytes");
  unsigned __int128 value = static_cast<uint8_t>(bytes[0]) >= 0x80 ? ~static_cast<unsigned __int128>(0) : 0;
  for (char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
  return static_cast<__int128>(value);
}

std::string SerializeSingleValue(const Type& type, const Value& value) {
  FIRN_CHECK(!IsNull(value) && HoldsType(type, value), "the value to serialize is null or not of its type");
  return std::visit(
      [](const auto& held) -> std::string {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, std::monostate>) {
          return {};
        } else if constexpr (std::is_same_v<T, std::string>) {
          return held;
        } else if constexpr (std::is_same_v<T, Decimal128>) {
          return MinimalBigEndian(held.unscaled);
        } else if constexpr (std::is_same_v<T, bool>) {
          return std::string(1, held ? '\x01' : '\x00');
        } else {
          return LittleEndian(held);
        }
      },
      value);
}

Result<Value> DeserializeSingleValue(const Type& type, std::string_view bytes) {
  switch (type.kind()) {
    case TypeKind::kBoolean:
      if (bytes.size() != 1) return WrongLength(type, bytes);
      return Value(bytes[0] != 0);
    case TypeKind::kInt:
    case TypeKind::kDate:
      if (bytes.size() != 4) return WrongLength(type, bytes);
      return Value(LoadLittleEndian<int32_t>(bytes));
    case TypeKind::kLong:
      if (bytes.size() == 4) return Value(int64_t{LoadLittleEndian<int32_t>(bytes)});
      [[fallthrough]];
    case TypeKind::kTime:
      if (bytes.size() != 8) return WrongLength(type, bytes);
      return Value(LoadLittleEndian<int64_t>(bytes));
    case TypeKind::kTimestamp:
    case TypeKind::kTimestamptz:
    case TypeKind::kTimestampNs:
    case TypeKind::kTimestamptzNs:
      if (bytes.size() == 4) return TimestampFromDate(type, bytes);
      if (bytes.size() != 8) return WrongLength(type, bytes);
      return Value(LoadLittleEndian<int64_t>(bytes));
    case TypeKind::kFloat:
      if (bytes.size() != 4) return WrongLength(type, bytes);
      return Value(LoadLittleEndian<float>(bytes));
    case TypeKind::kDouble:
      if (bytes.size() == 4) return Value(double{LoadLittleEndian<float>(bytes)});
      if (bytes.size() != 8) return WrongLength(type, bytes);
      return Value(LoadLittleEndian<double>(bytes));
    case TypeKind::kDecimal:
      return DecimalFromBytes(type, bytes);
    case TypeKind::kUuid:
      if (bytes.size() != 16) return WrongLength(type, bytes);
      return Value(std::string(bytes));
    case TypeKind::kFixed:
      if (bytes.size() > static_cast<size_t>(type.length())) return WrongLength(type, bytes);
      return Value(std::string(bytes));
    case TypeKind::kString:
    case TypeKind::kBinary:
    case TypeKind::kVariant:
    case TypeKind::kGeometry:
    case TypeKind::kGeography:
      return Value(std::string(bytes));
    case TypeKind::kUnknown:
    case TypeKind::kStruct:
    case TypeKind::kList:
    case TypeKind::kMap:
      break;
  }
  return WrongLength(type, bytes);
}

std::string FormatValue(const Type& type, const Value& value) {
  if (IsNull(value)) return "null";
  FIRN_CHECK(HoldsType(type, value), "the value to print is not of its type");
  switch (type.kind()) {
    case TypeKind::kDate:
      return FormatDate(*std::get_if<int32_t>(&value));
    case TypeKind::kTime:
      return FormatTimeOfDay(*std::get_if<int64_t>(&value), kMicrosPerSecond);
    case TypeKind::kTimestamp:
      return FormatTimestamp(*std::get_if<int64_t>(&value), kMicrosPerSecond);
    case TypeKind::kTimestamptz:
      return FormatTimestamp(*std::get_if<int64_t>(&value), kMicrosPerSecond) + "+00:00";
    case TypeKind::kTimestampNs:
      return FormatTimestamp(*std::get_if<int64_t>(&value), kMicrosPerSecond * kNanosPerMicro);
    case TypeKind::kTimestamptzNs:
      return FormatTimestamp(*std::get_if<int64_t>(&value), kMicrosPerSecond * kNanosPerMicro) + "+00:00";
    case TypeKind::kDecimal:
      return FormatDecimal(std::get_if<Decimal128>(&value)->unscaled, type.scale());
    case TypeKind::kUuid:
      return FormatUuidBytes(*std::get_if<std::string>(&value));
    case TypeKind::kString:
      return *std::get_if<std::string>(&value);
    default:
      break;
  }
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<int32_t>(&value)) return fmt::format("{}", *number);
  if (const auto* number = std::get_if<int64_t>(&value)) return fmt::format("{}", *number);
  if (const auto* number = std::get_if<float>(&value)) return fmt::format("{}", *number);
  if (const auto* number = std::get_if<double>(&value)) return fmt::format("{}", *number);
  return HexEncode(*std::get_if<std::string>(&value));
}

}  // namespace firn::schema
