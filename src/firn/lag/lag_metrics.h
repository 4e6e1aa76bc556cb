// LagMetrics: TableLag as Prometheus series (docs/metrics.md), and LagWatch's thread that keeps them fresh.
//
// Series: a fixed number for each table, and for each the worst few partitions, whose series go when they are no longer
// among the worst. LagMetrics is called by one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "firn/env/clock.h"
#include "firn/lag/lag_reader.h"
#include "firn/metrics/metrics.h"

namespace firn::lag {

// A metadata.json beyond this is warned of, once: each commit writes it anew and each reader reads it whole. What has
// been warned of is warned of again only after it was below three quarters of it.
inline constexpr int64_t kMetadataBytesWarn = 512 << 10;

class LagMetrics {
 public:
  LagMetrics(metrics::Registry& registry, std::string pipeline) : registry_(registry), pipeline_(std::move(pipeline)) {}

  void Set(const std::string& table, const TableLag& lag, int64_t now_ms);
  // The figures stay as they were; firn_table_lag_up says 0.
  void SetFailed(const std::string& table);
  // The table is no more: its series go.
  void Remove(const std::string& table);

 private:
  void SetLeftAlone(const std::string& table, const TableLag& lag);
  void SetPartitions(const std::string& table, const TableLag& lag, int64_t now_ms);

  metrics::Registry& registry_;
  const std::string pipeline_;
  std::set<std::string> names_;                              // of series that each table has
  std::map<std::string, std::set<std::string>> partitions_;  // with series, by table
  std::map<std::string, std::set<std::string>> reasons_;     // the same
};

struct WatchedTable {
  std::string table;
  iceberg::TableIdentifier identifier;
  TableLag lag;                // as last read
  std::optional<Error> error;  // why it is not newer
  int64_t read_ms = 0;
};

struct TableLagWatchOptions {
  std::string pipeline;
  int64_t interval_ms = 60'000;
  LagOptions lag;
  // What compaction of all watched tables together could take in (bytes a CPU second times CPU share times workers);
  // nullopt: not known yet. Null: taken from the tables' own history. It is shared out by what arrives.
  std::function<std::optional<double>()> capacity_bytes_per_s = nullptr;
};

class TableLagWatch {
 public:
  // Called before each round, on the watch's thread: the tables to look at. What it refers to outlives the watch.
  using TablesFn = std::function<Result<std::vector<iceberg::TableIdentifier>>()>;

  TableLagWatch(iceberg::Catalog& catalog, env::ObjectStore& store, env::Clock& clock, metrics::Registry& registry,
                TableLagWatchOptions options, TablesFn tables);
  ~TableLagWatch();  // a round under way ends after the table at hand

  // Any thread.
  std::vector<WatchedTable> tables() const;

 private:
  void Run(std::stop_token stop);
  void Round(std::stop_token stop);
  void ShareCapacity(std::map<std::string, Result<TableLag>>& lags) const;
  void Take(const iceberg::TableIdentifier& identifier, Result<TableLag> lag);
  void FailAll(const Error& error);
  void ForgetOthers(const std::map<std::string, Result<TableLag>>& lags);
  void WarnOfMetadata(const std::string& table, const TableLag& lag);

  env::Clock& clock_;
  const TableLagWatchOptions options_;
  const TablesFn tables_fn_;
  LagReader reader_;
  LagMetrics metrics_;
  std::set<std::string> large_metadata_;  // tables that were warned of; the thread's own
  mutable std::mutex mutex_;
  std::map<std::string, WatchedTable> watched_;  // guarded by mutex_
  std::jthread thread_;
};

}  // namespace firn::lag
