#include "firn/cli/compaction_parts.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace firn::cli
