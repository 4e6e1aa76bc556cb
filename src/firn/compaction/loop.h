// CompactionLoop: compaction that goes on: looks at tables again and again, queues the groups that the picker finds,
// and works through them one after the other within a share of one core.
//
// Run is one thread's, which is the loop; Start gives it a thread of its own ("firn-compact"). status() may be called
// from any thread. Nothing that fails here reaches anybody else: it is logged, counted, and the table is tried again
// later. A stop request ends it within the merge of one input; what is merged by then is committed, if the catalog
// takes it at once.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/compaction/cpu_pace.h"
#include "firn/compaction/loop_metrics.h"
#include "firn/compaction/table_compaction.h"
#include "firn/env/threads.h"

namespace firn::compaction {

// Refused files that are remembered for each table, so that they are not read again at every look: a table with more of
// them is left alone.
inline constexpr size_t kRefusedFilesMax = 200'000;
// Files that plans hold at the same time: the look at further tables waits; and of one plan, but for its first group.
inline constexpr size_t kPlannedFilesMax = 20'000;
inline constexpr size_t kPlanFilesMax = 5'000;
// After failures a table is looked at after the interval, doubled each time up to this.
inline constexpr int64_t kTableBackoffMsMax = 30 * 60'000;
// A table that does not change is looked at up to so many times more rarely.
inline constexpr int64_t kQuietIntervals = 8;
// Merged groups whose commit fails for a reason that may pass: so many calls of Commit, this long apart at most.
inline constexpr int kCommitTriesMax = 6;
inline constexpr int64_t kCommitWaitMsMax = 30'000;

struct LoopOptions {
  int64_t interval_ms = 60'000;  // between two looks at a table
  int64_t cold_after_ms = 30 * 60'000;
  size_t files_min = 8;
  CpuShareLimits cpu_share;
  int64_t memory_bytes = 64 << 20;  // PlanOptions::memory_bytes
  int64_t output_age_ms_max = 6 * 3'600'000;
  size_t refused_files_max = kRefusedFilesMax;  // of each table
};

// What the loop is to look after; asked anew at each look. Shares are parts of the work: each partition of each table
// belongs to one of `shares`, whoever counts them, and this process does those in `mine`. Two processes that are of two
// minds do work twice, and one of them drops it.
struct LoopScope {
  std::vector<iceberg::TableIdentifier> tables;
  int64_t shares = 1;
  std::set<int64_t> mine = {0};
};
int64_t ShareOf(const std::string& table, int32_t spec_id, const std::string& partition_path, int64_t shares);

// Other work on the loop's tables, as maintenance: done by the loop's thread, one piece after each commit of merged
// files, so that neither waits for more than one piece of the other; and within the loop's share of one core.
class SideWork {
 public:
  virtual ~SideWork() = default;
  // After each look at what there is to look after.
  virtual void SetScope(const LoopScope& scope) = 0;
  // When something is due, by the loop's clock; the largest number: nothing is to come.
  virtual int64_t NextMs() const = 0;
  // One piece of what is due. `pause` is called between steps and holds the thread to the share; false: stop.
  virtual void DoNext(const std::function<bool()>& pause, std::stop_token stop) = 0;
};

// What stands in the way of a table's compaction: the last error, until a look or its work has gone well.
struct TableError {
  Error error;
  int64_t since_ms = 0;  // of the first in a row
  int64_t failures = 0;  // in a row
};

struct LoopStatus {
  int32_t tables = 0;
  int64_t backlog_groups = 0;  // picked, not done
  int64_t backlog_files = 0;
  int64_t backlog_bytes = 0;
  double cpu_share = 0;
  double bytes_per_cpu_second = 0;  // of groups like the last ones; 0: none yet
  int64_t files_before = 0;         // since start, of groups that were committed
  int64_t files_after = 0;
  int64_t bytes_before = 0;
  int64_t bytes_after = 0;
  int64_t commits = 0;
  int64_t errors = 0;
  double cpu_s = 0;
  std::string last_error;  // with its table
  int64_t last_error_ms = 0;
  std::map<std::string, TableError> table_errors;  // by table; "": what there is to do is not known
};

class CompactionLoop {
 public:
  using ScopeFn = std::function<Result<LoopScope>()>;
  // After each commit: the table and what was done for it since the last look at it.
  using ReportFn = std::function<void(const std::string& table, const CompactionReport& report)>;

  CompactionLoop(const LoopOptions& options, CompactionParts parts, ScopeFn scope, metrics::Registry& registry,
                 const metrics::Labels& labels, ReportFn tell = nullptr);
  ~CompactionLoop();

  // Before Run or Start; it outlives the loop.
  void SetSideWork(SideWork* work) { side_work_ = work; }
  void Run(std::stop_token stop);
  void Start(env::Threads& threads);
  void RequestStop();
  LoopStatus status() const;

 private:
  struct Table {
    iceberg::TableIdentifier identifier;
    int64_t look_at_ms = 0;
    int failures = 0;
    int64_t quiet_looks = 0;  // in a row, without a change of the table
    std::optional<SnapshotId> seen;
    int64_t seen_ms = 0;
    std::optional<TablePlan> plan;
    // Of all groups that were picked, more than the plan keeps.
    int64_t groups = 0;
    int64_t files = 0;
    int64_t bytes = 0;
    RefusedFiles refused;
  };

  void LookAtScope();
  std::vector<Table*> DueTables();
  void Look(Table& table);
  bool MayHaveWork(Table& table, const iceberg::TableMetadata& metadata) const;
  Table* NextWithPlan();
  void Work(Table& table, const std::stop_token& stop);
  Status MergeAndCommit(TableCompaction& compaction, const std::stop_token& stop);
  Status CommitPatiently(TableCompaction& compaction, const std::stop_token& stop);
  void Remember(Table& table, const TableCompaction& compaction);
  void DoSideWork(const std::stop_token& stop);
  void Failed(Table* table, const Error& error);
  void WentWell(Table& table);
  void SetShare();
  void Publish();
  int64_t NextLookMs() const;

  const LoopOptions options_;
  const CompactionParts parts_;
  const ScopeFn scope_fn_;
  LoopMetrics metrics_;
  const ReportFn tell_;
  SideWork* side_work_ = nullptr;
  std::map<std::string, Table> tables_;
  size_t planned_files_ = 0;
  LoopScope scope_;
  int scope_failures_ = 0;
  int64_t scope_at_ms_ = 0;
  std::unique_ptr<CpuPace> pace_;  // of the thread that runs
  CostModel cost_;
  LoopStatus totals_;  // the loop's own

  mutable std::mutex mutex_;
  LoopStatus status_;  // guarded by mutex_
  std::unique_ptr<env::Thread> thread_;
};

}  // namespace firn::compaction
