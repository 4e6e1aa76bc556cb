// Schedule: when which task of maintenance is due for which table.
//
// Pure: times come in as values (Clock::BootMs). Nothing of it outlives the process: after a start, and when a table
// comes over from another worker, its tasks are due after a while that differs from table to table, so that a restart
// of many workers does not have all of them list all tables at once. A table that comes back keeps its times.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "firn/base/error.h"

namespace firn::maintenance {

// In the order in which those of one table go: each makes work for the next.
enum class Task : uint8_t { kRetain, kExpire, kManifests, kOrphans };
inline constexpr std::array kTasks = {Task::kRetain, Task::kExpire, Task::kManifests, Task::kOrphans};
std::string_view TaskName(Task task);  // "retain", "expire", "manifests", "orphans": the keys of the configuration

// The first time comes in the second half of this, or of the interval where that is shorter.
inline constexpr int64_t kFirstDueMsMax = 10 * 60'000;
// A failure that may pass is tried again after this, doubled each time, but no later than after the interval.
inline constexpr int64_t kTaskRetryMsMin = 60'000;
inline constexpr int64_t kTaskRetryMsMax = 30 * 60'000;

struct Job {
  std::string table;
  Task task = Task::kExpire;
  auto operator<=>(const Job&) const = default;
};

// How long to wait after `failures` of them in a row; `may_pass`: another try may end otherwise though nobody does
// anything about it.
int64_t RetryMs(int64_t interval_ms, int failures, bool may_pass);
// A lost race, a server that is away. What somebody has to mend comes with the interval.
// Clustering that has lost its race comes with the interval too: another try does all of its work again.
bool MayPass(Task task, ErrorCode code);

class Schedule {
 public:
  using Intervals = std::map<Task, int64_t>;  // 0 or absent: never

  explicit Schedule(Intervals intervals) : intervals_(std::move(intervals)) {}

  // Which jobs there are: those that are new get their first time, those that are gone are forgotten once they would
  // have been due, until when they may come back.
  void SetJobs(const std::set<Job>& jobs, int64_t now_ms);
  // Of the table that has waited longest, the first task that is due; nullopt: nothing is.
  std::optional<Job> Due(int64_t now_ms) const;
  // When the next one is due; the largest number: none is to come.
  int64_t NextMs() const;
  std::optional<int64_t> NextMs(const Job& job) const;
  // It was done, or has failed with this.
  void Done(const Job& job, int64_t now_ms, std::optional<ErrorCode> error);

 private:
  struct State {
    int64_t due_ms = 0;
    int failures = 0;
  };
  int64_t IntervalMs(Task task) const;

  Intervals intervals_;
  std::map<Job, State> states_;
  std::map<Job, State> gone_;
};

}  // namespace firn::maintenance
