#include "firn/cli/proposal.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "firn/cli/program.h"
#include "firn/config/config.h"
#include "firn/kafka/event_generator.h"

namespace firn::cli {
namespace {

Result<config::Config> Parse(const std::string& yaml) {
  config::ProblemList problems;
  return config::ParseConfig(yaml, {}, problems);
}

std::string Propose(const std::vector<std::string>& samples) {
  auto inferred = decode::json::InferSchema(samples, {});
  EXPECT_TRUE(inferred.has_value());
  return ProposalYaml(*inferred, {.table = "lake.flows", .bootstrap = "b:1", .topic = "flows", .folder = "/lake"});
}

TEST(Proposal, IsAConfigurationThatLoads) {
  std::vector<std::string> samples;
  kafka::EventGenerator generator({});
  for (int i = 0; i < 200; ++i) {
    generator.Next();
    samples.emplace_back(generator.value());
  }
  std::string yaml = Propose(samples);
  Result<config::Config> config = Parse(yaml);
  ASSERT_TRUE(config.has_value()) << config.error().message() << "\n" << yaml;
  const ingest::TableRule& rule = config->pipeline.tables.at(0);
  EXPECT_EQ(rule.name, "lake.flows");
  EXPECT_EQ(schema::LeafColumns(rule.schema).size(), 35U) << yaml;
  EXPECT_EQ(rule.schema.FindByName("time")->type->kind(), schema::TypeKind::kTimestamptz);
  EXPECT_EQ(rule.partition, std::vector<std::string>{"day(time)"});
  EXPECT_EQ(config->kafka.topics, std::vector<std::string>{"flows"});
}

// Keys of foreign records go into YAML: none of them may end its line, its quotes or its comment.
TEST(Proposal, OddKeysAreQuoted) {
  std::vector<std::string> samples(5, R"({"a: b": 1, "# c": "x", "q\"u\\o": {"x\ny": 2}, "${HOME}": 3, "d.e": 4,
      "- l": [1], "": 5, "\u0007": 6, "mixed": 1})");
  samples.push_back(R"({"mixed": "text", "a: b": "text"})");
  std::string yaml = Propose(samples);
  Result<config::Config> config = Parse(yaml);
  ASSERT_TRUE(config.has_value()) << config.error().message() << "\n" << yaml;
  const schema::Schema& schema = config->pipeline.tables.at(0).schema;
  auto has = [&](std::string_view name) {
    for (const schema::Field& field : schema.fields) {
      if (field.name == name) return true;
    }
    return false;
  };
  for (const char* name : {"a: b", "# c", "q\"u\\o", "${HOME}", "d.e", "- l", "mixed"}) EXPECT_TRUE(has(name)) << name;
}

TEST(Proposal, TableNamesAreMadeOfTopics) {
  EXPECT_EQ(ProposedTableName("Net.Flows-1"), "lake.net_flows_1");
  EXPECT_EQ(ProposedTableName(""), "lake.events");
}

TEST(Infer, ReadsAFileAndPrintsAConfiguration) {
  std::string path = fmt::format("{}{}/infer_sample.ndjson", ::testing::TempDir(), getpid());
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path) << "{\"time\": 1700000000000, \"n\": 1}\n\nnot json\n{\"time\": 1700000000001, \"n\": 2}\n";
  auto firn = [](std::vector<std::string> arguments, int wanted) {
    std::ostringstream out;
    std::ostringstream err;
    Invocation invocation{out, err, false, false, {}};
    EXPECT_EQ(RunProgram(arguments, invocation, false), wanted) << err.str();
    return out.str();
  };
  Result<config::Config> config = Parse(firn({"infer", "--file", path}, kSuccess));
  ASSERT_TRUE(config.has_value()) << config.error().message();
  EXPECT_EQ(config->pipeline.tables.at(0).name, "lake.infer_sample");
  nlohmann::json document = nlohmann::json::parse(firn({"infer", "--file", path, "--json"}, kSuccess));
  EXPECT_EQ(document["records"], 2);
  EXPECT_EQ(document["unusable"], 1);
  EXPECT_EQ(document["columns"].size(), 2U);
  firn({"infer"}, kUsage);
  firn({"infer", "--bootstrap", "b:1"}, kUsage);
  firn({"infer", "--file", path, "--table", "nodot"}, kUsage);
  firn({"infer", "--file", path, "--samples", "0"}, kUsage);
  firn({"infer", "--file", "/nonexistent"}, kFailure);
}

}  // namespace
}  // namespace firn::cli
