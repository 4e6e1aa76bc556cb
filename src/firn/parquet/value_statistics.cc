#include "firn/parquet/value_statistics.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <string_view>
#include <type_traits>

namespace firn::parquet {
namespace {

template <typename T>
class NumberStatistics final : public ValueStatistics {
 public:
  void Put(const ValueSpan& span) override {
    if (span.count == 0) return;
    T low = low_, high = high_;
    if constexpr (std::is_floating_point_v<T>) {
      int64_t nans = 0;
      for (int64_t i = 0; i < span.count; ++i) {
        T value = At(span, i);
        nans += value != value;
        low = value < low ? value : low;    // false for NaN
        high = value > high ? value : high;
      }
      nan_count_ += nans;
      seen_ += span.count - nans;
    } else {
      for (int64_t i = 0; i < span.count; ++i) {
        T value = At(span, i);
        low = std::min(low, value);
        high = std::max(high, value);
      }
      seen_ += span.count;
    }
    low_ = low;
    high_ = high;
  }

  Bounds TakeBounds() override {
    Bounds bounds;
    if (seen_ > 0) {
      if constexpr (std::is_floating_point_v<T>) {
        if (low_ == 0) low_ = -T{0};
        if (high_ == 0) high_ = T{0};
      }
      bounds = {true, std::string(reinterpret_cast<const char*>(&low_), sizeof(T)),
                std::string(reinterpret_cast<const char*>(&high_), sizeof(T))};
    }
    low_ = kHighest;
    high_ = kLowest;
    seen_ = 0;
    return bounds;
  }

 private:
  static T At(const ValueSpan& span, int64_t index) {
    T value;
    std::memcpy(&value, span.bytes + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
    return value;
  }

  static constexpr T kHighest = std::is_floating_point_v<T> ? std::numeric_limits<T>::infinity()
                                                            : std::numeric_limits<T>::max();
  static constexpr T kLowest = std::is_floating_point_v<T> ? -std::numeric_limits<T>::infinity()
                                                           : std::numeric_limits<T>::lowest();
  T low_ = kHighest;
  T high_ = kLowest;
  int64_t seen_ = 0;
};

// The first eight bytes as a number that orders as they do.
uint64_t PrefixOf(const uint8_t* bytes, size_t length) {
  uint64_t word = 0;
  if (length >= 8) {
    std::memcpy(&word, bytes, 8);
    return __builtin_bswap64(word);
  }
  if (length >= 4) {
    uint32_t head, tail;
    std::memcpy(&head, bytes, 4);
    std::memcpy(&tail, bytes + length - 4, 4);
    word = static_cast<uint64_t>(__builtin_bswap32(head)) << 32;
    return word | static_cast<uint64_t>(__builtin_bswap32(tail)) << (8 * (8 - length));
  }
  for (size_t i = 0; i < length; ++i) word |= static_cast<uint64_t>(bytes[i]) << (56 - 8 * i);
  return word;
}

// Byte arrays and unsigned fixed-width bytes.
class BytesStatistics final : public ValueStatistics {
 public:
  explicit BytesStatistics(int32_t width) : width_(static_cast<size_t>(width)) {}

  void Put(const ValueSpan& span) override {
    if (span.offsets == nullptr) {
      const uint8_t* value = span.bytes;
      for (int64_t i = 0; i < span.count; ++i, value += width_) Add(value, width_);
      return;
    }
    for (int64_t i = 0; i < span.count; ++i) {
      Add(span.bytes + span.offsets[i], static_cast<size_t>(span.offsets[i + 1] - span.offsets[i]));
    }
  }

  Bounds TakeBounds() override {
    Bounds bounds{seen_, std::move(low_), std::move(high_)};
    seen_ = false;
    low_ = {};
    high_ = {};
    return bounds;
  }

 private:
  void Add(const uint8_t* bytes, size_t length) {
    uint64_t prefix = PrefixOf(bytes, length);
    if (seen_ && prefix > low_prefix_ && prefix < high_prefix_) [[likely]] return;
    std::string_view value(reinterpret_cast<const char*>(bytes), length);
    if (!seen_ || value < low_) {
      low_.assign(value);
      low_prefix_ = prefix;
    }
    if (!seen_ || value > high_) {
      high_.assign(value);
      high_prefix_ = prefix;
    }
    seen_ = true;
  }

  size_t width_;
  bool seen_ = false;
  uint64_t low_prefix_ = 0;
  uint64_t high_prefix_ = 0;
  std::string low_;
  std::string high_;
};

class DecimalBytesStatistics final : public ValueStatistics {
 public:
  explicit DecimalBytesStatistics(int32_t width) : width_(static_cast<size_t>(width)) {}

  void Put(const ValueSpan& span) override {
    const auto* bytes = reinterpret_cast<const char*>(span.bytes);
    for (int64_t i = 0; i < span.count; ++i, bytes += width_) {
      std::string_view value(bytes, width_);
      if (!bounds_.known || ComparePlain(ValueOrder::kSignedBigEndian, value, bounds_.lower) < 0) {
        bounds_.lower.assign(value);
      }
      if (!bounds_.known || ComparePlain(ValueOrder::kSignedBigEndian, value, bounds_.upper) > 0) {
        bounds_.upper.assign(value);
      }
      bounds_.known = true;
    }
  }

  Bounds TakeBounds() override {
    Bounds bounds = std::move(bounds_);
    bounds_ = {};
    return bounds;
  }

 private:
  size_t width_;
  Bounds bounds_;
};

}  // namespace

void Bounds::Widen(ValueOrder order, const Bounds& other) {
  if (!other.known) return;
  if (!known || ComparePlain(order, other.lower, lower) < 0) lower = other.lower;
  if (!known || ComparePlain(order, other.upper, upper) > 0) upper = other.upper;
  known = true;
}

std::unique_ptr<ValueStatistics> ValueStatistics::Make(const LeafShape& shape) {
  switch (shape.order) {
    case ValueOrder::kBoolean: return std::make_unique<NumberStatistics<uint8_t>>();
    case ValueOrder::kInt32: return std::make_unique<NumberStatistics<int32_t>>();
    case ValueOrder::kInt64: return std::make_unique<NumberStatistics<int64_t>>();
    case ValueOrder::kFloat: return std::make_unique<NumberStatistics<float>>();
    case ValueOrder::kDouble: return std::make_unique<NumberStatistics<double>>();
    case ValueOrder::kUnsignedBytes: return std::make_unique<BytesStatistics>(shape.width);
    case ValueOrder::kSignedBigEndian: break;
  }
  return std::make_unique<DecimalBytesStatistics>(shape.width);
}

}  // namespace firn::parquet
