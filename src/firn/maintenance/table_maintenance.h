// TableMaintenance: the tasks of maintenance at their intervals, in the queue of a compaction loop (DESIGN 6).
//
// The loop's thread does one task after another; status() may be called from any thread. Each table is maintained by
// one worker: the one whose share has the table's own number. Two that are of two minds for a moment do no harm: every
// change is a compare-and-swap on the table as it is, and a file that is gone counts as deleted. Nothing that fails
// reaches anybody else: it is logged, counted, stands in the status until the task has succeeded, and is tried again.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/compaction/cpu_pace.h"
#include "firn/compaction/loop.h"
#include "firn/maintenance/commit_loop.h"
#include "firn/maintenance/maintenance_metrics.h"
#include "firn/maintenance/retention.h"
#include "firn/maintenance/schedule.h"

namespace firn::maintenance {

struct MaintenanceOptions {
  Schedule::Intervals interval_ms;
  int64_t orphans_older_than_ms = 3 * 24 * 3'600'000LL;
  int64_t commit_max_age_ms = 6 * 3'600'000LL;
  int64_t memory_bytes = std::numeric_limits<int64_t>::max();  // for the entries of the table that is clustered
  // Field and age of a table whose old partitions are to leave it; without it none does.
  std::function<std::optional<RetentionOptions>(const std::string& table)> retention;
  // Tables beside those that the loop compacts: a pipeline's home.
  std::vector<iceberg::TableIdentifier> also;
};

// What a task has freed; of kRetain: what has left the table and is freed when its snapshots expire.
struct Freed {
  int64_t files = 0;
  int64_t bytes = 0;
  int64_t snapshots = 0;
  int64_t partitions = 0;
  int64_t rows = 0;
  int64_t manifests = 0;

  void Add(const Freed& other);
  std::map<std::string, int64_t> ByName() const;  // those that are not 0
};

struct TaskOutcome {
  Freed freed;
  std::optional<Error> error;  // what ended it; `freed` was freed before
};

struct TaskStatus {
  int64_t runs = 0;     // since the process started
  int64_t last_ms = 0;  // when one succeeded, by the wall clock; 0: none has
  int64_t next_ms = 0;
  Freed freed;                 // by all of them
  std::optional<Error> error;  // of the last run; it goes when one succeeds
  int64_t error_since_ms = 0;
  int64_t failures = 0;  // in a row
};
using MaintenanceStatus = std::map<std::string, std::map<Task, TaskStatus>>;  // by table

// One task on one table, with the rules of the loop: tables that are not there, and for what is on by default those
// that Firn does not write or whose files and snapshots are not its to judge, are no errors and are left alone.
TaskOutcome RunTask(const MaintenanceParts& parts, const MaintenanceOptions& options, Task task,
                    const iceberg::TableIdentifier& table, const std::function<bool()>& pause, std::stop_token stop);

class TableMaintenance final : public compaction::SideWork {
 public:
  using PauseFn = std::function<bool()>;
  using RunFn = std::function<TaskOutcome(Task task, const iceberg::TableIdentifier& table, const PauseFn& pause,
                                          std::stop_token stop)>;

  // `run` is RunTask but in tests.
  TableMaintenance(MaintenanceOptions options, MaintenanceParts parts, metrics::Registry& registry,
                   metrics::Labels labels, RunFn run = nullptr,
                   std::function<double()> cpu_seconds = compaction::ThreadCpuSeconds);

  void SetScope(const compaction::LoopScope& scope) override;
  int64_t NextMs() const override { return schedule_.NextMs(); }
  void DoNext(const PauseFn& pause, std::stop_token stop) override;
  MaintenanceStatus status() const;

 private:
  void Report(const Job& job, const TaskOutcome& outcome, double cpu_s);

  const MaintenanceOptions options_;
  const MaintenanceParts parts_;
  MaintenanceMetrics metrics_;
  const RunFn run_;
  const std::function<double()> cpu_seconds_;
  Schedule schedule_;
  std::set<Job> jobs_;
  std::map<std::string, iceberg::TableIdentifier> tables_;

  mutable std::mutex mutex_;
  MaintenanceStatus status_;  // guarded by mutex_
};

}  // namespace firn::maintenance
