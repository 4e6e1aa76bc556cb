#include "firn/compaction/cpu_pace.h"

#include <gtest/gtest.h>

#include "firn/env/testing/manual_clock.h"

namespace firn::compaction {
namespace {

// Work that takes so many CPU milliseconds and as much time.
struct Worker {
  env::ManualClock clock;
  double cpu_s = 0;
  CpuPace pace{clock, [this] { return cpu_s; }};
  void Work(int64_t cpu_ms) {
    cpu_s += static_cast<double>(cpu_ms) / 1000;
    clock.Advance(cpu_ms);
  }
};

TEST(CpuPace, HoldsTheShare) {
  Worker worker;
  worker.pace.set_share(0.25);
  for (int i = 0; i < 1000; ++i) {
    worker.Work(1 + i % 50);
    ASSERT_TRUE(worker.pace.Pause({}));
  }
  const double share = worker.cpu_s * 1000 / static_cast<double>(worker.clock.BootMs());
  EXPECT_NEAR(share, 0.25, 0.005);
}

TEST(CpuPace, WaitingCostsNothing) {
  Worker worker;
  worker.pace.set_share(0.5);
  for (int i = 0; i < 100; ++i) {
    worker.Work(10);
    worker.clock.Advance(10);  // for the store
    ASSERT_TRUE(worker.pace.Pause({}));
  }
  EXPECT_LE(worker.pace.paused_ms(), 1);
}

TEST(CpuPace, AnIdleHourIsNotSavedUp) {
  Worker worker;
  worker.pace.set_share(0.1);
  worker.clock.Advance(3'600'000);
  worker.Work(2000);
  ASSERT_TRUE(worker.pace.Pause({}));
  // 2 s of work less what a second is worth, at a tenth; in pauses of kPauseMsMax.
  EXPECT_EQ(worker.pace.paused_ms(), CpuPace::kPauseMsMax);
}

TEST(CpuPace, AWholeCoreHasNoPausesAndAStopEndsThem) {
  Worker worker;
  worker.Work(100'000);
  EXPECT_TRUE(worker.pace.Pause({}));
  EXPECT_EQ(worker.pace.paused_ms(), 0);
  worker.pace.set_share(0.01);
  worker.Work(1000);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_FALSE(worker.pace.Pause(stop.get_token()));
}

TEST(CpuShare, RisesWithTheBacklogBetweenItsLimits) {
  const CpuShareLimits limits{.low = 0.2, .high = 0.8};
  EXPECT_DOUBLE_EQ(CpuShareFor(limits, 0), 0.2);
  EXPECT_DOUBLE_EQ(CpuShareFor(limits, 0.5 * kWorkOffSeconds), 0.5);
  EXPECT_DOUBLE_EQ(CpuShareFor(limits, 50 * kWorkOffSeconds), 0.8);
  EXPECT_DOUBLE_EQ(CpuShareFor({.low = 0.5, .high = 0.1}, 50 * kWorkOffSeconds), 0.5);
}

TEST(CostModel, LearnsFromWhatWasSeen) {
  CostModel cost;
  EXPECT_EQ(cost.bytes_per_cpu_second(), 0);
  const double before = cost.SecondsFor(1 << 30, 100);
  for (int i = 0; i < 30; ++i) cost.Learn(100 << 20, 10, 4.2);
  EXPECT_NEAR(cost.bytes_per_cpu_second(), (100 << 20) / 4.2, 1e3);
  EXPECT_GT(cost.SecondsFor(1 << 30, 100), 3 * before);
  cost.Learn(0, 0, 1);
  cost.Learn(100, 1, 0);
  EXPECT_NEAR(cost.bytes_per_cpu_second(), (100 << 20) / 4.2, 1e3);
}

}  // namespace
}  // namespace firn::compaction
