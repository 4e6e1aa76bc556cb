// QuotedKey: a key as it stands in JSON, between its quotes, compared sixteen bytes at a time; and the hash of keys.
//
// Values; any thread.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace firn::decode::json {

class QuotedKey {
 public:
  QuotedKey() = default;
  // A key that JSON cannot hold as it is (quotes, backslashes, control characters in it) equals no text.
  explicit QuotedKey(std::string_view key);

  // Its size with the quotes; 0: it equals no text.
  uint32_t size() const { return size_; }
  // Whether it stands there: from its opening to its closing quote. 16 bytes from `at` on are readable, `end` is behind
  // the last byte of the text.
  bool StandsAt(const char* at, const char* end) const {
    return SameHead(at) && (size_ <= kHeadBytes || SameRest(at, end));
  }

 private:
  static constexpr uint32_t kHeadBytes = 16;

  bool SameHead(const char* at) const {
#if defined(__SSE2__)
    const __m128i text = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const __m128i head = _mm_loadu_si128(reinterpret_cast<const __m128i*>(head_.data()));
    const auto same = static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(text, head)));
    return (same & head_mask_) == head_mask_;
#else
    return head_mask_ <= 0xffff && std::memcmp(at, head_.data(), std::popcount(head_mask_)) == 0;
#endif
  }
  bool SameRest(const char* at, const char* end) const {
    return static_cast<size_t>(end - at) >= size_ &&
           std::memcmp(at + kHeadBytes, rest_.data(), size_ - kHeadBytes) == 0;
  }

  std::array<char, kHeadBytes> head_{};
  uint32_t head_mask_ = UINT32_MAX;  // a bit a byte of head_; beyond 16 bits: equals nothing
  uint32_t size_ = 0;
  std::string rest_;
};

// Of a key without its quotes, escapes resolved.
uint64_t HashKey(std::string_view key);
// The same where 16 bytes from key.data() on may be read.
uint64_t HashReadableKey(std::string_view key);

}  // namespace firn::decode::json
