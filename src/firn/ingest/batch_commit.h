// BatchCommitter: puts one frozen batch into its tables, rejects last, then moves the home (DESIGN 4, "Commit").
//
// Runs on the commit thread, one batch at a time. It tries again through outages; it gives up only when it is told to
// stop, when the batch must be forgotten, when its patience is over, or when going on would be wrong.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/ingest/data_files.h"
#include "firn/ingest/home.h"
#include "firn/ingest/map_commit.h"
#include "firn/ingest/pipeline_options.h"
#include "firn/ingest/positions.h"
#include "firn/ingest/table_rows.h"
#include "firn/ingest/table_state.h"

namespace firn::ingest {

struct TableBatch {
  TableState* table = nullptr;
  bool is_rejects = false;
  HistoryPolicy history_policy = HistoryPolicy::kHold;
  std::unique_ptr<TableRows> waiting;
  int64_t rows = 0;
  Claims claims;
  iceberg::Properties properties;  // sources that are not remembered yet
  // Partitions of `home_claims` that a lane reads for the table: its rows end before the batch does.
  std::set<PartitionKey> behind;
  // Of the rejects table: what it says of detached tables; the marks that the batch knows of tables that take part; and
  // the tables whose rejects its range does not hold, with where they are known to end (0: where the range begins).
  RejectedClaims rejected;
  std::map<std::string, std::map<PartitionKey, int64_t>> rejected_known;
  std::map<std::string, std::map<PartitionKey, int64_t>> rejected_elsewhere;
  Claims rejected_if_detached;  // of another table: what the rejects of this batch claim of it, once it is detached
};

struct Batch {
  std::vector<TableBatch> tables;           // those with rows; rejects last, but first in a lane
  Claims home_claims;                       // from the believed H to the batch's end, all owned partitions
  bool checkpoint = false;                  // move the home after the tables
  std::map<std::string, uint64_t> dropped;  // by reject code, since the last checkpoint
  int64_t watermark_ms = -1;                // completeness of the owned partitions at the batch's end; -1: unknown
  struct CaughtUp {
    std::string table;
    PartitionKey partition;
    int64_t since_ms = 0;  // of the entry; one that was made anew since is another one
  };
  std::vector<CaughtUp> caught_up;  // detached entries to take off the home
  struct Rejected {
    std::string table;
    PartitionKey partition;
    int64_t since_ms = 0;
    int64_t below = 0;
    int64_t rows_below = 0;
  };
  std::vector<Rejected> rejected;        // detached entries whose rejects, and rows, are written up to there
  bool rejects_cannot_wait = false;      // some of them its own lane would not find: without them nothing moves
  std::string lane_of;                   // a lane's batch: the table that it is for. It detaches nothing
  // Below, the rejects of all tables stand in the rejects table before this batch: what a new entry is told.
  std::map<PartitionKey, int64_t> rejected_below;
  // Detached entries that the batch has skipped records for: the home must still list them when it moves.
  std::vector<std::pair<std::string, PartitionKey>> skipped;
  int64_t home_patience_ms = INT64_MAX;  // with a home that cannot be committed; a table is detached instead
};

struct BatchResult {
  enum class Kind : uint8_t {
    kDone,
    kForget,  // somebody else moved positions, the batch is too old, or its rows are lost: read H again
    kStop,    // going on would be wrong: `error` says why
    kFailed,  // a lane's: what it rests on cannot be committed now
  } kind = Kind::kDone;
  std::string reason;
  bool rows_lost = false;  // kForget: because the spill file did not give them back
  bool rejects_away = false;  // kForget: because the rejects table is detached, and these rejects cannot wait
  std::optional<Error> error;
  bool home_moved = false;
  int64_t rows = 0;
  int64_t rejects = 0;
  int64_t files = 0;
  int64_t file_bytes = 0;
  int32_t commits = 0;
  int32_t conflicts = 0;
  double commit_cpu_s = 0;
  double commit_wall_s = 0;
  DataFileStageTimes times;
  struct Detached {
    TableState* table;
    std::string reason;
    bool hold;
  };
  std::vector<Detached> detached;
  std::map<std::string, int64_t> sequence_numbers;  // of the commits, by table
};

class BatchCommitter {
 public:
  BatchCommitter(const PipelineOptions& options, Home& home, MapCommitter& committer, env::Threads& threads);
  BatchResult Commit(Batch batch, std::stop_token stop);
  // What others (lanes) have committed: the next checkpoint tells the home. For any thread.
  void NoteCommitted(const std::map<std::string, int64_t>& sequence_numbers);
  // What cannot be committed at the moment, and why; empty: nothing. For any thread.
  std::string trouble() const;

 private:
  class Patience;
  struct Age {
    int64_t store_ms = 0;
    int64_t wall_ms = 0;
    int64_t boot_ms = 0;
  };
  // Trouble that time may heal keeps the call inside; the result is done, forgotten, detached or stopped.
  void CommitTable(TableBatch& table, Batch& batch, BatchResult& result, std::stop_token stop);
  void Checkpoint(const Batch& batch, BatchResult& result, std::stop_token stop);
  Result<MapDecision> Decide(const TableBatch& table, const iceberg::LoadedTable& fresh,
                             const std::optional<PositionsMap>& stands) const;
  // An error: the home cannot be committed now; nothing has changed.
  Status Detach(TableBatch& table, Batch& batch, const std::string& reason, bool hold, BatchResult& result,
                std::stop_token stop);
  void Succeeded();
  void Told(const std::map<std::string, int64_t>& numbers);
  bool TooOld() const;
  Status CheckStoreClock();
  // Stops the batch when the store has another time.
  void NoteUpload(const WrittenFiles& written, BatchResult& result);
  Result<MapCommitResult> CommitRows(TableBatch& table, const Batch& batch, const WrittenFiles& written,
                                     std::stop_token stop);
  static void Forget(BatchResult& result, const std::string& table, const MapCommitResult& outcome);

  const PipelineOptions& options_;
  Home& home_;
  MapCommitter& committer_;
  env::Threads& threads_;
  // False: stop was requested, or the patience is over; `result` says which.
  bool Wait(Patience& patience, const Error& error, BatchResult& result, std::stop_token stop);

  Age first_upload_;
  bool store_clock_checked_ = false;
  mutable std::mutex mutex_;  // guards what follows
  std::map<std::string, int64_t> committed_;  // sequence numbers since the last checkpoint, by table
  std::string trouble_;
};

// Outages that pass by themselves; everything else is about this table or this configuration.
bool IsTransient(ErrorCode code);

}  // namespace firn::ingest
