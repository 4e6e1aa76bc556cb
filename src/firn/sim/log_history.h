// LogHistory: everything that was ever produced in a simulated run, and what became of it; the truth of the checker.
//
// One OS thread. The broker writes it; the checker reads it. Records have dense ids from 1, unique over all clusters,
// topics and lives of a log; each value carries its own id, partition and offset (ValueOf). A record of a log that was
// truncated keeps its place here beside the one that took its offset.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "firn/ingest/positions.h"

namespace firn::sim {

// What a record's value looks like, which decides where it has to end up: kRow in its table, the others as rejects.
enum class ValueShape : uint8_t {
  kRow,
  kMalformed,   // not JSON
  kWrongType,   // "id" is a text
  kTombstone,   // no value
  kEmpty,       // a value of no bytes
  kUnroutable,  // valid, but "table" names none
};

std::string_view ValueShapeName(ValueShape shape);

enum class RecordFate : uint8_t { kOpen, kCommitted, kAborted };
enum class Removal : uint8_t { kNone, kCompacted, kTruncated, kRetention, kTopicDeleted };
std::string_view RemovalName(Removal removal);

// What a table may hold of a record once its position has passed it.
enum class Demand : uint8_t { kExactlyOnce, kAtMostOnce, kNever };

using Headers = std::vector<std::pair<std::string, std::optional<std::string>>>;

uint64_t HashOf(const std::optional<std::string>& value);  // FNV-1a; a tombstone has a hash of its own
uint64_t HashOf(const Headers& headers);

struct ProducedRecord {
  int64_t id = 0;
  ingest::PartitionKey partition;
  int64_t offset = 0;
  int32_t leader_epoch = 0;
  std::string table;  // where the rules send it; of a record that is to be rejected: its intended table, or empty
  ValueShape shape = ValueShape::kRow;
  std::string kind;       // the value's member "kind"; empty: it has none
  uint64_t value_hash = 0;
  uint64_t key_hash = HashOf(std::nullopt);
  uint64_t headers_hash = HashOf(Headers());
  int64_t timestamp_ms = -1;
  RecordFate fate = RecordFate::kCommitted;
  Removal removal = Removal::kNone;
  int64_t removed_at_ms = -1;
  bool delivered = false;            // some source has given it out
  bool replaces_delivered = false;   // its offset had been given out before the log was truncated below it

  Demand demand() const;
  bool is_row() const { return shape == ValueShape::kRow; }
};

struct PartitionHistory {
  std::string topic;
  std::vector<int64_t> ids;                           // in the order of production
  std::map<int64_t, std::vector<int64_t>> by_offset;  // of all lives of the log
  int64_t start = 0;
  int64_t end = 0;              // high watermark
  int64_t readable_end = 0;     // last stable offset
  int64_t end_max = 0;          // the largest end that ever was
  int64_t delivered_end = 0;    // the largest position that a source has given out
  bool deleted = false;         // its topic is gone
  // Truncated below what was delivered (an unclean election): a reader may stand still here for ever.
  bool overtaken = false;
};

class LogHistory {
 public:
  // From now on records are only counted: for runs of many days that nobody judges. Before the first one is produced.
  void KeepNothing() { keeps_ = false; }
  // The id that the next Produced record has.
  int64_t next_id() const { return record_count() + 1; }
  ProducedRecord& Produced(ProducedRecord record);  // `id` is filled in

  ProducedRecord& record(int64_t id) { return records_[static_cast<size_t>(id - 1)]; }
  const ProducedRecord& record(int64_t id) const { return records_[static_cast<size_t>(id - 1)]; }
  const ProducedRecord* Find(int64_t id) const;
  // The record at that offset with these bytes; nullptr: none ever was.
  const ProducedRecord* FindAt(const ingest::PartitionKey& key, int64_t offset, uint64_t value_hash,
                               uint64_t key_hash) const;
  int64_t record_count() const { return keeps_ ? static_cast<int64_t>(records_.size()) : counted_; }

  PartitionHistory& partition(const ingest::PartitionKey& key) { return partitions_[key]; }
  const std::map<ingest::PartitionKey, PartitionHistory>& partitions() const { return partitions_; }

  void Delivered(int64_t id) {
    if (keeps_) record(id).delivered = true;
  }
  void Decided(int64_t id, bool committed) {
    if (keeps_) record(id).fate = committed ? RecordFate::kCommitted : RecordFate::kAborted;
  }
  // The first reason holds: what was compacted away is not removed by retention later.
  void Removed(int64_t id, Removal removal, int64_t now_ms);

 private:
  bool keeps_ = true;
  int64_t counted_ = 0;     // when nothing is kept,
  ProducedRecord newest_;  // and the last one
  std::vector<ProducedRecord> records_;
  std::map<ingest::PartitionKey, PartitionHistory> partitions_;
};

// The value of a record: {"id":7,"p":0,"o":12,"table":"lake.a","kind":"k1"} or its broken forms. `extra_members` is
// put behind as it is (",\"x\":1"). nullopt: a tombstone.
std::optional<std::string> ValueOf(ValueShape shape, int64_t id, int32_t partition, int64_t offset,
                                   std::string_view table, std::string_view extra_members);
// What the record with that id has for headers: often none, now and then one without a value.
Headers HeadersOf(int64_t id);

}  // namespace firn::sim
