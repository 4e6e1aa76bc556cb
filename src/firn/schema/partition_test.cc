#include "firn/schema/partition.h"

#include <gtest/gtest.h>

namespace firn::schema {
namespace {

using namespace std::string_literals;

TypePtr P(TypeKind kind) { return Type::Primitive(kind); }
Field Make(int32_t id, std::string name, TypePtr type) { return Field{FieldId{id}, std::move(name), std::move(type)}; }

Schema Events() {
  Schema schema;
  schema.fields = {Make(1, "time", P(TypeKind::kTimestamptz)),
                   Make(2, "src", Type::Struct({Make(3, "ip", P(TypeKind::kString)),
                                                Make(4, "port", P(TypeKind::kInt))})),
                   Make(5, "name", P(TypeKind::kString)),
                   Make(6, "tags", Type::List(Make(7, "", P(TypeKind::kString)))),
                   Make(8, "ratio", P(TypeKind::kDouble)),
                   Make(9, "time_day", P(TypeKind::kDate)),
                   Make(10, "odd name (x) desc", P(TypeKind::kInt)),
                   Make(11, "basc", P(TypeKind::kInt))};
  return schema;
}

Transform T(std::string_view text) { return *Transform::Parse(text); }

struct SpecCase {
  std::string text;
  int32_t source_id;
  const char* transform;
  const char* name;
};

TEST(ParsePartitionSpec, HumanForms) {
  for (const SpecCase& c : std::vector<SpecCase>{
           {"hour(time)", 1, "hour", "time_hour"},
           {"  HOURS ( time ) ", 1, "hour", "time_hour"},
           {"months(time)", 1, "month", "time_month"},
           {"year(time)", 1, "year", "time_year"},
           {"day(time) as event_day", 1, "day", "event_day"},
           {"day(time)  AS  `event day`", 1, "day", "event day"},
           {"bucket(16, src.ip)", 3, "bucket[16]", "src.ip_bucket"},
           {"bucket( 16 ,src.port )", 4, "bucket[16]", "src.port_bucket"},
           {"truncate(8, name)", 5, "truncate[8]", "name_trunc"},
           {"name", 5, "identity", "name"},
           {"identity(name)", 5, "identity", "name"},
           {"src.ip", 3, "identity", "src.ip"},
           {"`name`", 5, "identity", "name"},
           {"void(ratio)", 8, "void", "ratio_null"},
           {"name as who", 5, "identity", "who"},
           {"odd name (x) desc", 10, "identity", "odd name (x) desc"},
           {"bucket(4, \"odd name (x) desc\")", 10, "bucket[4]", "odd name (x) desc_bucket"},
           {"years(time_day)", 9, "year", "time_day_year"}}) {
    auto spec = ParsePartitionSpec({c.text}, Events());
    ASSERT_TRUE(spec) << c.text << ": " << spec.error().ToString();
    ASSERT_EQ(spec->fields.size(), 1U);
    const PartitionField& field = spec->fields[0];
    EXPECT_EQ(field.source_id, FieldId{c.source_id}) << c.text;
    EXPECT_EQ(field.field_id, FieldId{1000});
    EXPECT_EQ(field.transform, T(c.transform)) << c.text;
    EXPECT_EQ(field.name, c.name);
  }
}

TEST(ParsePartitionSpec, NumbersItsFields) {
  auto spec = ParsePartitionSpec({"hour(time)", "bucket(4, src.ip)", "name"}, Events());
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->spec_id, 0);
  EXPECT_EQ(spec->fields[2].field_id, FieldId{1002});
  auto empty = ParsePartitionSpec({}, Events());
  ASSERT_TRUE(empty);
  EXPECT_TRUE(empty->is_unpartitioned());
}

TEST(ParsePartitionSpec, RefusesWithInvalidInput) {
  using Texts = std::vector<std::string>;
  for (const Texts& texts : std::vector<Texts>{
           {""}, {" "}, {"()"}, {"day()"}, {"day(time"}, {"day time)"}, {"day(tme)"}, {"tme"}, {"daj(time)"},
           {"day(name)"}, {"hour(time_day)"}, {"bucket(name)"}, {"bucket(0, name)"}, {"bucket(-1, name)"},
           {"bucket(99999999999, name)"}, {"bucket(x, name)"}, {"bucket(, name)"}, {"bucket(16 name)"},
           {"bucket(16,)"}, {"bucket(16, ratio)"}, {"truncate(4, time)"}, {"src"}, {"tags"}, {"tags.element"},
           {"void(tags)"}, {"day(time) extra"}, {"day(time) as "}, {"day(time) as ``"}, {"day(day(time))"},
           {"day(time)"},                            // time_day is a column
           {"name as time"},                         // so is time
           {"name", "name"}, {"name as a", "name as b"}, {"day(time) as a", "hour(time) as b"},
           {"name as x", "src.ip as x"}, {"bucket(4, name)", "bucket(8, name)"}, {std::string(5000, 'x')},
           {std::string(5000, 'x') + "(name)"}, {"day(time)\0"s}}) {
    auto spec = ParsePartitionSpec(texts, Events());
    ASSERT_FALSE(spec) << texts[0];
    EXPECT_EQ(spec.error().code(), ErrorCode::kInvalidInput) << texts[0];
  }
}

struct SortCase {
  std::string text;
  int32_t source_id;
  const char* transform;
  bool descending;
  bool nulls_first;
};

TEST(ParseSortOrder, HumanForms) {
  for (const SortCase& c : std::vector<SortCase>{
           {"time", 1, "identity", false, true},
           {"time asc", 1, "identity", false, true},
           {"time desc", 1, "identity", true, false},
           {"time DESC NULLS FIRST", 1, "identity", true, true},
           {"time nulls last", 1, "identity", false, false},
           {" time  asc   nulls  last ", 1, "identity", false, false},
           {"bucket(16, src.ip) asc nulls last", 3, "bucket[16]", false, false},
           {"hour(time)desc", 1, "hour", true, false},
           {"odd name (x) desc", 10, "identity", false, true},
           {"`odd name (x) desc` desc", 10, "identity", true, false},
           {"basc", 11, "identity", false, true}}) {
    auto order = ParseSortOrder({c.text}, Events());
    ASSERT_TRUE(order) << c.text << ": " << order.error().ToString();
    EXPECT_EQ(order->order_id, 1);
    const SortField& field = order->fields.at(0);
    EXPECT_EQ(field.source_id, FieldId{c.source_id}) << c.text;
    EXPECT_EQ(field.transform, T(c.transform)) << c.text;
    EXPECT_EQ(field.direction == SortDirection::kDescending, c.descending) << c.text;
    EXPECT_EQ(field.null_order == NullOrder::kNullsFirst, c.nulls_first) << c.text;
  }
  EXPECT_EQ(ParseSortOrder({}, Events())->order_id, 0);
}

TEST(ParseSortOrder, RefusesWithInvalidInput) {
  using Texts = std::vector<std::string>;
  for (const Texts& texts : std::vector<Texts>{
           {""}, {"desc"}, {"nulls last"}, {"time down"}, {"time desc asc"}, {"time nulls"}, {"time nulls middle"},
           {"time last"}, {"timedesc"}, {"tags"}, {"src"}, {"day(name)"}, {"time", "time desc"}}) {
    auto order = ParseSortOrder(texts, Events());
    ASSERT_FALSE(order) << texts[0];
    EXPECT_EQ(order.error().code(), ErrorCode::kInvalidInput) << texts[0];
  }
}

PartitionField F(int32_t source, int32_t id, std::string name, std::string_view transform) {
  return PartitionField{FieldId{source}, FieldId{id}, std::move(name), T(transform)};
}

TEST(PartitionType, FollowsTransformsAndSurvivesDroppedSources) {
  PartitionSpec spec{0, {F(1, 1000, "d", "day"), F(3, 1001, "b", "bucket[4]"), F(5, 1002, "n", "truncate[2]"),
                         F(99, 1003, "gone", "identity"), F(99, 1004, "gone_day", "day"),
                         F(99, 1005, "gone_bucket", "bucket[4]"), F(5, 1006, "z", "zorder"), F(8, 1007, "v", "void")}};
  auto type = PartitionType(spec, Events());
  ASSERT_TRUE(type);
  TypePtr expected = Type::Struct({Make(1000, "d", P(TypeKind::kDate)), Make(1001, "b", P(TypeKind::kInt)),
                                   Make(1002, "n", P(TypeKind::kString)), Make(1003, "gone", P(TypeKind::kString)),
                                   Make(1004, "gone_day", P(TypeKind::kDate)),
                                   Make(1005, "gone_bucket", P(TypeKind::kInt)), Make(1006, "z", P(TypeKind::kString)),
                                   Make(1007, "v", P(TypeKind::kDouble))});
  EXPECT_TRUE(**type == *expected) << (*type)->ToString();
  auto refused = PartitionType(PartitionSpec{0, {F(5, 1000, "x", "day")}}, Events());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidInput);
}

TEST(CheckWritable, RefusesWhatCannotBeComputed) {
  EXPECT_TRUE(CheckWritable(PartitionSpec{}, Events()));
  EXPECT_TRUE(CheckWritable(PartitionSpec{0, {F(1, 1000, "d", "day"), F(99, 1001, "gone", "void")}}, Events()));
  for (const PartitionField& field : {F(1, 1000, "z", "zorder"), F(99, 1000, "gone", "bucket[4]"),
                                      F(5, 1000, "x", "day")}) {
    auto status = CheckWritable(PartitionSpec{0, {field}}, Events());
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code(), ErrorCode::kUnsupported);
  }
}

TEST(CheckWritable, RefusesSortOrdersThatCannotBeComputed) {
  Schema schema = Events();
  auto list = Type::List({FieldId{61}, "", Type::Primitive(TypeKind::kInt)});
  schema.fields.push_back({FieldId{60}, "list", list});
  schema.fields.push_back({FieldId{62}, "nothing", Type::Primitive(TypeKind::kUnknown)});
  auto check = [&](int32_t source, std::string_view transform) {
    return CheckWritable(SortOrder{1, {SortField{FieldId{source}, Transform::Parse(transform).value()}}}, schema);
  };
  EXPECT_TRUE(CheckWritable(SortOrder{}, schema));
  EXPECT_TRUE(check(1, "day"));
  EXPECT_TRUE(check(5, "identity"));
  EXPECT_TRUE(check(99, "void"));
  struct Case { int32_t source; std::string_view transform; };
  for (auto [source, transform] : {Case{1, "zorder"}, Case{99, "identity"}, Case{5, "day"}, Case{60, "identity"},
                                   Case{61, "identity"}, Case{62, "identity"}}) {
    auto status = check(source, transform);
    ASSERT_FALSE(status) << source << " " << transform;
    EXPECT_EQ(status.error().code(), ErrorCode::kUnsupported);
  }
}

TEST(SamePartition, GoesByValuesAcrossPromotions) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(SamePartition({int32_t{5}, nan}, {int64_t{5}, nan}));
  EXPECT_TRUE(SamePartition({1.5F}, {1.5}));
  EXPECT_TRUE(SamePartition({Value(), std::string("x")}, {Value(), std::string("x")}));
  EXPECT_FALSE(SamePartition({int32_t{5}}, {int64_t{6}}));
  EXPECT_FALSE(SamePartition({Value()}, {std::string("null")}));
  EXPECT_FALSE(SamePartition({int32_t{1}}, {std::string("1")}));
}

TEST(PartitionPath, JoinsEncodedNamesAndValues) {
  PartitionSpec spec{0, {F(1, 1000, "event_day", "day"), F(3, 1001, "ip bucket", "bucket[4]"),
                         F(5, 1002, "name", "identity")}};
  EXPECT_EQ(PartitionPath(spec, Events(), {19737, 3, "a/b"s}), "event_day=2024-01-15/ip+bucket=3/name=a%2Fb");
  EXPECT_EQ(PartitionPath(spec, Events(), {Value(), Value(), Value()}), "event_day=null/ip+bucket=null/name=null");
  EXPECT_EQ(PartitionPath(PartitionSpec{}, Events(), {}), "");
  EXPECT_EQ(PartitionPath(PartitionSpec{1, {F(5, 1000, "v", "void")}}, Events(), {Value()}), "");
  PartitionSpec dropped{0, {F(99, 1000, "gone", "identity"), F(98, 1001, "old", "void")}};
  EXPECT_EQ(PartitionPath(dropped, Events(), {int64_t{7}, Value()}), "gone=7/old=null");
}

}  // namespace
}  // namespace firn::schema
