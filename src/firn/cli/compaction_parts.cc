#include "firn/cli/compaction_parts.h"

#include <algorithm>
#include <utility>

namespace firn::cli {

compaction::LoopOptions LoopOptionsOf(const config::Config& config) {
  compaction::LoopOptions options;
  options.interval_ms = config.compaction.interval_ms;
  options.cold_after_ms = config.compaction.cold_after_ms;
  options.files_min = static_cast<size_t>(config.compaction.files_min);
  options.cpu_share.low = static_cast<double>(config.compaction.cpu_share_percent) / 100;
  options.cpu_share.high = static_cast<double>(config.compaction.cpu_share_max_percent) / 100;
  options.memory_bytes = config.pipeline.memory_limit_bytes / kCompactionShareOfMemory;
  options.output_age_ms_max = config.pipeline.commit_max_age_ms;
  return options;
}

lag::LagOptions LagOptionsOf(const config::Config& config) {
  const compaction::LoopOptions loop = LoopOptionsOf(config);
  lag::LagOptions options;
  options.window_ms = config.lag.window_ms;
  options.partitions_max = static_cast<size_t>(config.lag.partitions_max);
  options.files_min = loop.files_min;
  options.cold_after_ms = loop.cold_after_ms;
  options.memory_bytes = loop.memory_bytes;
  if (config.compaction.enabled) options.cpu_share = loop.cpu_share.high;
  // Tables at rest are looked at so rarely.
  options.stalled_after_ms =
      std::max(options.stalled_after_ms, 2 * compaction::kQuietIntervals * config.compaction.interval_ms);
  return options;
}

compaction::LoopScope ScopeOf(const ingest::PipelineShare& share) {
  compaction::LoopScope scope;
  for (const std::string& table : share.tables) {
    Result<iceberg::TableIdentifier> identifier = iceberg::TableIdentifier::Parse(table);
    if (identifier.has_value()) scope.tables.push_back(*std::move(identifier));
  }
  scope.shares = share.shares;
  scope.mine = share.mine;
  return scope;
}

Result<compaction::LoopScope> LoadScope(iceberg::Catalog& catalog, ingest::PipelineOptions pipeline,
                                        const std::string& only) {
  if (!only.empty()) {
    ingest::TableRule rule;
    rule.name = only;
    pipeline.tables.push_back(std::move(rule));
  }
  FIRN_ASSIGN(ingest::PipelineShare share, ingest::LoadWholeShare(catalog, pipeline));
  if (!only.empty()) std::erase_if(share.tables, [&](const std::string& table) { return table != only; });
  return ScopeOf(share);
}

std::optional<double> CompactionCapacityOf(const config::Config& config, const compaction::LoopStatus& status,
                                           const compaction::LoopScope& scope) {
  if (status.bytes_per_cpu_second <= 0 || scope.mine.empty()) return std::nullopt;
  const double workers = static_cast<double>(scope.shares) / static_cast<double>(scope.mine.size());
  return status.bytes_per_cpu_second * static_cast<double>(config.compaction.cpu_share_max_percent) / 100 * workers;
}

}  // namespace firn::cli
