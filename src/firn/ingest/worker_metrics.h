// WorkerMetrics: the series that a worker writes (docs/metrics.md). Thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "firn/decode/json/json_decoder.h"
#include "firn/decode/reject.h"
#include "firn/ingest/memory_budget.h"
#include "firn/ingest/pipeline_options.h"
#include "firn/metrics/metrics.h"

namespace firn::ingest {

struct BatchResult;
class Spill;
struct WorkerStatus;

class WorkerMetrics {
 public:
  WorkerMetrics(metrics::Registry& registry, const std::string& pipeline);

  void CountRecords(uint64_t records, uint64_t bytes);
  void CountReject(decode::RejectCode code, bool dropped);
  void CountUnknownFields(const std::string& table, const decode::json::UnknownFieldCounts& counts);
  void CountBatch(const BatchResult& result);
  void CountMismatch();
  void CountLostBatch();
  // `reason`: rows, bytes, memory.
  void CountEarlyCommit(std::string_view reason);
  void SetMemory(const MemoryBudget& memory, const Spill& spill);
  // Offsets that are read again, and those whose rows are gone for good, as far as they are known.
  void CountHistoryChange(const std::string& table, HistoryPolicy policy, int64_t read_again, int64_t given_up);
  void CountLaneRecords(uint64_t records);
  // Gauges; `lag_seconds` and `freshness_seconds` negative: not known yet.
  void SetDetachedGauges(const WorkerStatus& status);
  void SetGauges(const WorkerStatus& status, double lag_seconds, double freshness_seconds, size_t queued_bytes);

 private:
  void SetGauge(const char* name, const char* help, double value);

  metrics::Registry& registry_;
  const metrics::Labels labels_;
  metrics::Counter& records_;
  metrics::Counter& bytes_;
  metrics::Counter& rows_committed_;
  metrics::Counter& rejects_committed_;
  metrics::Counter& commits_;
  metrics::Counter& conflicts_;
  metrics::Counter& mismatches_;
  metrics::Counter& lane_records_;
  metrics::Counter& files_;
  metrics::Counter& file_bytes_;
  metrics::Histogram& commit_seconds_;
  metrics::Counter& spilled_bytes_;
  std::set<std::string> detached_tables_;  // that have had gauges; for SetGauges, which one thread calls
  std::map<std::string_view, metrics::Gauge*> gauges_;  // of SetGauges and SetMemory, by name
  std::array<metrics::Gauge*, kMemoryUses> memory_gauges_;
};

}  // namespace firn::ingest
