#include "firn/ingest/lag_watch.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <thread>

#include "firn/stream/testing/memory_log.h"

namespace firn::ingest {
namespace {

using Watched = std::vector<std::pair<stream::PartitionIndex, stream::SourcePartition>>;

bool Within(int64_t limit_ms, const std::function<bool()>& holds) {
  auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(limit_ms);
  while (!holds() && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return holds();
}

TEST(LagWatchTest, NewPartitionsAreAskedForAtOnceAndOldOnesForgotten) {
  constexpr int32_t kPartitions = 200;
  auto log = std::make_shared<stream::MemoryLog>("cluster", "events", "topic-id", kPartitions);
  for (int32_t p = 0; p < kPartitions; ++p) {
    for (int32_t i = 0; i < p; ++i) log->Append(p, "{}");
  }
  stream::MemorySource source(log);
  LagWatch watch(source, env::SystemClock());
  watch.Start();
  Watched all;
  for (stream::PartitionIndex p = 0; p < kPartitions; ++p) all.emplace_back(p, source.partition(p));
  // A partition that the source does not know holds up no other.
  all.emplace_back(kPartitions, stream::SourcePartition{"cluster", "topic-id", "events", kPartitions});
  const int64_t before_ms = env::SystemClock().WallMs();
  watch.Watch(all);
  ASSERT_TRUE(Within(1500, [&] { return watch.EndOf(kPartitions - 1).has_value(); }));
  for (stream::PartitionIndex p = 0; p < kPartitions; ++p) {
    ASSERT_TRUE(watch.EndOf(p).has_value()) << p;
    EXPECT_EQ(watch.EndOf(p)->offset, p);
    EXPECT_GE(watch.EndOf(p)->asked_ms, before_ms);
  }
  EXPECT_FALSE(watch.EndOf(kPartitions).has_value());

  watch.Watch({all[3]});
  EXPECT_TRUE(watch.EndOf(3).has_value());
  EXPECT_FALSE(watch.EndOf(4).has_value());
  log->Append(3, "{}");
  watch.Watch({all[3], all[5]});
  EXPECT_TRUE(Within(1500, [&] { return watch.EndOf(5).has_value() && watch.EndOf(3)->offset == 4; }));
  EXPECT_FALSE(watch.EndOf(4).has_value());
}

}  // namespace
}  // namespace firn::ingest
