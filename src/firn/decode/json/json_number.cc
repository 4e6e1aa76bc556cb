#include "firn/decode/json/json_number.h"

#include <algorithm>
#include <charconv>
#include <system_error>

namespace firn::decode::json {
namespace {

constexpr int64_t kExponentCut = 1'000'000'000;
constexpr size_t kPlainDigitsMax = 18;
constexpr int64_t kInt128DigitsMax = 38;

bool IsDigit(char c) { return static_cast<unsigned char>(c - '0') < 10; }

const char* SkipDigits(const char* at, const char* end) {
  while (at != end && IsDigit(*at)) ++at;
  return at;
}

// The exponent's digits, their sign included; nullptr when there are none.
const char* ReadExponent(const char* at, const char* end, int64_t& exponent) {
  bool negative = at != end && *at == '-';
  if (at != end && (*at == '-' || *at == '+')) ++at;
  const char* digits = at;
  for (; at != end && IsDigit(*at); ++at) exponent = std::min(exponent * 10 + (*at - '0'), kExponentCut);
  if (at == digits) return nullptr;
  if (negative) exponent = -exponent;
  return at;
}

// Integer and fraction digits as one sequence.
struct Digits {
  std::string_view integer;
  std::string_view fraction;
  char at(int64_t index) const {
    auto position = static_cast<size_t>(index);
    return position < integer.size() ? integer[position] : fraction[position - integer.size()];
  }
  int64_t size() const { return static_cast<int64_t>(integer.size() + fraction.size()); }
};

int64_t FirstNonZero(const Digits& digits) {
  int64_t index = 0;
  while (index < digits.size() && digits.at(index) == '0') ++index;
  return index;
}

template <typename T>
bool ToFloating(const JsonNumber& number, T& result) {
  auto [end, error] = std::from_chars(number.text.data(), number.text.data() + number.text.size(), result);
  if (error == std::errc()) return true;
  // Out of range both ways: the place of the first digit that counts tells which.
  Digits digits{number.integer_digits, number.fraction_digits};
  int64_t first = FirstNonZero(digits);
  int64_t magnitude = static_cast<int64_t>(number.integer_digits.size()) - first + number.exponent;
  if (first < digits.size() && magnitude > 0) return false;
  result = number.negative ? -T{0} : T{0};
  return true;
}

}  // namespace

bool ReadNumber(const char* begin, const char* end, JsonNumber& number) {
  const char* at = begin;
  number.negative = at != end && *at == '-';
  if (number.negative) ++at;
  const char* digits = at;
  uint64_t value = 0;
  while (at != end && IsDigit(*at)) {
    // Wraps beyond 18 digits, where it is not looked at.
    value = value * 10 + static_cast<uint64_t>(*at - '0');
    ++at;
  }
  auto count = static_cast<size_t>(at - digits);
  if (count == 0 || (count > 1 && *digits == '0')) return false;
  number.integer_digits = {digits, count};
  number.fraction_digits = {};
  number.exponent = 0;
  number.is_plain = count <= kPlainDigitsMax;
  number.plain = static_cast<int64_t>(number.negative ? 0 - value : value);
  if (at != end && *at == '.') {
    const char* fraction = ++at;
    at = SkipDigits(at, end);
    if (at == fraction) return false;
    number.fraction_digits = {fraction, static_cast<size_t>(at - fraction)};
    number.is_plain = false;
  }
  if (at != end && (*at == 'e' || *at == 'E')) {
    at = ReadExponent(at + 1, end, number.exponent);
    if (at == nullptr) return false;
    number.is_plain = false;
  }
  number.text = {begin, static_cast<size_t>(at - begin)};
  return true;
}

bool ReadWholeNumber(std::string_view text, JsonNumber& number) {
  return ReadNumber(text.data(), text.data() + text.size(), number) && number.text.size() == text.size();
}

Scaled ScaleNumber(const JsonNumber& number, int32_t scale, __int128& result) {
  Digits digits{number.integer_digits, number.fraction_digits};
  int64_t first = FirstNonZero(digits);
  if (first == digits.size()) {
    result = 0;
    return Scaled::kExact;
  }
  // value * 10^scale = (digits from `first` on) * 10^shift
  int64_t shift = number.exponent - static_cast<int64_t>(number.fraction_digits.size()) + scale;
  int64_t significant = digits.size() - first;
  int64_t whole = significant + shift;  // digits before the point of the result
  if (whole > kInt128DigitsMax) return Scaled::kOutOfRange;
  __int128 value = 0;
  int64_t taken = std::clamp<int64_t>(whole, 0, significant);
  for (int64_t i = 0; i < taken; ++i) value = value * 10 + (digits.at(first + i) - '0');
  for (int64_t i = taken; i < whole; ++i) value *= 10;
  bool exact = true;
  for (int64_t i = taken; i < significant && exact; ++i) exact = digits.at(first + i) == '0';
  if (number.negative) value = exact ? -value : -value - 1;
  result = value;
  return exact ? Scaled::kExact : Scaled::kInexact;
}

bool ToDouble(const JsonNumber& number, double& result) { return ToFloating(number, result); }
bool ToFloat(const JsonNumber& number, float& result) { return ToFloating(number, result); }

}  // namespace firn::decode::json
