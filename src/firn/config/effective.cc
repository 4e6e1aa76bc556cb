#include "firn/config/effective.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "firn/config/columns.h"
#include "firn/config/keys.h"
#include "firn/config/table_rules.h"
#include "firn/config/units.h"

namespace firn::config {
namespace {

using decode::json::JsonDecoderOptions;

std::string Masked(const Secret& secret) {
  return fmt::format("{}", secret);
}

std::string StartText(const ingest::StartPolicy& start) {
  using Kind = ingest::StartPolicy::Kind;
  if (start.kind == Kind::kTimestamp) return FormatTimestampMs(start.timestamp_ms);
  return start.kind == Kind::kLatest ? "latest" : "earliest";
}

std::map<std::string, std::string> DecodeValues(const JsonDecoderOptions& decode) {
  static constexpr std::array kUnknown = {"count", "keep", "reject"};
  static constexpr std::array kDuplicate = {"last", "first", "reject"};
  auto unit = std::find(kEpochUnits.begin(), kEpochUnits.end(), decode.epoch_unit) - kEpochUnits.begin();
  auto binary = std::find(kBinaryTexts.begin(), kBinaryTexts.end(), decode.binary_text) - kBinaryTexts.begin();
  return {{"unknown_fields", kUnknown[static_cast<size_t>(decode.unknown_fields)]},
          {"unknown_column", decode.unknown_column},
          {"duplicate_keys", kDuplicate[static_cast<size_t>(decode.duplicate_keys)]},
          {"epoch_unit", kEpochUnitNames[unit]},
          {"binary", kBinaryTextNames[binary]},
          {"depth_max", fmt::format("{}", decode.depth_max)},
          {"record_bytes_max", FormatSizeBytes(decode.record_bytes_max)},
          {"kafka_column", decode.kafka_column},
          {"raw_column", decode.raw_column}};
}

std::string BooleanText(bool value) {
  return value ? "true" : "false";
}

void AddCatalog(const CatalogConfig& catalog, std::map<std::string, std::string>& values) {
  bool rest = catalog.type == CatalogType::kRest;
  values["catalog.type"] = rest ? "rest" : "sqlite";
  values["catalog.uri"] = MaskUserInfo(catalog.uri);
  values["catalog.name"] = rest ? "" : catalog.name;
  values["catalog.warehouse"] = catalog.warehouse;
  values["catalog.credential"] = Masked(catalog.credential);
  values["catalog.token"] = Masked(catalog.token);
  values["catalog.scope"] = rest ? catalog.scope : "";
  values["catalog.oauth2_server_uri"] = MaskUserInfo(catalog.oauth2_server_uri);
  values["catalog.access_delegation"] = rest ? catalog.access_delegation : "";
  values["catalog.prefix"] = catalog.prefix;
  values["catalog.timeout"] = FormatDurationMs(catalog.timeout_ms);
}

void AddPipeline(const ingest::PipelineOptions& pipeline, std::map<std::string, std::string>& values) {
  static constexpr std::array kPolicies = {"table", "drop", "stop"};
  values["pipeline"] = pipeline.pipeline;
  values["allow_shared_topic"] = BooleanText(pipeline.allow_shared_topic);
  values["source.start"] = StartText(pipeline.start);
  values["source.topic_identity"] = pipeline.topic_identity_by_name ? "name" : "id";
  values["rejects.policy"] = kPolicies[static_cast<size_t>(pipeline.reject_policy)];
  values["rejects.table"] = pipeline.rejects_table;
  values["home"] = pipeline.home_table;
  values["history.policy"] = HistoryPolicyName(pipeline.history_policy);
  values["commit.interval"] = FormatDurationMs(pipeline.commit_interval_ms);
  values["commit.rows_max"] = fmt::format("{}", pipeline.commit_rows_max);
  values["commit.bytes_max"] = pipeline.commit_bytes_max == 0 ? "auto" : FormatSizeBytes(pipeline.commit_bytes_max);
  values["commit.max_age"] = FormatDurationMs(pipeline.commit_max_age_ms);
  values["commit.shutdown_deadline"] = FormatDurationMs(pipeline.shutdown_deadline_ms);
  values["commit.detach_after"] = FormatDurationMs(pipeline.detach_after_ms);
  values["commit.upload_threads"] = fmt::format("{}", pipeline.upload_threads);
  values["positions.checkpoint"] = FormatDurationMs(pipeline.checkpoint_interval_ms);
  values["memory.limit"] = FormatSizeBytes(pipeline.memory_limit_bytes);
  values["spill.dir"] = pipeline.spill_dir;
  values["spill.limit"] = FormatSizeBytes(pipeline.spill_bytes_max);
  values["limits.tables_max"] = fmt::format("{}", pipeline.tables_max);
  values["limits.clock_skew_max"] = FormatDurationMs(pipeline.clock_skew_max_ms);
  values["limits.give_up_after"] = FormatDurationMs(pipeline.give_up_after_ms);
}

void AddService(const Config& config, std::map<std::string, std::string>& values) {
  static constexpr std::array kLevels = {"debug", "info", "warning", "error"};
  const S3Config& s3 = config.store.s3;
  values["store.s3.endpoint"] = MaskUserInfo(s3.endpoint);
  values["store.s3.region"] = s3.region;
  values["store.s3.path_style"] = BooleanText(s3.path_style);
  values["store.s3.access_key_id"] = s3.access_key_id;
  values["store.s3.secret_access_key"] = Masked(s3.secret_access_key);
  values["store.s3.session_token"] = Masked(s3.session_token);
  values["store.s3.ca_file"] = s3.ca_file;
  const CompactionConfig& compaction = config.compaction;
  values["compaction.enabled"] = BooleanText(compaction.enabled);
  values["compaction.cpu_share"] = FormatPercent(compaction.cpu_share_percent);
  values["compaction.cpu_share_max"] = FormatPercent(compaction.cpu_share_max_percent);
  values["compaction.interval"] = FormatDurationMs(compaction.interval_ms);
  values["compaction.files_min"] = fmt::format("{}", compaction.files_min);
  values["compaction.cold_after"] = FormatDurationMs(compaction.cold_after_ms);
  const MaintenanceConfig& maintenance = config.maintenance;
  values["maintenance.expire.interval"] = FormatDurationMs(maintenance.expire_interval_ms);
  values["maintenance.manifests.interval"] = FormatDurationMs(maintenance.manifests_interval_ms);
  values["maintenance.retain.interval"] = FormatDurationMs(maintenance.retain_interval_ms);
  values["maintenance.orphans.interval"] = FormatDurationMs(maintenance.orphans_interval_ms);
  values["maintenance.orphans.older_than"] = FormatDurationMs(maintenance.orphans_older_than_ms);
  bool bracket = config.http.host.find(':') != std::string::npos;
  values["http.listen"] = !config.http.enabled ? "off"
                          : bracket            ? fmt::format("[{}]:{}", config.http.host, config.http.port)
                                               : fmt::format("{}:{}", config.http.host, config.http.port);
  values["lag.interval"] = FormatDurationMs(config.lag.interval_ms);
  values["lag.window"] = FormatDurationMs(config.lag.window_ms);
  values["lag.partitions_max"] = fmt::format("{}", config.lag.partitions_max);
  values["log.format"] = config.log.format == LogFormat::kJson ? "json" : "text";
  values["log.level"] = kLevels[static_cast<size_t>(config.log.level)];
}

std::string ListText(const std::vector<std::string>& texts) {
  std::vector<std::string> quoted;
  for (const std::string& text : texts) quoted.push_back(QuoteYaml(text));
  return fmt::format("[{}]", fmt::join(quoted, ", "));
}

std::string MatchText(const ingest::RouteMatch& match) {
  std::vector<std::string> parts;
  auto add = [&](std::string_view key, const std::string& value) {
    if (!value.empty()) parts.push_back(fmt::format("{}: {}", key, value));
  };
  auto quoted = [](const std::string& text) { return text.empty() ? std::string() : QuoteYaml(text); };
  add("topic", quoted(match.topic));
  add("topic_regex", quoted(match.topic_regex));
  if (!match.field_path.empty()) add("field", ListText(match.field_path));
  add("header", quoted(match.header_name));
  const std::optional<std::string>& equals = match.header_name.empty() ? match.field_equals : match.header_equals;
  if (equals) add("equals", QuoteYaml(*equals));
  add("regex", quoted(match.header_name.empty() ? match.field_regex : match.header_regex));
  return fmt::format("{{{}}}", fmt::join(parts, ", "));
}

std::string TableText(const ingest::TableRule& rule) {
  std::string out = fmt::format("  - name: {}\n", QuoteYaml(rule.name));
  if (!rule.match.empty()) out += "    match:\n";
  for (const ingest::RouteMatch& match : rule.match) out += fmt::format("      - {}\n", MatchText(match));
  if (!rule.schema.fields.empty()) out += "    columns:\n" + FormatColumns(rule.schema, rule.sources, 6);
  if (!rule.partition.empty()) out += fmt::format("    partition: {}\n", ListText(rule.partition));
  if (!rule.sort_order.empty()) out += fmt::format("    sort_order: {}\n", ListText(rule.sort_order));
  if (!rule.properties.empty()) out += "    properties:\n";
  for (const auto& [name, value] : rule.properties) {
    out += fmt::format("      {}: {}\n", QuoteYaml(name), IsSecretName(name) ? QuoteYaml(kMasked) : QuoteYaml(value));
  }
  if (!rule.location.empty()) out += fmt::format("    location: {}\n", QuoteYaml(rule.location));
  if (rule.history_policy.has_value()) {
    out += fmt::format("    history_policy: {}\n", HistoryPolicyName(*rule.history_policy));
  }
  if (rule.retention.has_value()) {
    out += fmt::format("    retain: {}\n", QuoteYaml(FormatRetention(*rule.retention)));
  }
  out += "    decode:\n";
  for (const auto& [name, value] : DecodeValues(rule.decode)) {
    if (!value.empty()) out += fmt::format("      {}: {}\n", name, QuoteYaml(value));
  }
  return out;
}

// Nested blocks out of dotted keys that stand in the table's order.
class BlockWriter {
 public:
  // `yaml_value` as it stands in the file: a quoted scalar, a list, a map.
  void Add(std::string_view path, const std::string& yaml_value) {
    std::vector<std::string_view> names;
    for (size_t start = 0; start != std::string_view::npos;) {
      size_t dot = path.find('.', start);
      names.push_back(path.substr(start, dot == std::string_view::npos ? dot : dot - start));
      start = dot == std::string_view::npos ? dot : dot + 1;
    }
    size_t shared = 0;
    while (shared + 1 < names.size() && shared < open_.size() && open_[shared] == names[shared]) ++shared;
    open_.resize(shared);
    for (; shared + 1 < names.size(); ++shared) {
      out_ += fmt::format("{:{}}{}:\n", "", 2 * shared, names[shared]);
      open_.push_back(std::string(names[shared]));
    }
    out_ += fmt::format("{:{}}{}: {}\n", "", 2 * shared, names.back(), yaml_value);
  }
  void Raw(const std::string& text) {
    open_.clear();
    out_ += text;
  }
  std::string Take() { return std::move(out_); }

 private:
  std::string out_;
  std::vector<std::string> open_;
};

std::string HeadersText(const std::map<std::string, Secret>& headers) {
  std::vector<std::string> members;
  for (const auto& [name, value] : headers) members.push_back(fmt::format("{}: \"{}\"", QuoteYaml(name), value));
  return fmt::format("{{{}}}", fmt::join(members, ", "));
}

std::string KafkaText(const KafkaConfig& kafka) {
  std::string out = "kafka:\n";
  for (const auto& [name, value] : kafka.properties) {
    out += fmt::format("  {}: {}\n", QuoteYaml(name), IsSecretName(name) ? QuoteYaml(kMasked) : QuoteYaml(value));
  }
  return out;
}

}  // namespace

std::map<std::string, std::string> EffectiveValues(const Config& config) {
  std::map<std::string, std::string> values;
  AddPipeline(config.pipeline, values);
  AddCatalog(config.catalog, values);
  AddService(config, values);
  auto servers = config.kafka.properties.find("bootstrap.servers");
  values["kafka.bootstrap.servers"] = servers == config.kafka.properties.end() ? "" : servers->second;
  values["kafka.group.id"] = config.kafka.group_id;
  values["source.topics_regex"] = config.kafka.topics_regex;
  // The pipeline's own block went into each table; what stands here is where a table without one begins.
  for (const auto& [name, value] : DecodeValues(JsonDecoderOptions())) values["decode." + name] = value;
  return values;
}

std::string EffectiveYaml(const Config& config) {
  std::map<std::string, std::string> values = EffectiveValues(config);
  BlockWriter writer;
  bool kafka_written = false;
  for (const Key& key : AllKeys()) {
    if (key.path.starts_with("kafka")) {
      if (!kafka_written) writer.Raw(KafkaText(config.kafka));
      kafka_written = true;
    } else if (key.path == "tables") {
      writer.Raw("tables:\n");
      for (const ingest::TableRule& rule : config.pipeline.tables) writer.Raw(TableText(rule));
    } else if (key.path == "source.topics") {
      if (!config.kafka.topics.empty()) writer.Add(key.path, ListText(config.kafka.topics));
    } else if (key.path == "catalog.headers") {
      if (!config.catalog.headers.empty()) writer.Add(key.path, HeadersText(config.catalog.headers));
    } else if (auto found = values.find(std::string(key.path)); found != values.end() && !found->second.empty()) {
      writer.Add(key.path, QuoteYaml(found->second));
    }
  }
  return writer.Take();
}

}  // namespace firn::config
