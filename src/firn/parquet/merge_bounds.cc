#include "firn/parquet/merge_bounds.h"

#include <cmath>
#include <cstring>

namespace firn::parquet {
namespace {

constexpr int32_t kInt32DecimalPrecisionMax = 9;
constexpr int32_t kInt64DecimalPrecisionMax = 18;

template <typename T>
T ValueOf(std::string_view bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

template <typename T>
int Compare(std::string_view a, std::string_view b) {
  const T left = ValueOf<T>(a);
  const T right = ValueOf<T>(b);
  return left < right ? -1 : right < left ? 1 : 0;
}

int CompareSignedBytes(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty() || a.size() != b.size()) return a.compare(b);
  const auto first = static_cast<int8_t>(a[0]);
  const auto second = static_cast<int8_t>(b[0]);
  if (first != second) return first < second ? -1 : 1;
  return std::memcmp(a.data(), b.data(), a.size());
}

// -1: any length.
int LengthOf(BoundOrder order) {
  switch (order) {
    case BoundOrder::kBoolean: return 1;
    case BoundOrder::kInt32:
    case BoundOrder::kFloat: return 4;
    case BoundOrder::kInt64:
    case BoundOrder::kDouble: return 8;
    default: return -1;
  }
}

template <typename Float>
bool AdmitFloats(std::string& min, std::string& max) {
  if (std::isnan(ValueOf<Float>(min)) || std::isnan(ValueOf<Float>(max))) return false;
  const Float negative = -Float{0};
  const Float positive = Float{0};
  if (ValueOf<Float>(min) == 0) std::memcpy(min.data(), &negative, sizeof(Float));
  if (ValueOf<Float>(max) == 0) std::memcpy(max.data(), &positive, sizeof(Float));
  return true;
}

}  // namespace

BoundOrder BoundOrderOf(const schema::Type& type) {
  using schema::TypeKind;
  switch (type.kind()) {
    case TypeKind::kBoolean: return BoundOrder::kBoolean;
    case TypeKind::kInt:
    case TypeKind::kDate: return BoundOrder::kInt32;
    case TypeKind::kLong:
    case TypeKind::kTime:
    case TypeKind::kTimestamp:
    case TypeKind::kTimestamptz:
    case TypeKind::kTimestampNs:
    case TypeKind::kTimestamptzNs: return BoundOrder::kInt64;
    case TypeKind::kFloat: return BoundOrder::kFloat;
    case TypeKind::kDouble: return BoundOrder::kDouble;
    case TypeKind::kDecimal:
      if (type.precision() <= kInt32DecimalPrecisionMax) return BoundOrder::kInt32;
      return type.precision() <= kInt64DecimalPrecisionMax ? BoundOrder::kInt64 : BoundOrder::kSignedBytes;
    default: return BoundOrder::kBytes;
  }
}

int CompareBounds(BoundOrder order, std::string_view a, std::string_view b) {
  switch (order) {
    case BoundOrder::kBoolean: return Compare<uint8_t>(a, b);
    case BoundOrder::kInt32: return Compare<int32_t>(a, b);
    case BoundOrder::kInt64: return Compare<int64_t>(a, b);
    case BoundOrder::kFloat: return Compare<float>(a, b);
    case BoundOrder::kDouble: return Compare<double>(a, b);
    case BoundOrder::kBytes: return a.compare(b);
    case BoundOrder::kSignedBytes: return CompareSignedBytes(a, b);
  }
  return 0;
}

ValueBounds ValueBounds::Known(BoundOrder order, std::string_view min, std::string_view max) {
  ValueBounds bounds{.state = State::kKnown, .min = std::string(min), .max = std::string(max)};
  const int length = LengthOf(order);
  if (length >= 0 && (min.size() != static_cast<size_t>(length) || max.size() != static_cast<size_t>(length))) {
    return Unknown();
  }
  if (order == BoundOrder::kSignedBytes && (min.empty() || min.size() != max.size())) return Unknown();
  if (order == BoundOrder::kFloat && !AdmitFloats<float>(bounds.min, bounds.max)) return Unknown();
  if (order == BoundOrder::kDouble && !AdmitFloats<double>(bounds.min, bounds.max)) return Unknown();
  if (CompareBounds(order, bounds.min, bounds.max) > 0) return Unknown();
  return bounds;
}

void ValueBounds::Include(BoundOrder order, const ValueBounds& other) {
  if (state == State::kUnknown || other.state == State::kEmpty) return;
  if (state == State::kEmpty || other.state == State::kUnknown) {
    *this = other;
    return;
  }
  if (CompareBounds(order, other.min, min) < 0) {
    min = other.min;
    min_is_exact = other.min_is_exact;
  }
  if (CompareBounds(order, other.max, max) > 0) {
    max = other.max;
    max_is_exact = other.max_is_exact;
  }
}

}  // namespace firn::parquet
