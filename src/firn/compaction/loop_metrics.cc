#include "firn/compaction/loop_metrics.h"

#include "firn/compaction/loop.h"
#include "firn/compaction/table_compaction.h"

namespace firn::compaction {

LoopMetrics::LoopMetrics(metrics::Registry& registry, metrics::Labels labels)
    : registry_(registry), labels_(std::move(labels)) {}

metrics::Labels LoopMetrics::With(const std::string& table) const {
  metrics::Labels labels = labels_;
  labels["table"] = table;
  return labels;
}

void LoopMetrics::Count(const std::string& table, const CompactionReport& report) {
  auto count = [&](const char* name, const char* help, double amount) {
    registry_.counter(name, help, With(table)).Add(amount);
  };
  count("firn_compaction_commits_total", "replace snapshots", static_cast<double>(report.commits));
  count("firn_compaction_conflicts_total", "replace commits that lost a compare-and-swap and were tried again",
        static_cast<double>(report.conflicts));
  count("firn_compaction_files_replaced_total", "data files that were put together",
        static_cast<double>(report.files_before));
  count("firn_compaction_files_added_total", "data files that they became", static_cast<double>(report.files_after));
  count("firn_compaction_bytes_replaced_total", "bytes of the files that were put together",
        static_cast<double>(report.bytes_before));
  count("firn_compaction_bytes_added_total", "bytes of the files that they became",
        static_cast<double>(report.bytes_after));
  count("firn_compaction_rows_total", "rows that were moved", static_cast<double>(report.rows));
  count("firn_compaction_rows_deleted_total", "rows that others had deleted, and that the new files lack",
        static_cast<double>(report.rows_deleted));
  count("firn_compaction_delete_files_removed_total", "delete files that were not needed any more",
        static_cast<double>(report.delete_files_removed));
  count("firn_compaction_cpu_seconds_total", "CPU time of merges and their commits", report.cpu_s);
  for (const auto& [reason, groups] : report.groups_dropped) {
    metrics::Labels labels = With(table);
    labels["reason"] = reason;
    registry_.counter("firn_compaction_groups_dropped_total", "merged groups that were not committed", labels)
        .Add(static_cast<double>(groups));
  }
}

void LoopMetrics::CountError(const std::string& table, ErrorCode code) {
  metrics::Labels labels = With(table);
  labels["code"] = ErrorCodeName(code);
  registry_.counter("firn_compaction_errors_total", "failures, after which the table is tried again later", labels)
      .Add();
}

void LoopMetrics::SetLeftAlone(const std::string& table, const std::map<std::string, int64_t>& left_alone) {
  for (const auto& [reason, files] : left_alone) left_alone_.insert({table, reason});
  for (const auto& [of_table, reason] : left_alone_) {
    if (of_table != table) continue;
    metrics::Labels labels = With(table);
    labels["reason"] = reason;
    auto found = left_alone.find(reason);
    registry_
        .gauge("firn_compaction_left_alone_files",
               "small files, and files with deletes, that stay as they are, by reason", labels)
        .Set(found == left_alone.end() ? 0.0 : static_cast<double>(found->second));
  }
}

void LoopMetrics::SetGauges(const LoopStatus& status) {
  auto set = [&](const char* name, const char* help, double value) { registry_.gauge(name, help, labels_).Set(value); };
  set("firn_compaction_backlog_groups", "groups of files that are to be put together",
      static_cast<double>(status.backlog_groups));
  set("firn_compaction_backlog_files", "their files", static_cast<double>(status.backlog_files));
  set("firn_compaction_backlog_bytes", "their bytes", static_cast<double>(status.backlog_bytes));
  set("firn_compaction_cpu_share", "share of one core that compaction may take now", status.cpu_share);
  set("firn_compaction_bytes_per_cpu_second", "what a CPU second moves, by the last groups; 0: not known",
      status.bytes_per_cpu_second);
}

}  // namespace firn::compaction
