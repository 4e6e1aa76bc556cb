// CommitPace: how far apart commits of several workers to one table have to be, so that compare-and-swap does not eat
// them up: max(interval, workers × p95 commit time × 3) (DESIGN 4, "Several workers").
//
// Knows other workers by the names in snapshot summaries, so nobody has to announce himself. Thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>

#include "firn/env/clock.h"
#include "firn/iceberg/spec/table_metadata.h"

namespace firn::ingest {

class CommitPace {
 public:
  // How long a worker counts after the last of its snapshots that was seen: so long at least, and two of the intervals
  // that they were last told to keep, since whoever commits every half an hour would be seen by nobody; a day at most.
  static constexpr int64_t kWorkerSeenMs = 10 * 60'000;
  static constexpr int64_t kWorkerSeenMsMax = 24 * 3'600'000;
  // Commit times that p95 is taken from.
  static constexpr size_t kTimesKept = 100;
  // Of fewer times the median is taken: their p95 would be the longest, and one commit that had to merge a hundred
  // manifests would keep the worker away for many minutes, in which it learns nothing better.
  static constexpr size_t kTimesForP95 = 20;
  static constexpr size_t kWorkersMax = 10'000;
  // A third of the time of a table is spent in commits at most, the rest is left to whoever lost one.
  static constexpr int64_t kTimesCommit = 3;

  // One attempt that got through took this long, from the load of the table to the answer.
  void CommitTook(int64_t duration_ms);
  // Takes note of the workers that committed the pipeline's snapshots.
  void Look(const iceberg::TableMetadata& metadata, const std::string& pipeline, int64_t now_ms);
  void SawWorker(const std::string& name, int64_t at_ms);

  int64_t Workers(int64_t now_ms) const;  // at least 1
  int64_t P95Ms() const;                  // 0: no commit yet; the median of few
  // Never shorter than `interval_ms`, and longer at most up to `longest_ms`.
  int64_t Stretch(int64_t interval_ms, int64_t longest_ms, int64_t now_ms);

  // By how much, this way or that, a worker that has lost a compare-and-swap shifts its next commit: up to a quarter of
  // the interval. Workers that were assigned their partitions together would commit together for ever.
  static int64_t Shift(int64_t interval_ms, env::Random& random);

 private:
  mutable std::mutex mutex_;
  std::deque<int64_t> times_ms_;
  std::map<std::string, int64_t> seen_ms_;  // by worker
  int64_t counts_ms_ = kWorkerSeenMs;       // how long a worker counts now
};

}  // namespace firn::ingest
