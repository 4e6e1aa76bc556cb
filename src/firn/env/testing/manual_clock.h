// ManualClock and SeededRandom: time and chance that a test or a simulation decides.
//
// Thread-safe. With SleepMode::kAdvance a sleep moves the clock and returns at once (single-threaded simulations); with
// kWait it blocks until another thread has advanced the clock far enough, or stop is requested.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stop_token>

#include "firn/env/clock.h"

namespace firn::env {

class ManualClock final : public Clock {
 public:
  enum class SleepMode { kAdvance, kWait };

  explicit ManualClock(int64_t wall_ms = 1'700'000'000'000, SleepMode mode = SleepMode::kAdvance)
      : mode_(mode), wall_ms_(wall_ms) {}

  int64_t WallMs() override {
    std::lock_guard lock(mutex_);
    return wall_ms_;
  }
  int64_t BootMs() override {
    std::lock_guard lock(mutex_);
    return boot_ms_;
  }

  bool SleepMs(int64_t duration_ms, std::stop_token stop) override {
    if (stop.stop_requested()) return false;
    if (mode_ == SleepMode::kAdvance) {
      Advance(duration_ms);
      return true;
    }
    std::unique_lock lock(mutex_);
    int64_t end_ms = boot_ms_ + duration_ms;
    ++sleepers_;
    changed_.notify_all();
    bool over = changed_.wait(lock, stop, [&] { return boot_ms_ >= end_ms; });
    --sleepers_;
    return over && !stop.stop_requested();
  }

  // Time passes: both clocks move on, as they do while a machine is suspended.
  void Advance(int64_t duration_ms) {
    std::lock_guard lock(mutex_);
    wall_ms_ += duration_ms;
    boot_ms_ += duration_ms;
    changed_.notify_all();
  }

  // The wall clock is set to another time (by NTP, by hand); no time passes.
  void JumpWall(int64_t difference_ms) {
    std::lock_guard lock(mutex_);
    wall_ms_ += difference_ms;
  }

  // Returns once `count` threads are asleep (kWait), so that a test advances only what has really begun to sleep.
  void AwaitSleepers(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return sleepers_ >= count; });
  }

 private:
  const SleepMode mode_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  int64_t wall_ms_;
  int64_t boot_ms_ = 0;
  int sleepers_ = 0;
};

// SplitMix64 (Steele, Lea, Flood 2014): the same seed gives the same sequence on every machine.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(uint64_t seed) : state_(seed) {}

  uint64_t Next64() override {
    uint64_t z = state_.fetch_add(0x9e3779b97f4a7c15) + 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

 private:
  std::atomic<uint64_t> state_;
};

}  // namespace firn::env
