#include "firn/compaction/cpu_pace.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace firn::compaction {
namespace {

// How much of what was believed gives way to what was seen last.
constexpr double kLearnRate = 0.3;

}  // namespace

double ThreadCpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

CpuPace::CpuPace(env::Clock& clock, std::function<double()> cpu_seconds)
    : clock_(clock),
      cpu_seconds_(std::move(cpu_seconds)),
      cpu_before_s_(cpu_seconds_()),
      looked_ms_(clock.BootMs()) {}

bool CpuPace::Pause(std::stop_token stop) {
  auto settle = [&](double most_unused_s) {
    const int64_t now_ms = clock_.BootMs();
    const double cpu_s = cpu_seconds_();
    const double used_s = cpu_s - cpu_before_s_;
    const double passed_s = static_cast<double>(now_ms - looked_ms_) * 1e-3;
    owed_s_ += used_s - share_ * std::min(passed_s, used_s + most_unused_s);
    owed_s_ = std::max(owed_s_, -kCreditSeconds * share_);
    cpu_before_s_ = cpu_s;
    looked_ms_ = now_ms;
  };
  settle(kCreditSeconds);
  if (share_ >= 1 || owed_s_ <= 0) return !stop.stop_requested();
  const auto wait_ms = std::min(kPauseMsMax, static_cast<int64_t>(std::ceil(owed_s_ / share_ * 1000)));
  paused_ms_ += wait_ms;
  if (!clock_.SleepMs(wait_ms, std::move(stop))) return false;
  settle(static_cast<double>(wait_ms) * 1e-3);
  return true;
}

double CpuShareFor(const CpuShareLimits& limits, double backlog_cpu_s) {
  return std::clamp(backlog_cpu_s / kWorkOffSeconds, limits.low, std::max(limits.low, limits.high));
}

void CostModel::Learn(int64_t bytes, int64_t files, double cpu_s) {
  if (bytes <= 0 || cpu_s <= 0) return;
  factor_ += kLearnRate * (cpu_s / Guess(bytes, files) - factor_);
  const double seen = static_cast<double>(bytes) / cpu_s;
  bytes_per_cpu_second_ =
      bytes_per_cpu_second_ == 0 ? seen : bytes_per_cpu_second_ + kLearnRate * (seen - bytes_per_cpu_second_);
}

}  // namespace firn::compaction
