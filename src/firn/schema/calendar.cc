#include "firn/schema/calendar.h"

#include <fmt/format.h>

namespace firn::schema {
namespace {

constexpr int64_t kDaysPerEra = 146097;     // 400 years
constexpr int64_t kDaysToEpoch = 719468;    // from 0000-03-01 to 1970-01-01

}  // namespace

// Years are counted from 1 March, so that the leap day is the last of its year and month lengths follow one line.
CivilDate CivilFromDays(int64_t days) {
  int64_t shifted = days + kDaysToEpoch;
  int64_t era = FloorDivide(shifted, kDaysPerEra);
  int64_t day_of_era = shifted - era * kDaysPerEra;
  int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  int64_t month_from_march = (5 * day_of_year + 2) / 153;
  CivilDate date;
  date.day = static_cast<int32_t>(day_of_year - (153 * month_from_march + 2) / 5 + 1);
  date.month = static_cast<int32_t>(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
  date.year = year_of_era + era * 400 + (date.month <= 2 ? 1 : 0);
  return date;
}

int64_t DaysFromCivil(const CivilDate& date) {
  int64_t year = date.year - (date.month <= 2 ? 1 : 0);
  int64_t era = FloorDivide(year, 400);
  int64_t year_of_era = year - era * 400;
  int64_t month_from_march = date.month > 2 ? date.month - 3 : date.month + 9;
  int64_t day_of_year = (153 * month_from_march + 2) / 5 + date.day - 1;
  int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * kDaysPerEra + day_of_era - kDaysToEpoch;
}

std::string FormatDate(int64_t days) {
  CivilDate date = CivilFromDays(days);
  std::string_view sign = date.year < 0 ? "-" : date.year > 9999 ? "+" : "";
  return fmt::format("{}{:04}-{:02}-{:02}", sign, date.year < 0 ? -date.year : date.year, date.month, date.day);
}

std::string FormatTimeOfDay(int64_t units, int64_t units_per_second) {
  int64_t seconds = FloorDivide(units, units_per_second);
  int64_t fraction = FloorModulo(units, units_per_second);
  std::string text = fmt::format("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
  if (fraction == 0) return text;
  text += units_per_second == kMicrosPerSecond ? fmt::format(".{:06}", fraction) : fmt::format(".{:09}", fraction);
  text.erase(text.find_last_not_of('0') + 1);
  return text;
}

std::string FormatTimestamp(int64_t units, int64_t units_per_second) {
  int64_t units_per_day = 86400 * units_per_second;
  return FormatDate(FloorDivide(units, units_per_day)) + "T" +
         FormatTimeOfDay(FloorModulo(units, units_per_day), units_per_second);
}

}  // namespace firn::schema
