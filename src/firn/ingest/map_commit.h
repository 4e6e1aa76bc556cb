// MapCommitter: the one commit loop of ingest. Every snapshot that Firn's ingest adds (rows, attach, home, empty) is a
// compare-and-swap on a table's map: load, let the caller decide on the fresh map, append, and look again after a
// conflict or a lost answer (positions.md, section 5).
//
// Thread-safe as long as two threads do not commit to one TableState at once.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/env/clock.h"
#include "firn/env/object_store.h"
#include "firn/iceberg/catalog/catalog.h"
#include "firn/iceberg/commit/append.h"
#include "firn/ingest/commit_pace.h"
#include "firn/ingest/table_state.h"

namespace firn::ingest {

enum class CommitOutcome : uint8_t {
  kCommitted,
  kAlreadyDone,     // a lost answer, or nothing to do
  kMismatch,        // somebody else moved what we claimed
  kForeignRules,    // a worker with other routing rules is at work
  kHistoryChanged,  // the table's history was changed by somebody (hold)
  kTooOld,          // the batch is older than commit.max_age
};
std::string_view CommitOutcomeName(CommitOutcome outcome);

struct MapDecision {
  CommitOutcome outcome = CommitOutcome::kCommitted;  // kCommitted: go on with `next`
  std::string reason;                                 // for the other outcomes
  PositionsMap next;  // snapshot, sequence and table members are filled by the committer
};

struct MapCommitRequest {
  std::span<const iceberg::NewDataFile> files;  // the caller's, as long as the commit takes
  int64_t rows = 0;
  std::map<std::string, std::string> summary;  // beyond the pipeline's marks
  iceberg::Properties properties;              // beyond the map
  // Called with the fresh table and its map at every attempt. An Error ends the commit with it.
  std::function<Result<MapDecision>(const iceberg::LoadedTable&, const std::optional<PositionsMap>&)> decide;
};

struct MapCommitResult {
  CommitOutcome outcome = CommitOutcome::kCommitted;
  std::string reason;
  int32_t attempts = 0;
  int32_t conflicts = 0;
};

struct CommitterIdentity {
  std::string pipeline;
  std::string worker;
  std::string group;
  int64_t expiry_grace_ms = 0;  // PipelineOptions
};

class MapCommitter {
 public:
  MapCommitter(iceberg::Catalog& catalog, env::ObjectStore& store, env::Clock& clock, env::Random& random,
               CommitterIdentity identity);

  // Errors: kUnavailable and kTimeout (try again later; the table is marked stale), kNotFound, kUnauthorized, ...
  // kConflict: lost commit.retry.num-retries times in a row, or for commit.retry.total-timeout-ms.
  Result<MapCommitResult> Commit(TableState& table, const MapCommitRequest& request, std::stop_token stop);
  Status Reload(TableState& table);

  const CommitterIdentity& identity() const { return identity_; }
  iceberg::Catalog& catalog() { return catalog_; }
  env::ObjectStore& store() { return store_; }
  env::Clock& clock() { return clock_; }
  env::Random& random() { return random_; }
  CommitPace& pace() { return pace_; }

 private:
  Result<iceberg::PreparedCommit> Prepare(const iceberg::LoadedTable& base, const MapCommitRequest& request,
                                          bool base_is_fresh, env::ObjectStore& store, PositionsMap& next);

  iceberg::Catalog& catalog_;
  env::ObjectStore& store_;
  env::Clock& clock_;
  env::Random& random_;
  const CommitterIdentity identity_;
  iceberg::ManifestListCache cache_;
  CommitPace pace_;
};

// Property that marks a table as made by Firn: "firn.created-by" = version.
inline constexpr std::string_view kCreatedByProperty = "firn.created-by";
inline constexpr std::string_view kFirnVersion = "0.1.0";

}  // namespace firn::ingest
