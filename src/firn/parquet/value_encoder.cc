#include "firn/parquet/value_encoder.h"

#include <cstring>
#include <span>

#include "firn/base/check.h"
#include "firn/parquet/delta_encoder.h"
#include "firn/parquet/run_length.h"

namespace firn::parquet {
namespace {

using format::Encoding;
using format::PhysicalType;

size_t LengthOf(const ValueSpan& span, int64_t index) {
  return static_cast<size_t>(span.offsets[index + 1] - span.offsets[index]);
}

class PlainEncoder final : public ValueEncoder {
 public:
  explicit PlainEncoder(const LeafShape& shape) : shape_(shape) {}
  void Put(const ValueSpan& span) override { AppendPlain(shape_, span, values_); }
  int64_t page_bytes() const override { return static_cast<int64_t>(values_.size()); }
  void Flush(ByteBuffer& out) override {
    out.Append(values_.view());
    values_.Clear();
  }

 private:
  const LeafShape& shape_;
  ByteBuffer values_;
};

// Booleans come as a byte each: PLAIN stores eight of them in one, RLE runs of them with a length before.
class BooleanEncoder final : public ValueEncoder {
 public:
  explicit BooleanEncoder(bool run_lengths) : run_lengths_(run_lengths) {}
  void Put(const ValueSpan& span) override { values_.Append(span.bytes, static_cast<size_t>(span.count)); }
  int64_t page_bytes() const override { return static_cast<int64_t>(values_.size() / 8 + 8); }
  void Flush(ByteBuffer& out) override {
    if (run_lengths_) {
      size_t begin = out.size();
      out.AppendValue(uint32_t{0});
      AppendRunLengths(std::span(values_.data(), values_.size()), 1, out);
      auto length = static_cast<uint32_t>(out.size() - begin - sizeof(uint32_t));
      std::memcpy(out.data() + begin, &length, sizeof(length));
    } else {
      while (values_.size() % 8 != 0) values_.AppendByte(0);
      size_t groups = values_.size() / 8;
      PackGroups(values_.data(), groups, 1, out.Extend(groups));
    }
    values_.Clear();
  }

 private:
  bool run_lengths_;
  ByteBuffer values_;
};

template <typename T>
class DeltaBinaryPackedEncoder final : public ValueEncoder {
 public:
  void Put(const ValueSpan& span) override { values_.Put(span.bytes, span.count); }
  int64_t page_bytes() const override { return values_.page_bytes(); }
  void Flush(ByteBuffer& out) override { values_.Flush(out); }

 private:
  DeltaEncoder<T> values_;
};

// All lengths as deltas, then all bytes.
class DeltaLengthEncoder final : public ValueEncoder {
 public:
  void Put(const ValueSpan& span) override {
    if (span.count == 0) return;
    constexpr int64_t kAtATime = 256;
    int32_t lengths[kAtATime];
    for (int64_t begin = 0; begin < span.count; begin += kAtATime) {
      int64_t count = std::min(kAtATime, span.count - begin);
      for (int64_t i = 0; i < count; ++i) lengths[i] = span.offsets[begin + i + 1] - span.offsets[begin + i];
      lengths_.Put(reinterpret_cast<const uint8_t*>(lengths), count);
    }
    values_.Append(span.bytes + span.offsets[0], static_cast<size_t>(span.offsets[span.count] - span.offsets[0]));
  }
  int64_t page_bytes() const override { return lengths_.page_bytes() + static_cast<int64_t>(values_.size()); }
  void Flush(ByteBuffer& out) override {
    lengths_.Flush(out);
    out.Append(values_.view());
    values_.Clear();
  }

 private:
  DeltaEncoder<int32_t> lengths_;
  ByteBuffer values_;
};

// The first bytes of all values, then the second ones, and so on.
template <size_t kWidth>
class ByteStreamSplitEncoder final : public ValueEncoder {
 public:
  void Put(const ValueSpan& span) override { values_.Append(span.bytes, static_cast<size_t>(span.count) * kWidth); }
  int64_t page_bytes() const override { return static_cast<int64_t>(values_.size()); }
  void Flush(ByteBuffer& out) override {
    size_t count = values_.size() / kWidth;
    uint8_t* streams = out.Extend(values_.size());
    const uint8_t* value = values_.data();
    for (size_t i = 0; i < count; ++i, value += kWidth) {
      for (size_t byte = 0; byte < kWidth; ++byte) streams[byte * count + i] = value[byte];
    }
    values_.Clear();
  }

 private:
  ByteBuffer values_;
};

}  // namespace

void AppendPlain(const LeafShape& shape, const ValueSpan& span, ByteBuffer& out) {
  if (span.count == 0) return;
  if (!shape.is_bytes()) return out.Append(span.bytes, static_cast<size_t>(span.count * shape.width));
  auto bytes = static_cast<size_t>(span.offsets[span.count] - span.offsets[0]);
  uint8_t* to = out.Extend(bytes + static_cast<size_t>(span.count) * sizeof(uint32_t));
  for (int64_t i = 0; i < span.count; ++i) {
    size_t length = LengthOf(span, i);
    auto stored = static_cast<uint32_t>(length);
    std::memcpy(to, &stored, sizeof(stored));
    // Where all values are empty there may be no bytes at all.
    if (length > 0) std::memcpy(to + sizeof(stored), span.bytes + span.offsets[i], length);
    to += sizeof(stored) + length;
  }
}

bool Fits(Encoding encoding, const LeafShape& shape) {
  switch (encoding) {
    case Encoding::kPlain: return true;
    case Encoding::kRle: return shape.physical == PhysicalType::kBoolean;
    case Encoding::kRleDictionary: return shape.physical != PhysicalType::kBoolean;
    case Encoding::kDeltaBinaryPacked:
      return shape.physical == PhysicalType::kInt32 || shape.physical == PhysicalType::kInt64;
    case Encoding::kDeltaLengthByteArray: return shape.is_bytes();
    case Encoding::kByteStreamSplit:
      return shape.physical == PhysicalType::kFloat || shape.physical == PhysicalType::kDouble;
  }
  return false;
}

std::unique_ptr<ValueEncoder> MakeValueEncoder(Encoding encoding, const LeafShape& shape) {
  FIRN_CHECK(Fits(encoding, shape) && encoding != Encoding::kRleDictionary, "an encoding that the type does not have");
  bool wide = shape.width == 8;
  if (shape.physical == PhysicalType::kBoolean) return std::make_unique<BooleanEncoder>(encoding == Encoding::kRle);
  switch (encoding) {
    case Encoding::kDeltaBinaryPacked:
      if (wide) return std::make_unique<DeltaBinaryPackedEncoder<int64_t>>();
      return std::make_unique<DeltaBinaryPackedEncoder<int32_t>>();
    case Encoding::kDeltaLengthByteArray: return std::make_unique<DeltaLengthEncoder>();
    case Encoding::kByteStreamSplit:
      if (wide) return std::make_unique<ByteStreamSplitEncoder<8>>();
      return std::make_unique<ByteStreamSplitEncoder<4>>();
    default: break;
  }
  return std::make_unique<PlainEncoder>(shape);
}

}  // namespace firn::parquet
