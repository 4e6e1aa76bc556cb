#include "firn/sim/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <vector>

#include "firn/env/testing/manual_clock.h"
#include "firn/sim/process.h"

namespace firn::sim {
namespace {

struct Simulation {
  explicit Simulation(uint64_t seed = 1) : random(seed), scheduler(random), process(scheduler, "p", 1'000'000) {}
  void Run() {
    std::string stuck;
    ASSERT_TRUE(scheduler.Run(100'000, stuck)) << stuck;
  }
  env::SeededRandom random;
  Scheduler scheduler;
  Process process;
};

TEST(Scheduler, TimeJumpsFromWakeUpToWakeUp) {
  Simulation sim;
  std::vector<std::string> seen;
  sim.scheduler.Start(nullptr, "slow", [&] {
    sim.scheduler.SleepMs(5000);
    seen.push_back("slow at " + std::to_string(sim.scheduler.now_ms()));
  });
  sim.scheduler.Start(nullptr, "fast", [&] {
    for (int i = 0; i < 2; ++i) {
      sim.scheduler.SleepMs(2000);
      seen.push_back("fast at " + std::to_string(sim.scheduler.now_ms()));
    }
  });
  sim.Run();
  EXPECT_EQ(seen, (std::vector<std::string>{"fast at 2000", "fast at 4000", "slow at 5000"}));
}

TEST(Scheduler, OneSeedIsOneOrderAndSeedsDiffer) {
  auto order = [](uint64_t seed) {
    Simulation sim(seed);
    std::string seen;
    for (char name = 'a'; name < 'k'; ++name) {
      sim.scheduler.Start(nullptr, {name}, [&seen, name] { seen += name; });
    }
    sim.Run();
    return seen;
  };
  EXPECT_EQ(order(7), order(7));
  EXPECT_NE(order(7), order(8));
}

TEST(Scheduler, FibersThatNeverEndAreNamed) {
  Simulation sim;
  sim.scheduler.Start(nullptr, "for ever", [&] { sim.scheduler.BlockUntil(INT64_MAX); });
  std::string stuck;
  EXPECT_FALSE(sim.scheduler.Run(100, stuck));
  EXPECT_EQ(stuck, "for ever");
}

TEST(Scheduler, WhoYieldsLetsTheOthersHaveTheirTurn) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Simulation sim(seed);
    std::vector<int> turns(3);
    int widest = 0;
    for (int fiber = 0; fiber < 3; ++fiber) {
      sim.scheduler.Start(nullptr, "yields", [&, fiber] {
        for (int i = 0; i < 100; ++i) {
          sim.scheduler.Yield();
          ++turns[fiber];
          widest = std::max(widest, std::ranges::max(turns) - std::ranges::min(turns));
        }
      });
    }
    sim.Run();
    EXPECT_LE(widest, 1);
    EXPECT_EQ(sim.scheduler.now_ms(), 0);
  }
}

TEST(Process, MonitorsExcludeAndWake) {
  Simulation sim;
  auto monitor = sim.process.threads().MakeMonitor();
  bool ready = false;
  int64_t woken_at_ms = -1;
  sim.scheduler.Start(&sim.process, "waiter", [&] {
    std::unique_lock lock(*monitor);
    while (!ready) monitor->WaitMs(60'000);
    woken_at_ms = sim.scheduler.now_ms();
  });
  sim.scheduler.Start(&sim.process, "holder", [&] {
    sim.scheduler.SleepMs(100);
    std::unique_lock lock(*monitor);
    ready = true;
    monitor->NotifyAll();
    sim.scheduler.SleepMs(400);  // held over a wait: the waiter may not go on
  });
  sim.Run();
  EXPECT_EQ(woken_at_ms, 500);
}

TEST(Process, DeathEndsEveryWaitAndRefusesCalls) {
  Simulation sim;
  bool slept = true;
  bool awaited = true;
  int64_t ended_at_ms = -1;
  sim.scheduler.Start(&sim.process, "sleeper", [&] {
    slept = sim.process.clock().SleepMs(3'600'000, sim.process.stop_token());
    awaited = sim.process.Await(10);
    ended_at_ms = sim.scheduler.now_ms();
  });
  sim.scheduler.Start(nullptr, "killer", [&] {
    sim.scheduler.SleepMs(70);
    sim.process.Kill();
  });
  sim.Run();
  EXPECT_FALSE(slept);
  EXPECT_FALSE(awaited);
  EXPECT_EQ(ended_at_ms, 70);
}

TEST(Process, DiesInTheAwaitThatWasChosen) {
  Simulation sim;
  int done = 0;
  sim.process.KillAtAwait(3, nullptr);
  sim.scheduler.Start(&sim.process, "caller", [&] {
    while (sim.process.Await(1)) ++done;
  });
  sim.Run();
  EXPECT_EQ(done, 3);
}

TEST(Process, SuspensionStopsItsFibersAndNotTime) {
  Simulation sim;
  int64_t woken_at_ms = -1;
  int64_t wall_ms = -1;
  sim.scheduler.Start(&sim.process, "sleeper", [&] {
    sim.process.clock().SleepMs(100, {});
    woken_at_ms = sim.process.clock().BootMs();
    wall_ms = sim.process.clock().WallMs();
  });
  sim.scheduler.Start(nullptr, "signal", [&] {
    sim.scheduler.SleepMs(50);
    sim.process.SuspendFor(5000);
  });
  sim.process.JumpWall(-250);
  sim.Run();
  EXPECT_EQ(woken_at_ms, 5050);
  EXPECT_EQ(wall_ms, 1'000'000 - 250 + 5050);
}

TEST(Process, ThreadsEndWithTheirOwner) {
  Simulation sim;
  int rounds = 0;
  sim.scheduler.Start(&sim.process, "main", [&] {
    auto thread = sim.process.threads().Start("worker", [&](std::stop_token stop) {
      while (sim.process.clock().SleepMs(10, stop)) ++rounds;
    });
    sim.process.clock().SleepMs(105, {});
  });
  sim.Run();
  EXPECT_GE(rounds, 9);
  EXPECT_LE(rounds, 11);
}

}  // namespace
}  // namespace firn::sim
