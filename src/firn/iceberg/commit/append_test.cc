#include "firn/iceberg/commit/append.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

#include "firn/env/testing/faulty_store.h"
#include "firn/env/testing/manual_clock.h"
#include "firn/env/testing/memory_store.h"
#include "firn/iceberg/commit/live_entries.h"
#include "firn/iceberg/commit/snapshot_expiry.h"
#include "firn/iceberg/manifest/avro_container.h"
#include "firn/iceberg/manifest/avro_encoder.h"
#include "firn/iceberg/manifest/test_data.h"

namespace firn::iceberg {
namespace {

using schema::Type;
using schema::TypeKind;
using schema::Value;

constexpr int64_t kNowMs = 1'700'000'000'000;

schema::PartitionField RegionField() {
  schema::PartitionField field;
  field.source_id = FieldId{2};
  field.field_id = FieldId{1000};
  field.name = "region";
  return field;
}

TableMetadata EventsTable() {
  CreateTableRequest request;
  request.location = "file:///lake/events";
  request.schema.fields = {{.id = FieldId{1}, .name = "id", .type = Type::Primitive(TypeKind::kLong), .required = true},
                           {.id = FieldId{2}, .name = "region", .type = Type::Primitive(TypeKind::kString)}};
  request.spec.fields = {RegionField()};
  return NewTableMetadata(request, "f79c3e09-677c-4bbd-a479-3f349cb785e7", kNowMs).value();
}

// A table with its store; Commit does what a catalog without conflicts does.
class AppendTest : public ::testing::Test {
 protected:
  NewDataFile File(const std::string& name, std::optional<std::string> region = "eu", int64_t rows = 10) {
    NewDataFile file;
    file.spec_id = table_.default_spec_id;
    file.file.file_path = "file:///lake/events/data/" + name;
    file.file.record_count = rows;
    file.file.file_size_in_bytes = 1000;
    file.file.partition = {region.has_value() ? Value(*region) : Value()};
    return file;
  }

  Result<PreparedCommit> Prepare(const AppendRequest& request) {
    return PrepareAppend(table_, request, store_, clock_, random_, *cache_);
  }

  PreparedCommit Commit(const AppendRequest& request) {
    auto prepared = Prepare(request);
    EXPECT_TRUE(prepared.has_value()) << prepared.error().ToString();
    for (const TableRequirement& requirement : prepared->requirements) {
      EXPECT_TRUE(CheckRequirement(requirement, &table_).has_value());
    }
    auto next = ApplyUpdates(table_, prepared->updates, clock_.WallMs(), "file:///lake/events/metadata/v.json");
    EXPECT_TRUE(next.has_value()) << next.error().ToString();
    table_ = *std::move(next);
    return *std::move(prepared);
  }

  AppendRequest Files(std::vector<NewDataFile> files) {
    AppendRequest request;
    request.files = files_.emplace_back(std::move(files));
    return request;
  }

  std::vector<ManifestFile> Manifests() { return ReadSnapshotManifests(*table_.CurrentSnapshot(), store_).value(); }

  std::vector<std::string> LivePaths() {
    std::vector<std::string> paths;
    const std::vector<ManifestEntry> live = ReadLiveEntries(table_, store_).value();
    for (const ManifestEntry& entry : live) {
      paths.push_back(entry.data_file.file_path.substr(sizeof("file:///lake/events/data/") - 1));
    }
    std::sort(paths.begin(), paths.end());
    return paths;
  }

  env::ManualClock clock_{kNowMs};
  env::SeededRandom random_{7};
  env::MemoryStore memory_{clock_};
  env::FaultyStore store_{memory_, clock_};
  std::unique_ptr<ManifestListCache> cache_ = std::make_unique<ManifestListCache>();
  std::deque<std::vector<NewDataFile>> files_;  // what requests point to
  TableMetadata table_ = EventsTable();
};

TEST_F(AppendTest, FirstAppend) {
  AppendRequest request = Files({File("a"), File("b", std::nullopt, 5)});
  request.summary = {{"firn.pipeline", "p"}, {"operation", "overwrite"}};
  request.set_properties = {{"firn.positions.p", "{}"}};
  request.manifest_list_header = {{"firn.positions.p", "{\"v\":1}"}};
  clock_.Advance(1000);
  const PreparedCommit commit = Commit(request);
  EXPECT_EQ(commit.sequence_number, 1);
  EXPECT_EQ(commit.manifests_written, 1);
  EXPECT_GT(commit.snapshot_id.value(), 0);
  ASSERT_EQ(commit.requirements.size(), 2u);
  EXPECT_EQ(std::get<AssertTableUuid>(commit.requirements[0]).uuid, table_.table_uuid);
  EXPECT_EQ(std::get<AssertRefSnapshotId>(commit.requirements[1]).snapshot_id, std::nullopt);
  ASSERT_EQ(commit.updates.size(), 3u);
  EXPECT_EQ(std::get<SetSnapshotRef>(commit.updates[1]).ref, "main");
  EXPECT_EQ(std::get<SetProperties>(commit.updates[2]).properties, request.set_properties);

  const Snapshot& snapshot = *table_.CurrentSnapshot();
  EXPECT_EQ(snapshot.snapshot_id, commit.snapshot_id);
  EXPECT_EQ(snapshot.timestamp_ms, kNowMs + 1000);
  EXPECT_FALSE(snapshot.parent_snapshot_id.has_value());
  EXPECT_EQ(snapshot.schema_id, table_.current_schema_id);
  EXPECT_EQ(snapshot.summary, (std::map<std::string, std::string>{{"operation", "append"},
                                                                  {"firn.pipeline", "p"},
                                                                  {"added-data-files", "2"},
                                                                  {"added-records", "15"},
                                                                  {"added-files-size", "2000"},
                                                                  {"changed-partition-count", "2"},
                                                                  {"total-data-files", "2"},
                                                                  {"total-records", "15"},
                                                                  {"total-files-size", "2000"},
                                                                  {"total-delete-files", "0"},
                                                                  {"total-position-deletes", "0"},
                                                                  {"total-equality-deletes", "0"}}));
  const auto list = ReadManifestList(memory_.Read(snapshot.manifest_list).value()).value();
  EXPECT_EQ(list.header.at("firn.positions.p"), "{\"v\":1}");
  EXPECT_EQ(list.header.at("parent-snapshot-id"), "null");
  ASSERT_EQ(list.manifests.size(), 1u);
  EXPECT_EQ(list.manifests[0].added_files_count, 2);
  EXPECT_EQ(list.manifests[0].sequence_number, 1);
  EXPECT_TRUE((*list.manifests[0].partitions)[0].contains_null);
  EXPECT_EQ(list.manifests[0].manifest_length, memory_.Stat(list.manifests[0].manifest_path)->size);
  const auto manifest = ReadManifest(memory_.Read(list.manifests[0].manifest_path).value()).value();
  EXPECT_FALSE(manifest.entries[0].sequence_number.has_value());
  EXPECT_EQ(manifest.entries[0].snapshot_id, commit.snapshot_id);
  EXPECT_EQ(LivePaths(), (std::vector<std::string>{"a", "b"}));
}

TEST_F(AppendTest, LaterAppendsCarryWhatIsThere) {
  const PreparedCommit first = Commit(Files({File("a")}));
  const PreparedCommit second = Commit(Files({File("b")}));
  EXPECT_EQ(second.sequence_number, 2);
  EXPECT_NE(second.snapshot_id, first.snapshot_id);
  EXPECT_EQ(std::get<AssertRefSnapshotId>(second.requirements[1]).snapshot_id, first.snapshot_id);
  EXPECT_EQ(table_.CurrentSnapshot()->parent_snapshot_id, first.snapshot_id);
  EXPECT_EQ(table_.CurrentSnapshot()->summary.at("total-records"), "20");
  const auto entries = ReadLiveEntries(table_, store_).value();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].sequence_number, 2);  // newest manifest first
  EXPECT_EQ(entries[1].sequence_number, 1);
  EXPECT_EQ(entries[1].snapshot_id, first.snapshot_id);
}

TEST_F(AppendTest, ACommitAfterOurOwnReadsNothing) {
  Commit(Files({File("a")}));
  const int64_t reads = store_.calls(env::StoreCall::kRead);
  Commit(Files({File("b")}));
  EXPECT_EQ(store_.calls(env::StoreCall::kRead), reads);
}

TEST_F(AppendTest, EmptyAppendWritesNoManifest) {
  Commit(Files({File("a")}));
  const auto before = Manifests();
  const PreparedCommit empty = Commit({});
  EXPECT_EQ(empty.manifests_written, 0);
  EXPECT_EQ(Manifests().at(0).manifest_path, before.at(0).manifest_path);
  EXPECT_EQ(table_.CurrentSnapshot()->summary.count("added-data-files"), 0u);
  EXPECT_EQ(table_.CurrentSnapshot()->summary.at("total-data-files"), "1");
  EXPECT_EQ(LivePaths(), std::vector<std::string>{"a"});
}

TEST_F(AppendTest, EmptyAppendOnAnEmptyTable) {
  Commit({});
  EXPECT_TRUE(Manifests().empty());
  EXPECT_EQ(table_.CurrentSnapshot()->summary.at("total-records"), "0");
  EXPECT_EQ(table_.CurrentSnapshot()->summary.at("changed-partition-count"), "0");
}

TEST_F(AppendTest, MergesAtTheCountAndKeepsSequenceNumbers) {
  table_.properties["commit.manifest.min-count-to-merge"] = "3";
  const PreparedCommit first = Commit(Files({File("a")}));
  Commit(Files({File("b")}));
  EXPECT_EQ(Manifests().size(), 2u);
  const PreparedCommit third = Commit(Files({File("c")}));
  EXPECT_EQ(third.manifests_merged, 3);
  EXPECT_EQ(third.manifests_written, 1);
  const auto manifests = Manifests();
  ASSERT_EQ(manifests.size(), 1u);
  EXPECT_EQ(manifests[0].added_files_count, 1);
  EXPECT_EQ(manifests[0].existing_files_count, 2);
  EXPECT_EQ(manifests[0].min_sequence_number, 1);
  EXPECT_EQ(manifests[0].sequence_number, 3);
  const auto merged = ReadManifest(memory_.Read(manifests[0].manifest_path).value()).value();
  ASSERT_EQ(merged.entries.size(), 3u);
  EXPECT_EQ(merged.entries[0].status, EntryStatus::kAdded);
  EXPECT_FALSE(merged.entries[0].sequence_number.has_value());
  EXPECT_EQ(merged.entries[2].status, EntryStatus::kExisting);
  EXPECT_EQ(merged.entries[2].sequence_number, 1);
  EXPECT_EQ(merged.entries[2].file_sequence_number, 1);
  EXPECT_EQ(merged.entries[2].snapshot_id, first.snapshot_id);
  EXPECT_EQ(LivePaths(), (std::vector<std::string>{"a", "b", "c"}));
}

TEST_F(AppendTest, MergingCanBeSwitchedOff) {
  table_.properties["commit.manifest.min-count-to-merge"] = "2";
  table_.properties["commit.manifest-merge.enabled"] = "false";
  for (const char* name : {"a", "b", "c"}) Commit(Files({File(name)}));
  EXPECT_EQ(Manifests().size(), 3u);
}

TEST_F(AppendTest, FullBinsAreMergedWhateverTheCount) {
  for (const char* name : {"a", "b", "c"}) Commit(Files({File(name)}));
  const int64_t length = Manifests().at(0).manifest_length;
  // Room for two: the oldest two go together, the third stays with the new one.
  table_.properties["commit.manifest.target-size-bytes"] = std::to_string(length * 5 / 2);
  const PreparedCommit fourth = Commit(Files({File("d")}));
  EXPECT_EQ(fourth.manifests_merged, 2);
  EXPECT_EQ(Manifests().size(), 3u);
  EXPECT_EQ(LivePaths(), (std::vector<std::string>{"a", "b", "c", "d"}));
}

TEST_F(AppendTest, ANewManifestBeginsAtTheTargetSize) {
  std::vector<NewDataFile> files;
  for (int i = 0; i < 3000; ++i) files.push_back(File(std::to_string(i) + "-" + std::to_string(random_.Next64())));
  const auto whole = Prepare(Files(files));
  ASSERT_EQ(whole->manifests_written, 1);
  const auto list = std::get<AddSnapshot>(whole->updates[0]).snapshot.manifest_list;
  const int64_t length = ReadManifestList(memory_.Read(list).value())->manifests.at(0).manifest_length;
  table_.properties["commit.manifest.target-size-bytes"] = std::to_string(length / 2);
  const PreparedCommit commit = Commit(Files(files));
  EXPECT_EQ(commit.manifests_written, 4);  // a half has a header too, so it is a little too long
  int64_t count = 0;
  for (const ManifestFile& manifest : Manifests()) {
    EXPECT_LE(manifest.manifest_length, length / 2);
    count += manifest.added_files_count;
  }
  EXPECT_EQ(count, 3000);
  EXPECT_EQ(LivePaths().size(), 3000u);
}

TEST_F(AppendTest, ATinyTargetSizeDoesNotMakeAManifestAFile) {
  table_.properties["commit.manifest.target-size-bytes"] = "1";
  std::vector<NewDataFile> files;
  for (int i = 0; i < 1000; ++i) files.push_back(File(std::to_string(i)));
  EXPECT_EQ(Commit(Files(files)).manifests_written, 4);
}

TEST_F(AppendTest, ExpiredSnapshotsGoAlongWhereItIsAsked) {
  table_.properties["history.expire.max-snapshot-age-ms"] = "1000";
  for (size_t i = 0; i < kExpireSpareNewest + 3; ++i) {
    clock_.Advance(10);
    Commit({});
  }
  const SnapshotId oldest = table_.snapshots.front().snapshot_id;
  clock_.Advance(kExpireAgeMinMs + 1);
  AppendRequest keep;
  keep.expire_on_commit = false;
  auto removals = [](const PreparedCommit& commit) {
    return std::count_if(commit.updates.begin(), commit.updates.end(),
                         [](const TableUpdate& update) { return std::holds_alternative<RemoveSnapshots>(update); });
  };
  EXPECT_EQ(removals(*Prepare(keep)), 0);
  // What expired a moment ago is left to maintenance for a while.
  AppendRequest later;
  later.expiry_grace_ms = kExpireAgeMinMs;
  EXPECT_EQ(removals(*Prepare(later)), 0);
  const PreparedCommit commit = Commit({});
  ASSERT_EQ(removals(commit), 1);
  EXPECT_EQ(std::get<RemoveSnapshots>(commit.updates.back()).snapshot_ids.front(), oldest);
  EXPECT_EQ(table_.FindSnapshot(oldest), nullptr);
}

// A manifest list as format v1 allows it: no counts.
std::string ListWithoutCounts(const ManifestFile& manifest) {
  const std::string schema = R"({"type": "record", "name": "manifest_file", "fields": [
      {"name": "manifest_path", "type": "string", "field-id": 500},
      {"name": "manifest_length", "type": "long", "field-id": 501},
      {"name": "partition_spec_id", "type": "int", "field-id": 502},
      {"name": "added_snapshot_id", "type": ["null", "long"], "default": null, "field-id": 503}]})";
  AvroContainerWriter writer(std::map<std::string, std::string>{{"avro.schema", schema}});
  ByteWriter bytes(writer.records());
  EncodeBytes(manifest.manifest_path, bytes);
  bytes.PutZigZagVarint(manifest.manifest_length);
  bytes.PutZigZagVarint(manifest.partition_spec_id);
  EncodeOptionalLong(manifest.added_snapshot_id.value(), bytes);
  EXPECT_TRUE(writer.EndRecord().has_value());
  return writer.Finish().value();
}

TEST_F(AppendTest, CountsThatV1LeftOutAreTakenFromTheManifest) {
  const PreparedCommit first = Commit(Files({File("a", "eu", 7), File("b", "us", 5)}));
  const ManifestFile manifest = Manifests().at(0);
  memory_.Overwrite(table_.CurrentSnapshot()->manifest_list, ListWithoutCounts(manifest));
  EXPECT_EQ(Manifests().at(0).added_files_count, kUnknownCount);
  cache_ = std::make_unique<ManifestListCache>();
  Commit(Files({File("c")}));
  ASSERT_EQ(Manifests().size(), 2u);
  const ManifestFile carried = Manifests().at(1);
  EXPECT_EQ(carried.manifest_path, manifest.manifest_path);
  EXPECT_EQ(carried.added_files_count, 2);
  EXPECT_EQ(carried.added_rows_count, 12);
  EXPECT_EQ(carried.existing_files_count, 0);
  EXPECT_EQ(carried.deleted_rows_count, 0);
  EXPECT_EQ(LivePaths(), (std::vector<std::string>{"a", "b", "c"}));
}

TEST_F(AppendTest, AManifestOfUnknownCountsIsNotTakenForEmpty) {
  Commit(Files({File("a")}));
  ManifestFile unknown = Manifests().at(0);
  unknown.added_files_count = unknown.existing_files_count = kUnknownCount;
  cache_->Put(table_.CurrentSnapshot()->manifest_list,
              std::make_shared<const std::vector<ManifestFile>>(std::vector{unknown}));
  // Refused by the writer of the list rather than dropped with its rows.
  EXPECT_FALSE(Prepare(Files({File("b")})).has_value());
}

TEST_F(AppendTest, TheLastSequenceNumberHasNoNext) {
  table_.last_sequence_number = INT64_MAX;
  EXPECT_EQ(Prepare(Files({File("a")})).error().code(), ErrorCode::kCorruption);
}

TEST_F(AppendTest, ADamagedManifestIsCarriedNotMerged) {
  table_.properties["commit.manifest.min-count-to-merge"] = "2";
  Commit(Files({File("a")}));
  const std::string damaged = Manifests().at(0).manifest_path;
  memory_.Overwrite(damaged, "not avro");
  const PreparedCommit second = Commit(Files({File("b")}));
  EXPECT_EQ(second.manifests_merged, 0);
  const auto manifests = Manifests();
  ASSERT_EQ(manifests.size(), 2u);
  EXPECT_EQ(manifests[1].manifest_path, damaged);
  EXPECT_EQ(ReadLiveEntries(table_, store_).error().code(), ErrorCode::kCorruption);
}

TEST_F(AppendTest, OneManifestASpec) {
  schema::PartitionSpec unpartitioned;
  unpartitioned.spec_id = 9;
  table_.partition_specs.push_back(unpartitioned);
  NewDataFile plain = File("plain");
  plain.spec_id = 9;
  plain.file.partition.clear();
  const PreparedCommit commit = Commit(Files({File("a"), plain, File("b")}));
  EXPECT_EQ(commit.manifests_written, 2);
  ASSERT_EQ(Manifests().size(), 2u);
  EXPECT_NE(Manifests()[0].partition_spec_id, Manifests()[1].partition_spec_id);
  // Manifests of different specs are not merged with each other.
  table_.properties["commit.manifest.min-count-to-merge"] = "2";
  const PreparedCommit second = Commit(Files({File("c")}));
  EXPECT_EQ(second.manifests_merged, 2);
  EXPECT_EQ(Manifests().size(), 2u);
  EXPECT_EQ(LivePaths(), (std::vector<std::string>{"a", "b", "c", "plain"}));
}

TEST_F(AppendTest, TheCallbackSeesTheIdentityBeforeAnythingIsWritten) {
  AppendRequest request = Files({File("a")});
  SnapshotId seen;
  request.on_identity = [&](SnapshotId snapshot_id, int64_t sequence_number, AppendRequest& out) -> Status {
    EXPECT_EQ(memory_.object_count(), 0u);
    EXPECT_EQ(sequence_number, 1);
    seen = snapshot_id;
    out.set_properties["s"] = std::to_string(snapshot_id.value());
    out.manifest_list_header["h"] = "v";
    return {};
  };
  const PreparedCommit commit = Commit(request);
  EXPECT_EQ(commit.snapshot_id, seen);
  EXPECT_EQ(table_.properties.at("s"), std::to_string(seen.value()));
  request.on_identity = [](SnapshotId, int64_t, AppendRequest&) -> Status { return Fail(ErrorCode::kConflict, "no"); };
  EXPECT_EQ(Prepare(request).error().code(), ErrorCode::kConflict);
}

TEST_F(AppendTest, SnapshotTimesNeverGoBack) {
  table_.last_updated_ms = kNowMs + 5000;
  EXPECT_EQ(Prepare({})->snapshot_timestamp_ms, kNowMs + 5000);
  table_.snapshot_log.push_back({kNowMs + 7000, SnapshotId{1}});
  EXPECT_EQ(Prepare({})->snapshot_timestamp_ms, kNowMs + 7000);
}

TEST_F(AppendTest, MainKeepsItsRetention) {
  Commit({});
  table_.refs["main"].min_snapshots_to_keep = 12;
  const auto prepared = Prepare({});
  EXPECT_EQ(std::get<SetSnapshotRef>(prepared->updates[1]).value.min_snapshots_to_keep, 12);
  EXPECT_EQ(std::get<SetSnapshotRef>(prepared->updates[1]).value.snapshot_id, prepared->snapshot_id);
}

TEST_F(AppendTest, EachAttemptHasItsOwnNames) {
  AppendRequest request = Files({File("a")});
  const auto first = Prepare(request);
  const auto second = Prepare(request);
  EXPECT_NE(first->snapshot_id, second->snapshot_id);
  EXPECT_NE(std::get<AddSnapshot>(first->updates[0]).snapshot.manifest_list,
            std::get<AddSnapshot>(second->updates[0]).snapshot.manifest_list);
  EXPECT_EQ(memory_.object_count(), 4u);
}

TEST_F(AppendTest, RefusesFilesThatCannotBeAppended) {
  auto code = [&](NewDataFile file) { return Prepare(Files({std::move(file)})).error().code(); };
  NewDataFile unknown_spec = File("a");
  unknown_spec.spec_id = 42;
  EXPECT_EQ(code(unknown_spec), ErrorCode::kInvalidInput);
  NewDataFile deletes = File("a");
  deletes.file.content = FileContent::kPositionDeletes;
  EXPECT_EQ(code(deletes), ErrorCode::kInvalidInput);
  NewDataFile tuple = File("a");
  tuple.file.partition.clear();
  EXPECT_EQ(code(tuple), ErrorCode::kInvalidInput);
  EXPECT_EQ(Prepare(Files({File("a"), File("a")})).error().code(), ErrorCode::kInvalidInput);
  AppendRequest reserved = Files({File("a")});
  reserved.manifest_list_header["avro.codec"] = "null";
  EXPECT_EQ(Prepare(reserved).error().code(), ErrorCode::kInvalidInput);
}

TEST_F(AppendTest, AListThatCannotBeReadIsCorruption) {
  Commit(Files({File("a")}));
  const std::string list = table_.CurrentSnapshot()->manifest_list;
  ManifestListCache cold;
  auto code = [&] { return PrepareAppend(table_, Files({File("b")}), store_, clock_, random_, cold).error().code(); };
  const std::string good = memory_.Read(list).value();
  memory_.Overwrite(list, good.substr(0, good.size() / 2));
  EXPECT_EQ(code(), ErrorCode::kCorruption);
  ASSERT_TRUE(memory_.Delete(list).has_value());
  EXPECT_EQ(code(), ErrorCode::kCorruption);
  memory_.Overwrite(list, good);
  store_.Inject({.call = env::StoreCall::kRead, .code = ErrorCode::kUnavailable});
  EXPECT_EQ(code(), ErrorCode::kUnavailable);
  // Without its head the table would seem empty, and a commit would drop all rows.
  table_.snapshots.clear();
  EXPECT_EQ(code(), ErrorCode::kCorruption);
}

TEST_F(AppendTest, EveryFailingWriteEndsTheAttemptAndTheNextSucceeds) {
  table_.properties["commit.manifest.min-count-to-merge"] = "2";
  Commit(Files({File("a")}));
  for (int64_t nth = 1; nth <= 2; ++nth) {
    for (ErrorCode failure : {ErrorCode::kTimeout, ErrorCode::kUnauthorized, ErrorCode::kResourceExhausted}) {
      store_.Inject({.call = env::StoreCall::kPut, .nth = nth, .code = failure});
      EXPECT_FALSE(Prepare(Files({File("b")})).has_value());
      store_.ClearFaults();
    }
  }
  Commit(Files({File("b")}));
  EXPECT_EQ(LivePaths(), (std::vector<std::string>{"a", "b"}));
}

TEST_F(AppendTest, ChanceThatOnlyRepeatsItselfEnds) {
  struct Stuck final : env::Random {
    uint64_t Next64() override { return 0; }
  } stuck;
  EXPECT_EQ(PrepareAppend(table_, {}, store_, clock_, stuck, *cache_).error().code(), ErrorCode::kInternal);
}

TEST_F(AppendTest, TotalsAreLeftOutOrCountedWhenTheParentHasNone) {
  Commit(Files({File("a", "eu", 7)}));
  table_.snapshots.ReplaceAll([](Snapshot& snapshot) { snapshot.summary = {{"operation", "append"}}; });
  Commit(Files({File("b", "eu", 3)}));
  const auto& summary = table_.CurrentSnapshot()->summary;
  EXPECT_EQ(summary.at("total-records"), "10");
  EXPECT_EQ(summary.at("total-data-files"), "2");
  EXPECT_EQ(summary.at("total-delete-files"), "0");
  EXPECT_EQ(summary.count("total-files-size"), 0u);
  EXPECT_EQ(summary.count("total-position-deletes"), 0u);
  table_.snapshots.ReplaceAll([](Snapshot& snapshot) {
    snapshot.summary["total-files-size"] = "9223372036854775807";
    snapshot.summary["total-position-deletes"] = "many";
  });
  Commit(Files({File("c")}));
  EXPECT_EQ(table_.CurrentSnapshot()->summary.count("total-files-size"), 0u);
  EXPECT_EQ(table_.CurrentSnapshot()->summary.count("total-position-deletes"), 0u);
}

TEST_F(AppendTest, ATableOfJavasIsAppendedToAndMerged) {
  table_ = TableMetadata::Parse(ReadManifestTestData("java_v2.metadata.json")).value();
  const std::string list = table_.CurrentSnapshot()->manifest_list;
  memory_.Overwrite(list, ReadManifestTestData("java_v2_list.avro"));
  const auto javas = ReadManifestList(ReadManifestTestData("java_v2_list.avro")).value().manifests;
  memory_.Overwrite(javas[0].manifest_path, ReadManifestTestData("java_v2_data.avro"));
  memory_.Overwrite(javas[1].manifest_path, ReadManifestTestData("java_v2_deleted.avro"));
  table_.properties["commit.manifest.min-count-to-merge"] = "2";
  NewDataFile file = File("new");
  file.file.partition.assign(12, Value());
  const PreparedCommit commit = Commit(Files({file}));
  EXPECT_EQ(commit.sequence_number, 5);
  EXPECT_EQ(commit.manifests_merged, 2);
  EXPECT_EQ(table_.CurrentSnapshot()->summary.at("total-position-deletes"), "2");
  EXPECT_EQ(table_.CurrentSnapshot()->summary.at("total-records"), "21");
  const auto manifests = Manifests();
  // The manifest with nothing but a deleted entry is gone, the delete manifest is carried as it was.
  ASSERT_EQ(manifests.size(), 2u);
  EXPECT_EQ(manifests[1].manifest_path, javas[2].manifest_path);
  EXPECT_EQ(manifests[1].content, ManifestContent::kDeletes);
  EXPECT_EQ(manifests[1].sequence_number, 3);
  const auto entries = ReadLiveEntries(table_, store_).value();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[1].data_file.file_path, "file:///lake/t/data/f1.parquet");
  EXPECT_EQ(entries[1].sequence_number, 2);
  EXPECT_EQ(entries[1].status, EntryStatus::kExisting);
}

TEST_F(AppendTest, CheckWritableSaysNo) {
  auto code = [](const TableMetadata& table) { return CheckWritable(table).error().code(); };
  EXPECT_TRUE(CheckWritable(table_).has_value());
  TableMetadata changed = table_;
  changed.format_version = 3;
  EXPECT_EQ(code(changed), ErrorCode::kUnsupported);
  changed.format_version = 1;
  EXPECT_EQ(code(changed), ErrorCode::kUnsupported);
  changed = table_;
  changed.properties["write.format.default"] = "ORC";
  EXPECT_EQ(code(changed), ErrorCode::kUnsupported);
  changed.properties["write.format.default"] = "PARQUET";
  EXPECT_TRUE(CheckWritable(changed).has_value());
  changed.properties["encryption.key-id"] = "k";
  EXPECT_EQ(code(changed), ErrorCode::kUnsupported);
  changed = table_;
  changed.partition_specs[0].fields[0].transform = schema::Transform::Parse("zorder[3]").value();
  EXPECT_EQ(code(changed), ErrorCode::kUnsupported);
  changed = table_;
  changed.schemas[0].fields[1].type = Type::Decimal(3, 1);
  changed.partition_specs[0].fields[0].transform = schema::Transform::Parse("truncate[999]").value();
  EXPECT_TRUE(CheckWritable(changed).has_value());
  changed.partition_specs[0].fields[0].transform.parameter = 1000;
  EXPECT_EQ(code(changed), ErrorCode::kUnsupported);
  changed.schemas[0].fields[1].type = Type::Decimal(38, 1);
  changed.partition_specs[0].fields[0].transform.parameter = INT32_MAX;
  EXPECT_TRUE(CheckWritable(changed).has_value());
  TableMetadata fixed = table_;
  fixed.schemas[0].fields[1].type = Type::Fixed(6);
  EXPECT_EQ(code(fixed), ErrorCode::kUnsupported);
  EXPECT_EQ(PrepareAppend(fixed, {}, store_, clock_, random_, *cache_).error().code(), ErrorCode::kUnsupported);
}

TEST(LocationProviderTest, PlainAndObjectStorageLayouts) {
  TableMetadata table = EventsTable();
  EXPECT_EQ(LocationProvider::For(table).DataLocation("region=eu", "f.parquet"),
            "file:///lake/events/data/region=eu/f.parquet");
  EXPECT_EQ(LocationProvider::For(table).DataLocation("", "f.parquet"), "file:///lake/events/data/f.parquet");
  EXPECT_EQ(LocationProvider::For(table).MetadataLocation("m.avro"), "file:///lake/events/metadata/m.avro");
  table.properties["write.folder-storage.path"] = "s3://old/";
  EXPECT_EQ(LocationProvider::For(table).DataLocation("", "f"), "s3://old/f");
  table.properties["write.data.path"] = "s3://bucket/data/";
  table.properties["write.metadata.path"] = "s3://bucket/meta";
  EXPECT_EQ(LocationProvider::For(table).DataLocation("", "f"), "s3://bucket/data/f");
  EXPECT_EQ(LocationProvider::For(table).MetadataLocation("m"), "s3://bucket/meta/m");
}

TEST(LocationProviderTest, LongPartitionValuesFitIntoNamesAndKeys) {
  TableMetadata table;
  table.location = "file:///lake/events";
  LocationProvider provider = LocationProvider::For(table);
  const std::string root = "file:///lake/events/data/";
  const std::string one = provider.DataLocation("s=" + std::string(10'000, 'x'), "f");
  EXPECT_EQ(one.size(), root.size() + 180 + 2);
  EXPECT_NE(one, provider.DataLocation("s=" + std::string(10'001, 'x'), "f"));
  // An escape is kept whole or not at all.
  std::string escaped = "s=";
  for (int i = 0; i < 1000; ++i) escaped += "%C3%BC";
  const std::string cut = provider.DataLocation(escaped, "f");
  const size_t dash = cut.rfind('-');
  EXPECT_EQ((dash - root.size() - 2) % 3, 0U);
  // Many parts share what a key may have.
  std::string many;
  for (int i = 0; i < 12; ++i)
    many += (i == 0 ? "" : "/") + ("field" + std::to_string(i) + "=") + std::string(200, 'y');
  EXPECT_LT(provider.DataLocation(many, "f").size(), root.size() + 620);
  EXPECT_EQ(provider.DataLocation("a=1/b=2", "f"), root + "a=1/b=2/f");
}

// Hashes as PyIceberg's ObjectStoreLocationProvider gives them.
TEST(LocationProviderTest, ObjectStorageHashes) {
  TableMetadata table = EventsTable();
  table.properties["write.object-storage.enabled"] = "TRUE";
  EXPECT_EQ(LocationProvider::For(table).DataLocation("", "a"), "file:///lake/events/data/0101/0110/1001/10110010/a");
  EXPECT_EQ(LocationProvider::For(table).DataLocation("", "b"), "file:///lake/events/data/1110/0111/1110/00000011/b");
  EXPECT_EQ(LocationProvider::For(table).DataLocation("x=1", "part-0.parquet"),
            "file:///lake/events/data/0000/1110/0111/11011100/x=1/part-0.parquet");
  table.properties["write.object-storage.partitioned-paths"] = "false";
  EXPECT_EQ(LocationProvider::For(table).DataLocation("x=1", "a"),
            "file:///lake/events/data/0101/0110/1001/10110010-a");
  // Data outside of the table's folder: the last two levels of the table's location tell tables apart.
  table.properties["write.data.path"] = "s3://bucket/shared";
  EXPECT_EQ(LocationProvider::For(table).DataLocation("", "a"),
            "s3://bucket/shared/0101/0110/1001/10110010/lake/events/a");
}

TEST(ManifestListCacheTest, HoldsTheNewestListOfATable) {
  ManifestListCache cache;
  auto list = std::make_shared<const std::vector<ManifestFile>>();
  cache.Put("s3://b/t/metadata/snap-1.avro", list);
  cache.Put("s3://b/u/metadata/snap-1.avro", list);
  EXPECT_EQ(cache.Find("s3://b/t/metadata/snap-1.avro"), list);
  cache.Put("s3://b/t/metadata/snap-2.avro", list);
  EXPECT_EQ(cache.Find("s3://b/t/metadata/snap-1.avro"), nullptr);
  EXPECT_EQ(cache.Find("s3://b/t/metadata/snap-2.avro"), list);
  EXPECT_EQ(cache.Find("s3://b/u/metadata/snap-1.avro"), list);
}

}  // namespace
}  // namespace firn::iceberg
