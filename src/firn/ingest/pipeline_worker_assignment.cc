// PipelineWorker, the assignment: opening home and tables, where to read from, forgetting and reading again.
#include <fmt/format.h>

#include <algorithm>

#include "firn/base/log.h"
#include "firn/ingest/pipeline_worker.h"
#include "firn/ingest/topic_start.h"

namespace firn::ingest {
namespace {

constexpr int64_t kRetryWaitMsMin = 200;
constexpr int64_t kRetryWaitMsMax = 10'000;
// A run until caught up is not a service: it does not wait for ever for a catalog that is down.
constexpr int64_t kQueryTimeoutMs = 10'000;

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

Status PipelineWorker::RetryTransient(const std::string& what, const std::function<Status()>& step) {
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
    if (until_caught_up_ && deps_.clock.BootMs() - started_ms > kGiveUpMsUntilCaughtUp) return status;
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

Status PipelineWorker::DetachSink(const Sink& sink, const std::string& reason, bool hold) {
  LogError("table is detached; the rest of the pipeline goes on without it",
           {{"table", sink.state.name()},
            {"reason", reason},
            {"remedy", hold ? "firn positions resume decides how it goes on" : "mend the cause; it is tried again"}});
  const int64_t now_ms = deps_.clock.WallMs();
  return RetryTransient("detaching a table", [&]() -> Status {
    FIRN_ASSIGN(MapCommitResult edited,
                home_.Edit(
                    [&](PositionsMap& map) -> Result<bool> {
                      bool changed = false;
                      for (stream::PartitionIndex index : Owned()) {
                        const Partition& partition = partitions_[index];
                        if (map.home->FindDetached(sink.state.name(), partition.key) != nullptr) continue;
                        map.home->detached.push_back(DetachedEntry{sink.state.name(), partition.key,
                                                                   partition.name.topic, reason, now_ms, hold});
                        changed = true;
                      }
                      return changed;
                    },
                    {}, stop_));
    if (edited.outcome != CommitOutcome::kCommitted && edited.outcome != CommitOutcome::kAlreadyDone) {
      return Fail(ErrorCode::kConflict, fmt::format("home table '{}': {}", home_.name(), edited.reason));
    }
    return {};
  });
}

// Opens what the configuration names, the rejects table, and what the home lists; each at most once a call.
Status PipelineWorker::OpenSinks() {
  struct Wanted {
    std::string table;
    const TableRule* rule;
  };
  std::vector<Wanted> wanted;
  for (const TableRule& rule : options_.tables) {
    if (!rule.is_template()) wanted.push_back({rule.name, &rule});
  }
  if (options_.reject_policy == RejectPolicy::kTable) wanted.push_back({options_.rejects_table, nullptr});
  // Tables of templates that this worker has met: their positions may have been moved as well.
  for (auto& sink : sinks_.all()) {
    if (sink->rule != nullptr && sink->rule->is_template() && !sink->hold)
      wanted.push_back({sink->state.name(), sink->rule});
  }
  for (const Wanted& want : wanted) {
    FIRN_ASSIGN(Sink * sink, sinks_.FindOrMake(want.table, want.rule));
    const PositionsMap home_map = home_.map();
    bool listed = home_map.home.has_value() && home_map.home->Find(want.table) != nullptr;
    Status opened =
        RetryTransient(fmt::format("opening table '{}'", want.table), [&] { return sinks_.Open(*sink, stop_); });
    if (!opened.has_value()) {
      // A table that never took part is a mistake in the configuration; one that did is detached and the rest goes on.
      if (!listed || opened.error().code() == ErrorCode::kCancelled) return opened;
      sink->open = false;
      sink->closed_reason = opened.error().ToString();
      FIRN_TRY(DetachSink(*sink, sink->closed_reason, false));
    } else if (sink->hold) {
      if (!listed)
        return Fail(ErrorCode::kInvalidInput, fmt::format("table '{}': {}", want.table, sink->closed_reason));
      FIRN_TRY(DetachSink(*sink, sink->closed_reason, true));
    }
  }
  return {};
}

// After a change of the routing rules: below the largest T[p] of any listed table, old rules were at work.
void PipelineWorker::PrepareInDoubt(const std::vector<stream::PartitionIndex>& partitions) {
  for (stream::PartitionIndex index : partitions) partitions_[index].in_doubt_below = 0;
  if (home_.previous_rules_hash().empty()) return;
  const PositionsMap home_map = home_.map();
  for (const ListedTable& listed : home_map.home->tables) {
    Result<iceberg::TableIdentifier> identifier = iceberg::TableIdentifier::Parse(listed.table);
    if (!identifier.has_value()) continue;
    Result<iceberg::LoadedTable> loaded = deps_.catalog.LoadTable(*identifier);
    if (!loaded.has_value()) continue;
    Result<std::optional<PositionsMap>> map = MapOf(loaded->metadata, options_.pipeline);
    if (!map.has_value() || !map->has_value()) continue;
    for (stream::PartitionIndex index : partitions) {
      Partition& partition = partitions_[index];
      partition.in_doubt_below = std::max(partition.in_doubt_below, OffsetOf((*map)->marks, partition.key).value_or(0));
    }
  }
  LogWarning("routing rules have changed; records that may have gone elsewhere under the old ones go to the rejects",
             {{"previous_rules_hash", home_.previous_rules_hash()}, {"rules_hash", home_.rules_hash()}});
}

void PipelineWorker::SetSkip(Sink& sink, stream::PartitionIndex index, const PositionsMap& home_map) {
  if (sink.skip_below.size() < partitions_.size()) sink.skip_below.resize(partitions_.size(), 0);
  const PartitionKey& key = partitions_[index].key;
  const DetachedEntry* detached =
      home_map.home.has_value() ? home_map.home->FindDetached(sink.state.name(), key) : nullptr;
  std::optional<PositionsMap> map = sink.state.map();
  bool takes_part = sink.open && map.has_value() && (detached == nullptr || !detached->hold);
  sink.skip_below[index] = takes_part ? OffsetOf(map->marks, key).value_or(0) : INT64_MAX;
}

// From H, or earlier for a table that is to catch up; sets what each sink skips.
stream::Position PipelineWorker::StartOf(stream::PartitionIndex index, const PositionsMap& home_map) {
  const Partition& partition = partitions_[index];
  auto mark = home_map.marks.find(partition.key);
  stream::Position start = mark == home_map.marks.end() ? stream::Position{} : mark->second.position;
  for (auto& sink : sinks_.all()) {
    SetSkip(*sink, index, home_map);
    bool detached =
        home_map.home.has_value() && home_map.home->FindDetached(sink->state.name(), partition.key) != nullptr;
    if (!detached || sink->skip_below[index] >= start.offset) continue;
    const Marks marks = sink->state.map()->marks;
    auto own = marks.find(partition.key);
    stream::Position stands = own == marks.end() ? stream::Position{} : own->second.position;
    LogInfo("table catches up", {{"table", sink->state.name()},
                                 {"topic", partition.name.topic},
                                 {"partition", partition.name.partition},
                                 {"from", stands.offset},
                                 {"to", start.offset}});
    start = stands;
  }
  return start;
}

Status PipelineWorker::StartPartitions(const std::vector<stream::PartitionIndex>& partitions, bool seek) {
  std::vector<stream::SourcePartition> names;
  for (stream::PartitionIndex index : partitions) names.push_back(Of(index).name);
  FIRN_TRY(RetryTransient("resolving where to start", [&] {
    Status status = home_.Reload();
    if (!status.has_value()) return status;
    return EnsureTopicsStarted(home_, deps_.source, options_.start, names, stop_);
  }));
  FIRN_TRY(OpenSinks());
  PrepareInDoubt(partitions);
  const PositionsMap home_map = home_.map();
  std::vector<stream::PartitionPosition> start;
  for (stream::PartitionIndex index : partitions) {
    Partition& partition = partitions_[index];
    partition.trouble.clear();
    partition.home_offset = OffsetOf(home_map.marks, partition.key).value_or(0);
    partition.read = StartOf(index, home_map);
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
  if (seek) {
    poller_.Seek(std::move(start));
  } else {
    poller_.Assign(std::move(start));
  }
  return {};
}

Status PipelineWorker::Reset(const std::string& reason) {
  LogWarning("uncommitted rows are forgotten and read again", {{"reason", reason}, {"rows", sinks_.buffered_rows()}});
  sinks_.DiscardAll();
  dropped_.clear();
  for (auto& sink : sinks_.all()) sink->closed_reason.clear();
  std::vector<stream::PartitionIndex> owned = Owned();
  if (!owned.empty()) FIRN_TRY(StartPartitions(owned, true));
  batch_started_ms_ = deps_.clock.BootMs();
  return {};
}

}  // namespace firn::ingest
