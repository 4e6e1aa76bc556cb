// ExpireSnapshots: snapshots beyond the table's retention go out of its metadata, and the files that only they reached
// are deleted (spec: "Snapshot Retention Policy").
//
// More than the few that commits take along: all that the rules allow, and their files. Branches and tags keep what
// they keep by their own settings; so does each pipeline's newest snapshot, which proves its positions
// (docs/formats/positions.md, 5.7).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/maintenance/commit_loop.h"
#include "firn/maintenance/deletion.h"

namespace firn::maintenance {

struct ExpiryOptions {
  // Instead of the table's history.expire.max-snapshot-age-ms and min-snapshots-to-keep; a branch's own settings stand.
  std::optional<int64_t> snapshot_age_ms;
  std::optional<int64_t> snapshots_to_keep;
  bool apply = false;
};

struct ExpiryPlan {
  std::vector<SnapshotId> snapshots;        // oldest first
  std::vector<std::string> refs;            // older than their max-ref-age-ms
  std::map<std::string, int64_t> kept_for;  // "tag v1", "branch main", "pipeline p", "age": snapshots that stay for it
};

// Pure. kUnsupported: gc.enabled=false. kInvalidInput: a retention property of the table that is no number.
Result<ExpiryPlan> PlanExpiry(const iceberg::TableMetadata& metadata, const ExpiryOptions& options, int64_t now_ms);

struct ExpiryReport {
  int64_t snapshots_before = 0;
  ExpiryPlan plan;
  // Files that no snapshot reaches any more: "data", "deletes", "manifest", "manifest_list".
  std::map<std::string, int64_t> files;
  int64_t bytes = 0;          // of data and delete files and manifests
  int64_t files_outside = 0;  // imported from elsewhere; not deleted
  int32_t conflicts = 0;
  DeletionReport deleted;
  // The snapshots are gone, but why their files could not be looked for; those that are left are orphans now.
  std::optional<Error> search_error;
};

// The metadata go first; a stop or a crash after that leaves orphans. Without `apply` nothing is changed; with it, a
// table that Firn does not write is kUnsupported.
Result<ExpiryReport> ExpireSnapshots(const MaintenanceParts& parts, const iceberg::TableIdentifier& table,
                                     const ExpiryOptions& options, std::stop_token stop);

}  // namespace firn::maintenance
