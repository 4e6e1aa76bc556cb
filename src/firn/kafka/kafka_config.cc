#include "firn/kafka/kafka_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <vector>

#include "firn/base/encoding.h"
#include "firn/kafka/kafka_error.h"
#include "firn/kafka/rdkafka_handles.h"

namespace firn::kafka {
namespace {

constexpr int64_t kMaxPollIntervalMsDefault = 300'000;  // librdkafka's own
constexpr int64_t kMaxPollIntervalMsLimit = 86'400'000;  // librdkafka's own
constexpr int64_t kLaneQueueKbytesMin = 1024;

struct Setting {
  std::string_view name;
  std::string_view value;
};

// Reasons stand in docs/kafka.md, "What Firn sets".
constexpr std::array kConsumerDefaults = {
    Setting{"client.id", "firn"},
    Setting{"check.crcs", "true"},
    Setting{"fetch.queue.backoff.ms", "20"},
    Setting{"fetch.max.bytes", "4194304"},
    Setting{"fetch.min.bytes", "65536"},
    Setting{"fetch.wait.max.ms", "200"},
    Setting{"queued.max.messages.kbytes", "16384"},
    Setting{"socket.keepalive.enable", "true"},
    Setting{"log.connection.close", "false"},
};

constexpr std::array kProducerDefaults = {
    Setting{"client.id", "firn"},
    Setting{"compression.type", "lz4"},
    Setting{"linger.ms", "20"},
    Setting{"enable.idempotence", "true"},
    Setting{"log.connection.close", "false"},
};

// Firn's promises rest on these; a user's value for them is an error, not an override.
constexpr std::array kConsumerFixed = {
    Setting{"enable.auto.commit", "false"},
    Setting{"enable.auto.offset.store", "false"},
    Setting{"auto.offset.reset", "error"},
    Setting{"enable.partition.eof", "true"},
};

// Told by Firn's own configuration keys.
struct OwnKey {
  std::string_view name;
  std::string_view instead;
};
constexpr std::array kOwnKeys = {
    OwnKey{"bootstrap.servers", "kafka.bootstrap.servers"},
    OwnKey{"metadata.broker.list", "kafka.bootstrap.servers"},
    OwnKey{"group.id", "kafka.group.id"},
    OwnKey{"isolation.level", "kafka.isolation.level"},
};

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

// Properties that have no value unless a user gives one: librdkafka's dump leaves them out.
constexpr std::array kNamesWithoutDefault = {
    "sasl.username", "sasl.password", "sasl.mechanism", "sasl.kerberos.keytab", "sasl.oauthbearer.config",
    "sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret", "sasl.oauthbearer.scope",
    "sasl.oauthbearer.extensions", "sasl.oauthbearer.token.endpoint.url", "ssl.ca.location", "ssl.ca.pem",
    "ssl.certificate.location", "ssl.certificate.pem", "ssl.key.location", "ssl.key.password", "ssl.key.pem",
    "ssl.keystore.location", "ssl.keystore.password", "ssl.crl.location", "ssl.cipher.suites", "ssl.curves.list",
    "ssl.sigalgs.list", "client.rack", "group.instance.id", "group.remote.assignor", "debug",
};

// The names that this build of librdkafka knows, for the nearest-word hint.
std::vector<std::string> KnownProperties() {
  Conf conf(rd_kafka_conf_new());
  size_t count = 0;
  const char** dump = rd_kafka_conf_dump(conf.get(), &count);
  std::vector<std::string> names(kNamesWithoutDefault.begin(), kNamesWithoutDefault.end());
  for (size_t i = 0; i + 1 < count; i += 2) names.emplace_back(dump[i]);
  rd_kafka_conf_dump_free(dump, count);
  return names;
}

std::string UnknownPropertyMessage(const std::string& name) {
  std::vector<std::string> known = KnownProperties();
  std::vector<std::string_view> views(known.begin(), known.end());
  std::string_view nearest = NearestWord(name, views);
  std::string hint = nearest.empty() ? std::string("see librdkafka's CONFIGURATION.md for the names")
                                     : fmt::format("did you mean '{}'", nearest);
  return fmt::format("unknown Kafka client property; {}: '{}'", hint, name);
}

Status SetProperty(const Conf& conf, const std::string& name, const std::string& value) {
  char text[512];
  switch (rd_kafka_conf_set(conf.get(), name.c_str(), value.c_str(), text, sizeof(text))) {
    case RD_KAFKA_CONF_OK:
      return {};
    case RD_KAFKA_CONF_UNKNOWN:
      return Fail(ErrorCode::kInvalidInput, UnknownPropertyMessage(name));
    case RD_KAFKA_CONF_INVALID:
      break;
  }
  if (IsSecretProperty(name)) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("Kafka client property is refused by librdkafka; its value is secret and not shown: '{}'",
                            name));
  }
  return Fail(ErrorCode::kInvalidInput, fmt::format("Kafka client property '{}': {}", name, text));
}

Result<Conf> MakeConf(const Properties& properties) {
  Conf conf(rd_kafka_conf_new());
  for (const auto& [name, value] : properties) FIRN_TRY(SetProperty(conf, name, value));
  InstallLogging(conf.get());
  return conf;
}

// A lane never joins the group that it is named after, is not missed when it commits for long, and holds little.
void MakeLaneProperties(int64_t queue_bytes_max, Properties& properties) {
  for (const char* of_members : {"group.instance.id", "group.protocol", "group.remote.assignor"}) {
    properties.erase(of_members);
  }
  properties.try_emplace("partition.assignment.strategy", "cooperative-sticky");
  properties["max.poll.interval.ms"] = std::to_string(kMaxPollIntervalMsLimit);
  properties["statistics.interval.ms"] = "0";
  auto lower = [&](const char* name, int64_t limit) {
    int64_t value = 0;
    const std::string& given = properties[name];
    auto parsed = std::from_chars(given.data(), given.data() + given.size(), value);
    if (parsed.ec == std::errc() && value <= limit) return;
    properties[name] = std::to_string(limit);
  };
  lower("queued.max.messages.kbytes", std::max(kLaneQueueKbytesMin, queue_bytes_max / 1024));
  // What one fetch may bring comes on top.
  lower("fetch.max.bytes", std::max(kLaneQueueKbytesMin * 1024, queue_bytes_max / 2));
  lower("max.partition.fetch.bytes", std::max(kLaneQueueKbytesMin * 1024, queue_bytes_max / 2));
}

Status RefuseOwnKeys(const Properties& properties) {
  for (const OwnKey& own : kOwnKeys) {
    if (properties.contains(std::string(own.name))) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("Kafka client property has an option of its own, which the key '{}' fills: '{}'",
                              own.instead, own.name));
    }
  }
  return {};
}

}  // namespace

void ConfDelete::operator()(rd_kafka_conf_s* conf) const { rd_kafka_conf_destroy(conf); }

bool IsSecretProperty(std::string_view name) {
  constexpr std::array<std::string_view, 8> kMarks = {"password",    "passphrase",  "secret",     "credential",
                                                      "private.key", "ssl.key.pem", "jaas.config", "bearer.config"};
  const std::string lower = LowerCase(name);
  return std::ranges::any_of(kMarks, [&](std::string_view mark) { return lower.find(mark) != std::string::npos; });
}

std::string PrintableValue(std::string_view name, const std::string& value) {
  return IsSecretProperty(name) ? "***" : value;
}

Result<Properties> ConsumerProperties(const ConsumerSettings& settings) {
  FIRN_TRY(RefuseOwnKeys(settings.properties));
  for (const Setting& fixed : kConsumerFixed) {
    auto given = settings.properties.find(std::string(fixed.name));
    if (given != settings.properties.end() && given->second != fixed.value) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("Kafka client property '{}' must stay '{}', leave it out: '{}'", fixed.name, fixed.value,
                              given->second));
    }
  }
  if (settings.bootstrap.empty()) {
    return Fail(ErrorCode::kInvalidInput, "no Kafka brokers given; set kafka.bootstrap.servers to 'host:port'");
  }
  if (settings.group_id.empty()) {
    return Fail(ErrorCode::kInvalidInput, "no consumer group given; set kafka.group.id");
  }

  Properties merged = settings.properties;
  for (const Setting& setting : kConsumerDefaults) merged.try_emplace(std::string(setting.name), setting.value);
  for (const Setting& setting : kConsumerFixed) merged[std::string(setting.name)] = setting.value;
  // KIP-848: the broker assigns, and librdkafka refuses a strategy beside it.
  auto protocol = merged.find("group.protocol");
  if (protocol == merged.end() || LowerCase(protocol->second) != "consumer") {
    merged.try_emplace("partition.assignment.strategy", "cooperative-sticky");
  }
  if (settings.topics_by_regex) merged.try_emplace("topic.blacklist", "^__");
  if (settings.lane_queue_bytes_max > 0) MakeLaneProperties(settings.lane_queue_bytes_max, merged);
  merged["bootstrap.servers"] = settings.bootstrap;
  merged["group.id"] = settings.group_id;
  merged["isolation.level"] = settings.read_committed ? "read_committed" : "read_uncommitted";
  return merged;
}

Result<Conf> MakeConsumerConf(const ConsumerSettings& settings) {
  FIRN_ASSIGN(Properties properties, ConsumerProperties(settings));
  return MakeConf(properties);
}

Result<Conf> MakeProducerConf(const std::string& bootstrap, const Properties& properties) {
  if (bootstrap.empty()) return Fail(ErrorCode::kInvalidInput, "no Kafka brokers given; set the bootstrap servers");
  if (properties.contains("bootstrap.servers")) {
    return Fail(ErrorCode::kInvalidInput, "the brokers are given twice; leave out the property: 'bootstrap.servers'");
  }
  Properties merged = properties;
  for (const Setting& setting : kProducerDefaults) merged.try_emplace(std::string(setting.name), setting.value);
  merged["bootstrap.servers"] = bootstrap;
  return MakeConf(merged);
}

Result<int64_t> MaxPollIntervalMs(const Properties& properties) {
  auto given = properties.find("max.poll.interval.ms");
  if (given == properties.end()) return kMaxPollIntervalMsDefault;
  int64_t value = 0;
  const char* end = given->second.data() + given->second.size();
  auto parsed = std::from_chars(given->second.data(), end, value);
  if (parsed.ec != std::errc() || parsed.ptr != end || value < 1) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("max.poll.interval.ms must be a whole number of milliseconds: '{}'", given->second));
  }
  return value;
}

}  // namespace firn::kafka
