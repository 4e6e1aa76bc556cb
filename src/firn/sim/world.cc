#include "firn/sim/world.h"

#include <fmt/format.h>

#include <algorithm>

#include "firn/base/log.h"
#include "firn/ingest/table_state.h"
#include "firn/sim/world_state.h"

namespace firn::sim {
namespace {

constexpr int64_t kWallEpochMs = 1'790'000'000'000;
constexpr int64_t kSettleMsMax = 40 * 60'000;
constexpr int64_t kSettleStepMs = 1000;
constexpr uint64_t kSwitchesMax = 20'000'000;
constexpr int kChecksOnTheWay = 3;

uint64_t Stream(uint64_t seed, uint64_t number) {
  env::SeededRandom random(seed * 0x9e3779b97f4a7c15 + number);
  return random.Next64();
}

SimBrokerOptions BrokerOptions(const WorldPlan& plan) {
  SimBrokerOptions options;
  options.group.session_timeout_ms = plan.session_timeout_ms;
  options.group.heartbeat_interval_ms = plan.session_timeout_ms / 3;
  options.group.max_poll_interval_ms = plan.pipeline.max_poll_interval_ms;
  return options;
}

}  // namespace

World::World(const WorldOptions& options)
    : options_(options),
      plan_random_(Stream(options.seed, 1)),
      schedule_random_(Stream(options.seed, 2)),
      fault_random_(Stream(options.seed, 3)),
      lake_random_(Stream(options.seed, 4)),
      broker_random_(Stream(options.seed, 5)),
      trouble_random_(Stream(options.seed, 6)),
      producer_random_(Stream(options.seed, 7)),
      worker_random_(Stream(options.seed, 8)),
      clone_random_(Stream(options.seed, 9)),
      compaction_random_(Stream(options.seed, 10)),
      more_random_(Stream(options.seed, 11)),
      plan_(DrawPlan(plan_random_, more_random_)),
      compaction_plan_(DrawCompactionPlan(compaction_random_, plan_)),
      scheduler_(schedule_random_),
      world_process_(scheduler_, "world", kWallEpochMs),
      faults_(fault_random_),
      store_(world_process_.clock()),
      catalog_([this] { return world_process_.clock().WallMs(); }, lake_random_, plan_.without_history),
      broker_(world_process_.clock(), broker_random_, faults_, history_, BrokerOptions(plan_)),
      checker_(catalog_, store_, plan_.pipeline, history_),
      hands_(plan_.pipeline.pipeline, catalog_, store_, world_process_.clock(), trouble_random_, faults_, history_,
             expectation_,
             [this](const std::string& table, const std::set<int64_t>& ids) { checker_.ForgetRows(table, ids); }) {
  result_.seed = options.seed;
  if (plan_.reroutes) expectation_.moving[kMovingTable] = {FixedTable(0), FixedTable(1)};
  catalog_.set_on_commit([this](const CatalogServer::Change& change) { SeeCommit(change); });
  broker_.set_on_group_offset(
      [this](const stream::SourcePartition& partition, int64_t offset) { SeeGroupOffset(partition, offset); });
  for (FaultKind kind : options_.without) faults_.Override(kind, 0);
  faults_.set_trace([this](FaultKind kind, std::string_view detail) {
    Trace(fmt::format("** {} {}", FaultKindName(kind), detail));
  });
}

World::~World() = default;

void World::Trace(const std::string& line) {
  if (!options_.trace) return;
  std::string who = "world";
  if (scheduler_.current() != nullptr) who = scheduler_.NameOf(scheduler_.current());
  const double now_s = static_cast<double>(scheduler_.now_ms()) / 1000.0;
  options_.trace(fmt::format("{:>9.3f} {:<18} {}", now_s, who, line));
}

void World::Violation(std::string text) {
  Trace("!! " + text);
  result_.violations.push_back(std::move(text));
}

WorldResult World::Run() {
  if (options_.trace) {
    RedirectLog([this](LogLevel, std::string_view line) { Trace(std::string(line)); });
  } else {
    RedirectLog([](LogLevel, std::string_view) {});
  }
  ConfigureLogging(LogFormat::kText, options_.trace ? LogLevel::kDebug : LogLevel::kError);
  scheduler_.Start(nullptr, "world", [this] { Main(); });
  std::string stuck;
  if (!scheduler_.Run(kSwitchesMax, stuck)) {
    Violation(fmt::format("no_end: after {} switches and {} s these still run: {}", scheduler_.switches(),
                          scheduler_.now_ms() / 1000, stuck));
  }
  RedirectLog({});
  result_.faults = faults_.counter();
  result_.plan = plan_.ToString();
  if (compacts()) result_.plan += compaction_plan_.ToString();
  result_.commits = CommitsOfRows();
  result_.records = history_.record_count();
  result_.simulated_ms = scheduler_.now_ms();
  result_.switches = scheduler_.switches();
  return std::move(result_);
}

int64_t World::CommitsOfRows() const {
  int64_t commits = 0;
  for (const auto& [table, count] : catalog_.worker_commits_by_table()) {
    if (table != plan_.pipeline.home_table) commits += count;
  }
  return commits;
}

void World::Main() {
  broker_.CreateTopic(kTopic, plan_.partitions);
  if (plan_.without_history) faults_.Note(FaultKind::kCatalogForgetsHistory, "");
  Trace(plan_.ToString() + (compacts() ? compaction_plan_.ToString() : ""));
  for (int32_t i = 0; i < plan_.workers; ++i) {
    slots_.push_back(std::make_unique<Slot>());
    slots_.back()->number = i;
  }
  std::vector<Fiber*> slots;
  for (auto& slot : slots_) {
    slots.push_back(scheduler_.Start(nullptr, fmt::format("slot{}", slot->number), [this, &slot] { RunSlot(*slot); }));
  }
  StartCompactors(slots);
  Fiber* producer = scheduler_.Start(nullptr, "producer", [this] { Produce(); });
  Fiber* trouble = scheduler_.Start(nullptr, "trouble", [this] { MakeTrouble(); });
  int64_t next_check = options_.commits_max / (kChecksOnTheWay + 1);
  while (IsSound() && CommitsOfRows() < options_.commits_max && scheduler_.now_ms() < options_.trouble_ms_max) {
    scheduler_.SleepMs(500);
    NoteDetached();
    if (CommitsOfRows() < next_check) continue;
    next_check += options_.commits_max / (kChecksOnTheWay + 1);
    Check(false);
  }
  trouble_over_ = true;
  scheduler_.Join(producer);
  scheduler_.Join(trouble);
  if (IsSound()) {
    EndTrouble();
    ResumeHeldTables();
    if (IsSound()) Settle();
  }
  ending_ = true;
  StopWorkers();
  for (Fiber* slot : slots) scheduler_.Join(slot);
  if (IsSound()) Check(true);
}

void World::EndTrouble() {
  Trace("-- the trouble is over");
  faults_.set_scale_per_mille(0);
  weather_ = Weather{};
  weather_.fault_per_mille = 0;
  forbidden_until_ms_.clear();
  for (auto& slot : slots_) {
    if (slot->process != nullptr) slot->process->KillAtAwait(-1, nullptr);
  }
  for (auto& slot : compactors_) {
    if (slot->process != nullptr) slot->process->KillAtAwait(-1, nullptr);
  }
  for (TransactionId open : broker_.open_transactions()) {
    broker_.EndTransaction(open, Below(trouble_random_, 2) == 0);
  }
}

const ingest::PositionsMap* World::HomeMap() {
  const auto identifier = iceberg::TableIdentifier::Parse(plan_.pipeline.home_table).value();
  const iceberg::TableMetadata* metadata = catalog_.Find(identifier);
  const std::string text =
      metadata == nullptr ? "" : metadata->Property(ingest::PositionsProperty(plan_.pipeline.pipeline)).value_or("");
  if (text.empty() || text != home_map_text_) {
    home_map_.reset();
    home_map_text_ = text;
    auto map = ingest::PositionsMap::Parse(text);
    if (map.has_value()) home_map_ = std::move(*map);
  }
  return home_map_.has_value() ? &*home_map_ : nullptr;
}

void World::NoteDetached() {
  const ingest::PositionsMap* home = HomeMap();
  if (home == nullptr || !home->home.has_value() || home->home->detached.empty()) return;
  const bool others = std::ranges::any_of(home->home->detached, [&](const ingest::DetachedEntry& entry) {
    return entry.table != plan_.pipeline.rejects_table;
  });
  // Drops that a lane has counted reach the home with the next checkpoint, or never where the worker dies before it.
  if (others) expectation_.drops_may_be_lost = true;
}

bool World::HasSettled(std::string& why_not) {
  const ingest::PositionsMap* home = HomeMap();
  if (home == nullptr) {
    why_not = "there is no home";
    return false;
  }
  for (const auto& [key, partition] : history_.partitions()) {
    if (partition.overtaken || partition.deleted || expectation_.may_lag.contains(key)) continue;
    const int64_t reached = ingest::OffsetOf(home->marks, key).value_or(0);
    if (reached >= partition.readable_end) continue;
    if (reached < partition.start) {
      // Retention took what nobody has read: it stands still until a person decides, and that is right.
      expectation_.may_lag.insert(key);
      continue;
    }
    why_not = fmt::format("partition {}: H is {}, {} is readable", key.partition, reached, partition.readable_end);
    return false;
  }
  for (const ingest::DetachedEntry& entry : home->home->detached) {
    if (expectation_.unchecked_tables.contains(entry.table) || expectation_.tables_may_lag.contains(entry.table)) {
      continue;
    }
    auto at = history_.partitions().find(entry.partition);
    if (at != history_.partitions().end() && (at->second.overtaken || at->second.deleted)) continue;
    if (expectation_.may_lag.contains(entry.partition)) continue;
    why_not = fmt::format("table '{}' is still detached for partition {}: {}", entry.table, entry.partition.partition,
                          entry.reason);
    return false;
  }
  return true;
}

// Waits until everything readable is committed.
bool World::Settle() {
  const int64_t until_ms = scheduler_.now_ms() + kSettleMsMax;
  std::string why_not;
  while (IsSound() && !HasSettled(why_not)) {
    if (scheduler_.now_ms() > until_ms) {
      Violation(fmt::format("no_progress: {} s after the end of all trouble: {}", kSettleMsMax / 1000, why_not));
      return false;
    }
    scheduler_.SleepMs(kSettleStepMs);
    NoteDetached();
    if (scheduler_.now_ms() % 60'000 < kSettleStepMs) ResumeHeldTables();
  }
  Trace("-- everything is committed");
  return true;
}

void World::Check(bool finished) {
  catalog_.ShowHistory(true);
  const CheckReport report = checker_.Check(expectation_, finished);
  catalog_.ShowHistory(false);
  expectation_.positions_may_go_back.clear();
  result_.rows = report.rows;
  result_.rejects = report.rejects;
  ++result_.checks;
  if (finished) {
    result_.demanded = report.demanded;
    for (const auto& [excuse, count] : report.excused) result_.excused[std::string(ExcuseName(excuse))] = count;
  }
  for (const sim::Violation& violation : report.violations) Violation(violation.ToString());
  Trace("-- checked: " + report.ToString());
}

WorldResult RunWorld(const WorldOptions& options) {
  World world(options);
  return world.Run();
}

}  // namespace firn::sim
