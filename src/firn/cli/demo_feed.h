// DemoFeed: the demo's producer. A thread makes events and writes them to the in-process brokers, no faster than a
// given rate and never further ahead than the pipeline has committed plus a margin: those brokers keep 5 MB a
// partition.
//
// Made and joined by the command; the counters may be read from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "firn/base/error.h"

namespace firn::cli {

struct DemoFeedOptions {
  std::string bootstrap;
  std::string topic;
  int partitions = 64;
  int64_t events = 400'000;
  int64_t malformed_every = 2'000;
  int64_t events_per_second_max = 20'000;
  int64_t ahead_max = 100'000;  // events produced and not yet committed
};

class DemoFeed {
 public:
  // `committed`: how many events are in tables by now, good or rejected; called on the feed's thread.
  static Result<std::unique_ptr<DemoFeed>> Start(DemoFeedOptions options, std::function<uint64_t()> committed);
  ~DemoFeed();  // stops early when it is not done

  uint64_t produced() const { return produced_.load(std::memory_order_relaxed); }
  uint64_t malformed() const { return malformed_.load(std::memory_order_relaxed); }
  bool done() const { return done_.load(std::memory_order_acquire); }
  // After done(): what went wrong, if anything.
  Status result() const { return result_; }

 private:
  DemoFeed(DemoFeedOptions options, std::function<uint64_t()> committed);
  Status Produce(std::stop_token stop);
  bool WaitForRoom(int64_t started_ms, std::stop_token stop) const;

  const DemoFeedOptions options_;
  const std::function<uint64_t()> committed_;
  std::atomic<uint64_t> produced_ = 0;
  std::atomic<uint64_t> malformed_ = 0;
  std::atomic<bool> done_ = false;
  Status result_;
  std::jthread thread_;
};

}  // namespace firn::cli
