#include "firn/sim/scale.h"

#include <gtest/gtest.h>

namespace firn::sim {
namespace {

ScaleResult RunScaled(int32_t workers, int32_t partitions) {
  ScaleOptions options;
  options.workers = workers;
  options.partitions = partitions;
  options.minutes = 15;
  return RunScale(options);
}

int64_t CommitsThen(const ScaleResult& result) {
  return result.end.home_commits - result.start.home_commits + result.end.table_commits - result.start.table_commits;
}

TEST(ScaleTest, ThreeWorkersOnOneTableHardlyEverMeet) {
  const ScaleResult result = RunScaled(3, 12);
  ASSERT_EQ(result.trouble, "");
  ASSERT_GE(CommitsThen(result), 40);
  EXPECT_LE((result.end.conflicts - result.start.conflicts) * 5, CommitsThen(result));
  EXPECT_LE(result.lag_p99_ms, 80'000);
}

TEST(ScaleTest, TenWorkersOnOneTableCommitAsOftenAsTheyAreTold) {
  const ScaleResult result = RunScaled(10, 40);
  ASSERT_EQ(result.trouble, "");
  ASSERT_GE(CommitsThen(result), 100);
  EXPECT_LE((result.end.conflicts - result.start.conflicts) * 5, CommitsThen(result));
  EXPECT_LE(result.lag_p99_ms, 80'000);
}

}  // namespace
}  // namespace firn::sim
