#include "firn/decode/json/scalar_conversion.h"

#include <limits>

#include "firn/base/encoding.h"
#include "firn/decode/iso_time.h"
#include "firn/schema/calendar.h"

namespace firn::decode::json {
namespace {

using columnar::ColumnBuilder;
using schema::TypeKind;

constexpr int64_t kNanosPerSecond = 1'000'000'000;
constexpr int64_t kNanosPerDay = 86'400 * kNanosPerSecond;
constexpr int32_t kDayMin = -719'162;   // 0001-01-01
constexpr int32_t kDayMax = 2'932'896;  // 9999-12-31
// A text of fewer digits in a timestamp column is a year or a compact date rather than an epoch number.
constexpr size_t kEpochTextDigitsMin = 10;

Conversion FromTimeText(TimeText outcome) {
  switch (outcome) {
    case TimeText::kOk: return Conversion::kDone;
    case TimeText::kNotIso: return Conversion::kWrongType;
    case TimeText::kOutOfRange: return Conversion::kOutOfRange;
  }
  return Conversion::kWrongType;
}

__int128 PowerOfTen(int32_t exponent) {
  __int128 power = 1;
  for (int32_t i = 0; i < exponent; ++i) power *= 10;
  return power;
}

// The number as an integer of [minimum, maximum]; a fraction that is not zero is kInexact, size is looked at first.
Conversion ToInteger(const JsonNumber& number, int64_t minimum, int64_t maximum, int64_t& result) {
  __int128 value = number.plain;
  Scaled outcome = number.is_plain ? Scaled::kExact : ScaleNumber(number, 0, value);
  if (outcome == Scaled::kOutOfRange || value < minimum || value > maximum) return Conversion::kOutOfRange;
  if (outcome == Scaled::kInexact) return Conversion::kInexact;
  result = static_cast<int64_t>(value);
  return Conversion::kDone;
}

// 1 s, 1 ms, 1 µs, 1 ns = 10^this nanoseconds.
int32_t NanosExponent(EpochUnit unit) {
  switch (unit) {
    case EpochUnit::kSeconds: return 9;
    case EpochUnit::kMillis: return 6;
    case EpochUnit::kMicros: return 3;
    case EpochUnit::kNanos: return 0;
    case EpochUnit::kAuto: break;
  }
  return 6;
}

// By magnitude: below 10^11 seconds (year 5138), below 10^14 milliseconds, below 10^17 microseconds, else nanoseconds.
EpochUnit GuessEpochUnit(__int128 whole) {
  __int128 magnitude = whole < 0 ? -whole : whole;
  if (magnitude < 100'000'000'000) return EpochUnit::kSeconds;
  if (magnitude < 100'000'000'000'000) return EpochUnit::kMillis;
  if (magnitude < 100'000'000'000'000'000) return EpochUnit::kMicros;
  return EpochUnit::kNanos;
}

// Nanoseconds, what is smaller cut off towards the past.
Conversion ToNanoseconds(const JsonNumber& number, EpochUnit unit, __int128& nanoseconds) {
  if (unit == EpochUnit::kAuto) {
    __int128 whole = number.plain;
    if (!number.is_plain && ScaleNumber(number, 0, whole) == Scaled::kOutOfRange) return Conversion::kOutOfRange;
    unit = GuessEpochUnit(whole);
  }
  int32_t exponent = NanosExponent(unit);
  if (number.is_plain) {
    nanoseconds = static_cast<__int128>(number.plain) * static_cast<int64_t>(PowerOfTen(exponent));
    return Conversion::kDone;
  }
  return ScaleNumber(number, exponent, nanoseconds) == Scaled::kOutOfRange ? Conversion::kOutOfRange
                                                                           : Conversion::kDone;
}

bool IsNanosecondKind(TypeKind kind) { return kind == TypeKind::kTimestampNs || kind == TypeKind::kTimestamptzNs; }
bool HasZone(TypeKind kind) { return kind == TypeKind::kTimestamptz || kind == TypeKind::kTimestamptzNs; }

Conversion AppendInstant(TypeKind kind, __int128 nanoseconds, ColumnBuilder& column) {
  if (nanoseconds < static_cast<__int128>(kSecondsMin) * kNanosPerSecond ||
      nanoseconds >= static_cast<__int128>(kSecondsMax + 1) * kNanosPerSecond) {
    return Conversion::kOutOfRange;
  }
  if (IsNanosecondKind(kind)) {
    if (nanoseconds < std::numeric_limits<int64_t>::min() || nanoseconds > std::numeric_limits<int64_t>::max()) {
      return Conversion::kOutOfRange;
    }
    column.AppendInt64(static_cast<int64_t>(nanoseconds));
    return Conversion::kDone;
  }
  // The whole range fits 64 bits in microseconds; seconds and the rest are divided apart because 128 bits are slow.
  __int128 micros = nanoseconds >= 0 ? nanoseconds / 1000 : -((-nanoseconds + 999) / 1000);
  column.AppendInt64(static_cast<int64_t>(micros));
  return Conversion::kDone;
}

Conversion AppendInstantText(const ScalarRule& rule, std::string_view text, ColumnBuilder& column) {
  Instant instant;
  TimeText outcome = ParseIsoInstant(text, instant);
  if (outcome == TimeText::kNotIso) {
    JsonNumber number;
    if (!ReadWholeNumber(text, number) || number.integer_digits.size() < kEpochTextDigitsMin) {
      return Conversion::kWrongType;
    }
    return AppendNumber(rule, number, column);
  }
  if (outcome != TimeText::kOk) return FromTimeText(outcome);
  // A zone in a column that has none would be dropped silently, or shift the clock that the text shows.
  if (instant.has_zone && !HasZone(rule.kind)) return Conversion::kWrongType;
  if (IsNanosecondKind(rule.kind)) {
    return AppendInstant(rule.kind, static_cast<__int128>(instant.seconds) * kNanosPerSecond + instant.nanoseconds,
                         column);
  }
  column.AppendInt64(instant.seconds * schema::kMicrosPerSecond + instant.nanoseconds / schema::kNanosPerMicro);
  return Conversion::kDone;
}

Conversion AppendEpochNumber(const ScalarRule& rule, const JsonNumber& number, ColumnBuilder& column) {
  if (number.is_plain && rule.epoch_unit == EpochUnit::kMillis && !IsNanosecondKind(rule.kind)) {
    if (number.plain < kSecondsMin * 1000 || number.plain > kSecondsMax * 1000 + 999) return Conversion::kOutOfRange;
    column.AppendInt64(number.plain * 1000);
    return Conversion::kDone;
  }
  __int128 nanoseconds = 0;
  Conversion outcome = ToNanoseconds(number, rule.epoch_unit, nanoseconds);
  return outcome == Conversion::kDone ? AppendInstant(rule.kind, nanoseconds, column) : outcome;
}

Conversion AppendTimeOfDay(const ScalarRule& rule, const JsonNumber& number, ColumnBuilder& column) {
  // A time of day is small in every unit: its magnitude says nothing.
  EpochUnit unit = rule.epoch_unit == EpochUnit::kAuto ? EpochUnit::kMillis : rule.epoch_unit;
  __int128 nanoseconds = 0;
  Conversion outcome = ToNanoseconds(number, unit, nanoseconds);
  if (outcome != Conversion::kDone) return outcome;
  if (nanoseconds < 0 || nanoseconds >= kNanosPerDay) return Conversion::kOutOfRange;
  column.AppendInt64(static_cast<int64_t>(nanoseconds) / schema::kNanosPerMicro);
  return Conversion::kDone;
}

Conversion AppendDecimal(const ScalarRule& rule, const JsonNumber& number, ColumnBuilder& column) {
  __int128 unscaled = 0;
  Scaled outcome = ScaleNumber(number, rule.scale, unscaled);
  __int128 limit = PowerOfTen(rule.precision);
  if (outcome == Scaled::kOutOfRange || unscaled >= limit || unscaled <= -limit) return Conversion::kOutOfRange;
  if (rule.unscaled_min.has_value() && unscaled < *rule.unscaled_min) return Conversion::kOutOfRange;
  if (outcome == Scaled::kInexact) return Conversion::kInexact;
  column.AppendDecimal(unscaled);
  return Conversion::kDone;
}

template <typename T>
Conversion AppendNotFinite(std::string_view text, ColumnBuilder& column) {
  T value{};
  if (text == "NaN") {
    value = std::numeric_limits<T>::quiet_NaN();
  } else if (text == "Infinity") {
    value = std::numeric_limits<T>::infinity();
  } else if (text == "-Infinity") {
    value = -std::numeric_limits<T>::infinity();
  } else {
    return Conversion::kWrongType;
  }
  if constexpr (sizeof(T) == 4) {
    column.AppendFloat(value);
  } else {
    column.AppendDouble(value);
  }
  return Conversion::kDone;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// As HexDecode of base, into memory that is there already.
bool HexDecodeTo(std::string_view text, std::string& out) {
  if (text.size() % 2 != 0) return false;
  for (size_t i = 0; i < text.size(); i += 2) {
    int high = HexDigit(text[i]);
    int low = HexDigit(text[i + 1]);
    if (high < 0 || low < 0) return false;
    out += static_cast<char>(high << 4 | low);
  }
  return true;
}

Conversion AppendBinaryText(const ScalarRule& rule, std::string_view text, std::string& scratch,
                            ColumnBuilder& column) {
  scratch.clear();
  bool decoded = rule.binary_text == BinaryText::kHex ? HexDecodeTo(text, scratch) : Base64DecodeTo(text, scratch);
  if (!decoded) return Conversion::kWrongType;
  if (rule.kind == TypeKind::kFixed && scratch.size() != static_cast<size_t>(rule.length)) {
    return Conversion::kOutOfRange;
  }
  return column.AppendBytes(scratch) ? Conversion::kDone : Conversion::kColumnFull;
}

Conversion AppendUuidText(std::string_view text, ColumnBuilder& column) {
  // Windows writes GUIDs in braces.
  if (text.size() == 38 && text.front() == '{' && text.back() == '}') text = text.substr(1, 36);
  Uuid uuid;
  if (!ParseUuid(text, uuid)) return Conversion::kWrongType;
  column.AppendBytes({reinterpret_cast<const char*>(uuid.data()), uuid.size()});
  return Conversion::kDone;
}

Conversion AppendNumericText(const ScalarRule& rule, std::string_view text, ColumnBuilder& column) {
  JsonNumber number;
  if (ReadWholeNumber(text, number)) return AppendNumber(rule, number, column);
  if (rule.kind == TypeKind::kFloat) return AppendNotFinite<float>(text, column);
  if (rule.kind == TypeKind::kDouble) return AppendNotFinite<double>(text, column);
  return Conversion::kWrongType;
}

Conversion AppendDateText(std::string_view text, ColumnBuilder& column) {
  int32_t days = 0;
  TimeText outcome = ParseIsoDate(text, days);
  if (outcome == TimeText::kOk) column.AppendInt32(days);
  return FromTimeText(outcome);
}

Conversion AppendTimeText(std::string_view text, ColumnBuilder& column) {
  int64_t nanoseconds = 0;
  TimeText outcome = ParseIsoTime(text, nanoseconds);
  if (outcome == TimeText::kOk) column.AppendInt64(nanoseconds / schema::kNanosPerMicro);
  return FromTimeText(outcome);
}

}  // namespace

Conversion AppendText(const ScalarRule& rule, std::string_view text, std::string& scratch, ColumnBuilder& column) {
  switch (rule.kind) {
    case TypeKind::kString: return column.AppendBytes(text) ? Conversion::kDone : Conversion::kColumnFull;
    case TypeKind::kBoolean:
      if (!rule.is_map_key || (text != "true" && text != "false")) return Conversion::kWrongType;
      column.AppendBool(text == "true");
      return Conversion::kDone;
    case TypeKind::kInt:
    case TypeKind::kLong:
    case TypeKind::kFloat:
    case TypeKind::kDouble:
    case TypeKind::kDecimal: return AppendNumericText(rule, text, column);
    case TypeKind::kDate: return AppendDateText(text, column);
    case TypeKind::kTime: return AppendTimeText(text, column);
    case TypeKind::kTimestamp:
    case TypeKind::kTimestamptz:
    case TypeKind::kTimestampNs:
    case TypeKind::kTimestamptzNs: return AppendInstantText(rule, text, column);
    case TypeKind::kUuid: return AppendUuidText(text, column);
    case TypeKind::kFixed:
    case TypeKind::kBinary: return AppendBinaryText(rule, text, scratch, column);
    default: return Conversion::kWrongType;
  }
}

Conversion AppendNumber(const ScalarRule& rule, const JsonNumber& number, ColumnBuilder& column) {
  int64_t integer = 0;
  switch (rule.kind) {
    case TypeKind::kString: return column.AppendBytes(number.text) ? Conversion::kDone : Conversion::kColumnFull;
    case TypeKind::kInt: {
      Conversion outcome = ToInteger(number, INT32_MIN, INT32_MAX, integer);
      if (outcome == Conversion::kDone) column.AppendInt32(static_cast<int32_t>(integer));
      return outcome;
    }
    case TypeKind::kLong: {
      Conversion outcome = ToInteger(number, INT64_MIN, INT64_MAX, integer);
      if (outcome == Conversion::kDone) column.AppendInt64(integer);
      return outcome;
    }
    case TypeKind::kDate: {
      Conversion outcome = ToInteger(number, kDayMin, kDayMax, integer);
      if (outcome == Conversion::kDone) column.AppendInt32(static_cast<int32_t>(integer));
      return outcome;
    }
    case TypeKind::kFloat: {
      float value = 0;
      if (!ToFloat(number, value)) return Conversion::kOutOfRange;
      column.AppendFloat(value);
      return Conversion::kDone;
    }
    case TypeKind::kDouble: {
      double value = 0;
      if (!ToDouble(number, value)) return Conversion::kOutOfRange;
      column.AppendDouble(value);
      return Conversion::kDone;
    }
    case TypeKind::kDecimal: return AppendDecimal(rule, number, column);
    case TypeKind::kTime: return AppendTimeOfDay(rule, number, column);
    case TypeKind::kTimestamp:
    case TypeKind::kTimestamptz:
    case TypeKind::kTimestampNs:
    case TypeKind::kTimestamptzNs: return AppendEpochNumber(rule, number, column);
    default: return Conversion::kWrongType;
  }
}

Conversion AppendBoolean(const ScalarRule& rule, bool value, ColumnBuilder& column) {
  switch (rule.kind) {
    case TypeKind::kBoolean: column.AppendBool(value); return Conversion::kDone;
    case TypeKind::kString:
      return column.AppendBytes(value ? "true" : "false") ? Conversion::kDone : Conversion::kColumnFull;
    default: return Conversion::kWrongType;
  }
}

}  // namespace firn::decode::json
