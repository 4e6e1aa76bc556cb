#include "firn/ingest/map_commit.h"

#include <gtest/gtest.h>

#include "firn/env/testing/faulty_store.h"
#include "firn/env/testing/manual_clock.h"
#include "firn/env/testing/memory_store.h"
#include "firn/iceberg/catalog/testing/memory_catalog.h"
#include "firn/iceberg/commit/snapshot_expiry.h"

namespace firn::ingest {
namespace {

using iceberg::CatalogCall;
using iceberg::CatalogFault;

const iceberg::TableIdentifier kEvents{{"lake"}, "events"};
constexpr int64_t kDayMs = 24 * 3'600'000LL;

// A table that Firn made, and commits without rows.
class MapCommitTest : public testing::Test {
 protected:
  void Create(iceberg::Properties properties = {}) {
    iceberg::CreateTableRequest request;
    schema::Field field;
    field.id = FieldId{1};
    field.name = "id";
    field.type = schema::Type::Primitive(schema::TypeKind::kLong);
    request.schema.fields = {field};
    request.properties = std::move(properties);
    request.properties[std::string(kCreatedByProperty)] = "1";
    ASSERT_TRUE(catalog_.EnsureNamespace({"lake"}).has_value());
    ASSERT_TRUE(catalog_.CreateTable(kEvents, request).has_value());
  }

  Result<MapCommitResult> CommitBy(MapCommitter& committer, TableState& table) {
    MapCommitRequest request;
    request.decide = [](const iceberg::LoadedTable&, const std::optional<PositionsMap>&) -> Result<MapDecision> {
      return MapDecision{};
    };
    return committer.Commit(table, request, {});
  }
  Result<MapCommitResult> Commit() { return CommitBy(committer_, table_); }

  // `count` snapshots, a minute apart.
  void CommitMany(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      clock_.Advance(60'000);
      auto committed = Commit();
      ASSERT_TRUE(committed.has_value()) << committed.error().ToString();
    }
  }

  iceberg::TableMetadata Load() { return catalog_.LoadTable(kEvents).value().metadata; }

  void Tag(SnapshotId id) {
    iceberg::SetSnapshotRef tag{"keep", {}};
    tag.value.snapshot_id = id;
    tag.value.type = "tag";
    ASSERT_TRUE(catalog_.CommitAsSomebodyElse(kEvents, {tag}).has_value());
  }

  // Fails each commit that is asked for, and counts them.
  void FailCommits(CatalogFault fault) {
    catalog_.SetFaults([this, fault](CatalogCall call, const iceberg::TableIdentifier&) {
      if (call != CatalogCall::kCommit) return CatalogFault::kNone;
      ++commits_asked_;
      return fault;
    });
  }

  env::ManualClock clock_;
  env::SeededRandom random_{5};
  env::MemoryStore store_{clock_};
  iceberg::MemoryCatalog catalog_{clock_};
  MapCommitter committer_{catalog_, store_, clock_, random_, {"p", "w", ""}};
  TableState table_{kEvents};
  int commits_asked_ = 0;
};

constexpr size_t kFirst = iceberg::kExpireSpareNewest + iceberg::kExpirePerCommitMax + 5;

TEST_F(MapCommitTest, ATagThatSomebodySetMeanwhileKeepsItsSnapshot) {
  Create();
  CommitMany(kFirst);
  const SnapshotId oldest = Load().snapshots[0].snapshot_id;
  const SnapshotId second = Load().snapshots[1].snapshot_id;
  Tag(oldest);
  clock_.Advance(2 * kDayMs);
  auto committed = Commit();
  ASSERT_TRUE(committed.has_value()) << committed.error().ToString();
  EXPECT_EQ(committed->conflicts, 0);
  const iceberg::TableMetadata after = Load();
  EXPECT_TRUE(after.refs.contains("keep"));
  EXPECT_NE(after.FindSnapshot(oldest), nullptr);
  EXPECT_EQ(after.FindSnapshot(second), nullptr);
  EXPECT_EQ(after.snapshots.size(), kFirst + 1 - iceberg::kExpirePerCommitMax);
}

TEST_F(MapCommitTest, ATagThatComesWhileTheCommitIsOnItsWayIsAConflict) {
  Create();
  CommitMany(kFirst);
  const SnapshotId oldest = Load().snapshots[0].snapshot_id;
  clock_.Advance(2 * kDayMs);
  catalog_.SetFaults([&](CatalogCall call, const iceberg::TableIdentifier&) {
    if (call == CatalogCall::kCommit && commits_asked_++ == 0) Tag(oldest);
    return CatalogFault::kNone;
  });
  auto committed = Commit();
  ASSERT_TRUE(committed.has_value()) << committed.error().ToString();
  EXPECT_EQ(committed->conflicts, 1);
  EXPECT_NE(Load().FindSnapshot(oldest), nullptr);
  EXPECT_TRUE(Load().refs.contains("keep"));
}

TEST_F(MapCommitTest, GcAndRetentionThatSomebodySetMeanwhileHold) {
  Create();
  CommitMany(kFirst);
  iceberg::SetSnapshotRef main;
  main.value = Load().refs.at("main");
  main.value.min_snapshots_to_keep = 1000;
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(kEvents, {main}).has_value());
  clock_.Advance(2 * kDayMs);
  ASSERT_TRUE(Commit().has_value());
  EXPECT_EQ(Load().snapshots.size(), kFirst + 1);
  EXPECT_EQ(Load().refs.at("main").min_snapshots_to_keep, 1000);

  main.value = Load().refs.at("main");
  main.value.min_snapshots_to_keep.reset();
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(kEvents, {main}).has_value());
  ASSERT_TRUE(committer_.Reload(table_).has_value());
  iceberg::SetProperties no_gc{{{"gc.enabled", "FALSE"}}};
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(kEvents, {no_gc}).has_value());
  ASSERT_TRUE(Commit().has_value());
  EXPECT_EQ(Load().snapshots.size(), kFirst + 2);
}

TEST_F(MapCommitTest, CommitsThatExpireNothingDoNotReload) {
  Create();
  ASSERT_TRUE(Commit().has_value());
  int loads = 0;
  catalog_.SetFaults([&](CatalogCall call, const iceberg::TableIdentifier&) {
    loads += call == CatalogCall::kLoad ? 1 : 0;
    return CatalogFault::kNone;
  });
  CommitMany(20);
  EXPECT_EQ(loads, 0);
}

// Somebody has expired it since, and taken its files away.
TEST_F(MapCommitTest, ABaseWhoseManifestListIsGoneIsLoadedAgain) {
  Create();
  ASSERT_TRUE(Commit().has_value());
  MapCommitter quiet_committer{catalog_, store_, clock_, random_, {"p", "quiet", ""}};
  TableState quiet_table{kEvents};
  ASSERT_TRUE(quiet_committer.Reload(quiet_table).has_value());
  const std::string list = Load().CurrentSnapshot()->manifest_list;
  ASSERT_TRUE(Commit().has_value());
  ASSERT_TRUE(store_.Delete(list).has_value());
  auto committed = CommitBy(quiet_committer, quiet_table);
  ASSERT_TRUE(committed.has_value()) << committed.error().ToString();
  EXPECT_EQ(committed->conflicts, 0);
  // What was loaded for the attempt and cannot be read is an error.
  ASSERT_TRUE(store_.Delete(Load().CurrentSnapshot()->manifest_list).has_value());
  TableState late_table{kEvents};
  MapCommitter late_committer{catalog_, store_, clock_, random_, {"p", "late", ""}};
  EXPECT_EQ(CommitBy(late_committer, late_table).error().code(), ErrorCode::kCorruption);
}

TEST_F(MapCommitTest, WhereOthersCommitTooTheTableIsLoadedFirst) {
  Create();
  MapCommitter other_committer{catalog_, store_, clock_, random_, {"p", "other", ""}};
  TableState other_table{kEvents};
  int32_t conflicts = 0;
  for (int i = 0; i < 20; ++i) {
    conflicts += Commit().value().conflicts;
    conflicts += CommitBy(other_committer, other_table).value().conflicts;
  }
  // Each learns of the other by losing once.
  EXPECT_LE(conflicts, 2);
  EXPECT_EQ(Load().snapshots.size(), 40u);

  // Alone again: one commit finds nobody else's snapshot, and from then on nothing is loaded.
  CommitMany(2);
  int loads = 0;
  catalog_.SetFaults([&](CatalogCall call, const iceberg::TableIdentifier&) {
    loads += call == CatalogCall::kLoad ? 1 : 0;
    return CatalogFault::kNone;
  });
  CommitMany(10);
  EXPECT_EQ(loads, 0);
}

TEST_F(MapCommitTest, ALookAtTheTableBetweenTwoCommitsDoesNotHideTheOthers) {
  Create();
  int32_t conflicts = 0;
  for (int i = 0; i < 10; ++i) {
    conflicts += Commit().value().conflicts;
    MapCommitter other_committer{catalog_, store_, clock_, random_, {"p", "other", ""}};
    TableState other_table{kEvents};
    ASSERT_TRUE(CommitBy(other_committer, other_table).has_value());
    ASSERT_TRUE(committer_.Reload(table_).has_value());
    ASSERT_TRUE(CommitBy(other_committer, other_table).has_value());
  }
  EXPECT_LE(conflicts, 1);
}

TEST_F(MapCommitTest, WhatAnAttemptHasReadTheNextOneDoesNotReadAgain) {
  Create({{"commit.manifest.min-count-to-merge", "10"}});
  env::FaultyStore store(store_);
  MapCommitter committer(catalog_, store, clock_, random_, {"p", "w", ""});
  auto commit_file = [&](int number) {
    MapCommitRequest request;
    iceberg::DataFile file;
    file.file_path = "memory:///lake/" + std::to_string(number) + ".parquet";
    file.record_count = 1;
    file.file_size_in_bytes = 10;
    const std::vector<iceberg::NewDataFile> files = {{0, file}};
    request.files = files;
    request.rows = 1;
    request.decide = [](const iceberg::LoadedTable&, const std::optional<PositionsMap>&) -> Result<MapDecision> {
      return MapDecision{};
    };
    return committer.Commit(table_, request, {});
  };
  for (int i = 0; i < 9; ++i) ASSERT_TRUE(commit_file(i).has_value());

  const int64_t reads_before = store.calls(env::StoreCall::kRead);
  catalog_.SetFaults([&](CatalogCall call, const iceberg::TableIdentifier&) {
    if (call == CatalogCall::kCommit) return ++commits_asked_ <= 3 ? CatalogFault::kConflict : CatalogFault::kNone;
    return CatalogFault::kNone;
  });
  auto committed = commit_file(9);
  ASSERT_TRUE(committed.has_value()) << committed.error().ToString();
  EXPECT_EQ(committed->conflicts, 3);
  const int64_t reads = store.calls(env::StoreCall::kRead) - reads_before;
  EXPECT_GE(reads, 9) << "ten manifests are merged";
  EXPECT_LE(reads, 10);
}

TEST_F(MapCommitTest, TriesAsOftenAsTheTableSaysAndWaitsLonger) {
  Create(
      {{"commit.retry.num-retries", "6"}, {"commit.retry.min-wait-ms", "1000"}, {"commit.retry.max-wait-ms", "4000"}});
  FailCommits(CatalogFault::kConflict);
  const int64_t before = clock_.BootMs();
  EXPECT_EQ(Commit().error().code(), ErrorCode::kConflict);
  EXPECT_EQ(commits_asked_, 7);
  // 1, 2, 4, 4, 4, 4 s, each between a half and the whole of it.
  EXPECT_GE(clock_.BootMs() - before, 19'000 / 2);
  EXPECT_LE(clock_.BootMs() - before, 19'000);
}

TEST_F(MapCommitTest, FourRetriesByDefaultAndNoneIfTheTableSaysSo) {
  Create();
  FailCommits(CatalogFault::kLostRequest);
  EXPECT_EQ(Commit().error().code(), ErrorCode::kCommitStateUnknown);
  EXPECT_EQ(commits_asked_, 5);
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(kEvents, {iceberg::SetProperties{{{"commit.retry.num-retries", "0"}}}})
                  .has_value());
  EXPECT_FALSE(Commit().has_value());
  EXPECT_EQ(commits_asked_, 6);
}

TEST_F(MapCommitTest, TheTotalTimeOutEndsTheTries) {
  Create({{"commit.retry.num-retries", "1000000"},
          {"commit.retry.min-wait-ms", "1000"},
          {"commit.retry.max-wait-ms", "1000"},
          {"commit.retry.total-timeout-ms", "10000"}});
  FailCommits(CatalogFault::kConflict);
  const int64_t before = clock_.BootMs();
  EXPECT_EQ(Commit().error().code(), ErrorCode::kConflict);
  EXPECT_LE(clock_.BootMs() - before, 10'000);
  EXPECT_GE(clock_.BootMs() - before, 8'000);
  EXPECT_GE(commits_asked_, 9);
}

TEST_F(MapCommitTest, HostileRetrySettingsEnd) {
  Create({{"commit.retry.num-retries", "2"},
          {"commit.retry.min-wait-ms", "9223372036854775807"},
          {"commit.retry.max-wait-ms", "1"},
          {"commit.retry.total-timeout-ms", "9223372036854775807"}});
  FailCommits(CatalogFault::kConflict);
  EXPECT_EQ(Commit().error().code(), ErrorCode::kConflict);
  EXPECT_EQ(commits_asked_, 3);
}

}  // namespace
}  // namespace firn::ingest
