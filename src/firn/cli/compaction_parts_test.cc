#include "firn/cli/compaction_parts.h"

#include <gtest/gtest.h>

#include "firn/cli/table_loop.h"
#include "firn/env/testing/manual_clock.h"
#include "firn/iceberg/catalog/testing/memory_catalog.h"

namespace firn::cli {
namespace {

TEST(CompactionPartsTest, CapacityIsThatOfAllWorkers) {
  config::Config config;
  config.compaction.cpu_share_max_percent = 50;
  compaction::LoopStatus status{.bytes_per_cpu_second = 1000};
  compaction::LoopScope scope{.shares = 12, .mine = {0, 1, 2, 3}};
  EXPECT_EQ(CompactionCapacityOf(config, status, scope), 1500);
  // One worker alone, however many partitions there are.
  scope.mine = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  EXPECT_EQ(CompactionCapacityOf(config, status, scope), 500);
  scope.mine = {};
  EXPECT_EQ(CompactionCapacityOf(config, status, scope), std::nullopt);
  scope.mine = {1};
  status.bytes_per_cpu_second = 0;
  EXPECT_EQ(CompactionCapacityOf(config, status, scope), std::nullopt);
}

TEST(CompactionPartsTest, LagIsJudgedByWhatTheLoopDoes) {
  config::Config config;
  config.compaction.cpu_share_max_percent = 40;
  config.compaction.files_min = 5;
  config.compaction.cold_after_ms = 7'000;
  config.pipeline.memory_limit_bytes = 800;
  lag::LagOptions options = LagOptionsOf(config);
  EXPECT_DOUBLE_EQ(options.cpu_share, 0.4);
  EXPECT_EQ(options.files_min, 5u);
  EXPECT_EQ(options.cold_after_ms, 7'000);
  EXPECT_EQ(options.memory_bytes, 100);
  EXPECT_EQ(options.stalled_after_ms, 30 * 60'000);
  // Who compacts elsewhere has a core; a loop that looks rarely is given more time.
  config.compaction.enabled = false;
  config.compaction.interval_ms = 3'600'000;
  options = LagOptionsOf(config);
  EXPECT_DOUBLE_EQ(options.cpu_share, 1);
  EXPECT_EQ(options.stalled_after_ms, 16 * 3'600'000);
}

// A pipeline whose home says that one of its tables is on hold.
class LoadScopeTest : public ::testing::Test {
 protected:
  LoadScopeTest() {
    pipeline_.pipeline = "p";
    pipeline_.home_table = "lake.p__home";
    pipeline_.rejects_table = "lake.p__rejects";
    ingest::TableRule rule;
    rule.name = "lake.events";
    pipeline_.tables = {rule};
    iceberg::CreateTableRequest request;
    request.location = "file:///lake/home";
    request.schema.fields = {{FieldId{1}, "id", schema::Type::Primitive(schema::TypeKind::kLong)}};
    EXPECT_TRUE(catalog_.EnsureNamespace({"lake"}).has_value());
    EXPECT_TRUE(catalog_.CreateTable(kHome, request).has_value());
  }

  void SetHeld(bool held) {
    ingest::PositionsMap home;
    home.table = "lake.p__home";
    home.table_uuid = "u";
    home.home.emplace();
    const ingest::PartitionKey key{"cluster", "topic", 0};
    home.marks[key];
    for (const char* name : {"lake.events", "lake.made_by_template"}) {
      home.home->tables.push_back({.table = name, .table_uuid = name, .state = ingest::ListedState::kAttached});
      if (held) home.home->detached.push_back({.table = name, .partition = key, .topic = "topic", .hold = true});
    }
    const std::string property = ingest::PositionsProperty("p");
    ASSERT_TRUE(
        catalog_.CommitAsSomebodyElse(kHome, {iceberg::SetProperties{{{property, home.Serialize()}}}}).has_value());
  }

  std::vector<std::string> Tables(const std::string& only) {
    Result<compaction::LoopScope> scope = LoadScope(catalog_, pipeline_, only);
    EXPECT_TRUE(scope.has_value()) << scope.error().ToString();
    std::vector<std::string> names;
    for (const iceberg::TableIdentifier& table : scope->tables) names.push_back(table.ToString());
    return names;
  }

  inline static const iceberg::TableIdentifier kHome{{"lake"}, "p__home"};
  env::ManualClock clock_;
  iceberg::MemoryCatalog catalog_{clock_};
  ingest::PipelineOptions pipeline_;
};

TEST_F(LoadScopeTest, ATableOnHoldIsLeftAloneThoughItIsNamed) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(Tables(""), (Names{"lake.events", "lake.p__rejects"}));
  // One that the pipeline does not feed is compacted all the same.
  EXPECT_EQ(Tables("lake.foreign"), Names{"lake.foreign"});
  SetHeld(false);
  EXPECT_EQ(Tables(""), (Names{"lake.events", "lake.made_by_template", "lake.p__rejects"}));
  EXPECT_EQ(Tables("lake.events"), Names{"lake.events"});
  SetHeld(true);
  EXPECT_EQ(Tables(""), Names{"lake.p__rejects"});
  EXPECT_EQ(Tables("lake.events"), Names{});
  EXPECT_EQ(Tables("lake.made_by_template"), Names{});
  EXPECT_EQ(Tables("lake.foreign"), Names{"lake.foreign"});
  SetHeld(false);
  EXPECT_EQ(Tables("lake.events"), Names{"lake.events"});
}

TEST(TableLoopTest, MaintenanceIsAsTheConfigurationSays) {
  config::Config config;
  ingest::TableRule rule;
  rule.name = "lake.events";
  rule.retention = ingest::DataRetention{"event_day", 7'200'000};
  config.pipeline.tables = {rule};
  config.maintenance.orphans_older_than_ms = 1;
  config.pipeline.commit_max_age_ms = 2;
  config.pipeline.memory_limit_bytes = 800;
  const maintenance::MaintenanceOptions options = MaintenanceOptionsOf(config);
  EXPECT_EQ(options.interval_ms.at(maintenance::Task::kOrphans), 0);
  EXPECT_EQ(options.interval_ms.at(maintenance::Task::kExpire), 3'600'000);
  EXPECT_EQ(options.orphans_older_than_ms, 1);
  EXPECT_EQ(options.commit_max_age_ms, 2);
  EXPECT_EQ(options.memory_bytes, 100);
  EXPECT_EQ(options.retention("lake.events")->field, "event_day");
  EXPECT_EQ(options.retention("lake.events")->age_ms, 7'200'000);
  EXPECT_FALSE(options.retention("lake.other").has_value());
}

}  // namespace
}  // namespace firn::cli
