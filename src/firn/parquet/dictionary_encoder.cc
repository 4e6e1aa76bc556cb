#include "firn/parquet/dictionary_encoder.h"

#include <bit>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "firn/parquet/run_length.h"

namespace firn::parquet {
namespace {

constexpr size_t kFirstSlots = 256;
// A table of no more slots is taken to be in the cache.
constexpr size_t kSlotsInCache = 4096;
// Tables and entries up to that are kept for the next chunk.
constexpr size_t kSlotsKept = 1024;
// Values looked up at a time in a larger one.
constexpr int64_t kAhead = 32;

// Small tables grow fast, large ones so that at least every fourth slot is taken.
size_t GrowthOf(size_t slots) { return slots < (size_t{1} << 15) ? 4 : 2; }

template <typename T>
void ClearOrFree(std::vector<T>& values) {
  values.clear();
  if (values.capacity() > kSlotsKept) values = {};
}

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

[[gnu::always_inline]] inline uint64_t HashBytes(const uint8_t* bytes, size_t length, const Seeds& seeds) {
  uint64_t hash = seeds.first ^ length;
  size_t left = length;
  for (; left > 16; left -= 16, bytes += 16) hash = Mix(Load64(bytes) ^ hash, Load64(bytes + 8) ^ seeds.second);
  uint64_t head = 0, tail = 0;
  if (left >= 8) {
    head = Load64(bytes);
    tail = Load64(bytes + left - 8);
  } else if (left >= 4) {
    head = Load32(bytes);
    tail = Load32(bytes + left - 4);
  } else if (left > 0) {
    head = static_cast<uint64_t>(bytes[0]) << 16 | static_cast<uint64_t>(bytes[left / 2]) << 8 | bytes[left - 1];
  }
  return Mix(head ^ hash, tail ^ seeds.second);
}

uint64_t Differ(const uint8_t* a, const uint8_t* b) { return Load64(a) ^ Load64(b); }

// memcmp of short values without the call.
[[gnu::always_inline]] inline bool SameBytes(const uint8_t* a, const uint8_t* b, size_t length) {
  if (length > 32) return std::memcmp(a, b, length) == 0;
  if (length >= 16) {
    size_t last = length - 16;
    return (Differ(a, b) | Differ(a + 8, b + 8) | Differ(a + last, b + last) | Differ(a + last + 8, b + last + 8)) == 0;
  }
  if (length >= 8) return (Differ(a, b) | Differ(a + length - 8, b + length - 8)) == 0;
  if (length >= 4) return ((Load32(a) ^ Load32(b)) | (Load32(a + length - 4) ^ Load32(b + length - 4))) == 0;
  for (size_t i = 0; i < length; ++i) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

// Is it likely that a value is the one before it again? Only then a look at that one is cheaper than a look-up, which
// the processor does not have to guess.
class RepeatGuess {
 public:
  bool likely() const { return likely_; }
  void Learn(int64_t repeats, int64_t count) { likely_ = repeats * 8 >= count * 7; }

 private:
  bool likely_ = true;
};

// Integers and floats of 4 or 8 bytes, by their bits.
template <typename T>
class NumberDictionary final : public DictionaryEncoder {
 public:
  NumberDictionary() : seeds_(ProcessSeeds()) { MakeSlots(kFirstSlots); }

  void Put(const ValueSpan& span) override {
    if (guess_.likely()) {
      PutAll<true>(span);
    } else {
      PutAll<false>(span);
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

  int64_t table_bytes() const override { return static_cast<int64_t>(slots_.capacity() * sizeof(Slot)); }
  void Seal() override {
    indices_.Release();
    slots_ = std::vector<Slot>();
  }

  void Reset() override {
    indices_.ClearAndTrim();
    ClearOrFree(entries_);
    if (slots_.size() > kSlotsKept) slots_ = {};
    MakeSlots(kFirstSlots);
    guess_ = {};
  }

 private:
  struct Slot {
    T value = 0;
    uint32_t entry = 0;  // index + 1; 0: free
  };

  template <bool kGuess>
  void PutAll(const ValueSpan& span) {
    uint32_t* out = IndexRoom(span.count);
    const uint8_t* in = span.bytes;
    int64_t repeats = 0;
    T last = 0;
    uint32_t last_index = 0;
    for (int64_t i = 0; i < span.count; ++i, in += sizeof(T)) {
      T value;
      std::memcpy(&value, in, sizeof(T));
      repeats += i > 0 && value == last;
      if (!kGuess || i == 0 || value != last) last_index = IndexOf(value);
      last = value;
      out[i] = last_index;
    }
    guess_.Learn(repeats, span.count);
  }

  // Multiply and shift: the multiplier is odd and drawn at random.
  size_t SlotOf(T value) const { return static_cast<size_t>(value * seeds_.first >> shift_); }

  void MakeSlots(size_t count) {
    slots_.assign(count, Slot{});
    shift_ = 64 - std::countr_zero(count);
  }

  uint32_t IndexOf(T value) {
    size_t slot = SlotOf(value);
    for (; slots_[slot].entry != 0; slot = (slot + 1) & (slots_.size() - 1)) {
      if (slots_[slot].value == value) return slots_[slot].entry - 1;
    }
    entries_.push_back(value);
    slots_[slot] = {value, static_cast<uint32_t>(entries_.size())};
    if (entries_.size() * 2 > slots_.size()) Grow();
    return static_cast<uint32_t>(entries_.size() - 1);
  }

  void Grow() {
    MakeSlots(slots_.size() * GrowthOf(slots_.size()));
    for (size_t i = 0; i < entries_.size(); ++i) {
      size_t slot = SlotOf(entries_[i]);
      while (slots_[slot].entry != 0) slot = (slot + 1) & (slots_.size() - 1);
      slots_[slot] = {entries_[i], static_cast<uint32_t>(i + 1)};
    }
  }

  Seeds seeds_;
  std::vector<T> entries_;
  std::vector<Slot> slots_;
  int shift_ = 0;
  RepeatGuess guess_;
};

// Byte arrays, and fixed-width bytes.
class BytesDictionary final : public DictionaryEncoder {
 public:
  explicit BytesDictionary(int32_t width) : width_(width), seeds_(ProcessSeeds()) { Reset(); }

  void Put(const ValueSpan& span) override {
    if (guess_.likely()) return PutGuessing(span);
    return slots_.size() > kSlotsInCache ? PutAhead(span) : PutEach(span);
  }

  ValueSpan Entries() const override { return Slice(0, static_cast<int64_t>(offsets_.size()) - 1); }
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

  int64_t table_bytes() const override {
    return static_cast<int64_t>(slots_.capacity() * sizeof(Slot) + seen_.capacity() +
                                (hashes_.capacity() + offsets_.capacity()) * sizeof(uint32_t));
  }
  void Seal() override {
    indices_.Release();
    slots_ = std::vector<Slot>();
    hashes_ = std::vector<uint32_t>();
    seen_ = std::vector<uint8_t>();
  }

  void Reset() override {
    indices_.ClearAndTrim();
    bytes_.ClearAndTrim();
    ClearOrFree(offsets_);
    offsets_.push_back(0);
    ClearOrFree(hashes_);
    ClearOrFree(seen_);
    if (slots_.size() > kSlotsKept) slots_ = {};
    slots_.assign(kFirstSlots, Slot{});
    guess_ = {};
  }

 private:
  struct Slot {
    uint32_t hash = 0;
    uint32_t entry = 0;   // index + 1; 0: free
    uint32_t begin = 0;   // of its bytes
    uint32_t length = 0;
  };

  struct Wanted {
    const uint8_t* value = nullptr;
    size_t length = 0;
    uint32_t hash = 0;
  };

  // Into a large dictionary: memory is asked for some values ahead, so that its answers come while others are compared.
  void PutAhead(const ValueSpan& span) {
    uint32_t* out = IndexRoom(span.count);
    Wanted wanted[kAhead];
    int64_t repeats = 0;
    for (int64_t begin = 0; begin < span.count; begin += kAhead, out += kAhead) {
      auto count = static_cast<size_t>(std::min<int64_t>(kAhead, span.count - begin));
      for (size_t i = 0; i < count; ++i) {
        Wanted& next = wanted[i];
        next = ValueAt(span, begin + static_cast<int64_t>(i));
        next.hash = static_cast<uint32_t>(HashBytes(next.value, next.length, seeds_));
        __builtin_prefetch(&slots_[next.hash & (slots_.size() - 1)]);
      }
      for (size_t i = 0; i < count; ++i) {
        __builtin_prefetch(bytes_.data() + slots_[wanted[i].hash & (slots_.size() - 1)].begin);
      }
      for (size_t i = 0; i < count; ++i) {
        out[i] = IndexOf(wanted[i]);
        repeats += i > 0 && out[i] == out[i - 1];
      }
    }
    guess_.Learn(repeats, span.count);
  }

  Wanted ValueAt(const ValueSpan& span, int64_t index) const {
    if (width_ > 0) return {span.bytes + index * width_, static_cast<size_t>(width_), 0};
    int32_t begin = span.offsets[index];
    return {span.bytes + begin, static_cast<size_t>(span.offsets[index + 1] - begin), 0};
  }

  void PutGuessing(const ValueSpan& span) {
    uint32_t* out = IndexRoom(span.count);
    Wanted last;
    uint32_t last_index = 0;
    int64_t repeats = 0;
    for (int64_t i = 0; i < span.count; ++i) {
      Wanted next = ValueAt(span, i);
      if (i > 0 && next.length == last.length && SameBytes(next.value, last.value, next.length)) {
        ++repeats;
      } else {
        next.hash = static_cast<uint32_t>(HashBytes(next.value, next.length, seeds_));
        last_index = IndexOf(next);
      }
      out[i] = last_index;
      last = next;
    }
    guess_.Learn(repeats, span.count);
  }

  void PutEach(const ValueSpan& span) {
    uint32_t* out = IndexRoom(span.count);
    uint32_t last_index = 0;
    int64_t repeats = 0;
    for (int64_t i = 0; i < span.count; ++i) {
      Wanted next = ValueAt(span, i);
      next.hash = static_cast<uint32_t>(HashBytes(next.value, next.length, seeds_));
      out[i] = IndexOf(next);
      repeats += i > 0 && out[i] == last_index;
      last_index = out[i];
    }
    guess_.Learn(repeats, span.count);
  }

  void ClearPage() override {
    DictionaryEncoder::ClearPage();
    std::fill(seen_.begin(), seen_.end(), uint8_t{0});
  }

  ValueSpan Slice(int64_t begin, int64_t count) const {
    if (width_ > 0) return {bytes_.data() + begin * width_, nullptr, count};
    return {bytes_.data(), offsets_.data() + begin, count};
  }

  uint32_t IndexOf(const Wanted& wanted) {
    size_t slot = wanted.hash & (slots_.size() - 1);
    for (; slots_[slot].entry != 0; slot = (slot + 1) & (slots_.size() - 1)) {
      const Slot& taken = slots_[slot];
      if (taken.hash != wanted.hash || taken.length != wanted.length) continue;
      if (!SameBytes(bytes_.data() + taken.begin, wanted.value, wanted.length)) continue;
      seen_[taken.entry - 1] = 1;
      return taken.entry - 1;
    }
    return Add(slot, wanted);
  }

  uint32_t Add(size_t slot, const Wanted& wanted) {
    slots_[slot] = {wanted.hash, static_cast<uint32_t>(hashes_.size() + 1), static_cast<uint32_t>(bytes_.size()),
                    static_cast<uint32_t>(wanted.length)};
    bytes_.Append(wanted.value, wanted.length);
    offsets_.push_back(static_cast<int32_t>(bytes_.size()));
    hashes_.push_back(wanted.hash);
    seen_.push_back(1);
    if (hashes_.size() * 2 > slots_.size()) Grow();
    return static_cast<uint32_t>(hashes_.size() - 1);
  }

  void Grow() {
    slots_.assign(slots_.size() * GrowthOf(slots_.size()), Slot{});
    for (size_t i = 0; i < hashes_.size(); ++i) {
      size_t slot = hashes_[i] & (slots_.size() - 1);
      while (slots_[slot].entry != 0) slot = (slot + 1) & (slots_.size() - 1);
      slots_[slot] = {hashes_[i], static_cast<uint32_t>(i + 1), static_cast<uint32_t>(offsets_[i]),
                      static_cast<uint32_t>(offsets_[i + 1] - offsets_[i])};
    }
  }

  int32_t width_;  // 0: byte arrays
  Seeds seeds_;
  ByteBuffer bytes_;
  std::vector<int32_t> offsets_;
  std::vector<uint32_t> hashes_;
  std::vector<uint8_t> seen_;  // in the open page, one byte an entry
  std::vector<Slot> slots_;
  RepeatGuess guess_;
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
