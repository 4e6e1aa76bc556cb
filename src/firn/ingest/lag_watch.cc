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
    auto round = watched_;
    for (const auto& [index, name] : round) {
      if (stop.stop_requested()) return;
      lock.unlock();
      int64_t asked_ms = clock_.WallMs();
      Result<stream::Watermarks> watermarks = source_.QueryWatermarks(name, kQueryTimeoutMs);
      lock.lock();
      if (watermarks.has_value()) ends_[index] = End{watermarks->end, asked_ms};
    }
    changed_.wait_for(lock, stop, std::chrono::milliseconds(kRoundMs), [] { return false; });
  }
}

}  // namespace firn::ingest
