#include "firn/sim/scale.h"

#include <gtest/gtest.h>

#include <vector>

#include "firn/sim/scale_ages.h"

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

TEST(ScaleTest, CoarseTicksChangeWhatBecomesOfItByNoMoreThanATick) {
  ScaleOptions options;
  options.minutes = 180;
  options.records_per_second = 2;
  options.tick_ms = 1000;
  options.stretch_minutes = 60;
  std::vector<ScaleStretch> hours;
  options.on_stretch = [&](const ScaleStretch& hour) { hours.push_back(hour); };
  const ScaleResult result = RunScale(options);
  ASSERT_EQ(result.trouble, "");
  EXPECT_EQ(result.detached_max, 0);
  EXPECT_GE(result.records, 20'000);
  ASSERT_EQ(hours.size(), 3U);
  for (const ScaleStretch& hour : hours) EXPECT_GE(hour.table_commits, 150);
  EXPECT_GT(hours[2].snapshots, 2 * hours[0].snapshots);  // all are listed
  EXPECT_LE(result.lag_p99_ms, 80'000);
}

TEST(AgeCountsTest, SharesOfWhatWasSeen) {
  AgeCounts ages;
  EXPECT_EQ(ages.AtShare(0.5), 0);
  for (int64_t age_ms = 100; age_ms >= 1; --age_ms) ages.Add(age_ms);
  EXPECT_EQ(ages.AtShare(0.5), 51);
  EXPECT_EQ(ages.AtShare(0.99), 100);
  EXPECT_EQ(ages.Largest(), 100);
  AgeCounts more;
  more.Add(1000);
  ages.Add(more);
  EXPECT_EQ(ages.Largest(), 1000);
}

}  // namespace
}  // namespace firn::sim
