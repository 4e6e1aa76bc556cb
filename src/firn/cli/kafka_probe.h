// KafkaProbe: looks at brokers and topics without joining the pipeline's consumer group, so a running pipeline does not
// notice. For `firn check` and `firn infer`.
//
// Used by one thread. Every call is bounded by its timeout.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/kafka/kafka_admin.h"
#include "firn/kafka/kafka_source.h"

namespace firn::cli {

std::string KafkaLibraryVersion();

struct ReadOutcome {
  size_t records = 0;
  bool all_ends_reached = false;  // nothing more to read: the topic is shorter than what was asked for
};

class KafkaProbe {
 public:
  // Starts a client; reaches nothing yet.
  static Result<std::unique_ptr<KafkaProbe>> Create(const kafka::KafkaSourceOptions& options);
  ~KafkaProbe();

  // The cluster's id: the first round trip. kUnavailable, kUnauthorized, kTimeout.
  Result<std::string> ClusterId(int64_t timeout_ms);
  // The topics that the options name or match; a named topic that does not exist has its error set.
  Result<std::vector<kafka::TopicInfo>> Topics(int64_t timeout_ms);
  // The newest records of a topic, at most `records_max` over its partitions; stops early when `take` says false.
  Result<ReadOutcome> ReadNewest(const kafka::TopicInfo& topic, size_t records_max, int64_t timeout_ms,
                                 const std::function<bool(std::optional<std::string_view> value)>& take);
  // Offsets in the order of the questions (kafka_admin.h); nullopt: the broker does not tell it.
  Result<std::vector<std::optional<int64_t>>> Offsets(std::span<const kafka::OffsetQuestion> questions,
                                                      int64_t timeout_ms);
  // A topic's configuration value, as retention.ms; nullopt: the broker does not tell us.
  std::optional<std::string> TopicSetting(const std::string& topic, const std::string& name, int64_t timeout_ms);

 private:
  struct Impl;
  explicit KafkaProbe(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace firn::cli
