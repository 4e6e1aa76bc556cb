// Dates, times of day and instants in ISO 8601 text, as logs write them (RFC 3339 and its common relaxations).
//
// Pure functions, any thread. docs/types.md says which forms are taken; nothing is guessed beyond them.
#pragma once

#include <cstdint>
#include <string_view>

namespace firn::decode {

// kNotIso: another form. kOutOfRange: the form is right but there is no such day, hour, second, or year 1 to 9999.
enum class TimeText : uint8_t { kOk, kNotIso, kOutOfRange };

// Years 0001 to 9999, what every reader of a table can show.
inline constexpr int64_t kSecondsMin = -62'135'596'800;
inline constexpr int64_t kSecondsMax = 253'402'300'799;

struct Instant {
  int64_t seconds = 0;      // since 1970-01-01T00:00:00, in UTC when a zone was given, else as the clock showed it
  int32_t nanoseconds = 0;  // 0 to 999'999'999
  bool has_zone = false;
};

// "2024-01-31": days since 1970-01-01.
TimeText ParseIsoDate(std::string_view text, int32_t& days);
// "12:34", "12:34:56", with 1 to 9 digits of fraction behind '.' or ',': nanoseconds since midnight.
TimeText ParseIsoTime(std::string_view text, int64_t& nanoseconds);
// Date alone, or date and time joined by 'T', 't' or one space, with no zone, 'Z', 'z', "+hh:mm", "+hhmm" or "+hh"
// (a space may stand before the zone). Out of range too when the zone moves it out of the years 1 to 9999.
TimeText ParseIsoInstant(std::string_view text, Instant& instant);

}  // namespace firn::decode
