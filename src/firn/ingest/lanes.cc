#include "firn/ingest/lanes.h"

#include <algorithm>
#include <utility>

#include "firn/base/log.h"

namespace firn::ingest {

Lanes::Lanes(const PipelineOptions& options, const WorkerDependencies& dependencies, Home& home,
             MapCommitter& committer, WorkerMetrics& metrics, std::function<void()> on_end)
    : options_(options),
      deps_(dependencies),
      home_(home),
      committer_(committer),
      metrics_(metrics),
      on_end_(std::move(on_end)) {}

Lanes::~Lanes() {
  CancelAll();
  Wait();
}

void Lanes::StartWaiting(std::vector<LaneRequest> requests) {
  auto last_turn = [&](const LaneRequest& request) {
    auto found = turns_ms_.find(request.table);
    return found == turns_ms_.end() ? -1 : found->second;
  };
  std::ranges::stable_sort(requests, {}, last_turn);
  for (LaneRequest& request : requests) {
    if (!BacksOff(request.table) && !Start(std::move(request))) EndATurn();
  }
}

bool Lanes::Start(LaneRequest request) {
  const bool is_rejects = request.rule == nullptr;
  if (running_.size() + cancelled_.size() >= kLanesMax + (is_rejects ? 1 : 0)) return false;
  turns_ms_[request.table] = deps_.clock.BootMs();
  running_.push_back(std::make_unique<Lane>(options_, deps_, home_, committer_, metrics_, std::move(request), on_end_));
  running_.back()->Start();
  return true;
}

// The lane that has had a place for longest gives it up, if that was long enough. One at a time: it first commits what
// it has, or gives up.
void Lanes::EndATurn() {
  auto longest = std::ranges::find_if(running_, [](const auto& lane) { return lane->request().rule != nullptr; });
  if (longest == running_.end() || (*longest)->stopping()) return;
  if (deps_.clock.BootMs() - (*longest)->started_ms() < kLaneTurnMs) return;
  LogInfo("lane: others wait, so it goes on later", {{"table", (*longest)->request().table}});
  (*longest)->Stop();
}

bool Lanes::BacksOff(const std::string& table) const {
  auto found = backoffs_.find(table);
  return found != backoffs_.end() && deps_.clock.BootMs() < found->second.until_ms;
}

bool Lanes::Has(const std::string& table, stream::PartitionIndex partition) const {
  auto holds = [&](const auto& partitions) {
    return std::ranges::any_of(partitions, [&](const auto& each) { return each.index == partition; });
  };
  for (const auto& lane : running_) {
    if (lane->request().table == table && holds(lane->request().partitions)) return true;
  }
  return std::ranges::any_of(caught_up_,
                             [&](const CaughtUp& each) { return each.table == table && holds(each.partitions); });
}

void Lanes::SetGoals(const std::function<int64_t(stream::PartitionIndex)>& goal_of) {
  for (const auto& lane : running_) {
    std::vector<int64_t> goals;
    for (const LanePartition& partition : lane->request().partitions) goals.push_back(goal_of(partition.index));
    lane->SetGoals(goals);
  }
}

void Lanes::PutOff(const std::string& table) {
  backoffs_[table].until_ms = deps_.clock.BootMs() + kLaneBackoffMs;
  std::erase_if(caught_up_, [&](const CaughtUp& each) { return each.table == table; });
}

void Lanes::PutOffFor(const std::string& table, const LaneEnd& end) {
  if (end.held) return;  // what is left of it begins at once
  Backoff& backoff = backoffs_[table];
  if (end.kind == LaneEnd::Kind::kForgotten && ++backoff.forgotten < kLaneForgottenMax) return;
  backoff.forgotten = 0;
  backoff.until_ms = deps_.clock.BootMs() + kLaneBackoffMs;
}

void Lanes::Collect() {
  std::erase_if(cancelled_, [&](const std::unique_ptr<Lane>& lane) {
    if (!lane->TakeEnd().has_value()) return false;
    progress_.emplace_back(lane->request().table, lane->TakeProgress());
    return true;
  });
  std::erase_if(running_, [&](const std::unique_ptr<Lane>& lane) {
    const std::string& table = lane->request().table;
    std::optional<LaneEnd> end = lane->TakeEnd();
    progress_.emplace_back(table, lane->TakeProgress());
    if (!end.has_value()) return false;
    if (end->kind == LaneEnd::Kind::kCaughtUp) {
      backoffs_.erase(table);
      if (!end->partitions.empty()) caught_up_.push_back({table, end->partitions});
    } else {
      LogWarning("lane: the table has not caught up",
                 {{"table", table}, {"reason", end->reason}, {"partitions", lane->request().partitions.size()}});
      PutOffFor(table, *end);
    }
    if (end->kind != LaneEnd::Kind::kCaughtUp || end->held) ended_.push_back({lane->request(), std::move(*end)});
    return true;
  });
}

std::vector<std::pair<std::string, LaneProgress>> Lanes::TakeProgress() {
  Collect();
  return std::exchange(progress_, {});
}

std::vector<Lanes::Ended> Lanes::TakeEnded() {
  Collect();
  return std::exchange(ended_, {});
}

std::vector<Lanes::CaughtUp> Lanes::TakeCaughtUp() {
  return std::exchange(caught_up_, {});
}

void Lanes::Cancel(const std::vector<stream::PartitionIndex>& partitions) {
  auto hit = [&](const auto& of) {
    return std::ranges::any_of(of,
                               [&](const auto& each) { return std::ranges::count(partitions, each.index) > 0; });
  };
  for (auto lane = running_.begin(); lane != running_.end();) {
    auto next = std::next(lane);
    if (hit((*lane)->request().partitions)) {
      (*lane)->Stop();
      cancelled_.splice(cancelled_.end(), running_, lane);
    }
    lane = next;
  }
  std::erase_if(caught_up_, [&](const CaughtUp& each) { return hit(each.partitions); });
}

void Lanes::CancelAll() {
  for (const auto& lane : running_) lane->Stop();
  cancelled_.splice(cancelled_.end(), running_);
  caught_up_.clear();
}

void Lanes::Wait() {
  for (const auto& lane : cancelled_) {
    lane->Join();
    progress_.emplace_back(lane->request().table, lane->TakeProgress());
  }
  cancelled_.clear();
}

}  // namespace firn::ingest
