#include "firn/sim/foreign_hands.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <fmt/format.h>
#include <parquet/arrow/reader.h>

#include <algorithm>

#include "firn/base/check.h"
#include "firn/iceberg/commit/live_entries.h"
#include "firn/iceberg/manifest/manifest_avro.h"
#include "firn/ingest/history.h"
#include "firn/ingest/table_state.h"

namespace firn::sim {

using iceberg::EntryStatus;
using iceberg::ManifestEntry;
using iceberg::Snapshot;
using iceberg::TableMetadata;

std::set<int64_t> ReadIds(env::ObjectStore& store, const std::string& path) {
  std::set<int64_t> ids;
  Result<std::string> bytes = store.Read(path);
  if (!bytes.has_value()) return ids;
  auto input = std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(std::move(*bytes)));
  auto opened = parquet::arrow::OpenFile(input, arrow::default_memory_pool());
  if (!opened.ok()) return ids;
  auto read = (*opened)->ReadTable();
  if (!read.ok()) return ids;
  const std::shared_ptr<arrow::ChunkedArray> column = (*read)->GetColumnByName("id");
  if (column == nullptr) return ids;
  for (const auto& chunk : column->chunks()) {
    const auto& values = static_cast<const arrow::Int64Array&>(*chunk);
    for (int64_t i = 0; i < values.length(); ++i) {
      if (!values.IsNull(i)) ids.insert(values.Value(i));
    }
  }
  return ids;
}

const std::set<int64_t>& ForeignHands::IdsOfFile(const std::string& path) {
  auto [at, fresh] = ids_by_path_.try_emplace(path);
  if (fresh) at->second = ReadIds(store_, path);
  return at->second;
}

std::set<int64_t> ForeignHands::IdsIn(const std::vector<ManifestEntry>& entries) {
  std::set<int64_t> ids;
  for (const ManifestEntry& entry : entries) {
    const std::set<int64_t>& more = IdsOfFile(entry.data_file.file_path);
    ids.insert(more.begin(), more.end());
  }
  return ids;
}

bool ForeignHands::Open(const std::string& table, Live& live) {
  live.identifier = iceberg::TableIdentifier::Parse(table).value();
  live.metadata = server_.Find(live.identifier);
  if (live.metadata == nullptr || live.metadata->CurrentSnapshot() == nullptr) return false;
  Result<std::vector<ManifestEntry>> entries = iceberg::ReadLiveEntries(*live.metadata, store_);
  FIRN_CHECK(entries.has_value(), fmt::format("a table cannot be read: {}", entries.error().ToString()));
  live.entries = std::move(*entries);
  return true;
}

std::string ForeignHands::NewName(const Live& live, const std::string& suffix) {
  return fmt::format("{}/foreign/{}{}", live.metadata->location, server_.MakeUuid(), suffix);
}

bool ForeignHands::Commit(const Live& live, std::vector<ManifestEntry> entries, const std::string& operation,
                          bool without_parent) {
  const TableMetadata& base = *live.metadata;
  Snapshot snapshot;
  snapshot.snapshot_id = SnapshotId{static_cast<int64_t>(random_.Next64() >> 1)};
  if (!without_parent) snapshot.parent_snapshot_id = base.current_snapshot_id;
  snapshot.sequence_number = base.last_sequence_number + 1;
  snapshot.timestamp_ms = std::max(clock_.WallMs(), base.last_updated_ms);
  snapshot.schema_id = base.current_schema_id;
  snapshot.summary = {{"operation", operation}, {"engine-name", "foreign"}};
  std::vector<iceberg::ManifestFile> manifests;
  // All files of the simulation are of one spec a table.
  if (!entries.empty()) {
    iceberg::ManifestHeader header{base.CurrentSchema(), base.DefaultSpec()};
    for (ManifestEntry& entry : entries) {
      if (entry.status != EntryStatus::kExisting) entry.snapshot_id = snapshot.snapshot_id;
    }
    std::string bytes = iceberg::WriteManifest(header, entries).value();
    const std::string path = NewName(live, "-m0.avro");
    manifests.push_back(iceberg::SummarizeManifest(header, entries, path, static_cast<int64_t>(bytes.size()),
                                                   snapshot.sequence_number, snapshot.snapshot_id)
                            .value());
    FIRN_CHECK(store_.Put(path, bytes).has_value(), "the store's truth refused a manifest");
  }
  iceberg::ManifestListHeader list_header;
  list_header.snapshot_id = snapshot.snapshot_id;
  list_header.parent_snapshot_id = snapshot.parent_snapshot_id;
  list_header.sequence_number = snapshot.sequence_number;
  snapshot.manifest_list = NewName(live, "-list.avro");
  FIRN_CHECK(
      store_.Put(snapshot.manifest_list, iceberg::WriteManifestList(list_header, manifests).value()).has_value(),
      "the store's truth refused a manifest list");
  iceberg::SnapshotRef main{snapshot.snapshot_id, "branch", {}, {}, {}};
  auto done = server_.CommitTable(
      live.identifier, {},
      {iceberg::AddSnapshot{snapshot}, iceberg::SetSnapshotRef{std::string(iceberg::kMainBranch), main}});
  FIRN_CHECK(done.has_value(),
             fmt::format("the catalog's truth refused a foreign commit: {}", done.error().ToString()));
  return true;
}

namespace {

std::vector<ManifestEntry> AsExisting(std::vector<ManifestEntry> entries) {
  for (ManifestEntry& entry : entries) entry.status = EntryStatus::kExisting;
  return entries;
}

}  // namespace

bool ForeignHands::Append(const std::string& table) {
  Live live;
  if (!Open(table, live)) return false;
  faults_.Note(FaultKind::kForeignAppend, table);
  return Commit(live, AsExisting(live.entries), "append");
}

bool ForeignHands::Rewrite(const std::string& table) {
  Live live;
  if (!Open(table, live) || live.entries.empty()) return false;
  faults_.Note(FaultKind::kForeignRewrite, table);
  const bool keeps_sequence = Below(random_, 2) == 0;
  std::vector<ManifestEntry> next;
  for (ManifestEntry& entry : AsExisting(live.entries)) {
    if (Below(random_, 2) == 0) {
      next.push_back(entry);
      continue;
    }
    ManifestEntry fresh = entry;
    fresh.status = EntryStatus::kAdded;
    fresh.file_sequence_number.reset();
    if (!keeps_sequence) fresh.sequence_number.reset();
    fresh.data_file.file_path = NewName(live, ".parquet");
    FIRN_CHECK(store_.Put(fresh.data_file.file_path, store_.Read(entry.data_file.file_path).value()).has_value(),
               "the store's truth refused a file");
    entry.status = EntryStatus::kDeleted;
    next.push_back(entry);
    next.push_back(std::move(fresh));
  }
  return Commit(live, std::move(next), "replace");
}

bool ForeignHands::Delete(const std::string& table) {
  Live live;
  if (!Open(table, live) || live.entries.empty()) return false;
  faults_.Note(FaultKind::kForeignDelete, table);
  std::vector<ManifestEntry> next = AsExisting(live.entries);
  ManifestEntry& gone = next[static_cast<size_t>(Below(random_, static_cast<int64_t>(next.size())))];
  gone.status = EntryStatus::kDeleted;
  const std::set<int64_t> ids = IdsIn({gone});
  expectation_.may_be_absent[table].insert(ids.begin(), ids.end());
  forget_seen_(table);
  return Commit(live, std::move(next), "delete");
}

bool ForeignHands::Expire(const std::string& table) {
  Live live;
  if (!Open(table, live) || live.metadata->snapshots.size() < 2) return false;
  faults_.Note(FaultKind::kForeignExpiry, table);
  std::vector<const Snapshot*> by_age;
  for (const Snapshot& snapshot : live.metadata->snapshots) by_age.push_back(&snapshot);
  std::ranges::sort(by_age, {}, [](const Snapshot* snapshot) { return snapshot->sequence_number; });
  const int64_t keep = 1 + Below(random_, 3);
  iceberg::RemoveSnapshots removed;
  for (const Snapshot* snapshot : by_age) {
    if (static_cast<int64_t>(removed.snapshot_ids.size()) + keep >= static_cast<int64_t>(by_age.size())) break;
    if (snapshot->snapshot_id != live.metadata->current_snapshot_id) {
      removed.snapshot_ids.push_back(snapshot->snapshot_id);
    }
  }
  if (removed.snapshot_ids.empty()) return false;
  auto done = server_.CommitTable(live.identifier, {}, {removed});
  FIRN_CHECK(done.has_value(), fmt::format("the catalog's truth refused an expiry: {}", done.error().ToString()));
  NoteUndetectable(table);
  return true;
}

bool ForeignHands::Rollback(const std::string& table) {
  Live live;
  if (!Open(table, live)) return false;
  // To an ancestor that is still listed.
  std::vector<const Snapshot*> ancestors;
  for (const Snapshot* at = live.metadata->CurrentSnapshot(); at->parent_snapshot_id.has_value();) {
    at = live.metadata->FindSnapshot(*at->parent_snapshot_id);
    if (at == nullptr) break;
    ancestors.push_back(at);
  }
  if (ancestors.empty()) return false;
  faults_.Note(FaultKind::kForeignRollback, table);
  const Snapshot* target =
      ancestors[static_cast<size_t>(Below(random_, std::min<int64_t>(5, static_cast<int64_t>(ancestors.size()))))];
  const std::set<int64_t> before = IdsIn(live.entries);
  iceberg::SnapshotRef main{target->snapshot_id, "branch", {}, {}, {}};
  auto done =
      server_.CommitTable(live.identifier, {}, {iceberg::SetSnapshotRef{std::string(iceberg::kMainBranch), main}});
  FIRN_CHECK(done.has_value(), fmt::format("the catalog's truth refused a rollback: {}", done.error().ToString()));
  forget_seen_(table);
  expectation_.positions_may_go_back.insert(table);
  expectation_.may_be_absent[table].insert(before.begin(), before.end());
  NoteUndetectable(table);
  return true;
}

bool ForeignHands::RemovePositions(const std::string& table, const std::string& property) {
  Live live;
  if (!Open(table, live) || !live.metadata->properties.contains(property)) return false;
  faults_.Note(FaultKind::kForeignPropertyChanged, table);
  old_properties_[table].push_back(live.metadata->properties.at(property));
  auto done = server_.CommitTable(live.identifier, {}, {iceberg::RemoveProperties{{property}}});
  FIRN_CHECK(done.has_value(), fmt::format("the catalog's truth refused a property: {}", done.error().ToString()));
  expectation_.positions_may_go_back.insert(table);
  return true;
}

bool ForeignHands::RestorePositions(const std::string& table, const std::string& property) {
  Live live;
  if (!Open(table, live) || !live.metadata->properties.contains(property)) return false;
  std::vector<std::string>& old = old_properties_[table];
  if (old.empty()) {
    old.push_back(live.metadata->properties.at(property));
    return false;
  }
  faults_.Note(FaultKind::kForeignPropertyChanged, table);
  const std::string value = old[static_cast<size_t>(Below(random_, static_cast<int64_t>(old.size())))];
  auto done = server_.CommitTable(live.identifier, {}, {iceberg::SetProperties{{{property, value}}}});
  FIRN_CHECK(done.has_value(), fmt::format("the catalog's truth refused a property: {}", done.error().ToString()));
  expectation_.positions_may_go_back.insert(table);
  NoteUndetectable(table);
  return true;
}

bool ForeignHands::Drop(const std::string& table) {
  Live live;
  if (!Open(table, live)) return false;
  faults_.Note(FaultKind::kTableDropped, table);
  FIRN_CHECK(server_.DropTable(live.identifier).has_value(), "a table that is there could not be dropped");
  expectation_.unchecked_tables.insert(table);
  return true;
}

void ForeignHands::NoteUndetectable(const std::string& table) {
  Live live;
  if (!Open(table, live)) return;
  bool chain_complete = false;
  if (ingest::NewestSnapshotOf(*live.metadata, pipeline_, chain_complete) != nullptr) return;
  Result<std::optional<ingest::PositionsMap>> map = ingest::MapOf(*live.metadata, pipeline_);
  if (!map.has_value() || !map->has_value()) return;
  for (int64_t id : IdsIn(live.entries)) {
    const ProducedRecord& record = history_.record(id);
    if (record.offset >= ingest::OffsetOf((*map)->marks, record.partition).value_or(0)) {
      expectation_.may_be_doubled[table].insert(id);
    }
  }
}

std::set<int64_t> ForeignHands::LiveIds(const std::string& table) {
  Live live;
  if (!Open(table, live)) return {};
  return IdsIn(live.entries);
}

bool ForeignHands::Replace(const std::string& table) {
  Live live;
  if (!Open(table, live)) return false;
  faults_.Note(FaultKind::kForeignCreateOrReplace, table);
  const std::set<int64_t> ids = IdsIn(live.entries);
  expectation_.may_be_absent[table].insert(ids.begin(), ids.end());
  expectation_.positions_may_go_back.insert(table);
  forget_seen_(table);
  return Commit(live, {}, "overwrite", true);
}

}  // namespace firn::sim
