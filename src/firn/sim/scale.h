// Scale: how a pipeline behaves with many workers, tables and partitions, on a catalog with real latencies and without
// trouble: what is committed, how often commits meet, how old what is not committed yet is (docs/scale.md).
//
// The same production code and the same simulated parts as World; one OS thread, one seed, one result.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace firn::sim {

// What a part of a long run was like.
struct ScaleStretch {
  int64_t to_minute = 0;
  int64_t home_commits = 0;
  int64_t table_commits = 0;
  int64_t conflicts = 0;
  int64_t lag_p50_ms = 0;
  int64_t lag_p99_ms = 0;
  int64_t lag_max_ms = 0;
  int64_t snapshots = 0;             // at its end, of the first table
  int64_t home_metadata_bytes = 0;   // and its and the home's newest metadata.json
  int64_t table_metadata_bytes = 0;
  int64_t store_bytes = 0;           // what the simulator keeps of the store
};

struct ScaleOptions {
  uint64_t seed = 1;
  int32_t workers = 3;
  int32_t tables = 1;
  int32_t partitions = 12;
  int64_t minutes = 10;              // simulated
  int64_t commit_interval_ms = 60'000;
  int64_t records_per_second = 100;  // of the whole topic
  int64_t catalog_ms_max = 200;      // one way; even between 0 and that
  int64_t store_ms_max = 80;
  // Idle threads of a worker look around so seldom, a broker's news is that late; 0: as production does. A run of many
  // days or workers is mostly idle threads.
  int64_t tick_ms = 0;
  int64_t history_ms = 0;            // snapshots of the tables are kept so long; 0: the product's default
  int64_t stretch_minutes = 0;       // `on_stretch` is told of each; 0: never
  std::function<void(const ScaleStretch&)> on_stretch;
};

struct ScaleResult {
  struct Counts {
    int64_t at_ms = 0;
    int64_t home_commits = 0;
    int64_t table_commits = 0;
    int64_t conflicts = 0;       // refused by the catalog's compare-and-swap
  };
  int64_t records = 0;
  Counts start;                  // up to where sampling begins: workers join one after the other, tables are made
  Counts end;                    // up to where the workers are told to stop
  int64_t lag_p50_ms = 0;        // of the oldest record of a partition that is not in its table, sampled
  int64_t lag_p99_ms = 0;
  int64_t lag_max_ms = 0;
  int64_t home_metadata_bytes = 0;   // of the home's newest metadata.json
  int64_t table_metadata_bytes = 0;  // the largest of any table
  int64_t detached_max = 0;          // the most entries of the home at any time: 0, when all is well
  int64_t simulated_ms = 0;
  uint64_t switches = 0;
  std::string trouble;  // not empty: what went wrong
};

ScaleResult RunScale(const ScaleOptions& options);

}  // namespace firn::sim
