// Calendar: days since 1970-01-01 to the proleptic Gregorian calendar and back, and floor division.
//
// Pure functions, any thread. Years may be negative or beyond 9999; a 64-bit count of microseconds always fits.
#pragma once

#include <cstdint>
#include <string>

namespace firn::schema {

inline constexpr int64_t kMicrosPerSecond = 1'000'000;
inline constexpr int64_t kMicrosPerHour = 3600 * kMicrosPerSecond;
inline constexpr int64_t kMicrosPerDay = 24 * kMicrosPerHour;
inline constexpr int64_t kNanosPerMicro = 1000;

struct CivilDate {
  int64_t year = 1970;
  int32_t month = 1;  // 1 to 12
  int32_t day = 1;    // 1 to 31
};

CivilDate CivilFromDays(int64_t days);
int64_t DaysFromCivil(const CivilDate& date);

// Rounds towards minus infinity, as every time transform wants it; the divisor is positive.
constexpr int64_t FloorDivide(int64_t value, int64_t divisor) {
  int64_t quotient = value / divisor;
  return value % divisor < 0 ? quotient - 1 : quotient;
}
// 0 <= result < divisor. Not by way of FloorDivide: quotient times divisor may lie below the smallest value.
constexpr int64_t FloorModulo(int64_t value, int64_t divisor) {
  int64_t remainder = value % divisor;
  return remainder < 0 ? remainder + divisor : remainder;
}

// ISO 8601: "2024-01-15"; years outside 0 to 9999 carry a sign, as ISO demands: "+12345-01-01", "-0001-01-01".
std::string FormatDate(int64_t days);
// "22:31:08", "22:31:08.5": no more fraction digits than needed. `units_per_second`: 10^6 or 10^9.
std::string FormatTimeOfDay(int64_t units, int64_t units_per_second);
// "2024-01-15T22:31:08.5"; no zone.
std::string FormatTimestamp(int64_t units, int64_t units_per_second);

}  // namespace firn::schema
