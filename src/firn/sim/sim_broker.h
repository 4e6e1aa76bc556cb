// SimBroker: one simulated Kafka cluster: topics, their logs, transactions, the pipeline's consumer group, outages.
//
// One OS thread, no sleeping: every call is one instant of the simulated clock. The world drives what producers and
// operators do; SimSource is how a pipeline sees it. LogHistory is told every change, SimFaults every fault. A topic
// that was deleted and made again has a new id; what the old one held stays in LogHistory.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "firn/base/error.h"
#include "firn/env/clock.h"
#include "firn/sim/fault_kinds.h"
#include "firn/sim/log_history.h"
#include "firn/sim/sim_group.h"
#include "firn/sim/sim_log.h"
#include "firn/stream/record_source.h"

namespace firn::sim {

struct SimBrokerOptions {
  std::string cluster_id = "sim-cluster";
  SimGroupOptions group;
};

// What a producer sends. The value is made by ValueOf, with the offset that the record gets.
struct Production {
  std::string table;         // where the rules send it
  std::string routing_text;  // the value's member "table"; empty: the table
  ValueShape shape = ValueShape::kRow;
  std::optional<std::string> key;
  std::string kind;          // the value's member "kind"; empty: none
  int64_t timestamp_ms = -1;  // -1: now
  TransactionId transaction = kNoTransaction;
};

class SimBroker {
 public:
  SimBroker(env::Clock& clock, env::Random& random, SimFaults& faults, LogHistory& history,
            SimBrokerOptions options = {});

  // Topics. A topic that does not exist, or a partition that it has not: nothing happens (-1, 0, empty).
  void CreateTopic(const std::string& topic, int32_t partitions);
  void DeleteTopic(const std::string& topic);
  void RecreateTopic(const std::string& topic, int32_t partitions);
  void AddPartitions(const std::string& topic, int32_t count);
  std::vector<std::string> topics() const;
  int32_t partition_count(const std::string& topic) const;
  std::string topic_id(const std::string& topic) const;

  // Producers.
  int64_t Produce(const std::string& topic, int32_t partition, const Production& production);  // the record's offset
  TransactionId BeginTransaction();
  void EndTransaction(TransactionId transaction, bool committed);
  std::vector<TransactionId> open_transactions() const;

  // What happens to a log. Offsets are brought into the log's limits.
  void Retain(const std::string& topic, int32_t partition, int64_t new_start);
  void Compact(const std::string& topic, int32_t partition, int64_t below);
  void TruncateByUncleanElection(const std::string& topic, int32_t partition, int64_t new_end);
  void ElectLeader(const std::string& topic, int32_t partition);
  const SimLog* log(const std::string& topic, int32_t partition) const;

  // Outages.
  void TakeDown(int64_t duration_ms);
  void MeetOutage();  // somebody has not reached it
  bool IsUp() const { return clock_.BootMs() >= down_until_ms_; }

  // The group; SimGroup's own calls for members.
  SimGroup& group();  // as it is now: time has passed for it
  void CommitGroupOffset(const stream::SourcePartition& partition, int64_t offset);
  // Told of each group offset as it is stored.
  using OffsetFn = std::function<void(const stream::SourcePartition& partition, int64_t offset)>;
  void set_on_group_offset(OffsetFn on_group_offset) { on_group_offset_ = std::move(on_group_offset); }
  std::map<std::pair<std::string, int32_t>, int64_t> group_offsets() const { return group_offsets_; }
  void DeleteGroup();  // what is stored of it: its offsets

  // For SimSource: the log by the full name; nullptr when the topic is gone or has another id now.
  const SimLog* Find(const stream::SourcePartition& partition) const;
  bool TopicExists(const std::string& topic) const { return topics_.contains(topic); }
  void MarkDelivered(const stream::SourcePartition& partition, const std::vector<const LogEntry*>& entries,
                     int64_t position);
  const std::string& cluster_id() const { return options_.cluster_id; }
  int64_t now_ms() const { return clock_.BootMs(); }
  LogHistory& history() { return history_; }

 private:
  struct Topic {
    std::string id;
    std::vector<SimLog> logs;
  };
  SimLog* MutableLog(const std::string& topic, int32_t partition);
  ingest::PartitionKey KeyOf(const std::string& topic, int32_t partition) const;
  void Measure(const std::string& topic, int32_t partition);  // the log's ends into the history
  void Remove(const std::vector<int64_t>& ids, Removal removal);
  void ShareOut();

  env::Clock& clock_;
  env::Random& random_;
  SimFaults& faults_;
  LogHistory& history_;
  const SimBrokerOptions options_;
  SimGroup group_;
  std::map<std::string, Topic> topics_;
  std::map<TransactionId, std::set<std::pair<std::string, int32_t>>> transactions_;  // open → where it has records
  std::map<std::pair<std::string, int32_t>, int64_t> group_offsets_;
  TransactionId next_transaction_ = 1;
  int64_t next_topic_ = 1;
  OffsetFn on_group_offset_;
  bool down_unmet_ = false;
  int64_t down_until_ms_ = INT64_MIN;
};

}  // namespace firn::sim
