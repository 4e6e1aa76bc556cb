// The fakes behave as their headers say; other modules' tests lean on that.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "firn/env/testing/faulty_store.h"
#include "firn/env/testing/manual_clock.h"
#include "firn/env/testing/memory_store.h"

namespace firn::env {
namespace {

TEST(MemoryStoreTest, ObjectsAppearAtClose) {
  ManualClock clock(5'000);
  MemoryStore store(clock);
  auto writer = store.OpenWrite("s3://b/t/a").value();
  ASSERT_TRUE(writer->Append("12").has_value());
  EXPECT_EQ(store.Read("s3://b/t/a").error().code(), ErrorCode::kNotFound);
  clock.Advance(7);
  ASSERT_TRUE(writer->Append("3").has_value());
  EXPECT_EQ(writer->bytes_written(), 3);
  ASSERT_TRUE(writer->Close().has_value());
  EXPECT_EQ(store.Read("s3://b/t/a").value(), "123");
  EXPECT_EQ(store.Stat("s3://b/t/a")->size, 3);
  EXPECT_EQ(store.Stat("s3://b/t/a")->modified_ms, 5'007);
  EXPECT_EQ(store.total_bytes(), 3);
}

TEST(MemoryStoreTest, ListsOnlyBelowThePrefix) {
  MemoryStore store;
  for (std::string location : {"m:/t/a", "m:/t/b/c", "m:/tt/a", "m:/t", "m:/t0"}) {
    ASSERT_TRUE(store.Put(location, "x").has_value());
  }
  auto listed = store.List("m:/t").value();
  ASSERT_EQ(listed.size(), 2u);
  EXPECT_EQ(listed[0].location, "m:/t/a");
  EXPECT_EQ(listed[1].location, "m:/t/b/c");
  EXPECT_EQ(store.List("m:/t/").value().size(), 2u);
  EXPECT_TRUE(store.List("m:/none").value().empty());
  ASSERT_TRUE(store.Delete("m:/t/a").has_value());
  ASSERT_TRUE(store.Delete("m:/t/a").has_value());
  EXPECT_EQ(store.object_count(), 4u);
}

TEST(MemoryStoreTest, ReplacesOnlyWhenToldTo) {
  MemoryStore disk;
  ASSERT_TRUE(disk.Put("a", "1").has_value());
  EXPECT_EQ(disk.Put("a", "2").error().code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(disk.OpenWrite("a").error().code(), ErrorCode::kAlreadyExists);
  MemoryStore cloud(SystemClock(), {.refuses_replacing = false});
  ASSERT_TRUE(cloud.Put("a", "1").has_value());
  EXPECT_TRUE(cloud.Put("a", "2").has_value());
  EXPECT_EQ(cloud.Read("a").value(), "2");
  EXPECT_EQ(cloud.PutIfAbsent("a", "3").error().code(), ErrorCode::kAlreadyExists);
  cloud.Overwrite("a", "damaged");
  EXPECT_EQ(cloud.Read("a").value(), "damaged");
}

TEST(MemoryStoreTest, ACrashKeepsWhatWasClosed) {
  MemoryStore store;
  ASSERT_TRUE(store.Put("closed", "1").has_value());
  auto open = store.OpenWrite("open").value();
  ASSERT_TRUE(open->Append("2").has_value());
  auto clone = store.CrashClone();
  // The dead process' writer reaches the old store only.
  ASSERT_TRUE(open->Close().has_value());
  EXPECT_EQ(clone->Read("closed").value(), "1");
  EXPECT_EQ(clone->Read("open").error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(store.Read("open").value(), "2");
  ASSERT_TRUE(clone->Delete("closed").has_value());
  EXPECT_TRUE(store.Read("closed").has_value());
}

TEST(FaultyStoreTest, FailsTheNthCallOnce) {
  MemoryStore memory;
  FaultyStore store(memory);
  store.Inject({.call = StoreCall::kPut, .nth = 2, .code = ErrorCode::kTimeout});
  EXPECT_TRUE(store.Put("a", "").has_value());
  EXPECT_EQ(store.Put("b", "").error().code(), ErrorCode::kTimeout);
  EXPECT_FALSE(memory.Read("b").has_value());
  EXPECT_TRUE(store.Put("b", "").has_value());
  EXPECT_EQ(store.calls(StoreCall::kPut), 3);
  EXPECT_EQ(store.calls(StoreCall::kAny), 3);
  EXPECT_EQ(store.faults_hit(), 1);
}

TEST(FaultyStoreTest, PersistentFaultsStayUntilCleared) {
  MemoryStore memory;
  FaultyStore store(memory);
  store.Inject({.call = StoreCall::kRead, .nth = 2, .persistent = true, .code = ErrorCode::kUnauthorized});
  ASSERT_TRUE(store.Put("a", "x").has_value());
  EXPECT_TRUE(store.Read("a").has_value());
  EXPECT_EQ(store.Read("a").error().code(), ErrorCode::kUnauthorized);
  EXPECT_EQ(store.Read("a").error().code(), ErrorCode::kUnauthorized);
  EXPECT_TRUE(store.Stat("a").has_value());
  store.ClearFaults();
  EXPECT_TRUE(store.Read("a").has_value());
}

TEST(FaultyStoreTest, ALostAnswerHasItsEffect) {
  MemoryStore memory;
  FaultyStore store(memory);
  store.Inject({.call = StoreCall::kClose, .code = ErrorCode::kTimeout, .after_effect = true});
  auto writer = store.OpenWrite("a").value();
  ASSERT_TRUE(writer->Append("x").has_value());
  EXPECT_EQ(writer->Close().error().code(), ErrorCode::kTimeout);
  EXPECT_EQ(memory.Read("a").value(), "x");
  // An inner failure is not covered up.
  store.Inject({.call = StoreCall::kPutIfAbsent, .code = ErrorCode::kTimeout, .after_effect = true});
  EXPECT_EQ(store.PutIfAbsent("a", "y").error().code(), ErrorCode::kAlreadyExists);
}

TEST(FaultyStoreTest, AnyCallAndLocationFilter) {
  MemoryStore memory;
  FaultyStore store(memory);
  store.Inject({.nth = 3, .code = ErrorCode::kIoError, .location_contains = "/data/"});
  auto writer = store.OpenWrite("t/data/a").value();
  EXPECT_TRUE(store.Put("t/metadata/v1", "").has_value());
  EXPECT_TRUE(writer->Append("x").has_value());
  EXPECT_EQ(writer->Close().error().code(), ErrorCode::kIoError);
  EXPECT_TRUE(store.List("t/data/").has_value());
  EXPECT_TRUE(store.Delete("t/data/a").has_value());
}

TEST(FaultyStoreTest, DelaysByTheClock) {
  ManualClock clock(0);
  MemoryStore memory(clock);
  FaultyStore store(memory, clock);
  store.Inject({.call = StoreCall::kPut, .persistent = true, .delay_ms = 40, .fails = false});
  EXPECT_TRUE(store.Put("a", "").has_value());
  EXPECT_TRUE(store.Put("b", "").has_value());
  EXPECT_EQ(clock.BootMs(), 80);
  EXPECT_EQ(memory.Stat("b")->modified_ms, 80);
}

TEST(ManualClockTest, SleepAdvances) {
  ManualClock clock(1'000);
  EXPECT_TRUE(clock.SleepMs(50, {}));
  EXPECT_EQ(clock.WallMs(), 1'050);
  EXPECT_EQ(clock.BootMs(), 50);
  clock.JumpWall(-500);
  EXPECT_EQ(clock.WallMs(), 550);
  EXPECT_EQ(clock.BootMs(), 50);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_FALSE(clock.SleepMs(50, stop.get_token()));
  EXPECT_EQ(clock.BootMs(), 50);
}

TEST(ManualClockTest, WaitingSleepersWakeWhenTimeHasCome) {
  ManualClock clock(0, ManualClock::SleepMode::kWait);
  std::atomic<int> woken = 0;
  {
    std::jthread early([&] { woken += clock.SleepMs(10, {}) ? 1 : 0; });
    std::jthread stopped([&](std::stop_token stop) { woken += clock.SleepMs(1'000'000, stop) ? 100 : 0; });
    clock.AwaitSleepers(2);
    clock.Advance(9);
    EXPECT_EQ(woken, 0);
    clock.Advance(1);
    early.join();
    EXPECT_EQ(woken, 1);
  }
  EXPECT_EQ(woken, 1);
}

TEST(SeededRandomTest, TheSeedDecidesTheSequence) {
  // Reference values of SplitMix64 for seed 1234567, as its authors' test vectors give them.
  SeededRandom random(1234567);
  EXPECT_EQ(random.Next64(), 6457827717110365317u);
  EXPECT_EQ(random.Next64(), 3203168211198807973u);
  EXPECT_EQ(random.Next64(), 9817491932198370423u);
}

TEST(SystemClockTest, TicksAndStops) {
  int64_t before_ms = SystemClock().BootMs();
  EXPECT_TRUE(SystemClock().SleepMs(20, {}));
  EXPECT_GE(SystemClock().BootMs(), before_ms + 20);
  EXPECT_GT(SystemClock().WallMs(), 1'700'000'000'000);
  std::stop_source stop;
  std::jthread stopper([&] { stop.request_stop(); });
  EXPECT_FALSE(SystemClock().SleepMs(60'000, stop.get_token()));
  EXPECT_NE(SystemRandom().Next64(), SystemRandom().Next64());
}

}  // namespace
}  // namespace firn::env
