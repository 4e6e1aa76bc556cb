#include "firn/ingest/history.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "firn/iceberg/manifest/manifest_avro.h"

namespace firn::ingest {
namespace {

// Names that Java gives (SnapshotSummary); a cherry-pick sets them, Firn never does.
constexpr std::string_view kSourceSnapshotId = "source-snapshot-id";
constexpr std::string_view kPublishedWapId = "published-wap-id";

const std::string* SummaryOf(const iceberg::Snapshot& snapshot, std::string_view key) {
  auto found = snapshot.summary.find(std::string(key));
  return found == snapshot.summary.end() ? nullptr : &found->second;
}

bool IsCherryPicked(const iceberg::Snapshot& snapshot) {
  return SummaryOf(snapshot, kSourceSnapshotId) != nullptr || SummaryOf(snapshot, kPublishedWapId) != nullptr;
}

bool IsMarked(const iceberg::Snapshot& snapshot, std::string_view pipeline) {
  const std::string* marked = SummaryOf(snapshot, kSummaryPipeline);
  return marked != nullptr && *marked == pipeline;
}

bool IsCommitOf(const iceberg::Snapshot& snapshot, std::string_view pipeline) {
  return IsMarked(snapshot, pipeline) && !IsCherryPicked(snapshot);
}

// A cherry-pick brings the rows of its source, which may be one itself. Where a source is not listed any more, nobody
// knows whose rows they were.
bool MayBringRowsOf(const iceberg::TableMetadata& metadata, const iceberg::Snapshot& snapshot,
                    std::string_view pipeline) {
  const iceberg::Snapshot* picked = &snapshot;
  for (size_t steps = 0; steps <= metadata.snapshots.size(); ++steps) {
    if (IsMarked(*picked, pipeline)) return true;
    const std::string* source_text = SummaryOf(*picked, kSourceSnapshotId);
    if (source_text == nullptr) return false;
    int64_t source_id = 0;
    std::from_chars(source_text->data(), source_text->data() + source_text->size(), source_id);
    picked = metadata.FindSnapshot(SnapshotId{source_id});
    if (picked == nullptr) return true;
  }
  return true;
}

// From current along parents. A chain is never longer than the list, so a cycle in broken metadata ends too. Returns
// where `stop` said so, or nullptr.
template <typename Stop>
const iceberg::Snapshot* WalkChain(const iceberg::TableMetadata& metadata, bool& complete, const Stop& stop) {
  complete = false;
  const iceberg::Snapshot* snapshot = metadata.CurrentSnapshot();
  if (snapshot == nullptr) complete = true;
  for (size_t steps = 0; snapshot != nullptr && steps <= metadata.snapshots.size(); ++steps) {
    if (stop(*snapshot)) return snapshot;
    if (!snapshot->parent_snapshot_id.has_value()) {
      complete = true;
      return nullptr;
    }
    snapshot = metadata.FindSnapshot(*snapshot->parent_snapshot_id);
  }
  return nullptr;
}

// Nessie and the like list the current snapshot alone, without a parent; property and data move together there.
bool IsWithoutHistory(const iceberg::TableMetadata& metadata) {
  const iceberg::Snapshot* current = metadata.CurrentSnapshot();
  return current != nullptr && metadata.snapshots.size() == 1 && !current->parent_snapshot_id.has_value() &&
         metadata.snapshot_log.size() <= 1;
}

// Could the manifest hold a proof? Its least sequence number is that of live entries; what the current snapshot removed
// stands beside it.
bool IsWorthReading(const iceberg::ManifestFile& manifest, const iceberg::Snapshot& current, const PositionsMap& map) {
  if (manifest.content != iceberg::ManifestContent::kData) return false;
  if (manifest.min_sequence_number <= map.rows_sequence_number) return true;
  return manifest.added_snapshot_id == current.snapshot_id && manifest.deleted_files_count != 0;
}

Result<bool> RowsAreProven(const iceberg::Snapshot& current, const std::vector<iceberg::ManifestFile>& manifests,
                           const PositionsMap& map, env::ObjectStore& store) {
  for (const iceberg::ManifestFile& manifest : manifests) {
    if (!IsWorthReading(manifest, current, map)) continue;
    if (ProvesRows(manifest, {}, map)) return true;
    FIRN_ASSIGN(std::string bytes, store.Read(manifest.manifest_path));
    FIRN_ASSIGN(iceberg::ManifestFileContents contents, iceberg::ReadManifest(bytes));
    if (ProvesRows(manifest, contents.entries, map)) return true;
  }
  return false;
}

}  // namespace

const iceberg::Snapshot* NewestSnapshotOf(const iceberg::TableMetadata& metadata, std::string_view pipeline,
                                          bool& chain_complete) {
  return WalkChain(metadata, chain_complete,
                   [&](const iceberg::Snapshot& snapshot) { return IsCommitOf(snapshot, pipeline); });
}

bool ProvesRows(const iceberg::ManifestFile& manifest, std::span<const iceberg::ManifestEntry> entries,
                const PositionsMap& map) {
  if (!map.rows_snapshot_id.has_value() || manifest.content != iceberg::ManifestContent::kData) return false;
  // What a manifest adds is live for as long as the manifest is listed: a removal writes it anew.
  if (manifest.added_snapshot_id == *map.rows_snapshot_id && manifest.added_files_count > 0) return true;
  for (const iceberg::ManifestEntry& entry : entries) {
    // Who removed a file had it in front of him. The entry's snapshot is then the one that removed it.
    const bool removed = entry.status == iceberg::EntryStatus::kDeleted;
    const SnapshotId added = entry.snapshot_id.value_or(manifest.added_snapshot_id);
    const int64_t sequence = entry.sequence_number.value_or(manifest.sequence_number);
    if (sequence == map.rows_sequence_number || (!removed && added == *map.rows_snapshot_id)) return true;
  }
  return false;
}

ChainVerdict JudgeChain(const iceberg::TableMetadata& metadata, std::string_view table, std::string_view pipeline,
                        const PositionsMap& map, int64_t known_sequence_number) {
  using Kind = ChainVerdict::Kind;
  if (map.table_uuid != metadata.table_uuid) {
    return {Kind::kChanged, fmt::format("the table was replaced: its uuid is {}, the positions are those of {}",
                                        metadata.table_uuid, map.table_uuid)};
  }
  if (map.table != table) {
    return {Kind::kChanged, fmt::format("the positions were written under another name: '{}'", map.table)};
  }
  if (map.sequence_number < known_sequence_number) {
    return {Kind::kChanged,
            fmt::format("the table or its positions were set back: they are of sequence number {}, the pipeline has "
                        "committed one of {}",
                        map.sequence_number, known_sequence_number)};
  }
  bool chain_complete = false;
  const iceberg::Snapshot* newest = NewestSnapshotOf(metadata, pipeline, chain_complete);
  if (newest != nullptr) {
    if (newest->snapshot_id == map.snapshot_id) return {};
    return {Kind::kChanged, fmt::format("the table was rolled back or its positions were restored: newest snapshot of "
                                        "this pipeline is {}, the positions belong to {}",
                                        newest->snapshot_id, map.snapshot_id)};
  }
  if (IsWithoutHistory(metadata)) return {Kind::kAskSequence, ""};
  if (chain_complete) {
    return {Kind::kChanged,
            "no snapshot of this pipeline is left in a complete history: the table was rolled back or its content "
            "replaced"};
  }
  return map.rows_snapshot_id.has_value() ? ChainVerdict{Kind::kAskRows, ""} : ChainVerdict{};
}

std::string SwappedReason(const iceberg::TableMetadata& metadata, const ListedTable& listed) {
  if (listed.table_uuid.empty() || listed.table_uuid == metadata.table_uuid) return "";
  return fmt::format("another table has the name: its uuid is {}, the pipeline has fed the one with {}",
                     metadata.table_uuid, listed.table_uuid);
}

Result<HistoryVerdict> JudgeHistory(const iceberg::TableMetadata& metadata, std::string_view table,
                                    std::string_view pipeline, const PositionsMap& map, env::ObjectStore& store,
                                    int64_t known_sequence_number) {
  using Kind = ChainVerdict::Kind;
  ChainVerdict chain = JudgeChain(metadata, table, pipeline, map, known_sequence_number);
  if (chain.kind == Kind::kUnchanged) return HistoryVerdict{};
  if (chain.kind == Kind::kChanged) return HistoryVerdict{false, std::move(chain.reason)};
  const iceberg::Snapshot& current = *metadata.CurrentSnapshot();  // a walk that did not end at once began there
  const bool moved_on = current.sequence_number >= map.sequence_number;
  if (!map.rows_snapshot_id.has_value() && moved_on) return HistoryVerdict{};
  FIRN_ASSIGN(std::string list_bytes, store.Read(current.manifest_list));
  FIRN_ASSIGN(iceberg::ManifestListContents list, iceberg::ReadManifestList(list_bytes));
  FIRN_ASSIGN(bool proven, RowsAreProven(current, list.manifests, map, store));
  if (proven) return HistoryVerdict{};
  if (chain.kind == Kind::kAskSequence && moved_on) {
    // Rewritten by a compaction that does not keep sequence numbers, but not all of it.
    for (const iceberg::ManifestFile& manifest : list.manifests) {
      if (manifest.min_sequence_number <= map.sequence_number) return HistoryVerdict{};
    }
  }
  return HistoryVerdict{false,
                        "the history ends in expired snapshots, and no file of this pipeline's last rows is live nor "
                        "was it the current snapshot that removed them"};
}

Result<PositionsMap> MapToRewindTo(const iceberg::TableMetadata& metadata, std::string_view pipeline,
                                   env::ObjectStore& store, std::string_view origin_uuid) {
  std::string picked;
  bool complete = false;
  const iceberg::Snapshot* newest = WalkChain(metadata, complete, [&](const iceberg::Snapshot& snapshot) {
    if (IsCommitOf(snapshot, pipeline)) return true;
    if (picked.empty() && MayBringRowsOf(metadata, snapshot, pipeline)) {
      picked = fmt::format("{}", snapshot.snapshot_id);
    }
    return false;
  });
  if (newest == nullptr) {
    return Fail(ErrorCode::kNotFound, "no snapshot of this pipeline is left, so there is nothing to rewind to");
  }
  if (!picked.empty()) {
    return Fail(ErrorCode::kNotFound,
                fmt::format("above the newest snapshot of this pipeline, {}, somebody has cherry-picked rows that may "
                            "be the pipeline's own; reading them again would double them: snapshot {}",
                            newest->snapshot_id, picked));
  }
  FIRN_ASSIGN(std::string bytes, store.Read(newest->manifest_list));
  FIRN_ASSIGN(iceberg::ManifestListContents list, iceberg::ReadManifestList(bytes));
  auto found = list.header.find(PositionsProperty(pipeline));
  if (found == list.header.end()) {
    return Fail(ErrorCode::kCorruption,
                fmt::format("the manifest list of snapshot {} carries no positions", newest->snapshot_id));
  }
  FIRN_ASSIGN(PositionsMap map, PositionsMap::Parse(found->second));
  const bool is_of_table = map.table_uuid == metadata.table_uuid || map.table_uuid == origin_uuid;
  if (map.snapshot_id != newest->snapshot_id || !is_of_table) {
    return Fail(ErrorCode::kCorruption,
                fmt::format("the positions in the manifest list of snapshot {} are those of another one: {}",
                            newest->snapshot_id, map.snapshot_id));
  }
  return map;
}

}  // namespace firn::ingest
