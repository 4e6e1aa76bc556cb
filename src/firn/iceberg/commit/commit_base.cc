#include "firn/iceberg/commit/commit_base.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "firn/iceberg/commit/live_entries.h"

namespace firn::iceberg {
namespace {

// Whether an unused id was found; a source of chance that only repeats itself would not end.
constexpr int kSnapshotIdTriesMax = 100;

bool HasAllCounts(const ManifestFile& manifest) {
  return manifest.added_files_count >= 0 && manifest.existing_files_count >= 0 && manifest.deleted_files_count >= 0 &&
         manifest.added_rows_count >= 0 && manifest.existing_rows_count >= 0 && manifest.deleted_rows_count >= 0;
}

// Format v1 lets writers leave counts out, v2 does not: a table that was upgraded gets them from the manifest itself.
Status CompleteCounts(ManifestFile& manifest, env::ObjectStore& store) {
  FIRN_ASSIGN(const ManifestFileContents contents, ReadManifestFile(manifest, store));
  manifest.added_files_count = manifest.existing_files_count = manifest.deleted_files_count = 0;
  manifest.added_rows_count = manifest.existing_rows_count = manifest.deleted_rows_count = 0;
  for (const ManifestEntry& entry : contents.entries) {
    const int64_t rows = entry.data_file.record_count;
    switch (entry.status) {
      case EntryStatus::kAdded: ++manifest.added_files_count, manifest.added_rows_count += rows; break;
      case EntryStatus::kExisting: ++manifest.existing_files_count, manifest.existing_rows_count += rows; break;
      case EntryStatus::kDeleted: ++manifest.deleted_files_count, manifest.deleted_rows_count += rows; break;
    }
  }
  return {};
}

}  // namespace

bool HasLiveFiles(const ManifestFile& manifest) {
  return manifest.added_files_count != 0 || manifest.existing_files_count != 0;
}

Result<const Snapshot*> BaseSnapshot(const TableMetadata& base) {
  if (!base.current_snapshot_id.has_value()) return nullptr;
  const Snapshot* current = base.CurrentSnapshot();
  // Going on without it would drop every row of the table.
  if (current == nullptr) {
    return Fail(ErrorCode::kCorruption,
                fmt::format("the current snapshot is not among the table's: {}", *base.current_snapshot_id));
  }
  return current;
}

Result<std::shared_ptr<const ManifestList>> BaseManifests(const Snapshot* parent, env::ObjectStore& store,
                                                          ManifestListCache& cache) {
  if (parent == nullptr) return std::make_shared<const ManifestList>();
  if (auto cached = cache.Find(parent->manifest_list); cached != nullptr) return cached;
  FIRN_ASSIGN(ManifestList manifests, ReadSnapshotManifests(*parent, store));
  for (ManifestFile& manifest : manifests) {
    if (!HasAllCounts(manifest)) FIRN_TRY(CompleteCounts(manifest, store));
  }
  return std::make_shared<const ManifestList>(std::move(manifests));
}

Result<SnapshotId> UnusedSnapshotId(const TableMetadata& base, env::Random& random) {
  for (int i = 0; i < kSnapshotIdTriesMax; ++i) {
    const SnapshotId id{static_cast<int64_t>(random.Next64() & std::numeric_limits<int64_t>::max())};
    const bool logged = std::any_of(base.snapshot_log.begin(), base.snapshot_log.end(),
                                    [&](const SnapshotLogEntry& entry) { return entry.snapshot_id == id; });
    if (id.value() != 0 && base.FindSnapshot(id) == nullptr && !logged) return id;
  }
  return Fail(ErrorCode::kInternal, fmt::format("no unused snapshot id in {} tries", kSnapshotIdTriesMax));
}

int64_t SnapshotTimestamp(const TableMetadata& base, const Snapshot* parent, int64_t now_ms) {
  int64_t timestamp = std::max(now_ms, base.last_updated_ms);
  if (parent != nullptr) timestamp = std::max(timestamp, parent->timestamp_ms);
  if (!base.snapshot_log.empty()) timestamp = std::max(timestamp, base.snapshot_log.back().timestamp_ms);
  return timestamp;
}

Result<int64_t> NextSequenceNumber(const TableMetadata& base) {
  int64_t next = 0;
  if (__builtin_add_overflow(base.last_sequence_number, 1, &next)) {
    return Fail(ErrorCode::kCorruption,
                fmt::format("no sequence number is left after last-sequence-number: {}", base.last_sequence_number));
  }
  return next;
}

}  // namespace firn::iceberg
