// CommitUntilTaken: the commit loop of maintenance. Loads the table, lets the caller prepare a commit on it, and does
// so again after a conflict or a lost answer. Nothing is decided from an earlier state.
//
// One thread; nothing is deleted here.
#pragma once

#include <cstdint>
#include <functional>
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

// Errors: those of `prepare`, the catalog and the store; kConflict after commit.retry.num-retries losses, and
// kCommitStateUnknown when the last answer was lost.
Result<LoopOutcome> CommitUntilTaken(const MaintenanceParts& parts, const iceberg::TableIdentifier& table,
                                     const PrepareFn& prepare, std::stop_token stop);

// An append without files: a writer that prepared its commit before has to look again, and finds its batch too old.
Result<LoopOutcome> CommitFence(const MaintenanceParts& parts, const iceberg::TableIdentifier& table,
                                std::stop_token stop);

}  // namespace firn::maintenance
