// The parts under a column writer, each against a decoder that is not ours: Arrow's, or a few plain lines here.
#include <gtest/gtest.h>
#include <parquet/bloom_filter.h>
#include <parquet/encoding.h>
#include <parquet/xxhasher.h>

#include <limits>
#include <random>
#include <string>
#include <vector>

#include "firn/parquet/bloom_filter.h"
#include "firn/parquet/delta_encoder.h"
#include "firn/parquet/dictionary_encoder.h"
#include "firn/parquet/run_length.h"
#include "firn/parquet/stored_bounds.h"
#include "firn/parquet/thrift_compact.h"

namespace firn::parquet {
namespace {

using schema::Type;
using schema::TypeKind;

// The hybrid as the format describes it, bit by bit.
std::vector<uint32_t> DecodeRuns(std::string_view bytes, int width, size_t count) {
  std::vector<uint32_t> values;
  size_t at = 0;
  auto byte = [&](size_t index) { return static_cast<uint8_t>(bytes.at(index)); };
  while (values.size() < count) {
    uint64_t header = 0;
    for (int shift = 0;; shift += 7) {
      uint8_t next = byte(at++);
      header |= static_cast<uint64_t>(next & 0x7F) << shift;
      if (next < 0x80) break;
    }
    if ((header & 1) == 0) {
      uint32_t value = 0;
      for (int i = 0; i < (width + 7) / 8; ++i) value |= static_cast<uint32_t>(byte(at++)) << (8 * i);
      values.insert(values.end(), header >> 1, value);
      continue;
    }
    for (size_t i = 0; i < (header >> 1) * 8; ++i) {
      uint32_t value = 0;
      for (int bit = 0; bit < width; ++bit) {
        size_t position = i * static_cast<size_t>(width) + static_cast<size_t>(bit);
        value |= static_cast<uint32_t>(byte(at + position / 8) >> (position % 8) & 1) << bit;
      }
      values.push_back(value);
    }
    at += (header >> 1) * static_cast<size_t>(width);
  }
  EXPECT_EQ(at, bytes.size());
  EXPECT_LT(values.size(), count + 8);
  values.resize(count);
  return values;
}

TEST(RunLength, EveryWidthAndMixtureOfRuns) {
  std::mt19937 random(3);
  for (int width = 1; width <= 32; ++width) {
    for (int round = 0; round < 30; ++round) {
      std::vector<uint32_t> values;
      uint32_t mask = width == 32 ? ~0U : (1U << width) - 1;
      while (values.size() < static_cast<size_t>(1 + round * 17)) {
        size_t run = random() % 3 == 0 ? 1 + random() % 70 : 1;
        values.insert(values.end(), run, random() & mask);
      }
      ByteBuffer out;
      AppendRunLengths(std::span<const uint32_t>(values), width, out);
      ASSERT_EQ(DecodeRuns(out.view(), width, values.size()), values) << width << " bits, round " << round;
      if (width > 8) continue;
      std::vector<uint8_t> narrow(values.begin(), values.end());
      ByteBuffer narrow_out;
      AppendRunLengths(std::span<const uint8_t>(narrow), width, narrow_out);
      ASSERT_EQ(narrow_out.view(), out.view());
    }
  }
}

TEST(RunLength, LongRunsAreShort) {
  std::vector<uint8_t> levels(20'000, 1);
  ByteBuffer out;
  AppendRunLengths(std::span<const uint8_t>(levels), 1, out);
  EXPECT_EQ(out.size(), 4U);
}

template <typename DType, typename T = typename DType::c_type>
void ExpectDelta(const std::vector<T>& values) {
  DeltaEncoder<T> encoder;
  for (int page = 0; page < 2; ++page) {  // the second one shows that the first has left nothing
    size_t half = values.size() / 3;
    encoder.Put(reinterpret_cast<const uint8_t*>(values.data()), static_cast<int64_t>(half));
    encoder.Put(reinterpret_cast<const uint8_t*>(values.data() + half), static_cast<int64_t>(values.size() - half));
    ByteBuffer out;
    encoder.Flush(out);
    auto decoder = ::parquet::MakeTypedDecoder<DType>(::parquet::Encoding::DELTA_BINARY_PACKED);
    decoder->SetData(static_cast<int>(values.size()), out.data(), static_cast<int>(out.size()));
    std::vector<T> decoded(values.size());
    ASSERT_EQ(decoder->Decode(decoded.data(), static_cast<int>(values.size())), static_cast<int>(values.size()));
    EXPECT_EQ(decoded, values);
  }
}

TEST(DeltaEncoder, ArrowReadsWhatItWrites) {
  std::mt19937_64 random(5);
  for (size_t count : {size_t{1}, size_t{2}, size_t{128}, size_t{129}, size_t{130}, size_t{257}, size_t{5'000}}) {
    for (int bits = 1; bits <= 64; bits += 7) {
      std::vector<int64_t> wide;
      std::vector<int32_t> narrow;
      for (size_t i = 0; i < count; ++i) {
        wide.push_back(static_cast<int64_t>(random() >> (64 - bits)));
        narrow.push_back(static_cast<int32_t>(random() >> (64 - std::min(bits, 32))));
      }
      ExpectDelta<::parquet::Int64Type>(wide);
      ExpectDelta<::parquet::Int32Type>(narrow);
    }
  }
  constexpr int64_t kLow = std::numeric_limits<int64_t>::min(), kHigh = std::numeric_limits<int64_t>::max();
  ExpectDelta<::parquet::Int64Type>({kLow, kHigh, kLow, 0, kHigh, -1, kHigh, kLow, kLow});
  ExpectDelta<::parquet::Int32Type>({INT32_MIN, INT32_MAX, INT32_MIN, 0, INT32_MAX, -1});
}

LeafShape ShapeOf(TypeKind kind, format::PhysicalType physical, int32_t width) {
  LeafShape shape;
  shape.type = Type::Primitive(kind);
  shape.physical = physical;
  shape.width = width;
  shape.order = ValueOrder::kUnsignedBytes;
  return shape;
}

struct Texts {
  explicit Texts(const std::vector<std::string>& values) {
    offsets.push_back(0);
    for (const auto& value : values) {
      bytes += value;
      offsets.push_back(static_cast<int32_t>(bytes.size()));
    }
  }
  ValueSpan span() const {
    return {reinterpret_cast<const uint8_t*>(bytes.data()), offsets.data(), static_cast<int64_t>(offsets.size()) - 1};
  }
  std::string bytes;
  std::vector<int32_t> offsets;
};

TEST(DictionaryEncoder, EntriesInTheOrderInWhichTheyCame) {
  auto shape = ShapeOf(TypeKind::kString, format::PhysicalType::kByteArray, 0);
  std::mt19937 random(11);
  // Few and many distinct values, in runs and not: all three ways to look them up.
  for (uint32_t variety : {1U, 7U, 300U, 30'000U}) {
    auto dictionary = DictionaryEncoder::Make(shape);
    std::vector<std::string> entries;
    std::map<std::string, uint32_t> index_of;
    for (int page = 0; page < 4; ++page) {
      std::vector<std::string> values;
      std::vector<uint32_t> expected;
      while (values.size() < 10'000) {
        uint32_t draw = random() % variety;
        std::string value = std::string(draw % 41, 'x') + std::to_string(draw);
        auto [found, added] = index_of.try_emplace(value, static_cast<uint32_t>(entries.size()));
        if (added) entries.push_back(value);
        size_t run = page % 2 == 0 ? 1 : 20;
        values.insert(values.end(), run, value);
        expected.insert(expected.end(), run, found->second);
      }
      Texts texts(values);
      dictionary->Put(texts.span());
      EXPECT_EQ(dictionary->page_values(), static_cast<int64_t>(values.size()));
      ByteBuffer out;
      dictionary->Flush(out);
      int width = out.data()[0];
      ASSERT_EQ(DecodeRuns(out.view().substr(1), width, expected.size()), expected);
    }
    EXPECT_GT(dictionary->table_bytes(), 0);
    dictionary->Seal();
    EXPECT_LE(dictionary->table_bytes(), static_cast<int64_t>(8 * (entries.size() + 1)));
    Texts all(entries);
    ValueSpan stored = dictionary->Entries();
    ASSERT_EQ(stored.count, static_cast<int64_t>(entries.size()));
    EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(stored.bytes), all.bytes.size()), all.bytes);
  }
}

TEST(DictionaryEncoder, OfAPageOnlyItsOwnValuesCount) {
  auto shape = ShapeOf(TypeKind::kString, format::PhysicalType::kByteArray, 0);
  auto dictionary = DictionaryEncoder::Make(shape);
  auto statistics = ValueStatistics::Make(shape);
  auto page = [&](const std::vector<std::string>& values) {
    Texts texts(values);
    dictionary->Put(texts.span());
    dictionary->PutPageValues(*statistics);
    ByteBuffer out;
    dictionary->Flush(out);
    Bounds bounds = statistics->TakeBounds();
    return bounds.lower + ".." + bounds.upper;
  };
  EXPECT_EQ(page({"m", "c", "x"}), "c..x");
  EXPECT_EQ(page({"m", "n", "m"}), "m..n");
  EXPECT_EQ(page({"abcdefgh", "abcdefghi", "abcdefg"}), "abcdefg..abcdefghi");
}

TEST(BloomFilter, FoldedItStillHoldsEverything) {
  auto shape = ShapeOf(TypeKind::kLong, format::PhysicalType::kInt64, 8);
  std::vector<int64_t> values;
  for (int64_t i = 0; i < 1000; ++i) values.push_back(i * 7919);
  BloomFilter filter(BloomFilter::BytesFor(1 << 20, 0.01, 1 << 20));
  EXPECT_EQ(filter.bytes(), 1 << 20);
  filter.Put(shape, {reinterpret_cast<const uint8_t*>(values.data()), nullptr, 1000});
  filter.FoldTo(BloomFilter::BytesFor(1000, 0.01, 1 << 20));
  EXPECT_EQ(filter.bytes(), 2048);
  // The same bits that Arrow's filter of that size has.
  ::parquet::BlockSplitBloomFilter arrow_filter;
  arrow_filter.Init(2048);
  for (int64_t value : values) arrow_filter.InsertHash(arrow_filter.Hash(value));
  ByteBuffer bytes;
  filter.Append(bytes);
  ::parquet::BlockSplitBloomFilter folded;
  folded.Init(bytes.data() + bytes.size() - 2048, 2048);
  for (int64_t value = 0; value < 50'000; ++value) {
    EXPECT_EQ(folded.FindHash(folded.Hash(value)), arrow_filter.FindHash(arrow_filter.Hash(value)));
  }
  EXPECT_EQ(BloomFilter::BytesFor(1 << 20, 0.01, 100), 64);
  EXPECT_EQ(BloomFilter::BytesFor(1, 0.5, 1 << 20), 32);
}

TEST(StoredBounds, LongOnesAreCutAndStillEnclose) {
  Bounds exact{true, std::string(300, 'a'), std::string(300, 'b')};
  auto stored = StoredBounds(*Type::Primitive(TypeKind::kString), exact, 64);
  ASSERT_TRUE(stored.has_value());
  EXPECT_EQ(stored->lower, std::string(64, 'a'));
  EXPECT_EQ(stored->upper, std::string(63, 'b') + "c");
  Bounds top{true, "a", std::string(300, '\xff')};
  EXPECT_FALSE(StoredBounds(*Type::Primitive(TypeKind::kBinary), top, 64).has_value());
  EXPECT_EQ(StoredBounds(*Type::Fixed(300), top, 64)->upper, top.upper);
}

TEST(ThriftCompact, WhatIsWrittenIsRead) {
  ByteBuffer out;
  ThriftWriter writer(out);
  writer.Bool(1, true);
  writer.I32(2, -7);
  writer.I64(40, std::numeric_limits<int64_t>::min());
  writer.BeginStruct(41);
  writer.I16(3, 300);
  writer.EndStruct();
  writer.BeginList(42, ThriftType::kStruct, 20);
  for (int i = 0; i < 20; ++i) {
    writer.BeginElement();
    writer.Binary(1, std::string(static_cast<size_t>(i) * 20, 'x'));
    writer.EndStruct();
  }
  writer.Bool(43, false);
  writer.EndStruct();

  ThriftReader reader(out.view());
  auto expect_field = [&](int16_t id, ThriftType type) {
    auto field = reader.NextField();
    ASSERT_TRUE(field.has_value());
    EXPECT_EQ(field->id, id);
    EXPECT_EQ(field->type, type);
  };
  expect_field(1, ThriftType::kTrue);
  expect_field(2, ThriftType::kI32);
  EXPECT_EQ(reader.Number().value(), -7);
  expect_field(40, ThriftType::kI64);
  EXPECT_EQ(reader.Number().value(), std::numeric_limits<int64_t>::min());
  expect_field(41, ThriftType::kStruct);
  EXPECT_TRUE(reader.Skip(ThriftType::kStruct).has_value());
  expect_field(42, ThriftType::kList);
  auto list = reader.BeginList();
  ASSERT_TRUE(list.has_value());
  ASSERT_EQ(list->count, 20U);
  for (size_t i = 0; i < 20; ++i) {
    ASSERT_TRUE(reader.BeginStruct().has_value());
    expect_field(1, ThriftType::kBinary);
    EXPECT_EQ(reader.Binary()->size(), i * 20);
    expect_field(0, ThriftType::kStop);
  }
  expect_field(43, ThriftType::kFalse);
  expect_field(0, ThriftType::kStop);
  EXPECT_EQ(reader.position(), out.size());

  // Cut anywhere, it is corrupt and nothing else.
  for (size_t length = 0; length < out.size(); ++length) {
    ThriftReader cut(out.view().substr(0, length));
    EXPECT_FALSE(cut.Skip(ThriftType::kStruct).has_value());
  }
}

TEST(ThriftCompact, CountsAndDepthFromOutsideAreNotBelieved) {
  ThriftReader list(std::string_view("\xf8\xff\xff\xff\xff\x0f", 6));
  EXPECT_FALSE(list.BeginList().has_value());
  ThriftReader text(std::string_view("\xff\xff\x03" "abc", 6));
  EXPECT_FALSE(text.Binary().has_value());
  ThriftReader number(std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11));
  EXPECT_FALSE(number.Number().has_value());
  std::string deep(100'000, '\x1c');  // field 1, a struct, in a struct, in a struct
  EXPECT_FALSE(ThriftReader(deep).Skip(ThriftType::kStruct).has_value());
  std::string lists(100'000, '\x19');  // a list of one list of one list
  EXPECT_FALSE(ThriftReader(lists).Skip(ThriftType::kList).has_value());
}

}  // namespace
}  // namespace firn::parquet
