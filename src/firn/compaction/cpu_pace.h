// CpuPace: holds one thread to a share of one core by pauses, and CpuShareFor: which share the backlog asks for.
//
// A CpuPace is one thread's; CPU time is measured, so what the thread waits for (the store, the catalog) costs nothing.
// Clock and CPU time are parameters, so that tests and the simulator own both.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>

#include "firn/env/clock.h"

namespace firn::compaction {

// CPU seconds of the calling thread.
double ThreadCpuSeconds();

class CpuPace {
 public:
  // Time that was not used is not saved up beyond this: after an idle hour there is no hour of full load.
  static constexpr double kCreditSeconds = 1.0;
  // One pause at most, so that a raised share is felt soon.
  static constexpr int64_t kPauseMsMax = 5'000;

  CpuPace(env::Clock& clock, std::function<double()> cpu_seconds);

  void set_share(double share) { share_ = share; }  // of one core; 1 and more: no pauses
  double share() const { return share_; }
  // Between two steps of work: sleeps until used CPU time is within the share again. False: a stop was requested.
  bool Pause(std::stop_token stop);
  int64_t paused_ms() const { return paused_ms_; }

 private:
  env::Clock& clock_;
  std::function<double()> cpu_seconds_;
  double share_ = 1.0;
  double owed_s_ = 0;  // CPU seconds beyond the share so far; negative: credit
  double cpu_before_s_ = 0;
  int64_t looked_ms_ = 0;
  int64_t paused_ms_ = 0;
};

struct CpuShareLimits {
  double low = 0.25;
  double high = 0.75;
};

// A backlog is to be worked off within this time; that sets the share.
inline constexpr double kWorkOffSeconds = 600;

// `backlog_cpu_s`: what the backlog will cost. Between the limits, and no lower than it takes to be through in time.
double CpuShareFor(const CpuShareLimits& limits, double backlog_cpu_s);

// What moving costs, learnt from what it did cost.
class CostModel {
 public:
  // A start that the first groups correct: bytes a CPU second of pages that move, and footers.
  static constexpr double kBytesPerSecond = 100e6;
  static constexpr double kSecondsPerFile = 0.001;

  double SecondsFor(int64_t bytes, int64_t files) const { return factor_ * Guess(bytes, files); }
  void Learn(int64_t bytes, int64_t files, double cpu_s);
  // Of groups like those seen last; 0: none was seen.
  double bytes_per_cpu_second() const { return bytes_per_cpu_second_; }

 private:
  static double Guess(int64_t bytes, int64_t files) {
    return static_cast<double>(bytes) / kBytesPerSecond + static_cast<double>(files) * kSecondsPerFile;
  }
  double factor_ = 1.0;
  double bytes_per_cpu_second_ = 0;
};

}  // namespace firn::compaction
