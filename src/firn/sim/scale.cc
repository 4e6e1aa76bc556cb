#include "firn/sim/scale.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "firn/base/log.h"
#include "firn/env/testing/manual_clock.h"
#include "firn/ingest/worker.h"
#include "firn/sim/process.h"
#include "firn/sim/scale_ages.h"
#include "firn/sim/scale_store.h"
#include "firn/sim/scheduler.h"
#include "firn/sim/sim_broker.h"
#include "firn/sim/sim_catalog.h"
#include "firn/sim/sim_source.h"
#include "firn/sim/world_plan.h"

namespace firn::sim {
namespace {

constexpr int64_t kWallEpochMs = 1'790'000'000'000;
constexpr int64_t kSampleMs = 5000;
constexpr int64_t kProduceMs = 250;
constexpr int64_t kStartSpreadMsMin = 20'000;
constexpr int64_t kStartGapMs = 100;     // as long as one worker after the other is rolled out
constexpr int64_t kPollStepMsMax = 100;  // a poll sees new records that late, and costs little when there are none
constexpr int64_t kChunkRecordsMax = 1000;
constexpr uint64_t kSwitchesMax = 100'000'000'000;

SimBrokerOptions BrokerOptions(const ScaleOptions& options) {
  SimBrokerOptions broker;
  broker.group.look_ms_min = options.tick_ms;
  return broker;
}

std::vector<std::string> FixedTables(int32_t count) {
  std::vector<std::string> tables;
  for (int32_t i = 0; i < count; ++i) tables.push_back(FixedTable(i));
  return tables;
}

class ScaleRun {
 public:
  explicit ScaleRun(const ScaleOptions& options)
      : options_(options),
        random_(options.seed),
        scheduler_(random_),
        world_(scheduler_, "world", kWallEpochMs),
        faults_(random_, 0),
        store_(world_.clock()),
        catalog_([this] { return world_.clock().WallMs(); }, random_, false),
        broker_(world_.clock(), random_, faults_, history_, BrokerOptions(options)),
        start_spread_ms_(std::max(kStartSpreadMsMin, options.workers * kStartGapMs)),
        pipeline_(ScalePipeline(options.tables, options.commit_interval_ms)),
        tables_(FixedTables(options.tables)),
        ages_(pipeline_.pipeline, pipeline_.home_table, tables_, options.partitions),
        retained_(static_cast<size_t>(options.partitions), 0) {
    history_.KeepNothing();
    catalog_.set_round_trip_one_in(0);
    catalog_.set_on_commit([this](const CatalogServer::Change& change) {
      Status forgotten = store_.OnCommit(change.table, change.before, change.after);
      if (!forgotten.has_value()) result_.trouble = forgotten.error().ToString();
    });
    weather_.latency_ms_max = options.store_ms_max;
    weather_.catalog_latency_ms_max = options.catalog_ms_max;
    weather_.fault_per_mille = 0;
  }

  ScaleResult Run() {
    RedirectLog([](LogLevel, std::string_view) {});
    ConfigureLogging(LogFormat::kText, LogLevel::kError);
    broker_.CreateTopic(kTopic, options_.partitions);
    if (options_.history_ms > 0) {
      for (ingest::TableRule& rule : pipeline_.tables) {
        rule.properties["history.expire.max-snapshot-age-ms"] = std::to_string(options_.history_ms);
      }
    }
    for (int32_t i = 0; i < options_.workers; ++i) {
      processes_.push_back(std::make_unique<Process>(scheduler_, fmt::format("w{}", i), kWallEpochMs));
      processes_.back()->set_wait_ms_min(options_.tick_ms);
      scheduler_.Start(processes_.back().get(), processes_.back()->name(), [this, i] { RunWorker(*processes_[i]); });
    }
    scheduler_.Start(nullptr, "producer", [this] { Produce(); });
    scheduler_.Start(nullptr, "watch", [this] { Watch(); });
    std::string stuck;
    if (!scheduler_.Run(kSwitchesMax, stuck)) result_.trouble = "it did not end";
    RedirectLog({});
    return Finish();
  }

 private:
  void RunWorker(Process& process) {
    // As they are rolled out: one after the other.
    if (!process.clock().SleepMs(Below(random_, start_spread_ms_), process.stop_token())) return;
    SimStore store(process, store_, faults_, weather_, random_);
    SimCatalog catalog(process, catalog_, faults_, weather_, random_, forbidden_until_ms_);
    SimSourceOptions source_options;
    source_options.name = process.name();
    source_options.topics = {kTopic};
    source_options.poll_step_ms_max = std::max(kPollStepMsMax, options_.tick_ms);
    source_options.poll_ms_min = options_.tick_ms;
    source_options.chunk_records_max = kChunkRecordsMax;
    auto life = std::make_shared<SimLife>();
    SimSource source(broker_, process.clock(), random_, faults_, life, source_options);
    metrics::Registry registry;
    ingest::PipelineOptions options = pipeline_;
    options.worker = process.name();
    auto worker = ingest::Worker::Create(
        options, {catalog, store, source, process.clock(), random_, registry, process.threads()});
    if (!worker.has_value()) {
      result_.trouble = worker.error().ToString();
      return;
    }
    auto ended = (*worker)->Run(process.stop_token(), false);
    if (!ended.has_value()) result_.trouble = ended.error().ToString();
  }

  bool Over() const { return scheduler_.now_ms() >= options_.minutes * 60'000; }

  void Produce() {
    double owed = 0;
    while (!Over()) {
      scheduler_.SleepMs(kProduceMs);
      owed += static_cast<double>(options_.records_per_second) * kProduceMs / 1000.0;
      for (; owed >= 1; owed -= 1) {
        const auto table = static_cast<int32_t>(Below(random_, options_.tables));
        Production production;
        production.table = tables_[static_cast<size_t>(table)];
        production.kind = "k";
        const auto partition = static_cast<int32_t>(Below(random_, options_.partitions));
        broker_.Produce(kTopic, partition, production);
        ages_.Produced(partition, table, scheduler_.now_ms());
      }
    }
  }

  // Commits and conflicts so far.
  ScaleResult::Counts Count() const {
    ScaleResult::Counts counts;
    for (const auto& [table, commits] : catalog_.commits_by_table()) {
      (table == pipeline_.home_table ? counts.home_commits : counts.table_commits) += commits;
    }
    counts.conflicts = catalog_.conflicts();
    counts.at_ms = scheduler_.now_ms();
    return counts;
  }

  void Watch() {
    const int64_t warm_ms = 2 * options_.commit_interval_ms + start_spread_ms_;
    while (!Over()) {
      scheduler_.SleepMs(kSampleMs);
      AgeCounts starting;
      const bool warm = scheduler_.now_ms() > warm_ms;
      if (!warm) result_.start = Count();
      ages_.Look(catalog_, scheduler_.now_ms(), warm ? stretch_ages_ : starting);
      ForgetPassed();
      const int64_t stretch_ms = options_.stretch_minutes * 60'000;
      if (stretch_ms > 0 && scheduler_.now_ms() - told_.at_ms >= stretch_ms) TellStretch();
    }
    all_ages_.Add(stretch_ages_);
    result_.end = Count();
    for (auto& process : processes_) process->RequestStop();
  }

  // Retention: every table has what the home has passed, and nobody reads it any more.
  void ForgetPassed() {
    result_.detached_max = std::max(result_.detached_max, ages_.detached());
    for (int32_t i = 0; i < options_.partitions; ++i) {
      int64_t& retained = retained_[static_cast<size_t>(i)];
      if (ages_.passed(i) <= retained) continue;
      retained = ages_.passed(i);
      broker_.Retain(kTopic, i, retained);
    }
  }

  const iceberg::TableMetadata* Metadata(const std::string& table) const {
    return catalog_.Find(iceberg::TableIdentifier::Parse(table).value());
  }

  int64_t MetadataBytes(const std::string& table) const {
    const iceberg::TableMetadata* metadata = Metadata(table);
    return metadata == nullptr ? 0 : static_cast<int64_t>(metadata->Serialize().size());
  }

  void TellStretch() {
    const ScaleResult::Counts before = std::exchange(told_, Count());
    ScaleStretch stretch;
    stretch.to_minute = told_.at_ms / 60'000;
    stretch.home_commits = told_.home_commits - before.home_commits;
    stretch.table_commits = told_.table_commits - before.table_commits;
    stretch.conflicts = told_.conflicts - before.conflicts;
    stretch.lag_p50_ms = stretch_ages_.AtShare(0.5);
    stretch.lag_p99_ms = stretch_ages_.AtShare(0.99);
    stretch.lag_max_ms = stretch_ages_.Largest();
    stretch.home_metadata_bytes = MetadataBytes(pipeline_.home_table);
    stretch.table_metadata_bytes = MetadataBytes(tables_.front());
    const iceberg::TableMetadata* metadata = Metadata(tables_.front());
    stretch.snapshots = metadata == nullptr ? 0 : std::ssize(metadata->snapshots);
    stretch.store_bytes = store_.total_bytes();
    all_ages_.Add(std::exchange(stretch_ages_, {}));
    if (options_.on_stretch) options_.on_stretch(stretch);
  }

  ScaleResult Finish() {
    result_.records = history_.record_count();
    result_.lag_p50_ms = all_ages_.AtShare(0.5);
    result_.lag_p99_ms = all_ages_.AtShare(0.99);
    result_.lag_max_ms = all_ages_.Largest();
    result_.home_metadata_bytes = MetadataBytes(pipeline_.home_table);
    for (const std::string& table : tables_) {
      result_.table_metadata_bytes = std::max(result_.table_metadata_bytes, MetadataBytes(table));
    }
    result_.simulated_ms = scheduler_.now_ms();
    result_.switches = scheduler_.switches();
    return result_;
  }

  const ScaleOptions options_;
  env::SeededRandom random_;
  Scheduler scheduler_;
  Process world_;
  SeededFaults faults_;
  LogHistory history_;
  ScaleStore store_;
  CatalogServer catalog_;
  SimBroker broker_;
  Weather weather_;
  const std::map<std::string, int64_t> forbidden_until_ms_;
  const int64_t start_spread_ms_;
  ingest::PipelineOptions pipeline_;
  const std::vector<std::string> tables_;
  ScaleAges ages_;
  std::vector<int64_t> retained_;  // where the log of each partition begins
  std::vector<std::unique_ptr<Process>> processes_;
  AgeCounts stretch_ages_;  // since the last stretch was told
  AgeCounts all_ages_;
  ScaleResult::Counts told_;
  ScaleResult result_;
};

}  // namespace

ScaleResult RunScale(const ScaleOptions& options) {
  ScaleRun run(options);
  return run.Run();
}

}  // namespace firn::sim
