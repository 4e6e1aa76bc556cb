#include "firn/iceberg/spec/table_metadata.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "firn/schema/schema_json.h"

namespace firn::iceberg {
namespace {

using nlohmann::json;

// Numbers beyond 2^53, a tag, both logs, a statistics file and a member that nobody knows.
constexpr const char* kV2 = R"json({
  "format-version": 2, "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1", "location": "s3://bucket/t/",
  "last-sequence-number": 34, "last-updated-ms": 1602638573590, "last-column-id": 3,
  "schemas": [
    {"type": "struct", "schema-id": 0, "fields": [{"id": 1, "name": "x", "required": true, "type": "long"}]},
    {"type": "struct", "schema-id": 1, "identifier-field-ids": [1], "fields": [
      {"id": 1, "name": "x", "required": true, "type": "long"},
      {"id": 2, "name": "y", "required": false, "type": "decimal(9,2)", "doc": "a comment"},
      {"id": 3, "name": "z", "required": false, "type": "timestamptz"}]}],
  "current-schema-id": 1,
  "partition-specs": [{"spec-id": 0, "fields": [
    {"name": "x_bucket", "transform": "bucket[16]", "source-id": 1, "field-id": 1000}]}],
  "default-spec-id": 0, "last-partition-id": 1000,
  "sort-orders": [{"order-id": 3, "fields": [
    {"transform": "identity", "source-id": 2, "direction": "asc", "null-order": "nulls-first"}]}],
  "default-sort-order-id": 3,
  "properties": {"read.split.target.size": "134217728", "a.number": 7, "a.flag": true},
  "current-snapshot-id": 9123456789012345678,
  "snapshots": [
    {"snapshot-id": 3051729675574597004, "timestamp-ms": 1515100955770, "sequence-number": 0,
     "summary": {"operation": "append"}, "manifest-list": "s3://a/b/1.avro"},
    {"snapshot-id": 9123456789012345678, "parent-snapshot-id": 3051729675574597004, "timestamp-ms": 1555100955770,
     "sequence-number": 1, "summary": {"operation": "append", "added-records": "9007199254740993"},
     "manifest-list": "s3://a/b/2.avro", "schema-id": 1}],
  "refs": {"main": {"snapshot-id": 9123456789012345678, "type": "branch", "min-snapshots-to-keep": 5},
           "audit": {"snapshot-id": 3051729675574597004, "type": "TAG", "max-ref-age-ms": 100000}},
  "snapshot-log": [{"snapshot-id": 3051729675574597004, "timestamp-ms": 1515100955770},
                   {"snapshot-id": 9123456789012345678, "timestamp-ms": 1555100955770}],
  "metadata-log": [{"metadata-file": "s3://bucket/t/metadata/0.metadata.json", "timestamp-ms": 1515100}],
  "statistics": [{"snapshot-id": 3051729675574597004, "statistics-path": "s3://a/b/s.puffin"}],
  "vendor.future": {"deep": [1, 2, {"x": null}], "big": 18446744073709551615}
})json";

json V2() {
  return json::parse(kV2);
}

json V1() {
  return json::parse(R"({
    "format-version": 1, "location": "file:///lake/t", "last-updated-ms": 1, "last-column-id": 2,
    "schema": {"type": "struct", "fields": [{"id": 1, "name": "x", "required": true, "type": "int"},
                                            {"id": 2, "name": "t", "required": false, "type": "timestamp"}]},
    "partition-spec": [{"name": "t_day", "transform": "day", "source-id": 2},
                       {"name": "x", "transform": "identity", "source-id": 1}],
    "properties": {}, "current-snapshot-id": -1, "snapshots": []})");
}

TEST(TableMetadataParse, ReadsEveryMemberOfV2) {
  auto parsed = TableMetadata::Parse(kV2);
  ASSERT_TRUE(parsed.has_value()) << parsed.error().ToString();
  EXPECT_EQ(parsed->location, "s3://bucket/t");
  EXPECT_EQ(parsed->last_sequence_number, 34);
  EXPECT_EQ(parsed->CurrentSchema().fields.size(), 3u);
  EXPECT_EQ(parsed->FindSchema(0)->fields.size(), 1u);
  EXPECT_EQ(parsed->DefaultSpec().fields[0].field_id, FieldId(1000));
  EXPECT_EQ(parsed->DefaultSortOrder().order_id, 3);
  EXPECT_EQ(parsed->current_snapshot_id, SnapshotId(9123456789012345678));
  EXPECT_EQ(parsed->CurrentSnapshot()->parent_snapshot_id, SnapshotId(3051729675574597004));
  EXPECT_EQ(parsed->CurrentSnapshot()->summary.at("added-records"), "9007199254740993");
  EXPECT_EQ(parsed->refs.at("audit").type, "tag");
  EXPECT_EQ(parsed->refs.at("audit").max_ref_age_ms, 100000);
  EXPECT_EQ(parsed->refs.at("main").min_snapshots_to_keep, 5);
  EXPECT_EQ(parsed->snapshot_log.size(), 2u);
  EXPECT_EQ(parsed->metadata_log[0].metadata_file, "s3://bucket/t/metadata/0.metadata.json");
  EXPECT_EQ(parsed->Property("a.number"), "7");
  EXPECT_EQ(parsed->Property("a.flag"), "true");
  EXPECT_EQ(parsed->Property("absent"), std::nullopt);
  EXPECT_EQ(parsed->other_members_json.size(), 2u);
}

TEST(TableMetadataSerialize, LosesNothing) {
  auto parsed = TableMetadata::Parse(kV2);
  ASSERT_TRUE(parsed.has_value()) << parsed.error().ToString();
  json written = json::parse(parsed->Serialize());
  json expected = V2();
  expected["location"] = "s3://bucket/t";
  expected["properties"]["a.number"] = "7";
  expected["properties"]["a.flag"] = "true";
  expected["refs"]["audit"]["type"] = "tag";
  expected["snapshots"][1]["sequence-number"] = 1;
  for (const char* lists : {"schemas", "partition-specs", "sort-orders"}) {  // their spelling is the schema module's
    EXPECT_EQ(written[lists].size(), expected[lists].size());
    written.erase(lists);
    expected.erase(lists);
  }
  EXPECT_EQ(written, expected);
  EXPECT_EQ(TableMetadata::Parse(parsed->Serialize())->Serialize(), parsed->Serialize());
}

TEST(TableMetadataSerialize, ReplacesTextThatIsNotUtf8) {
  auto parsed = TableMetadata::Parse(kV2);
  ASSERT_TRUE(parsed.has_value());
  parsed->properties["bad"] = "\xff\xfe";
  EXPECT_TRUE(TableMetadata::Parse(parsed->Serialize()).has_value());
}

TEST(TableMetadataParse, ReadsTheFormsOfV1) {
  auto parsed = TableMetadata::FromJson(V1());
  ASSERT_TRUE(parsed.has_value()) << parsed.error().ToString();
  EXPECT_FALSE(parsed->current_snapshot_id.has_value());
  EXPECT_TRUE(parsed->refs.empty());
  EXPECT_EQ(parsed->DefaultSpec().fields[0].field_id, FieldId(1000));
  EXPECT_EQ(parsed->DefaultSpec().fields[1].field_id, FieldId(1001));
  EXPECT_EQ(parsed->last_partition_id, 1001);
  EXPECT_EQ(parsed->DefaultSortOrder().order_id, 0);
  json written = parsed->ToJson();
  EXPECT_TRUE(written.contains("schema"));
  EXPECT_TRUE(written.contains("partition-spec"));
  EXPECT_FALSE(written.contains("current-snapshot-id"));
  EXPECT_FALSE(written.contains("last-sequence-number"));
  EXPECT_TRUE(TableMetadata::FromJson(written).has_value());
}

TEST(TableMetadataParse, ReadsInlineManifestsOfV1) {
  json root = V1();
  root["current-snapshot-id"] = 5;
  root["snapshots"] = json::parse(R"([{"snapshot-id": 5, "timestamp-ms": 9, "manifests": ["a.avro", "b.avro"]}])");
  auto parsed = TableMetadata::FromJson(root);
  ASSERT_TRUE(parsed.has_value()) << parsed.error().ToString();
  EXPECT_EQ(parsed->CurrentSnapshot()->manifests, (std::vector<std::string>{"a.avro", "b.avro"}));
  EXPECT_EQ(parsed->refs.at("main").snapshot_id, SnapshotId(5));
  EXPECT_FALSE(parsed->ToJson()["snapshots"][0].contains("sequence-number"));
}

TEST(TableMetadataParse, KeepsV3) {
  json root = V2();
  root["format-version"] = 3;
  root["next-row-id"] = 120;
  root["snapshots"][1]["first-row-id"] = 100;
  root["snapshots"][1]["added-rows"] = 20;
  root["snapshots"][1]["key-id"] = "k1";
  root["encryption-keys"] = json::parse(R"([{"key-id": "k1", "encrypted-key-metadata": "aa=="}])");
  auto parsed = TableMetadata::FromJson(root);
  ASSERT_TRUE(parsed.has_value()) << parsed.error().ToString();
  json written = parsed->ToJson();
  EXPECT_EQ(written["next-row-id"], 120);
  EXPECT_EQ(written["snapshots"][1]["first-row-id"], 100);
  EXPECT_EQ(written["snapshots"][1]["added-rows"], 20);
  EXPECT_EQ(written["snapshots"][1]["key-id"], "k1");
  EXPECT_EQ(written["encryption-keys"], root["encryption-keys"]);
}

struct PatchCase {
  const char* patch;  // JSON merge patch (RFC 7396) onto the v2 document; null removes
  std::optional<ErrorCode> code;
};

TEST(TableMetadataParse, JudgesPatchedDocuments) {
  constexpr auto kCorrupt = ErrorCode::kCorruption;
  const PatchCase cases[] = {
      {R"({})", std::nullopt},
      {R"({"snapshot-log": null, "metadata-log": null, "properties": null})", std::nullopt},
      {R"({"current-snapshot-id": null, "refs": null})", std::nullopt},
      {R"({"current-snapshot-id": -1, "refs": null})", std::nullopt},
      {R"({"refs": {"main": null}})", std::nullopt},
      {R"({"snapshots": [], "refs": null, "current-snapshot-id": null, "snapshot-log": []})", std::nullopt},
      {R"({"sort-orders": [], "default-sort-order-id": 0})", std::nullopt},
      {R"({"format-version": null})", kCorrupt},
      {R"({"format-version": 0})", kCorrupt},
      {R"({"format-version": 2.0})", kCorrupt},
      {R"({"format-version": "2"})", kCorrupt},
      {R"({"format-version": 4})", ErrorCode::kUnsupported},
      {R"({"format-version": 4294967298})", kCorrupt},
      {R"({"format-version": 3})", kCorrupt},  // next-row-id is missing
      {R"({"table-uuid": null})", kCorrupt},
      {R"({"table-uuid": 7})", kCorrupt},
      {R"({"location": "///"})", kCorrupt},
      {R"({"location": null})", kCorrupt},
      {R"({"last-updated-ms": null})", kCorrupt},
      {R"({"last-updated-ms": 1.5})", kCorrupt},
      {R"({"last-updated-ms": 9223372036854775808})", kCorrupt},
      {R"({"last-column-id": 2147483648})", kCorrupt},
      {R"({"last-sequence-number": null})", kCorrupt},
      {R"({"last-sequence-number": 0})", kCorrupt},  // a snapshot has 1
      {R"({"schemas": null})", kCorrupt},
      {R"({"schemas": []})", kCorrupt},
      {R"({"schemas": {}})", kCorrupt},
      {R"({"schemas": [7]})", kCorrupt},
      {R"({"current-schema-id": 9})", kCorrupt},
      {R"({"current-schema-id": null})", kCorrupt},
      {R"({"partition-specs": null})", kCorrupt},
      {R"({"partition-specs": "none"})", kCorrupt},
      {R"({"default-spec-id": 4})", kCorrupt},
      {R"({"last-partition-id": null})", kCorrupt},
      {R"({"sort-orders": null})", kCorrupt},
      {R"({"default-sort-order-id": 8})", kCorrupt},
      {R"({"current-snapshot-id": 5})", kCorrupt},
      {R"({"current-snapshot-id": 9123456789012345678.0})", kCorrupt},
      {R"({"current-snapshot-id": 3051729675574597004})", kCorrupt},  // main is elsewhere
      {R"({"current-snapshot-id": null})", kCorrupt},                 // main is set
      {R"({"snapshots": {}})", kCorrupt},
      {R"({"snapshots": [null]})", kCorrupt},
      {R"({"refs": []})", kCorrupt},
      {R"({"refs": {"audit": {"type": "branchy"}}})", kCorrupt},
      {R"({"refs": {"audit": {"snapshot-id": 12}}})", kCorrupt},
      {R"({"refs": {"audit": 3}})", kCorrupt},
      {R"({"snapshot-log": [{}]})", kCorrupt},
      {R"({"snapshot-log": 1})", kCorrupt},
      {R"({"metadata-log": [{"timestamp-ms": 1}]})", kCorrupt},
      {R"({"properties": []})", kCorrupt},
      {R"({"properties": {"a": {"b": "c"}}})", kCorrupt},
  };
  for (const PatchCase& one : cases) {
    json root = V2();
    root.merge_patch(json::parse(one.patch));
    auto parsed = TableMetadata::FromJson(root);
    std::optional<ErrorCode> code;
    if (!parsed.has_value()) code = parsed.error().code();
    EXPECT_EQ(code, one.code) << one.patch << "\n" << (parsed.has_value() ? "" : parsed.error().ToString());
  }
}

TEST(TableMetadataParse, RefusesIdsThatAreThereTwice) {
  for (const char* list : {"schemas", "partition-specs", "sort-orders", "snapshots"}) {
    json root = V2();
    root[list].push_back(root[list][0]);
    auto parsed = TableMetadata::FromJson(root);
    ASSERT_FALSE(parsed.has_value()) << list;
    EXPECT_EQ(parsed.error().code(), ErrorCode::kCorruption);
  }
}

TEST(TableMetadataParse, RefusesTextThatIsNoDocument) {
  std::string deep = R"({"format-version": 2, "x": )" + std::string(100'000, '[');
  std::string whole = kV2;
  std::string bad_utf8 = whole;
  bad_utf8.replace(bad_utf8.find("a comment"), 1, "\xff");
  const std::string texts[] = {
      "", "null", "[]", "\"\"", "{", "{}", "\x1f\x8b", deep, bad_utf8, whole + "}", whole.substr(0, whole.size() / 2)};
  for (const std::string& text : texts) {
    auto parsed = TableMetadata::Parse(text);
    ASSERT_FALSE(parsed.has_value()) << text.substr(0, 60);
    EXPECT_EQ(parsed.error().code(), ErrorCode::kCorruption);
  }
}

TEST(TableMetadataParse, EveryTruncationIsRefused) {
  std::string whole = V2().dump();
  for (size_t length = 0; length < whole.size(); length += 7) {
    EXPECT_FALSE(TableMetadata::Parse(std::string_view(whole).substr(0, length)).has_value()) << length;
  }
}

}  // namespace
}  // namespace firn::iceberg
