#include "firn/lag/lag_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "firn/iceberg/commit/commit_base.h"
#include "firn/iceberg/commit/live_entries.h"
#include "firn/iceberg/commit/manifest_merge.h"
#include "firn/iceberg/commit/position_deletes.h"

namespace firn::lag {

namespace {

bool IsParquet(const std::string& format) {
  return std::equal(format.begin(), format.end(), std::begin("PARQUET"), std::end("PARQUET") - 1,
                    [](char a, char b) { return (a >= 'a' && a <= 'z' ? a - 'a' + 'A' : a) == b; });
}

// What the picker looks at in a delete file.
compaction::LiveFile DeleteFile(const iceberg::ManifestEntry& entry, int32_t spec_id, const std::string& partition) {
  compaction::LiveFile live;
  live.spec_id = spec_id;
  live.partition_path = partition;
  live.entry.sequence_number = entry.sequence_number;
  live.entry.data_file.content = entry.data_file.content;
  live.entry.data_file.referenced_data_file = entry.data_file.referenced_data_file;
  for (auto bounds : {&iceberg::DataFile::lower_bounds, &iceberg::DataFile::upper_bounds}) {
    auto found = (entry.data_file.*bounds).find(iceberg::kDeleteFilePathFieldId);
    if (found != (entry.data_file.*bounds).end()) (live.entry.data_file.*bounds).insert(*found);
  }
  return live;
}

}  // namespace

// Facts that were read for other purposes are read again.
bool LagReader::Suffice(const ManifestFacts& facts, const Needs& needs) {
  if (facts.files.empty() || !facts.deletes.empty()) return true;
  return (!needs.paths || !facts.paths.empty()) && facts.sort_field_id == needs.sort_field_id;
}

Result<std::shared_ptr<const ManifestFacts>> LagReader::ReadFacts(const iceberg::TableMetadata& metadata,
                                                                  const iceberg::ManifestFile& manifest,
                                                                  const Needs& needs) {
  FIRN_ASSIGN(iceberg::ManifestFileContents contents, iceberg::ReadManifestFile(manifest, store_));
  const schema::PartitionSpec* spec = metadata.FindSpec(manifest.partition_spec_id);
  if (spec == nullptr) {
    return Fail(ErrorCode::kCorruption, fmt::format("a manifest of a partition spec that the table has not ({}): '{}'",
                                                    manifest.partition_spec_id, manifest.manifest_path));
  }
  const schema::Schema& schema = iceberg::SchemaForSpec(metadata, *spec);
  auto facts = std::make_shared<ManifestFacts>();
  facts->sort_field_id = needs.sort_field_id;
  std::unordered_map<std::string, uint32_t> known;
  for (iceberg::ManifestEntry& entry : contents.entries) {
    if (!entry.is_live()) continue;
    iceberg::DataFile& file = entry.data_file;
    std::string path = schema::PartitionPath(*spec, schema, file.partition);
    auto [at, fresh] = known.try_emplace(std::move(path), static_cast<uint32_t>(facts->partitions.size()));
    if (fresh) facts->partitions.push_back(at->first);
    facts->files.push_back({.partition = at->second,
                            .bytes = file.file_size_in_bytes,
                            .rows = file.record_count,
                            .added_snapshot_id = entry.snapshot_id.value_or(manifest.added_snapshot_id),
                            .sequence_number = entry.file_sequence_number.value_or(manifest.sequence_number),
                            .data_sequence_number = entry.sequence_number.value_or(manifest.sequence_number),
                            .is_parquet = IsParquet(file.file_format),
                            .is_encrypted = file.key_metadata.has_value()});
    if (manifest.content == iceberg::ManifestContent::kDeletes) {
      facts->deletes.push_back(DeleteFile(entry, manifest.partition_spec_id, at->first));
      continue;
    }
    if (needs.paths) facts->paths.push_back(std::move(file.file_path));
    if (!needs.sort_field_id.has_value()) continue;
    auto bound = file.lower_bounds.find(*needs.sort_field_id);
    facts->sort_bounds.push_back(bound == file.lower_bounds.end() ? std::nullopt
                                                                  : std::optional(std::move(bound->second)));
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
    Needs needs;
    needs.sort_field_id = SortFieldOf(metadata);
    needs.paths = std::any_of(list.begin(), list.end(), [](const iceberg::ManifestFile& manifest) {
      return manifest.content == iceberg::ManifestContent::kDeletes && iceberg::HasLiveFiles(manifest);
    });
    for (const iceberg::ManifestFile& manifest : list) {
      if (!iceberg::HasLiveFiles(manifest)) continue;
      auto known = before.find(manifest.manifest_path);
      std::shared_ptr<const ManifestFacts> facts;
      if (known != before.end() && Suffice(*known->second, needs)) {
        facts = known->second;
      } else {
        FIRN_ASSIGN(facts, ReadFacts(metadata, manifest, needs));
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

void LagReader::Forget(const iceberg::TableIdentifier& table) {
  auto kept = kept_.find(table);
  if (kept == kept_.end()) return;
  for (const auto& [path, facts] : kept->second) files_kept_ -= facts->files.size();
  kept_.erase(kept);
}

}  // namespace firn::lag
