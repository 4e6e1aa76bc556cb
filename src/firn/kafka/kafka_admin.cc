#include "firn/kafka/kafka_admin.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "firn/base/encoding.h"
#include "firn/kafka/kafka_error.h"
#include "firn/kafka/rdkafka_handles.h"

namespace firn::kafka {
namespace {

// The reply may come a little after the request's own deadline; waiting for it gives the better message.
constexpr int kReplyGraceMs = 500;

int Milliseconds(int64_t timeout_ms) { return static_cast<int>(std::clamp<int64_t>(timeout_ms, 1, 3'600'000)); }

RdPtr<rd_kafka_AdminOptions_t> MakeOptions(rd_kafka_t* client, rd_kafka_admin_op_t operation, int64_t timeout_ms) {
  RdPtr<rd_kafka_AdminOptions_t> options(rd_kafka_AdminOptions_new(client, operation));
  char text[256];
  // Refused only out of range, which Milliseconds rules out; then librdkafka's default holds.
  rd_kafka_AdminOptions_set_request_timeout(options.get(), Milliseconds(timeout_ms), text, sizeof(text));
  return options;
}

Result<RdPtr<rd_kafka_event_t>> WaitFor(rd_kafka_queue_t* queue, int64_t timeout_ms, std::string_view what) {
  RdPtr<rd_kafka_event_t> event(rd_kafka_queue_poll(queue, Milliseconds(timeout_ms) + kReplyGraceMs));
  if (event == nullptr) {
    return Fail(ErrorCode::kTimeout, fmt::format("{}: no answer from the brokers within {} ms", what, timeout_ms));
  }
  if (rd_kafka_resp_err_t code = rd_kafka_event_error(event.get()); code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return std::unexpected<Error>(ToError(code, what, rd_kafka_event_error_string(event.get())));
  }
  return event;
}

std::string TopicIdText(const rd_kafka_Uuid_t* id) {
  if (id == nullptr) return {};
  auto high = static_cast<uint64_t>(rd_kafka_Uuid_most_significant_bits(id));
  auto low = static_cast<uint64_t>(rd_kafka_Uuid_least_significant_bits(id));
  if (high == 0 && low == 0) return {};
  Uuid bytes;
  for (int i = 0; i < 8; ++i) {
    bytes[i] = static_cast<uint8_t>(high >> (56 - 8 * i));
    bytes[8 + i] = static_cast<uint8_t>(low >> (56 - 8 * i));
  }
  return FormatUuid(bytes);
}

}  // namespace

void RequestTopics(rd_kafka_s* client, std::span<const std::string> topics, int64_t timeout_ms,
                   rd_kafka_queue_s* reply_to) {
  std::vector<const char*> names;
  for (const std::string& topic : topics) names.push_back(topic.c_str());
  RdPtr<rd_kafka_TopicCollection_t> collection(rd_kafka_TopicCollection_of_topic_names(names.data(), names.size()));
  auto options = MakeOptions(client, RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout_ms);
  rd_kafka_DescribeTopics(client, collection.get(), options.get(), reply_to);
}

Result<std::vector<TopicInfo>> ReadTopics(rd_kafka_op_s* event) {
  constexpr std::string_view kWhat = "describing topics";
  if (rd_kafka_resp_err_t code = rd_kafka_event_error(event); code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return std::unexpected<Error>(ToError(code, kWhat, rd_kafka_event_error_string(event)));
  }
  size_t count = 0;
  const rd_kafka_TopicDescription_t** described =
      rd_kafka_DescribeTopics_result_topics(rd_kafka_event_DescribeTopics_result(event), &count);
  std::vector<TopicInfo> topics(count);
  for (size_t i = 0; i < count; ++i) {
    topics[i].topic = rd_kafka_TopicDescription_name(described[i]);
    const rd_kafka_error_t* error = rd_kafka_TopicDescription_error(described[i]);
    if (error != nullptr && rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR_NO_ERROR) {
      topics[i].error = ToError(rd_kafka_error_code(error), fmt::format("topic '{}'", topics[i].topic));
      continue;
    }
    size_t partitions = 0;
    rd_kafka_TopicDescription_partitions(described[i], &partitions);
    topics[i].partition_count = static_cast<int32_t>(partitions);
    topics[i].id = TopicIdText(rd_kafka_TopicDescription_topic_id(described[i]));
  }
  return topics;
}

Result<std::vector<TopicInfo>> DescribeTopics(rd_kafka_s* client, std::span<const std::string> topics,
                                              int64_t timeout_ms) {
  if (topics.empty()) return std::vector<TopicInfo>();
  RdPtr<rd_kafka_queue_t> queue(rd_kafka_queue_new(client));
  RequestTopics(client, topics, timeout_ms, queue.get());
  FIRN_ASSIGN(auto event, WaitFor(queue.get(), timeout_ms, "describing topics"));
  return ReadTopics(event.get());
}

Result<std::vector<std::string>> ListTopics(rd_kafka_s* client, int64_t timeout_ms) {
  const rd_kafka_metadata_t* metadata = nullptr;
  rd_kafka_resp_err_t code = rd_kafka_metadata(client, /*all_topics=*/1, nullptr, &metadata, Milliseconds(timeout_ms));
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return std::unexpected<Error>(ToError(code, "listing topics"));
  RdPtr<const rd_kafka_metadata_t> owned(metadata);
  std::vector<std::string> names;
  for (int i = 0; i < metadata->topic_cnt; ++i) names.emplace_back(metadata->topics[i].topic);
  return names;
}

Result<std::vector<Result<std::optional<int64_t>>>> ListOffsets(rd_kafka_s* client,
                                                                std::span<const OffsetQuestion> questions,
                                                                bool read_committed, int64_t timeout_ms) {
  using Answer = Result<std::optional<int64_t>>;
  if (questions.empty()) return std::vector<Answer>();
  const std::string what = fmt::format("offsets of {} partitions, the first '{}/{}'", questions.size(),
                                       questions[0].topic, questions[0].partition);
  TopicPartitionList list = MakeTopicPartitionList(questions.size());
  for (const OffsetQuestion& one : questions) AddTopicPartition(list, one.topic, one.partition, one.spec);
  auto options = MakeOptions(client, RD_KAFKA_ADMIN_OP_LISTOFFSETS, timeout_ms);
  RdPtr<rd_kafka_error_t> refused(rd_kafka_AdminOptions_set_isolation_level(
      options.get(),
      read_committed ? RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED : RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED));
  if (refused != nullptr) return std::unexpected<Error>(ToError(rd_kafka_error_code(refused.get()), what));

  RdPtr<rd_kafka_queue_t> queue(rd_kafka_queue_new(client));
  rd_kafka_ListOffsets(client, list.get(), options.get(), queue.get());
  FIRN_ASSIGN(auto event, WaitFor(queue.get(), timeout_ms, what));
  size_t count = 0;
  const rd_kafka_ListOffsetsResultInfo_t** infos =
      rd_kafka_ListOffsets_result_infos(rd_kafka_event_ListOffsets_result(event.get()), &count);
  std::map<std::pair<std::string_view, int32_t>, const rd_kafka_topic_partition_t*> answered;
  for (size_t i = 0; i < count; ++i) {
    const rd_kafka_topic_partition_t* answer = rd_kafka_ListOffsetsResultInfo_topic_partition(infos[i]);
    answered.emplace(std::pair(std::string_view(answer->topic), answer->partition), answer);
  }
  std::vector<Answer> answers;
  for (const OffsetQuestion& one : questions) {
    const std::string which = fmt::format("offsets of partition '{}/{}'", one.topic, one.partition);
    auto found = answered.find(std::pair(std::string_view(one.topic), one.partition));
    if (found == answered.end()) {
      answers.push_back(Fail(ErrorCode::kUnavailable, fmt::format("{}: the brokers gave no answer", which)));
    } else if (found->second->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      answers.push_back(std::unexpected<Error>(ToError(found->second->err, which)));
    } else {
      answers.push_back(found->second->offset < 0 ? Answer(std::nullopt) : Answer(found->second->offset));
    }
  }
  return answers;
}

Result<std::optional<int64_t>> ListOffset(rd_kafka_s* client, const std::string& topic, int32_t partition,
                                          int64_t spec, bool read_committed, int64_t timeout_ms) {
  const OffsetQuestion question{topic, partition, spec};
  FIRN_ASSIGN(auto answers, ListOffsets(client, std::span(&question, 1), read_committed, timeout_ms));
  return std::move(answers[0]);
}

}  // namespace firn::kafka
