#include "firn/decode/json/quoted_key.h"

#include <algorithm>

namespace firn::decode::json {
namespace {

constexpr uint64_t kFirst = 0x9e3779b97f4a7c15;
constexpr uint64_t kSecond = 0xd6e8feb86659fd93;
constexpr size_t kShortBytes = 16;

uint64_t Load(const char* at) {
  uint64_t value = 0;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

uint64_t Mix(uint64_t a, uint64_t b) {
  unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

struct Masks {
  uint64_t low[kShortBytes + 1];
  uint64_t high[kShortBytes + 1];
};

// What of sixteen loaded bytes belongs to a key of that size (the first byte is the lowest one).
constexpr Masks MakeMasks() {
  Masks masks{};
  for (size_t size = 0; size <= kShortBytes; ++size) {
    masks.low[size] = size >= 8 ? UINT64_MAX : (uint64_t{1} << (8 * size)) - 1;
    masks.high[size] = size >= 16 ? UINT64_MAX : size <= 8 ? 0 : (uint64_t{1} << (8 * (size - 8))) - 1;
  }
  return masks;
}
constexpr Masks kMasks = MakeMasks();
static_assert(std::endian::native == std::endian::little, "the masks count bytes from the lowest one");

bool StandsAsItIs(std::string_view key) {
  return std::ranges::none_of(
      key, [](char c) { return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20; });
}

}  // namespace

QuotedKey::QuotedKey(std::string_view key) {
  if (!StandsAsItIs(key)) return;
  std::string quoted = '"' + std::string(key) + '"';
  size_ = static_cast<uint32_t>(quoted.size());
  head_mask_ = (uint32_t{1} << std::min(size_, kHeadBytes)) - 1;
  std::memcpy(head_.data(), quoted.data(), std::min(size_, kHeadBytes));
  if (size_ > kHeadBytes) rest_ = quoted.substr(kHeadBytes);
}

// Multiply and fold; short keys, which most are, without a branch on their size.
uint64_t HashReadableKey(std::string_view key) {
  const size_t size = key.size();
  if (size <= kShortBytes) {
    const uint64_t low = Load(key.data()) & kMasks.low[size];
    const uint64_t high = Load(key.data() + 8) & kMasks.high[size];
    return Mix(Mix(low ^ kFirst, size + kSecond) ^ high, kFirst);
  }
  uint64_t hash = size + kSecond;
  for (size_t i = 0; i + 8 < size; i += 8) hash = Mix(hash ^ Load(key.data() + i), kFirst);
  return Mix(hash ^ Load(key.data() + size - 8), kFirst);
}

uint64_t HashKey(std::string_view key) {
  if (key.size() > kShortBytes) return HashReadableKey(key);
  char readable[kShortBytes] = {};
  if (!key.empty()) std::memcpy(readable, key.data(), key.size());
  return HashReadableKey({readable, key.size()});
}

}  // namespace firn::decode::json
