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
  if (replacement.replace_all) return planned->marks == stands->marks && planned->rejected == stands->rejected;
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

// Up to where the home says that the table had all its rows: what main has passed since it was detached is not there.
Marks KnownToHome(const PositionsMap& home, const std::string& table) {
  Marks marks = home.marks;
  if (!home.home.has_value()) return marks;
  for (auto& [key, mark] : marks) {
    const DetachedEntry* entry = home.home->FindDetached(table, key);
    if (entry == nullptr || entry->rows_below < 0 || entry->rows_below >= mark.position.offset) continue;
    mark.position = stream::Position{entry->rows_below, -1, -1};
  }
  return marks;
}

// Nothing that is known to have been committed is read again. `newest`: the map of the newest surviving snapshot;
// `home`: as KnownToHome gives it.
Marks MarksToContinue(const std::optional<PositionsMap>& stands, const std::optional<PositionsMap>& newest,
                      const Marks& home, const std::string& table_uuid, std::string& note) {
  if (stands.has_value() && stands->table_uuid == table_uuid) {
    note = "the positions in the table are taken as they stand";
    if (!newest.has_value() || newest->sequence_number <= stands->sequence_number) return stands->marks;
    note = fmt::format("the positions in the table are older than its snapshot {}, whose are taken",
                       newest->snapshot_id);
    return Further(stands->marks, newest->marks);
  }
  if (!newest.has_value()) {
    note = "the table has no positions of its own: it goes on from the home's, or from where the home stood when it "
           "was detached; what came before is not read again";
    return home;
  }
  // The property is lost, the snapshot that wrote it is not: it may have been ahead of the home.
  note = fmt::format("the table has lost its positions: it goes on from those of snapshot {} or the home's, whichever "
                     "is further",
                     newest->snapshot_id);
  return Further(newest->marks, home);
}

// What a plan rests on.
struct Seen {
  std::optional<PositionsMap> planned;  // what the table's property says
  std::optional<PositionsMap> newest;   // what its newest surviving snapshot says
  bool trusted = false;  // the home rests on nothing newer than `planned`: below H it says what the table had
};

bool IsTrusted(const std::optional<PositionsMap>& planned, const std::string& table_uuid, const ListedTable* listed) {
  if (!planned.has_value() || planned->table_uuid != table_uuid || listed == nullptr) return false;
  if (!listed->table_uuid.empty() && listed->table_uuid != table_uuid) return false;
  return planned->sequence_number >= listed->sequence_number;
}

std::optional<int64_t> RejectedOf(const std::map<std::string, Marks>& rejected, const std::string& table,
                                  const PartitionKey& key) {
  auto of_table = rejected.find(table);
  return of_table == rejected.end() ? std::nullopt : OffsetOf(of_table->second, key);
}

bool SameRejected(const PositionsMap& a, const PositionsMap& b, const PartitionKey& key) {
  auto covers = [&](const PositionsMap& some, const PositionsMap& other) {
    return std::ranges::all_of(some.rejected, [&](const auto& each) {
      return OffsetOf(each.second, key) == RejectedOf(other.rejected, each.first, key);
    });
  };
  return covers(a, b) && covers(b, a);
}

// Nothing that was committed of the partition has been taken back.
bool IsQuiet(const Seen& seen, const PartitionKey& key) {
  if (!seen.trusted || !seen.newest.has_value()) return false;
  return OffsetOf(seen.planned->marks, key).value_or(0) == OffsetOf(seen.newest->marks, key).value_or(0) &&
         SameRejected(*seen.planned, *seen.newest, key);
}

// The positions of a partition without rows stay behind the home's, up to which the table has all its rows all the
// same: it is not made to look for them, perhaps where the log does not reach any more, or never was to be read.
void TakeQuietFromHome(Marks& marks, const Seen& seen, const PositionsMap& home, const std::string& table,
                       ResumeMode mode) {
  if (!seen.trusted || !home.home.has_value()) return;
  for (const auto& [key, low_water] : home.marks) {
    if (home.home->FindDetached(table, key) != nullptr) continue;
    if (mode == ResumeMode::kRewind && !IsQuiet(seen, key)) continue;
    auto [own, fresh] = marks.emplace(key, low_water);
    if (!fresh && own->second.position.offset < low_water.position.offset) own->second = low_water;
  }
}

// The marks of other tables' rejects, and which rejects are gone. `own`: up to where the rejects of tables without a
// mark stand in the table that is resumed.
void PlanRejected(ResumePlan& plan, const Seen& seen, const PositionsMap& home, ResumeMode mode, const Marks& own) {
  const bool stays = mode == ResumeMode::kContinue && seen.planned.has_value() &&
                     seen.planned->table_uuid == plan.table_uuid &&
                     (!seen.newest.has_value() || seen.newest->sequence_number <= seen.planned->sequence_number);
  std::map<std::string, Marks>& rejected = plan.replacement.rejected;
  if (stays) rejected = seen.planned->rejected;
  if (!stays && seen.newest.has_value()) rejected = seen.newest->rejected;
  auto is_gone = [&](const std::string& table, const PartitionKey& key) {
    if (mode == ResumeMode::kContinue) return false;
    return !seen.trusted || OffsetOf(seen.planned->marks, key) != OffsetOf(seen.newest->marks, key) ||
           RejectedOf(seen.planned->rejected, table, key) != RejectedOf(rejected, table, key);
  };
  for (const auto& [table, marks] : rejected) {
    for (const auto& [key, mark] : marks) {
      const int64_t next = OffsetOf(plan.replacement.marks, key).value_or(0);
      if (mark.position.offset < next && is_gone(table, key)) plan.rejects_back[table][key] = mark.position.offset;
    }
  }
  if (mode == ResumeMode::kRewind) plan.entries_planned.emplace();
  for (const DetachedEntry& entry : home.home->detached) {
    if (entry.table == plan.rejects_table) continue;
    if (mode == ResumeMode::kRewind) plan.entries_planned->emplace(entry.table, entry.partition);
    std::optional<int64_t> mark = RejectedOf(rejected, entry.table, entry.partition);
    const bool gone = is_gone(entry.table, entry.partition);
    const int64_t stands = mark.value_or(OffsetOf(own, entry.partition).value_or(0));
    if (gone) plan.rejects_back[entry.table][entry.partition] = stands;
    if (mark.has_value()) continue;
    // Said explicitly: a lane that has not heard of this finds another mark than it knows.
    const int64_t below = gone ? stands : std::max(stands, entry.rejected_below);
    rejected[entry.table][entry.partition] = Mark{entry.topic, stream::Position{below, -1, -1}};
  }
}

void AddSteps(ResumePlan& plan, const PositionsMap& home, ResumeMode mode, const Seen& seen) {
  std::set<PartitionKey> keys;
  for (const auto& [key, mark] : plan.replacement.marks) keys.insert(key);
  for (const auto& [key, mark] : home.marks) keys.insert(key);
  for (const PartitionKey& key : keys) {
    ResumeStep step;
    step.partition = key;
    auto own = plan.replacement.marks.find(key);
    auto at_home = home.marks.find(key);
    step.topic = own != plan.replacement.marks.end() ? own->second.topic : at_home->second.topic;
    if (seen.planned.has_value()) step.from = OffsetOf(seen.planned->marks, key).value_or(-1);
    step.to = own != plan.replacement.marks.end() ? own->second.position.offset : 0;
    step.read_until = std::max(step.from, OffsetOf(home.marks, key).value_or(0));
    step.given_up_from = step.to;
    if (mode == ResumeMode::kContinue && !IsQuiet(seen, key)) {
      step.given_up_from = seen.newest.has_value() ? OffsetOf(seen.newest->marks, key).value_or(0) : -1;
    }
    plan.steps.push_back(std::move(step));
  }
}

// One edit of the home before the table's map is replaced, so that nobody takes the table for caught up in between.
class Listing {
 public:
  Listing(const ResumePlan& plan, const std::string& table, const std::string& reason, bool by_hand, int64_t now_ms)
      : plan_(plan), table_(table), reason_(reason), by_hand_(by_hand), now_ms_(now_ms) {}

  bool Apply(PositionsMap& map) const {
    bool changed = false;
    for (const auto& [key, mark] : map.marks) changed |= List(map, key, mark);
    for (const auto& [table, partitions] : plan_.rejects_back) {
      if (map.home->Find(table) == nullptr) continue;
      for (const auto& [key, below] : partitions) changed |= ListRejects(map, table, key, below);
    }
    return ForgetRejects(map) || changed;
  }

 private:
  bool List(PositionsMap& map, const PartitionKey& key, const Mark& low_water) const {
    const int64_t own = OffsetOf(plan_.replacement.marks, key).value_or(0);
    int64_t read_until = low_water.position.offset;
    // Another worker that has read up to here, and nothing since, moves H over it.
    const std::optional<PositionsMap>& planned = plan_.replacement.planned;
    if (planned.has_value()) read_until = std::max(read_until, OffsetOf(planned->marks, key).value_or(0));
    DetachedEntry* entry = map.home->FindDetached(table_, key);
    if (entry == nullptr) {
      if (own >= read_until && !plan_.others_unknown) return false;
      map.home->detached.push_back(DetachedEntry{table_, key, low_water.topic, reason_, now_ms_, by_hand_,
                                                 RejectedBelowOf(map, plan_.rejects_table, key),
                                                 std::min(own, low_water.position.offset), own});
      return true;
    }
    if (!by_hand_ && entry->reason == reason_) return false;  // tried before
    MakeAnew(*entry, now_ms_);
    SetBack(*entry, own);
    if (!by_hand_) entry->reason = reason_;
    entry->hold |= by_hand_;
    return true;
  }

  bool ListRejects(PositionsMap& map, const std::string& table, const PartitionKey& key, int64_t below) const {
    DetachedEntry* entry = map.home->FindDetached(table, key);
    if (entry == nullptr) {
      auto mark = map.marks.find(key);
      if (mark == map.marks.end()) return false;
      map.home->detached.push_back(
          DetachedEntry{table, key, mark->second.topic, reason_, now_ms_, by_hand_, below,
                        mark->second.position.offset, mark->second.position.offset});
      return true;
    }
    if (entry->rejected_below <= below) return false;
    entry->rejected_below = below;
    MakeAnew(*entry, now_ms_);
    return true;
  }

  // Tables that were detached since the plan was made: the rejects table's own map tells what it has of them.
  bool ForgetRejects(PositionsMap& map) const {
    if (!plan_.entries_planned.has_value()) return false;
    bool changed = false;
    for (DetachedEntry& entry : map.home->detached) {
      if (entry.table == plan_.rejects_table || entry.rejected_below == 0) continue;
      if (plan_.entries_planned->contains({entry.table, entry.partition})) continue;
      if (auto back = plan_.rejects_back.find(entry.table); back != plan_.rejects_back.end()) {
        if (back->second.contains(entry.partition)) continue;  // listed just now
      }
      entry.rejected_below = 0;
      MakeAnew(entry, now_ms_);
      changed = true;
    }
    return changed;
  }

  const ResumePlan& plan_;
  const std::string& table_;
  const std::string& reason_;
  const bool by_hand_;
  const int64_t now_ms_;
};

bool WasHeld(const PositionsMap& map, const DetachedEntry& entry) {
  const DetachedEntry* before = map.home.has_value() ? map.home->FindDetached(entry.table, entry.partition) : nullptr;
  return before != nullptr && before->hold;
}

}  // namespace

void MakeAnew(DetachedEntry& entry, int64_t now_ms) {
  entry.since_ms = std::max(now_ms, entry.since_ms + 1);
}

void SetBack(DetachedEntry& entry, int64_t offset) {
  entry.home_offset = std::min(entry.home_offset, offset);
  entry.rows_below = std::min(entry.rows_below, offset);
}

int64_t RejectedBelowOf(const PositionsMap& home, const std::string& rejects_table, const PartitionKey& partition) {
  if (home.home.has_value() && home.home->FindDetached(rejects_table, partition) != nullptr) return 0;
  return OffsetOf(home.marks, partition).value_or(0);
}

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
      decision.next.rejected = replacement.rejected;
    }
    for (const auto& [key, mark] : replacement.marks) decision.next.marks[key] = mark;
    if (decision.next.home.has_value()) {
      for (DetachedEntry& entry : decision.next.home->detached) {
        if (auto to = OffsetOf(replacement.marks, entry.partition)) SetBack(entry, *to);
      }
    }
    if (decision.next.rules_hash.empty()) decision.next.rules_hash = rules_hash;
    if (!StandsAsPlanned(replacement, stands)) {
      // An answer of ours may have been lost.
      const bool done = stands.has_value() && stands->marks == decision.next.marks &&
                        stands->rejected == decision.next.rejected;
      decision.outcome = done ? CommitOutcome::kAlreadyDone : CommitOutcome::kMismatch;
      decision.reason = "positions moved meanwhile; stop the workers or run it again";
    }
    return decision;
  };
  return RequireCommitted(committer.Commit(table, request, stop), table.name());
}

Result<ResumePlan> PlanResume(const iceberg::LoadedTable& loaded, const PositionsMap& home,
                              const PipelineOptions& options, ResumeMode mode, env::ObjectStore& store) {
  const std::string table = loaded.identifier.ToString();
  ResumePlan plan;
  plan.table_uuid = loaded.metadata.table_uuid;
  plan.rejects_table = options.rejects_table;
  plan.replacement.replace_all = true;
  Seen seen;
  FIRN_ASSIGN(seen.planned, MapOf(loaded.metadata, options.pipeline));
  Result<PositionsMap> rewound = MapToRewindTo(loaded.metadata, table, options.pipeline, store);
  if (rewound.has_value()) seen.newest = *rewound;
  const ErrorCode code = rewound.has_value() ? ErrorCode::kNotFound : rewound.error().code();
  if (code != ErrorCode::kNotFound && code != ErrorCode::kCorruption) return std::unexpected(rewound.error());
  if (mode == ResumeMode::kRewind && !rewound.has_value()) {
    Error error = std::move(rewound.error()).WithContext(fmt::format("table '{}'", table));
    return Fail(error.code(), fmt::format("{}; use --continue", error.message()));
  }
  const ListedTable* listed = home.home.has_value() ? home.home->Find(table) : nullptr;
  seen.trusted = IsTrusted(seen.planned, plan.table_uuid, listed);
  plan.others_unknown = mode == ResumeMode::kRewind && !seen.trusted;
  plan.replacement.planned = seen.planned;
  if (mode == ResumeMode::kRewind) {
    plan.replacement.marks = seen.newest->marks;
    plan.note = fmt::format("back to snapshot {}: later records are read again", seen.newest->snapshot_id);
  } else {
    plan.replacement.marks = MarksToContinue(seen.planned, seen.newest, KnownToHome(home, table), plan.table_uuid,
                                             plan.note);
  }
  const bool has_own = seen.planned.has_value() && seen.planned->table_uuid == plan.table_uuid;
  Marks own = seen.newest.has_value() ? seen.newest->marks : Marks();
  if (mode == ResumeMode::kContinue && has_own) own = plan.replacement.marks;
  TakeQuietFromHome(plan.replacement.marks, seen, home, table, mode);
  if (table == options.rejects_table && home.home.has_value()) PlanRejected(plan, seen, home, mode, own);
  if (seen.newest.has_value()) {
    // Rows that were lost are no proof of anything any more.
    plan.replacement.rows_snapshot_id = seen.newest->rows_snapshot_id;
    plan.replacement.rows_sequence_number = seen.newest->rows_sequence_number;
  }
  AddSteps(plan, home, mode, seen);
  return plan;
}

Status CarryOutResume(const ResumePlan& plan, Home& home, MapCommitter& committer, TableState& table,
                      const std::string& reason, bool by_hand, std::stop_token stop) {
  const PositionsMap before = home.map();
  const Listing listing(plan, table.name(), reason, by_hand, committer.clock().WallMs());
  auto list = [&](PositionsMap& map) -> Result<bool> { return listing.Apply(map); };
  FIRN_TRY(RequireCommitted(home.Edit(list, {}, stop), home.name()));
  Status replaced = ReplaceMap(committer, table, plan.replacement, home.rules_hash(), stop);
  if (!replaced.has_value() && !by_hand) return replaced;
  const int64_t sequence_number = table.map().has_value() ? table.map()->sequence_number : 0;
  auto finish = [&](PositionsMap& map) -> Result<bool> {
    ListedTable* listed = map.home->Find(table.name());
    if (listed != nullptr && replaced.has_value()) {
      *listed = ListedTable{table.name(), plan.table_uuid, ListedState::kAttached, {}, sequence_number};
    }
    for (DetachedEntry& entry : map.home->detached) {
      const bool is_own = entry.table == table.name();
      if (!is_own && !plan.rejects_back.contains(entry.table)) continue;
      // An earlier attempt may have put it there and ended.
      const bool was_held = WasHeld(before, entry) && (is_own || entry.reason != reason);
      if ((is_own && replaced.has_value()) || (by_hand && !was_held)) entry.hold = false;
    }
    return true;
  };
  Status finished = RequireCommitted(home.Edit(finish, {}, stop), home.name());
  FIRN_TRY(replaced);
  return finished;
}

}  // namespace firn::ingest
