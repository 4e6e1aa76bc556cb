// What routing patterns and fields do with text from outside, long and broken text included.
#include "firn/ingest/rules.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace firn::ingest {
namespace {

std::unique_ptr<Router> MakeRouter(const std::vector<TableRule>& rules) {
  auto router = Router::Create(rules);
  EXPECT_TRUE(router.has_value()) << router.error().ToString();
  return router.has_value() ? std::move(*router) : nullptr;
}

TableRule MakeRule(std::string table, std::vector<RouteMatch> match) {
  TableRule rule;
  rule.name = std::move(table);
  rule.match = std::move(match);
  return rule;
}

// The rule that took the record; -1: none, then `code` says why.
int RouteOf(Router& router, const stream::Record& record, decode::RejectCode* code = nullptr) {
  Route route;
  decode::Reject reject;
  if (router.RouteRecord(record, "topic", route, reject)) return static_cast<int>(route.rule);
  if (code != nullptr) *code = reject.code;
  return -1;
}

int RouteOf(Router& router, const std::string& value, decode::RejectCode* code = nullptr) {
  stream::Record record;
  record.value = value;
  return RouteOf(router, record, code);
}

TEST(RulesTest, RowsLeaveATableOnlyWhereItsOwnRuleSaysSo) {
  PipelineOptions options;
  options.rejects_table = "lake.p__rejects";
  options.home_table = "lake.p__home";
  options.tables = {MakeRule("lake.{topic}", {}), MakeRule("lake.audit", {}), MakeRule("lake.{field:kind}_x", {})};
  options.tables[0].retention = DataRetention{"day", 1000};
  EXPECT_EQ(RetentionOf(options, "lake.flows")->age_ms, 1000);
  EXPECT_EQ(RetentionOf(options, "lake.audit"), std::nullopt);
  EXPECT_EQ(RetentionOf(options, "other.flows"), std::nullopt);
  // The template could have made these names too.
  EXPECT_EQ(RetentionOf(options, "lake.p__rejects"), std::nullopt);
  EXPECT_EQ(RetentionOf(options, "lake.p__home"), std::nullopt);
  // Of two that could have made it, one says nothing, or another field; else the longer one holds.
  EXPECT_EQ(RetentionOf(options, "lake.flows_x"), std::nullopt);
  options.tables[2].retention = DataRetention{"hour", 5000};
  EXPECT_EQ(RetentionOf(options, "lake.flows_x"), std::nullopt);
  options.tables[2].retention = DataRetention{"day", 5000};
  EXPECT_EQ(RetentionOf(options, "lake.flows_x")->age_ms, 5000);
}

TEST(RulesTest, PatternsTakeFieldsAndHeadersOfAMegabyte) {
  const std::string long_text(1 << 20, 'a');
  auto router = MakeRouter({MakeRule("a.b", {RouteMatch{.field_path = {"f"}, .field_regex = ".*x.*"},
                                             RouteMatch{.field_path = {"f"}, .field_regex = "(a|b)*c"},
                                             RouteMatch{.header_name = "h", .header_regex = ".*x.*"}})});
  EXPECT_EQ(RouteOf(*router, R"({"f":")" + long_text + R"("})"), -1);
  EXPECT_EQ(RouteOf(*router, R"({"f":")" + long_text + R"(x"})"), 0);
  EXPECT_EQ(RouteOf(*router, R"({"f":")" + long_text + R"(c"})"), 0);

  stream::Record record;
  const std::string header_text = long_text + "x" + long_text;
  stream::Header header{"h", header_text};
  record.headers = std::span(&header, 1);
  EXPECT_EQ(RouteOf(*router, record), 0);
}

// What takes time that grows exponentially in an engine that goes back must be answered all the same.
TEST(RulesTest, PatternsThatInviteBacktrackingAreLinear) {
  auto router = MakeRouter({MakeRule("a.b", {RouteMatch{.field_path = {"f"}, .field_regex = "(a*)*(a*)*b"}})});
  EXPECT_EQ(RouteOf(*router, R"({"f":")" + std::string(100'000, 'a') + R"("})"), -1);
}

TEST(RulesTest, PatternsSeeCharactersNotBytes) {
  auto router = MakeRouter({MakeRule("a.b", {RouteMatch{.field_path = {"f"}, .field_regex = "[äö]."}})});
  EXPECT_EQ(RouteOf(*router, R"({"f":"ä€"})"), 0);
  EXPECT_EQ(RouteOf(*router, R"({"f":"u€"})"), -1);
}

TEST(RulesTest, PatternsThatCannotBeReadAreNamed) {
  for (const char* pattern : {"(", "[a", "(a)\\1", "(?=a)", "((a{1000}){1000}){1000}", "\xff"}) {
    for (int which = 0; which < 3; ++which) {
      RouteMatch match;
      if (which == 0) match.topic_regex = pattern;
      if (which == 1) match.field_path = {"f"}, match.field_regex = pattern;
      if (which == 2) match.header_name = "h", match.header_regex = pattern;
      auto router = Router::Create({MakeRule("a.b", {match})});
      ASSERT_FALSE(router.has_value()) << pattern;
      EXPECT_EQ(router.error().code(), ErrorCode::kInvalidInput) << pattern;
      EXPECT_NE(router.error().message().find(pattern), std::string::npos) << pattern;
    }
  }
}

// Several conditions look into one record in any order; what one of them read must not change what another sees.
TEST(RulesTest, ConditionsOnManyFieldsOfOneRecord) {
  auto router = MakeRouter({
      MakeRule("a.zero", {RouteMatch{.field_path = {"z", "deep"}, .field_equals = "1"},
                          RouteMatch{.field_path = {"a"}, .field_equals = "no"}}),
      MakeRule("a.one", {RouteMatch{.field_path = {"a"}, .field_equals = "\n\u20ac"}}),
      MakeRule("a.two", {RouteMatch{.field_path = {"z", "deep"}, .field_equals = "2"}}),
      MakeRule("a.{field:a}_{field:z.deep}_{field:a}", {RouteMatch{.field_path = {"z", "deep"}, .field_regex = "3"}}),
  });
  EXPECT_EQ(RouteOf(*router, R"({"a":"\n\u20ac","b":[1,{"z":2}],"z":{"x":{},"deep":7}})"), 1);
  EXPECT_EQ(RouteOf(*router, R"({"z":{"deep":2},"a":[]})"), 2);
  EXPECT_EQ(RouteOf(*router, R"({"z":{"deep":1},"a":"no"})"), 0);
  EXPECT_EQ(RouteOf(*router, R"({"z":5,"a":"no"})"), 0);

  stream::Record record;
  record.value = R"({"z":{"deep":3},"a":"X"})";
  Route route;
  decode::Reject reject;
  ASSERT_TRUE(router->RouteRecord(record, "topic", route, reject));
  EXPECT_EQ(route.table, "a.x_3_x");

  // Nothing of the record before is left.
  decode::RejectCode code{};
  EXPECT_EQ(RouteOf(*router, R"({})", &code), -1);
  EXPECT_EQ(code, decode::RejectCode::kNoRoute);
  stream::Record tombstone;
  EXPECT_EQ(RouteOf(*router, tombstone, &code), -1);
  EXPECT_EQ(code, decode::RejectCode::kNoRoute);
}

TEST(RulesTest, ABrokenValueIsSaidToBeBrokenByWhicheverConditionMeetsIt) {
  auto router = MakeRouter({
      MakeRule("a.zero", {RouteMatch{.field_path = {"late"}, .field_equals = "x"}}),
      MakeRule("a.one", {RouteMatch{.field_path = {"late", "r"}, .field_equals = "x"}}),
  });
  for (const char* value : {R"({"early":1,"late")", R"({"early":1)", R"({"early":1,)", R"({"late":"\ud800"})",
                            R"({"late":"\q"})", "{\"late\":\"\xff\"}", "{", R"({"a" 1})"}) {
    decode::RejectCode code{};
    EXPECT_EQ(RouteOf(*router, value, &code), -1) << value;
    EXPECT_EQ(code, decode::RejectCode::kMalformedJson) << value;
  }
  // The next record is looked at afresh.
  EXPECT_EQ(RouteOf(*router, R"({"late":"x"})"), 0);
}

}  // namespace
}  // namespace firn::ingest
