#include "firn/sim/process.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "firn/base/check.h"

namespace firn::sim {
namespace {

// So many waits after its death, and it still runs: a loop that no error ends.
constexpr int64_t kDeadWaitsMax = 100'000;
constexpr int64_t kStopCheckMs = 50;

}  // namespace

class Process::SimClock final : public env::Clock {
 public:
  explicit SimClock(Process& process) : process_(process) {}
  int64_t WallMs() override { return process_.wall_epoch_ms_ + process_.wall_offset_ms_ + BootMs(); }
  int64_t BootMs() override { return process_.scheduler_.now_ms() + process_.dead_waited_ms_; }

  bool SleepMs(int64_t duration_ms, std::stop_token stop) override {
    if (stop.stop_requested()) return false;
    if (!stop.stop_possible()) {
      Wait(duration_ms);
      return !process_.dead_;
    }
    // A stop request is noticed soon, not at once.
    for (int64_t left_ms = duration_ms; left_ms > 0 && !stop.stop_requested(); left_ms -= kStopCheckMs) {
      Wait(std::min(left_ms, kStopCheckMs));
      if (process_.dead_) return false;
    }
    return !stop.stop_requested();
  }

  void Wait(int64_t duration_ms) {
    if (!process_.dead_) {
      process_.scheduler_.SleepMs(duration_ms);
      return;
    }
    CountDeadWait(duration_ms);
    process_.scheduler_.Yield();  // by chance alone another thread of it could wait for its turn for very long
  }

  void CountDeadWait(int64_t duration_ms) {
    process_.dead_waited_ms_ += std::min<int64_t>(duration_ms, 3'600'000);
    FIRN_CHECK(++process_.dead_waits_ < kDeadWaitsMax, "a dead process goes on waiting");
  }

 private:
  Process& process_;
};

class Process::SimMonitor final : public env::Monitor {
 public:
  explicit SimMonitor(Process& process) : process_(process), scheduler_(process.scheduler_) {}

  void lock() override {
    while (owner_ != nullptr) {
      FIRN_CHECK(owner_ != scheduler_.current(), "a monitor is locked twice by one thread");
      locking_.push_back(scheduler_.current());
      scheduler_.BlockUntil(INT64_MAX);
    }
    owner_ = scheduler_.current();
  }
  void unlock() override {
    FIRN_CHECK(owner_ == scheduler_.current(), "a monitor is unlocked by another thread");
    owner_ = nullptr;
    for (Fiber* fiber : std::exchange(locking_, {})) scheduler_.Wake(fiber);
  }
  void WaitMs(int64_t timeout_ms) override {
    Fiber* self = scheduler_.current();
    waiting_.push_back(self);
    unlock();
    if (process_.dead_) {
      process_.clock_->CountDeadWait(timeout_ms);
      scheduler_.Yield();
    } else {
      scheduler_.SleepMs(std::max(timeout_ms, process_.wait_ms_min_));
    }
    std::erase(waiting_, self);
    lock();
  }
  void NotifyAll() override {
    for (Fiber* fiber : waiting_) scheduler_.Wake(fiber);
  }

 private:
  Process& process_;
  Scheduler& scheduler_;
  Fiber* owner_ = nullptr;
  std::vector<Fiber*> locking_;
  std::vector<Fiber*> waiting_;
};

class Process::SimThread final : public env::Thread {
 public:
  SimThread(Process& process, const char* name, std::function<void(std::stop_token)> body)
      : scheduler_(process.scheduler_) {
    fiber_ = scheduler_.Start(&process, process.name_ + "/" + name,
                              [body = std::move(body), token = stop_.get_token()] { body(token); });
  }
  ~SimThread() override {
    stop_.request_stop();
    scheduler_.Join(fiber_);
  }
  void RequestStop() override { stop_.request_stop(); }

 private:
  Scheduler& scheduler_;
  std::stop_source stop_;
  Fiber* fiber_;
};

class Process::SimThreads final : public env::Threads {
 public:
  explicit SimThreads(Process& process) : process_(process) {}
  std::unique_ptr<env::Thread> Start(const char* name, std::function<void(std::stop_token)> body) override {
    return std::make_unique<SimThread>(process_, name, std::move(body));
  }
  std::unique_ptr<env::Monitor> MakeMonitor() override { return std::make_unique<SimMonitor>(process_); }

 private:
  Process& process_;
};

Process::Process(Scheduler& scheduler, std::string name, int64_t wall_epoch_ms)
    : scheduler_(scheduler),
      name_(std::move(name)),
      wall_epoch_ms_(wall_epoch_ms),
      clock_(std::make_unique<SimClock>(*this)),
      threads_(std::make_unique<SimThreads>(*this)) {}

Process::~Process() = default;

env::Clock& Process::clock() {
  return *clock_;
}

env::Threads& Process::threads() {
  return *threads_;
}

bool Process::Await(int64_t duration_ms) {
  ++awaits_;
  if (!dead_ && kill_at_await_ >= 0 && kill_at_await_-- == 0) {
    if (kill_note_) kill_note_();
    Kill();
  }
  clock_->Wait(duration_ms);
  return !dead_;
}

void Process::Kill() {
  dead_ = true;
  suspended_until_ms_ = 0;
  stop_.request_stop();
  scheduler_.WakeAllOf(this);  // none sleeps on
}

void Process::KillAtAwait(int64_t n, std::function<void()> note) {
  kill_at_await_ = n;
  kill_note_ = std::move(note);
}

}  // namespace firn::sim
