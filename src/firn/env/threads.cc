#include "firn/env/threads.h"

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace firn::env {
namespace {

class KernelMonitor final : public Monitor {
 public:
  void lock() override { mutex_.lock(); }
  void unlock() override { mutex_.unlock(); }
  void WaitMs(int64_t timeout_ms) override {
    std::unique_lock held(mutex_, std::adopt_lock);
    changed_.wait_for(held, std::chrono::milliseconds(timeout_ms));
    held.release();
  }
  void NotifyAll() override { changed_.notify_all(); }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
};

class KernelThread final : public Thread {
 public:
  KernelThread(const char* name, std::function<void(std::stop_token)> body)
      : thread_([name, body = std::move(body)](std::stop_token stop) {
          pthread_setname_np(pthread_self(), name);
          body(std::move(stop));
        }) {}
  void RequestStop() override { thread_.request_stop(); }

 private:
  std::jthread thread_;
};

class KernelThreads final : public Threads {
 public:
  std::unique_ptr<Thread> Start(const char* name, std::function<void(std::stop_token)> body) override {
    return std::make_unique<KernelThread>(name, std::move(body));
  }
  std::unique_ptr<Monitor> MakeMonitor() override { return std::make_unique<KernelMonitor>(); }
};

}  // namespace

Threads& SystemThreads() {
  static KernelThreads threads;
  return threads;
}

}  // namespace firn::env
