#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>

#include "firn/base/log.h"
#include "firn/cli/command_factories.h"
#include "firn/cli/compaction_parts.h"
#include "firn/cli/kafka_probe.h"
#include "firn/cli/pipeline_parts.h"
#include "firn/cli/pipeline_tables.h"
#include "firn/cli/status_report.h"
#include "firn/config/config.h"
#include "firn/config/units.h"
#include "firn/env/clock.h"
#include "firn/env/curl_http_client.h"
#include "firn/lag/lag_reader.h"

namespace firn::cli {
namespace {

using nlohmann::json;

constexpr int64_t kKafkaTimeoutMs = 5'000;
constexpr int64_t kWatchIntervalMsMin = 500;
constexpr size_t kPartitionsOfNamedTable = 10;
constexpr int64_t kWorkerTimeoutMs = 2'000;
constexpr int64_t kWorkerPageBytesMax = int64_t{16} << 20;

// Where a worker of this configuration serves its pages, as this machine reaches it; empty: nowhere.
std::string OwnWorker(const config::HttpConfig& http) {
  if (!http.enabled || http.port == 0) return "";
  const bool is_any = http.host == "0.0.0.0" || http.host == "::";
  const std::string host = is_any ? "127.0.0.1" : http.host;
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, http.port)
                                             : fmt::format("[{}]:{}", host, http.port);
}

class StatusCommand final : public Command {
 public:
  std::string_view name() const override { return "status"; }
  std::string_view summary() const override { return "Show lag of ingest and compaction, table by table"; }
  std::string_view details() const override {
    return "Reads the tables' metadata and manifests and asks the brokers where the topics end; no data file is "
           "opened,\n"
           "nothing is written, and no worker need be running. Of each table: live files, what compaction has before "
           "it\n"
           "(files, bytes, age of the oldest), arrival and capacity of compaction with their ratio and a forecast, "
           "bytes\n"
           "written for each byte that came in, manifests and snapshots, age of the last commit. docs/lag.md has the\n"
           "formulas. With --table also its worst partitions. Where the brokers cannot be reached, it says so and "
           "shows\n"
           "the rest. What maintenance has done, and which errors of compaction and maintenance stand, with their "
           "remedies,\n"
           "is asked of the worker at http.listen, or of those that --worker names.";
  }
  std::string_view examples() const override {
    return "firn status -c firn.yaml\n"
           "firn status -c firn.yaml --watch --interval 10s\n"
           "firn status -c firn.yaml --table security.flows\n"
           "firn status -c firn.yaml --json | jq '.tables[] | select(.compaction.state == \"behind\") | .table'";
  }
  std::string_view exit_codes() const override {
    return "0    shown; with --watch: until it was stopped\n"
           "1    the catalog was not reached, or a table's figures could not be read\n"
           "2    the command line or the configuration is wrong\n"
           "3    shown, but tables are detached";
  }
  bool handles_stop() const override { return true; }

  void AddOptions(CLI::App& app) override {
    app.add_option("-c,--config", config_path_, "Configuration file")->type_name("FILE")->default_str(config_path_);
    app.add_option("--table", tables_, "Only this table; may be given several times")
        ->type_name("NS.TABLE")
        ->allow_extra_args(false);
    app.add_option("--worker", workers_, "Ask this worker's status server, not http.listen; may be given several times")
        ->type_name("HOST:PORT")
        ->allow_extra_args(false);
    app.add_option("--window", window_, "Rates are over this time")->type_name("TIME")->default_str(window_);
    CLI::Option* watch = app.add_flag("--watch", watch_, "Show it again and again, until stopped");
    app.add_option("--interval", interval_, "watch: how often")
        ->type_name("TIME")
        ->default_str(interval_)
        ->needs(watch);
    app.add_flag("--json", json_, "Print one JSON document; with --watch one a line");
  }

  int Run(Invocation& invocation) override {
    int64_t interval_ms = 0;
    Status usage = ReadOptions(interval_ms);
    if (!usage.has_value()) return ReportError(invocation, usage.error(), json_, kUsage);
    Result<config::Config> config = config::LoadConfig(config_path_);
    if (!config.has_value()) return ReportError(invocation, config.error(), json_, kUsage);
    ConfigureLogging(config->log.format, config->log.level);
    lag_options_ = LagOptionsOf(*config);
    lag_options_.window_ms = window_ms_;
    lag_options_.partitions_max = tables_.empty() ? 0 : kPartitionsOfNamedTable;
    // So that the catalog is asked for these tables' storage too.
    const ingest::PipelineOptions pipeline = config->pipeline;
    for (const std::string& table : tables_) {
      ingest::TableRule rule;
      rule.name = table;
      config->pipeline.tables.push_back(std::move(rule));
    }
    Result<Lakehouse> lakehouse = OpenLakehouse(*config, LakehouseUse::kLook);
    if (!lakehouse.has_value()) return ReportError(invocation, lakehouse.error(), json_);
    lag::LagReader reader(*lakehouse->catalog, lakehouse->store(), env::SystemClock());
    while (true) {
      Result<PipelineStatus> status = Look(pipeline, *config, *lakehouse->catalog, reader);
      if (!status.has_value() && !watch_) return ReportError(invocation, status.error(), json_);
      Show(status, invocation);
      if (!watch_) return status->has_failed_tables() ? kFailure : status->detached.empty() ? kSuccess : kDetached;
      if (!env::SystemClock().SleepMs(interval_ms, invocation.stop)) return kSuccess;
    }
  }

 private:
  Status ReadOptions(int64_t& interval_ms) {
    FIRN_ASSIGN(window_ms_, WithContext(config::ParseDurationMs(window_), "--window"));
    FIRN_ASSIGN(interval_ms, WithContext(config::ParseDurationMs(interval_), "--interval"));
    if (window_ms_ <= 0) return Fail(ErrorCode::kInvalidInput, "--window must be more than nothing");
    if (interval_ms < kWatchIntervalMsMin) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("--interval is at least {} ms: '{}'", kWatchIntervalMsMin, interval_));
    }
    for (const std::string& table : tables_) FIRN_TRY(iceberg::TableIdentifier::Parse(table));
    return {};
  }

  Result<PipelineStatus> Look(const ingest::PipelineOptions& pipeline, const config::Config& config,
                              iceberg::Catalog& catalog, lag::LagReader& reader) {
    FIRN_ASSIGN(PipelineTables found, FindPipelineTables(pipeline, catalog));
    if (!tables_.empty()) {
      found.tables.clear();
      for (const std::string& table : tables_) {
        FIRN_ASSIGN(iceberg::TableIdentifier identifier, iceberg::TableIdentifier::Parse(table));
        found.tables.push_back(std::move(identifier));
      }
    }
    PipelineStatus status;
    status.pipeline = pipeline.pipeline;
    status.started = found.home.has_value();
    if (status.started) AskKafka(config, *found.home, status);
    if (status.started && found.home->home.has_value()) status.detached = found.home->home->detached;
    for (const iceberg::TableIdentifier& table : found.tables) status.tables.push_back(LookAt(table, reader));
    AskWorkers(config, status);
    status.now_ms = env::SystemClock().WallMs();
    return status;
  }

  TableStatus LookAt(const iceberg::TableIdentifier& table, lag::LagReader& reader) const {
    TableStatus status;
    status.table = table.ToString();
    Result<lag::TableLag> lag = reader.Read(table, lag_options_);
    if (lag.has_value()) {
      status.lag = *std::move(lag);
    } else if (lag.error().code() != ErrorCode::kNotFound || !tables_.empty()) {
      status.error = std::move(lag.error());
    }
    return status;
  }

  void AskWorkers(const config::Config& config, PipelineStatus& status) {
    std::vector<std::string> addresses = workers_;
    if (addresses.empty()) addresses.push_back(OwnWorker(config.http));
    for (const std::string& address : addresses) {
      if (address.empty()) continue;
      Result<Upkeep> upkeep = AskWorker(address, status.pipeline);
      status.workers.push_back({address, upkeep.has_value() ? std::nullopt : std::optional(upkeep.error())});
      if (upkeep.has_value()) Add(status.upkeep, *std::move(upkeep));
    }
    if (tables_.empty()) return;
    std::erase_if(status.upkeep, [&](const auto& entry) {
      return !entry.first.empty() && std::ranges::find(tables_, entry.first) == tables_.end();
    });
  }

  Result<Upkeep> AskWorker(const std::string& address, const std::string& pipeline) {
    if (http_ == nullptr) {
      env::CurlHttpClientOptions options;
      options.direct = true;
      options.connect_timeout_ms = kWorkerTimeoutMs;
      options.response_bytes_max = kWorkerPageBytesMax;
      FIRN_ASSIGN(http_, env::CurlHttpClient::Create(options));
    }
    env::HttpRequest request;
    request.url = fmt::format("http://{}/status", address);
    request.timeout_ms = kWorkerTimeoutMs;
    FIRN_ASSIGN(const env::HttpResponse response, http_->Send(request));
    if (response.status != 200) {
      return Fail(ErrorCode::kUnavailable, fmt::format("it answers with HTTP status {}", response.status));
    }
    return ParseUpkeep(response.body, pipeline);
  }

  // The home's positions of topics that are there, against their ends.
  void AskKafka(const config::Config& config, const ingest::PositionsMap& home, PipelineStatus& status) {
    Status asked = TryAskKafka(config, home, status);
    if (asked.has_value()) return;
    status.sources.clear();
    status.kafka_error = std::move(asked.error());
    // A client that could not connect is slow to notice that it could.
    probe_.reset();
    for (const auto& [key, mark] : home.marks) {
      status.sources.push_back({mark.topic, key.partition, std::nullopt, mark.position.offset});
    }
  }

  Status TryAskKafka(const config::Config& config, const ingest::PositionsMap& home, PipelineStatus& status) {
    if (probe_ == nullptr) {
      FIRN_ASSIGN(probe_, KafkaProbe::Create(SourceOptions(config.kafka, config.pipeline.topic_identity_by_name)));
    }
    FIRN_ASSIGN(status.cluster_id, probe_->ClusterId(kKafkaTimeoutMs));
    FIRN_ASSIGN(const std::vector<kafka::TopicInfo> topics, probe_->Topics(kKafkaTimeoutMs));
    std::vector<kafka::OffsetQuestion> questions;
    for (const kafka::TopicInfo& topic : topics) {
      if (topic.error.has_value()) continue;
      const std::string id =
          config.pipeline.topic_identity_by_name || topic.id.empty() ? "name:" + topic.topic : topic.id;
      bool known = false;
      std::map<int32_t, int64_t> positions;
      for (const auto& [key, mark] : home.marks) {
        if (key.cluster_id != status.cluster_id || key.topic_id != id) continue;
        known = true;
        positions[key.partition] = mark.position.offset;
      }
      for (int32_t partition = 0; partition < topic.partition_count; ++partition) {
        SourceStatus source{topic.topic, partition, std::nullopt, std::nullopt};
        auto position = positions.find(partition);
        if (position != positions.end()) source.position = position->second;
        // A partition that appeared after the topic's start is read from its beginning.
        if (position == positions.end() && known) source.position = 0;
        status.sources.push_back(std::move(source));
        questions.push_back({topic.topic, partition, kafka::kLatestOffset});
      }
    }
    FIRN_ASSIGN(const auto ends, probe_->Offsets(questions, kKafkaTimeoutMs));
    for (size_t i = 0; i < ends.size(); ++i) {
      if (ends[i].has_value()) status.sources[i].end = *ends[i];
    }
    return {};
  }

  void Show(const Result<PipelineStatus>& status, Invocation& invocation) const {
    if (!status.has_value()) {
      if (json_) {
        const json error = {
            {"error", {{"code", ErrorCodeName(status.error().code())}, {"message", status.error().message()}}}};
        invocation.out << error.dump(-1, ' ', false, json::error_handler_t::replace) << std::endl;
      }
      invocation.err << "firn: " << status.error().message() << std::endl;
      return;
    }
    if (json_) {
      invocation.out << ToJson(*status).dump(watch_ ? -1 : 2, ' ', false, json::error_handler_t::replace) << std::endl;
      return;
    }
    // Home, and clear what is there.
    if (watch_ && invocation.out_is_terminal) invocation.out << "\x1b[H\x1b[2J";
    invocation.out << ToText(*status) << (watch_ && !invocation.out_is_terminal ? "\n" : "") << std::flush;
  }

  std::string config_path_ = "firn.yaml";
  std::vector<std::string> tables_;
  std::vector<std::string> workers_;
  std::string window_ = "1h";
  std::string interval_ = "5s";
  bool watch_ = false;
  bool json_ = false;
  int64_t window_ms_ = 0;
  lag::LagOptions lag_options_;
  std::unique_ptr<KafkaProbe> probe_;
  std::unique_ptr<env::CurlHttpClient> http_;
};

}  // namespace

std::unique_ptr<Command> MakeStatusCommand() {
  return std::make_unique<StatusCommand>();
}

}  // namespace firn::cli
