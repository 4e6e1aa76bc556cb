// What the tests of maintenance have in common: a table by day in memory, and ways to commit to it.
//
// One thread.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "firn/env/testing/faulty_store.h"
#include "firn/env/testing/manual_clock.h"
#include "firn/env/testing/memory_store.h"
#include "firn/iceberg/catalog/testing/memory_catalog.h"
#include "firn/iceberg/commit/append.h"
#include "firn/iceberg/commit/live_entries.h"
#include "firn/iceberg/commit/rewrite_files.h"
#include "firn/ingest/positions.h"
#include "firn/maintenance/expiry.h"
#include "firn/maintenance/manifest_clustering.h"
#include "firn/maintenance/orphans.h"
#include "firn/maintenance/retention.h"

namespace firn::maintenance {

using schema::Type;
using schema::TypeKind;

inline constexpr int64_t kHourMs = 3'600'000;
inline constexpr int64_t kDayMs = 24 * kHourMs;
inline const iceberg::TableIdentifier kTable{{"db"}, "events"};

class MaintenanceTest : public ::testing::Test {
 protected:
  MaintenanceTest() {
    EXPECT_TRUE(catalog_.EnsureNamespace({"db"}).has_value());
    EXPECT_TRUE(catalog_.CreateTable(kTable, Request("file:///lake/events")).has_value());
  }

  static iceberg::CreateTableRequest Request(const std::string& location) {
    iceberg::CreateTableRequest request;
    request.location = location;
    request.schema.fields = {{FieldId{1}, "id", Type::Primitive(TypeKind::kLong), true},
                             {FieldId{2}, "time", Type::Primitive(TypeKind::kTimestamp)}};
    schema::PartitionField day;
    day.source_id = FieldId{2};
    day.field_id = FieldId{1000};
    day.name = "event_day";
    day.transform.kind = schema::TransformKind::kDay;
    request.spec.fields = {day};
    return request;
  }

  iceberg::TableMetadata Metadata() { return catalog_.LoadTable(kTable)->metadata; }
  int32_t Today() { return static_cast<int32_t>(clock_.WallMs() / kDayMs); }

  iceberg::DataFile File(const std::string& name, std::optional<int32_t> day, int64_t bytes = 100) {
    iceberg::DataFile file;
    file.file_path = "file:///lake/events/data/" + name + ".parquet";
    file.record_count = 10;
    file.file_size_in_bytes = bytes;
    file.partition = {day.has_value() ? schema::Value(*day) : schema::Value()};
    EXPECT_TRUE(store_.Put(file.file_path, std::string(static_cast<size_t>(bytes), 'x')).has_value());
    return file;
  }

  void Commit(const std::vector<iceberg::DataFile>& files, std::map<std::string, std::string> summary = {},
              const iceberg::Properties& properties = {}, const std::string& pipeline = "") {
    iceberg::AppendRequest request;
    std::vector<iceberg::NewDataFile> added;
    for (const iceberg::DataFile& file : files) added.push_back({0, file});
    request.files = added;
    request.summary = std::move(summary);
    request.set_properties = properties;
    request.expire_on_commit = false;
    if (!pipeline.empty()) {
      request.summary["firn.pipeline"] = pipeline;
      request.on_identity = [pipeline](SnapshotId id, int64_t sequence, iceberg::AppendRequest& of) -> Status {
        ingest::PositionsMap map;
        map.table = "db.events";
        map.table_uuid = "u";
        map.snapshot_id = id;
        map.sequence_number = sequence;
        map.rows_snapshot_id = id;
        map.rows_sequence_number = sequence;
        of.set_properties[ingest::PositionsProperty(pipeline)] = map.Serialize();
        return {};
      };
    }
    iceberg::ManifestListCache cache;
    auto prepared = iceberg::PrepareAppend(Metadata(), request, store_, clock_, random_, cache);
    ASSERT_TRUE(prepared.has_value()) << prepared.error().ToString();
    ASSERT_TRUE(catalog_.CommitAsSomebodyElse(kTable, prepared->updates).has_value());
  }

  // Two files become one, as a compaction does it.
  void Replace(const std::vector<std::string>& inputs, const iceberg::DataFile& output) {
    iceberg::RewriteRequest request;
    request.starting_sequence_number = Metadata().last_sequence_number;
    iceberg::RewriteGroup group;
    for (const std::string& name : inputs) group.inputs.push_back("file:///lake/events/data/" + name + ".parquet");
    group.outputs = {output};
    group.outputs[0].record_count = 10 * static_cast<int64_t>(inputs.size());
    request.groups = {group};
    auto outcome = iceberg::CommitRewrite(catalog_, kTable, request, store_, clock_, random_, {});
    ASSERT_TRUE(outcome.has_value()) << outcome.error().ToString();
    ASSERT_EQ(outcome->fates[0], iceberg::GroupFate::kReplaced);
  }

  void Tag(const std::string& name, SnapshotId id, std::optional<int64_t> max_age_ms = std::nullopt) {
    iceberg::SnapshotRef ref{.snapshot_id = id, .type = "tag", .max_ref_age_ms = max_age_ms};
    ASSERT_TRUE(catalog_.CommitAsSomebodyElse(kTable, {iceberg::SetSnapshotRef{name, ref}}).has_value());
  }

  void SetProperty(const std::string& key, const std::string& value) {
    ASSERT_TRUE(catalog_.CommitAsSomebodyElse(kTable, {iceberg::SetProperties{{{key, value}}}}).has_value());
  }

  MaintenanceParts Parts() { return {catalog_, store_, clock_, random_}; }
  Result<OrphanReport> Orphans(bool apply, int64_t older_than_ms = kOrphanAgeMsDefault) {
    return RemoveOrphans(Parts(), kTable,
                         {.older_than_ms = older_than_ms, .commit_max_age_ms = 6 * kHourMs, .apply = apply}, {});
  }
  Result<ExpiryReport> Expire(const ExpiryOptions& options) { return ExpireSnapshots(Parts(), kTable, options, {}); }
  Result<RetentionReport> Retain(int64_t days, bool apply) {
    return RetainData(Parts(), kTable, {.field = "event_day", .age_ms = days * kDayMs, .apply = apply}, {});
  }

  std::set<std::string> LiveNames() {
    std::set<std::string> names;
    const auto live = iceberg::ReadLiveEntries(Metadata(), memory_).value();
    for (const auto& entry : live) {
      const std::string& path = entry.data_file.file_path;
      names.insert(path.substr(path.rfind('/') + 1, path.rfind('.') - path.rfind('/') - 1));
    }
    return names;
  }

  bool Exists(const std::string& location) { return memory_.Stat(location).has_value(); }
  bool DataExists(const std::string& name) { return Exists("file:///lake/events/data/" + name + ".parquet"); }

  // Everything that the table's snapshots reach is there.
  void ExpectWhole() {
    const iceberg::TableMetadata metadata = Metadata();
    for (const iceberg::Snapshot& snapshot : metadata.snapshots) {
      auto manifests = iceberg::ReadSnapshotManifests(snapshot, memory_);
      ASSERT_TRUE(manifests.has_value()) << manifests.error().ToString();
      for (const iceberg::ManifestFile& manifest : *manifests) {
        auto contents = iceberg::ReadManifestFile(manifest, memory_);
        ASSERT_TRUE(contents.has_value()) << contents.error().ToString();
        for (const iceberg::ManifestEntry& entry : contents->entries) {
          EXPECT_TRUE(!entry.is_live() || Exists(entry.data_file.file_path)) << entry.data_file.file_path;
        }
      }
    }
  }

  env::ManualClock clock_;
  env::SeededRandom random_{7};
  env::MemoryStore memory_{clock_};
  env::FaultyStore store_{memory_, clock_};
  iceberg::MemoryCatalog catalog_{clock_};
};

}  // namespace firn::maintenance
