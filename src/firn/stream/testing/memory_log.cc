#include "firn/stream/testing/memory_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace firn::stream {
namespace {

class MemoryChunk final : public RecordChunk {
 public:
  MemoryChunk(PartitionIndex partition, std::vector<LoggedRecord> logged, int64_t next) : logged_(std::move(logged)) {
    Position position{next, -1, -1};
    for (const LoggedRecord& record : logged_) {
      Record view;
      view.partition = partition;
      view.offset = record.offset;
      view.timestamp_ms = record.timestamp_ms;
      view.leader_epoch = record.leader_epoch;
      view.timestamp_type = TimestampType::kCreateTime;
      if (record.key.has_value()) view.key = *record.key;
      if (record.value.has_value()) view.value = *record.value;
      records_.push_back(view);
      bytes_ += record.value.has_value() ? record.value->size() : 0;
      position.timestamp_ms = record.timestamp_ms;
      position.leader_epoch = record.leader_epoch;
    }
    positions_.push_back({partition, position});
  }
  std::span<const Record> records() const override { return records_; }
  std::span<const PartitionPosition> positions() const override { return positions_; }
  size_t bytes() const override { return bytes_; }

 private:
  std::vector<LoggedRecord> logged_;
  std::vector<Record> records_;
  std::vector<PartitionPosition> positions_;
  size_t bytes_ = 0;
};

constexpr int64_t kIdleMs = 2;

void SleepIdle(int64_t timeout_ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds(std::min(timeout_ms, kIdleMs)));
}

class MemoryLaneSource final : public LaneSource {
 public:
  MemoryLaneSource(MemoryReader reader, std::shared_ptr<MemoryLanes> lanes)
      : reader_(std::move(reader)), lanes_(std::move(lanes)) {
    ++lanes_->opened;
    const int open = ++lanes_->open;
    if (open > lanes_->open_max) lanes_->open_max = open;
  }
  ~MemoryLaneSource() override { --lanes_->open; }

  Result<SourceEvent> Poll(int64_t timeout_ms) override {
    const int unreadable = lanes_->unreadable;
    if (unreadable >= 0 && reader_.Reads(static_cast<PartitionIndex>(unreadable))) {
      reader_.Stop(static_cast<PartitionIndex>(unreadable));
      return SourceEvent(PartitionTrouble{static_cast<PartitionIndex>(unreadable),
                                          Error(ErrorCode::kConflict, "the log was truncated below the position")});
    }
    SourceEvent event = lanes_->held ? SourceEvent(NothingYet{}) : reader_.Next();
    if (std::holds_alternative<NothingYet>(event)) SleepIdle(timeout_ms);
    return event;
  }

 private:
  MemoryReader reader_;
  const std::shared_ptr<MemoryLanes> lanes_;
};

}  // namespace

SourceEvent MemoryReader::Next() {
  for (int32_t tries = 0; tries < log_->partition_count(); ++tries) {
    PartitionIndex index = turn_++ % static_cast<PartitionIndex>(log_->partition_count());
    auto reading = reading_.find(index);
    if (reading == reading_.end()) continue;
    int64_t next = 0;
    std::vector<LoggedRecord> records =
        log_->Read(static_cast<int32_t>(index), reading->second.offset, chunk_records_, next);
    if (next <= reading->second.offset) continue;
    Watermarks watermarks = log_->WatermarksOf(static_cast<int32_t>(index));
    if (reading->second.offset < watermarks.start) {
      reading_.erase(reading);
      return PartitionTrouble{index,
                              Error(ErrorCode::kNotFound, fmt::format("log starts at {} already", watermarks.start))};
    }
    reading->second.offset = next;
    return std::unique_ptr<RecordChunk>(new MemoryChunk(index, std::move(records), next));
  }
  return NothingYet{};
}

int64_t MemoryLog::Append(int32_t partition, std::optional<std::string> value, int64_t timestamp_ms) {
  std::lock_guard lock(mutex_);
  Part& part = partitions_[static_cast<size_t>(partition)];
  part.records.push_back({part.end, std::nullopt, std::move(value), timestamp_ms, part.leader_epoch});
  return part.end++;
}

void MemoryLog::SetLeaderEpoch(int32_t partition, int32_t epoch) {
  std::lock_guard lock(mutex_);
  partitions_[static_cast<size_t>(partition)].leader_epoch = epoch;
}

void MemoryLog::AppendMarker(int32_t partition) {
  std::lock_guard lock(mutex_);
  ++partitions_[static_cast<size_t>(partition)].end;
}

void MemoryLog::TruncateBefore(int32_t partition, int64_t offset) {
  std::lock_guard lock(mutex_);
  Part& part = partitions_[static_cast<size_t>(partition)];
  part.start = std::max(part.start, offset);
  std::erase_if(part.records, [&](const LoggedRecord& record) { return record.offset < offset; });
}

Watermarks MemoryLog::WatermarksOf(int32_t partition) const {
  std::lock_guard lock(mutex_);
  const Part& part = partitions_[static_cast<size_t>(partition)];
  return {part.start, part.end};
}

std::vector<LoggedRecord> MemoryLog::Read(int32_t partition, int64_t from, size_t records_max, int64_t& next) const {
  std::lock_guard lock(mutex_);
  const Part& part = partitions_[static_cast<size_t>(partition)];
  std::vector<LoggedRecord> found;
  next = part.end;
  for (const LoggedRecord& record : part.records) {
    if (record.offset < from) continue;
    if (found.size() == records_max) {
      next = record.offset;
      break;
    }
    found.push_back(record);
  }
  return found;
}

void MemorySource::GiveAll() {
  std::vector<PartitionIndex> all;
  for (int32_t i = 0; i < log_->partition_count(); ++i) all.push_back(static_cast<PartitionIndex>(i));
  Give(std::move(all));
}

void MemorySource::Give(std::vector<PartitionIndex> partitions) {
  std::lock_guard lock(mutex_);
  events_.push_back(PartitionsAssigned{std::move(partitions)});
}

void MemorySource::Revoke(std::vector<PartitionIndex> partitions) {
  std::lock_guard lock(mutex_);
  events_.push_back(PartitionsRevoked{std::move(partitions)});
}

void MemorySource::Lose(std::vector<PartitionIndex> partitions) {
  std::lock_guard lock(mutex_);
  events_.push_back(PartitionsLost{std::move(partitions)});
}

bool MemorySource::Holds(PartitionIndex partition) const {
  std::lock_guard lock(mutex_);
  return reader_.Reads(partition);
}

std::map<PartitionIndex, int64_t> MemorySource::group_offsets() const {
  std::lock_guard lock(mutex_);
  return group_offsets_;
}

Result<SourceEvent> MemorySource::Poll(int64_t timeout_ms, bool want_records) {
  {
    std::lock_guard lock(mutex_);
    if (!events_.empty()) {
      SourceEvent event = std::move(events_.front());
      events_.pop_front();
      return event;
    }
    if (want_records && !records_held_) {
      SourceEvent event = reader_.Next();
      if (!std::holds_alternative<NothingYet>(event)) return event;
    }
  }
  SleepIdle(timeout_ms);
  return SourceEvent(NothingYet{});
}

Status MemorySource::Assign(std::span<const PartitionPosition> start) {
  std::lock_guard lock(mutex_);
  for (const PartitionPosition& each : start) reader_.Start(each);
  return {};
}

Status MemorySource::Release(std::span<const PartitionIndex> partitions) {
  std::lock_guard lock(mutex_);
  for (PartitionIndex index : partitions) reader_.Stop(index);
  return {};
}

Status MemorySource::Seek(std::span<const PartitionPosition> positions) {
  std::lock_guard lock(mutex_);
  for (const PartitionPosition& each : positions) {
    if (reader_.Reads(each.partition)) reader_.Start(each);
  }
  return {};
}

Status MemorySource::CommitGroupOffsets(std::span<const PartitionPosition> positions) {
  std::lock_guard lock(mutex_);
  for (const PartitionPosition& each : positions) group_offsets_[each.partition] = each.position.offset;
  return {};
}

Result<Watermarks> MemorySource::QueryWatermarks(const SourcePartition& partition, int64_t) {
  return log_->WatermarksOf(partition.partition);
}

Result<std::vector<std::optional<int64_t>>> MemorySource::QueryEnds(std::span<const SourcePartition> partitions,
                                                                    int64_t) {
  std::vector<std::optional<int64_t>> ends;
  for (const SourcePartition& partition : partitions) {
    bool known = partition.partition >= 0 && partition.partition < log_->partition_count();
    ends.push_back(known ? std::optional<int64_t>(log_->WatermarksOf(partition.partition).end) : std::nullopt);
  }
  return ends;
}

Result<int64_t> MemorySource::OffsetForTimestamp(const SourcePartition& partition, int64_t timestamp_ms, int64_t) {
  int64_t next = 0;
  for (const LoggedRecord& record : log_->Read(partition.partition, 0, SIZE_MAX, next)) {
    if (record.timestamp_ms >= timestamp_ms) return record.offset;
  }
  return next;
}

Result<std::vector<TopicDescription>> MemorySource::DescribeTopics(int64_t) {
  return std::vector<TopicDescription>{{log_->topic(), log_->topic_id(), log_->partition_count()}};
}

Result<std::unique_ptr<LaneSource>> MemorySource::OpenLane(std::span<const PartitionPosition> start, int64_t) {
  MemoryReader reader(log_, chunk_records_);
  for (const PartitionPosition& each : start) reader.Start(each);
  return std::unique_ptr<LaneSource>(new MemoryLaneSource(std::move(reader), lanes_));
}

SourcePartition MemorySource::partition(PartitionIndex index) const {
  return SourcePartition{log_->cluster_id(), log_->topic_id(), log_->topic(), static_cast<int32_t>(index)};
}

PartitionIndex MemorySource::IndexOf(const SourcePartition& partition) {
  return static_cast<PartitionIndex>(partition.partition);
}

}  // namespace firn::stream
