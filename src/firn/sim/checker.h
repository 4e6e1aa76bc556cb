// Checker: holds a pipeline's tables against everything that was ever produced, and against DESIGN 3.
//
// One OS thread; reads catalog and store, writes nothing, and must be given ones without faults. Check may be called at
// any instant at which nothing is half done in them, as often as wanted: data files are parsed once a path, positions
// and rows are compared with those of the Check before. What it takes for granted: a table's rows carry "id" (long),
// the id in LogHistory, and may carry "p" (int), "o" (long) and "kind" (string); a record's table is
// ProducedRecord::table.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "firn/env/object_store.h"
#include "firn/iceberg/catalog/catalog.h"
#include "firn/ingest/pipeline_options.h"
#include "firn/ingest/positions.h"
#include "firn/sim/log_history.h"

namespace firn::sim {

enum class ViolationCode : uint8_t {
  kLostRow,           // below T[p], not there
  kLostBelowHome,     // below H[p] of a table that is not detached, not there
  kLostReject,
  kLostDrop,          // the counted drops are not the dropped records
  kDoubledRow,
  kDoubledReject,
  kBeyondPosition,    // there, though T[p] has not passed it
  kNeverReadable,     // of aborted or open data, or of a record that nobody has been given
  kUnknownRow,        // of no record
  kWrongTable,
  kWrongValue,        // "p", "o" or "kind" are not the record's; of a reject: code, key, headers, time, names
  kUnexpectedReject,  // a good record, or under a code that is not allowed
  kVanishedRow,       // the Check before saw it
  kNotCaughtUp,       // at the end: readable, but not passed
  kPositionWentBack,
  kPositionBeyondLog,
  kMissingFile,
  kWrongFileSize,
  kWrongRecordCount,
  kWrongBounds,       // of the column "id"
  kWrongPartition,    // a row that its file's partition does not say
  kFileListedTwice,
  kUnreadable,        // a table, a manifest, a file, a map
  kTableMissing,
  kWrongUuid,
  kForeignDeleteFiles,  // row deletes that nobody is known to have made
  kResurrectedRow,    // somebody had deleted it
};
std::string_view ViolationCodeName(ViolationCode code);

struct Violation {
  ViolationCode code;
  std::string table;
  std::optional<ingest::PartitionKey> partition;
  int64_t offset = -1;
  int64_t id = 0;
  std::string words;
  std::string ToString() const;
};

using IdsByTable = std::map<std::string, std::set<int64_t>>;

// What others than the pipeline did, and what was decided: it makes some rows absent, or there again, by design.
struct Expectation {
  // Ids that foreign hands have removed: absent or once. A rewind has to bring back what a rollback took.
  IdsByTable may_be_absent;
  // Of those: deleted, and nothing has happened since that may bring them back.
  IdsByTable must_be_absent;
  // Ids that foreign hands may have put there once more (cherry-pick, append of copies), or that come once more since
  // nothing can tell that they are there.
  IdsByTable may_be_doubled;
  // Ids that stand above the table's positions since somebody set those back.
  IdsByTable may_be_beyond;
  // Offsets that somebody decided to leave out (continue, positions set): not demanded. An empty table: of all.
  struct GivenUp {
    std::string table;
    ingest::PartitionKey partition;
    int64_t from = 0;
    int64_t to = 0;
    bool rejects_only = false;  // of records of the table that are no rows
  };
  std::vector<GivenUp> given_up;
  // Where a topic began by the start policy (latest, timestamp); below, nothing is demanded. Absent: at its beginning.
  std::map<ingest::PartitionKey, int64_t> first_offsets;
  // Tables that cannot be held against anything (dropped, replaced, without permission); "" none.
  std::set<std::string> unchecked_tables;
  // Tables that somebody put in the place of others under their names: the home may list another uuid.
  std::set<std::string> uuids_may_differ;
  // Tables (the home too) whose positions may have gone back since the Check before (rewind, restore, positions set):
  // of one Check.
  std::set<std::string> positions_may_go_back;
  // Tables whose old positions somebody has put back, and their text: as long as it stands there no worker has looked
  // at it, so what it says counts at the end only.
  std::map<std::string, std::string> restored;
  // Partitions that stand still until somebody decides; overtaken ones (LogHistory) need not be named.
  std::set<ingest::PartitionKey> may_lag;
  // Tables that may be behind at the end (held).
  std::set<std::string> tables_may_lag;
  // docs/simulation.md, "What is open": counts of dropped records may be lost by a crash while a table is detached.
  bool drops_may_be_lost = false;
  // Offsets that were in doubt when the routing rules were changed: a good record may be a reject under rules_changed,
  // once, beside its row.
  struct InDoubt {
    ingest::PartitionKey partition;
    int64_t from = 0;
    int64_t to = 0;
    std::string table;  // the records of this one; "": of any
  };
  std::vector<InDoubt> in_doubt;
  // What records say of their table → the tables that rules of different times send them to: a row in one of them;
  // where the record was in doubt, also in both, or in none if it is a reject.
  std::map<std::string, std::vector<std::string>> moving;
};

// Why a committed record need not be there.
enum class Excuse : uint8_t {
  kUncheckedTable,  // dropped by somebody
  kRemoved,         // by foreign hands
  kGivenUp,         // by a person, or by the start policy
  kLogLost,         // compacted or truncated after somebody had read it
  kStandsStill,     // not passed: a person has to decide first
  kDropUncounted,   // policy `drop`, and its counts cannot be compared
  kComesTwice,      // it is there, and may be there more than once
};
std::string_view ExcuseName(Excuse excuse);

struct CheckReport {
  std::vector<Violation> violations;  // the first kViolationsKeptMax of each code
  std::map<ViolationCode, int64_t> by_code;
  int64_t violation_count = 0;
  int64_t rows = 0;
  int64_t rejects = 0;
  int64_t dropped = 0;
  int64_t demanded = 0;              // records that had to be there, or are
  std::map<Excuse, int64_t> excused;  // those that are not, and nobody complains
  int64_t files = 0;
  int32_t partitions_overtaken = 0;  // not demanded to be caught up
  bool ok() const { return violation_count == 0; }
  std::string ToString() const;
};
inline constexpr int64_t kViolationsKeptMax = 10;

class Checker {
 public:
  Checker(iceberg::Catalog& catalog, env::ObjectStore& store, const ingest::PipelineOptions& options,
          const LogHistory& history);
  ~Checker();

  // `finished`: the run is over, all faults too, and the pipeline says that it is caught up: all must be there.
  CheckReport Check(const Expectation& expectation, bool finished);
  // The next Check may not miss these rows: somebody has removed them.
  void ForgetRows(const std::string& table, const std::set<int64_t>& ids);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace firn::sim
