#include "firn/schema/type_parser.h"

#include <gtest/gtest.h>

#include <limits>

namespace firn::schema {
namespace {

using namespace std::string_literals;

TEST(ParsePrimitiveType, TakesEverySpellingAndWritesJavas) {
  struct Case { const char* text; const char* written; };
  for (auto [text, written] :
       {Case{"boolean", "boolean"}, Case{"int", "int"}, Case{"LONG", "long"}, Case{"float", "float"},
        Case{"double", "double"}, Case{"date", "date"}, Case{"time", "time"}, Case{"timestamp", "timestamp"},
        Case{"timestamptz", "timestamptz"}, Case{"timestamp_ns", "timestamp_ns"},
        Case{"timestamptz_ns", "timestamptz_ns"}, Case{" string ", "string"}, Case{"uuid", "uuid"},
        Case{"binary", "binary"}, Case{"unknown", "unknown"}, Case{"variant", "variant"},
        Case{"decimal(9,2)", "decimal(9, 2)"}, Case{"decimal(9, 2)", "decimal(9, 2)"},
        Case{"decimal ( 38 , 38 )", "decimal(38, 38)"}, Case{"decimal(1,0)", "decimal(1, 0)"},
        Case{"fixed[16]", "fixed[16]"}, Case{"fixed(16)", "fixed[16]"},
        Case{"fixed[ 2147483647 ]", "fixed[2147483647]"},
        Case{"geometry", "geometry"}, Case{"geometry(srid:4326)", "geometry(srid:4326)"},
        Case{"geography(OGC:CRS84, spherical)", "geography(OGC:CRS84, spherical)"}}) {
    auto type = ParsePrimitiveType(text);
    ASSERT_TRUE(type) << text;
    EXPECT_EQ((*type)->ToString(), written);
  }
}

TEST(ParsePrimitiveType, SaysWhatIsWrong) {
  struct Case { std::string text; ErrorCode code; };
  for (const auto& [text, code] : std::vector<Case>{
           {"", ErrorCode::kUnsupported},           {"strng", ErrorCode::kUnsupported},
           {"struct", ErrorCode::kUnsupported},     {"list<int>", ErrorCode::kUnsupported},
           {"int(4)", ErrorCode::kUnsupported},     {"geometry(", ErrorCode::kUnsupported},
           {"geometry[4]", ErrorCode::kUnsupported}, {"interval", ErrorCode::kUnsupported},
           {"decimal", ErrorCode::kInvalidInput},   {"decimal(9)", ErrorCode::kInvalidInput},
           {"decimal()", ErrorCode::kInvalidInput}, {"decimal(0,0)", ErrorCode::kInvalidInput},
           {"decimal(39,2)", ErrorCode::kInvalidInput}, {"decimal(9,10)", ErrorCode::kInvalidInput},
           {"decimal(9,-1)", ErrorCode::kInvalidInput}, {"decimal(9,2", ErrorCode::kInvalidInput},
           {"decimal[9,2]", ErrorCode::kInvalidInput}, {"decimal(9,2,1)", ErrorCode::kInvalidInput},
           {"decimal(99999999999,2)", ErrorCode::kInvalidInput}, {"fixed", ErrorCode::kInvalidInput},
           {"fixed[0]", ErrorCode::kInvalidInput},  {"fixed[-1]", ErrorCode::kInvalidInput},
           {"fixed[2147483648]", ErrorCode::kInvalidInput}, {"fixed[16)", ErrorCode::kInvalidInput},
           {"fixed[]", ErrorCode::kInvalidInput},   {"string\0"s, ErrorCode::kUnsupported},
           {std::string(100000, 'a'), ErrorCode::kUnsupported}}) {
    auto type = ParsePrimitiveType(text);
    ASSERT_FALSE(type) << text;
    EXPECT_EQ(type.error().code(), code) << text;
  }
}

TEST(ParsePrimitiveType, NamesTheNearestType) {
  struct Case { const char* text; const char* nearest; };
  for (auto [text, nearest] : {Case{"strng", "string"}, Case{"timestamp_tz", "timestamptz"}, Case{"bigint", "long"},
                               Case{"varchar(20)", "string"}, Case{"array<int>", "list"}, Case{"lnog", "long"}}) {
    auto type = ParsePrimitiveType(text);
    ASSERT_FALSE(type);
    EXPECT_NE(type.error().message().find("did you mean "s + nearest + "?"), std::string::npos)
        << type.error().message();
  }
}

TEST(ParseTypeText, BuildsNestedTypesAndNumbersThem) {
  struct Case { const char* text; const char* printed; int32_t next; };
  for (auto [text, printed, next] :
       {Case{"string", "string", 100}, Case{"fixed(16)", "fixed[16]", 100}, Case{"list<string>", "list<string>", 101},
        Case{"map<string, long>", "map<string, long>", 102},
        Case{" STRUCT < ip : string , port : int NOT  NULL > ",
             "struct<100: ip: optional string, 101: port: required int>", 102},
        Case{"struct<a: list<struct<b: decimal(9,2)>>, c: int>",
             "struct<100: a: optional list<struct<102: b: optional decimal(9, 2)>>, 103: c: optional int>", 104},
        Case{"struct<`a b`: int, \"c:d\": int, e f: int>",
             "struct<100: a b: optional int, 101: c:d: optional int, 102: e f: optional int>", 103},
        Case{"struct<not null: int>", "struct<100: not null: optional int>", 101},
        Case{"map<fixed[4], geometry(srid:1)>", "map<fixed[4], geometry(srid:1)>", 102}}) {
    int32_t id = 100;
    auto type = ParseTypeText(text, id);
    ASSERT_TRUE(type) << text << ": " << type.error().ToString();
    EXPECT_EQ((*type)->ToString(), printed);
    EXPECT_EQ(id, next) << text;
  }
}

TEST(ParseTypeText, ElementsAndValuesMayBeRequired) {
  int32_t id = 1;
  auto list = ParseTypeText("list<int not null>", id);
  ASSERT_TRUE(list);
  EXPECT_TRUE((*list)->element().required);
  EXPECT_EQ((*list)->element().id, FieldId{1});
  auto map = ParseTypeText("map<int, int not null>", id);
  ASSERT_TRUE(map);
  EXPECT_TRUE((*map)->key().required);
  EXPECT_TRUE((*map)->value().required);
  EXPECT_EQ((*map)->value().id, FieldId{3});
  EXPECT_FALSE((*ParseTypeText("list<int>", id))->element().required);
}

TEST(ParseTypeText, RefusesAndLeavesTheCounterAlone) {
  for (const std::string& text : std::vector<std::string>{
           "", " ", "<", ">", "list", "list<", "list<>", "list<int", "list<int,", "list<int>>", "list<int> x",
           "list int", "map<int>", "map<int,>", "map<,int>", "map<int int>", "map<int, int, int>", "struct<>",
           "struct<a>", "struct<a:>", "struct<:int>", "struct<a int>", "struct<a: int", "struct<a: int,>",
           "struct<a: int, a: long>", "struct<a: int b: int>", "struct<`a: int>", "struct<``: int>",
           "struct<a: int not>", "struct<a: int not nul>", "struct<a: int notnull>", "string not null", "strng",
           "list<strng>", "decimal(9,2", "decimal(9,2)>", "list<decimal(9>", "fixed[4", "int, int", "string\0"s,
           "list<\xff\xfe>", std::string((1 << 20) + 1, ' ')}) {
    int32_t id = 7;
    auto type = ParseTypeText(text, id);
    ASSERT_FALSE(type) << text;
    EXPECT_EQ(type.error().code(), ErrorCode::kInvalidInput) << text;
    EXPECT_EQ(id, 7);
    EXPECT_LT(type.error().message().size(), 600U);
  }
}

std::string NestedLists(int32_t levels) {
  std::string text;
  for (int32_t i = 1; i < levels; ++i) text += "list<";
  text += "int";
  for (int32_t i = 1; i < levels; ++i) text += ">";
  return text;
}

TEST(ParseTypeText, LimitsDepthAndIds) {
  int32_t id = 1;
  EXPECT_TRUE(ParseTypeText(NestedLists(kTypeDepthMax), id));
  EXPECT_FALSE(ParseTypeText(NestedLists(kTypeDepthMax + 1), id));
  EXPECT_FALSE(ParseTypeText(NestedLists(100000), id));
  id = kReservedFieldIdMin - 1;
  EXPECT_TRUE(ParseTypeText("list<int>", id));
  EXPECT_FALSE(ParseTypeText("list<int>", id));
  id = std::numeric_limits<int32_t>::max();
  EXPECT_FALSE(ParseTypeText("list<int>", id));
  EXPECT_TRUE(ParseTypeText("int", id));
}

}  // namespace
}  // namespace firn::schema
