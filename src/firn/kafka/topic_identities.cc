#include "firn/kafka/topic_identities.h"

#include <fmt/format.h>

namespace firn::kafka {
namespace {

constexpr int64_t kAskTimeoutMs = 10'000;
constexpr auto kRetryAfter = std::chrono::milliseconds(500);
// librdkafka calls the interceptor when a broker's thread receives a response and when its main thread handles it.
// Were it otherwise, records would still be confirmed, each batch by a question of its own.
constexpr uint64_t kCountsOfOneResponse = 2;
// An answer that confirms nothing (other Metadata responses came in between) is asked again soon, not in a spin.
constexpr auto kAskAgainAfter = std::chrono::milliseconds(5);

}  // namespace

Result<std::string> TopicIdentity(const TopicInfo& info, bool by_name) {
  if (by_name) return fmt::format("name:{}", info.topic);
  if (!info.id.empty()) return info.id;
  return Fail(ErrorCode::kUnsupported,
              fmt::format("the brokers give no topic ids (Kafka before 2.8); set source.topic_identity: name, and do "
                          "not delete and recreate topics then: topic '{}'", info.topic));
}

TopicIdentities::TopicIdentities(std::shared_ptr<ConsumerHandle> consumer, bool by_name)
    : consumer_(std::move(consumer)), by_name_(by_name) {}

TopicIdentities::Moment TopicIdentities::Now() const {
  return {.responses = consumer_->metadata_responses(), .asked = asked_};
}

bool TopicIdentities::Confirmed(const Moment& taken) const {
  return by_name_ || taken.responses == responses_confirmed_ || answered_ > taken.asked;
}

void TopicIdentities::Ask(const std::set<std::string>& topics) {
  if (by_name_ || asking_ || topics.empty() || std::chrono::steady_clock::now() < not_before_) return;
  std::vector<std::string> names(topics.begin(), topics.end());
  responses_when_asked_ = consumer_->metadata_responses();
  RequestTopics(consumer_->client(), names, kAskTimeoutMs, consumer_->group_queue());
  asking_ = true;
  ++asked_;
}

Result<std::vector<Error>> TopicIdentities::OnAnswer(rd_kafka_event_t* event) {
  asking_ = false;
  const auto now = std::chrono::steady_clock::now();
  Result<std::vector<TopicInfo>> answer = ReadTopics(event);
  if (!answer.has_value()) {
    not_before_ = now + kRetryAfter;
    return std::vector<Error>{std::move(answer.error())};
  }
  std::vector<Error> errors;
  for (const TopicInfo& info : *answer) {
    missing_.erase(info.topic);
    if (info.error.has_value()) {
      ids_.erase(info.topic);
      if (info.error->code() == ErrorCode::kNotFound) missing_.insert(info.topic);
      errors.push_back(*info.error);
      continue;
    }
    FIRN_ASSIGN(ids_[info.topic], TopicIdentity(info, by_name_));
  }
  answered_ = asked_;
  not_before_ = now + (errors.empty() ? kAskAgainAfter : kRetryAfter);
  // The answer is itself a Metadata response; with any other beside it, it may be older than that one.
  const uint64_t responses = consumer_->metadata_responses();
  responses_confirmed_ = responses == responses_when_asked_ + kCountsOfOneResponse ? responses : responses_when_asked_;
  return errors;
}

std::optional<std::string> TopicIdentities::Find(const std::string& topic) const {
  if (by_name_) return fmt::format("name:{}", topic);
  auto found = ids_.find(topic);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

}  // namespace firn::kafka
