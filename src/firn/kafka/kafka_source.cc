#include "firn/kafka/kafka_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>

#include "firn/base/log.h"
#include "firn/kafka/consumer_handle.h"
#include "firn/kafka/consumer_session.h"
#include "firn/kafka/kafka_admin.h"
#include "firn/kafka/kafka_error.h"
#include "firn/kafka/partition_table.h"
#include "firn/kafka/topic_identities.h"
#include "firn/kafka/topic_pattern.h"

namespace firn::kafka {
namespace {

constexpr int64_t kConnectStepMs = 1'000;
constexpr int64_t kConnectPauseMs = 100;

// Why nothing answers: the last error that librdkafka put into its queue, which names hosts and causes.
struct Trouble {
  std::string text;
  bool credentials_refused = false;
};

void TakeTrouble(ConsumerHandle& consumer, Trouble& trouble) {
  while (RdPtr<rd_kafka_event_t> event{rd_kafka_queue_poll(consumer.group_queue(), 0)}) {
    if (rd_kafka_event_type(event.get()) != RD_KAFKA_EVENT_ERROR) continue;
    rd_kafka_resp_err_t code = rd_kafka_event_error(event.get());
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && !trouble.text.empty()) continue;
    trouble.text = rd_kafka_event_error_string(event.get());
    trouble.credentials_refused |= code == RD_KAFKA_RESP_ERR__AUTHENTICATION;
  }
}

Result<std::string> Connect(ConsumerHandle& consumer, const std::string& bootstrap, int64_t timeout_ms) {
  const int timeout = static_cast<int>(std::clamp<int64_t>(timeout_ms, 1, 3'600'000));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout);
  Trouble trouble;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    const rd_kafka_metadata_t* metadata = nullptr;
    rd_kafka_resp_err_t code = rd_kafka_metadata(consumer.client(), /*all_topics=*/0, nullptr, &metadata,
                                                 static_cast<int>(std::clamp<int64_t>(left, 1, kConnectStepMs)));
    RdPtr<const rd_kafka_metadata_t> owned(metadata);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) break;
    TakeTrouble(consumer, trouble);
    // Waiting does not mend a password; everything else may come up.
    if (trouble.credentials_refused) {
      return Fail(
          ErrorCode::kUnauthorized,
          fmt::format("the Kafka brokers refuse the credentials; check the sasl.* properties under 'kafka': '{}': "
                      "{}",
                      bootstrap, trouble.text));
    }
    if (left <= kConnectPauseMs) {
      return std::unexpected<Error>(
          ToError(code,
                  fmt::format("no Kafka broker answers at '{}'; check kafka.bootstrap.servers, the network and the "
                              "security properties",
                              bootstrap),
                  trouble.text));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(kConnectPauseMs));
  }
  char* id = rd_kafka_clusterid(consumer.client(), timeout);
  if (id == nullptr) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("the brokers give no cluster id (Kafka before 0.10.1), so positions have no identity: '{}'",
                            bootstrap));
  }
  std::string cluster_id(id);
  rd_kafka_mem_free(consumer.client(), id);
  return cluster_id;
}

Status CheckTopics(const KafkaSourceOptions& options) {
  if (options.topics.empty() == options.topics_regex.empty()) {
    return Fail(ErrorCode::kInvalidInput, "give source.topics or source.topics_regex, one of the two");
  }
  for (const std::string& topic : options.topics) {
    // A leading '^' would make it a regular expression behind our back.
    if (topic.empty() || topic.front() == '^' || topic.find('\0') != std::string::npos) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("not a topic's name; use source.topics_regex for patterns: '{}'", topic));
    }
  }
  if (options.chunk_records_max < 1) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("chunk_records_max must be at least 1: {}", options.chunk_records_max));
  }
  return {};
}

// A consumer without a group: it never subscribes, so there is none to leave.
class KafkaLane final : public stream::LaneSource {
 public:
  explicit KafkaLane(std::unique_ptr<ConsumerSession> session) : session_(std::move(session)) {}
  Result<stream::SourceEvent> Poll(int64_t timeout_ms) override {
    return session_->Poll(timeout_ms, /*want_records=*/true);
  }

 private:
  const std::unique_ptr<ConsumerSession> session_;
};

bool UsesOauth(const Properties& properties) {
  for (const char* name : {"sasl.mechanism", "sasl.mechanisms"}) {
    auto given = properties.find(name);
    if (given != properties.end() && given->second == "OAUTHBEARER") return true;
  }
  return false;
}

}  // namespace

struct KafkaSource::Impl {
  KafkaSourceOptions options;
  std::optional<TopicPattern> pattern;
  std::string cluster_id;
  PartitionTable table;
  std::shared_ptr<ConsumerHandle> consumer;
  std::unique_ptr<ConsumerSession> session;

  // The subscription's topics of this moment.
  Result<std::vector<std::string>> TopicNames(int64_t timeout_ms) const {
    if (!pattern.has_value()) return options.topics;
    FIRN_ASSIGN(std::vector<std::string> names, ListTopics(consumer->client(), timeout_ms));
    std::erase_if(names, [&](const std::string& name) { return !pattern->Matches(name); });
    return names;
  }

  Status Subscribe() const {
    TopicPartitionList list = MakeTopicPartitionList();
    if (pattern.has_value()) {
      AddTopicPartition(list, pattern->subscription(), RD_KAFKA_PARTITION_UA);
    } else {
      for (const std::string& topic : options.topics) AddTopicPartition(list, topic, RD_KAFKA_PARTITION_UA);
    }
    rd_kafka_resp_err_t code = rd_kafka_subscribe(consumer->client(), list.get());
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return std::unexpected<Error>(ToError(code, "subscribing"));
    return {};
  }
};

KafkaSource::KafkaSource(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<KafkaSource>> KafkaSource::Create(KafkaSourceOptions options) {
  FIRN_TRY(CheckTopics(options));
  auto impl = std::make_unique<Impl>();
  if (!options.topics_regex.empty()) {
    FIRN_ASSIGN(TopicPattern pattern, TopicPattern::Create(options.topics_regex));
    impl->pattern.emplace(std::move(pattern));
  }
  FIRN_ASSIGN(Conf conf, MakeConsumerConf({.bootstrap = options.bootstrap,
                                           .group_id = options.group_id,
                                           .read_committed = options.read_committed,
                                           .topics_by_regex = impl->pattern.has_value(),
                                           .properties = options.properties}));
  FIRN_ASSIGN(impl->consumer, ConsumerHandle::Create(std::move(conf), UsesOauth(options.properties)));
  impl->options = std::move(options);
  FIRN_ASSIGN(impl->cluster_id, Connect(*impl->consumer, impl->options.bootstrap, impl->options.connect_timeout_ms));
  impl->session =
      std::make_unique<ConsumerSession>(impl->consumer, impl->table,
                                        SessionOptions{.cluster_id = impl->cluster_id,
                                                       .topic_identity_by_name = impl->options.topic_identity_by_name,
                                                       .chunk_records_max = impl->options.chunk_records_max,
                                                       .on_statistics = impl->options.on_statistics});
  std::unique_ptr<KafkaSource> source(new KafkaSource(std::move(impl)));
  // Brokers without topic ids are refused here, not in the middle of the night.
  FIRN_ASSIGN(auto topics, source->DescribeTopics(source->impl_->options.connect_timeout_ms));
  FIRN_TRY(source->impl_->Subscribe());
  LogInfo(
      "Kafka source is connected",
      {{"cluster", source->impl_->cluster_id}, {"group", source->impl_->options.group_id}, {"topics", topics.size()}});
  return source;
}

KafkaSource::~KafkaSource() {
  if (impl_->session == nullptr) return;
  impl_->session.reset();
  impl_->consumer->LeaveGroup(impl_->options.leave_timeout_ms);
}

Result<stream::SourceEvent> KafkaSource::Poll(int64_t timeout_ms, bool want_records) {
  return impl_->session->Poll(timeout_ms, want_records);
}

Status KafkaSource::Assign(std::span<const stream::PartitionPosition> start) {
  return impl_->session->Assign(start);
}

Status KafkaSource::Release(std::span<const stream::PartitionIndex> partitions) {
  return impl_->session->Release(partitions);
}

Status KafkaSource::Seek(std::span<const stream::PartitionPosition> positions) {
  return impl_->session->Seek(positions);
}

Status KafkaSource::CommitGroupOffsets(std::span<const stream::PartitionPosition> positions) {
  if (positions.empty()) return {};
  TopicPartitionList list = MakeTopicPartitionList(positions.size());
  for (const stream::PartitionPosition& one : positions) {
    stream::SourcePartition name = impl_->table.At(one.partition);
    AddTopicPartition(list, name.topic, name.partition, one.position.offset, one.position.leader_epoch);
  }
  rd_kafka_resp_err_t code = rd_kafka_commit(impl_->consumer->client(), list.get(), /*async=*/1);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return std::unexpected<Error>(ToError(code, "committing group offsets"));
  return {};
}

Result<stream::Watermarks> KafkaSource::QueryWatermarks(const stream::SourcePartition& partition, int64_t timeout_ms) {
  rd_kafka_t* client = impl_->consumer->client();
  const bool committed = impl_->options.read_committed;
  FIRN_ASSIGN(std::optional<int64_t> start,
              ListOffset(client, partition.topic, partition.partition, kEarliestOffset, committed, timeout_ms));
  FIRN_ASSIGN(std::optional<int64_t> end,
              ListOffset(client, partition.topic, partition.partition, kLatestOffset, committed, timeout_ms));
  if (!start.has_value() || !end.has_value()) {
    return Fail(ErrorCode::kUnavailable, fmt::format("the brokers do not know the log's ends now: '{}/{}'",
                                                     partition.topic, partition.partition));
  }
  return stream::Watermarks{.start = *start, .end = *end};
}

Result<std::vector<std::optional<int64_t>>> KafkaSource::QueryEnds(std::span<const stream::SourcePartition> partitions,
                                                                   int64_t timeout_ms) {
  std::vector<OffsetQuestion> questions;
  for (const stream::SourcePartition& partition : partitions) {
    questions.push_back({partition.topic, partition.partition, kLatestOffset});
  }
  FIRN_ASSIGN(auto answers,
              ListOffsets(impl_->consumer->client(), questions, impl_->options.read_committed, timeout_ms));
  std::vector<std::optional<int64_t>> ends;
  for (const Result<std::optional<int64_t>>& answer : answers) {
    ends.push_back(answer.has_value() ? *answer : std::nullopt);
  }
  return ends;
}

Result<int64_t> KafkaSource::OffsetForTimestamp(const stream::SourcePartition& partition, int64_t timestamp_ms,
                                                int64_t timeout_ms) {
  if (timestamp_ms < 0) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("a timestamp before 1970 names no record: {}", timestamp_ms));
  }
  FIRN_ASSIGN(std::optional<int64_t> offset, ListOffset(impl_->consumer->client(), partition.topic, partition.partition,
                                                        timestamp_ms, impl_->options.read_committed, timeout_ms));
  if (offset.has_value()) return *offset;
  FIRN_ASSIGN(stream::Watermarks watermarks, QueryWatermarks(partition, timeout_ms));
  return watermarks.end;
}

Result<std::vector<stream::TopicDescription>> KafkaSource::DescribeTopics(int64_t timeout_ms) {
  FIRN_ASSIGN(std::vector<std::string> names, impl_->TopicNames(timeout_ms));
  FIRN_ASSIGN(std::vector<TopicInfo> infos, kafka::DescribeTopics(impl_->consumer->client(), names, timeout_ms));
  std::vector<stream::TopicDescription> described;
  for (TopicInfo& info : infos) {
    if (info.error.has_value()) {
      if (info.error->code() != ErrorCode::kNotFound) return std::unexpected<Error>(std::move(*info.error));
      LogWarning("a topic that is subscribed to does not exist", {{"topic", info.topic}});
      continue;
    }
    FIRN_ASSIGN(std::string id, TopicIdentity(info, impl_->options.topic_identity_by_name));
    described.push_back({.topic = info.topic, .topic_id = std::move(id), .partition_count = info.partition_count});
  }
  return described;
}

Result<std::unique_ptr<stream::LaneSource>> KafkaSource::OpenLane(std::span<const stream::PartitionPosition> start,
                                                                  int64_t queue_bytes_max) {
  const KafkaSourceOptions& options = impl_->options;
  FIRN_ASSIGN(Conf conf, MakeConsumerConf({.bootstrap = options.bootstrap,
                                           .group_id = options.group_id,
                                           .read_committed = options.read_committed,
                                           .lane_queue_bytes_max = queue_bytes_max,
                                           .properties = options.properties}));
  FIRN_ASSIGN(std::shared_ptr<ConsumerHandle> consumer,
              ConsumerHandle::Create(std::move(conf), UsesOauth(options.properties)));
  SessionOptions session_options{.cluster_id = impl_->cluster_id,
                                 .topic_identity_by_name = options.topic_identity_by_name,
                                 .chunk_records_max = options.chunk_records_max};
  auto session = std::make_unique<ConsumerSession>(std::move(consumer), impl_->table, std::move(session_options));
  FIRN_TRY(session->AssignByHand(start));
  return std::unique_ptr<stream::LaneSource>(new KafkaLane(std::move(session)));
}

std::string KafkaSource::cluster_id() const {
  return impl_->cluster_id;
}

stream::SourcePartition KafkaSource::partition(stream::PartitionIndex index) const {
  return impl_->table.At(index);
}

stream::PartitionIndex KafkaSource::IndexOf(const stream::SourcePartition& partition) {
  return impl_->table.IndexOf(partition);
}

}  // namespace firn::kafka
