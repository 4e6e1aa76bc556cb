// RecordSource: batches of raw records with positions; the seam between ingest and Kafka (or a file, or a broker log).
//
// One thread (the poll thread) calls Poll, Assign, Release, Seek; CommitGroupOffsets, Watermarks, OffsetsForTimestamp,
// DescribeTopics and OpenLane may be called from any thread. Partitions are named by a PartitionIndex, dense and stable
// for the life of the source, so hot code indexes vectors; `partition(index)` gives the full name.
// The group's session lives as long as Poll is called at least every `max.poll.interval.ms`; Poll(…, want_records =
// false) serves it without taking records, which is how a full pipeline pushes back.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "firn/base/error.h"

namespace firn::stream {

using PartitionIndex = uint32_t;

// (cluster id, topic id, partition) is the identity of positions; the topic's name is a label.
struct SourcePartition {
  std::string cluster_id;
  std::string topic_id;  // UUID text of the broker, or "name:<topic>" under topic_identity: name
  std::string topic;
  int32_t partition = 0;
  auto operator<=>(const SourcePartition&) const = default;
};

enum class TimestampType : uint8_t { kNone, kCreateTime, kLogAppendTime };

struct Header {
  std::string_view name;
  std::optional<std::string_view> value;
};

struct Record {
  PartitionIndex partition = 0;
  int64_t offset = 0;
  int32_t leader_epoch = -1;   // -1: unknown
  int64_t timestamp_ms = -1;   // -1: none
  TimestampType timestamp_type = TimestampType::kNone;
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;  // nullopt: a tombstone; empty: a value of no bytes
  std::span<const Header> headers;
};

// Where a partition is to be read from, or has been read to.
struct Position {
  int64_t offset = 0;          // the next offset to read
  int32_t leader_epoch = -1;   // of the last record before it; -1: unknown
  int64_t timestamp_ms = -1;   // of the last record before it; -1: none yet
  bool operator==(const Position&) const = default;
};

struct PartitionPosition {
  PartitionIndex partition = 0;
  Position position;
};

// Owns the bytes of its records. `positions()` are the consumer's positions after this chunk (past transaction markers
// and aborted data), one for each partition that moved, whether or not a record of it is in the chunk.
class RecordChunk {
 public:
  virtual ~RecordChunk() = default;
  virtual std::span<const Record> records() const = 0;
  virtual std::span<const PartitionPosition> positions() const = 0;
  virtual size_t bytes() const = 0;
};

struct NothingYet {};
struct PartitionsAssigned { std::vector<PartitionIndex> partitions; };   // answer with Assign
struct PartitionsRevoked { std::vector<PartitionIndex> partitions; };    // answer with Release when done with them
struct PartitionsLost { std::vector<PartitionIndex> partitions; };       // already somebody else's; answer with Release
struct PartitionTrouble { PartitionIndex partition; Error error; };      // truncated, recreated, forbidden, ...
struct SourceTrouble { Error error; };                                   // brokers down etc.; goes on by itself
using SourceEvent = std::variant<NothingYet, std::unique_ptr<RecordChunk>, PartitionsAssigned, PartitionsRevoked,
                                 PartitionsLost, PartitionTrouble, SourceTrouble>;

struct Watermarks {
  int64_t start = 0;  // log start offset
  int64_t end = 0;    // what a reader of this isolation level can reach now (last stable offset or high watermark)
};

// A consumer of its own, without a group, over single partitions of a RecordSource, each read from a given position on:
// what a table needs that catches up while the source itself goes on. It numbers partitions as its source does. One
// thread; it must not outlive its source, the chunks that it gave out may outlive it.
class LaneSource {
 public:
  virtual ~LaneSource() = default;
  // NothingYet, a chunk, PartitionTrouble (that partition is not read any more) or SourceTrouble; an error ends it.
  virtual Result<SourceEvent> Poll(int64_t timeout_ms) = 0;
};

struct TopicDescription {
  std::string topic;
  std::string topic_id;
  int32_t partition_count = 0;
};

class RecordSource {
 public:
  virtual ~RecordSource() = default;

  virtual Result<SourceEvent> Poll(int64_t timeout_ms, bool want_records) = 0;
  // Answers PartitionsAssigned: begins to fetch each partition at its position.
  virtual Status Assign(std::span<const PartitionPosition> start) = 0;
  // Answers PartitionsRevoked or PartitionsLost: lets go. No record of these partitions comes after it.
  virtual Status Release(std::span<const PartitionIndex> partitions) = 0;
  // Reads on from other positions. Records that were fetched before and are not yet given out are dropped.
  virtual Status Seek(std::span<const PartitionPosition> positions) = 0;

  // Publishes positions for other people's lag tools; never read back by Firn for a decision.
  virtual Status CommitGroupOffsets(std::span<const PartitionPosition> positions) = 0;
  virtual Result<Watermarks> QueryWatermarks(const SourcePartition& partition, int64_t timeout_ms) = 0;
  // The ends alone, of many partitions in one question and in their order; nullopt: not known now.
  virtual Result<std::vector<std::optional<int64_t>>> QueryEnds(std::span<const SourcePartition> partitions,
                                                                int64_t timeout_ms) = 0;
  // The first offset whose timestamp is at or after `timestamp_ms`, else the end.
  virtual Result<int64_t> OffsetForTimestamp(const SourcePartition& partition, int64_t timestamp_ms,
                                             int64_t timeout_ms) = 0;
  // The topics that the subscription matches now, with ids and partition counts.
  virtual Result<std::vector<TopicDescription>> DescribeTopics(int64_t timeout_ms) = 0;
  virtual std::string cluster_id() const = 0;
  // From any thread. `queue_bytes_max`: what it may hold fetched beside what Poll has given out. Connects in the
  // background: brokers that are down show as SourceTrouble.
  virtual Result<std::unique_ptr<LaneSource>> OpenLane(std::span<const PartitionPosition> start,
                                                       int64_t queue_bytes_max) = 0;

  // Known partitions so far; the index of one given out stays valid.
  virtual SourcePartition partition(PartitionIndex index) const = 0;
  virtual PartitionIndex IndexOf(const SourcePartition& partition) = 0;
};

}  // namespace firn::stream
