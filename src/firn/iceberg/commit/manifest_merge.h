// Merge-append: which manifests of the base go together with the new ones, and the merged manifests themselves.
//
// As Java's MergeAppend: manifests of one spec are packed, oldest first, into bins of
// commit.manifest.target-size-bytes; a full bin is merged at once, the newest one when it has
// commit.manifest.min-count-to-merge manifests. Delete manifests are never touched. Entries keep their sequence numbers
// and snapshot ids. Merging serves later planning only, so a manifest that cannot be merged (damaged, foreign spec) is
// carried as it is, with a warning in the log.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/env/object_store.h"
#include "firn/iceberg/manifest/manifest.h"
#include "firn/iceberg/manifest/manifest_avro.h"
#include "firn/iceberg/spec/table_metadata.h"

namespace firn::iceberg {

// Manifests read for merging in one commit, the last bin excepted; what is over waits for the next commit.
inline constexpr size_t kMergedManifestsPerCommitMax = 200;

struct MergeOptions {
  bool enabled = true;                                     // commit.manifest-merge.enabled
  int64_t target_size_bytes = 8 << 20;                     // commit.manifest.target-size-bytes
  size_t min_count_to_merge = 100;                         // commit.manifest.min-count-to-merge
  static MergeOptions For(const TableMetadata& metadata);  // values that are no numbers: the defaults
};

// A new manifest of this commit, not yet in the store.
struct NewManifest {
  std::string bytes;  // its entries are read from there again if it is merged: parsed they are several times as large
};

struct MergeCandidate {
  ManifestFile file;
  std::optional<NewManifest> fresh;  // of this commit; `file.manifest_path` is where it would go
};

struct MergeResult {
  std::vector<ManifestFile> manifests;  // all data manifests of the new snapshot, newest first
  int64_t written = 0;
  int64_t merged = 0;  // inputs that went into another manifest
};

// What the merging needs to know of the commit.
struct CommitScope {
  const TableMetadata& base;
  env::ObjectStore& store;
  SnapshotId snapshot_id;
  int64_t sequence_number = 0;
  std::function<std::string()> new_manifest_location;
};

// Writes what is new and not merged, and what is merged. `candidates`: data manifests, newest first. Errors: the
// store's (but not the damage of a manifest that could have been merged).
Result<MergeResult> MergeManifests(const CommitScope& scope, const MergeOptions& options,
                                   std::vector<MergeCandidate> candidates);

// The bins as index lists, newest bin first, order kept inside; filled from the end, each up to `target` (an item
// beyond it has its own bin).
std::vector<std::vector<size_t>> PackFromEnd(const std::vector<int64_t>& lengths, int64_t target);

// The schema that a manifest of this spec states: the current one if it has all source columns, else the newest that
// has.
const schema::Schema& SchemaForSpec(const TableMetadata& metadata, const schema::PartitionSpec& spec);

}  // namespace firn::iceberg
