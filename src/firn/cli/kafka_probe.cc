#include "firn/cli/kafka_probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <set>

#include "firn/env/clock.h"
#include "firn/kafka/kafka_config.h"
#include "firn/kafka/kafka_error.h"
#include "firn/kafka/rdkafka_handles.h"
#include "firn/kafka/topic_pattern.h"

namespace firn::cli {
namespace {

constexpr int kPollMs = 200;
constexpr size_t kNewestPerPartitionMax = 10'000;

// What the client's own threads say goes wrong. Kept for the message of the call that fails; as log lines, a dozen a
// second, they would bury the findings.
struct Diary {
  std::mutex mutex;
  std::string last_failure;
};

void OnLog(const rd_kafka_t* client, int, const char* facility, const char* text) {
  auto* diary = client == nullptr ? nullptr : static_cast<Diary*>(rd_kafka_opaque(client));
  if (diary == nullptr || std::string_view(facility) != "FAIL") return;
  std::string_view line(text);
  // "[thrd:...]: host:port/id: Connect to ... failed: Connection refused"
  size_t thread_end = line.find("]: ");
  std::lock_guard lock(diary->mutex);
  diary->last_failure = line.substr(thread_end == std::string_view::npos ? 0 : thread_end + 3);
}

void OnError(rd_kafka_t*, int, const char*, void*) {}  // without one, librdkafka logs what OnLog has already

bool UsesOauth(const kafka::Properties& properties) {
  for (const char* name : {"sasl.mechanism", "sasl.mechanisms"}) {
    auto found = properties.find(name);
    if (found != properties.end() && found->second == "OAUTHBEARER") return true;
  }
  return false;
}

}  // namespace

struct KafkaProbe::Impl {
  kafka::KafkaSourceOptions options;
  std::optional<kafka::TopicPattern> pattern;
  Diary diary;  // outlives the client, whose threads write into it
  kafka::RdPtr<rd_kafka_t> client;
};

KafkaProbe::KafkaProbe(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KafkaProbe::~KafkaProbe() = default;

std::string KafkaLibraryVersion() {
  return rd_kafka_version_str();
}

Result<std::unique_ptr<KafkaProbe>> KafkaProbe::Create(const kafka::KafkaSourceOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  if (!options.topics_regex.empty()) {
    FIRN_ASSIGN(kafka::TopicPattern pattern, kafka::TopicPattern::Create(options.topics_regex));
    impl->pattern.emplace(std::move(pattern));
  }
  // The group's name is needed by the client, but nothing is subscribed, so the group is never joined.
  FIRN_ASSIGN(kafka::Conf conf, kafka::MakeConsumerConf({.bootstrap = options.bootstrap,
                                                         .group_id = options.group_id,
                                                         .read_committed = options.read_committed,
                                                         .topics_by_regex = impl->pattern.has_value(),
                                                         .properties = options.properties}));
  rd_kafka_conf_set_opaque(conf.get(), &impl->diary);
  rd_kafka_conf_set_log_cb(conf.get(), OnLog);
  rd_kafka_conf_set_error_cb(conf.get(), OnError);
  bool oauth = UsesOauth(options.properties);
  if (oauth) rd_kafka_conf_enable_sasl_queue(conf.get(), 1);
  char text[512];
  impl->client.reset(rd_kafka_new(RD_KAFKA_CONSUMER, conf.get(), text, sizeof(text)));
  if (impl->client == nullptr) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("the Kafka client does not start: {}", text));
  }
  (void)conf.release();  // the client's now
  if (oauth) {
    FIRN_TRY(kafka::ToStatus(rd_kafka_sasl_background_callbacks_enable(impl->client.get()), "fetching OAuth tokens"));
  }
  rd_kafka_poll_set_consumer(impl->client.get());
  return std::unique_ptr<KafkaProbe>(new KafkaProbe(std::move(impl)));
}

Result<std::string> KafkaProbe::ClusterId(int64_t timeout_ms) {
  // Metadata first: it waits for a broker and says why there is none; the id alone would only be missing.
  Result<std::vector<std::string>> listed = kafka::ListTopics(impl_->client.get(), timeout_ms);
  if (!listed.has_value()) {
    std::lock_guard lock(impl_->diary.mutex);
    return Fail(
        listed.error().code(),
        fmt::format("no broker answers; check kafka.bootstrap.servers, the network and the security properties: "
                    "'{}': {}",
                    impl_->options.bootstrap,
                    impl_->diary.last_failure.empty() ? listed.error().message() : impl_->diary.last_failure));
  }
  char* id = rd_kafka_clusterid(impl_->client.get(), static_cast<int>(timeout_ms));
  if (id == nullptr) return std::string();
  std::string text(id);
  rd_kafka_mem_free(impl_->client.get(), id);
  return text;
}

Result<std::vector<kafka::TopicInfo>> KafkaProbe::Topics(int64_t timeout_ms) {
  std::vector<std::string> names = impl_->options.topics;
  if (impl_->pattern) {
    FIRN_ASSIGN(std::vector<std::string> all, kafka::ListTopics(impl_->client.get(), timeout_ms));
    for (std::string& name : all) {
      if (impl_->pattern->Matches(name)) names.push_back(std::move(name));
    }
    std::sort(names.begin(), names.end());
  }
  if (names.empty()) return std::vector<kafka::TopicInfo>();
  return kafka::DescribeTopics(impl_->client.get(), names, timeout_ms);
}

Result<ReadOutcome> KafkaProbe::ReadNewest(const kafka::TopicInfo& topic, size_t records_max, int64_t timeout_ms,
                                           const std::function<bool(std::optional<std::string_view>)>& take) {
  rd_kafka_t* client = impl_->client.get();
  ReadOutcome outcome;
  size_t partitions = static_cast<size_t>(std::max(topic.partition_count, 1));
  size_t each = std::clamp<size_t>((records_max + partitions - 1) / partitions, 1, kNewestPerPartitionMax);
  kafka::TopicPartitionList list = kafka::MakeTopicPartitionList(partitions);
  for (size_t i = 0; i < partitions; ++i) {
    kafka::AddTopicPartition(list, topic.topic, static_cast<int32_t>(i),
                             RD_KAFKA_OFFSET_TAIL(static_cast<int64_t>(each)));
  }
  if (rd_kafka_resp_err_t code = rd_kafka_assign(client, list.get()); code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return std::unexpected<Error>(kafka::ToError(code, fmt::format("reading topic '{}'", topic.topic)));
  }
  std::set<int32_t> ends;
  Status status;
  int64_t deadline = env::SystemClock().BootMs() + timeout_ms;
  while (outcome.records < records_max && ends.size() < partitions && env::SystemClock().BootMs() < deadline) {
    kafka::RdPtr<rd_kafka_message_t> message(rd_kafka_consumer_poll(client, kPollMs));
    if (message == nullptr) continue;
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      ends.insert(message->partition);
    } else if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET) {
      ends.insert(message->partition);  // shorter than asked for, or emptied meanwhile
    } else if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      status = std::unexpected<Error>(kafka::ToError(message->err, fmt::format("reading topic '{}'", topic.topic)));
      if (kafka::ToErrorCode(message->err) == ErrorCode::kUnauthorized) break;
    } else {
      ++outcome.records;
      std::optional<std::string_view> value;
      if (message->payload != nullptr) value.emplace(static_cast<const char*>(message->payload), message->len);
      if (!take(value)) break;
    }
  }
  rd_kafka_assign(client, nullptr);
  outcome.all_ends_reached = ends.size() == partitions;
  if (outcome.records == 0 && !outcome.all_ends_reached) {
    FIRN_TRY(status);
    return Fail(ErrorCode::kTimeout, fmt::format("no record of topic '{}' came within {} ms", topic.topic, timeout_ms));
  }
  return outcome;
}

Result<std::vector<std::optional<int64_t>>> KafkaProbe::Offsets(std::span<const kafka::OffsetQuestion> questions,
                                                                int64_t timeout_ms) {
  std::vector<std::optional<int64_t>> offsets;
  if (questions.empty()) return offsets;
  FIRN_ASSIGN(std::vector<Result<std::optional<int64_t>>> answers,
              kafka::ListOffsets(impl_->client.get(), questions, impl_->options.read_committed, timeout_ms));
  for (Result<std::optional<int64_t>>& answer : answers) {
    offsets.push_back(answer.has_value() ? *answer : std::nullopt);
  }
  return offsets;
}

std::optional<std::string> KafkaProbe::TopicSetting(const std::string& topic, const std::string& name,
                                                    int64_t timeout_ms) {
  rd_kafka_t* client = impl_->client.get();
  kafka::RdPtr<rd_kafka_queue_t> queue(rd_kafka_queue_new(client));
  kafka::RdPtr<rd_kafka_AdminOptions_t> options(rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS));
  char text[256];
  rd_kafka_AdminOptions_set_request_timeout(options.get(), static_cast<int>(timeout_ms), text, sizeof(text));
  rd_kafka_ConfigResource_t* resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str());
  rd_kafka_DescribeConfigs(client, &resource, 1, options.get(), queue.get());
  kafka::RdPtr<rd_kafka_event_t> event(rd_kafka_queue_poll(queue.get(), static_cast<int>(timeout_ms)));
  rd_kafka_ConfigResource_destroy(resource);
  if (event == nullptr || rd_kafka_event_error(event.get()) != RD_KAFKA_RESP_ERR_NO_ERROR) return std::nullopt;
  const rd_kafka_DescribeConfigs_result_t* result = rd_kafka_event_DescribeConfigs_result(event.get());
  size_t count = 0;
  const rd_kafka_ConfigResource_t** described = rd_kafka_DescribeConfigs_result_resources(result, &count);
  if (count != 1 || rd_kafka_ConfigResource_error(described[0]) != RD_KAFKA_RESP_ERR_NO_ERROR) return std::nullopt;
  size_t entries = 0;
  const rd_kafka_ConfigEntry_t** values = rd_kafka_ConfigResource_configs(described[0], &entries);
  for (size_t i = 0; i < entries; ++i) {
    const char* value = rd_kafka_ConfigEntry_value(values[i]);
    if (name == rd_kafka_ConfigEntry_name(values[i]) && value != nullptr) return std::string(value);
  }
  return std::nullopt;
}

}  // namespace firn::cli
