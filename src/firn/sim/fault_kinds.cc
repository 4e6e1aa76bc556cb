#include "firn/sim/fault_kinds.h"

#include <fmt/format.h>

namespace firn::sim {
namespace {

constexpr std::string_view kNames[] = {
    "brokers_down", "member_cut_off", "fetch_slow", "source_trouble", "query_unavailable", "query_timeout",
    "query_end_unknown", "topic_not_listed", "group_offsets_not_stored", "group_deleted", "rebalance_forced",
    "partitions_moved", "session_lost", "poll_interval_exceeded", "transaction_opened", "transaction_aborted",
    "log_compacted", "log_retained", "log_truncated", "leader_elected", "topic_recreated", "partitions_added",
    // Store.
    "store_down", "store_slow", "store_read_fails", "store_write_fails", "store_write_partial", "store_answer_lost",
    "store_unauthorized",
    // Spill disk.
    "spill_full", "spill_torn", "spill_lies", "spill_read_fails",
    // Catalog.
    "catalog_down", "catalog_slow", "catalog_read_fails", "catalog_conflict", "catalog_conflict_after_success",
    "catalog_precondition_failed", "catalog_server_error_before", "catalog_server_error_after",
    "catalog_request_lost", "catalog_answer_lost", "catalog_unauthorized", "catalog_forgets_history",
    // Process.
    "process_crashed", "process_suspended", "process_stopped", "wall_clock_jumped", "rules_changed", "records_rerouted",
    // Compaction.
    "compaction_runs", "compaction_committed", "compaction_group_dropped", "compaction_deletes_applied",
    "compactor_crashed", "compactor_suspended",
    // Foreign hands.
    "foreign_append", "foreign_rewrite", "foreign_delete", "foreign_row_delete", "foreign_rollback",
    "foreign_create_or_replace", "foreign_clone", "foreign_cherry_pick", "foreign_expiry", "foreign_property_changed",
    "table_dropped", "permission_lost", "positions_by_hand",
};
static_assert(std::size(kNames) == kFaultKindCount);

}  // namespace

std::string_view FaultKindName(FaultKind kind) {
  return kNames[static_cast<size_t>(kind)];
}

void FaultCounter::Add(const FaultCounter& other) {
  for (size_t i = 0; i < kFaultKindCount; ++i) counts_[i] += other.counts_[i];
}

std::string FaultCounter::ToString() const {
  std::string text;
  for (size_t i = 0; i < kFaultKindCount; ++i) {
    if (counts_[i] == 0) continue;
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", kNames[i], counts_[i]);
  }
  return text;
}

bool SeededFaults::Chance(FaultKind kind, int per_mille) {
  int overridden = overrides_[static_cast<size_t>(kind)];
  int64_t chance = overridden > 0 ? overridden - 1 : int64_t{per_mille} * scale_per_mille_ / 1000;
  // The sequence moves on whatever the chance is, so that two runs of one seed differ little when one kind is off.
  if (Below(random_, 1000) >= chance) return false;
  Note(kind, "");
  return true;
}

void SeededFaults::Note(FaultKind kind, std::string_view detail) {
  counter_.Count(kind);
  if (trace_) trace_(kind, detail);
}

}  // namespace firn::sim
