// StopSignals: SIGINT and SIGTERM as a stop token. The first one asks; the second ends the process at once (exit 130).
//
// Made on the main thread before any other thread, so that all inherit the blocked mask; one at a time.
#pragma once

#include <atomic>
#include <csignal>
#include <stop_token>
#include <thread>

namespace firn::cli {

class StopSignals {
 public:
  StopSignals();
  ~StopSignals();  // the mask is as before
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  std::stop_token token() const { return stop_.get_token(); }

 private:
  void Watch(std::stop_token end);

  std::stop_source stop_;
  sigset_t previous_mask_;
  std::jthread thread_;
};

}  // namespace firn::cli
