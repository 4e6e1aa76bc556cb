// Progress: what a running worker does, as one line a second for people.
//
// RateMeter is a value of one thread. ProgressLine owns a thread that asks `status` once a second and writes to `err`;
// it is made only when that is a terminal, and stops in its destructor.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string>
#include <thread>

#include "firn/ingest/worker.h"

namespace firn::cli {

struct Rates {
  double records_per_second = 0;
  double bytes_per_second = 0;
};

// Rates over the last ten seconds of samples.
class RateMeter {
 public:
  Rates Add(int64_t now_ms, uint64_t records, uint64_t bytes);

 private:
  struct Sample {
    int64_t at_ms;
    uint64_t records;
    uint64_t bytes;
  };
  static constexpr size_t kSamplesMax = 11;
  std::vector<Sample> samples_;
};

// "45,210 rec/s  41.3 MB/s  rows 1,234,567  commits 12  lag 1,234  rejects 5  memory 210.1 MB  (not ready: ...)"
std::string ProgressText(const ingest::WorkerStatus& status, const Rates& rates, int64_t memory_bytes);

class ProgressLine {
 public:
  ProgressLine(std::ostream& err, std::function<ingest::WorkerStatus()> status);
  ~ProgressLine();  // clears the line

 private:
  void Run(std::stop_token stop);

  std::ostream& err_;
  std::function<ingest::WorkerStatus()> status_;
  std::jthread thread_;
};

}  // namespace firn::cli
