// WorkerHealth: a running worker's state for the status server and for --json.
//
// Thread-safe; the worker outlives it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "firn/ingest/worker.h"
#include "firn/metrics/status_server.h"

namespace firn::cli {

class WorkerHealth final : public metrics::HealthSource {
 public:
  explicit WorkerHealth(const ingest::Worker& worker) : worker_(worker) {}
  // Running is being alive: a worker that cannot go on ends with an error, and the process with it.
  metrics::HealthState Alive() override;
  metrics::HealthState Ready() override;

 private:
  const ingest::Worker& worker_;
};

nlohmann::json StatusToJson(const ingest::WorkerStatus& status);
nlohmann::json RunResultToJson(const ingest::RunResult& result);

}  // namespace firn::cli
