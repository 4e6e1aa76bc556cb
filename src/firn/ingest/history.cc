#include "firn/ingest/history.h"

#include <fmt/format.h>

#include "firn/iceberg/manifest/manifest_avro.h"

namespace firn::ingest {
namespace {

// Does a live entry of the current snapshot carry the id or the data sequence number of the last snapshot with rows?
Result<bool> RowsStillLive(const iceberg::TableMetadata& metadata, const PositionsMap& map, env::ObjectStore& store) {
  const iceberg::Snapshot* current = metadata.CurrentSnapshot();
  if (current == nullptr) return false;
  FIRN_ASSIGN(std::string list_bytes, store.Read(current->manifest_list));
  FIRN_ASSIGN(iceberg::ManifestListContents list, iceberg::ReadManifestList(list_bytes));
  for (const iceberg::ManifestFile& manifest : list.manifests) {
    if (manifest.content != iceberg::ManifestContent::kData) continue;
    if (manifest.min_sequence_number > map.rows_sequence_number) continue;
    if (manifest.added_snapshot_id == *map.rows_snapshot_id && manifest.added_files_count > 0) return true;
    FIRN_ASSIGN(std::string bytes, store.Read(manifest.manifest_path));
    FIRN_ASSIGN(iceberg::ManifestFileContents contents, iceberg::ReadManifest(bytes));
    for (const iceberg::ManifestEntry& entry : contents.entries) {
      if (entry.status == iceberg::EntryStatus::kDeleted) continue;
      SnapshotId added = entry.snapshot_id.value_or(manifest.added_snapshot_id);
      int64_t sequence = entry.sequence_number.value_or(manifest.sequence_number);
      if (added == *map.rows_snapshot_id || sequence == map.rows_sequence_number) return true;
    }
  }
  return false;
}

}  // namespace

const iceberg::Snapshot* NewestSnapshotOf(const iceberg::TableMetadata& metadata, std::string_view pipeline,
                                          bool& chain_complete) {
  chain_complete = false;
  const iceberg::Snapshot* snapshot = metadata.CurrentSnapshot();
  if (snapshot == nullptr) chain_complete = true;
  // A chain is never longer than the list, so a cycle in broken metadata ends too.
  for (size_t steps = 0; snapshot != nullptr && steps <= metadata.snapshots.size(); ++steps) {
    auto found = snapshot->summary.find(std::string(kSummaryPipeline));
    if (found != snapshot->summary.end() && found->second == pipeline) return snapshot;
    if (!snapshot->parent_snapshot_id.has_value()) {
      chain_complete = true;
      return nullptr;
    }
    snapshot = metadata.FindSnapshot(*snapshot->parent_snapshot_id);
  }
  return nullptr;
}

Result<HistoryVerdict> JudgeHistory(const iceberg::TableMetadata& metadata, std::string_view table,
                                    std::string_view pipeline, const PositionsMap& map, env::ObjectStore& store) {
  if (map.table_uuid != metadata.table_uuid) {
    return HistoryVerdict{false, fmt::format("the table was replaced: its uuid is {}, the positions are those of {}",
                                             metadata.table_uuid, map.table_uuid)};
  }
  if (map.table != table) {
    return HistoryVerdict{false, fmt::format("the positions were written under another name: '{}'", map.table)};
  }
  bool chain_complete = false;
  const iceberg::Snapshot* newest = NewestSnapshotOf(metadata, pipeline, chain_complete);
  if (newest != nullptr) {
    if (newest->snapshot_id == map.snapshot_id) return HistoryVerdict{};
    return HistoryVerdict{false,
                          fmt::format("the table was rolled back or its positions were restored: newest snapshot "
                                      "of this pipeline is {}, the positions belong to {}",
                                      newest->snapshot_id, map.snapshot_id)};
  }
  if (!map.rows_snapshot_id.has_value()) return HistoryVerdict{};
  // Nessie and the like list one snapshot and no parents: property and data move together there.
  const iceberg::Snapshot* current = metadata.CurrentSnapshot();
  bool without_history = metadata.snapshots.size() == 1 && current != nullptr && metadata.snapshot_log.size() <= 1;
  if (chain_complete && !without_history) {
    return HistoryVerdict{false,
                          "no snapshot of this pipeline is left in a complete history: the table was rolled back "
                          "or its content replaced"};
  }
  FIRN_ASSIGN(bool live, RowsStillLive(metadata, map, store));
  if (live) return HistoryVerdict{};
  if (without_history && metadata.last_sequence_number >= map.sequence_number) {
    // Rewritten by a compaction that does not keep sequence numbers: the sequence alone says that nothing was undone.
    FIRN_ASSIGN(std::string list_bytes, store.Read(current->manifest_list));
    FIRN_ASSIGN(iceberg::ManifestListContents list, iceberg::ReadManifestList(list_bytes));
    for (const iceberg::ManifestFile& manifest : list.manifests) {
      if (manifest.min_sequence_number <= map.sequence_number) return HistoryVerdict{};
    }
  }
  return HistoryVerdict{false,
                        "the history ends in expired snapshots and no file of this pipeline's last rows is live"};
}

}  // namespace firn::ingest
