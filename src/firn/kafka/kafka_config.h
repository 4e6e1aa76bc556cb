// Properties of the Kafka clients: Firn's defaults, what a user may pass through to librdkafka, and what Firn sets
// itself because exactly-once rests on it. docs/kafka.md explains each default. Functions of values, any thread.
//
// A secret's value never gets into a message: neither ours nor librdkafka's, whose texts quote what they refuse.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "firn/base/error.h"

struct rd_kafka_conf_s;

namespace firn::kafka {

using Properties = std::map<std::string, std::string>;

struct ConfDelete {
  void operator()(rd_kafka_conf_s* conf) const;
};
using Conf = std::unique_ptr<rd_kafka_conf_s, ConfDelete>;

struct ConsumerSettings {
  std::string bootstrap;      // "host:port,host:port"
  std::string group_id;
  bool read_committed = true;
  bool topics_by_regex = false;
  int64_t lane_queue_bytes_max = 0;  // not 0: for a lane, which is in no group and holds so many bytes at most
  Properties properties;      // librdkafka's names; they override Firn's defaults
};

// Names whose values are credentials or private keys.
bool IsSecretProperty(std::string_view name);
// The value, or "***".
std::string PrintableValue(std::string_view name, const std::string& value);

// Defaults overlaid with the user's properties, in the form librdkafka gets them. kInvalidInput when a property is one
// that Firn sets itself.
Result<Properties> ConsumerProperties(const ConsumerSettings& settings);

// kInvalidInput for unknown names (with the nearest known one) and refused values.
Result<Conf> MakeConsumerConf(const ConsumerSettings& settings);
Result<Conf> MakeProducerConf(const std::string& bootstrap, const Properties& properties);

// How long the group waits for the next Poll; the pipeline's deadlines derive from it.
Result<int64_t> MaxPollIntervalMs(const Properties& properties);

}  // namespace firn::kafka
