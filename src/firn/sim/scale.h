// Scale: how a pipeline behaves with many workers, tables and partitions, on a catalog with real latencies and without
// trouble: what is committed, how often commits meet, how old what is not committed yet is (docs/scale.md).
//
// The same production code and the same simulated parts as World; one OS thread, one seed, one result.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace firn::sim {

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
  int64_t simulated_ms = 0;
  uint64_t switches = 0;
  std::string trouble;  // not empty: what went wrong
};

ScaleResult RunScale(const ScaleOptions& options);

}  // namespace firn::sim
