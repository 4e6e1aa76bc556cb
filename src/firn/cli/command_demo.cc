#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <csignal>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <thread>

#include "firn/base/log.h"
#include "firn/cli/command_factories.h"
#include "firn/cli/demo_feed.h"
#include "firn/cli/demo_folder.h"
#include "firn/cli/human_format.h"
#include "firn/cli/pipeline_parts.h"
#include "firn/cli/progress.h"
#include "firn/cli/worker_health.h"
#include "firn/config/config.h"
#include "firn/kafka/mock_cluster.h"
#include "firn/metrics/process_metrics.h"

namespace firn::cli {
namespace {

constexpr int kPartitions = 64;
constexpr int64_t kRefreshMs = 500;
constexpr int64_t kPlainLineMs = 2'000;
constexpr int64_t kSettleMsMax = 120'000;  // after the last event: far beyond two commits, even on a busy machine

uint64_t Settled(const ingest::WorkerStatus& status) {
  return status.rows_committed + status.rejects_committed + status.dropped;
}

// The live table: repainted in place on a terminal, a line now and then elsewhere.
class DemoDisplay {
 public:
  DemoDisplay(std::ostream& err, bool terminal) : err_(err), terminal_(terminal) {}

  void Show(int64_t elapsed_ms, int64_t events, const DemoFeed& feed, const ingest::WorkerStatus& status) {
    Rates rates = meter_.Add(elapsed_ms, status.records, status.bytes);
    if (!terminal_) {
      if (elapsed_ms - last_line_ms_ < kPlainLineMs) return;
      last_line_ms_ = elapsed_ms;
      err_ << fmt::format("{:>5}  produced {}  {}\n", FormatElapsedMs(elapsed_ms),
                          FormatCount(static_cast<int64_t>(feed.produced())),
                          ProgressText(status, rates, ResidentMemoryBytes()))
           << std::flush;
      return;
    }
    auto count = [](uint64_t value) { return FormatCount(static_cast<int64_t>(value)); };
    std::string text = painted_ ? fmt::format("\x1b[{}A", kLines) : "";
    auto line = [&](std::string_view name, const std::string& value) {
      text += fmt::format("\x1b[2K  {:<20}{}\n", name, value);
    };
    line("elapsed", FormatElapsedMs(elapsed_ms));
    line("events produced", fmt::format("{} of {}", count(feed.produced()), FormatCount(events)));
    line("rate", fmt::format("{} records/s, {}/s", FormatCount(static_cast<int64_t>(rates.records_per_second)),
                             FormatBytes(rates.bytes_per_second)));
    line("rows committed", count(status.rows_committed));
    line("rejects committed", count(status.rejects_committed));
    line("commits", fmt::format("{}, {} data files, {}", status.commits, status.data_files,
                                FormatBytes(static_cast<double>(status.data_file_bytes))));
    line("lag", status.lag_records < 0 ? "not known yet" : fmt::format("{} records", FormatCount(status.lag_records)));
    line("memory",
         fmt::format("{}, brokers and producer included", FormatBytes(static_cast<double>(ResidentMemoryBytes()))));
    err_ << text << std::flush;
    painted_ = true;
  }

 private:
  static constexpr int kLines = 8;
  std::ostream& err_;
  const bool terminal_;
  bool painted_ = false;
  int64_t last_line_ms_ = 0;
  RateMeter meter_;
};

struct DemoOutcome {
  uint64_t produced = 0;
  uint64_t malformed = 0;
  int64_t table_rows = 0;
  int64_t reject_rows = 0;
  std::string metadata_location;
  ingest::RunResult run;
  int64_t elapsed_ms = 0;
  bool interrupted = false;

  bool counts_agree() const {
    return static_cast<int64_t>(produced) == table_rows + reject_rows && reject_rows == static_cast<int64_t>(malformed);
  }
};

class DemoCommand final : public Command {
 public:
  std::string_view name() const override { return "demo"; }
  std::string_view summary() const override { return "See it work: brokers, events and tables in one process"; }
  std::string_view details() const override {
    return "Needs no server. Starts brokers inside the process, makes network events (some malformed), runs a "
           "pipeline\n"
           "into Iceberg tables in a local folder, verifies the counts, and says how to query the tables with DuckDB\n"
           "and PyIceberg. Ends by itself within a minute. The folder may be deleted afterwards.";
  }
  std::string_view examples() const override {
    return "firn demo\n"
           "firn demo --events 2000000 --rate 100000 --dir demo-big";
  }
  std::string_view exit_codes() const override {
    return "0    events produced = rows + rejects\n"
           "1    failed, or the counts do not agree\n"
           "2    the folder is somebody else's, or the command line is wrong\n"
           "130  stopped by a signal";
  }
  bool handles_stop() const override { return true; }

  void AddOptions(CLI::App& app) override {
    app.add_option("--dir", folder_path_, "Folder to fill")->type_name("FOLDER")->default_str(folder_path_);
    app.add_option("--events", events_, "Events to produce")
        ->type_name("N")
        ->check(CLI::Range(int64_t{1}, int64_t{1'000'000'000}))
        ->type_name("N")
        ->default_str("400000");
    app.add_option("--rate", rate_, "Most events a second")
        ->check(CLI::Range(int64_t{1}, int64_t{10'000'000}))
        ->type_name("N")
        ->default_str("20000");
    app.add_flag("--json", json_, "At the end, print one JSON document");
  }

  int Run(Invocation& invocation) override {
    ConfigureLogging(LogFormat::kText, LogLevel::kWarning);
    std::signal(SIGPIPE, SIG_IGN);
    Result<DemoFolder> folder = DemoFolder::Prepare(folder_path_);
    if (!folder.has_value()) return ReportError(invocation, folder.error(), json_, kUsage);
    Result<DemoOutcome> outcome = RunDemo(*folder, invocation);
    if (!outcome.has_value()) return ReportError(invocation, outcome.error(), json_);
    if (outcome->interrupted) {
      invocation.err << "stopped; what was committed stands\n";
      return kInterrupted;
    }
    if (Status written = folder->WriteQueries(outcome->metadata_location); !written.has_value()) {
      return ReportError(invocation, written.error(), json_);
    }
    if (json_) {
      PrintJson(invocation.out, *folder, *outcome);
    } else {
      PrintSummary(invocation.out, *folder, *outcome);
    }
    return outcome->counts_agree() ? kSuccess : kFailure;
  }

 private:
  Result<DemoOutcome> RunDemo(const DemoFolder& folder, Invocation& invocation) {
    FIRN_ASSIGN(std::unique_ptr<kafka::MockCluster> cluster, kafka::MockCluster::Create());
    FIRN_TRY(cluster->CreateTopic(kDemoTopic, kPartitions));
    FIRN_TRY(folder.WriteConfig(cluster->bootstrap()));
    FIRN_ASSIGN(config::Config config, config::LoadConfig(folder.config_path()));
    config.pipeline.worker = WorkerName();
    metrics::Registry registry;
    metrics::AddProcessMetrics(registry);
    FIRN_ASSIGN(Lakehouse lakehouse, OpenLakehouse(config));
    FIRN_ASSIGN(std::unique_ptr<kafka::KafkaSource> source,
                kafka::KafkaSource::Create(SourceOptions(config.kafka, false)));
    ingest::WorkerDependencies dependencies{*lakehouse.catalog, lakehouse.store(),   *source,
                                            env::SystemClock(), env::SystemRandom(), registry};
    FIRN_ASSIGN(std::unique_ptr<ingest::Worker> worker, ingest::Worker::Create(config.pipeline, dependencies));
    WorkerHealth health;
    health.SetWorker(worker.get());
    FIRN_ASSIGN(std::unique_ptr<metrics::StatusServer> server,
                metrics::StatusServer::Create("127.0.0.1:0", registry, health));
    invocation.err << fmt::format(
        "firn demo: {} events, {} partitions, into {}\nmetrics: http://127.0.0.1:{}/metrics\n\n", FormatCount(events_),
        kPartitions, folder.shown_path(), server->port());

    FIRN_ASSIGN(DemoOutcome outcome, Drive(*worker, cluster->bootstrap(), invocation));
    if (outcome.interrupted) return outcome;
    FIRN_ASSIGN(iceberg::LoadedTable table, LoadTable(*lakehouse.catalog, kDemoTable));
    outcome.metadata_location = table.metadata_location;
    outcome.table_rows = TotalRecords(table);
    Result<iceberg::LoadedTable> rejects = LoadTable(*lakehouse.catalog, kDemoRejects);
    if (rejects.has_value()) outcome.reject_rows = TotalRecords(*rejects);
    return outcome;
  }

  // Runs the worker beside the feed until every event is in a table, then stops it.
  Result<DemoOutcome> Drive(ingest::Worker& worker, const std::string& bootstrap, Invocation& invocation) {
    env::Clock& clock = env::SystemClock();
    int64_t started_ms = clock.BootMs();
    Result<ingest::RunResult> run = Fail(ErrorCode::kInternal, "the worker did not run");
    std::atomic<bool> worker_ended = false;
    std::jthread runner([&](std::stop_token stop) {
      run = worker.Run(stop, false);
      worker_ended.store(true, std::memory_order_release);
    });
    DemoFeedOptions options{.bootstrap = bootstrap,
                            .topic = kDemoTopic,
                            .partitions = kPartitions,
                            .events = events_,
                            .events_per_second_max = rate_};
    FIRN_ASSIGN(std::unique_ptr<DemoFeed> feed, DemoFeed::Start(options, [&] { return Settled(worker.status()); }));

    DemoDisplay display(invocation.err, invocation.err_is_terminal);
    std::optional<int64_t> fed_ms;
    while (!worker_ended.load(std::memory_order_acquire) && clock.SleepMs(kRefreshMs, invocation.stop)) {
      int64_t now_ms = clock.BootMs();
      ingest::WorkerStatus status = worker.status();
      display.Show(now_ms - started_ms, events_, *feed, status);
      if (!feed->done()) continue;
      if (!feed->result().has_value() || Settled(status) >= feed->produced()) break;
      if (!fed_ms) fed_ms = now_ms;
      if (now_ms - *fed_ms > kSettleMsMax) break;  // the counts below will tell
    }
    bool interrupted = invocation.stop.stop_requested();
    DemoOutcome outcome{.produced = feed->produced(), .malformed = feed->malformed(), .interrupted = interrupted};
    runner.request_stop();
    runner.join();
    outcome.elapsed_ms = clock.BootMs() - started_ms;
    FIRN_ASSIGN(outcome.run, std::move(run));
    if (feed->done()) FIRN_TRY(feed->result());
    return outcome;
  }

  static Result<iceberg::LoadedTable> LoadTable(iceberg::Catalog& catalog, const std::string& name) {
    FIRN_ASSIGN(iceberg::TableIdentifier identifier, iceberg::TableIdentifier::Parse(name));
    return catalog.LoadTable(identifier);
  }

  // What the table itself says, not what the worker counted.
  static int64_t TotalRecords(const iceberg::LoadedTable& table) {
    const iceberg::Snapshot* snapshot = table.metadata.CurrentSnapshot();
    if (snapshot == nullptr) return 0;
    auto found = snapshot->summary.find("total-records");
    int64_t rows = 0;
    if (found != snapshot->summary.end()) {
      std::from_chars(found->second.data(), found->second.data() + found->second.size(), rows);
    }
    return rows;
  }

  static void PrintSummary(std::ostream& out, const DemoFolder& folder, const DemoOutcome& outcome) {
    const ingest::WorkerStatus& status = outcome.run.status;
    out << fmt::format("\n{:<28}{:>12}\n", "events produced", FormatCount(static_cast<int64_t>(outcome.produced)));
    out << fmt::format("{:<28}{:>12}\n", kDemoTable, FormatCount(outcome.table_rows));
    out << fmt::format("{:<28}{:>12}   of {} malformed events\n", kDemoRejects, FormatCount(outcome.reject_rows),
                       FormatCount(static_cast<int64_t>(outcome.malformed)));
    out << (outcome.counts_agree() ? "verified: events = rows + rejects, and every malformed one is a reject\n"
                                   : "THE COUNTS DO NOT AGREE: please report this\n");
    out << fmt::format("\n{} commits, {} data files, {} in {}\n", status.commits, status.data_files,
                       FormatBytes(static_cast<double>(status.data_file_bytes)), FormatElapsedMs(outcome.elapsed_ms));
    out << fmt::format("files:          {}\nconfiguration:  {}/firn.yaml\n", folder.warehouse(), folder.path());
    out << "\nQuery the tables (needs Python and network access once):\n\n" << DemoQueryCommands(folder);
  }

  static void PrintJson(std::ostream& out, const DemoFolder& folder, const DemoOutcome& outcome) {
    nlohmann::json document = {{"events", outcome.produced},
                               {"malformed", outcome.malformed},
                               {"rows", outcome.table_rows},
                               {"rejects", outcome.reject_rows},
                               {"verified", outcome.counts_agree()},
                               {"elapsed_ms", outcome.elapsed_ms},
                               {"folder", folder.path()},
                               {"metadata_location", outcome.metadata_location},
                               {"run", RunResultToJson(outcome.run)}};
    out << document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  }

  std::string folder_path_ = "./firn-demo";
  int64_t events_ = 400'000;
  int64_t rate_ = 20'000;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeDemoCommand() {
  return std::make_unique<DemoCommand>();
}

}  // namespace firn::cli
