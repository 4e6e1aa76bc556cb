#include "firn/compaction/table_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "firn/compaction/packed_metrics.h"
#include "firn/iceberg/commit/live_entries.h"
#include "firn/iceberg/commit/manifest_merge.h"

namespace firn::compaction {

Result<TableFiles> ReadTableFiles(const iceberg::TableMetadata& metadata, env::ObjectStore& store,
                                  std::optional<int32_t> sort_field_id) {
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
    const schema::PartitionSpec* spec = metadata.FindSpec(manifest.partition_spec_id);
    if (spec == nullptr) {
      return Fail(ErrorCode::kCorruption,
                  fmt::format("a manifest of a partition spec that the table has not ({}): '{}'",
                              manifest.partition_spec_id, manifest.manifest_path));
    }
    const schema::Schema& schema = iceberg::SchemaForSpec(metadata, *spec);
    const bool is_data = manifest.content == iceberg::ManifestContent::kData;
    FIRN_TRY(iceberg::ForEachEntry(
        manifest, store, iceberg::EntryMetrics::kAll, [&](iceberg::ManifestEntry entry) -> Status {
          if (!entry.is_live()) return {};
          auto added = snapshot_ms.find(entry.snapshot_id.value_or(manifest.added_snapshot_id));
          LiveFile& file = (is_data ? files.data : files.deletes).emplace_back();
          file.spec_id = manifest.partition_spec_id;
          file.partition_path = schema::PartitionPath(*spec, schema, entry.data_file.partition);
          file.added_ms = added == snapshot_ms.end() ? oldest_ms : added->second;
          file.entry = std::move(entry);
          if (!is_data) return {};
          file.entry.data_file.column_sizes.clear();  // a merged file's are its own
          file.metrics = PackMetrics(file.entry.data_file, sort_field_id);
          return {};
        }));
  }
  return files;
}

}  // namespace firn::compaction
