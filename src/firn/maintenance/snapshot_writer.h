// SnapshotWriter: one new snapshot of main out of manifests that its caller chooses; for maintenance that adds no file.
//
// One thread, one attempt: names are never used again, so a retry begins with a new writer.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "firn/base/error.h"
#include "firn/iceberg/commit/append.h"
#include "firn/iceberg/commit/commit_base.h"
#include "firn/iceberg/manifest/manifest_avro.h"
#include "firn/maintenance/commit_loop.h"

namespace firn::maintenance {

class SnapshotWriter {
 public:
  // kUnsupported: a table that Firn does not write. `base` outlives it.
  static Result<SnapshotWriter> Create(const MaintenanceParts& parts, const iceberg::TableMetadata& base);

  const iceberg::Snapshot* parent() const { return parent_; }
  const iceberg::ManifestList& base_manifests() const { return *base_manifests_; }  // with all counts
  SnapshotId snapshot_id() const { return snapshot_id_; }

  // For entries with status and numbers as they are to stand there.
  Result<iceberg::ManifestWriter> OpenManifest(int32_t spec_id, iceberg::ManifestContent content) const;
  Result<iceberg::ManifestFile> PutManifest(iceberg::ManifestWriter manifest);
  Result<PlannedCommit> Finish(const iceberg::ManifestList& manifests, std::map<std::string, std::string> summary);

 private:
  SnapshotWriter(const MaintenanceParts& parts, const iceberg::TableMetadata& base);

  MaintenanceParts parts_;
  const iceberg::TableMetadata* base_;
  iceberg::LocationProvider locations_;
  std::string uuid_;
  int manifest_number_ = 0;
  const iceberg::Snapshot* parent_ = nullptr;
  std::shared_ptr<const iceberg::ManifestList> base_manifests_;
  SnapshotId snapshot_id_;
  int64_t sequence_number_ = 0;
};

}  // namespace firn::maintenance
