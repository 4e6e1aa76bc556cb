// The World's compaction: loops beside the workers, in processes of their own or within the workers', and what befalls
// them. All chance is of one stream of its own.
#include <fmt/format.h>

#include "firn/compaction/loop.h"
#include "firn/ingest/pipeline_share.h"
#include "firn/sim/world_state.h"

namespace firn::sim {
namespace {

constexpr int64_t kRestartMsMax = 10'000;
constexpr int64_t kTroubleGapMsMax = 20'000;
constexpr int64_t kAwaitsToDeathMax = 200;
constexpr int64_t kSuspendedMsMax = 60'000;
constexpr double kCpuSecondsAStep = 0.002;

compaction::LoopScope ScopeOf(const ingest::PipelineShare& share) {
  compaction::LoopScope scope;
  for (const std::string& table : share.tables) {
    scope.tables.push_back(iceberg::TableIdentifier::Parse(table).value());
  }
  scope.shares = share.shares;
  scope.mine = share.mine;
  return scope;
}

}  // namespace

std::unique_ptr<compaction::CompactionLoop> World::MakeLoop(iceberg::Catalog& catalog, env::ObjectStore& store,
                                                            Process& process, env::Random& random,
                                                            std::function<Result<ingest::PipelineShare>()> share,
                                                            metrics::Registry& registry) {
  faults_.Note(FaultKind::kCompactionRuns, process.name());
  // Each look at the clock of the CPU has taken some: the same in every run.
  auto cpu_seconds = [used = 0.0]() mutable { return used += kCpuSecondsAStep; };
  auto tell = [this](const std::string& table, const compaction::CompactionReport& report) {
    faults_.Note(FaultKind::kCompactionCommitted,
                 fmt::format("{}: {} files became {}", table, report.files_before, report.files_after));
    if (report.rows_deleted > 0) {
      faults_.Note(FaultKind::kCompactionDeletesApplied,
                   fmt::format("{}: {} rows, {} delete files gone", table, report.rows_deleted,
                               report.delete_files_removed));
    }
    for (const auto& [reason, groups] : report.groups_dropped) {
      faults_.Note(FaultKind::kCompactionGroupDropped, fmt::format("{}: {} {}", table, reason, groups));
    }
  };
  return std::make_unique<compaction::CompactionLoop>(
      compaction_plan_.loop,
      compaction::CompactionParts{catalog, store, process.clock(), random, std::move(cpu_seconds)},
      [share = std::move(share)]() -> Result<compaction::LoopScope> {
        FIRN_ASSIGN(const ingest::PipelineShare now, share());
        return ScopeOf(now);
      },
      registry, metrics::Labels{{"pipeline", plan_.pipeline.pipeline}}, std::move(tell));
}

// A place for `firn compact --watch`: it is started again when it has ended.
void World::RunCompactorSlot(CompactorSlot& slot) {
  while (!ending_) {
    scheduler_.SleepMs(Below(compaction_random_, trouble_over_ ? 500 : kRestartMsMax));
    if (ending_) return;
    auto process = std::make_shared<Process>(scheduler_, fmt::format("c{}.{}", slot.number, ++slot.incarnation),
                                             world_process_.clock().WallMs() - scheduler_.now_ms());
    slot.process = process;
    Fiber* main = scheduler_.Start(process.get(), process->name(), [this, &slot] { RunCompactor(slot.process); });
    scheduler_.Join(main);
    slot.process.reset();
  }
}

void World::RunCompactor(std::shared_ptr<Process> process) {
  Trace("compactor starts");
  env::SeededRandom random(compaction_random_.Next64());
  SimStore store(*process, store_, faults_, weather_, random);
  SimCatalog catalog(*process, catalog_, faults_, weather_, random, forbidden_until_ms_);
  metrics::Registry registry;
  auto share = [&] { return ingest::LoadWholeShare(catalog, plan_.pipeline); };
  auto loop = MakeLoop(catalog, store, *process, random, share, registry);
  loop->Run(process->stop_token());
  Trace(process->dead() ? "compactor is dead" : "compactor has ended");
}

void World::StartCompactors(std::vector<Fiber*>& fibers) {
  if (!compacts()) return;
  for (int32_t i = 0; i < compaction_plan_.processes; ++i) {
    compactors_.push_back(std::make_unique<CompactorSlot>());
    compactors_.back()->number = i;
  }
  for (auto& slot : compactors_) {
    fibers.push_back(scheduler_.Start(nullptr, fmt::format("compactor{}", slot->number),
                                      [this, &slot] { RunCompactorSlot(*slot); }));
  }
  fibers.push_back(scheduler_.Start(nullptr, "ill", [this] { TroubleForCompactors(); }));
}

void World::TroubleForCompactors() {
  while (!trouble_over_) {
    scheduler_.SleepMs(1 + Below(compaction_random_, kTroubleGapMsMax));
    const auto number = static_cast<size_t>(Below(compaction_random_, static_cast<int64_t>(compactors_.size())));
    const auto choice = Below(compaction_random_, 14);
    const auto awaits = Below(compaction_random_, kAwaitsToDeathMax);
    const auto suspended_ms = 500 + Below(compaction_random_, kSuspendedMsMax);
    if (trouble_over_) return;
    if (choice >= 10) {
      const std::string table = AnyTable();
      const bool mine = !table.empty() && table != plan_.pipeline.rejects_table;
      if (mine && !Off(FaultKind::kForeignRowDelete)) hands_.DeleteRows(table);
      continue;
    }
    if (compactors_.empty()) continue;
    const std::shared_ptr<Process> process = compactors_[number]->process;
    if (trouble_over_ || process == nullptr || process->dead()) continue;
    if (choice < 5) {
      process->KillAtAwait(awaits,
                           [this, name = process->name()] { faults_.Note(FaultKind::kCompactorCrashed, name); });
    } else if (choice < 8) {
      if (process->suspended()) continue;
      faults_.Note(FaultKind::kCompactorSuspended, fmt::format("{} for {} ms", process->name(), suspended_ms));
      process->SuspendFor(suspended_ms);
    } else {
      process->RequestStop();
    }
  }
}

}  // namespace firn::sim
