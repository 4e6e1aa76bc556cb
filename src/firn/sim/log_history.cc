#include "firn/sim/log_history.h"

#include <fmt/format.h>

#include <algorithm>

#include "firn/base/check.h"

namespace firn::sim {

std::string_view ValueShapeName(ValueShape shape) {
  switch (shape) {
    case ValueShape::kRow: return "row";
    case ValueShape::kMalformed: return "malformed";
    case ValueShape::kWrongType: return "wrong_type";
    case ValueShape::kTombstone: return "tombstone";
    case ValueShape::kEmpty: return "empty";
    case ValueShape::kUnroutable: return "unroutable";
  }
  return "?";
}

std::string_view RemovalName(Removal removal) {
  switch (removal) {
    case Removal::kNone: return "none";
    case Removal::kCompacted: return "compacted";
    case Removal::kTruncated: return "truncated";
    case Removal::kRetention: return "retention";
    case Removal::kTopicDeleted: return "topic_deleted";
  }
  return "?";
}

Demand ProducedRecord::demand() const {
  if (fate != RecordFate::kCommitted) return Demand::kNever;
  switch (removal) {
    // A reader that stood beyond the cut goes on there, or stands still: what has grown below is not its to read.
    case Removal::kNone: return replaces_delivered ? Demand::kAtMostOnce : Demand::kExactlyOnce;
    // It may have been given out by a worker that died before its commit; who reads next does not meet it.
    case Removal::kCompacted:
    case Removal::kTruncated: return delivered ? Demand::kAtMostOnce : Demand::kNever;
    // A position passes an offset that is below the log's start only if it was read before: a reader that comes too
    // late has to stand still, not to go on behind the gap.
    case Removal::kRetention:
    case Removal::kTopicDeleted: return replaces_delivered ? Demand::kAtMostOnce : Demand::kExactlyOnce;
  }
  return Demand::kNever;
}

ProducedRecord& LogHistory::Produced(ProducedRecord record) {
  record.id = next_id();
  if (!keeps_) {
    ++counted_;
    newest_ = std::move(record);
    return newest_;
  }
  PartitionHistory& partition = partitions_[record.partition];
  partition.ids.push_back(record.id);
  partition.by_offset[record.offset].push_back(record.id);
  records_.push_back(std::move(record));
  return records_.back();
}

const ProducedRecord* LogHistory::Find(int64_t id) const {
  return keeps_ && id >= 1 && id <= record_count() ? &record(id) : nullptr;
}

const ProducedRecord* LogHistory::FindAt(const ingest::PartitionKey& key, int64_t offset, uint64_t value_hash,
                                         uint64_t key_hash) const {
  auto partition = partitions_.find(key);
  if (partition == partitions_.end()) return nullptr;
  auto lives = partition->second.by_offset.find(offset);
  if (lives == partition->second.by_offset.end()) return nullptr;
  const ProducedRecord* found = nullptr;
  for (int64_t id : lives->second) {
    const ProducedRecord& candidate = record(id);
    if (candidate.value_hash != value_hash) continue;
    // Tombstones of two lives have the same value: the one with the key is meant, then the one that somebody has read.
    const bool better = found == nullptr ? true
                        : candidate.key_hash != found->key_hash ? candidate.key_hash == key_hash
                                                                : !found->delivered;
    if (better) found = &candidate;
  }
  return found;
}

void LogHistory::Removed(int64_t id, Removal removal, int64_t now_ms) {
  if (!keeps_) return;
  ProducedRecord& removed = record(id);
  if (removed.removal != Removal::kNone) return;
  removed.removal = removal;
  removed.removed_at_ms = now_ms;
}

std::optional<std::string> ValueOf(ValueShape shape, int64_t id, int32_t partition, int64_t offset,
                                   std::string_view table, std::string_view extra_members) {
  switch (shape) {
    case ValueShape::kTombstone: return std::nullopt;
    case ValueShape::kEmpty: return std::string();
    case ValueShape::kMalformed:
      return fmt::format(R"({{"table":"{}","id":{},"p":{},"o":{},)", table, id, partition, offset);
    case ValueShape::kWrongType:
      return fmt::format(R"({{"id":"no. {}","p":{},"o":{},"table":"{}"{}}})", id, partition, offset, table,
                         extra_members);
    case ValueShape::kUnroutable:
    case ValueShape::kRow: break;
  }
  return fmt::format(R"({{"id":{},"p":{},"o":{},"table":"{}"{}}})", id, partition, offset, table, extra_members);
}

Headers HeadersOf(int64_t id) {
  if (id % 4 != 0) return {};
  Headers headers = {{"trace", fmt::format("t-{}", id)}};
  if (id % 8 == 0) headers.emplace_back("empty", std::nullopt);
  return headers;
}

uint64_t HashOf(const Headers& headers) {
  uint64_t hash = headers.size();
  for (const auto& [name, value] : headers) hash = (hash * 31 + HashOf(name)) * 31 + HashOf(value);
  return hash;
}

uint64_t HashOf(const std::optional<std::string>& value) {
  uint64_t hash = value.has_value() ? 0xcbf29ce484222325 : 0x9e3779b97f4a7c15;
  if (!value.has_value()) return hash;
  for (char byte : *value) hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001b3;
  return hash;
}

}  // namespace firn::sim
