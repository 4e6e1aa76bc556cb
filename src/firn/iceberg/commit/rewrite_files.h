// PrepareRewrite: from a table's metadata and files that replace others, row for row but for deleted ones, to one
// `replace` snapshot.
//
// Reads and writes manifests in the store; changes nothing else. Each attempt is made against the metadata it is given,
// never against history: inputs that are not live any more, or whose row deletes are not those that were applied, drop
// their group out of the attempt and leave the other groups in it. A retry calls it again with fresh metadata; nothing
// is ever overwritten.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/env/clock.h"
#include "firn/env/object_store.h"
#include "firn/iceberg/catalog/catalog.h"
#include "firn/iceberg/commit/append.h"

namespace firn::iceberg {

// A delete file whose rows the outputs lack.
struct AppliedDeletes {
  std::string path;
  std::vector<std::string> data_files;  // of position deletes: all that it names, inputs or not
};

// Files that take the place of others together or not at all. All inputs and outputs have one spec and partition, and
// as many rows but for `rows_deleted`.
struct RewriteGroup {
  int32_t spec_id = 0;
  std::vector<std::string> inputs;  // file paths
  std::vector<DataFile> outputs;    // none: all rows were deleted
  // All that may touch an input, of those that were there when the inputs were read.
  std::vector<AppliedDeletes> applied;
  int64_t rows_deleted = 0;
};

enum class GroupFate : uint8_t {
  kReplaced,
  kInputGone,    // an input is not live: deleted, overwritten or compacted by somebody else
  kAlreadyDone,  // all outputs are live: an earlier attempt of ours, whose answer was lost
  // Deletes that may touch an input, and would not touch the output, are not those that were applied: one has come, or
  // (after a rollback, say) one is gone.
  kDeletesChanged,
};
std::string_view GroupFateName(GroupFate fate);

struct RewriteRequest {
  // The last sequence number of the table when the inputs were read. An output carries the highest data sequence number
  // of its inputs and of the equality deletes that were applied to them, which is no higher: equality deletes committed
  // since then still apply to it, those that were applied do not. Without such deletes the files of a pipeline's last
  // rows are still known by theirs (docs/formats/positions.md, "History").
  int64_t starting_sequence_number = 0;
  // By Clock::BootMs: no attempt begins later, since whoever removes orphans may take the outputs for some.
  int64_t latest_boot_ms = std::numeric_limits<int64_t>::max();
  std::vector<RewriteGroup> groups;
  std::map<std::string, std::string> summary;  // further members
};

struct PreparedRewrite {
  std::vector<GroupFate> fates;          // one a group
  std::optional<PreparedCommit> commit;  // none when no group is left
  int64_t delete_files_removed = 0;
};

// Of a group all live position deletes that may touch an input must have been applied, and all equality deletes up to
// the starting sequence number; later ones touch the output as they touched the inputs. Delete files that no data file
// needs any more are removed in the same snapshot: position deletes when all files that they name, or may name, are
// gone, equality deletes when no older file of their partition (of the table, where they are global) is left. Snapshots
// are not expired on the way: that is for commits that bring positions forward.
// kUnsupported: as PrepareAppend. kCorruption: the base's manifests cannot be read. kInvalidInput: a group that would
// change the number of rows by others than deleted ones, whose files differ in spec or partition, or that shares an
// input with another.
Result<PreparedRewrite> PrepareRewrite(const TableMetadata& base, const RewriteRequest& request,
                                       env::ObjectStore& store, env::Clock& clock, env::Random& random);

struct RewriteOutcome {
  std::vector<GroupFate> fates;  // one a group: kReplaced and kAlreadyDone say that it is done
  int32_t attempts = 0;
  int32_t conflicts = 0;
  std::optional<SnapshotId> snapshot_id;  // of the attempt that the catalog answered
  int64_t delete_files_removed = 0;
};

// Loads, prepares and commits until the catalog takes it or no group is left: after a conflict or a lost answer with
// the table as it is then. Errors: the catalog's and the store's; kConflict after commit.retry.num-retries losses;
// kCommitStateUnknown when the last answer was lost; kTimeout when latest_boot_ms is over.
Result<RewriteOutcome> CommitRewrite(Catalog& catalog, const TableIdentifier& table, const RewriteRequest& request,
                                     env::ObjectStore& store, env::Clock& clock, env::Random& random,
                                     std::stop_token stop);

}  // namespace firn::iceberg
