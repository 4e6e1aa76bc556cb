#include "firn/lag/lag_metrics.h"

#include <algorithm>
#include <initializer_list>
#include <limits>

#include "firn/base/log.h"

namespace firn::lag {
namespace {

constexpr const char* kLeftAloneFiles = "firn_compaction_lag_left_alone_files";
constexpr const char* kPartitionFiles = "firn_partition_compaction_lag_files";
constexpr const char* kPartitionBytes = "firn_partition_compaction_lag_bytes";
constexpr const char* kPartitionSeconds = "firn_partition_compaction_lag_seconds";

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
  auto set = [&](const char* name, const char* help, double value) {
    names_.insert(name);
    registry_.gauge(name, help, labels).Set(value);
  };
  auto count = [&](const char* name, const char* help, int64_t value) { set(name, help, static_cast<double>(value)); };
  count("firn_table_data_files", "Live data files: what a scan of everything opens", lag.data_files);
  count("firn_table_data_bytes", "Bytes of the live data files", lag.data_bytes);
  count("firn_table_delete_files", "Live delete files", lag.delete_files);
  count("firn_table_manifests", "Manifests with live files: what planning such a scan opens", lag.manifests);
  count("firn_table_manifest_bytes", "Bytes of these manifests", lag.manifest_bytes);
  count("firn_table_snapshots", "Snapshots in the table's metadata", lag.snapshots);
  set("firn_table_metadata_bytes", "Bytes of metadata.json",
      lag.metadata_bytes.has_value() ? static_cast<double>(*lag.metadata_bytes) : kUnknown);
  count("firn_compaction_lag_files", "Small data files that compaction would take", lag.uncompacted_files);
  count("firn_compaction_lag_bytes", "Bytes of the small data files that compaction would take", lag.uncompacted_bytes);
  set("firn_compaction_lag_seconds", "Age of the oldest data file that compaction would take; 0: none",
      lag.uncompacted_files == 0 ? 0 : AgeSeconds(lag.oldest_ms, now_ms));
  set("firn_compaction_waiting_seconds", "How long there has been work while nothing was compacted; 0: there is none",
      static_cast<double>(lag.waiting_ms) / 1000.0);
  count("firn_compaction_lag_left_alone_bytes", "Bytes of the small data files that compaction leaves alone",
        lag.left_alone_bytes);
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
  SetLeftAlone(table, lag);
  SetPartitions(table, lag, now_ms);
}

void LagMetrics::SetLeftAlone(const std::string& table, const TableLag& lag) {
  std::set<std::string>& reasons = reasons_[table];
  for (const auto& [reason, files] : lag.left_alone) reasons.insert(reason);
  for (const std::string& reason : reasons) {
    auto found = lag.left_alone.find(reason);
    registry_
        .gauge(kLeftAloneFiles, "Small data files that compaction leaves alone, by reason",
               {{"pipeline", pipeline_}, {"table", table}, {"reason", reason}})
        .Set(found == lag.left_alone.end() ? 0.0 : static_cast<double>(found->second));
  }
}

void LagMetrics::SetPartitions(const std::string& table, const TableLag& lag, int64_t now_ms) {
  std::set<std::string> named;
  auto labels_of = [&](const std::string& partition) {
    return metrics::Labels{{"pipeline", pipeline_}, {"table", table}, {"partition", partition}};
  };
  for (const PartitionLag& partition : lag.worst) {
    // Of two specs with one path, the worse one.
    if (!named.insert(partition.partition).second) continue;
    const metrics::Labels labels = labels_of(partition.partition);
    registry_.gauge(kPartitionFiles, "firn_compaction_lag_files of one of the worst partitions", labels)
        .Set(static_cast<double>(partition.uncompacted_files));
    registry_.gauge(kPartitionBytes, "firn_compaction_lag_bytes of one of the worst partitions", labels)
        .Set(static_cast<double>(partition.uncompacted_bytes));
    registry_.gauge(kPartitionSeconds, "firn_compaction_lag_seconds of one of the worst partitions", labels)
        .Set(AgeSeconds(partition.oldest_ms, now_ms));
  }
  std::set<std::string>& before = partitions_[table];
  for (const std::string& partition : before) {
    if (named.contains(partition)) continue;
    for (const char* name : {kPartitionFiles, kPartitionBytes, kPartitionSeconds})
      registry_.RemoveGauge(name, labels_of(partition));
  }
  before = std::move(named);
}

void LagMetrics::SetFailed(const std::string& table) {
  registry_
      .gauge("firn_table_lag_up", "1 when the figures of the table were read in the last round",
             {{"pipeline", pipeline_}, {"table", table}})
      .Set(0);
}

void LagMetrics::Remove(const std::string& table) {
  const metrics::Labels labels = {{"pipeline", pipeline_}, {"table", table}};
  for (const std::string& name : names_) registry_.RemoveGauge(name, labels);
  registry_.RemoveGauge("firn_table_lag_up", labels);  // all that one has that never could be read
  auto remove_each = [&](std::map<std::string, std::set<std::string>>& of_tables, const char* label,
                         std::initializer_list<const char*> names) {
    for (const std::string& value : of_tables[table]) {
      metrics::Labels with = labels;
      with[label] = value;
      for (const char* name : names) registry_.RemoveGauge(name, with);
    }
    of_tables.erase(table);
  };
  remove_each(partitions_, "partition", {kPartitionFiles, kPartitionBytes, kPartitionSeconds});
  remove_each(reasons_, "reason", {kLeftAloneFiles});
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
  if (!tables.has_value()) return FailAll(tables.error());
  std::map<std::string, Result<TableLag>> lags;
  for (const iceberg::TableIdentifier& table : *tables) {
    if (stop.stop_requested()) return;
    Result<TableLag> lag = reader_.Read(table, options_.lag);
    // A table that is made with its first row has no figures yet; one that was dropped has none any more.
    if (!lag.has_value() && lag.error().code() == ErrorCode::kNotFound) continue;
    lags.emplace(table.ToString(), std::move(lag));
  }
  ForgetOthers(lags);
  if (options_.capacity_bytes_per_s) ShareCapacity(lags);
  for (const iceberg::TableIdentifier& table : *tables) {
    auto lag = lags.find(table.ToString());
    if (lag != lags.end()) Take(table, std::move(lag->second));
  }
}

// Which tables there are is not known: figures of none are fresh.
void TableLagWatch::FailAll(const Error& error) {
  LogWarning("the lag of the tables is not read this time", {{"error", error}});
  std::lock_guard lock(mutex_);
  for (auto& [name, table] : watched_) {
    metrics_.SetFailed(name);
    table.error = error;
  }
}

void TableLagWatch::ForgetOthers(const std::map<std::string, Result<TableLag>>& lags) {
  std::lock_guard lock(mutex_);
  for (auto watched = watched_.begin(); watched != watched_.end();) {
    if (lags.contains(watched->first)) {
      ++watched;
      continue;
    }
    metrics_.Remove(watched->first);
    reader_.Forget(watched->second.identifier);
    watched = watched_.erase(watched);
  }
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

void TableLagWatch::Take(const iceberg::TableIdentifier& identifier, Result<TableLag> lag) {
  const std::string table = identifier.ToString();
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
  watched.identifier = identifier;
  watched.error.reset();
  if (lag.has_value()) {
    watched.lag = *std::move(lag);
    watched.read_ms = now_ms;
  } else {
    watched.error = std::move(lag.error());
  }
}

}  // namespace firn::lag
