#include "firn/schema/bounds.h"

#include <gtest/gtest.h>

#include <random>

namespace firn::schema {
namespace {

using namespace std::string_literals;

const Type& String() { return *Type::Primitive(TypeKind::kString); }
const Type& Binary() { return *Type::Primitive(TypeKind::kBinary); }

std::string Repeat(std::string_view text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

TEST(Bounds, LowerIsAPrefixOfCodePoints) {
  EXPECT_EQ(TruncateLower(String(), "iceberg", 3), "ice");
  EXPECT_EQ(TruncateLower(String(), "iceberg", 7), "iceberg");
  EXPECT_EQ(TruncateLower(String(), "", 16), "");
  // 16 code points of 4 bytes are 64 bytes, not 16 (and not 8 UTF-16 pairs).
  EXPECT_EQ(TruncateLower(String(), Repeat("\U0001F9CA", 20), 16), Repeat("\U0001F9CA", 16));
  EXPECT_EQ(TruncateLower(String(), "a\u0301bc", 2), "a\u0301");
  EXPECT_EQ(TruncateLower(Binary(), "\xF0\x9F\xA7\x8A"s, 2), "\xF0\x9F"s);
  EXPECT_EQ(TruncateLower(Binary(), "\0\0\0"s, 2), "\0\0"s);
}

struct UpperCase {
  std::string value;
  int32_t length;
  std::optional<std::string> upper;
};

TEST(Bounds, UpperOfStrings) {
  for (const UpperCase& c : {
           UpperCase{"iceberg", 3, "icf"},
           UpperCase{"iceberg", 7, "iceberg"},       // short already: exact, not increased
           UpperCase{"ice", 16, "ice"},
           UpperCase{"", 16, ""},
           UpperCase{"ab\U0010FFFFz", 3, "ac"},      // what cannot grow is cut off
           UpperCase{"\U0010FFFF\U0010FFFF", 1, std::nullopt},
           UpperCase{"a\uD7FFz", 2, "a\uE000"},      // the surrogates are skipped
           UpperCase{"a\u007Fz", 2, "a\u0080"},      // one byte becomes two
           UpperCase{"a\u07FFz", 2, "a\u0800"},
           UpperCase{"a\uFFFFz", 2, "a\U00010000"},
           UpperCase{"\u00e9t\u00e9", 1, "\u00ea"},
           UpperCase{"a\xFFzz", 2, std::nullopt},    // not UTF-8: no bound rather than a wrong one
           UpperCase{"\xED\xA0\x80zz", 1, std::nullopt},
           UpperCase{"\xC0\x80zz", 1, std::nullopt},
           UpperCase{"\xF4\x90\x80\x80zz", 1, std::nullopt},
           UpperCase{"ab", 0, std::nullopt},
           UpperCase{"ab", -1, std::nullopt},
       }) {
    EXPECT_EQ(TruncateUpper(String(), c.value, c.length), c.upper) << c.value << " " << c.length;
  }
}

TEST(Bounds, UpperOfBinary) {
  EXPECT_EQ(TruncateUpper(Binary(), "\x01\x02\x03"s, 2), "\x01\x03"s);
  EXPECT_EQ(TruncateUpper(Binary(), "\x01\xFF\xFF\x00"s, 3), "\x02"s);
  EXPECT_EQ(TruncateUpper(Binary(), "\x7F\x01"s, 1), "\x80"s);
  EXPECT_EQ(TruncateUpper(Binary(), "\xFF\xFF\x00"s, 2), std::nullopt);
  EXPECT_EQ(TruncateUpper(Binary(), "\xFF\xFF"s, 2), "\xFF\xFF"s);
}

TEST(Bounds, OtherTypesStayWhole) {
  std::string bytes(32, '\xFF');
  for (const TypePtr& type : {Type::Primitive(TypeKind::kLong), Type::Fixed(32), Type::Decimal(38, 0),
                              Type::Primitive(TypeKind::kUuid)}) {
    EXPECT_EQ(TruncateLower(*type, bytes, 4), bytes);
    EXPECT_EQ(TruncateUpper(*type, bytes, 4), bytes);
  }
}

// The property that readers rely on, over random text of code points of all lengths and the corners of UTF-8.
TEST(Bounds, NeverExcludeTheValue) {
  const std::vector<std::string> alphabet = {"a",      "z",      "\x7F",       "\u0080",     "\u07FF",
                                             "\u0800", "\uD7FF", "\uE000",     "\uFFFF",     "\U00010000",
                                             "\x01",   "\u00e9", "\U0010FFFE", "\U0010FFFF", "\U0010FFFF"};
  std::mt19937 random(7);
  int increased = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string value;
    for (size_t n = random() % 8; n > 0; --n) value += alphabet[random() % alphabet.size()];
    auto length = static_cast<int32_t>(1 + random() % 6);
    EXPECT_LE(TruncateLower(String(), value, length), value);
    EXPECT_LE(TruncateLower(Binary(), value, length), value);
    auto upper = TruncateUpper(String(), value, length);
    if (upper) {
      EXPECT_GE(*upper, value);
    }
    if (upper) {
      EXPECT_EQ(CodePointPrefix(*upper, length), *upper);
    }
    increased += upper && *upper != value;
    auto binary = TruncateUpper(Binary(), value, length);
    if (binary) {
      EXPECT_GE(*binary, value);
    }
  }
  EXPECT_GT(increased, 1000);
}

}  // namespace
}  // namespace firn::schema
