#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "firn/base/encoding.h"
#include "firn/config/block_reader.h"
#include "firn/config/config.h"
#include "firn/config/table_rules.h"
#include "firn/config/units.h"

namespace firn::config {
namespace {

constexpr size_t kPipelineIdBytesMax = 64;
constexpr int64_t kIntervalsInMaxAge = 5;  // DESIGN 4: an interval that runs late must not age its files out

// Would let the client move or forget positions behind the tables' backs.
constexpr std::array<std::string_view, 5> kRefusedKafkaProperties = {"enable.auto.commit", "enable.auto.offset.store",
                                                                     "auto.offset.reset", "enable.partition.eof",
                                                                     "auto.commit.interval.ms"};

std::string PipelineIdProblem(const std::string& id) {
  if (id.empty() || id.size() > kPipelineIdBytesMax) {
    return fmt::format("must have 1 to {} characters", kPipelineIdBytesMax);
  }
  if (id.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-") != std::string::npos) {
    return "may hold a-z, 0-9, '_' and '-' only";
  }
  return "";
}

class ConfigReader {
 public:
  ConfigReader(const BlockReader& root, const ParseContext& context) : root_(root), context_(context) {}

  Config Read() {
    ReadIdentity();
    ReadKafka();
    ReadSource();
    ReadCatalog();
    ReadStore();
    ReadTables();
    ReadOwnTables();
    ReadGuards();
    ReadCommit();
    ReadCompaction();
    ReadMaintenance();
    pipeline().expiry_grace_ms = kExpiryGraceIntervals * config_.maintenance.expire_interval_ms;
    ReadService();
    return std::move(config_);
  }

 private:
  ingest::PipelineOptions& pipeline() { return config_.pipeline; }

  void ReadIdentity() {
    root_.Text("pipeline", pipeline().pipeline);
    root_.Boolean("allow_shared_topic", pipeline().allow_shared_topic);
    if (!root_.Has("pipeline")) return;
    if (std::string problem = PipelineIdProblem(pipeline().pipeline); !problem.empty()) {
      root_.Report("pipeline", fmt::format("{}: {}", problem, root_.Shown("pipeline")));
    }
  }

  void ReadKafka() {
    root_.TextMap("kafka", config_.kafka.properties);
    std::optional<BlockReader> kafka = root_.Block("kafka");
    if (!kafka) return;
    std::map<std::string, std::string>& properties = config_.kafka.properties;
    for (std::string_view refused : kRefusedKafkaProperties) {
      if (kafka->Has(refused)) {
        kafka->Report(refused, "cannot be set: positions stand in the tables; see source.start for the beginning");
      }
    }
    if (kafka->Has("bootstrap.servers") && properties["bootstrap.servers"].empty()) {
      kafka->Report("bootstrap.servers", "needs at least one host:port");
    }
    auto [group, inserted] = properties.try_emplace("group.id", "firn-" + pipeline().pipeline);
    if (group->second.empty()) kafka->Report("group.id", "must not be empty; leave it out for firn-<pipeline>");
    config_.kafka.group_id = pipeline().group_id = group->second;
    if (auto found = properties.find("max.poll.interval.ms"); found != properties.end()) {
      ReadMaxPollInterval(*kafka, found->second);
    }
  }

  void ReadMaxPollInterval(const BlockReader& kafka, const std::string& text) {
    int64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 1000 || value > 86'400'000) {
      kafka.Report("max.poll.interval.ms",
                   fmt::format("expected milliseconds, 1000 to 86400000: {}", kafka.Shown("max.poll.interval.ms")));
      return;
    }
    pipeline().max_poll_interval_ms = value;
  }

  void ReadSource() {
    std::optional<BlockReader> source = root_.Block("source");
    if (!source) return;
    KafkaConfig& kafka = config_.kafka;
    source->TextList("topics", kafka.topics);
    source->Text("topics_regex", kafka.topics_regex);
    if (source->Has("topics") == source->Has("topics_regex")) {
      source->Report(source->Has("topics") ? "topics_regex" : "topics", "name either topics or topics_regex");
    }
    if (source->Has("topics") &&
        (kafka.topics.empty() || std::count(kafka.topics.begin(), kafka.topics.end(), "") > 0)) {
      source->Report("topics", "needs at least one topic, and no empty one");
    }
    // librdkafka takes a subscription for a pattern when it begins with '^'; any other would be one odd topic name.
    if (source->Has("topics_regex") && !kafka.topics_regex.starts_with('^')) {
      source->Report("topics_regex", fmt::format("must begin with '^': {}", source->Shown("topics_regex")));
    }
    for (size_t i = 0; i < kafka.topics.size(); ++i) {
      if (kafka.topics[i].starts_with('^')) source->ReportItem("topics", i, "a pattern; use topics_regex");
    }
    static constexpr std::array kIdentities = {false, true};
    source->Choice("topic_identity", pipeline().topic_identity_by_name, kIdentities);
    ReadStart(*source);
  }

  void ReadStart(const BlockReader& source) {
    using Kind = ingest::StartPolicy::Kind;
    std::string start = "earliest";
    source.Text("start", start);
    if (start == "earliest") {
      pipeline().start.kind = Kind::kEarliest;
    } else if (start == "latest") {
      pipeline().start.kind = Kind::kLatest;
    } else if (Result<int64_t> timestamp_ms = ParseTimestampMs(start); timestamp_ms.has_value()) {
      pipeline().start = {Kind::kTimestamp, *timestamp_ms};
    } else {
      source.Report("start", fmt::format("must be earliest, latest or a point in time such as 2026-11-22T00:00:00Z: {}",
                                         source.Shown("start")));
    }
  }

  void ReadCatalog() {
    std::optional<BlockReader> block = root_.Block("catalog");
    if (!block) return;
    CatalogConfig& catalog = config_.catalog;
    static constexpr std::array kTypes = {CatalogType::kRest, CatalogType::kSqlite};
    block->Choice("type", catalog.type, kTypes);
    block->Text("uri", catalog.uri);
    block->Text("name", catalog.name);
    block->Text("warehouse", catalog.warehouse);
    block->Text("credential", catalog.credential);
    block->Text("token", catalog.token);
    block->Text("scope", catalog.scope);
    block->Text("oauth2_server_uri", catalog.oauth2_server_uri);
    static const std::array<std::string, 2> kDelegations = {"vended-credentials", "none"};
    block->Choice("access_delegation", catalog.access_delegation, std::span<const std::string>(kDelegations));
    block->Text("prefix", catalog.prefix);
    block->Number("timeout", catalog.timeout_ms);
    std::map<std::string, std::string> headers;
    block->TextMap("headers", headers);
    for (auto& [name, value] : headers) catalog.headers[name] = Secret(std::move(value));
    if (!block->Has("type") || !block->Has("uri")) return;
    if (catalog.type == CatalogType::kSqlite) {
      CheckSqliteCatalog(*block);
    } else {
      CheckRestCatalog(*block);
    }
  }

  void CheckSqliteCatalog(const BlockReader& block) {
    CatalogConfig& catalog = config_.catalog;
    for (std::string_view key :
         {"credential", "token", "scope", "oauth2_server_uri", "headers", "access_delegation", "prefix"}) {
      if (block.Has(key)) block.Report(key, "belongs to a REST catalog; leave it out, or set type to rest");
    }
    // SQLAlchemy's spelling, which PyIceberg's configuration uses, is taken too.
    constexpr std::string_view kScheme = "sqlite:///";
    if (catalog.uri.starts_with(kScheme)) catalog.uri.erase(0, kScheme.size());
    if (catalog.uri.empty()) block.Report("uri", "needs the path of the SQLite file");
    if (!catalog.warehouse.starts_with("file:/") && !catalog.warehouse.starts_with("s3://")) {
      block.Report("warehouse", "a sqlite catalog needs a location, file:///path or s3://bucket/path");
    }
    while (catalog.warehouse.size() > 8 && catalog.warehouse.ends_with('/')) catalog.warehouse.pop_back();
  }

  void CheckRestCatalog(const BlockReader& block) {
    const CatalogConfig& catalog = config_.catalog;
    if (!catalog.uri.starts_with("http://") && !catalog.uri.starts_with("https://")) {
      block.Report("uri", fmt::format("expected a URL, http://... or https://...: {}", block.Shown("uri")));
    }
    if (block.Has("name"))
      block.Report("name", "belongs to a sqlite catalog; a REST catalog is told apart by warehouse");
    if (block.Has("credential") && block.Has("token"))
      block.Report("token", "stands beside credential; keep one of them");
  }

  void ReadStore() {
    std::optional<BlockReader> store = root_.Block("store");
    std::optional<BlockReader> s3 = store ? store->Block("s3") : std::nullopt;
    if (!s3) return;
    S3Config& options = config_.store.s3;
    s3->Text("endpoint", options.endpoint);
    s3->Text("region", options.region);
    s3->Boolean("path_style", options.path_style);
    s3->Text("access_key_id", options.access_key_id);
    s3->Text("secret_access_key", options.secret_access_key);
    s3->Text("session_token", options.session_token);
    s3->Text("ca_file", options.ca_file);
    if (s3->Has("access_key_id") != s3->Has("secret_access_key")) {
      s3->Report(s3->Has("access_key_id") ? "access_key_id" : "secret_access_key",
                 "access_key_id and secret_access_key go together; leave out both for the usual chain");
    }
  }

  void ReadTables() {
    if (std::optional<BlockReader> decode = root_.Block("decode")) ReadDecodeOptions(*decode, decode_);
    std::vector<BlockReader> blocks = root_.Blocks("tables");
    if (root_.Has("tables") && blocks.empty()) root_.Report("tables", "needs at least one table");
    std::set<std::string> names;
    for (const BlockReader& block : blocks) {
      pipeline().tables.push_back(ReadTableRule(block, decode_, context_.folder));
      const ingest::TableRule& rule = pipeline().tables.back();
      if (!rule.name.empty() && !names.insert(rule.name).second) {
        block.Report("name", fmt::format("two items for one table; put their match conditions into one: {}",
                                         block.Shown("name")));
      }
    }
    for (size_t i = 0; i + 1 < blocks.size(); ++i) {
      if (!pipeline().tables[i].match.empty() || !blocks[i].Has("name")) continue;
      blocks[i + 1].Report("",
                           fmt::format("never reached: {} takes every record; give that one a match, or put it last",
                                       blocks[i].shown_path()));
      break;
    }
  }

  // The rejects and home tables: as named, or beside the first table.
  void ReadOwnTables() {
    using ingest::RejectPolicy;
    static constexpr std::array kPolicies = {RejectPolicy::kTable, RejectPolicy::kDrop, RejectPolicy::kStop};
    std::optional<BlockReader> rejects = root_.Block("rejects");
    if (rejects) {
      rejects->Choice("policy", pipeline().reject_policy, kPolicies);
      rejects->Text("table", pipeline().rejects_table);
      if (rejects->Has("table")) CheckOwnTable(*rejects, "table", pipeline().rejects_table);
    }
    if (std::optional<BlockReader> history = root_.Block("history")) {
      ReadHistoryPolicy(*history, "policy", pipeline().history_policy);
    }
    root_.Text("home", pipeline().home_table);
    if (root_.Has("home")) CheckOwnTable(root_, "home", pipeline().home_table);

    std::string space;
    if (!pipeline().tables.empty()) {
      const std::string& first = pipeline().tables.front().name;
      space = first.substr(0, std::min(first.rfind('.'), first.size()));
    }
    std::string id = pipeline().pipeline;
    std::replace(id.begin(), id.end(), '-', '_');
    bool known = !space.empty() && space.find('{') == std::string::npos;
    auto fill = [&](std::string& name, std::string_view suffix, std::string_view key) {
      if (!name.empty()) return;
      if (known) {
        name = fmt::format("{}.{}__{}", space, id, suffix);
      } else if (!space.empty()) {
        root_.Report(key, fmt::format("the first table's namespace is a template, so '{}' must be named", key));
      }
    };
    if (pipeline().reject_policy == RejectPolicy::kTable) fill(pipeline().rejects_table, "rejects", "rejects.table");
    fill(pipeline().home_table, "home", "home");
    if (!pipeline().home_table.empty() && pipeline().home_table == pipeline().rejects_table) {
      root_.Report("home", "is the rejects table, too; name another one");
    }
    for (const ingest::TableRule& rule : pipeline().tables) {
      if (rule.name.empty()) continue;
      if (rule.name == pipeline().home_table) root_.Report("home", "is one of the tables; home has no rows");
      if (rule.name == pipeline().rejects_table) root_.Report("rejects", "the rejects table is one of the tables");
    }
  }

  static void CheckOwnTable(const BlockReader& block, std::string_view key, const std::string& name) {
    std::string problem = TableNameProblem(name, false);
    if (!problem.empty()) block.Report(key, fmt::format("{}: {}", problem, block.Shown(key)));
  }

  void ReadCommit() {
    std::optional<BlockReader> commit = root_.Block("commit");
    if (commit) {
      commit->Number("interval", pipeline().commit_interval_ms);
      commit->Number("rows_max", pipeline().commit_rows_max);
      commit->Number("bytes_max", pipeline().commit_bytes_max);
      commit->Number("max_age", pipeline().commit_max_age_ms);
      commit->Number("shutdown_deadline", pipeline().shutdown_deadline_ms);
      commit->Number("detach_after", pipeline().detach_after_ms);
      commit->Number("upload_threads", pipeline().upload_threads);
      if (pipeline().commit_max_age_ms < kIntervalsInMaxAge * pipeline().commit_interval_ms) {
        commit->Report(
            commit->Has("interval") ? "interval" : "max_age",
            fmt::format("commit.max_age must be at least {} × commit.interval, here {}: '{}'", kIntervalsInMaxAge,
                        FormatDurationMs(kIntervalsInMaxAge * pipeline().commit_interval_ms),
                        FormatDurationMs(pipeline().commit_max_age_ms)));
      }
    }
    if (std::optional<BlockReader> positions = root_.Block("positions")) {
      positions->Number("checkpoint", pipeline().checkpoint_interval_ms);
    }
  }

  void ReadCompaction() {
    std::optional<BlockReader> block = root_.Block("compaction");
    if (!block) return;
    CompactionConfig& compaction = config_.compaction;
    block->Boolean("enabled", compaction.enabled);
    block->Number("cpu_share", compaction.cpu_share_percent);
    block->Number("cpu_share_max", compaction.cpu_share_max_percent);
    block->Number("interval", compaction.interval_ms);
    block->Number("files_min", compaction.files_min);
    block->Number("cold_after", compaction.cold_after_ms);
    if (compaction.cpu_share_percent <= compaction.cpu_share_max_percent) return;
    if (block->Has("cpu_share_max")) {
      block->Report("cpu_share_max",
                    fmt::format("must not be below compaction.cpu_share ({}): {}",
                                FormatPercent(compaction.cpu_share_percent), block->Shown("cpu_share_max")));
    } else {
      compaction.cpu_share_max_percent = compaction.cpu_share_percent;
    }
  }

  void ReadMaintenance() {
    MaintenanceConfig& maintenance = config_.maintenance;
    std::optional<BlockReader> block = root_.Block("maintenance");
    if (!block) return;
    auto interval = [&](std::string_view task, int64_t& interval_ms) {
      if (std::optional<BlockReader> of_task = block->Block(task)) of_task->Number("interval", interval_ms);
    };
    interval("expire", maintenance.expire_interval_ms);
    interval("manifests", maintenance.manifests_interval_ms);
    interval("retain", maintenance.retain_interval_ms);
    std::optional<BlockReader> orphans = block->Block("orphans");
    if (!orphans) return;
    orphans->Number("interval", maintenance.orphans_interval_ms);
    orphans->Number("older_than", maintenance.orphans_older_than_ms);
    const int64_t age_ms_min = ingest::kCommitAgesInOrphanAge * pipeline().commit_max_age_ms;
    if (maintenance.orphans_interval_ms == 0 || maintenance.orphans_older_than_ms >= age_ms_min) return;
    orphans->Report(orphans->Has("older_than") ? "older_than" : "interval",
                    fmt::format("files are orphans when they are {} × commit.max_age old, here {}, no earlier: '{}'",
                                ingest::kCommitAgesInOrphanAge, FormatDurationMs(age_ms_min),
                                FormatDurationMs(maintenance.orphans_older_than_ms)));
  }

  void ReadGuards() {
    if (std::optional<BlockReader> memory = root_.Block("memory")) {
      memory->Number("limit", pipeline().memory_limit_bytes);
    }
    if (std::optional<BlockReader> spill = root_.Block("spill")) {
      spill->Text("dir", pipeline().spill_dir);
      spill->Number("limit", pipeline().spill_bytes_max);
    }
    if (std::optional<BlockReader> limits = root_.Block("limits")) {
      limits->Number("tables_max", pipeline().tables_max);
      limits->Number("clock_skew_max", pipeline().clock_skew_max_ms);
      limits->Number("give_up_after", pipeline().give_up_after_ms);
    }
  }

  void ReadService() {
    if (std::optional<BlockReader> http = root_.Block("http")) ReadListen(*http);
    if (std::optional<BlockReader> lag = root_.Block("lag")) {
      lag->Number("interval", config_.lag.interval_ms);
      lag->Number("window", config_.lag.window_ms);
      lag->Number("partitions_max", config_.lag.partitions_max);
    }
    std::optional<BlockReader> log = root_.Block("log");
    if (!log) return;
    static constexpr std::array kFormats = {LogFormat::kText, LogFormat::kJson};
    static constexpr std::array kLevels = {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError};
    log->Choice("format", config_.log.format, kFormats);
    log->Choice("level", config_.log.level, kLevels);
  }

  void ReadListen(const BlockReader& http) {
    if (!http.Has("listen")) return;
    std::string listen;
    http.Text("listen", listen);
    if (listen == "off") {
      config_.http.enabled = false;
      return;
    }
    size_t colon = listen.rfind(':');
    std::string host = listen.substr(0, std::min(colon, listen.size()));
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    int port = -1;
    if (colon != std::string::npos) {
      const char* end = listen.data() + listen.size();
      auto [stop, error] = std::from_chars(listen.data() + colon + 1, end, port);
      if (error != std::errc() || stop != end) port = -1;
    }
    if (host.empty() || port < 0 || port > 65'535) {
      http.Report("listen", fmt::format("expected host:port, or off: {}", http.Shown("listen")));
      return;
    }
    config_.http.host = host;
    config_.http.port = port;
  }

  const BlockReader& root_;
  const ParseContext& context_;
  Config config_;
  decode::json::JsonDecoderOptions decode_;
};

}  // namespace

Result<Config> ParseConfig(std::string_view yaml, const ParseContext& context, ProblemList& problems) {
  Environment environment = context.environment;
  if (!environment) environment = [](const std::string&) { return std::nullopt; };
  YamlNode tree = ParseYamlTree(yaml, environment, problems);
  // Broken syntax would only make every required key look missing.
  if (tree.kind == YamlNode::Kind::kNull && !problems.empty())
    return std::unexpected(problems.ToError(context.source_name));
  BlockReader root(tree, "", "", problems);
  Config config = ConfigReader(root, context).Read();
  if (!problems.empty()) return std::unexpected(problems.ToError(context.source_name));
  return config;
}

Result<Config> LoadConfig(const std::string& path) {
  ProblemList problems;
  return LoadConfig(path, problems);
}

Result<Config> LoadConfig(const std::string& path, ProblemList& problems) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    return Fail(ErrorCode::kNotFound, fmt::format("no such configuration file; name one with --config: '{}'", path));
  }
  if (std::filesystem::is_directory(path, ignored)) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("the configuration is a folder; name the file in it: '{}'", path));
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(kYamlBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad()) {
    return Fail(ErrorCode::kIoError,
                fmt::format("configuration file cannot be read; check its permissions: '{}'", path));
  }
  text.resize(static_cast<size_t>(file.gcount()));
  ParseContext context;
  context.source_name = path;
  context.folder = std::filesystem::path(path).parent_path().string();
  context.environment = ProcessEnvironment();
  return ParseConfig(text, context, problems);
}

}  // namespace firn::config
