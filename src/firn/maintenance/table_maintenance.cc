#include "firn/maintenance/table_maintenance.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "firn/base/log.h"
#include "firn/iceberg/commit/append.h"
#include "firn/iceberg/commit/snapshot_expiry.h"
#include "firn/ingest/map_commit.h"
#include "firn/maintenance/expiry.h"
#include "firn/maintenance/manifest_clustering.h"
#include "firn/maintenance/orphans.h"
#include "firn/maintenance/paced_store.h"

namespace firn::maintenance {
namespace {

// A table that others commit to all the time is left to a quieter hour: compaction waits meanwhile.
constexpr int32_t kClusteringRetriesMax = 1;
constexpr int32_t kNoSpec = -1;  // the share of a table as a whole has no partition
constexpr const char* kMaxAgeProperty = "history.expire.max-snapshot-age-ms";
constexpr const char* kMinKeepProperty = "history.expire.min-snapshots-to-keep";

// What is on by default goes by what the table itself says: a table that somebody else made, and that says nothing
// about its snapshots, keeps them; so do those whose files may be another's, and formats that Firn does not write.
bool IsLeftAlone(Task task, const iceberg::TableMetadata& metadata) {
  if (task == Task::kRetain || task == Task::kOrphans) return false;
  if (!iceberg::CheckWritable(metadata).has_value()) return true;
  if (task == Task::kManifests) return false;
  if (!metadata.BoolProperty("gc.enabled", true)) return true;
  const bool ours = metadata.Property(std::string(ingest::kCreatedByProperty)).has_value();
  return !ours && !metadata.Property(kMaxAgeProperty).has_value() && !metadata.Property(kMinKeepProperty).has_value();
}

Result<TaskOutcome> Expire(const MaintenanceParts& parts, const iceberg::TableIdentifier& table,
                           const iceberg::TableMetadata& metadata, std::stop_token stop) {
  ExpiryOptions options{.apply = true};
  // As commits do: the newest stay where the table does not say otherwise.
  if (!metadata.Property(kMinKeepProperty).has_value()) options.snapshots_to_keep = iceberg::kExpireSpareNewest;
  FIRN_ASSIGN(const ExpiryReport report, ExpireSnapshots(parts, table, options, std::move(stop)));
  TaskOutcome outcome;
  outcome.freed = {.files = report.deleted.files,
                   .bytes = report.deleted.bytes,
                   .snapshots = static_cast<int64_t>(report.plan.snapshots.size())};
  outcome.error = report.search_error.has_value() ? report.search_error : report.deleted.first_error;
  if (!outcome.error.has_value() && report.deleted.stopped) {
    outcome.error = Error(ErrorCode::kCancelled,
                          "stopped before all files of the expired snapshots were deleted; what is left are orphans "
                          "(firn maintain --orphans)");
  }
  return outcome;
}

Result<TaskOutcome> Retain(const MaintenanceParts& parts, const MaintenanceOptions& options,
                           const iceberg::TableIdentifier& table, std::stop_token stop) {
  std::optional<RetentionOptions> rule = options.retention ? options.retention(table.ToString()) : std::nullopt;
  if (!rule.has_value()) return TaskOutcome{};
  rule->apply = true;
  FIRN_ASSIGN(const RetentionReport report, RetainData(parts, table, *rule, std::move(stop)));
  TaskOutcome outcome;
  outcome.freed = {.files = report.files, .bytes = report.bytes, .partitions = report.partitions, .rows = report.rows};
  return outcome;
}

Result<TaskOutcome> Cluster(const MaintenanceParts& parts, const MaintenanceOptions& options,
                            const iceberg::TableIdentifier& table, std::stop_token stop) {
  const ClusteringOptions clustering{
      .apply = true, .retries_max = kClusteringRetriesMax, .memory_bytes = options.memory_bytes};
  FIRN_ASSIGN(const ClusteringReport report, ClusterManifests(parts, table, clustering, std::move(stop)));
  TaskOutcome outcome;
  if (report.snapshot_id.has_value()) {
    outcome.freed.manifests = std::max<int64_t>(report.manifests_before - report.manifests_after, 0);
  }
  return outcome;
}

Result<TaskOutcome> Orphans(const MaintenanceParts& parts, const MaintenanceOptions& options,
                            const iceberg::TableIdentifier& table, std::stop_token stop) {
  FIRN_ASSIGN(const OrphanReport report, RemoveOrphans(parts, table,
                                                       {.older_than_ms = options.orphans_older_than_ms,
                                                        .commit_max_age_ms = options.commit_max_age_ms,
                                                        .apply = true},
                                                       std::move(stop)));
  TaskOutcome outcome;
  outcome.freed = {.files = report.deleted.files, .bytes = report.deleted.bytes};
  outcome.error = report.deleted.first_error;
  return outcome;
}

}  // namespace

void Freed::Add(const Freed& other) {
  files += other.files;
  bytes += other.bytes;
  snapshots += other.snapshots;
  partitions += other.partitions;
  rows += other.rows;
  manifests += other.manifests;
}

std::map<std::string, int64_t> Freed::ByName() const {
  std::map<std::string, int64_t> named = {{"files", files},           {"bytes", bytes}, {"snapshots", snapshots},
                                          {"partitions", partitions}, {"rows", rows},   {"manifests", manifests}};
  std::erase_if(named, [](const auto& entry) { return entry.second == 0; });
  return named;
}

TaskOutcome RunTask(const MaintenanceParts& parts, const MaintenanceOptions& options, Task task,
                    const iceberg::TableIdentifier& table, const std::function<bool()>& pause, std::stop_token stop) {
  const Result<iceberg::LoadedTable> loaded = parts.catalog.LoadTable(table);
  if (!loaded.has_value() && loaded.error().code() == ErrorCode::kNotFound) return {};  // not made yet
  if (!loaded.has_value()) return {.error = loaded.error()};
  if (IsLeftAlone(task, loaded->metadata)) return {};
  PacedStore paced(parts.store, pause);
  // The others read between the load and the commit of an attempt, where a pause would cost it, or between a commit and
  // what must follow it: they pay afterwards.
  env::ObjectStore& store = task == Task::kOrphans ? static_cast<env::ObjectStore&>(paced) : parts.store;
  const MaintenanceParts with_pauses{parts.catalog, store, parts.clock, parts.random};
  auto run = [&]() -> Result<TaskOutcome> {
    switch (task) {
      case Task::kRetain: return Retain(with_pauses, options, table, stop);
      case Task::kExpire: return Expire(with_pauses, table, loaded->metadata, stop);
      case Task::kManifests: return Cluster(with_pauses, options, table, stop);
      case Task::kOrphans: return Orphans(with_pauses, options, table, stop);
    }
    return TaskOutcome{};
  };
  Result<TaskOutcome> outcome = run();
  if (!outcome.has_value()) return {.error = std::move(outcome.error())};
  return *std::move(outcome);
}

TableMaintenance::TableMaintenance(MaintenanceOptions options, MaintenanceParts parts, metrics::Registry& registry,
                                   metrics::Labels labels, RunFn run, std::function<double()> cpu_seconds)
    : options_(std::move(options)),
      parts_(parts),
      metrics_(registry, std::move(labels)),
      run_(run ? std::move(run)
               : [this](
                     Task task, const iceberg::TableIdentifier& table, const PauseFn& pause,
                     std::stop_token stop) { return RunTask(parts_, options_, task, table, pause, std::move(stop)); }),
      cpu_seconds_(std::move(cpu_seconds)),
      schedule_(options_.interval_ms) {}

void TableMaintenance::SetScope(const compaction::LoopScope& scope) {
  std::map<std::string, iceberg::TableIdentifier> tables;
  auto add = [&](const iceberg::TableIdentifier& table) {
    std::string name = table.ToString();
    if (scope.mine.contains(compaction::ShareOf(name, kNoSpec, "", scope.shares)))
      tables.emplace(std::move(name), table);
  };
  for (const iceberg::TableIdentifier& table : scope.tables) add(table);
  for (const iceberg::TableIdentifier& table : options_.also) add(table);
  std::set<Job> jobs;
  for (const auto& [name, table] : tables) {
    for (const auto& [task, interval_ms] : options_.interval_ms) {
      const bool no_rule = task == Task::kRetain && (!options_.retention || !options_.retention(name).has_value());
      if (interval_ms > 0 && !no_rule) jobs.insert({name, task});
    }
  }
  schedule_.SetJobs(jobs, parts_.clock.BootMs());
  tables_ = std::move(tables);
  std::lock_guard lock(mutex_);
  for (const Job& job : jobs_) {
    if (jobs.contains(job)) continue;
    metrics_.Forget(job);
    status_[job.table].erase(job.task);
    if (status_[job.table].empty()) status_.erase(job.table);
  }
  const int64_t to_wall_ms = parts_.clock.WallMs() - parts_.clock.BootMs();
  for (const Job& job : jobs) {
    status_[job.table][job.task].next_ms = schedule_.NextMs(job).value_or(0) + to_wall_ms;
  }
  jobs_ = std::move(jobs);
}

void TableMaintenance::DoNext(const PauseFn& pause, std::stop_token stop) {
  const std::optional<Job> job = schedule_.Due(parts_.clock.BootMs());
  if (!job.has_value()) return;
  const double cpu_before_s = cpu_seconds_();
  TaskOutcome outcome = run_(job->task, tables_.at(job->table), pause, stop);
  // It was told to, which is no failure; but what it has begun and left is told.
  if (stop.stop_requested() && outcome.error.has_value() && outcome.freed.ByName().empty()) return;
  std::optional<ErrorCode> code;
  if (outcome.error.has_value()) code = outcome.error->code();
  schedule_.Done(*job, parts_.clock.BootMs(), code);
  Report(*job, outcome, cpu_seconds_() - cpu_before_s);
}

void TableMaintenance::Report(const Job& job, const TaskOutcome& outcome, double cpu_s) {
  const int64_t boot_ms = parts_.clock.BootMs(), wall_ms = parts_.clock.WallMs();
  const int64_t next_ms = schedule_.NextMs(job).value_or(boot_ms);
  metrics_.Count(job, outcome.freed, cpu_s, outcome.error);
  const std::map<std::string, int64_t> freed = outcome.freed.ByName();
  if (!freed.empty()) {
    LogInfo("a table was maintained", {{"table", job.table},
                                       {"task", TaskName(job.task)},
                                       {"freed", fmt::format("{}", freed)},
                                       {"cpu_s", fmt::format("{:.2f}", cpu_s)}});
  }
  if (outcome.error.has_value()) {
    LogWarning("maintenance of a table failed, it will be tried again", {{"table", job.table},
                                                                         {"task", TaskName(job.task)},
                                                                         {"in_s", (next_ms - boot_ms) / 1000},
                                                                         {"error", *outcome.error}});
  }
  std::lock_guard lock(mutex_);
  TaskStatus& status = status_[job.table][job.task];
  ++status.runs;
  status.freed.Add(outcome.freed);
  status.next_ms = next_ms + wall_ms - boot_ms;
  status.error = outcome.error;
  if (!outcome.error.has_value()) {
    status.last_ms = wall_ms;
    status.failures = 0;
    return;
  }
  if (status.failures++ == 0) status.error_since_ms = wall_ms;
}

MaintenanceStatus TableMaintenance::status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

}  // namespace firn::maintenance
