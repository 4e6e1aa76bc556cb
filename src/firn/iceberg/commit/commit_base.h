// What every commit takes from the table's metadata first: the snapshot it stands on, that snapshot's manifests, and an
// identity for the new one.
//
// Reads the store; writes nothing. Thread-safe as the store is.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "firn/base/error.h"
#include "firn/env/clock.h"
#include "firn/env/object_store.h"
#include "firn/iceberg/commit/append.h"
#include "firn/iceberg/manifest/manifest.h"
#include "firn/iceberg/spec/table_metadata.h"

namespace firn::iceberg {

using ManifestList = std::vector<ManifestFile>;

// A count that is not known may be of live files.
bool HasLiveFiles(const ManifestFile& manifest);

// nullptr: the table has none yet. kCorruption: the metadata name one that they do not list.
Result<const Snapshot*> BaseSnapshot(const TableMetadata& base);

// The snapshot's manifests, all with all counts; empty without a snapshot.
Result<std::shared_ptr<const ManifestList>> BaseManifests(const Snapshot* parent, env::ObjectStore& store,
                                                          ManifestListCache& cache);

// 63 bits, positive, of no snapshot that the table knows.
Result<SnapshotId> UnusedSnapshotId(const TableMetadata& base, env::Random& random);

// Snapshot times never go back, whatever this machine's clock says (spec: "Snapshots"; readers travel by them).
int64_t SnapshotTimestamp(const TableMetadata& base, const Snapshot* parent, int64_t now_ms);

// kCorruption: there is none left.
Result<int64_t> NextSequenceNumber(const TableMetadata& base);

}  // namespace firn::iceberg
