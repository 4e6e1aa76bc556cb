// What a Kafka client asks brokers besides fetching: topics with their ids, and offsets by place or time.
//
// Free functions over a client; any thread, each call waits on a reply queue of its own unless it is given one.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "firn/base/error.h"

struct rd_kafka_s;
struct rd_kafka_queue_s;
struct rd_kafka_op_s;  // librdkafka's events are its ops

namespace firn::kafka {

struct TopicInfo {
  std::string topic;
  std::string id;               // UUID text; empty when the broker gives none (Kafka before 2.8)
  int32_t partition_count = 0;
  std::optional<Error> error;   // kNotFound, kUnauthorized; the rest is then empty
};

// Asks for the topics; the answer arrives on `reply_to` as a DESCRIBETOPICS_RESULT event. `topics` must not be empty.
void RequestTopics(rd_kafka_s* client, std::span<const std::string> topics, int64_t timeout_ms,
                   rd_kafka_queue_s* reply_to);
// Reads such an event; the event stays the caller's.
Result<std::vector<TopicInfo>> ReadTopics(rd_kafka_op_s* event);

Result<std::vector<TopicInfo>> DescribeTopics(rd_kafka_s* client, std::span<const std::string> topics,
                                              int64_t timeout_ms);
// The names of all topics that this client may see.
Result<std::vector<std::string>> ListTopics(rd_kafka_s* client, int64_t timeout_ms);

inline constexpr int64_t kEarliestOffset = -2;
inline constexpr int64_t kLatestOffset = -1;  // read_committed: the last stable offset, else the high watermark

struct OffsetQuestion {
  std::string topic;
  int32_t partition = 0;
  int64_t spec = kLatestOffset;  // one of the above, or a timestamp in milliseconds
};

// One request to each broker that leads a partition: brokers answer a connection's requests in order, so each question
// by itself would wait for the fetch before it. The answers are in the order of the questions, which name different
// partitions; nullopt: no record at or after that time.
Result<std::vector<Result<std::optional<int64_t>>>> ListOffsets(rd_kafka_s* client,
                                                                std::span<const OffsetQuestion> questions,
                                                                bool read_committed, int64_t timeout_ms);
// The same for one.
Result<std::optional<int64_t>> ListOffset(rd_kafka_s* client, const std::string& topic, int32_t partition,
                                          int64_t spec, bool read_committed, int64_t timeout_ms);

}  // namespace firn::kafka
