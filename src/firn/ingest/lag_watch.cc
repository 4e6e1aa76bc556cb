#include "firn/ingest/lag_watch.h"

#include <pthread.h>

namespace firn::ingest {
namespace {

constexpr int64_t kRoundMs = 2'000;
constexpr int64_t kQueryTimeoutMs = 5'000;

}  // namespace

LagWatch::LagWatch(stream::RecordSource& source, env::Clock& clock) : source_(source), clock_(clock) {}

LagWatch::~LagWatch() = default;

void LagWatch::Start() {
  thread_ = std::jthread([this](std::stop_token stop) {
    pthread_setname_np(pthread_self(), "firn-lag");
    Run(stop);
  });
}

void LagWatch::Watch(std::vector<std::pair<stream::PartitionIndex, stream::SourcePartition>> partitions) {
  std::lock_guard lock(mutex_);
  watched_ = std::move(partitions);
  std::map<stream::PartitionIndex, End> kept;
  for (const auto& [index, name] : watched_) {
    if (auto found = ends_.find(index); found != ends_.end()) kept.insert(*found);
  }
  ends_ = std::move(kept);
  watched_is_new_ = true;
  changed_.notify_all();
}

std::optional<LagWatch::End> LagWatch::EndOf(stream::PartitionIndex partition) const {
  std::lock_guard lock(mutex_);
  auto found = ends_.find(partition);
  if (found == ends_.end()) return std::nullopt;
  return found->second;
}

void LagWatch::Run(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    watched_is_new_ = false;
    const auto round = watched_;
    std::vector<stream::SourcePartition> names;
    for (const auto& [index, name] : round) names.push_back(name);
    lock.unlock();
    const int64_t asked_ms = clock_.WallMs();
    auto ends = source_.QueryEnds(names, kQueryTimeoutMs);
    lock.lock();
    for (size_t i = 0; ends.has_value() && !watched_is_new_ && i < round.size(); ++i) {
      if ((*ends)[i].has_value()) ends_[round[i].first] = End{*(*ends)[i], asked_ms};
    }
    changed_.wait_for(lock, stop, std::chrono::milliseconds(kRoundMs), [&] { return watched_is_new_; });
  }
}

}  // namespace firn::ingest
