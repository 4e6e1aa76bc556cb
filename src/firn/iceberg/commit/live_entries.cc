#include "firn/iceberg/commit/live_entries.h"

#include <fmt/format.h>

#include <algorithm>

namespace firn::iceberg {
namespace {

// A metadata file that a snapshot names must be there: its absence is damage, not an answer.
Result<std::string> ReadMetadataFile(const std::string& location, env::ObjectStore& store) {
  auto bytes = store.Read(location);
  if (!bytes.has_value() && bytes.error().code() == ErrorCode::kNotFound) {
    return Fail(ErrorCode::kCorruption, fmt::format("a file that the table's metadata name is missing; restore it or "
                                                    "roll the table back: '{}'",
                                                    location));
  }
  return bytes;
}

}  // namespace

Result<std::vector<ManifestFile>> ReadSnapshotManifests(const Snapshot& snapshot, env::ObjectStore& store) {
  if (snapshot.manifest_list.empty()) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("a snapshot of format v1 names its manifests inline; commit to the table once with another "
                            "engine (Spark: rewrite_manifests); snapshot: {}",
                            snapshot.snapshot_id));
  }
  FIRN_ASSIGN(const std::string bytes, ReadMetadataFile(snapshot.manifest_list, store));
  FIRN_ASSIGN(ManifestListContents contents, WithContext(ReadManifestList(bytes), snapshot.manifest_list));
  return std::move(contents.manifests);
}

Result<ManifestHeader> ForEachEntry(const ManifestFile& manifest, env::ObjectStore& store, EntryMetrics metrics,
                                    const std::function<Status(ManifestEntry)>& take) {
  FIRN_ASSIGN(const std::string bytes, ReadMetadataFile(manifest.manifest_path, store));
  int64_t live = 0;
  auto header = ReadManifestEntries(bytes, metrics, [&](ManifestEntry entry) -> Status {
    FIRN_TRY(InheritFromManifest(manifest, entry));
    live += entry.is_live() ? 1 : 0;
    return take(std::move(entry));
  });
  if (!header.has_value()) return WithContext(std::move(header), manifest.manifest_path);
  const bool counted = manifest.added_files_count != kUnknownCount && manifest.existing_files_count != kUnknownCount;
  const int64_t stated = int64_t{manifest.added_files_count} + manifest.existing_files_count;
  if (counted && live != stated) {
    return Fail(ErrorCode::kCorruption, fmt::format("manifest '{}' has {} live files, its manifest list says: {}",
                                                    manifest.manifest_path, live, stated));
  }
  return header;
}

Result<ManifestFileContents> ReadManifestFile(const ManifestFile& manifest, env::ObjectStore& store) {
  ManifestFileContents contents;
  FIRN_ASSIGN(contents.header,
              ForEachEntry(manifest, store, EntryMetrics::kAll, [&](ManifestEntry entry) -> Status {
                contents.entries.push_back(std::move(entry));
                return {};
              }));
  return contents;
}

Result<std::vector<ManifestEntry>> ReadLiveEntries(const TableMetadata& metadata, env::ObjectStore& store) {
  std::vector<ManifestEntry> live;
  const Snapshot* current = metadata.CurrentSnapshot();
  if (current == nullptr) {
    if (!metadata.current_snapshot_id.has_value()) return live;
    return Fail(ErrorCode::kCorruption,
                fmt::format("the current snapshot is not among the table's: {}", *metadata.current_snapshot_id));
  }
  FIRN_ASSIGN(const std::vector<ManifestFile> manifests, ReadSnapshotManifests(*current, store));
  for (const ManifestFile& manifest : manifests) {
    if (manifest.content != ManifestContent::kData) continue;
    FIRN_ASSIGN(ManifestFileContents contents, ReadManifestFile(manifest, store));
    for (ManifestEntry& entry : contents.entries) {
      if (entry.is_live()) live.push_back(std::move(entry));
    }
  }
  return live;
}

}  // namespace firn::iceberg
