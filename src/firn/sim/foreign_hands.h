// ForeignHands: what other engines and people do to the pipeline's tables, at one instant and without fault.
//
// One OS thread. Each act goes to the catalog's and the store's truth; what it means for the checker (rows gone, rows
// there again, positions set back) is written into the Expectation. An act that the table's state does not allow (no
// snapshot, nothing to roll back to) does nothing and returns false.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "firn/env/clock.h"
#include "firn/env/object_store.h"
#include "firn/iceberg/manifest/manifest.h"
#include "firn/sim/checker.h"
#include "firn/sim/fault_kinds.h"
#include "firn/sim/sim_catalog.h"

namespace firn::sim {

class ForeignHands {
 public:
  ForeignHands(std::string pipeline, CatalogServer& server, env::ObjectStore& store, env::Clock& clock,
               env::Random& random, SimFaults& faults, const LogHistory& history, Expectation& expectation,
               std::function<void(const std::string&)> forget_seen)
      : pipeline_(std::move(pipeline)),
        server_(server),
        store_(store),
        clock_(clock),
        random_(random),
        faults_(faults),
        history_(history),
        expectation_(expectation),
        forget_seen_(std::move(forget_seen)) {}

  bool Append(const std::string& table);   // an empty snapshot of somebody else's
  bool Rewrite(const std::string& table);  // compaction: other files, the same rows
  bool Delete(const std::string& table);   // a data file goes
  bool DeleteRows(const std::string& table);  // by position: some rows of a data file
  bool Expire(const std::string& table);   // all snapshots but the newest few
  bool Rollback(const std::string& table);
  bool RemovePositions(const std::string& table, const std::string& property);
  bool RestorePositions(const std::string& table, const std::string& property);  // to an older value
  bool Drop(const std::string& table);
  // Another table takes the name: with this one's metadata as they are under a new uuid (copied metadata), or the same
  // table with older metadata (register_table of a metadata file of before).
  bool Clone(const std::string& table);
  // A rollback, then rows of a snapshot that was rolled back come again, as Java's cherry-pick brings them.
  bool CherryPick(const std::string& table);
  void Remember(const std::string& table);  // its metadata, for a later Clone
  std::set<int64_t> LiveIds(const std::string& table);  // of the rows that it has now
  bool Replace(const std::string& table);  // CREATE OR REPLACE: the same table, a history that begins anew, no rows

 private:
  struct Live {
    const iceberg::TableMetadata* metadata = nullptr;
    iceberg::TableIdentifier identifier;
    std::vector<iceberg::ManifestEntry> entries;
  };
  bool Open(const std::string& table, Live& live);
  // `entries` are all data files there are from now on. Row deletes stay, but for a history that begins anew.
  bool Commit(const Live& live, std::vector<iceberg::ManifestEntry> entries, const std::string& operation,
              bool without_parent = false, const std::vector<iceberg::ManifestEntry>& new_deletes = {},
              const std::map<std::string, std::string>& summary = {});
  iceberg::ManifestFile WriteEntries(const Live& live, iceberg::ManifestContent content,
                                     std::vector<iceberg::ManifestEntry> entries, const iceberg::Snapshot& snapshot);
  // Those ids leave the table, and must not come back.
  void NoteDeleted(const std::string& table, const std::set<int64_t>& ids, const std::set<int64_t>& still_there);
  std::vector<const iceberg::Snapshot*> Ancestors(const Live& live);  // of the current snapshot, newest first
  void SetCurrent(const Live& live, SnapshotId id);
  // Rows that the table had before an act and has no more.
  void NoteAbsent(const std::string& table, const std::set<int64_t>& before);
  void NoteSetBack(const std::string& table, const std::set<int64_t>& before);
  std::set<int64_t> IdsIn(const std::vector<iceberg::ManifestEntry>& entries);
  const std::set<int64_t>& IdsOfFile(const std::string& path);
  // When no snapshot is left that knows the pipeline, nothing can tell that its positions are old: rows above them may
  // come twice.
  void NoteUndetectable(const std::string& table);
  std::string NewName(const Live& live, const std::string& suffix);

  const std::string pipeline_;
  CatalogServer& server_;
  env::ObjectStore& store_;
  env::Clock& clock_;
  env::Random& random_;
  SimFaults& faults_;
  const LogHistory& history_;
  Expectation& expectation_;
  std::function<void(const std::string&)> forget_seen_;
  std::map<std::string, std::set<int64_t>> ids_by_path_;
  std::map<std::string, std::vector<std::string>> old_properties_;
  std::set<std::string> paths_with_deletes_;
  std::map<std::string, std::vector<iceberg::TableMetadata>> remembered_;
};

// The values of the column "id" of a Parquet file in their order, 0 for null; empty when it cannot be read.
std::vector<int64_t> ReadIds(env::ObjectStore& store, const std::string& path);

}  // namespace firn::sim
