// Home: the pipeline's home table, its low-water mark H, the list of its tables and what is detached (positions.md, 4).
//
// Thread-safe: edits are serialised by a mutex; each edit is one compare-and-swap commit without rows.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/env/threads.h"
#include "firn/ingest/map_commit.h"
#include "firn/ingest/positions.h"
#include "firn/ingest/table_state.h"

namespace firn::ingest {

class Home {
 public:
  // `rules_hash`: of this worker's rules.
  Home(MapCommitter& committer, iceberg::TableIdentifier identifier, std::string rules_hash,
       env::Threads& threads = env::SystemThreads());

  // Loads the home, or makes it. kUnsupported, kCorruption: its map cannot be read.
  Status Open(std::stop_token stop);
  Status Reload();

  PositionsMap map() const;  // as last seen
  std::shared_ptr<const PositionsMap> shared_map() const;  // the same without a copy; never null
  const std::string& name() const { return table_.name(); }
  const std::string& rules_hash() const { return rules_hash_; }
  // The home was last written under other routing rules; AdoptRules comes before anything else.
  bool rules_changed() const { return shared_map()->rules_hash != rules_hash_; }

  // `edit` changes the fresh map (`home` is set) and returns false when nothing needs to change. A kConflict from it
  // means that somebody else moved H (mismatch).
  using EditFn = std::function<Result<bool>(PositionsMap& map)>;
  Result<MapCommitResult> Edit(const EditFn& edit, const std::map<std::string, std::string>& summary,
                               std::stop_token stop);
  // From now on the home carries this worker's hash, and `cut` beside it until H has passed it; what it lists as
  // detached of `gone` tables is forgotten. Who is second finds it done. kInvalidInput: the home was changed by
  // somebody else, or other tables are detached: what they miss went by the old rules.
  Status AdoptRules(const Marks& cut, const std::set<std::string>& gone, std::stop_token stop);
  // The cut is raised to where a table was when its last commit was one by other rules (positions.md, section 6).
  Result<MapCommitResult> RaiseCut(const Marks& reached, std::stop_token stop);
  // kInvalidInput: what a worker ends with that finds others' rules where its own were.
  Status OtherRulesAtWork() const;
  // Puts the entries on the list of what is detached; one that stands there already may only become held. A table that
  // the home does not list is listed with them, as attaching. Where the
  // rejects table is detached, too, it may have gone back since the entry was made: then its own map alone tells up to
  // where rejects are written, and the entry says nothing of it.
  Result<MapCommitResult> Detach(const std::vector<DetachedEntry>& entries, const std::string& rejects_table,
                                 std::stop_token stop);

 private:
  Result<MapDecision> Decide(const iceberg::LoadedTable& fresh, const std::optional<PositionsMap>& stands,
                             const EditFn& edit, bool adopt);
  Result<MapCommitResult> EditLocked(const EditFn& edit, const std::map<std::string, std::string>& summary, bool adopt,
                                     std::stop_token stop);

  MapCommitter& committer_;
  TableState table_;
  const std::string rules_hash_;
  const std::unique_ptr<env::Monitor> editing_;  // one edit at a time; held while it is committed
};

// An edit that must have been carried out. kConflict: somebody moved what it rests on, try again; kInvalidInput: other
// rules, or a changed history, which trying again does not mend.
Status RequireDone(const MapCommitResult& result, const std::string& table);

// Creates namespace and table when missing (kAlreadyExists: somebody was faster, loads it) and returns it.
Result<iceberg::LoadedTable> LoadOrCreate(iceberg::Catalog& catalog, const iceberg::TableIdentifier& identifier,
                                          const iceberg::CreateTableRequest& request);

}  // namespace firn::ingest
