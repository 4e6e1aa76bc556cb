#include "firn/env/http_client.h"

#include <array>
#include <chrono>

namespace firn::env {
namespace {

constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr std::array<std::string_view, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

// A decimal number that fills `text` completely, digits only.
std::optional<int> Digits(std::string_view text) {
  int value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

// IMF-fixdate (RFC 9110, 5.6.7): "Sun, 06 Nov 1994 08:49:37 GMT", always 29 characters.
std::optional<int64_t> ParseImfFixdate(std::string_view text) {
  constexpr std::string_view kShape = "ddd, 00 mmm 0000 00:00:00 GMT";
  if (text.size() != kShape.size()) return std::nullopt;
  for (size_t i : {3, 4, 7, 11, 16, 19, 22, 25, 26, 27, 28}) {
    if (text[i] != kShape[i]) return std::nullopt;
  }
  auto day = Digits(text.substr(5, 2));
  auto year = Digits(text.substr(12, 4));
  auto hour = Digits(text.substr(17, 2));
  auto minute = Digits(text.substr(20, 2));
  auto second = Digits(text.substr(23, 2));
  if (!day || !year || !hour || !minute || !second) return std::nullopt;
  unsigned month = 0;
  for (unsigned i = 0; i < kMonths.size(); ++i) {
    if (text.substr(8, 3) == kMonths[i]) month = i + 1;
  }
  std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(month),
                                   std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok() || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  std::chrono::sys_days days(date);
  if (text.substr(0, 3) != kDays[std::chrono::weekday(days).c_encoding()]) return std::nullopt;
  int64_t seconds = int64_t{days.time_since_epoch().count()} * 86'400 + *hour * 3600 + *minute * 60 + *second;
  return seconds * 1000;
}

}  // namespace

std::optional<std::string_view> HttpResponse::Header(std::string_view lower_case_name) const {
  for (const auto& [name, value] : headers) {
    if (name == lower_case_name) return value;
  }
  return std::nullopt;
}

std::optional<int64_t> HttpResponse::DateMs() const {
  auto date = Header("date");
  return date ? ParseImfFixdate(*date) : std::nullopt;
}

}  // namespace firn::env
