// ClusterManifests: data manifests of a table written anew, each with files of as few partitions as may be, so that a
// query by partition opens few of them. Merge-append keeps their number down, but packs them by age.
//
// A `replace` snapshot: no file changes, entries keep their snapshot ids and sequence numbers. Delete manifests stay.
// Whether it is worth it is told by partitions alone; then all entries are held, their metrics packed.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <stop_token>
#include <string>

#include "firn/base/error.h"
#include "firn/maintenance/commit_loop.h"

namespace firn::maintenance {

// Done where there are manifests to save, or where a partition's files are spread over this much more manifests than
// they need to be.
inline constexpr double kSpreadGainMin = 1.1;

struct ClusteringOptions {
  bool apply = false;
  int32_t retries_max = kRetriesAsTheTableSays;  // each reads and writes all manifests again
  int64_t memory_bytes = std::numeric_limits<int64_t>::max();  // for the entries of the table's manifests
};

struct ClusteringReport {
  int64_t manifests_before = 0;  // data manifests
  int64_t manifests_after = 0;
  int64_t bytes_before = 0;
  int64_t bytes_after = 0;  // 0 in a dry run
  int64_t entries = 0;
  // Manifests that a query for one partition opens, on average over the partitions.
  double manifests_a_partition_before = 0;
  double manifests_a_partition_after = 0;
  bool worth_it = false;
  std::optional<SnapshotId> snapshot_id;
  int32_t conflicts = 0;
};

// kUnsupported: a table that Firn does not write. kResourceExhausted: the entries take more than `memory_bytes`; all of
// them with `apply` where it is worth it, else their partitions.
Result<ClusteringReport> ClusterManifests(const MaintenanceParts& parts, const iceberg::TableIdentifier& table,
                                          const ClusteringOptions& options, std::stop_token stop);

}  // namespace firn::maintenance
