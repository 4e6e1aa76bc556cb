#include "firn/ingest/worker_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "firn/ingest/batch_commit.h"
#include "firn/ingest/spill.h"
#include "firn/ingest/worker.h"

namespace firn::ingest {
namespace {

const std::vector<double> kCommitBuckets = {0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300};

metrics::Labels With(metrics::Labels labels, const std::string& key, const std::string& value) {
  labels[key] = value;
  return labels;
}

}  // namespace

WorkerMetrics::WorkerMetrics(metrics::Registry& registry, const std::string& pipeline)
    : registry_(registry),
      labels_{{"pipeline", pipeline}},
      records_(registry.counter("firn_records_total", "Records decoded, rejected or skipped", labels_)),
      bytes_(registry.counter("firn_record_bytes_total", "Bytes of the values of these records", labels_)),
      rows_committed_(registry.counter("firn_rows_committed_total", "Rows made visible, rejects not counted", labels_)),
      rejects_committed_(registry.counter("firn_rejects_committed_total", "Rows of the rejects table", labels_)),
      commits_(registry.counter("firn_commits_total", "Snapshots that were added", labels_)),
      conflicts_(registry.counter("firn_commit_conflicts_total", "Commits that lost a compare-and-swap", labels_)),
      mismatches_(registry.counter("firn_position_mismatches_total",
                                   "Batches forgotten because positions had been moved by somebody else", labels_)),
      lane_records_(registry.counter("firn_lane_records_total", "Records read by lanes of detached tables", labels_)),
      files_(registry.counter("firn_data_files_total", "Data files that were committed", labels_)),
      file_bytes_(registry.counter("firn_data_file_bytes_total", "Bytes of these files", labels_)),
      commit_seconds_(registry.histogram("firn_commit_duration_seconds",
                                         "From the first data file to the last snapshot of a batch", kCommitBuckets,
                                         labels_)),
      spilled_bytes_(registry.counter("firn_spilled_bytes_total", "Bytes written to spill files", labels_)) {
  for (size_t i = 0; i < kMemoryUses; ++i) {
    const std::string name = fmt::format("firn_memory_{}_bytes", MemoryUseName(static_cast<MemoryUse>(i)));
    memory_gauges_[i] = &registry.gauge(name, "What this use of memory holds (docs/memory.md)", labels_);
  }
}

void WorkerMetrics::CountRecords(uint64_t records, uint64_t bytes) {
  records_.Add(static_cast<double>(records));
  bytes_.Add(static_cast<double>(bytes));
}

void WorkerMetrics::CountReject(decode::RejectCode code, bool dropped) {
  metrics::Labels labels = With(labels_, "code", std::string(decode::RejectCodeName(code)));
  registry_
      .counter(dropped ? "firn_dropped_records_total" : "firn_rejects_total",
               dropped ? "Records dropped by policy" : "Records sent to the rejects table", labels)
      .Add();
}

void WorkerMetrics::CountUnknownFields(const std::string& table, const decode::json::UnknownFieldCounts& counts) {
  uint64_t total = counts.beyond_the_limit;
  for (const auto& [path, count] : counts.by_path) total += count;
  if (total == 0) return;
  registry_
      .counter("firn_unknown_fields_total", "Values of JSON fields that the table has no column for",
               With(labels_, "table", table))
      .Add(static_cast<double>(total));
}

void WorkerMetrics::CountBatch(const BatchResult& result) {
  rows_committed_.Add(static_cast<double>(result.rows));
  rejects_committed_.Add(static_cast<double>(result.rejects));
  commits_.Add(result.commits);
  conflicts_.Add(result.conflicts);
  files_.Add(static_cast<double>(result.files));
  file_bytes_.Add(static_cast<double>(result.file_bytes));
  if (result.commits > 0) commit_seconds_.Observe(result.commit_wall_s);
}

void WorkerMetrics::CountMismatch() {
  mismatches_.Add();
}

void WorkerMetrics::CountLostBatch() {
  registry_
      .counter("firn_lost_batches_total", "Batches read again because a spill file did not give their rows back",
               labels_)
      .Add();
}

void WorkerMetrics::CountEarlyCommit(std::string_view reason) {
  registry_
      .counter("firn_early_commits_total", "Commits that were due before their interval was over",
               With(labels_, "reason", std::string(reason)))
      .Add();
}

void WorkerMetrics::SetMemory(const MemoryBudget& memory, const Spill& spill) {
  for (size_t i = 0; i < kMemoryUses; ++i) {
    memory_gauges_[i]->Set(static_cast<double>(memory.used(static_cast<MemoryUse>(i))));
  }
  SetGauge("firn_memory_counted_bytes", "The sum of these uses", static_cast<double>(memory.used()));
  SetGauge("firn_memory_limit_bytes", "memory.limit", static_cast<double>(memory.limit()));
  SetGauge("firn_spill_bytes", "Rows in spill files", static_cast<double>(spill.bytes()));
  spilled_bytes_.Add(static_cast<double>(spill.bytes_written()) - spilled_bytes_.value());
}

void WorkerMetrics::CountHistoryChange(const std::string& table, HistoryPolicy policy, int64_t read_again,
                                       int64_t given_up) {
  const metrics::Labels labels = With(labels_, "table", table);
  registry_
      .counter("firn_history_changes_total", "Changes of a table's history by somebody else, by what followed",
               With(labels, "policy", std::string(HistoryPolicyName(policy))))
      .Add();
  if (read_again > 0) {
    registry_
        .counter("firn_history_offsets_read_again_total", "Offsets that a changed history makes the worker read again",
                 labels)
        .Add(static_cast<double>(read_again));
  }
  if (given_up > 0) {
    registry_
        .counter("firn_history_offsets_given_up_total",
                 "Offsets whose rows a changed history has removed, and that are not read again", labels)
        .Add(static_cast<double>(given_up));
  }
}

void WorkerMetrics::CountLaneRecords(uint64_t records) {
  lane_records_.Add(static_cast<double>(records));
}

void WorkerMetrics::SetDetachedGauges(const WorkerStatus& status) {
  struct OfTable {
    int64_t lag = 0;
    int64_t retained = INT64_MAX;
  };
  std::map<std::string, OfTable> tables;
  for (const std::string& table : detached_tables_) tables[table];  // 0 when it is detached no more
  for (const DetachedTable& each : status.detached) {
    OfTable& of_table = tables[each.table];
    if (each.position >= 0 && each.home_position > each.position) of_table.lag += each.home_position - each.position;
    if (each.position >= 0 && each.retained_records >= 0) {
      of_table.retained = std::min(of_table.retained, each.retained_records);
    }
  }
  for (const auto& [table, values] : tables) {
    detached_tables_.insert(table);
    const metrics::Labels labels = With(labels_, "table", table);
    registry_
        .gauge("firn_detached_lag_records", "Records between a detached table's positions and the home's, summed up",
               labels)
        .Set(static_cast<double>(values.lag));
    const bool detached = std::ranges::any_of(status.detached, [&](const auto& each) { return each.table == table; });
    if (values.retained == INT64_MAX && detached) continue;
    registry_
        .gauge("firn_detached_retained_records",
               "Records from the log's start to a detached table's position, of the partition with the fewest; +Inf "
               "when it is detached no more",
               labels)
        .Set(detached ? static_cast<double>(values.retained) : std::numeric_limits<double>::infinity());
  }
}

void WorkerMetrics::SetGauge(const char* name, const char* help, double value) {
  auto [found, fresh] = gauges_.try_emplace(name, nullptr);
  if (fresh) found->second = &registry_.gauge(name, help, labels_);
  found->second->Set(value);
}

void WorkerMetrics::SetGauges(const WorkerStatus& status, double lag_seconds, double freshness_seconds,
                              size_t queued_bytes) {
  auto set = [&](const char* name, const char* help, double value) { SetGauge(name, help, value); };
  if (status.lag_records >= 0) {
    set("firn_lag_records", "Readable records that are not committed yet, over the assigned partitions",
        static_cast<double>(status.lag_records));
  }
  if (lag_seconds >= 0) {
    set("firn_lag_seconds",
        "Age of the last committed record of the partition with lag where it is oldest; 0 without lag", lag_seconds);
  }
  if (freshness_seconds >= 0) {
    set("firn_freshness_seconds", "Now minus the completeness watermark of the assigned partitions", freshness_seconds);
  }
  set("firn_buffered_bytes", "Rows that wait for the next commit: decoded, packed, spilled",
      static_cast<double>(status.buffered_bytes));
  set("firn_queued_bytes", "Fetched records that wait to be decoded", static_cast<double>(queued_bytes));
  set("firn_assigned_partitions", "Source partitions of this worker", status.assigned_partitions);
  set("firn_commit_interval_effective_seconds",
      "Time between commits: commit.interval, longer where those of several workers would collide",
      static_cast<double>(status.commit_interval_effective_ms) / 1000.0);
  set("firn_workers", "Workers of the pipeline, as the commits of the last ten minutes show them",
      static_cast<double>(status.workers));
  set("firn_detached_entries", "Pairs of table and partition that are detached",
      static_cast<double>(status.detached.size()));
  set("firn_lanes", "Detached tables that catch up at the moment", status.lanes);
  SetDetachedGauges(status);
  set("firn_ready", "1 when the worker is assigned and nothing fails", status.ready ? 1 : 0);
}

}  // namespace firn::ingest
