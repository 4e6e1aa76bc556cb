#include "firn/ingest/positions_move.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

namespace firn::ingest {
namespace {

using Offsets = MoveRequest::Offsets;

std::vector<std::string_view> Words(std::string_view line) {
  constexpr std::string_view kBlank = " \t\r";
  std::vector<std::string_view> words;
  for (size_t at = line.find_first_not_of(kBlank); at != std::string_view::npos;) {
    const size_t end = std::min(line.find_first_of(kBlank, at), line.size());
    words.push_back(line.substr(at, end - at));
    at = line.find_first_not_of(kBlank, end);
  }
  return words;
}

std::optional<int64_t> NumberOf(std::string_view word) {
  int64_t value = 0;
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size() || value < 0) return std::nullopt;
  return value;
}

// The old log's partitions, as the home has them.
Result<Marks> OldMarks(const MoveRequest& request, const PositionsMap& home) {
  Marks marks;
  std::set<std::string> ids;
  for (const auto& [key, mark] : home.marks) {
    if (key.cluster_id != request.from_cluster || mark.topic != request.topic) continue;
    if (!request.from_topic_id.empty() && key.topic_id != request.from_topic_id) continue;
    ids.insert(key.topic_id);
    marks[key] = mark;
  }
  if (ids.size() > 1) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("the cluster has had {} topics of that name; say which with --from-topic-id: '{}', '{}'",
                            ids.size(), *ids.begin(), *ids.rbegin()));
  }
  if (!marks.empty()) return marks;
  return Fail(ErrorCode::kNotFound,
              fmt::format("the home knows no such topic of that cluster; 'firn positions show --json' lists them: "
                          "topic '{}', cluster '{}'",
                          request.topic, request.from_cluster));
}

// Where a detached table has nothing left to catch up with.
int64_t ReadUntil(const DetachedEntry& entry, const PipelinePositions& shown) {
  const int64_t low_water = OffsetOf(shown.home->marks, entry.partition).value_or(0);
  auto table = std::ranges::find(shown.tables, entry.table, &TablePositions::table);
  if (table == shown.tables.end() || !table->map.has_value()) return low_water;
  return std::max(low_water, OffsetOf(table->map->marks, entry.partition).value_or(0));
}

// Every listed table must have positions to build upon, and owe nothing that only the old log still has.
Status CheckTables(const Marks& old_marks, const PipelinePositions& shown) {
  for (const DetachedEntry& entry : shown.home->home->detached) {
    if (!old_marks.contains(entry.partition)) continue;
    return Fail(ErrorCode::kConflict,
                fmt::format("a table still has to catch up from the old cluster; let it, or give that up with 'firn "
                            "positions set --table' and offset {}: '{}', partition {}/{}",
                            ReadUntil(entry, shown), entry.table, entry.topic, entry.partition.partition));
  }
  for (const auto& [key, mark] : shown.home->home->cut) {
    if (!old_marks.contains(key) || OffsetOf(shown.home->marks, key).value_or(0) >= mark.position.offset) continue;
    return Fail(ErrorCode::kConflict,
                fmt::format("the routing rules have changed, and below offset {} the old cluster's records are in "
                            "doubt; start the pipeline once on the old cluster, and stop it when it has read them: "
                            "partition {}/{}",
                            mark.position.offset, mark.topic, key.partition));
  }
  for (const ListedTable& listed : shown.home->home->tables) {
    auto table = std::ranges::find(shown.tables, listed.table, &TablePositions::table);
    const bool known = table != shown.tables.end() && table->map.has_value() && table->problem.empty();
    if (known && listed.state == ListedState::kAttached) continue;
    return Fail(ErrorCode::kConflict,
                fmt::format("what the table says of its positions cannot be built upon; start the pipeline once, or "
                            "'firn positions resume' comes first: table '{}': {}",
                            listed.table,
                            table == shown.tables.end() || table->problem.empty() ? "it is not attached yet"
                                                                                  : table->problem));
  }
  return {};
}

class Translation {
 public:
  explicit Translation(const MoveRequest& request) : request_(request) {}

  int64_t Of(const PartitionKey& key, int64_t offset) {
    switch (request_.offsets) {
      case Offsets::kKeep: return offset;
      case Offsets::kEarliest: return 0;
      case Offsets::kPairs: break;
    }
    auto found = request_.pairs.find({key.partition, offset});
    if (found != request_.pairs.end()) return found->second;
    missing_.emplace(key.partition, offset);
    return 0;
  }

  Status CheckComplete() const {
    if (missing_.empty()) return {};
    std::string lines;
    for (const auto& [partition, offset] : missing_) lines += fmt::format("\n{} {} ?", partition, offset);
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("the offsets file must say where these are in the new log:{}", lines));
  }

 private:
  const MoveRequest& request_;
  std::set<std::pair<int32_t, int64_t>> missing_;
};

std::string_view NoteOf(Offsets offsets) {
  switch (offsets) {
    case Offsets::kKeep: return "the same offset; right only if the new log holds each record where it was";
    case Offsets::kEarliest: return "the beginning; right only if the new log begins with the first unread record";
    case Offsets::kPairs: return "by the offsets file";
  }
  return "";
}

}  // namespace

Result<OffsetPairs> ParseOffsetPairs(std::string_view text) {
  OffsetPairs pairs;
  int line_number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::vector<std::string_view> words = Words(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line_number;
    if (words.empty() || words[0].starts_with('#')) continue;
    std::optional<int64_t> partition = NumberOf(words[0]);
    std::optional<int64_t> from = words.size() == 3 ? NumberOf(words[1]) : std::nullopt;
    std::optional<int64_t> to = words.size() == 3 ? NumberOf(words[2]) : std::nullopt;
    if (!partition || *partition > INT32_MAX || !from || !to) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("expected 'partition old-offset new-offset' in the offsets file: line {}", line_number));
    }
    if (!pairs.emplace(std::pair(static_cast<int32_t>(*partition), *from), *to).second) {
      return Fail(ErrorCode::kInvalidInput, fmt::format("a second line for one offset of the offsets file: line {}",
                                                        line_number));
    }
  }
  for (auto pair = pairs.begin(); pair != pairs.end(); ++pair) {
    auto next = std::next(pair);
    if (next == pairs.end() || next->first.first != pair->first.first || next->second >= pair->second) continue;
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("new offsets must grow with the old ones: partition {}, old offset {}", next->first.first,
                            next->first.second));
  }
  return pairs;
}

Result<MovePlan> PlanMove(const MoveRequest& request, const PipelinePositions& shown) {
  if (!shown.home.has_value() || !shown.home->home.has_value()) {
    return Fail(ErrorCode::kNotFound, fmt::format("there is no home table to move from: '{}'", shown.home_table));
  }
  if (request.to_cluster == request.from_cluster) {
    return Fail(ErrorCode::kInvalidInput, "the clusters are the same; positions within one are moved by 'set'");
  }
  FIRN_ASSIGN(Marks old_marks, OldMarks(request, *shown.home));
  FIRN_TRY(CheckTables(old_marks, shown));
  Translation translation(request);
  MovePlan plan;
  auto add = [&](const std::string& table, const std::optional<PositionsMap>& map, bool is_home) -> Status {
    MovePlan::Write write{table, map, {}};
    for (const auto& [key, home_mark] : old_marks) {
      auto own = map->marks.find(key);
      Mark mark = home_mark;
      // Below the home's mark a table has all its rows, also where it got none.
      if (own != map->marks.end() && own->second.position.offset > mark.position.offset) mark = own->second;
      if (request.offsets == Offsets::kEarliest && mark.position.offset > home_mark.position.offset) {
        return Fail(ErrorCode::kConflict,
                    fmt::format("the table is ahead of the home, as after a crash; start and stop the pipeline once on "
                                "the old cluster: table '{}', partition {}/{}",
                                table, mark.topic, key.partition));
      }
      const int64_t old_offset = mark.position.offset;
      const PartitionKey target{request.to_cluster, request.to_topic_id, key.partition};
      // Epochs are each cluster's own; the time of the last record is the record's.
      mark.position = stream::Position{translation.Of(key, old_offset), -1, mark.position.timestamp_ms};
      auto stands = map->marks.find(target);
      if (stands != map->marks.end() && stands->second.position.offset != mark.position.offset) {
        return Fail(ErrorCode::kAlreadyExists,
                    fmt::format("there are other positions of the new log already; 'firn positions set' moves them: "
                                "table '{}', partition {}/{}, offset {}",
                                table, mark.topic, key.partition, stands->second.position.offset));
      }
      plan.changes.push_back({table, fmt::format("{}/{}", mark.topic, key.partition), old_offset, mark.position.offset,
                              fmt::format("{}, {}", is_home ? "H" : "T", NoteOf(request.offsets))});
      write.marks[target] = std::move(mark);
    }
    plan.writes.push_back(std::move(write));
    return {};
  };
  // Tables first: should it end in between, what a table has is not read into it again, whatever the home says.
  for (const TablePositions& table : shown.tables) {
    if (table.listed && table.map.has_value()) FIRN_TRY(add(table.table, table.map, false));
  }
  FIRN_TRY(add(shown.home_table, shown.home, true));
  FIRN_TRY(translation.CheckComplete());
  return plan;
}

Result<std::vector<AdminChange>> PositionsAdmin::Move(const MoveRequest& request, bool dry_run, std::stop_token stop) {
  const bool by_name = request.to_topic_id == "name:" + request.topic;
  if (by_name != options_.topic_identity_by_name) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("the pipeline would never look for positions of that topic: under 'topic_identity: {}' the "
                            "new one's id is {}: '{}'",
                            options_.topic_identity_by_name ? "name" : "id",
                            options_.topic_identity_by_name ? "name:" + request.topic : "its UUID",
                            request.to_topic_id));
  }
  FIRN_ASSIGN(PipelinePositions shown, Show());
  FIRN_ASSIGN(MovePlan plan, PlanMove(request, shown));
  if (dry_run) return std::move(plan.changes);
  for (const MovePlan::Write& write : plan.writes) {
    FIRN_ASSIGN(iceberg::TableIdentifier identifier, iceberg::TableIdentifier::Parse(write.table));
    TableState state(std::move(identifier));
    FIRN_TRY(ReplaceMap(committer_, state, {.planned = write.planned, .marks = write.marks}, rules_hash_, stop));
  }
  return std::move(plan.changes);
}

}  // namespace firn::ingest
