// LagWatch: a thread that asks the source how far the assigned partitions reach, all in one question, so that lag and
// completeness can be told without slowing the pipeline; and where some of them begin, less often.
//
// All members thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "firn/env/clock.h"
#include "firn/env/threads.h"
#include "firn/stream/record_source.h"

namespace firn::ingest {

class LagWatch {
 public:
  struct End {
    int64_t offset = 0;
    int64_t asked_ms = 0;  // wall clock, before the question: everything that was readable then lies below `offset`
  };

  LagWatch(stream::RecordSource& source, env::Clock& clock, env::Threads& threads = env::SystemThreads());
  ~LagWatch();
  void Start();
  // Replaces the set of watched partitions.
  void Watch(std::vector<std::pair<stream::PartitionIndex, stream::SourcePartition>> partitions);
  std::optional<End> EndOf(stream::PartitionIndex partition) const;
  // Of which of the watched partitions ExtentOf is wanted.
  void WatchExtents(std::set<stream::PartitionIndex> partitions);
  std::optional<stream::Watermarks> ExtentOf(stream::PartitionIndex partition) const;

 private:
  void Run(std::stop_token stop);
  std::vector<std::pair<stream::PartitionIndex, stream::SourcePartition>> ExtentsDue() const;

  stream::RecordSource& source_;
  env::Clock& clock_;
  env::Threads& threads_;
  const std::unique_ptr<env::Monitor> monitor_;  // guards what follows
  std::vector<std::pair<stream::PartitionIndex, stream::SourcePartition>> watched_;
  bool watched_is_new_ = false;  // since the last question
  std::map<stream::PartitionIndex, End> ends_;
  std::set<stream::PartitionIndex> extents_wanted_;
  struct Extent {
    stream::Watermarks watermarks;
    int64_t asked_ms = 0;
  };
  std::map<stream::PartitionIndex, Extent> extents_;
  std::unique_ptr<env::Thread> thread_;
};

}  // namespace firn::ingest
