// The World's producers and everything that goes wrong on a large scale: processes, brokers, logs, lake, foreign hands.
#include <fmt/format.h>

#include <algorithm>

#include "firn/ingest/rules.h"
#include "firn/sim/world_state.h"

namespace firn::sim {
namespace {

constexpr int64_t kOutageMsMax = 45'000;
constexpr int64_t kQuietOneIn = 150;
constexpr int32_t kMoreOneIn = 12;
constexpr int64_t kCloneOneIn = 24;  // acts of foreign hands; as many are cherry-picks
constexpr int64_t kAwaitsToDeathMax = 120;

ValueShape BrokenShape(env::Random& random) {
  constexpr ValueShape kShapes[] = {ValueShape::kMalformed, ValueShape::kWrongType, ValueShape::kTombstone,
                                    ValueShape::kEmpty, ValueShape::kUnroutable};
  return kShapes[Below(random, std::size(kShapes))];
}

}  // namespace

void World::Produce() {
  std::map<int32_t, TransactionId> open;  // one producer a partition
  while (!trouble_over_) {
    scheduler_.SleepMs(1 + Below(producer_random_, 2 * plan_.record_gap_ms));
    if (!broker_.IsUp()) continue;
    const int64_t burst = Below(producer_random_, 40) == 0 ? 60 : 1 + Below(producer_random_, 4);
    for (int64_t i = 0; i < burst; ++i) {
      const auto partition = static_cast<int32_t>(Below(producer_random_, broker_.partition_count(kTopic)));
      Production production;
      const std::vector<std::string> kinds = Kinds();
      const std::string kind = kinds[static_cast<size_t>(Below(producer_random_, std::ssize(kinds)))];
      production.kind = kind;
      auto table = static_cast<int32_t>(Below(producer_random_, plan_.fixed_tables + (plan_.template_rule ? 1 : 0)));
      if (plan_.quiet_table && table == plan_.fixed_tables - 1 && Below(producer_random_, kQuietOneIn) != 0) table = 0;
      production.table = table < plan_.fixed_tables ? FixedTable(table) : TemplateTable(kind);
      const bool moves = plan_.reroutes && Below(producer_random_, 3) == 0;
      if (moves) production.table = kMovingTable;
      const bool broken = !moves && Below(producer_random_, 1000) < plan_.broken_per_mille;
      if (broken) production.shape = BrokenShape(producer_random_);
      if (Below(producer_random_, 4) == 0) production.key = fmt::format("key{}", Below(producer_random_, 5));
      TransactionId& transaction = open[partition];
      if (transaction == kNoTransaction && Below(producer_random_, 1000) < plan_.transactional_per_mille) {
        transaction = broker_.BeginTransaction();
      }
      production.transaction = transaction;
      broker_.Produce(kTopic, partition, production);
      if (transaction != kNoTransaction && Below(producer_random_, 12) == 0) {
        broker_.EndTransaction(transaction, Below(producer_random_, 3) != 0);
        transaction = kNoTransaction;
      }
    }
  }
}

void World::MakeTrouble() {
  while (!trouble_over_ && IsSound()) {
    scheduler_.SleepMs(1 + Below(trouble_random_, 2 * plan_.chaos_gap_ms));
    if (trouble_over_ || !IsSound()) return;
    switch (Below(trouble_random_, 10)) {
      case 0:
      case 1:
      case 2:
      case 3: TroubleForProcess(*slots_[static_cast<size_t>(Below(trouble_random_, plan_.workers))]); break;
      case 4:
      case 5: TroubleForBroker(); break;
      case 6: TroubleForLog(); break;
      case 7: TroubleForLake(); break;
      default: TroubleByForeignHands(AnyTable()); break;
    }
    if (Below(more_random_, kMoreOneIn) == 0) TroubleForOwnTables();
  }
}

void World::TroubleForProcess(Slot& slot) {
  const std::shared_ptr<Process> process = slot.process;
  const std::shared_ptr<SimLife> life = slot.life;
  const auto choice = Below(trouble_random_, 10);
  const auto duration_ms = 500 + Below(trouble_random_, 3 * plan_.session_timeout_ms);
  const auto awaits = Below(trouble_random_, kAwaitsToDeathMax);
  const auto jump_ms = Below(trouble_random_, 7'200'000) - 3'600'000;
  if (process == nullptr || process->dead()) return;
  if (choice < 4) {
    if (Off(FaultKind::kProcessCrashed)) return;
    auto die = [this, life, name = process->name()] {
      faults_.Note(FaultKind::kProcessCrashed, name);
      life->Kill(scheduler_.now_ms());
    };
    if (choice == 0) {
      die();
      process->Kill();
    } else {
      process->KillAtAwait(awaits, die);
    }
  } else if (choice < 7) {
    if (Off(FaultKind::kProcessSuspended) || process->suspended()) return;
    faults_.Note(FaultKind::kProcessSuspended, fmt::format("{} for {} ms", process->name(), duration_ms));
    process->SuspendFor(duration_ms + 1);
    life->Suspend(scheduler_.now_ms());
    scheduler_.Start(nullptr, "resume", [this, life, duration_ms] {
      scheduler_.SleepMs(duration_ms);
      life->Resume(scheduler_.now_ms());
    });
  } else if (choice < 9) {
    if (Off(FaultKind::kProcessStopped)) return;
    faults_.Note(FaultKind::kProcessStopped, process->name());
    process->RequestStop();
  } else {
    if (Off(FaultKind::kWallClockJumped)) return;
    faults_.Note(FaultKind::kWallClockJumped, fmt::format("{} by {} ms", process->name(), jump_ms));
    process->JumpWall(jump_ms);
  }
}

void World::TroubleForBroker() {
  const auto choice = Below(trouble_random_, 6);
  const auto duration_ms = 500 + Below(trouble_random_, kOutageMsMax);
  Slot& slot = *slots_[static_cast<size_t>(Below(trouble_random_, plan_.workers))];
  switch (choice) {
    case 0:
      if (Off(FaultKind::kBrokersDown)) return;
      Trace(fmt::format("** brokers_down for {} ms", duration_ms));
      broker_.TakeDown(duration_ms);
      return;
    case 1:
      if (Off(FaultKind::kMemberCutOff) || slot.life == nullptr) return;
      Trace(fmt::format("** member_cut_off slot{} for {} ms", slot.number, duration_ms));
      slot.life->CutOff(scheduler_.now_ms(), scheduler_.now_ms() + duration_ms);
      return;
    case 2:
      if (Off(FaultKind::kGroupDeleted)) return;
      broker_.DeleteGroup();
      return;
    case 3:
      if (Off(FaultKind::kSessionLost) || slot.process == nullptr) return;
      broker_.group().EvictByName(slot.process->name(), FaultKind::kSessionLost);
      return;
    default:
      if (Off(FaultKind::kRebalanceForced)) return;
      broker_.group().ForceRebalance();
      return;
  }
}

// Everything below is committed in every table: retention may take it without loss.
int64_t World::SafeToRemoveBelow(int32_t partition) {
  const ingest::PositionsMap* home = HomeMap();
  if (home == nullptr) return 0;
  const ingest::PartitionKey key{broker_.cluster_id(), broker_.topic_id(kTopic), partition};
  int64_t safe = ingest::OffsetOf(home->marks, key).value_or(0);
  for (const ingest::DetachedEntry& entry : home->home->detached) {
    if (entry.partition == key) safe = 0;
  }
  return safe;
}

void World::TroubleForLog() {
  const auto partition = static_cast<int32_t>(Below(trouble_random_, broker_.partition_count(kTopic)));
  const auto choice = Below(trouble_random_, 20);
  const SimLog* log = broker_.log(kTopic, partition);
  if (log == nullptr) return;
  const int64_t back = Below(trouble_random_, 30);
  if (choice < 6) {
    if (!Off(FaultKind::kLogRetained)) broker_.Retain(kTopic, partition, SafeToRemoveBelow(partition));
  } else if (choice < 8) {
    // Not all of it was read: what is gone is gone, and is not to be asked for.
    if (!Off(FaultKind::kLogRetained)) broker_.Retain(kTopic, partition, log->end() - back);
  } else if (choice < 12) {
    if (!Off(FaultKind::kLogCompacted)) broker_.Compact(kTopic, partition, log->end() - back);
  } else if (choice < 13) {
    if (!Off(FaultKind::kLogTruncated)) broker_.TruncateByUncleanElection(kTopic, partition, log->end() - back / 2);
  } else if (choice < 17) {
    if (!Off(FaultKind::kLeaderElected)) broker_.ElectLeader(kTopic, partition);
  } else if (choice < 18) {
    if (!Off(FaultKind::kTopicRecreated)) broker_.RecreateTopic(kTopic, plan_.partitions);
  } else {
    if (!Off(FaultKind::kPartitionsAdded) && broker_.partition_count(kTopic) < 8) broker_.AddPartitions(kTopic, 1);
  }
}

void World::TroubleForLake() {
  const auto choice = Below(trouble_random_, 6);
  const auto duration_ms = 500 + Below(trouble_random_, kOutageMsMax);
  const int64_t until_ms = scheduler_.now_ms() + duration_ms;
  const std::string table = AnyTable();
  auto note = [&](FaultKind kind) {
    if (Off(kind)) return false;
    Trace(fmt::format("** {} for {} ms", FaultKindName(kind), duration_ms));
    weather_.unmet.insert(kind);
    return true;
  };
  switch (choice) {
    case 0:
      if (note(FaultKind::kStoreDown)) weather_.store_down_until_ms = until_ms;
      return;
    case 1:
      if (note(FaultKind::kStoreSlow)) weather_.store_slow_until_ms = until_ms;
      return;
    case 2:
      if (note(FaultKind::kCatalogDown)) weather_.catalog_down_until_ms = until_ms;
      return;
    case 3:
      if (note(FaultKind::kCatalogSlow)) weather_.catalog_slow_until_ms = until_ms;
      return;
    default:
      if (table.empty() || !note(FaultKind::kPermissionLost)) return;
      forbidden_until_ms_[table] = until_ms;
      return;
  }
}

std::string World::AnyTable() {
  const ingest::PositionsMap* home = HomeMap();
  if (home == nullptr || !home->home.has_value() || home->home->tables.empty()) return "";
  const auto& tables = home->home->tables;
  return tables[static_cast<size_t>(Below(trouble_random_, static_cast<int64_t>(tables.size())))].table;
}

// The home and the rejects table are tables too.
void World::TroubleForOwnTables() {
  const ingest::PipelineOptions& pipeline = plan_.pipeline;
  const int64_t until_ms = scheduler_.now_ms() + 500 + Below(more_random_, kOutageMsMax);
  const bool kept = pipeline.reject_policy == ingest::RejectPolicy::kTable;
  const std::string positions = ingest::PositionsProperty(pipeline.pipeline);
  const auto choice = Below(more_random_, kept && !plan_.reroutes ? 8 : 4);
  Check(false);
  if (!IsSound()) return;
  switch (choice) {
    case 0:
    case 1:
      if (!Off(FaultKind::kForeignAppend)) hands_.Append(pipeline.home_table);
      return;
    case 2:
      if (!Off(FaultKind::kForeignExpiry)) hands_.Expire(pipeline.home_table);
      return;
    case 3:
      if (Off(FaultKind::kPermissionLost)) return;
      weather_.unmet.insert(FaultKind::kPermissionLost);
      forbidden_until_ms_[pipeline.home_table] = until_ms;
      return;
    case 4:
      if (!plan_.without_history && !Off(FaultKind::kForeignRollback)) hands_.Rollback(pipeline.rejects_table);
      return;
    case 5:
      if (!plan_.without_history && !Off(FaultKind::kForeignCreateOrReplace)) hands_.Replace(pipeline.rejects_table);
      return;
    case 6:
      if (!Off(FaultKind::kForeignDelete)) hands_.Delete(pipeline.rejects_table);
      return;
    default:
      if (!Off(FaultKind::kForeignPropertyChanged)) hands_.RemovePositions(pipeline.rejects_table, positions);
      return;
  }
}

void World::TroubleByForeignHands(const std::string& table) {
  const auto choice = Below(trouble_random_, 20);
  if (table.empty()) return;
  // What is wrong by now is nobody else's doing.
  Check(false);
  if (!IsSound()) return;
  auto may = [&](FaultKind kind) { return !Off(kind); };
  const bool is_rejects = table == plan_.pipeline.rejects_table;
  if (plan_.reroutes) {
    // Where history may be set back as well, a record may rightly be in both tables (positions.md, section 8).
    if (choice < 5 && may(FaultKind::kForeignAppend)) hands_.Append(table);
    if (choice >= 5 && choice < 9 && may(FaultKind::kForeignRewrite)) hands_.Rewrite(table);
    if (choice >= 9 && choice < 13 && may(FaultKind::kForeignExpiry)) hands_.Expire(table);
    if (choice >= 13) ChangeRules();
    return;
  }
  // From a sequence of its own, so that lives without it are what they were.
  if (const auto rare = Below(clone_random_, kCloneOneIn); rare < 2 && !is_rejects && !plan_.without_history) {
    if (rare == 0 && may(FaultKind::kForeignClone)) hands_.Clone(table);
    if (rare == 1 && may(FaultKind::kForeignCherryPick)) hands_.CherryPick(table);
    return;
  }
  hands_.Remember(table);
  const std::string positions = ingest::PositionsProperty(plan_.pipeline.pipeline);
  if (choice < 5) {
    if (may(FaultKind::kForeignAppend)) hands_.Append(table);
  } else if (choice < 11) {
    if (may(FaultKind::kForeignRewrite)) hands_.Rewrite(table);
  } else if (choice < 14) {
    if (may(FaultKind::kForeignExpiry)) hands_.Expire(table);
  } else if (choice < 15) {
    if (!is_rejects && may(FaultKind::kForeignDelete)) hands_.Delete(table);
  } else if (choice < 16) {
    if (!is_rejects && !plan_.without_history && may(FaultKind::kForeignRollback)) hands_.Rollback(table);
  } else if (choice < 17) {
    if (!is_rejects && may(FaultKind::kForeignPropertyChanged)) hands_.RemovePositions(table, positions);
  } else if (choice < 18) {
    // Without history nothing can tell an old property.
    const bool can_be_seen = !is_rejects && !plan_.without_history;
    if (can_be_seen && may(FaultKind::kForeignPropertyChanged)) hands_.RestorePositions(table, positions);
  } else if (choice < 19) {
    if (!is_rejects && !plan_.without_history && may(FaultKind::kForeignCreateOrReplace)) hands_.Replace(table);
  } else if (Below(trouble_random_, 4) == 0) {
    if (!is_rejects && may(FaultKind::kTableDropped)) hands_.Drop(table);
  } else {
    ChangeRules();
  }
}

// A new configuration is rolled out, and every worker has to start anew: the same routes, said in other words, and in
// some worlds one kind of records that goes to another table from now on.
void World::ChangeRules() {
  if (Off(FaultKind::kRulesChanged)) return;
  Trace("** rules_changed");
  ingest::RouteMatch never;
  never.topic = fmt::format("never{}", ++rules_version_);
  rules_by_hash_[ingest::RulesHash(plan_.pipeline.tables)] = plan_.pipeline.tables;
  std::vector<ingest::TableRule>& tables = plan_.pipeline.tables;
  if (plan_.reroutes) {
    auto moves = [](const ingest::RouteMatch& match) { return match.field_regex == kMovingRegex; };
    auto from = std::ranges::find_if(tables, [&](const auto& rule) { return std::ranges::any_of(rule.match, moves); });
    auto match = std::ranges::find_if(from->match, moves);
    tables[from == tables.begin() ? 1 : 0].match.push_back(*match);
    from->match.erase(match);
  }
  tables[0].match.push_back(std::move(never));
  for (auto& slot : slots_) {
    if (slot->process != nullptr && Below(trouble_random_, 4) != 0) slot->process->RequestStop();
  }
}

}  // namespace firn::sim
