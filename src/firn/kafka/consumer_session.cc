// The group's half: Poll itself, rebalances, errors, topic identities. consumer_session_fetch.cc has the records' half.
#include "firn/kafka/consumer_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "firn/base/check.h"
#include "firn/base/log.h"
#include "firn/kafka/kafka_error.h"

namespace firn::kafka {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kWaitMsMax = 250;  // how late a retry that no queue announces may be
constexpr int64_t kWaitMsHeld = 20;  // while records wait for a second question about their topics
constexpr auto kTroubleInterval = std::chrono::seconds(30);
constexpr auto kLeftOutInterval = std::chrono::seconds(3);

// About a topic that is subscribed to, with the topic's name in the text.
bool IsTopicError(rd_kafka_resp_err_t code) {
  return code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
         code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || code == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION;
}

}  // namespace

ConsumerSession::ConsumerSession(std::shared_ptr<ConsumerHandle> consumer, PartitionTable& table,
                                 SessionOptions options)
    : consumer_(std::move(consumer)),
      table_(table),
      options_(std::move(options)),
      identities_(consumer_, options_.topic_identity_by_name),
      held_(static_cast<size_t>(options_.chunk_records_max)),
      take_max_(held_.size()) {}

ConsumerSession::~ConsumerSession() {
  for (size_t i = 0; i < held_count_; ++i) rd_kafka_message_destroy(held_[i]);
}

Result<stream::SourceEvent> ConsumerSession::Poll(int64_t timeout_ms, bool want_records) {
  const auto timeout = std::chrono::milliseconds(std::max<int64_t>(timeout_ms, 0));
  if (ended_.has_value()) {
    std::this_thread::sleep_for(timeout);  // a caller that polls on must not spin
    return std::unexpected<Error>(*ended_);
  }
  Result<stream::SourceEvent> event = PollUntil(Clock::now() + timeout, want_records);
  if (!event.has_value()) ended_ = event.error();
  return event;
}

Result<stream::SourceEvent> ConsumerSession::PollUntil(Clock::time_point deadline, bool want_records) {
  while (true) {
    FIRN_TRY(ServeGroupQueue());
    DeliverRebalances();
    RestartPending();
    AskForLeftOut();
    if (ready_.empty() && want_records) TakeRecords();
    if (!ready_.empty()) {
      stream::SourceEvent event = std::move(ready_.front());
      ready_.pop_front();
      return event;
    }
    const auto remaining = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (remaining <= 0) return stream::SourceEvent(stream::NothingYet{});
    // Records that wait for their topics' identities are freed by an answer on the group queue.
    const bool records = want_records && held_count_ == 0;
    consumer_->Wait(records, std::min<int64_t>(remaining, held_count_ == 0 ? kWaitMsMax : kWaitMsHeld));
  }
}

Status ConsumerSession::ServeGroupQueue() {
  // Bounded by what librdkafka has put there; each look also tells the group that we are alive.
  while (RdPtr<rd_kafka_event_t> event{rd_kafka_queue_poll(consumer_->group_queue(), 0)}) {
    FIRN_TRY(OnGroupEvent(event.get()));
  }
  return {};
}

Status ConsumerSession::OnGroupEvent(rd_kafka_event_t* event) {
  switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_REBALANCE:
      OnRebalance(event);
      return {};
    case RD_KAFKA_EVENT_ERROR:
      return OnError(event);
    case RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT: {
      FIRN_ASSIGN(std::vector<Error> errors, identities_.OnAnswer(event));
      for (Error& error : errors) ReportTrouble(std::move(error));
      StopRecreatedTopics();
      TakeUpLeftOut();
      return {};
    }
    case RD_KAFKA_EVENT_OFFSET_COMMIT:
      if (rd_kafka_resp_err_t code = rd_kafka_event_error(event);
          code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR__NO_OFFSET) {
        // Only other people's lag tools read group offsets; the next commit heals it.
        LogDebug("group offsets were not committed", {{"error", rd_kafka_err2str(code)}});
      }
      return {};
    case RD_KAFKA_EVENT_STATS:
      if (options_.on_statistics) options_.on_statistics(rd_kafka_event_stats(event));
      return {};
    case RD_KAFKA_EVENT_FETCH:
      return Fail(ErrorCode::kInternal, "a record arrived on the group's queue, where positions are not kept");
    default:
      return {};
  }
}

void ConsumerSession::OnRebalance(rd_kafka_event_t* event) {
  Rebalance rebalance{.kind = RebalanceKind::kAssign};
  if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
    rebalance.kind = rd_kafka_assignment_lost(consumer_->client()) != 0 ? RebalanceKind::kLost : RebalanceKind::kRevoke;
  }
  const rd_kafka_topic_partition_list_t* list = rd_kafka_event_topic_partition_list(event);
  for (int i = 0; list != nullptr && i < list->cnt; ++i) {
    rebalance.names.emplace_back(list->elems[i].topic, list->elems[i].partition);
  }
  if (rebalance.kind == RebalanceKind::kAssign) {
    was_let_in_ = true;
  } else if (Cooperative()) {
    for (const TopicPartition& name : rebalance.names) left_out_.erase(name);
  } else {
    left_out_.clear();
  }
  // An answer that is under way may be older than this event.
  rebalance.wanted_answer = identities_.asked() + 1;
  rebalances_.push_back(std::move(rebalance));
}

void ConsumerSession::DeliverRebalances() {
  for (size_t i = 0; i < rebalances_.size();) {
    Rebalance& rebalance = rebalances_[i];
    if (rebalance.delivered) {
      // What follows may take away what this one gives.
      if (rebalance.late) return;
      ++i;
      continue;
    }
    if (rebalance.kind != RebalanceKind::kAssign) {
      if (DeliverReleased(rebalance)) {
        ++i;
        continue;
      }
      AnswerRevoked(rebalance);
    } else {
      if (!Identify(rebalance)) return;  // and nothing after it
      if (!rebalance.names.empty()) {
        DeliverAssigned(rebalance);
        continue;
      }
      // Nobody has to do anything, but the protocol wants its answer.
      if (!rebalance.late) {
        if (Status answered = StartFetching({}); !answered.has_value()) ReportTrouble(std::move(answered.error()));
      }
    }
    rebalances_.erase(rebalances_.begin() + static_cast<ptrdiff_t>(i));
  }
}

// Returns false while the topics' ids are not known. A topic that was deleted after the group shared it out is left
// out: the others need not wait for it.
bool ConsumerSession::Identify(Rebalance& rebalance) {
  if (rebalance.names.empty() || options_.topic_identity_by_name) return true;
  if (identities_.answered() < rebalance.wanted_answer) {
    AskForIdentities();
    return false;
  }
  for (const auto& [topic, partition] : rebalance.names) {
    if (identities_.Find(topic).has_value() || identities_.IsMissing(topic)) continue;
    // Not for us to see at this moment; the trouble was reported.
    rebalance.wanted_answer = identities_.asked() + 1;
    return false;
  }
  std::erase_if(rebalance.names, [&](const TopicPartition& name) {
    if (identities_.Find(name.first).has_value()) return false;
    LogWarning("a partition is left out until its topic exists", {{"topic", name.first}, {"partition", name.second}});
    left_out_.insert(name);
    return true;
  });
  ask_left_out_at_ = Clock::now() + kLeftOutInterval;
  return true;
}

void ConsumerSession::DeliverAssigned(Rebalance& rebalance) {
  std::vector<Index> partitions;
  for (const auto& [topic, partition] : rebalance.names) {
    std::string id = *identities_.Find(topic);
    Index index = table_.IndexOf(
        {.cluster_id = options_.cluster_id, .topic_id = id, .topic = topic, .partition = partition});
    PartitionState& state = State(index);
    state.topic = topic;
    state.partition = partition;
    state.topic_id = std::move(id);
    partitions.push_back(index);
  }
  rebalance.open.insert(partitions.begin(), partitions.end());
  rebalance.delivered = true;
  ready_.push_back(stream::PartitionsAssigned{std::move(partitions)});
}

// Returns false when nobody has to let go of anything.
bool ConsumerSession::DeliverReleased(Rebalance& rebalance) {
  std::vector<Index> partitions;
  for (const TopicPartition& name : rebalance.names) {
    auto found = assigned_.find(name);
    if (found == assigned_.end()) continue;
    partitions.push_back(found->second);
    rebalance.open.insert(found->second);
  }
  if (partitions.empty()) return false;
  rebalance.delivered = true;
  if (rebalance.kind == RebalanceKind::kLost) {
    ready_.push_back(stream::PartitionsLost{std::move(partitions)});
  } else {
    ready_.push_back(stream::PartitionsRevoked{std::move(partitions)});
  }
  return true;
}

void ConsumerSession::AskForIdentities(bool of_left_out) {
  std::set<std::string> topics;
  for (const auto& [name, index] : assigned_) topics.insert(name.first);
  for (const Rebalance& rebalance : rebalances_) {
    if (rebalance.kind != RebalanceKind::kAssign) continue;
    for (const TopicPartition& name : rebalance.names) topics.insert(name.first);
  }
  if (of_left_out) {
    for (const TopicPartition& name : left_out_) topics.insert(name.first);
  }
  identities_.Ask(topics);
}

// The group does not share a topic out again that is back before librdkafka has missed it.
void ConsumerSession::AskForLeftOut() {
  if (left_out_.empty() || !rebalances_.empty() || Clock::now() < ask_left_out_at_) return;
  ask_left_out_at_ = Clock::now() + kLeftOutInterval;
  AskForIdentities(/*of_left_out=*/true);
}

void ConsumerSession::TakeUpLeftOut() {
  if (left_out_.empty() || !rebalances_.empty()) return;
  Rebalance rebalance{.kind = RebalanceKind::kAssign, .wanted_answer = identities_.answered(), .late = true};
  std::erase_if(left_out_, [&](const TopicPartition& name) {
    if (!identities_.Find(name.first).has_value()) return false;
    rebalance.names.push_back(name);
    return true;
  });
  if (!rebalance.names.empty()) rebalances_.push_back(std::move(rebalance));
}

void ConsumerSession::StopRecreatedTopics() {
  for (const auto& [name, index] : assigned_) {
    if (State(index).reading) StopIfRecreated(index);
  }
}

// Whether the partition's topic is another one now than when it was assigned: then it is not read.
bool ConsumerSession::StopIfRecreated(Index index) {
  PartitionState& state = State(index);
  std::optional<std::string> id = identities_.Find(state.topic);
  if (!id.has_value() || *id == state.topic_id) return false;
  Stop(index);
  ready_.push_back(stream::PartitionTrouble{
      index, Error(ErrorCode::kConflict,
                   fmt::format("{}: the topic was deleted and created again, positions of the old one mean nothing "
                               "in it; restart to read the new one; its id is now '{}', was '{}'",
                               NameOf(index), *id, state.topic_id))});
  return true;
}

Status ConsumerSession::OnError(rd_kafka_event_t* event) {
  rd_kafka_resp_err_t code = rd_kafka_event_error(event);
  std::string detail = rd_kafka_event_error_string(event);
  if (code == RD_KAFKA_RESP_ERR__FATAL || rd_kafka_event_error_is_fatal(event) != 0) {
    char text[512] = "";
    rd_kafka_resp_err_t reason = rd_kafka_fatal_error(consumer_->client(), text, sizeof(text));
    if (reason == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID) {
      return Fail(ErrorCode::kInvalidInput,
                  "another member of the group took over; give each process its own 'group.instance.id'");
    }
    return std::unexpected<Error>(ToError(reason, "the Kafka consumer has failed for good", text));
  }
  RdPtr<rd_kafka_topic_partition_t> place(rd_kafka_event_topic_partition(event));
  if (place != nullptr) {
    // A partition's own errors come with its records; one that strays here is told, and does not move its position.
    ReportTrouble(ToTrouble(code, fmt::format("partition '{}/{}'", place->topic, place->partition), detail,
                            was_let_in_));
  } else if (IsTopicError(code)) {
    ReportTrouble(ToError(code, "subscribed topic", detail));
  } else {
    ReportTrouble(ToTrouble(code, "Kafka", detail, was_let_in_));
  }
  return {};
}

// At most once in a while for each code.
bool ConsumerSession::IsWorthReporting(const Error& error) {
  const auto now = Clock::now();
  auto [reported, first] = troubles_reported_.try_emplace(error.code(), now);
  if (!first) {
    if (now - reported->second < kTroubleInterval) {
      LogDebug("source trouble, already reported", {{"error", error}});
      return false;
    }
    reported->second = now;
  }
  return true;
}

void ConsumerSession::ReportTrouble(Error error) {
  if (IsWorthReporting(error)) ready_.push_back(stream::SourceTrouble{std::move(error)});
}

bool ConsumerSession::Cooperative() const {
  return std::string_view(rd_kafka_rebalance_protocol(consumer_->client())) == "COOPERATIVE";
}

Status ConsumerSession::Assign(std::span<const stream::PartitionPosition> start) {
  auto rebalance = std::ranges::find_if(
      rebalances_, [](const Rebalance& one) { return one.kind == RebalanceKind::kAssign && one.delivered; });
  if (rebalance == rebalances_.end()) {
    return Fail(ErrorCode::kInvalidInput, "Assign without an open PartitionsAssigned");
  }
  for (const stream::PartitionPosition& one : start) {
    if (!rebalance->open.contains(one.partition)) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("Assign names a partition that is not in the oldest open PartitionsAssigned: {}",
                              one.partition));
    }
    if (one.position.offset < 0) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("{}: cannot start at a negative offset: {}", NameOf(one.partition), one.position.offset));
    }
  }
  for (Index index : rebalance->open) {
    PartitionState& state = State(index);
    assigned_[{state.topic, state.partition}] = index;
  }
  DropHeld(rebalance->open);
  const bool late = rebalance->late;
  rebalances_.erase(rebalance);
  if (!late) return StartFetching(start);
  for (const stream::PartitionPosition& one : start) restarts_[one.partition] = one.position;
  RestartPending();
  return {};
}

Status ConsumerSession::AssignByHand(std::span<const stream::PartitionPosition> start) {
  for (const stream::PartitionPosition& one : start) {
    const stream::SourcePartition name = table_.At(one.partition);
    PartitionState& state = State(one.partition);
    state.topic = name.topic;
    state.partition = name.partition;
    state.topic_id = name.topic_id;
    assigned_[{state.topic, state.partition}] = one.partition;
    if (one.position.offset < 0) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("{}: cannot start at a negative offset: {}", NameOf(one.partition), one.position.offset));
    }
  }
  return StartFetching(start);
}

Status ConsumerSession::Release(std::span<const stream::PartitionIndex> partitions) {
  auto rebalance = std::ranges::find_if(
      rebalances_, [](const Rebalance& one) { return one.kind != RebalanceKind::kAssign && one.delivered; });
  if (rebalance == rebalances_.end()) {
    return Fail(ErrorCode::kInvalidInput, "Release without an open PartitionsRevoked or PartitionsLost");
  }
  for (Index index : partitions) {
    if (!rebalance->open.contains(index)) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("Release names a partition that is not in the oldest open revocation: {}", index));
    }
  }
  const std::set<Index> released(partitions.begin(), partitions.end());
  for (Index index : released) {
    PartitionState& state = State(index);
    state.reading = false;
    assigned_.erase({state.topic, state.partition});
    restarts_.erase(index);
    rebalance->open.erase(index);
  }
  DropHeld(released);
  if (!rebalance->open.empty()) return {};
  AnswerRevoked(*rebalance);
  rebalances_.erase(rebalance);
  return {};
}

void ConsumerSession::AnswerRevoked(const Rebalance& rebalance) {
  TopicPartitionList list = MakeTopicPartitionList(rebalance.names.size());
  const std::set<TopicPartition> names(rebalance.names.begin(), rebalance.names.end());
  const bool cooperative = Cooperative();
  for (PartitionState& state : states_) {
    if (!state.fetching) continue;
    // Eager: everything is given back at once.
    if (cooperative && !names.contains({state.topic, state.partition})) continue;
    AddTopicPartition(list, state.topic, state.partition);
    state.fetching = false;
  }
  Status status;
  if (cooperative) {
    status = ToStatus(rd_kafka_incremental_unassign(consumer_->client(), list.get()), "giving partitions back");
  } else if (rd_kafka_resp_err_t code = rd_kafka_assign(consumer_->client(), nullptr);
             code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    status = std::unexpected<Error>(ToError(code, "giving partitions back"));
  }
  // librdkafka refuses only when it has already let go itself (closing, fatal).
  if (!status.has_value()) LogWarning("rebalance answer was refused", {{"error", status.error()}});
}

ConsumerSession::PartitionState& ConsumerSession::State(Index index) {
  if (index >= states_.size()) states_.resize(index + 1);
  return states_[index];
}

std::string ConsumerSession::NameOf(Index index) {
  const PartitionState& state = State(index);
  return fmt::format("partition '{}/{}'", state.topic, state.partition);
}

}  // namespace firn::kafka
