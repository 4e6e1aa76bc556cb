// Scheduler: fibers on one OS thread under simulated time; the same seed gives the same run.
//
// Exactly one fiber runs at a time, and another one only when it sleeps, blocks or ends, so nothing here needs a lock.
// Time stands still while a fiber runs and jumps to the next wake-up when all are asleep. Of fibers that are due at the
// same moment a random one goes first. Fibers have stacks of kFiberStackBytes; they must not leave by an exception.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "firn/env/clock.h"

namespace firn::sim {

inline constexpr size_t kFiberStackBytes = 512 << 10;

class Process;
class Fiber;

class Scheduler {
 public:
  explicit Scheduler(env::Random& random);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;

  int64_t now_ms() const { return now_ms_; }
  uint64_t switches() const { return switches_; }

  // Begins at once in simulated time, after the caller has gone to sleep. `process` null: a part of the world.
  Fiber* Start(Process* process, std::string name, std::function<void()> body);

  // Of the running fiber.
  void SleepMs(int64_t duration_ms);
  void Yield();                      // until each fiber that is due now has had its turn
  void BlockUntil(int64_t at_ms);  // or until Wake
  Fiber* current() const { return current_; }
  static const std::string& NameOf(const Fiber* fiber);

  void Wake(Fiber* fiber);
  void WakeAllOf(const Process* process);
  void Join(Fiber* fiber);  // the running fiber waits until that one has ended

  // Runs until every fiber has ended. False: `switches_max` was reached, the fibers' names are in `stuck`.
  bool Run(uint64_t switches_max, std::string& stuck);

 private:
  struct Due {
    int64_t at_ms;
    uint64_t tie;  // by chance below kYielded, in turn from there on
    uint64_t generation;
    Fiber* fiber;
    bool operator>(const Due& other) const { return at_ms != other.at_ms ? at_ms > other.at_ms : tie > other.tie; }
  };
  void Schedule(Fiber* fiber, int64_t at_ms);
  void SwitchTo(Fiber* fiber);
  void SwitchBack();
  static void Trampoline();

  env::Random& random_;
  int64_t now_ms_ = 0;
  uint64_t switches_ = 0;
  uint64_t yields_ = 0;
  Fiber* current_ = nullptr;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
  struct MainContext;
  std::unique_ptr<MainContext> main_;
};

}  // namespace firn::sim
