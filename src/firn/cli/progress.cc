#include "firn/cli/progress.h"

#include <fmt/format.h>

#include <ostream>

#include "firn/cli/human_format.h"
#include "firn/env/clock.h"

namespace firn::cli {
namespace {

constexpr int64_t kIntervalMs = 1000;
constexpr size_t kReasonBytesMax = 80;

}  // namespace

Rates RateMeter::Add(int64_t now_ms, uint64_t records, uint64_t bytes) {
  samples_.push_back({now_ms, records, bytes});
  if (samples_.size() > kSamplesMax) samples_.erase(samples_.begin());
  const Sample& first = samples_.front();
  double seconds = static_cast<double>(now_ms - first.at_ms) / 1000;
  if (seconds <= 0) return {};
  return {static_cast<double>(records - first.records) / seconds, static_cast<double>(bytes - first.bytes) / seconds};
}

std::string ProgressText(const ingest::WorkerStatus& status, const Rates& rates, int64_t memory_bytes) {
  std::string text = fmt::format(
      "{} rec/s  {}/s  rows {}  commits {}  lag {}  rejects {}  memory {}",
      FormatCount(static_cast<int64_t>(rates.records_per_second)), FormatBytes(rates.bytes_per_second),
      FormatCount(static_cast<int64_t>(status.rows_committed)), FormatCount(static_cast<int64_t>(status.commits)),
      status.lag_records < 0 ? "?" : FormatCount(status.lag_records),
      FormatCount(static_cast<int64_t>(status.rejects_committed)), FormatBytes(static_cast<double>(memory_bytes)));
  if (status.dropped > 0) text += fmt::format("  dropped {}", FormatCount(static_cast<int64_t>(status.dropped)));
  if (!status.detached.empty()) text += fmt::format("  detached {}", status.detached.size());
  if (!status.ready && !status.not_ready_reason.empty()) {
    text += fmt::format("  ({})", status.not_ready_reason.substr(0, kReasonBytesMax));
  }
  return text;
}

ProgressLine::ProgressLine(std::ostream& err, std::function<ingest::WorkerStatus()> status)
    : err_(err), status_(std::move(status)), thread_([this](std::stop_token stop) { Run(stop); }) {}

ProgressLine::~ProgressLine() {
  thread_.request_stop();
  thread_.join();
  err_ << "\x1b[2K" << std::flush;
}

void ProgressLine::Run(std::stop_token stop) {
  env::Clock& clock = env::SystemClock();
  RateMeter meter;
  while (clock.SleepMs(kIntervalMs, stop)) {
    ingest::WorkerStatus status = status_();
    Rates rates = meter.Add(clock.BootMs(), status.records, status.bytes);
    // The cursor goes back to the line's start, so that a log line overwrites it instead of standing behind it.
    err_ << "\x1b[2K" << ProgressText(status, rates, ResidentMemoryBytes()) << "\r" << std::flush;
  }
}

}  // namespace firn::cli
