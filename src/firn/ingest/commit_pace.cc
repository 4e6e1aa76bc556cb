#include "firn/ingest/commit_pace.h"

#include <algorithm>
#include <vector>

#include "firn/ingest/history.h"

namespace firn::ingest {

void CommitPace::CommitTook(int64_t duration_ms) {
  std::lock_guard lock(mutex_);
  times_ms_.push_back(std::max<int64_t>(0, duration_ms));
  if (times_ms_.size() > kTimesKept) times_ms_.pop_front();
}

void CommitPace::SawWorker(const std::string& name, int64_t at_ms) {
  std::lock_guard lock(mutex_);
  if (!seen_ms_.contains(name) && seen_ms_.size() >= kWorkersMax) return;
  int64_t& seen = seen_ms_[name];
  seen = std::max(seen, at_ms);
}

void CommitPace::Look(const iceberg::TableMetadata& metadata, const std::string& pipeline, int64_t now_ms) {
  int64_t counts_from_ms = 0;
  {
    std::lock_guard lock(mutex_);
    counts_from_ms = now_ms - counts_ms_;
  }
  for (const iceberg::Snapshot& snapshot : metadata.snapshots) {
    if (snapshot.timestamp_ms < counts_from_ms) continue;
    auto marked = snapshot.summary.find(std::string(kSummaryPipeline));
    auto worker = snapshot.summary.find(std::string(kSummaryWorker));
    if (marked == snapshot.summary.end() || marked->second != pipeline || worker == snapshot.summary.end()) continue;
    SawWorker(worker->second, snapshot.timestamp_ms);
  }
  std::lock_guard lock(mutex_);
  std::erase_if(seen_ms_, [&](const auto& seen) { return seen.second < counts_from_ms; });
}

int64_t CommitPace::Workers(int64_t now_ms) const {
  std::lock_guard lock(mutex_);
  auto counts = [&](const auto& seen) { return seen.second >= now_ms - counts_ms_; };
  return std::max<int64_t>(1, std::count_if(seen_ms_.begin(), seen_ms_.end(), counts));
}

int64_t CommitPace::P95Ms() const {
  std::lock_guard lock(mutex_);
  if (times_ms_.empty()) return 0;
  std::vector<int64_t> times(times_ms_.begin(), times_ms_.end());
  const size_t percent = times.size() < kTimesForP95 ? 50 : 95;
  auto at = times.begin() + static_cast<ptrdiff_t>((times.size() * percent + 99) / 100 - 1);
  std::nth_element(times.begin(), at, times.end());
  return *at;
}

int64_t CommitPace::Stretch(int64_t interval_ms, int64_t longest_ms, int64_t now_ms) {
  const int64_t room_ms = longest_ms / kTimesCommit / Workers(now_ms);  // a product beyond that would be cut anyway
  const int64_t wanted_ms = std::min(P95Ms(), room_ms) * Workers(now_ms) * kTimesCommit;
  const int64_t stretched_ms = std::max(interval_ms, P95Ms() > room_ms ? longest_ms : wanted_ms);
  std::lock_guard lock(mutex_);
  counts_ms_ = std::clamp(2 * std::min(stretched_ms, kWorkerSeenMsMax), kWorkerSeenMs, kWorkerSeenMsMax);
  return stretched_ms;
}

int64_t CommitPace::Shift(int64_t interval_ms, env::Random& random) {
  const int64_t longest_ms = interval_ms / 4;
  if (longest_ms < 1) return 0;
  return static_cast<int64_t>(random.Next64() % static_cast<uint64_t>(2 * longest_ms + 1)) - longest_ms;
}

}  // namespace firn::ingest
