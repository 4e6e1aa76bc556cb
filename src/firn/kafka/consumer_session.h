// ConsumerSession: the poll thread's half of a consumer: the group's rebalances, and records with their positions. Of
// KafkaSource, which is a member of a group, or of a lane, which has none and is given its partitions by AssignByHand.
//
// Belongs to the poll thread alone. Two queues of one ConsumerHandle are served independently: the group queue always,
// the records queue only when records are wanted. librdkafka stays in a rebalance until Assign or Release answers it,
// heartbeating all the while.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "firn/kafka/consumer_handle.h"
#include "firn/kafka/partition_table.h"
#include "firn/kafka/record_chunk.h"
#include "firn/kafka/topic_identities.h"
#include "firn/stream/record_source.h"

namespace firn::kafka {

struct SessionOptions {
  std::string cluster_id;
  bool topic_identity_by_name = false;
  int32_t chunk_records_max = 2'000;
  std::function<void(std::string_view)> on_statistics;
};

class ConsumerSession {
 public:
  ConsumerSession(std::shared_ptr<ConsumerHandle> consumer, PartitionTable& table, SessionOptions options);
  ~ConsumerSession();

  Result<stream::SourceEvent> Poll(int64_t timeout_ms, bool want_records);
  Status Assign(std::span<const stream::PartitionPosition> start);
  // Without a group: once, before the first Poll. The partitions are numbered in the table already.
  Status AssignByHand(std::span<const stream::PartitionPosition> start);
  Status Release(std::span<const stream::PartitionIndex> partitions);
  Status Seek(std::span<const stream::PartitionPosition> positions);

 private:
  using Index = stream::PartitionIndex;
  using TopicPartition = std::pair<std::string, int32_t>;

  struct PartitionState {
    std::string topic;
    int32_t partition = 0;
    std::string topic_id;
    bool fetching = false;  // in librdkafka's assignment
    bool reading = false;   // its records are given out
    stream::Position position;
  };

  enum class RebalanceKind { kAssign, kRevoke, kLost };
  struct Rebalance {
    RebalanceKind kind;
    std::vector<TopicPartition> names;
    uint64_t wanted_answer = 0;  // kAssign: ids from this question on are fresh enough
    bool late = false;           // ours, about topics that an earlier one left out; librdkafka waits for no answer
    bool delivered = false;
    std::set<Index> open;        // delivered and not yet answered for
  };

  // The group queue.
  Result<stream::SourceEvent> PollUntil(std::chrono::steady_clock::time_point deadline, bool want_records);
  Status ServeGroupQueue();
  Status OnGroupEvent(rd_kafka_event_t* event);
  void OnRebalance(rd_kafka_event_t* event);
  Status OnError(rd_kafka_event_t* event);
  void DeliverRebalances();
  bool Identify(Rebalance& rebalance);
  void DeliverAssigned(Rebalance& rebalance);
  bool DeliverReleased(Rebalance& rebalance);
  void AnswerRevoked(const Rebalance& rebalance);
  void AskForIdentities(bool of_left_out = false);
  void AskForLeftOut();
  void TakeUpLeftOut();
  void StopRecreatedTopics();
  bool StopIfRecreated(Index index);
  bool IsWorthReporting(const Error& error);
  void ReportTrouble(Error error);

  // The records queue.
  void TakeRecords();
  void BuildChunk();
  PartitionState* FindReading(const rd_kafka_message_t* message, Index& index);
  void OnPartitionError(Index index, const rd_kafka_message_t* message, std::vector<stream::SourceEvent>& after);
  void OnEndOfPartition(PartitionState& state, int64_t offset);
  std::optional<Error> ExplainReset(Index index, const rd_kafka_message_t* message);
  Error ResetError(Index index, const rd_kafka_message_t* message);
  void DropHeld(const std::set<Index>& partitions);

  // librdkafka's assignment.
  bool Cooperative() const;
  Status StartFetching(std::span<const stream::PartitionPosition> start);
  Status RestartFetching(std::span<const stream::PartitionPosition> start);
  void RestartPending();
  std::vector<Index> SeekNow(const std::vector<stream::PartitionPosition>& positions);
  void ValidateEpochs(std::span<const stream::PartitionPosition> start);
  void ForwardQueues(std::span<const stream::PartitionPosition> partitions);
  void Stop(Index index);

  PartitionState& State(Index index);
  std::string NameOf(Index index);

  const std::shared_ptr<ConsumerHandle> consumer_;
  PartitionTable& table_;
  const SessionOptions options_;
  TopicIdentities identities_;

  std::deque<PartitionState> states_;           // by Index
  std::map<TopicPartition, Index> assigned_;    // answered for with Assign, not yet with Release
  std::deque<Rebalance> rebalances_;            // oldest first
  std::deque<stream::SourceEvent> ready_;       // to be returned by Poll
  std::vector<rd_kafka_message_t*> held_;       // the first held_count_: taken from librdkafka, not yet confirmed and
  size_t held_count_ = 0;                       // given out
  size_t take_max_;                             // records at once, by the size of those that came last
  std::set<TopicPartition> paused_;             // in librdkafka, by Stop
  TopicIdentities::Moment held_since_;
  std::map<Index, stream::Position> restarts_;  // wait for the open rebalance to be answered
  std::set<TopicPartition> left_out_;           // ours, of topics that do not exist
  std::chrono::steady_clock::time_point ask_left_out_at_{};
  std::chrono::milliseconds explain_left_{};    // what explanations may still take in this Poll
  bool was_let_in_ = false;                     // the brokers have taken our credentials
  std::map<ErrorCode, std::chrono::steady_clock::time_point> troubles_reported_;
  std::optional<Error> ended_;                  // the source is at its end; every Poll says so
};

}  // namespace firn::kafka
