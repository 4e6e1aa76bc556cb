#include "firn/parquet/run_length.h"

#include <array>
#include <cstring>
#include <utility>

namespace firn::parquet {
namespace {

// Straight-line code for one width: the loop over a group is unrolled and every shift is a constant.
template <typename T, int kWidth>
void PackGroupsOfWidth(const T* values, size_t groups, uint8_t* out) {
  for (size_t group = 0; group < groups; ++group, values += 8) {
    uint64_t word = 0;
    int filled = 0;
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      auto value = static_cast<uint64_t>(values[i]);
      word |= value << filled;
      filled += kWidth;
      if (filled >= 64) {
        std::memcpy(out, &word, 8);
        out += 8;
        filled -= 64;
        word = filled == 0 ? 0 : value >> (kWidth - filled);
      }
    }
    constexpr int kRest = kWidth % 8;
    std::memcpy(out, &word, kRest);
    out += kRest;
  }
}

template <typename T>
using PackFunction = void (*)(const T*, size_t, uint8_t*);

template <typename T, int... kWidths>
constexpr std::array<PackFunction<T>, sizeof...(kWidths)> MakeTable(std::integer_sequence<int, kWidths...>) {
  return {&PackGroupsOfWidth<T, kWidths>...};
}

template <typename T>
void Pack(const T* values, size_t groups, int width, uint8_t* out) {
  static constexpr auto kTable = MakeTable<T>(std::make_integer_sequence<int, 8 * sizeof(T) + 1>());
  kTable[static_cast<size_t>(width)](values, groups, out);
}

bool EightAlike(const uint8_t* values) {
  uint64_t word;
  std::memcpy(&word, values, 8);
  return word == 0x0101010101010101ULL * values[0];
}

bool EightAlike(const uint32_t* values) {
  uint32_t different = 0;
  for (int i = 1; i < 8; ++i) different |= values[i] ^ values[0];
  return different == 0;
}

// Packed groups; the last one is filled up with zeros.
template <typename T>
void AppendPacked(std::span<const T> values, int width, ByteBuffer& out) {
  if (values.empty()) return;
  size_t whole = values.size() / 8;
  size_t rest = values.size() % 8;
  size_t groups = whole + (rest > 0);
  out.AppendVarint(groups << 1 | 1);
  uint8_t* packed = out.Extend(groups * static_cast<size_t>(width));
  Pack(values.data(), whole, width, packed);
  if (rest == 0) return;
  T last[8] = {};
  std::memcpy(last, values.data() + whole * 8, rest * sizeof(T));
  Pack(last, 1, width, packed + whole * static_cast<size_t>(width));
}

// A run costs its header, its value, and the header of the packed groups behind it.
size_t ShortestRun(int width) {
  size_t cost = 3 + static_cast<size_t>(width + 7) / 8;
  return 8 * std::max<size_t>(1, (cost + static_cast<size_t>(width) - 1) / static_cast<size_t>(width));
}

template <typename T>
void AppendHybrid(std::span<const T> values, int width, ByteBuffer& out) {
  const size_t count = values.size();
  const size_t shortest = ShortestRun(width);
  size_t packed_begin = 0;
  size_t at = 0;
  while (at < count) {
    if (count - at >= 8 && !EightAlike(values.data() + at)) {
      at += 8;
      continue;
    }
    size_t end = at + 1;
    while (end < count && values[end] == values[at]) ++end;
    bool worth_it = end - at >= shortest || (end == count && (end - at >= 8 || packed_begin == at));
    if (!worth_it) {
      at += std::max<size_t>(8, (end - at) / 8 * 8);
      continue;
    }
    AppendPacked(values.subspan(packed_begin, at - packed_begin), width, out);
    AppendRun(values[at], end - at, width, out);
    packed_begin = at = end;
  }
  AppendPacked(values.subspan(packed_begin), width, out);
}

}  // namespace

void PackGroups(const uint8_t* values, size_t groups, int width, uint8_t* out) { Pack(values, groups, width, out); }
void PackGroups(const uint32_t* values, size_t groups, int width, uint8_t* out) { Pack(values, groups, width, out); }
void PackGroups(const uint64_t* values, size_t groups, int width, uint8_t* out) { Pack(values, groups, width, out); }

void AppendRunLengths(std::span<const uint8_t> values, int width, ByteBuffer& out) {
  AppendHybrid(values, width, out);
}
void AppendRunLengths(std::span<const uint32_t> values, int width, ByteBuffer& out) {
  AppendHybrid(values, width, out);
}

void AppendRun(uint32_t value, uint64_t count, int width, ByteBuffer& out) {
  out.AppendVarint(count << 1);
  out.Append(&value, static_cast<size_t>(width + 7) / 8);
}

}  // namespace firn::parquet
