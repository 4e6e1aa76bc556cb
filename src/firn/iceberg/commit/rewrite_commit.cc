// CommitRewrite: the loop around PrepareRewrite.
#include <fmt/format.h>

#include <algorithm>

#include "firn/base/log.h"
#include "firn/iceberg/commit/commit_retry.h"
#include "firn/iceberg/commit/rewrite_files.h"

namespace firn::iceberg {

Result<RewriteOutcome> CommitRewrite(Catalog& catalog, const TableIdentifier& table, const RewriteRequest& request,
                                     env::ObjectStore& store, env::Clock& clock, env::Random& random,
                                     std::stop_token stop) {
  RewriteOutcome outcome;
  const std::string context = fmt::format("replacing files of table '{}'", table.ToString());
  const int64_t started_ms = clock.BootMs();
  for (;; ++outcome.attempts) {
    if (clock.BootMs() > request.latest_boot_ms) {
      return Fail(ErrorCode::kTimeout, fmt::format("{}: the new files are too old to be committed", context));
    }
    FIRN_ASSIGN(const LoadedTable base, WithContext(catalog.LoadTable(table), context));
    FIRN_ASSIGN(PreparedRewrite prepared,
                WithContext(PrepareRewrite(base.metadata, request, store, clock, random), context));
    outcome.fates = std::move(prepared.fates);
    if (!prepared.commit.has_value()) {
      // What an earlier attempt removed counts if that was applied after all.
      const auto done = std::find(outcome.fates.begin(), outcome.fates.end(), GroupFate::kAlreadyDone);
      if (done == outcome.fates.end()) outcome.delete_files_removed = 0;
      return outcome;
    }
    outcome.delete_files_removed = prepared.delete_files_removed;
    Result<LoadedTable> committed = catalog.CommitTable(table, prepared.commit->requirements, prepared.commit->updates);
    if (committed.has_value()) {
      ++outcome.attempts;
      outcome.snapshot_id = prepared.commit->snapshot_id;
      return outcome;
    }
    const ErrorCode code = committed.error().code();
    if (code != ErrorCode::kConflict && code != ErrorCode::kCommitStateUnknown) {
      return std::unexpected<Error>(std::move(committed.error()).WithContext(context));
    }
    if (code == ErrorCode::kConflict) ++outcome.conflicts;
    const auto limits = RetryLimits::For(base.metadata);
    const int64_t wait_ms = limits.BackoffMs(outcome.attempts, random);
    LogInfo("files will be replaced in another attempt",
            {{"table", table.ToString()}, {"attempt", outcome.attempts + 1}, {"error", committed.error()}});
    const bool over = limits.IsOver(outcome.attempts, clock.BootMs() - started_ms, wait_ms);
    if (over || !clock.SleepMs(wait_ms, stop)) {
      return std::unexpected<Error>(std::move(committed.error()).WithContext(context));
    }
  }
}

}  // namespace firn::iceberg
