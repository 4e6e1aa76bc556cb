#include "firn/iceberg/manifest/avro_codec.h"

#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include "firn/base/encoding.h"
#include "firn/iceberg/manifest/avro_container.h"
#include "firn/iceberg/manifest/avro_schema.h"

namespace firn::iceberg {
namespace {

// Avro's snappy block: the raw format and the big-endian CRC-32 of what it decompresses to.
std::string SnappyBlock(std::string raw, std::string_view plain) {
  const auto crc = static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(plain.data()), plain.size()));
  for (int shift = 24; shift >= 0; shift -= 8) raw.push_back(static_cast<char>(crc >> shift));
  return raw;
}

ErrorCode CodeOf(std::string_view codec, const std::string& block) {
  return DecompressAvroBlock(codec, block).error().code();
}

TEST(AvroCodecTest, DeflateGoesThereAndBack) {
  std::string text;
  for (int i = 0; i < 50'000; ++i) text += std::to_string(i * 7919);
  const std::string packed = DeflateAvroBlock(text).value();
  EXPECT_LT(packed.size(), text.size());
  EXPECT_EQ(DecompressAvroBlock("deflate", packed).value(), text);
  EXPECT_EQ(DecompressAvroBlock("deflate", DeflateAvroBlock("").value()).value(), "");
}

TEST(AvroCodecTest, DeflateRefusesDamage) {
  const std::string packed = DeflateAvroBlock(std::string(1000, 'x') + "abc").value();
  EXPECT_EQ(CodeOf("deflate", packed.substr(0, packed.size() - 2)), ErrorCode::kCorruption);
  EXPECT_EQ(CodeOf("deflate", "\xff\xff\xff"), ErrorCode::kCorruption);
  EXPECT_EQ(CodeOf("deflate", ""), ErrorCode::kCorruption);
}

TEST(AvroCodecTest, Zstd) {
  const std::string text(100'000, 'a');
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
  EXPECT_EQ(DecompressAvroBlock("zstandard", packed).value(), text);
  EXPECT_EQ(CodeOf("zstandard", packed.substr(0, packed.size() - 1)), ErrorCode::kCorruption);
  EXPECT_EQ(CodeOf("zstandard", "no frame at all"), ErrorCode::kCorruption);
}

// The tags of google/snappy's format_description.txt, one after the other.
TEST(AvroCodecTest, SnappyLiteralsAndCopies) {
  // length 9, literal "abc", copy of 6 from 3 back with a one-byte offset: it overlaps what it writes.
  const std::string one_byte = std::string("\x09\x08") + "abc" + std::string("\x09\x03", 2);
  EXPECT_EQ(DecompressAvroBlock("snappy", SnappyBlock(one_byte, "abcabcabc")).value(), "abcabcabc");
  const std::string two_bytes = std::string("\x08\x0c") + "abcd" + std::string("\x0e\x04\x00", 3);
  EXPECT_EQ(DecompressAvroBlock("snappy", SnappyBlock(two_bytes, "abcdabcd")).value(), "abcdabcd");
  const std::string four_bytes = std::string("\x08\x0c") + "abcd" + std::string("\x0f\x04\x00\x00\x00", 5);
  EXPECT_EQ(DecompressAvroBlock("snappy", SnappyBlock(four_bytes, "abcdabcd")).value(), "abcdabcd");
  // A literal whose length stands in the next byte: 61 bytes.
  const std::string long_literal = std::string("\x3d\xf0\x3c") + std::string(61, 'z');
  EXPECT_EQ(DecompressAvroBlock("snappy", SnappyBlock(long_literal, std::string(61, 'z'))).value(),
            std::string(61, 'z'));
}

TEST(AvroCodecTest, SnappyRefusesWhatIsNotTrue) {
  const std::string good = std::string("\x03\x08") + "abc";
  EXPECT_EQ(CodeOf("snappy", SnappyBlock(good, "abd")), ErrorCode::kCorruption);  // checksum
  EXPECT_EQ(CodeOf("snappy", SnappyBlock("\x04\x08"
                                         "abc",
                                         "abc")),
            ErrorCode::kCorruption);  // shorter than it says
  EXPECT_EQ(CodeOf("snappy", SnappyBlock("\x02\x08"
                                         "abc",
                                         "abc")),
            ErrorCode::kCorruption);  // longer
  EXPECT_EQ(CodeOf("snappy", SnappyBlock(std::string("\x09\x08") + "abc" + std::string("\x09\x04", 2), "abcabcabc")),
            ErrorCode::kCorruption);  // a copy from before the start
  EXPECT_EQ(CodeOf("snappy", SnappyBlock(std::string("\x09\x08") + "abc" + std::string("\x09\x00", 2), "abcabcabc")),
            ErrorCode::kCorruption);  // offset 0
  EXPECT_EQ(CodeOf("snappy", "abc"), ErrorCode::kCorruption);
  EXPECT_EQ(CodeOf("snappy", SnappyBlock("\xff\xff\xff\xff\x07", "")), ErrorCode::kResourceExhausted);
}

TEST(AvroCodecTest, NullAndUnknownCodecs) {
  EXPECT_EQ(DecompressAvroBlock("null", "abc").value(), "abc");
  EXPECT_EQ(DecompressAvroBlock("", "abc").value(), "abc");
  EXPECT_EQ(CodeOf("bzip2", "abc"), ErrorCode::kUnsupported);
}

TEST(AvroContainerTest, WritesBlocksThatItReads) {
  AvroContainerWriter writer({{"avro.schema", "\"string\""}, {"k", "v"}});
  std::string all;
  for (int i = 0; i < 20'000; ++i) {
    writer.records().push_back(10);  // zig-zag 5
    writer.records() += "01234";
    ASSERT_TRUE(writer.EndRecord().has_value());
  }
  const std::string bytes = writer.Finish().value();
  const AvroContainer read = ReadAvroContainer(bytes).value();
  EXPECT_EQ(read.header.at("k"), "v");
  EXPECT_EQ(read.header.at("avro.codec"), "deflate");
  EXPECT_GT(read.blocks.size(), 1u);
  int64_t records = 0;
  for (const AvroBlock& block : read.blocks) records += block.record_count;
  EXPECT_EQ(records, 20'000);
}

TEST(AvroContainerTest, RefusesWhatContradictsItself) {
  const std::string sync(16, 's');
  const std::string head = std::string("Obj\x01", 4) + std::string("\0", 1) + sync;
  EXPECT_TRUE(ReadAvroContainer(head).has_value());
  EXPECT_EQ(ReadAvroContainer("").error().code(), ErrorCode::kCorruption);
  EXPECT_EQ(ReadAvroContainer("Obj\x02" + sync).error().code(), ErrorCode::kCorruption);
  // One record of two bytes, then another sync marker than the file's.
  EXPECT_EQ(ReadAvroContainer(head +
                              "\x02\x04"
                              "ab" +
                              std::string(16, 't'))
                .error()
                .code(),
            ErrorCode::kCorruption);
  EXPECT_TRUE(ReadAvroContainer(head +
                                "\x02\x04"
                                "ab" +
                                sync)
                  .has_value());
  // More records than bytes; a negative count; a negative length.
  EXPECT_EQ(ReadAvroContainer(head +
                              "\x06\x04"
                              "ab" +
                              sync)
                .error()
                .code(),
            ErrorCode::kCorruption);
  EXPECT_EQ(ReadAvroContainer(head +
                              "\x01\x04"
                              "ab" +
                              sync)
                .error()
                .code(),
            ErrorCode::kCorruption);
  EXPECT_EQ(ReadAvroContainer(head +
                              "\x02\x03"
                              "ab" +
                              sync)
                .error()
                .code(),
            ErrorCode::kCorruption);
}

TEST(AvroSchemaTest, ReadsNamesAndIds) {
  auto schema = AvroSchema::Parse(R"({"type":"record","name":"r","fields":[
      {"name":"a","type":{"type":"fixed","name":"f4","namespace":"n","size":4,"logicalType":"decimal"},"field-id":7},
      {"name":"b","type":["null","f4"]},{"name":"c","type":{"type":"array","items":"n.f4","element-id":9}}]})");
  ASSERT_TRUE(schema.has_value()) << schema.error().ToString();
  ASSERT_EQ((*schema)->fields.size(), 3u);
  EXPECT_EQ((*schema)->fields[0].field_id, 7);
  EXPECT_FALSE((*schema)->fields[1].field_id.has_value());
  EXPECT_EQ((*schema)->fields[1].schema->items[1]->fixed_size, 4u);
  EXPECT_EQ((*schema)->fields[2].schema->element_id, 9);
  EXPECT_EQ((*schema)->fields[2].schema->items[0]->logical_type, "decimal");
}

TEST(AvroSchemaTest, RefusesHostileSchemas) {
  auto code = [](const std::string& text) { return AvroSchema::Parse(text).error().code(); };
  EXPECT_EQ(code(""), ErrorCode::kCorruption);
  EXPECT_EQ(code("7"), ErrorCode::kCorruption);
  EXPECT_EQ(code("\"strin\""), ErrorCode::kCorruption);
  EXPECT_EQ(code("[]"), ErrorCode::kCorruption);
  EXPECT_EQ(code(R"({"type":"fixed","name":"f","size":-1})"), ErrorCode::kCorruption);
  EXPECT_EQ(code(R"({"type":"record","name":"r","fields":[{"name":"a","type":["null","r"]}]})"),
            ErrorCode::kUnsupported);
  EXPECT_EQ(code(R"({"type":"array","items":"null"})"), ErrorCode::kUnsupported);
  EXPECT_EQ(code(R"({"type":"array","items":{"type":"null"}})"), ErrorCode::kUnsupported);
  EXPECT_EQ(code(R"({"type":"array","items":{"type":"record","name":"r","fields":[]}})"), ErrorCode::kUnsupported);
  std::string deep = "\"int\"";
  for (int i = 0; i < 40; ++i) deep = R"({"type":"array","items":)" + deep + "}";
  EXPECT_EQ(code(deep), ErrorCode::kResourceExhausted);
  EXPECT_EQ(code(std::string(100'000, '[')), ErrorCode::kCorruption);
  // Each record holds the one before it twice: 2^30 fields once expanded.
  std::string doubling = R"([{"type":"record","name":"r0","fields":[{"name":"a","type":"int"}]})";
  for (int i = 1; i < 30; ++i) {
    const std::string inner = "r" + std::to_string(i - 1);
    doubling += R"(,{"type":"record","name":"r)" + std::to_string(i) + R"(","fields":[{"name":"a","type":")" + inner +
                R"("},{"name":"b","type":")" + inner + R"("}]})";
  }
  EXPECT_EQ(code(doubling + "]"), ErrorCode::kResourceExhausted);
}

}  // namespace
}  // namespace firn::iceberg
