// LoopMetrics: the series that a compaction loop writes (docs/metrics.md). One thread's; the registry is thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "firn/base/error.h"
#include "firn/metrics/metrics.h"

namespace firn::compaction {

struct CompactionReport;
struct LoopStatus;

class LoopMetrics {
 public:
  LoopMetrics(metrics::Registry& registry, metrics::Labels labels);

  // What was done for a table at one visit.
  void Count(const std::string& table, const CompactionReport& report);
  void CountError(const std::string& table, ErrorCode code);
  void SetLeftAlone(const std::string& table, const std::map<std::string, int64_t>& left_alone);
  void SetGauges(const LoopStatus& status);

 private:
  metrics::Labels With(const std::string& table) const;

  metrics::Registry& registry_;
  const metrics::Labels labels_;
  std::set<std::pair<std::string, std::string>> left_alone_;  // table and reason that have had a gauge
};

}  // namespace firn::compaction
