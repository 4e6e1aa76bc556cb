#include "firn/iceberg/spec/table_update.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "firn/iceberg/spec/spec_validation.h"

namespace firn::iceberg {
namespace {

using nlohmann::json;
using schema::Field;
using schema::Transform;
using schema::TransformKind;
using schema::Type;
using schema::TypeKind;

Field MakeField(int32_t id, std::string name, schema::TypePtr type, bool required = false) {
  Field out;
  out.id = FieldId(id);
  out.name = std::move(name);
  out.type = std::move(type);
  out.required = required;
  return out;
}

CreateTableRequest Request() {
  CreateTableRequest request;
  request.location = "file:///lake/db/t/";
  auto place = Type::Struct({MakeField(31, "lat", Type::Primitive(TypeKind::kDouble)),
                             MakeField(32, "lon", Type::Primitive(TypeKind::kDouble))});
  auto tags = Type::Map(MakeField(41, "key", Type::Primitive(TypeKind::kString), true),
                        MakeField(42, "value", Type::List(MakeField(43, "element", Type::Primitive(TypeKind::kInt)))));
  request.schema.fields = {MakeField(10, "id", Type::Primitive(TypeKind::kLong), true), MakeField(20, "place", place),
                           MakeField(40, "tags", tags), MakeField(50, "time", Type::Primitive(TypeKind::kTimestamp))};
  request.schema.identifier_field_ids = {FieldId(10)};
  Transform day;
  day.kind = TransformKind::kDay;
  request.spec.fields = {{FieldId(50), FieldId(0), "time_day", day}};
  request.sort_order.fields = {{FieldId(50), Transform{}}};
  return request;
}

TableMetadata Base() {
  auto made = NewTableMetadata(Request(), "9c12d441-03fe-4693-9a96-a0705ddf69c1", 1000);
  EXPECT_TRUE(made.has_value()) << made.error().ToString();
  return *made;
}

Snapshot MakeSnapshot(int64_t id, int64_t sequence, int64_t timestamp_ms = 2000) {
  Snapshot out;
  out.snapshot_id = SnapshotId(id);
  out.sequence_number = sequence;
  out.timestamp_ms = timestamp_ms;
  out.manifest_list = "file:///lake/db/t/metadata/list.avro";
  out.summary = {{"operation", "append"}};
  out.schema_id = 0;
  return out;
}

SetSnapshotRef MainAt(int64_t id) {
  SetSnapshotRef out;
  out.value.snapshot_id = SnapshotId(id);
  return out;
}

TableMetadata Apply(const TableMetadata& base, std::vector<TableUpdate> updates, int64_t now_ms = 5000) {
  auto out = ApplyUpdates(base, updates, now_ms, "file:///lake/db/t/metadata/previous.metadata.json");
  EXPECT_TRUE(out.has_value()) << out.error().ToString();
  return out.has_value() ? *out : base;
}

ErrorCode CodeOf(const TableMetadata& base, std::vector<TableUpdate> updates) {
  auto out = ApplyUpdates(base, updates, 5000, "");
  EXPECT_FALSE(out.has_value());
  return out.has_value() ? ErrorCode::kInternal : out.error().code();
}

std::vector<int64_t> LogIds(const TableMetadata& metadata) {
  std::vector<int64_t> out;
  for (const auto& entry : metadata.snapshot_log) out.push_back(entry.snapshot_id.value());
  return out;
}

TEST(NewTableMetadata, NumbersFieldsBreadthFirst) {
  TableMetadata made = Base();
  const schema::Schema& schema = made.CurrentSchema();
  auto id = [&](const char* name) { return schema.FindByName(name)->id.value(); };
  // id, place, tags, time; then place's; then the map's key and value; then the list's element.
  EXPECT_EQ(id("id"), 1);
  EXPECT_EQ(id("place"), 2);
  EXPECT_EQ(id("tags"), 3);
  EXPECT_EQ(id("time"), 4);
  EXPECT_EQ(id("place.lat"), 5);
  EXPECT_EQ(id("place.lon"), 6);
  EXPECT_EQ(id("tags.key"), 7);
  EXPECT_EQ(id("tags.value"), 8);
  EXPECT_EQ(id("tags.value.element"), 9);
  EXPECT_EQ(made.last_column_id, 9);
  EXPECT_EQ(schema.identifier_field_ids, std::vector<FieldId>{FieldId(1)});
  EXPECT_EQ(made.DefaultSpec().fields[0].source_id, FieldId(4));
  EXPECT_EQ(made.DefaultSpec().fields[0].field_id, FieldId(1000));
  EXPECT_EQ(made.last_partition_id, 1000);
  EXPECT_EQ(made.DefaultSortOrder().order_id, 1);
  EXPECT_EQ(made.DefaultSortOrder().fields[0].source_id, FieldId(4));
  EXPECT_EQ(made.location, "file:///lake/db/t");
  EXPECT_EQ(made.last_updated_ms, 1000);
  auto again = TableMetadata::Parse(made.Serialize());
  ASSERT_TRUE(again.has_value()) << again.error().ToString();
  EXPECT_EQ(again->Serialize(), made.Serialize());
}

TEST(NewTableMetadata, UnpartitionedUnsorted) {
  CreateTableRequest request = Request();
  request.spec.fields.clear();
  request.sort_order.fields.clear();
  request.properties = {{"format-version", "2"}, {"a", "b"}};
  auto made = NewTableMetadata(request, "u", 1);
  ASSERT_TRUE(made.has_value()) << made.error().ToString();
  EXPECT_EQ(made->last_partition_id, 999);
  EXPECT_EQ(made->default_sort_order_id, 0);
  EXPECT_EQ(made->sort_orders.size(), 1u);
  EXPECT_EQ(made->properties, (Properties{{"a", "b"}}));
}

TEST(NewTableMetadata, RefusesWhatNoReaderWouldTake) {
  auto code = [](auto change) {
    CreateTableRequest request = Request();
    change(request);
    auto made = NewTableMetadata(request, "u", 1);
    return made.has_value() ? std::optional<ErrorCode>() : made.error().code();
  };
  using R = CreateTableRequest;
  constexpr auto kInvalid = ErrorCode::kInvalidInput;
  EXPECT_EQ(code([](R&) {}), std::nullopt);
  EXPECT_EQ(code([](R& r) { r.location = "/"; }), kInvalid);
  EXPECT_EQ(code([](R& r) { r.schema.fields[3].name = "id"; }), kInvalid);
  EXPECT_EQ(code([](R& r) { r.schema.fields[3].name = ""; }), kInvalid);
  EXPECT_EQ(code([](R& r) { r.schema.fields[3].type = nullptr; }), kInvalid);
  EXPECT_EQ(code([](R& r) { r.schema.fields[0].id = FieldId(50); }), kInvalid);            // 50 is partitioned by
  EXPECT_EQ(code([](R& r) { r.schema.fields[1].id = FieldId(40); }), std::nullopt);        // nobody refers to 40
  EXPECT_EQ(code([](R& r) { r.schema.identifier_field_ids = {FieldId(50)}; }), kInvalid);  // optional
  EXPECT_EQ(code([](R& r) { r.schema.identifier_field_ids = {FieldId(31)}; }), kInvalid);  // a double
  EXPECT_EQ(code([](R& r) { r.schema.identifier_field_ids = {FieldId(41)}; }), kInvalid);  // in a map
  EXPECT_EQ(code([](R& r) { r.spec.fields[0].source_id = FieldId(99); }), kInvalid);
  EXPECT_EQ(code([](R& r) { r.spec.fields[0].source_id = FieldId(10); }), kInvalid);  // day of a long
  EXPECT_EQ(code([](R& r) { r.spec.fields[0].name = "id"; }), kInvalid);
  EXPECT_EQ(code([](R& r) { r.spec.fields.push_back(r.spec.fields[0]); }), kInvalid);
  EXPECT_EQ(code([](R& r) { r.sort_order.fields[0].source_id = FieldId(99); }), kInvalid);
  EXPECT_EQ(code([](R& r) { r.properties["uuid"] = "x"; }), kInvalid);
  EXPECT_EQ(code([](R& r) { r.properties["format-version"] = "3"; }), ErrorCode::kUnsupported);
  EXPECT_EQ(code([](R& r) {
              r.schema.fields[3].type = Type::Primitive(TypeKind::kVariant);
              r.spec.fields.clear();
              r.sort_order.fields.clear();
            }),
            ErrorCode::kUnsupported);
  EXPECT_EQ(code([](R& r) { r.spec.fields[0].transform.kind = TransformKind::kUnknown; }), ErrorCode::kUnsupported);
}

TEST(NewTableMetadata, RefusesTextThatIsNotUtf8) {
  auto code = [](auto change) {
    CreateTableRequest request = Request();
    change(request);
    auto made = NewTableMetadata(request, "u", 1);
    return made.has_value() ? std::optional<ErrorCode>() : made.error().code();
  };
  using R = CreateTableRequest;
  EXPECT_EQ(code([](R& r) { r.schema.fields[0].name = r.schema.fields[0].doc = r.properties["\u65e5"] = "\u00e9"; }),
            std::nullopt);
  EXPECT_EQ(code([](R& r) { r.schema.fields[0].name = "\xff"; }), ErrorCode::kInvalidInput);
  EXPECT_EQ(code([](R& r) { r.schema.fields[0].doc = "caf\xe9"; }), ErrorCode::kInvalidInput);
  EXPECT_EQ(code([](R& r) { r.spec.fields[0].name = "\xed\xa0\x80"; }), ErrorCode::kInvalidInput);  // a surrogate
  EXPECT_EQ(code([](R& r) { r.properties["\xff"] = "a"; }), ErrorCode::kInvalidInput);
  EXPECT_EQ(code([](R& r) { r.properties["a"] = "\xc3"; }), ErrorCode::kInvalidInput);
}

Status Validate(std::vector<Field> fields, std::vector<FieldId> identifiers = {}) {
  schema::Schema schema;
  schema.fields = std::move(fields);
  schema.identifier_field_ids = std::move(identifiers);
  return ValidateSchema(schema, 2);
}

TEST(ValidateSchema, RefusesWhatIcebergRefuses) {
  auto integer = Type::Primitive(TypeKind::kInt);
  auto refused = [](std::vector<Field> fields) {
    Status status = Validate(std::move(fields));
    return !status.has_value() && status.error().code() == ErrorCode::kInvalidInput;
  };
  EXPECT_TRUE(refused({MakeField(1, "a", integer), MakeField(1, "b", integer)}));
  EXPECT_TRUE(refused({MakeField(1, "a", integer), MakeField(2, "b", Type::List(MakeField(1, "", integer)))}));
  EXPECT_TRUE(refused({MakeField(1, "a", integer), MakeField(2, "a", integer)}));
  EXPECT_TRUE(refused({MakeField(1, "", integer)}));
  EXPECT_TRUE(refused({MakeField(0, "a", integer)}));
  EXPECT_TRUE(refused({MakeField(-1, "a", integer)}));
  EXPECT_TRUE(refused({MakeField(schema::kReservedFieldIdMin, "a", integer)}));
  EXPECT_FALSE(refused({MakeField(schema::kReservedFieldIdMin - 1, "a", integer)}));
  schema::TypePtr deep = integer;
  for (int32_t id = 1; id < schema::kTypeDepthMax; ++id) deep = Type::List(MakeField(id, "", deep));
  EXPECT_FALSE(refused({MakeField(1000, "a", deep)}));
  EXPECT_TRUE(refused({MakeField(1000, "a", Type::List(MakeField(999, "", deep)))}));
}

TEST(ValidateSchema, AFullNameMeansOneField) {
  auto integer = Type::Primitive(TypeKind::kInt);
  auto code = [](std::vector<Field> fields) {
    Status status = Validate(std::move(fields));
    return status.has_value() ? std::optional<ErrorCode>() : status.error().code();
  };
  const Field holds_b = MakeField(1, "a", Type::Struct({MakeField(2, "b", integer)}));
  EXPECT_EQ(code({holds_b, MakeField(3, "a.b", integer)}), ErrorCode::kInvalidInput);
  EXPECT_EQ(code({MakeField(3, "a.b", integer), holds_b}), ErrorCode::kInvalidInput);
  EXPECT_EQ(code({holds_b, MakeField(3, "a.c", integer), MakeField(4, "b", integer)}), std::nullopt);
  EXPECT_EQ(code({MakeField(1, "a", Type::List(MakeField(2, "", integer))), MakeField(3, "a.element", integer)}),
            ErrorCode::kInvalidInput);
  EXPECT_EQ(code({MakeField(1, "a", Type::Struct({MakeField(2, "b.c", integer)})),
                  MakeField(3, "a.b", Type::Struct({MakeField(4, "c", integer)}))}),
            ErrorCode::kInvalidInput);
}

TEST(ValidateSchema, IdentifierFieldsFollowTheSpec) {
  auto integer = Type::Primitive(TypeKind::kInt);
  const std::vector<Field> fields = {
      MakeField(1, "id", integer, true),
      MakeField(2, "optional", integer),
      MakeField(3, "ratio", Type::Primitive(TypeKind::kDouble), true),
      MakeField(4, "inner", Type::Struct({MakeField(5, "id", integer, true)}), true),
      MakeField(6, "maybe", Type::Struct({MakeField(7, "id", integer, true)})),
      MakeField(8, "list", Type::List(MakeField(9, "", integer, true)), true),
      MakeField(10, "map", Type::Map(MakeField(11, "", integer), MakeField(12, "", integer, true)), true)};
  struct Case {
    int32_t id;
    bool allowed;
  };
  for (auto [id, allowed] : {Case{1, true}, Case{2, false}, Case{3, false}, Case{4, false}, Case{5, true},
                             Case{7, false}, Case{9, false}, Case{11, false}, Case{12, false}, Case{99, false}}) {
    EXPECT_EQ(Validate(fields, {FieldId(id)}).has_value(), allowed) << id;
  }
}

TEST(TableMetadata, BooleansAreReadAsJavaReadsThem) {
  TableMetadata table = Base();
  EXPECT_TRUE(table.BoolProperty("gc.enabled", true));
  EXPECT_FALSE(table.BoolProperty("gc.enabled", false));
  struct Case {
    const char* text;
    bool value;
  };
  for (auto [text, value] : {Case{"true", true}, Case{"TRUE", true}, Case{"True", true}, Case{"false", false},
                             Case{"", false}, Case{"yes", false}, Case{"1", false}, Case{"true ", false}}) {
    table.properties["gc.enabled"] = text;
    EXPECT_EQ(table.BoolProperty("gc.enabled", true), value) << text;
    EXPECT_EQ(table.BoolProperty("gc.enabled", false), value) << text;
  }
}

TEST(CheckRequirement, HoldsOrConflicts) {
  TableMetadata base = Apply(Base(), {AddSnapshot{MakeSnapshot(7, 1)}, MainAt(7)});
  struct Case {
    TableRequirement requirement;
    bool holds;
  };
  const Case cases[] = {
      {AssertCreate{}, false},
      {AssertTableUuid{base.table_uuid}, true},
      {AssertTableUuid{"other"}, false},
      {AssertRefSnapshotId{"main", SnapshotId(7)}, true},
      {AssertRefSnapshotId{"main", SnapshotId(8)}, false},
      {AssertRefSnapshotId{"main", std::nullopt}, false},
      {AssertRefSnapshotId{"absent", std::nullopt}, true},
      {AssertRefSnapshotId{"absent", SnapshotId(7)}, false},
      {AssertLastAssignedFieldId{9}, true},
      {AssertLastAssignedFieldId{8}, false},
      {AssertCurrentSchemaId{0}, true},
      {AssertCurrentSchemaId{1}, false},
      {AssertLastAssignedPartitionId{1000}, true},
      {AssertLastAssignedPartitionId{999}, false},
      {AssertDefaultSpecId{0}, true},
      {AssertDefaultSpecId{1}, false},
      {AssertDefaultSortOrderId{1}, true},
      {AssertDefaultSortOrderId{0}, false},
  };
  for (const Case& one : cases) {
    Status status = CheckRequirement(one.requirement, &base);
    EXPECT_EQ(status.has_value(), one.holds) << ToJson(one.requirement).dump();
    if (!status.has_value()) {
      EXPECT_EQ(status.error().code(), ErrorCode::kConflict);
    }
    bool is_create = std::holds_alternative<AssertCreate>(one.requirement);
    EXPECT_EQ(CheckRequirement(one.requirement, nullptr).has_value(), is_create) << ToJson(one.requirement).dump();
  }
}

TEST(ApplyUpdates, AppendsASnapshot) {
  TableMetadata base = Base();
  TableMetadata next = Apply(base, {AddSnapshot{MakeSnapshot(7, 1)}, MainAt(7), SetProperties{{{"a", "1"}}}});
  EXPECT_EQ(next.current_snapshot_id, SnapshotId(7));
  EXPECT_EQ(next.last_sequence_number, 1);
  EXPECT_EQ(next.last_updated_ms, 5000);
  EXPECT_EQ(LogIds(next), std::vector<int64_t>{7});
  EXPECT_EQ(next.snapshot_log[0].timestamp_ms, next.last_updated_ms);
  ASSERT_EQ(next.metadata_log.size(), 1u);
  EXPECT_EQ(next.metadata_log[0].timestamp_ms, base.last_updated_ms);
  EXPECT_EQ(next.properties.at("a"), "1");
  EXPECT_TRUE(TableMetadata::Parse(next.Serialize()).has_value());
}

TEST(ApplyUpdates, TimeNeverGoesBack) {
  TableMetadata base = Apply(Base(), {AddSnapshot{MakeSnapshot(7, 1)}, MainAt(7)}, 9000);
  TableMetadata later = Apply(base, {AddSnapshot{MakeSnapshot(8, 2)}, MainAt(8)}, 100);
  EXPECT_EQ(later.last_updated_ms, 9000);
  EXPECT_EQ(later.snapshot_log[1].timestamp_ms, 9000);
  base.snapshot_log[0].timestamp_ms = 12'000;  // another writer's clock
  EXPECT_EQ(Apply(base, {SetProperties{}}, 100).last_updated_ms, 12'000);
  later = Apply(base, {AddSnapshot{MakeSnapshot(8, 2, 20'000)}, MainAt(8)}, 100);
  EXPECT_EQ(later.snapshot_log[1].timestamp_ms, 20'000);
}

TEST(ApplyUpdates, IntermediateSnapshotsAreNotInTheLog) {
  TableMetadata next =
      Apply(Base(), {AddSnapshot{MakeSnapshot(7, 1)}, MainAt(7), AddSnapshot{MakeSnapshot(8, 2)}, MainAt(8)});
  EXPECT_EQ(LogIds(next), std::vector<int64_t>{8});
  EXPECT_EQ(next.snapshots.size(), 2u);
}

TEST(ApplyUpdates, RollbackIsLogged) {
  TableMetadata base = Apply(Base(), {AddSnapshot{MakeSnapshot(7, 1)}, MainAt(7)});
  base = Apply(base, {AddSnapshot{MakeSnapshot(8, 2)}, MainAt(8)});
  base = Apply(base, {MainAt(7)});
  EXPECT_EQ(LogIds(base), (std::vector<int64_t>{7, 8, 7}));
  EXPECT_EQ(LogIds(Apply(base, {MainAt(7)})), (std::vector<int64_t>{7, 8, 7}));  // not moved, not logged
}

TEST(ApplyUpdates, RemovedSnapshotsTakeTheLogBeforeThemAlong) {
  TableMetadata base = Base();
  for (int64_t id : {1, 2, 3, 4}) base = Apply(base, {AddSnapshot{MakeSnapshot(id, id)}, MainAt(id)});
  SetSnapshotRef tag{"keep", {}};
  tag.value.snapshot_id = SnapshotId(2);
  tag.value.type = "tag";
  base = Apply(base, {tag});
  base.other_members_json["statistics"] = R"([{"snapshot-id": 1}, {"snapshot-id": 2}, {"snapshot-id": 3}, 5])";
  TableMetadata next = Apply(base, {RemoveSnapshots{{SnapshotId(2), SnapshotId(99)}}, RemoveSnapshotRef{"keep"}});
  EXPECT_EQ(LogIds(next), (std::vector<int64_t>{3, 4}));  // 1 is still listed, but its place in history is not known
  EXPECT_EQ(next.snapshots.size(), 3u);
  EXPECT_FALSE(next.refs.contains("keep"));
  EXPECT_EQ(next.other_members_json["statistics"], R"([{"snapshot-id":1},{"snapshot-id":3},5])");
  EXPECT_EQ(next.current_snapshot_id, SnapshotId(4));

  TableMetadata empty = Apply(base, {RemoveSnapshotRef{"main"}, RemoveSnapshots{{SnapshotId(4)}}});
  EXPECT_FALSE(empty.current_snapshot_id.has_value());
  EXPECT_TRUE(empty.snapshot_log.empty());
}

TEST(ApplyUpdates, ASnapshotThatARefNamesIsNotRemoved) {
  TableMetadata base = Base();
  for (int64_t id : {1, 2, 3}) base = Apply(base, {AddSnapshot{MakeSnapshot(id, id)}, MainAt(id)});
  SetSnapshotRef tag{"keep", {}};
  tag.value.snapshot_id = SnapshotId(1);
  tag.value.type = "tag";
  base = Apply(base, {tag});
  EXPECT_EQ(CodeOf(base, {RemoveSnapshots{{SnapshotId(1)}}}), ErrorCode::kConflict);
  EXPECT_EQ(CodeOf(base, {RemoveSnapshots{{SnapshotId(3)}}}), ErrorCode::kConflict);  // main
  EXPECT_EQ(CodeOf(base, {RemoveSnapshotRef{"keep"}, tag, RemoveSnapshots{{SnapshotId(1)}}}), ErrorCode::kConflict);
  // Main is moved away before, or the tag afterwards.
  EXPECT_EQ(Apply(base, {MainAt(2), RemoveSnapshots{{SnapshotId(3)}}}).snapshots.size(), 2u);
  tag.value.snapshot_id = SnapshotId(2);
  EXPECT_EQ(Apply(base, {RemoveSnapshots{{SnapshotId(1)}}, tag}).refs.at("keep").snapshot_id, SnapshotId(2));
}

TEST(ApplyUpdates, ALogThatNamesTrimmedSnapshotsStaysWithoutRemoval) {
  TableMetadata base = Apply(Base(), {AddSnapshot{MakeSnapshot(7, 1)}, MainAt(7)});
  base.snapshot_log.insert(base.snapshot_log.begin(), {100, SnapshotId(5)});
  EXPECT_EQ(LogIds(Apply(base, {SetProperties{}})), (std::vector<int64_t>{5, 7}));
}

TEST(ApplyUpdates, RemovingMainEmptiesTheTable) {
  TableMetadata base = Apply(Base(), {AddSnapshot{MakeSnapshot(7, 1)}, MainAt(7)});
  TableMetadata next = Apply(base, {RemoveSnapshotRef{"main"}, RemoveSnapshotRef{"absent"}});
  EXPECT_FALSE(next.current_snapshot_id.has_value());
  EXPECT_TRUE(next.refs.empty());
  EXPECT_EQ(next.snapshots.size(), 1u);
}

TEST(ApplyUpdates, MetadataLogIsCapped) {
  TableMetadata base = Apply(Base(), {SetProperties{{{"write.metadata.previous-versions-max", "3"}}}});
  for (int i = 0; i < 6; ++i) {
    std::string number = std::to_string(i);
    auto next = ApplyUpdates(base, {SetProperties{{{"i", number}}}}, 6000 + i, "file:///m" + number);
    ASSERT_TRUE(next.has_value());
    base = *next;
  }
  ASSERT_EQ(base.metadata_log.size(), 3u);
  EXPECT_EQ(base.metadata_log[0].metadata_file, "file:///m3");
  EXPECT_EQ(base.metadata_log[2].metadata_file, "file:///m5");
  EXPECT_EQ(base.metadata_log[2].timestamp_ms, 6004);
  for (const char* bad : {"0", "-5"}) {
    EXPECT_EQ(Apply(base, {SetProperties{{{"write.metadata.previous-versions-max", bad}}}}).metadata_log.size(), 1u);
  }
  EXPECT_EQ(Apply(base, {SetProperties{{{"write.metadata.previous-versions-max", "many"}}}}).metadata_log.size(), 4u);
}

TEST(ApplyUpdates, SchemasAreReusedOrAdded) {
  TableMetadata base = Base();
  schema::Schema wider = base.CurrentSchema();
  wider.fields.push_back(MakeField(10, "extra", Type::Primitive(TypeKind::kString)));
  TableMetadata next = Apply(base, {AddSchema{wider, 10}, SetCurrentSchema{}});
  EXPECT_EQ(next.current_schema_id, 1);
  EXPECT_EQ(next.last_column_id, 10);
  schema::Schema documented = wider;
  documented.fields.back().doc = "said later";
  EXPECT_EQ(Apply(next, {AddSchema{documented, 0}, SetCurrentSchema{}}).current_schema_id, 2);
  TableMetadata back = Apply(next, {AddSchema{base.CurrentSchema(), 0}, SetCurrentSchema{}});
  EXPECT_EQ(back.current_schema_id, 0);
  EXPECT_EQ(back.schemas.size(), 2u);
  EXPECT_EQ(back.last_column_id, 10);  // ids are never given again
}

TEST(ApplyUpdates, SpecsAreReusedAndKeepTheirFieldIds) {
  TableMetadata base = Base();
  schema::PartitionSpec wider = base.DefaultSpec();
  Transform bucket;
  bucket.kind = TransformKind::kBucket;
  bucket.parameter = 8;
  wider.fields[0].field_id = FieldId(0);
  wider.fields.push_back({FieldId(1), FieldId(0), "id_bucket", bucket});
  TableMetadata next = Apply(base, {AddPartitionSpec{wider}, SetDefaultSpec{}});
  EXPECT_EQ(next.default_spec_id, 1);
  EXPECT_EQ(next.DefaultSpec().fields[0].field_id, FieldId(1000));
  EXPECT_EQ(next.DefaultSpec().fields[1].field_id, FieldId(1001));
  EXPECT_EQ(next.last_partition_id, 1001);
  TableMetadata back = Apply(next, {AddPartitionSpec{base.DefaultSpec()}, SetDefaultSpec{}});
  EXPECT_EQ(back.default_spec_id, 0);
  EXPECT_EQ(back.partition_specs.size(), 2u);
  schema::PartitionSpec unpartitioned;
  TableMetadata flat = Apply(back, {AddPartitionSpec{unpartitioned}, SetDefaultSpec{}});
  EXPECT_EQ(flat.default_spec_id, 2);
  EXPECT_EQ(flat.last_partition_id, 1001);

  schema::PartitionSpec stolen = wider;
  stolen.fields[0].field_id = FieldId(1001);
  stolen.fields[1].field_id = FieldId(1002);
  EXPECT_EQ(CodeOf(next, {AddPartitionSpec{stolen}, AddPartitionSpec{{0, {{FieldId(1), FieldId(1000), "b", bucket}}}}}),
            ErrorCode::kInvalidInput);
}

TEST(ApplyUpdates, SortOrdersAreReused) {
  TableMetadata base = Base();
  schema::SortOrder by_id;
  by_id.fields = {{FieldId(1), Transform{}}};
  TableMetadata next = Apply(base, {AddSortOrder{by_id}, SetDefaultSortOrder{}});
  EXPECT_EQ(next.default_sort_order_id, 2);
  EXPECT_EQ(Apply(next, {AddSortOrder{base.DefaultSortOrder()}, SetDefaultSortOrder{}}).default_sort_order_id, 1);
  EXPECT_EQ(Apply(next, {AddSortOrder{}, SetDefaultSortOrder{}}).default_sort_order_id, 0);
}

TEST(ApplyUpdates, RefusesWhatContradictsTheBase) {
  TableMetadata base = Apply(Base(), {AddSnapshot{MakeSnapshot(7, 5)}, MainAt(7)});
  Snapshot no_operation = MakeSnapshot(8, 6);
  no_operation.summary.clear();
  Snapshot no_list = MakeSnapshot(8, 6);
  no_list.manifest_list.clear();
  Snapshot bad_schema = MakeSnapshot(8, 6);
  bad_schema.schema_id = 4;
  SetSnapshotRef main_tag = MainAt(7);
  main_tag.value.type = "tag";
  schema::Schema without_source = base.CurrentSchema();
  without_source.fields.pop_back();  // the table is partitioned by "time"
  const std::vector<TableUpdate> cases[] = {
      {AssignUuid{"other"}},
      {AssignUuid{""}},
      {UpgradeFormatVersion{1}},
      {SetCurrentSchema{9}},
      {SetCurrentSchema{-1}},
      {SetDefaultSpec{9}},
      {SetDefaultSpec{-1}},
      {SetDefaultSortOrder{9}},
      {SetDefaultSortOrder{-1}},
      {AddSchema{base.CurrentSchema(), 3}},
      {AddSchema{without_source, 0}, SetCurrentSchema{-1}},
      {AddSnapshot{MakeSnapshot(7, 6)}},
      {AddSnapshot{MakeSnapshot(8, 5)}},
      {AddSnapshot{MakeSnapshot(-8, 6)}},
      {AddSnapshot{no_operation}},
      {AddSnapshot{no_list}},
      {AddSnapshot{bad_schema}},
      {MainAt(8)},
      {main_tag},
      {SetLocation{"//"}},
      {SetProperties{{{"format-version", "3"}}}},
  };
  for (const auto& updates : cases) {
    EXPECT_EQ(CodeOf(base, updates), ErrorCode::kInvalidInput) << ToJson(updates.back()).dump();
  }
  EXPECT_EQ(CodeOf(base, {SetProperties{{{"a", "\xff"}}}}), ErrorCode::kInvalidInput);
  EXPECT_EQ(CodeOf(base, {UpgradeFormatVersion{4}}), ErrorCode::kUnsupported);
}

TEST(ApplyUpdates, CountsRowsOfV3) {
  TableMetadata base = Apply(Base(), {UpgradeFormatVersion{3}});
  EXPECT_EQ(base.next_row_id, 0);
  Snapshot snapshot = MakeSnapshot(7, 1);
  EXPECT_EQ(CodeOf(base, {AddSnapshot{snapshot}}), ErrorCode::kInvalidInput);
  snapshot.first_row_id = 0;
  snapshot.added_rows = 50;
  TableMetadata next = Apply(base, {AddSnapshot{snapshot}, MainAt(7)});
  EXPECT_EQ(next.next_row_id, 50);
  snapshot.snapshot_id = SnapshotId(8);
  snapshot.sequence_number = 2;
  EXPECT_EQ(CodeOf(next, {AddSnapshot{snapshot}}), ErrorCode::kInvalidInput);
  snapshot.first_row_id = INT64_MAX - 1;
  EXPECT_EQ(CodeOf(next, {AddSnapshot{snapshot}}), ErrorCode::kInvalidInput);
}

TEST(ApplyUpdates, IdsAtTheirEndAreRefusedNotWrapped) {
  TableMetadata base = Base();
  base.schemas[0].schema_id = base.current_schema_id = INT32_MAX;
  base.partition_specs[0].spec_id = base.default_spec_id = INT32_MAX;
  schema::Schema wider = base.CurrentSchema();
  wider.fields.push_back(MakeField(10, "extra", Type::Primitive(TypeKind::kString)));
  EXPECT_EQ(CodeOf(base, {AddSchema{wider, 10}}), ErrorCode::kInvalidInput);
  EXPECT_EQ(CodeOf(base, {AddPartitionSpec{}}), ErrorCode::kInvalidInput);
}

TEST(ToJson, SpeaksRest) {
  SetSnapshotRef tag{"v1", {}};
  tag.value = {SnapshotId(9007199254740993), "tag", std::nullopt, std::nullopt, 60000};
  schema::PartitionSpec spec;
  spec.fields = {{FieldId(1), FieldId(0), "id", Transform{}}};
  const std::pair<TableUpdate, const char*> updates[] = {
      {AssignUuid{"u"}, R"({"action":"assign-uuid","uuid":"u"})"},
      {UpgradeFormatVersion{2}, R"({"action":"upgrade-format-version","format-version":2})"},
      {SetCurrentSchema{}, R"({"action":"set-current-schema","schema-id":-1})"},
      {AddPartitionSpec{spec},
       R"({"action":"add-spec","spec":{"fields":[{"name":"id","source-id":1,"transform":"identity"}],"spec-id":0}})"},
      {SetDefaultSpec{2}, R"({"action":"set-default-spec","spec-id":2})"},
      {AddSortOrder{}, R"({"action":"add-sort-order","sort-order":{"fields":[],"order-id":0}})"},
      {SetDefaultSortOrder{1}, R"({"action":"set-default-sort-order","sort-order-id":1})"},
      {tag, R"({"action":"set-snapshot-ref","max-ref-age-ms":60000,"ref-name":"v1","snapshot-id":9007199254740993,)"
            R"("type":"tag"})"},
      {RemoveSnapshots{{SnapshotId(1), SnapshotId(2)}}, R"({"action":"remove-snapshots","snapshot-ids":[1,2]})"},
      {RemoveSnapshotRef{"v1"}, R"({"action":"remove-snapshot-ref","ref-name":"v1"})"},
      {SetLocation{"s3://b/t"}, R"({"action":"set-location","location":"s3://b/t"})"},
      {SetProperties{{{"a", "b"}}}, R"({"action":"set-properties","updates":{"a":"b"}})"},
      {RemoveProperties{{"a"}}, R"({"action":"remove-properties","removals":["a"]})"},
  };
  for (const auto& [update, text] : updates) EXPECT_EQ(ToJson(update).dump(), text);
  json added = ToJson(TableUpdate(AddSnapshot{MakeSnapshot(7, 1)}));
  EXPECT_EQ(added["action"], "add-snapshot");
  EXPECT_EQ(added["snapshot"]["schema-id"], 0);
  EXPECT_EQ(added["snapshot"]["sequence-number"], 1);
  EXPECT_FALSE(added["snapshot"].contains("parent-snapshot-id"));
  EXPECT_EQ(ToJson(TableUpdate(AddSchema{Base().CurrentSchema(), 9}))["last-column-id"], 9);

  const std::pair<TableRequirement, const char*> requirements[] = {
      {AssertCreate{}, R"({"type":"assert-create"})"},
      {AssertTableUuid{"u"}, R"({"type":"assert-table-uuid","uuid":"u"})"},
      {AssertRefSnapshotId{}, R"({"ref":"main","snapshot-id":null,"type":"assert-ref-snapshot-id"})"},
      {AssertRefSnapshotId{"b", SnapshotId(3)}, R"({"ref":"b","snapshot-id":3,"type":"assert-ref-snapshot-id"})"},
      {AssertLastAssignedFieldId{4}, R"({"last-assigned-field-id":4,"type":"assert-last-assigned-field-id"})"},
      {AssertCurrentSchemaId{4}, R"({"current-schema-id":4,"type":"assert-current-schema-id"})"},
      {AssertLastAssignedPartitionId{4},
       R"({"last-assigned-partition-id":4,"type":"assert-last-assigned-partition-id"})"},
      {AssertDefaultSpecId{4}, R"({"default-spec-id":4,"type":"assert-default-spec-id"})"},
      {AssertDefaultSortOrderId{4}, R"({"default-sort-order-id":4,"type":"assert-default-sort-order-id"})"},
  };
  for (const auto& [requirement, text] : requirements) EXPECT_EQ(ToJson(requirement).dump(), text);
}

}  // namespace
}  // namespace firn::iceberg
