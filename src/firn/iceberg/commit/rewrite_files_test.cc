#include "firn/iceberg/commit/rewrite_files.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "firn/env/testing/faulty_store.h"
#include "firn/env/testing/manual_clock.h"
#include "firn/env/testing/memory_store.h"
#include "firn/iceberg/catalog/testing/memory_catalog.h"
#include "firn/iceberg/commit/live_entries.h"
#include "firn/iceberg/commit/needed_deletes.h"
#include "firn/iceberg/commit/position_deletes.h"
#include "firn/iceberg/manifest/manifest_avro.h"

namespace firn::iceberg {
namespace {

using schema::Type;
using schema::TypeKind;
using schema::Value;

const TableIdentifier kTable{{"db"}, "events"};
const std::string kFolder = "file:///lake/events/data/";

class RewriteTest : public ::testing::Test {
 protected:
  RewriteTest() {
    CreateTableRequest request;
    request.location = "file:///lake/events";
    request.schema.fields = {
        {.id = FieldId{1}, .name = "id", .type = Type::Primitive(TypeKind::kLong), .required = true},
        {.id = FieldId{2}, .name = "region", .type = Type::Primitive(TypeKind::kString)}};
    schema::PartitionField region;
    region.source_id = FieldId{2};
    region.field_id = FieldId{1000};
    region.name = "region";
    request.spec.fields = {region};
    EXPECT_TRUE(catalog_.EnsureNamespace({"db"}).has_value());
    EXPECT_TRUE(catalog_.CreateTable(kTable, request).has_value());
  }

  static DataFile File(const std::string& name, int64_t rows = 10, const std::string& region = "eu") {
    DataFile file;
    file.file_path = kFolder + name;
    file.record_count = rows;
    file.file_size_in_bytes = rows * 100;
    file.partition = {Value(region)};
    return file;
  }

  TableMetadata Metadata() { return catalog_.LoadTable(kTable)->metadata; }

  void Append(const std::vector<DataFile>& files) {
    AppendRequest request;
    std::vector<NewDataFile> added;
    for (const DataFile& file : files) added.push_back({0, file});
    request.files = added;
    ManifestListCache cache;
    auto prepared = PrepareAppend(Metadata(), request, store_, clock_, random_, cache);
    ASSERT_TRUE(prepared.has_value()) << prepared.error().ToString();
    auto committed = catalog_.CommitAsSomebodyElse(kTable, prepared->updates);
    ASSERT_TRUE(committed.has_value()) << committed.error().ToString();
  }

  // A snapshot of somebody else's with one delete file.
  void Delete(FileContent content, const std::string& region, std::optional<std::string> referenced = std::nullopt) {
    const TableMetadata base = Metadata();
    const SnapshotId id{static_cast<int64_t>(1'000'000 + base.last_sequence_number)};
    const int64_t sequence = base.last_sequence_number + 1;
    ManifestEntry entry;
    entry.snapshot_id = id;
    entry.data_file = File(fmt::format("deletes-{}", sequence), 1, region);
    entry.data_file.content = content;
    entry.data_file.referenced_data_file = std::move(referenced);
    if (content == FileContent::kEqualityDeletes) entry.data_file.equality_ids = {1};
    const ManifestHeader header{base.CurrentSchema(), base.DefaultSpec(), ManifestContent::kDeletes};
    const std::string bytes = WriteManifest(header, {entry}).value();
    const std::string path = fmt::format("file:///lake/events/metadata/deletes-{}.avro", sequence);
    ASSERT_TRUE(store_.Put(path, bytes).has_value());
    auto manifests = ReadSnapshotManifests(*base.CurrentSnapshot(), store_).value();
    manifests.push_back(
        SummarizeManifest(header, {entry}, path, static_cast<int64_t>(bytes.size()), sequence, id).value());
    const std::string list = fmt::format("file:///lake/events/metadata/list-{}.avro", sequence);
    ASSERT_TRUE(store_.Put(list, WriteManifestList({id, base.current_snapshot_id, sequence}, manifests).value()));
    Snapshot snapshot;
    snapshot.snapshot_id = id;
    snapshot.parent_snapshot_id = base.current_snapshot_id;
    snapshot.sequence_number = sequence;
    snapshot.timestamp_ms = base.last_updated_ms + 1;
    snapshot.manifest_list = list;
    snapshot.summary = {{"operation", "delete"}};
    SnapshotRef main;
    main.snapshot_id = id;
    auto committed = catalog_.CommitAsSomebodyElse(kTable, {AddSnapshot{snapshot}, SetSnapshotRef{"main", main}});
    ASSERT_TRUE(committed.has_value()) << committed.error().ToString();
  }

  RewriteRequest Replace(const std::vector<std::string>& inputs, const std::vector<DataFile>& outputs) {
    RewriteRequest request;
    request.starting_sequence_number = Metadata().last_sequence_number;
    AddGroup(request, inputs, outputs);
    return request;
  }

  static void AddGroup(RewriteRequest& request, const std::vector<std::string>& inputs,
                       const std::vector<DataFile>& outputs) {
    RewriteGroup group;
    for (const std::string& name : inputs) group.inputs.push_back(kFolder + name);
    group.outputs = outputs;
    request.groups.push_back(std::move(group));
  }

  Result<RewriteOutcome> Commit(const RewriteRequest& request) {
    return CommitRewrite(catalog_, kTable, request, store_, clock_, random_, {});
  }

  // name -> data sequence number
  std::map<std::string, int64_t> Live() {
    std::map<std::string, int64_t> live;
    const auto entries = ReadLiveEntries(Metadata(), store_).value();
    for (const ManifestEntry& entry : entries) {
      const std::string name = entry.data_file.file_path.substr(kFolder.size());
      EXPECT_FALSE(live.contains(name)) << "live twice: " << name;
      live[name] = *entry.sequence_number;
    }
    return live;
  }

  std::vector<std::string> LiveDeletes() {
    std::vector<std::string> names;
    const auto manifests = ReadSnapshotManifests(*Metadata().CurrentSnapshot(), store_).value();
    for (const ManifestFile& manifest : manifests) {
      if (manifest.content != ManifestContent::kDeletes) continue;
      const auto contents = ReadManifestFile(manifest, store_).value();
      EXPECT_EQ(contents.header.content, ManifestContent::kDeletes);
      for (const ManifestEntry& entry : contents.entries) {
        if (entry.is_live()) names.push_back(entry.data_file.file_path.substr(kFolder.size()));
      }
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  env::ManualClock clock_;
  env::SeededRandom random_{7};
  env::MemoryStore memory_{clock_};
  env::FaultyStore store_{memory_, clock_};
  MemoryCatalog catalog_{clock_};
};

using Fates = std::vector<GroupFate>;
using LiveFiles = std::map<std::string, int64_t>;

TEST_F(RewriteTest, InputsBecomeOutputs) {
  Append({File("a"), File("b", 5), File("us", 7, "us")});
  Append({File("c", 20)});
  const SnapshotId before = *Metadata().current_snapshot_id;
  RewriteRequest request = Replace({"a", "b", "c"}, {File("big", 35)});
  request.summary = {{"firn.version", "1"}, {"operation", "append"}};
  auto outcome = Commit(request);
  ASSERT_TRUE(outcome.has_value()) << outcome.error().ToString();
  EXPECT_EQ(outcome->fates, Fates{GroupFate::kReplaced});
  EXPECT_EQ(Live(), (LiveFiles{{"big", 2}, {"us", 1}}));
  const TableMetadata table = Metadata();
  const Snapshot& snapshot = *table.CurrentSnapshot();
  EXPECT_EQ(snapshot.snapshot_id, outcome->snapshot_id);
  EXPECT_EQ(snapshot.parent_snapshot_id, before);
  EXPECT_EQ(snapshot.sequence_number, 3);
  EXPECT_EQ(snapshot.summary, (std::map<std::string, std::string>{{"operation", "replace"},
                                                                  {"firn.version", "1"},
                                                                  {"added-data-files", "1"},
                                                                  {"deleted-data-files", "3"},
                                                                  {"added-records", "35"},
                                                                  {"deleted-records", "35"},
                                                                  {"added-files-size", "3500"},
                                                                  {"removed-files-size", "3500"},
                                                                  {"changed-partition-count", "1"},
                                                                  {"total-data-files", "2"},
                                                                  {"total-records", "42"},
                                                                  {"total-files-size", "4200"},
                                                                  {"total-delete-files", "0"},
                                                                  {"total-position-deletes", "0"},
                                                                  {"total-equality-deletes", "0"}}));
}

TEST(PositionDeletes, AreAboutWhatTheyNameOrWhatTheirBoundsAllow) {
  DataFile deletes;
  EXPECT_TRUE(MayDeleteFrom(deletes, "b"));
  deletes.lower_bounds[kDeleteFilePathFieldId] = "b";
  EXPECT_FALSE(MayDeleteFrom(deletes, "a"));
  EXPECT_TRUE(MayDeleteFrom(deletes, "c"));
  deletes.upper_bounds[kDeleteFilePathFieldId] = "b";
  EXPECT_TRUE(MayDeleteFrom(deletes, "b"));
  EXPECT_FALSE(MayDeleteFrom(deletes, "ba"));
  deletes.referenced_data_file = "x";
  EXPECT_TRUE(MayDeleteFrom(deletes, "x"));
  EXPECT_FALSE(MayDeleteFrom(deletes, "b"));
}

// Whoever looks for the files of his last rows by their sequence number still finds them (positions.md, "History").
TEST_F(RewriteTest, OutputsHaveTheHighestSequenceNumberOfTheirInputs) {
  Append({File("a")});
  Append({File("b")});
  Append({File("c")});
  ASSERT_TRUE(Commit(Replace({"a", "b"}, {File("big", 20)})).has_value());
  EXPECT_EQ(Live(), (LiveFiles{{"big", 2}, {"c", 3}}));
}

// A partition column that was an int and is a long: manifests of before have ints, files of now have longs.
TEST_F(RewriteTest, FilesOfAPromotedPartitionAreOfOnePartition) {
  const TableIdentifier numbers{{"db"}, "numbers"};
  CreateTableRequest create;
  create.location = "file:///lake/events";
  create.schema.fields = {{.id = FieldId{1}, .name = "n", .type = Type::Primitive(TypeKind::kInt)}};
  schema::PartitionField by_n;
  by_n.source_id = FieldId{1};
  by_n.field_id = FieldId{1000};
  by_n.name = "n";
  create.spec.fields = {by_n};
  ASSERT_TRUE(catalog_.CreateTable(numbers, create).has_value());
  auto file = [](const std::string& name, int64_t rows, Value value) {
    DataFile made = File(name, rows);
    made.partition = {std::move(value)};
    return made;
  };
  auto append = [&](const std::vector<DataFile>& files) {
    std::vector<NewDataFile> added;
    for (const DataFile& one : files) added.push_back({0, one});
    AppendRequest request;
    request.files = added;
    ManifestListCache cache;
    auto prepared = PrepareAppend(catalog_.LoadTable(numbers)->metadata, request, store_, clock_, random_, cache);
    ASSERT_TRUE(prepared.has_value()) << prepared.error().ToString();
    ASSERT_TRUE(catalog_.CommitAsSomebodyElse(numbers, prepared->updates).has_value());
  };
  append({file("old", 10, Value(int32_t{5})), file("old_other", 10, Value(int32_t{6}))});
  schema::Schema wider = create.schema;
  wider.schema_id = 1;
  wider.fields[0].type = Type::Primitive(TypeKind::kLong);
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(numbers, {AddSchema{wider, 1}, SetCurrentSchema{-1}}).has_value());
  append({file("new", 7, Value(int64_t{5})), file("new_other", 7, Value(int64_t{1} << 40))});
  RewriteRequest request;
  request.starting_sequence_number = 2;
  AddGroup(request, {"old", "new"}, {file("big", 17, Value(int64_t{5}))});
  auto outcome = CommitRewrite(catalog_, numbers, request, store_, clock_, random_, {});
  ASSERT_TRUE(outcome.has_value()) << outcome.error().ToString();
  EXPECT_EQ(outcome->fates, Fates{GroupFate::kReplaced});
  const TableMetadata table = catalog_.LoadTable(numbers)->metadata;
  EXPECT_EQ(table.CurrentSnapshot()->summary.at("changed-partition-count"), "1");
  std::map<std::string, Value> live;
  const auto manifests = ReadSnapshotManifests(*table.CurrentSnapshot(), store_).value();
  for (const ManifestFile& manifest : manifests) {
    const auto contents = ReadManifestFile(manifest, store_).value();
    for (const ManifestEntry& entry : contents.entries) {
      if (entry.is_live()) live[entry.data_file.file_path.substr(kFolder.size())] = entry.data_file.partition[0];
    }
  }
  // Whatever is written anew is written in the type of now.
  EXPECT_EQ(live, (std::map<std::string, Value>{{"big", Value(int64_t{5})},
                                                {"old_other", Value(int64_t{6})},
                                                {"new_other", Value(int64_t{1} << 40)}}));
  // Another partition stays another one.
  RewriteRequest mixed;
  mixed.starting_sequence_number = table.last_sequence_number;
  AddGroup(mixed, {"old_other", "big"}, {file("wrong", 27, Value(int64_t{5}))});
  auto refused = CommitRewrite(catalog_, numbers, mixed, store_, clock_, random_, {});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidInput);
}

TEST_F(RewriteTest, EntriesKeepWhatTheSpecAsksFor) {
  Append({File("a"), File("b")});
  Append({File("c")});
  const auto originals = ReadLiveEntries(Metadata(), store_).value();
  ASSERT_TRUE(Commit(Replace({"a", "c"}, {File("big", 20)})).has_value());
  const TableMetadata table = Metadata();
  const SnapshotId id = *table.current_snapshot_id;
  std::map<std::string, ManifestEntry> entries;
  const auto manifests = ReadSnapshotManifests(*table.CurrentSnapshot(), store_).value();
  for (const ManifestFile& manifest : manifests) {
    const auto contents = ReadManifestFile(manifest, store_).value();
    for (const ManifestEntry& entry : contents.entries) {
      entries[entry.data_file.file_path.substr(kFolder.size())] = entry;
      EXPECT_TRUE(!entry.is_live() || manifest.min_sequence_number <= *entry.sequence_number);
    }
  }
  ASSERT_EQ(entries.size(), 4u);
  EXPECT_EQ(entries["big"].status, EntryStatus::kAdded);
  EXPECT_EQ(entries["big"].snapshot_id, id);
  EXPECT_EQ(entries["big"].sequence_number, 2);       // the highest of its inputs
  EXPECT_EQ(entries["big"].file_sequence_number, 3);  // of its own
  for (const ManifestEntry& original : originals) {
    const std::string name = original.data_file.file_path.substr(kFolder.size());
    EXPECT_EQ(entries[name].status, name == "b" ? EntryStatus::kExisting : EntryStatus::kDeleted);
    EXPECT_EQ(entries[name].sequence_number, original.sequence_number);
    EXPECT_EQ(entries[name].file_sequence_number, original.file_sequence_number);
    EXPECT_EQ(entries[name].snapshot_id, name == "b" ? original.snapshot_id : std::optional(id));
  }
  // The next append goes on from it.
  Append({File("d")});
  EXPECT_EQ(Live(), (LiveFiles{{"b", 1}, {"big", 2}, {"d", 4}}));
}

TEST_F(RewriteTest, AConflictIsTriedAgainOnTheNewTable) {
  Append({File("a"), File("b")});
  const RewriteRequest request = Replace({"a", "b"}, {File("big", 20)});
  int commits = 0;
  catalog_.SetFaults([&](CatalogCall call, const TableIdentifier&) {
    if (call == CatalogCall::kCommit && ++commits == 1) Append({File("late")});
    return CatalogFault::kNone;
  });
  auto outcome = Commit(request);
  ASSERT_TRUE(outcome.has_value()) << outcome.error().ToString();
  EXPECT_EQ(outcome->conflicts, 1);
  EXPECT_EQ(Live(), (LiveFiles{{"big", 1}, {"late", 2}}));
}

TEST_F(RewriteTest, EachFaultOfTheCatalogNeitherLosesNorDoubles) {
  for (CatalogFault fault :
       {CatalogFault::kConflict, CatalogFault::kLostRequest, CatalogFault::kLostAnswer, CatalogFault::kConflictAfter}) {
    SCOPED_TRACE(static_cast<int>(fault));
    const std::string name = fmt::format("f{}", static_cast<int>(fault));
    Append({File(name + "a"), File(name + "b")});
    bool done = false;
    catalog_.SetFaults([&](CatalogCall call, const TableIdentifier&) {
      if (call != CatalogCall::kCommit || done) return CatalogFault::kNone;
      done = true;
      return fault;
    });
    auto outcome = Commit(Replace({name + "a", name + "b"}, {File(name + "big", 20)}));
    ASSERT_TRUE(outcome.has_value()) << outcome.error().ToString();
    const bool applied = fault == CatalogFault::kLostAnswer || fault == CatalogFault::kConflictAfter;
    EXPECT_EQ(outcome->fates, Fates{applied ? GroupFate::kAlreadyDone : GroupFate::kReplaced});
    catalog_.SetFaults(nullptr);
    const LiveFiles live = Live();
    EXPECT_TRUE(live.contains(name + "big"));
    EXPECT_FALSE(live.contains(name + "a") || live.contains(name + "b"));
  }
}

TEST_F(RewriteTest, AGroupWhoseInputIsGoneDropsOutAlone) {
  Append({File("a"), File("b"), File("c"), File("d")});
  RewriteRequest request = Replace({"a", "b"}, {File("ab", 20)});
  AddGroup(request, {"c", "d"}, {File("cd", 20)});
  // Somebody else compacts the first two.
  ASSERT_TRUE(Commit(Replace({"a", "b"}, {File("other", 20)})).has_value());
  auto outcome = Commit(request);
  ASSERT_TRUE(outcome.has_value()) << outcome.error().ToString();
  EXPECT_EQ(outcome->fates, (Fates{GroupFate::kInputGone, GroupFate::kReplaced}));
  EXPECT_EQ(Live(), (LiveFiles{{"other", 1}, {"cd", 1}}));
  // With no group left there is no snapshot either.
  const int64_t sequence = Metadata().last_sequence_number;
  outcome = Commit(Replace({"a", "b"}, {File("again", 20)}));
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->fates, Fates{GroupFate::kInputGone});
  EXPECT_EQ(Metadata().last_sequence_number, sequence);
}

TEST_F(RewriteTest, DeletesThatTheOutputWouldLoseStopAGroup) {
  struct Case {
    const char* what;
    FileContent content;
    std::string region;
    bool before_start;  // is the delete there when the inputs are read?
    std::optional<std::string> referenced;
    GroupFate fate;
  };
  const Case cases[] = {
      {"a position delete that came meanwhile",
       FileContent::kPositionDeletes,
       "eu",
       false,
       {},
       GroupFate::kDeletesChanged},
      {"a position delete of before", FileContent::kPositionDeletes, "eu", true, {}, GroupFate::kDeletesChanged},
      {"one of another partition", FileContent::kPositionDeletes, "us", false, {}, GroupFate::kReplaced},
      {"one that names another file", FileContent::kPositionDeletes, "eu", false, "elsewhere", GroupFate::kReplaced},
      {"one that names an input", FileContent::kPositionDeletes, "us", false, "a", GroupFate::kDeletesChanged},
      {"an equality delete of before", FileContent::kEqualityDeletes, "eu", true, {}, GroupFate::kDeletesChanged},
      {"one that came meanwhile touches the output too",
       FileContent::kEqualityDeletes,
       "eu",
       false,
       {},
       GroupFate::kReplaced},
      {"one of before, of another partition", FileContent::kEqualityDeletes, "us", true, {}, GroupFate::kReplaced},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.what);
    const std::string name = fmt::format("case{}-", &one - cases);
    // One table a case would do as well; other partitions keep the cases apart here.
    const std::string region = name + "eu";
    Append({File(name + "a", 10, region), File(name + "b", 10, region)});
    std::optional<std::string> referenced;
    if (one.referenced.has_value()) referenced = kFolder + name + *one.referenced;
    if (one.before_start) {
      ASSERT_NO_FATAL_FAILURE(Delete(one.content, name + one.region, referenced));
    }
    const RewriteRequest request = Replace({name + "a", name + "b"}, {File(name + "big", 20, region)});
    if (!one.before_start) {
      ASSERT_NO_FATAL_FAILURE(Delete(one.content, name + one.region, referenced));
    }
    auto outcome = Commit(request);
    ASSERT_TRUE(outcome.has_value()) << outcome.error().ToString();
    EXPECT_EQ(outcome->fates, Fates{one.fate});
    EXPECT_EQ(Live().contains(name + "big"), one.fate == GroupFate::kReplaced);
  }
}

TEST_F(RewriteTest, FilesWrittenAfterAnEqualityDeleteAreNotTouchedByIt) {
  Append({File("old")});
  Delete(FileContent::kEqualityDeletes, "eu");
  Append({File("a"), File("b")});
  auto outcome = Commit(Replace({"a", "b"}, {File("big", 20)}));
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->fates, Fates{GroupFate::kReplaced});
  // On its two sides, files do not come together.
  outcome = Commit(Replace({"old", "big"}, {File("wrong", 30)}));
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->fates, Fates{GroupFate::kDeletesChanged});
}

// The delete file of that sequence number, as RewriteTest::Delete names it.
AppliedDeletes Applied(int64_t sequence, const std::vector<std::string>& names = {}) {
  AppliedDeletes applied{kFolder + fmt::format("deletes-{}", sequence), {}};
  for (const std::string& name : names) applied.data_files.push_back(kFolder + name);
  return applied;
}

TEST_F(RewriteTest, PositionDeletesThatWereAppliedGoWithTheFilesThatTheyName) {
  Append({File("a"), File("b"), File("c")});
  Delete(FileContent::kPositionDeletes, "eu");  // 2: of a and b
  Delete(FileContent::kPositionDeletes, "eu");  // 3: of b and c
  RewriteRequest request = Replace({"a", "b"}, {File("big", 17)});
  request.groups[0].applied = {Applied(2, {"a", "b"}), Applied(3, {"b", "c"})};
  request.groups[0].rows_deleted = 3;
  auto outcome = Commit(request);
  ASSERT_TRUE(outcome.has_value()) << outcome.error().ToString();
  EXPECT_EQ(outcome->fates, Fates{GroupFate::kReplaced});
  EXPECT_EQ(outcome->delete_files_removed, 1);
  EXPECT_EQ(Live(), (LiveFiles{{"big", 1}, {"c", 1}}));
  EXPECT_EQ(LiveDeletes(), std::vector<std::string>{"deletes-3"});
  const std::map<std::string, std::string> summary = Metadata().CurrentSnapshot()->summary;
  EXPECT_EQ(summary.at("operation"), "replace");
  EXPECT_EQ(summary.at("deleted-records"), "20");
  EXPECT_EQ(summary.at("added-records"), "17");
  EXPECT_EQ(summary.at("removed-delete-files"), "1");
  EXPECT_EQ(summary.at("removed-position-delete-files"), "1");
  EXPECT_EQ(summary.at("removed-position-deletes"), "1");
  EXPECT_EQ(summary.at("removed-files-size"), "2100");
  EXPECT_EQ(summary.at("total-delete-files"), "1");
  EXPECT_FALSE(summary.contains("removed-equality-deletes"));
}

TEST_F(RewriteTest, DeletesOtherThanTheAppliedOnesStopAGroup) {
  Append({File("a"), File("b")});
  Delete(FileContent::kPositionDeletes, "eu");
  RewriteRequest request = Replace({"a", "b"}, {File("big", 19)});
  request.groups[0].applied = {Applied(2, {"a"})};
  request.groups[0].rows_deleted = 1;
  const TableMetadata before = Metadata();
  Delete(FileContent::kPositionDeletes, "eu");  // one more
  auto outcome = Commit(request);
  ASSERT_TRUE(outcome.has_value()) << outcome.error().ToString();
  EXPECT_EQ(outcome->fates, Fates{GroupFate::kDeletesChanged});
  // Set back to before the delete that was applied: its rows are there again.
  SnapshotRef main;
  main.snapshot_id = *before.CurrentSnapshot()->parent_snapshot_id;
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(kTable, {SetSnapshotRef{"main", main}}).has_value());
  outcome = Commit(request);
  ASSERT_TRUE(outcome.has_value()) << outcome.error().ToString();
  EXPECT_EQ(outcome->fates, Fates{GroupFate::kDeletesChanged});
  EXPECT_EQ(Live(), (LiveFiles{{"a", 1}, {"b", 1}}));
  // As it was planned.
  main.snapshot_id = *before.current_snapshot_id;
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(kTable, {SetSnapshotRef{"main", main}}).has_value());
  outcome = Commit(request);
  ASSERT_TRUE(outcome.has_value()) << outcome.error().ToString();
  EXPECT_EQ(outcome->fates, Fates{GroupFate::kReplaced});
}

TEST_F(RewriteTest, EqualityDeletesThatWereAppliedAreNotNeededForTheOutput) {
  Append({File("a"), File("b"), File("old")});
  Delete(FileContent::kEqualityDeletes, "eu");  // 2
  Append({File("c")});                          // 3
  RewriteRequest request = Replace({"a", "b"}, {File("big", 15)});
  request.groups[0].applied = {Applied(2)};
  request.groups[0].rows_deleted = 5;
  Delete(FileContent::kEqualityDeletes, "eu");  // 4: later than the look at the inputs
  auto outcome = Commit(request);
  ASSERT_TRUE(outcome.has_value()) << outcome.error().ToString();
  EXPECT_EQ(outcome->fates, Fates{GroupFate::kReplaced});
  EXPECT_EQ(outcome->delete_files_removed, 0);
  // It is not touched by the first any more, and still by the second.
  EXPECT_EQ(Live(), (LiveFiles{{"big", 2}, {"old", 1}, {"c", 3}}));
  EXPECT_EQ(LiveDeletes(), (std::vector<std::string>{"deletes-2", "deletes-4"}));
  // Without older files the first has nothing to do.
  RewriteRequest next = Replace({"old", "big", "c"}, {File("all", 30)});
  next.groups[0].applied = {Applied(2), Applied(4)};
  next.groups[0].rows_deleted = 5;
  outcome = Commit(next);
  ASSERT_TRUE(outcome.has_value()) << outcome.error().ToString();
  EXPECT_EQ(outcome->fates, Fates{GroupFate::kReplaced});
  EXPECT_EQ(outcome->delete_files_removed, 2);
  EXPECT_EQ(Live(), (LiveFiles{{"all", 4}}));
  EXPECT_TRUE(LiveDeletes().empty());
}

TEST_F(RewriteTest, FilesWithoutARowLeftGoWithoutAnOutput) {
  Append({File("a"), File("other")});
  Delete(FileContent::kPositionDeletes, "eu", kFolder + "a");
  RewriteRequest request = Replace({"a"}, {});
  request.groups[0].applied = {Applied(2, {"a"})};
  request.groups[0].rows_deleted = 10;
  auto outcome = Commit(request);
  ASSERT_TRUE(outcome.has_value()) << outcome.error().ToString();
  EXPECT_EQ(outcome->fates, Fates{GroupFate::kReplaced});
  EXPECT_EQ(Live(), (LiveFiles{{"other", 1}}));
  EXPECT_TRUE(LiveDeletes().empty());
  outcome = Commit(request);
  ASSERT_TRUE(outcome.has_value()) << outcome.error().ToString();
  EXPECT_EQ(outcome->fates, Fates{GroupFate::kAlreadyDone});
}

TEST(NeededDeletes, AreThoseThatMayDeleteFromAFileThatIsLeft) {
  struct Case {
    const char* what;
    FileContent content;
    int64_t sequence;
    const char* partition;
    bool is_unpartitioned;
    const char* referenced;  // null: none
    const char* names;       // null: not known
    bool needed;
  };
  const FileContent position = FileContent::kPositionDeletes, equality = FileContent::kEqualityDeletes;
  const Case cases[] = {
      {"a file of its partition", position, 5, "d=1", false, nullptr, nullptr, true},
      {"of the same commit", position, 3, "d=1", false, nullptr, nullptr, true},
      {"files of its partition are newer", position, 2, "d=1", false, nullptr, nullptr, false},
      {"no file of its partition that is not new", position, 9, "d=2", false, nullptr, nullptr, false},
      {"it names a file that is left", position, 5, "d=2", false, "a", nullptr, true},
      {"it names one that is gone", position, 5, "d=1", false, "gone", nullptr, false},
      {"what is in it counts for more than where it lies", position, 5, "d=1", false, nullptr, "gone", false},
      {"a file that is left is in it", position, 5, "d=1", false, nullptr, "a", true},
      {"an older file", equality, 4, "d=1", false, nullptr, nullptr, true},
      {"of the same commit", equality, 3, "d=1", false, nullptr, nullptr, false},
      {"a new file that is older by its rows", equality, 8, "d=2", false, nullptr, nullptr, true},
      {"a new file that it was applied to", equality, 7, "d=2", false, nullptr, nullptr, false},
      {"of no partition, so of the table", equality, 4, "", true, nullptr, nullptr, true},
      {"of the table, all are newer", equality, 3, "", true, nullptr, nullptr, false},
  };
  NeededDeletes needed;
  ManifestEntry live;
  live.sequence_number = 3;
  live.data_file.file_path = "a";
  needed.AddLive(live, {0, "d=1"});
  needed.AddNew(7, {0, "d=2"});
  for (const Case& one : cases) {
    ManifestEntry entry;
    entry.sequence_number = one.sequence;
    entry.data_file.content = one.content;
    if (one.referenced != nullptr) entry.data_file.referenced_data_file = one.referenced;
    const std::vector<std::string> names = {one.names == nullptr ? "" : one.names};
    const FilePlace place{one.is_unpartitioned ? 1 : 0, one.partition, one.is_unpartitioned};
    EXPECT_EQ(needed.IsNeeded(entry, place, one.names == nullptr ? nullptr : &names), one.needed) << one.what;
  }
}

TEST_F(RewriteTest, RefusesGroupsThatContradictThemselves) {
  Append({File("a"), File("b"), File("us", 10, "us")});
  auto code = [&](const RewriteRequest& request) {
    auto prepared = PrepareRewrite(Metadata(), request, store_, clock_, random_);
    return prepared.has_value() ? ErrorCode::kInternal : prepared.error().code();
  };
  EXPECT_EQ(code(Replace({"a", "b"}, {File("big", 19)})), ErrorCode::kInvalidInput);
  EXPECT_EQ(code(Replace({"a", "us"}, {File("big", 20)})), ErrorCode::kInvalidInput);
  EXPECT_EQ(code(Replace({"a", "a"}, {File("big", 20)})), ErrorCode::kInvalidInput);
  EXPECT_EQ(code(Replace({}, {File("big", 20)})), ErrorCode::kInvalidInput);
  EXPECT_EQ(code(Replace({"a"}, {})), ErrorCode::kInvalidInput);
  RewriteRequest lossy = Replace({"a", "b"}, {File("big", 19)});
  lossy.groups[0].rows_deleted = 1;  // by what?
  EXPECT_EQ(code(lossy), ErrorCode::kInvalidInput);
  RewriteRequest shared = Replace({"a"}, {File("x", 10)});
  AddGroup(shared, {"a", "b"}, {File("y", 20)});
  EXPECT_EQ(code(shared), ErrorCode::kInvalidInput);
}

TEST_F(RewriteTest, EachFaultOfTheStoreLeavesTheTableAsItWas) {
  Append({File("a"), File("b")});
  const RewriteRequest request = Replace({"a", "b"}, {File("big", 20)});
  int failed = 0;
  for (int call = 1; call < 50; ++call) {
    store_.ClearFaults();
    store_.Inject({.nth = call});
    auto outcome = Commit(request);
    store_.ClearFaults();
    if (outcome.has_value()) break;
    ++failed;
    EXPECT_EQ(Live(), (LiveFiles{{"a", 1}, {"b", 1}}));
  }
  EXPECT_GT(failed, 3);
  EXPECT_EQ(Live(), (LiveFiles{{"big", 1}}));
}

}  // namespace
}  // namespace firn::iceberg
