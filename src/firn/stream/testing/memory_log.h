// MemoryLog and MemorySource: a broker's log in memory, and consumers of it whose assignment a test decides.
//
// Thread-safe. A MemorySource gives out records in small chunks, in rounds over its partitions, so that batches end
// anywhere. Transaction markers are offsets that no record has.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "firn/stream/record_source.h"

namespace firn::stream {

struct LoggedRecord {
  int64_t offset = 0;
  std::optional<std::string> key;
  std::optional<std::string> value;
  int64_t timestamp_ms = 0;
  int32_t leader_epoch = 0;
};

class MemoryLog {
 public:
  MemoryLog(std::string cluster_id, std::string topic, std::string topic_id, int32_t partitions)
      : cluster_id_(std::move(cluster_id)),
        topic_(std::move(topic)),
        topic_id_(std::move(topic_id)),
        partitions_(static_cast<size_t>(partitions)) {}

  int64_t Append(int32_t partition, std::optional<std::string> value, int64_t timestamp_ms = 1'700'000'000'000);
  void SetLeaderEpoch(int32_t partition, int32_t epoch);   // of what is appended from now on
  void AppendMarker(int32_t partition);                    // a control record: takes an offset, is never seen
  void TruncateBefore(int32_t partition, int64_t offset);  // retention
  Watermarks WatermarksOf(int32_t partition) const;
  std::vector<LoggedRecord> Read(int32_t partition, int64_t from, size_t records_max, int64_t& next) const;

  int32_t partition_count() const { return static_cast<int32_t>(partitions_.size()); }
  const std::string& cluster_id() const { return cluster_id_; }
  const std::string& topic() const { return topic_; }
  const std::string& topic_id() const { return topic_id_; }

 private:
  struct Part {
    std::vector<LoggedRecord> records;
    int64_t start = 0;
    int64_t end = 0;
    int32_t leader_epoch = 0;
  };
  const std::string cluster_id_;
  const std::string topic_;
  const std::string topic_id_;
  mutable std::mutex mutex_;
  std::vector<Part> partitions_;
};

// Reads partitions of a log in rounds, a small chunk at a time. Not thread-safe.
class MemoryReader {
 public:
  MemoryReader(std::shared_ptr<MemoryLog> log, size_t chunk_records)
      : log_(std::move(log)), chunk_records_(chunk_records) {}
  // A chunk, PartitionTrouble when the log begins above the position, or NothingYet.
  SourceEvent Next();
  void Start(const PartitionPosition& at) { reading_[at.partition] = at.position; }
  void Stop(PartitionIndex partition) { reading_.erase(partition); }
  bool Reads(PartitionIndex partition) const { return reading_.contains(partition); }

 private:
  std::shared_ptr<MemoryLog> log_;
  const size_t chunk_records_;
  std::map<PartitionIndex, Position> reading_;
  PartitionIndex turn_ = 0;
};

// What a test decides about the lanes of a source.
struct MemoryLanes {
  std::atomic<bool> held{false};  // no lane gets records
  std::atomic<int> unreadable{-1};  // the partition that lanes meet trouble with, whatever the log has
  std::atomic<int> opened{0};
  std::atomic<int> open{0};
  std::atomic<int> open_max{0};
};

class MemorySource final : public RecordSource {
 public:
  explicit MemorySource(std::shared_ptr<MemoryLog> log, size_t chunk_records = 7)
      : log_(log), chunk_records_(chunk_records), reader_(std::move(log), chunk_records) {}

  // The group's decisions.
  void GiveAll();
  void Give(std::vector<PartitionIndex> partitions);
  void Revoke(std::vector<PartitionIndex> partitions);
  void Lose(std::vector<PartitionIndex> partitions);
  bool Holds(PartitionIndex partition) const;
  std::map<PartitionIndex, int64_t> group_offsets() const;
  MemoryLanes& lanes() { return *lanes_; }
  void HoldRecords(bool held) { records_held_ = held; }  // of the consumer itself, not of its lanes

  Result<SourceEvent> Poll(int64_t timeout_ms, bool want_records) override;
  Status Assign(std::span<const PartitionPosition> start) override;
  Status Release(std::span<const PartitionIndex> partitions) override;
  Status Seek(std::span<const PartitionPosition> positions) override;
  Status CommitGroupOffsets(std::span<const PartitionPosition> positions) override;
  Result<Watermarks> QueryWatermarks(const SourcePartition& partition, int64_t timeout_ms) override;
  Result<std::vector<std::optional<int64_t>>> QueryEnds(std::span<const SourcePartition> partitions,
                                                        int64_t timeout_ms) override;
  Result<int64_t> OffsetForTimestamp(const SourcePartition& partition, int64_t timestamp_ms,
                                     int64_t timeout_ms) override;
  Result<std::vector<TopicDescription>> DescribeTopics(int64_t timeout_ms) override;
  std::string cluster_id() const override { return log_->cluster_id(); }
  Result<std::unique_ptr<LaneSource>> OpenLane(std::span<const PartitionPosition> start,
                                               int64_t queue_bytes_max) override;
  SourcePartition partition(PartitionIndex index) const override;
  PartitionIndex IndexOf(const SourcePartition& partition) override;

 private:
  std::shared_ptr<MemoryLog> log_;
  const size_t chunk_records_;
  mutable std::mutex mutex_;
  std::deque<SourceEvent> events_;
  MemoryReader reader_;
  std::map<PartitionIndex, int64_t> group_offsets_;
  std::atomic<bool> records_held_{false};
  const std::shared_ptr<MemoryLanes> lanes_ = std::make_shared<MemoryLanes>();
};

}  // namespace firn::stream
