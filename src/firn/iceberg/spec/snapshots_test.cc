#include "firn/iceberg/spec/snapshots.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace firn::iceberg {
namespace {

Snapshot MakeSnapshot(int64_t id) {
  Snapshot snapshot;
  snapshot.snapshot_id = SnapshotId{id};
  snapshot.summary["operation"] = "append";
  return snapshot;
}

std::vector<int64_t> Ids(const Snapshots& snapshots) {
  std::vector<int64_t> ids;
  for (const Snapshot& snapshot : snapshots) ids.push_back(snapshot.snapshot_id.value());
  return ids;
}

TEST(SnapshotsTest, IsReadLikeAVector) {
  Snapshots snapshots = {MakeSnapshot(1), MakeSnapshot(2), MakeSnapshot(3)};
  EXPECT_EQ(snapshots.size(), 3u);
  EXPECT_EQ(snapshots.front().snapshot_id, SnapshotId{1});
  EXPECT_EQ(snapshots[1].snapshot_id, SnapshotId{2});
  EXPECT_EQ(snapshots.back().snapshot_id, SnapshotId{3});
  static_assert(std::random_access_iterator<Snapshots::const_iterator>);
  auto found = std::ranges::find(snapshots, SnapshotId{2}, &Snapshot::snapshot_id);
  EXPECT_EQ(found - snapshots.begin(), 1);
  EXPECT_TRUE(Snapshots().begin() == Snapshots().end());
  EXPECT_EQ(snapshots.EraseIf([](const Snapshot& each) { return each.snapshot_id != SnapshotId{2}; }), 2u);
  EXPECT_EQ(Ids(snapshots), std::vector<int64_t>{2});
}

TEST(SnapshotsTest, CopiesShareSnapshotsAndNotChanges) {
  Snapshots snapshots = {MakeSnapshot(1), MakeSnapshot(2)};
  Snapshots copy = snapshots;
  EXPECT_EQ(&copy[0], &snapshots[0]);
  copy.Replace(0, [](Snapshot& snapshot) { snapshot.summary["operation"] = "replace"; });
  copy.push_back(MakeSnapshot(3));
  EXPECT_EQ(snapshots[0].summary.at("operation"), "append");
  EXPECT_EQ(copy[0].summary.at("operation"), "replace");
  EXPECT_EQ(&copy[1], &snapshots[1]);
  EXPECT_EQ(Ids(snapshots), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(Ids(copy), (std::vector<int64_t>{1, 2, 3}));
  copy.ReplaceAll([](Snapshot& snapshot) { snapshot.sequence_number = 9; });
  EXPECT_EQ(copy.back().sequence_number, 9);
  EXPECT_EQ(snapshots.back().sequence_number, 0);
}

}  // namespace
}  // namespace firn::iceberg
