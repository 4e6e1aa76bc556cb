// The World's workers: processes that begin, die and begin again, and the person who resumes held tables.
#include <fmt/format.h>

#include "firn/ingest/positions_admin.h"
#include "firn/sim/sim_spill.h"
#include "firn/sim/world_state.h"

namespace firn::sim {
namespace {

constexpr int64_t kRestartMsMax = 8000;
constexpr int64_t kWallSkewMsMax = 2000;

}  // namespace

void World::RunSlot(Slot& slot) {
  while (!ending_) {
    scheduler_.SleepMs(Below(worker_random_, trouble_over_ ? 500 : kRestartMsMax));
    if (ending_) return;
    ++slot.incarnation;
    ++result_.processes;
    auto process = std::make_shared<Process>(scheduler_, fmt::format("w{}.{}", slot.number, slot.incarnation),
                                             world_process_.clock().WallMs() - scheduler_.now_ms());
    process->JumpWall(Below(worker_random_, kWallSkewMsMax) - kWallSkewMsMax / 2);
    slot.process = process;
    slot.life = std::make_shared<SimLife>();
    // In a fiber of the process: it stands still while the process is suspended.
    Fiber* main = scheduler_.Start(process.get(), process->name(), [this, &slot] { RunWorker(slot); });
    scheduler_.Join(main);
    slot.process.reset();
    slot.life.reset();
  }
}

void World::RunWorker(Slot& slot) {
  const std::shared_ptr<Process> process = slot.process;
  Trace("process starts");
  env::SeededRandom random(worker_random_.Next64());
  SimStore store(*process, store_, faults_, weather_, random);
  SimCatalog catalog(*process, catalog_, faults_, weather_, random, forbidden_until_ms_);
  SimSourceOptions source_options;
  source_options.name = process->name();
  source_options.topics = {kTopic};
  SimSource source(broker_, process->clock(), random, faults_, slot.life, source_options);
  SimSpill spill(faults_, weather_);
  metrics::Registry registry;
  ingest::PipelineOptions options = plan_.pipeline;
  options.worker = process->name();
  ingest::WorkerDependencies dependencies{
      catalog, store, source, process->clock(), random, registry, process->threads()};
  if (plan_.spill) dependencies.spill = &spill;
  auto worker = ingest::Worker::Create(options, dependencies);
  if (!worker.has_value()) {
    Violation(fmt::format("worker_refused: {}", worker.error().ToString()));
    ending_ = true;
    return;
  }
  std::unique_ptr<compaction::CompactionLoop> loop;
  if (compaction_plan_.in_workers && compacts()) {
    loop = MakeLoop(catalog, store, *process, random,
                    [&worker]() -> Result<ingest::PipelineShare> { return (*worker)->share(); }, registry);
    loop->Start(process->threads());
  }
  Result<ingest::RunResult> ended = (*worker)->Run(process->stop_token(), false);
  slot.status = (*worker)->status();
  if (spill.bytes_appended() > 0) Trace(fmt::format("spilled {} bytes", spill.bytes_appended()));
  if (ended.has_value()) {
    Trace(process->dead() ? "process is dead" : "process has ended");
  } else {
    Trace(fmt::format("process has ended: {}", ended.error().ToString()));
    TakeRulesBack(ended.error());
  }
}

// New rules are refused while a table is detached: a person starts the old ones again until it is back.
void World::TakeRulesBack(const Error& refused) {
  if (refused.message().find("the routing rules have changed while a table is detached") == std::string::npos) return;
  const ingest::PositionsMap* home = HomeMap();
  if (home == nullptr || !rules_by_hash_.contains(home->rules_hash)) return;
  plan_.pipeline.tables = rules_by_hash_.at(home->rules_hash);
  Trace("a person takes the new rules back");
}

void World::StopWorkers() {
  for (auto& slot : slots_) {
    if (slot->process != nullptr) slot->process->RequestStop();
  }
  for (auto& slot : compactors_) {
    if (slot->process != nullptr) slot->process->RequestStop();
  }
}

// What a person does: looks at what is held, and decides.
void World::ResumeHeldTables() {
  const ingest::PositionsMap* home = HomeMap();
  if (home == nullptr || !home->home.has_value()) return;
  std::set<std::string> held;
  std::vector<ingest::DetachedEntry> overtaken;
  for (const ingest::DetachedEntry& entry : home->home->detached) {
    if (!entry.hold) continue;
    auto log = history_.partitions().find(entry.partition);
    const iceberg::TableMetadata* metadata = catalog_.Find(iceberg::TableIdentifier::Parse(entry.table).value());
    std::optional<ingest::PositionsMap> map;
    if (metadata != nullptr) map = ingest::MapOf(*metadata, plan_.pipeline.pipeline).value_or(std::nullopt);
    const int64_t stands = map.has_value() ? ingest::OffsetOf(map->marks, entry.partition).value_or(0) : 0;
    // What was changed by somebody comes first; retention can be seen to afterwards.
    const bool by_retention = entry.reason.starts_with("retention");
    if (by_retention && map.has_value() && log != history_.partitions().end() && stands < log->second.start) {
      overtaken.push_back(entry);
    } else {
      held.insert(entry.table);
    }
  }
  env::SeededRandom random(trouble_random_.Next64());
  ingest::PositionsAdmin admin(plan_.pipeline, catalog_, store_, world_process_.clock(), random);
  if (!overtaken.empty()) Check(false);
  for (const ingest::DetachedEntry& entry : overtaken) {
    if (!IsSound()) return;
    person_ = PersonDeed::kSet;
    // The command says so where the table has to be resumed first.
    if (!GiveUpWhatRetentionTook(admin, entry)) held.insert(entry.table);
    person_ = PersonDeed::kNone;
  }
  for (const std::string& table : held) {
    const bool rewind = Below(trouble_random_, 2) == 0;
    Check(false);
    if (!IsSound()) return;
    auto resume = [&](bool back) {
      person_ = back ? PersonDeed::kRewind : PersonDeed::kContinue;
      auto done = admin.Resume(table, back ? ingest::ResumeMode::kRewind : ingest::ResumeMode::kContinue, false, {});
      person_ = PersonDeed::kNone;
      return done;
    };
    auto resumed = resume(rewind);
    const bool rewound = rewind && resumed.has_value();
    if (!resumed.has_value() && rewind) resumed = resume(false);
    Trace(fmt::format("a person resumes '{}' ({}): {}", table, rewound ? "rewind" : "continue",
                      resumed.has_value() ? "done" : resumed.error().ToString()));
    if (!resumed.has_value()) continue;
    faults_.Note(FaultKind::kPositionsByHand, table);
    for (const ingest::AdminChange& change : *resumed) {
      Trace(fmt::format("  {} {} -> {}", change.partition, change.from, change.to));
    }
  }
}

// The log begins above the table's position: those records are gone, and the table goes on behind them.
bool World::GiveUpWhatRetentionTook(ingest::PositionsAdmin& admin, const ingest::DetachedEntry& entry) {
  const int64_t start = history_.partitions().at(entry.partition).start;
  ingest::SetRequest request;
  request.topic = entry.topic;
  request.partition = entry.partition.partition;
  request.cluster_id = entry.partition.cluster_id;
  request.topic_id = entry.partition.topic_id;
  request.table = entry.table;
  request.offset = start;
  auto set = admin.Set(request, false, {});
  Trace(fmt::format("a person gives up what retention took of '{}' below {} of partition {}: {}", entry.table, start,
                    entry.partition.partition, set.has_value() ? "done" : set.error().ToString()));
  if (!set.has_value()) return set.error().code() != ErrorCode::kConflict;
  faults_.Note(FaultKind::kPositionsByHand, entry.table);
  // What its lane still owed the rejects table goes with it, from where that table says that its rejects end.
  int64_t marked = 0;
  if (!plan_.pipeline.rejects_table.empty()) {
    const auto rejects = iceberg::TableIdentifier::Parse(plan_.pipeline.rejects_table).value();
    const iceberg::TableMetadata* metadata = catalog_.Find(rejects);
    std::optional<ingest::PositionsMap> map;
    if (metadata != nullptr) map = ingest::MapOf(*metadata, plan_.pipeline.pipeline).value_or(std::nullopt);
    if (map.has_value()) {
      const int64_t mark = ingest::RejectedMark(map->rejected, entry.table, entry.partition);
      marked = mark == ingest::kNoMark ? ingest::OffsetOf(map->marks, entry.partition).value_or(0) : mark;
    }
  }
  expectation_.given_up.push_back({entry.table, entry.partition, std::max(entry.rejected_below, marked), start, true});
  return true;
}

}  // namespace firn::sim
