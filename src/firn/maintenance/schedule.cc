#include "firn/maintenance/schedule.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

namespace firn::maintenance {
namespace {

constexpr int kDoublingsMax = 10;

// FNV-1a, of the job's name.
uint64_t HashOf(const Job& job) {
  uint64_t hash = 0xcbf29ce484222325;
  auto add = [&](std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  };
  add(job.table);
  add("\n");
  add(TaskName(job.task));
  return hash ^ (hash >> 32);
}

}  // namespace

std::string_view TaskName(Task task) {
  switch (task) {
    case Task::kRetain: return "retain";
    case Task::kExpire: return "expire";
    case Task::kManifests: return "manifests";
    case Task::kOrphans: return "orphans";
  }
  return "";
}

int64_t RetryMs(int64_t interval_ms, int failures, bool may_pass) {
  if (!may_pass) return interval_ms;
  const int doublings = std::clamp(failures - 1, 0, kDoublingsMax);
  return std::min(interval_ms, std::min(kTaskRetryMsMin << doublings, kTaskRetryMsMax));
}

bool MayPass(Task task, ErrorCode code) {
  switch (code) {
    case ErrorCode::kConflict: return task != Task::kManifests;
    case ErrorCode::kCommitStateUnknown:
    case ErrorCode::kUnavailable:
    case ErrorCode::kTimeout:
    case ErrorCode::kIoError:
    case ErrorCode::kCancelled: return true;
    default: return false;
  }
}

int64_t Schedule::IntervalMs(Task task) const {
  const auto found = intervals_.find(task);
  return found == intervals_.end() ? 0 : found->second;
}

void Schedule::SetJobs(const std::set<Job>& jobs, int64_t now_ms) {
  for (auto entry = states_.begin(); entry != states_.end();) {
    const auto next = std::next(entry);
    if (!jobs.contains(entry->first)) gone_.insert(states_.extract(entry));
    entry = next;
  }
  std::erase_if(gone_, [&](const auto& entry) { return entry.second.due_ms <= now_ms; });
  for (const Job& job : jobs) {
    if (auto back = gone_.extract(job)) states_.insert(std::move(back));
    const int64_t interval_ms = IntervalMs(job.task);
    if (interval_ms <= 0 || states_.contains(job)) continue;
    const int64_t half_ms = std::min(interval_ms, kFirstDueMsMax) / 2;
    const auto spread_ms = static_cast<int64_t>(HashOf(job) % static_cast<uint64_t>(half_ms + 1));
    states_[job].due_ms = now_ms + half_ms + spread_ms;
  }
}

std::optional<Job> Schedule::Due(int64_t now_ms) const {
  const std::pair<const Job, State>* longest = nullptr;
  for (const auto& entry : states_) {
    if (entry.second.due_ms > now_ms) continue;
    if (longest == nullptr || entry.second.due_ms < longest->second.due_ms) longest = &entry;
  }
  if (longest == nullptr) return std::nullopt;
  // Jobs of one table lie side by side, in the order of tasks.
  for (const Task task : kTasks) {
    const auto found = states_.find({longest->first.table, task});
    if (found != states_.end() && found->second.due_ms <= now_ms) return found->first;
  }
  return longest->first;
}

int64_t Schedule::NextMs() const {
  int64_t next_ms = std::numeric_limits<int64_t>::max();
  for (const auto& [job, state] : states_) next_ms = std::min(next_ms, state.due_ms);
  return next_ms;
}

std::optional<int64_t> Schedule::NextMs(const Job& job) const {
  const auto found = states_.find(job);
  return found == states_.end() ? std::nullopt : std::optional(found->second.due_ms);
}

void Schedule::Done(const Job& job, int64_t now_ms, std::optional<ErrorCode> error) {
  const auto found = states_.find(job);
  if (found == states_.end()) return;
  State& state = found->second;
  state.failures = error.has_value() ? state.failures + 1 : 0;
  const int64_t interval_ms = IntervalMs(job.task);
  const bool may_pass = error.has_value() && MayPass(job.task, *error);
  state.due_ms = now_ms + (error.has_value() ? RetryMs(interval_ms, state.failures, may_pass) : interval_ms);
}

}  // namespace firn::maintenance
