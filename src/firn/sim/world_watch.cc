// What the World sees of each commit at the instant at which it is applied, and of each group offset: what holds at all
// times, and what others' deeds excuse from when on.
#include <fmt/format.h>

#include <algorithm>

#include "firn/ingest/sinks.h"
#include "firn/ingest/table_state.h"
#include "firn/sim/world_state.h"

namespace firn::sim {
namespace {

std::optional<ingest::PositionsMap> MapIn(const iceberg::TableMetadata& metadata, const std::string& pipeline) {
  return ingest::MapOf(metadata, pipeline).value_or(std::nullopt);
}

std::string ToText(const ingest::Marks& marks) {
  std::string text;
  for (const auto& [key, mark] : marks) {
    text += fmt::format(" {}/{}:{}", key.topic_id, key.partition, mark.position.offset);
  }
  return text;
}

// What a reader of a trace needs of it.
std::string ToText(const ingest::PositionsMap& map) {
  std::string text = ToText(map.marks);
  for (const auto& [table, marks] : map.rejected) text += fmt::format(", rejects of {}{}", table, ToText(marks));
  if (!map.home.has_value()) return text;
  for (const ingest::DetachedEntry& entry : map.home->detached) {
    text += fmt::format(", detached {} {}/{} rejected_below {}{}", entry.table, entry.partition.topic_id,
                        entry.partition.partition, entry.rejected_below, entry.hold ? " hold" : "");
  }
  return text;
}

bool RaisesCut(const ingest::PositionsMap& before, const ingest::PositionsMap& after) {
  return std::ranges::any_of(after.home->cut, [&](const auto& cut) {
    const auto known = before.home.has_value() ? ingest::OffsetOf(before.home->cut, cut.first) : std::nullopt;
    return cut.second.position.offset > known.value_or(0);
  });
}

bool AddsRows(const iceberg::TableMetadata& metadata) {
  const iceberg::Snapshot* current = metadata.CurrentSnapshot();
  if (current == nullptr) return false;
  auto rows = current->summary.find("firn.rows");
  return rows != current->summary.end() && rows->second != "0";
}

}  // namespace

ingest::HistoryPolicy World::PolicyOf(const std::string& table) const {
  const ingest::PipelineOptions& pipeline = plan_.pipeline;
  if (table == pipeline.rejects_table) return ingest::HistoryPolicyOf(pipeline, nullptr);
  for (const ingest::TableRule& rule : pipeline.tables) {
    if (rule.name == table || rule.is_template()) return ingest::HistoryPolicyOf(pipeline, &rule);
  }
  return pipeline.history_policy;
}

void World::SeeCommit(const CatalogServer::Change& change) {
  std::optional<ingest::PositionsMap> before = MapIn(change.before, plan_.pipeline.pipeline);
  const std::optional<ingest::PositionsMap> after = MapIn(change.after, plan_.pipeline.pipeline);
  if (!after.has_value() || after->snapshot_id != change.after.current_snapshot_id) return;  // it says no positions
  if (!change.by_worker && person_ == PersonDeed::kNone) return;  // a stranger's: see ForeignHands
  if (options_.trace) Trace(fmt::format("   {} says{}", change.table, ToText(*after)));
  if (!before.has_value()) before.emplace();
  if (change.table == plan_.pipeline.home_table) {
    SeeHome(*before, *after, change.by_worker);
  } else {
    SeeTable(change, *before, *after);
  }
}

// Nobody but a person and the policy `rewind` sets positions back.
void World::ForbidGoingBack(const std::string& table, const ingest::Marks& before, const ingest::Marks& after) {
  for (const auto& [key, mark] : before) {
    const int64_t now = ingest::OffsetOf(after, key).value_or(0);
    if (now >= mark.position.offset) continue;
    Violation(fmt::format("position_went_back: table '{}', {}/{}: a worker set {} to {}", table, key.topic_id,
                          key.partition, mark.position.offset, now));
  }
}

void World::SeeHome(const ingest::PositionsMap& before, const ingest::PositionsMap& after, bool by_worker) {
  if (by_worker) ForbidGoingBack(plan_.pipeline.home_table, before.marks, after.marks);
  for (const auto& [key, mark] : after.marks) {
    home_offsets_[key].insert(mark.position.offset);
    if (by_worker && !before.marks.contains(key)) SeeStart(before, key, mark);
  }
  NoteReached(after);
  if (before.rules_hash.empty() || !after.home.has_value()) return;
  const bool adopted = before.rules_hash != after.rules_hash;
  if (adopted) faults_.Note(FaultKind::kRulesChanged, "is met");
  if (adopted && plan_.reroutes) faults_.Note(FaultKind::kRecordsRerouted, "is met");
  if (!adopted && !RaisesCut(before, after)) return;
  // From H to where any table stands now the old rules were at work: when new ones are adopted, and when a table is
  // fenced that old ones have written to since.
  for (const ingest::ListedTable& listed : after.home->tables) {
    const auto identifier = iceberg::TableIdentifier::Parse(listed.table).value();
    const iceberg::TableMetadata* metadata = catalog_.Find(identifier);
    if (metadata == nullptr) continue;
    const auto map = MapIn(*metadata, plan_.pipeline.pipeline);
    if (!map.has_value()) continue;
    for (const auto& [key, mark] : map->marks) {
      const int64_t from = ingest::OffsetOf(after.marks, key).value_or(0);
      if (mark.position.offset > from) expectation_.in_doubt.push_back({key, from, mark.position.offset, ""});
      // Nobody has judged a detached table's records since H passed them.
      const ingest::DetachedEntry* entry = after.home->FindDetached(listed.table, key);
      const int64_t passed = entry == nullptr || entry->home_offset < 0 ? from : entry->home_offset;
      const int64_t to = std::min(from, mark.position.offset);
      if (passed < to) expectation_.in_doubt.push_back({key, passed, to, listed.table});
    }
  }
}

// Below H a table that is not detached has all its rows, says the pipeline.
void World::NoteReached(const ingest::PositionsMap& home) {
  if (!home.home.has_value()) return;
  for (const ingest::ListedTable& listed : home.home->tables) {
    if (listed.state != ingest::ListedState::kAttached) continue;
    for (const auto& [key, mark] : home.marks) {
      if (home.home->FindDetached(listed.table, key) != nullptr) continue;
      RaiseReached(listed.table, key, mark);
    }
  }
}

void World::RaiseReached(const std::string& table, const ingest::PartitionKey& key, const ingest::Mark& mark) {
  auto [at, fresh] = reached_[table].emplace(key, mark);
  if (!fresh && at->second.position.offset < mark.position.offset) at->second = mark;
}

// The first word of a partition: by the start policy where the topic is new, at its beginning where it is known.
void World::SeeStart(const ingest::PositionsMap& before, const ingest::PartitionKey& key, const ingest::Mark& mark) {
  auto log = history_.partitions().find(key);
  if (log == history_.partitions().end()) {
    return Violation(fmt::format("unknown_partition: the home names {}/{}", key.topic_id, key.partition));
  }
  const auto knows = [&](auto same) { return std::ranges::any_of(before.marks, same); };
  const bool topic_known = knows([&](const auto& one) { return one.first.topic_id == key.topic_id; });
  const bool name_known = knows([&](const auto& one) { return one.second.topic == mark.topic; });
  const bool latest = plan_.pipeline.start.kind == ingest::StartPolicy::Kind::kLatest && !name_known;
  const int64_t most = topic_known ? 0 : latest ? log->second.end_max : log->second.start;
  if (mark.position.offset > most) {
    Violation(fmt::format("wrong_start: {}/{} begins at {}, at most {} is right", key.topic_id, key.partition,
                          mark.position.offset, most));
  }
  expectation_.first_offsets[key] = mark.position.offset;
  // Whoever begins at the log's end counts on what is before it, as if it had been given out.
  PartitionHistory& begun = history_.partition(key);
  begun.delivered_end = std::max(begun.delivered_end, mark.position.offset);
}

void World::SeeTable(const CatalogServer::Change& change, const ingest::PositionsMap& before,
                     const ingest::PositionsMap& after) {
  const std::string& table = change.table;
  ingest::Marks& reached = reached_[table];
  const ingest::HistoryPolicy policy = PolicyOf(table);
  const bool rewind = change.by_worker ? policy == ingest::HistoryPolicy::kRewind : person_ == PersonDeed::kRewind;
  const bool goes_on = change.by_worker ? policy == ingest::HistoryPolicy::kContinue
                                        : person_ == PersonDeed::kContinue || person_ == PersonDeed::kSet;
  const bool resumes = !AddsRows(change.after) && (!change.by_worker || hands_.IsDisturbed(table));
  if (resumes && rewind) {
    hands_.Rewound(table);
  } else if (resumes && goes_on) {
    if (person_ != PersonDeed::kSet) hands_.Continued(table);
    // It goes on without what it had never reached.
    for (const auto& [key, mark] : after.marks) {
      const int64_t from = ingest::OffsetOf(reached, key).value_or(0);
      if (mark.position.offset > from) expectation_.given_up.push_back({table, key, from, mark.position.offset});
    }
  } else if (change.by_worker) {
    // Positions that somebody else has just restored may be those of a time when the table stood further.
    if (!hands_.IsDisturbed(table)) ForbidGoingBack(table, before.marks, after.marks);
    if (hands_.IsSetBack(table, change.before)) {
      Violation(fmt::format("unnoticed_change: table '{}': a worker goes on after its history was set back", table));
    }
    if (AddsRows(change.after)) hands_.WentOn(table);
  }
  if (resumes && (rewind || goes_on)) {
    expectation_.positions_may_go_back.insert(table);
    if (person_ != PersonDeed::kSet) hands_.NoteRowsAbove(table, change.before, after.marks);
  }
  if (resumes && rewind) reached.clear();
  for (const auto& [key, mark] : after.marks) RaiseReached(table, key, mark);
}

// Other people's tools take it for H: it has to be one that H was.
void World::SeeGroupOffset(const stream::SourcePartition& partition, int64_t offset) {
  auto seen = home_offsets_.find(ingest::PartitionKey{partition.cluster_id, partition.topic_id, partition.partition});
  if (seen != home_offsets_.end() && seen->second.contains(offset)) return;
  Violation(fmt::format("wrong_group_offset: {}/{}: {} was never the home's", partition.topic_id, partition.partition,
                        offset));
}

}  // namespace firn::sim
