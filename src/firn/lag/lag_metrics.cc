#include "firn/lag/lag_metrics.h"

#include <algorithm>
#include <limits>

#include "firn/base/log.h"

namespace firn::lag {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
constexpr double kNever = std::numeric_limits<double>::infinity();

double AgeSeconds(std::optional<int64_t> since_ms, int64_t now_ms) {
  return since_ms.has_value() ? static_cast<double>(now_ms - *since_ms) / 1000.0 : kUnknown;
}

// When the table is behind: now, after a while, or never as things go.
double FallsBehindSeconds(const TableLag& lag) {
  switch (lag.state) {
    case LagState::kClear:
    case LagState::kKeepsUp: return kNever;
    case LagState::kFallsBehind: return lag.forecast_s.value_or(kNever);
    case LagState::kBehind: return 0;
    default: return kUnknown;
  }
}

}  // namespace

void LagMetrics::Set(const std::string& table, const TableLag& lag, int64_t now_ms) {
  const metrics::Labels labels = {{"pipeline", pipeline_}, {"table", table}};
  auto set = [&](const char* name, const char* help, double value) { registry_.gauge(name, help, labels).Set(value); };
  auto count = [&](const char* name, const char* help, int64_t value) { set(name, help, static_cast<double>(value)); };
  count("firn_table_data_files", "Live data files: what a scan of everything opens", lag.data_files);
  count("firn_table_data_bytes", "Bytes of the live data files", lag.data_bytes);
  count("firn_table_delete_files", "Live delete files", lag.delete_files);
  count("firn_table_manifests", "Manifests with live files: what planning such a scan opens", lag.manifests);
  count("firn_table_manifest_bytes", "Bytes of these manifests", lag.manifest_bytes);
  count("firn_table_snapshots", "Snapshots in the table's metadata", lag.snapshots);
  set("firn_table_metadata_bytes", "Bytes of metadata.json",
      lag.metadata_bytes.has_value() ? static_cast<double>(*lag.metadata_bytes) : kUnknown);
  count("firn_compaction_lag_files", "Small data files that could be put together", lag.uncompacted_files);
  count("firn_compaction_lag_bytes", "Bytes of the small data files that could be put together", lag.uncompacted_bytes);
  set("firn_compaction_lag_seconds", "Age of the oldest data file that could be put together with others; 0: none",
      lag.uncompacted_files == 0 ? 0 : AgeSeconds(lag.oldest_ms, now_ms));
  set("firn_table_arrival_bytes_per_second", "Data that came in, over the lag window",
      lag.arrival_bytes_per_s.value_or(kUnknown));
  set("firn_compaction_bytes_per_second", "Data that compaction took in, over the lag window",
      lag.compacted_bytes_per_s.value_or(kUnknown));
  set("firn_compaction_capacity_bytes_per_second", "Data that compaction takes in while it works",
      lag.capacity_bytes_per_s.value_or(kUnknown));
  set("firn_compaction_capacity_ratio", "Capacity of compaction by arrival", lag.capacity_ratio.value_or(kUnknown));
  set("firn_compaction_falls_behind_seconds", "Time until compaction is behind; 0: it is, +Inf: as things go, never",
      FallsBehindSeconds(lag));
  set("firn_table_write_amplification_ratio", "Bytes written by bytes arrived, over the lag window",
      lag.write_amplification.value_or(kUnknown));
  set("firn_table_lag_up", "1 when the figures of the table were read in the last round", 1);
  set("firn_table_lag_timestamp_seconds", "When the figures of the table were read",
      static_cast<double>(now_ms) / 1000.0);
  SetPartitions(table, lag, now_ms);
}

void LagMetrics::SetPartitions(const std::string& table, const TableLag& lag, int64_t now_ms) {
  static constexpr const char* kFiles = "firn_partition_compaction_lag_files";
  static constexpr const char* kBytes = "firn_partition_compaction_lag_bytes";
  static constexpr const char* kSeconds = "firn_partition_compaction_lag_seconds";
  std::set<std::string> named;
  auto labels_of = [&](const std::string& partition) {
    return metrics::Labels{{"pipeline", pipeline_}, {"table", table}, {"partition", partition}};
  };
  for (const PartitionLag& partition : lag.worst) {
    // Of two specs with one path, the worse one.
    if (!named.insert(partition.partition).second) continue;
    const metrics::Labels labels = labels_of(partition.partition);
    registry_.gauge(kFiles, "firn_compaction_lag_files of one of the worst partitions", labels)
        .Set(static_cast<double>(partition.uncompacted_files));
    registry_.gauge(kBytes, "firn_compaction_lag_bytes of one of the worst partitions", labels)
        .Set(static_cast<double>(partition.uncompacted_bytes));
    registry_.gauge(kSeconds, "firn_compaction_lag_seconds of one of the worst partitions", labels)
        .Set(AgeSeconds(partition.oldest_ms, now_ms));
  }
  std::set<std::string>& before = partitions_[table];
  for (const std::string& partition : before) {
    if (named.contains(partition)) continue;
    for (const char* name : {kFiles, kBytes, kSeconds}) registry_.RemoveGauge(name, labels_of(partition));
  }
  before = std::move(named);
}

void LagMetrics::SetFailed(const std::string& table) {
  registry_
      .gauge("firn_table_lag_up", "1 when the figures of the table were read in the last round",
             {{"pipeline", pipeline_}, {"table", table}})
      .Set(0);
}

TableLagWatch::TableLagWatch(iceberg::Catalog& catalog, env::ObjectStore& store, env::Clock& clock,
                             metrics::Registry& registry, TableLagWatchOptions options, TablesFn tables)
    : clock_(clock),
      options_(std::move(options)),
      tables_fn_(std::move(tables)),
      reader_(catalog, store, clock),
      metrics_(registry, options_.pipeline),
      thread_([this](std::stop_token stop) { Run(stop); }) {}

TableLagWatch::~TableLagWatch() = default;

std::vector<WatchedTable> TableLagWatch::tables() const {
  std::lock_guard lock(mutex_);
  std::vector<WatchedTable> tables;
  for (const auto& [name, table] : watched_) tables.push_back(table);
  return tables;
}

void TableLagWatch::Run(std::stop_token stop) {
  do {
    Round(stop);
  } while (clock_.SleepMs(options_.interval_ms, stop));
}

void TableLagWatch::Round(std::stop_token stop) {
  Result<std::vector<iceberg::TableIdentifier>> tables = tables_fn_();
  if (!tables.has_value()) {
    LogWarning("the lag of the tables is not read this time", {{"error", tables.error()}});
    return;
  }
  std::map<std::string, Result<TableLag>> lags;
  for (const iceberg::TableIdentifier& table : *tables) {
    if (stop.stop_requested()) return;
    Result<TableLag> lag = reader_.Read(table, options_.lag);
    // A table that is made with its first row has no figures yet.
    if (!lag.has_value() && lag.error().code() == ErrorCode::kNotFound) continue;
    lags.emplace(table.ToString(), std::move(lag));
  }
  if (options_.capacity_bytes_per_s) ShareCapacity(lags);
  for (auto& [table, lag] : lags) Take(table, std::move(lag));
}

void TableLagWatch::ShareCapacity(std::map<std::string, Result<TableLag>>& lags) const {
  const std::optional<double> capacity = options_.capacity_bytes_per_s();
  if (!capacity.has_value()) return;
  double arrival = 0;
  for (const auto& [table, lag] : lags) arrival += lag.has_value() ? lag->arrival_bytes_per_s.value_or(0) : 0;
  for (auto& [table, lag] : lags) {
    if (!lag.has_value()) continue;
    const double own = lag->arrival_bytes_per_s.value_or(0);
    // A table where nothing arrives has what the others do not need.
    const double share = own > 0 ? *capacity * own / arrival : std::max(*capacity - arrival, 0.0);
    SetCapacity(*lag, share, options_.lag.behind_after_ms);
  }
}

void TableLagWatch::WarnOfMetadata(const std::string& table, const TableLag& lag) {
  if (!lag.metadata_bytes.has_value()) return;
  if (*lag.metadata_bytes < kMetadataBytesWarn / 4 * 3) large_metadata_.erase(table);
  if (*lag.metadata_bytes <= kMetadataBytesWarn || !large_metadata_.insert(table).second) return;
  LogWarning("the metadata.json of a table is large; each commit writes it anew and each reader reads it whole",
             {{"table", table},
              {"bytes", *lag.metadata_bytes},
              {"snapshots", lag.snapshots},
              {"remedy",
               "fewer snapshots: 'firn maintain --expire --apply', or set history.expire.max-snapshot-age-ms lower; "
               "with few snapshots: fewer source partitions a pipeline, or properties"}});
}

void TableLagWatch::Take(const std::string& table, Result<TableLag> lag) {
  const int64_t now_ms = clock_.WallMs();
  if (lag.has_value()) {
    metrics_.Set(table, *lag, now_ms);
    WarnOfMetadata(table, *lag);
  } else {
    metrics_.SetFailed(table);
    LogWarning("the lag of a table is not read this time", {{"table", table}, {"error", lag.error()}});
  }
  std::lock_guard lock(mutex_);
  WatchedTable& watched = watched_[table];
  watched.table = table;
  watched.error.reset();
  if (lag.has_value()) {
    watched.lag = *std::move(lag);
    watched.read_ms = now_ms;
  } else {
    watched.error = std::move(lag.error());
  }
}

}  // namespace firn::lag
