#include "firn/iceberg/commit/snapshot_expiry.h"

#include <gtest/gtest.h>

#include "firn/iceberg/commit/manifest_merge.h"

namespace firn::iceberg {
namespace {

constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kNowMs = 1'700'000'000'000;

// `count` snapshots, an hour apart, the newest one an hour old, ids from 1 (oldest), all on main.
TableMetadata HourlyTable(int count) {
  TableMetadata table;
  for (int i = 1; i <= count; ++i) {
    Snapshot snapshot;
    snapshot.snapshot_id = SnapshotId{i};
    if (i > 1) snapshot.parent_snapshot_id = SnapshotId{i - 1};
    snapshot.sequence_number = i;
    snapshot.timestamp_ms = kNowMs - (count - i + 1) * kHourMs;
    table.snapshots.push_back(snapshot);
  }
  table.current_snapshot_id = SnapshotId{count};
  table.refs["main"].snapshot_id = SnapshotId{count};
  return table;
}

void SetTimes(TableMetadata& table, int64_t timestamp_ms) {
  table.snapshots.ReplaceAll([&](Snapshot& snapshot) { snapshot.timestamp_ms = timestamp_ms; });
}

void SetParent(TableMetadata& table, size_t place, int64_t parent) {
  table.snapshots.Replace(place, [&](Snapshot& snapshot) { snapshot.parent_snapshot_id = SnapshotId{parent}; });
}

std::vector<int64_t> Expired(const TableMetadata& table, bool ours = true) {
  std::vector<int64_t> ids;
  for (SnapshotId id : PickExpiredSnapshots(table, ours, kNowMs)) ids.push_back(id.value());
  return ids;
}

std::vector<int64_t> Range(int64_t first, int64_t last) {
  std::vector<int64_t> ids;
  for (int64_t id = first; id <= last; ++id) ids.push_back(id);
  return ids;
}

TEST(SnapshotExpiryTest, OldestFirstAndFewAtATime) {
  EXPECT_EQ(Expired(HourlyTable(150)), Range(1, 10));
  EXPECT_EQ(Expired(HourlyTable(105)), Range(1, 5));
}

TEST(SnapshotExpiryTest, TheNewestHundredStay) {
  EXPECT_TRUE(Expired(HourlyTable(100)).empty());
  EXPECT_EQ(Expired(HourlyTable(101)), Range(1, 1));
}

TEST(SnapshotExpiryTest, TheYoungStayHoweverMany) {
  TableMetadata table = HourlyTable(150);
  // All within six hours, and the table asks for one minute.
  SetTimes(table, kNowMs - 6 * kHourMs + 1);
  table.properties["history.expire.max-snapshot-age-ms"] = "60000";
  EXPECT_TRUE(Expired(table).empty());
  SetTimes(table, kNowMs - 6 * kHourMs - 1);
  EXPECT_EQ(Expired(table), Range(1, 10));
}

TEST(SnapshotExpiryTest, OurDefaultIsADay) {
  TableMetadata table = HourlyTable(150);
  SetTimes(table, kNowMs - 24 * kHourMs + 1);
  EXPECT_TRUE(Expired(table).empty());
  SetTimes(table, kNowMs - 24 * kHourMs - 1);
  EXPECT_EQ(Expired(table), Range(1, 10));
}

TEST(SnapshotExpiryTest, ForeignTablesOnlyByTheirOwnWord) {
  TableMetadata table = HourlyTable(150);
  EXPECT_TRUE(Expired(table, false).empty());
  table.properties["history.expire.min-snapshots-to-keep"] = "1";
  // Java's five days: 150 - 120 hours.
  EXPECT_EQ(Expired(table, false), Range(1, 10));
  table.properties["history.expire.min-snapshots-to-keep"] = "147";
  EXPECT_EQ(Expired(table, false), Range(1, 3));
  table.properties["history.expire.max-snapshot-age-ms"] = std::to_string(148 * kHourMs);
  EXPECT_EQ(Expired(table, false), Range(1, 2));
}

TEST(SnapshotExpiryTest, NoneWithoutGarbageCollectionOrWithPropertiesThatAreNoNumbers) {
  TableMetadata table = HourlyTable(150);
  table.properties["gc.enabled"] = "false";
  EXPECT_TRUE(Expired(table).empty());
  table.properties = {{"history.expire.max-snapshot-age-ms", "a day"}};
  EXPECT_TRUE(Expired(table).empty());
  table.properties = {{"history.expire.max-snapshot-age-ms", "-1"}};
  EXPECT_TRUE(Expired(table).empty());
  table.properties = {{"history.expire.max-snapshot-age-ms", "9223372036854775807"}};
  EXPECT_TRUE(Expired(table).empty());
}

TEST(SnapshotExpiryTest, TagsAndBranchesKeepWhatTheyName) {
  TableMetadata table = HourlyTable(150);
  table.refs["audit"] = {.snapshot_id = SnapshotId{2}, .type = "tag"};
  EXPECT_EQ(Expired(table), (std::vector<int64_t>{1, 3, 4, 5, 6, 7, 8, 9, 10, 11}));
  // A branch keeps a hundred of its own: 1 to 4.
  table.refs["fix"] = {.snapshot_id = SnapshotId{4}};
  EXPECT_EQ(Expired(table), Range(5, 14));
  table.refs.erase("fix");
  table.refs["main"].min_snapshots_to_keep = 148;
  EXPECT_EQ(Expired(table), (std::vector<int64_t>{1}));
  table.refs["main"].min_snapshots_to_keep = std::nullopt;
  table.refs["main"].max_snapshot_age_ms = 147 * kHourMs;
  EXPECT_EQ(Expired(table), (std::vector<int64_t>{1, 3}));
}

TEST(SnapshotExpiryTest, SnapshotsOutsideOfBranchesGoByAge) {
  TableMetadata table = HourlyTable(130);
  // 21 to 30 were rolled back: 31 goes on from 20.
  SetParent(table, 30, 20);
  table.properties["history.expire.max-snapshot-age-ms"] = std::to_string(105 * kHourMs);
  // Main's newest hundred by count (31..130), by age nothing more (26 is 105 hours old).
  EXPECT_EQ(Expired(table), Range(1, 10));
  table.snapshots.EraseIf([](const Snapshot& snapshot) { return snapshot.snapshot_id.value() <= 20; });
  EXPECT_EQ(Expired(table), Range(21, 25));
}

TEST(SnapshotExpiryTest, ParentsInACircleEnd) {
  TableMetadata table = HourlyTable(120);
  SetParent(table, 0, 120);
  EXPECT_EQ(Expired(table), Range(1, 10));
}

TEST(PackFromEndTest, FillsFromTheOldest) {
  using Bins = std::vector<std::vector<size_t>>;
  EXPECT_EQ(PackFromEnd({}, 10), Bins{});
  EXPECT_EQ(PackFromEnd({4, 4, 4, 4, 4}, 10), (Bins{{0}, {1, 2}, {3, 4}}));
  EXPECT_EQ(PackFromEnd({1, 99, 1, 1}, 10), (Bins{{0}, {1}, {2, 3}}));
  EXPECT_EQ(PackFromEnd({1, 2, 3}, 6), (Bins{{0, 1, 2}}));
  EXPECT_EQ(PackFromEnd({INT64_MAX, INT64_MAX, -1}, 6), (Bins{{0}, {1}, {2}}));
}

}  // namespace
}  // namespace firn::iceberg
