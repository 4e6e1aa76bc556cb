#include "firn/cli/stop_signals.h"

#include <cstdlib>
#include <ctime>

#include "firn/base/log.h"
#include "firn/cli/command.h"

namespace firn::cli {
namespace {

constexpr long kPollNanoseconds = 100'000'000;

sigset_t StopSet() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

StopSignals::StopSignals() {
  sigset_t set = StopSet();
  pthread_sigmask(SIG_BLOCK, &set, &previous_mask_);
  thread_ = std::jthread([this](std::stop_token end) { Watch(end); });
}

StopSignals::~StopSignals() {
  thread_.request_stop();
  thread_.join();
  pthread_sigmask(SIG_SETMASK, &previous_mask_, nullptr);
}

void StopSignals::Watch(std::stop_token end) {
  sigset_t set = StopSet();
  while (!end.stop_requested()) {
    timespec timeout{0, kPollNanoseconds};
    int signal = sigtimedwait(&set, nullptr, &timeout);
    if (signal < 0) continue;
    if (stop_.stop_requested()) std::_Exit(kInterrupted);
    LogInfo("stopping; a second signal ends it at once", {{"signal", signal == SIGINT ? "SIGINT" : "SIGTERM"}});
    stop_.request_stop();
  }
}

}  // namespace firn::cli
