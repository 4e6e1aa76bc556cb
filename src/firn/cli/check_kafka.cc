#include <fmt/format.h>

#include <charconv>

#include "firn/cli/check_steps.h"
#include "firn/cli/human_format.h"
#include "firn/cli/kafka_probe.h"
#include "firn/config/units.h"

namespace firn::cli {
namespace {

constexpr const char* kArea = "kafka";
constexpr int64_t kTimeoutMs = 10'000;
constexpr size_t kTopicsReadMax = 20;  // of a pattern that matches hundreds, a sample is read

void CheckRetention(const config::Config& config, const kafka::TopicInfo& topic, KafkaProbe& probe,
                    CheckReport& report) {
  std::optional<std::string> text = probe.TopicSetting(topic.topic, "retention.ms", kTimeoutMs);
  if (!text) return;
  int64_t retention_ms = 0;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), retention_ms);
  if (error != std::errc() || end != text->data() + text->size() || retention_ms < 0) return;  // -1: for ever
  if (retention_ms < config.pipeline.commit_max_age_ms) {
    report.Add(Verdict::kWarning, kArea, "retention_short",
               fmt::format("topic '{}' keeps records for {} only, less than commit.max_age ({}); an outage of that "
                           "length loses records before they are read. Raise retention.ms",
                           topic.topic, config::FormatDurationMs(retention_ms),
                           config::FormatDurationMs(config.pipeline.commit_max_age_ms)));
  }
}

void CheckReadable(const kafka::TopicInfo& topic, KafkaProbe& probe, CheckReport& report) {
  Result<ReadOutcome> read = probe.ReadNewest(topic, 1, kTimeoutMs, [](auto) { return false; });
  if (!read.has_value()) {
    report.AddError(kArea, read.error());
  } else {
    report.Add(Verdict::kOk, kArea, "topic_readable",
               fmt::format("topic '{}': {} partitions, {}", topic.topic, topic.partition_count,
                           read->records == 0 ? "empty" : "readable"));
  }
}

void CheckTopic(const config::Config& config, const kafka::TopicInfo& topic, bool read, KafkaProbe& probe,
                CheckReport& report) {
  if (topic.error.has_value()) {
    if (topic.error->code() == ErrorCode::kNotFound) {
      report.Add(Verdict::kError, kArea, "topic_missing",
                 fmt::format("the topic does not exist; create it, or mend source.topics: '{}'", topic.topic));
    } else {
      report.AddError(kArea, Error(*topic.error).WithContext(fmt::format("topic '{}'", topic.topic)));
    }
    return;
  }
  if (topic.id.empty() && !config.pipeline.topic_identity_by_name) {
    report.Add(Verdict::kError, kArea, "no_topic_ids",
               fmt::format("the broker gives topics no ids (Kafka before 2.8); set source.topic_identity to name. A "
                           "topic that is deleted and made again is then taken for the same: '{}'",
                           topic.topic));
  }
  if (read) CheckReadable(topic, probe, report);
  CheckRetention(config, topic, probe, report);
}

}  // namespace

std::vector<kafka::TopicInfo> CheckKafka(const config::Config& config, CheckReport& report) {
  Result<std::unique_ptr<KafkaProbe>> probe =
      KafkaProbe::Create(SourceOptions(config.kafka, config.pipeline.topic_identity_by_name));
  if (!probe.has_value()) {
    report.AddError(kArea, probe.error());
    return {};
  }
  Result<std::string> cluster_id = (*probe)->ClusterId(kTimeoutMs);
  if (!cluster_id.has_value()) {
    report.AddError(kArea, cluster_id.error());
    return {};
  }
  report.Add(Verdict::kOk, kArea, "brokers_reached",
             fmt::format("brokers reached, cluster {}", cluster_id->empty() ? "without an id" : *cluster_id));
  Result<std::vector<kafka::TopicInfo>> topics = (*probe)->Topics(kTimeoutMs);
  if (!topics.has_value()) {
    report.AddError(kArea, topics.error());
    return {};
  }
  if (topics->empty()) {
    report.Add(Verdict::kWarning, kArea, "no_topic_matches",
               fmt::format("no topic matches yet; the pipeline will wait for one: '{}'", config.kafka.topics_regex));
  }
  int64_t partitions = 0;
  for (size_t i = 0; i < topics->size(); ++i) {
    CheckTopic(config, (*topics)[i], i < kTopicsReadMax, **probe, report);
    partitions += (*topics)[i].partition_count;
  }
  if (topics->size() > kTopicsReadMax) {
    report.Add(Verdict::kNote, kArea, "topics_not_read",
               fmt::format("{} further topics exist; only the first {} were read", topics->size() - kTopicsReadMax,
                           kTopicsReadMax));
  }
  if (partitions > ingest::kSourcePartitionsMax) {
    report.Add(Verdict::kError, kArea, "too_many_partitions",
               fmt::format("more than {} source partitions in one pipeline; divide it into several: {}",
                           FormatCount(ingest::kSourcePartitionsMax), FormatCount(partitions)));
  }
  return std::move(*topics);
}

}  // namespace firn::cli
