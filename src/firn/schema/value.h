// Value: one primitive value or null, as partition values, bounds and defaults need it.
//
// The Iceberg type says how to read it: date → int32_t (days), time/timestamp* → int64_t (µs or ns), decimal →
// Decimal128 (unscaled), uuid/fixed/binary/string → std::string (bytes; uuid: 16, big-endian). Null: std::monostate.
#pragma once

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

// Total order of two non-null values of one type (strings and bytes: unsigned lexicographic; floats: -NaN < -inf < ... <
// -0.0 < +0.0 < ... < NaN). FIRN_CHECKs that both hold the same alternative.
int CompareValues(const Value& a, const Value& b);

// Iceberg's binary single-value serialization (spec Appendix D), as used in bounds and partition summaries.
std::string SerializeSingleValue(const Type& type, const Value& value);
// kCorruption when the bytes do not fit the type. Old widths are read: 4 bytes for a long, 4 for a double (promotion).
Result<Value> DeserializeSingleValue(const Type& type, std::string_view bytes);

// For people: "2024-01-31", "12.50", "0a0b" ..., "null".
std::string FormatValue(const Type& type, const Value& value);

}  // namespace firn::schema
