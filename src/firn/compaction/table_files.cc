#include "firn/compaction/table_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "firn/iceberg/commit/live_entries.h"
#include "firn/iceberg/commit/manifest_merge.h"

namespace firn::compaction {

Result<TableFiles> ReadTableFiles(const iceberg::TableMetadata& metadata, env::ObjectStore& store) {
  TableFiles files;
  const iceberg::Snapshot* current = metadata.CurrentSnapshot();
  if (current == nullptr) {
    if (!metadata.current_snapshot_id.has_value()) return files;
    return Fail(ErrorCode::kCorruption,
                fmt::format("the current snapshot is not among the table's: {}", *metadata.current_snapshot_id));
  }
  FIRN_ASSIGN(const std::vector<iceberg::ManifestFile> manifests, iceberg::ReadSnapshotManifests(*current, store));
  std::map<SnapshotId, int64_t> snapshot_ms;
  int64_t oldest_ms = current->timestamp_ms;
  for (const iceberg::Snapshot& snapshot : metadata.snapshots) {
    snapshot_ms[snapshot.snapshot_id] = snapshot.timestamp_ms;
    oldest_ms = std::min(oldest_ms, snapshot.timestamp_ms);
  }
  for (const iceberg::ManifestFile& manifest : manifests) {
    if (manifest.added_files_count == 0 && manifest.existing_files_count == 0) continue;
    FIRN_ASSIGN(iceberg::ManifestFileContents contents, iceberg::ReadManifestFile(manifest, store));
    const schema::PartitionSpec* spec = metadata.FindSpec(manifest.partition_spec_id);
    if (spec == nullptr) {
      return Fail(ErrorCode::kCorruption,
                  fmt::format("a manifest of a partition spec that the table has not ({}): '{}'",
                              manifest.partition_spec_id, manifest.manifest_path));
    }
    const schema::Schema& schema = iceberg::SchemaForSpec(metadata, *spec);
    auto& list = manifest.content == iceberg::ManifestContent::kData ? files.data : files.deletes;
    for (iceberg::ManifestEntry& entry : contents.entries) {
      if (!entry.is_live()) continue;
      std::string path = schema::PartitionPath(*spec, schema, entry.data_file.partition);
      auto added = snapshot_ms.find(entry.snapshot_id.value_or(manifest.added_snapshot_id));
      const int64_t added_ms = added == snapshot_ms.end() ? oldest_ms : added->second;
      list.push_back({std::move(entry), manifest.partition_spec_id, std::move(path), added_ms});
    }
  }
  return files;
}

}  // namespace firn::compaction
