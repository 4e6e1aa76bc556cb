#include "firn/ingest/column_sources.h"

#include <gtest/gtest.h>

namespace firn::ingest {
namespace {

using schema::Field;
using schema::Type;
using schema::TypeKind;

Field MakeField(int32_t id, std::string name, schema::TypePtr type) {
  Field field;
  field.id = FieldId{id};
  field.name = std::move(name);
  field.type = std::move(type);
  return field;
}

// time, src: struct<ip>, tags: list<struct<at>>, _kafka: struct<topic>
schema::Schema MakeSchema() {
  schema::TypePtr text = Type::Primitive(TypeKind::kString);
  schema::TypePtr time = Type::Primitive(TypeKind::kTimestamptz);
  schema::Schema schema;
  schema.fields = {
      MakeField(1, "time", time),
      MakeField(2, "src", Type::Struct({MakeField(3, "ip", text)})),
      MakeField(4, "tags", Type::List(MakeField(5, "element", Type::Struct({MakeField(6, "at", time)})))),
      MakeField(7, "_kafka", Type::Struct({MakeField(8, "topic", text)})),
  };
  return schema;
}

decode::json::JsonDecoderOptions Options() {
  decode::json::JsonDecoderOptions options;
  options.kafka_column = "_kafka";
  return options;
}

using Path = std::vector<std::string>;

TEST(DecoderSources, ColumnsFilledByTheirOwnNameNeedNone) {
  schema::Schema schema = MakeSchema();
  EXPECT_TRUE(DecoderSources(schema, ResolveSources(schema, {}, {}), Options()).empty());
}

TEST(DecoderSources, OwnPathsAndUnitsAreKept) {
  schema::Schema schema = MakeSchema();
  ColumnSourcesByName configured;
  configured["src"].path = {"source"};
  configured["time"].epoch_unit = decode::json::EpochUnit::kSeconds;
  configured["tags.element.at"].epoch_unit = decode::json::EpochUnit::kMicros;
  ColumnSourcesById needed = DecoderSources(schema, ResolveSources(schema, configured, {}), Options());
  ASSERT_EQ(needed.size(), 3U);
  EXPECT_EQ(needed.at(FieldId{2}).path, Path{"source"});
  EXPECT_FALSE(needed.contains(FieldId{3}));  // below its parent's path, by its own name
  EXPECT_TRUE(needed.at(FieldId{1}).path.empty());
  EXPECT_TRUE(needed.at(FieldId{6}).path.empty());
  EXPECT_EQ(needed.at(FieldId{6}).epoch_unit, decode::json::EpochUnit::kMicros);
}

TEST(DecoderSources, ARenamedColumnKeepsTheFieldThatFilledIt) {
  schema::Schema schema = MakeSchema();
  ColumnSourcesById remembered = ResolveSources(schema, {}, {});
  schema.fields[1] =
      MakeField(2, "source", Type::Struct({MakeField(3, "address", Type::Primitive(TypeKind::kString))}));
  ColumnSourcesById needed = DecoderSources(schema, ResolveSources(schema, {}, remembered), Options());
  EXPECT_EQ(needed.at(FieldId{2}).path, Path{"src"});
  EXPECT_EQ(needed.at(FieldId{3}).path, (Path{"src", "ip"}));
  EXPECT_EQ(needed.size(), 2U);
}

}  // namespace
}  // namespace firn::ingest
