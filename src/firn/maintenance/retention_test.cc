#include <limits>

#include "firn/maintenance/maintenance_fixture_for_test.h"

namespace firn::maintenance {
namespace {

TEST_F(MaintenanceTest, OldPartitionsLeaveTheTableWhole) {
  Commit({File("old", Today() - 10), File("older", Today() - 11), File("edge", Today() - 8)});
  Commit({File("new", Today()), File("null", std::nullopt)});
  // A day's partition is over a day after its start: with 7 days, that of 8 days ago ends exactly then.
  clock_.Advance(kDayMs - clock_.WallMs() % kDayMs);
  const int32_t shift = 1;
  auto dry = Retain(7 + shift, false);
  ASSERT_TRUE(dry.has_value()) << dry.error().ToString();
  EXPECT_EQ(dry->files, 3);
  EXPECT_EQ(dry->partitions, 3);
  EXPECT_EQ(dry->rows, 30);
  EXPECT_EQ(dry->bytes, 300);
  EXPECT_EQ(dry->files_without_value, 1);
  EXPECT_EQ(Metadata().snapshots.size(), 2u);
  EXPECT_EQ(Retain(8 + shift, false)->files, 2);
  auto done = Retain(7 + shift, true);
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(LiveNames(), (std::set<std::string>{"new", "null"}));
  const iceberg::TableMetadata metadata = Metadata();
  const iceberg::Snapshot& snapshot = *metadata.CurrentSnapshot();
  EXPECT_EQ(snapshot.summary.at("operation"), "delete");
  EXPECT_EQ(snapshot.summary.at("deleted-records"), "30");
  EXPECT_EQ(snapshot.summary.at("total-records"), "20");
  EXPECT_TRUE(DataExists("old"));
  ExpectWhole();
  EXPECT_FALSE(Retain(7 + shift, true)->snapshot_id.has_value());
  EXPECT_EQ(Metadata().snapshots.size(), 3u);
}

// Of the files that leave a manifest and of those that stay in it.
TEST_F(MaintenanceTest, RetentionKeepsWhatManifestsSayOfColumns) {
  std::vector<iceberg::DataFile> files = {File("old", Today() - 10), File("new", Today())};
  for (iceberg::DataFile& file : files) {
    file.column_sizes = {{1, 40}};
    file.value_counts = {{1, 10}};
    file.upper_bounds = {{1, std::string(8, 'z')}};
  }
  Commit(files);
  ASSERT_TRUE(Retain(7, true).has_value());
  const auto manifests = iceberg::ReadSnapshotManifests(*Metadata().CurrentSnapshot(), store_).value();
  ASSERT_EQ(manifests.size(), 1u);
  const auto contents = iceberg::ReadManifestFile(manifests[0], store_).value();
  ASSERT_EQ(contents.entries.size(), 2u);
  for (const iceberg::ManifestEntry& entry : contents.entries) {
    EXPECT_EQ(entry.is_live(), entry.data_file.file_path == files[1].file_path);
    EXPECT_EQ(entry.data_file.column_sizes, files[0].column_sizes);
    EXPECT_EQ(entry.data_file.value_counts, files[0].value_counts);
    EXPECT_EQ(entry.data_file.upper_bounds, files[0].upper_bounds);
  }
}

TEST_F(MaintenanceTest, ATagIsALegalHold) {
  Commit({File("old", Today() - 10)});
  Tag("legal-hold", *Metadata().current_snapshot_id);
  Commit({File("other", Today() - 10), File("new", Today())});
  auto done = Retain(7, true);
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(done->files, 2);
  EXPECT_EQ(done->held.at("legal-hold").files, 1);
  EXPECT_EQ(LiveNames(), (std::set<std::string>{"new"}));
  clock_.Advance(1);
  ASSERT_TRUE(Expire({.snapshot_age_ms = 0, .apply = true}).has_value());
  clock_.Advance(30 * kDayMs);
  ASSERT_TRUE(Orphans(true).has_value());
  EXPECT_TRUE(DataExists("old"));
  EXPECT_FALSE(DataExists("other"));
  ExpectWhole();
}

TEST_F(MaintenanceTest, RetentionSeesWhatIsCommittedMeanwhile) {
  Commit({File("old", Today() - 10)});
  int commits = 0;
  catalog_.SetFaults([&](iceberg::CatalogCall call, const iceberg::TableIdentifier&) {
    if (call != iceberg::CatalogCall::kCommit) return iceberg::CatalogFault::kNone;
    if (++commits == 1) Commit({File("late", Today() - 10), File("new", Today())});
    return commits == 2 ? iceberg::CatalogFault::kLostAnswer : iceberg::CatalogFault::kNone;
  });
  auto done = Retain(7, true);
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(done->files, 2);
  EXPECT_EQ(done->conflicts, 1);
  EXPECT_TRUE(done->snapshot_id.has_value());
  EXPECT_EQ(LiveNames(), (std::set<std::string>{"new"}));
}

TEST_F(MaintenanceTest, DeleteFilesOfOldPartitionsGoAlong) {
  Commit({File("old", Today() - 10), File("new", Today())});
  // A position delete, as another engine writes it.
  const iceberg::TableMetadata base = Metadata();
  iceberg::DataFile deletes = File("del", Today() - 10);
  deletes.content = iceberg::FileContent::kPositionDeletes;
  deletes.record_count = 3;
  iceberg::ManifestEntry entry;
  entry.snapshot_id = SnapshotId{77};
  entry.data_file = deletes;
  const iceberg::ManifestHeader header{base.CurrentSchema(), base.DefaultSpec(), iceberg::ManifestContent::kDeletes};
  const std::string bytes = iceberg::WriteManifest(header, {entry}).value();
  const std::string path = "file:///lake/events/metadata/deletes-m0.avro";
  ASSERT_TRUE(store_.Put(path, bytes).has_value());
  auto manifests = iceberg::ReadSnapshotManifests(*base.CurrentSnapshot(), store_).value();
  manifests.push_back(
      iceberg::SummarizeManifest(header, {entry}, path, static_cast<int64_t>(bytes.size()), 2, SnapshotId{77}).value());
  iceberg::Snapshot snapshot;
  snapshot.snapshot_id = SnapshotId{77};
  snapshot.parent_snapshot_id = base.current_snapshot_id;
  snapshot.sequence_number = 2;
  snapshot.timestamp_ms = clock_.WallMs();
  snapshot.manifest_list = "file:///lake/events/metadata/snap-77.avro";
  snapshot.summary = {{"operation", "delete"},
                      {"total-delete-files", "1"},
                      {"total-position-deletes", "3"},
                      {"total-data-files", "2"},
                      {"total-records", "20"}};
  const iceberg::ManifestListHeader list{
      .snapshot_id = SnapshotId{77}, .parent_snapshot_id = base.current_snapshot_id, .sequence_number = 2};
  ASSERT_TRUE(store_.Put(snapshot.manifest_list, iceberg::WriteManifestList(list, manifests).value()).has_value());
  iceberg::SnapshotRef main{.snapshot_id = SnapshotId{77}};
  ASSERT_TRUE(
      catalog_.CommitAsSomebodyElse(kTable, {iceberg::AddSnapshot{snapshot}, iceberg::SetSnapshotRef{"main", main}})
          .has_value());
  auto done = Retain(7, true);
  ASSERT_TRUE(done.has_value()) << done.error().ToString();
  EXPECT_EQ(done->files, 1);
  EXPECT_EQ(done->delete_files, 1);
  const iceberg::TableMetadata after = Metadata();
  const auto& summary = after.CurrentSnapshot()->summary;
  EXPECT_EQ(summary.at("removed-delete-files"), "1");
  EXPECT_EQ(summary.at("total-delete-files"), "0");
  EXPECT_EQ(summary.at("total-position-deletes"), "0");
  EXPECT_EQ(summary.at("total-records"), "10");
}

TEST_F(MaintenanceTest, RetentionNeedsAPartitionFieldOfTime) {
  EXPECT_EQ(RetainData(Parts(), kTable, {.field = "id", .age_ms = kDayMs}, {}).error().code(),
            ErrorCode::kInvalidInput);
  EXPECT_EQ(RetainData(Parts(), kTable, {.field = "event_day", .age_ms = kHourMs - 1}, {}).error().code(),
            ErrorCode::kInvalidInput);
}

// A slip in a record's time makes partitions of the far future; they are not old.
TEST_F(MaintenanceTest, PartitionsOfTheFarFutureStay) {
  const iceberg::TableIdentifier table{{"db"}, "monthly"};
  iceberg::CreateTableRequest request = Request("file:///lake/monthly");
  request.spec.fields[0].name = "event_month";
  request.spec.fields[0].transform.kind = schema::TransformKind::kMonth;
  ASSERT_TRUE(catalog_.CreateTable(table, request).has_value());
  iceberg::AppendRequest append;
  const std::vector<iceberg::NewDataFile> files = {{0, File("old", 0)}, {0, File("future", (55'841 - 1970) * 12)}};
  append.files = files;
  iceberg::ManifestListCache cache;
  auto prepared = iceberg::PrepareAppend(catalog_.LoadTable(table)->metadata, append, store_, clock_, random_, cache);
  ASSERT_TRUE(prepared.has_value()) << prepared.error().ToString();
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(table, prepared->updates).has_value());
  auto report = RetainData(Parts(), table, {.field = "event_month", .age_ms = kDayMs}, {});
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->files, 1);
}

TEST(PartitionEnd, IsTheFirstInstantAfterThePartition) {
  using schema::TransformKind;
  auto end = [](TransformKind kind, TypeKind source, schema::Value value) {
    schema::Transform transform;
    transform.kind = kind;
    return PartitionEndMs(transform, *Type::Primitive(source), value);
  };
  const auto time = TypeKind::kTimestamp;
  EXPECT_EQ(end(TransformKind::kDay, time, int32_t{0}), kDayMs);
  EXPECT_EQ(end(TransformKind::kDay, time, int32_t{-1}), 0);
  EXPECT_EQ(end(TransformKind::kHour, time, int32_t{23}), kDayMs);
  EXPECT_EQ(end(TransformKind::kMonth, time, int32_t{0}), 31 * kDayMs);
  EXPECT_EQ(end(TransformKind::kMonth, time, int32_t{-1}), 0);
  EXPECT_EQ(end(TransformKind::kMonth, time, int32_t{649}), 1'709'251'200'000);  // February 2024 ends on the 29th
  EXPECT_EQ(end(TransformKind::kYear, time, int32_t{0}), 365 * kDayMs);
  EXPECT_EQ(end(TransformKind::kYear, time, int32_t{-1}), 0);
  // Beyond what a 16-bit year holds, and where milliseconds end.
  constexpr int64_t k400YearsMs = 146'097 * kDayMs;
  EXPECT_EQ(end(TransformKind::kMonth, time, int32_t{134 * 4800 - 1}), 134 * k400YearsMs);  // December 55569
  EXPECT_EQ(end(TransformKind::kYear, time, int32_t{134 * 400 + 53}), 134 * k400YearsMs + 19'723 * kDayMs);
  EXPECT_EQ(end(TransformKind::kMonth, time, int32_t{-134 * 4800 - 1}), -134 * k400YearsMs);
  EXPECT_EQ(end(TransformKind::kYear, time, std::numeric_limits<int32_t>::max()), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(end(TransformKind::kYear, time, std::numeric_limits<int32_t>::min()), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(end(TransformKind::kDay, time, std::numeric_limits<int64_t>::max()), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(end(TransformKind::kIdentity, TypeKind::kDate, int32_t{1}), 2 * kDayMs);
  EXPECT_EQ(end(TransformKind::kIdentity, time, int64_t{1'999}), 2);
  EXPECT_EQ(end(TransformKind::kIdentity, time, int64_t{-1}), 0);
  EXPECT_EQ(end(TransformKind::kIdentity, TypeKind::kTimestampNs, int64_t{1'000'000}), 2);
  EXPECT_EQ(end(TransformKind::kIdentity, TypeKind::kString, std::string("x")), std::nullopt);
  EXPECT_EQ(end(TransformKind::kBucket, time, int32_t{1}), std::nullopt);
  EXPECT_EQ(end(TransformKind::kDay, time, schema::Value()), std::nullopt);
}

}  // namespace
}  // namespace firn::maintenance
