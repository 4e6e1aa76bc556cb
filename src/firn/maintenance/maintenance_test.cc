#include <algorithm>
#include <set>

#include "firn/maintenance/locations.h"
#include "firn/maintenance/maintenance_fixture_for_test.h"
#include "firn/maintenance/references.h"

namespace firn::maintenance {
namespace {

// ---- orphans

TEST_F(MaintenanceTest, OrphansAreFoundAndReferencedFilesNever) {
  Commit({File("a", Today())});
  Commit({File("b", Today())});
  File("crashed", Today());
  ASSERT_TRUE(store_.Put("file:///lake/events/metadata/lost-m0.avro", "lost").has_value());
  ASSERT_TRUE(store_.Put("file:///lake/events/data/firn-0123456789abcdef.tmp", "half").has_value());
  ASSERT_TRUE(store_.Put("file:///lake/events/_spark/checkpoint", "somebody's").has_value());
  ASSERT_TRUE(store_.Put("file:///lake/events/metadata/version-hint.text", "1").has_value());
  clock_.Advance(4 * kDayMs);
  File("young", Today());
  auto dry = Orphans(false);
  ASSERT_TRUE(dry.has_value()) << dry.error().ToString();
  EXPECT_EQ(dry->orphans, 3);
  EXPECT_EQ(dry->files_young, 1);
  EXPECT_EQ(dry->files_hidden, 1);
  EXPECT_EQ(dry->by_kind, (std::map<std::string, int64_t>{{"data", 1}, {"manifest", 1}, {"temporary", 1}}));
  EXPECT_FALSE(dry->fenced);
  EXPECT_EQ(Metadata().snapshots.size(), 2u);
  EXPECT_TRUE(DataExists("crashed"));

  auto done = Orphans(true);
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_TRUE(done->fenced);
  EXPECT_EQ(done->deleted.files, 3);
  EXPECT_EQ(done->deleted.bytes, dry->orphan_bytes);
  EXPECT_FALSE(DataExists("crashed"));
  EXPECT_TRUE(DataExists("young"));
  EXPECT_TRUE(Exists("file:///lake/events/_spark/checkpoint"));
  EXPECT_TRUE(Exists("file:///lake/events/metadata/version-hint.text"));
  EXPECT_EQ(LiveNames(), (std::set<std::string>{"a", "b"}));
  ExpectWhole();
  // Nothing to do: no fence either.
  const int64_t sequence = Metadata().last_sequence_number;
  done = Orphans(true);
  ASSERT_TRUE(done.has_value());
  EXPECT_EQ(done->orphans, 0);
  EXPECT_EQ(Metadata().last_sequence_number, sequence);
}

TEST_F(MaintenanceTest, AFileThatIsCommittedMeanwhileIsNoOrphan) {
  const iceberg::DataFile late = File("late", Today());
  File("crashed", Today());
  clock_.Advance(4 * kDayMs);
  int commits = 0;
  catalog_.SetFaults([&](iceberg::CatalogCall call, const iceberg::TableIdentifier&) {
    if (call == iceberg::CatalogCall::kCommit && ++commits == 1) Commit({late});
    return iceberg::CatalogFault::kNone;
  });
  auto done = Orphans(true);
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(done->deleted.files, 1);
  EXPECT_TRUE(DataExists("late"));
  EXPECT_FALSE(DataExists("crashed"));
  ExpectWhole();
}

TEST_F(MaintenanceTest, AFilesAgeIsByTheStoresClock) {
  File("crashed", Today());
  // Our clock is four days ahead of the store's from here on.
  env::MemoryStore& store = memory_;
  env::ManualClock ahead(clock_.WallMs() + 4 * kDayMs);
  const MaintenanceParts parts{catalog_, store, ahead, random_};
  auto done = RemoveOrphans(parts, kTable, {.commit_max_age_ms = 6 * kHourMs, .apply = true}, {});
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(done->deleted.files, 0);
  EXPECT_TRUE(DataExists("crashed"));
}

TEST_F(MaintenanceTest, OrphansAreNotLookedForWhereThatIsNotSafe) {
  Commit({File("a", Today())});
  File("crashed", Today());
  clock_.Advance(4 * kDayMs);
  auto expect_refused = [&](const char* what, ErrorCode code = ErrorCode::kUnsupported) {
    for (const bool apply : {false, true}) {
      auto report = Orphans(apply);
      ASSERT_FALSE(report.has_value()) << what;
      EXPECT_EQ(report.error().code(), code) << what << ": " << report.error().ToString();
    }
    EXPECT_TRUE(DataExists("crashed")) << what;
  };
  SetProperty("gc.enabled", "false");
  expect_refused("gc.enabled");
  SetProperty("gc.enabled", "true");

  const iceberg::TableIdentifier inside{{"db"}, "inside"};
  ASSERT_TRUE(catalog_.CreateTable(inside, Request("file:/lake/events/nested")).has_value());
  expect_refused("a table below");
  ASSERT_TRUE(catalog_.DropTable(inside).has_value());
  ASSERT_TRUE(catalog_.CreateTable(inside, Request("file:///lake")).has_value());
  expect_refused("a table around");
  ASSERT_TRUE(catalog_.DropTable(inside).has_value());

  // A table of another catalog.
  iceberg::TableMetadata other = Metadata();
  other.table_uuid = "11111111-1111-4111-8111-111111111111";
  const std::string foreign = "file:///lake/events/metadata/00007-x.metadata.json";
  ASSERT_TRUE(store_.Put(foreign, other.Serialize()).has_value());
  expect_refused("foreign metadata");
  ASSERT_TRUE(store_.Delete(foreign).has_value());

  ASSERT_TRUE(store_.Delete("file:///lake/events/data/a.parquet").has_value());
  const std::vector<env::ObjectInfo> objects = store_.List("file:///lake/events/metadata").value();
  for (const env::ObjectInfo& info : objects) {
    store_.Delete(info.location).value();
  }
  expect_refused("manifests that are gone", ErrorCode::kCorruption);
}

// A second catalog over the same warehouse path. Its table was made before most of our metadata files were written.
TEST_F(MaintenanceTest, AForeignTableIsFoundBelowManyMetadataFilesOfOurOwn) {
  Commit({File("a", Today())});
  File("theirs", Today());
  iceberg::TableMetadata other = Metadata();
  other.table_uuid = "11111111-1111-4111-8111-111111111111";
  const std::string folder = "file:///lake/events/metadata/";
  ASSERT_TRUE(store_.Put(folder + "00000-x.metadata.json", other.Serialize()).has_value());
  iceberg::TableMetadata own = Metadata();
  for (int version = 1; version <= 30; ++version) {
    clock_.Advance(1);
    const std::string location = fmt::format("{}{:05}-own.metadata.json", folder, version);
    ASSERT_TRUE(store_.Put(location, own.Serialize()).has_value());
    own.metadata_log.push_back({clock_.WallMs(), location});
    if (own.metadata_log.size() > 10) own.metadata_log.erase(own.metadata_log.begin());
  }
  clock_.Advance(4 * kDayMs);
  for (const bool apply : {false, true}) {
    auto report = Orphans(apply);
    ASSERT_FALSE(report.has_value());
    EXPECT_EQ(report.error().code(), ErrorCode::kUnsupported) << report.error().ToString();
  }
  EXPECT_TRUE(DataExists("theirs"));
  // Bytes that are nobody's metadata may be a damaged file of theirs.
  ASSERT_TRUE(store_.Delete(folder + "00000-x.metadata.json").has_value());
  ASSERT_TRUE(store_.Put(folder + "00000-x.metadata.json", "{").has_value());
  clock_.Advance(4 * kDayMs);
  EXPECT_EQ(Orphans(true).error().code(), ErrorCode::kUnsupported);
  EXPECT_TRUE(DataExists("theirs"));
  ASSERT_TRUE(store_.Delete(folder + "00000-x.metadata.json").has_value());
  // Each names ten before it: three are read, and then nothing is unknown.
  const int64_t reads = store_.calls(env::StoreCall::kRead);
  ASSERT_TRUE(Orphans(false).has_value());
  EXPECT_LE(store_.calls(env::StoreCall::kRead) - reads, 3 + 2);  // and a manifest list and a manifest
  auto done = Orphans(true);
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(done->by_kind.at("metadata"), 30);
}

TEST_F(MaintenanceTest, WhatIsReferencedIsReadOnce) {
  Commit({File("a", Today())});
  Commit({File("b", Today())});
  References references(store_);
  ASSERT_TRUE(references.Add(*catalog_.LoadTable(kTable)).has_value());
  const int64_t reads = store_.calls(env::StoreCall::kRead);
  Commit({File("c", Today())});
  const int64_t after_commit = store_.calls(env::StoreCall::kRead);
  ASSERT_TRUE(references.Add(*catalog_.LoadTable(kTable)).has_value());
  EXPECT_EQ(store_.calls(env::StoreCall::kRead) - after_commit, 2);  // one more list, one more manifest
  EXPECT_GE(reads, 4);
  for (const char* name : {"a", "b", "c"}) {
    EXPECT_EQ(references.Find(fmt::format("file:///lake/events/data/{}.parquet", name)), References::Found::kYes);
  }
}

TEST_F(MaintenanceTest, StatisticsAreNoOrphans) {
  Commit({File("a", Today())});
  iceberg::TableMetadata metadata = Metadata();
  const std::string folder = "file:///lake/events/metadata/";
  for (const char* name : {"stats.puffin", "partitions.parquet", "left.puffin"}) {
    ASSERT_TRUE(store_.Put(folder + name, "sketches").has_value());
  }
  metadata.other_members_json["statistics"] =
      R"([{"snapshot-id": 1, "statistics-path": "file:/lake/events/metadata/stats.puffin"}])";
  metadata.other_members_json["partition-statistics"] =
      R"([{"snapshot-id": 1, "statistics-path": "file:///lake/events/metadata/partitions.parquet"}])";
  catalog_.Register(kTable, metadata);
  clock_.Advance(4 * kDayMs);
  auto done = Orphans(true);
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(done->locations, std::vector<std::string>{folder + "left.puffin"});
  EXPECT_TRUE(Exists(folder + "stats.puffin"));
  EXPECT_TRUE(Exists(folder + "partitions.parquet"));
  // A list that cannot be understood protects nothing, so nothing goes.
  metadata = Metadata();
  metadata.other_members_json["statistics"] = R"([{"snapshot-id": 1}])";
  catalog_.Register(kTable, metadata);
  EXPECT_EQ(Orphans(true).error().code(), ErrorCode::kCorruption);
}

TEST(Locations, ASetKnowsThemByRootAndPath) {
  LocationSet set;
  EXPECT_TRUE(set.Add("s3a://k/a//b"));
  EXPECT_FALSE(set.Add("s3://k/a/b"));
  EXPECT_TRUE(set.Contains("s3n://k/a/b/"));
  EXPECT_FALSE(set.Contains("s3://l/a/b"));
  ASSERT_NE(set.RootElsewhere("file:/a/b"), nullptr);
  EXPECT_EQ(*set.RootElsewhere("s3://l/a/b"), "s3://k");
  EXPECT_EQ(set.RootElsewhere("s3://k/a/b"), nullptr);
  EXPECT_EQ(set.size(), 1u);
}

TEST_F(MaintenanceTest, AnAgeShorterThanWritersMayTakeIsRefused) {
  auto report = Orphans(false, 59 * kHourMs);
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code(), ErrorCode::kInvalidInput);
  EXPECT_TRUE(Orphans(false, 60 * kHourMs).has_value());
}

TEST_F(MaintenanceTest, APathUnderAnotherSchemeIsNotDeleted) {
  iceberg::DataFile file = File("a", Today());
  file.file_path = "s3://lake/lake/events/data/a.parquet";
  Commit({File("b", Today()), file});
  clock_.Advance(4 * kDayMs);
  auto report = Orphans(true);
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code(), ErrorCode::kUnsupported);
  EXPECT_TRUE(DataExists("a"));
}

TEST_F(MaintenanceTest, AnotherSpellingOfTheSameFileIsTheSame) {
  iceberg::DataFile file = File("a", Today());
  file.file_path = "file:/lake/events//data/a.parquet";
  Commit({file});
  clock_.Advance(4 * kDayMs);
  auto report = Orphans(true);
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->orphans, 0);
  EXPECT_TRUE(DataExists("a"));
}

TEST(Locations, AreComparedBySchemeBucketAndPath) {
  EXPECT_EQ(KeyOf("file:/a/b").text(), KeyOf("file:///a//b/").text());
  EXPECT_EQ(KeyOf("/a/b").text(), KeyOf("file://localhost/a/b").text());
  EXPECT_EQ(KeyOf("s3a://k/a").text(), KeyOf("s3://k/a").text());
  EXPECT_NE(KeyOf("s3://k/a").text(), KeyOf("s3://l/a").text());
  EXPECT_TRUE(IsBelow(KeyOf("s3://k/a/b"), KeyOf("s3n://k/a")));
  EXPECT_FALSE(IsBelow(KeyOf("s3://k/ab"), KeyOf("s3://k/a")));
  EXPECT_FALSE(IsBelow(KeyOf("s3://k/a"), KeyOf("file:/a")));
  EXPECT_TRUE(IsHidden("data/.tmp/a"));
  EXPECT_TRUE(IsHidden("_logs/a"));
  EXPECT_FALSE(IsHidden("data/_day=1/a.parquet"));
}

// ---- expiry

TEST_F(MaintenanceTest, ExpiredSnapshotsTakeAlongTheFilesThatOnlyTheyReached) {
  Commit({File("a", Today())});
  Commit({File("b", Today())});
  Replace({"a", "b"}, File("ab", Today(), 150));
  clock_.Advance(6 * kDayMs);
  Commit({File("c", Today())});
  auto dry = Expire({});
  ASSERT_TRUE(dry.has_value()) << dry.error().ToString();
  EXPECT_EQ(dry->snapshots_before, 4);
  EXPECT_EQ(dry->plan.snapshots.size(), 3u);
  EXPECT_EQ(dry->files.at("data"), 2);
  EXPECT_EQ(dry->files.at("manifest_list"), 3);
  EXPECT_EQ(Metadata().snapshots.size(), 4u);
  EXPECT_TRUE(DataExists("a"));
  auto done = Expire({.apply = true});
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(Metadata().snapshots.size(), 1u);
  EXPECT_EQ(done->files, dry->files);
  EXPECT_EQ(done->bytes, dry->bytes);
  EXPECT_EQ(done->deleted.failed, 0);
  EXPECT_EQ(done->deleted.bytes, done->bytes);
  EXPECT_FALSE(DataExists("a") || DataExists("b"));
  EXPECT_EQ(LiveNames(), (std::set<std::string>{"ab", "c"}));
  ExpectWhole();
  // All that is left is referenced.
  clock_.Advance(4 * kDayMs);
  EXPECT_EQ(Orphans(false)->orphans, 0);
}

TEST_F(MaintenanceTest, ATagKeepsItsSnapshotUntilTheTagIsOld) {
  Commit({File("a", Today())});
  const SnapshotId first = *Metadata().current_snapshot_id;
  Commit({File("b", Today())});
  Tag("audit", first);
  Tag("short", *Metadata().current_snapshot_id, kDayMs);
  Replace({"a", "b"}, File("ab", Today(), 150));
  clock_.Advance(6 * kDayMs);
  Commit({File("c", Today())});
  auto done = Expire({.apply = true});
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(done->plan.refs, std::vector<std::string>{"short"});
  EXPECT_EQ(done->plan.kept_for.at("tag audit"), 1);
  EXPECT_TRUE(Metadata().refs.contains("audit"));
  EXPECT_FALSE(Metadata().refs.contains("short"));
  EXPECT_NE(Metadata().FindSnapshot(first), nullptr);
  EXPECT_TRUE(DataExists("a"));
  EXPECT_FALSE(DataExists("b"));
  ExpectWhole();
}

TEST_F(MaintenanceTest, ABranchKeepsItsOwnHistory) {
  for (const char* name : {"a", "b", "c"}) Commit({File(name, Today())});
  iceberg::SnapshotRef ref{.snapshot_id = *Metadata().current_snapshot_id, .min_snapshots_to_keep = 2};
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(kTable, {iceberg::SetSnapshotRef{"side", ref}}).has_value());
  clock_.Advance(6 * kDayMs);
  Commit({File("d", Today())});
  auto done = Expire({.apply = true});
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(done->plan.snapshots.size(), 1u);
  EXPECT_EQ(done->plan.kept_for.at("branch side"), 2);
  ExpectWhole();
}

TEST_F(MaintenanceTest, APipelinesNewestSnapshotStays) {
  Commit({File("a", Today())}, {}, {}, "flows");
  const SnapshotId ours = *Metadata().current_snapshot_id;
  Commit({File("b", Today())});
  clock_.Advance(6 * kDayMs);
  Commit({File("c", Today())});
  auto done = Expire({.apply = true});
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(done->plan.kept_for.at("pipeline flows"), 1);
  EXPECT_NE(Metadata().FindSnapshot(ours), nullptr);
  EXPECT_EQ(Metadata().snapshots.size(), 2u);
}

TEST_F(MaintenanceTest, RetentionIsTheTablesUnlessTheCallerHasAnother) {
  for (const char* name : {"a", "b", "c", "d"}) {
    Commit({File(name, Today())});
    clock_.Advance(kHourMs);
  }
  EXPECT_EQ(Expire({})->plan.snapshots.size(), 0u);  // five days
  EXPECT_EQ(Expire({.snapshot_age_ms = 3 * kHourMs - 1})->plan.snapshots.size(), 2u);
  EXPECT_EQ(Expire({.snapshot_age_ms = 0, .snapshots_to_keep = 3})->plan.snapshots.size(), 1u);
  SetProperty("history.expire.max-snapshot-age-ms", "1");
  EXPECT_EQ(Expire({})->plan.snapshots.size(), 3u);
  SetProperty("history.expire.min-snapshots-to-keep", "2");
  EXPECT_EQ(Expire({})->plan.snapshots.size(), 2u);
  SetProperty("history.expire.min-snapshots-to-keep", "two");
  EXPECT_EQ(Expire({}).error().code(), ErrorCode::kInvalidInput);
  SetProperty("gc.enabled", "false");
  EXPECT_EQ(Expire({}).error().code(), ErrorCode::kUnsupported);
}

TEST_F(MaintenanceTest, ExpiryAnswersThatAreLostAreSeen) {
  Commit({File("a", Today())});
  Commit({File("b", Today())});
  Replace({"a", "b"}, File("ab", Today(), 150));
  clock_.Advance(6 * kDayMs);
  for (const auto fault : {iceberg::CatalogFault::kConflict, iceberg::CatalogFault::kLostAnswer}) {
    Commit({File(fmt::format("c{}", static_cast<int>(fault)), Today())});
    int commits = 0;
    catalog_.SetFaults([&](iceberg::CatalogCall call, const iceberg::TableIdentifier&) {
      const bool first = call == iceberg::CatalogCall::kCommit && ++commits == 1;
      return first ? fault : iceberg::CatalogFault::kNone;
    });
    auto done = Expire({.snapshot_age_ms = 0, .apply = true});
    catalog_.SetFaults({});
    ASSERT_TRUE(done.has_value()) << done.error().ToString();
    EXPECT_GE(done->plan.snapshots.size(), 1u);
    EXPECT_EQ(Metadata().snapshots.size(), 1u);
    ExpectWhole();
  }
  EXPECT_FALSE(DataExists("a"));
}

// The first attempt was applied, and before the second one there is more to expire.
TEST_F(MaintenanceTest, FilesOfAnAttemptWhoseAnswerWasLostAreDeletedToo) {
  Commit({File("a", Today())});
  Commit({File("b", Today())});
  Replace({"a", "b"}, File("ab", Today(), 150));
  clock_.Advance(6 * kDayMs);
  int commits = 0, loads = 0;
  catalog_.SetFaults([&](iceberg::CatalogCall call, const iceberg::TableIdentifier&) {
    if (call == iceberg::CatalogCall::kCommit && ++commits == 1) return iceberg::CatalogFault::kLostAnswer;
    if (call == iceberg::CatalogCall::kLoad && commits == 1 && ++loads == 1) {
      clock_.Advance(1);
      Commit({File("c", Today())});
      clock_.Advance(1);
    }
    return iceberg::CatalogFault::kNone;
  });
  auto done = Expire({.snapshot_age_ms = 0, .apply = true});
  catalog_.SetFaults({});
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(commits, 2);
  EXPECT_EQ(done->snapshots_before, 3);
  EXPECT_EQ(done->plan.snapshots.size(), 3u);
  EXPECT_EQ(Metadata().snapshots.size(), 1u);
  EXPECT_FALSE(DataExists("a") || DataExists("b"));
  ExpectWhole();
}

// The answer to the first attempt was lost; then somebody renames the table and makes another in the same folder.
TEST_F(MaintenanceTest, ATableThatTookTheNameMeanwhileCostsTheOldOneNoFile) {
  Commit({File("a", Today())});
  Commit({File("b", Today())});
  clock_.Advance(6 * kDayMs);
  const iceberg::TableIdentifier renamed{{"db"}, "renamed"};
  int commits = 0, loads = 0;
  catalog_.SetFaults([&](iceberg::CatalogCall call, const iceberg::TableIdentifier&) {
    if (call == iceberg::CatalogCall::kCommit && ++commits == 1) return iceberg::CatalogFault::kLostAnswer;
    if (call == iceberg::CatalogCall::kLoad && commits == 1 && ++loads == 1) {
      catalog_.Register(renamed, Metadata());
      EXPECT_TRUE(catalog_.DropTable(kTable).has_value());
      EXPECT_TRUE(catalog_.CreateTable(kTable, Request("file:///lake/events")).has_value());
    }
    return iceberg::CatalogFault::kNone;
  });
  auto done = Expire({.snapshot_age_ms = 0, .apply = true});
  catalog_.SetFaults({});
  EXPECT_TRUE(DataExists("a") && DataExists("b"));
  EXPECT_TRUE(iceberg::ReadLiveEntries(catalog_.LoadTable(renamed)->metadata, memory_).has_value());
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code(), ErrorCode::kConflict);
}

TEST_F(MaintenanceTest, AnExpiryWhoseFilesCannotBeLookedForReportsWhatItDid) {
  Commit({File("a", Today())});
  Commit({File("b", Today())});
  clock_.Advance(6 * kDayMs);
  store_.Inject({.call = env::StoreCall::kRead, .persistent = true, .code = ErrorCode::kIoError});
  auto done = Expire({.snapshot_age_ms = 0, .apply = true});
  store_.ClearFaults();
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(done->plan.snapshots.size(), 1u);
  ASSERT_TRUE(done->search_error.has_value());
  EXPECT_EQ(done->search_error->code(), ErrorCode::kIoError);
  EXPECT_EQ(Metadata().snapshots.size(), 1u);
}

TEST_F(MaintenanceTest, ATagThatIsMadeMeanwhileKeepsItsSnapshot) {
  Commit({File("a", Today())});
  const SnapshotId first = *Metadata().current_snapshot_id;
  Commit({File("b", Today())});
  Replace({"a", "b"}, File("ab", Today(), 150));
  clock_.Advance(1);
  int commits = 0;
  catalog_.SetFaults([&](iceberg::CatalogCall call, const iceberg::TableIdentifier&) {
    if (call == iceberg::CatalogCall::kCommit && ++commits == 1) Tag("audit", first);
    return iceberg::CatalogFault::kNone;
  });
  auto done = Expire({.snapshot_age_ms = 0, .apply = true});
  catalog_.SetFaults({});
  EXPECT_NE(Metadata().FindSnapshot(first), nullptr);
  EXPECT_TRUE(DataExists("a"));
  ExpectWhole();
}

TEST_F(MaintenanceTest, ImportedFilesOfOthersAreNotDeleted) {
  Commit({File("a", Today())});
  iceberg::DataFile imported = File("b", Today());
  imported.file_path = "file:///elsewhere/b.parquet";
  ASSERT_TRUE(store_.Put(imported.file_path, "theirs").has_value());
  Commit({imported});
  iceberg::RewriteRequest request;
  request.starting_sequence_number = Metadata().last_sequence_number;
  request.groups = {{0, {"file:///lake/events/data/a.parquet", imported.file_path}, {File("ab", Today(), 150)}}};
  request.groups[0].outputs[0].record_count = 20;
  ASSERT_TRUE(iceberg::CommitRewrite(catalog_, kTable, request, store_, clock_, random_, {}).has_value());
  clock_.Advance(1);
  auto done = Expire({.snapshot_age_ms = 0, .apply = true});
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(done->files_outside, 1);
  EXPECT_FALSE(DataExists("a"));
  EXPECT_TRUE(Exists("file:///elsewhere/b.parquet"));
}

TEST_F(MaintenanceTest, TablesThatFirnDoesNotWriteAreOnlyLookedAt) {
  Commit({File("a", Today())});
  Commit({File("b", Today())});
  File("crashed", Today());
  clock_.Advance(6 * kDayMs);
  Commit({File("c", Today())});
  iceberg::TableMetadata v3 = Metadata();
  v3.format_version = 3;
  v3.next_row_id = 0;
  catalog_.Register(kTable, v3);
  EXPECT_EQ(Expire({})->plan.snapshots.size(), 2u);
  EXPECT_EQ(Orphans(false)->orphans, 1);
  EXPECT_EQ(Expire({.apply = true}).error().code(), ErrorCode::kUnsupported);
  EXPECT_EQ(Orphans(true).error().code(), ErrorCode::kUnsupported);
  EXPECT_EQ(Retain(1, true).error().code(), ErrorCode::kUnsupported);
  EXPECT_EQ(ClusterManifests(Parts(), kTable, {.apply = true}, {}).error().code(), ErrorCode::kUnsupported);
  EXPECT_EQ(Metadata().snapshots.size(), 3u);
  EXPECT_TRUE(DataExists("crashed"));
}

// ---- failures

// Calls of the store fail in turn, once or from then on, before or after its effect: nothing that is referenced is
// ever missing, and the next run finishes the work.
TEST_F(MaintenanceTest, WhateverFailsNothingReferencedIsLost) {
  int round = 0;
  auto run_all = [&]() -> Status {
    FIRN_TRY(Retain(20, true));
    FIRN_TRY(Expire({.snapshot_age_ms = 0, .apply = true}));
    FIRN_TRY(ClusterManifests(Parts(), kTable, {.apply = true}, {}));
    FIRN_TRY(Orphans(true));
    return {};
  };
  for (const bool after_effect : {false, true}) {
    for (const bool persistent : {false, true}) {
      // Every so many calls: with each of them it would take minutes.
      const int64_t stride = after_effect ? (persistent ? 11 : 7) : (persistent ? 5 : 3);
      bool hit = true;
      for (int64_t nth = 1; hit; nth += stride, ++round) {
        const std::string a = fmt::format("a{}", round), b = fmt::format("b{}", round);
        Commit({File(a, Today()), File(fmt::format("old{}", round), Today() - 30)}, {}, {}, "flows");
        Commit({File(b, Today())}, {}, {}, "flows");
        Replace({a, b}, File("ab" + std::to_string(round), Today(), 150));
        Commit({}, {}, {}, "flows");
        File(fmt::format("crashed{}", round), Today());
        clock_.Advance(4 * kDayMs);
        const int64_t before = store_.faults_hit();
        store_.Inject(
            {.nth = nth, .persistent = persistent, .code = ErrorCode::kIoError, .after_effect = after_effect});
        (void)run_all();
        store_.ClearFaults();
        hit = store_.faults_hit() > before;
        ExpectWhole();
        if (HasFatalFailure()) return;
        clock_.Advance(4 * kDayMs);
        const Status again = run_all();
        ASSERT_TRUE(again.has_value()) << again.error().ToString();
        ExpectWhole();
        EXPECT_TRUE(LiveNames().contains("ab" + std::to_string(round))) << nth;
        EXPECT_FALSE(DataExists(fmt::format("crashed{}", round))) << nth;
        EXPECT_FALSE(DataExists(a) || DataExists(b)) << nth;
        if (HasFailure()) return;
      }
    }
  }
  EXPECT_GT(round, 30);
}

// ---- manifests

TEST_F(MaintenanceTest, ManifestsAreClusteredByPartition) {
  SetProperty("commit.manifest-merge.enabled", "false");
  for (int i = 0; i < 6; ++i) {
    Commit({File(fmt::format("a{}", i), Today()), File(fmt::format("b{}", i), Today() - 1)});
  }
  const auto live_before = LiveNames();
  std::map<std::string, std::pair<int64_t, int64_t>> numbers;
  const auto live = iceberg::ReadLiveEntries(Metadata(), store_).value();
  for (const auto& entry : live) {
    numbers[entry.data_file.file_path] = {*entry.sequence_number, entry.snapshot_id->value()};
  }
  auto dry = ClusterManifests(Parts(), kTable, {}, {});
  ASSERT_TRUE(dry.has_value()) << dry.error().ToString();
  EXPECT_EQ(dry->manifests_before, 6);
  EXPECT_EQ(dry->manifests_after, 1);
  EXPECT_EQ(dry->manifests_a_partition_before, 6);
  EXPECT_TRUE(dry->worth_it);
  EXPECT_EQ(Metadata().snapshots.size(), 6u);
  auto done = ClusterManifests(Parts(), kTable, {.apply = true}, {});
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_TRUE(done->snapshot_id.has_value());
  EXPECT_EQ(LiveNames(), live_before);
  const auto after = iceberg::ReadLiveEntries(Metadata(), store_).value();
  for (const auto& entry : after) {
    EXPECT_EQ(entry.status, iceberg::EntryStatus::kExisting);
    EXPECT_EQ(numbers[entry.data_file.file_path], std::pair(*entry.sequence_number, entry.snapshot_id->value()));
  }
  EXPECT_EQ(iceberg::ReadSnapshotManifests(*Metadata().CurrentSnapshot(), store_)->size(), 1u);
  const iceberg::TableMetadata metadata = Metadata();
  EXPECT_EQ(metadata.CurrentSnapshot()->summary.at("total-records"), "120");
  // Nothing is left to gain.
  auto again = ClusterManifests(Parts(), kTable, {.apply = true}, {});
  ASSERT_TRUE(again.has_value());
  EXPECT_FALSE(again->worth_it);
  EXPECT_EQ(Metadata().snapshots.size(), 7u);
}

// Sizes, counts and bounds of many columns, as a real file's entry has them.
iceberg::DataFile WithMetrics(iceberg::DataFile file) {
  for (int32_t id = 1; id <= 100; ++id) {
    file.column_sizes[id] = 4000 + id;
    file.value_counts[id] = file.record_count;
    file.null_value_counts[id] = id % 3;
    file.lower_bounds[id] = std::string(8, 'a');
    file.upper_bounds[id] = std::string(8, 'z');
  }
  file.nan_value_counts[2] = 1;
  return file;
}

TEST_F(MaintenanceTest, ClusteringHoldsEntriesPackedAndOnlyWhereItIsWorthIt) {
  constexpr int64_t kFiles = 20;
  constexpr int64_t kKeysBytes = kFiles * 200;
  const iceberg::DataFile whole = WithMetrics(File("whole", Today()));
  SetProperty("commit.manifest-merge.enabled", "false");
  std::vector<iceberg::DataFile> files;
  for (int i = 1; i < kFiles; ++i) files.push_back(WithMetrics(File(fmt::format("f{}", i), Today())));
  Commit(files);
  auto one = ClusterManifests(Parts(), kTable, {.apply = true, .memory_bytes = kKeysBytes}, {});
  ASSERT_TRUE(one.has_value()) << one.error().ToString();
  EXPECT_FALSE(one->worth_it);
  Commit({whole});
  auto planned = ClusterManifests(Parts(), kTable, {.memory_bytes = kKeysBytes}, {});
  ASSERT_TRUE(planned.has_value()) << planned.error().ToString();
  EXPECT_TRUE(planned->worth_it);
  EXPECT_EQ(ClusterManifests(Parts(), kTable, {.apply = true, .memory_bytes = kKeysBytes}, {}).error().code(),
            ErrorCode::kResourceExhausted);
  EXPECT_EQ(Metadata().snapshots.size(), 2u);
  // In maps each of these is 40 KB.
  auto done = ClusterManifests(Parts(), kTable, {.apply = true, .memory_bytes = kFiles * 5000}, {});
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(Metadata().snapshots.size(), 3u);
  const auto live = iceberg::ReadLiveEntries(Metadata(), store_).value();
  ASSERT_EQ(std::ssize(live), kFiles);
  for (const iceberg::ManifestEntry& entry : live) {
    EXPECT_EQ(entry.data_file.column_sizes, whole.column_sizes);
    EXPECT_EQ(entry.data_file.value_counts, whole.value_counts);
    EXPECT_EQ(entry.data_file.null_value_counts, whole.null_value_counts);
    EXPECT_EQ(entry.data_file.nan_value_counts, whole.nan_value_counts);
    EXPECT_EQ(entry.data_file.lower_bounds, whole.lower_bounds);
    EXPECT_EQ(entry.data_file.upper_bounds, whole.upper_bounds);
  }
}

TEST_F(MaintenanceTest, AFewManifestsOfAPartitionEachAreEnough) {
  SetProperty("commit.manifest-merge.enabled", "false");
  for (int i = 0; i < 10; ++i) {
    Commit({File(fmt::format("a{}", i), Today()), File(fmt::format("b{}", i), Today() - 1)});
  }
  // So small that a manifest holds about half of the files.
  const int64_t bytes = ClusterManifests(Parts(), kTable, {}, {})->bytes_before;
  SetProperty("commit.manifest.target-size-bytes", std::to_string(bytes / 2));
  auto done = ClusterManifests(Parts(), kTable, {.apply = true}, {});
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(done->manifests_after, 2);
  EXPECT_EQ(done->manifests_a_partition_after, 1);
}

}  // namespace
}  // namespace firn::maintenance
