#include "firn/decode/iso_time.h"

#include "firn/schema/calendar.h"

namespace firn::decode {
namespace {

constexpr int64_t kNanosPerSecond = 1'000'000'000;
constexpr int32_t kSecondsPerDay = 86'400;
constexpr size_t kFractionDigitsMax = 9;

bool IsDigit(char c) { return static_cast<unsigned char>(c - '0') < 10; }

// Takes `count` digits off the front.
bool TakeDigits(std::string_view& text, size_t count, int32_t& value) {
  if (text.size() < count) return false;
  value = 0;
  for (size_t i = 0; i < count; ++i) {
    if (!IsDigit(text[i])) return false;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(count);
  return true;
}

bool TakeCharacter(std::string_view& text, char c) {
  if (text.empty() || text[0] != c) return false;
  text.remove_prefix(1);
  return true;
}

bool IsLeapYear(int32_t year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

int32_t DaysInMonth(int32_t year, int32_t month) {
  constexpr int8_t kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month == 2 && IsLeapYear(year) ? 29 : kDays[month - 1];
}

TimeText TakeDate(std::string_view& text, int32_t& days) {
  int32_t year = 0;
  int32_t month = 0;
  int32_t day = 0;
  if (!TakeDigits(text, 4, year) || !TakeCharacter(text, '-') || !TakeDigits(text, 2, month) ||
      !TakeCharacter(text, '-') || !TakeDigits(text, 2, day)) {
    return TimeText::kNotIso;
  }
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > DaysInMonth(year, month)) return TimeText::kOutOfRange;
  days = static_cast<int32_t>(schema::DaysFromCivil({year, month, day}));
  return TimeText::kOk;
}

// One to nine digits, as nanoseconds.
bool TakeFraction(std::string_view& text, int32_t& nanoseconds) {
  size_t count = 0;
  int32_t value = 0;
  while (count < text.size() && IsDigit(text[count])) {
    if (++count > kFractionDigitsMax) return false;
    value = value * 10 + (text[count - 1] - '0');
  }
  if (count == 0) return false;
  for (size_t i = count; i < kFractionDigitsMax; ++i) value *= 10;
  nanoseconds = value;
  text.remove_prefix(count);
  return true;
}

TimeText TakeTime(std::string_view& text, int64_t& nanoseconds) {
  int32_t hour = 0;
  int32_t minute = 0;
  int32_t second = 0;
  int32_t fraction = 0;
  if (!TakeDigits(text, 2, hour) || !TakeCharacter(text, ':') || !TakeDigits(text, 2, minute)) return TimeText::kNotIso;
  if (TakeCharacter(text, ':')) {
    if (!TakeDigits(text, 2, second)) return TimeText::kNotIso;
    if ((TakeCharacter(text, '.') || TakeCharacter(text, ',')) && !TakeFraction(text, fraction)) {
      return TimeText::kNotIso;
    }
  }
  if (hour > 23 || minute > 59 || second > 59) return TimeText::kOutOfRange;
  nanoseconds = (hour * 3600 + minute * 60 + second) * kNanosPerSecond + fraction;
  return TimeText::kOk;
}

// "Z", "+01:00", "+0100", "+01"; the seconds that local time is ahead of UTC.
TimeText TakeZone(std::string_view& text, int32_t& seconds_ahead) {
  if (TakeCharacter(text, 'Z') || TakeCharacter(text, 'z')) {
    seconds_ahead = 0;
    return TimeText::kOk;
  }
  bool behind = TakeCharacter(text, '-');
  if (!behind && !TakeCharacter(text, '+')) return TimeText::kNotIso;
  int32_t hours = 0;
  int32_t minutes = 0;
  if (!TakeDigits(text, 2, hours)) return TimeText::kNotIso;
  if (!text.empty()) {
    TakeCharacter(text, ':');
    if (!TakeDigits(text, 2, minutes)) return TimeText::kNotIso;
  }
  if (hours > 23 || minutes > 59) return TimeText::kOutOfRange;
  seconds_ahead = hours * 3600 + minutes * 60;
  if (behind) seconds_ahead = -seconds_ahead;
  return TimeText::kOk;
}

}  // namespace

TimeText ParseIsoDate(std::string_view text, int32_t& days) {
  TimeText outcome = TakeDate(text, days);
  return outcome != TimeText::kNotIso && !text.empty() ? TimeText::kNotIso : outcome;
}

TimeText ParseIsoTime(std::string_view text, int64_t& nanoseconds) {
  TimeText outcome = TakeTime(text, nanoseconds);
  return outcome != TimeText::kNotIso && !text.empty() ? TimeText::kNotIso : outcome;
}

TimeText ParseIsoInstant(std::string_view text, Instant& instant) {
  int32_t days = 0;
  TimeText date = TakeDate(text, days);
  if (date == TimeText::kNotIso) return date;
  int64_t nanoseconds = 0;
  TimeText time = TimeText::kOk;
  TimeText zone = TimeText::kOk;
  int32_t seconds_ahead = 0;
  instant.has_zone = false;
  if (!text.empty()) {
    if (text[0] != 'T' && text[0] != 't' && text[0] != ' ') return TimeText::kNotIso;
    text.remove_prefix(1);
    time = TakeTime(text, nanoseconds);
    if (time == TimeText::kNotIso) return time;
    if (!text.empty()) {
      TakeCharacter(text, ' ');
      zone = TakeZone(text, seconds_ahead);
      if (zone == TimeText::kNotIso || !text.empty()) return TimeText::kNotIso;
      instant.has_zone = true;
    }
  }
  // Only now: a wrong form weighs more than a wrong number in it.
  if (date != TimeText::kOk || time != TimeText::kOk || zone != TimeText::kOk) return TimeText::kOutOfRange;
  instant.seconds = static_cast<int64_t>(days) * kSecondsPerDay + nanoseconds / kNanosPerSecond - seconds_ahead;
  instant.nanoseconds = static_cast<int32_t>(nanoseconds % kNanosPerSecond);
  if (instant.seconds < kSecondsMin || instant.seconds > kSecondsMax) return TimeText::kOutOfRange;
  return TimeText::kOk;
}

}  // namespace firn::decode
