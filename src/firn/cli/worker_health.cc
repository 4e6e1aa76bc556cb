#include "firn/cli/worker_health.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace firn::cli {
namespace {

metrics::HealthReason DetachedReason(const ingest::DetachedTable& detached) {
  return {"table_detached",
          fmt::format("table '{}', partition '{}': {}", detached.table, detached.partition, detached.reason)};
}

}  // namespace

void WorkerHealth::SetStarting(std::string reason) {
  std::lock_guard lock(mutex_);
  starting_ = std::move(reason);
}

void WorkerHealth::SetWorker(const ingest::Worker* worker) {
  std::lock_guard lock(mutex_);
  worker_ = worker;
}

ingest::WorkerStatus WorkerHealth::status() const {
  std::lock_guard lock(mutex_);
  if (worker_ != nullptr) return worker_->status();
  ingest::WorkerStatus status;
  status.not_ready_reason = starting_;
  return status;
}

void WorkerHealth::SetUpkeep(std::function<Upkeep()> upkeep) {
  std::lock_guard lock(mutex_);
  upkeep_ = std::move(upkeep);
}

Upkeep WorkerHealth::upkeep() const {
  std::lock_guard lock(mutex_);
  return upkeep_ ? upkeep_() : Upkeep{};
}

metrics::HealthState WorkerHealth::Alive() {
  return {};
}

metrics::HealthState WorkerHealth::Ready() {
  ingest::WorkerStatus status = this->status();
  metrics::HealthState state;
  state.ok = status.ready;
  if (!status.ready) {
    state.reasons.push_back({"not_ready", status.not_ready_reason.empty() ? "starting" : status.not_ready_reason});
  }
  for (const ingest::DetachedTable& detached : status.detached) state.reasons.push_back(DetachedReason(detached));
  return state;
}

nlohmann::json StatusToJson(const ingest::WorkerStatus& status) {
  nlohmann::json detached = nlohmann::json::array();
  for (const ingest::DetachedTable& table : status.detached) {
    nlohmann::json entry = {{"table", table.table},     {"partition", table.partition},
                            {"reason", table.reason},   {"hold", table.hold},
                            {"catches_up", table.lane}, {"home_position", table.home_position},
                            {"position", nullptr},      {"retained_records", nullptr}};
    if (table.position >= 0) entry["position"] = table.position;
    if (table.retained_records >= 0) entry["retained_records"] = table.retained_records;
    detached.push_back(std::move(entry));
  }
  nlohmann::json document = {
      {"ready", status.ready},
      {"not_ready_reason", status.not_ready_reason},
      {"records", status.records},
      {"bytes", status.bytes},
      {"rows_committed", status.rows_committed},
      {"rejects_committed", status.rejects_committed},
      {"dropped", status.dropped},
      {"skipped", status.skipped},
      {"commits", status.commits},
      {"commit_conflicts", status.commit_conflicts},
      {"data_files", status.data_files},
      {"data_file_bytes", status.data_file_bytes},
      {"lag_records", nullptr},
      {"buffered_bytes", status.buffered_bytes},
      {"assigned_partitions", status.assigned_partitions},
      {"commit_interval_effective_ms", status.commit_interval_effective_ms},
      {"workers", status.workers},
      {"lanes", status.lanes},
      {"detached", std::move(detached)},
  };
  if (status.lag_records >= 0) document["lag_records"] = status.lag_records;
  return document;
}

nlohmann::json RunResultToJson(const ingest::RunResult& result) {
  nlohmann::json document = StatusToJson(result.status);
  document["caught_up"] = result.caught_up;
  document["cpu_seconds"] = {{"fetch", result.stages.fetch},   {"parse", result.stages.parse},
                             {"group", result.stages.group},   {"encode", result.stages.encode},
                             {"upload", result.stages.upload}, {"commit", result.stages.commit}};
  return document;
}

}  // namespace firn::cli
