#include "firn/parquet/merge_dictionary.h"

#include <array>
#include <cstring>

namespace firn::parquet {
namespace {

constexpr size_t kLengthBytes = 4;
constexpr size_t kSlotsMin = 4096;
// Until then the table grows by four at a time: most that come so far go on, and each step places all slots anew.
constexpr size_t kSlotsOfLargeSteps = 1 << 16;
constexpr uint64_t kMixA = 0x9E3779B97F4A7C15ULL;
constexpr uint64_t kMixB = 0xD6E8FEB86659FD93ULL;

uint64_t Load(const char* at, size_t length) {
  uint64_t word = 0;
  std::memcpy(&word, at, length);
  return word;
}

// Folds the 128-bit product of two words: every bit of both reaches every bit of the result.
uint64_t Fold(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint32_t HashOf(std::string_view value) {
  uint64_t state = value.size() * kMixA;
  const char* at = value.data();
  size_t left = value.size();
  for (; left > 16; at += 16, left -= 16) state = Fold(Load(at, 8) ^ kMixB, Load(at + 8, 8) ^ state);
  uint64_t first = 0;
  uint64_t second = 0;
  if (left >= 8) {
    first = Load(at, 8);
    second = Load(at + left - 8, 8);
  } else if (left >= 4) {
    first = Load(at, 4);
    second = Load(at + left - 4, 4);
  } else if (left > 0) {
    first = static_cast<uint8_t>(at[0]) | static_cast<uint64_t>(static_cast<uint8_t>(at[left / 2])) << 8 |
            static_cast<uint64_t>(static_cast<uint8_t>(at[left - 1])) << 16;
  }
  const uint64_t mixed = Fold(first ^ kMixA ^ state, second ^ kMixB);
  return static_cast<uint32_t>(mixed ^ mixed >> 32);
}

uint32_t LengthAt(const char* at) {
  uint32_t length;
  std::memcpy(&length, at, sizeof(length));
  return length;
}

std::unexpected<Error> Corrupt() {
  return Fail(ErrorCode::kCorruption, "a PLAIN body is not of as many values as said");
}

}  // namespace

Result<std::vector<uint32_t>> PlainOffsets(std::string_view body, int64_t count, int32_t value_bytes) {
  if (count < 0) return Corrupt();
  std::vector<uint32_t> offsets;
  if (value_bytes > 0) {
    if (body.size() / static_cast<size_t>(value_bytes) < static_cast<uint64_t>(count)) return Corrupt();
    offsets.reserve(static_cast<size_t>(count) + 1);
    for (int64_t i = 0; i <= count; ++i) offsets.push_back(static_cast<uint32_t>(i * value_bytes));
  } else {
    if (body.size() / kLengthBytes < static_cast<uint64_t>(count)) return Corrupt();
    offsets.reserve(static_cast<size_t>(count) + 1);
    size_t at = 0;
    for (int64_t i = 0; i < count; ++i) {
      offsets.push_back(static_cast<uint32_t>(at));
      if (body.size() - at < kLengthBytes) return Corrupt();
      const uint32_t length = LengthAt(body.data() + at);
      at += kLengthBytes;
      if (length > body.size() - at) return Corrupt();
      at += length;
    }
    offsets.push_back(static_cast<uint32_t>(at));
  }
  if (offsets.back() != body.size()) return Corrupt();
  return offsets;
}

bool UnionDictionary::Equal(const Slot& slot, std::string_view value) const {
  if (slot.length != value.size()) return false;
  const char* held = body_.view().data() + slot.offset;
  const char* other = value.data();
  const size_t length = value.size();
  // Most are short: ends that overlap, rather than a call.
  if (length > 16) return std::memcmp(held, other, length) == 0;
  if (length >= 8) {
    return Load(held, 8) == Load(other, 8) && Load(held + length - 8, 8) == Load(other + length - 8, 8);
  }
  if (length >= 4) {
    return Load(held, 4) == Load(other, 4) && Load(held + length - 4, 4) == Load(other + length - 4, 4);
  }
  return length == 0 || std::memcmp(held, other, length) == 0;
}

std::string_view UnionDictionary::Plain(uint32_t index) const {
  const size_t before = value_bytes_ == 0 ? kLengthBytes : 0;
  const size_t begin = offsets_[index] - before;
  const size_t end = index + 1 < offsets_.size() ? offsets_[index + 1] - before : body_.size();
  return body_.view().substr(begin, end - begin);
}

void UnionDictionary::Insert(const Slot& slot, std::vector<Slot>& slots) {
  const size_t mask = slots.size() - 1;
  size_t at = slot.hash & mask;
  while (slots[at].index != kEmpty) at = (at + 1) & mask;
  slots[at] = slot;
}

void UnionDictionary::Grow() {
  const size_t step = slots_.size() < kSlotsOfLargeSteps ? 4 : 2;
  std::vector<Slot> grown(std::max(kSlotsMin, slots_.size() * step));
  for (const Slot& slot : slots_) {
    if (slot.index != kEmpty) Insert(slot, grown);
  }
  slots_ = std::move(grown);
}

uint32_t UnionDictionary::Find(std::string_view value, uint32_t hash) {
  const size_t mask = slots_.size() - 1;
  size_t at = hash & mask;
  for (; slots_[at].index != kEmpty; at = (at + 1) & mask) {
    if (slots_[at].hash == hash && Equal(slots_[at], value)) return slots_[at].index;
  }
  const uint32_t index = size();
  if (value_bytes_ == 0) body_.AppendValue(static_cast<uint32_t>(value.size()));
  const auto offset = static_cast<uint32_t>(body_.size());
  offsets_.push_back(offset);
  body_.Append(value);
  slots_[at] = {hash, index, offset, static_cast<uint32_t>(value.size())};
  return index;
}

// The way from a slot to the bytes of its value is a chain of loads far apart: each link is asked for in advance, for
// the whole batch.
void UnionDictionary::Prefetch(std::span<const uint32_t> hashes) const {
  const size_t mask = slots_.size() - 1;
  for (const uint32_t hash : hashes) {
    const Slot& slot = slots_[hash & mask];
    if (slot.index != kEmpty && slot.hash == hash) __builtin_prefetch(body_.data() + slot.offset);
  }
}

Result<std::vector<uint32_t>> UnionDictionary::Add(std::string_view body, int64_t count) {
  FIRN_ASSIGN(const std::vector<uint32_t> offsets, PlainOffsets(body, count, value_bytes_));
  if (body.size() + body_.size() > UINT32_MAX) {
    return Fail(ErrorCode::kResourceExhausted, "a dictionary grows beyond 4 GiB");
  }
  std::vector<uint32_t> map(static_cast<size_t>(count));
  const size_t before = value_bytes_ == 0 ? kLengthBytes : 0;
  std::array<std::string_view, kBatch> values;
  std::array<uint32_t, kBatch> hashes;
  for (size_t begin = 0; begin < map.size(); begin += kBatch) {
    const size_t batch = std::min(kBatch, map.size() - begin);
    // Room for the whole batch first: slots must not move between the prefetch and the search.
    while (slots_.size() < 2 * (offsets_.size() + batch)) Grow();
    for (size_t i = 0; i < batch; ++i) {
      const uint32_t offset = offsets[begin + i];
      values[i] = body.substr(offset + before, offsets[begin + i + 1] - offset - before);
      hashes[i] = HashOf(values[i]);
      __builtin_prefetch(&slots_[hashes[i] & (slots_.size() - 1)]);
    }
    Prefetch(std::span(hashes).first(batch));
    for (size_t i = 0; i < batch; ++i) map[begin + i] = Find(values[i], hashes[i]);
  }
  return map;
}

}  // namespace firn::parquet
