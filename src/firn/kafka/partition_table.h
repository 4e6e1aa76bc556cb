// PartitionTable: the dense, stable numbers of all partitions that a source has heard of. Thread-safe.
#pragma once

#include <deque>
#include <map>
#include <mutex>

#include "firn/base/check.h"
#include "firn/stream/record_source.h"

namespace firn::kafka {

class PartitionTable {
 public:
  stream::PartitionIndex IndexOf(const stream::SourcePartition& partition) {
    std::lock_guard lock(mutex_);
    auto [entry, added] =
        indexes_.try_emplace(partition, static_cast<stream::PartitionIndex>(partitions_.size()));
    if (added) partitions_.push_back(partition);
    return entry->second;
  }

  // Precondition: `index` was given out by IndexOf.
  stream::SourcePartition At(stream::PartitionIndex index) const {
    std::lock_guard lock(mutex_);
    FIRN_CHECK(index < partitions_.size(), "a partition index that no source gave out");
    return partitions_[index];
  }

 private:
  mutable std::mutex mutex_;
  std::deque<stream::SourcePartition> partitions_;
  std::map<stream::SourcePartition, stream::PartitionIndex> indexes_;
};

}  // namespace firn::kafka
