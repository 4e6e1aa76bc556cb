// PipelineWorker, the assignment: opening home and tables, where to read from, forgetting and reading again.
#include <fmt/format.h>

#include <algorithm>

#include "firn/base/log.h"
#include "firn/ingest/attach.h"
#include "firn/ingest/pipeline_worker.h"
#include "firn/ingest/rules.h"
#include "firn/ingest/topic_start.h"

namespace firn::ingest {
namespace {

constexpr int64_t kRetryWaitMsMin = 200;
constexpr int64_t kRetryWaitMsMax = 10'000;
constexpr int64_t kQueryTimeoutMs = 10'000;
constexpr int kOpenAgainMax = 3;  // of a table that fails while the home does not

}  // namespace

PipelineWorker::Partition& PipelineWorker::Of(stream::PartitionIndex index) {
  while (partitions_.size() <= index) {
    Partition partition;
    partition.name = deps_.source.partition(static_cast<stream::PartitionIndex>(partitions_.size()));
    partition.key = KeyOf(partition.name);
    partitions_.push_back(std::move(partition));
  }
  return partitions_[index];
}

std::vector<stream::PartitionIndex> PipelineWorker::Owned() const {
  std::vector<stream::PartitionIndex> owned;
  for (size_t i = 0; i < partitions_.size(); ++i) {
    if (partitions_[i].owned) owned.push_back(static_cast<stream::PartitionIndex>(i));
  }
  return owned;
}

Status PipelineWorker::RetryTransient(const std::string& what, const std::function<Status()>& step,
                                      int64_t patience_ms) {
  const int64_t started_ms = deps_.clock.BootMs();
  for (int failures = 0;; ++failures) {
    Status status = step();
    if (status.has_value() || !IsTransient(status.error().code())) return status;
    if (failures % 10 == 0) LogWarning("failed, will be tried again", {{"what", what}, {"error", status.error()}});
    {
      std::lock_guard lock(status_mutex_);
      status_.ready = false;
      status_.not_ready_reason = fmt::format("{}: {}", what, status.error().ToString());
    }
    const int64_t waited_ms = deps_.clock.BootMs() - started_ms;
    if (waited_ms > patience_ms || (until_caught_up_ && waited_ms > options_.give_up_after_ms)) return status;
    int64_t wait_ms = std::min(kRetryWaitMsMax, kRetryWaitMsMin << std::min(failures, 10));
    if (!deps_.clock.SleepMs(wait_ms, stop_)) {
      return Fail(ErrorCode::kCancelled, fmt::format("stopped while waiting: {}", what));
    }
  }
}

Status PipelineWorker::OpenHome() {
  FIRN_TRY(RetryTransient("opening the home table", [&] { return home_.Open(stop_); }));
  std::optional<int64_t> catalog_ms = deps_.catalog.ServerTimeMs();
  if (!catalog_ms.has_value()) return {};
  int64_t skew_ms = deps_.clock.WallMs() - *catalog_ms;
  if (std::abs(skew_ms) <= options_.clock_skew_max_ms) return {};
  return Fail(
      ErrorCode::kInvalidInput,
      fmt::format("this machine's clock and the catalog's differ too much; synchronise them (limits.clock_skew_max "
                  "{} ms): {} ms",
                  options_.clock_skew_max_ms, skew_ms));
}

// The home lists the sink as detached for all partitions of this worker. None of its rows that are not committed has
// been read in this assignment, but for those that its columns forget now.
Status PipelineWorker::DetachSink(Sink& sink, const std::string& reason, bool hold) {
  LogError("table is detached; the rest of the pipeline goes on without it",
           {{"table", sink.state.name()},
            {"reason", reason},
            {"remedy", hold ? "firn positions resume decides how it goes on" : "mend the cause; it is tried again"}});
  sink.Close(reason, hold);
  const int64_t now_ms = deps_.clock.WallMs();
  FIRN_TRY(RetryTransient("detaching a table", [&]() -> Status {
    const std::shared_ptr<const PositionsMap> home_seen = home_.shared_map();
    const PositionsMap& home_map = *home_seen;
    std::vector<DetachedEntry> entries;
    for (stream::PartitionIndex index : Owned()) {
      const Partition& partition = partitions_[index];
      const int64_t rows_below = index < sink.at.size() ? sink.at[index].believed : -1;
      entries.push_back(DetachedEntry{sink.state.name(), partition.key, partition.name.topic, reason, now_ms, hold,
                                      SurelyRejectedBelow(index, home_map), -1, rows_below});
    }
    Result<MapCommitResult> detached = home_.Detach(entries, options_.rejects_table, stop_);
    return detached.has_value() ? RequireDone(*detached, home_.name()) : OfHomeAlone(std::unexpected(detached.error()));
  }));
  OnDetached(sink);
  return {};
}

// Opens a sink, or detaches it when it took part before. An error: one that never took part cannot be opened, which is
// a mistake in the configuration; or the run is stopped.
Status PipelineWorker::OpenWanted(Sink& sink) {
  const std::string& table = sink.state.name();
  const std::string what = fmt::format("opening table '{}'", table);
  auto open = [&] { return sinks_.Open(sink, stop_); };
  Status opened = RetryTransient(what, open, options_.detach_after_ms);
  auto may_be_everything = [&] {
    if (opened.has_value()) return false;
    return IsTransient(opened.error().code()) || opened.error().code() == ErrorCode::kUnauthorized;
  };
  for (int tries = 0; tries < kOpenAgainMax && may_be_everything(); ++tries) {
    // Is it the table, or everything? While the home cannot be read either, nothing is detached or closed: a token
    // that ran out says nothing of a table.
    FIRN_TRY(RetryTransient("reading the home table", [&] { return OfHomeAlone(home_.Reload()); }));
    if (tries > 0) deps_.clock.SleepMs(kRetryWaitMsMin << tries, stop_);
    opened = open();
  }
  if (!opened.has_value() && opened.error().code() == ErrorCode::kCancelled) return opened;
  const std::shared_ptr<const PositionsMap> home_seen = home_.shared_map();
  const PositionsMap& home_map = *home_seen;
  bool listed = home_map.home.has_value() && home_map.home->Find(table) != nullptr;
  if (!opened.has_value()) return listed ? DetachSink(sink, opened.error().ToString(), false) : std::move(opened);
  if (!sink.hold) return {};
  if (listed) return DetachSink(sink, sink.closed_reason, true);
  return Fail(ErrorCode::kInvalidInput, fmt::format("table '{}': {}", table, sink.closed_reason));
}

// Opens what the configuration names, the rejects table, and tables of templates that this worker has met or that wait
// to catch up: for those there may be no new record that names them.
Status PipelineWorker::OpenSinks() {
  std::vector<Sink*> wanted;
  if (options_.reject_policy == RejectPolicy::kTable) {
    // First: a table that is detached has to know how far the rejects go.
    FIRN_ASSIGN(Sink * rejects, sinks_.Rejects());
    wanted.push_back(rejects);
  }
  for (const TableRule& rule : options_.tables) {
    if (rule.is_template()) continue;
    FIRN_ASSIGN(Sink * sink, sinks_.FindOrMake(rule.name, &rule));
    wanted.push_back(sink);
  }
  const std::shared_ptr<const PositionsMap> home_seen = home_.shared_map();
  const PositionsMap& home_map = *home_seen;
  for (const DetachedEntry& entry : home_map.home->detached) {
    for (const TableRule& rule : options_.tables) {
      if (!rule.is_template() || !CouldHaveMade(rule.name, entry.table)) continue;
      Result<Sink*> made = sinks_.FindOrMake(entry.table, &rule);
      if (!made.has_value()) LogError("a detached table is left to other workers", {{"error", made.error()}});
      break;
    }
  }
  for (auto& sink : sinks_.all()) {
    if (sink->rule != nullptr && sink->rule->is_template()) wanted.push_back(sink.get());
  }
  for (Sink* sink : wanted) {
    bool was_closed = !sink->open;
    const bool is_template = sink->rule != nullptr && sink->rule->is_template();
    // Its lane tries it all the time; thousands of them would keep the partitions waiting.
    if (was_closed && is_template && IsDetachedForAllOwned(home_map, sink->state.name())) continue;
    // While rejects wait in the log, records that it was refused for are among them: rows as well they must not become.
    if (was_closed && sink->refused && RejectsWait()) continue;
    FIRN_TRY(is_template ? OpenOrClose(*sink) : OpenWanted(*sink));
    if (was_closed && sink->open) TakePartAgain(*sink);
  }
  return {};
}

bool PipelineWorker::RejectsWait() const {
  const Sink* rejects = sinks_.Find(options_.rejects_table);
  return rejects != nullptr &&
         std::ranges::any_of(Owned(), [&](stream::PartitionIndex index) { return rejects->detached_for(index); });
}

bool PipelineWorker::IsDetachedForAllOwned(const PositionsMap& home_map, const std::string& table) const {
  return std::ranges::all_of(Owned(), [&](stream::PartitionIndex index) {
    return home_map.home->FindDetached(table, partitions_[index].key) != nullptr;
  });
}

// A sink has been opened while partitions run. For those that the home lists as detached it has its lanes; where it was
// only closed, main reads again.
void PipelineWorker::TakePartAgain(Sink& sink) {
  const std::shared_ptr<const PositionsMap> home_seen = home_.shared_map();
  const PositionsMap& home_map = *home_seen;
  for (size_t i = 0; i < partitions_.size(); ++i) {
    const auto index = static_cast<stream::PartitionIndex>(i);
    if (!partitions_[i].started) continue;
    SetSkip(sink, index, home_map);
    if (sink.detached_for(index)) continue;
    reset_wanted_ = true;
    reset_reason_ = fmt::format("table '{}' can be reached again", sink.state.name());
  }
}

// Detached tables that no rule names any more and that do not exist: whoever has dropped a table and then its rule does
// not want its records.
Result<std::set<std::string>> PipelineWorker::TablesGivenUp(const PositionsMap& home_map) {
  std::set<std::string> gone;
  for (const DetachedEntry& entry : home_map.home->detached) {
    if (gone.contains(entry.table) || entry.table == options_.rejects_table) continue;
    const bool is_named = std::ranges::any_of(options_.tables, [&](const TableRule& rule) {
      return rule.is_template() ? CouldHaveMade(rule.name, entry.table) : rule.name == entry.table;
    });
    if (is_named) continue;
    const ListedTable* listed = home_map.home->Find(entry.table);
    if (listed != nullptr && listed->state == ListedState::kAttaching) {
      LogWarning("a detached table is given up: it was never made and no rule names it", {{"table", entry.table}});
      gone.insert(entry.table);
      continue;
    }
    FIRN_ASSIGN(iceberg::TableIdentifier identifier, iceberg::TableIdentifier::Parse(entry.table));
    Result<iceberg::LoadedTable> loaded = deps_.catalog.LoadTable(identifier);
    if (loaded.has_value()) continue;
    if (loaded.error().code() != ErrorCode::kNotFound) return std::unexpected<Error>(std::move(loaded.error()));
    LogWarning("a detached table is given up: it does not exist and no rule names it", {{"table", entry.table}});
    gone.insert(entry.table);
  }
  return gone;
}

// The routing rules are others than those of the last run: below the largest T[p] of any listed table the old ones were
// at work, and the home keeps that until H has passed it.
Status PipelineWorker::AdoptRules() {
  if (rules_adopted_ && home_.rules_changed()) return home_.OtherRulesAtWork();
  if (home_.rules_changed()) {
    const std::shared_ptr<const PositionsMap> home_seen = home_.shared_map();
    const PositionsMap& home_map = *home_seen;
    Marks cut;
    for (const ListedTable& listed : home_map.home->tables) {
      if (listed.state == ListedState::kAttaching) continue;  // it has no rows
      FIRN_ASSIGN(iceberg::TableIdentifier identifier, iceberg::TableIdentifier::Parse(listed.table));
      Result<iceberg::LoadedTable> loaded = deps_.catalog.LoadTable(identifier);
      if (!loaded.has_value() && loaded.error().code() == ErrorCode::kNotFound) continue;
      if (!loaded.has_value()) return std::unexpected<Error>(std::move(loaded.error()));
      FIRN_ASSIGN(std::optional<PositionsMap> map, MapOf(loaded->metadata, options_.pipeline));
      if (!map.has_value()) continue;
      for (const auto& [key, mark] : map->marks) {
        int64_t above = std::max(OffsetOf(home_map.marks, key).value_or(0), OffsetOf(cut, key).value_or(0));
        if (mark.position.offset > above) cut[key] = mark;
      }
    }
    LogWarning("routing rules have changed; records that may have gone elsewhere under the old ones go to the rejects",
               {{"previous_rules_hash", home_map.rules_hash},
                {"rules_hash", home_.rules_hash()},
                {"partitions_in_doubt", cut.size()}});
    FIRN_ASSIGN(const std::set<std::string> gone, TablesGivenUp(home_map));
    FIRN_TRY(home_.AdoptRules(cut, gone, stop_));
  }
  rules_adopted_ = true;
  return {};
}

void PipelineWorker::SetSkip(Sink& sink, stream::PartitionIndex index, const PositionsMap& home_map) {
  if (sink.at.size() < partitions_.size()) sink.at.resize(partitions_.size());
  const PartitionKey& key = partitions_[index].key;
  const DetachedEntry* detached =
      home_map.home.has_value() ? home_map.home->FindDetached(sink.state.name(), key) : nullptr;
  Sink::AtPartition at;
  at.detached = detached != nullptr;
  at.hold = detached != nullptr && detached->hold;
  at.since_ms = detached != nullptr ? detached->since_ms : 0;
  at.believed = sink.state.OffsetAt(key).value_or(0);
  at.rejected_below = detached != nullptr ? detached->rejected_below : 0;
  if (Sink* rejects = sinks_.Find(options_.rejects_table); rejects != nullptr && rejects->open && !sink.is_rejects()) {
    at.rejected = rejects->state.RejectedOf(sink.state.name(), key);
    // Whoever took the entry off, a person or a worker, the rejects table went on without the table's rejects.
    const int64_t low_water = OffsetOf(home_map.marks, key).value_or(0);
    const int64_t stands = std::max(rejects->state.OffsetAt(key).value_or(0), low_water);
    if (!at.detached && at.rejected != kNoMark && at.rejected < stands) {
      at.rejected_below = at.rejected;
      at.owed_below = stands;
    }
  }
  // Below H a table that is not detached has all its rows, also where it got none.
  at.skip_below = std::max(at.believed, OffsetOf(home_map.marks, key).value_or(0));
  if (!sink.open || !sink.state.attached() || at.detached) at.skip_below = INT64_MAX;
  sink.at[index] = at;
}

// From H; sets what each sink skips.
stream::Position PipelineWorker::StartOf(stream::PartitionIndex index, const PositionsMap& home_map) {
  for (auto& sink : sinks_.all()) SetSkip(*sink, index, home_map);
  auto mark = home_map.marks.find(partitions_[index].key);
  return mark == home_map.marks.end() ? stream::Position{} : mark->second.position;
}

Status PipelineWorker::StartPartitions(const std::vector<stream::PartitionIndex>& partitions, bool seek) {
  std::vector<stream::SourcePartition> names;
  for (stream::PartitionIndex index : partitions) names.push_back(Of(index).name);
  FIRN_TRY(RetryTransient("resolving where to start", [&]() -> Status {
    FIRN_TRY(home_.Reload());
    FIRN_TRY(AdoptRules());
    return EnsureTopicsStarted(home_, deps_.source, options_.start, names, stop_);
  }));
  FIRN_TRY(OpenSinks());
  // After the tables: a worker that has fenced off other rules before us has told the home first how far they got.
  FIRN_TRY(RetryTransient("reading the home table", [&] { return home_.Reload(); }));
  const std::shared_ptr<const PositionsMap> home_seen = home_.shared_map();
  const PositionsMap& home_map = *home_seen;
  std::vector<stream::PartitionPosition> start;
  for (stream::PartitionIndex index : partitions) {
    Partition& partition = partitions_[index];
    partition.trouble.clear();
    partition.awaits_rejects = false;
    partition.home_offset = OffsetOf(home_map.marks, partition.key).value_or(0);
    partition.home_believed = partition.home_offset;
    partition.in_doubt_below = OffsetOf(home_map.home->cut, partition.key).value_or(0);
    partition.read = StartOf(index, home_map);
    partition.epoch_seen = partition.read.leader_epoch;
    start.push_back({index, partition.read});
    if (until_caught_up_ && partition.target_end < 0) {
      FIRN_TRY(RetryTransient("asking how far a partition reaches", [&]() -> Status {
        FIRN_ASSIGN(stream::Watermarks watermarks, deps_.source.QueryWatermarks(partition.name, kQueryTimeoutMs));
        partition.target_end = watermarks.end;
        return {};
      }));
    }
    LogDebug(
        "partition starts",
        {{"topic", partition.name.topic}, {"partition", partition.name.partition}, {"offset", partition.read.offset}});
  }
  const uint64_t order = seek ? poller_.Seek(std::move(start)) : poller_.Assign(std::move(start));
  for (stream::PartitionIndex index : partitions) {
    partitions_[index].started = true;
    partitions_[index].start_order = order;
  }
  return {};
}

// The maps were read again for partitions that are new here. If those that run already were moved by somebody else, the
// rows in the columns do not begin where the maps end any more.
void PipelineWorker::ResetIfMovedByOthers(const std::vector<stream::PartitionIndex>& fresh) {
  auto compare = [&](const Marks& stands,
                     const std::function<std::optional<int64_t>(stream::PartitionIndex)>& believed) {
    for (stream::PartitionIndex index : Owned()) {
      if (std::ranges::find(fresh, index) != fresh.end()) continue;
      const Partition& partition = partitions_[index];
      std::optional<int64_t> ours = believed(index);
      if (!ours.has_value() || OffsetOf(stands, partition.key).value_or(0) == *ours) continue;
      reset_wanted_ = true;
      reset_reason_ =
          fmt::format("positions of {}/{} were moved by somebody else", partition.name.topic, partition.name.partition);
    }
  };
  compare(home_.shared_map()->marks, [&](stream::PartitionIndex index) { return partitions_[index].home_believed; });
  for (const auto& sink : sinks_.all()) {
    if (!sink->open) continue;
    const std::shared_ptr<const PositionsMap> map = sink->state.shared_map();
    compare(map->marks, [&](stream::PartitionIndex index) -> std::optional<int64_t> {
      if (index >= sink->at.size() || sink->at[index].skip_below == INT64_MAX) return std::nullopt;
      return sink->at[index].believed;
    });
  }
}

Status PipelineWorker::Reset(const std::string& reason) {
  LogWarning("uncommitted rows are forgotten and read again", {{"reason", reason}, {"rows", sinks_.buffered_rows()}});
  ForgetBuffered();
  dropped_.clear();
  in_flight_rejected_.clear();
  lanes_settled_ = false;
  lanes_changed_ = true;
  for (auto& sink : sinks_.all()) sink->closed_reason.clear();
  for (Partition& partition : partitions_) partition.started = false;
  std::vector<stream::PartitionIndex> owned = Owned();
  if (!owned.empty()) FIRN_TRY(StartPartitions(owned, true));
  batch_started_ms_ = deps_.clock.BootMs();
  return {};
}

}  // namespace firn::ingest
