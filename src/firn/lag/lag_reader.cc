#include "firn/lag/lag_reader.h"

#include <fmt/format.h>

#include <unordered_map>

#include "firn/iceberg/commit/commit_base.h"
#include "firn/iceberg/commit/live_entries.h"
#include "firn/iceberg/commit/manifest_merge.h"

namespace firn::lag {

Result<std::shared_ptr<const ManifestFacts>> LagReader::ReadFacts(const iceberg::TableMetadata& metadata,
                                                                  const iceberg::ManifestFile& manifest) {
  FIRN_ASSIGN(iceberg::ManifestFileContents contents, iceberg::ReadManifestFile(manifest, store_));
  const schema::PartitionSpec* spec = metadata.FindSpec(manifest.partition_spec_id);
  if (spec == nullptr) {
    return Fail(ErrorCode::kCorruption, fmt::format("a manifest of a partition spec that the table has not ({}): '{}'",
                                                    manifest.partition_spec_id, manifest.manifest_path));
  }
  const schema::Schema& schema = iceberg::SchemaForSpec(metadata, *spec);
  auto facts = std::make_shared<ManifestFacts>();
  std::unordered_map<std::string, uint32_t> known;
  for (const iceberg::ManifestEntry& entry : contents.entries) {
    if (!entry.is_live()) continue;
    std::string path = schema::PartitionPath(*spec, schema, entry.data_file.partition);
    auto [at, fresh] = known.try_emplace(std::move(path), static_cast<uint32_t>(facts->partitions.size()));
    if (fresh) facts->partitions.push_back(at->first);
    facts->files.push_back({at->second, entry.data_file.file_size_in_bytes, entry.data_file.record_count,
                            entry.snapshot_id.value_or(manifest.added_snapshot_id),
                            entry.file_sequence_number.value_or(manifest.sequence_number)});
  }
  return std::shared_ptr<const ManifestFacts>(std::move(facts));
}

Result<TableLag> LagReader::Read(const iceberg::TableIdentifier& table, LagOptions options) {
  FIRN_ASSIGN(const iceberg::LoadedTable loaded, catalog_.LoadTable(table));
  const iceberg::TableMetadata& metadata = loaded.metadata;
  FIRN_ASSIGN(const iceberg::Snapshot* current, iceberg::BaseSnapshot(metadata));
  std::vector<ManifestState> manifests;
  Facts& before = kept_[table];
  Facts now;
  size_t files_before = 0, files_now = 0;
  for (const auto& [path, facts] : before) files_before += facts->files.size();
  if (current != nullptr) {
    FIRN_ASSIGN(const std::vector<iceberg::ManifestFile> list, iceberg::ReadSnapshotManifests(*current, store_));
    for (const iceberg::ManifestFile& manifest : list) {
      if (!iceberg::HasLiveFiles(manifest)) continue;
      auto known = before.find(manifest.manifest_path);
      std::shared_ptr<const ManifestFacts> facts;
      if (known != before.end()) {
        facts = known->second;
      } else {
        FIRN_ASSIGN(facts, ReadFacts(metadata, manifest));
      }
      files_now += facts->files.size();
      now.emplace(manifest.manifest_path, facts);
      manifests.push_back({manifest, std::move(facts)});
    }
  }
  files_kept_ -= files_before;
  if (files_kept_ + files_now > kFilesKeptMax) {
    now.clear();
    files_now = 0;
  }
  files_kept_ += files_now;
  before = std::move(now);
  options.now_ms = clock_.WallMs();
  TableLag lag = ComputeLag(metadata, manifests, options);
  if (auto info = store_.Stat(loaded.metadata_location); info.has_value()) lag.metadata_bytes = info->size;
  return lag;
}

}  // namespace firn::lag
