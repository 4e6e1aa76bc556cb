#include "firn/ingest/lag_watch.h"

#include <mutex>

namespace firn::ingest {
namespace {

constexpr int64_t kRoundMs = 2'000;
constexpr int64_t kQueryTimeoutMs = 5'000;
constexpr int64_t kExtentMs = 30'000;
constexpr size_t kExtentsOfRoundMax = 16;

}  // namespace

LagWatch::LagWatch(stream::RecordSource& source, env::Clock& clock, env::Threads& threads)
    : source_(source), clock_(clock), threads_(threads), monitor_(threads.MakeMonitor()) {}

LagWatch::~LagWatch() {
  if (thread_ == nullptr) return;
  std::lock_guard lock(*monitor_);
  thread_->RequestStop();
  monitor_->NotifyAll();
}

void LagWatch::Start() {
  thread_ = threads_.Start("firn-lag", [this](std::stop_token stop) { Run(stop); });
}

void LagWatch::Watch(std::vector<std::pair<stream::PartitionIndex, stream::SourcePartition>> partitions) {
  std::lock_guard lock(*monitor_);
  watched_ = std::move(partitions);
  std::map<stream::PartitionIndex, End> kept;
  for (const auto& [index, name] : watched_) {
    if (auto found = ends_.find(index); found != ends_.end()) kept.insert(*found);
  }
  ends_ = std::move(kept);
  watched_is_new_ = true;
  monitor_->NotifyAll();
}

std::optional<LagWatch::End> LagWatch::EndOf(stream::PartitionIndex partition) const {
  std::lock_guard lock(*monitor_);
  auto found = ends_.find(partition);
  if (found == ends_.end()) return std::nullopt;
  return found->second;
}

void LagWatch::WatchExtents(std::set<stream::PartitionIndex> partitions) {
  std::lock_guard lock(*monitor_);
  extents_wanted_ = std::move(partitions);
  std::erase_if(extents_, [&](const auto& extent) { return !extents_wanted_.contains(extent.first); });
}

std::optional<stream::Watermarks> LagWatch::ExtentOf(stream::PartitionIndex partition) const {
  std::lock_guard lock(*monitor_);
  auto found = extents_.find(partition);
  if (found == extents_.end()) return std::nullopt;
  return found->second.watermarks;
}

std::vector<std::pair<stream::PartitionIndex, stream::SourcePartition>> LagWatch::ExtentsDue() const {
  std::vector<std::pair<stream::PartitionIndex, stream::SourcePartition>> due;
  const int64_t now_ms = clock_.BootMs();
  for (const auto& [index, name] : watched_) {
    if (!extents_wanted_.contains(index) || due.size() >= kExtentsOfRoundMax) continue;
    auto known = extents_.find(index);
    if (known == extents_.end() || now_ms - known->second.asked_ms >= kExtentMs) due.emplace_back(index, name);
  }
  return due;
}

void LagWatch::Run(std::stop_token stop) {
  std::unique_lock lock(*monitor_);
  while (!stop.stop_requested()) {
    watched_is_new_ = false;
    const auto round = watched_;
    std::vector<stream::SourcePartition> names;
    for (const auto& [index, name] : round) names.push_back(name);
    const auto due = ExtentsDue();
    lock.unlock();
    const int64_t asked_ms = clock_.WallMs();
    auto ends = source_.QueryEnds(names, kQueryTimeoutMs);
    std::map<stream::PartitionIndex, Extent> extents;
    for (const auto& [index, name] : due) {
      if (stop.stop_requested()) break;
      auto watermarks = source_.QueryWatermarks(name, kQueryTimeoutMs);
      if (watermarks.has_value()) extents[index] = Extent{*watermarks, clock_.BootMs()};
    }
    lock.lock();
    for (const auto& [index, extent] : extents) {
      if (extents_wanted_.contains(index)) extents_[index] = extent;
    }
    for (size_t i = 0; ends.has_value() && !watched_is_new_ && i < round.size(); ++i) {
      if ((*ends)[i].has_value()) ends_[round[i].first] = End{*(*ends)[i], asked_ms};
    }
    const int64_t until_ms = clock_.BootMs() + kRoundMs;
    while (!watched_is_new_ && !stop.stop_requested() && clock_.BootMs() < until_ms) {
      monitor_->WaitMs(until_ms - clock_.BootMs());
    }
  }
}

}  // namespace firn::ingest
