// The commands on a whole pipeline: brokers in this process, a SQLite catalog and a local warehouse.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "firn/cli/demo_folder.h"
#include "firn/cli/program.h"
#include "firn/kafka/event_generator.h"
#include "firn/kafka/mock_cluster.h"
#include "firn/kafka/producer.h"

namespace firn::cli {
namespace {

struct Outcome {
  int code = -1;
  nlohmann::json document;
  std::string err;
};

Outcome FirnJson(std::vector<std::string> arguments) {
  arguments.push_back("--json");
  std::ostringstream out;
  std::ostringstream err;
  Invocation invocation{out, err, false, false, {}};
  int code = RunProgram(arguments, invocation, false);
  return {code, nlohmann::json::parse(out.str(), nullptr, false), err.str()};
}

std::filesystem::path EmptyFolder(const std::string& name) {
  // Several builds may run their tests on one machine at the same time.
  std::filesystem::path folder = std::filesystem::path(::testing::TempDir()) / fmt::format("{}_{}", name, getpid());
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

std::multiset<std::string> Codes(const nlohmann::json& document, std::string_view verdict) {
  std::multiset<std::string> codes;
  for (const nlohmann::json& check : document["checks"]) {
    if (check["verdict"] == verdict) codes.insert(check["code"].get<std::string>());
  }
  return codes;
}

// Writes `good` events and as many malformed ones as come along with them.
int64_t ProduceEvents(const kafka::MockCluster& cluster, const std::string& topic, int partitions, int64_t events) {
  auto producer = kafka::Producer::Create({.bootstrap = cluster.bootstrap()}).value();
  kafka::EventGenerator generator({.malformed_every = 100});
  int64_t malformed = 0;
  for (int64_t i = 0; i < events; ++i) {
    generator.Next();
    if (generator.malformation() != kafka::Malformation::kNone) ++malformed;
    EXPECT_TRUE(
        producer->Produce(topic, static_cast<int32_t>(i % partitions), {.value = generator.value()}).has_value());
  }
  EXPECT_TRUE(producer->Flush(30'000).has_value());
  return malformed;
}

TEST(Demo, CountsAgreeAndTheFolderMayBeUsedAgain) {
  std::filesystem::path folder = EmptyFolder("firn_demo_test");
  for (int round = 0; round < 2; ++round) {
    Outcome demo = FirnJson({"demo", "--dir", folder.string(), "--events", "5000", "--rate", "100000"});
    ASSERT_EQ(demo.code, kSuccess) << demo.err << demo.document.dump(2);
    EXPECT_EQ(demo.document["events"], 5000);
    EXPECT_EQ(demo.document["verified"], true);
    EXPECT_EQ(demo.document["rows"].get<int>() + demo.document["rejects"].get<int>(), 5000);
    EXPECT_GT(demo.document["rejects"], 0);
    EXPECT_TRUE(demo.document["run"]["lag_records"].is_number()) << demo.document.dump(2);
    EXPECT_TRUE(std::filesystem::exists(folder / "query_duckdb.py"));
    EXPECT_TRUE(std::filesystem::exists(folder / "query_pyiceberg.py"));
  }
}

TEST(Commands, CheckRunAndPositionsOnOnePipeline) {
  std::filesystem::path folder = EmptyFolder("firn_commands_test");
  auto cluster = kafka::MockCluster::Create().value();
  ASSERT_TRUE(cluster->CreateTopic("events", 3).has_value());
  std::string config_path = (folder / "firn.yaml").string();
  std::ofstream(config_path)
      << "pipeline: test\nkafka: {bootstrap.servers: '" << cluster->bootstrap() << "'}\nsource: {topics: [events]}\n"
      << "catalog: {type: sqlite, uri: '" << (folder / "catalog.db").string() << "', warehouse: 'file://"
      << (folder / "warehouse").string() << "'}\n"
      << "tables:\n  - name: lake.events\n    partition: [day(time)]\n    columns:\n"
      << "      - {name: time, type: timestamptz, required: true}\n      - {name: severity, type: string}\n"
      << "http: {listen: 'off'}\ncommit: {interval: 1s}\nlog: {level: error}\n";
  int64_t malformed = ProduceEvents(*cluster, "events", 3, 2000);

  // Neither looking nor setting makes a catalog.
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"positions", "show", "-c", config_path},
           {"positions", "rebuild", "--yes", "-c", config_path},
           {"positions", "set", "--topic", "t", "--offset", "1", "--yes", "-c", config_path},
       }) {
    Outcome nothing = FirnJson(arguments);
    EXPECT_EQ(nothing.code, kFailure) << arguments[1];
    EXPECT_EQ(nothing.document["error"]["code"], "not_found") << nothing.document.dump(2);
  }
  Outcome before = FirnJson({"check", "-c", config_path, "--write-probe"});
  EXPECT_EQ(Codes(before.document, "note").count("catalog_to_create"), 1U) << before.document.dump(2);
  EXPECT_EQ(Codes(before.document, "ok").count("catalog_reached"), 0U);
  EXPECT_FALSE(std::filesystem::exists(folder / "catalog.db"));
  EXPECT_EQ(before.code, kSuccess) << before.document.dump(2);
  std::multiset<std::string> fine = Codes(before.document, "ok");
  EXPECT_EQ(fine.count("table_to_create"), 3U) << before.document.dump(2);  // the table, its rejects, the home
  EXPECT_EQ(fine.count("topic_readable"), 1U);
  EXPECT_EQ(fine.count("store_writable"), 1U);
  EXPECT_EQ(Codes(before.document, "note").count("required_without_source"), 1U);

  Outcome first = FirnJson({"run", "-c", config_path, "--until-caught-up"});
  ASSERT_EQ(first.code, kSuccess) << first.err;
  EXPECT_EQ(first.document["caught_up"], true);
  EXPECT_EQ(first.document["rows_committed"].get<int64_t>() + first.document["rejects_committed"].get<int64_t>(), 2000);
  EXPECT_LE(first.document["rejects_committed"].get<int64_t>(),
            malformed);  // some break a field that is no column here
  EXPECT_GT(first.document["rejects_committed"].get<int64_t>(), 0);

  Outcome second = FirnJson({"run", "-c", config_path, "--until-caught-up"});
  EXPECT_EQ(second.code, kSuccess) << second.err;
  EXPECT_EQ(second.document["rows_committed"], 0);

  Outcome after = FirnJson({"check", "-c", config_path});
  EXPECT_EQ(after.code, kSuccess) << after.document.dump(2);
  EXPECT_EQ(Codes(after.document, "ok").count("table_exists"), 3U) << after.document.dump(2);

  Outcome positions = FirnJson({"positions", "show", "-c", config_path});
  EXPECT_EQ(positions.code, kSuccess) << positions.err;
  EXPECT_EQ(positions.document["home"]["positions"].size(), 3U);

  // To another cluster: the plan names what is missing, and is carried out with --yes alone.
  const nlohmann::json& first_position = positions.document["home"]["positions"][0];
  std::vector<std::string> move = {"positions",      "move",
                                   "-c",             config_path,
                                   "--topic",        "events",
                                   "--from-cluster", first_position["cluster_id"],
                                   "--cluster-id",   "another",
                                   "--topic-id",     "made-there"};
  EXPECT_EQ(FirnJson(move).code, kUsage);
  move.back() = "8PQPbAscT46__6Mfno18aw";
  std::string pairs_path = (folder / "pairs.txt").string();
  move.insert(move.end(), {"--offsets", pairs_path});
  EXPECT_EQ(FirnJson(move).code, kFailure) << "no such file";
  std::ofstream pairs(pairs_path);
  pairs << "# partition old new\n";
  for (const nlohmann::json& each : positions.document["home"]["positions"]) {
    if (each["partition"] != 0) pairs << each["partition"] << " " << each["offset"] << " 7\n";
  }
  pairs.flush();
  Outcome incomplete = FirnJson(move);
  EXPECT_EQ(incomplete.document["error"]["code"], "invalid_input") << incomplete.document.dump(2);
  pairs << "0 " << first_position["offset"] << " 5\n";
  pairs.close();
  Outcome plan = FirnJson(move);
  EXPECT_EQ(plan.code, kSuccess) << plan.document.dump(2);
  EXPECT_EQ(plan.document["done"], false);
  EXPECT_EQ(plan.document["changes"].size(), 9U);
  EXPECT_EQ(FirnJson({"positions", "show", "-c", config_path}).document["home"]["positions"].size(), 3U);
  move.push_back("--yes");
  EXPECT_EQ(FirnJson(move).code, kSuccess);
  Outcome moved = FirnJson({"positions", "show", "-c", config_path});
  ASSERT_EQ(moved.document["home"]["positions"].size(), 6U);
  EXPECT_EQ(moved.document["home"]["positions"][0]["topic_id"], "f0f40f6c-0b1c-4f8e-bfff-a31f9e8d7c6b");
}

TEST(Commands, CheckSaysWhyNoBrokerAnswers) {
  std::filesystem::path folder = EmptyFolder("firn_no_broker_test");
  std::string config_path = (folder / "firn.yaml").string();
  std::ofstream(config_path) << "pipeline: test\nkafka: {bootstrap.servers: '127.0.0.1:1'}\nsource: {topics: [t]}\n"
                             << "catalog: {type: sqlite, uri: '" << (folder / "catalog.db").string()
                             << "', warehouse: 'file://" << folder.string() << "'}\ntables: [{name: lake.events}]\n";
  Outcome check = FirnJson({"check", "-c", config_path});
  EXPECT_EQ(check.code, kFailure);
  EXPECT_EQ(Codes(check.document, "error").count("unavailable"), 1U) << check.document.dump(2);
  EXPECT_EQ(check.err, "");
}

// The program links two OpenSSLs, one inside of a library; with the wrong one first this ended in a crash.
TEST(Commands, CheckWithTlsAndTheSystemsCertificates) {
  std::filesystem::path folder = EmptyFolder("firn_tls_test");
  std::string config_path = (folder / "firn.yaml").string();
  std::ofstream(config_path) << "pipeline: test\nkafka: {bootstrap.servers: '127.0.0.1:1', security.protocol: SSL}\n"
                             << "source: {topics: [t]}\ncatalog: {type: sqlite, uri: '"
                             << (folder / "catalog.db").string() << "', warehouse: 'file://" << folder.string()
                             << "'}\ntables: [{name: lake.events}]\n";
  Outcome check = FirnJson({"check", "-c", config_path});
  EXPECT_EQ(check.code, kFailure);
  EXPECT_EQ(Codes(check.document, "error").count("unavailable"), 1U) << check.document.dump(2);
}

TEST(Commands, ACatalogFileInAMissingFolderIsAnError) {
  std::filesystem::path folder = EmptyFolder("firn_no_folder_test");
  std::string config_path = (folder / "firn.yaml").string();
  std::ofstream(config_path) << "pipeline: test\nkafka: {bootstrap.servers: '127.0.0.1:1'}\nsource: {topics: [t]}\n"
                             << "catalog: {type: sqlite, uri: '" << (folder / "typo" / "catalog.db").string()
                             << "', warehouse: 'file://" << folder.string() << "'}\ntables: [{name: lake.events}]\n";
  Outcome check = FirnJson({"check", "-c", config_path});
  EXPECT_EQ(check.code, kFailure);
  EXPECT_EQ(Codes(check.document, "error").count("not_found"), 1U) << check.document.dump(2);
  EXPECT_FALSE(std::filesystem::exists(folder / "typo"));
}

TEST(Commands, CheckNamesWhatIsMissing) {
  std::filesystem::path folder = EmptyFolder("firn_check_test");
  auto cluster = kafka::MockCluster::Create().value();
  std::string config_path = (folder / "firn.yaml").string();
  std::ofstream(config_path) << "pipeline: test\nkafka: {bootstrap.servers: '" << cluster->bootstrap()
                             << "'}\nsource: {topics: [none]}\n"
                             << "catalog: {type: sqlite, uri: '" << (folder / "catalog.db").string()
                             << "', warehouse: 'file://" << (folder / "warehouse").string()
                             << "'}\ntables: [{name: lake.events}]\n";
  Outcome check = FirnJson({"check", "-c", config_path});
  EXPECT_EQ(check.code, kFailure);
  std::multiset<std::string> errors = Codes(check.document, "error");
  EXPECT_EQ(errors.count("topic_missing"), 1U) << check.document.dump(2);
  EXPECT_EQ(errors.count("table_missing"), 1U) << check.document.dump(2);
}

TEST(DemoFolder, NamesThatWouldNeedEscapingAreRefused) {
  for (const char* name : {"", "a'b", "a\"b", "a%20b", "a?b", "a#b"}) {
    EXPECT_EQ(DemoFolder::Prepare(name).error().code(), ErrorCode::kInvalidInput) << name;
  }
}

}  // namespace
}  // namespace firn::cli
