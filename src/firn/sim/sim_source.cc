#include "firn/sim/sim_source.h"

#include <fmt/format.h>

#include <algorithm>

#include "firn/base/check.h"

namespace firn::sim {
namespace {

constexpr int64_t kTroubleIntervalMs = 30'000;
constexpr int64_t kOrderMsMax = 5;  // how long Assign and Seek take

class SimChunk final : public stream::RecordChunk {
 public:
  std::span<const stream::Record> records() const override { return records_; }
  std::span<const stream::PartitionPosition> positions() const override { return positions_; }
  size_t bytes() const override { return bytes_; }

  void Add(stream::PartitionIndex partition, const LogEntry& entry) {
    auto owned = std::make_unique<Owned>(Owned{entry, {}});
    stream::Record record;
    record.partition = partition;
    record.offset = entry.offset;
    record.leader_epoch = entry.leader_epoch;
    record.timestamp_ms = entry.timestamp_ms;
    record.timestamp_type = stream::TimestampType::kCreateTime;
    if (owned->entry.key.has_value()) record.key = *owned->entry.key;
    if (owned->entry.value.has_value()) record.value = *owned->entry.value;
    for (const auto& [name, value] : owned->entry.headers) {
      owned->headers.push_back({name, value.has_value() ? std::optional<std::string_view>(*value) : std::nullopt});
    }
    record.headers = owned->headers;
    bytes_ += sizeof(stream::Record) + record.key.value_or("").size() + record.value.value_or("").size();
    records_.push_back(record);
    owned_.push_back(std::move(owned));
  }
  void SetPosition(stream::PartitionIndex partition, const stream::Position& position) {
    positions_.push_back({partition, position});
  }

 private:
  struct Owned {
    LogEntry entry;
    std::vector<stream::Header> headers;
  };
  std::vector<std::unique_ptr<Owned>> owned_;
  std::vector<stream::Record> records_;
  std::vector<stream::PartitionPosition> positions_;
  size_t bytes_ = 0;
};

std::string NameOf(const stream::SourcePartition& partition) {
  return fmt::format("partition '{}/{}'", partition.topic, partition.partition);
}

}  // namespace

SimSource::SimSource(SimBroker& broker, env::Clock& clock, env::Random& random, SimFaults& faults,
                     std::shared_ptr<SimLife> life, SimSourceOptions options)
    : broker_(broker), clock_(clock), random_(random), faults_(faults), life_(std::move(life)),
      options_(std::move(options)) {
  if (!options_.lane) member_ = broker_.group().Join(options_.name, options_.topics, life_);
}

SimSource::~SimSource() {
  if (!options_.lane && !life_->dead()) broker_.group().Leave(member_);
}

std::unique_ptr<SimSource> SimSource::MakeLane() const {
  SimSourceOptions options = options_;
  options.lane = true;
  return std::make_unique<SimSource>(broker_, clock_, random_, faults_, life_, std::move(options));
}

namespace {

class SimLane final : public stream::LaneSource {
 public:
  explicit SimLane(std::unique_ptr<SimSource> source) : source_(std::move(source)) {}
  Result<stream::SourceEvent> Poll(int64_t timeout_ms) override { return source_->Poll(timeout_ms, true); }

 private:
  const std::unique_ptr<SimSource> source_;
};

}  // namespace

Result<std::unique_ptr<stream::LaneSource>> SimSource::OpenLane(std::span<const stream::PartitionPosition> start,
                                                                int64_t /*queue_bytes_max*/) {
  std::unique_ptr<SimSource> lane = MakeLane();
  lane->names_ = names_;
  lane->indexes_ = indexes_;
  FIRN_TRY(lane->Assign(start));
  return std::unique_ptr<stream::LaneSource>(new SimLane(std::move(lane)));
}

void SimSource::Kill() {
  life_->Kill(broker_.now_ms());
}

Status SimSource::CheckAlive() const {
  if (life_->dead()) return Fail(ErrorCode::kCancelled, "the simulated process is dead");
  return {};
}

bool SimSource::Reaches() const {
  if (!broker_.IsUp()) {
    broker_.MeetOutage();
    return false;
  }
  if (!life_->IsCutOff(broker_.now_ms())) return true;
  if (life_->MeetCutOff()) faults_.Note(FaultKind::kMemberCutOff, options_.name + " meets it");
  return false;
}

Result<stream::SourceEvent> SimSource::Poll(int64_t timeout_ms, bool want_records) {
  const int64_t deadline_ms = clock_.BootMs() + std::max(timeout_ms, options_.poll_ms_min);
  while (true) {
    FIRN_TRY(CheckAlive());
    if (std::optional<stream::SourceEvent> event = NextEvent(want_records)) return std::move(*event);
    const int64_t left_ms = deadline_ms - clock_.BootMs();
    if (left_ms <= 0) return stream::SourceEvent(stream::NothingYet{});
    clock_.SleepMs(std::min(left_ms, 1 + Below(random_, options_.poll_step_ms_max)), {});
  }
}

std::optional<stream::SourceEvent> SimSource::NextEvent(bool want_records) {
  if (!options_.lane) {
    broker_.group().Polled(member_);
    if (auto event = NextRebalance()) return event;
  }
  if (!Reaches()) {
    return Report(Error(ErrorCode::kUnavailable, "Kafka: all brokers are down (simulated)"));
  }
  if (auto event = NextTrouble(want_records)) return event;
  if (!want_records || clock_.BootMs() < next_fetch_ms_) return std::nullopt;
  // While a rebalance is open nothing new is fetched; what was before may still come.
  if (open_ != Open::kNone && Below(random_, 5) != 0) return std::nullopt;
  std::unique_ptr<stream::RecordChunk> chunk = NextChunk();
  if (chunk == nullptr) return std::nullopt;
  next_fetch_ms_ = clock_.BootMs() + Below(random_, options_.fetch_latency_ms_max + 1);
  if (faults_.Chance(FaultKind::kFetchSlow, options_.slow_fetch_per_mille)) {
    next_fetch_ms_ += Below(random_, options_.slow_fetch_ms_max + 1);
  }
  return stream::SourceEvent(std::move(chunk));
}

std::optional<stream::SourceEvent> SimSource::NextRebalance() {
  if (open_ != Open::kNone) return std::nullopt;
  SimGroup& group = broker_.group();
  if (group.IsLostTo(member_)) return DeliverLost();
  if (!Reaches()) return std::nullopt;
  while (std::optional<SimGroup::Event> event = group.Take(member_)) {
    std::vector<Index> partitions;
    if (event->kind == SimGroup::Event::Kind::kAssigned) {
      for (const stream::SourcePartition& one : event->partitions) partitions.push_back(IndexOf(one));
      open_ = Open::kAssigned;
      open_partitions_.insert(partitions.begin(), partitions.end());
      return stream::SourceEvent(stream::PartitionsAssigned{std::move(partitions)});
    }
    SimGroup::Partitions not_ours;
    for (const stream::SourcePartition& one : event->partitions) {
      if (Index index = IndexOf(one); assigned_.contains(index)) {
        partitions.push_back(index);
      } else {
        not_ours.push_back(one);
      }
    }
    group.Released(member_, not_ours, /*all=*/partitions.empty());
    if (partitions.empty()) continue;
    open_ = Open::kRevoked;
    open_partitions_.insert(partitions.begin(), partitions.end());
    return stream::SourceEvent(stream::PartitionsRevoked{std::move(partitions)});
  }
  return std::nullopt;
}

std::optional<stream::SourceEvent> SimSource::DeliverLost() {
  if (assigned_.empty()) {
    Rejoin();
    return std::nullopt;
  }
  std::vector<Index> partitions;
  for (const auto& [index, reading] : assigned_) partitions.push_back(index);
  open_ = Open::kLost;
  open_partitions_.insert(partitions.begin(), partitions.end());
  return stream::SourceEvent(stream::PartitionsLost{std::move(partitions)});
}

void SimSource::Rejoin() {
  SimGroup& group = broker_.group();
  group.Leave(member_);
  member_ = group.Join(options_.name, options_.topics, life_);
}

std::optional<stream::SourceEvent> SimSource::Report(Error error) {
  auto [reported, first] = reported_ms_.try_emplace(error.code(), clock_.BootMs());
  if (!first) {
    if (clock_.BootMs() - reported->second < kTroubleIntervalMs) return std::nullopt;
    reported->second = clock_.BootMs();
  }
  return stream::SourceEvent(stream::SourceTrouble{std::move(error)});
}

std::optional<stream::SourceEvent> SimSource::NextTrouble(bool want_records) {
  if (faults_.Chance(FaultKind::kSourceTrouble, options_.source_trouble_per_mille)) {
    auto event = Report(Error(ErrorCode::kTimeout, "Kafka: a broker did not answer in time (simulated)"));
    if (event.has_value()) return event;  // not reported again so soon: the partitions are looked at all the same
  }
  for (auto& [index, reading] : assigned_) {
    if (!reading.reading) continue;
    // Another id of the topic is seen by itself, the rest by fetching.
    const SimLog* log = broker_.Find(names_[index]);
    if (log != nullptr && !want_records) continue;
    std::optional<Error> error = TroubleOf(index, log, reading);
    if (!error.has_value()) continue;
    reading.reading = false;
    return stream::SourceEvent(stream::PartitionTrouble{index, std::move(*error)});
  }
  return std::nullopt;
}

std::optional<Error> SimSource::TroubleOf(Index index, const SimLog* log, Reading& reading) {
  const stream::SourcePartition& name = names_[index];
  if (log == nullptr) {
    if (!broker_.TopicExists(name.topic)) {
      return Error(ErrorCode::kNotFound, fmt::format("{}: the topic does not exist", NameOf(name)));
    }
    return Error(ErrorCode::kConflict, fmt::format("{}: the topic was deleted and created again; its id was '{}'",
                                                   NameOf(name), name.topic_id));
  }
  const stream::Position& position = reading.position;
  if (position.offset < log->start() || position.offset > log->end()) {
    return Error(ErrorCode::kNotFound, fmt::format("{}: the offset is outside the log [{}, {}): {}", NameOf(name),
                                                   log->start(), log->end(), position.offset));
  }
  if (reading.checked_epoch == log->leader_epoch()) return std::nullopt;
  reading.checked_epoch = log->leader_epoch();
  if (position.leader_epoch < 0 || position.offset == 0) return std::nullopt;
  const int64_t epoch_end = log->EndOfEpoch(position.leader_epoch);
  if (position.offset <= epoch_end) return std::nullopt;
  return Error(ErrorCode::kConflict,
               fmt::format("{}: the log was truncated below the position; epoch {} ends at {}: {}", NameOf(name),
                           position.leader_epoch, epoch_end, position.offset));
}

std::unique_ptr<stream::RecordChunk> SimSource::NextChunk() {
  struct Part {
    Index index;
    SimLog::Slice slice;
    size_t given = 0;
  };
  std::vector<Part> parts;
  int64_t left = 1 + Below(random_, options_.chunk_records_max);
  std::vector<Index> turn;
  for (const auto& [index, reading] : assigned_) {
    if (reading.reading && !(open_ == Open::kLost && open_partitions_.contains(index))) turn.push_back(index);
  }
  if (turn.empty()) return nullptr;
  std::ranges::rotate(turn, turn.begin() + Below(random_, static_cast<int64_t>(turn.size())));
  for (Index index : turn) {
    if (left <= 0) break;
    const SimLog* log = broker_.Find(names_[index]);
    if (log == nullptr || EndOf(*log) <= assigned_[index].position.offset) continue;
    SimLog::Slice slice = log->Read(assigned_[index].position.offset, static_cast<size_t>(1 + Below(random_, left)),
                                    options_.read_committed);
    if (slice.next <= assigned_[index].position.offset) continue;
    left -= static_cast<int64_t>(slice.entries.size());
    parts.push_back({index, std::move(slice)});
  }
  if (parts.empty()) return nullptr;
  auto chunk = std::make_unique<SimChunk>();
  std::vector<size_t> open;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!parts[i].slice.entries.empty()) open.push_back(i);
  }
  while (!open.empty()) {
    // Runs of one partition, as a broker's answers hold them.
    const auto pick = Below(random_, static_cast<int64_t>(open.size()));
    Part& part = parts[open[static_cast<size_t>(pick)]];
    for (int64_t run = 1 + Below(random_, 10); run > 0 && part.given < part.slice.entries.size(); --run) {
      chunk->Add(part.index, *part.slice.entries[part.given++]);
    }
    if (part.given == part.slice.entries.size()) open.erase(open.begin() + pick);
  }
  for (const Part& part : parts) chunk->SetPosition(part.index, MoveOn(part.index, part.slice));
  return chunk;
}

// The position behind what was given out. A client learns of markers and aborted data behind the last record only at
// the log's end, or with the next record; and it does not always know the leader epoch there.
stream::Position SimSource::MoveOn(Index index, const SimLog::Slice& slice) {
  stream::Position& position = assigned_[index].position;
  if (!slice.entries.empty()) {
    const LogEntry& last = *slice.entries.back();
    position = {last.offset + 1, last.leader_epoch, last.timestamp_ms};
  }
  if (slice.next > position.offset && (slice.at_end || Below(random_, 2) == 0)) {
    position.offset = slice.next;
    position.leader_epoch = Below(random_, 2) == 0 ? slice.next_epoch : -1;
  }
  broker_.MarkDelivered(names_[index], slice.entries, position.offset);
  return position;
}

void SimSource::Start(std::span<const stream::PartitionPosition> positions) {
  for (const stream::PartitionPosition& one : positions) {
    assigned_[one.partition] = Reading{.reading = true, .position = one.position};
  }
}

Status SimSource::Assign(std::span<const stream::PartitionPosition> start) {
  FIRN_TRY(CheckAlive());
  if (!options_.lane && open_ != Open::kAssigned) {
    return Fail(ErrorCode::kInvalidInput, "Assign without an open PartitionsAssigned");
  }
  for (const stream::PartitionPosition& one : start) {
    if (!options_.lane && !open_partitions_.contains(one.partition)) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("Assign names a partition that is not in the open PartitionsAssigned: {}",
                              one.partition));
    }
    if (one.partition >= names_.size() || one.position.offset < 0) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("cannot start partition {} at offset: {}", one.partition, one.position.offset));
    }
  }
  clock_.SleepMs(Below(random_, kOrderMsMax + 1), {});
  FIRN_TRY(CheckAlive());
  for (Index index : open_partitions_) assigned_[index] = Reading{};
  Start(start);
  if (options_.lane) return {};
  open_partitions_.clear();
  open_ = Open::kNone;
  broker_.group().Answered(member_);
  return {};
}

Status SimSource::Release(std::span<const stream::PartitionIndex> partitions) {
  FIRN_TRY(CheckAlive());
  if (options_.lane) {
    for (Index index : partitions) assigned_.erase(index);
    return {};
  }
  if (open_ != Open::kRevoked && open_ != Open::kLost) {
    return Fail(ErrorCode::kInvalidInput, "Release without an open PartitionsRevoked or PartitionsLost");
  }
  for (Index index : partitions) {
    if (!open_partitions_.contains(index)) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("Release names a partition that is not in the open revocation: {}", index));
    }
  }
  SimGroup::Partitions released;
  for (Index index : partitions) {
    if (open_partitions_.erase(index) == 0) continue;  // named twice
    assigned_.erase(index);
    released.push_back(names_[index]);
  }
  const bool all = open_partitions_.empty();
  broker_.group().Released(member_, released, all);
  if (!all) return {};
  if (std::exchange(open_, Open::kNone) == Open::kLost) Rejoin();
  return {};
}

Status SimSource::Seek(std::span<const stream::PartitionPosition> positions) {
  FIRN_TRY(CheckAlive());
  for (const stream::PartitionPosition& one : positions) {
    if (!assigned_.contains(one.partition) || one.position.offset < 0) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("Seek names a partition that is not assigned, or a negative offset: partition {} at {}",
                              one.partition, one.position.offset));
    }
  }
  clock_.SleepMs(Below(random_, kOrderMsMax + 1), {});
  FIRN_TRY(CheckAlive());
  Start(positions);
  return {};
}

Status SimSource::CommitGroupOffsets(std::span<const stream::PartitionPosition> positions) {
  FIRN_TRY(CheckAlive());
  if (options_.lane || positions.empty()) return {};
  // It is sent and forgotten, as KafkaSource does: what comes of it is logged at most.
  if (!Reaches() || broker_.group().IsLostTo(member_)) return {};
  if (faults_.Chance(FaultKind::kGroupOffsetsNotStored, options_.query_fault_per_mille)) return {};
  for (const stream::PartitionPosition& one : positions) {
    broker_.CommitGroupOffset(names_.at(one.partition), one.position.offset);
  }
  return {};
}

Status SimSource::Ask(int64_t timeout_ms) {
  FIRN_TRY(CheckAlive());
  const int64_t latency_ms = Below(random_, options_.query_latency_ms_max + 1);
  clock_.SleepMs(std::min(latency_ms, timeout_ms), {});
  FIRN_TRY(CheckAlive());
  bool times_out = faults_.Chance(FaultKind::kQueryTimeout, options_.query_fault_per_mille) ||
                   (!Reaches() && Below(random_, 2) == 0);
  if (times_out) {
    clock_.SleepMs(std::max<int64_t>(timeout_ms - latency_ms, 0), {});
    FIRN_TRY(CheckAlive());
    return Fail(ErrorCode::kTimeout, "Kafka: no answer in time (simulated)");
  }
  if (!Reaches() || faults_.Chance(FaultKind::kQueryUnavailable, options_.query_fault_per_mille)) {
    return Fail(ErrorCode::kUnavailable, "Kafka: no broker is reached (simulated)");
  }
  return {};
}

// By name, as librdkafka asks: of a topic made anew the answers are the new one's.
Result<const SimLog*> SimSource::LogOf(const stream::SourcePartition& partition) const {
  const SimLog* log = broker_.log(partition.topic, partition.partition);
  if (log == nullptr) {
    return Fail(ErrorCode::kNotFound, fmt::format("{}: the brokers do not know it", NameOf(partition)));
  }
  return log;
}

Result<stream::Watermarks> SimSource::QueryWatermarks(const stream::SourcePartition& partition, int64_t timeout_ms) {
  FIRN_TRY(Ask(timeout_ms));
  FIRN_ASSIGN(const SimLog* log, LogOf(partition));
  const int64_t start = log->start();
  FIRN_TRY(Ask(timeout_ms));  // two questions: the log may move between them
  FIRN_ASSIGN(log, LogOf(partition));
  return stream::Watermarks{.start = start, .end = EndOf(*log)};
}

Result<std::vector<std::optional<int64_t>>> SimSource::QueryEnds(std::span<const stream::SourcePartition> partitions,
                                                                 int64_t timeout_ms) {
  FIRN_TRY(Ask(timeout_ms));
  std::vector<std::optional<int64_t>> ends;
  for (const stream::SourcePartition& partition : partitions) {
    const SimLog* log = broker_.log(partition.topic, partition.partition);
    bool known = log != nullptr && !faults_.Chance(FaultKind::kQueryEndUnknown, options_.query_fault_per_mille);
    ends.push_back(known ? std::optional<int64_t>(EndOf(*log)) : std::nullopt);
  }
  return ends;
}

Result<int64_t> SimSource::OffsetForTimestamp(const stream::SourcePartition& partition, int64_t timestamp_ms,
                                              int64_t timeout_ms) {
  if (timestamp_ms < 0) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("a timestamp before 1970 names no record: {}", timestamp_ms));
  }
  FIRN_TRY(Ask(timeout_ms));
  FIRN_ASSIGN(const SimLog* log, LogOf(partition));
  if (std::optional<int64_t> offset = log->OffsetForTimestamp(timestamp_ms)) return *offset;
  FIRN_ASSIGN(stream::Watermarks watermarks, QueryWatermarks(partition, timeout_ms));
  return watermarks.end;
}

Result<std::vector<stream::TopicDescription>> SimSource::DescribeTopics(int64_t timeout_ms) {
  FIRN_TRY(Ask(timeout_ms));
  std::vector<stream::TopicDescription> described;
  for (const std::string& topic : options_.topics) {
    if (!broker_.TopicExists(topic)) continue;
    if (faults_.Chance(FaultKind::kTopicNotListed, options_.query_fault_per_mille)) continue;
    described.push_back({topic, broker_.topic_id(topic), broker_.partition_count(topic)});
  }
  return described;
}

stream::SourcePartition SimSource::partition(stream::PartitionIndex index) const {
  FIRN_CHECK(index < names_.size(), "a partition index that no source gave out");
  return names_[index];
}

stream::PartitionIndex SimSource::IndexOf(const stream::SourcePartition& partition) {
  auto [entry, added] = indexes_.try_emplace(partition, static_cast<Index>(names_.size()));
  if (added) names_.push_back(partition);
  return entry->second;
}

}  // namespace firn::sim
