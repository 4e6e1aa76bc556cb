#include "firn/ingest/positions.h"

#include <gtest/gtest.h>

#include "firn/ingest/column_sources.h"
#include "firn/ingest/rules.h"

namespace firn::ingest {
namespace {

PartitionKey Key(int32_t partition) {
  return PartitionKey{"c", "t", partition};
}

PositionsMap MakeMap() {
  PositionsMap map;
  map.table = "a.b";
  map.table_uuid = "u";
  map.snapshot_id = SnapshotId{INT64_MAX};
  map.sequence_number = 7;
  map.rules_hash = "h";
  map.marks[Key(0)] = Mark{"topic \"x\"", {10, 2, 1'700'000'000'000}};
  map.marks[Key(1)] = Mark{"topic \"x\"", {0, -1, -1}};
  return map;
}

TEST(PositionsMapTest, JsonKeepsEverything) {
  PositionsMap map = MakeMap();
  map.rows_snapshot_id = SnapshotId{5};
  map.rows_sequence_number = 3;
  map.home.emplace();
  map.home->tables = {{"a.b", "u", ListedState::kAttached, {}}, {"a.c", "", ListedState::kAttaching, map.marks}};
  map.home->detached = {{"a.b", Key(1), "topic", "why", 9, true, 77, 66, 88}};
  map.home->cut = {{Key(2), Mark{"topic", stream::Position{5, -1, -1}}}};
  map.rejected["a.b"] = {{Key(1), Mark{"topic", stream::Position{6, -1, -1}}}};
  auto back = PositionsMap::Parse(map.Serialize());
  ASSERT_TRUE(back.has_value()) << back.error().ToString();
  EXPECT_EQ(back->Serialize(), map.Serialize());
  EXPECT_EQ(back->rejected, map.rejected);
  EXPECT_EQ(back->snapshot_id, SnapshotId{INT64_MAX});
  EXPECT_EQ(back->marks, map.marks);
  EXPECT_EQ(back->home->tables[1].marks_at_listing, map.marks);
  const DetachedEntry* entry = std::as_const(*back->home).FindDetached("a.b", Key(1));
  EXPECT_TRUE(entry->hold);
  EXPECT_EQ(entry->rejected_below, 77);
  EXPECT_EQ(entry->home_offset, 66);
  EXPECT_EQ(entry->rows_below, 88);
  EXPECT_EQ(back->home->cut, map.home->cut);
}

TEST(PositionsMapTest, JsonKeepsClustersTopicsAndPartitionsApart) {
  PositionsMap map = MakeMap();
  map.marks.clear();
  auto back = PositionsMap::Parse(map.Serialize());
  ASSERT_TRUE(back.has_value()) << back.error().ToString();
  EXPECT_TRUE(back->marks.empty());
  int64_t offset = 0;
  for (const char* cluster : {"c", "d \"q\""}) {
    for (const char* topic : {"t", "u\\", "v"}) {
      for (int32_t partition = 0; partition < 12; ++partition) {
        map.marks[PartitionKey{cluster, topic, partition}] = Mark{std::string("of ") + topic, {++offset, 3, 1}};
      }
    }
  }
  back = PositionsMap::Parse(map.Serialize());
  ASSERT_TRUE(back.has_value()) << back.error().ToString();
  EXPECT_EQ(back->marks, map.marks);
  EXPECT_EQ(back->rules_hash, map.rules_hash);
}

TEST(PositionsMapTest, RefusesWhatItCannotRead) {
  EXPECT_EQ(PositionsMap::Parse("{").error().code(), ErrorCode::kCorruption);
  EXPECT_EQ(PositionsMap::Parse("[]").error().code(), ErrorCode::kCorruption);
  EXPECT_EQ(PositionsMap::Parse(R"({"v":1,"min_v":1})").error().code(), ErrorCode::kCorruption);
  std::string newer = MakeMap().Serialize();
  newer.replace(newer.find("\"min_v\":1"), 9, "\"min_v\":2");
  EXPECT_EQ(PositionsMap::Parse(newer).error().code(), ErrorCode::kUnsupported);
  std::string negative = MakeMap().Serialize();
  negative.replace(negative.find("[10,"), 4, "[-1,");
  EXPECT_EQ(PositionsMap::Parse(negative).error().code(), ErrorCode::kCorruption);
}

TEST(ClaimsTest, TellsOurCommitFromSomebodyElses) {
  Marks marks = MakeMap().marks;
  Claims claims;
  EXPECT_EQ(CompareClaims(marks, claims), ClaimVerdict::kGo);
  claims[Key(0)] = Claim{10, {20, 2, 5}, "t"};
  claims[Key(1)] = Claim{0, {3, 0, 5}, "t"};
  EXPECT_EQ(CompareClaims(marks, claims), ClaimVerdict::kGo);
  Marks done = ApplyClaims(marks, claims);
  EXPECT_EQ(CompareClaims(done, claims), ClaimVerdict::kAlreadyDone);
  EXPECT_EQ(done.at(Key(1)).position.offset, 3);
  done[Key(0)].position.offset = 15;
  EXPECT_EQ(CompareClaims(done, claims), ClaimVerdict::kMismatch);
  // One partition at the end, the other at the start: two different commits were here.
  Marks half = marks;
  half[Key(0)].position.offset = 20;
  EXPECT_EQ(CompareClaims(half, claims), ClaimVerdict::kMismatch);
  // A partition that the map does not know stands at 0.
  claims[Key(9)] = Claim{0, {1, 0, 5}, "t"};
  EXPECT_EQ(CompareClaims(marks, claims), ClaimVerdict::kGo);
}

TEST(ClaimsTest, MarksOfRejectsAreComparedTableByTable) {
  std::map<std::string, Marks> stands;
  RejectedClaims claims;
  EXPECT_EQ(CompareRejected(stands, claims), ClaimVerdict::kGo);
  claims["a.b"][Key(0)] = Claim{kNoMark, {20, 2, 5}, "t"};
  claims["a.c"][Key(0)] = Claim{kNoMark, {30, 2, 5}, "t"};
  EXPECT_EQ(CompareRejected(stands, claims), ClaimVerdict::kGo);
  std::map<std::string, Marks> done = ApplyRejected(stands, claims);
  EXPECT_EQ(CompareRejected(done, claims), ClaimVerdict::kAlreadyDone);
  EXPECT_EQ(OffsetOf(done.at("a.c"), Key(0)), 30);
  std::map<std::string, Marks> half = done;
  half.erase("a.c");
  EXPECT_EQ(CompareRejected(half, claims), ClaimVerdict::kMismatch);
  RejectedClaims away;
  away["a.b"][Key(0)] = Claim{20, {kNoMark, -1, -1}, "t"};
  EXPECT_EQ(CompareRejected(done, away), ClaimVerdict::kGo);
  done = ApplyRejected(done, away);
  EXPECT_FALSE(done.contains("a.b"));
  EXPECT_EQ(CompareRejected(done, away), ClaimVerdict::kAlreadyDone);
  // A mark at 0 says that no reject is here; no mark says nothing of the kind.
  done["a.b"][Key(0)] = Mark{"t", {0, -1, -1}};
  EXPECT_EQ(CompareRejected(done, away), ClaimVerdict::kMismatch);
  EXPECT_EQ(RejectedMark(done, "a.b", Key(0)), 0);
  EXPECT_EQ(RejectedMark(done, "a.b", Key(1)), kNoMark);
}

TEST(RulesTest, HashSeesRoutingAndNothingElse) {
  std::vector<TableRule> rules(1);
  rules[0].name = "a.b";
  std::string hash = RulesHash(rules);
  EXPECT_EQ(hash.size(), 32u);
  rules[0].properties["x"] = "y";
  rules[0].partition = {"day(t)"};
  EXPECT_EQ(RulesHash(rules), hash);
  rules[0].match.push_back(RouteMatch{.topic = "t"});
  EXPECT_NE(RulesHash(rules), hash);
}

struct RouteCase {
  const char* name;
  std::vector<RouteMatch> match;
  const char* table;
  const char* value;
  const char* expected;  // table, or the reject code in <>
};

TEST(RouterTest, FirstRuleThatMatchesWins) {
  const std::vector<RouteCase> cases = {
      {"topic", {RouteMatch{.topic = "t"}}, "a.x", "{}", "a.x"},
      {"other topic", {RouteMatch{.topic = "u"}}, "a.x", "{}", "<no_route>"},
      {"topic regex must match whole", {RouteMatch{.topic_regex = "t."}}, "a.x", "{}", "<no_route>"},
      {"field", {RouteMatch{.field_path = {"a", "b"}, .field_equals = "v"}}, "a.x", R"({"a":{"b":"v"}})", "a.x"},
      {"number field", {RouteMatch{.field_path = {"n"}, .field_equals = "12"}}, "a.x", R"({"n": 12 })", "a.x"},
      {"null field", {RouteMatch{.field_path = {"n"}, .field_regex = ".*"}}, "a.x", R"({"n":null})", "<no_route>"},
      {"broken value", {RouteMatch{.field_path = {"n"}, .field_regex = ".*"}}, "a.x", R"({"n)", "<malformed_json>"},
      {"template", {}, "a.{topic}_{field:k}", R"({"k":"Web Log/1"})", "a.t_web_log_1"},
      {"template without the field", {}, "a.{field:k}", R"({"j":1})", "<no_route>"},
      {"header", {RouteMatch{.header_name = "h", .header_equals = "1"}}, "a.{header:h}", "{}", "a.1"},
  };
  for (const RouteCase& each : cases) {
    std::vector<TableRule> rules(1);
    rules[0].name = each.table;
    rules[0].match = each.match;
    auto router = Router::Create(rules);
    ASSERT_TRUE(router.has_value()) << each.name;
    stream::Record record;
    record.value = each.value;
    stream::Header header{"h", "1"};
    record.headers = std::span(&header, 1);
    Route route;
    decode::Reject reject;
    bool routed = (*router)->RouteRecord(record, "t", route, reject);
    std::string got = !routed                  ? "<" + std::string(decode::RejectCodeName(reject.code)) + ">"
                      : rules[0].is_template() ? route.table
                                               : rules[0].name;
    EXPECT_EQ(got, each.expected) << each.name;
  }
}

TEST(RouterTest, RefusesWhatItCannotCompile) {
  for (const char* name : {"a.{", "a.{what}", "a.{field:}"}) {
    std::vector<TableRule> rules(1);
    rules[0].name = name;
    EXPECT_EQ(Router::Create(rules).error().code(), ErrorCode::kInvalidInput) << name;
  }
  std::vector<TableRule> rules(1);
  rules[0].name = "a.b";
  rules[0].match = {RouteMatch{.topic_regex = "("}};
  EXPECT_EQ(Router::Create(rules).error().code(), ErrorCode::kInvalidInput);
}

TEST(ColumnSourcesTest, RememberedPathSurvivesARename) {
  schema::Field child;
  child.id = FieldId{2};
  child.name = "ip";
  child.type = schema::Type::Primitive(schema::TypeKind::kString);
  schema::Field parent;
  parent.id = FieldId{1};
  parent.name = "src";
  parent.type = schema::Type::Struct({child});
  schema::Schema schema;
  schema.fields = {parent};
  ColumnSourcesByName configured;
  configured["src"].path = {"source_endpoint"};
  ColumnSourcesById resolved = ResolveSources(schema, configured, {});
  EXPECT_EQ(resolved[FieldId{1}].path, (std::vector<std::string>{"source_endpoint"}));
  EXPECT_EQ(resolved[FieldId{2}].path, (std::vector<std::string>{"source_endpoint", "ip"}));
  auto remembered = ParseSources(SerializeSources(resolved));
  ASSERT_TRUE(remembered.has_value());
  schema.fields[0].name = "renamed";
  ColumnSourcesById after = ResolveSources(schema, configured, *remembered);
  EXPECT_EQ(after[FieldId{1}].path, (std::vector<std::string>{"source_endpoint"}));
  EXPECT_EQ(after[FieldId{2}].path, (std::vector<std::string>{"source_endpoint", "ip"}));
  EXPECT_EQ(ParseSources("{\"x\":1}").error().code(), ErrorCode::kCorruption);
}

}  // namespace
}  // namespace firn::ingest
