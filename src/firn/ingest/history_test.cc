// Every case of positions.md, section 5.7: what a table's snapshots, its property and its manifests say together.
#include "firn/ingest/history.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "firn/env/testing/manual_clock.h"
#include "firn/env/testing/memory_store.h"
#include "firn/iceberg/manifest/manifest_avro.h"

namespace firn::ingest {
namespace {

using iceberg::EntryStatus;
using Kind = ChainVerdict::Kind;

constexpr const char* kTable = "lake.events";
constexpr const char* kUuid = "uuid-1";

// A snapshot with the sequence number `id`; parent 0: none.
iceberg::Snapshot MakeSnapshot(int64_t id, int64_t parent, bool ours, std::map<std::string, std::string> more = {}) {
  iceberg::Snapshot snapshot;
  snapshot.snapshot_id = SnapshotId{id};
  if (parent != 0) snapshot.parent_snapshot_id = SnapshotId{parent};
  snapshot.sequence_number = id;
  snapshot.manifest_list = fmt::format("memory://list-{}", id);
  snapshot.summary = std::move(more);
  snapshot.summary["operation"] = "append";
  if (ours) snapshot.summary["firn.pipeline"] = "p";
  return snapshot;
}
iceberg::Snapshot Ours(int64_t id, int64_t parent) {
  return MakeSnapshot(id, parent, true);
}
iceberg::Snapshot Foreign(int64_t id, int64_t parent) {
  return MakeSnapshot(id, parent, false);
}

iceberg::TableMetadata MakeTable(std::vector<iceberg::Snapshot> snapshots, int64_t current) {
  iceberg::TableMetadata metadata;
  metadata.table_uuid = kUuid;
  for (const iceberg::Snapshot& snapshot : snapshots) {
    metadata.snapshot_log.push_back({snapshot.sequence_number, snapshot.snapshot_id});
    metadata.last_sequence_number = std::max(metadata.last_sequence_number, snapshot.sequence_number);
  }
  metadata.snapshots = std::move(snapshots);
  if (current != 0) metadata.current_snapshot_id = SnapshotId{current};
  return metadata;
}

// The map that snapshot `s` wrote, with its last rows in snapshot `rows`; 0: never any.
PositionsMap MakeMap(int64_t s, int64_t rows) {
  PositionsMap map;
  map.table = kTable;
  map.table_uuid = kUuid;
  map.snapshot_id = SnapshotId{s};
  map.sequence_number = s;
  if (rows != 0) {
    map.rows_snapshot_id = SnapshotId{rows};
    map.rows_sequence_number = rows;
  }
  return map;
}

struct ChainCase {
  const char* what;
  iceberg::TableMetadata metadata;
  PositionsMap map;
  Kind expected;
  int64_t known = 0;
};

TEST(HistoryTest, ChainOfSnapshots) {
  const std::map<std::string, std::string> picked = {{"source-snapshot-id", "2"}};
  const std::map<std::string, std::string> published = {{"published-wap-id", "w"}};
  const ChainCase cases[] = {
      {"our own commit is the head", MakeTable({Ours(1, 0), Ours(2, 1)}, 2), MakeMap(2, 2), Kind::kUnchanged},
      {"foreign commits above ours", MakeTable({Ours(1, 0), Foreign(2, 1), Foreign(3, 2)}, 3), MakeMap(1, 1),
       Kind::kUnchanged},
      {"another pipeline's commit above ours",
       MakeTable({Ours(1, 0), MakeSnapshot(2, 1, false, {{"firn.pipeline", "q"}})}, 2), MakeMap(1, 1),
       Kind::kUnchanged},
      {"rolled back", MakeTable({Ours(1, 0), Ours(2, 1)}, 1), MakeMap(2, 2), Kind::kChanged},
      {"rolled back, then a foreign commit", MakeTable({Ours(1, 0), Ours(2, 1), Foreign(3, 1)}, 3), MakeMap(2, 2),
       Kind::kChanged},
      {"rolled back and forward again", MakeTable({Ours(1, 0), Ours(2, 1)}, 2), MakeMap(2, 2), Kind::kUnchanged},
      {"an old map as property", MakeTable({Ours(1, 0), Ours(2, 1)}, 2), MakeMap(1, 1), Kind::kChanged},
      {"created or replaced: the old snapshots are listed, but no parents",
       MakeTable({Ours(1, 0), Ours(2, 1), Foreign(3, 0)}, 3), MakeMap(2, 2), Kind::kChanged},
      {"created or replaced without rows", MakeTable({Ours(1, 0), Ours(2, 1)}, 0), MakeMap(2, 2), Kind::kChanged},
      {"created or replaced, and the pipeline never added rows", MakeTable({Ours(1, 0), Foreign(2, 0)}, 2),
       MakeMap(1, 0), Kind::kChanged},
      {"ours expired", MakeTable({Foreign(3, 2), Foreign(4, 3)}, 4), MakeMap(2, 2), Kind::kAskRows},
      {"ours expired down to one snapshot", MakeTable({Foreign(4, 3)}, 4), MakeMap(2, 2), Kind::kAskRows},
      {"ours expired, never any rows", MakeTable({Foreign(3, 2), Foreign(4, 3)}, 4), MakeMap(2, 0), Kind::kUnchanged},
      {"a catalog without history, ours is current", MakeTable({Ours(5, 0)}, 5), MakeMap(5, 5), Kind::kUnchanged},
      {"a catalog without history, another one is current", MakeTable({Foreign(6, 0)}, 6), MakeMap(5, 5),
       Kind::kAskSequence},
      {"rolled back, ours cherry-picked on top", MakeTable({Ours(1, 0), Ours(2, 1), MakeSnapshot(3, 1, false, picked)},
                                                           3),
       MakeMap(2, 2), Kind::kChanged},
      {"cherry-picked with our marks copied: it is not ours",
       MakeTable({Ours(1, 0), Ours(2, 1), MakeSnapshot(3, 2, true, picked)}, 3), MakeMap(2, 2), Kind::kUnchanged},
      {"published from an audit branch with our marks copied",
       MakeTable({Ours(1, 0), Ours(2, 1), MakeSnapshot(3, 2, true, published)}, 3), MakeMap(2, 2), Kind::kUnchanged},
      {"set back together with its positions", MakeTable({Ours(1, 0)}, 1), MakeMap(1, 1), Kind::kChanged, 2},
      {"known from elsewhere and here", MakeTable({Ours(1, 0), Ours(2, 1)}, 2), MakeMap(2, 2), Kind::kUnchanged, 2},
      {"an old map as property, ours expired", MakeTable({Foreign(4, 3)}, 4), MakeMap(1, 1), Kind::kChanged, 2},
      {"a cycle in broken metadata", MakeTable({Foreign(1, 2), Foreign(2, 1)}, 2), MakeMap(3, 3), Kind::kAskRows},
  };
  for (const ChainCase& each : cases) {
    ChainVerdict verdict = JudgeChain(each.metadata, kTable, "p", each.map, each.known);
    EXPECT_EQ(verdict.kind, each.expected) << each.what << ": " << verdict.reason;
    EXPECT_EQ(verdict.reason.empty(), each.expected != Kind::kChanged) << each.what;
  }
}

TEST(HistoryTest, AnotherTableUnderTheName) {
  iceberg::TableMetadata metadata = MakeTable({Ours(1, 0)}, 1);
  // register_table of this table's metadata under another name.
  EXPECT_EQ(JudgeChain(metadata, "lake.clone", "p", MakeMap(1, 1), 0).kind, Kind::kChanged);
  // Copied metadata, or dropped and made again.
  metadata.table_uuid = "uuid-2";
  EXPECT_EQ(JudgeChain(metadata, kTable, "p", MakeMap(1, 1), 0).kind, Kind::kChanged);
}

// A store with the manifest list of the current snapshot.
class ManifestHistoryTest : public testing::Test {
 protected:
  struct File {
    EntryStatus status;
    int64_t snapshot;  // that added it; of a removed one: that removed it
    int64_t sequence;
  };

  // A manifest that snapshot `by` wrote.
  iceberg::ManifestFile Write(int64_t by, const std::vector<File>& files) {
    iceberg::ManifestHeader header;
    schema::Field field;
    field.id = FieldId{1};
    field.name = "id";
    field.type = schema::Type::Primitive(schema::TypeKind::kLong);
    header.table_schema.fields = {field};
    std::vector<iceberg::ManifestEntry> entries;
    for (const File& file : files) {
      iceberg::ManifestEntry entry;
      entry.status = file.status;
      entry.snapshot_id = SnapshotId{file.snapshot};
      entry.sequence_number = file.sequence;
      entry.file_sequence_number = file.sequence;
      entry.data_file.file_path = fmt::format("memory://file-{}", ++files_);
      entry.data_file.record_count = 1;
      entry.data_file.file_size_in_bytes = 1;
      entries.push_back(entry);
    }
    std::string path = fmt::format("memory://manifest-{}", ++files_);
    std::string bytes = iceberg::WriteManifest(header, entries).value();
    auto size = static_cast<int64_t>(bytes.size());
    store_.Overwrite(path, bytes);
    return iceberg::SummarizeManifest(header, entries, path, size, by, SnapshotId{by}).value();
  }

  void WriteList(int64_t snapshot, const std::vector<iceberg::ManifestFile>& manifests,
                 std::optional<PositionsMap> map = std::nullopt) {
    iceberg::ManifestListHeader header;
    header.snapshot_id = SnapshotId{snapshot};
    header.sequence_number = snapshot;
    if (map.has_value()) header.extra[PositionsProperty("p")] = map->Serialize();
    std::string bytes = iceberg::WriteManifestList(header, manifests).value();
    store_.Overwrite(fmt::format("memory://list-{}", snapshot), bytes);
  }

  bool Unchanged(const iceberg::TableMetadata& metadata, const PositionsMap& map) {
    auto verdict = JudgeHistory(metadata, kTable, "p", map, store_);
    EXPECT_TRUE(verdict.has_value()) << verdict.error().ToString();
    return verdict->unchanged;
  }

  env::ManualClock clock_;
  env::MemoryStore store_{clock_};
  int files_ = 0;
};

// Of a table whose own snapshots 1 and 2 (rows in both) have expired; what is current is snapshot 4, child of an
// unlisted one.
TEST_F(ManifestHistoryTest, ExpiredSnapshotsNeedAFileOfTheLastRows) {
  const File first{EntryStatus::kExisting, 1, 1};
  const File foreign{EntryStatus::kAdded, 4, 4};
  struct Case {
    const char* what;
    std::vector<iceberg::ManifestFile> manifests;
    bool unchanged;
  };
  const Case cases[] = {
      {"the manifest that the last rows came with",
       {Write(2, {{EntryStatus::kAdded, 2, 2}}), Write(4, {foreign})}, true},
      {"a manifest that was written anew", {Write(4, {first, {EntryStatus::kExisting, 2, 2}})}, true},
      {"files that were rewritten with the sequence number they had", {Write(4, {{EntryStatus::kAdded, 4, 2}})}, true},
      {"rewritten with a new number, by the current snapshot, which records what it removed",
       {Write(4, {{EntryStatus::kAdded, 4, 4}}),
        Write(4, {{EntryStatus::kDeleted, 4, 1}, {EntryStatus::kDeleted, 4, 2}})},
       true},
      {"the same of a retention that leaves nothing", {Write(4, {{EntryStatus::kDeleted, 4, 2}})}, true},
      {"rewritten with a new number by a snapshot that has expired: nothing is proven", {Write(4, {foreign})}, false},
      {"rolled back before the last rows, then a foreign commit, then expiry: a higher number proves nothing",
       {Write(1, {{EntryStatus::kAdded, 1, 1}}), Write(4, {foreign})}, false},
      {"only older rows of ours were removed", {Write(4, {{EntryStatus::kDeleted, 4, 1}})}, false},
      {"an empty table", {}, false},
  };
  const iceberg::TableMetadata two = MakeTable({Foreign(3, 2), Foreign(4, 3)}, 4);
  // Expired to one: that is no catalog without history.
  const iceberg::TableMetadata one = MakeTable({Foreign(4, 3)}, 4);
  for (const Case& each : cases) {
    WriteList(4, each.manifests);
    EXPECT_EQ(Unchanged(two, MakeMap(2, 2)), each.unchanged) << each.what;
    EXPECT_EQ(Unchanged(one, MakeMap(2, 2)), each.unchanged) << each.what;
  }
}

TEST_F(ManifestHistoryTest, CatalogsWithoutHistoryGoBySequenceNumbersToo) {
  const iceberg::TableMetadata metadata = MakeTable({Foreign(4, 0)}, 4);
  WriteList(4, {Write(4, {{EntryStatus::kAdded, 4, 4}}), Write(2, {{EntryStatus::kAdded, 2, 2}})});
  EXPECT_TRUE(Unchanged(metadata, MakeMap(2, 2))) << "a foreign append";
  WriteList(4, {Write(4, {{EntryStatus::kAdded, 4, 4}}), Write(1, {{EntryStatus::kAdded, 1, 1}})});
  EXPECT_TRUE(Unchanged(metadata, MakeMap(2, 2))) << "a foreign rewrite of a part";
  EXPECT_FALSE(Unchanged(metadata, MakeMap(5, 5))) << "the property is newer than the data";
  WriteList(4, {Write(4, {{EntryStatus::kAdded, 4, 4}})});
  EXPECT_FALSE(Unchanged(metadata, MakeMap(2, 2))) << "replaced";
  WriteList(4, {});
  EXPECT_TRUE(Unchanged(metadata, MakeMap(2, 0))) << "never any rows";
  EXPECT_FALSE(Unchanged(metadata, MakeMap(5, 0))) << "never any rows, but set back";
}

TEST_F(ManifestHistoryTest, RewindGoesToTheNewestSurvivingSnapshot) {
  WriteList(1, {}, MakeMap(1, 1));
  WriteList(2, {}, MakeMap(2, 2));
  auto map = MapToRewindTo(MakeTable({Ours(1, 0), Ours(2, 1), Foreign(3, 1)}, 3), kTable, "p", store_);
  ASSERT_TRUE(map.has_value()) << map.error().ToString();
  EXPECT_EQ(map->snapshot_id, SnapshotId{1});

  auto code = [&](const iceberg::TableMetadata& metadata) {
    auto refused = MapToRewindTo(metadata, kTable, "p", store_);
    return refused.has_value() ? ErrorCode::kInternal : refused.error().code();
  };
  EXPECT_EQ(code(MakeTable({Foreign(3, 2)}, 3)), ErrorCode::kNotFound) << "expired";
  EXPECT_EQ(code(MakeTable({Ours(1, 0), Foreign(2, 0)}, 2)), ErrorCode::kNotFound) << "replaced";
  // Snapshot 2 was rolled back and its rows cherry-picked: going back to 1 would read them again.
  const std::map<std::string, std::string> picked = {{"source-snapshot-id", "2"}};
  EXPECT_EQ(code(MakeTable({Ours(1, 0), Ours(2, 1), MakeSnapshot(3, 1, false, picked)}, 3)), ErrorCode::kNotFound);
  EXPECT_EQ(code(MakeTable({Ours(1, 0), MakeSnapshot(3, 1, false, picked)}, 3)), ErrorCode::kNotFound)
      << "nobody knows any more whose rows they are";
  const std::map<std::string, std::string> picked_again = {{"source-snapshot-id", "3"}};
  EXPECT_EQ(code(MakeTable({Ours(1, 0), Ours(2, 1), MakeSnapshot(3, 2, false, picked),
                            MakeSnapshot(4, 1, false, picked_again)},
                           4)),
            ErrorCode::kNotFound)
      << "a cherry-pick of a cherry-pick";
  EXPECT_EQ(code(MakeTable({Ours(1, 0), Ours(2, 1), MakeSnapshot(3, 2, true, picked),
                            MakeSnapshot(4, 1, false, picked_again)},
                           4)),
            ErrorCode::kNotFound)
      << "the same, with our marks copied";
  EXPECT_EQ(code(MakeTable({Ours(1, 0), MakeSnapshot(3, 1, true, {{"published-wap-id", "w"}})}, 3)),
            ErrorCode::kNotFound)
      << "published with our marks copied";
  // Somebody else's rows are no matter.
  EXPECT_TRUE(MapToRewindTo(MakeTable({Ours(1, 0), Foreign(2, 1), MakeSnapshot(3, 1, false, picked)}, 3), kTable, "p",
                            store_)
                  .has_value());
  // Copied metadata: under the same name the snapshot says what the copy has, too; under another it says nothing of it.
  iceberg::TableMetadata copy = MakeTable({Ours(1, 0), Foreign(2, 1)}, 2);
  copy.table_uuid = "uuid-2";
  EXPECT_TRUE(MapToRewindTo(copy, kTable, "p", store_).has_value());
  EXPECT_FALSE(MapToRewindTo(copy, "lake.another", "p", store_).has_value());
  WriteList(1, {});
  EXPECT_EQ(code(MakeTable({Ours(1, 0)}, 1)), ErrorCode::kCorruption) << "no map in the manifest list";
  WriteList(1, {}, MakeMap(2, 2));
  EXPECT_EQ(code(MakeTable({Ours(1, 0)}, 1)), ErrorCode::kCorruption) << "another snapshot's map";
}

}  // namespace
}  // namespace firn::ingest
