#include "firn/schema/schema_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace firn::schema {
namespace {

using nlohmann::json;

// As Java writes a v3 table's schema: every kind of type, docs, defaults, identifier fields, a member of the future.
constexpr const char* kSchema = R"json({
  "type": "struct", "schema-id": 3, "identifier-field-ids": [1], "future": {"x": [1]},
  "fields": [
    {"id": 1, "name": "id", "required": true, "type": "long", "doc": "the key", "future": 1},
    {"id": 2, "name": "price", "required": false, "type": "decimal(9, 2)", "initial-default": "1.50",
     "write-default": "2.00"},
    {"id": 3, "name": "tags", "required": false, "type":
      {"type": "map", "key-id": 4, "key": "string", "value-id": 5, "value-required": false, "value":
        {"type": "list", "element-id": 6, "element-required": true, "element":
          {"type": "struct", "fields": [{"id": 7, "name": "hash", "required": false, "type": "fixed[16]"}]}}}},
    {"id": 8, "name": "at", "required": false, "type": "timestamptz_ns"},
    {"id": 9, "name": "where", "required": false, "type": "geometry(srid:4326)"},
    {"id": 10, "name": "any", "required": false, "type": "variant"},
    {"id": 11, "name": "none", "required": false, "type": "unknown"}]})json";

TEST(SchemaJson, ReadsAndWritesASchemaWithEverything) {
  json document = json::parse(kSchema);
  auto schema = SchemaFromJson(document);
  ASSERT_TRUE(schema) << schema.error().ToString();
  EXPECT_EQ(schema->schema_id, 3);
  EXPECT_EQ(schema->NameOf(FieldId{7}), "tags.value.element.hash");
  EXPECT_EQ(schema->fields[0].doc, "the key");
  EXPECT_EQ(schema->fields[1].initial_default_json, "\"1.50\"");
  EXPECT_EQ(schema->identifier_field_ids, std::vector<FieldId>{FieldId{1}});
  EXPECT_TRUE(schema->FindById(FieldId{6})->required);
  document.erase("future");
  document["fields"][0].erase("future");
  EXPECT_EQ(ToJson(*schema), document);
}

TEST(SchemaJson, WritesJavasSpellingOfDecimal) {
  EXPECT_EQ(ToJson(**TypeFromJson(json("decimal(9,2)"))), json("decimal(9, 2)"));
  EXPECT_EQ(ToJson(**TypeFromJson(json("FIXED[ 16 ]"))), json("fixed[16]"));
}

TEST(SchemaJson, TakesWhatOldAndOtherWritersLeaveOut) {
  auto schema = SchemaFromJson(json::parse(R"json({"type":"struct","fields":[
      {"id":1,"name":"a","required":false,"type":"int","doc":null,"initial-default":null}],
      "identifier-field-ids":null})json"));
  ASSERT_TRUE(schema);
  EXPECT_EQ(schema->schema_id, 0);
  EXPECT_TRUE(schema->fields[0].initial_default_json.empty());
  EXPECT_EQ(RequiredFormatVersion(*schema), 1);
  EXPECT_TRUE(SchemaFromJson(json::parse(R"json({"fields":[]})json")));
}

// Each row: a JSON pointer into kSchema and what to put there; an empty text removes the member.
TEST(SchemaJson, BrokenStructureIsCorruption) {
  struct Case { const char* pointer; const char* value; };
  for (auto [pointer, value] :
       {Case{"/fields", ""}, Case{"/fields", "{}"}, Case{"/fields", "7"}, Case{"/schema-id", "\"3\""},
        Case{"/schema-id", "3.5"}, Case{"/schema-id", "2147483648"}, Case{"/schema-id", "18446744073709551615"},
        Case{"/schema-id", "-2147483649"}, Case{"/identifier-field-ids", "[\"1\"]"},
        Case{"/identifier-field-ids", "[99]"}, Case{"/identifier-field-ids", "1"}, Case{"/fields/0", "null"},
        Case{"/fields/0", "[]"}, Case{"/fields/0/id", ""}, Case{"/fields/0/id", "-1"}, Case{"/fields/0/id", "1.0"},
        Case{"/fields/0/id", "true"}, Case{"/fields/0/id", "2"}, Case{"/fields/0/id", "7"},
        Case{"/fields/0/name", ""}, Case{"/fields/0/name", "1"}, Case{"/fields/0/name", "\"price\""},
        Case{"/fields/0/required", ""}, Case{"/fields/0/required", "\"true\""}, Case{"/fields/0/type", ""},
        Case{"/fields/0/type", "null"}, Case{"/fields/0/type", "4"}, Case{"/fields/0/type", "[]"},
        Case{"/fields/0/type", "{}"}, Case{"/fields/0/type", "{\"type\":\"union\"}"},
        Case{"/fields/0/type", "{\"type\":{}}"}, Case{"/fields/0/type", "\"decimal(99, 2)\""},
        Case{"/fields/0/type", "\"fixed[0]\""}, Case{"/fields/2/type/key", ""}, Case{"/fields/2/type/key-id", ""},
        Case{"/fields/2/type/key-id", "5"}, Case{"/fields/2/type/value", ""}, Case{"/fields/2/type/value-id", ""},
        Case{"/fields/2/type/value-required", ""}, Case{"/fields/2/type/value/element", ""},
        Case{"/fields/2/type/value/element-id", ""}, Case{"/fields/2/type/value/element-required", ""},
        Case{"/fields/2/type/value/element/fields", "\"x\""}}) {
    json document = json::parse(kSchema);
    json::json_pointer at(pointer);
    if (*value == '\0') {
      document[at.parent_pointer()].erase(at.back());
    } else {
      document[at] = json::parse(value);
    }
    auto schema = SchemaFromJson(document);
    ASSERT_FALSE(schema) << pointer << " " << value;
    EXPECT_EQ(schema.error().code(), ErrorCode::kCorruption) << pointer << " " << value;
  }
  for (const char* text : {"null", "[]", "7", "\"struct\"", "{}"}) {
    auto schema = SchemaFromJson(json::parse(text));
    ASSERT_FALSE(schema) << text;
    EXPECT_EQ(schema.error().code(), ErrorCode::kCorruption);
  }
}

TEST(SchemaJson, TypesOfTheFutureAreUnsupportedNotCorrupt) {
  json document = json::parse(kSchema);
  document["fields"][0]["type"] = "interval";
  auto schema = SchemaFromJson(document);
  ASSERT_FALSE(schema);
  EXPECT_EQ(schema.error().code(), ErrorCode::kUnsupported);
}

TEST(SchemaJson, DepthIsBounded) {
  auto nested = [](int levels) {
    json type = "int";
    for (int i = 0; i < levels; ++i) {
      type = {{"type", "list"}, {"element-id", i}, {"element-required", false}, {"element", std::move(type)}};
    }
    return type;
  };
  EXPECT_TRUE(TypeFromJson(nested(kTypeDepthMax - 1)));
  EXPECT_FALSE(TypeFromJson(nested(kTypeDepthMax)));
  json column = {{"id", 1000}, {"name", "a"}, {"required", false}, {"type", nested(kTypeDepthMax - 1)}};
  auto deepest = SchemaFromJson({{"fields", json::array({column})}});
  ASSERT_TRUE(deepest);
  deepest->fields[0].type = Type::List(Field{FieldId{1001}, "", deepest->fields[0].type});
  EXPECT_FALSE(SchemaFromJson(ToJson(*deepest)));
  auto deep = TypeFromJson(nested(5000));
  ASSERT_FALSE(deep);
  EXPECT_EQ(deep.error().code(), ErrorCode::kCorruption);

  // Parsed in place: even copying such a document would recurse as deep as it is.
  std::string brackets = std::string(100000, '[') + std::string(100000, ']');
  for (std::string member : {"\"type\":\"int\",\"write-default\":", "\"type\":"}) {
    auto schema = SchemaFromJson(
        json::parse("{\"fields\":[{\"id\":1,\"name\":\"a\",\"required\":false," + member + brackets + "}]}"));
    ASSERT_FALSE(schema) << member;
    EXPECT_EQ(schema.error().code(), ErrorCode::kCorruption);
  }
}

constexpr const char* kSpec = R"json({"spec-id": 2, "fields": [
  {"source-id": 4, "field-id": 1000, "name": "ts_day", "transform": "day"},
  {"source-id": 1, "field-id": 1001, "name": "id_bucket", "transform": "bucket[16]"},
  {"source-id": 1, "field-id": 1005, "name": "z", "transform": "zorder[3]"}]})json";

TEST(PartitionSpecJson, ReadsAndWrites) {
  json document = json::parse(kSpec);
  auto spec = PartitionSpecFromJson(document);
  ASSERT_TRUE(spec) << spec.error().ToString();
  EXPECT_EQ(spec->spec_id, 2);
  ASSERT_EQ(spec->fields.size(), 3U);
  EXPECT_EQ(spec->fields[1].transform, (Transform{TransformKind::kBucket, 16, ""}));
  EXPECT_EQ(spec->fields[2].transform.kind, TransformKind::kUnknown);
  EXPECT_EQ(ToJson(*spec), document);
  EXPECT_EQ(PartitionFieldsToJson(*spec), document["fields"]);
  EXPECT_EQ(PartitionFieldsToJson(PartitionSpec{}), json::array());
}

TEST(PartitionSpecJson, TakesTheBareArrayOfManifestsAndV1) {
  auto spec = PartitionSpecFromJson(json::parse(R"json([{"source-id":4,"name":"a","transform":"day"},
                                                    {"source-id":1,"name":"b","transform":"identity"}])json"));
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->spec_id, 0);
  EXPECT_EQ(spec->fields[0].field_id, FieldId{1000});
  EXPECT_EQ(spec->fields[1].field_id, FieldId{1001});
}

TEST(PartitionSpecJson, TransformsOfSeveralArgumentsAreUnknownButKept) {
  json document = json::parse(R"json({"spec-id":0,"fields":[
      {"source-ids":[1,2],"field-id":1000,"name":"multi","transform":"bucket[4]"}]})json");
  auto spec = PartitionSpecFromJson(document);
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->fields[0].transform.kind, TransformKind::kUnknown);
  EXPECT_EQ(spec->fields[0].source_id, FieldId{1});
  EXPECT_EQ(ToJson(*spec), document);

  document["fields"][0]["source-ids"] = {5};
  spec = PartitionSpecFromJson(document);
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->fields[0].transform.kind, TransformKind::kBucket);
  EXPECT_EQ(ToJson(*spec)["fields"][0]["source-id"], 5);
  EXPECT_FALSE(ToJson(*spec)["fields"][0].contains("source-ids"));
}

TEST(PartitionSpecJson, BrokenStructureIsCorruption) {
  struct Case { const char* pointer; const char* value; };
  for (auto [pointer, value] :
       {Case{"/spec-id", "\"x\""}, Case{"/fields", "null"}, Case{"/fields", "{}"}, Case{"/fields/0", "1"},
        Case{"/fields/0/source-id", "null"}, Case{"/fields/0/source-id", "-4"}, Case{"/fields/0/source-id", "1e3"},
        Case{"/fields/0/source-ids", "[]x"}, Case{"/fields/0/source-ids", "{}"},
        Case{"/fields/0/source-ids", "[1,\"2\"]"}, Case{"/fields/0/field-id", "\"1000\""},
        Case{"/fields/0/field-id", "1001"}, Case{"/fields/0/name", "null"}, Case{"/fields/0/transform", "null"},
        Case{"/fields/0/transform", "[]"}, Case{"/fields/0/transform", "\"bucket[0]\""},
        Case{"/fields/0/transform", "\"truncate[99999999999]\""}}) {
    json document = json::parse(kSpec);
    json changed = json::parse(value, nullptr, false);
    document[json::json_pointer(pointer)] = changed;
    auto spec = PartitionSpecFromJson(document);
    ASSERT_FALSE(spec) << pointer << " " << value;
    EXPECT_EQ(spec.error().code(), ErrorCode::kCorruption) << pointer << " " << value;
  }
  EXPECT_FALSE(PartitionSpecFromJson(json(7)));
}

TEST(SortOrderJson, ReadsAndWrites) {
  json document = json::parse(R"json({"order-id": 3, "fields": [
    {"transform": "identity", "source-id": 2, "direction": "asc", "null-order": "nulls-first"},
    {"transform": "bucket[4]", "source-id": 3, "direction": "desc", "null-order": "nulls-last"}]})json");
  auto order = SortOrderFromJson(document);
  ASSERT_TRUE(order) << order.error().ToString();
  EXPECT_EQ(order->order_id, 3);
  EXPECT_EQ(order->fields[0].null_order, NullOrder::kNullsFirst);
  EXPECT_EQ(order->fields[1].direction, SortDirection::kDescending);
  EXPECT_EQ(ToJson(*order), document);
  EXPECT_EQ(ToJson(SortOrder{}), json::parse(R"json({"order-id":0,"fields":[]})json"));

  for (auto [member, value] : {std::pair{"direction", json("up")}, std::pair{"direction", json()},
                               std::pair{"null-order", json("first")}, std::pair{"null-order", json(1)},
                               std::pair{"source-id", json()}, std::pair{"transform", json()}}) {
    json broken = document;
    broken["fields"][0][member] = value;
    auto result = SortOrderFromJson(broken);
    ASSERT_FALSE(result) << member;
    EXPECT_EQ(result.error().code(), ErrorCode::kCorruption);
  }
  EXPECT_FALSE(SortOrderFromJson(json::parse(R"json({"fields":[]})json")));
  EXPECT_FALSE(SortOrderFromJson(json::array()));
}

}  // namespace
}  // namespace firn::schema
