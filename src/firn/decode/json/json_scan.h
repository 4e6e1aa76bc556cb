// The steps through JSON text that every value pays for: white space, strings, plain integers, expected keys; sixteen
// or eight bytes at a time, without a call or a look at the text's end.
//
// Pure functions, any thread. The text has kTextPadding zero bytes behind it (PaddedText), which no loop here runs
// over. Positions go in and out by value, so that a loop keeps its own in a register. SSE2 is what every x86-64 has;
// most strings end within the first sixteen bytes, so that wider vectors have little to do.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "firn/decode/json/quoted_key.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace firn::decode::json {

inline bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

inline const char* SkipSpace(const char* at) {
  if (static_cast<unsigned char>(*at) <= ' ') [[unlikely]] {
    while (IsSpace(*at)) ++at;
  }
  return at;
}

// Whether a number or word may end there: before white space, a token of one byte, or the text's end.
inline bool EndsScalar(const char* at, const char* text_end) {
  switch (*at) {
    case ',':
    case '}':
    case ']':
    case ' ':
    case '\n':
    case '\r':
    case '\t':
    case ':':
    case '{':
    case '[': return true;
    case '\0': return at == text_end;
    default: return false;
  }
}

// The first quote, backslash or control character from there on; the zero behind the text is one.
inline const char* StringStop(const char* at) {
#if defined(__SSE2__)
  const __m128i quote = _mm_set1_epi8('"');
  const __m128i backslash = _mm_set1_epi8('\\');
  const __m128i control = _mm_set1_epi8(0x1f);
  for (;; at += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const __m128i stops = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)),
                                       _mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes));
    const auto mask = static_cast<uint32_t>(_mm_movemask_epi8(stops));
    if (mask != 0) return at + std::countr_zero(mask);
  }
#else
  while (*at != '"' && *at != '\\' && static_cast<unsigned char>(*at) >= 0x20) ++at;
  return at;
#endif
}

// The end of a key and its colon, if it is that key that stands there; else nullptr.
inline const char* ExpectedKeyEnd(const char* at, const char* text_end, const QuotedKey& key) {
  if (!key.StandsAt(at, text_end)) return nullptr;
  at += key.size();
  if (*at != ':') [[unlikely]] {
    at = SkipSpace(at);
    if (*at != ':') return nullptr;
  }
  return at + 1;
}

// Eight bytes, of which digits have become 0 to 9.
inline uint64_t LoadDigits(const char* at) {
  static_assert(std::endian::native == std::endian::little, "the first digit is the lowest byte");
  uint64_t bytes = 0;
  std::memcpy(&bytes, at, sizeof(bytes));
  return bytes ^ 0x3030303030303030;
}

// How many of the eight are digits before the first that is none. (A carry from one that is none reaches only those
// behind it.)
inline int CountDigits(uint64_t bytes) {
  const uint64_t others = ((bytes + 0x7676767676767676) | bytes) & 0x8080808080808080;
  return std::countr_zero(others) >> 3;
}

// The value of the first `count` of them, 1 to 8: those before them become zeros, then pairs, fours and all are put
// together.
inline uint64_t FirstDigits(uint64_t bytes, int count) {
  bytes <<= 64 - 8 * count;
  bytes = bytes * 10 + (bytes >> 8);
  return (((bytes & 0x000000ff000000ff) * 0x000f424000000064) +
          (((bytes >> 16) & 0x000000ff000000ff) * 0x0000271000000001)) >> 32;
}

// Reads 1 to 18 digits; their end, or nullptr when there are none or more.
inline const char* ReadDigits(const char* at, uint64_t& value) {
  constexpr std::array<uint64_t, 9> kPowers = {1,       10,        100,        1'000,      10'000,
                                               100'000, 1'000'000, 10'000'000, 100'000'000};
  uint64_t bytes = LoadDigits(at);
  int count = CountDigits(bytes);
  if (count == 0) return nullptr;
  value = FirstDigits(bytes, count);
  if (count < 8) return at + count;
  bytes = LoadDigits(at + 8);
  count = CountDigits(bytes);
  if (count == 0) return at + 8;
  value = value * kPowers[static_cast<size_t>(count)] + FirstDigits(bytes, count);
  at += 8 + count;
  if (count < 8) return at;
  for (int i = 0; i < 3; ++i, ++at) {
    const auto digit = static_cast<unsigned char>(*at - '0');
    if (digit > 9) return at;
    value = value * 10 + digit;
  }
  return nullptr;
}

// Reads the integer of at most 18 digits that stands there; its end, or nullptr when something else does.
inline const char* ReadPlainInteger(const char* at, const char* text_end, int64_t& value) {
  const bool negative = *at == '-';
  const char* digits = at + (negative ? 1 : 0);
  uint64_t magnitude = 0;
  const char* end = ReadDigits(digits, magnitude);
  if (end == nullptr || (*digits == '0' && end - digits > 1) || !EndsScalar(end, text_end)) return nullptr;
  value = negative ? -static_cast<int64_t>(magnitude) : static_cast<int64_t>(magnitude);
  return end;
}

}  // namespace firn::decode::json
