#include "firn/ingest/home.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "firn/base/log.h"
#include "firn/ingest/history.h"

namespace firn::ingest {
namespace {

iceberg::CreateTableRequest HomeTableRequest() {
  iceberg::CreateTableRequest request;
  schema::Field field;
  field.id = FieldId{1};
  field.name = "note";
  field.type = schema::Type::Primitive(schema::TypeKind::kString);
  field.doc = "never written: this table has no rows, its properties are the pipeline's checkpoint";
  request.schema.fields.push_back(std::move(field));
  request.properties = {{std::string(kCreatedByProperty), std::string(kFirnVersion)},
                        {"write.metadata.delete-after-commit.enabled", "true"},
                        {"write.metadata.previous-versions-max", "20"},
                        {"comment", "Firn: positions of a pipeline; do not write to it, do not drop it"}};
  return request;
}

}  // namespace

Result<iceberg::LoadedTable> LoadOrCreate(iceberg::Catalog& catalog, const iceberg::TableIdentifier& identifier,
                                          const iceberg::CreateTableRequest& request) {
  Result<iceberg::LoadedTable> loaded = catalog.LoadTable(identifier);
  if (loaded.has_value() || loaded.error().code() != ErrorCode::kNotFound) return loaded;
  FIRN_TRY(catalog.EnsureNamespace(identifier.namespace_levels));
  Result<iceberg::LoadedTable> created = catalog.CreateTable(identifier, request);
  if (created.has_value()) {
    LogInfo("table created", {{"table", identifier.ToString()}, {"location", created->metadata.location}});
    return created;
  }
  const ErrorCode code = created.error().code();
  if (code != ErrorCode::kAlreadyExists && code != ErrorCode::kConflict && code != ErrorCode::kCommitStateUnknown) {
    return created;
  }
  loaded = catalog.LoadTable(identifier);
  const bool missing = !loaded.has_value() && loaded.error().code() == ErrorCode::kNotFound;
  // It was not made after all: trying again mends that, and a table that is not there does not say so.
  if (missing && code != ErrorCode::kAlreadyExists) return created;
  return loaded;
}

Home::Home(MapCommitter& committer, iceberg::TableIdentifier identifier, std::string rules_hash, env::Threads& threads)
    : committer_(committer),
      table_(std::move(identifier)),
      rules_hash_(std::move(rules_hash)),
      editing_(threads.MakeMonitor()) {}

Status Home::Open(std::stop_token stop) {
  FIRN_ASSIGN(iceberg::LoadedTable loaded,
              WithContext(LoadOrCreate(committer_.catalog(), table_.identifier(), HomeTableRequest()),
                          fmt::format("home table '{}'", table_.name())));
  FIRN_TRY(iceberg::CheckWritable(loaded.metadata));
  FIRN_ASSIGN(std::optional<PositionsMap> stands, MapOf(loaded.metadata, committer_.identity().pipeline));
  table_.set_loaded(std::move(loaded));
  if (stands.has_value()) {
    table_.set_map(*stands);
    return {};
  }
  FIRN_ASSIGN(MapCommitResult first, Edit([](PositionsMap&) -> Result<bool> { return true; }, {}, stop));
  return RequireDone(first, table_.name());
}

Status Home::Reload() {
  std::lock_guard lock(*editing_);
  FIRN_TRY(committer_.Reload(table_));
  FIRN_ASSIGN(std::optional<PositionsMap> stands, MapOf(table_.loaded()->metadata, committer_.identity().pipeline));
  if (!stands.has_value()) {
    return Fail(
        ErrorCode::kInvalidInput,
        fmt::format("the home table has lost the property {}; stop all workers and run 'firn positions rebuild': "
                    "table '{}'",
                    PositionsProperty(committer_.identity().pipeline), table_.name()));
  }
  table_.set_map(*stands);
  return {};
}

PositionsMap Home::map() const {
  return table_.map().value_or(PositionsMap());
}

std::shared_ptr<const PositionsMap> Home::shared_map() const {
  std::shared_ptr<const PositionsMap> map = table_.shared_map();
  return map != nullptr ? map : std::make_shared<const PositionsMap>();
}

Status Home::AdoptRules(const Marks& cut, const std::set<std::string>& gone, std::stop_token stop) {
  auto adopt = [&](PositionsMap& map) -> Result<bool> {
    if (map.rules_hash == rules_hash_) return false;
    std::erase_if(map.home->detached, [&](const DetachedEntry& entry) { return gone.contains(entry.table); });
    if (!map.home->detached.empty()) {
      const DetachedEntry& entry = map.home->detached.front();
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("the routing rules have changed while a table is detached, and the records it misses "
                              "were routed by the old ones. Start with the old rules until it has caught up ('firn "
                              "positions show'), or give up what it misses with 'firn positions set --table': table "
                              "'{}', partition {} of '{}', detached because: {}",
                              entry.table, entry.partition.partition, entry.topic, entry.reason));
    }
    for (const auto& [key, mark] : cut) map.home->cut[key] = mark;
    return true;
  };
  std::lock_guard lock(*editing_);
  FIRN_ASSIGN(MapCommitResult adopted, EditLocked(adopt, {}, true, stop));
  return RequireDone(adopted, table_.name());
}

Result<MapCommitResult> Home::RaiseCut(const Marks& reached, std::stop_token stop) {
  return Edit(
      [&](PositionsMap& map) -> Result<bool> {
        bool changed = false;
        for (const auto& [key, mark] : reached) {
          const int64_t known =
              std::max(OffsetOf(map.marks, key).value_or(0), OffsetOf(map.home->cut, key).value_or(0));
          if (mark.position.offset <= known) continue;
          map.home->cut[key] = mark;
          changed = true;
        }
        return changed;
      },
      {}, stop);
}

Status Home::OtherRulesAtWork() const {
  return Fail(ErrorCode::kInvalidInput,
              fmt::format("another worker of this pipeline runs with other routing rules; give all workers the same "
                          "configuration: home table '{}'",
                          name()));
}

Result<MapCommitResult> Home::Detach(const std::vector<DetachedEntry>& entries, const std::string& rejects_table,
                                     std::stop_token stop) {
  return Edit(
      [&](PositionsMap& map) -> Result<bool> {
        bool changed = false;
        for (const DetachedEntry& entry : entries) {
          DetachedEntry* stands = map.home->FindDetached(entry.table, entry.partition);
          if (stands == nullptr) {
            const bool rejects_too = map.home->FindDetached(rejects_table, entry.partition) != nullptr;
            if (map.home->Find(entry.table) == nullptr) {
              map.home->tables.push_back(ListedTable{entry.table, "", ListedState::kAttaching, map.marks});
            }
            DetachedEntry& made = map.home->detached.emplace_back(entry);
            made.home_offset = OffsetOf(map.marks, entry.partition).value_or(0);
            made.rows_below = std::max(made.rows_below, made.home_offset);
            if (rejects_too) made.rejected_below = 0;
            changed = true;
          } else if (entry.hold && !stands->hold) {
            stands->hold = true;
            stands->reason = entry.reason;
            changed = true;
          }
        }
        return changed;
      },
      {}, stop);
}

Result<MapDecision> Home::Decide(const iceberg::LoadedTable& fresh, const std::optional<PositionsMap>& stands,
                                 const EditFn& edit, bool adopt) {
  MapDecision decision;
  if (stands.has_value()) {
    FIRN_ASSIGN(HistoryVerdict history, JudgeHistory(fresh.metadata, fresh.identifier.ToString(),
                                                     committer_.identity().pipeline, *stands, committer_.store()));
    if (!history.unchanged) {
      decision.outcome = CommitOutcome::kHistoryChanged;
      decision.reason = history.reason;
      return decision;
    }
    if (stands->rules_hash != rules_hash_ && !adopt) {
      decision.outcome = CommitOutcome::kForeignRules;
      decision.reason =
          fmt::format("the home carries rules hash {}, this worker's rules have {}", stands->rules_hash, rules_hash_);
      return decision;
    }
    decision.next = *stands;
  } else if (table_.attached()) {
    decision.outcome = CommitOutcome::kHistoryChanged;
    decision.reason = "the property with the positions was removed";
    return decision;
  }
  if (!decision.next.home.has_value()) decision.next.home.emplace();
  Result<bool> changed = edit(decision.next);
  if (!changed.has_value()) {
    if (changed.error().code() != ErrorCode::kConflict) return std::unexpected<Error>(std::move(changed.error()));
    decision.outcome = CommitOutcome::kMismatch;
    decision.reason = changed.error().message();
    return decision;
  }
  decision.next.rules_hash = rules_hash_;
  decision.outcome = *changed || !stands.has_value() ? CommitOutcome::kCommitted : CommitOutcome::kAlreadyDone;
  return decision;
}

Result<MapCommitResult> Home::Edit(const EditFn& edit, const std::map<std::string, std::string>& summary,
                                   std::stop_token stop) {
  std::lock_guard lock(*editing_);
  return EditLocked(edit, summary, false, stop);
}

Result<MapCommitResult> Home::EditLocked(const EditFn& edit, const std::map<std::string, std::string>& summary,
                                         bool adopt, std::stop_token stop) {
  MapCommitRequest request;
  request.summary = summary;
  request.decide = [&](const iceberg::LoadedTable& fresh, const std::optional<PositionsMap>& stands) {
    return Decide(fresh, stands, edit, adopt);
  };
  return committer_.Commit(table_, request, stop);
}

Status RequireDone(const MapCommitResult& result, const std::string& table) {
  switch (result.outcome) {
    case CommitOutcome::kCommitted:
    case CommitOutcome::kAlreadyDone: return {};
    case CommitOutcome::kForeignRules:
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("another worker of this pipeline runs with other routing rules; give all workers the "
                              "same configuration: table '{}': {}",
                              table, result.reason));
    case CommitOutcome::kHistoryChanged:
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("the table was changed by somebody else; stop all workers, look at 'firn positions "
                              "show', then 'firn positions rebuild': table '{}': {}",
                              table, result.reason));
    default: return Fail(ErrorCode::kConflict, fmt::format("table '{}': {}", table, result.reason));
  }
}

}  // namespace firn::ingest
