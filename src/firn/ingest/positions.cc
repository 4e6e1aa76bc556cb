#include "firn/ingest/positions.h"

#include <fmt/format.h>

#include <charconv>
#include <iterator>
#include <nlohmann/json.hpp>

namespace firn::ingest {
namespace {

using nlohmann::json;

json MarksToJson(const Marks& marks) {
  json clusters = json::object();
  for (const auto& [key, mark] : marks) {
    json& topic = clusters[key.cluster_id][key.topic_id];
    topic["topic"] = mark.topic;
    topic["partitions"][std::to_string(key.partition)] =
        json::array({mark.position.offset, mark.position.leader_epoch, mark.position.timestamp_ms});
  }
  return clusters;
}

std::string Quoted(const std::string& text) {
  return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

// What MarksToJson makes, as text at once: of thousands of partitions that is most of what a commit computes. They come
// in the order of their numbers here.
void AppendMarks(const Marks& marks, std::string& text) {
  const PartitionKey* before = nullptr;
  const std::string* topic = nullptr;
  text += '{';
  for (const auto& [key, mark] : marks) {
    const bool same_cluster = before != nullptr && before->cluster_id == key.cluster_id;
    const bool same_topic = same_cluster && before->topic_id == key.topic_id;
    if (before != nullptr && !same_topic) text += R"(},"topic":)" + Quoted(*topic) + '}';
    if (before != nullptr) text += same_cluster ? "," : "},";
    if (!same_cluster) text += Quoted(key.cluster_id) + ":{";
    if (!same_topic) text += Quoted(key.topic_id) + R"(:{"partitions":{)";
    fmt::format_to(std::back_inserter(text), R"("{}":[{},{},{}])", key.partition, mark.position.offset,
                   mark.position.leader_epoch, mark.position.timestamp_ms);
    before = &key;
    topic = &mark.topic;
  }
  if (before != nullptr) text += R"(},"topic":)" + Quoted(*topic) + "}}";
  text += '}';
}

template <typename Integer>
Result<Integer> ParseInteger(const std::string& text, std::string_view what) {
  Integer value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Fail(ErrorCode::kCorruption, fmt::format("{} is not an integer: '{}'", what, text));
  }
  return value;
}

Status ReadTopic(const std::string& cluster_id, const std::string& topic_id, const json& topic, Marks& marks) {
  const std::string name = topic.at("topic").get<std::string>();
  for (const auto& [number, triple] : topic.at("partitions").items()) {
    FIRN_ASSIGN(int32_t partition, ParseInteger<int32_t>(number, "partition number"));
    if (!triple.is_array() || triple.size() != 3 || partition < 0 || triple[0].get<int64_t>() < 0) {
      return Fail(ErrorCode::kCorruption,
                  fmt::format("position of {}/{} is not [offset, epoch, timestamp]: {}", name, number, triple.dump()));
    }
    marks[PartitionKey{cluster_id, topic_id, partition}] =
        Mark{name, stream::Position{triple[0].get<int64_t>(), triple[1].get<int32_t>(), triple[2].get<int64_t>()}};
  }
  return {};
}

Result<Marks> MarksFromJson(const json& clusters) {
  Marks marks;
  for (const auto& [cluster_id, topics] : clusters.items()) {
    for (const auto& [topic_id, topic] : topics.items()) FIRN_TRY(ReadTopic(cluster_id, topic_id, topic, marks));
  }
  return marks;
}

json HomeToJson(const HomeRecord& home) {
  json tables = json::array();
  for (const ListedTable& table : home.tables) {
    json entry = {{"table", table.table},
                  {"table_uuid", table.table_uuid.empty() ? json(nullptr) : json(table.table_uuid)},
                  {"state", table.state == ListedState::kAttached ? "attached" : "attaching"}};
    if (table.state == ListedState::kAttaching) entry["clusters"] = MarksToJson(table.marks_at_listing);
    if (table.sequence_number > 0) entry["sequence_number"] = table.sequence_number;
    tables.push_back(std::move(entry));
  }
  json detached = json::array();
  for (const DetachedEntry& entry : home.detached) {
    detached.push_back({{"table", entry.table},
                        {"cluster", entry.partition.cluster_id},
                        {"topic_id", entry.partition.topic_id},
                        {"topic", entry.topic},
                        {"partition", entry.partition.partition},
                        {"reason", entry.reason},
                        {"since_ms", entry.since_ms},
                        {"hold", entry.hold},
                        {"rejected_below", entry.rejected_below}});
    if (entry.home_offset >= 0) detached.back()["home_offset"] = entry.home_offset;
    if (entry.rows_below >= 0) detached.back()["rows_below"] = entry.rows_below;
  }
  json document = {{"tables", std::move(tables)}, {"detached", std::move(detached)}};
  if (!home.cut.empty()) document["cut"] = MarksToJson(home.cut);
  return document;
}

Result<HomeRecord> HomeFromJson(const json& home_json) {
  HomeRecord home;
  for (const json& entry : home_json.at("tables")) {
    ListedTable table;
    table.table = entry.at("table").get<std::string>();
    if (!entry.at("table_uuid").is_null()) table.table_uuid = entry.at("table_uuid").get<std::string>();
    table.state = entry.at("state") == "attached" ? ListedState::kAttached : ListedState::kAttaching;
    if (entry.contains("clusters")) {
      FIRN_ASSIGN(table.marks_at_listing, MarksFromJson(entry.at("clusters")));
    }
    table.sequence_number = entry.value("sequence_number", int64_t{0});
    home.tables.push_back(std::move(table));
  }
  for (const json& entry : home_json.at("detached")) {
    home.detached.push_back(DetachedEntry{
        entry.at("table").get<std::string>(),
        PartitionKey{entry.at("cluster").get<std::string>(), entry.at("topic_id").get<std::string>(),
                     entry.at("partition").get<int32_t>()},
        entry.value("topic", std::string()), entry.at("reason").get<std::string>(), entry.at("since_ms").get<int64_t>(),
        entry.at("hold").get<bool>(), entry.value("rejected_below", int64_t{0}),
        entry.value("home_offset", int64_t{-1}), entry.value("rows_below", int64_t{-1})});
  }
  if (home_json.contains("cut")) {
    FIRN_ASSIGN(home.cut, MarksFromJson(home_json.at("cut")));
  }
  return home;
}

Result<PositionsMap> FromJson(const json& document) {
  int32_t version_needed = document.at("min_v").get<int32_t>();
  if (version_needed > kPositionsVersion) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("positions need a reader of version {}, this program reads version {}; use a newer Firn",
                            version_needed, kPositionsVersion));
  }
  PositionsMap map;
  map.table = document.at("table").get<std::string>();
  map.table_uuid = document.at("table_uuid").get<std::string>();
  FIRN_ASSIGN(int64_t snapshot_id, ParseInteger<int64_t>(document.at("snapshot_id").get<std::string>(), "snapshot_id"));
  map.snapshot_id = SnapshotId{snapshot_id};
  map.sequence_number = document.at("sequence_number").get<int64_t>();
  if (document.contains("rows_snapshot_id")) {
    FIRN_ASSIGN(int64_t rows_id,
                ParseInteger<int64_t>(document.at("rows_snapshot_id").get<std::string>(), "rows_snapshot_id"));
    map.rows_snapshot_id = SnapshotId{rows_id};
    map.rows_sequence_number = document.at("rows_sequence_number").get<int64_t>();
  }
  map.rules_hash = document.at("rules_hash").get<std::string>();
  FIRN_ASSIGN(map.marks, MarksFromJson(document.at("clusters")));
  if (document.contains("rejected")) {
    for (const auto& [table, clusters] : document.at("rejected").items()) {
      FIRN_ASSIGN(map.rejected[table], MarksFromJson(clusters));
    }
  }
  if (document.contains("home")) {
    FIRN_ASSIGN(map.home, HomeFromJson(document.at("home")));
  }
  return map;
}

}  // namespace

PartitionKey KeyOf(const stream::SourcePartition& partition) {
  return PartitionKey{partition.cluster_id, partition.topic_id, partition.partition};
}

std::optional<int64_t> OffsetOf(const Marks& marks, const PartitionKey& key) {
  auto found = marks.find(key);
  if (found == marks.end()) return std::nullopt;
  return found->second.position.offset;
}

const ListedTable* HomeRecord::Find(std::string_view table) const {
  for (const ListedTable& listed : tables) {
    if (listed.table == table) return &listed;
  }
  return nullptr;
}

ListedTable* HomeRecord::Find(std::string_view table) {
  return const_cast<ListedTable*>(static_cast<const HomeRecord*>(this)->Find(table));
}

const DetachedEntry* HomeRecord::FindDetached(std::string_view table, const PartitionKey& partition) const {
  for (const DetachedEntry& entry : detached) {
    if (entry.table == table && entry.partition == partition) return &entry;
  }
  return nullptr;
}

DetachedEntry* HomeRecord::FindDetached(std::string_view table, const PartitionKey& partition) {
  return const_cast<DetachedEntry*>(static_cast<const HomeRecord*>(this)->FindDetached(table, partition));
}

std::string PositionsMap::Serialize() const {
  json document = {{"v", kPositionsVersion},
                   {"min_v", 1},
                   {"table", table},
                   {"table_uuid", table_uuid},
                   {"snapshot_id", std::to_string(snapshot_id.value())},
                   {"sequence_number", sequence_number},
                   {"rules_hash", rules_hash}};
  if (rows_snapshot_id.has_value()) {
    document["rows_snapshot_id"] = std::to_string(rows_snapshot_id->value());
    document["rows_sequence_number"] = rows_sequence_number;
  }
  for (const auto& [of_table, below] : rejected) document["rejected"][of_table] = MarksToJson(below);
  if (home.has_value()) document["home"] = HomeToJson(*home);
  const std::string rest = document.dump(-1, ' ', false, json::error_handler_t::replace);
  constexpr size_t kMarkBytes = 64;
  std::string text = R"({"clusters":)";
  text.reserve(rest.size() + marks.size() * kMarkBytes);
  AppendMarks(marks, text);
  text += ',';
  return text.append(rest, 1);
}

Result<PositionsMap> PositionsMap::Parse(std::string_view json_text) {
  try {
    json document = json::parse(json_text);
    return FromJson(document);
  } catch (const json::exception& error) {
    return Fail(ErrorCode::kCorruption, fmt::format("positions are not readable: {}", error.what()));
  }
}

std::string PositionsProperty(std::string_view pipeline) {
  return fmt::format("firn.positions.{}", pipeline);
}
std::string SourcesProperty(std::string_view pipeline) {
  return fmt::format("firn.sources.{}", pipeline);
}

int64_t RejectedMark(const std::map<std::string, Marks>& rejected, const std::string& table,
                     const PartitionKey& key) {
  auto of_table = rejected.find(table);
  return of_table == rejected.end() ? kNoMark : OffsetOf(of_table->second, key).value_or(kNoMark);
}

ClaimVerdict CompareRejected(const std::map<std::string, Marks>& rejected, const RejectedClaims& claims) {
  bool any = false;
  bool all_done = true;
  bool all_believed = true;
  for (const auto& [table, of_table] : claims) {
    for (const auto& [key, claim] : of_table) {
      const int64_t stands = RejectedMark(rejected, table, key);
      any = true;
      all_done &= stands == claim.to.offset;
      all_believed &= stands == claim.from;
    }
  }
  if (!any || all_believed) return ClaimVerdict::kGo;
  return all_done ? ClaimVerdict::kAlreadyDone : ClaimVerdict::kMismatch;
}

std::map<std::string, Marks> ApplyRejected(std::map<std::string, Marks> rejected, const RejectedClaims& claims) {
  for (const auto& [table, of_table] : claims) {
    Marks& marks = rejected[table];
    for (const auto& [key, claim] : of_table) {
      if (claim.to.offset == kNoMark) {
        marks.erase(key);
      } else {
        marks[key] = Mark{claim.topic, claim.to};
      }
    }
    if (marks.empty()) rejected.erase(table);
  }
  return rejected;
}

Marks ApplyClaims(Marks marks, const Claims& claims) {
  for (const auto& [key, claim] : claims) marks[key] = Mark{claim.topic, claim.to};
  return marks;
}

}  // namespace firn::ingest
