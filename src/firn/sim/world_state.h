// The World's state and its actors: worker slots (world_workers.cc), producers and trouble (world_trouble.cc),
// compaction (world_compaction.cc), what is seen of each commit (world_watch.cc), and the run as a whole (world.cc).
// world.h is what others see.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "firn/compaction/loop.h"
#include "firn/env/testing/manual_clock.h"
#include "firn/env/testing/memory_store.h"
#include "firn/ingest/positions_admin.h"
#include "firn/ingest/worker.h"
#include "firn/sim/checker.h"
#include "firn/sim/foreign_hands.h"
#include "firn/sim/process.h"
#include "firn/sim/scheduler.h"
#include "firn/sim/sim_broker.h"
#include "firn/sim/sim_catalog.h"
#include "firn/sim/sim_source.h"
#include "firn/sim/world.h"
#include "firn/sim/world_plan.h"

namespace firn::sim {

class World {
 public:
  explicit World(const WorldOptions& options);
  ~World();
  WorldResult Run();

 private:
  // A place where a worker runs, and is started again when it has ended.
  struct Slot {
    int32_t number = 0;
    int32_t incarnation = 0;
    std::shared_ptr<Process> process;  // null between two lives
    std::shared_ptr<SimLife> life;
    ingest::WorkerStatus status;       // as last seen
  };

  struct CompactorSlot {
    int32_t number = 0;
    int32_t incarnation = 0;
    std::shared_ptr<Process> process;  // null between two lives
  };

  // world.cc
  void Main();
  void EndTrouble();
  bool Settle();
  bool HasSettled(std::string& why_not);
  void Check(bool finished);
  bool IsSound() const { return result_.violations.empty(); }
  void Trace(const std::string& line);
  void Violation(std::string text);
  bool Off(FaultKind kind) const { return options_.without.contains(kind); }
  bool compacts() const { return options_.compaction && !Off(FaultKind::kCompactionRuns); }
  int64_t CommitsOfRows() const;
  const ingest::PositionsMap* HomeMap();

  // world_workers.cc
  void RunSlot(Slot& slot);
  void RunWorker(Slot& slot);
  void TakeRulesBack(const Error& refused);
  void StopWorkers();
  void ResumeHeldTables();
  void NoteDetached();
  bool GiveUpWhatRetentionTook(ingest::PositionsAdmin& admin, const ingest::DetachedEntry& entry);

  // world_compaction.cc
  std::unique_ptr<compaction::CompactionLoop> MakeLoop(iceberg::Catalog& catalog, env::ObjectStore& store,
                                                       Process& process, env::Random& random,
                                                       std::function<Result<ingest::PipelineShare>()> share,
                                                       metrics::Registry& registry);
  void RunCompactorSlot(CompactorSlot& slot);
  void RunCompactor(std::shared_ptr<Process> process);
  void StartCompactors(std::vector<Fiber*>& fibers);
  void TroubleForCompactors();

  // world_watch.cc
  ingest::HistoryPolicy PolicyOf(const std::string& table) const;
  void SeeCommit(const CatalogServer::Change& change);
  void SeeHome(const ingest::PositionsMap& before, const ingest::PositionsMap& after, bool by_worker);
  void NoteReached(const ingest::PositionsMap& home);
  void RaiseReached(const std::string& table, const ingest::PartitionKey& key, const ingest::Mark& mark);
  void SeeStart(const ingest::PositionsMap& before, const ingest::PartitionKey& key, const ingest::Mark& mark);
  void SeeTable(const CatalogServer::Change& change, const ingest::PositionsMap& before,
                const ingest::PositionsMap& after);
  void ForbidGoingBack(const std::string& table, const ingest::Marks& before, const ingest::Marks& after);
  void SeeGroupOffset(const stream::SourcePartition& partition, int64_t offset);

  // world_trouble.cc
  void Produce();
  void MakeTrouble();
  void TroubleForProcess(Slot& slot);
  void TroubleForBroker();
  void TroubleForLog();
  void TroubleForLake();
  void TroubleByForeignHands(const std::string& table);
  void TroubleForOwnTables();
  void ChangeRules();
  std::string AnyTable();
  int64_t SafeToRemoveBelow(int32_t partition);

  const WorldOptions options_;
  // Sequences of their own, so that a kind that is switched off moves the others as little as can be.
  env::SeededRandom plan_random_, schedule_random_, fault_random_, lake_random_, broker_random_, trouble_random_,
      producer_random_, worker_random_, clone_random_, compaction_random_, more_random_;
  WorldPlan plan_;
  const CompactionPlan compaction_plan_;
  Scheduler scheduler_;
  Process world_process_;  // the world's own clock
  SeededFaults faults_;
  LogHistory history_;
  env::MemoryStore store_;
  CatalogServer catalog_;
  SimBroker broker_;
  Weather weather_;
  std::map<std::string, int64_t> forbidden_until_ms_;
  Expectation expectation_;
  Checker checker_;
  ForeignHands hands_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<std::unique_ptr<CompactorSlot>> compactors_;
  std::string home_map_text_;
  std::optional<ingest::PositionsMap> home_map_;  // parsed from that
  // What a person is doing to positions at this instant.
  enum class PersonDeed : uint8_t { kNone, kRewind, kContinue, kSet } person_ = PersonDeed::kNone;
  std::map<std::string, ingest::Marks> reached_;                     // where the pipeline last said that a table stands
  std::map<ingest::PartitionKey, std::set<int64_t>> home_offsets_;  // all that H ever was
  WorldResult result_;
  int32_t rules_version_ = 0;
  std::map<std::string, std::vector<ingest::TableRule>> rules_by_hash_;  // that were in force once
  bool trouble_over_ = false;
  bool ending_ = false;
};

}  // namespace firn::sim
