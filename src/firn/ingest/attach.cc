#include "firn/ingest/attach.h"

#include <fmt/format.h>

#include <set>

#include "firn/base/log.h"
#include "firn/ingest/data_files.h"
#include "firn/ingest/history.h"

namespace firn::ingest {
namespace {

constexpr std::string_view kPositionsPrefix = "firn.positions.";

// Another pipeline that feeds this table from one of our topics would double every row.
Status CheckTopicsNotShared(const iceberg::TableMetadata& metadata, const std::string& own_property,
                            const Marks& ours) {
  for (const auto& [key, value] : metadata.properties) {
    if (!key.starts_with(kPositionsPrefix) || key == own_property) continue;
    FIRN_ASSIGN(PositionsMap theirs, PositionsMap::Parse(value));
    for (const auto& [partition, mark] : theirs.marks) {
      if (!ours.contains(partition)) continue;
      return Fail(
          ErrorCode::kInvalidInput,
          fmt::format("another pipeline feeds this table from the same topic, each record would come twice; stop "
                      "it, or set 'allow_shared_topic: true' if that is meant: pipeline '{}', topic '{}'",
                      key.substr(kPositionsPrefix.size()), mark.topic));
    }
  }
  return {};
}

Result<MapCommitResult> ListInHome(Home& home, const std::string& table, std::stop_token stop) {
  return home.Edit(
      [&](PositionsMap& map) -> Result<bool> {
        if (map.home->Find(table) != nullptr) return false;
        map.home->tables.push_back(ListedTable{table, "", ListedState::kAttaching, map.marks});
        return true;
      },
      {}, stop);
}

Result<MapCommitResult> MarkAttached(Home& home, const std::string& table, const std::string& uuid,
                                     std::stop_token stop) {
  return home.Edit(
      [&](PositionsMap& map) -> Result<bool> {
        ListedTable* listed = map.home->Find(table);
        if (listed == nullptr) {
          return Fail(ErrorCode::kConflict, fmt::format("somebody took the table off the home's list: '{}'", table));
        }
        if (listed->state == ListedState::kAttached && listed->table_uuid == uuid) return false;
        *listed = ListedTable{table, uuid, ListedState::kAttached, {}};
        return true;
      },
      {}, stop);
}

// Gives the table its first map: that of the listing.
Result<MapCommitResult> CommitFirstMap(MapCommitter& committer, TableState& table, const Marks& marks,
                                       const std::string& rules_hash, const AttachRequest& request,
                                       std::stop_token stop) {
  MapCommitRequest commit;
  commit.properties = request.properties;
  commit.decide = [&](const iceberg::LoadedTable& fresh,
                      const std::optional<PositionsMap>& stands) -> Result<MapDecision> {
    MapDecision decision;
    if (stands.has_value()) {  // who loses the race adopts what it finds
      decision.outcome = stands->marks == marks ? CommitOutcome::kAlreadyDone : CommitOutcome::kMismatch;
      decision.reason = "it has other positions than those that it was listed with";
      return decision;
    }
    if (!request.allow_shared_topic) {
      FIRN_TRY(CheckTopicsNotShared(fresh.metadata, PositionsProperty(committer.identity().pipeline), marks));
    }
    decision.next.marks = marks;
    decision.next.rules_hash = rules_hash;
    return decision;
  };
  return committer.Commit(table, commit, stop);
}

Result<iceberg::LoadedTable> LoadForAttach(MapCommitter& committer, const TableState& table,
                                           const AttachRequest& request) {
  if (request.may_create) return LoadOrCreate(committer.catalog(), table.identifier(), request.create);
  Result<iceberg::LoadedTable> loaded = committer.catalog().LoadTable(table.identifier());
  if (!loaded.has_value() && loaded.error().code() == ErrorCode::kNotFound) {
    return Fail(ErrorCode::kNotFound, fmt::format("the table does not exist; {}", request.remedy_when_missing));
  }
  return loaded;
}

// The table was last written by other rules. From here on it carries ours, so that nobody commits to it by those any
// more; and before that the home says how far they got, so that what they sent elsewhere is not passed over.
// kConflict: the table has moved meanwhile, open it again.
Status FenceRules(Home& home, MapCommitter& committer, TableState& table, const PositionsMap& seen,
                  std::stop_token stop) {
  FIRN_TRY(OfHomeAlone(home.Reload()));
  if (home.rules_changed()) return home.OtherRulesAtWork();
  FIRN_TRY(RequireDoneFor(home.RaiseCut(seen.marks, stop), home.name()));
  MapCommitRequest commit;
  commit.decide = [&](const iceberg::LoadedTable& fresh,
                      const std::optional<PositionsMap>& stands) -> Result<MapDecision> {
    MapDecision decision;
    const bool same = stands.has_value() && stands->marks == seen.marks;
    if (same && stands->rules_hash == home.rules_hash()) {
      decision.outcome = CommitOutcome::kAlreadyDone;
      return decision;
    }
    decision.outcome = CommitOutcome::kMismatch;
    decision.reason = "somebody else commits to it by other routing rules";
    if (!same || stands->snapshot_id != seen.snapshot_id) return decision;
    FIRN_ASSIGN(HistoryVerdict history, JudgeHistory(fresh.metadata, table.name(), committer.identity().pipeline,
                                                     *stands, committer.store()));
    if (!history.unchanged) return decision;
    decision.outcome = CommitOutcome::kCommitted;
    decision.next = *stands;
    decision.next.rules_hash = home.rules_hash();
    return decision;
  };
  FIRN_ASSIGN(MapCommitResult fenced, committer.Commit(table, commit, stop));
  return RequireDone(fenced, table.name());
}

Result<AttachResult> OpenAttached(Home& home, MapCommitter& committer, TableState& table, const ListedTable& listed,
                                  std::stop_token stop) {
  FIRN_TRY(committer.Reload(table));
  std::shared_ptr<const iceberg::LoadedTable> loaded = table.loaded();
  FIRN_TRY(iceberg::CheckWritable(loaded->metadata));
  FIRN_TRY(CheckWriteProperties(loaded->metadata));
  FIRN_ASSIGN(std::optional<PositionsMap> stands, MapOf(loaded->metadata, committer.identity().pipeline));
  AttachResult result;
  if (!stands.has_value()) {
    result.hold_reason = listed.table_uuid == loaded->metadata.table_uuid
                             ? "the table has lost the property with this pipeline's positions"
                             : "the table was dropped and made again: it has another uuid and no positions";
    return result;
  }
  result.hold_reason = SwappedReason(loaded->metadata, listed);
  if (!result.hold_reason.empty()) return result;
  FIRN_ASSIGN(HistoryVerdict history,
              JudgeHistory(loaded->metadata, table.name(), committer.identity().pipeline, *stands, committer.store(),
                           listed.sequence_number));
  if (!history.unchanged) {
    result.hold_reason = history.reason;
    return result;
  }
  if (stands->rules_hash == home.rules_hash()) {
    table.set_map(std::move(*stands));
  } else {
    FIRN_TRY(FenceRules(home, committer, table, *stands, stop));
  }
  result.attached = true;
  return result;
}

// Rows are committed once it is attached, so somebody has done that; or it is another table, of an earlier life.
Result<AttachResult> AttachWithOtherPositions(Home& home, MapCommitter& committer, TableState& table,
                                              std::stop_token stop) {
  FIRN_TRY(OfHomeAlone(home.Reload()));
  const PositionsMap home_map = home.map();
  const ListedTable* listed = home_map.home->Find(table.name());
  if (listed != nullptr && listed->state == ListedState::kAttached) {
    return OpenAttached(home, committer, table, *listed, stop);
  }
  return AttachResult{false, "the table has positions of this pipeline, but the home has never attached it: another "
                             "table, or one of an earlier life of the pipeline"};
}

}  // namespace

Status OfHomeAlone(Status status) {
  if (status.has_value() || status.error().code() != ErrorCode::kUnauthorized) return status;
  return Fail(ErrorCode::kUnavailable, status.error().ToString());
}

Status RequireDoneFor(const Result<MapCommitResult>& result, const std::string& home) {
  if (result.has_value()) {
    Status done = RequireDone(*result, home);
    // Other rules at work, or a home that was changed: whoever detaches the table meets it again, and the run ends.
    if (!done.has_value() && done.error().code() == ErrorCode::kInvalidInput) {
      return Fail(ErrorCode::kCorruption, done.error().message());
    }
    return done;
  }
  return OfHomeAlone(std::unexpected<Error>(result.error()));
}

Result<AttachResult> AttachTable(Home& home, MapCommitter& committer, TableState& table, const AttachRequest& request,
                                 std::stop_token stop) {
  const std::string context = fmt::format("attach table '{}'", table.name());
  PositionsMap home_map = home.map();
  const ListedTable* listed = home_map.home.has_value() ? home_map.home->Find(table.name()) : nullptr;
  if (listed != nullptr && listed->state == ListedState::kAttached) {
    return WithContext(OpenAttached(home, committer, table, *listed, stop), context);
  }
  // Look before listing: a table that cannot be attached must not get into the home.
  Result<iceberg::LoadedTable> existing = committer.catalog().LoadTable(table.identifier());
  if (existing.has_value()) {
    FIRN_TRY(WithContext(iceberg::CheckWritable(existing->metadata), context));
    FIRN_TRY(WithContext(CheckWriteProperties(existing->metadata), context));
    FIRN_ASSIGN(std::optional<PositionsMap> stands, MapOf(existing->metadata, committer.identity().pipeline));
    if (stands.has_value() && listed == nullptr) {
      // Another worker may have attached it since the home was read: the listing always comes before the map.
      FIRN_TRY(WithContext(home.Reload(), context));
      home_map = home.map();
      listed = home_map.home.has_value() ? home_map.home->Find(table.name()) : nullptr;
      if (listed != nullptr && listed->state == ListedState::kAttached) {
        return WithContext(OpenAttached(home, committer, table, *listed, stop), context);
      }
    }
    if (stands.has_value() && listed == nullptr) {
      return AttachResult{false,
                          "the table has positions of this pipeline, but the home does not list it; if the home was "
                          "lost, run 'firn positions rebuild'"};
    }
    if (!request.allow_shared_topic) {
      FIRN_TRY(WithContext(
          CheckTopicsNotShared(existing->metadata, PositionsProperty(committer.identity().pipeline), home_map.marks),
          context));
    }
  } else if (existing.error().code() != ErrorCode::kNotFound || !request.may_create) {
    if (existing.error().code() != ErrorCode::kNotFound) {
      return std::unexpected<Error>(std::move(existing.error()).WithContext(context));
    }
    return Fail(ErrorCode::kNotFound, fmt::format("{}: it does not exist; {}", context, request.remedy_when_missing));
  }

  const Result<MapCommitResult> listing = ListInHome(home, table.name(), stop);
  FIRN_TRY(WithContext(RequireDoneFor(listing, home.name()), context));
  // Listed before, by a home that was read a while ago: where the table begins may have been set by hand since.
  if (listing->outcome == CommitOutcome::kAlreadyDone) FIRN_TRY(WithContext(OfHomeAlone(home.Reload()), context));
  const PositionsMap fresh_home = home.map();
  listed = fresh_home.home->Find(table.name());
  if (listed == nullptr) return Fail(ErrorCode::kConflict, fmt::format("{}: the home's list lost it again", context));
  if (listed->state == ListedState::kAttached) {
    return WithContext(OpenAttached(home, committer, table, *listed, stop), context);
  }

  FIRN_ASSIGN(iceberg::LoadedTable loaded, WithContext(LoadForAttach(committer, table, request), context));
  const std::string uuid = loaded.metadata.table_uuid;
  table.set_loaded(std::move(loaded));
  FIRN_ASSIGN(MapCommitResult first,
              CommitFirstMap(committer, table, listed->marks_at_listing, home.rules_hash(), request, stop));
  if (first.outcome == CommitOutcome::kMismatch) {
    return WithContext(AttachWithOtherPositions(home, committer, table, stop), context);
  }
  FIRN_TRY(WithContext(RequireDone(first, table.name()), context));
  FIRN_TRY(WithContext(RequireDoneFor(MarkAttached(home, table.name(), uuid, stop), home.name()), context));
  const std::optional<PositionsMap> stands = table.map();
  if (stands.has_value() && stands->rules_hash != home.rules_hash()) {  // a race was lost to other rules
    FIRN_TRY(WithContext(FenceRules(home, committer, table, *stands, stop), context));
  }
  LogInfo("table attached", {{"table", table.name()}, {"uuid", uuid}});
  return AttachResult{true, ""};
}

}  // namespace firn::ingest
