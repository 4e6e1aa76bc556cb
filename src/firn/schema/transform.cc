#include "firn/schema/transform.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "firn/base/byte_cursor.h"
#include "firn/base/check.h"
#include "firn/base/encoding.h"
#include "firn/schema/bounds.h"
#include "firn/schema/calendar.h"

namespace firn::schema {
namespace {

struct TransformName {
  std::string_view name;
  TransformKind kind;
};
constexpr std::array<TransformName, 8> kNames = {{{"identity", TransformKind::kIdentity},
                                                  {"bucket", TransformKind::kBucket},
                                                  {"truncate", TransformKind::kTruncate},
                                                  {"year", TransformKind::kYear},
                                                  {"month", TransformKind::kMonth},
                                                  {"day", TransformKind::kDay},
                                                  {"hour", TransformKind::kHour},
                                                  {"void", TransformKind::kVoid}}};

bool HasParameter(TransformKind kind) { return kind == TransformKind::kBucket || kind == TransformKind::kTruncate; }

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

bool IsTimestamp(TypeKind kind) { return kind >= TypeKind::kTimestamp && kind <= TypeKind::kTimestamptzNs; }
bool IsNanos(TypeKind kind) { return kind == TypeKind::kTimestampNs || kind == TypeKind::kTimestamptzNs; }

bool Allows(TransformKind transform, const Type& source) {
  TypeKind kind = source.kind();
  switch (transform) {
    case TransformKind::kIdentity:
      return source.is_primitive() && kind != TypeKind::kVariant && kind != TypeKind::kGeometry &&
             kind != TypeKind::kGeography;
    case TransformKind::kBucket:
      return kind == TypeKind::kInt || kind == TypeKind::kLong || kind == TypeKind::kDecimal ||
             kind == TypeKind::kDate || kind == TypeKind::kTime || IsTimestamp(kind) || kind == TypeKind::kString ||
             kind == TypeKind::kUuid || kind == TypeKind::kFixed || kind == TypeKind::kBinary;
    case TransformKind::kTruncate:
      return kind == TypeKind::kInt || kind == TypeKind::kLong || kind == TypeKind::kDecimal ||
             kind == TypeKind::kString || kind == TypeKind::kBinary;
    case TransformKind::kYear:
    case TransformKind::kMonth:
    case TransformKind::kDay:
      return kind == TypeKind::kDate || IsTimestamp(kind);
    case TransformKind::kHour:
      return IsTimestamp(kind);
    case TransformKind::kVoid:
    case TransformKind::kUnknown:
      return true;
  }
  return false;
}

template <typename T>
const T& Held(const Value& value) {
  const T* held = std::get_if<T>(&value);
  FIRN_CHECK(held != nullptr, "the value to transform is not of its source type");
  return *held;
}

// A time in microseconds, floored, of a timestamp of any kind.
int64_t Micros(TypeKind kind, const Value& value) {
  int64_t units = Held<int64_t>(value);
  return IsNanos(kind) ? FloorDivide(units, kNanosPerMicro) : units;
}

int64_t Days(TypeKind kind, const Value& value) {
  return kind == TypeKind::kDate ? Held<int32_t>(value) : FloorDivide(Micros(kind, value), kMicrosPerDay);
}

Value TimePart(TransformKind transform, TypeKind source, const Value& value) {
  if (transform == TransformKind::kHour) {
    int64_t hours = FloorDivide(Micros(source, value), kMicrosPerHour);
    return static_cast<int32_t>(std::clamp<int64_t>(hours, std::numeric_limits<int32_t>::min(),
                                                    std::numeric_limits<int32_t>::max()));
  }
  int64_t days = Days(source, value);
  if (transform == TransformKind::kDay) return static_cast<int32_t>(days);
  CivilDate date = CivilFromDays(days);
  if (transform == TransformKind::kYear) return static_cast<int32_t>(date.year - 1970);
  return static_cast<int32_t>((date.year - 1970) * 12 + date.month - 1);
}

// v - (((v % W) + W) % W). At the lower end of the range the result wraps, as it does in Java.
template <typename Signed, typename Unsigned>
Signed TruncateNumber(Signed value, int32_t width) {
  Signed remainder = (value % width + width) % width;
  return static_cast<Signed>(static_cast<Unsigned>(value) - static_cast<Unsigned>(remainder));
}

Value Truncate(const Type& source, const Value& value, int32_t width) {
  switch (source.kind()) {
    case TypeKind::kInt:
      return static_cast<int32_t>(TruncateNumber<int64_t, uint64_t>(Held<int32_t>(value), width));
    case TypeKind::kLong:
      return TruncateNumber<int64_t, uint64_t>(Held<int64_t>(value), width);
    case TypeKind::kDecimal:
      return Decimal128{TruncateNumber<__int128, unsigned __int128>(Held<Decimal128>(value).unscaled, width)};
    case TypeKind::kString:
      return std::string(CodePointPrefix(Held<std::string>(value), width));
    default:
      return Held<std::string>(value).substr(0, static_cast<size_t>(width));
  }
}

// Spec, "Partition Transforms": NaNs of partition values have only the highest bit of the mantissa set.
Value Canonical(const Value& value) {
  if (const auto* number = std::get_if<float>(&value); number != nullptr && std::isnan(*number)) {
    return std::bit_cast<float>(0x7fc00000);
  }
  if (const auto* number = std::get_if<double>(&value); number != nullptr && std::isnan(*number)) {
    return std::bit_cast<double>(int64_t{0x7ff8000000000000});
  }
  return value;
}

int32_t HashLong(int64_t value) {
  char bytes[sizeof(value)];
  std::memcpy(bytes, &value, sizeof(value));
  return Murmur3({bytes, sizeof(bytes)});
}

// Appendix B: floats hash as doubles, by their bits, with -0.0 as 0.0 and one NaN.
int32_t HashDouble(double value) {
  if (value == 0) value = 0;
  if (std::isnan(value)) return HashLong(0x7ff8000000000000);
  return HashLong(std::bit_cast<int64_t>(value));
}

uint32_t LoadBlock(const char* bytes) {
  uint32_t block;
  std::memcpy(&block, bytes, sizeof(block));
  return block;
}

uint32_t MixBlock(uint32_t block) { return std::rotl(block * 0xcc9e2d51U, 15) * 0x1b873593U; }

// Java's BigDecimal.toString: plain unless the value starts more than six places behind the point.
std::string JavaDecimal(const Type& type, const Value& value) {
  std::string plain = FormatValue(type, value);
  __int128 unscaled = Held<Decimal128>(value).unscaled;
  std::string digits = fmt::format("{}", unscaled < 0 ? -unscaled : unscaled);
  auto exponent = static_cast<int32_t>(digits.size()) - 1 - type.scale();
  if (exponent >= -6) return plain;
  std::string mantissa = digits.size() == 1 ? digits : digits.substr(0, 1) + "." + digits.substr(1);
  return fmt::format("{}{}E{}", unscaled < 0 ? "-" : "", mantissa, exponent);
}

// Java's Double.toString: shortest digits that read back, plain from 10^-3 to 10^7, else "1.0E10".
template <typename T>
std::string JavaFloat(T number) {
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number < 0 ? "-Infinity" : "Infinity";
  T magnitude = std::abs(number);
  bool plain = magnitude == 0 || (magnitude >= T(1e-3) && magnitude < T(1e7));
  char buffer[64];
  auto end = std::to_chars(buffer, buffer + sizeof(buffer), number,
                           plain ? std::chars_format::fixed : std::chars_format::scientific).ptr;
  std::string text(buffer, end);
  if (plain) return text.find('.') == std::string::npos ? text + ".0" : text;
  size_t e = text.find('e');
  std::string mantissa = text.substr(0, e);
  if (mantissa.find('.') == std::string::npos) mantissa += ".0";
  std::string exponent = text.substr(e + 1);  // "+10", "-05"
  std::string sign = exponent[0] == '-' ? "-" : "";
  exponent.erase(0, std::min(exponent.find_first_not_of("+-0"), exponent.size() - 1));
  return mantissa + "E" + sign + exponent;
}

std::string JavaDate(int64_t days) {
  CivilDate date = CivilFromDays(days);
  return fmt::format("{:04}-{:02}-{:02}", date.year, date.month, date.day);
}

// The type that a value shows by itself, for partitions whose source column was dropped.
TypePtr TypeOf(const Value& value) {
  if (std::holds_alternative<bool>(value)) return Type::Primitive(TypeKind::kBoolean);
  if (std::holds_alternative<int32_t>(value)) return Type::Primitive(TypeKind::kInt);
  if (std::holds_alternative<int64_t>(value)) return Type::Primitive(TypeKind::kLong);
  if (std::holds_alternative<float>(value)) return Type::Primitive(TypeKind::kFloat);
  if (std::holds_alternative<double>(value)) return Type::Primitive(TypeKind::kDouble);
  if (std::holds_alternative<Decimal128>(value)) return Type::Decimal(38, 0);
  return Type::Primitive(TypeKind::kString);
}

// A value of an identity or truncate partition, or of any other that keeps its source type.
std::string JavaText(const Type& type, const Value& value) {
  if (!HoldsType(type, value)) return JavaText(*TypeOf(value), value);
  switch (type.kind()) {
    case TypeKind::kDate:
      return JavaDate(Held<int32_t>(value));
    case TypeKind::kFloat:
      return JavaFloat(Held<float>(value));
    case TypeKind::kDouble:
      return JavaFloat(Held<double>(value));
    case TypeKind::kDecimal:
      return JavaDecimal(type, value);
    case TypeKind::kFixed:
    case TypeKind::kBinary:
      return Base64Encode(Held<std::string>(value));
    default:
      return FormatValue(type, value);
  }
}

}  // namespace

std::string Transform::ToString() const {
  if (kind == TransformKind::kUnknown) return text;
  for (const TransformName& entry : kNames) {
    if (entry.kind != kind) continue;
    return HasParameter(kind) ? fmt::format("{}[{}]", entry.name, parameter) : std::string(entry.name);
  }
  return text;
}

Result<Transform> Transform::Parse(std::string_view text) {
  Transform unknown{TransformKind::kUnknown, 0, std::string(text)};
  std::string lower = Lower(text);
  size_t bracket = lower.find('[');
  std::string_view name = std::string_view(lower).substr(0, bracket);
  const auto* entry = std::find_if(kNames.begin(), kNames.end(), [&](const auto& known) { return known.name == name; });
  if (entry == kNames.end()) return unknown;
  if (HasParameter(entry->kind) != (bracket != std::string::npos)) return unknown;
  if (bracket == std::string::npos) return Transform{entry->kind, 0, {}};

  const char* begin = lower.data() + bracket + 1;
  const char* end = lower.data() + lower.size() - 1;
  if (lower.back() != ']' || begin >= end || !std::all_of(begin, end, [](char c) { return c >= '0' && c <= '9'; })) {
    return unknown;
  }
  int32_t parameter = 0;
  if (std::from_chars(begin, end, parameter).ec != std::errc() || parameter < 1) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("the parameter of a transform lies between 1 and {}: '{}'",
                            std::numeric_limits<int32_t>::max(), text));
  }
  return Transform{entry->kind, parameter, {}};
}

Result<TypePtr> Transform::ResultType(const Type& source) const {
  if (!Allows(kind, source)) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("transform '{}' cannot be applied to a column of type {}",
                                                      ToString(), source.ToString()));
  }
  switch (kind) {
    case TransformKind::kIdentity:
    case TransformKind::kTruncate:
    case TransformKind::kVoid:
      return std::make_shared<const Type>(source);
    case TransformKind::kDay:
      return Type::Primitive(TypeKind::kDate);
    case TransformKind::kUnknown:
      return Type::Primitive(TypeKind::kString);
    default:
      return Type::Primitive(TypeKind::kInt);
  }
}

Value Transform::Apply(const Type& source, const Value& value) const {
  FIRN_CHECK(kind != TransformKind::kUnknown, "partitions with an unknown transform are never written");
  if (IsNull(value) || kind == TransformKind::kVoid) return std::monostate{};
  switch (kind) {
    case TransformKind::kBucket:
      return (BucketHash(source, value) & std::numeric_limits<int32_t>::max()) % parameter;
    case TransformKind::kTruncate:
      return Truncate(source, value, parameter);
    case TransformKind::kYear:
    case TransformKind::kMonth:
    case TransformKind::kDay:
    case TransformKind::kHour:
      return TimePart(kind, source.kind(), value);
    default:
      return Canonical(value);
  }
}

int32_t BucketHash(const Type& type, const Value& value) {
  switch (type.kind()) {
    case TypeKind::kBoolean:
      return HashLong(Held<bool>(value) ? 1 : 0);
    case TypeKind::kInt:
    case TypeKind::kDate:
      return HashLong(Held<int32_t>(value));
    case TypeKind::kLong:
    case TypeKind::kTime:
      return HashLong(Held<int64_t>(value));
    case TypeKind::kTimestamp:
    case TypeKind::kTimestamptz:
    case TypeKind::kTimestampNs:
    case TypeKind::kTimestamptzNs:
      return HashLong(Micros(type.kind(), value));
    case TypeKind::kFloat:
      return HashDouble(Held<float>(value));
    case TypeKind::kDouble:
      return HashDouble(Held<double>(value));
    case TypeKind::kDecimal:
      return Murmur3(MinimalBigEndian(Held<Decimal128>(value).unscaled));
    default:
      return Murmur3(Held<std::string>(value));
  }
}

int32_t Murmur3(std::string_view bytes, uint32_t seed) {
  uint32_t hash = seed;
  size_t at = 0;
  for (; at + 4 <= bytes.size(); at += 4) {
    hash = std::rotl(hash ^ MixBlock(LoadBlock(bytes.data() + at)), 13) * 5 + 0xe6546b64U;
  }
  uint32_t tail = 0;
  for (size_t i = bytes.size(); i > at; --i) tail = tail << 8 | static_cast<uint8_t>(bytes[i - 1]);
  hash ^= MixBlock(tail);
  hash ^= static_cast<uint32_t>(bytes.size());
  hash = (hash ^ hash >> 16) * 0x85ebca6bU;
  hash = (hash ^ hash >> 13) * 0xc2b2ae35U;
  return static_cast<int32_t>(hash ^ hash >> 16);
}

std::string PartitionPathText(const Transform& transform, const Type& source, const Value& value) {
  if (IsNull(value) || transform.kind == TransformKind::kVoid) return "null";
  switch (transform.kind) {
    case TransformKind::kYear:
      return fmt::format("{:04}", 1970 + int64_t{Held<int32_t>(value)});
    case TransformKind::kMonth: {
      int64_t months = Held<int32_t>(value);
      return fmt::format("{:04}-{:02}", 1970 + FloorDivide(months, 12), 1 + FloorModulo(months, 12));
    }
    case TransformKind::kDay:
      return JavaDate(Held<int32_t>(value));
    case TransformKind::kHour: {
      int64_t hours = Held<int32_t>(value);
      return fmt::format("{}-{:02}", JavaDate(FloorDivide(hours, 24)), FloorModulo(hours, 24));
    }
    case TransformKind::kBucket:
      return fmt::format("{}", Held<int32_t>(value));
    case TransformKind::kUnknown:
      return UrlEncodeForm(JavaText(*TypeOf(value), value));
    default:
      return UrlEncodeForm(JavaText(source, value));
  }
}

std::string UrlEncodeForm(std::string_view text) {
  constexpr std::string_view kUpperHex = "0123456789ABCDEF";
  std::string encoded;
  for (char c : text) {
    bool alphanumeric = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (alphanumeric || c == '.' || c == '-' || c == '*' || c == '_') {
      encoded += c;
    } else if (c == ' ') {
      encoded += '+';
    } else {
      auto byte = static_cast<uint8_t>(c);
      encoded += '%';
      encoded += kUpperHex[byte >> 4];
      encoded += kUpperHex[byte & 15];
    }
  }
  return encoded;
}

}  // namespace firn::schema
