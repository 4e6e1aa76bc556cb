#include "firn/parquet/column_encoding.h"

#include <arrow/array/data.h>
#include <arrow/buffer.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <span>
#include <string_view>

namespace firn::parquet {
namespace {

using schema::TypeKind;

constexpr int64_t kSampleValuesMax = 2048;
// More distinct values than this share of the rows: a dictionary would hold nearly all values once more.
constexpr double kDistinctShareMax = 0.5;
// Delta blocks looked at, and values in each (a miniblock of DELTA_BINARY_PACKED).
constexpr int64_t kDeltaBlocks = 32;
constexpr int64_t kDeltaBlockValues = 32;
// Header bytes of a delta block of 128 values: minimum delta and four bit widths.
constexpr double kDeltaOverheadBytes = 6.0 / 128;
// What BYTE_STREAM_SPLIT saves after compression, roughly.
constexpr double kByteStreamSplitGain = 0.75;

uint64_t Mix(uint64_t a, uint64_t b) {
  auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t HashBytes(std::string_view bytes) {
  uint64_t hash = 0x9E3779B97F4A7C15ULL ^ bytes.size();
  for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
    uint64_t word;
    std::memcpy(&word, bytes.data(), 8);
    hash = Mix(hash ^ word, 0xA0761D6478BD642FULL);
  }
  uint64_t tail = 0;
  if (!bytes.empty()) std::memcpy(&tail, bytes.data(), bytes.size());
  return Mix(hash ^ tail, 0xE7037ED1A0B428DBULL) | 1;  // 0 marks a free slot
}

// A leaf array without its type; booleans are never asked for.
struct RawValues {
  explicit RawValues(const LeafPiece& piece) : length(piece.length), offset(piece.begin) {
    const arrow::ArrayData& data = *piece.array;
    if (data.buffers[0] != nullptr && data.GetNullCount() > 0) validity = data.buffers[0]->data();
    if (data.type->id() == arrow::Type::STRING || data.type->id() == arrow::Type::BINARY) {
      if (data.buffers[1] != nullptr) offsets = data.GetValues<int32_t>(1, offset);
      if (data.buffers[2] != nullptr) bytes = reinterpret_cast<const char*>(data.buffers[2]->data());
    } else if (data.buffers[1] != nullptr) {
      width = data.type->byte_width();
      bytes = reinterpret_cast<const char*>(data.buffers[1]->data()) + offset * width;
    }
  }

  bool IsNull(int64_t index) const {
    if (validity == nullptr) return false;
    int64_t bit = offset + index;
    return (validity[bit >> 3] >> (bit & 7) & 1) == 0;
  }
  std::string_view Value(int64_t index) const {
    if (offsets == nullptr) return {bytes + index * width, static_cast<size_t>(width)};
    return {bytes + offsets[index], static_cast<size_t>(offsets[index + 1] - offsets[index])};
  }

  int64_t length;
  int64_t offset = 0;
  int64_t width = 0;
  const uint8_t* validity = nullptr;
  const int32_t* offsets = nullptr;
  const char* bytes = nullptr;
};

struct Sample {
  int64_t rows = 0;        // estimated non-null values at hand
  int64_t values = 0;      // of those, sampled
  double distinct = 0;     // estimated distinct values among `rows`
  double value_bytes = 0;  // mean length
};

// Chao's estimator of the number of classes, from how many were seen once and twice; then how many of them `rows` draws
// are expected to meet.
double EstimateDistinct(int64_t seen, int64_t once, int64_t twice, int64_t rows) {
  double classes = static_cast<double>(seen) +
                   static_cast<double>(once) * static_cast<double>(once - 1) / (2.0 * static_cast<double>(twice + 1));
  if (classes < 1) return 0;
  double expected = classes * -std::expm1(-static_cast<double>(rows) / classes);
  return std::clamp(expected, static_cast<double>(std::min(seen, rows)), static_cast<double>(rows));
}

// Values spread over the arrays, nulls left out; `looked_at` counts those too.
std::vector<std::string_view> SampleValues(const LeafValues& arrays, int64_t total, int64_t& looked_at) {
  std::vector<std::string_view> values;
  values.reserve(static_cast<size_t>(std::min(total, kSampleValuesMax + 1)));
  if (total <= kSampleValuesMax) {
    looked_at = total;
    for (const LeafPiece& piece : arrays) {
      const RawValues array(piece);
      for (int64_t index = 0; index < array.length; ++index) {
        if (!array.IsNull(index)) values.push_back(array.Value(index));
      }
    }
    return values;
  }
  const double stride = static_cast<double>(total) / kSampleValuesMax;
  int64_t array_begin = 0;
  size_t current = 0;
  RawValues array(arrays[0]);
  uint64_t jitter = 1;  // within each stride, so that periodic data does not deceive; the same in every run
  for (double position = 0; position < static_cast<double>(total); position += stride) {
    jitter = jitter * 6364136223846793005ULL + 1442695040888963407ULL;
    auto index = static_cast<int64_t>(position + stride * static_cast<double>(jitter >> 40) / (1 << 24));
    index = std::min(index, total - 1);
    while (index >= array_begin + array.length) {
      array_begin += array.length;
      array = RawValues(arrays[++current]);
    }
    ++looked_at;
    if (array.IsNull(index - array_begin)) continue;
    values.push_back(array.Value(index - array_begin));
    // They lie far from one another: fetched while the next ones are chosen.
    __builtin_prefetch(values.back().data());
  }
  return values;
}

// How often values are there, by their hashes alone.
struct Frequencies {
  int64_t distinct = 0;
  int64_t once = 0;
  int64_t twice = 0;

  void Count(std::span<const std::string_view> values) {
    struct Slot {
      uint64_t hash = 0;
      uint32_t count = 0;
    };
    // Small files have few values: a table for as many as there may be would cost more than they do.
    std::array<Slot, 256> few{};
    std::vector<Slot> many;
    const size_t count = std::bit_ceil(2 * values.size() + 1);
    if (count > few.size()) many.resize(count);
    Slot* slots = many.empty() ? few.data() : many.data();
    for (std::string_view value : values) {
      const uint64_t hash = HashBytes(value);
      size_t at = hash >> 20 & (count - 1);
      while (slots[at].hash != 0 && slots[at].hash != hash) at = (at + 1) & (count - 1);
      slots[at].hash = hash;
      switch (++slots[at].count) {
        case 1: ++distinct; ++once; break;
        case 2: --once; ++twice; break;
        case 3: --twice; break;
        default: break;
      }
    }
  }
};

Sample TakeSample(const LeafValues& arrays) {
  int64_t total = 0;
  for (const LeafPiece& piece : arrays) total += piece.length;
  Sample sample;
  if (total == 0) return sample;
  int64_t looked_at = 0, bytes = 0;
  const auto values = SampleValues(arrays, total, looked_at);
  sample.values = static_cast<int64_t>(values.size());
  if (sample.values == 0) return sample;
  for (std::string_view value : values) bytes += static_cast<int64_t>(value.size());
  Frequencies seen;
  seen.Count(values);
  sample.rows = std::max(sample.values, total * sample.values / looked_at);
  sample.value_bytes = static_cast<double>(bytes) / static_cast<double>(sample.values);
  sample.distinct = sample.rows == sample.values
                        ? static_cast<double>(seen.distinct)
                        : EstimateDistinct(seen.distinct, seen.once, seen.twice, sample.rows);
  return sample;
}

int64_t IntegerAt(const RawValues& array, int64_t index) {
  std::string_view bytes = array.Value(index);
  int64_t wide = 0;
  if (bytes.size() == 4) {
    int32_t narrow;
    std::memcpy(&narrow, bytes.data(), 4);
    wide = narrow;
  } else {
    // Decimals of up to 18 digits are stored as integers: their low half is the value.
    std::memcpy(&wide, bytes.data(), 8);
  }
  return wide;
}

// Mean bits a value that DELTA_BINARY_PACKED needs, from some runs of neighbours.
double EstimateDeltaBits(const LeafValues& arrays) {
  int64_t blocks = 0, bits = 0;
  for (const LeafPiece& piece : arrays) {
    RawValues array(piece);
    int64_t step = std::max(kDeltaBlockValues, array.length / kDeltaBlocks * static_cast<int64_t>(arrays.size()));
    for (int64_t begin = 0; begin < array.length; begin += step) {
      int64_t previous = 0, count = 0, smallest = INT64_MAX, largest = INT64_MIN;
      int64_t end = std::min(array.length, begin + kDeltaBlockValues + 1);
      for (int64_t i = begin; i < end; ++i) {
        if (array.IsNull(i)) continue;
        int64_t value = IntegerAt(array, i);
        if (count++ > 0) {
          auto delta = static_cast<int64_t>(static_cast<uint64_t>(value) - static_cast<uint64_t>(previous));
          smallest = std::min(smallest, delta);
          largest = std::max(largest, delta);
        }
        previous = value;
      }
      if (count < 2) continue;
      ++blocks;
      bits += std::bit_width(static_cast<uint64_t>(largest) - static_cast<uint64_t>(smallest));
    }
  }
  return blocks == 0 ? 64 : static_cast<double>(bits) / static_cast<double>(blocks);
}

bool IsStoredAsInteger(const schema::Type& type) {
  switch (type.kind()) {
    case TypeKind::kInt:
    case TypeKind::kLong:
    case TypeKind::kDate:
    case TypeKind::kTime:
    case TypeKind::kTimestamp:
    case TypeKind::kTimestamptz:
    case TypeKind::kTimestampNs:
    case TypeKind::kTimestamptzNs: return true;
    case TypeKind::kDecimal: return type.precision() <= 18;
    default: return false;
  }
}

// Appends the leaves below `array` in depth-first order, advancing `leaf`. `begin`: in the array's buffers.
void Collect(const schema::Type& type, const arrow::ArrayData& array, int64_t begin, int64_t length,
             std::vector<LeafValues>& leaves, size_t& leaf) {
  if (type.is_primitive()) {
    leaves[leaf++].push_back({&array, begin, length});
    return;
  }
  if (type.kind() == TypeKind::kStruct) {
    for (size_t i = 0; i < type.fields().size(); ++i) {
      const arrow::ArrayData& child = *array.child_data[i];
      Collect(*type.fields()[i].type, child, begin + child.offset, length, leaves, leaf);
    }
    return;
  }
  int64_t first = 0, end = 0;
  if (length > 0) {
    const auto* offsets = array.GetValues<int32_t>(1, begin);
    first = offsets[0];
    end = offsets[length];
  }
  const arrow::ArrayData& entries = *array.child_data[0];
  first += entries.offset;
  end += entries.offset;
  if (type.kind() == TypeKind::kList) {
    Collect(*type.element().type, entries, first, end - first, leaves, leaf);
    return;
  }
  for (size_t i = 0; i < 2; ++i) {
    const arrow::ArrayData& child = *entries.child_data[i];
    Collect(i == 0 ? *type.key().type : *type.value().type, child, first + child.offset, end - first, leaves, leaf);
  }
}

double DictionaryBytesPerValue(const Sample& sample, double entry_bytes) {
  double index_bits = std::ceil(std::log2(std::max(sample.distinct, 2.0)));
  return index_bits / 8 + sample.distinct * entry_bytes / static_cast<double>(sample.rows);
}

}  // namespace

void CollectLeaves(const schema::Schema& schema, std::span<const columnar::RowSlice> rows,
                   std::vector<LeafValues>& leaves) {
  for (LeafValues& values : leaves) values.clear();
  for (const columnar::RowSlice& slice : rows) {
    size_t leaf = 0;
    for (size_t i = 0; i < schema.fields.size(); ++i) {
      const arrow::ArrayData& column = *slice.batch->column_data()[i];
      Collect(*schema.fields[i].type, column, column.offset + slice.begin, slice.end - slice.begin, leaves, leaf);
    }
  }
}

EncodingChoice ChooseEncoding(const schema::Type& type, const LeafValues& values, const EncodingRules& rules) {
  if (type.kind() == TypeKind::kBoolean) {
    bool run_length = rules.run_length_booleans && rules.modern_encodings;
    return {run_length ? Encoding::kRunLength : Encoding::kPlain, Encoding::kPlain, 0};
  }
  Sample sample = TakeSample(values);
  bool is_bytes = type.kind() == TypeKind::kString || type.kind() == TypeKind::kBinary;
  if (type.kind() == TypeKind::kDecimal && type.precision() <= 18) sample.value_bytes = type.precision() <= 9 ? 4 : 8;
  double entry_bytes = sample.value_bytes + (is_bytes ? 4 : 0);
  Encoding otherwise = Encoding::kPlain;
  double otherwise_bytes = sample.value_bytes;
  if (IsStoredAsInteger(type)) {
    otherwise = Encoding::kDeltaBinaryPacked;
    otherwise_bytes = EstimateDeltaBits(values) / 8 + kDeltaOverheadBytes;
  } else if (type.kind() == TypeKind::kFloat || type.kind() == TypeKind::kDouble) {
    otherwise = Encoding::kByteStreamSplit;
    otherwise_bytes *= kByteStreamSplitGain;
  } else if (is_bytes) {
    otherwise = Encoding::kDeltaLengthByteArray;
    otherwise_bytes += 1;
  }
  if (!rules.modern_encodings) {
    otherwise = Encoding::kPlain;
    otherwise_bytes = entry_bytes;
  }
  // Nothing but nulls: a dictionary costs nothing, and may yet pay.
  if (sample.values == 0) return {Encoding::kDictionary, otherwise, 0};
  bool small = sample.distinct * entry_bytes <= static_cast<double>(rules.dictionary_bytes_max) / 2;
  bool repeated = sample.distinct <= kDistinctShareMax * static_cast<double>(sample.rows);
  bool cheaper = DictionaryBytesPerValue(sample, entry_bytes) <= otherwise_bytes;
  return {small && repeated && cheaper ? Encoding::kDictionary : otherwise, otherwise, sample.value_bytes};
}

}  // namespace firn::parquet
