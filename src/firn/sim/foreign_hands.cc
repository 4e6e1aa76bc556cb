#include "firn/sim/foreign_hands.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <fmt/format.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/writer.h>

#include <algorithm>
#include <iterator>

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

namespace {

template <typename Array>
std::shared_ptr<Array> Column(const arrow::Table& table, const std::string& name) {
  const std::shared_ptr<arrow::ChunkedArray> column = table.GetColumnByName(name);
  if (column == nullptr || column->num_chunks() != 1) return nullptr;
  return std::dynamic_pointer_cast<Array>(column->chunk(0));
}

}  // namespace

std::vector<int64_t> ReadIds(env::ObjectStore& store, const std::string& path, const LogHistory& history) {
  std::vector<int64_t> ids;
  Result<std::string> bytes = store.Read(path);
  if (!bytes.has_value()) return ids;
  auto input = std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(std::move(*bytes)));
  auto opened = parquet::arrow::OpenFile(input, arrow::default_memory_pool());
  if (!opened.ok()) return ids;
  auto read = (*opened)->ReadTable();
  if (!read.ok()) return ids;
  auto combined = (*read)->CombineChunks();
  if (!combined.ok()) return ids;
  const arrow::Table& table = **combined;
  if (auto values = Column<arrow::Int64Array>(table, "id")) {
    for (int64_t i = 0; i < values->length(); ++i) {
      ids.push_back(values->IsNull(i) ? 0 : values->Value(i));
    }
    return ids;
  }
  auto clusters = Column<arrow::BinaryArray>(table, "cluster_id");
  auto topics = Column<arrow::BinaryArray>(table, "topic_id");
  auto partitions = Column<arrow::Int32Array>(table, "partition");
  auto offsets = Column<arrow::Int64Array>(table, "offset");
  auto keys = Column<arrow::BinaryArray>(table, "key");
  auto values = Column<arrow::BinaryArray>(table, "value");
  if (!clusters || !topics || !partitions || !offsets || !keys || !values) return ids;
  auto hash_of = [](const arrow::BinaryArray& column, int64_t i) {
    return HashOf(column.IsValid(i) ? std::optional(std::string(column.GetView(i))) : std::nullopt);
  };
  for (int64_t i = 0; i < table.num_rows(); ++i) {
    const ingest::PartitionKey key{std::string(clusters->GetView(i)), std::string(topics->GetView(i)),
                                   partitions->Value(i)};
    const ProducedRecord* record = history.FindAt(key, offsets->Value(i), hash_of(*values, i), hash_of(*keys, i));
    if (record != nullptr) ids.push_back(record->id);
  }
  return ids;
}

const std::set<int64_t>& ForeignHands::IdsOfFile(const std::string& path) {
  auto [at, fresh] = ids_by_path_.try_emplace(path);
  if (fresh) {
    for (int64_t id : ReadIds(store_, path, history_)) at->second.insert(id);
    at->second.erase(0);
  }
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

iceberg::ManifestFile ForeignHands::WriteEntries(const Live& live, iceberg::ManifestContent content,
                                                 std::vector<ManifestEntry> entries, const Snapshot& snapshot) {
  // All files of the simulation are of one spec a table.
  const iceberg::ManifestHeader header{live.metadata->CurrentSchema(), live.metadata->DefaultSpec(), content};
  for (ManifestEntry& entry : entries) {
    if (entry.status != EntryStatus::kExisting) entry.snapshot_id = snapshot.snapshot_id;
  }
  const std::string bytes = iceberg::WriteManifest(header, entries).value();
  const std::string path = NewName(live, "-m.avro");
  FIRN_CHECK(store_.Put(path, bytes).has_value(), "the store's truth refused a manifest");
  return iceberg::SummarizeManifest(header, entries, path, static_cast<int64_t>(bytes.size()),
                                    snapshot.sequence_number, snapshot.snapshot_id)
      .value();
}

bool ForeignHands::Commit(const Live& live, std::vector<ManifestEntry> entries, const std::string& operation,
                          bool without_parent, const std::vector<ManifestEntry>& new_deletes,
                          const std::map<std::string, std::string>& summary) {
  const TableMetadata& base = *live.metadata;
  Snapshot snapshot;
  snapshot.snapshot_id = SnapshotId{static_cast<int64_t>(random_.Next64() >> 1)};
  if (!without_parent) snapshot.parent_snapshot_id = base.current_snapshot_id;
  snapshot.sequence_number = base.last_sequence_number + 1;
  snapshot.timestamp_ms = std::max(clock_.WallMs(), base.last_updated_ms);
  snapshot.schema_id = base.current_schema_id;
  snapshot.summary = summary;
  snapshot.summary["operation"] = operation;
  snapshot.summary["engine-name"] = "foreign";
  std::vector<iceberg::ManifestFile> manifests;
  using iceberg::ManifestContent;
  if (!entries.empty()) manifests.push_back(WriteEntries(live, ManifestContent::kData, std::move(entries), snapshot));
  if (!new_deletes.empty()) {
    manifests.push_back(WriteEntries(live, ManifestContent::kDeletes, new_deletes, snapshot));
  }
  auto lines = iceberg::ReadSnapshotManifests(*base.CurrentSnapshot(), store_).value();
  for (iceberg::ManifestFile& manifest : lines) {
    if (manifest.content == ManifestContent::kDeletes && !without_parent) manifests.push_back(std::move(manifest));
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

std::set<int64_t> Without(std::set<int64_t> ids, const std::set<int64_t>& others) {
  for (int64_t id : others) ids.erase(id);
  return ids;
}

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
    // A position delete names its file: whoever does not apply it leaves that file alone.
    if (paths_with_deletes_.contains(entry.data_file.file_path) || Below(random_, 2) == 0) {
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
  std::vector<ManifestEntry> left = next;
  std::erase_if(left, [](const ManifestEntry& entry) { return entry.status == EntryStatus::kDeleted; });
  NoteDeleted(table, Without(IdsIn({gone}), IdsIn(left)));
  return Commit(live, std::move(next), "delete");
}

void ForeignHands::NoteDeleted(const std::string& table, const std::set<int64_t>& ids) {
  NoteRemoved(table, ids, /*for_good=*/true);
  expectation_.must_be_absent[table].insert(ids.begin(), ids.end());
}

namespace {

// A position delete file of the spec's two columns.
std::string PositionDeletes(const std::string& path, const std::vector<int64_t>& positions) {
  arrow::StringBuilder paths;
  arrow::Int64Builder rows;
  for (int64_t position : positions) {
    FIRN_CHECK(paths.Append(path).ok() && rows.Append(position).ok(), "no memory for deletes");
  }
  auto id = [](const char* number) { return arrow::key_value_metadata({"PARQUET:field_id"}, {number}); };
  auto schema = arrow::schema({arrow::field("file_path", arrow::utf8(), false, id("2147483546")),
                               arrow::field("pos", arrow::int64(), false, id("2147483545"))});
  auto table = arrow::Table::Make(schema, {paths.Finish().ValueOrDie(), rows.Finish().ValueOrDie()});
  auto sink = arrow::io::BufferOutputStream::Create().ValueOrDie();
  FIRN_CHECK(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), sink, 1024).ok(), "deletes not written");
  return sink->Finish().ValueOrDie()->ToString();
}

}  // namespace

bool ForeignHands::DeleteRows(const std::string& table) {
  Live live;
  if (!Open(table, live) || live.entries.empty()) return false;
  const auto chosen = static_cast<size_t>(Below(random_, static_cast<int64_t>(live.entries.size())));
  const ManifestEntry& entry = live.entries[chosen];
  const std::vector<int64_t> ids = ReadIds(store_, entry.data_file.file_path, history_);
  std::vector<int64_t> positions;
  std::set<int64_t> gone;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] == 0 || Below(random_, 3) != 0) continue;
    positions.push_back(static_cast<int64_t>(i));
    gone.insert(ids[i]);
  }
  if (positions.empty()) return false;
  faults_.Note(FaultKind::kForeignRowDelete, table);
  ManifestEntry deletes;
  deletes.status = EntryStatus::kAdded;
  deletes.data_file.content = iceberg::FileContent::kPositionDeletes;
  deletes.data_file.file_path = NewName(live, "-deletes.parquet");
  deletes.data_file.partition = entry.data_file.partition;
  deletes.data_file.record_count = static_cast<int64_t>(positions.size());
  if (Below(random_, 2) == 0) deletes.data_file.referenced_data_file = entry.data_file.file_path;
  const std::string bytes = PositionDeletes(entry.data_file.file_path, positions);
  deletes.data_file.file_size_in_bytes = static_cast<int64_t>(bytes.size());
  FIRN_CHECK(store_.Put(deletes.data_file.file_path, bytes).has_value(), "the store's truth refused a file");
  paths_with_deletes_.insert(entry.data_file.file_path);
  std::vector<ManifestEntry> others = live.entries;
  others.erase(others.begin() + static_cast<std::ptrdiff_t>(chosen));
  NoteDeleted(table, Without(gone, IdsIn(others)));
  return Commit(live, AsExisting(live.entries), "delete", false, {deletes});
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

// Those that are still listed.
std::vector<const Snapshot*> ForeignHands::Ancestors(const Live& live) {
  std::vector<const Snapshot*> ancestors;
  for (const Snapshot* at = live.metadata->CurrentSnapshot(); at->parent_snapshot_id.has_value();) {
    at = live.metadata->FindSnapshot(*at->parent_snapshot_id);
    if (at == nullptr) break;
    ancestors.push_back(at);
  }
  return ancestors;
}

void ForeignHands::SetCurrent(const Live& live, SnapshotId id) {
  iceberg::SnapshotRef main{id, "branch", {}, {}, {}};
  auto done =
      server_.CommitTable(live.identifier, {}, {iceberg::SetSnapshotRef{std::string(iceberg::kMainBranch), main}});
  FIRN_CHECK(done.has_value(), fmt::format("the catalog's truth refused a rollback: {}", done.error().ToString()));
}

void ForeignHands::Remember(const std::string& table) {
  constexpr size_t kRememberedMax = 4;
  const TableMetadata* metadata = server_.Find(iceberg::TableIdentifier::Parse(table).value());
  if (metadata == nullptr || metadata->CurrentSnapshot() == nullptr) return;
  std::vector<TableMetadata>& remembered = remembered_[table];
  if (remembered.size() == kRememberedMax) remembered.erase(remembered.begin());
  remembered.push_back(*metadata);
}

bool ForeignHands::Clone(const std::string& table) {
  Live live;
  if (!Open(table, live)) return false;
  std::vector<TableMetadata>& remembered = remembered_[table];
  const bool older = !remembered.empty() && Below(random_, 2) == 0;
  TableMetadata next = *live.metadata;
  if (older) {
    next = remembered[static_cast<size_t>(Below(random_, static_cast<int64_t>(remembered.size())))];
  } else {
    next.table_uuid = server_.MakeUuid();
    expectation_.uuids_may_differ.insert(table);
  }
  faults_.Note(FaultKind::kForeignClone, fmt::format("{} {}", table, older ? "of older metadata" : "under a new uuid"));
  const std::set<int64_t> before = IdsIn(live.entries);
  server_.Register(live.identifier, std::move(next));
  // What is remembered belongs to a history that goes on elsewhere now.
  remembered.clear();
  NoteSetBack(table, before);
  return true;
}

// Another history stands under the table's name than before, when it held these ids.
void ForeignHands::NoteSetBack(const std::string& table, const std::set<int64_t>& before) {
  NoteRemoved(table, Without(before, LiveIds(table)), /*for_good=*/false);
  NotePositionsSet(table);  // also rows that are back may stand above them
  NoteUndetectable(table);
}

bool ForeignHands::CherryPick(const std::string& table) {
  Live live;
  if (!Open(table, live)) return false;
  const std::vector<const Snapshot*> ancestors = Ancestors(live);
  if (ancestors.empty()) return false;
  const auto back =
      static_cast<size_t>(Below(random_, std::min<int64_t>(5, static_cast<int64_t>(ancestors.size()))));
  const Snapshot* picked = back == 0 ? live.metadata->CurrentSnapshot() : ancestors[back - 1];
  // As Java: what an append added, nothing else.
  auto operation = picked->summary.find("operation");
  if (operation == picked->summary.end() || operation->second != "append") return false;
  std::vector<ManifestEntry> added;
  for (const ManifestEntry& entry : live.entries) {
    if (entry.snapshot_id == picked->snapshot_id) added.push_back(entry);
  }
  if (added.empty()) return false;
  faults_.Note(FaultKind::kForeignCherryPick, table);
  const std::set<int64_t> before = IdsIn(live.entries);
  std::map<std::string, std::string> summary = picked->summary;
  summary["source-snapshot-id"] = fmt::format("{}", picked->snapshot_id);
  SetCurrent(live, ancestors[back]->snapshot_id);
  if (!Open(table, live)) return false;
  std::vector<ManifestEntry> next = AsExisting(live.entries);
  for (ManifestEntry& entry : added) {
    entry.status = EntryStatus::kAdded;
    entry.sequence_number.reset();
    entry.file_sequence_number.reset();
    next.push_back(std::move(entry));
  }
  Commit(live, std::move(next), "append", false, {}, summary);
  set_back_.insert(table);
  NoteSetBack(table, before);
  return true;
}

bool ForeignHands::Rollback(const std::string& table) {
  Live live;
  if (!Open(table, live)) return false;
  const std::vector<const Snapshot*> ancestors = Ancestors(live);
  if (ancestors.empty()) return false;
  faults_.Note(FaultKind::kForeignRollback, table);
  const Snapshot* target =
      ancestors[static_cast<size_t>(Below(random_, std::min<int64_t>(5, static_cast<int64_t>(ancestors.size()))))];
  const std::set<int64_t> before = IdsIn(live.entries);
  SetCurrent(live, target->snapshot_id);
  set_back_.insert(table);
  NoteSetBack(table, before);
  return true;
}

bool ForeignHands::RemovePositions(const std::string& table, const std::string& property) {
  Live live;
  if (!Open(table, live) || !live.metadata->properties.contains(property)) return false;
  faults_.Note(FaultKind::kForeignPropertyChanged, table);
  old_properties_[table].push_back(live.metadata->properties.at(property));
  auto done = server_.CommitTable(live.identifier, {}, {iceberg::RemoveProperties{{property}}});
  FIRN_CHECK(done.has_value(), fmt::format("the catalog's truth refused a property: {}", done.error().ToString()));
  NotePositionsSet(table);
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
  expectation_.restored[table] = value;
  NotePositionsSet(table);
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

void ForeignHands::NoteRemoved(const std::string& table, const std::set<int64_t>& ids, bool for_good) {
  expectation_.may_be_absent[table].insert(ids.begin(), ids.end());
  (for_good ? gone_ : rolled_back_)[table].insert(ids.begin(), ids.end());
  forget_rows_(table, ids);
}

bool ForeignHands::IsSetBack(const std::string& table, const TableMetadata& metadata) const {
  if (!set_back_.contains(table) || server_.without_history()) return false;
  Result<std::optional<ingest::PositionsMap>> map = ingest::MapOf(metadata, pipeline_);
  bool chain_complete = false;
  const Snapshot* newest = ingest::NewestSnapshotOf(metadata, pipeline_, chain_complete);
  return map.has_value() && map->has_value() && newest != nullptr && newest->snapshot_id != (*map)->snapshot_id;
}

void ForeignHands::WentOn(const std::string& table) {
  set_back_.erase(table);
  if (disturbed_.erase(table) > 0) ForgetRowsBeyond(table);
}

// But those of which nothing could tell when the pipeline went on below them.
void ForeignHands::ForgetRowsBeyond(const std::string& table) {
  const std::set<int64_t>& untold = expectation_.may_be_doubled[table];
  std::erase_if(expectation_.may_be_beyond[table], [&](int64_t id) { return !untold.contains(id); });
}

void ForeignHands::Rewound(const std::string& table) {
  expectation_.must_be_absent.erase(table);
  disturbed_.erase(table);
  set_back_.erase(table);
  for (int64_t id : rolled_back_[table]) {
    if (!gone_[table].contains(id)) expectation_.may_be_absent[table].erase(id);
  }
  rolled_back_.erase(table);
}

void ForeignHands::Continued(const std::string& table) {
  expectation_.must_be_absent.erase(table);
  disturbed_.erase(table);
  set_back_.erase(table);
  gone_[table].merge(rolled_back_[table]);
  rolled_back_.erase(table);
}

void ForeignHands::NotePositionsSet(const std::string& table) {
  disturbed_.insert(table);
  expectation_.positions_may_go_back.insert(table);
  expectation_.must_be_absent.erase(table);
  Live live;
  if (!Open(table, live)) return;
  Result<std::optional<ingest::PositionsMap>> map = ingest::MapOf(*live.metadata, pipeline_);
  ExcuseRowsAbove(table, map.has_value() && map->has_value() ? (*map)->marks : ingest::Marks{}, false);
}

void ForeignHands::ExcuseRowsAbove(const std::string& table, const ingest::Marks& marks, bool may_double) {
  std::set<int64_t>& beyond = expectation_.may_be_beyond[table];
  beyond.clear();
  // In the rejects table a mark of the intended table says where its rejects end.
  std::map<std::string, ingest::Marks> rejected;
  Live live;
  if (Open(table, live)) {
    auto map = ingest::MapOf(*live.metadata, pipeline_).value_or(std::nullopt);
    if (map.has_value()) rejected = std::move(map->rejected);
  }
  for (int64_t id : LiveIds(table)) {
    const ProducedRecord& record = history_.record(id);
    int64_t limit = ingest::OffsetOf(marks, record.partition).value_or(0);
    if (auto own = rejected.find(record.table); own != rejected.end()) {
      limit = std::min(limit, ingest::OffsetOf(own->second, record.partition).value_or(limit));
    }
    if (record.offset < limit) continue;
    beyond.insert(id);
    if (may_double) expectation_.may_be_doubled[table].insert(id);
  }
}

// Does a snapshot that the catalog shows know them? Not one that has another's rows above it, which were picked.
bool ForeignHands::KnowsPositions(TableMetadata metadata) const {
  if (server_.without_history()) {
    metadata.snapshots.EraseIf(
        [&](const Snapshot& snapshot) { return snapshot.snapshot_id != metadata.current_snapshot_id; });
  }
  bool chain_complete = false;
  const Snapshot* newest = ingest::NewestSnapshotOf(metadata, pipeline_, chain_complete);
  if (newest == nullptr) return false;
  for (const Snapshot* at = metadata.CurrentSnapshot(); at != nullptr && at != newest;) {
    if (at->summary.contains("source-snapshot-id")) return false;
    at = at->parent_snapshot_id.has_value() ? metadata.FindSnapshot(*at->parent_snapshot_id) : nullptr;
  }
  return true;
}

void ForeignHands::NoteRowsAbove(const std::string& table, const TableMetadata& before, const ingest::Marks& marks) {
  if (KnowsPositions(before)) {
    ForgetRowsBeyond(table);
  } else {
    ExcuseRowsAbove(table, marks, true);
  }
}

void ForeignHands::NoteUndetectable(const std::string& table) {
  Live live;
  if (!Open(table, live) || KnowsPositions(*live.metadata)) return;
  expectation_.must_be_absent.erase(table);
  Result<std::optional<ingest::PositionsMap>> map = ingest::MapOf(*live.metadata, pipeline_);
  if (map.has_value() && map->has_value()) ExcuseRowsAbove(table, (*map)->marks, true);
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
  const std::set<int64_t> before = IdsIn(live.entries);
  const bool done = Commit(live, {}, "overwrite", true);
  Continued(table);  // what rollbacks had taken is in no history any more
  disturbed_.insert(table);
  set_back_.insert(table);
  NoteRemoved(table, before, /*for_good=*/true);
  return done;
}

}  // namespace firn::sim
