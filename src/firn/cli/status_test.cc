// `firn status` and `firn maintain` without servers: what they print, what they refuse, and the metrics' documentation.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>

#include "firn/cli/maintain_report.h"
#include "firn/cli/program.h"
#include "firn/cli/status_report.h"
#include "firn/config/yaml_tree.h"

namespace firn::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::IsSubsetOf;
using ::testing::Not;

std::filesystem::path SourceRoot() {
  const char* root = std::getenv("FIRN_SOURCE_DIR");
  EXPECT_NE(root, nullptr) << "run by ctest, or set FIRN_SOURCE_DIR to the root of the sources";
  return root == nullptr ? "." : root;
}

std::string Text(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::set<std::string> FindAll(const std::string& text, const std::string& pattern) {
  std::set<std::string> found;
  const std::regex regex(pattern);
  for (std::sregex_iterator at(text.begin(), text.end(), regex), end; at != end; ++at) found.insert((*at)[1]);
  return found;
}

std::set<std::string> DocumentedMetrics() {
  return FindAll(Text(SourceRoot() / "docs/metrics.md"), "`((?:firn|process)_[a-z0-9_]+)`");
}

TEST(Metrics, ThoseOfTheProgramAreThoseOfTheDocument) {
  std::set<std::string> made;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(SourceRoot() / "src/firn")) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with("_metrics.cc") || name.find("_test") != std::string::npos) continue;
    made.merge(FindAll(Text(entry.path()), "\"(firn_[a-z0-9_]+)\""));
  }
  EXPECT_GT(made.size(), 40u);
  std::set<std::string> documented = DocumentedMetrics();
  EXPECT_THAT(made, IsSubsetOf(documented));
  std::erase_if(documented, [](const std::string& name) { return name.starts_with("process_"); });
  EXPECT_THAT(documented, IsSubsetOf(made));
}

TEST(Metrics, AlertsNameOnlyMetricsThatThereAre) {
  config::ProblemList problems;
  const config::YamlNode rules =
      config::ParseYamlTree(Text(SourceRoot() / "docs/alerts/firn-alerts.yaml"), {}, problems);
  ASSERT_NE(rules.Find("groups"), nullptr);
  const std::set<std::string> documented = DocumentedMetrics();
  std::set<std::string> names;
  size_t alerts = 0;
  for (const config::YamlNode& group : rules.Find("groups")->value.items) {
    ASSERT_NE(group.Find("rules"), nullptr);
    for (const config::YamlNode& rule : group.Find("rules")->value.items) {
      ++alerts;
      ASSERT_NE(rule.Find("alert"), nullptr);
      const std::string& name = rule.Find("alert")->value.text;
      EXPECT_TRUE(names.insert(name).second) << name;
      ASSERT_NE(rule.Find("expr"), nullptr) << name;
      // A histogram's series have a suffix.
      std::set<std::string> used =
          FindAll(rule.Find("expr")->value.text, "\\b((?:firn|process)_[a-z0-9_]+?)(?:_bucket|_sum|_count)?\\b");
      EXPECT_FALSE(used.empty()) << name;
      EXPECT_THAT(used, IsSubsetOf(documented)) << name;
      ASSERT_NE(rule.Find("labels"), nullptr) << name;
      EXPECT_NE(rule.Find("labels")->value.Find("severity"), nullptr) << name;
      ASSERT_NE(rule.Find("annotations"), nullptr) << name;
      EXPECT_NE(rule.Find("annotations")->value.Find("summary"), nullptr) << name;
      EXPECT_NE(rule.Find("annotations")->value.Find("remedy"), nullptr) << name;
    }
  }
  EXPECT_GE(alerts, 15u);
}

PipelineStatus Example() {
  PipelineStatus status;
  status.pipeline = "flows";
  status.now_ms = 1'700'000'000'000;
  status.started = true;
  status.cluster_id = "c";
  status.sources = {{"t", 0, 1500, 1000}, {"t", 1, 10, 10}};
  lag::TableLag lag;
  lag.data_files = 1234;
  lag.data_bytes = 5'000'000;
  lag.uncompacted_files = 1200;
  lag.uncompacted_bytes = 4'000'000;
  lag.oldest_ms = status.now_ms - 3 * 24 * 3'600'000LL;
  lag.oldest_at_least = true;
  lag.arrival_bytes_per_s = 1500;
  lag.capacity_bytes_per_s = 3000;
  lag.capacity_ratio = 2;
  lag.state = lag::LagState::kKeepsUp;
  lag.forecast_s = 90;
  lag.write_amplification = 1.5;
  lag.worst = {{0, "day=1", 600, 100, 600, 100, status.now_ms - 1000, 10}};
  status.tables = {{"db.events", lag, std::nullopt},
                   {"db.broken", std::nullopt, Error(ErrorCode::kUnauthorized, "give it a key")},
                   {"db.later", std::nullopt, std::nullopt}};
  return status;
}

TEST(Maintain, FilesThatExpiryLeavesBehindGoAsOrphans) {
  MaintainReport report;
  report.table = "db.events";
  report.applied = true;
  report.expiry.emplace();
  EXPECT_THAT(ToText(report), Not(HasSubstr("--orphans")));
  report.expiry->deleted.stopped = true;
  EXPECT_THAT(ToText(report), HasSubstr("for the rest run firn maintain --orphans"));
  EXPECT_THAT(ToText(report), Not(HasSubstr("run it again")));
  report.expiry->deleted.stopped = false;
  report.expiry->search_error = Error(ErrorCode::kIoError, "the disk is gone");
  EXPECT_THAT(ToText(report), HasSubstr("files are left behind"));
}

TEST(Status, ShowsPeopleWhatTheyNeed) {
  PipelineStatus status = Example();
  const std::string text = ToText(status);
  EXPECT_THAT(text, HasSubstr("500 records not yet in their tables, in 1 of 2 source partitions"));
  EXPECT_THAT(text, HasSubstr("! db.broken: unauthorized: give it a key"));
  EXPECT_THAT(text, HasSubstr("WORST PARTITIONS OF db.events"));
  // The columns stand below each other.
  std::istringstream lines(text);
  std::string line;
  size_t forecast = 0;
  bool seen = false;
  while (std::getline(lines, line)) {
    if (line.starts_with("TABLE")) forecast = line.find("FORECAST") + 8;
    if (!line.starts_with("db.events")) continue;
    EXPECT_EQ(line.find("done in 1m 30s") + 14, forecast);
    EXPECT_THAT(line, HasSubstr(">3d 00h"));
    EXPECT_THAT(line, HasSubstr("1.50x"));
    seen = true;
  }
  EXPECT_TRUE(seen);
  status.kafka_error = Error(ErrorCode::kUnavailable, "no broker answers");
  EXPECT_THAT(ToText(status), HasSubstr("lag not known, the brokers were not reached: no broker answers"));
}

TEST(Status, TellsMachinesTheSame) {
  PipelineStatus status = Example();
  nlohmann::json document = ToJson(status);
  EXPECT_EQ(document["ingest"]["lag_records"], 500);
  EXPECT_EQ(document["tables"][0]["compaction"]["uncompacted_files"], 1200);
  EXPECT_EQ(document["tables"][0]["compaction"]["oldest_seconds"], 259200.0);
  EXPECT_EQ(document["tables"][0]["compaction"]["state"], "keeps_up");
  EXPECT_EQ(document["tables"][0]["compaction"]["worst_partitions"][0]["partition"], "day=1");
  EXPECT_TRUE(document["tables"][0]["scan"]["metadata_bytes"].is_null());
  EXPECT_EQ(document["tables"][1]["error"]["code"], "unauthorized");
  EXPECT_EQ(document["tables"][2]["exists"], false);
  EXPECT_TRUE(status.has_failed_tables());
  status.sources.push_back({"t", 2, std::nullopt, 7});
  EXPECT_TRUE(ToJson(status)["ingest"]["lag_records"].is_null());
  status.sources.pop_back();
  status.kafka_error = Error(ErrorCode::kUnavailable, "no broker answers");
  document = ToJson(status);
  EXPECT_EQ(document["kafka"]["reachable"], false);
  EXPECT_TRUE(document["ingest"]["lag_records"].is_null());
}

// What a worker's loop knows, as it stands on its page.
Upkeep ExampleUpkeep(int64_t now_ms) {
  compaction::LoopStatus compaction;
  compaction.table_errors.insert(
      {"db.events", {Error(ErrorCode::kUnauthorized, "403 from the bucket"), now_ms - 300'000, 4}});
  compaction.table_errors.insert({"", {Error(ErrorCode::kUnavailable, "no catalog"), now_ms - 1000, 1}});
  maintenance::MaintenanceStatus maintenance;
  maintenance::TaskStatus& expire = maintenance["db.events"][maintenance::Task::kExpire];
  expire = {.runs = 2, .last_ms = now_ms - 60'000, .next_ms = now_ms + 1000};
  expire.freed = {.files = 12, .bytes = 3000, .snapshots = 5};
  maintenance::TaskStatus& orphans = maintenance["db.events"][maintenance::Task::kOrphans];
  orphans = {.runs = 1, .error = Error(ErrorCode::kUnsupported, "gc.enabled is false"), .failures = 1};
  orphans.error_since_ms = now_ms - 7000;
  return UpkeepOf(compaction, maintenance);
}

TEST(Status, ErrorsStandThereWithTheirRemedies) {
  PipelineStatus status = Example();
  status.workers = {{"h:1", std::nullopt}, {"h:2", Error(ErrorCode::kUnavailable, "refused")}};
  status.upkeep = ExampleUpkeep(status.now_ms);
  std::string text = ToText(status);
  EXPECT_THAT(text, HasSubstr("! db.events: compaction fails, 4 times since 5m 00s: unauthorized: 403 from the bucket\n"
                              "  remedy: let the worker"));
  EXPECT_THAT(text, HasSubstr("! db.events: orphans fails, 1 times since 7.0s: unsupported: gc.enabled is false\n"));
  EXPECT_THAT(text, HasSubstr("! all tables: compaction fails"));
  EXPECT_THAT(text, HasSubstr("expire db.events: 3.0 kB, 12 files, 5 snapshots; last 1m 00s ago"));
  EXPECT_THAT(text, HasSubstr("maintenance: not known of the worker at h:2: refused"));
  const nlohmann::json document = ToJson(status);
  EXPECT_EQ(document["workers"][1]["reachable"], false);
  EXPECT_EQ(document["upkeep"]["errors"][0]["code"], "unavailable");
  const nlohmann::json& of_table = document["tables"][0]["upkeep"];
  EXPECT_EQ(of_table["errors"].size(), 2u);
  EXPECT_EQ(of_table["errors"][0]["task"], "compaction");
  EXPECT_FALSE(of_table["errors"][0]["remedy"].get<std::string>().empty());
  EXPECT_EQ(of_table["maintenance"]["expire"]["freed"]["snapshots"], 5);
  EXPECT_TRUE(document["tables"][1]["upkeep"].is_null());
  // They go with the error.
  status.upkeep["db.events"].errors.clear();
  status.upkeep.erase("");
  EXPECT_THAT(ToText(status), Not(HasSubstr("remedy")));
}

TEST(Status, WhatAWorkersPageSaysComesOverWhole) {
  const Upkeep upkeep = ExampleUpkeep(1'700'000'000'000);
  const std::string page = nlohmann::json{{"pipeline", "p"}, {"upkeep", ToJson(upkeep)}}.dump();
  Result<Upkeep> parsed = ParseUpkeep(page, "p");
  ASSERT_TRUE(parsed.has_value()) << parsed.error().ToString();
  EXPECT_EQ(ToJson(*parsed), ToJson(upkeep));
  EXPECT_EQ(ParseUpkeep(page, "q").error().code(), ErrorCode::kNotFound);
  for (const std::string wrong : {"", "{}", "[]", R"({"pipeline": "p"})", R"({"pipeline": "p", "upkeep": {"a": 1}})",
                                  R"({"pipeline": 1, "upkeep": {}})"}) {
    EXPECT_EQ(ParseUpkeep(wrong, "p").error().code(), ErrorCode::kCorruption) << wrong;
  }
  // Of two workers the one that has done it last counts, and both errors.
  Upkeep both = *parsed;
  Upkeep more;
  more["db.events"].tasks["expire"] = {.runs = 1, .last_ms = 1'700'000'000'000, .freed = {{"files", 1}}};
  more["db.events"].errors.push_back({.task = "retain"});
  Add(both, std::move(more));
  EXPECT_EQ(both["db.events"].tasks["expire"].freed.at("files"), 1);
  EXPECT_EQ(both["db.events"].errors.size(), 3u);
}

TEST(Status, EachCodeHasARemedy) {
  for (const ErrorCode code : {ErrorCode::kInvalidInput, ErrorCode::kNotFound, ErrorCode::kConflict,
                               ErrorCode::kUnavailable, ErrorCode::kCorruption, ErrorCode::kUnsupported,
                               ErrorCode::kUnauthorized, ErrorCode::kResourceExhausted, ErrorCode::kIoError}) {
    EXPECT_NE(RemedyOf(code), RemedyOf(ErrorCode::kInternal)) << ErrorCodeName(code);
  }
}

TEST(Maintain, SaysWhatItHasFreedAndWhatItWouldFree) {
  MaintainReport report;
  report.table = "db.events";
  report.orphans.emplace();
  report.orphans->orphans = 2;
  report.orphans->orphan_bytes = 2000;
  report.orphans->locations = {"file:///a", "file:///b"};
  std::string text = ToText(report);
  EXPECT_THAT(text, HasSubstr("orphans: 2 files, 2.0 kB"));
  EXPECT_THAT(text, HasSubstr("file:///b"));
  EXPECT_THAT(text, HasSubstr("nothing was changed; give --apply"));
  EXPECT_THAT(text, Not(HasSubstr("freed")));
  report.applied = true;
  report.orphans->deleted = {.files = 1, .bytes = 1000, .failed = 1};
  report.error = Error(ErrorCode::kIoError, "disk");
  text = ToText(report);
  EXPECT_THAT(text, HasSubstr("deleted 1 files, 1.0 kB freed"));
  EXPECT_THAT(text, HasSubstr("because it failed: 1"));
  const nlohmann::json document = ToJson(report);
  EXPECT_EQ(document["orphans"]["deleted"]["bytes"], 1000);
  EXPECT_EQ(document["error"]["code"], "io_error");
  EXPECT_FALSE(document.contains("expiry"));
}

TEST(Maintain, WrongCommandLinesAreUsageErrors) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"maintain", "--table", "a.b"},
           {"maintain", "--orphans"},
           {"maintain", "--table", "a.b", "--orphans", "--apply", "--dry-run"},
           {"maintain", "--table", "a.b", "--orphans", "--older-than", "3"},
           {"maintain", "--table", "a.b", "--expire", "--keep-snapshots", "0"},
           {"maintain", "--table", "a.b", "--retain", "event_day"},
           {"maintain", "--table", "a.b", "--retain", "event_day=long"},
           {"maintain", "--table", "b", "--expire"},
           {"status", "--interval", "1s"},
           {"status", "--watch", "--interval", "1ms"},
           {"status", "--window", "0s"},
           {"status", "--table", "b"},
       }) {
    std::ostringstream out;
    std::ostringstream err;
    Invocation invocation{out, err, false, false, {}};
    EXPECT_EQ(RunProgram(arguments, invocation, false), kUsage) << fmt::format("{}", fmt::join(arguments, " "));
    EXPECT_NE(err.str(), "");
  }
}

}  // namespace
}  // namespace firn::cli
