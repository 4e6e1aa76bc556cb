// RemoveOrphans: files below a table's location that no snapshot, manifest or metadata file of it refers to.
//
// They come from crashes, lost races, and snapshots that commits have expired. Only files older than any writer may
// still commit are taken; a fencing snapshot first makes every commit that was prepared before look again.
#pragma once

#include <cstdint>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/iceberg/catalog/catalog.h"
#include "firn/ingest/pipeline_options.h"
#include "firn/maintenance/commit_loop.h"
#include "firn/maintenance/deletion.h"

namespace firn::maintenance {

inline constexpr int64_t kOrphanAgeMsDefault = 3 * 24 * 3'600'000LL;
using ingest::kCommitAgesInOrphanAge;
// Locations that a report names; the others are counted.
inline constexpr size_t kOrphansNamedMax = 1000;

struct OrphanOptions {
  int64_t older_than_ms = kOrphanAgeMsDefault;
  int64_t commit_max_age_ms = 6 * 3'600'000LL;
  bool apply = false;
};

struct OrphanReport {
  int64_t files_listed = 0;
  int64_t bytes_listed = 0;
  int64_t files_referenced = 0;  // of those listed
  int64_t files_young = 0;       // unreferenced, but not old enough
  int64_t bytes_young = 0;
  int64_t files_hidden = 0;  // other programs' ('.', '_')
  int64_t orphans = 0;
  int64_t orphan_bytes = 0;
  std::map<std::string, int64_t> by_kind;  // "data", "manifest", "metadata", "temporary", "other"
  std::vector<std::string> locations;      // at most kOrphansNamedMax
  std::vector<std::string> not_listed;     // folders outside of the location that the table's properties name
  bool fenced = false;
  DeletionReport deleted;
};

// Without `apply` nothing is changed. kUnsupported: gc.enabled=false, a location that another table shares or may
// share, a listing that spells scheme or bucket otherwise than the table does, a location that is a whole bucket or
// disk; with `apply` also a table that Firn does not write. kInvalidInput: older_than_ms is too short for
// commit.max_age.
Result<OrphanReport> RemoveOrphans(const MaintenanceParts& parts, const iceberg::TableIdentifier& table,
                                   const OrphanOptions& options, std::stop_token stop);

}  // namespace firn::maintenance
