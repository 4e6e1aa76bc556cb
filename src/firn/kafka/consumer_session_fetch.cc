// The records' half: librdkafka's assignment, seeking, and messages into chunks with positions.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "firn/base/check.h"
#include "firn/base/log.h"
#include "firn/kafka/consumer_session.h"
#include "firn/kafka/kafka_error.h"

namespace firn::kafka {
namespace {

constexpr int kSeekTimeoutMs = 10'000;       // an answer of librdkafka's own main thread, not of a broker
constexpr auto kWatermarkTimeout = std::chrono::milliseconds(2'000);
// For all explanations of one Poll together: Poll is also what keeps the membership.
constexpr auto kExplainTimeMax = std::chrono::milliseconds(5'000);
// Of a chunk, roughly: what is taken does not count against the client's queue any more, so that it would fill up again
// as long as records are being taken.
constexpr size_t kChunkBytesMax = 4 << 20;
constexpr int kValidateTriesMax = 50;
constexpr auto kValidateRetryAfter = std::chrono::milliseconds(20);

// After these librdkafka goes on behind what it could not read, or never again; so the partition stops. The other
// errors of a partition are conditions that it retries at the same offset.
bool EndsReading(rd_kafka_resp_err_t code) {
  switch (code) {
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
    case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
      return true;
    default:
      return false;
  }
}

}  // namespace

void ConsumerSession::ForwardQueues(std::span<const stream::PartitionPosition> partitions) {
  for (const stream::PartitionPosition& one : partitions) {
    const PartitionState& state = State(one.partition);
    RdPtr<rd_kafka_queue_t> queue(
        rd_kafka_queue_get_partition(consumer_->client(), state.topic.c_str(), state.partition));
    if (queue != nullptr) rd_kafka_queue_forward(queue.get(), consumer_->records_queue());
  }
}

Status ConsumerSession::StartFetching(std::span<const stream::PartitionPosition> wanted) {
  std::vector<stream::PartitionPosition> start(wanted.begin(), wanted.end());
  std::erase_if(start, [&](const stream::PartitionPosition& one) { return StopIfRecreated(one.partition); });
  rd_kafka_t* client = consumer_->client();
  TopicPartitionList list = MakeTopicPartitionList(start.size());
  TopicPartitionList resumed = MakeTopicPartitionList();
  for (const stream::PartitionPosition& one : start) {
    PartitionState& state = State(one.partition);
    AddTopicPartition(list, state.topic, state.partition, one.position.offset, one.position.leader_epoch);
    if (paused_.erase({state.topic, state.partition}) > 0) AddTopicPartition(resumed, state.topic, state.partition);
    state.fetching = true;
    state.reading = true;
    state.position = one.position;
  }
  // Before, so that no record takes the way over the group's queue; after, because a fetch that was just stopped
  // undoes the forwarding when it ends, which is before this assignment takes effect.
  ForwardQueues(start);
  if (resumed->cnt > 0) rd_kafka_resume_partitions(client, resumed.get());
  Status status;
  if (Cooperative()) {
    status = ToStatus(rd_kafka_incremental_assign(client, list.get()), "taking partitions");
  } else if (rd_kafka_resp_err_t code = rd_kafka_assign(client, list.get()); code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    status = std::unexpected<Error>(ToError(code, "taking partitions"));
  }
  FIRN_TRY(std::move(status));
  ForwardQueues(start);
  ValidateEpochs(start);
  return {};
}

// librdkafka compares leader epochs when it seeks, not when it starts to fetch an assignment: so a log that was cut
// below the position and grew again is seen only this way (KIP-320).
void ConsumerSession::ValidateEpochs(std::span<const stream::PartitionPosition> start) {
  std::vector<stream::PartitionPosition> with_epoch;
  for (const stream::PartitionPosition& one : start) {
    if (one.position.leader_epoch >= 0 && one.position.offset > 0) with_epoch.push_back(one);
  }
  for (int attempt = 0; !with_epoch.empty() && attempt < kValidateTriesMax; ++attempt) {
    // Refused while the fetch has not started yet.
    std::vector<Index> refused = SeekNow(with_epoch);
    std::erase_if(with_epoch, [&](const auto& one) { return std::ranges::count(refused, one.partition) == 0; });
    if (!with_epoch.empty()) std::this_thread::sleep_for(kValidateRetryAfter);
  }
  for (const stream::PartitionPosition& one : with_epoch) {
    LogWarning("leader epoch of the position was not checked", {{"partition", NameOf(one.partition)}});
  }
}

// Returns the partitions that librdkafka refuses to seek because it does not fetch them (yet, or any more).
std::vector<ConsumerSession::Index> ConsumerSession::SeekNow(const std::vector<stream::PartitionPosition>& positions) {
  std::vector<Index> refused;
  if (positions.empty()) return refused;
  TopicPartitionList list = MakeTopicPartitionList(positions.size());
  for (const stream::PartitionPosition& one : positions) {
    const PartitionState& state = State(one.partition);
    AddTopicPartition(list, state.topic, state.partition, one.position.offset, one.position.leader_epoch);
  }
  RdPtr<rd_kafka_error_t> error(rd_kafka_seek_partitions(consumer_->client(), list.get(), kSeekTimeoutMs));
  for (size_t i = 0; i < positions.size(); ++i) {
    if (error != nullptr || list->elems[i].err != RD_KAFKA_RESP_ERR_NO_ERROR) refused.push_back(positions[i].partition);
  }
  return refused;
}

Status ConsumerSession::Seek(std::span<const stream::PartitionPosition> positions) {
  for (const stream::PartitionPosition& one : positions) {
    const PartitionState& state = State(one.partition);
    auto assigned = assigned_.find({state.topic, state.partition});
    if (assigned == assigned_.end() || assigned->second != one.partition) {
      return Fail(ErrorCode::kInvalidInput, fmt::format("Seek names a partition that is not assigned: {}",
                                                        one.partition));
    }
    if (one.position.offset < 0) {
      return Fail(ErrorCode::kInvalidInput, fmt::format("{}: cannot seek to a negative offset: {}",
                                                        NameOf(one.partition), one.position.offset));
    }
  }
  std::set<Index> sought;
  std::vector<stream::PartitionPosition> running;
  for (const stream::PartitionPosition& one : positions) {
    PartitionState& state = State(one.partition);
    sought.insert(one.partition);
    if (state.reading && state.fetching && !restarts_.contains(one.partition)) {
      running.push_back(one);
    } else {
      restarts_[one.partition] = one.position;
    }
    state.position = one.position;
  }
  for (Index index : SeekNow(running)) restarts_[index] = State(index).position;
  // After the seek, so that nothing of before can be left: librdkafka drops what it still holds itself.
  DropHeld(sought);
  RestartPending();
  return {};
}

// An assignment call counts as the answer to a rebalance, so these wait for an open one to be answered.
void ConsumerSession::RestartPending() {
  if (restarts_.empty() || !rebalances_.empty()) return;
  std::vector<stream::PartitionPosition> start;
  for (const auto& [index, position] : restarts_) start.push_back({index, position});
  restarts_.clear();
  Status restarted = RestartFetching(start);
  if (restarted.has_value()) return;
  for (const stream::PartitionPosition& one : start) {
    Stop(one.partition);
    ready_.push_back(stream::PartitionTrouble{one.partition, restarted.error()});
  }
}

Status ConsumerSession::RestartFetching(std::span<const stream::PartitionPosition> start) {
  rd_kafka_t* client = consumer_->client();
  if (Cooperative()) {
    TopicPartitionList stopped = MakeTopicPartitionList(start.size());
    for (const stream::PartitionPosition& one : start) {
      PartitionState& state = State(one.partition);
      if (state.fetching) AddTopicPartition(stopped, state.topic, state.partition);
    }
    if (stopped->cnt > 0) {
      FIRN_TRY(ToStatus(rd_kafka_incremental_unassign(client, stopped.get()), "restarting a fetch"));
    }
    for (const stream::PartitionPosition& one : start) State(one.partition).fetching = false;
    return StartFetching(start);
  }
  // Eager: an assignment is whole, so every partition starts again where it stands.
  std::vector<stream::PartitionPosition> all(start.begin(), start.end());
  for (const auto& [name, index] : assigned_) {
    const PartitionState& state = State(index);
    bool named = std::ranges::any_of(start, [index = index](const auto& one) { return one.partition == index; });
    if (!named && state.reading) all.push_back({index, state.position});
  }
  for (PartitionState& state : states_) state.fetching = false;
  // In two steps: when the second is handled, the first has stopped every fetch.
  if (rd_kafka_resp_err_t code = rd_kafka_assign(client, nullptr); code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return std::unexpected<Error>(ToError(code, "restarting a fetch"));
  }
  return StartFetching(all);
}

void ConsumerSession::Stop(Index index) {
  PartitionState& state = State(index);
  state.reading = false;
  restarts_.erase(index);
  if (!state.fetching || !paused_.emplace(state.topic, state.partition).second) return;
  TopicPartitionList list = MakeTopicPartitionList(1);
  AddTopicPartition(list, state.topic, state.partition);
  rd_kafka_pause_partitions(consumer_->client(), list.get());
}

void ConsumerSession::DropHeld(const std::set<Index>& partitions) {
  std::set<TopicPartition> names;
  for (Index index : partitions) names.emplace(State(index).topic, State(index).partition);
  size_t kept = 0;
  for (size_t i = 0; i < held_count_; ++i) {
    rd_kafka_message_t* message = held_[i];
    if (message->rkt != nullptr && names.contains({rd_kafka_topic_name(message->rkt), message->partition})) {
      rd_kafka_message_destroy(message);
    } else {
      held_[kept++] = message;
    }
  }
  held_count_ = kept;
  // What Poll was about to say of them is past.
  std::erase_if(ready_, [&](stream::SourceEvent& event) {
    if (const auto* trouble = std::get_if<stream::PartitionTrouble>(&event)) {
      return partitions.contains(trouble->partition);
    }
    auto* chunk = std::get_if<std::unique_ptr<stream::RecordChunk>>(&event);
    if (chunk == nullptr) return false;
    static_cast<KafkaRecordChunk&>(**chunk).Drop(partitions);  // no other kind is made here
    return (*chunk)->positions().empty();
  });
}

void ConsumerSession::TakeRecords() {
  if (held_count_ == 0) {
    ssize_t taken = rd_kafka_consume_batch_queue(consumer_->records_queue(), 0, held_.data(), take_max_);
    held_count_ = static_cast<size_t>(std::max<ssize_t>(taken, 0));
    held_since_ = identities_.Now();
    if (held_count_ == 0) return;
  }
  if (!identities_.Confirmed(held_since_)) {
    AskForIdentities();
    return;
  }
  BuildChunk();
}

ConsumerSession::PartitionState* ConsumerSession::FindReading(const rd_kafka_message_t* message, Index& index) {
  if (message->rkt == nullptr) return nullptr;
  auto found = assigned_.find({rd_kafka_topic_name(message->rkt), message->partition});
  if (found == assigned_.end()) return nullptr;
  index = found->second;
  return &State(index);
}

void ConsumerSession::BuildChunk() {
  const std::span<rd_kafka_message_t* const> messages(held_.data(), std::exchange(held_count_, 0));
  auto chunk = std::make_unique<KafkaRecordChunk>(consumer_, messages.size());
  std::set<Index> moved;
  // All that goes wrong comes behind the chunk: no answer to it may overtake records from before it.
  std::vector<stream::SourceEvent> after;
  explain_left_ = kExplainTimeMax;
  // Messages of a partition come in long runs, so the last one's partition is nearly always this one's.
  const rd_kafka_topic_t* last_topic = nullptr;
  int32_t last_partition = -1;
  Index index = 0;
  PartitionState* state = nullptr;
  bool has_moved = false;
  for (rd_kafka_message_t* message : messages) {
    if (message->rkt != last_topic || message->partition != last_partition || last_topic == nullptr) {
      state = FindReading(message, index);
      last_topic = message->rkt;
      last_partition = message->partition;
      has_moved = false;
    }
    RdPtr<rd_kafka_message_t> owned(message);
    if (state == nullptr || !state->reading || restarts_.contains(index)) continue;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      int64_t before = state->position.offset;
      OnPartitionError(index, message, after);
      if (state->position.offset != before) moved.insert(index);
      continue;
    }
    // librdkafka fetches a record twice when a rebalance pauses the partition between taking it and noting so.
    if (message->offset < state->position.offset) continue;
    const stream::Record* record = chunk->Add(message, index);
    if (record == nullptr) {
      Stop(index);
      after.push_back(stream::PartitionTrouble{
          index, Error(ErrorCode::kCorruption,
                       fmt::format("{}: the headers of a record cannot be read; decide with 'firn positions' where to "
                                   "go on; offset: {}", NameOf(index), message->offset))});
      continue;
    }
    (void)owned.release();  // the chunk's now
    state->position = {.offset = record->offset + 1,
                       .leader_epoch = record->leader_epoch,
                       .timestamp_ms = record->timestamp_ms};
    if (!std::exchange(has_moved, true)) moved.insert(index);
  }
  if (!moved.empty()) {
    std::vector<stream::PartitionPosition> positions;
    for (Index one : moved) positions.push_back({one, State(one).position});
    chunk->Finish(std::move(positions));
    const size_t record_bytes = chunk->bytes() / std::max<size_t>(1, chunk->records().size());
    take_max_ = std::clamp<size_t>(kChunkBytesMax / std::max<size_t>(1, record_bytes), 1, held_.size());
    ready_.push_back(stream::SourceEvent(std::unique_ptr<stream::RecordChunk>(std::move(chunk))));
  }
  for (stream::SourceEvent& event : after) ready_.push_back(std::move(event));
}

void ConsumerSession::OnPartitionError(Index index, const rd_kafka_message_t* message,
                                       std::vector<stream::SourceEvent>& after) {
  PartitionState& state = State(index);
  if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
    OnEndOfPartition(state, message->offset);
    return;
  }
  std::optional<Error> error;
  if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET) {
    error = ExplainReset(index, message);
    if (!error.has_value()) return;
  } else {
    Error said = ToTrouble(message->err, NameOf(index), rd_kafka_message_errstr(message), was_let_in_);
    if (!EndsReading(message->err)) {
      if (IsWorthReporting(said)) after.push_back(stream::SourceTrouble{std::move(said)});
      return;
    }
    error = std::move(said);
  }
  Stop(index);
  after.push_back(stream::PartitionTrouble{index, std::move(*error)});
}

// The end lies behind transaction markers and aborted data, which never come as records.
void ConsumerSession::OnEndOfPartition(PartitionState& state, int64_t offset) {
  if (offset <= state.position.offset) return;
  // A marker may be of a newer leader epoch than the last record. With the older epoch a later check would take the
  // marker for a truncated part of the log. librdkafka knows the epoch where it saw the marker itself.
  TopicPartitionList list = MakeTopicPartitionList(1);
  rd_kafka_topic_partition_t* place = AddTopicPartition(list, state.topic, state.partition);
  rd_kafka_position(consumer_->client(), list.get());
  bool known = place->err == RD_KAFKA_RESP_ERR_NO_ERROR && place->offset == offset;
  state.position.leader_epoch = known ? rd_kafka_topic_partition_get_leader_epoch(place) : -1;
  state.position.offset = offset;
}

// librdkafka has stopped fetching: the offset is outside the log, or its leader epoch says that the log was cut.
// nullopt when the word is old news: then the fetch starts again where we stand, which is harmless in any case.
std::optional<Error> ConsumerSession::ExplainReset(Index index, const rd_kafka_message_t* message) {
  PartitionState& state = State(index);
  const int64_t wanted = state.position.offset;
  const auto timeout = std::min(kWatermarkTimeout, explain_left_);
  if (timeout <= std::chrono::milliseconds(0)) {
    if (message->offset < 0 || message->offset == wanted) return ResetError(index, message);
    restarts_[index] = state.position;
    return std::nullopt;
  }
  int64_t low = -1;
  int64_t high = -1;
  const auto asked = std::chrono::steady_clock::now();
  rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(
      consumer_->client(), state.topic.c_str(), state.partition, &low, &high, static_cast<int>(timeout.count()));
  explain_left_ -= std::chrono::ceil<std::chrono::milliseconds>(std::chrono::steady_clock::now() - asked);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return ResetError(index, message);
  if (wanted < low || wanted > high) {
    return Error(ErrorCode::kNotFound,
                 fmt::format("{}: the offset is outside the log; raise the topic's retention, and decide with 'firn "
                             "positions' where to go on; log [{}, {}), wanted: {}",
                             NameOf(index), low, high, wanted));
  }
  if (message->offset >= 0 && message->offset != wanted) {
    restarts_[index] = state.position;
    return std::nullopt;
  }
  return Error(ErrorCode::kConflict,
               fmt::format("{}: the log was truncated below the position and has grown again; decide with 'firn "
                           "positions' where to go on; {}; log [{}, {}), wanted: {}",
                           NameOf(index), rd_kafka_message_errstr(message), low, high, wanted));
}

// Without a word about the log's ends, which the brokers did not say in time.
Error ConsumerSession::ResetError(Index index, const rd_kafka_message_t* message) {
  return Error(ErrorCode::kNotFound, fmt::format("{}: the log does not hold the offset ({}): {}", NameOf(index),
                                                 rd_kafka_message_errstr(message), State(index).position.offset));
}

}  // namespace firn::kafka
