#include "firn/ingest/positions_admin.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "firn/base/encoding.h"
#include "firn/ingest/history.h"
#include "firn/ingest/home.h"
#include "firn/ingest/rules.h"

namespace firn::ingest {
namespace {

std::string PartitionText(const PartitionKey& key, const Mark& mark) {
  return fmt::format("{}/{}", mark.topic, key.partition);
}

// A commit with a new map would make a changed history look like an unchanged one.
Error NothingToBuildUpon(const TablePositions& table) {
  return Error(ErrorCode::kConflict,
               fmt::format("what the table says of its positions cannot be built upon; 'firn positions resume' comes "
                           "first: table '{}': {}",
                           table.table, table.problem));
}

}  // namespace

Result<std::string> ParseTopicId(std::string_view text) {
  constexpr std::string_view kByName = "name:";
  constexpr size_t kBase64Length = 22;
  if (text.starts_with(kByName) && text.size() > kByName.size()) return std::string(text);
  Uuid uuid{};
  bool valid = ParseUuid(text, uuid);
  std::string bytes;
  if (!valid && text.size() == kBase64Length && Base64DecodeTo(text, bytes) && bytes.size() == uuid.size()) {
    std::ranges::copy(bytes, uuid.begin());
    // The last character has four bits to spare, which no writer sets: a slip of the pen is not another topic.
    std::string again = Base64Encode(bytes).substr(0, kBase64Length);
    std::ranges::replace(again, '+', '-');
    std::ranges::replace(again, '/', '_');
    valid = again == text;
  }
  if (valid && uuid != Uuid{}) return FormatUuid(uuid);  // zero is what a broker says that gives topics no ids
  return Fail(ErrorCode::kInvalidInput,
              fmt::format("a topic id is a UUID (36 characters, f0f40f6c-..., as 'firn positions show' prints it), "
                          "Kafka's base64 of it (22 characters, 8PQPbA..., as 'kafka-topics.sh --describe' prints "
                          "it), or name:<topic> under 'topic_identity: name': '{}'",
                          text));
}

PositionsAdmin::PositionsAdmin(const PipelineOptions& options, iceberg::Catalog& catalog, env::ObjectStore& store,
                               env::Clock& clock, env::Random& random)
    : options_(options),
      catalog_(catalog),
      store_(store),
      clock_(clock),
      random_(random),
      committer_(catalog, store, clock, random,
                 CommitterIdentity{options.pipeline, options.worker, options.group_id, options.expiry_grace_ms}),
      rules_hash_(RulesHash(options.tables)) {}

Result<std::vector<TablePositions>> PositionsAdmin::FindFedTables(const std::optional<PositionsMap>& home) {
  std::set<std::vector<std::string>> namespaces;
  std::set<std::string> names;
  auto add = [&](const std::string& table) -> Status {
    FIRN_ASSIGN(iceberg::TableIdentifier identifier, iceberg::TableIdentifier::Parse(table));
    namespaces.insert(identifier.namespace_levels);
    return {};
  };
  for (const TableRule& rule : options_.tables) {
    if (!rule.is_template()) FIRN_TRY(add(rule.name));
  }
  FIRN_TRY(add(options_.home_table));
  FIRN_TRY(add(options_.rejects_table));
  for (const std::vector<std::string>& levels : namespaces) {
    FIRN_ASSIGN(bool exists, catalog_.NamespaceExists(levels));
    if (!exists) continue;
    FIRN_ASSIGN(std::vector<iceberg::TableIdentifier> tables, catalog_.ListTables(levels));
    for (const iceberg::TableIdentifier& table : tables) names.insert(table.ToString());
  }
  if (home.has_value() && home->home.has_value()) {
    for (const ListedTable& listed : home->home->tables) names.insert(listed.table);
  }
  names.erase(options_.home_table);

  std::vector<TablePositions> found;
  for (const std::string& name : names) {
    TablePositions table;
    table.table = name;
    table.listed = home.has_value() && home->home.has_value() && home->home->Find(name) != nullptr;
    FIRN_ASSIGN(iceberg::TableIdentifier identifier, iceberg::TableIdentifier::Parse(name));
    Result<iceberg::LoadedTable> loaded = catalog_.LoadTable(identifier);
    if (!loaded.has_value()) {
      if (!table.listed) continue;
      table.problem = loaded.error().ToString();
      found.push_back(std::move(table));
      continue;
    }
    Result<std::optional<PositionsMap>> map = MapOf(loaded->metadata, options_.pipeline);
    if (!map.has_value()) {
      table.problem = map.error().ToString();
    } else if (map->has_value()) {
      table.map = std::move(*map);
      const ListedTable* listed = table.listed ? home->home->Find(name) : nullptr;
      Result<HistoryVerdict> verdict = JudgeHistory(loaded->metadata, name, options_.pipeline, *table.map, store_,
                                                    listed == nullptr ? 0 : listed->sequence_number);
      if (!verdict.has_value()) {
        table.problem = verdict.error().ToString();
      } else if (!verdict->unchanged) {
        table.problem = verdict->reason;
      } else if (listed != nullptr) {
        table.problem = SwappedReason(loaded->metadata, *listed);
      }
    } else if (table.listed) {
      table.problem = "listed by the home, but without positions";
    } else {
      continue;  // somebody else's table
    }
    found.push_back(std::move(table));
  }
  return found;
}

Result<PipelinePositions> PositionsAdmin::Show() {
  PipelinePositions shown;
  shown.home_table = options_.home_table;
  FIRN_ASSIGN(iceberg::TableIdentifier home_identifier, iceberg::TableIdentifier::Parse(options_.home_table));
  Result<iceberg::LoadedTable> home = catalog_.LoadTable(home_identifier);
  if (home.has_value()) {
    FIRN_ASSIGN(shown.home, MapOf(home->metadata, options_.pipeline));
  } else if (home.error().code() != ErrorCode::kNotFound) {
    return std::unexpected<Error>(std::move(home.error()));
  }
  FIRN_ASSIGN(shown.tables, FindFedTables(shown.home));
  return shown;
}

Result<std::vector<AdminChange>> PositionsAdmin::Set(const SetRequest& request, bool dry_run, std::stop_token stop) {
  FIRN_ASSIGN(iceberg::TableIdentifier home_identifier, iceberg::TableIdentifier::Parse(options_.home_table));
  FIRN_ASSIGN(PipelinePositions shown, Show());
  if (!shown.home.has_value()) {
    return Fail(ErrorCode::kNotFound,
                fmt::format("there is no home table yet; start the pipeline once, or 'firn positions "
                            "rebuild': '{}'",
                            options_.home_table));
  }
  Marks wanted;
  for (const auto& [key, mark] : shown.home->marks) {
    bool named = mark.topic == request.topic &&
                 (!request.partition.has_value() || *request.partition == key.partition) &&
                 (request.cluster_id.empty() || request.cluster_id == key.cluster_id) &&
                 (request.topic_id.empty() || request.topic_id == key.topic_id);
    if (named) wanted[key] = Mark{mark.topic, stream::Position{request.offset, -1, -1}};
  }
  if (wanted.empty() && !request.cluster_id.empty() && !request.topic_id.empty() && request.partition.has_value()) {
    wanted[PartitionKey{request.cluster_id, request.topic_id, *request.partition}] =
        Mark{request.topic, stream::Position{request.offset, -1, -1}};
  }
  if (wanted.empty()) {
    return Fail(ErrorCode::kNotFound,
                fmt::format("the home knows no such partition; for a new one give --cluster-id, --topic-id and "
                            "--partition: topic '{}'",
                            request.topic));
  }
  if (!request.table.empty()) return SetTable(request.table, wanted, shown, dry_run, stop);
  std::vector<AdminChange> changes;
  auto plan = [&](const std::string& table, const Marks& stands, const std::string& note) {
    for (const auto& [key, mark] : wanted) {
      changes.push_back(
          {table, PartitionText(key, mark), OffsetOf(stands, key).value_or(-1), mark.position.offset, note});
    }
  };
  plan(options_.home_table, shown.home->marks, "H");
  if (request.tables_too) {
    for (const TablePositions& table : shown.tables) {
      if (!table.problem.empty()) return std::unexpected<Error>(NothingToBuildUpon(table));
      if (table.map.has_value()) plan(table.table, table.map->marks, "T");
    }
  }
  if (dry_run) return changes;
  // Tables first: a worker that reads from an H that was moved back must not find a table that is still ahead by
  // mistake.
  if (request.tables_too) {
    for (const TablePositions& table : shown.tables) {
      if (!table.map.has_value()) continue;
      FIRN_ASSIGN(iceberg::TableIdentifier identifier, iceberg::TableIdentifier::Parse(table.table));
      TableState state(std::move(identifier));
      FIRN_TRY(ReplaceMap(committer_, state, {.planned = table.map, .marks = wanted}, rules_hash_, stop));
    }
  }
  TableState home_state(std::move(home_identifier));
  FIRN_TRY(ReplaceMap(committer_, home_state, {.planned = shown.home, .marks = wanted}, rules_hash_, stop));
  return changes;
}

// The table's own positions alone. In between the partitions are on hold, so that no worker takes the table for caught
// up before its positions have moved, nor lets it catch up from where it stood.
Result<std::vector<AdminChange>> PositionsAdmin::SetTable(const std::string& name, const Marks& wanted,
                                                          const PipelinePositions& shown, bool dry_run,
                                                          std::stop_token stop) {
  auto table = std::find_if(shown.tables.begin(), shown.tables.end(),
                            [&](const TablePositions& each) { return each.table == name; });
  if (table == shown.tables.end() || !table->listed) {
    return Fail(ErrorCode::kNotFound,
                fmt::format("the pipeline does not feed such a table; 'firn positions show' lists them: '{}'", name));
  }
  if (!table->map.has_value() && shown.home->home->Find(name)->state == ListedState::kAttaching) {
    return SetListing(name, wanted, shown, dry_run, stop);
  }
  if (!table->problem.empty() || !table->map.has_value()) {
    return std::unexpected<Error>(NothingToBuildUpon(*table));
  }
  std::vector<AdminChange> changes;
  std::vector<DetachedEntry> held;
  for (const auto& [key, mark] : wanted) {
    const DetachedEntry* entry = shown.home->home->FindDetached(name, key);
    const int64_t low_water = OffsetOf(shown.home->marks, key).value_or(0);
    const int64_t from = OffsetOf(table->map->marks, key).value_or(-1);
    // A worker that has read what the table is ahead by moves H over it.
    const int64_t read_until = std::max(low_water, from);
    const bool behind = mark.position.offset < read_until;
    std::string note = "T";
    if (behind) note += fmt::format("; the table catches up to {}", read_until);
    if (entry != nullptr && !behind) note += "; no longer detached";
    if (entry != nullptr && !behind && entry->rejected_below < from) {
      note += fmt::format("; its rejects from {} on that are not written yet are given up, too", entry->rejected_below);
    }
    if (entry != nullptr && behind && entry->hold) note += "; no longer on hold";
    changes.push_back({name, PartitionText(key, mark), from, mark.position.offset, note});
    if (!behind && entry == nullptr) continue;
    held.push_back(DetachedEntry{name, key, mark.topic, "positions set by hand", clock_.WallMs(), true,
                                 RejectedBelowOf(*shown.home, options_.rejects_table, key),
                                 std::min(low_water, mark.position.offset), mark.position.offset});
  }
  if (dry_run) return changes;
  FIRN_ASSIGN(iceberg::TableIdentifier home_identifier, iceberg::TableIdentifier::Parse(options_.home_table));
  Home home(committer_, std::move(home_identifier), shown.home->rules_hash);
  FIRN_TRY(home.Open(stop));
  auto hold = [&](PositionsMap& map) -> Result<bool> {
    for (const DetachedEntry& each : held) {
      if (DetachedEntry* entry = map.home->FindDetached(name, each.partition)) {
        MakeAnew(*entry, clock_.WallMs());
        SetBack(*entry, each.rows_below);
        entry->hold = true;
      } else {
        map.home->detached.push_back(each);
      }
    }
    return !held.empty();
  };
  FIRN_TRY(RequireCommitted(home.Edit(hold, {}, stop), home.name()));
  FIRN_ASSIGN(iceberg::TableIdentifier identifier, iceberg::TableIdentifier::Parse(name));
  TableState state(std::move(identifier));
  Status moved = ReplaceMap(committer_, state, {.planned = table->map, .marks = wanted}, rules_hash_, stop);
  auto lift = [&](PositionsMap& map) -> Result<bool> {
    for (const DetachedEntry& each : held) {
      const DetachedEntry* before = shown.home->home->FindDetached(name, each.partition);
      if (!moved.has_value() && before != nullptr && before->hold) continue;
      if (DetachedEntry* entry = map.home->FindDetached(name, each.partition)) entry->hold = false;
    }
    // Nothing is left to catch up with, and no lane may ever come that would find that out: the log, or the rule that
    // fed the table, may be gone.
    if (moved.has_value()) {
      std::erase_if(map.home->detached, [&](const DetachedEntry& entry) {
        auto to = wanted.find(entry.partition);
        if (entry.table != name || to == wanted.end()) return false;
        const int64_t read_until = std::max(OffsetOf(map.marks, entry.partition).value_or(0),
                                            OffsetOf(table->map->marks, entry.partition).value_or(0));
        return to->second.position.offset >= read_until;
      });
    }
    return !held.empty();
  };
  Status lifted = RequireCommitted(home.Edit(lift, {}, stop), home.name());
  FIRN_TRY(moved);
  FIRN_TRY(lifted);
  return changes;
}

// A table that could not be opened or made yet: where it will begin stands in the home alone.
Result<std::vector<AdminChange>> PositionsAdmin::SetListing(const std::string& name, const Marks& wanted,
                                                            const PipelinePositions& shown, bool dry_run,
                                                            std::stop_token stop) {
  std::vector<AdminChange> changes;
  for (const auto& [key, mark] : wanted) {
    const int64_t low_water = OffsetOf(shown.home->marks, key).value_or(0);
    const bool behind = mark.position.offset < low_water;
    changes.push_back({name, PartitionText(key, mark),
                       OffsetOf(shown.home->home->Find(name)->marks_at_listing, key).value_or(-1), mark.position.offset,
                       behind ? fmt::format("T of a table that is not there yet; it catches up to {}", low_water)
                              : "T of a table that is not there yet; no longer detached"});
  }
  if (dry_run) return changes;
  FIRN_ASSIGN(iceberg::TableIdentifier home_identifier, iceberg::TableIdentifier::Parse(options_.home_table));
  Home home(committer_, std::move(home_identifier), shown.home->rules_hash);
  FIRN_TRY(home.Open(stop));
  auto edit = [&](PositionsMap& map) -> Result<bool> {
    ListedTable* listed = map.home->Find(name);
    if (listed == nullptr || listed->state != ListedState::kAttaching) {
      return Fail(ErrorCode::kConflict, fmt::format("the table was attached meanwhile; run it again: '{}'", name));
    }
    for (const auto& [key, mark] : wanted) {
      listed->marks_at_listing[key] = mark;
      const int64_t offset = mark.position.offset;
      if (DetachedEntry* entry = map.home->FindDetached(name, key)) {
        MakeAnew(*entry, clock_.WallMs());
        SetBack(*entry, offset);
        entry->hold = false;
      } else if (offset < OffsetOf(map.marks, key).value_or(0)) {
        map.home->detached.push_back(DetachedEntry{name, key, mark.topic, "positions set by hand", clock_.WallMs(),
                                                   false, RejectedBelowOf(map, options_.rejects_table, key), offset,
                                                   offset});
      }
    }
    std::erase_if(map.home->detached, [&](const DetachedEntry& entry) {
      auto to = wanted.find(entry.partition);
      if (entry.table != name || to == wanted.end()) return false;
      return to->second.position.offset >= OffsetOf(map.marks, entry.partition).value_or(0);
    });
    return true;
  };
  FIRN_TRY(RequireCommitted(home.Edit(edit, {}, stop), home.name()));
  return changes;
}

Result<std::vector<AdminChange>> PositionsAdmin::Resume(const std::string& table, ResumeMode mode, bool dry_run,
                                                        std::stop_token stop) {
  FIRN_ASSIGN(PipelinePositions shown, Show());
  if (!shown.home.has_value() || !shown.home->home.has_value() || shown.home->home->Find(table) == nullptr) {
    return Fail(ErrorCode::kNotFound,
                fmt::format("the pipeline does not feed such a table; 'firn positions show' lists "
                            "them: '{}'",
                            table));
  }
  FIRN_ASSIGN(iceberg::TableIdentifier identifier, iceberg::TableIdentifier::Parse(table));
  TableState state(identifier);
  FIRN_TRY(committer_.Reload(state));
  FIRN_ASSIGN(ResumePlan plan, PlanResume(*state.loaded(), *shown.home, options_, mode, store_));
  std::vector<AdminChange> changes;
  for (const ResumeStep& step : plan.steps) {
    std::string note = plan.note;
    if (step.given_up_from < 0) note += "; rows before may be missing";
    if (step.given_up_from >= 0 && step.given_up_from < step.to) {
      note += fmt::format("; rows of offsets {} to {} may be missing", step.given_up_from, step.to);
    }
    changes.push_back({table, fmt::format("{}/{}", step.topic, step.partition.partition), step.from, step.to, note});
  }
  if (dry_run) return changes;
  FIRN_ASSIGN(iceberg::TableIdentifier home_identifier, iceberg::TableIdentifier::Parse(options_.home_table));
  Home home(committer_, home_identifier, shown.home->rules_hash);
  FIRN_TRY(home.Open(stop));
  FIRN_TRY(CarryOutResume(plan, home, committer_, state, "resumed", true, stop));
  return changes;
}

Result<std::vector<AdminChange>> PositionsAdmin::Rebuild(bool dry_run, std::stop_token stop) {
  FIRN_ASSIGN(iceberg::TableIdentifier home_identifier, iceberg::TableIdentifier::Parse(options_.home_table));
  FIRN_ASSIGN(PipelinePositions shown, Show());
  if (shown.home.has_value() && shown.home->home.has_value() && !shown.home->home->tables.empty()) {
    return Fail(ErrorCode::kAlreadyExists,
                fmt::format("the home table is there and lists {} tables; rebuilding is only for a lost one: '{}'",
                            shown.home->home->tables.size(), options_.home_table));
  }
  std::set<PartitionKey> keys;
  for (const TablePositions& table : shown.tables) {
    if (!table.map.has_value()) continue;
    for (const auto& [key, mark] : table.map->marks) keys.insert(key);
  }
  Marks marks;
  HomeRecord record;
  for (const TablePositions& table : shown.tables) {
    if (!table.map.has_value()) continue;
    record.tables.push_back(
        ListedTable{table.table, table.map->table_uuid, ListedState::kAttached, {}, table.map->sequence_number});
    for (const PartitionKey& key : keys) {
      // A table that does not name the partition has read nothing of it: position 0 (positions.md, section 5.4).
      auto own = table.map->marks.find(key);
      Mark stands = own == table.map->marks.end() ? Mark{} : own->second;
      auto [at, fresh] = marks.emplace(key, stands);
      if (!fresh && stands.position.offset < at->second.position.offset) at->second.position = stands.position;
      if (at->second.topic.empty()) at->second.topic = stands.topic;
    }
  }
  if (record.tables.empty()) {
    return Fail(ErrorCode::kNotFound,
                fmt::format("no table in the configured namespaces has positions of pipeline '{}'", options_.pipeline));
  }
  std::vector<AdminChange> changes;
  for (const auto& [key, mark] : marks) {
    changes.push_back(
        {options_.home_table, PartitionText(key, mark), -1, mark.position.offset, "H, smallest of all tables"});
  }
  if (dry_run) return changes;
  Home home(committer_, home_identifier, rules_hash_);
  FIRN_TRY(home.Open(stop));
  FIRN_TRY(RequireCommitted(home.Edit(
                                [&](PositionsMap& map) -> Result<bool> {
                                  map.marks = marks;
                                  map.home = record;
                                  return true;
                                },
                                {}, stop),
                            home.name()));
  return changes;
}

}  // namespace firn::ingest
