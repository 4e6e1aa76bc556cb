// KafkaSource: a member of a Kafka consumer group as a RecordSource, over librdkafka.
//
// Threads as record_source.h says: one poll thread for Poll, Assign, Release and Seek; the rest from any thread.
// Chunks may outlive the source. What goes beyond the interface's words:
// - Only one rebalance event is open at a time; it may be answered much later, while Poll goes on. Until then
//   librdkafka fetches nothing for this member, retained partitions included.
// - Assign answers the oldest open PartitionsAssigned. A partition of it that `start` leaves out is held: ours, not
//   read until Seek names it. Release may answer in several calls.
// - After PartitionTrouble a partition is held likewise. Codes: kNotFound (offset outside the log, topic gone),
//   kConflict (log truncated below the position, topic recreated), kUnauthorized, kCorruption (a damaged batch).
// - A partition whose topic was deleted before it could be assigned is left out, and assigned when the topic is back.
// - SourceTrouble comes at most twice a minute for each kind of error. Poll fails only when the source is at its end.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/kafka/kafka_config.h"
#include "firn/stream/record_source.h"

namespace firn::kafka {

struct KafkaSourceOptions {
  std::string bootstrap;                // "host:port,host:port"
  std::string group_id;
  std::vector<std::string> topics;      // these, or:
  std::string topics_regex;             // docs/kafka.md, "Topics by pattern"; matches whole names
  bool topic_identity_by_name = false;  // for brokers without topic ids: "name:<topic>"
  bool read_committed = true;
  Properties properties;                // librdkafka's names; docs/kafka.md
  int64_t connect_timeout_ms = 30'000;  // for Create
  int64_t leave_timeout_ms = 10'000;    // for the destructor, which leaves the group
  int32_t chunk_records_max = 2'000;
  // librdkafka's statistics as JSON, on the poll thread; needs the property statistics.interval.ms.
  std::function<void(std::string_view)> on_statistics;
};

class KafkaSource final : public stream::RecordSource {
 public:
  // Reaches a broker, learns the cluster's id, checks that topics have ids, and joins the group. kInvalidInput,
  // kUnavailable, kTimeout, kUnauthorized; kUnsupported for brokers without topic ids. A missing topic is no error:
  // it is reported by SourceTrouble until it exists.
  static Result<std::unique_ptr<KafkaSource>> Create(KafkaSourceOptions options);
  ~KafkaSource() override;

  Result<stream::SourceEvent> Poll(int64_t timeout_ms, bool want_records) override;
  Status Assign(std::span<const stream::PartitionPosition> start) override;
  Status Release(std::span<const stream::PartitionIndex> partitions) override;
  Status Seek(std::span<const stream::PartitionPosition> positions) override;

  Status CommitGroupOffsets(std::span<const stream::PartitionPosition> positions) override;
  Result<stream::Watermarks> QueryWatermarks(const stream::SourcePartition& partition, int64_t timeout_ms) override;
  Result<std::vector<std::optional<int64_t>>> QueryEnds(std::span<const stream::SourcePartition> partitions,
                                                        int64_t timeout_ms) override;
  Result<int64_t> OffsetForTimestamp(const stream::SourcePartition& partition, int64_t timestamp_ms,
                                     int64_t timeout_ms) override;
  Result<std::vector<stream::TopicDescription>> DescribeTopics(int64_t timeout_ms) override;
  std::string cluster_id() const override;
  Result<std::unique_ptr<stream::LaneSource>> OpenLane(std::span<const stream::PartitionPosition> start,
                                                       int64_t queue_bytes_max) override;

  stream::SourcePartition partition(stream::PartitionIndex index) const override;
  stream::PartitionIndex IndexOf(const stream::SourcePartition& partition) override;

 private:
  struct Impl;
  explicit KafkaSource(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace firn::kafka
