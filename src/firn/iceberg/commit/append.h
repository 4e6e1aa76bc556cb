// PrepareAppend: from a table's metadata and new data files to the manifests, the manifest list and the updates of one
// append snapshot (merge-append), with the few expired snapshots that go along.
//
// Reads and writes manifests in the store; changes nothing else. A retry calls it again with the fresh metadata: each
// attempt has a new snapshot id and new file names, so nothing is ever overwritten and nothing needs to be deleted.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/env/clock.h"
#include "firn/env/object_store.h"
#include "firn/iceberg/manifest/manifest.h"
#include "firn/iceberg/spec/table_update.h"

namespace firn::iceberg {

// Where new files of a table go: write.data.path, write.metadata.path, write.object-storage.enabled with its
// .partitioned-paths; folders as Java lays them.
class LocationProvider {
 public:
  static LocationProvider For(const TableMetadata& metadata);
  // `partition_path` as schema::PartitionPath gives it; `file_name` unique.
  std::string DataLocation(const std::string& partition_path, const std::string& file_name) const;
  std::string MetadataLocation(const std::string& file_name) const;

 private:
  std::string data_root_;
  std::string metadata_root_;
  bool object_storage_ = false;
  bool partitioned_paths_ = true;
  std::string object_storage_context_;
};

// A data file with the spec it was written for.
struct NewDataFile {
  int32_t spec_id = 0;
  DataFile file;
};

struct AppendRequest {
  // May be empty: an empty snapshot. The caller's, as long as the call takes: thousands of files with metrics of each
  // column are too much to be copied.
  std::span<const NewDataFile> files;
  std::map<std::string, std::string> summary;               // further summary members (pipeline, worker, counts, ...)
  Properties set_properties;                                // in the same commit
  std::map<std::string, std::string> manifest_list_header;  // further members of the manifest list's Avro header
  bool expire_on_commit = true;                             // a few expired snapshots, by the table's own rules
  int64_t expiry_grace_ms = 0;                              // and only so long after they have expired
  bool table_is_ours = false;                               // Firn made it: Firn's retention defaults hold
  // Called once a call of PrepareAppend, when the new snapshot's identity is known and before anything is written: may
  // set properties and manifest-list members that name the snapshot (Firn's positions). A failure ends the call.
  std::function<Status(SnapshotId snapshot_id, int64_t sequence_number, AppendRequest& request)> on_identity;
};

struct PreparedCommit {
  SnapshotId snapshot_id;
  int64_t sequence_number = 0;
  int64_t snapshot_timestamp_ms = 0;
  std::vector<TableRequirement> requirements;  // assert-table-uuid, assert-ref-snapshot-id(main)
  std::vector<TableUpdate> updates;            // add-snapshot, set-snapshot-ref, set-properties, remove-snapshots
  int64_t manifests_written = 0;
  int64_t manifests_merged = 0;
};

// Keeps a table's parsed manifest list between its own commits, so that a commit without conflict reads nothing.
// Thread-safe; bounded to the newest list of each table.
class ManifestListCache {
 public:
  static constexpr size_t kCachedTablesMax = 4096;

  std::shared_ptr<const std::vector<ManifestFile>> Find(const std::string& manifest_list_location);
  void Put(const std::string& manifest_list_location, std::shared_ptr<const std::vector<ManifestFile>> manifests);

 private:
  struct List {
    std::string location;
    std::shared_ptr<const std::vector<ManifestFile>> manifests;
  };
  std::mutex mutex_;
  std::map<std::string, List> newest_;  // by metadata folder
};

// kUnsupported: format v3, or a property that Firn does not honour and must not ignore (encryption keys).
// kCorruption: the base's manifest list cannot be read.
Result<PreparedCommit> PrepareAppend(const TableMetadata& base, const AppendRequest& request, env::ObjectStore& store,
                                     env::Clock& clock, env::Random& random, ManifestListCache& cache);

// Is the table one that Firn may write? kUnsupported with a clear word otherwise (v3, ORC/Avro default format,
// encryption, ...).
Status CheckWritable(const TableMetadata& metadata);

}  // namespace firn::iceberg
