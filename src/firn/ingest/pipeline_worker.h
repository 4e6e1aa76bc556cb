// PipelineWorker: the Worker's state machine. worker.h says what it does for callers; docs/formats/positions.md gives
// the rules that it follows.
//
// Three threads: the poll thread (Poller), the ingest thread (the caller of Run: events, routing, decoding, freezing of
// batches) and the commit thread (BatchCommitter). They meet in the Poller's queues and in the hand-over slot below.
// A detached table has a lane, with a thread of its own, that main (these three) takes over from when it has caught up.
// Everything without a mutex belongs to the ingest thread.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "firn/ingest/batch_commit.h"
#include "firn/ingest/lag_watch.h"
#include "firn/ingest/lanes.h"
#include "firn/ingest/memory_budget.h"
#include "firn/ingest/poller.h"
#include "firn/ingest/rules.h"
#include "firn/ingest/sinks.h"
#include "firn/ingest/spill.h"
#include "firn/ingest/worker.h"
#include "firn/ingest/worker_metrics.h"

namespace firn::ingest {

class PipelineWorker : public Worker {
 public:
  PipelineWorker(PipelineOptions options, WorkerDependencies dependencies, std::unique_ptr<Router> router);
  ~PipelineWorker() override;
  Result<RunResult> Run(std::stop_token stop, bool until_caught_up) override;
  WorkerStatus status() const override;
  PipelineShare share() const override;

 private:
  struct Partition {
    stream::SourcePartition name;
    PartitionKey key;
    bool owned = false;
    bool releasing = false;
    std::string trouble;         // not empty: paused, and why
    bool awaits_rejects = false;  // stands before a record that only the rejects table can take, which is in its lane
    bool started = false;        // it is read from; `read` and what follows hold
    uint64_t start_order = 0;    // chunks that were polled before this order belong to an earlier assignment
    stream::Position read;       // everything below is decoded or skipped
    int32_t epoch_seen = -1;     // the newest leader epoch of what was read; `read` forgets it where it may be too old
    int64_t home_offset = 0;     // H when it was started, or where main was when it was sent back for a table
    int64_t home_believed = 0;   // H, moved by own checkpoints alone; what a checkpoint claims from
    int64_t in_doubt_below = 0;  // after a change of the rules
    int64_t target_end = -1;     // what was readable when it was first assigned (until_caught_up)
    int64_t home_seen = 0;       // H of a partition that somebody else owns now (until_caught_up)
  };

  // Assignment (pipeline_worker_assignment.cc)
  Status OpenHome();
  Status StartPartitions(const std::vector<stream::PartitionIndex>& partitions, bool seek);
  Status OpenSinks();
  Status OpenWanted(Sink& sink);
  void TakePartAgain(Sink& sink);
  Status DetachSink(Sink& sink, const std::string& reason, bool hold);
  Result<std::set<std::string>> TablesGivenUp(const PositionsMap& home_map);
  Status AdoptRules();
  void ResetIfMovedByOthers(const std::vector<stream::PartitionIndex>& fresh);
  void SetSkip(Sink& sink, stream::PartitionIndex index, const PositionsMap& home_map);
  stream::Position StartOf(stream::PartitionIndex partition, const PositionsMap& home_map);
  Status Reset(const std::string& reason);
  // Tries again what fails for a reason that may pass, for at most `patience_ms`.
  Status RetryTransient(const std::string& what, const std::function<Status()>& step, int64_t patience_ms = INT64_MAX);
  Partition& Of(stream::PartitionIndex index);
  std::vector<stream::PartitionIndex> Owned() const;

  // The loop (pipeline_worker.cc)
  Status Loop();
  Status HandleEvent(Poller::Polled polled);
  Status OnAssigned(const stream::PartitionsAssigned& event);
  void OnRevoked(const stream::PartitionsRevoked& event);
  Status OnLost(const stream::PartitionsLost& event);
  Status TakeCommitResult();
  Status AfterCommit(BatchResult result);
  void LetGoWhatWasTakenIn();
  void CloseDetached(const BatchResult& result);
  void CountCommitted(const BatchResult& result);
  bool FlushWanted() const;
  bool HasCaughtUp(const Sink& sink, stream::PartitionIndex index) const;
  bool NothingToFlush() const;
  // The batch is large enough to be committed: "rows", "bytes" or "memory"; empty: it is not.
  std::string_view DueBySize() const;
  void MaybeFreeze();
  Batch Freeze(bool checkpoint);
  Status ReleaseWhenFlushed();
  bool CaughtUp() const;
  Status WatchPartitionsOfOthers();
  void RefreshPlans();
  void UpdatePace();
  void LetGo(stream::PartitionIndex index);
  Status CheckDeadlines();
  void PublishStatus();
  void PublishStatusWhenDue();
  void PublishShare(const PositionsMap& home_map);
  void PublishGroupOffsets();

  // Detached tables and their lanes (pipeline_worker_lanes.cc)
  Status TendLanes();
  void TakeLaneProgress();
  void TakeLaneEnds();
  void StartLanes();
  void LookAtHeld();
  void OnDetached(Sink& sink);
  void SeeDetached();
  void ReadOnWithRejects();
  void SeeDetachedByOthers(const PositionsMap& home_map);
  int64_t SurelyRejectedBelow(stream::PartitionIndex index, const PositionsMap& home_map);
  bool ReadyToTakeIn();
  bool OpenToTakeIn(Sink& sink);
  void TakeIn();
  void SendBack(stream::PartitionIndex index, stream::Position to, const std::set<const Sink*>& for_whom);
  void FreezeDetached(Batch& batch, const PositionsMap& home_map);
  void FreezeRejected(TableBatch& rejects);
  void DescribeDetached(const PositionsMap& home_map, WorkerStatus& status);

  // Records (pipeline_worker_records.cc)
  void HandleChunk(const stream::RecordChunk& chunk, uint64_t orders_done);
  double PackFullSlabs();
  bool Takes(const Partition& partition, uint64_t orders_done) const;
  static bool EpochWentBack(const stream::Record& record, Partition& partition);
  void HandleRecord(const stream::Record& record, Partition& partition);
  Sink* SinkFor(const stream::Record& record, Partition& partition, decode::Reject& reject);
  bool WasJudged(const stream::Record& record, const Partition& partition) const;
  bool RejectStillOwed(const stream::Record& record, const Partition& partition);
  // `catching_up`: written even where the rejects table is ahead already.
  void RejectRecord(const stream::Record& record, Partition& partition, const decode::Reject& reject,
                    const std::string& intended_table, bool catching_up);
  Sink* OpenedSink(const std::string& table, const TableRule* rule, const Partition& partition, decode::Reject& reject);
  bool RejectsWait() const;  // the rejects table is detached for a partition of ours
  bool IsDetachedForAllOwned(const PositionsMap& home_map, const std::string& table) const;
  Status OpenOrClose(Sink& sink);
  Status OpenMetTable(Sink& sink, decode::Reject& reject);

  // Commit thread
  void CommitThread(std::stop_token stop);

  const PipelineOptions options_;
  WorkerDependencies deps_;
  std::unique_ptr<Router> router_;
  const std::string rules_hash_;
  MapCommitter committer_;
  Home home_;
  MemoryBudget memory_;
  Spill spill_;
  Sinks sinks_;
  BatchCommitter batch_committer_;
  Poller poller_;
  LagWatch lag_;
  WorkerMetrics metrics_;

  std::vector<Partition> partitions_;
  std::vector<Sink*> route_by_partition_;  // when the rules look at the topic only
  Route route_;                            // reused for each record
  std::set<stream::PartitionIndex> releasing_;
  bool release_flush_started_ = false;
  int64_t release_deadline_ms_ = 0;
  bool assigned_once_ = false;
  bool until_caught_up_ = false;
  bool stopping_ = false;
  int64_t stop_deadline_ms_ = 0;
  std::stop_token stop_;
  bool reset_wanted_ = false;
  std::string reset_reason_;
  std::optional<Error> fatal_;               // stop after what is decoded is committed (rejects: stop)
  std::map<std::string, uint64_t> dropped_;  // since the last checkpoint
  int64_t commit_interval_ms_ = 0;      // effective: see CommitPace
  int64_t checkpoint_interval_ms_ = 0;  // likewise
  int64_t batch_started_ms_ = 0;
  int64_t last_checkpoint_ms_ = 0;
  int64_t last_status_ms_ = 0;
  bool told_of_memory_ = false;  // that commits come early
  int64_t last_share_ms_ = -1;  // negative: now
  int64_t others_asked_ms_ = 0;
  int64_t others_moved_ms_ = 0;
  bool rules_adopted_ = false;
  // What the batch under way claims, to be believed when it is done.
  struct InFlight {
    Sink* sink;  // null: the home
    stream::PartitionIndex partition;
    int64_t to;
  };
  std::vector<InFlight> in_flight_;
  std::vector<std::pair<Sink*, stream::PartitionIndex>> in_flight_rejected_;  // marks in the rejects table that move
  void ForgetBuffered() {
    sinks_.DiscardAll();
    rejects_pending_.clear();
    rejects_cannot_wait_ = false;
  }
  // Tables that were detached while rejects of theirs waited for the next batch: it marks how far they reach.
  std::vector<InFlight> rejects_pending_;
  bool rejects_cannot_wait_ = false;  // of those that are buffered, as Batch has it
  // How far lanes have committed: the next checkpoint says so in the entries.
  struct LaneReached {
    int64_t since_ms = 0;  // of the entry that the lane worked for
    int64_t rejected_below = 0;
    int64_t rows_below = 0;
  };
  std::map<std::pair<std::string, stream::PartitionIndex>, LaneReached> rejected_until_;
  bool lanes_settled_ = false;  // nothing catches up, nor could begin to
  bool lanes_changed_ = false;  // look soon which may begin
  int64_t lanes_looked_ms_ = 0;
  int64_t held_looked_ms_ = 0;
  std::map<std::pair<std::string, std::string>, int64_t> retention_warned_ms_;
  std::vector<int64_t> mismatch_times_ms_;
  bool flushed_everything_ = false;  // the last finished batch held all there was, home included
  uint64_t bytes_decoded_since_look_ = 0;
  StageTimes stages_;

  // Hand-over to the commit thread: one batch at a time.
  bool commit_in_flight_ = false;
  const std::unique_ptr<env::Monitor> handing_over_;  // guards the slot
  std::optional<Batch> batch_in_;
  std::optional<BatchResult> batch_out_;
  std::stop_source commit_stop_;
  std::unique_ptr<env::Thread> commit_thread_;

  mutable std::mutex status_mutex_;
  WorkerStatus status_;    // guarded by status_mutex_
  PipelineShare share_;    // likewise
  WorkerStatus counters_;  // the ingest thread's own

  Lanes lanes_;  // last: its threads use what is above
};

}  // namespace firn::ingest
