#include "firn/cli/table_loop.h"

#include <utility>

#include "firn/cli/compaction_parts.h"
#include "firn/ingest/rules.h"

namespace firn::cli {

using maintenance::MaintenanceOptions;
using maintenance::Task;

namespace {

MaintenanceOptions OptionsFor(const config::Config& config, const std::string& only) {
  MaintenanceOptions options = MaintenanceOptionsOf(config);
  if (!only.empty()) return options;
  Result<iceberg::TableIdentifier> home = iceberg::TableIdentifier::Parse(config.pipeline.home_table);
  if (home.has_value()) options.also.push_back(*std::move(home));
  return options;
}

}  // namespace

MaintenanceOptions MaintenanceOptionsOf(const config::Config& config) {
  MaintenanceOptions options;
  options.interval_ms = {{Task::kRetain, config.maintenance.retain_interval_ms},
                         {Task::kExpire, config.maintenance.expire_interval_ms},
                         {Task::kManifests, config.maintenance.manifests_interval_ms},
                         {Task::kOrphans, config.maintenance.orphans_interval_ms}};
  options.orphans_older_than_ms = config.maintenance.orphans_older_than_ms;
  options.commit_max_age_ms = config.pipeline.commit_max_age_ms;
  options.memory_bytes = LoopOptionsOf(config).memory_bytes;  // the loop does one thing at a time
  options.retention = [pipeline =
                           config.pipeline](const std::string& table) -> std::optional<maintenance::RetentionOptions> {
    const std::optional<ingest::DataRetention> rule = ingest::RetentionOf(pipeline, table);
    if (!rule.has_value()) return std::nullopt;
    return maintenance::RetentionOptions{.field = rule->field, .age_ms = rule->age_ms};
  };
  return options;
}

TableLoop::TableLoop(const config::Config& config, const compaction::LoopOptions& options,
                     compaction::CompactionParts parts, compaction::CompactionLoop::ScopeFn scope,
                     metrics::Registry& registry, const std::string& only)
    : maintenance_(OptionsFor(config, only), {parts.catalog, parts.store, parts.clock, parts.random}, registry,
                   {{"pipeline", config.pipeline.pipeline}}),
      loop_(options, parts, std::move(scope), registry, {{"pipeline", config.pipeline.pipeline}}) {
  loop_.SetSideWork(&maintenance_);
}

}  // namespace firn::cli
