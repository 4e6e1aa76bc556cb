// LagWatch: a thread that asks the source how far the assigned partitions reach, all in one question, so that lag and
// completeness can be told without slowing the pipeline.
//
// All members thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "firn/env/clock.h"
#include "firn/stream/record_source.h"

namespace firn::ingest {

class LagWatch {
 public:
  struct End {
    int64_t offset = 0;
    int64_t asked_ms = 0;  // wall clock, before the question: everything that was readable then lies below `offset`
  };

  LagWatch(stream::RecordSource& source, env::Clock& clock);
  ~LagWatch();
  void Start();
  // Replaces the set of watched partitions.
  void Watch(std::vector<std::pair<stream::PartitionIndex, stream::SourcePartition>> partitions);
  std::optional<End> EndOf(stream::PartitionIndex partition) const;

 private:
  void Run(std::stop_token stop);

  stream::RecordSource& source_;
  env::Clock& clock_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<std::pair<stream::PartitionIndex, stream::SourcePartition>> watched_;
  bool watched_is_new_ = false;  // since the last question
  std::map<stream::PartitionIndex, End> ends_;
  std::jthread thread_;
};

}  // namespace firn::ingest
