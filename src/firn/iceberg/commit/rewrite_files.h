// PrepareRewrite: from a table's metadata and files that replace others, row for row, to one `replace` snapshot.
//
// Reads and writes manifests in the store; changes nothing else. Each attempt is made against the metadata it is given,
// never against history: inputs that are not live any more, or that a newer delete may touch, drop their group out of
// the attempt and leave the other groups in it. A retry calls it again with fresh metadata; nothing is ever
// overwritten.
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

// Files that take the place of others together or not at all. All inputs and outputs have one spec and partition, and
// as many rows.
struct RewriteGroup {
  int32_t spec_id = 0;
  std::vector<std::string> inputs;  // file paths
  std::vector<DataFile> outputs;
};

enum class GroupFate : uint8_t {
  kReplaced,
  kInputGone,    // an input is not live: deleted, overwritten or compacted by somebody else
  kAlreadyDone,  // all outputs are live: an earlier attempt of ours, whose answer was lost
  kHasDeletes,   // a live delete may touch an input, and would not touch the output
};
std::string_view GroupFateName(GroupFate fate);

struct RewriteRequest {
  // The last sequence number of the table when the inputs were read. An output carries the highest data sequence number
  // of its inputs, which is no higher: equality deletes committed since then still apply to it, and the files of a
  // pipeline's last rows are still known by theirs (docs/formats/positions.md, "History").
  int64_t starting_sequence_number = 0;
  // By Clock::BootMs: no attempt begins later, since whoever removes orphans may take the outputs for some.
  int64_t latest_boot_ms = std::numeric_limits<int64_t>::max();
  std::vector<RewriteGroup> groups;
  std::map<std::string, std::string> summary;  // further members
};

struct PreparedRewrite {
  std::vector<GroupFate> fates;          // one a group
  std::optional<PreparedCommit> commit;  // none when no group is left
};

// No delete is applied here, so a group keeps out of the way of every live position delete that may touch an input, and
// of every equality delete up to the starting sequence number; later ones touch the output as they touched the inputs.
// Snapshots are not expired on the way: that is for commits that bring positions forward.
// kUnsupported: as PrepareAppend. kCorruption: the base's manifests cannot be read. kInvalidInput: a group that would
// change the number of rows, whose files differ in spec or partition, or that shares an input with another.
Result<PreparedRewrite> PrepareRewrite(const TableMetadata& base, const RewriteRequest& request,
                                       env::ObjectStore& store, env::Clock& clock, env::Random& random);

struct RewriteOutcome {
  std::vector<GroupFate> fates;  // one a group: kReplaced and kAlreadyDone say that it is done
  int32_t attempts = 0;
  int32_t conflicts = 0;
  std::optional<SnapshotId> snapshot_id;  // of the attempt that the catalog answered
};

// Loads, prepares and commits until the catalog takes it or no group is left: after a conflict or a lost answer with
// the table as it is then. Errors: the catalog's and the store's; kConflict after commit.retry.num-retries losses;
// kCommitStateUnknown when the last answer was lost; kTimeout when latest_boot_ms is over.
Result<RewriteOutcome> CommitRewrite(Catalog& catalog, const TableIdentifier& table, const RewriteRequest& request,
                                     env::ObjectStore& store, env::Clock& clock, env::Random& random,
                                     std::stop_token stop);

}  // namespace firn::iceberg
