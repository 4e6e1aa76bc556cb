#include "firn/ingest/map_commit.h"

#include <fmt/format.h>

#include "firn/base/log.h"
#include "firn/iceberg/commit/attempt_store.h"
#include "firn/iceberg/commit/commit_retry.h"
#include "firn/iceberg/commit/snapshot_expiry.h"
#include "firn/ingest/history.h"

namespace firn::ingest {
namespace {

bool IsOurs(const iceberg::TableMetadata& metadata) {
  return metadata.Property(std::string(kCreatedByProperty)).has_value();
}

// What our last commit left behind knows nothing of a tag, a retention or a `gc.enabled` that somebody has set since,
// so snapshots are expired by metadata that were loaded for this attempt only. Not for every single snapshot: once as
// many have come together as one commit may expire.
bool IsWorthReloadingToExpire(const iceberg::TableMetadata& metadata, int64_t now_ms) {
  return iceberg::PickExpiredSnapshots(metadata, IsOurs(metadata), now_ms).size() >= iceberg::kExpirePerCommitMax;
}

}  // namespace

std::string_view CommitOutcomeName(CommitOutcome outcome) {
  switch (outcome) {
    case CommitOutcome::kCommitted: return "committed";
    case CommitOutcome::kAlreadyDone: return "already_done";
    case CommitOutcome::kMismatch: return "mismatch";
    case CommitOutcome::kForeignRules: return "foreign_rules";
    case CommitOutcome::kHistoryChanged: return "history_changed";
    case CommitOutcome::kTooOld: return "too_old";
  }
  return "mismatch";
}

Result<std::optional<PositionsMap>> MapOf(const iceberg::TableMetadata& metadata, std::string_view pipeline) {
  std::optional<std::string> text = metadata.Property(PositionsProperty(pipeline));
  if (!text.has_value()) return std::optional<PositionsMap>();
  FIRN_ASSIGN(PositionsMap map, PositionsMap::Parse(*text));
  return std::optional<PositionsMap>(std::move(map));
}

MapCommitter::MapCommitter(iceberg::Catalog& catalog, env::ObjectStore& store, env::Clock& clock, env::Random& random,
                           CommitterIdentity identity)
    : catalog_(catalog), store_(store), clock_(clock), random_(random), identity_(std::move(identity)) {}

Status MapCommitter::Reload(TableState& table) {
  FIRN_ASSIGN(iceberg::LoadedTable loaded, catalog_.LoadTable(table.identifier()));
  pace_.Look(loaded.metadata, identity_.pipeline, clock_.WallMs());
  table.set_loaded(std::move(loaded));
  return {};
}

Result<iceberg::PreparedCommit> MapCommitter::Prepare(const iceberg::LoadedTable& base, const MapCommitRequest& request,
                                                      bool base_is_fresh, env::ObjectStore& store, PositionsMap& next) {
  iceberg::AppendRequest append;
  append.expire_on_commit = base_is_fresh;
  append.expiry_grace_ms = identity_.expiry_grace_ms;
  append.files = request.files;
  append.summary = request.summary;
  append.summary[std::string(kSummaryPipeline)] = identity_.pipeline;
  append.summary[std::string(kSummaryWorker)] = identity_.worker;
  append.summary["firn.version"] = std::string(kFirnVersion);
  append.summary["firn.rows"] = std::to_string(request.rows);
  if (!identity_.group.empty()) append.summary["firn.group"] = identity_.group;
  append.set_properties = request.properties;
  append.table_is_ours = IsOurs(base.metadata);
  append.on_identity = [&](SnapshotId snapshot_id, int64_t sequence_number, iceberg::AppendRequest& out) -> Status {
    next.table = base.identifier.ToString();
    next.table_uuid = base.metadata.table_uuid;
    next.snapshot_id = snapshot_id;
    next.sequence_number = sequence_number;
    if (request.rows > 0) {
      next.rows_snapshot_id = snapshot_id;
      next.rows_sequence_number = sequence_number;
    }
    std::string text = next.Serialize();
    out.manifest_list_header[PositionsProperty(identity_.pipeline)] = text;
    out.set_properties[PositionsProperty(identity_.pipeline)] = std::move(text);
    return {};
  };
  return iceberg::PrepareAppend(base.metadata, append, store, clock_, random_, cache_);
}

Result<MapCommitResult> MapCommitter::Commit(TableState& table, const MapCommitRequest& request, std::stop_token stop) {
  MapCommitResult result;
  const std::string context = fmt::format("commit to table '{}'", table.name());
  const int64_t started_ms = clock_.BootMs();
  iceberg::AttemptStore store(store_);
  for (;; ++result.attempts) {
    const int64_t attempt_started_ms = clock_.BootMs();
    const bool reload = table.stale() || table.others_at_work() ||
                        IsWorthReloadingToExpire(table.loaded()->metadata, clock_.WallMs() - identity_.expiry_grace_ms);
    if (reload) FIRN_TRY(WithContext(Reload(table), context));
    std::shared_ptr<const iceberg::LoadedTable> base = table.loaded();
    FIRN_ASSIGN(std::optional<PositionsMap> stands, WithContext(MapOf(base->metadata, identity_.pipeline), context));
    FIRN_ASSIGN(MapDecision decision, WithContext(request.decide(*base, stands), context));
    if (decision.outcome != CommitOutcome::kCommitted) {
      if (decision.outcome == CommitOutcome::kAlreadyDone && stands.has_value()) table.set_map(*stands);
      result.outcome = decision.outcome;
      result.reason = decision.reason;
      return result;
    }
    Result<iceberg::PreparedCommit> prepared =
        WithContext(Prepare(*base, request, reload, store, decision.next), context);
    if (!prepared.has_value()) {
      if (reload) return std::unexpected<Error>(std::move(prepared.error()));
      // What was loaded a while ago may name files that somebody has expired since.
      table.MarkStale();
      continue;
    }
    Result<iceberg::LoadedTable> committed =
        catalog_.CommitTable(table.identifier(), prepared->requirements, prepared->updates);
    if (committed.has_value()) {
      pace_.CommitTook(clock_.BootMs() - attempt_started_ms);
      pace_.Look(committed->metadata, identity_.pipeline, clock_.WallMs());
      table.set_committed(base->metadata, std::move(committed).value());
      table.set_map(std::move(decision.next));
      result.outcome = CommitOutcome::kCommitted;
      ++result.attempts;
      return result;
    }
    // Whatever went wrong, what we know of the table may be behind now.
    table.MarkStale();
    ErrorCode code = committed.error().code();
    if (code != ErrorCode::kConflict && code != ErrorCode::kCommitStateUnknown) {
      return std::unexpected<Error>(std::move(committed.error()).WithContext(context));
    }
    const auto limits = iceberg::RetryLimits::For(base->metadata);
    if (code == ErrorCode::kConflict) ++result.conflicts;
    LogInfo("commit will be tried again",
            {{"table", table.name()}, {"attempt", result.attempts + 1}, {"error", committed.error()}});
    const int64_t wait_ms = limits.BackoffMs(result.attempts, random_);
    const bool over = limits.IsOver(result.attempts, clock_.BootMs() - started_ms, wait_ms);
    if (over || !clock_.SleepMs(wait_ms, stop)) {
      return std::unexpected<Error>(std::move(committed.error()).WithContext(context));
    }
  }
}

}  // namespace firn::ingest
