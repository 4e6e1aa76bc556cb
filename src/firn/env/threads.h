// Threads and Monitor: where threads come from and how they wait for each other, as a parameter, so that a simulation
// can run a whole process, production code and all, on one thread of its own with simulated time.
//
// Thread-safe. `SystemThreads()` lives as long as the process. A plain std::mutex is right where nobody ever waits for
// time, another thread or IO while holding it; whatever is held across such a wait is a Monitor.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>

namespace firn::env {

// A mutex and its condition variable. BasicLockable: use std::unique_lock<Monitor> or std::lock_guard<Monitor>.
class Monitor {
 public:
  virtual ~Monitor() = default;
  virtual void lock() = 0;
  virtual void unlock() = 0;
  // The caller holds it. Gives it up and takes it back after NotifyAll, after `timeout_ms`, or for no reason at all.
  virtual void WaitMs(int64_t timeout_ms) = 0;
  virtual void NotifyAll() = 0;
};

// Its end requests stop and waits for the thread.
class Thread {
 public:
  virtual ~Thread() = default;
  virtual void RequestStop() = 0;
};

class Threads {
 public:
  virtual ~Threads() = default;
  // `name`: at most 15 bytes, for tools that show threads.
  virtual std::unique_ptr<Thread> Start(const char* name, std::function<void(std::stop_token)> body) = 0;
  virtual std::unique_ptr<Monitor> MakeMonitor() = 0;
};

Threads& SystemThreads();

}  // namespace firn::env
