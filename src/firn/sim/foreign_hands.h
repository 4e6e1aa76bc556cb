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
               std::function<void(const std::string&, const std::set<int64_t>&)> forget_rows)
      : pipeline_(std::move(pipeline)),
        server_(server),
        store_(store),
        clock_(clock),
        random_(random),
        faults_(faults),
        history_(history),
        expectation_(expectation),
        forget_rows_(std::move(forget_rows)) {}

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
  std::set<int64_t> LiveIds(const std::string& table);  // of the rows (or rejects) that it has now
  bool Replace(const std::string& table);  // CREATE OR REPLACE: the same table, a history that begins anew, no rows

  // Whether somebody changed history or positions since the pipeline's last word about it.
  bool IsDisturbed(const std::string& table) const { return disturbed_.contains(table); }
  // Whether its history was set back and that shows: its positions are not those of the pipeline's newest snapshot in
  // it. Not of a property alone: a commit under way puts that right, since catalogs do not compare properties.
  bool IsSetBack(const std::string& table, const iceberg::TableMetadata& metadata) const;
  // The pipeline's word: it goes back to what it knows, and has to bring back what rollbacks took; or it goes on
  // without.
  void Rewound(const std::string& table);
  void Continued(const std::string& table);
  // It went on with rows; if nothing was said before, there was nothing to be said.
  void WentOn(const std::string& table);
  // The table goes on at `marks`; `before`: its metadata until then. Where no snapshot that the catalog shows knew the
  // positions, nothing can tell that rows above them are there: they may come twice.
  void NoteRowsAbove(const std::string& table, const iceberg::TableMetadata& before, const ingest::Marks& marks);

 private:
  // Rows are gone; `for_good`: no rewind brings them back.
  void NoteRemoved(const std::string& table, const std::set<int64_t>& ids, bool for_good);
  // The table's positions are others now, set by somebody.
  void NotePositionsSet(const std::string& table);
  bool KnowsPositions(iceberg::TableMetadata metadata) const;
  void ForgetRowsBeyond(const std::string& table);
  void ExcuseRowsAbove(const std::string& table, const ingest::Marks& marks, bool may_double);
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
  void NoteDeleted(const std::string& table, const std::set<int64_t>& ids);
  std::vector<const iceberg::Snapshot*> Ancestors(const Live& live);  // of the current snapshot, newest first
  void SetCurrent(const Live& live, SnapshotId id);
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
  std::function<void(const std::string&, const std::set<int64_t>&)> forget_rows_;
  IdsByTable rolled_back_;  // a rewind brings them back
  IdsByTable gone_;         // nothing does
  std::set<std::string> disturbed_;
  std::set<std::string> set_back_;  // those whose history was
  std::map<std::string, std::set<int64_t>> ids_by_path_;
  std::map<std::string, std::vector<std::string>> old_properties_;
  std::set<std::string> paths_with_deletes_;
  std::map<std::string, std::vector<iceberg::TableMetadata>> remembered_;
};

// The ids of a Parquet file's rows in their order (0: null), or of the records that its rejects are of; empty when it
// cannot be read.
std::vector<int64_t> ReadIds(env::ObjectStore& store, const std::string& path, const LogHistory& history);

}  // namespace firn::sim
