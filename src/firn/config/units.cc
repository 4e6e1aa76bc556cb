#include "firn/config/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <chrono>
#include <limits>
#include <optional>

namespace firn::config {
namespace {

struct Unit {
  std::string_view name;
  int64_t factor;
};

constexpr std::array<Unit, 5> kDurationUnits = {
    {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1000}, {"ms", 1}}};
constexpr std::array<Unit, 5> kBinarySizeUnits = {
    {{"TiB", int64_t{1} << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}};
constexpr std::array<Unit, 1> kPercentUnits = {{{"%", 1}}};
constexpr std::array<Unit, 4> kDecimalSizeUnits = {
    {{"TB", 1'000'000'000'000}, {"GB", 1'000'000'000}, {"MB", 1'000'000}, {"kB", 1000}}};

std::optional<int64_t> ParseDigits(std::string_view text) {
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || text[0] == '-' || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// whole.fraction × factor, when that is a whole number that fits.
std::optional<int64_t> Scale(std::string_view number, int64_t factor) {
  size_t point = number.find('.');
  std::optional<int64_t> whole = ParseDigits(number.substr(0, point));
  if (!whole) return std::nullopt;
  __int128 result = static_cast<__int128>(*whole) * factor;
  if (point != std::string_view::npos) {
    std::string_view fraction = number.substr(point + 1);
    std::optional<int64_t> digits = ParseDigits(fraction);
    if (!digits || fraction.size() > 9) return std::nullopt;
    int64_t power = 1;
    for (size_t i = 0; i < fraction.size(); ++i) power *= 10;
    __int128 part = static_cast<__int128>(*digits) * factor;
    if (part % power != 0) return std::nullopt;
    result += part / power;
  }
  if (result > std::numeric_limits<int64_t>::max()) return std::nullopt;
  return static_cast<int64_t>(result);
}

template <size_t kFirst, size_t kSecond>
Result<int64_t> ParseWithUnit(std::string_view text, const std::array<Unit, kFirst>& first,
                              const std::array<Unit, kSecond>& second, std::string_view expected) {
  if (text == "0") return 0;
  size_t unit_start = text.find_first_not_of("0123456789.");
  if (unit_start != std::string_view::npos) {
    std::string_view number = text.substr(0, unit_start);
    std::string_view unit_name = text.substr(unit_start);
    unit_name.remove_prefix(std::min(unit_name.find_first_not_of(' '), unit_name.size()));
    auto find = [&](const auto& units) -> std::optional<int64_t> {
      for (const Unit& unit : units) {
        if (unit.name == unit_name) return Scale(number, unit.factor);
      }
      return std::nullopt;
    };
    if (std::optional<int64_t> value = find(first)) return *value;
    if (std::optional<int64_t> value = find(second)) return *value;
  }
  return Fail(ErrorCode::kInvalidInput, std::string(expected));
}

template <size_t kCount>
std::string FormatWithUnit(int64_t value, const std::array<Unit, kCount>& units, std::string_view zero) {
  if (value == 0) return std::string(zero);
  for (const Unit& unit : units) {
    if (value % unit.factor == 0) return fmt::format("{}{}", value / unit.factor, unit.name);
  }
  return fmt::format("{}{}", value, units.back().name);
}

std::optional<int64_t> TakeDigits(std::string_view& text, size_t count) {
  if (text.size() < count) return std::nullopt;
  std::optional<int64_t> value = ParseDigits(text.substr(0, count));
  if (value) text.remove_prefix(count);
  return value;
}

bool TakeChar(std::string_view& text, std::string_view one_of) {
  if (text.empty() || one_of.find(text[0]) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

// ".123" → 123 ms; absent → 0.
std::optional<int64_t> TakeFractionMs(std::string_view& text) {
  if (!TakeChar(text, ".")) return 0;
  size_t count = std::min(text.find_first_not_of("0123456789"), text.size());
  if (count == 0 || count > 3) return std::nullopt;
  int64_t value = ParseDigits(text.substr(0, count)).value_or(0);
  for (size_t i = count; i < 3; ++i) value *= 10;
  text.remove_prefix(count);
  return value;
}

// "Z" or "+01:00" → minutes east of UTC.
std::optional<int64_t> TakeOffsetMinutes(std::string_view& text) {
  if (TakeChar(text, "Zz")) return 0;
  if (text.empty() || (text[0] != '+' && text[0] != '-')) return std::nullopt;
  int64_t sign = text[0] == '-' ? -1 : 1;
  text.remove_prefix(1);
  std::optional<int64_t> hours = TakeDigits(text, 2);
  if (!hours || !TakeChar(text, ":")) return std::nullopt;
  std::optional<int64_t> minutes = TakeDigits(text, 2);
  if (!minutes || *hours > 23 || *minutes > 59) return std::nullopt;
  return sign * (*hours * 60 + *minutes);
}

std::optional<int64_t> ParseRfc3339(std::string_view text) {
  std::optional<int64_t> year = TakeDigits(text, 4);
  if (!year || !TakeChar(text, "-")) return std::nullopt;
  std::optional<int64_t> month = TakeDigits(text, 2);
  if (!month || !TakeChar(text, "-")) return std::nullopt;
  std::optional<int64_t> day = TakeDigits(text, 2);
  if (!day) return std::nullopt;
  std::chrono::year_month_day date{std::chrono::year(static_cast<int>(*year)),
                                   std::chrono::month(static_cast<unsigned>(*month)),
                                   std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  if (text.empty()) return days * 86'400'000;

  if (!TakeChar(text, "Tt ")) return std::nullopt;
  std::optional<int64_t> hour = TakeDigits(text, 2);
  if (!hour || !TakeChar(text, ":")) return std::nullopt;
  std::optional<int64_t> minute = TakeDigits(text, 2);
  if (!minute || !TakeChar(text, ":")) return std::nullopt;
  std::optional<int64_t> second = TakeDigits(text, 2);
  if (!second || *hour > 23 || *minute > 59 || *second > 59) return std::nullopt;
  std::optional<int64_t> fraction_ms = TakeFractionMs(text);
  if (!fraction_ms) return std::nullopt;
  std::optional<int64_t> offset_minutes = TakeOffsetMinutes(text);
  if (!offset_minutes || !text.empty()) return std::nullopt;
  return days * 86'400'000 + ((*hour * 60 + *minute - *offset_minutes) * 60 + *second) * 1000 + *fraction_ms;
}

}  // namespace

Result<int64_t> ParseDurationMs(std::string_view text) {
  return ParseWithUnit(text, kDurationUnits, std::array<Unit, 0>{},
                       "expected a duration such as 500ms, 60s, 5m, 6h or 1d");
}

Result<int64_t> ParseSizeBytes(std::string_view text) {
  return ParseWithUnit(text, kBinarySizeUnits, kDecimalSizeUnits, "expected a size such as 64KiB, 256MiB or 1GiB");
}

Result<int64_t> ParsePercent(std::string_view text) {
  return ParseWithUnit(text, kPercentUnits, std::array<Unit, 0>{}, "expected a percentage such as 25%");
}

Result<int64_t> ParseTimestampMs(std::string_view text) {
  if (std::optional<int64_t> value = ParseRfc3339(text)) return *value;
  return Fail(ErrorCode::kInvalidInput, "expected a point in time such as 2026-11-22T00:00:00Z");
}

std::string FormatDurationMs(int64_t duration_ms) {
  return FormatWithUnit(duration_ms, kDurationUnits, "0s");
}

std::string FormatSizeBytes(int64_t bytes) {
  return FormatWithUnit(bytes, kBinarySizeUnits, "0B");
}

std::string FormatPercent(int64_t percent) {
  return FormatWithUnit(percent, kPercentUnits, "0%");
}

std::string FormatTimestampMs(int64_t timestamp_ms) {
  std::chrono::sys_time<std::chrono::milliseconds> time{std::chrono::milliseconds(timestamp_ms)};
  auto day = std::chrono::floor<std::chrono::days>(time);
  std::chrono::year_month_day date{day};
  std::chrono::hh_mm_ss<std::chrono::milliseconds> clock{time - day};
  std::string text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                                 static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                                 clock.hours().count(), clock.minutes().count(), clock.seconds().count());
  if (clock.subseconds().count() != 0) text += fmt::format(".{:03}", clock.subseconds().count());
  return text + "Z";
}

}  // namespace firn::config
