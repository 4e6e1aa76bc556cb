// Lane: one table catching up on some source partitions that it is detached for, with a consumer of its own, while the
// pipeline's main way goes on without it (docs/adr/0005, positions.md section 5.9).
//
// A thread of its own polls, decodes and commits, one after the other. It ends when it has caught up with where main
// reads, or when it cannot go on; then whoever owns it (Lanes, on the ingest thread) takes the end. The public members
// belong to that thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "firn/ingest/batch_commit.h"
#include "firn/ingest/sinks.h"
#include "firn/ingest/table_intake.h"
#include "firn/ingest/worker.h"
#include "firn/ingest/worker_metrics.h"

namespace firn::ingest {

// Of memory.limit, for one lane.
inline constexpr int64_t kLaneShareOfMemory = 16;

struct LanePartition {
  stream::PartitionIndex index = 0;
  stream::SourcePartition name;
  PartitionKey key;
  int64_t since_ms = 0;        // of the home's entry
  int64_t rejected_below = 0;  // likewise
  int64_t goal = 0;            // where main reads
};

struct LaneRequest {
  std::string table;
  const TableRule* rule = nullptr;  // null: the rejects table
  std::vector<LanePartition> partitions;
};

struct LaneEnd {
  enum class Kind : uint8_t {
    kCaughtUp,   // `partitions` are what main may take in; those that had to be held are not among them
    kForgotten,  // somebody else moved positions, or a batch was too old: worth starting again
    kFailed,     // worth trying again later
    kStopped,
    kFatal,  // the worker must not go on: `error`
  } kind = Kind::kStopped;
  std::string reason;
  std::optional<Error> error;
  struct Partition {
    stream::PartitionIndex index = 0;
    int64_t since_ms = 0;        // of the home's entry, when the lane began
    int64_t believed = 0;        // T
    stream::Position read;       // every row below is committed
    int64_t rejected_below = 0;  // every reject below is committed
    int64_t rejected = kNoMark;  // what the rejects table's map says of that
  };
  std::vector<Partition> partitions;
  bool held = false;       // some partitions are on hold in the home now
  std::string blocked_by;  // another table, which the lane needs, cannot be opened
};

// Since it was last asked.
struct LaneProgress {
  std::vector<BatchResult> batches;
  uint64_t records = 0;
  std::map<std::string, uint64_t> dropped;  // by reject code, of committed batches
  std::vector<LaneEnd::Partition> committed;
};

class Lane {
 public:
  Lane(const PipelineOptions& options, const WorkerDependencies& dependencies, Home& home, MapCommitter& committer,
       WorkerMetrics& metrics, LaneRequest request, std::function<void()> on_end);
  ~Lane();  // stops it and waits

  void Start();
  void Stop();  // does not wait
  bool stopping() const { return stopping_; }
  void Join();  // waits for its end
  // In the order of the request's partitions.
  void SetGoals(const std::vector<int64_t>& goals);
  LaneProgress TakeProgress();
  std::optional<LaneEnd> TakeEnd();
  const LaneRequest& request() const { return request_; }
  int64_t started_ms() const { return started_ms_; }

 private:
  struct At {
    LanePartition partition;
    size_t number = 0;  // in the request
    stream::Position read;
    int32_t epoch_seen = -1;
    int64_t believed = 0;
    int64_t rejected_below = 0;
    int64_t rejected = kNoMark;
    int64_t has_rows_below = 0;  // T, or H when it was detached: it has all its rows below
    int64_t doubt_from = 0;      // from here to below there, what the table is ahead of may have gone elsewhere by
    int64_t doubt_below = 0;     // the rules of before
    int64_t goal = 0;
    bool reads = true;
    bool waits = false;  // at a record that main has not met: how its table stands will be known then
    std::optional<bool> is_routed_here;  // when the rules look at the topic only
  };

  // The lane's thread.
  LaneEnd Run(std::stop_token stop);
  Status CatchUp(std::stop_token stop);
  Status Open(std::stop_token stop);
  Status OpenSource();
  void ReadOnWhereMainHas();
  Status HoldWhatRetentionOvertook(std::stop_token stop);
  void TakeGoals();
  bool Reached() const;
  Status HandleEvent(stream::SourceEvent event, std::stop_token stop);
  Status OnTrouble(const stream::PartitionTrouble& trouble, std::stop_token stop);
  Status HandleChunk(const stream::RecordChunk& chunk, std::stop_token stop);
  Status HandleRecord(const stream::Record& record, At& at);
  Status HandleForRejects(const stream::Record& record, At& at);
  Status DecodeForRejects(const stream::Record& record, At& at);
  bool MustWait(const stream::Record& record, const At& at);
  Status RequireUnlisted(const std::string& table);
  Status RejectRecord(const stream::Record& record, const At& at, const decode::Reject& reject,
                      const std::string& intended_table);
  bool CommitDue() const;
  Status Commit(std::stop_token stop);
  Batch Freeze(bool& claims_rows, bool& claims_rejects);
  Status AfterCommit(BatchResult result, bool claimed_rows, bool claimed_rejects, std::stop_token stop);
  At* Find(stream::PartitionIndex index);
  int64_t buffered_rows() const;
  bool writes_rejects() const { return !target_->is_rejects() && rejects_ != nullptr; }

  const PipelineOptions& options_;
  const WorkerDependencies deps_;
  Home& home_;
  MapCommitter& committer_;
  WorkerMetrics& metrics_;
  const LaneRequest request_;
  const std::function<void()> on_end_;
  int64_t started_ms_ = 0;
  bool stopping_ = false;

  // The lane's thread alone.
  std::unique_ptr<Router> router_;
  MemoryBudget memory_;  // the lane's own; nothing is spilled
  Spill spill_;
  Sinks sinks_;
  BatchCommitter batch_committer_;
  Sink* target_ = nullptr;
  Sink* rejects_ = nullptr;  // null: no rejects table, or it is the target
  PositionsMap home_map_;    // when the lane began
  std::set<std::string> unlisted_;  // tables that the home was asked about since, and did not list
  std::unique_ptr<stream::LaneSource> source_;
  std::vector<At> at_;
  Route route_;
  std::map<std::string, uint64_t> dropped_;
  std::optional<Error> stopped_by_reject_;
  LaneEnd::Kind failure_kind_ = LaneEnd::Kind::kFailed;
  bool held_ = false;
  std::string blocked_by_;
  int64_t batch_started_ms_ = 0;
  int64_t moved_ms_ = 0;  // when it last read on

  const std::unique_ptr<env::Monitor> monitor_;  // guards what follows
  std::vector<int64_t> goals_;
  LaneProgress progress_;
  std::optional<LaneEnd> end_;

  std::unique_ptr<env::Thread> thread_;
};

}  // namespace firn::ingest
