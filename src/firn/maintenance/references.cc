#include "firn/maintenance/references.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "firn/iceberg/catalog/metadata_file.h"
#include "firn/iceberg/commit/live_entries.h"

namespace firn::maintenance {

using iceberg::ManifestFile;

Result<SnapshotFiles> ReferenceReader::FilesOf(const std::vector<const iceberg::Snapshot*>& snapshots) {
  SnapshotFiles files;
  for (const iceberg::Snapshot* snapshot : snapshots) {
    if (snapshot->manifest_list.empty()) {
      for (const std::string& path : snapshot->manifests) {
        ManifestFile manifest;
        manifest.manifest_path = path;
        manifest.added_files_count = manifest.existing_files_count = iceberg::kUnknownCount;
        manifest.added_snapshot_id = snapshot->snapshot_id;
        files.manifests.emplace(path, std::move(manifest));
      }
      continue;
    }
    if (!files.manifest_lists.insert(snapshot->manifest_list).second) continue;
    FIRN_ASSIGN(std::vector<ManifestFile> manifests, iceberg::ReadSnapshotManifests(*snapshot, store_));
    for (ManifestFile& manifest : manifests) {
      manifest.partitions.reset();
      files.manifests.try_emplace(manifest.manifest_path, std::move(manifest));
    }
  }
  return files;
}

Status ReferenceReader::ForEachEntry(const ManifestFile& manifest, const EntryFn& each) {
  if (manifest.key_metadata.has_value()) {
    return Fail(ErrorCode::kUnsupported, fmt::format("an encrypted manifest cannot be read, so nobody knows what it "
                                                     "refers to: '{}'",
                                                     manifest.manifest_path));
  }
  FIRN_TRY(iceberg::ForEachEntry(manifest, store_, iceberg::EntryMetrics::kNone,
                                 [&](iceberg::ManifestEntry entry) -> Status {
                                   iceberg::DataFile& file = entry.data_file;
                                   each({std::move(file.file_path), file.file_size_in_bytes, file.content,
                                         entry.is_live()});
                                   return {};
                                 }));
  return {};
}

Status References::AddStatistics(const iceberg::TableMetadata& metadata) {
  for (const char* member : {"statistics", "partition-statistics"}) {
    auto found = metadata.other_members_json.find(member);
    if (found == metadata.other_members_json.end()) continue;
    const nlohmann::json list = nlohmann::json::parse(found->second, nullptr, false);
    if (!list.is_array()) {
      return Fail(ErrorCode::kCorruption, fmt::format("a member of the table's metadata is no list: '{}'", member));
    }
    for (const nlohmann::json& item : list) {
      auto path = item.is_object() ? item.find("statistics-path") : item.end();
      if (!item.is_object() || path == item.end() || !path->is_string()) {
        return Fail(ErrorCode::kCorruption, fmt::format("an item of the table's '{}' has no statistics-path", member));
      }
      referenced_.Add(path->get<std::string>());
    }
  }
  return {};
}

Status References::Add(const iceberg::LoadedTable& table) {
  const iceberg::TableMetadata& metadata = table.metadata;
  referenced_.Add(table.metadata_location);
  for (const iceberg::MetadataLogEntry& entry : metadata.metadata_log) referenced_.Add(entry.metadata_file);
  referenced_.Add(iceberg::MetadataFolder(metadata) + "/version-hint.text");
  FIRN_TRY(AddStatistics(metadata));
  std::vector<const iceberg::Snapshot*> snapshots;
  for (const iceberg::Snapshot& snapshot : metadata.snapshots) {
    if (!lists_added_.contains(snapshot.manifest_list)) snapshots.push_back(&snapshot);
  }
  FIRN_ASSIGN(SnapshotFiles files, reader_.FilesOf(snapshots));
  for (const std::string& list : files.manifest_lists) referenced_.Add(list);
  for (const auto& [path, manifest] : files.manifests) {
    if (!manifests_added_.insert(path).second) continue;
    referenced_.Add(path);
    FIRN_TRY(reader_.ForEachEntry(manifest, [&](const ReferenceReader::ContentFile& file) {
      if (file.live) referenced_.Add(file.location);
    }));
  }
  lists_added_.merge(files.manifest_lists);
  return {};
}

References::Found References::Find(const std::string& location) const {
  if (referenced_.Contains(location)) return Found::kYes;
  return referenced_.RootElsewhere(location) == nullptr ? Found::kNo : Found::kElsewhere;
}

std::string References::RootOf(const std::string& location) const {
  const std::string* root = referenced_.RootElsewhere(location);
  return root == nullptr ? std::string() : *root;
}

}  // namespace firn::maintenance
