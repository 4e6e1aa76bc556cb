#include "firn/maintenance/maintenance_metrics.h"

#include "firn/maintenance/table_maintenance.h"

namespace firn::maintenance {
namespace {

constexpr const char* kFailing = "firn_maintenance_failing";

}  // namespace

metrics::Labels MaintenanceMetrics::With(const Job& job) const {
  metrics::Labels labels = labels_;
  labels["table"] = job.table;
  labels["task"] = TaskName(job.task);
  return labels;
}

void MaintenanceMetrics::Count(const Job& job, const Freed& freed, double cpu_s, const std::optional<Error>& error) {
  auto count = [&](const char* name, const char* help, double amount) {
    registry_.counter(name, help, With(job)).Add(amount);
  };
  count("firn_maintenance_runs_total", "tasks of maintenance that were done or have failed", 1);
  count("firn_maintenance_cpu_seconds_total", "CPU time of the loop's thread for them", cpu_s);
  count("firn_maintenance_files_total", "files that were deleted, or (retain) have left the table",
        static_cast<double>(freed.files));
  count("firn_maintenance_bytes_total", "their bytes", static_cast<double>(freed.bytes));
  count("firn_maintenance_snapshots_expired_total", "snapshots that were taken off",
        static_cast<double>(freed.snapshots));
  count("firn_maintenance_rows_retired_total", "rows of partitions beyond their retention",
        static_cast<double>(freed.rows));
  count("firn_maintenance_manifests_saved_total", "manifests fewer after clustering",
        static_cast<double>(freed.manifests));
  registry_.gauge(kFailing, "1: the last run of the task has failed", With(job)).Set(error.has_value() ? 1 : 0);
  if (!error.has_value()) return;
  metrics::Labels labels = With(job);
  labels["code"] = ErrorCodeName(error->code());
  registry_.counter("firn_maintenance_errors_total", "failures and refusals, after which it is tried again", labels)
      .Add();
}

void MaintenanceMetrics::Forget(const Job& job) {
  registry_.RemoveGauge(kFailing, With(job));
}

}  // namespace firn::maintenance
