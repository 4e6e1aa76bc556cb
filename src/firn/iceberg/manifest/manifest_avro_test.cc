#include "firn/iceberg/manifest/manifest_avro.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "firn/iceberg/manifest/avro_container.h"
#include "firn/iceberg/manifest/manifest_schema.h"

namespace firn::iceberg {
namespace {

using nlohmann::json;
using schema::Type;
using schema::TypeKind;
using schema::Value;

schema::Field Column(int32_t id, std::string name, schema::TypePtr type) {
  return {.id = FieldId{id}, .name = std::move(name), .type = std::move(type)};
}

schema::PartitionField Partition(int32_t source, int32_t id, std::string name, std::string_view transform) {
  schema::PartitionField field;
  field.source_id = FieldId{source};
  field.field_id = FieldId{id};
  field.name = std::move(name);
  field.transform = schema::Transform::Parse(transform).value();
  return field;
}

ManifestHeader EventsHeader() {
  ManifestHeader header;
  header.table_schema.schema_id = 3;
  header.table_schema.fields = {Column(1, "id", Type::Primitive(TypeKind::kLong)),
                                Column(2, "time", Type::Primitive(TypeKind::kTimestamptz)),
                                Column(3, "src.ip", Type::Primitive(TypeKind::kString)),
                                Column(4, "score", Type::Primitive(TypeKind::kDouble)),
                                Column(5, "price", Type::Decimal(9, 2)),
                                Column(6, "mac", Type::Fixed(6)),
                                Column(7, "device", Type::Primitive(TypeKind::kUuid)),
                                Column(8, "flag", Type::Primitive(TypeKind::kBoolean))};
  header.spec.spec_id = 5;
  header.spec.fields = {
      Partition(2, 1000, "time_day", "day"),        Partition(3, 1001, "src.ip", "identity"),
      Partition(4, 1002, "score", "identity"),      Partition(5, 1003, "price", "identity"),
      Partition(6, 1004, "mac", "identity"),        Partition(7, 1005, "device", "identity"),
      Partition(8, 1006, "flag", "identity"),       Partition(5, 1007, "price_trunc", "truncate[100]"),
      Partition(1, 1008, "id_bucket", "bucket[8]"), Partition(1, 1009, "id_plain", "identity")};
  return header;
}

schema::PartitionTuple Tuple(int32_t day, double score) {
  return {Value(day),
          Value(std::string("10.0.0.1")),
          Value(score),
          Value(schema::Decimal128{-5}),
          Value(std::string("\0\1\2\3\4\5", 6)),
          Value(std::string(16, '\x7f')),
          Value(false),
          Value(schema::Decimal128{99999}),
          Value(int32_t{3}),
          Value(int64_t{1} << 40)};
}

ManifestEntry Added(std::string path, schema::PartitionTuple partition) {
  ManifestEntry entry;
  entry.snapshot_id = SnapshotId{77};
  entry.data_file.file_path = std::move(path);
  entry.data_file.partition = std::move(partition);
  entry.data_file.record_count = 100;
  entry.data_file.file_size_in_bytes = 4096;
  return entry;
}

ManifestEntry FullEntry() {
  ManifestEntry entry = Added("file:///lake/t/data/a.parquet", Tuple(19737, 0.5));
  entry.data_file.column_sizes = {{1, 10}, {2, 20}};
  entry.data_file.value_counts = {{1, 100}, {2, 100}};
  entry.data_file.null_value_counts = {{1, 0}, {2, 7}};
  entry.data_file.nan_value_counts = {{4, 1}};
  entry.data_file.lower_bounds = {{1, std::string("\x01\0\0\0\0\0\0\0", 8)}, {3, ""}};
  entry.data_file.upper_bounds = {{3, "zz"}};
  entry.data_file.split_offsets = {4, 1000};
  entry.data_file.sort_order_id = 1;
  return entry;
}

json ReopenedSchema(const std::string& bytes) {
  return json::parse(ReadAvroContainer(bytes).value().header.at("avro.schema"));
}

const json& FieldOf(const json& record, const std::string& name) {
  for (const json& field : record.at("fields")) {
    if (field.at("name") == name) return field;
  }
  ADD_FAILURE() << "no field " << name;
  return record;
}

TEST(ManifestAvroTest, EntriesComeBack) {
  ManifestEntry existing = Added("b", Tuple(-1, -1.5));
  existing.status = EntryStatus::kExisting;
  existing.snapshot_id = SnapshotId{5};
  existing.sequence_number = 2;
  existing.file_sequence_number = 3;
  const auto bytes = WriteManifest(EventsHeader(), {FullEntry(), existing});
  ASSERT_TRUE(bytes.has_value()) << bytes.error().ToString();
  const auto read = ReadManifest(*bytes);
  ASSERT_TRUE(read.has_value()) << read.error().ToString();
  EXPECT_EQ(read->header.spec.spec_id, 5);
  EXPECT_EQ(read->header.spec.fields, EventsHeader().spec.fields);
  EXPECT_EQ(read->header.table_schema.schema_id, 3);
  ASSERT_EQ(read->entries.size(), 2u);
  const ManifestEntry full = FullEntry();
  const ManifestEntry& first = read->entries[0];
  EXPECT_EQ(first.status, EntryStatus::kAdded);
  EXPECT_EQ(first.snapshot_id, SnapshotId{77});
  EXPECT_FALSE(first.sequence_number.has_value());
  EXPECT_FALSE(first.file_sequence_number.has_value());
  EXPECT_EQ(first.data_file.file_path, full.data_file.file_path);
  EXPECT_EQ(first.data_file.partition, full.data_file.partition);
  EXPECT_EQ(first.data_file.column_sizes, full.data_file.column_sizes);
  EXPECT_EQ(first.data_file.value_counts, full.data_file.value_counts);
  EXPECT_EQ(first.data_file.null_value_counts, full.data_file.null_value_counts);
  EXPECT_EQ(first.data_file.nan_value_counts, full.data_file.nan_value_counts);
  EXPECT_EQ(first.data_file.lower_bounds, full.data_file.lower_bounds);
  EXPECT_EQ(first.data_file.upper_bounds, full.data_file.upper_bounds);
  EXPECT_EQ(first.data_file.split_offsets, full.data_file.split_offsets);
  EXPECT_EQ(first.data_file.sort_order_id, 1);
  EXPECT_EQ(read->entries[1].status, EntryStatus::kExisting);
  EXPECT_EQ(read->entries[1].sequence_number, 2);
  EXPECT_EQ(read->entries[1].file_sequence_number, 3);
  EXPECT_EQ(read->entries[1].data_file.partition, existing.data_file.partition);
}

TEST(ManifestAvroTest, ManyEntriesFillManyBlocks) {
  std::vector<ManifestEntry> entries;
  for (int i = 0; i < 3000; ++i) {
    entries.push_back(FullEntry());
    entries.back().data_file.file_path += std::to_string(i);
  }
  const std::string bytes = WriteManifest(EventsHeader(), entries).value();
  EXPECT_GT(ReadAvroContainer(bytes).value().blocks.size(), 2u);
  const auto read = ReadManifest(bytes);
  ASSERT_TRUE(read.has_value());
  ASSERT_EQ(read->entries.size(), 3000u);
  EXPECT_EQ(read->entries[2999].data_file.file_path, entries[2999].data_file.file_path);
}

// Attributes that another compiler of Avro schemas once dropped, and nullability exactly as the spec's.
TEST(ManifestAvroTest, ReopenedSchemaCarriesJavasNamesAndIds) {
  const json schema = ReopenedSchema(WriteManifest(EventsHeader(), {FullEntry()}).value());
  EXPECT_EQ(schema.at("name"), "manifest_entry");
  EXPECT_EQ(FieldOf(schema, "status"), (json{{"name", "status"}, {"type", "int"}, {"field-id", 0}}));
  EXPECT_EQ(FieldOf(schema, "sequence_number").at("type"), json::array({"null", "long"}));
  EXPECT_TRUE(FieldOf(schema, "sequence_number").at("default").is_null());
  const json& data_file = FieldOf(schema, "data_file").at("type");
  EXPECT_EQ(data_file.at("name"), "r2");
  struct Expected {
    const char* name;
    int id;
    bool optional;
  };
  for (const Expected& field : std::initializer_list<Expected>{{"content", 134, false},
                                                               {"file_path", 100, false},
                                                               {"file_format", 101, false},
                                                               {"partition", 102, false},
                                                               {"record_count", 103, false},
                                                               {"file_size_in_bytes", 104, false},
                                                               {"column_sizes", 108, true},
                                                               {"value_counts", 109, true},
                                                               {"null_value_counts", 110, true},
                                                               {"nan_value_counts", 137, true},
                                                               {"lower_bounds", 125, true},
                                                               {"upper_bounds", 128, true},
                                                               {"key_metadata", 131, true},
                                                               {"split_offsets", 132, true},
                                                               {"equality_ids", 135, true},
                                                               {"sort_order_id", 140, true},
                                                               {"referenced_data_file", 143, true}}) {
    EXPECT_EQ(FieldOf(data_file, field.name).at("field-id"), field.id) << field.name;
    EXPECT_EQ(FieldOf(data_file, field.name).at("type").is_array(), field.optional) << field.name;
  }
  const json& map = FieldOf(data_file, "lower_bounds").at("type").at(1);
  EXPECT_EQ(map.at("logicalType"), "map");
  EXPECT_EQ(map.at("items").at("name"), "k126_v127");
  EXPECT_EQ(FieldOf(map.at("items"), "key").at("field-id"), 126);
  EXPECT_EQ(FieldOf(map.at("items"), "value"), (json{{"name", "value"}, {"type", "bytes"}, {"field-id", 127}}));
  EXPECT_EQ(FieldOf(data_file, "split_offsets").at("type").at(1).at("element-id"), 133);
  EXPECT_EQ(FieldOf(data_file, "equality_ids").at("type").at(1).at("element-id"), 136);
}

TEST(ManifestAvroTest, PartitionRecordHasTypedNullableFields) {
  const json schema = ReopenedSchema(WriteManifest(EventsHeader(), {}).value());
  const json& partition = FieldOf(FieldOf(schema, "data_file").at("type"), "partition").at("type");
  EXPECT_EQ(partition.at("name"), "r102");
  EXPECT_EQ(FieldOf(partition, "time_day").at("type"),
            json::array({"null", {{"type", "int"}, {"logicalType", "date"}}}));
  EXPECT_EQ(FieldOf(partition, "time_day").at("field-id"), 1000);
  EXPECT_EQ(FieldOf(partition, "src_x2Eip").at("iceberg-field-name"), "src.ip");
  EXPECT_EQ(FieldOf(partition, "price").at("type").at(1), (json{{"type", "fixed"},
                                                                {"name", "decimal_9_2"},
                                                                {"size", 4},
                                                                {"logicalType", "decimal"},
                                                                {"precision", 9},
                                                                {"scale", 2}}));
  // A named type is defined once.
  EXPECT_EQ(FieldOf(partition, "price_trunc").at("type").at(1), "decimal_9_2");
  EXPECT_EQ(FieldOf(partition, "mac").at("type").at(1), (json{{"type", "fixed"}, {"name", "fixed_6"}, {"size", 6}}));
  EXPECT_EQ(FieldOf(partition, "device").at("type").at(1).at("logicalType"), "uuid");
  EXPECT_EQ(FieldOf(partition, "id_bucket").at("type").at(1), "int");
}

TEST(ManifestAvroTest, HeaderHoldsTheTablesSchemaAndSpec) {
  const auto header = ReadAvroContainer(WriteManifest(EventsHeader(), {}).value()).value().header;
  EXPECT_EQ(header.at("format-version"), "2");
  EXPECT_EQ(header.at("content"), "data");
  EXPECT_EQ(header.at("schema-id"), "3");
  EXPECT_EQ(header.at("partition-spec-id"), "5");
  EXPECT_EQ(header.at("avro.codec"), "deflate");
  // The table's schema, not the manifest's; the spec's fields alone.
  EXPECT_EQ(json::parse(header.at("schema")).at("fields").at(1).at("type"), "timestamptz");
  EXPECT_TRUE(json::parse(header.at("partition-spec")).is_array());
  EXPECT_EQ(json::parse(header.at("partition-spec")).at(0).at("transform"), "day");
}

TEST(ManifestAvroTest, UnpartitionedTableHasAnEmptyRecord) {
  ManifestHeader header = EventsHeader();
  header.spec = {};
  const std::string bytes = WriteManifest(header, {Added("a", {})}).value();
  const auto read = ReadManifest(bytes);
  ASSERT_TRUE(read.has_value()) << read.error().ToString();
  EXPECT_TRUE(read->entries[0].data_file.partition.empty());
  const ManifestFile summary = SummarizeManifest(header, read->entries, "m", 9, 4, SnapshotId{77}).value();
  ASSERT_TRUE(summary.partitions.has_value());
  EXPECT_TRUE(summary.partitions->empty());
}

TEST(ManifestAvroTest, RefusesEntriesThatContradictTheRules) {
  const ManifestHeader header = EventsHeader();
  auto code = [&](const ManifestEntry& entry) { return WriteManifest(header, {entry}).error().code(); };
  ManifestEntry existing = FullEntry();
  existing.status = EntryStatus::kExisting;
  EXPECT_EQ(code(existing), ErrorCode::kInvalidInput);
  existing.sequence_number = 1;
  EXPECT_EQ(code(existing), ErrorCode::kInvalidInput);
  existing.file_sequence_number = 1;
  EXPECT_TRUE(WriteManifest(header, {existing}).has_value());
  EXPECT_EQ(code(Added("a", {})), ErrorCode::kInvalidInput);
  EXPECT_EQ(code(Added("", Tuple(0, 0))), ErrorCode::kInvalidInput);
  ManifestEntry deletes = FullEntry();
  deletes.data_file.content = FileContent::kPositionDeletes;
  EXPECT_EQ(code(deletes), ErrorCode::kInvalidInput);
  ManifestEntry wrong_type = FullEntry();
  wrong_type.data_file.partition[0] = Value(std::string("2024-01-15"));
  EXPECT_EQ(code(wrong_type), ErrorCode::kInvalidInput);
  ManifestEntry wide_decimal = FullEntry();
  wide_decimal.data_file.partition[3] = Value(schema::Decimal128{int64_t{1} << 40});
  EXPECT_EQ(code(wide_decimal), ErrorCode::kInvalidInput);
  // decimal(9, 2): within four bytes, but with a tenth digit.
  wide_decimal.data_file.partition[3] = Value(schema::Decimal128{-1'000'000'000});
  EXPECT_EQ(code(wide_decimal), ErrorCode::kInvalidInput);
  wide_decimal.data_file.partition[3] = Value(schema::Decimal128{-999'999'999});
  EXPECT_TRUE(WriteManifest(header, {wide_decimal}).has_value());
  ManifestHeader v3 = header;
  v3.format_version = 3;
  EXPECT_EQ(WriteManifest(v3, {}).error().code(), ErrorCode::kUnsupported);
}

TEST(ManifestAvroTest, PromotesPartitionValuesOfOlderSchemas) {
  ManifestEntry entry = FullEntry();
  entry.data_file.partition[2] = Value(0.5f);
  entry.data_file.partition[9] = Value(int32_t{7});
  const std::string bytes = WriteManifest(EventsHeader(), {entry}).value();
  const auto read = ReadManifest(bytes);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->entries[0].data_file.partition[2], Value(0.5));
  EXPECT_EQ(read->entries[0].data_file.partition[9], Value(int64_t{7}));
}

TEST(ManifestAvroTest, SummaryHasTypedBoundsAndCounts) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<ManifestEntry> entries = {Added("a", Tuple(19737, nan)), Added("b", Tuple(-3, 0.0)),
                                        Added("c", Tuple(5, -0.0)), Added("d", Tuple(6, -0.0))};
  entries[1].data_file.partition[1] = Value();
  entries[2].status = EntryStatus::kExisting;
  entries[2].sequence_number = 2;
  entries[3].status = EntryStatus::kDeleted;
  entries[3].sequence_number = 1;
  const ManifestFile summary = SummarizeManifest(EventsHeader(), entries, "m", 99, 8, SnapshotId{77}).value();
  EXPECT_EQ(summary.partition_spec_id, 5);
  EXPECT_EQ(summary.manifest_length, 99);
  EXPECT_EQ(summary.added_files_count, 2);
  EXPECT_EQ(summary.added_rows_count, 200);
  EXPECT_EQ(summary.existing_files_count, 1);
  EXPECT_EQ(summary.deleted_files_count, 1);
  EXPECT_EQ(summary.sequence_number, 8);
  EXPECT_EQ(summary.min_sequence_number, 2);  // of live entries: the deleted one's 1 does not count
  const std::vector<FieldSummary>& fields = *summary.partitions;
  EXPECT_EQ(fields[0].lower_bound, std::string("\xfd\xff\xff\xff"));
  EXPECT_EQ(fields[0].upper_bound, std::string("\x19\x4d\0\0", 4));
  EXPECT_FALSE(fields[0].contains_null);
  EXPECT_TRUE(fields[1].contains_null);
  EXPECT_EQ(fields[1].lower_bound, "10.0.0.1");
  EXPECT_EQ(fields[2].contains_nan, true);
  EXPECT_EQ(fields[2].lower_bound, std::string("\0\0\0\0\0\0\0\x80", 8));
  EXPECT_EQ(fields[2].upper_bound, std::string(8, '\0'));
  EXPECT_EQ(fields[3].lower_bound, "\xfb");
}

TEST(ManifestAvroTest, AMisfitIsNamedAndShownShort) {
  ManifestEntry wrong = FullEntry();
  wrong.data_file.partition[9] = Value(std::string(100'000, 'x'));
  const Error text = WriteManifest(EventsHeader(), {wrong}).error();
  EXPECT_NE(text.message().find("id_plain"), std::string::npos);
  EXPECT_NE(text.message().find("xxx"), std::string::npos);
  EXPECT_LT(text.message().size(), 400u);
  wrong.data_file.partition[9] = Value(std::string(100'000, '\xff'));
  const Error bytes = WriteManifest(EventsHeader(), {wrong}).error();
  EXPECT_NE(bytes.message().find("ffff"), std::string::npos);
  EXPECT_LT(bytes.message().size(), 400u);
}

TEST(ManifestAvroTest, ValuesThatAreAllNanHaveNoBoundsAndSaySo) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto entries = {Added("a", Tuple(1, nan)), Added("b", Tuple(2, -nan))};
  const ManifestFile summary = SummarizeManifest(EventsHeader(), entries, "m", 99, 8, SnapshotId{77}).value();
  const FieldSummary& score = summary.partitions->at(2);
  EXPECT_EQ(score.contains_nan, true);
  EXPECT_FALSE(score.contains_null);
  EXPECT_FALSE(score.lower_bound.has_value());
  EXPECT_FALSE(score.upper_bound.has_value());
  // As the manifest list has it, too.
  const std::string list = WriteManifestList({}, {summary}).value();
  const FieldSummary read = ReadManifestList(list)->manifests.at(0).partitions->at(2);
  EXPECT_EQ(read.contains_nan, true);
  EXPECT_FALSE(read.lower_bound.has_value());
}

TEST(ManifestAvroTest, LongValuesStayOutOfTheManifestList) {
  std::vector<ManifestEntry> entries = {Added("a", Tuple(1, 0)), Added("b", Tuple(2, 0))};
  entries[1].data_file.partition[1] = Value(std::string(kPartitionValueBytesMax, 'x'));
  ManifestFile summary = SummarizeManifest(EventsHeader(), entries, "m", 99, 8, SnapshotId{77}).value();
  EXPECT_EQ(summary.partitions->at(1).upper_bound->size(), kPartitionValueBytesMax);
  entries[1].data_file.partition[1] = Value(std::string(kPartitionValueBytesMax + 1, 'x'));
  summary = SummarizeManifest(EventsHeader(), entries, "m", 99, 8, SnapshotId{77}).value();
  EXPECT_FALSE(summary.partitions.has_value());
  EXPECT_EQ(summary.added_files_count, 2);
  const std::string list = WriteManifestList({}, {summary}).value();
  EXPECT_FALSE(ReadManifestList(list)->manifests.at(0).partitions.has_value());
}

// Some writers keep a day as the plain int that the transform gives (spec: "Partition Transforms", day).
TEST(ManifestAvroTest, ADayThatIsAPlainIntIsRead) {
  const std::string bytes = WriteManifest(EventsHeader(), {FullEntry()}).value();
  AvroContainer container = ReadAvroContainer(bytes).value();
  json schema = json::parse(container.header["avro.schema"]);
  bool replaced = false;
  for (json& field : schema["fields"]) {
    if (field["name"] != "data_file") continue;
    for (json& of_file : field["type"]["fields"]) {
      if (of_file["name"] != "partition") continue;
      for (json& value : of_file["type"]["fields"]) {
        if (value["name"] != "time_day") continue;
        ASSERT_EQ(value["type"][1]["logicalType"], "date");
        value["type"][1] = "int";
        replaced = true;
      }
    }
  }
  ASSERT_TRUE(replaced);
  container.header["avro.schema"] = schema.dump();
  AvroContainerWriter writer(container.header);
  writer.records() = container.blocks[0].records;
  ASSERT_TRUE(writer.EndRecord().has_value());
  const auto read = ReadManifest(writer.Finish().value());
  ASSERT_TRUE(read.has_value()) << read.error().ToString();
  EXPECT_EQ(read->entries[0].data_file.partition, FullEntry().data_file.partition);
  EXPECT_EQ(read->entries[0].data_file.partition[0], Value(int32_t{19737}));
}

// The same bytes without a single id: columns are found by name (avro-cpp once wrote such files).
TEST(ManifestAvroTest, FieldsWithoutIdsAreFoundByName) {
  const std::string bytes = WriteManifest(EventsHeader(), {FullEntry()}).value();
  AvroContainer container = ReadAvroContainer(bytes).value();
  std::string& schema = container.header["avro.schema"];
  for (size_t at = schema.find(",\"field-id\":"); at != std::string::npos; at = schema.find(",\"field-id\":")) {
    schema.erase(at, schema.find_first_of(",}", at + 1) - at);
  }
  AvroContainerWriter writer(container.header);
  writer.records() = container.blocks[0].records;
  ASSERT_TRUE(writer.EndRecord().has_value());
  const auto read = ReadManifest(writer.Finish().value());
  ASSERT_TRUE(read.has_value()) << read.error().ToString();
  EXPECT_EQ(read->entries[0].data_file.partition, FullEntry().data_file.partition);
  EXPECT_EQ(read->entries[0].data_file.upper_bounds, FullEntry().data_file.upper_bounds);
}

TEST(ManifestAvroTest, RefusesHeadersThatCannotBeRead) {
  const AvroContainer good = ReadAvroContainer(WriteManifest(EventsHeader(), {}).value()).value();
  auto code = [&](const std::string& key, std::optional<std::string> value) {
    auto header = good.header;
    header.erase(key);
    if (value.has_value()) header[key] = *value;
    return ReadManifest(AvroContainerWriter(header).Finish().value()).error().code();
  };
  EXPECT_EQ(code("schema", std::nullopt), ErrorCode::kCorruption);
  EXPECT_EQ(code("schema", "{"), ErrorCode::kCorruption);
  EXPECT_EQ(code("schema", std::string(100'000, '[')), ErrorCode::kCorruption);
  EXPECT_EQ(code("partition-spec", "7"), ErrorCode::kCorruption);
  EXPECT_EQ(code("partition-spec-id", "five"), ErrorCode::kCorruption);
  EXPECT_EQ(code("content", "both"), ErrorCode::kCorruption);
  EXPECT_EQ(code("format-version", "99999999999"), ErrorCode::kCorruption);
  EXPECT_EQ(code("avro.schema", "\"long\""), ErrorCode::kCorruption);
  // A field of the spec that the partition record lacks would come back as null: a lie.
  EXPECT_EQ(code("partition-spec", R"([{"name":"x","transform":"identity","source-id":1,"field-id":1099}])"),
            ErrorCode::kCorruption);
}

TEST(ManifestAvroTest, EntriesInheritFromTheManifestList) {
  ManifestFile manifest;
  manifest.sequence_number = 9;
  manifest.added_snapshot_id = SnapshotId{50};
  std::vector<ManifestEntry> entries = {Added("a", {}), Added("b", {})};
  entries[0].snapshot_id = std::nullopt;
  entries[1].sequence_number = 4;  // written by a compaction: older data, new file
  ASSERT_TRUE(InheritFromManifest(manifest, entries).has_value());
  EXPECT_EQ(entries[0].snapshot_id, SnapshotId{50});
  EXPECT_EQ(entries[0].sequence_number, 9);
  EXPECT_EQ(entries[1].sequence_number, 4);
  EXPECT_EQ(entries[1].file_sequence_number, 9);
  std::vector<ManifestEntry> existing = {Added("a", {})};
  existing[0].status = EntryStatus::kExisting;
  EXPECT_EQ(InheritFromManifest(manifest, existing).error().code(), ErrorCode::kCorruption);
}

ManifestFile SomeManifest() {
  ManifestFile manifest;
  manifest.manifest_path = "file:///lake/t/metadata/m0.avro";
  manifest.manifest_length = 7000;
  manifest.partition_spec_id = 5;
  manifest.content = ManifestContent::kDeletes;
  manifest.sequence_number = 8;
  manifest.min_sequence_number = 2;
  manifest.added_snapshot_id = SnapshotId{77};
  manifest.added_files_count = 1;
  manifest.existing_files_count = 2;
  manifest.deleted_files_count = 3;
  manifest.added_rows_count = 4;
  manifest.existing_rows_count = 5;
  manifest.deleted_rows_count = 6;
  manifest.partitions = std::vector<FieldSummary>{{true, false, "a", "b"}, {false, std::nullopt, {}, {}}};
  return manifest;
}

TEST(ManifestListTest, ManifestsAndHeaderComeBack) {
  ManifestListHeader header;
  header.snapshot_id = SnapshotId{77};
  header.parent_snapshot_id = SnapshotId{76};
  header.sequence_number = 8;
  header.extra = {{"firn.positions.p", "{\"v\":1}"}};
  ManifestFile plain = SomeManifest();
  plain.partitions = std::nullopt;
  plain.key_metadata = "k";
  const std::string bytes = WriteManifestList(header, {SomeManifest(), plain}).value();
  const auto read = ReadManifestList(bytes);
  ASSERT_TRUE(read.has_value()) << read.error().ToString();
  EXPECT_EQ(read->header.at("firn.positions.p"), "{\"v\":1}");
  EXPECT_EQ(read->header.at("snapshot-id"), "77");
  EXPECT_EQ(read->header.at("parent-snapshot-id"), "76");
  EXPECT_EQ(read->header.at("sequence-number"), "8");
  EXPECT_EQ(read->header.at("format-version"), "2");
  ASSERT_EQ(read->manifests.size(), 2u);
  const ManifestFile& first = read->manifests[0];
  EXPECT_EQ(first.manifest_path, SomeManifest().manifest_path);
  EXPECT_EQ(first.content, ManifestContent::kDeletes);
  EXPECT_EQ(first.min_sequence_number, 2);
  EXPECT_EQ(first.added_snapshot_id, SnapshotId{77});
  EXPECT_EQ(first.existing_files_count, 2);
  EXPECT_EQ(first.deleted_rows_count, 6);
  ASSERT_EQ(first.partitions->size(), 2u);
  EXPECT_TRUE((*first.partitions)[0].contains_null);
  EXPECT_EQ((*first.partitions)[0].upper_bound, "b");
  EXPECT_FALSE((*first.partitions)[1].contains_nan.has_value());
  EXPECT_FALSE(read->manifests[1].partitions.has_value());
  EXPECT_EQ(read->manifests[1].key_metadata, "k");
}

TEST(ManifestListTest, ReopenedSchemaCarriesJavasNamesAndIds) {
  const json schema = ReopenedSchema(WriteManifestList({}, {}).value());
  EXPECT_EQ(schema.at("name"), "manifest_file");
  std::map<std::string, int> ids;
  for (const json& field : schema.at("fields")) {
    ids[field.at("name")] = field.at("field-id");
    const bool optional = field.at("name") == "partitions" || field.at("name") == "key_metadata";
    EXPECT_EQ(field.at("type").is_array(), optional) << field.at("name");
  }
  EXPECT_EQ(ids, (std::map<std::string, int>{{"manifest_path", 500},
                                             {"manifest_length", 501},
                                             {"partition_spec_id", 502},
                                             {"content", 517},
                                             {"sequence_number", 515},
                                             {"min_sequence_number", 516},
                                             {"added_snapshot_id", 503},
                                             {"added_files_count", 504},
                                             {"existing_files_count", 505},
                                             {"deleted_files_count", 506},
                                             {"added_rows_count", 512},
                                             {"existing_rows_count", 513},
                                             {"deleted_rows_count", 514},
                                             {"partitions", 507},
                                             {"key_metadata", 519}}));
  const json& list = FieldOf(schema, "partitions").at("type").at(1);
  EXPECT_EQ(list.at("element-id"), 508);
  EXPECT_EQ(list.at("items").at("name"), "r508");
  EXPECT_EQ(FieldOf(list.at("items"), "contains_null").at("field-id"), 509);
  EXPECT_EQ(FieldOf(list.at("items"), "contains_nan").at("field-id"), 518);
  EXPECT_EQ(FieldOf(list.at("items"), "lower_bound").at("field-id"), 510);
  EXPECT_EQ(FieldOf(list.at("items"), "upper_bound").at("field-id"), 511);
}

TEST(ManifestListTest, RefusesReservedMembersAndUnknownCounts) {
  for (const char* key : {"avro.codec", "snapshot-id", "format-version", ""}) {
    ManifestListHeader header;
    header.extra = {{key, "x"}};
    EXPECT_EQ(WriteManifestList(header, {}).error().code(), ErrorCode::kInvalidInput) << key;
  }
  ManifestFile manifest = SomeManifest();
  manifest.existing_rows_count = kUnknownCount;
  EXPECT_EQ(WriteManifestList({}, {manifest}).error().code(), ErrorCode::kInvalidInput);
  ManifestListHeader v3;
  v3.format_version = 3;
  EXPECT_EQ(WriteManifestList(v3, {}).error().code(), ErrorCode::kUnsupported);
}

TEST(ManifestSchemaTest, SanitizesAsJavaDoes) {
  EXPECT_EQ(SanitizeAvroName("time_day"), "time_day");
  EXPECT_EQ(SanitizeAvroName("birth day"), "birth_x20day");
  EXPECT_EQ(SanitizeAvroName("1st"), "_1st");
  EXPECT_EQ(SanitizeAvroName("a.b"), "a_x2Eb");
}

}  // namespace
}  // namespace firn::iceberg
