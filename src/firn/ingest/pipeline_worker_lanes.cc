// PipelineWorker, detached tables: when their lanes begin, and how main takes a table in that has caught up.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "firn/base/log.h"
#include "firn/ingest/pipeline_worker.h"

namespace firn::ingest {
namespace {

constexpr int64_t kLanesLookMs = 100;
constexpr int64_t kHeldLookMs = 60'000;
constexpr int64_t kRetentionWarnMs = 600'000;
// Warn when less than this share of what the log holds is left before the table's position.
constexpr int64_t kRetentionShareLeft = 10;

}  // namespace

Status PipelineWorker::TendLanes() {
  TakeLaneProgress();
  TakeLaneEnds();
  if (stopping_ || reset_wanted_ || fatal_.has_value()) return {};
  ReadOnWithRejects();
  const int64_t now_ms = deps_.clock.BootMs();
  if (lanes_changed_ || now_ms - lanes_looked_ms_ >= kLanesLookMs) {
    lanes_looked_ms_ = now_ms;
    lanes_changed_ = false;
    StartLanes();
  }
  if (!commit_in_flight_ && now_ms - held_looked_ms_ >= kHeldLookMs) {
    held_looked_ms_ = now_ms;
    LookAtHeld();
  }
  return {};
}

void PipelineWorker::TakeLaneProgress() {
  for (auto& [table, progress] : lanes_.TakeProgress()) {
    for (const BatchResult& result : progress.batches) {
      if (result.kind == BatchResult::Kind::kForget && !stopping_) metrics_.CountMismatch();
      CountCommitted(result);
      batch_committer_.NoteCommitted(result.sequence_numbers);
    }
    metrics_.CountLaneRecords(progress.records);
    for (const auto& [code, count] : progress.dropped) {
      counters_.dropped += count;
      dropped_[code] += count;
    }
    Sink* sink = sinks_.Find(table);
    for (const LaneEnd::Partition& done : progress.committed) {
      // An entry that was made anew says less than a lane that began before.
      if (sink == nullptr || done.index >= sink->at.size() || sink->at[done.index].since_ms != done.since_ms) continue;
      LaneReached& until = rejected_until_[{table, done.index}];
      if (until.since_ms != done.since_ms) until = LaneReached{.since_ms = done.since_ms};
      until.rejected_below = std::max(until.rejected_below, done.rejected_below);
      until.rows_below = std::max(until.rows_below, done.believed);
      // Of a lane that was cancelled, main may have the partition again since, from positions that it has read itself.
      if (sink->detached_for(done.index) && !sink->taken_in(done.index)) {
        sink->at[done.index].believed = done.believed;
        sink->at[done.index].rejected_below = std::max(sink->at[done.index].rejected_below, done.rejected_below);
      }
    }
  }
}

void PipelineWorker::TakeLaneEnds() {
  for (Lanes::Ended& ended : lanes_.TakeEnded()) {
    lanes_changed_ = true;
    if (ended.end.kind == LaneEnd::Kind::kFatal && !fatal_.has_value()) fatal_ = std::move(ended.end.error);
    Sink* blocking = ended.end.blocked_by.empty() ? nullptr : sinks_.Find(ended.end.blocked_by);
    if (blocking != nullptr && blocking->open) {
      // Main takes it for usable, having had no record for it: looked at again, it is detached, and the lane goes on.
      reset_wanted_ = true;
      reset_reason_ = fmt::format("table '{}' cannot be opened any more", ended.end.blocked_by);
    }
    Sink* sink = sinks_.Find(ended.request.table);
    if (sink == nullptr || (!ended.end.held && ended.end.kind != LaneEnd::Kind::kForgotten)) continue;
    const PositionsMap home_map = home_.map();
    for (const LanePartition& partition : ended.request.partitions) {
      // The entry is held, or was made anew by a history policy or by hand, or was taken off by hand.
      if (!sink->detached_for(partition.index) || sink->taken_in(partition.index)) continue;
      if (home_map.home->FindDetached(ended.request.table, partition.key) != nullptr) {
        SetSkip(*sink, partition.index, home_map);
      } else {
        reset_wanted_ = true;
        reset_reason_ = fmt::format("table '{}' is detached no more", ended.request.table);
      }
    }
  }
}

// The rejects table takes records again: partitions that stood before one go on with it.
void PipelineWorker::ReadOnWithRejects() {
  const Sink* rejects = sinks_.Find(options_.rejects_table);
  for (size_t i = 0; i < partitions_.size(); ++i) {
    const auto index = static_cast<stream::PartitionIndex>(i);
    Partition& partition = partitions_[i];
    if (!partition.awaits_rejects || !partition.owned || !partition.started) continue;
    if (rejects == nullptr || rejects->skip_below(index) == INT64_MAX) continue;
    partition.awaits_rejects = false;
    partition.start_order = poller_.Seek({{index, partition.read}});
  }
}

// A lane for every table that is detached for partitions of ours, as far as there is room.
void PipelineWorker::StartLanes() {
  lanes_.SetGoals([&](stream::PartitionIndex index) { return partitions_[index].read.offset; });
  lanes_settled_ = true;
  const std::vector<stream::PartitionIndex> owned = Owned();
  const Sink* rejects = sinks_.Find(options_.rejects_table);
  std::vector<LaneRequest> waiting;
  for (const auto& sink : sinks_.all()) {
    LaneRequest request{sink->state.name(), sink->rule, {}};
    for (stream::PartitionIndex index : owned) {
      const Partition& partition = partitions_[index];
      if (!sink->detached_for(index) || sink->taken_in(index) || sink->at[index].hold) continue;
      if (!partition.started || partition.releasing || !partition.trouble.empty()) continue;
      // The rejects table comes back first: of two that catch up at once, each would leave a reject to the other.
      if (rejects != nullptr && sink.get() != rejects && rejects->detached_for(index)) {
        lanes_settled_ = lanes_settled_ && rejects->at[index].hold;
        continue;
      }
      if (lanes_.Has(request.table, index)) {
        lanes_settled_ = false;
        continue;
      }
      request.partitions.push_back({index, partition.name, partition.key, sink->at[index].since_ms,
                                    sink->at[index].rejected_below, partition.read.offset});
    }
    if (request.partitions.empty() || lanes_.BacksOff(request.table)) continue;
    lanes_settled_ = false;
    // What main has decoded of its rejects comes first: the lane must see how far they reach.
    auto is_of_sink = [&](const auto& pending) { return pending.sink == sink.get(); };
    if (rejects == nullptr || rejects->buffered_rows() == 0) std::erase_if(rejects_pending_, is_of_sink);
    if (std::ranges::any_of(rejects_pending_, is_of_sink)) continue;
    auto marks_sink = [&](const auto& marked) { return marked.first == sink.get(); };
    if (commit_in_flight_ && std::ranges::any_of(in_flight_rejected_, marks_sink)) continue;
    waiting.push_back(std::move(request));
  }
  lanes_.StartWaiting(std::move(waiting));
}

// 'firn positions' may have taken a hold off the home's entries, and a worker that had a partition before us may have
// detached a table for it with its last commit.
void PipelineWorker::LookAtHeld() {
  std::vector<std::pair<Sink*, stream::PartitionIndex>> held;
  for (const auto& sink : sinks_.all()) {
    for (stream::PartitionIndex index : Owned()) {
      if (index < sink->at.size() && sink->at[index].hold) held.emplace_back(sink.get(), index);
    }
  }
  if (!home_.Reload().has_value()) return;
  const PositionsMap home_map = home_.map();
  for (stream::PartitionIndex index : Owned()) {
    const Partition& partition = partitions_[index];
    if (partition.trouble.empty() || !partition.started) continue;
    if (OffsetOf(home_map.marks, partition.key).value_or(0) == partition.home_believed) continue;
    // Whoever had it before us has moved it on, or a person has: perhaps over what cannot be read.
    reset_wanted_ = true;
    reset_reason_ = fmt::format("positions of {}/{}, which is paused, were moved by somebody else",
                                partition.name.topic, partition.name.partition);
  }
  for (const auto& [sink, index] : held) {
    SetSkip(*sink, index, home_map);
    if (sink->detached_for(index)) continue;
    reset_wanted_ = true;
    reset_reason_ = fmt::format("table '{}' is detached no more", sink->state.name());
  }
  SeeDetachedByOthers(home_map);
}

// The home lists the sink as detached for what we own, and it is closed.
void PipelineWorker::OnDetached(Sink& sink) {
  const PositionsMap home_map = home_.map();
  if (sink.is_rejects()) rejects_pending_.clear();  // what waited for the next batch is gone with it
  if (sink.is_rejects() && std::exchange(rejects_cannot_wait_, false)) {
    reset_wanted_ = !stopping_;
    reset_reason_ = "the rejects table was detached while it had rejects to take that its lane would not find";
  }
  const Sink* rejects = sinks_.Find(options_.rejects_table);
  const bool rejects_wait = rejects != nullptr && rejects->open && rejects->buffered_rows() > 0 && !sink.is_rejects();
  for (stream::PartitionIndex index : Owned()) {
    const bool was_taking_part =
        partitions_[index].started && index < sink.at.size() && sink.at[index].skip_below != INT64_MAX;
    SetSkip(sink, index, home_map);
    // Of a partition that the rejects table is detached for, none of the rejects are there.
    if (!rejects_wait || !was_taking_part || rejects->skip_below(index) == INT64_MAX) continue;
    rejects_pending_.push_back({&sink, index, partitions_[index].read.offset});
  }
  lanes_settled_ = false;
  lanes_changed_ = true;
}

// Entries of ours that we do not know of: the table takes part here and is listed as detached all the same.
void PipelineWorker::SeeDetachedByOthers(const PositionsMap& home_map) {
  for (const DetachedEntry& entry : home_map.home->detached) {
    Sink* sink = sinks_.Find(entry.table);
    if (sink == nullptr) continue;
    for (stream::PartitionIndex index : Owned()) {
      if (partitions_[index].key != entry.partition || !partitions_[index].started) continue;
      if (sink->detached_for(index) && sink->at[index].since_ms == entry.since_ms) continue;
      reset_wanted_ = true;
      reset_reason_ = fmt::format("table '{}' was detached by another worker", entry.table);
    }
  }
}

// A checkpoint is done: which entries are gone, which has a person put on hold?
void PipelineWorker::SeeDetached() {
  const PositionsMap home_map = home_.map();
  for (auto& sink : sinks_.all()) {
    for (size_t i = 0; i < sink->at.size(); ++i) {
      if (!sink->at[i].detached) continue;
      const DetachedEntry* entry = home_map.home->FindDetached(sink->state.name(), partitions_[i].key);
      const bool taken_in = sink->taken_in(static_cast<stream::PartitionIndex>(i));
      if (entry == nullptr && !taken_in && partitions_[i].owned) {
        // Somebody has taken it off by hand: main has skipped its records, and must not go on to.
        reset_wanted_ = true;
        reset_reason_ = fmt::format("table '{}' is detached no more", sink->state.name());
        continue;
      }
      if (entry == nullptr) {
        LogInfo("table has caught up", {{"table", sink->state.name()},
                                        {"topic", partitions_[i].name.topic},
                                        {"partition", partitions_[i].name.partition}});
      } else if (entry->hold && taken_in) {
        reset_wanted_ = true;
        reset_reason_ = fmt::format("table '{}' was put on hold", sink->state.name());
      }
      sink->at[i].detached = entry != nullptr;
    }
  }
  SeeDetachedByOthers(home_map);
}

// Below, the rejects of every table that takes part are in the rejects table, whatever becomes of what we hold.
int64_t PipelineWorker::SurelyRejectedBelow(stream::PartitionIndex index, const PositionsMap& home_map) {
  const Partition& partition = partitions_[index];
  int64_t below = partition.started ? std::max(partition.home_believed, partition.home_offset)
                                    : OffsetOf(home_map.marks, partition.key).value_or(0);
  Sink* rejects = sinks_.Find(options_.rejects_table);
  if (rejects == nullptr) return below;
  const bool listed = home_map.home.has_value() && home_map.home->FindDetached(options_.rejects_table, partition.key);
  if (listed || rejects->detached_for(index)) {
    // H has gone on without it: only its own lane, or main behind it, has written anything above where it stands.
    const int64_t stands = rejects->state.OffsetAt(partition.key).value_or(0);
    const int64_t believed = index < rejects->at.size() ? rejects->at[index].believed : 0;
    return std::min(below, std::max(stands, believed));
  }
  if (!rejects->open) return below;
  const bool known = partition.started && index < rejects->at.size();
  const int64_t stands =
      known ? rejects->at[index].believed : rejects->state.OffsetAt(partition.key).value_or(0);
  return std::max(below, stands);
}

// Main can take in a table between two batches only: its columns must hold no row of what it is sent back over.
bool PipelineWorker::ReadyToTakeIn() {
  if (lanes_.caught_up().empty() || stopping_ || fatal_.has_value() || !releasing_.empty()) return false;
  std::set<std::string> tables;
  for (const Lanes::CaughtUp& each : lanes_.caught_up()) tables.insert(each.table);
  for (const std::string& table : tables) {
    Sink* sink = sinks_.Find(table);
    if (sink == nullptr || !OpenToTakeIn(*sink)) lanes_.PutOff(table);
  }
  return !lanes_.caught_up().empty() && !reset_wanted_;
}

bool PipelineWorker::OpenToTakeIn(Sink& sink) {
  if (sink.open) return true;
  Status opened = sinks_.Open(sink, stop_);
  if (!opened.has_value() || !sink.open) {
    LogWarning("table has caught up and cannot be taken in; it is tried again",
               {{"table", sink.state.name()},
                {"reason", opened.has_value() ? sink.closed_reason : opened.error().ToString()}});
    return false;
  }
  TakePartAgain(sink);
  return true;
}

// What the lanes have committed is what the table skips from now on. Where main has read further already, it is sent
// back for what lies in between, over which all other tables skip.
void PipelineWorker::TakeIn() {
  const PositionsMap home_map = home_.map();
  std::map<stream::PartitionIndex, stream::Position> back;
  std::map<stream::PartitionIndex, std::set<const Sink*>> taken;
  for (const Lanes::CaughtUp& lane : lanes_.TakeCaughtUp()) {
    Sink* sink = sinks_.Find(lane.table);
    if (sink == nullptr || !sink->open) continue;
    for (const LaneEnd::Partition& done : lane.partitions) {
      const Partition& partition = partitions_[done.index];
      const DetachedEntry* entry = home_map.home->FindDetached(lane.table, partition.key);
      if (entry == nullptr || entry->hold || sink->taken_in(done.index)) continue;
      if (entry->since_ms != done.since_ms) continue;
      if (!partition.owned || !partition.started || partition.releasing || !partition.trouble.empty()) continue;
      Sink* rejects = sinks_.Find(options_.rejects_table);
      const bool rejects_part = rejects != nullptr && rejects != sink && rejects->skip_below(done.index) != INT64_MAX;
      // The lane has committed through states of its own: ours is behind. No commit is under way that could hide that.
      sink->state.MarkStale();
      if (rejects != nullptr) rejects->state.MarkStale();
      Sink::AtPartition& at = sink->at[done.index];
      at.believed = done.believed;
      at.skip_below = std::max(done.believed, done.read.offset);
      at.rejected_below = done.rejected_below;
      at.rejected = done.rejected;
      if (rejects != nullptr) at.rejected = std::max(at.rejected, rejects->state.RejectedOf(lane.table, partition.key));
      // Neither main nor whoever moved the rejects table's own positions has looked at what comes now.
      // A lane that died after its rejects may have written them further than its rows.
      at.owed_below = std::max({partition.read.offset, at.skip_below, done.rejected_below});
      if (rejects_part) at.owed_below = std::max(at.owed_below, rejects->skip_below(done.index));
      taken[done.index].insert(sink);
      auto to = back.try_emplace(done.index, done.read).first;
      if (done.read.offset < to->second.offset) to->second = done.read;
      LogInfo("lane: the table has caught up and is taken in", {{"table", lane.table},
                                                                {"topic", partition.name.topic},
                                                                {"partition", partition.name.partition},
                                                                {"offset", done.read.offset},
                                                                {"main_reads", partition.read.offset}});
    }
  }
  for (const auto& [index, to] : back) {
    if (to.offset < partitions_[index].read.offset) SendBack(index, to, taken[index]);
  }
  flushed_everything_ = false;
  lanes_changed_ = true;
}

void PipelineWorker::SendBack(stream::PartitionIndex index, stream::Position to,
                              const std::set<const Sink*>& for_whom) {
  Partition& partition = partitions_[index];
  for (auto& sink : sinks_.all()) {
    if (for_whom.contains(sink.get()) || sink->skip_below(index) == INT64_MAX) continue;
    sink->at[index].skip_below = std::max(sink->at[index].skip_below, partition.read.offset);
  }
  partition.home_offset = std::max(partition.home_offset, partition.read.offset);
  partition.read = to;
  partition.epoch_seen = to.leader_epoch;
  partition.start_order = poller_.Seek({{index, to}});
}

// What the batch and the home must agree on about detached tables.
void PipelineWorker::FreezeDetached(Batch& batch, const PositionsMap& home_map) {
  const Sink* rejects = sinks_.Find(options_.rejects_table);
  const bool has_rejects = rejects != nullptr && rejects->buffered_rows() > 0;
  for (stream::PartitionIndex index : Owned()) {
    const Partition& partition = partitions_[index];
    const bool unsure = has_rejects || (rejects != nullptr && rejects->detached_for(index));
    batch.rejected_below[partition.key] =
        unsure ? SurelyRejectedBelow(index, home_map) : std::max(partition.read.offset, partition.home_offset);
    for (const auto& sink : sinks_.all()) {
      if (sink->detached_for(index) && !sink->taken_in(index)) {
        batch.skipped.emplace_back(sink->state.name(), partition.key);
      }
    }
  }
}

// What a batch with rejects says of detached tables: those that main has taken in, those that were just detached, and
// those whose marks nobody needs any more.
void PipelineWorker::FreezeRejected(TableBatch& rejects) {
  const Sink* table = sinks_.Find(options_.rejects_table);
  auto claim = [&](Sink& sink, stream::PartitionIndex index, const stream::Position& to) {
    const Partition& partition = partitions_[index];
    rejects.rejected[sink.state.name()][partition.key] = Claim{sink.at[index].rejected, to, partition.name.topic};
    in_flight_rejected_.emplace_back(&sink, index);
  };
  for (const auto& sink : sinks_.all()) {
    if (sink->is_rejects()) continue;
    for (stream::PartitionIndex index : Owned()) {
      if (index >= sink->at.size() || table->skip_below(index) == INT64_MAX) continue;
      const Sink::AtPartition& at = sink->at[index];
      const stream::Position& read = partitions_[index].read;
      const bool owes = !at.detached && at.rejected != kNoMark && read.offset < at.owed_below;
      if ((sink->taken_in(index) || owes) && read.offset > at.rejected) claim(*sink, index, read);
      if (sink->open && !at.detached && !owes && at.rejected != kNoMark) claim(*sink, index, {kNoMark, -1, -1});
      const bool elsewhere = at.detached && !sink->taken_in(index);
      if (!elsewhere && at.rejected == kNoMark) continue;
      auto& marks = elsewhere ? rejects.rejected_elsewhere : rejects.rejected_known;
      marks[sink->state.name()][partitions_[index].key] = elsewhere ? 0 : at.rejected;
    }
  }
  for (const InFlight& pending : std::exchange(rejects_pending_, {})) {
    if (partitions_[pending.partition].owned && pending.to > pending.sink->at[pending.partition].rejected) {
      claim(*pending.sink, pending.partition, stream::Position{pending.to, -1, -1});
    }
  }
}

void PipelineWorker::DescribeDetached(const PositionsMap& home_map, WorkerStatus& status) {
  if (!home_map.home.has_value()) return;
  const int64_t now_ms = deps_.clock.BootMs();
  std::set<stream::PartitionIndex> watched;
  std::map<PartitionKey, stream::PartitionIndex> owned;
  if (!home_map.home->detached.empty()) {
    for (stream::PartitionIndex index : Owned()) owned.emplace(partitions_[index].key, index);
  }
  for (const DetachedEntry& entry : home_map.home->detached) {
    DetachedTable told;
    told.table = entry.table;
    told.partition = fmt::format("{}/{}", entry.topic, entry.partition.partition);
    told.reason = entry.reason;
    told.hold = entry.hold;
    told.home_position = OffsetOf(home_map.marks, entry.partition).value_or(-1);
    auto of_entry = owned.find(entry.partition);
    Sink* sink = sinks_.Find(entry.table);
    if (of_entry != owned.end() && sink != nullptr) {
      const stream::PartitionIndex index = of_entry->second;
      watched.insert(index);
      told.lane = lanes_.Has(entry.table, index);
      std::optional<stream::Watermarks> extent = lag_.ExtentOf(index);
      const bool attached = sink->state.attached() && index < sink->at.size();
      told.position = attached ? sink->at[index].believed : entry.rows_below;
      if (told.position >= 0 && extent.has_value()) {
        told.retained_records = told.position - extent->start;
        int64_t& warned_ms = retention_warned_ms_[{told.table, told.partition}];
        const bool near = told.retained_records < (extent->end - extent->start) / kRetentionShareLeft;
        if (near && (warned_ms == 0 || now_ms - warned_ms >= kRetentionWarnMs)) {
          warned_ms = now_ms;
          LogWarning("retention is about to remove records that a detached table still needs; raise the topic's "
                     "retention, or mend the table",
                     {{"table", told.table}, {"partition", told.partition}, {"records_left", told.retained_records}});
        }
      }
    }
    status.detached.push_back(std::move(told));
  }
  lag_.WatchExtents(std::move(watched));
}

}  // namespace firn::ingest
