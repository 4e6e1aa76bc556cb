#include "firn/env/clock.h"

#include <sys/random.h>
#include <time.h>

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "firn/base/check.h"

namespace firn::env {
namespace {

int64_t ReadClockMs(clockid_t id) {
  timespec now{};
  FIRN_CHECK(clock_gettime(id, &now) == 0, "the kernel refused a clock that every Linux has");
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

class KernelClock final : public Clock {
 public:
  int64_t WallMs() override { return ReadClockMs(CLOCK_REALTIME); }
  int64_t BootMs() override { return ReadClockMs(CLOCK_BOOTTIME); }

  bool SleepMs(int64_t duration_ms, std::stop_token stop) override {
    std::mutex mutex;
    std::condition_variable_any changed;
    std::unique_lock lock(mutex);
    // The predicate never turns true: only time or the stop request ends the wait.
    changed.wait_for(lock, stop, std::chrono::milliseconds(duration_ms), [] { return false; });
    return !stop.stop_requested();
  }
};

class KernelRandom final : public Random {
 public:
  uint64_t Next64() override {
    uint64_t value = 0;
    // Up to 256 bytes are never cut short by a signal once the pool is ready (getrandom(2)).
    ssize_t got = getrandom(&value, sizeof(value), 0);
    FIRN_CHECK(got == ssize_t{sizeof(value)}, "getrandom gave fewer bytes than asked");
    return value;
  }
};

}  // namespace

Clock& SystemClock() {
  static KernelClock clock;
  return clock;
}

Random& SystemRandom() {
  static KernelRandom random;
  return random;
}

}  // namespace firn::env
