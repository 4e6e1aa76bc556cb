#include "firn/compaction/loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "firn/base/log.h"

namespace firn::compaction {
namespace {

constexpr int kDoublingsMax = 10;
constexpr int64_t kColdLookMs = 24 * 3'600'000;  // a table that does not change is read anew once a day

// May go away by itself, so that merged groups are worth holding on to.
bool MayPass(ErrorCode code) {
  return code == ErrorCode::kConflict || code == ErrorCode::kCommitStateUnknown || code == ErrorCode::kUnavailable ||
         code == ErrorCode::kTimeout;
}

uint64_t Fnv1a(std::string_view text, uint64_t hash) {
  for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3;
  return hash;
}

// What is gone from the table needs no place any more.
void ForgetAllBut(const TableFiles& files, RefusedFiles& refused) {
  RefusedFiles kept;
  for (const LiveFile& file : files.data) {
    if (auto found = refused.find(RefusedKey(file.entry.data_file.file_path)); found != refused.end()) {
      kept.insert(*found);
    }
  }
  refused = std::move(kept);
}

}  // namespace

int64_t ShareOf(const std::string& table, int32_t spec_id, const std::string& partition_path, int64_t shares) {
  uint64_t hash = Fnv1a(table, 0xcbf29ce484222325);
  hash = Fnv1a(fmt::format("\n{}\n", spec_id), hash);
  hash = Fnv1a(partition_path, hash);
  hash ^= hash >> 32;  // FNV's low bits alone know little of the last bytes
  return static_cast<int64_t>(hash % static_cast<uint64_t>(std::max<int64_t>(shares, 1)));
}

CompactionLoop::CompactionLoop(const LoopOptions& options, CompactionParts parts, ScopeFn scope,
                               metrics::Registry& registry, const metrics::Labels& labels, ReportFn tell)
    : options_(options),
      parts_(std::move(parts)),
      scope_fn_(std::move(scope)),
      metrics_(registry, labels),
      tell_(std::move(tell)) {
  totals_.cpu_share = options_.cpu_share.low;
  Publish();
}

CompactionLoop::~CompactionLoop() = default;

void CompactionLoop::Start(env::Threads& threads) {
  thread_ = threads.Start("firn-compact", [this](std::stop_token stop) { Run(std::move(stop)); });
}

void CompactionLoop::RequestStop() {
  if (thread_ != nullptr) thread_->RequestStop();
}

LoopStatus CompactionLoop::status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

void CompactionLoop::Run(std::stop_token stop) {
  pace_ = std::make_unique<CpuPace>(parts_.clock, parts_.cpu_seconds);
  pace_->set_share(options_.cpu_share.low);
  while (!stop.stop_requested()) {
    if (parts_.clock.BootMs() >= scope_at_ms_) LookAtScope();
    for (Table* table : DueTables()) {
      if (planned_files_ >= kPlannedFilesMax) break;
      Look(*table);
      if (!pace_->Pause(stop)) return;
    }
    SetShare();
    Publish();
    DoSideWork(stop);
    if (stop.stop_requested()) return;
    if (Table* next = NextWithPlan(); next != nullptr) {
      Work(*next, stop);
      Publish();
    } else if (!parts_.clock.SleepMs(std::max<int64_t>(NextLookMs() - parts_.clock.BootMs(), 1), stop)) {
      return;
    }
  }
}

void CompactionLoop::DoSideWork(const std::stop_token& stop) {
  if (side_work_ == nullptr || side_work_->NextMs() > parts_.clock.BootMs()) return;
  auto pause = [&] { return pace_->Pause(stop); };
  side_work_->DoNext(pause, stop);
  pause();
}

// Those that have waited longest first.
std::vector<CompactionLoop::Table*> CompactionLoop::DueTables() {
  const int64_t now_ms = parts_.clock.BootMs();
  std::vector<Table*> due;
  for (auto& [name, table] : tables_) {
    if (!table.plan.has_value() && table.look_at_ms <= now_ms) due.push_back(&table);
  }
  std::ranges::stable_sort(due, {}, [](const Table* table) { return table->look_at_ms; });
  return due;
}

// Which tables there are, and which part of the work is ours.
void CompactionLoop::LookAtScope() {
  Result<LoopScope> scope = scope_fn_();
  scope_failures_ = scope.has_value() ? 0 : scope_failures_ + 1;
  const int64_t wait_ms = options_.interval_ms << std::min(scope_failures_, kDoublingsMax);
  scope_at_ms_ = parts_.clock.BootMs() + std::min(wait_ms, std::max(kTableBackoffMsMax, options_.interval_ms));
  if (!scope.has_value()) {
    return Failed(nullptr, scope.error());
  }
  totals_.table_errors.erase("");
  const bool moved = scope->shares != scope_.shares || scope->mine != scope_.mine;
  scope_ = *std::move(scope);
  std::set<std::string> names;
  for (const iceberg::TableIdentifier& identifier : scope_.tables) {
    std::string name = identifier.ToString();
    tables_.try_emplace(name).first->second.identifier = identifier;
    names.insert(std::move(name));
  }
  std::erase_if(tables_, [&](const auto& entry) { return !names.contains(entry.first); });
  std::erase_if(totals_.table_errors, [&](const auto& entry) { return !names.contains(entry.first); });
  planned_files_ = 0;
  for (auto& [name, table] : tables_) {
    // Other partitions are ours now, of tables that have not changed too.
    if (moved) {
      table.seen.reset();
      table.look_at_ms = std::min(table.look_at_ms, parts_.clock.BootMs());
    }
    if (table.plan.has_value()) planned_files_ += table.plan->files.data.size();
  }
  totals_.tables = static_cast<int32_t>(tables_.size());
  if (side_work_ != nullptr) side_work_->SetScope(scope_);
}

// A table that has not changed has no more work than before, until its last files have grown cold.
bool CompactionLoop::MayHaveWork(Table& table, const iceberg::TableMetadata& metadata) const {
  const int64_t now_ms = parts_.clock.BootMs();
  const bool same = table.seen.has_value() && table.seen == metadata.current_snapshot_id;
  if (same && now_ms - table.seen_ms < options_.cold_after_ms) return false;
  if (same) {
    // Everything that is there was there at the look before: by now it is cold, and stays so.
    table.seen_ms = now_ms + kColdLookMs;
    return true;
  }
  table.seen = metadata.current_snapshot_id;
  table.seen_ms = now_ms;
  return true;
}

void CompactionLoop::Look(Table& table) {
  const std::string name = table.identifier.ToString();
  auto loaded = parts_.catalog.LoadTable(table.identifier);
  if (!loaded.has_value() && loaded.error().code() == ErrorCode::kNotFound) {
    table.look_at_ms = parts_.clock.BootMs() + options_.interval_ms * kQuietIntervals;  // not made yet
    WentWell(table);
    return;
  }
  if (!loaded.has_value()) return Failed(&table, loaded.error());
  if (!MayHaveWork(table, loaded->metadata)) {
    table.quiet_looks = std::min(table.quiet_looks + 1, kQuietIntervals);
    table.look_at_ms = parts_.clock.BootMs() + options_.interval_ms * table.quiet_looks;
    WentWell(table);
    return;
  }
  table.quiet_looks = 0;
  PlanOptions options;
  options.pace = PickPace{options_.files_min, parts_.clock.WallMs() - options_.cold_after_ms};
  options.owns = [&](int32_t spec_id, const std::string& path) {
    return scope_.mine.contains(ShareOf(name, spec_id, path, scope_.shares));
  };
  options.refused = &table.refused;
  options.memory_bytes = options_.memory_bytes;
  auto plan = PlanTable(*std::move(loaded), parts_.store, options);
  if (!plan.has_value()) {
    table.seen.reset();
    return Failed(&table, plan.error());
  }
  table.look_at_ms = parts_.clock.BootMs() + options_.interval_ms;
  metrics_.SetLeftAlone(name, plan->picked.left_alone);
  if (table.refused.size() >= options_.refused_files_max) ForgetAllBut(plan->files, table.refused);
  if (table.refused.size() >= options_.refused_files_max) {
    // Others would be read again and again.
    table.seen.reset();
    return Failed(&table, Error(ErrorCode::kResourceExhausted,
                                fmt::format("{} files of the table cannot be merged, more are not remembered; the log "
                                            "and left_alone say why: rewrite them with another engine",
                                            table.refused.size())));
  }
  for (const PickedGroup& group : plan->picked.groups) {
    ++table.groups;
    table.files += static_cast<int64_t>(group.files.size());
    table.bytes += group.bytes;
  }
  if (plan->picked.groups.empty()) {
    WentWell(table);
    return;
  }
  plan->KeepFirst(kGroupsPerCommitMax, kPlanFilesMax, kBytesPerCommitMax);
  planned_files_ += plan->files.data.size();
  table.plan = *std::move(plan);
}

// The one whose first group comes before the others'.
CompactionLoop::Table* CompactionLoop::NextWithPlan() {
  Table* best = nullptr;
  for (auto& [name, table] : tables_) {
    if (!table.plan.has_value()) continue;
    const auto& first = table.plan->picked.groups.front();
    if (best == nullptr || ComesBefore(first, best->plan->picked.groups.front())) best = &table;
  }
  return best;
}

void CompactionLoop::Work(Table& table, const std::stop_token& stop) {
  const std::string name = table.identifier.ToString();
  const auto planned = static_cast<int64_t>(table.plan->picked.groups.size());
  planned_files_ -= table.plan->files.data.size();
  TableCompaction compaction(parts_, *std::exchange(table.plan, std::nullopt),
                             {.output_age_ms_max = options_.output_age_ms_max}, [&] { return pace_->Pause(stop); });
  Status done = MergeAndCommit(compaction, stop);
  Remember(table, compaction);
  const CompactionReport& report = compaction.report();
  metrics_.Count(name, report);
  cost_.Learn(report.bytes_before, report.files_before, report.cpu_s);
  totals_.files_before += report.files_before;
  totals_.files_after += report.files_after;
  totals_.bytes_before += report.bytes_before;
  totals_.bytes_after += report.bytes_after;
  totals_.commits += report.commits;
  totals_.cpu_s += report.cpu_s;
  if (report.groups_done > 0) {
    LogInfo("small files were put together", {{"table", name},
                                              {"files", report.files_before},
                                              {"became", report.files_after},
                                              {"bytes", report.bytes_before},
                                              {"became_bytes", report.bytes_after},
                                              {"rows", report.rows},
                                              {"cpu_s", fmt::format("{:.2f}", report.cpu_s)},
                                              {"groups_left", std::max<int64_t>(0, table.groups - planned)}});
    if (tell_) tell_(name, report);
  }
  // What the plan did not keep comes with the next look, which is due at once.
  if (table.groups > planned) table.look_at_ms = parts_.clock.BootMs();
  table.groups = table.files = table.bytes = 0;
  table.seen.reset();
  if (done.has_value()) WentWell(table);
  if (!done.has_value() && !stop.stop_requested()) Failed(&table, done.error());
}

Status CompactionLoop::MergeAndCommit(TableCompaction& compaction, const std::stop_token& stop) {
  Status first;
  for (const PickedGroup& group : compaction.plan().picked.groups) {
    if (stop.stop_requested()) break;
    Status merged = compaction.Merge(group);
    const bool go_on = merged.has_value() || IsOfTheGroup(merged.error().code());
    if (first.has_value()) first = std::move(merged);
    if (!go_on) break;
    if (compaction.is_full()) FIRN_TRY(CommitPatiently(compaction, stop));
  }
  // One group's failure does not cost those that are merged.
  FIRN_TRY(CommitPatiently(compaction, stop));
  return first;
}

Status CompactionLoop::CommitPatiently(TableCompaction& compaction, const std::stop_token& stop) {
  for (int tries = 1;; ++tries) {
    Status committed = compaction.Commit(stop);
    if (committed.has_value() || !MayPass(committed.error().code()) || tries >= kCommitTriesMax) return committed;
    if (compaction.is_too_old()) return committed;
    LogInfo("merged files wait for their commit",
            {{"table", compaction.plan().loaded.identifier.ToString()}, {"error", committed.error()}});
    const int64_t wait_ms = std::min(kCommitWaitMsMax, int64_t{1000} << tries);
    if (!parts_.clock.SleepMs(wait_ms, stop)) return committed;
  }
}

void CompactionLoop::Remember(Table& table, const TableCompaction& compaction) {
  for (const auto& [key, reason] : compaction.refused()) {
    if (table.refused.size() >= options_.refused_files_max) return;
    table.refused[key] = reason;
  }
}

void CompactionLoop::WentWell(Table& table) {
  table.failures = 0;
  totals_.table_errors.erase(table.identifier.ToString());
}

void CompactionLoop::Failed(Table* table, const Error& error) {
  const std::string name = table == nullptr ? "" : table->identifier.ToString();
  TableError& standing =
      totals_.table_errors.try_emplace(name, TableError{error, parts_.clock.WallMs(), 0}).first->second;
  standing.error = error;
  ++standing.failures;
  metrics_.CountError(name, error.code());
  ++totals_.errors;
  totals_.last_error = table == nullptr ? error.ToString() : fmt::format("{}: {}", name, error.ToString());
  totals_.last_error_ms = parts_.clock.WallMs();
  if (table == nullptr) {
    LogWarning("compaction cannot tell what there is to do, it will try again", {{"error", error}});
    return;
  }
  table->failures = std::min(table->failures + 1, kDoublingsMax);
  const int64_t wait_ms =
      std::min(options_.interval_ms << table->failures, std::max(kTableBackoffMsMax, options_.interval_ms));
  table->look_at_ms = parts_.clock.BootMs() + wait_ms;
  LogWarning("compaction of a table failed, it will be tried again",
             {{"table", name}, {"in_s", wait_ms / 1000}, {"error", error}});
}

void CompactionLoop::SetShare() {
  double backlog_cpu_s = 0;
  totals_.backlog_groups = totals_.backlog_files = totals_.backlog_bytes = 0;
  for (const auto& [name, table] : tables_) {
    totals_.backlog_groups += table.groups;
    totals_.backlog_files += table.files;
    totals_.backlog_bytes += table.bytes;
  }
  backlog_cpu_s = cost_.SecondsFor(totals_.backlog_bytes, totals_.backlog_files);
  totals_.cpu_share = CpuShareFor(options_.cpu_share, backlog_cpu_s);
  totals_.bytes_per_cpu_second = cost_.bytes_per_cpu_second();
  pace_->set_share(totals_.cpu_share);
}

void CompactionLoop::Publish() {
  metrics_.SetGauges(totals_);
  std::lock_guard lock(mutex_);
  status_ = totals_;
}

int64_t CompactionLoop::NextLookMs() const {
  int64_t next_ms = scope_at_ms_;
  for (const auto& [name, table] : tables_) next_ms = std::min(next_ms, table.look_at_ms);
  if (side_work_ != nullptr) next_ms = std::min(next_ms, side_work_->NextMs());
  return next_ms;
}

}  // namespace firn::compaction
