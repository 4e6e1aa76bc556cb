#include "firn/schema/transform.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "firn/schema/calendar.h"

namespace firn::schema {
namespace {

using namespace std::string_literals;

constexpr int32_t kIntMin = std::numeric_limits<int32_t>::min();
constexpr int32_t kIntMax = std::numeric_limits<int32_t>::max();
constexpr int64_t kLongMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kLongMax = std::numeric_limits<int64_t>::max();

TypePtr P(TypeKind kind) { return Type::Primitive(kind); }
Transform T(std::string_view text) { return *Transform::Parse(text); }

TEST(Murmur3, ReferenceVectors) {
  EXPECT_EQ(Murmur3(""), 0);
  EXPECT_EQ(Murmur3("foo"), -156908512);
  EXPECT_EQ(Murmur3("foo", 42), -1322301282);
  EXPECT_EQ(Murmur3("hello"), 613153351);
}

// Appendix B, "32-bit Hash Requirements", with the corrections that running Java gave (a date hashes as a long).
TEST(BucketHash, VectorsOfTheSpec) {
  std::string uuid = "\xf7\x9c\x3e\x09\x67\x7c\x4b\xbd\xa4\x79\x3f\x34\x9c\xb7\x85\xe7";
  constexpr int64_t kEvening = 1510871468000000;  // 2017-11-16T22:31:08
  struct Case { TypePtr type; Value value; int32_t hash; };
  std::vector<Case> cases = {
      {P(TypeKind::kInt), int32_t{34}, 2017239379},
      {P(TypeKind::kLong), int64_t{34}, 2017239379},
      {Type::Decimal(9, 2), Decimal128{1420}, -500754589},
      {Type::Decimal(38, 2), Decimal128{1420}, -500754589},
      {P(TypeKind::kDate), int32_t{17486}, -653330422},
      {P(TypeKind::kTime), int64_t{81068000000}, -662762989},
      {P(TypeKind::kTimestamp), kEvening, -2047944441},
      {P(TypeKind::kTimestamp), kEvening + 1, -1207196810},
      {P(TypeKind::kTimestamptz), kEvening, -2047944441},
      {P(TypeKind::kTimestampNs), kEvening * 1000, -2047944441},
      {P(TypeKind::kTimestampNs), (kEvening + 1) * 1000 + 1, -1207196810},
      {P(TypeKind::kTimestamptzNs), (kEvening + 1) * 1000 + 999, -1207196810},
      {P(TypeKind::kString), "iceberg"s, 1210000089},
      {P(TypeKind::kUuid), uuid, 1488055340},
      {Type::Fixed(4), "\x00\x01\x02\x03"s, -188683207},
      {P(TypeKind::kBinary), "\x00\x01\x02\x03"s, -188683207},
      {P(TypeKind::kBoolean), true, 1392991556},
      {P(TypeKind::kFloat), 1.0f, -142385009},
      {P(TypeKind::kDouble), 1.0, -142385009},
      {P(TypeKind::kFloat), -0.0f, 1669671676},
      {P(TypeKind::kDouble), -0.0, 1669671676}};
  for (const Case& c : cases) {
    EXPECT_EQ(BucketHash(*c.type, c.value), c.hash) << c.type->ToString() << " " << FormatValue(*c.type, c.value);
  }
}

TEST(BucketHash, NegativeNanosecondsAreFloored) {
  Value before_epoch = int64_t{-1};
  EXPECT_EQ(BucketHash(*P(TypeKind::kTimestampNs), before_epoch), BucketHash(*P(TypeKind::kTimestamp), before_epoch));
  EXPECT_NE(BucketHash(*P(TypeKind::kTimestampNs), before_epoch), BucketHash(*P(TypeKind::kTimestamp), int64_t{0}));
}

struct ApplyCase {
  const char* transform;
  TypePtr type;
  Value value;
  Value result;
};

TEST(Transform, Truncates) {
  std::vector<ApplyCase> cases = {
      {"truncate[10]", P(TypeKind::kInt), 1, 0},
      {"truncate[10]", P(TypeKind::kInt), -1, -10},
      {"truncate[10]", P(TypeKind::kInt), -10, -10},
      {"truncate[10]", P(TypeKind::kInt), 19, 10},
      {"truncate[10]", P(TypeKind::kInt), kIntMax, 2147483640},
      {"truncate[2147483647]", P(TypeKind::kInt), kIntMax, kIntMax},
      {"truncate[2147483647]", P(TypeKind::kInt), -1, -kIntMax},
      {"truncate[10]", P(TypeKind::kInt), kIntMin, 2147483646},  // wraps, as in Java
      {"truncate[10]", P(TypeKind::kLong), int64_t{-1}, int64_t{-10}},
      {"truncate[10]", P(TypeKind::kLong), kLongMin, int64_t{9223372036854775806}},
      {"truncate[2147483647]", P(TypeKind::kLong), kLongMax, kLongMax - 1},
      {"truncate[50]", Type::Decimal(9, 2), Decimal128{1065}, Decimal128{1050}},
      {"truncate[50]", Type::Decimal(9, 2), Decimal128{-1}, Decimal128{-50}},
      {"truncate[3]", P(TypeKind::kString), "iceberg"s, "ice"s},
      {"truncate[3]", P(TypeKind::kString), "ic"s, "ic"s},
      {"truncate[2]", P(TypeKind::kString), "\U0001F9CA\u00e9x"s, "\U0001F9CA\u00e9"s},
      {"truncate[2]", P(TypeKind::kBinary), "\x01\x02\x03"s, "\x01\x02"s},
      {"truncate[2147483647]", P(TypeKind::kBinary), "\x01"s, "\x01"s}};
  for (const ApplyCase& c : cases) {
    EXPECT_EQ(T(c.transform).Apply(*c.type, c.value), c.result)
        << c.transform << " " << FormatValue(*c.type, c.value);
  }
}

TEST(Transform, TimePartsFloorBeforeTheEpoch) {
  constexpr int64_t kHour = kMicrosPerHour;
  std::vector<ApplyCase> cases = {
      {"year", P(TypeKind::kDate), 0, 0},
      {"year", P(TypeKind::kDate), -1, -1},
      {"year", P(TypeKind::kDate), -365, -1},
      {"year", P(TypeKind::kDate), -366, -2},
      {"month", P(TypeKind::kDate), -1, -1},
      {"month", P(TypeKind::kDate), -31, -1},
      {"month", P(TypeKind::kDate), -32, -2},
      {"month", P(TypeKind::kDate), 19737, 648},
      {"day", P(TypeKind::kDate), -7, -7},
      {"year", P(TypeKind::kTimestamp), int64_t{-1}, -1},
      {"month", P(TypeKind::kTimestamptz), int64_t{-1}, -1},
      {"day", P(TypeKind::kTimestamp), int64_t{-1}, -1},
      {"day", P(TypeKind::kTimestamp), -kMicrosPerDay, -1},
      {"day", P(TypeKind::kTimestamp), -kMicrosPerDay - 1, -2},
      {"hour", P(TypeKind::kTimestamp), int64_t{-1}, -1},
      {"hour", P(TypeKind::kTimestamp), -kHour, -1},
      {"hour", P(TypeKind::kTimestamptz), kHour * 24 * 19737 + 8 * kHour + 1, 473696},
      {"day", P(TypeKind::kTimestampNs), int64_t{-1}, -1},
      {"hour", P(TypeKind::kTimestamptzNs), kHour * 1000 - 1, 0},
      {"hour", P(TypeKind::kTimestamptzNs), kHour * 1000, 1},
      {"day", P(TypeKind::kTimestampNs), kLongMin, -106752},
      {"hour", P(TypeKind::kTimestamp), kLongMax, kIntMax},  // beyond what an int can say
      {"hour", P(TypeKind::kTimestamp), kLongMin, kIntMin},
      {"year", P(TypeKind::kTimestamp), kLongMin, -290308 - 1970},
      {"day", P(TypeKind::kDate), kIntMin, kIntMin},
      {"year", P(TypeKind::kDate), kIntMax, 5881580 - 1970}};
  for (const ApplyCase& c : cases) {
    EXPECT_EQ(T(c.transform).Apply(*c.type, c.value), c.result)
        << c.transform << " " << FormatValue(*c.type, c.value);
  }
}

TEST(Transform, BucketsAreNeverNegative) {
  EXPECT_EQ(T("bucket[16]").Apply(*P(TypeKind::kInt), 34), Value(2017239379 % 16));
  EXPECT_EQ(T("bucket[10]").Apply(*P(TypeKind::kDate), 17486), Value((-653330422 & kIntMax) % 10));
  for (int32_t i = -500; i < 500; ++i) {
    int32_t bucket = std::get<int32_t>(T("bucket[7]").Apply(*P(TypeKind::kInt), i));
    EXPECT_TRUE(bucket >= 0 && bucket < 7);
    // What allows the promotion int → long under a bucket transform.
    EXPECT_EQ(T("bucket[7]").Apply(*P(TypeKind::kLong), int64_t{i}), Value(bucket));
  }
}

TEST(Transform, NullStaysNullAndVoidIsAlwaysNull) {
  for (const char* text : {"identity", "bucket[4]", "truncate[4]", "void"}) {
    EXPECT_TRUE(IsNull(T(text).Apply(*P(TypeKind::kInt), Value())));
  }
  for (const char* text : {"year", "month", "day", "hour"}) {
    EXPECT_TRUE(IsNull(T(text).Apply(*P(TypeKind::kTimestamp), Value())));
  }
  EXPECT_TRUE(IsNull(T("void").Apply(*P(TypeKind::kInt), 7)));
}

TEST(Transform, IdentityKeepsZerosApartAndUnitesNaNs) {
  Value nan = T("identity").Apply(*P(TypeKind::kDouble), -std::numeric_limits<double>::signaling_NaN());
  EXPECT_EQ(std::bit_cast<int64_t>(std::get<double>(nan)), 0x7ff8000000000000);
  Value nan32 = T("identity").Apply(*P(TypeKind::kFloat), std::bit_cast<float>(0xffc12345));
  EXPECT_EQ(std::bit_cast<int32_t>(std::get<float>(nan32)), 0x7fc00000);
  EXPECT_TRUE(std::signbit(std::get<double>(T("identity").Apply(*P(TypeKind::kDouble), -0.0))));
  EXPECT_EQ(T("identity").Apply(*P(TypeKind::kString), "x"s), Value("x"s));
}

TEST(Transform, ParsesAndPrints) {
  for (const char* text : {"identity", "bucket[16]", "truncate[1]", "year", "month", "day", "hour", "void",
                           "bucket[2147483647]"}) {
    Transform transform = T(text);
    EXPECT_NE(transform.kind, TransformKind::kUnknown) << text;
    EXPECT_EQ(transform.ToString(), text);
  }
  EXPECT_EQ(T("Bucket[16]"), T("bucket[16]"));
  EXPECT_EQ(T("bucket[007]").parameter, 7);
  for (const char* text : {"", "days", "zorder", "bucket", "bucket[", "bucket[]", "bucket[x]", "bucket[-1]", "day[1]",
                           "bucket[16]x", "bucket[1 6]", "bucket[[1]]", "[1]", "identity[]", "bucket(16)"}) {
    Transform transform = T(text);
    EXPECT_EQ(transform.kind, TransformKind::kUnknown) << text;
    EXPECT_EQ(transform.ToString(), text);
  }
  for (const char* text : {"bucket[0]", "truncate[0]", "bucket[2147483648]", "bucket[99999999999999999999]"}) {
    auto transform = Transform::Parse(text);
    ASSERT_FALSE(transform) << text;
    EXPECT_EQ(transform.error().code(), ErrorCode::kInvalidInput);
  }
}

// The table of the spec: one row a type, one letter a transform in the order of `transforms`.
TEST(Transform, AllowsTheSourceTypesOfTheSpec) {
  const std::vector<std::string> transforms = {"identity", "bucket[4]", "truncate[4]", "year",
                                               "month",    "day",       "hour",        "void"};
  TypePtr list = Type::List(Field{FieldId{1}, "", P(TypeKind::kInt)});
  struct Case { TypePtr type; std::string_view allowed; };
  std::vector<Case> cases = {
      {P(TypeKind::kBoolean), "i......v"},     {P(TypeKind::kInt), "ibt....v"},
      {P(TypeKind::kLong), "ibt....v"},        {P(TypeKind::kFloat), "i......v"},
      {P(TypeKind::kDouble), "i......v"},      {Type::Decimal(9, 2), "ibt....v"},
      {P(TypeKind::kDate), "ib.ymd.v"},        {P(TypeKind::kTime), "ib.....v"},
      {P(TypeKind::kTimestamp), "ib.ymdhv"},   {P(TypeKind::kTimestamptz), "ib.ymdhv"},
      {P(TypeKind::kTimestampNs), "ib.ymdhv"}, {P(TypeKind::kTimestamptzNs), "ib.ymdhv"},
      {P(TypeKind::kString), "ibt....v"},      {P(TypeKind::kUuid), "ib.....v"},
      {Type::Fixed(4), "ib.....v"},            {P(TypeKind::kBinary), "ibt....v"},
      {P(TypeKind::kVariant), ".......v"},     {P(TypeKind::kGeometry), ".......v"},
      {P(TypeKind::kGeography), ".......v"},   {list, ".......v"}};
  for (const Case& c : cases) {
    for (size_t i = 0; i < transforms.size(); ++i) {
      auto result = T(transforms[i]).ResultType(*c.type);
      EXPECT_EQ(result.has_value(), c.allowed[i] != '.') << transforms[i] << " " << c.type->ToString();
      if (!result) {
        EXPECT_EQ(result.error().code(), ErrorCode::kInvalidInput);
      }
    }
  }
}

TEST(Transform, ResultTypes) {
  const Type& timestamp = *P(TypeKind::kTimestamp);
  EXPECT_EQ(**T("day").ResultType(timestamp), *P(TypeKind::kDate));
  for (const char* text : {"year", "month", "hour", "bucket[3]"}) {
    EXPECT_EQ(**T(text).ResultType(timestamp), *P(TypeKind::kInt)) << text;
  }
  EXPECT_EQ(**T("truncate[3]").ResultType(*Type::Decimal(9, 2)), *Type::Decimal(9, 2));
  EXPECT_EQ(**T("identity").ResultType(*Type::Fixed(3)), *Type::Fixed(3));
  EXPECT_EQ(**T("void").ResultType(timestamp), timestamp);
  EXPECT_EQ(**T("zorder[3]").ResultType(timestamp), *P(TypeKind::kString));
}

struct PathCase {
  const char* transform;
  TypePtr type;
  Value value;
  const char* text;
};

TEST(PartitionPathText, WritesWhatJavaWrites) {
  std::vector<PathCase> cases = {
      {"year", P(TypeKind::kDate), 54, "2024"},
      {"year", P(TypeKind::kDate), -1, "1969"},
      {"year", P(TypeKind::kDate), -1471, "0499"},
      {"year", P(TypeKind::kDate), kIntMax, "2147485617"},
      {"month", P(TypeKind::kDate), 648, "2024-01"},
      {"month", P(TypeKind::kDate), -1, "1969-12"},
      {"month", P(TypeKind::kDate), -12, "1969-01"},
      {"day", P(TypeKind::kTimestamp), 19737, "2024-01-15"},
      {"day", P(TypeKind::kTimestamp), -1, "1969-12-31"},
      {"hour", P(TypeKind::kTimestamp), 473696, "2024-01-15-08"},
      {"hour", P(TypeKind::kTimestamp), -1, "1969-12-31-23"},
      {"bucket[16]", P(TypeKind::kString), 3, "3"},
      {"void", P(TypeKind::kString), "x"s, "null"},
      {"identity", P(TypeKind::kString), Value(), "null"},
      {"identity", P(TypeKind::kString), "null"s, "null"},
      {"identity", P(TypeKind::kString), ""s, ""},
      {"identity", P(TypeKind::kString), "a b/c=d&\xc3\xa9+~*-._%"s, "a+b%2Fc%3Dd%26%C3%A9%2B%7E*-._%25"},
      {"identity", P(TypeKind::kString), "../..\0\n"s, "..%2F..%00%0A"},
      {"truncate[2]", P(TypeKind::kBinary), "\xff\xfe"s, "%2F%2F4%3D"},
      {"identity", Type::Fixed(3), "\x01\x02\x03"s, "AQID"},
      {"identity", P(TypeKind::kBoolean), true, "true"},
      {"identity", P(TypeKind::kInt), -7, "-7"},
      {"identity", P(TypeKind::kLong), kLongMin, "-9223372036854775808"},
      {"identity", P(TypeKind::kDate), 19737, "2024-01-15"},
      {"identity", P(TypeKind::kTime), int64_t{81068000000}, "22%3A31%3A08"},
      {"identity", P(TypeKind::kTimestamp), int64_t{1510871468000001}, "2017-11-16T22%3A31%3A08.000001"},
      {"identity", P(TypeKind::kTimestamptz), int64_t{1510871468000000}, "2017-11-16T22%3A31%3A08%2B00%3A00"},
      {"identity", P(TypeKind::kUuid), "\xf7\x9c\x3e\x09\x67\x7c\x4b\xbd\xa4\x79\x3f\x34\x9c\xb7\x85\xe7"s,
       "f79c3e09-677c-4bbd-a479-3f349cb785e7"},
      {"identity", Type::Decimal(9, 2), Decimal128{-150}, "-1.50"},
      {"identity", Type::Decimal(9, 0), Decimal128{12}, "12"},
      {"identity", Type::Decimal(20, 10), Decimal128{1}, "1E-10"},
      {"identity", Type::Decimal(20, 10), Decimal128{-123}, "-1.23E-8"},
      {"identity", Type::Decimal(20, 6), Decimal128{1}, "0.000001"},
      {"identity", Type::Decimal(20, 7), Decimal128{0}, "0E-7"},
      {"identity", P(TypeKind::kDouble), 1.0, "1.0"},
      {"identity", P(TypeKind::kDouble), -0.0, "-0.0"},
      {"identity", P(TypeKind::kDouble), 1e7, "1.0E7"},
      {"identity", P(TypeKind::kDouble), 9999999.5, "9999999.5"},
      {"identity", P(TypeKind::kDouble), 1.25e-4, "1.25E-4"},
      {"identity", P(TypeKind::kDouble), 1e-100, "1.0E-100"},
      {"identity", P(TypeKind::kDouble), 0.001, "0.001"},
      {"identity", P(TypeKind::kFloat), 0.1f, "0.1"},
      {"identity", P(TypeKind::kFloat), 3.4028235e38f, "3.4028235E38"},
      {"identity", P(TypeKind::kDouble), std::nan(""), "NaN"},
      {"identity", P(TypeKind::kDouble), -std::numeric_limits<double>::infinity(), "-Infinity"},
      {"zorder", P(TypeKind::kInt), "a/b"s, "a%2Fb"},
      {"identity", P(TypeKind::kString), int64_t{5}, "5"},  // the source was dropped: its type is a guess
  };
  for (const PathCase& c : cases) {
    EXPECT_EQ(PartitionPathText(T(c.transform), *c.type, c.value), c.text) << c.transform;
  }
}

TEST(TransformDeathTest, OurOwnMistakesAreCaught) {
  EXPECT_DEATH((void)T("zorder").Apply(*P(TypeKind::kInt), 1), "");
  EXPECT_DEATH((void)T("day").Apply(*P(TypeKind::kTimestamp), 1), "");
  EXPECT_DEATH((void)T("bucket[4]").Apply(*P(TypeKind::kLong), 1), "");
}

}  // namespace
}  // namespace firn::schema
