// CommitUntilTaken: the commit loop of maintenance. Loads the table, lets the caller prepare a commit on it, and does
// so again after a conflict or a lost answer. Nothing is decided from an earlier state.
//
// One thread; nothing is deleted here.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <stop_token>
#include <vector>

#include "firn/base/error.h"
#include "firn/env/clock.h"
#include "firn/env/object_store.h"
#include "firn/iceberg/catalog/catalog.h"

namespace firn::maintenance {

struct MaintenanceParts {
  iceberg::Catalog& catalog;
  env::ObjectStore& store;
  env::Clock& clock;
  env::Random& random;
};

struct PlannedCommit {
  std::vector<iceberg::TableRequirement> requirements;
  std::vector<iceberg::TableUpdate> updates;
  std::optional<SnapshotId> snapshot_id;  // the one that it adds
};

struct LoopOutcome {
  bool committed = false;      // false: there was nothing to do
  iceberg::LoadedTable table;  // after the commit; without one: as it was loaded
  std::optional<SnapshotId> snapshot_id;
  int32_t conflicts = 0;
};

// nullopt: there is nothing (more) to do. After a lost answer that means that the commit was applied.
using PrepareFn = std::function<Result<std::optional<PlannedCommit>>(const iceberg::LoadedTable& base)>;

inline constexpr int32_t kRetriesAsTheTableSays = std::numeric_limits<int32_t>::max();

// Errors: those of `prepare`, the catalog and the store; kConflict after commit.retry.num-retries losses or
// `retries_max`, and kCommitStateUnknown when the last answer was lost.
Result<LoopOutcome> CommitUntilTaken(const MaintenanceParts& parts, const iceberg::TableIdentifier& table,
                                     const PrepareFn& prepare, std::stop_token stop,
                                     int32_t retries_max = kRetriesAsTheTableSays);

// Plans on the table as it is, or with `apply` commits until it is taken. `plan` (of the base's metadata) fills
// `report` anew at each attempt; what stays in it is the attempt that was taken, or else the last one. True: something
// was committed. Errors as CommitUntilTaken.
template <typename Report, typename PlanFn>
Result<bool> PlanOrCommit(const MaintenanceParts& parts, const iceberg::TableIdentifier& table, bool apply,
                          Report& report, const PlanFn& plan, std::stop_token stop,
                          int32_t retries_max = kRetriesAsTheTableSays) {
  if (!apply) {
    FIRN_ASSIGN(const iceberg::LoadedTable loaded, parts.catalog.LoadTable(table));
    FIRN_TRY(plan(loaded.metadata));
    return false;
  }
  Report attempted;  // as of the attempt that may have been applied
  auto prepare = [&](const iceberg::LoadedTable& base) {
    auto planned = plan(base.metadata);
    if (planned.has_value() && planned->has_value()) attempted = report;
    return planned;
  };
  FIRN_ASSIGN(const LoopOutcome outcome, CommitUntilTaken(parts, table, prepare, stop, retries_max));
  if (outcome.committed) report = attempted;
  report.snapshot_id = outcome.snapshot_id;
  report.conflicts = outcome.conflicts;
  return outcome.committed;
}

// An append without files: a writer that prepared its commit before has to look again, and finds its batch too old.
Result<LoopOutcome> CommitFence(const MaintenanceParts& parts, const iceberg::TableIdentifier& table,
                                std::stop_token stop);

}  // namespace firn::maintenance
