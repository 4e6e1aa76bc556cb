#include "firn/sim/sim_broker.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "firn/base/check.h"

namespace firn::sim {

SimBroker::SimBroker(env::Clock& clock, env::Random& random, SimFaults& faults, LogHistory& history,
                     SimBrokerOptions options)
    : clock_(clock),
      random_(random),
      faults_(faults),
      history_(history),
      options_(std::move(options)),
      group_(clock, random, faults, options_.group) {}

SimLog* SimBroker::MutableLog(const std::string& topic, int32_t partition) {
  auto found = topics_.find(topic);
  if (found == topics_.end() || partition < 0 || partition >= partition_count(topic)) return nullptr;
  return &found->second.logs[static_cast<size_t>(partition)];
}

const SimLog* SimBroker::log(const std::string& topic, int32_t partition) const {
  return const_cast<SimBroker*>(this)->MutableLog(topic, partition);
}

const SimLog* SimBroker::Find(const stream::SourcePartition& partition) const {
  if (partition.cluster_id != options_.cluster_id || topic_id(partition.topic) != partition.topic_id) return nullptr;
  return log(partition.topic, partition.partition);
}

ingest::PartitionKey SimBroker::KeyOf(const std::string& topic, int32_t partition) const {
  return {options_.cluster_id, topic_id(topic), partition};
}

std::vector<std::string> SimBroker::topics() const {
  std::vector<std::string> names;
  for (const auto& [name, topic] : topics_) names.push_back(name);
  return names;
}

int32_t SimBroker::partition_count(const std::string& topic) const {
  auto found = topics_.find(topic);
  return found == topics_.end() ? 0 : static_cast<int32_t>(found->second.logs.size());
}

std::string SimBroker::topic_id(const std::string& topic) const {
  auto found = topics_.find(topic);
  return found == topics_.end() ? "" : found->second.id;
}

void SimBroker::Measure(const std::string& topic, int32_t partition) {
  const SimLog* log = this->log(topic, partition);
  PartitionHistory& history = history_.partition(KeyOf(topic, partition));
  history.topic = topic;
  history.start = log->start();
  history.end = log->end();
  history.readable_end = log->last_stable_offset();
  history.end_max = std::max(history.end_max, log->end());
}

void SimBroker::Remove(const std::vector<int64_t>& ids, Removal removal) {
  for (int64_t id : ids) history_.Removed(id, removal, clock_.WallMs());
}

void SimBroker::ShareOut() {
  SimGroup::Partitions all;
  for (const auto& [name, topic] : topics_) {
    for (size_t i = 0; i < topic.logs.size(); ++i) {
      all.push_back({options_.cluster_id, topic.id, name, static_cast<int32_t>(i)});
    }
  }
  group_.SetPartitions(std::move(all));
}

void SimBroker::CreateTopic(const std::string& topic, int32_t partitions) {
  if (topics_.contains(topic)) return;
  topics_[topic] = Topic{fmt::format("{}-id-{}", topic, next_topic_++),
                         std::vector<SimLog>(static_cast<size_t>(std::max(partitions, 0)))};
  for (int32_t i = 0; i < partitions; ++i) Measure(topic, i);
  ShareOut();
}

void SimBroker::DeleteTopic(const std::string& topic) {
  auto found = topics_.find(topic);
  if (found == topics_.end()) return;
  for (int32_t i = 0; i < partition_count(topic); ++i) {
    PartitionHistory& history = history_.partition(KeyOf(topic, i));
    history.deleted = true;
    Remove(history.ids, Removal::kTopicDeleted);
  }
  for (auto& [transaction, places] : transactions_) {
    std::erase_if(places, [&](const auto& place) { return place.first == topic; });
  }
  topics_.erase(found);
  ShareOut();
}

void SimBroker::RecreateTopic(const std::string& topic, int32_t partitions) {
  if (!topics_.contains(topic)) return;
  faults_.Note(FaultKind::kTopicRecreated, topic);
  DeleteTopic(topic);
  CreateTopic(topic, partitions);
}

void SimBroker::AddPartitions(const std::string& topic, int32_t count) {
  auto found = topics_.find(topic);
  if (found == topics_.end() || count < 1) return;
  faults_.Note(FaultKind::kPartitionsAdded, topic);
  const int32_t before = partition_count(topic);
  found->second.logs.resize(found->second.logs.size() + static_cast<size_t>(count));
  for (int32_t i = before; i < before + count; ++i) Measure(topic, i);
  ShareOut();
}

int64_t SimBroker::Produce(const std::string& topic, int32_t partition, const Production& production) {
  SimLog* log = MutableLog(topic, partition);
  if (log == nullptr) return -1;
  auto transaction = transactions_.find(production.transaction);
  ProducedRecord record;
  record.partition = KeyOf(topic, partition);
  record.offset = log->end();
  record.leader_epoch = log->leader_epoch();
  record.table = production.shape == ValueShape::kUnroutable ? "" : production.table;
  record.shape = production.shape;
  record.replaces_delivered = record.offset < history_.partition(record.partition).delivered_end;
  if (transaction != transactions_.end()) record.fate = RecordFate::kOpen;
  LogEntry entry;
  entry.timestamp_ms = production.timestamp_ms >= 0 ? production.timestamp_ms : clock_.WallMs();
  entry.key = production.key;
  entry.headers = HeadersOf(history_.next_id());
  entry.value = ValueOf(production.shape, history_.next_id(), partition, record.offset,
                        production.routing_text.empty() ? record.table : production.routing_text,
                        production.kind.empty() ? "" : fmt::format(R"(,"kind":"{}")", production.kind));
  record.kind = production.kind;
  record.value_hash = HashOf(entry.value);
  record.key_hash = HashOf(entry.key);
  record.headers_hash = HashOf(entry.headers);
  record.timestamp_ms = entry.timestamp_ms;
  entry.id = history_.Produced(std::move(record)).id;
  if (transaction != transactions_.end()) {
    entry.transaction = transaction->first;
    transaction->second.emplace(topic, partition);
  }
  int64_t offset = log->Append(std::move(entry));
  Measure(topic, partition);
  return offset;
}

TransactionId SimBroker::BeginTransaction() {
  faults_.Note(FaultKind::kTransactionOpened, "");
  transactions_[next_transaction_];
  return next_transaction_++;
}

void SimBroker::EndTransaction(TransactionId transaction, bool committed) {
  auto found = transactions_.find(transaction);
  if (found == transactions_.end()) return;
  if (!committed) faults_.Note(FaultKind::kTransactionAborted, "");
  for (const auto& [topic, partition] : found->second) {
    SimLog* log = MutableLog(topic, partition);
    for (int64_t id : log->EndTransaction(transaction, committed, clock_.WallMs())) history_.Decided(id, committed);
    Measure(topic, partition);
  }
  transactions_.erase(found);
}

std::vector<TransactionId> SimBroker::open_transactions() const {
  std::vector<TransactionId> open;
  for (const auto& [transaction, places] : transactions_) open.push_back(transaction);
  return open;
}

void SimBroker::Retain(const std::string& topic, int32_t partition, int64_t new_start) {
  SimLog* log = MutableLog(topic, partition);
  if (log == nullptr || new_start <= log->start()) return;
  faults_.Note(FaultKind::kLogRetained, fmt::format("{}/{} to {}", topic, partition, new_start));
  Remove(log->TruncateBefore(new_start), Removal::kRetention);
  Measure(topic, partition);
}

void SimBroker::Compact(const std::string& topic, int32_t partition, int64_t below) {
  SimLog* log = MutableLog(topic, partition);
  if (log == nullptr) return;
  std::vector<int64_t> gone = log->Compact(below);
  if (!gone.empty()) {
    faults_.Note(FaultKind::kLogCompacted, fmt::format("{}/{}: {} records", topic, partition, gone.size()));
  }
  Remove(gone, Removal::kCompacted);
}

void SimBroker::TruncateByUncleanElection(const std::string& topic, int32_t partition, int64_t new_end) {
  SimLog* log = MutableLog(topic, partition);
  if (log == nullptr || new_end >= log->end()) return;
  faults_.Note(FaultKind::kLogTruncated, fmt::format("{}/{} to {}", topic, partition, new_end));
  Remove(log->TruncateAfter(new_end), Removal::kTruncated);
  log->ElectLeader();
  Measure(topic, partition);
  PartitionHistory& history = history_.partition(KeyOf(topic, partition));
  history.overtaken |= log->end() < history.delivered_end;
}

void SimBroker::ElectLeader(const std::string& topic, int32_t partition) {
  SimLog* log = MutableLog(topic, partition);
  if (log == nullptr) return;
  faults_.Note(FaultKind::kLeaderElected, fmt::format("{}/{}", topic, partition));
  log->ElectLeader();
}

void SimBroker::TakeDown(int64_t duration_ms) {
  group_.Tick(IsUp());
  down_unmet_ = duration_ms > 0;
  down_until_ms_ = std::max(down_until_ms_, clock_.BootMs() + duration_ms);
  group_.Tick(IsUp());
}

void SimBroker::MeetOutage() {
  if (std::exchange(down_unmet_, false)) faults_.Note(FaultKind::kBrokersDown, "is met");
}

SimGroup& SimBroker::group() {
  group_.Tick(IsUp());
  return group_;
}

void SimBroker::CommitGroupOffset(const stream::SourcePartition& partition, int64_t offset) {
  group_offsets_[{partition.topic, partition.partition}] = offset;
  if (on_group_offset_) on_group_offset_(partition, offset);
}

void SimBroker::DeleteGroup() {
  faults_.Note(FaultKind::kGroupDeleted, "");
  group_offsets_.clear();
}

void SimBroker::MarkDelivered(const stream::SourcePartition& partition, const std::vector<const LogEntry*>& entries,
                              int64_t position) {
  for (const LogEntry* entry : entries) history_.Delivered(entry->id);
  PartitionHistory& history = history_.partition({partition.cluster_id, partition.topic_id, partition.partition});
  history.delivered_end = std::max(history.delivered_end, position);
}

}  // namespace firn::sim
