// Process: one simulated operating-system process: its clock, its threads, its death and its suspension.
//
// A dead process touches nothing any more: its waits end at once, and stores, catalog and source (which ask Await)
// refuse every call without effect. So production code winds down by its own error paths, and the world sees exactly
// what it would see after SIGKILL at that wait. While suspended, none of its fibers runs, and time goes on (SIGSTOP, a
// laptop's lid, a paused virtual machine).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "firn/env/clock.h"
#include "firn/env/threads.h"
#include "firn/sim/scheduler.h"

namespace firn::sim {

class Process {
 public:
  Process(Scheduler& scheduler, std::string name, int64_t wall_epoch_ms);
  ~Process();

  env::Clock& clock();
  env::Threads& threads();
  const std::string& name() const { return name_; }
  Scheduler& scheduler() { return scheduler_; }

  // A wait inside of a call to the outside world. False: the process is dead, the call must have no further effect.
  bool Await(int64_t duration_ms);
  int64_t awaits() const { return awaits_; }

  void Kill();
  // Dies in its n-th Await from now.
  void KillAtAwait(int64_t n, std::function<void()> note);
  bool dead() const { return dead_; }
  void RequestStop() { stop_.request_stop(); }  // SIGTERM
  std::stop_token stop_token() const { return stop_.get_token(); }

  void SuspendFor(int64_t duration_ms) { suspended_until_ms_ = scheduler_.now_ms() + duration_ms; }
  int64_t suspended_until_ms() const { return suspended_until_ms_; }
  bool suspended() const { return suspended_until_ms_ > scheduler_.now_ms(); }
  void JumpWall(int64_t difference_ms) { wall_offset_ms_ += difference_ms; }
  // Monitors wait no shorter than that for their time-outs (a notice wakes them at once, as ever): a busy machine, and
  // few wake-ups in a run of many days.
  void set_wait_ms_min(int64_t wait_ms_min) { wait_ms_min_ = wait_ms_min; }

 private:
  class SimClock;
  class SimThreads;
  class SimThread;
  class SimMonitor;

  Scheduler& scheduler_;
  const std::string name_;
  const int64_t wall_epoch_ms_;
  int64_t wall_offset_ms_ = 0;
  int64_t dead_waited_ms_ = 0;  // what a dead process believes to have waited
  int64_t dead_waits_ = 0;
  int64_t suspended_until_ms_ = 0;
  int64_t wait_ms_min_ = 0;
  int64_t awaits_ = 0;
  int64_t kill_at_await_ = -1;
  std::function<void()> kill_note_;
  bool dead_ = false;
  std::stop_source stop_;
  std::unique_ptr<SimClock> clock_;
  std::unique_ptr<SimThreads> threads_;
};

}  // namespace firn::sim
