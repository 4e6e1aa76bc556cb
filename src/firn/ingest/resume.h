// Resume: how a table whose history was changed gets positions again. `firn positions resume` and the history policy of
// a running worker do the same thing: plan, then the home lists what may be missing, then an empty snapshot with the
// new map, then the home lets the table catch up (positions.md, section 5.7).
//
// Free functions; any thread, as long as two do not commit to one TableState at once.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "firn/base/error.h"
#include "firn/ingest/home.h"
#include "firn/ingest/map_commit.h"
#include "firn/ingest/pipeline_options.h"
#include "firn/ingest/positions.h"

namespace firn::ingest {

// A table's map is replaced: a compare-and-swap on the one that the plan was made from.
struct MapReplacement {
  std::optional<PositionsMap> planned;  // what stood; nullopt: none
  Marks marks;
  bool replace_all = false;  // no other mark stays; and the last snapshot with rows is the one below
  std::optional<SnapshotId> rows_snapshot_id;
  int64_t rows_sequence_number = 0;
  std::map<std::string, Marks> rejected;  // with replace_all: of the rejects table
};
// kConflict: somebody moved meanwhile what is replaced.
Status ReplaceMap(MapCommitter& committer, TableState& table, const MapReplacement& replacement,
                  const std::string& rules_hash, std::stop_token stop);

// An edit by hand that must have been carried out. kConflict otherwise.
Status RequireCommitted(const Result<MapCommitResult>& result, const std::string& table);

// What a new entry may say of the table's rejects: that those below H are there, unless H has gone on without the
// rejects table. Then it is the rejects table's own map that tells.
int64_t RejectedBelowOf(const PositionsMap& home, const std::string& rejects_table, const PartitionKey& partition);

// What a worker knows of an entry, and what its lane has caught up with, does not hold for it any more.
void MakeAnew(DetachedEntry& entry, int64_t now_ms);
// The table was set back to `offset`: above it the entry says no more that rows are there.
void SetBack(DetachedEntry& entry, int64_t offset);

enum class ResumeMode : uint8_t { kContinue, kRewind };

struct ResumeStep {
  PartitionKey partition;
  std::string topic;
  int64_t from = -1;          // what the table's map said; -1: nothing
  int64_t to = 0;             // what it says from now on
  int64_t read_until = 0;     // records from `to` up to here are read again; not above `to`: none
  int64_t given_up_from = 0;  // rows of records from here up to `to` may be missing; -1: nobody knows from where
};

struct ResumePlan {
  MapReplacement replacement;
  std::string table_uuid;
  std::string note;
  std::vector<ResumeStep> steps;
  // What the table's map said cannot be what all workers have read it to: one may be further.
  bool others_unknown = false;
  std::string rejects_table;
  // Of the rejects table: the rejects of other tables that are gone with its snapshots, from there on.
  std::map<std::string, std::map<PartitionKey, int64_t>> rejects_back;
  // Of a rewind of the rejects table: the detached entries that it was planned with. What an entry that came later says
  // of rejects is of before the rewind.
  std::optional<std::set<std::pair<std::string, PartitionKey>>> entries_planned;
};

// `home`: read before `loaded`. kNotFound: rewind, and there is nothing to rewind to (MapToRewindTo).
Result<ResumePlan> PlanResume(const iceberg::LoadedTable& loaded, const PositionsMap& home,
                              const PipelineOptions& options, ResumeMode mode, env::ObjectStore& store);

// `table` is loaded. Afterwards nothing of the table is on hold; partitions of which rows may be missing are detached
// for `reason` until they have caught up. Whatever ends it in between, no worker takes the table for caught up: the
// same again completes it. `by_hand`: what is detached is on hold meanwhile.
Status CarryOutResume(const ResumePlan& plan, Home& home, MapCommitter& committer, TableState& table,
                      const std::string& reason, bool by_hand, std::stop_token stop);

}  // namespace firn::ingest
