// CompactTable: puts the small files of one table together, once: pick, merge page by page, commit.
//
// One thread. Rows, positions and snapshots of others stay as they are; old files stay until their snapshots expire.
// Files that cannot be merged are left where they are, counted by reason. A crash leaves files that nobody names
// (orphans), never a changed table.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/compaction/picker.h"
#include "firn/env/clock.h"
#include "firn/env/object_store.h"
#include "firn/iceberg/catalog/catalog.h"
#include "firn/parquet/merge_chunk.h"

namespace firn::compaction {

// Groups that one commit takes: each commit reads the table's manifests.
inline constexpr size_t kGroupsPerCommitMax = 16;

struct CompactionOptions {
  std::vector<std::string> where;  // "name=value", as in partition paths
  bool dry_run = false;
};

struct CompactionReport {
  int64_t files_seen = 0;
  int64_t groups_planned = 0;
  int64_t groups_done = 0;
  std::map<std::string, int64_t> groups_dropped;  // by reason: "input_gone", "has_deletes", "damaged", ...
  std::map<std::string, int64_t> left_alone;      // files, by reason
  int64_t files_before = 0;                       // of the groups that were done; of a dry run: that were planned
  int64_t files_after = 0;
  int64_t rows = 0;
  int64_t bytes_before = 0;
  int64_t bytes_after = 0;
  int64_t commits = 0;
  int64_t conflicts = 0;
  double cpu_s = 0;
  parquet::MergeCounts pages;
};

struct CompactionParts {
  iceberg::Catalog& catalog;
  env::ObjectStore& store;
  env::Clock& clock;
  env::Random& random;
};

// `progress` is called after each group. When `stop` is requested, what is merged is committed and the report comes
// back. kInvalidInput: `where` names a field that no partition spec of the table has. kUnsupported: a table that Firn
// does not write (format v3, ...).
Result<CompactionReport> CompactTable(const CompactionParts& parts, const iceberg::TableIdentifier& table,
                                      const CompactionOptions& options,
                                      const std::function<void(const CompactionReport&)>& progress,
                                      std::stop_token stop);

}  // namespace firn::compaction
