// RAII for what librdkafka hands out, and the short way to its topic-partition lists. Inside this module only: it
// brings librdkafka's header along. Values; no threads of their own.
#pragma once

#include <librdkafka/rdkafka.h>

#include <memory>
#include <string>

namespace firn::kafka {

struct RdDelete {
  void operator()(rd_kafka_t* client) const { rd_kafka_destroy(client); }
  void operator()(rd_kafka_conf_t* conf) const { rd_kafka_conf_destroy(conf); }
  void operator()(rd_kafka_queue_t* queue) const { rd_kafka_queue_destroy(queue); }
  void operator()(rd_kafka_event_t* event) const { rd_kafka_event_destroy(event); }
  void operator()(rd_kafka_error_t* error) const { rd_kafka_error_destroy(error); }
  void operator()(rd_kafka_message_t* message) const { rd_kafka_message_destroy(message); }
  void operator()(rd_kafka_headers_t* headers) const { rd_kafka_headers_destroy(headers); }
  void operator()(rd_kafka_topic_partition_t* one) const { rd_kafka_topic_partition_destroy(one); }
  void operator()(rd_kafka_topic_partition_list_t* list) const { rd_kafka_topic_partition_list_destroy(list); }
  void operator()(rd_kafka_AdminOptions_t* options) const { rd_kafka_AdminOptions_destroy(options); }
  void operator()(rd_kafka_TopicCollection_t* topics) const { rd_kafka_TopicCollection_destroy(topics); }
  void operator()(const rd_kafka_metadata_t* metadata) const { rd_kafka_metadata_destroy(metadata); }
};

template <typename T>
using RdPtr = std::unique_ptr<T, RdDelete>;

using TopicPartitionList = RdPtr<rd_kafka_topic_partition_list_t>;

inline TopicPartitionList MakeTopicPartitionList(size_t capacity = 0) {
  return TopicPartitionList(rd_kafka_topic_partition_list_new(static_cast<int>(capacity)));
}

inline rd_kafka_topic_partition_t* AddTopicPartition(const TopicPartitionList& list, const std::string& topic,
                                                     int32_t partition, int64_t offset = RD_KAFKA_OFFSET_INVALID,
                                                     int32_t leader_epoch = -1) {
  rd_kafka_topic_partition_t* added = rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), partition);
  added->offset = offset;
  rd_kafka_topic_partition_set_leader_epoch(added, leader_epoch);
  return added;
}

}  // namespace firn::kafka
