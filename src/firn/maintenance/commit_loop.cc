#include "firn/maintenance/commit_loop.h"

#include "firn/base/log.h"
#include "firn/iceberg/commit/append.h"
#include "firn/iceberg/commit/commit_retry.h"

namespace firn::maintenance {

Result<LoopOutcome> CommitUntilTaken(const MaintenanceParts& parts, const iceberg::TableIdentifier& table,
                                     const PrepareFn& prepare, std::stop_token stop, int32_t retries_max) {
  LoopOutcome outcome;
  const int64_t started_ms = parts.clock.BootMs();
  std::optional<PlannedCommit> last;
  bool answer_lost = false;
  for (int32_t attempt = 0;; ++attempt) {
    FIRN_ASSIGN(outcome.table, parts.catalog.LoadTable(table));
    if (last.has_value() && last->snapshot_id.has_value() &&
        outcome.table.metadata.FindSnapshot(*last->snapshot_id) != nullptr) {
      outcome.committed = true;
      outcome.snapshot_id = last->snapshot_id;
      return outcome;
    }
    FIRN_ASSIGN(std::optional<PlannedCommit> planned, prepare(outcome.table));
    if (!planned.has_value()) {
      outcome.committed = answer_lost;
      return outcome;
    }
    last = std::move(planned);
    Result<iceberg::LoadedTable> committed = parts.catalog.CommitTable(table, last->requirements, last->updates);
    if (committed.has_value()) {
      outcome.committed = true;
      outcome.table = *std::move(committed);
      outcome.snapshot_id = last->snapshot_id;
      return outcome;
    }
    const ErrorCode code = committed.error().code();
    if (code != ErrorCode::kConflict && code != ErrorCode::kCommitStateUnknown) {
      return std::unexpected<Error>(std::move(committed.error()));
    }
    answer_lost = answer_lost || code == ErrorCode::kCommitStateUnknown;
    if (code == ErrorCode::kConflict) ++outcome.conflicts;
    const auto limits = iceberg::RetryLimits::For(outcome.table.metadata);
    const int64_t wait_ms = limits.BackoffMs(attempt, parts.random);
    LogInfo("maintenance will commit in another attempt",
            {{"table", table.ToString()}, {"attempt", attempt + 1}, {"error", committed.error()}});
    const bool over = attempt >= retries_max || limits.IsOver(attempt, parts.clock.BootMs() - started_ms, wait_ms);
    if (over || !parts.clock.SleepMs(wait_ms, stop)) {
      return std::unexpected<Error>(std::move(committed.error()));
    }
  }
}

Result<LoopOutcome> CommitFence(const MaintenanceParts& parts, const iceberg::TableIdentifier& table,
                                std::stop_token stop) {
  auto prepare = [&](const iceberg::LoadedTable& base) -> Result<std::optional<PlannedCommit>> {
    iceberg::AppendRequest request;
    request.summary["firn.operation"] = "fence";
    request.expire_on_commit = false;
    iceberg::ManifestListCache cache;
    FIRN_ASSIGN(iceberg::PreparedCommit prepared,
                iceberg::PrepareAppend(base.metadata, request, parts.store, parts.clock, parts.random, cache));
    return std::optional<PlannedCommit>(
        PlannedCommit{std::move(prepared.requirements), std::move(prepared.updates), prepared.snapshot_id});
  };
  return CommitUntilTaken(parts, table, prepare, stop);
}

}  // namespace firn::maintenance
