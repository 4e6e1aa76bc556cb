// Reading a table's state out of the store: the manifests of a snapshot, and its live data files.
//
// Thread-safe as far as the store is. Nothing is written.
#pragma once

#include <functional>
#include <vector>

#include "firn/base/error.h"
#include "firn/env/object_store.h"
#include "firn/iceberg/manifest/manifest.h"
#include "firn/iceberg/manifest/manifest_avro.h"
#include "firn/iceberg/spec/table_metadata.h"

namespace firn::iceberg {

// kCorruption: the manifest list is missing or cannot be parsed. kUnsupported: a snapshot of format v1 that names its
// manifests inline. Errors of the store that say nothing about the object (kUnavailable, ...) as they are.
Result<std::vector<ManifestFile>> ReadSnapshotManifests(const Snapshot& snapshot, env::ObjectStore& store);

// The manifest's content, its entries with what they inherit from `manifest`. kCorruption as above, also when the file
// holds another number of live entries than its line in the list says.
Result<ManifestFileContents> ReadManifestFile(const ManifestFile& manifest, env::ObjectStore& store);

// The same one entry after the other, live or not; ends with the first error of `take`, and may end with kCorruption
// after the last.
Result<ManifestHeader> ForEachEntry(const ManifestFile& manifest, env::ObjectStore& store, EntryMetrics metrics,
                                    const std::function<Status(ManifestEntry)>& take);

// The live data files (not delete files) of the current snapshot, in manifest order; none without a snapshot. Each
// partition tuple is one of the spec that its own manifest states.
Result<std::vector<ManifestEntry>> ReadLiveEntries(const TableMetadata& metadata, env::ObjectStore& store);

}  // namespace firn::iceberg
