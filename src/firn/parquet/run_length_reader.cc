#include "firn/parquet/run_length_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace firn::parquet {
namespace {

// A group of eight values has `width` bytes; the loads below may look at so many bytes beyond a value's first.
constexpr size_t kLoadBytes = 8;
constexpr size_t kGroupBytesMax = 32;

// Straight-line code for one width. `in` may be read kLoadBytes beyond the group.
template <typename T, int kWidth>
void UnpackGroup(const uint8_t* in, T* out) {
  if constexpr (kWidth == 0) {
    std::fill_n(out, 8, T{0});
  } else {
    constexpr uint64_t kMask = (uint64_t{1} << kWidth) - 1;
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      uint64_t word;
      std::memcpy(&word, in + i * kWidth / 8, kLoadBytes);
      out[i] = static_cast<T>(word >> (i * kWidth % 8) & kMask);
    }
  }
}

template <typename T, int kWidth>
void UnpackGroups(const uint8_t* in, size_t groups, T* out) {
  for (size_t i = 0; i < groups; ++i) UnpackGroup<T, kWidth>(in + i * kWidth, out + i * 8);
}

template <typename T>
using UnpackFunction = void (*)(const uint8_t*, size_t, T*);

template <typename T, int... kWidths>
constexpr std::array<UnpackFunction<T>, sizeof...(kWidths)> MakeTable(std::integer_sequence<int, kWidths...>) {
  return {&UnpackGroups<T, kWidths>...};
}

template <typename T>
void Unpack(const uint8_t* in, size_t groups, int width, T* out) {
  static constexpr auto kTable = MakeTable<T>(std::make_integer_sequence<int, 8 * sizeof(T) + 1>());
  kTable[static_cast<size_t>(width)](in, groups, out);
}

template <typename T>
class HybridReader {
 public:
  HybridReader(std::string_view bytes, int width)
      : at_(reinterpret_cast<const uint8_t*>(bytes.data())), end_(at_ + bytes.size()), width_(width) {}

  Status Fill(std::span<T> out) {
    if (width_ < 0 || width_ > static_cast<int>(8 * sizeof(T))) {
      return Fail(ErrorCode::kCorruption, fmt::format("a bit width that cannot be: {}", width_));
    }
    size_t done = 0;
    while (done < out.size()) {
      uint64_t header = 0;
      if (!TakeVarint(header)) return EndsEarly();
      const uint64_t length = header >> 1;
      if ((header & 1) == 0) {
        if (!TakeRun(length, out, done)) return EndsEarly();
      } else if (!TakePacked(length, out, done)) {
        return EndsEarly();
      }
    }
    return {};
  }

 private:
  size_t left() const { return static_cast<size_t>(end_ - at_); }

  std::unexpected<Error> EndsEarly() const {
    return firn::Fail(ErrorCode::kCorruption, "levels or dictionary indices end early");
  }
  static std::unexpected<Error> Fail(ErrorCode code, std::string message) {
    return firn::Fail(code, std::move(message));
  }

  bool TakeVarint(uint64_t& value) {
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ == end_) return false;
      const uint8_t byte = *at_++;
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if ((byte & 0x80) == 0) return true;
    }
    return false;
  }

  bool TakeRun(uint64_t length, std::span<T> out, size_t& done) {
    const auto value_bytes = static_cast<size_t>(width_ + 7) / 8;
    if (left() < value_bytes) return false;
    uint32_t value = 0;
    std::memcpy(&value, at_, value_bytes);
    at_ += value_bytes;
    // Runs of nothing would let a few bytes keep us busy for ever; no writer has a reason for one.
    if (length == 0) return false;
    const size_t count = std::min<uint64_t>(length, out.size() - done);
    std::fill_n(out.data() + done, count, static_cast<T>(value));
    done += count;
    return true;
  }

  bool TakePacked(uint64_t groups, std::span<T> out, size_t& done) {
    const size_t wanted = (out.size() - done + 7) / 8;
    const size_t used = std::min<uint64_t>(groups, wanted);
    const auto width = static_cast<size_t>(width_);
    if (used == 0) return false;
    // The last group may be cut off where its values end (some writers do).
    const size_t values = std::min(used * 8, out.size() - done);
    if (left() < (values * width + 7) / 8) return false;
    size_t safe = values / 8;
    if (width > 0) safe = std::min(safe, left() < kLoadBytes ? 0 : (left() - kLoadBytes) / width);
    Unpack(at_, safe, width_, out.data() + done);
    done += safe * 8;
    for (size_t group = safe; group < used; ++group) TakeGroup(group, out, done);
    at_ += std::min<uint64_t>(groups * width, left());
    return true;
  }

  // A group near the end of the bytes, by way of a copy that may be read beyond.
  void TakeGroup(size_t group, std::span<T> out, size_t& done) {
    std::array<uint8_t, kGroupBytesMax + kLoadBytes> padded{};
    std::array<T, 8> values;
    const size_t begin = group * static_cast<size_t>(width_);
    const size_t length = begin < left() ? std::min(static_cast<size_t>(width_), left() - begin) : 0;
    if (length > 0) std::memcpy(padded.data(), at_ + begin, length);
    Unpack(padded.data(), 1, width_, values.data());
    const size_t count = std::min<size_t>(8, out.size() - done);
    std::copy_n(values.data(), count, out.data() + done);
    done += count;
  }

  const uint8_t* at_;
  const uint8_t* end_;
  const int width_;
};

}  // namespace

Status ReadRunLengths(std::string_view bytes, int width, std::span<uint8_t> out) {
  return HybridReader<uint8_t>(bytes, width).Fill(out);
}

Status ReadRunLengths(std::string_view bytes, int width, std::span<uint32_t> out) {
  return HybridReader<uint32_t>(bytes, width).Fill(out);
}

}  // namespace firn::parquet
