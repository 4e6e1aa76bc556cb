#include "firn/schema/type.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace firn::schema {
namespace {

using ::testing::ElementsAre;

TypePtr P(TypeKind kind) { return Type::Primitive(kind); }
Field Make(int32_t id, std::string name, TypePtr type, bool required = false) {
  return Field{FieldId{id}, std::move(name), std::move(type), required};
}

// src: struct<ip, ports: list<struct<from, to>>>, tags: map<string, struct<x>>, plus names with dots in them.
Schema Nested() {
  TypePtr range = Type::Struct({Make(6, "from", P(TypeKind::kInt)), Make(7, "to", P(TypeKind::kInt))});
  TypePtr source = Type::Struct({Make(3, "ip", P(TypeKind::kString), true),
                                 Make(4, "ports", Type::List(Make(5, "", range)))});
  TypePtr tags = Type::Map(Make(9, "", P(TypeKind::kString)),
                           Make(10, "", Type::Struct({Make(11, "x", P(TypeKind::kDouble))})));
  Schema schema;
  schema.fields = {Make(1, "time", P(TypeKind::kTimestamptz), true), Make(2, "src", source, true),
                   Make(8, "tags", tags), Make(12, "src.ip", P(TypeKind::kLong)),
                   Make(13, "nothing", P(TypeKind::kUnknown))};
  return schema;
}

TEST(Type, FindsFieldsAtAnyDepth) {
  Schema schema = Nested();
  for (int32_t id = 1; id <= 13; ++id) {
    ASSERT_NE(schema.FindById(FieldId{id}), nullptr) << id;
    EXPECT_EQ(schema.FindById(FieldId{id})->id, FieldId{id});
  }
  EXPECT_EQ(schema.FindById(FieldId{14}), nullptr);
  EXPECT_EQ(schema.HighestFieldId(), 13);
  EXPECT_EQ(Schema{}.HighestFieldId(), 0);
  EXPECT_EQ(schema.NameOf(FieldId{7}), "src.ports.element.to");
  EXPECT_EQ(schema.NameOf(FieldId{11}), "tags.value.x");
  EXPECT_EQ(schema.NameOf(FieldId{99}), "");
  ASSERT_EQ(schema.PathTo(FieldId{7}).size(), 4U);
  EXPECT_EQ(schema.PathTo(FieldId{7})[1]->name, "ports");
}

TEST(Type, FindsFieldsByDottedName) {
  Schema schema = Nested();
  struct Case { std::string_view name; int32_t id; };
  for (auto [name, id] : {Case{"time", 1}, Case{"src", 2}, Case{"src.ports.element", 5}, Case{"tags.key", 9},
                          Case{"src.ports.element.from", 6}, Case{"tags.value.x", 11}, Case{"src.ip", 3}}) {
    ASSERT_NE(schema.FindByName(name), nullptr) << name;
    EXPECT_EQ(schema.FindByName(name)->id, FieldId{id}) << name;
  }
  for (std::string_view name : {"", ".", "tim", "time.", "time.x", "src.", "src..ip", "src.ip.x", "ports", "TIME"}) {
    EXPECT_EQ(schema.FindByName(name), nullptr) << name;
  }
}

TEST(Type, NamesWithDotsAreFoundBehindShorterPrefixes) {
  Schema schema;
  schema.fields = {Make(1, "a", Type::Struct({Make(2, "b", P(TypeKind::kInt))})), Make(3, "a.c", P(TypeKind::kInt)),
                   Make(4, "a.b", Type::Struct({Make(5, "d", P(TypeKind::kInt))}))};
  EXPECT_EQ(schema.FindByName("a.c")->id, FieldId{3});
  EXPECT_EQ(schema.FindByName("a.b.d")->id, FieldId{5});
  EXPECT_EQ(schema.FindByName("a.b")->id, FieldId{2});
}

TEST(Type, LeavesComeInParquetOrderWithoutUnknown) {
  Schema schema = Nested();
  std::vector<std::string> names;
  std::vector<bool> repeated;
  for (const LeafColumn& leaf : LeafColumns(schema)) {
    names.push_back(leaf.name);
    repeated.push_back(leaf.in_list_or_map);
  }
  EXPECT_THAT(names, ElementsAre("time", "src.ip", "src.ports.element.from", "src.ports.element.to", "tags.key",
                                 "tags.value.x", "src.ip"));
  EXPECT_THAT(repeated, ElementsAre(false, false, true, true, true, true, false));
}

TEST(Type, EqualityLooksAtEverythingButDocsAndDefaults) {
  Field field = Make(1, "a", Type::Decimal(9, 2));
  Field same = field;
  same.doc = "words";
  same.write_default_json = "\"1.00\"";
  EXPECT_TRUE(field == same);
  for (auto change : {+[](Field& f) { f.id = FieldId{2}; }, +[](Field& f) { f.name = "b"; },
                      +[](Field& f) { f.required = true; }, +[](Field& f) { f.type = Type::Decimal(9, 3); },
                      +[](Field& f) { f.type = Type::Decimal(8, 2); }, +[](Field& f) { f.type = Type::Fixed(9); }}) {
    Field other = field;
    change(other);
    EXPECT_FALSE(field == other);
  }
  EXPECT_FALSE(*Type::Fixed(3) == *Type::Fixed(4));
  EXPECT_FALSE(*Type::Opaque(TypeKind::kGeometry, "geometry(A)") == *P(TypeKind::kGeometry));
  EXPECT_FALSE(*Type::List(Make(1, "", P(TypeKind::kInt))) == *Type::List(Make(1, "", P(TypeKind::kInt), true)));
}

TEST(Type, PrintsItself) {
  EXPECT_EQ(Type::Decimal(9, 2)->ToString(), "decimal(9, 2)");
  EXPECT_EQ(Type::Fixed(16)->ToString(), "fixed[16]");
  EXPECT_EQ(P(TypeKind::kTimestamptzNs)->ToString(), "timestamptz_ns");
  EXPECT_EQ(P(TypeKind::kGeography)->ToString(), "geography");
  EXPECT_EQ(Type::Struct({Make(1, "a", P(TypeKind::kInt)), Make(2, "b", P(TypeKind::kLong), true)})->ToString(),
            "struct<1: a: optional int, 2: b: required long>");
}

TEST(Type, MapKeysAreAlwaysRequired) {
  TypePtr map = Type::Map(Make(1, "k", P(TypeKind::kString)), Make(2, "v", P(TypeKind::kString)));
  EXPECT_TRUE(map->key().required);
  EXPECT_FALSE(map->value().required);
  EXPECT_EQ(map->key().name, "key");
  EXPECT_EQ(map->value().name, "value");
}

TEST(Type, FormatVersionFollowsTypesAndDefaultsAtAnyDepth) {
  Schema schema;
  schema.fields = {Make(1, "a", P(TypeKind::kTimestamp))};
  EXPECT_EQ(RequiredFormatVersion(schema), 1);
  schema.fields[0].initial_default_json = "0";
  EXPECT_EQ(RequiredFormatVersion(schema), 3);
  for (TypeKind kind : {TypeKind::kTimestampNs, TypeKind::kTimestamptzNs, TypeKind::kUnknown, TypeKind::kVariant,
                        TypeKind::kGeometry, TypeKind::kGeography}) {
    schema.fields = {Make(1, "a", Type::List(Make(2, "", Type::Struct({Make(3, "x", P(kind))}))))};
    EXPECT_EQ(RequiredFormatVersion(schema), 3);
  }
}

}  // namespace
}  // namespace firn::schema
