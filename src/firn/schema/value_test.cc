#include "firn/schema/value.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "firn/base/encoding.h"
#include "firn/schema/calendar.h"

namespace firn::schema {
namespace {

using namespace std::string_literals;

TypePtr P(TypeKind kind) { return Type::Primitive(kind); }

__int128 Power(int exponent) {
  __int128 power = 1;
  while (exponent-- > 0) power *= 10;
  return power;
}

TEST(Calendar, AgreesWithKnownDays) {
  struct Case { int64_t days; const char* text; };
  for (auto [days, text] :
       {Case{0, "1970-01-01"}, Case{-1, "1969-12-31"}, Case{19737, "2024-01-15"}, Case{19782, "2024-02-29"},
        Case{19783, "2024-03-01"}, Case{11016, "2000-02-29"}, Case{-25510, "1900-02-27"}, Case{-25509, "1900-02-28"},
        Case{-25508, "1900-03-01"}, Case{-719162, "0001-01-01"}, Case{-719163, "0000-12-31"},
        Case{-719529, "-0001-12-31"}, Case{2932896, "9999-12-31"}, Case{2932897, "+10000-01-01"}}) {
    EXPECT_EQ(FormatDate(days), text);
    EXPECT_EQ(DaysFromCivil(CivilFromDays(days)), days);
  }
}

TEST(Calendar, EveryDayOfManyCenturiesFollowsTheOneBefore) {
  CivilDate before = CivilFromDays(-800000);
  for (int64_t day = -799999; day < 800000; ++day) {
    CivilDate date = CivilFromDays(day);
    bool next_day = date.year == before.year && date.month == before.month && date.day == before.day + 1;
    bool next_month = date.year == before.year && date.month == before.month + 1 && date.day == 1 && before.day >= 28;
    bool next_year = date.year == before.year + 1 && date.month == 1 && date.day == 1 && before.month == 12 &&
                     before.day == 31;
    ASSERT_TRUE(next_day || next_month || next_year) << FormatDate(day);
    ASSERT_EQ(DaysFromCivil(date), day);
    before = date;
  }
}

struct SingleValueCase {
  TypePtr type;
  Value value;
  std::string hex;
  std::string text;
};

// The encodings of Appendix D, each with its text.
std::vector<SingleValueCase> SingleValueCases() {
  return {
      {P(TypeKind::kBoolean), true, "01", "true"},
      {P(TypeKind::kBoolean), false, "00", "false"},
      {P(TypeKind::kInt), int32_t{34}, "22000000", "34"},
      {P(TypeKind::kInt), std::numeric_limits<int32_t>::min(), "00000080", "-2147483648"},
      {P(TypeKind::kLong), int64_t{-2}, "feffffffffffffff", "-2"},
      {P(TypeKind::kFloat), -4.5f, "000090c0", "-4.5"},
      {P(TypeKind::kDouble), 6.0, "0000000000001840", "6"},
      {P(TypeKind::kDate), int32_t{19737}, "194d0000", "2024-01-15"},
      {P(TypeKind::kTime), int64_t{81068000000}, "008307e012000000", "22:31:08"},
      {P(TypeKind::kTimestamp), int64_t{1510871468000001}, "01c3262d215e0500", "2017-11-16T22:31:08.000001"},
      {P(TypeKind::kTimestamptz), int64_t{-1}, "ffffffffffffffff", "1969-12-31T23:59:59.999999+00:00"},
      {P(TypeKind::kTimestampNs), int64_t{1}, "0100000000000000", "1970-01-01T00:00:00.000000001"},
      {P(TypeKind::kTimestamptzNs), int64_t{500000000}, "0065cd1d00000000", "1970-01-01T00:00:00.5+00:00"},
      {P(TypeKind::kString), "iceberg"s, "69636562657267", "iceberg"},
      {P(TypeKind::kString), ""s, "", ""},
      {P(TypeKind::kUuid), "\xf7\x9c\x3e\x09\x67\x7c\x4b\xbd\xa4\x79\x3f\x34\x9c\xb7\x85\xe7"s,
       "f79c3e09677c4bbda4793f349cb785e7", "f79c3e09-677c-4bbd-a479-3f349cb785e7"},
      {Type::Fixed(4), "\x00\x01\x02\x03"s, "00010203", "00010203"},
      {P(TypeKind::kBinary), "\xff\x00"s, "ff00", "ff00"},
      {Type::Decimal(9, 2), Decimal128{1420}, "058c", "14.20"},
      {Type::Decimal(9, 2), Decimal128{0}, "00", "0.00"},
      {Type::Decimal(9, 2), Decimal128{-1}, "ff", "-0.01"},
      {Type::Decimal(9, 0), Decimal128{127}, "7f", "127"},
      {Type::Decimal(9, 0), Decimal128{128}, "0080", "128"},
      {Type::Decimal(9, 0), Decimal128{-128}, "80", "-128"},
      {Type::Decimal(9, 0), Decimal128{-129}, "ff7f", "-129"},
      {Type::Decimal(38, 38), Decimal128{Power(38) - 1}, "4b3b4ca85a86c47a098a223fffffffff",
       "0.99999999999999999999999999999999999999"},
      {Type::Decimal(38, 0), Decimal128{1 - Power(38)}, "b4c4b357a5793b85f675ddc000000001",
       "-99999999999999999999999999999999999999"},
  };
}

TEST(Value, SingleValueSerialization) {
  for (const SingleValueCase& c : SingleValueCases()) {
    EXPECT_TRUE(HoldsType(*c.type, c.value));
    std::string bytes = SerializeSingleValue(*c.type, c.value);
    EXPECT_EQ(HexEncode(bytes), c.hex) << c.type->ToString() << " " << c.text;
    auto back = DeserializeSingleValue(*c.type, bytes);
    ASSERT_TRUE(back) << c.text;
    EXPECT_EQ(*back, c.value) << c.text;
    EXPECT_EQ(FormatValue(*c.type, c.value), c.text);
  }
}

TEST(Value, ReadsTheWidthsThatPromotionsLeave) {
  EXPECT_EQ(*DeserializeSingleValue(*P(TypeKind::kLong), "\xfe\xff\xff\xff"), Value(int64_t{-2}));
  EXPECT_EQ(*DeserializeSingleValue(*P(TypeKind::kDouble), "\x00\x00\x90\xc0"s), Value(-4.5));
  EXPECT_EQ(*DeserializeSingleValue(*P(TypeKind::kTimestamp), "\xff\xff\xff\xff"), Value(-kMicrosPerDay));
  EXPECT_EQ(*DeserializeSingleValue(*P(TypeKind::kTimestampNs), "\x01\x00\x00\x00"s), Value(kMicrosPerDay * 1000));
  EXPECT_EQ(*DeserializeSingleValue(*Type::Decimal(18, 2), "\xff\xff\xff\xff"), Value(Decimal128{-1}));
  EXPECT_EQ(*DeserializeSingleValue(*Type::Fixed(4), "ab"), Value("ab"s));
}

TEST(Value, WrongBytesAreCorruption) {
  struct Case { TypePtr type; std::string bytes; };
  std::vector<Case> cases = {
      {P(TypeKind::kBoolean), ""},          {P(TypeKind::kBoolean), "ab"},
      {P(TypeKind::kInt), "abc"},           {P(TypeKind::kInt), "abcdefgh"},
      {P(TypeKind::kDate), ""},             {P(TypeKind::kLong), "abcde"},
      {P(TypeKind::kTime), "abcd"},         {P(TypeKind::kTimestamp), "abcdefghi"},
      {P(TypeKind::kFloat), "abcdefgh"},    {P(TypeKind::kDouble), "abcdef"},
      {Type::Decimal(9, 2), ""},            {Type::Decimal(38, 2), std::string(17, '\0')},
      {Type::Decimal(2, 0), "\x64"},        {Type::Decimal(2, 0), "\x9c"},  // 100 and -100
      {P(TypeKind::kUuid), "abc"},          {P(TypeKind::kUuid), std::string(17, 'a')},
      {Type::Fixed(4), "abcde"},            {P(TypeKind::kUnknown), "a"},
      {P(TypeKind::kUnknown), ""},          {P(TypeKind::kTimestampNs), "\xff\xff\xff\x7f"},
      {Type::Struct({}), "a"}};
  for (const Case& c : cases) {
    auto value = DeserializeSingleValue(*c.type, c.bytes);
    ASSERT_FALSE(value) << c.type->ToString();
    EXPECT_EQ(value.error().code(), ErrorCode::kCorruption);
  }
}

TEST(Value, MinimalBytesHoldAnyNumber) {
  for (int bit = 0; bit < 127; ++bit) {
    for (int offset : {-1, 0, 1}) {
      for (int sign : {-1, 1}) {
        __int128 value = sign * ((static_cast<__int128>(1) << bit) + offset);
        std::string bytes = MinimalBigEndian(value);
        ASSERT_EQ(FromBigEndian(bytes), value);
        if (bytes.size() > 1) {
          EXPECT_NE(FromBigEndian(bytes.substr(1)), value) << bit;
        }
      }
    }
  }
}

TEST(Value, ComparesInATotalOrder) {
  double infinity = std::numeric_limits<double>::infinity();
  double nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<std::vector<Value>> ascending = {
      {-nan, -infinity, -1.0, -0.0, 0.0, 1.0, infinity, nan},
      {-std::nanf(""), -1.0f, -0.0f, 0.0f, std::nanf("")},
      {false, true},
      {std::numeric_limits<int32_t>::min(), -1, 0, std::numeric_limits<int32_t>::max()},
      {std::numeric_limits<int64_t>::min(), int64_t{0}, std::numeric_limits<int64_t>::max()},
      {Decimal128{-Power(37)}, Decimal128{-1}, Decimal128{Power(37)}},
      {""s, "\0"s, "a"s, "a\0"s, "aa"s, "\x7f"s, "\x80"s, "\xff"s}};
  for (const auto& values : ascending) {
    for (size_t i = 0; i < values.size(); ++i) {
      for (size_t j = 0; j < values.size(); ++j) {
        EXPECT_EQ(CompareValues(values[i], values[j]), i < j ? -1 : i > j ? 1 : 0) << i << " " << j;
      }
    }
  }
}

TEST(Value, HoldsTypeTellsStrangers) {
  EXPECT_TRUE(HoldsType(*P(TypeKind::kInt), std::monostate{}));
  EXPECT_TRUE(HoldsType(*P(TypeKind::kUnknown), std::monostate{}));
  EXPECT_FALSE(HoldsType(*P(TypeKind::kUnknown), 1));
  EXPECT_FALSE(HoldsType(*P(TypeKind::kInt), int64_t{1}));
  EXPECT_FALSE(HoldsType(*P(TypeKind::kLong), int32_t{1}));
  EXPECT_FALSE(HoldsType(*P(TypeKind::kUuid), "short"s));
  EXPECT_FALSE(HoldsType(*Type::Fixed(2), "abc"s));
  EXPECT_FALSE(HoldsType(*Type::List(Field{FieldId{1}, "", P(TypeKind::kInt)}), 1));
}

TEST(Value, FormatsNullAndTheEndsOfTheRange) {
  EXPECT_EQ(FormatValue(*P(TypeKind::kInt), std::monostate{}), "null");
  EXPECT_EQ(FormatValue(*P(TypeKind::kTimestamp), std::numeric_limits<int64_t>::min()),
            "-290308-12-21T19:59:05.224192");
  EXPECT_EQ(FormatValue(*P(TypeKind::kTimestamp), std::numeric_limits<int64_t>::max()),
            "+294247-01-10T04:00:54.775807");
  EXPECT_EQ(FormatValue(*P(TypeKind::kDate), std::numeric_limits<int32_t>::min()), "-5877641-06-23");
}

TEST(ValueDeathTest, OurOwnMistakesAreCaught) {
  EXPECT_DEATH(CompareValues(Value(int32_t{1}), Value(int64_t{1})), "");
  EXPECT_DEATH(CompareValues(Value(), Value()), "");
  EXPECT_DEATH(SerializeSingleValue(*P(TypeKind::kInt), Value()), "");
  EXPECT_DEATH(SerializeSingleValue(*P(TypeKind::kLong), Value(int32_t{1})), "");
}

}  // namespace
}  // namespace firn::schema
