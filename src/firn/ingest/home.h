// Home: the pipeline's home table, its low-water mark H, the list of its tables and what is detached (positions.md, 4).
//
// Thread-safe: edits are serialised by a mutex; each edit is one compare-and-swap commit without rows.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <stop_token>
#include <string>

#include "firn/base/error.h"
#include "firn/ingest/map_commit.h"
#include "firn/ingest/positions.h"
#include "firn/ingest/table_state.h"

namespace firn::ingest {

class Home {
 public:
  // `rules_hash`: of this worker's rules.
  Home(MapCommitter& committer, iceberg::TableIdentifier identifier, std::string rules_hash);

  // Loads the home, or makes it. kUnsupported, kCorruption: its map cannot be read.
  Status Open(std::stop_token stop);
  Status Reload();

  PositionsMap map() const;  // as last seen
  const std::string& name() const { return table_.name(); }
  const std::string& rules_hash() const { return rules_hash_; }
  // The hash of other rules under which the pipeline ran before, while records may still be in doubt; empty: none.
  std::string previous_rules_hash() const;

  // `edit` changes the fresh map (`home` is set) and returns false when nothing needs to change. A kConflict from it
  // means that somebody else moved H (mismatch).
  using EditFn = std::function<Result<bool>(PositionsMap& map)>;
  Result<MapCommitResult> Edit(const EditFn& edit, const std::map<std::string, std::string>& summary,
                               std::stop_token stop);
  // Records that all maps are past every cut: from now on the home carries this worker's hash.
  void AdoptRules();

 private:
  Result<MapDecision> Decide(const iceberg::LoadedTable& fresh, const std::optional<PositionsMap>& stands,
                             const EditFn& edit);

  MapCommitter& committer_;
  TableState table_;
  const std::string rules_hash_;
  mutable std::mutex mutex_;       // one edit at a time
  mutable std::mutex hash_mutex_;  // guards home_rules_hash_
  std::string home_rules_hash_;    // the hash that the home carries
};

// Creates namespace and table when missing (kAlreadyExists: somebody was faster, loads it) and returns it.
Result<iceberg::LoadedTable> LoadOrCreate(iceberg::Catalog& catalog, const iceberg::TableIdentifier& identifier,
                                          const iceberg::CreateTableRequest& request);

}  // namespace firn::ingest
