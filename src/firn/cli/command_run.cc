#include <fmt/format.h>
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <functional>
#include <nlohmann/json.hpp>
#include <ostream>

#include "firn/base/log.h"
#include "firn/cli/command_factories.h"
#include "firn/cli/compaction_parts.h"
#include "firn/cli/human_format.h"
#include "firn/cli/pipeline_parts.h"
#include "firn/cli/pipeline_tables.h"
#include "firn/cli/progress.h"
#include "firn/cli/table_loop.h"
#include "firn/cli/worker_health.h"
#include "firn/config/config.h"
#include "firn/ingest/memory_budget.h"
#include "firn/ingest/worker.h"
#include "firn/lag/lag_metrics.h"
#include "firn/metrics/process_metrics.h"
#include "firn/metrics/status_server.h"

namespace firn::cli {
namespace {

constexpr int64_t kStartWaitMsMin = 200;
constexpr int64_t kStartWaitMsMax = 10'000;

// A service that starts before its servers waits for them; a batch job gives up after a while.
class StartPatience {
 public:
  StartPatience(WorkerHealth& health, std::stop_token stop, int64_t patience_ms)
      : health_(health), stop_(std::move(stop)), patience_ms_(patience_ms), started_ms_(env::SystemClock().BootMs()) {}

  template <typename T>
  Result<T> Try(std::string_view what, const std::function<Result<T>()>& step) {
    for (int failures = 0;; ++failures) {
      Result<T> made = step();
      if (made.has_value()) return made;
      ErrorCode code = made.error().code();
      bool may_pass = code == ErrorCode::kUnavailable || code == ErrorCode::kTimeout;
      if (!may_pass || env::SystemClock().BootMs() - started_ms_ >= patience_ms_) return made;
      if (failures % 10 == 0) LogWarning("failed, will be tried again", {{"what", what}, {"error", made.error()}});
      health_.SetStarting(fmt::format("{}: {}", what, made.error().ToString()));
      int64_t wait_ms = std::min(kStartWaitMsMax, kStartWaitMsMin << std::min(failures, 10));
      if (!env::SystemClock().SleepMs(wait_ms, stop_)) {
        return Fail(ErrorCode::kCancelled, fmt::format("stopped while waiting: {}", what));
      }
    }
  }

 private:
  WorkerHealth& health_;
  std::stop_token stop_;
  int64_t patience_ms_;
  int64_t started_ms_;
};

class RunCommand final : public Command {
 public:
  std::string_view name() const override { return "run"; }
  std::string_view summary() const override { return "Run a pipeline"; }
  std::string_view details() const override {
    return "Reads the topics of a pipeline and commits rows to its tables until it is stopped. The first SIGINT or\n"
           "SIGTERM makes the last commit and ends (commit.shutdown_deadline bounds it); a second one ends at once.\n"
           "Nothing is lost or doubled either way: the next start goes on where the tables stand. Several processes\n"
           "with the same configuration share the partitions. Beside that it puts small files of its tables together\n"
           "(compaction.*) and keeps them in order (maintenance.*), each process for its part; a batch job does not.";
  }
  std::string_view examples() const override {
    return "firn run -c firn.yaml                           # until stopped\n"
           "firn run -c firn.yaml --until-caught-up --json  # a batch job: what is there now, then a report";
  }
  std::string_view exit_codes() const override {
    return "0    stopped in order, or caught up\n"
           "1    failed; the message says why\n"
           "2    the command line or the configuration is wrong\n"
           "3    caught up, but tables are detached\n"
           "130  stopped by a signal before it had caught up, or by a second signal";
  }
  bool handles_stop() const override { return true; }

  void AddOptions(CLI::App& app) override {
    app.add_option("-c,--config", config_path_, "Configuration file")->type_name("FILE")->default_str(config_path_);
    app.add_flag("--until-caught-up", until_caught_up_, "End when what was readable at the start is committed");
    app.add_flag("--json", json_, "At the end, print figures as one JSON document");
  }

  int Run(Invocation& invocation) override {
    Result<config::Config> config = config::LoadConfig(config_path_);
    if (!config.has_value()) return ReportError(invocation, config.error(), json_, kUsage);
    ConfigureLogging(config->log.format, config->log.level);
    std::signal(SIGPIPE, SIG_IGN);  // sockets of OpenSSL and the AWS SDK may raise it
    // Or glibc learns from every large block that it gets back to keep larger ones, up to 32 MiB, in heaps that
    // fragment: records of 1 MB made a peak of 236 MiB instead of 127.
    const ingest::MemoryBudget budget(config->pipeline.memory_limit_bytes);
    mallopt(M_MMAP_THRESHOLD, static_cast<int>(budget.heap_block_bytes_max()));
    Result<ingest::RunResult> result = RunPipeline(*config, invocation);
    if (!result.has_value() && result.error().code() == ErrorCode::kCancelled) result = ingest::RunResult{};
    if (!result.has_value()) return ReportError(invocation, result.error(), json_);
    Report(invocation, *result);
    if (until_caught_up_ && !result->caught_up) return kInterrupted;
    return until_caught_up_ && !result->status.detached.empty() ? kDetached : kSuccess;
  }

 private:
  Result<ingest::RunResult> RunPipeline(config::Config& config, Invocation& invocation) {
    if (config.pipeline.worker.empty()) config.pipeline.worker = WorkerName();
    BoundClientQueue(config);
    metrics::Registry registry;
    metrics::AddProcessMetrics(registry);
    WorkerHealth health;
    std::unique_ptr<metrics::StatusServer> server;
    if (config.http.enabled) {
      FIRN_ASSIGN(server, StartServer(config, registry, health));
    }
    StartPatience patience(health, invocation.stop, until_caught_up_ ? config.pipeline.give_up_after_ms : INT64_MAX);
    FIRN_ASSIGN(Lakehouse lakehouse,
                patience.Try<Lakehouse>("reaching the catalog", [&] { return OpenLakehouse(config); }));
    FIRN_ASSIGN(std::unique_ptr<env::SpillFolder> spill, OpenSpill(config.pipeline));
    kafka::KafkaSourceOptions source_options = SourceOptions(config.kafka, config.pipeline.topic_identity_by_name);
    if (until_caught_up_) {
      source_options.connect_timeout_ms = std::min(source_options.connect_timeout_ms, config.pipeline.give_up_after_ms);
    }
    FIRN_ASSIGN(std::unique_ptr<kafka::KafkaSource> source,
                patience.Try<std::unique_ptr<kafka::KafkaSource>>(
                    "reaching Kafka", [&] { return kafka::KafkaSource::Create(source_options); }));
    ingest::WorkerDependencies dependencies{*lakehouse.catalog, lakehouse.store(),   *source,
                                            env::SystemClock(), env::SystemRandom(), registry};
    dependencies.spill = spill.get();
    FIRN_ASSIGN(std::unique_ptr<ingest::Worker> worker, ingest::Worker::Create(config.pipeline, dependencies));
    health.SetWorker(worker.get());
    LogInfo("pipeline started", {{"pipeline", config.pipeline.pipeline},
                                 {"catalog", lakehouse.catalog->description()},
                                 {"cluster", source->cluster_id()},
                                 {"http_port", server ? server->port() : 0}});
    std::optional<ProgressLine> progress;
    const std::unique_ptr<TableLoop> compaction = StartCompaction(config, lakehouse, *worker, registry);
    if (compaction != nullptr) health.SetUpkeep([&compaction] { return compaction->upkeep(); });
    const std::stop_callback stop_compaction(invocation.stop, [&] {
      if (compaction != nullptr) compaction->RequestStop();
    });
    std::optional<lag::TableLagWatch> lag_watch;  // ends before the loop, which it asks
    if (server != nullptr && config.lag.interval_ms > 0 && !until_caught_up_) {
      lag::TableLagWatchOptions options = LagWatchOptions(config);
      options.capacity_bytes_per_s = [&] { return CompactionCapacity(config, compaction.get(), *worker); };
      lag_watch.emplace(*lakehouse.catalog, lakehouse.store(), env::SystemClock(), registry, std::move(options),
                        [&config, &lakehouse] { return TablesOf(config, *lakehouse.catalog); });
    }
    if (invocation.err_is_terminal) progress.emplace(invocation.err, [&] { return worker->status(); });
    Result<ingest::RunResult> result = worker->Run(invocation.stop, until_caught_up_);
    health.SetWorker(nullptr);
    health.SetUpkeep(nullptr);
    return result;
  }

  // Null: not here. Must go before what it uses.
  std::unique_ptr<TableLoop> StartCompaction(const config::Config& config, Lakehouse& lakehouse,
                                             const ingest::Worker& worker, metrics::Registry& registry) const {
    if (!config.compaction.enabled || until_caught_up_) return nullptr;
    auto loop = std::make_unique<TableLoop>(
        config, LoopOptionsOf(config),
        compaction::CompactionParts{*lakehouse.catalog, lakehouse.store(), env::SystemClock(), env::SystemRandom()},
        [&worker]() -> Result<compaction::LoopScope> { return ScopeOf(worker.share()); }, registry, "");
    loop->Start(env::SystemThreads());
    return loop;
  }

  static lag::TableLagWatchOptions LagWatchOptions(const config::Config& config) {
    lag::TableLagWatchOptions options{.pipeline = config.pipeline.pipeline, .interval_ms = config.lag.interval_ms};
    options.lag = LagOptionsOf(config);
    return options;
  }

  static std::optional<double> CompactionCapacity(const config::Config& config, const TableLoop* compaction,
                                                  const ingest::Worker& worker) {
    if (compaction == nullptr) return std::nullopt;
    return CompactionCapacityOf(config, compaction->status(), ScopeOf(worker.share()));
  }

  static Result<std::vector<iceberg::TableIdentifier>> TablesOf(const config::Config& config,
                                                                iceberg::Catalog& catalog) {
    FIRN_ASSIGN(PipelineTables found, FindPipelineTables(config.pipeline, catalog));
    return std::move(found.tables);
  }

  static Result<std::unique_ptr<metrics::StatusServer>> StartServer(const config::Config& config,
                                                                    metrics::Registry& registry, WorkerHealth& health) {
    const config::HttpConfig& http = config.http;
    bool is_ipv6 = http.host.find(':') != std::string::npos;
    std::string listen =
        is_ipv6 ? fmt::format("[{}]:{}", http.host, http.port) : fmt::format("{}:{}", http.host, http.port);
    FIRN_ASSIGN(std::unique_ptr<metrics::StatusServer> server,
                WithContext(metrics::StatusServer::Create(listen, registry, health), "http.listen"));
    server->AddPage("/status", [&health, pipeline = config.pipeline.pipeline] {
      nlohmann::json page = StatusToJson(health.status());
      page["pipeline"] = pipeline;
      page["upkeep"] = ToJson(health.upkeep());
      return page.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
    });
    return server;
  }

  void Report(Invocation& invocation, const ingest::RunResult& result) const {
    if (json_) {
      invocation.out << RunResultToJson(result).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
      return;
    }
    const ingest::WorkerStatus& status = result.status;
    LogInfo(result.caught_up ? "caught up" : "stopped", {{"records", status.records},
                                                         {"rows", status.rows_committed},
                                                         {"rejects", status.rejects_committed},
                                                         {"dropped", status.dropped},
                                                         {"commits", status.commits},
                                                         {"files", status.data_files},
                                                         {"detached", status.detached.size()}});
  }

  std::string config_path_ = "firn.yaml";
  bool until_caught_up_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeRunCommand() {
  return std::make_unique<RunCommand>();
}

}  // namespace firn::cli
