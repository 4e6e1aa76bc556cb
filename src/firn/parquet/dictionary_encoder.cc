#include "firn/parquet/dictionary_encoder.h"

#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "firn/parquet/run_length.h"

namespace firn::parquet {
namespace {

constexpr size_t kFirstSlots = 256;

uint64_t Mix(uint64_t a, uint64_t b) {
  auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

struct Seeds {
  uint64_t first;
  uint64_t second;
};

const Seeds& ProcessSeeds() {
  static const Seeds seeds = [] {
    std::random_device device;
    auto draw = [&] { return static_cast<uint64_t>(device()) << 32 | device() | 1; };
    return Seeds{draw(), draw()};
  }();
  return seeds;
}

uint64_t Load64(const uint8_t* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, 8);
  return word;
}

uint64_t Load32(const uint8_t* bytes) {
  uint32_t word;
  std::memcpy(&word, bytes, 4);
  return word;
}

uint64_t HashBytes(const uint8_t* bytes, size_t length, const Seeds& seeds) {
  uint64_t hash = seeds.first ^ length;
  const uint8_t* at = bytes;
  for (size_t left = length; left > 16; left -= 16, at += 16) {
    hash = Mix(Load64(at) ^ hash, Load64(at + 8) ^ seeds.second);
  }
  size_t left = length - static_cast<size_t>(at - bytes);
  uint64_t head = 0, tail = 0;
  if (left >= 8) {
    head = Load64(at);
    tail = Load64(at + left - 8);
  } else if (left >= 4) {
    head = Load32(at);
    tail = Load32(at + left - 4);
  } else if (left > 0) {
    head = static_cast<uint64_t>(at[0]) << 16 | static_cast<uint64_t>(at[left / 2]) << 8 | at[left - 1];
  }
  return Mix(head ^ hash, tail ^ seeds.second);
}

// memcmp of short values without the call.
bool SameBytes(const uint8_t* a, const uint8_t* b, size_t length) {
  if (length > 16) return std::memcmp(a, b, length) == 0;
  if (length >= 8) return ((Load64(a) ^ Load64(b)) | (Load64(a + length - 8) ^ Load64(b + length - 8))) == 0;
  if (length >= 4) return ((Load32(a) ^ Load32(b)) | (Load32(a + length - 4) ^ Load32(b + length - 4))) == 0;
  for (size_t i = 0; i < length; ++i) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

// Integers and floats of 4 or 8 bytes, by their bits.
template <typename T>
class NumberDictionary final : public DictionaryEncoder {
 public:
  NumberDictionary() : seeds_(ProcessSeeds()) { slots_.assign(kFirstSlots, 0); }

  void Put(const ValueSpan& span) override {
    uint32_t* out = IndexRoom(span.count);
    const uint8_t* in = span.bytes;
    for (int64_t i = 0; i < span.count; ++i, in += sizeof(T)) {
      T value;
      std::memcpy(&value, in, sizeof(T));
      if (value != last_ || entries_.empty()) {
        last_ = value;
        last_index_ = IndexOf(value);
      }
      out[i] = last_index_;
    }
  }

  ValueSpan Entries() const override {
    return {reinterpret_cast<const uint8_t*>(entries_.data()), nullptr, static_cast<int64_t>(entries_.size())};
  }
  int64_t entry_bytes() const override { return static_cast<int64_t>(entries_.size() * sizeof(T)); }
  void PutPageValues(ValueStatistics&) const override {}

  void MovePage(ValueEncoder& target) override {
    std::vector<T> values;
    values.reserve(static_cast<size_t>(page_values()));
    for (uint32_t index : std::span(indices(), static_cast<size_t>(page_values()))) values.push_back(entries_[index]);
    target.Put({reinterpret_cast<const uint8_t*>(values.data()), nullptr, static_cast<int64_t>(values.size())});
    ClearPage();
  }

  void Reset() override {
    indices_.Release();
    entries_ = {};
    slots_ = {};
    slots_.assign(kFirstSlots, 0);
  }

 private:
  size_t SlotOf(T value) const {
    return static_cast<size_t>(Mix(static_cast<uint64_t>(value) ^ seeds_.first, seeds_.second)) & (slots_.size() - 1);
  }

  uint32_t IndexOf(T value) {
    size_t slot = SlotOf(value);
    for (; slots_[slot] != 0; slot = (slot + 1) & (slots_.size() - 1)) {
      if (entries_[slots_[slot] - 1] == value) return slots_[slot] - 1;
    }
    entries_.push_back(value);
    slots_[slot] = static_cast<uint32_t>(entries_.size());
    if (entries_.size() * 2 > slots_.size()) Grow();
    return static_cast<uint32_t>(entries_.size() - 1);
  }

  void Grow() {
    slots_.assign(slots_.size() * 4, 0);
    for (size_t i = 0; i < entries_.size(); ++i) {
      size_t slot = SlotOf(entries_[i]);
      while (slots_[slot] != 0) slot = (slot + 1) & (slots_.size() - 1);
      slots_[slot] = static_cast<uint32_t>(i + 1);
    }
  }

  Seeds seeds_;
  std::vector<T> entries_;
  std::vector<uint32_t> slots_;  // index + 1; 0: free
  T last_ = 0;
  uint32_t last_index_ = 0;
};

// Byte arrays, and fixed-width bytes.
class BytesDictionary final : public DictionaryEncoder {
 public:
  explicit BytesDictionary(int32_t width) : width_(width), seeds_(ProcessSeeds()) { Reset(); }

  void Put(const ValueSpan& span) override {
    uint32_t* out = IndexRoom(span.count);
    if (span.offsets == nullptr) {
      const uint8_t* value = span.bytes;
      for (int64_t i = 0; i < span.count; ++i, value += width_) out[i] = IndexOf(value, static_cast<size_t>(width_));
      return;
    }
    for (int64_t i = 0; i < span.count; ++i) {
      out[i] = IndexOf(span.bytes + span.offsets[i], static_cast<size_t>(span.offsets[i + 1] - span.offsets[i]));
    }
  }

  ValueSpan Entries() const override { return Slice(0, static_cast<int64_t>(hashes_.size())); }
  int64_t entry_bytes() const override { return static_cast<int64_t>(bytes_.size()); }

  void PutPageValues(ValueStatistics& statistics) const override {
    for (size_t i = 0; i < seen_.size(); ++i) {
      if (seen_[i] != 0) statistics.Put(Slice(static_cast<int64_t>(i), 1));
    }
  }

  void MovePage(ValueEncoder& target) override {
    for (uint32_t index : std::span(indices(), static_cast<size_t>(page_values()))) target.Put(Slice(index, 1));
    ClearPage();
  }

  void Reset() override {
    indices_.Release();
    bytes_.Release();
    offsets_ = {0};
    hashes_ = {};
    seen_ = {};
    slots_ = {};
    slots_.assign(kFirstSlots, Slot{});
    last_index_ = 0;
  }

 private:
  struct Slot {
    uint32_t hash = 0;
    uint32_t entry = 0;  // index + 1; 0: free
  };

  void ClearPage() override {
    DictionaryEncoder::ClearPage();
    std::fill(seen_.begin(), seen_.end(), uint8_t{0});
  }

  ValueSpan Slice(int64_t begin, int64_t count) const {
    if (width_ > 0) return {bytes_.data() + begin * width_, nullptr, count};
    return {bytes_.data(), offsets_.data() + begin, count};
  }

  bool IsEntry(uint32_t index, const uint8_t* value, size_t length) const {
    auto begin = static_cast<size_t>(offsets_[index]);
    auto end = static_cast<size_t>(offsets_[index + 1]);
    return end - begin == length && SameBytes(bytes_.data() + begin, value, length);
  }

  uint32_t IndexOf(const uint8_t* value, size_t length) {
    if (!hashes_.empty() && IsEntry(last_index_, value, length)) {
      seen_[last_index_] = 1;
      return last_index_;
    }
    auto hash = static_cast<uint32_t>(HashBytes(value, length, seeds_));
    size_t slot = hash & (slots_.size() - 1);
    for (; slots_[slot].entry != 0; slot = (slot + 1) & (slots_.size() - 1)) {
      uint32_t index = slots_[slot].entry - 1;
      if (slots_[slot].hash != hash || !IsEntry(index, value, length)) continue;
      seen_[index] = 1;
      return last_index_ = index;
    }
    return last_index_ = Add(slot, hash, value, length);
  }

  uint32_t Add(size_t slot, uint32_t hash, const uint8_t* value, size_t length) {
    bytes_.Append(value, length);
    offsets_.push_back(static_cast<int32_t>(bytes_.size()));
    hashes_.push_back(hash);
    seen_.push_back(1);
    slots_[slot] = {hash, static_cast<uint32_t>(hashes_.size())};
    if (hashes_.size() * 2 > slots_.size()) Grow();
    return static_cast<uint32_t>(hashes_.size() - 1);
  }

  void Grow() {
    slots_.assign(slots_.size() * 4, Slot{});
    for (size_t i = 0; i < hashes_.size(); ++i) {
      size_t slot = hashes_[i] & (slots_.size() - 1);
      while (slots_[slot].entry != 0) slot = (slot + 1) & (slots_.size() - 1);
      slots_[slot] = {hashes_[i], static_cast<uint32_t>(i + 1)};
    }
  }

  int32_t width_;  // 0: byte arrays
  Seeds seeds_;
  ByteBuffer bytes_;
  std::vector<int32_t> offsets_;
  std::vector<uint32_t> hashes_;
  std::vector<uint8_t> seen_;  // in the open page, one byte an entry
  std::vector<Slot> slots_;
  uint32_t last_index_ = 0;
};

}  // namespace

int64_t DictionaryEncoder::page_bytes() const {
  int64_t entries = Entries().count;
  return page_values() * std::max(1, BitWidth(static_cast<uint64_t>(std::max<int64_t>(entries - 1, 0)))) / 8 + 2;
}

void DictionaryEncoder::Flush(ByteBuffer& out) {
  // At least one bit: some readers do not expect none.
  int width = std::max(1, BitWidth(static_cast<uint64_t>(std::max<int64_t>(Entries().count - 1, 0))));
  out.AppendByte(static_cast<uint8_t>(width));
  AppendRunLengths(std::span(indices(), static_cast<size_t>(page_values())), width, out);
  ClearPage();
}

std::unique_ptr<DictionaryEncoder> DictionaryEncoder::Make(const LeafShape& shape) {
  if (shape.is_bytes() || shape.physical == format::PhysicalType::kFixedLenByteArray) {
    return std::make_unique<BytesDictionary>(shape.width);
  }
  if (shape.width == 8) return std::make_unique<NumberDictionary<uint64_t>>();
  return std::make_unique<NumberDictionary<uint32_t>>();
}

}  // namespace firn::parquet
