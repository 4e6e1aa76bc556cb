// Clock and Random: time and chance as parameters, so that a simulation can own both.
//
// Thread-safe. `SystemClock()` and `SystemRandom()` live as long as the process.
#pragma once

#include <cstdint>
#include <stop_token>

namespace firn::env {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t WallMs() = 0;       // milliseconds since the Unix epoch; may jump
  virtual int64_t BootMs() = 0;       // monotonic, goes on while the machine is suspended (CLOCK_BOOTTIME)
  // Returns false when `stop` was requested before the time was over.
  virtual bool SleepMs(int64_t duration_ms, std::stop_token stop) = 0;
};

class Random {
 public:
  virtual ~Random() = default;
  virtual uint64_t Next64() = 0;
};

Clock& SystemClock();
Random& SystemRandom();

}  // namespace firn::env
