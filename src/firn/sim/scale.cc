#include "firn/sim/scale.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "firn/base/log.h"
#include "firn/env/testing/manual_clock.h"
#include "firn/env/testing/memory_store.h"
#include "firn/ingest/table_state.h"
#include "firn/ingest/worker.h"
#include "firn/sim/process.h"
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
constexpr int64_t kStartSpreadMs = 20'000;
constexpr int64_t kPollStepMsMax = 100;  // a poll sees new records that late, and costs little when there are none
constexpr int64_t kChunkRecordsMax = 1000;
constexpr uint64_t kSwitchesMax = 100'000'000'000;

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
        broker_(world_.clock(), random_, faults_, history_) {
    catalog_.set_round_trip_one_in(0);
    weather_.latency_ms_max = options.store_ms_max;
    weather_.catalog_latency_ms_max = options.catalog_ms_max;
    weather_.fault_per_mille = 0;
  }

  ScaleResult Run() {
    RedirectLog([](LogLevel, std::string_view) {});
    ConfigureLogging(LogFormat::kText, LogLevel::kError);
    broker_.CreateTopic(kTopic, options_.partitions);
    pipeline_ = ScalePipeline(options_.tables, options_.commit_interval_ms);
    for (int32_t i = 0; i < options_.workers; ++i) {
      processes_.push_back(std::make_unique<Process>(scheduler_, fmt::format("w{}", i), kWallEpochMs));
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
    if (!process.clock().SleepMs(Below(random_, kStartSpreadMs), process.stop_token())) return;
    SimStore store(process, store_, faults_, weather_, random_);
    SimCatalog catalog(process, catalog_, faults_, weather_, random_, forbidden_until_ms_);
    SimSourceOptions source_options;
    source_options.name = process.name();
    source_options.topics = {kTopic};
    source_options.poll_step_ms_max = kPollStepMsMax;
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
        Production production;
        production.table = FixedTable(static_cast<int32_t>(Below(random_, options_.tables)));
        production.kind = "k";
        const auto partition = static_cast<int32_t>(Below(random_, options_.partitions));
        broker_.Produce(kTopic, partition, production);
        produced_ms_[partition].push_back(scheduler_.now_ms());
        tables_[partition].push_back(production.table);
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
    const int64_t warm_ms = 2 * options_.commit_interval_ms + kStartSpreadMs;
    while (!Over()) {
      scheduler_.SleepMs(kSampleMs);
      if (scheduler_.now_ms() <= warm_ms) {
        result_.start = Count();
      } else {
        Sample();
      }
    }
    result_.end = Count();
    for (auto& process : processes_) process->RequestStop();
  }

  // The age of the oldest record that its table does not have, a partition.
  void Sample() {
    std::map<std::string, ingest::Marks> marks;
    for (int32_t i = 0; i < options_.tables; ++i) {
      const auto* metadata = catalog_.Find(iceberg::TableIdentifier::Parse(FixedTable(i)).value());
      if (metadata == nullptr) continue;
      auto map = ingest::MapOf(*metadata, pipeline_.pipeline);
      if (map.has_value() && map->has_value()) marks[FixedTable(i)] = (*map)->marks;
    }
    for (const auto& [partition, times] : produced_ms_) {
      const ingest::PartitionKey key{broker_.cluster_id(), broker_.topic_id(kTopic), partition};
      int64_t oldest_ms = scheduler_.now_ms();
      // What all tables have was looked at before.
      size_t& from = settled_[partition];
      bool all_settled = true;
      for (size_t offset = from; offset < times.size(); ++offset) {
        auto table = marks.find(tables_[partition][offset]);
        const bool there = table != marks.end() &&
                           ingest::OffsetOf(table->second, key).value_or(0) > static_cast<int64_t>(offset);
        if (!there) {
          oldest_ms = times[offset];
          break;
        }
        if (all_settled) from = offset + 1;
      }
      lags_ms_.push_back(scheduler_.now_ms() - oldest_ms);
    }
  }

  ScaleResult Finish() {
    result_.records = history_.record_count();
    std::ranges::sort(lags_ms_);
    if (!lags_ms_.empty()) {
      result_.lag_p50_ms = lags_ms_[lags_ms_.size() / 2];
      result_.lag_p99_ms = lags_ms_[lags_ms_.size() * 99 / 100];
      result_.lag_max_ms = lags_ms_.back();
    }
    auto size = [&](const std::string& table) -> int64_t {
      const auto* metadata = catalog_.Find(iceberg::TableIdentifier::Parse(table).value());
      return metadata == nullptr ? 0 : static_cast<int64_t>(metadata->Serialize().size());
    };
    result_.home_metadata_bytes = size(pipeline_.home_table);
    for (int32_t i = 0; i < options_.tables; ++i) {
      result_.table_metadata_bytes = std::max(result_.table_metadata_bytes, size(FixedTable(i)));
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
  env::MemoryStore store_;
  CatalogServer catalog_;
  SimBroker broker_;
  Weather weather_;
  const std::map<std::string, int64_t> forbidden_until_ms_;
  ingest::PipelineOptions pipeline_;
  std::vector<std::unique_ptr<Process>> processes_;
  std::map<int32_t, std::vector<int64_t>> produced_ms_;     // partition → by offset
  std::map<int32_t, std::vector<std::string>> tables_;      // the same
  std::map<int32_t, size_t> settled_;
  std::vector<int64_t> lags_ms_;
  ScaleResult result_;
};

}  // namespace

ScaleResult RunScale(const ScaleOptions& options) {
  ScaleRun run(options);
  return run.Run();
}

}  // namespace firn::sim
