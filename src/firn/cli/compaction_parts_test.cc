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

}  // namespace
}  // namespace firn::cli
