// WorkerHealth: a pipeline's state for the status server and for --json, from before there is a worker to its end.
//
// Thread-safe. A worker that is shown outlives it, or is taken away before it goes.
#pragma once

#include <functional>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "firn/cli/table_upkeep.h"
#include "firn/ingest/worker.h"
#include "firn/metrics/status_server.h"

namespace firn::cli {

class WorkerHealth final : public metrics::HealthSource {
 public:
  // Until there is a worker: what the start waits for.
  void SetStarting(std::string reason);
  void SetWorker(const ingest::Worker* worker);
  ingest::WorkerStatus status() const;
  // Where the loop's word comes from; null: there is no loop. What it refers to outlives it.
  void SetUpkeep(std::function<Upkeep()> upkeep);
  Upkeep upkeep() const;

  // Running is being alive: a worker that cannot go on ends with an error, and the process with it.
  metrics::HealthState Alive() override;
  metrics::HealthState Ready() override;

 private:
  mutable std::mutex mutex_;
  const ingest::Worker* worker_ = nullptr;
  std::function<Upkeep()> upkeep_;
  std::string starting_ = "starting";
};

nlohmann::json StatusToJson(const ingest::WorkerStatus& status);
nlohmann::json RunResultToJson(const ingest::RunResult& result);

}  // namespace firn::cli
