// Numbers of JSON as they are written: digits, point, exponent; exact integers and decimals out of them.
//
// Pure functions, any thread. A double is never on the way to an integer or a decimal.
#pragma once

#include <cstdint>
#include <string_view>

namespace firn::decode::json {

struct JsonNumber {
  std::string_view text;
  std::string_view integer_digits;
  std::string_view fraction_digits;
  int64_t exponent = 0;     // as written, cut to +-10^9
  bool negative = false;
  bool is_plain = false;    // an integer of at most 18 digits without fraction and exponent: `plain` is its value
  int64_t plain = 0;
};

// Reads the number that begins at `begin` (RFC 8259, section 6: no plus sign, no leading zero, digits on both sides of
// the point). False when there is none. number.text tells how far it goes; what follows is the caller's business.
bool ReadNumber(const char* begin, const char* end, JsonNumber& number);
// The same when the whole text must be one number.
bool ReadWholeNumber(std::string_view text, JsonNumber& number);

enum class Scaled : uint8_t { kExact, kInexact, kOutOfRange };

// floor(number * 10^scale) into `result`; kInexact when something was cut off, kOutOfRange beyond 38 digits (`result`
// is then not set).
Scaled ScaleNumber(const JsonNumber& number, int32_t scale, __int128& result);

// The nearest value; false when it is beyond the largest finite one. Too small ones become zero.
bool ToDouble(const JsonNumber& number, double& result);
bool ToFloat(const JsonNumber& number, float& result);

}  // namespace firn::decode::json
