#include "firn/sim/checker.h"

#include <fmt/format.h>

#include <algorithm>

#include "firn/ingest/table_state.h"
#include "firn/sim/table_contents.h"

namespace firn::sim {
namespace {

using ingest::PartitionKey;

constexpr std::string_view kCodeNames[] = {
    "lost_row",         "lost_below_home",   "lost_reject",         "lost_drop",         "doubled_row",
    "doubled_reject",   "beyond_position",   "never_readable",      "unknown_row",       "wrong_table",
    "wrong_value",      "unexpected_reject", "vanished_row",        "not_caught_up",     "position_went_back",
    "position_beyond_log", "missing_file",   "wrong_file_size",     "wrong_record_count", "wrong_bounds",
    "wrong_partition", "file_listed_twice",  "unreadable",          "table_missing",     "wrong_uuid",
    "foreign_delete_files", "resurrected_row",
};
static_assert(std::size(kCodeNames) == static_cast<size_t>(ViolationCode::kResurrectedRow) + 1);

constexpr std::string_view kExcuseNames[] = {"unchecked_table", "removed",         "given_up",   "log_lost",
                                             "stands_still",    "drop_uncounted", "comes_twice"};
static_assert(std::size(kExcuseNames) == static_cast<size_t>(Excuse::kComesTwice) + 1);

constexpr const char* kDroppedSummary = "firn.dropped-records";
constexpr std::string_view kRulesChangedCode = "rules_changed";
constexpr std::string_view kNoRouteCode = "no_route";

// One table as it stands now.
struct TableView {
  std::string name;
  bool is_rejects = false;
  bool checked = true;
  bool restored = false;                      // its positions are older than the home knows of, or put back by hand
  ingest::Marks marks;                        // T
  std::map<std::string, ingest::Marks> rejected;  // of the rejects table: how far it has the rejects of others
  std::map<int64_t, int> counts;              // id → how often; of the rejects table: by the record's id
};

// Of a record that cannot become a row.
std::string_view RejectCodeOf(ValueShape shape) {
  switch (shape) {
    case ValueShape::kEmpty:
    case ValueShape::kMalformed: return "malformed_json";
    case ValueShape::kWrongType: return "wrong_type";
    case ValueShape::kTombstone:
    case ValueShape::kUnroutable:
    case ValueShape::kRow: break;
  }
  return kNoRouteCode;
}

}  // namespace

std::string_view ViolationCodeName(ViolationCode code) {
  return kCodeNames[static_cast<size_t>(code)];
}

std::string_view ExcuseName(Excuse excuse) {
  return kExcuseNames[static_cast<size_t>(excuse)];
}

std::string Violation::ToString() const {
  std::string text = fmt::format("{}: table '{}'", ViolationCodeName(code), table);
  if (partition.has_value()) text += fmt::format(", {}/{}", partition->topic_id, partition->partition);
  if (offset >= 0) text += fmt::format(", offset {}", offset);
  if (id > 0) text += fmt::format(", id {}", id);
  if (!words.empty()) text += ": " + words;
  return text;
}

std::string CheckReport::ToString() const {
  std::string text = fmt::format("rows {}, rejects {}, dropped {}, demanded {}, files {}, partitions overtaken {}",
                                 rows, rejects, dropped, demanded, files, partitions_overtaken);
  for (const auto& [excuse, count] : excused) text += fmt::format(", excused {} {}", ExcuseName(excuse), count);
  text += fmt::format(", violations {}", violation_count);
  for (const auto& [code, count] : by_code) text += fmt::format(" {}={}", ViolationCodeName(code), count);
  for (const Violation& violation : violations) text += "\n  " + violation.ToString();
  return text;
}

struct Checker::Impl {
  iceberg::Catalog& catalog;
  env::ObjectStore& store;
  const ingest::PipelineOptions options;
  const LogHistory& history;
  TableContents contents;

  // Of the Check before.
  std::map<std::string, std::set<int64_t>> seen;
  std::map<std::string, ingest::Marks> marks_before;

  // Of the Check that goes on.
  const Expectation* expectation = nullptr;
  bool finished = false;
  bool drops_compared = false;
  CheckReport report;
  ingest::PositionsMap home;
  std::map<std::string, TableView> views;

  bool rejects_to_table() const { return options.reject_policy == ingest::RejectPolicy::kTable; }

  void Complain(Violation violation) {
    ++report.violation_count;
    if (++report.by_code[violation.code] <= kViolationsKeptMax) report.violations.push_back(std::move(violation));
  }
  void ComplainOf(ViolationCode code, const std::string& table, const ProducedRecord& record, std::string words) {
    Complain({code, table, record.partition, record.offset, record.id, std::move(words)});
  }

  // Loading.
  std::optional<iceberg::LoadedTable> Load(const std::string& name, bool must_exist);
  std::optional<ingest::PositionsMap> MapIn(const iceberg::LoadedTable& loaded);
  bool LoadHome();
  void LoadTables();
  void LoadTable(const std::string& name, const ingest::ListedTable* listed);
  void CountRows(TableView& view, const FileContents& file);
  void CountRejects(TableView& view, const FileContents& file);
  void CompareMarks(const std::string& name, const ingest::Marks& marks);

  // Judging.
  int64_t Position(const std::string& table, const PartitionKey& key) const;
  int64_t Covered(const std::string& table, const PartitionKey& key) const;
  bool MayLag(const std::string& table, const PartitionKey& key) const;
  bool IsGivenUp(const std::string& table, const ProducedRecord& record) const;
  bool IsInDoubt(const ProducedRecord& record) const;
  bool Names(const IdsByTable& lists, const std::string& table, int64_t id) const;
  Demand DemandIn(const std::string& table, const ProducedRecord& record) const;
  std::optional<Excuse> ExcuseOf(const std::string& table, const ProducedRecord& record) const;
  void CompareReject(const TableView& view, const ProducedRecord& record, const RejectRow& row);
  void JudgeRow(const ProducedRecord& record);
  void JudgeMovingRow(const ProducedRecord& record, const std::vector<std::string>& tables);
  bool MayBeIn(const ProducedRecord& record, const std::string& table) const;
  void JudgeCount(const std::string& table, const ProducedRecord& record, int count, bool may_double);
  void JudgeReject(const ProducedRecord& record);
  void JudgeAbsence(const std::string& table, const ProducedRecord& record, bool passed, ViolationCode code);
  void JudgeRejectsOfRow(const ProducedRecord& record);
  void Excused(Excuse excuse) { report.excused[excuse] += 1; }
  void CountDrops(const iceberg::TableMetadata& metadata);
  void JudgeDrops();
  void CompareSeen();
  void CountOvertaken();
};

std::optional<iceberg::LoadedTable> Checker::Impl::Load(const std::string& name, bool must_exist) {
  auto identifier = iceberg::TableIdentifier::Parse(name);
  if (!identifier.has_value()) return std::nullopt;
  auto loaded = catalog.LoadTable(*identifier);
  if (loaded.has_value()) return std::move(*loaded);
  if (loaded.error().code() != ErrorCode::kNotFound) {
    Complain({ViolationCode::kUnreadable, name, {}, -1, 0, loaded.error().ToString()});
  } else if (must_exist) {
    Complain({ViolationCode::kTableMissing, name, {}, -1, 0, ""});
  }
  return std::nullopt;
}

std::optional<ingest::PositionsMap> Checker::Impl::MapIn(const iceberg::LoadedTable& loaded) {
  auto map = ingest::MapOf(loaded.metadata, options.pipeline);
  if (map.has_value()) return std::move(*map);
  Complain({ViolationCode::kUnreadable, loaded.identifier.ToString(), {}, -1, 0, map.error().ToString()});
  return std::nullopt;
}

// False: there is no home, so nothing can have been committed.
bool Checker::Impl::LoadHome() {
  home = {};
  const bool known = marks_before.contains(options.home_table);
  if (expectation->unchecked_tables.contains(options.home_table)) return false;
  std::optional<iceberg::LoadedTable> loaded = Load(options.home_table, known || finished);
  if (!loaded.has_value()) return false;
  contents.Read(loaded->metadata, false, true, [&](ViolationCode code, std::string words) {
    Complain({code, options.home_table, {}, -1, 0, std::move(words)});
  });
  std::optional<ingest::PositionsMap> map = MapIn(*loaded);
  if (!map.has_value()) return known;
  home = std::move(*map);
  CompareMarks(options.home_table, home.marks);
  CountDrops(loaded->metadata);
  return true;
}

void Checker::Impl::LoadTables() {
  views.clear();
  std::map<std::string, const ingest::ListedTable*> names;
  for (const ingest::TableRule& rule : options.tables) {
    if (!rule.is_template()) names[rule.name] = nullptr;
  }
  if (rejects_to_table()) names[options.rejects_table] = nullptr;
  if (home.home.has_value()) {
    for (const ingest::ListedTable& listed : home.home->tables) names[listed.table] = &listed;
  }
  for (const auto& [name, listed] : names) LoadTable(name, listed);
}

void Checker::Impl::LoadTable(const std::string& name, const ingest::ListedTable* listed) {
  TableView& view = views[name];
  view.name = name;
  view.is_rejects = rejects_to_table() && name == options.rejects_table;
  view.checked = !expectation->unchecked_tables.contains(name);
  if (!view.checked) return;
  const bool attached = listed != nullptr && listed->state == ingest::ListedState::kAttached;
  std::optional<iceberg::LoadedTable> loaded = Load(name, attached);
  if (!loaded.has_value()) {
    view.checked = !attached;  // one complaint is enough
    return;
  }
  if (attached && !listed->table_uuid.empty() && listed->table_uuid != loaded->metadata.table_uuid &&
      !expectation->uuids_may_differ.contains(name)) {
    Complain({ViolationCode::kWrongUuid, name, {}, -1, 0,
              fmt::format("listed as {}: {}", listed->table_uuid, loaded->metadata.table_uuid)});
  }
  if (std::optional<ingest::PositionsMap> map = MapIn(*loaded)) {
    auto by_hand = expectation->restored.find(name);
    view.restored = (listed != nullptr && map->sequence_number < listed->sequence_number) ||
                    (by_hand != expectation->restored.end() &&
                     loaded->metadata.Property(ingest::PositionsProperty(options.pipeline)) == by_hand->second);
    view.marks = std::move(map->marks);
    view.rejected = std::move(map->rejected);
  }
  CompareMarks(name, view.marks);
  auto complain = [&](ViolationCode code, std::string words) {
    Complain({code, name, {}, -1, 0, std::move(words)});
  };
  const bool deletes_allowed = expectation->may_be_absent.contains(name);
  for (const FileContents* file : contents.Read(loaded->metadata, view.is_rejects, deletes_allowed, complain)) {
    ++report.files;
    if (view.is_rejects) {
      CountRejects(view, *file);
    } else {
      CountRows(view, *file);
    }
  }
}

void Checker::Impl::CountRows(TableView& view, const FileContents& file) {
  for (const TableRow& row : file.rows) {
    ++report.rows;
    const ProducedRecord* record = history.Find(row.id);
    if (record == nullptr) {
      Complain({ViolationCode::kUnknownRow, view.name, {}, row.offset.value_or(-1), row.id, ""});
      continue;
    }
    ++view.counts[row.id];
    bool same = (!file.has_partition || row.partition == record->partition.partition) &&
                (!file.has_offset || row.offset == record->offset) &&
                (!file.has_kind || row.kind.value_or("") == record->kind);
    if (!same) {
      ComplainOf(ViolationCode::kWrongValue, view.name, *record,
                 fmt::format("the row says {}/{}, '{}'", row.partition.value_or(-1), row.offset.value_or(-1),
                             row.kind.value_or("null")));
    }
    if (!record->is_row() || !MayBeIn(*record, view.name)) {
      ComplainOf(ViolationCode::kWrongTable, view.name, *record, fmt::format("it belongs to '{}'", record->table));
    }
  }
}

void Checker::Impl::CountRejects(TableView& view, const FileContents& file) {
  for (const RejectRow& row : file.rejects) {
    ++report.rejects;
    const ProducedRecord* record = history.FindAt(row.partition, row.offset, row.value_hash, row.key_hash);
    if (record == nullptr) {
      Complain({ViolationCode::kUnknownRow, view.name, row.partition, row.offset, 0, "no record has these bytes"});
      continue;
    }
    ++view.counts[record->id];
    CompareReject(view, *record, row);
    if (!record->is_row()) continue;
    const bool allowed = row.code == kRulesChangedCode && IsInDoubt(*record);
    if (!allowed) ComplainOf(ViolationCode::kUnexpectedReject, view.name, *record, row.code);
  }
}

// Everything that a reject has to say of its record.
void Checker::Impl::CompareReject(const TableView& view, const ProducedRecord& record, const RejectRow& row) {
  std::string wrong;
  auto compare = [&](bool same, std::string_view what, std::string_view says) {
    if (!same) wrong += fmt::format("{}{} '{}'", wrong.empty() ? "" : ", ", what, says);
  };
  if (!record.is_row()) {
    const bool routed = record.shape == ValueShape::kWrongType;
    // In doubt, it is not looked at whether it is a row.
    const bool doubted = routed && row.code == kRulesChangedCode && IsInDoubt(record);
    compare(doubted || row.code == RejectCodeOf(record.shape), "code", row.code);
    compare(row.intended_table == (routed ? record.table : ""), "intended_table", row.intended_table);
  } else {
    compare(MayBeIn(record, row.intended_table), "intended_table", row.intended_table);
  }
  compare(row.key_hash == record.key_hash, "key", "other bytes");
  compare(row.headers_hash == record.headers_hash, "headers", "others");
  compare(row.topic == history.partitions().at(record.partition).topic, "topic", row.topic);
  compare(row.timestamp_ms == record.timestamp_ms, "timestamp", std::to_string(row.timestamp_ms));
  if (!wrong.empty()) ComplainOf(ViolationCode::kWrongValue, view.name, record, "the reject says " + wrong);
}

void Checker::Impl::CompareMarks(const std::string& name, const ingest::Marks& marks) {
  if (!expectation->positions_may_go_back.contains(name)) {
    for (const auto& [key, before] : marks_before[name]) {
      const int64_t now = ingest::OffsetOf(marks, key).value_or(0);
      if (now >= before.position.offset) continue;
      Complain({ViolationCode::kPositionWentBack, name, key, now, 0, fmt::format("was {}", before.position.offset)});
    }
  }
  for (const auto& [key, mark] : marks) {
    auto partition = history.partitions().find(key);
    const int64_t end = partition == history.partitions().end() ? 0 : partition->second.end_max;
    if (mark.position.offset <= end) continue;
    Complain({ViolationCode::kPositionBeyondLog, name, key, mark.position.offset, 0,
              fmt::format("the log never went beyond {}", end)});
  }
  marks_before[name] = marks;
}

int64_t Checker::Impl::Position(const std::string& table, const PartitionKey& key) const {
  auto view = views.find(table);
  return view == views.end() ? 0 : ingest::OffsetOf(view->second.marks, key).value_or(0);
}

// Below that all rows of the table are committed: T[p], or H[p] unless it is detached there.
int64_t Checker::Impl::Covered(const std::string& table, const PartitionKey& key) const {
  const int64_t own = Position(table, key);
  if (home.home.has_value() && home.home->FindDetached(table, key) != nullptr) return own;
  return std::max(own, ingest::OffsetOf(home.marks, key).value_or(0));
}

// Whether a reader that stands there may have no way on: the log does not hold its position any more.
bool Checker::Impl::MayLag(const std::string& table, const PartitionKey& key) const {
  if (expectation->may_lag.contains(key) || expectation->tables_may_lag.contains(table)) return true;
  const PartitionHistory& partition = history.partitions().at(key);
  // Main reads from H, wherever the table stands.
  const int64_t reader = std::min(Covered(table, key), ingest::OffsetOf(home.marks, key).value_or(0));
  return partition.deleted || partition.overtaken || reader < partition.start;
}

bool Checker::Impl::IsGivenUp(const std::string& table, const ProducedRecord& record) const {
  auto first = expectation->first_offsets.find(record.partition);
  if (first != expectation->first_offsets.end() && record.offset < first->second) return true;
  return std::ranges::any_of(expectation->given_up, [&](const Expectation::GivenUp& one) {
    if (one.rejects_only && record.is_row()) return false;
    return (one.table.empty() || one.table == table) && one.partition == record.partition &&
           record.offset >= one.from && record.offset < one.to;
  });
}

bool Checker::Impl::IsInDoubt(const ProducedRecord& record) const {
  return std::ranges::any_of(expectation->in_doubt, [&](const Expectation::InDoubt& one) {
    return (one.table.empty() || MayBeIn(record, one.table)) && one.partition == record.partition &&
           record.offset >= one.from && record.offset < one.to;
  });
}

bool Checker::Impl::Names(const IdsByTable& lists, const std::string& table, int64_t id) const {
  auto list = lists.find(table);
  return list != lists.end() && list->second.contains(id);
}

Demand Checker::Impl::DemandIn(const std::string& table, const ProducedRecord& record) const {
  Demand demand = record.demand();
  if (demand != Demand::kExactlyOnce) return demand;
  bool excused = IsGivenUp(table, record) || Names(expectation->may_be_absent, table, record.id);
  return excused ? Demand::kAtMostOnce : demand;
}

// Why the record, which was committed, need not be in the table even though the table has passed it; nullopt: it must.
std::optional<Excuse> Checker::Impl::ExcuseOf(const std::string& table, const ProducedRecord& record) const {
  if (expectation->unchecked_tables.contains(table)) return Excuse::kUncheckedTable;
  if (record.demand() == Demand::kAtMostOnce) return Excuse::kLogLost;
  if (Names(expectation->may_be_absent, table, record.id)) return Excuse::kRemoved;
  if (IsGivenUp(table, record)) return Excuse::kGivenUp;
  return std::nullopt;
}

// What stands there must be allowed to.
void Checker::Impl::JudgeCount(const std::string& table, const ProducedRecord& record, int count, bool may_double) {
  const bool is_reject = !record.is_row();
  if (count == 0) return;
  if (record.demand() == Demand::kNever || !record.delivered) {
    ComplainOf(ViolationCode::kNeverReadable, table, record,
               std::string(record.fate == RecordFate::kCommitted ? RemovalName(record.removal) : "not committed"));
  }
  if (count > 1 && may_double) Excused(Excuse::kComesTwice);
  if (count > 1 && !may_double) {
    ComplainOf(is_reject ? ViolationCode::kDoubledReject : ViolationCode::kDoubledRow, table, record,
               fmt::format("{} times", count));
  }
  if (is_reject) return;  // those of a lane claim none of the rejects table's own positions
  const int64_t limit = Position(table, record.partition);
  if (record.offset >= limit && !Names(expectation->may_be_beyond, table, record.id)) {
    ComplainOf(ViolationCode::kBeyondPosition, table, record, fmt::format("the position is {}", limit));
  }
}

void Checker::Impl::JudgeAbsence(const std::string& table, const ProducedRecord& record, bool passed,
                                 ViolationCode code) {
  if (passed) {
    ++report.demanded;
    const int64_t home_offset = ingest::OffsetOf(home.marks, record.partition).value_or(0);
    ComplainOf(code, table, record, fmt::format("{}, positions: table {}, home {}", ValueShapeName(record.shape),
                                                Position(table, record.partition), home_offset));
    return;
  }
  const PartitionHistory& partition = history.partitions().at(record.partition);
  if (!finished || (record.removal != Removal::kNone && !record.delivered)) return;  // nobody could have read it
  if (MayLag(table, record.partition)) return Excused(Excuse::kStandsStill);
  if (record.offset >= partition.readable_end) return;
  ++report.demanded;
  ComplainOf(ViolationCode::kNotCaughtUp, table, record,
             fmt::format("position {}", Covered(table, record.partition)));
}

// A reject for the change of rules stands beside the row, once; whether it may is looked at where rejects are counted.
void Checker::Impl::JudgeRejectsOfRow(const ProducedRecord& record) {
  if (!rejects_to_table()) return;
  const TableView& view = views[options.rejects_table];
  auto count = view.counts.find(record.id);
  if (count == view.counts.end() || count->second <= 1) return;
  if (Names(expectation->may_be_doubled, view.name, record.id)) return;
  ComplainOf(ViolationCode::kDoubledReject, view.name, record, fmt::format("{} times", count->second));
}

void Checker::Impl::JudgeRow(const ProducedRecord& record) {
  if (auto moving = expectation->moving.find(record.table); moving != expectation->moving.end()) {
    return JudgeMovingRow(record, moving->second);
  }
  const std::string& table = record.table;
  if (expectation->unchecked_tables.contains(table)) {
    if (record.demand() != Demand::kNever) Excused(Excuse::kUncheckedTable);
    return;
  }
  int count = 0;
  if (auto view = views.find(table); view != views.end()) {
    if (!view->second.checked) return;
    auto found = view->second.counts.find(record.id);
    if (found != view->second.counts.end()) count = found->second;
  }
  JudgeCount(table, record, count, Names(expectation->may_be_doubled, table, record.id));
  if (count > 0 && Names(expectation->must_be_absent, table, record.id)) {
    ComplainOf(ViolationCode::kResurrectedRow, table, record, "");
  }
  JudgeRejectsOfRow(record);
  if (record.demand() == Demand::kNever) return;
  if (count > 0) {
    ++report.demanded;
    return;
  }
  // What an old property says that somebody has put back counts once a worker has looked at it.
  const bool unjudged = !finished && views[table].restored;
  const bool passed = record.offset < Covered(table, record.partition) && !unjudged;
  if (std::optional<Excuse> excuse = ExcuseOf(table, record); excuse.has_value() && passed) return Excused(*excuse);
  const bool below_own = record.offset < Position(table, record.partition);
  JudgeAbsence(table, record, passed, below_own ? ViolationCode::kLostRow : ViolationCode::kLostBelowHome);
}

bool Checker::Impl::MayBeIn(const ProducedRecord& record, const std::string& table) const {
  auto moving = expectation->moving.find(record.table);
  if (moving == expectation->moving.end()) return record.table == table;
  return std::ranges::find(moving->second, table) != moving->second.end();
}

// In one of the tables, by the rules of the day. In doubt it may also be in both, or among the rejects only.
void Checker::Impl::JudgeMovingRow(const ProducedRecord& record, const std::vector<std::string>& tables) {
  int rows = 0;
  bool passed = true;
  std::optional<Excuse> excuse;
  for (const std::string& table : tables) {
    const std::map<int64_t, int>& counts = views[table].counts;
    auto found = counts.find(record.id);
    const int count = found == counts.end() ? 0 : found->second;
    JudgeCount(table, record, count, false);
    rows += count;
    passed = passed && record.offset < Covered(table, record.partition);
    if (!excuse.has_value()) excuse = ExcuseOf(table, record);
  }
  JudgeRejectsOfRow(record);
  if (record.demand() == Demand::kNever) return;
  if (rows > 1 && !IsInDoubt(record)) ComplainOf(ViolationCode::kDoubledRow, tables[0], record, "in two tables");
  const bool rejected = views[options.rejects_table].counts.contains(record.id);
  if (rows > 0 || rejected) {
    ++report.demanded;
    return;
  }
  passed = passed && record.offset < ingest::OffsetOf(home.marks, record.partition).value_or(0);
  if (excuse.has_value() && passed) return Excused(*excuse);
  JudgeAbsence(tables[0], record, passed, ViolationCode::kLostRow);
}

void Checker::Impl::JudgeReject(const ProducedRecord& record) {
  if (options.reject_policy == ingest::RejectPolicy::kDrop) {
    const bool below = record.offset < ingest::OffsetOf(home.marks, record.partition).value_or(0);
    if (record.demand() == Demand::kNever || !below) return;
    if (!drops_compared) return Excused(Excuse::kDropUncounted);
    ++report.demanded;
    return;
  }
  if (!rejects_to_table()) return;
  const std::string& table = options.rejects_table;
  if (expectation->unchecked_tables.contains(table)) {
    if (record.demand() != Demand::kNever) Excused(Excuse::kUncheckedTable);
    return;
  }
  const TableView& view = views[table];
  if (!view.checked) return;
  auto found = view.counts.find(record.id);
  const int count = found == view.counts.end() ? 0 : found->second;
  JudgeCount(table, record, count, Names(expectation->may_be_doubled, table, record.id));
  if (record.demand() == Demand::kNever) return;
  if (count > 0) {
    ++report.demanded;
    return;
  }
  if (std::optional<Excuse> excuse = ExcuseOf(table, record)) return Excused(*excuse);
  const ingest::DetachedEntry* entry = nullptr;
  if (record.shape == ValueShape::kWrongType) {
    // Only whoever decodes for its table sees that it is none: of a table that is detached nothing is decoded, so
    // nothing is rejected, until it catches up.
    if (std::optional<Excuse> excuse = ExcuseOf(record.table, record)) return Excused(*excuse);
    if (home.home.has_value()) entry = home.home->FindDetached(record.table, record.partition);
  }
  // A detached table owes what it has not rejected yet to its lane.
  if (entry != nullptr && record.offset >= entry->rejected_below) {
    if (finished) Excused(Excuse::kStandsStill);
    return;
  }
  // Somebody has taken the table off the list: main owes it what is above the mark, and reads it from H on.
  const int64_t mark = ingest::RejectedMark(view.rejected, record.table, record.partition);
  const int64_t low_water = ingest::OffsetOf(home.marks, record.partition).value_or(0);
  const bool owed = entry == nullptr && mark != ingest::kNoMark && record.offset >= std::max(mark, low_water);
  if (!finished && record.shape == ValueShape::kWrongType && owed) return;
  bool passed = record.offset < Covered(table, record.partition) &&
                (entry == nullptr || record.offset < Covered(record.table, record.partition));
  JudgeAbsence(table, record, passed, ViolationCode::kLostReject);
}

// Counted drops stand in the summaries of the home's snapshots; all of them, while none has expired.
void Checker::Impl::CountDrops(const iceberg::TableMetadata& metadata) {
  if (options.reject_policy != ingest::RejectPolicy::kDrop) return;
  if (expectation->drops_may_be_lost) return;
  const iceberg::Snapshot* snapshot = metadata.CurrentSnapshot();
  const int64_t commits = snapshot == nullptr ? 0 : snapshot->sequence_number;
  int64_t seen_commits = 0;
  while (snapshot != nullptr) {
    ++seen_commits;
    auto dropped = snapshot->summary.find(kDroppedSummary);
    if (dropped != snapshot->summary.end()) report.dropped += std::stoll(dropped->second);
    const std::optional<SnapshotId> parent = snapshot->parent_snapshot_id;
    snapshot = parent.has_value() ? metadata.FindSnapshot(*parent) : nullptr;
  }
  drops_compared = seen_commits == commits;
}

void Checker::Impl::JudgeDrops() {
  if (!drops_compared) return;
  int64_t least = 0;
  int64_t most = 0;
  for (int64_t id = 1; id <= history.record_count(); ++id) {
    const ProducedRecord& record = history.record(id);
    if (record.offset >= ingest::OffsetOf(home.marks, record.partition).value_or(0)) continue;
    if (record.is_row()) {
      // After a change of rules records that have their row are dropped too, and counted.
      most += IsInDoubt(record) && record.demand() != Demand::kNever ? 1 : 0;
      continue;
    }
    const Demand demand = DemandIn(record.table, record);
    least += demand == Demand::kExactlyOnce ? 1 : 0;
    most += demand == Demand::kNever ? 0 : 1;
  }
  if (report.dropped >= least && report.dropped <= most) return;
  Complain({ViolationCode::kLostDrop, options.home_table, {}, -1, 0,
            fmt::format("between {} and {} records are dropped below H, counted: {}", least, most, report.dropped)});
}

void Checker::Impl::CompareSeen() {
  for (auto& [name, view] : views) {
    if (!view.checked) continue;
    for (int64_t id : seen[name]) {
      if (view.counts.contains(id) || Names(expectation->may_be_absent, name, id)) continue;
      ComplainOf(ViolationCode::kVanishedRow, name, history.record(id), "");
    }
    std::set<int64_t>& now = seen[name];
    now.clear();
    for (const auto& [id, count] : view.counts) now.insert(now.end(), id);
  }
}

void Checker::Impl::CountOvertaken() {
  for (const auto& [key, partition] : history.partitions()) {
    bool behind = ingest::OffsetOf(home.marks, key).value_or(0) < partition.start;
    if (partition.deleted || partition.overtaken || behind) ++report.partitions_overtaken;
  }
}

Checker::Checker(iceberg::Catalog& catalog, env::ObjectStore& store, const ingest::PipelineOptions& options,
                 const LogHistory& history)
    : impl_(new Impl{catalog, store, options, history, TableContents(store), {}, {}}) {}

Checker::~Checker() = default;

CheckReport Checker::Check(const Expectation& expectation, bool finished) {
  impl_->expectation = &expectation;
  impl_->finished = finished;
  impl_->report = {};
  impl_->drops_compared = false;
  impl_->LoadHome();
  impl_->LoadTables();
  for (int64_t id = 1; id <= impl_->history.record_count(); ++id) {
    const ProducedRecord& record = impl_->history.record(id);
    if (record.is_row()) {
      impl_->JudgeRow(record);
    } else {
      impl_->JudgeReject(record);
    }
  }
  impl_->JudgeDrops();
  impl_->CompareSeen();
  impl_->CountOvertaken();
  return std::move(impl_->report);
}

void Checker::ForgetRows(const std::string& table, const std::set<int64_t>& ids) {
  for (int64_t id : ids) impl_->seen[table].erase(id);
}

}  // namespace firn::sim
