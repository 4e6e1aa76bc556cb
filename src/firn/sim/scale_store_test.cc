#include "firn/sim/scale_store.h"

#include <gtest/gtest.h>

#include "firn/env/testing/manual_clock.h"
#include "firn/iceberg/manifest/manifest_avro.h"

namespace firn::sim {
namespace {

constexpr char kFolder[] = "memory:///lake/t/metadata/";

class ScaleStoreTest : public testing::Test {
 protected:
  std::string Manifest(const std::string& name) { return kFolder + name + ".avro"; }

  // A snapshot whose list names these manifests, on top of `before`; `keep`: how many of the newest snapshots stay.
  iceberg::TableMetadata Commit(const iceberg::TableMetadata& before, const std::vector<std::string>& names,
                                size_t keep) {
    iceberg::TableMetadata after = before;
    iceberg::Snapshot snapshot;
    snapshot.sequence_number = ++sequence_number_;
    snapshot.snapshot_id = SnapshotId{sequence_number_};
    snapshot.manifest_list = kFolder + std::to_string(sequence_number_) + ".avro";
    std::vector<iceberg::ManifestFile> manifests;
    for (const std::string& name : names) {
      iceberg::ManifestFile& manifest = manifests.emplace_back();
      manifest.manifest_path = Manifest(name);
      manifest.added_files_count = manifest.existing_files_count = manifest.deleted_files_count = 0;
      manifest.added_rows_count = manifest.existing_rows_count = manifest.deleted_rows_count = 0;
      if (Has(manifest.manifest_path)) continue;
      EXPECT_TRUE(store_.Put(manifest.manifest_path, "entries").has_value());
    }
    iceberg::ManifestListHeader header;
    header.snapshot_id = snapshot.snapshot_id;
    header.sequence_number = sequence_number_;
    EXPECT_TRUE(store_.Put(snapshot.manifest_list, iceberg::WriteManifestList(header, manifests).value()).has_value());
    after.snapshots.push_back(snapshot);
    after.current_snapshot_id = snapshot.snapshot_id;
    const int64_t oldest = sequence_number_ - static_cast<int64_t>(keep) + 1;
    after.snapshots.EraseIf([&](const iceberg::Snapshot& each) { return each.sequence_number < oldest; });
    EXPECT_TRUE(store_.OnCommit("lake.t", before, after).has_value());
    return after;
  }
  bool Has(const std::string& location) { return store_.Stat(location).has_value(); }
  void Pass() { clock_.Advance(kScaleKeptMs + 1); }

  env::ManualClock clock_{1'790'000'000'000};
  ScaleStore store_{clock_};
  int64_t sequence_number_ = 0;
};

TEST_F(ScaleStoreTest, KeepsWhatTheNewestSnapshotNeeds) {
  iceberg::TableMetadata table = Commit({}, {"a", "b"}, 9);
  Pass();
  table = Commit(table, {"a", "c"}, 9);
  Pass();
  table = Commit(table, {"a", "c"}, 9);
  EXPECT_TRUE(Has(table.snapshots.back().manifest_list));
  EXPECT_FALSE(Has(table.snapshots.front().manifest_list));  // long since replaced
  EXPECT_TRUE(Has(Manifest("a")));
  EXPECT_TRUE(Has(Manifest("b")));  // its snapshot is listed
  EXPECT_TRUE(Has(Manifest("c")));
}

TEST_F(ScaleStoreTest, AManifestGoesWithTheLastSnapshotThatNamesIt) {
  iceberg::TableMetadata table = Commit({}, {"a", "b"}, 2);
  table = Commit(table, {"a", "b"}, 2);
  table = Commit(table, {"a", "c"}, 2);
  EXPECT_TRUE(Has(Manifest("b")));
  table = Commit(table, {"a", "c"}, 2);
  EXPECT_FALSE(Has(Manifest("b")));
  EXPECT_TRUE(Has(Manifest("a")));
  EXPECT_TRUE(Has(Manifest("c")));
}

TEST_F(ScaleStoreTest, WhatALostAttemptHasWrittenGoes) {
  ASSERT_TRUE(store_.Put(kFolder + std::string("lost.avro"), "list").has_value());
  iceberg::TableMetadata table = Commit({}, {"a"}, 9);
  EXPECT_TRUE(Has(kFolder + std::string("lost.avro")));
  Pass();
  table = Commit(table, {"a"}, 9);
  EXPECT_FALSE(Has(kFolder + std::string("lost.avro")));
}

TEST_F(ScaleStoreTest, DataFilesHaveASizeAndNoBytes) {
  const std::string location = "memory:///lake/t/data/a.parquet";
  auto writer = store_.OpenWrite(location);
  ASSERT_TRUE(writer.has_value());
  ASSERT_TRUE((*writer)->Append("rows").has_value());
  EXPECT_EQ((*writer)->bytes_written(), 4);
  ASSERT_TRUE((*writer)->Close().has_value());
  EXPECT_TRUE(Has(location));
  EXPECT_EQ(store_.total_bytes(), 0);
  Pass();
  Commit({}, {}, 9);
  EXPECT_FALSE(Has(location));
}

}  // namespace
}  // namespace firn::sim
