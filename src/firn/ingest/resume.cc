#include "firn/ingest/resume.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "firn/ingest/history.h"

namespace firn::ingest {
namespace {

// Does what the plan rests on still stand: the same map of the same table, for every partition that is replaced?
bool StandsAsPlanned(const MapReplacement& replacement, const std::optional<PositionsMap>& stands) {
  const std::optional<PositionsMap>& planned = replacement.planned;
  if (!planned.has_value() || !stands.has_value()) return planned.has_value() == stands.has_value();
  if (planned->table_uuid != stands->table_uuid) return false;
  if (replacement.replace_all) return planned->marks == stands->marks;
  return std::all_of(replacement.marks.begin(), replacement.marks.end(), [&](const auto& each) {
    auto was = planned->marks.find(each.first);
    auto is = stands->marks.find(each.first);
    if (was == planned->marks.end() || is == stands->marks.end()) {
      return was == planned->marks.end() && is == stands->marks.end();
    }
    return was->second == is->second;
  });
}

// The further of the two, partition by partition.
Marks Further(Marks marks, const Marks& others) {
  for (const auto& [key, mark] : others) {
    auto [own, fresh] = marks.emplace(key, mark);
    if (!fresh && own->second.position.offset < mark.position.offset) own->second = mark;
  }
  return marks;
}

// Nothing that is known to have been committed is read again. `newest`: the map of the newest surviving snapshot.
Marks MarksToContinue(const std::optional<PositionsMap>& stands, const std::optional<PositionsMap>& newest,
                      const PositionsMap& home, const std::string& table_uuid, std::string& note) {
  if (stands.has_value() && stands->table_uuid == table_uuid) {
    note = "the positions in the table are taken as they stand";
    if (!newest.has_value() || newest->sequence_number <= stands->sequence_number) return stands->marks;
    note = fmt::format("the positions in the table are older than its snapshot {}, whose are taken",
                       newest->snapshot_id);
    return Further(stands->marks, newest->marks);
  }
  if (!newest.has_value()) {
    note = "the table has no positions of its own: it goes on from the home's; what came before is not read again";
    return home.marks;
  }
  // The property is lost, the snapshot that wrote it is not: it may have been ahead of the home.
  note = fmt::format("the table has lost its positions: it goes on from those of snapshot {} or the home's, whichever "
                     "is further",
                     newest->snapshot_id);
  return Further(newest->marks, home.marks);
}

void AddSteps(ResumePlan& plan, const PositionsMap& home, ResumeMode mode, const std::optional<PositionsMap>& newest) {
  std::set<PartitionKey> keys;
  for (const auto& [key, mark] : plan.replacement.marks) keys.insert(key);
  for (const auto& [key, mark] : home.marks) keys.insert(key);
  for (const PartitionKey& key : keys) {
    ResumeStep step;
    step.partition = key;
    auto own = plan.replacement.marks.find(key);
    auto at_home = home.marks.find(key);
    step.topic = own != plan.replacement.marks.end() ? own->second.topic : at_home->second.topic;
    if (plan.replacement.planned.has_value()) {
      step.from = OffsetOf(plan.replacement.planned->marks, key).value_or(-1);
    }
    step.to = own != plan.replacement.marks.end() ? own->second.position.offset : 0;
    step.read_until = std::max(step.from, OffsetOf(home.marks, key).value_or(0));
    step.given_up_from = step.to;
    if (mode == ResumeMode::kContinue) {
      step.given_up_from = newest.has_value() ? OffsetOf(newest->marks, key).value_or(0) : -1;
    }
    plan.steps.push_back(std::move(step));
  }
}

}  // namespace

Status RequireCommitted(const Result<MapCommitResult>& result, const std::string& table) {
  if (!result.has_value()) return std::unexpected<Error>(result.error());
  if (result->outcome == CommitOutcome::kCommitted || result->outcome == CommitOutcome::kAlreadyDone) return {};
  return Fail(ErrorCode::kConflict, fmt::format("table '{}': {}", table, result->reason));
}

Status ReplaceMap(MapCommitter& committer, TableState& table, const MapReplacement& replacement,
                  const std::string& rules_hash, std::stop_token stop) {
  MapCommitRequest request;
  request.decide = [&](const iceberg::LoadedTable&, const std::optional<PositionsMap>& stands) -> Result<MapDecision> {
    MapDecision decision;
    if (stands.has_value()) decision.next = *stands;
    if (replacement.replace_all) {
      decision.next.marks.clear();
      decision.next.rows_snapshot_id = replacement.rows_snapshot_id;
      decision.next.rows_sequence_number = replacement.rows_sequence_number;
    }
    for (const auto& [key, mark] : replacement.marks) decision.next.marks[key] = mark;
    if (decision.next.rules_hash.empty()) decision.next.rules_hash = rules_hash;
    if (!StandsAsPlanned(replacement, stands)) {
      // An answer of ours may have been lost.
      bool done = stands.has_value() && stands->marks == decision.next.marks;
      decision.outcome = done ? CommitOutcome::kAlreadyDone : CommitOutcome::kMismatch;
      decision.reason = "positions moved meanwhile; stop the workers or run it again";
    }
    return decision;
  };
  return RequireCommitted(committer.Commit(table, request, stop), table.name());
}

Result<ResumePlan> PlanResume(const iceberg::LoadedTable& loaded, const PositionsMap& home, std::string_view pipeline,
                              ResumeMode mode, env::ObjectStore& store) {
  const std::string table = loaded.identifier.ToString();
  ResumePlan plan;
  plan.table_uuid = loaded.metadata.table_uuid;
  plan.replacement.replace_all = true;
  FIRN_ASSIGN(plan.replacement.planned, MapOf(loaded.metadata, pipeline));
  Result<PositionsMap> rewound = MapToRewindTo(loaded.metadata, pipeline, store);
  std::optional<PositionsMap> newest;
  if (rewound.has_value()) newest = *rewound;
  const ErrorCode code = rewound.has_value() ? ErrorCode::kNotFound : rewound.error().code();
  if (code != ErrorCode::kNotFound && code != ErrorCode::kCorruption) return std::unexpected(rewound.error());
  if (mode == ResumeMode::kRewind) {
    if (!rewound.has_value()) {
      Error error = std::move(rewound.error()).WithContext(fmt::format("table '{}'", table));
      return Fail(error.code(), fmt::format("{}; use --continue", error.message()));
    }
    plan.replacement.marks = newest->marks;
    plan.note = fmt::format("back to snapshot {}: later records are read again", newest->snapshot_id);
  } else {
    plan.replacement.marks = MarksToContinue(plan.replacement.planned, newest, home, plan.table_uuid, plan.note);
  }
  if (newest.has_value()) {
    // Rows that were lost are no proof of anything any more.
    plan.replacement.rows_snapshot_id = newest->rows_snapshot_id;
    plan.replacement.rows_sequence_number = newest->rows_sequence_number;
  }
  AddSteps(plan, home, mode, newest);
  return plan;
}

Status CarryOutResume(const ResumePlan& plan, Home& home, MapCommitter& committer, TableState& table,
                      const std::string& reason, std::stop_token stop) {
  FIRN_TRY(ReplaceMap(committer, table, plan.replacement, home.rules_hash(), stop));
  const int64_t sequence_number = table.map().has_value() ? table.map()->sequence_number : 0;
  const Marks& marks = plan.replacement.marks;
  auto edit = [&](PositionsMap& map) -> Result<bool> {
    if (ListedTable* listed = map.home->Find(table.name())) {
      listed->table_uuid = plan.table_uuid;
      listed->sequence_number = sequence_number;
    }
    for (DetachedEntry& entry : map.home->detached) {
      if (entry.table == table.name()) entry.hold = false;
    }
    // A table that was not detached yet is made to catch up from its new positions.
    for (const auto& [key, mark] : map.marks) {
      const int64_t own = OffsetOf(marks, key).value_or(0);
      const int64_t low_water = mark.position.offset;
      if (own >= low_water || map.home->FindDetached(table.name(), key) != nullptr) continue;
      map.home->detached.push_back(
          DetachedEntry{table.name(), key, mark.topic, reason, committer.clock().WallMs(), false, low_water});
    }
    return true;
  };
  return RequireCommitted(home.Edit(edit, {}, stop), home.name());
}

}  // namespace firn::ingest
