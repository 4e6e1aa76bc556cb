// Value: one primitive value or null, as partition values, bounds and defaults need it.
//
// The Iceberg type says how to read it: date → int32_t (days), time/timestamp* → int64_t (µs or ns), decimal →
// Decimal128 (unscaled), uuid/fixed/binary/string → std::string (bytes; uuid: 16, big-endian). Null: std::monostate.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "firn/base/error.h"
#include "firn/schema/type.h"

namespace firn::schema {

struct Decimal128 {
  __int128 unscaled = 0;
  bool operator==(const Decimal128&) const = default;
  auto operator<=>(const Decimal128& other) const = default;
};

using Value = std::variant<std::monostate, bool, int32_t, int64_t, float, double, Decimal128, std::string>;

inline bool IsNull(const Value& value) { return std::holds_alternative<std::monostate>(value); }

// Total order of two non-null values of one type (strings and bytes: unsigned lexicographic; floats: -NaN < -inf < ...
// < -0.0 < +0.0 < ... < NaN). FIRN_CHECKs that both hold the same alternative.
int CompareValues(const Value& a, const Value& b);

// True when `value` is null or holds the alternative that `type` wants (a uuid 16 bytes, a fixed no more than its
// length). Values from outside pass here before they reach the functions below, which FIRN_CHECK it.
bool HoldsType(const Type& type, const Value& value);

// Iceberg's binary single-value serialization (spec Appendix D), as bounds and partition summaries use it. Non-null.
std::string SerializeSingleValue(const Type& type, const Value& value);
// kCorruption when the bytes do not fit the type. Old widths are read, as promotion leaves them: 4 bytes for a long, 4
// for a double, 4 (a date) for a timestamp. A fixed may be shorter than its type: some writers truncate its bounds.
Result<Value> DeserializeSingleValue(const Type& type, std::string_view bytes);

// For people: "2024-01-31", "2024-01-31T08:00:00.5+00:00", "12.50", "0a0b" (fixed, binary), a lower-case uuid, "null".
std::string FormatValue(const Type& type, const Value& value);

// Big-endian two's complement of as few bytes as hold the value; at least one.
std::string MinimalBigEndian(__int128 value);
// The inverse, for 1 to 16 bytes.
__int128 FromBigEndian(std::string_view bytes);

}  // namespace firn::schema
