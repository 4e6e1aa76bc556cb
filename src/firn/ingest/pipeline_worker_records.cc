// PipelineWorker, the records: route, decode, reject. This is the hot loop of the ingest thread.
#include <fmt/format.h>

#include "firn/base/log.h"
#include "firn/ingest/pipeline_worker.h"
#include "firn/ingest/table_intake.h"

namespace firn::ingest {
namespace {

// Of a table that was never there: its name, the configuration, or the table under that name will not do.
bool IsForGood(ErrorCode code) {
  return code == ErrorCode::kInvalidInput || code == ErrorCode::kNotFound || code == ErrorCode::kUnsupported;
}

}  // namespace

// Records of a partition that was lost and given again may still be queued: those are of the earlier assignment.
bool PipelineWorker::Takes(const Partition& partition, uint64_t orders_done) const {
  return partition.started && orders_done >= partition.start_order && !partition.releasing &&
         partition.trouble.empty() && !partition.awaits_rejects;
}

// Along a log epochs never go back. The source asks the brokers about the epoch of the position that it starts from;
// this sees what comes of a log that was cut and grew again while it was read (an unclean election).
bool PipelineWorker::EpochWentBack(const stream::Record& record, Partition& partition) {
  if (record.leader_epoch < 0 || record.leader_epoch >= partition.epoch_seen) return false;
  partition.trouble = fmt::format(
      "the log was truncated below the position and has grown again: leader epoch {} follows {} at offset {}; decide "
      "with 'firn positions set' where to go on",
      record.leader_epoch, partition.epoch_seen, record.offset);
  LogError("partition is paused for all tables; the rest goes on", {{"topic", partition.name.topic},
                                                                    {"partition", partition.name.partition},
                                                                    {"error", partition.trouble}});
  return true;
}

void PipelineWorker::HandleChunk(const stream::RecordChunk& chunk, uint64_t orders_done) {
  double cpu_before = ThreadCpuSeconds();
  double pack_cpu_s = 0;
  uint64_t bytes = 0;
  uint64_t count = 0;
  for (const stream::Record& record : chunk.records()) {
    Partition& partition = Of(record.partition);
    if (!Takes(partition, orders_done)) continue;
    if (record.offset < partition.read.offset) continue;
    if (fatal_.has_value()) break;
    if (EpochWentBack(record, partition)) continue;
    HandleRecord(record, partition);
    if (fatal_.has_value()) break;           // rejects: stop; the position stays at this record
    if (partition.awaits_rejects) continue;  // likewise
    partition.read = stream::Position{record.offset + 1, record.leader_epoch, record.timestamp_ms};
    partition.epoch_seen = std::max(partition.epoch_seen, record.leader_epoch);
    const uint64_t size = record.value.has_value() ? record.value->size() : 0;
    bytes += size;
    ++count;
    bytes_decoded_since_look_ += size;
    if (bytes_decoded_since_look_ >= kBytesBetweenLooks) pack_cpu_s += PackFullSlabs();
  }
  if (!fatal_.has_value()) {
    for (const stream::PartitionPosition& moved : chunk.positions()) {
      Partition& partition = Of(moved.partition);
      if (!Takes(partition, orders_done)) continue;
      if (moved.position.offset <= partition.read.offset) continue;
      // What was passed over may be of a newer epoch than the last record: unknown is then the truth.
      partition.read.offset = moved.position.offset;
      partition.read.leader_epoch = moved.position.leader_epoch;
      partition.epoch_seen = std::max(partition.epoch_seen, moved.position.leader_epoch);
    }
  }
  if (count > 0) flushed_everything_ = false;
  counters_.records += count;
  counters_.bytes += bytes;
  metrics_.CountRecords(count, bytes);
  for (auto& sink : sinks_.all()) {
    if (sink->decoder != nullptr) {
      metrics_.CountUnknownFields(sink->state.name(), sink->decoder->TakeUnknownFieldCounts());
    }
  }
  pack_cpu_s += PackFullSlabs();
  stages_.parse += ThreadCpuSeconds() - cpu_before - pack_cpu_s;
}

// Gives the CPU seconds that it took; they are counted where the rows are committed.
double PipelineWorker::PackFullSlabs() {
  const double before = ThreadCpuSeconds();
  bytes_decoded_since_look_ = 0;
  sinks_.PackFullSlabs();
  return ThreadCpuSeconds() - before;
}

void PipelineWorker::HandleRecord(const stream::Record& record, Partition& partition) {
  decode::Reject reject;
  Sink* sink = SinkFor(record, partition, reject);
  if (fatal_.has_value()) return;
  if (sink == nullptr) {
    if (WasJudged(record, partition)) {
      ++counters_.skipped;
    } else {
      RejectRecord(record, partition, reject, route_.table, false);
    }
    return;
  }
  const int64_t skip_below = sink->skip_below(record.partition);
  if (record.offset < skip_below) {
    const bool detached = skip_below == INT64_MAX;
    // Of a table that was taken in: its lane has looked that far.
    const Sink::AtPartition at = record.partition < sink->at.size() ? sink->at[record.partition] : Sink::AtPartition{};
    const bool by_a_lane = record.offset < at.rejected_below;
    // Where main was sent back for another table it has looked already.
    const bool catching_up = record.offset < at.owed_below && record.offset >= partition.home_offset;
    if (!detached && !by_a_lane && record.offset < partition.in_doubt_below && !WasJudged(record, partition)) {
      RejectRecord(record, partition, RulesChangedReject(), sink->state.name(), catching_up);
      return;
    }
    ++counters_.skipped;
    // The table has its row; but the worker that gave it may have died before the rejects of that batch were committed.
    const bool owed = !detached && !by_a_lane && (catching_up || RejectStillOwed(record, partition));
    if (owed && !DecodeRow(record, partition.name, *sink, sink->ScratchRows(), reject)) {
      RejectRecord(record, partition, reject, sink->state.name(), catching_up);
    }
    return;
  }
  if (DecodeRow(record, partition.name, *sink, *sink->rows, reject)) return;
  const Sink::AtPartition& at = sink->at[record.partition];
  const bool catching_up = record.offset < at.owed_below;
  if (catching_up && record.offset < at.rejected_below) {
    ++counters_.skipped;
    return;
  }
  RejectRecord(record, partition, reject, sink->state.name(), catching_up);
}

// Main has been here before, and has counted what it did not write.
bool PipelineWorker::WasJudged(const stream::Record& record, const Partition& partition) const {
  return options_.reject_policy != RejectPolicy::kTable && record.offset < partition.home_offset;
}

// Of a record whose table is ahead: would its reject, if it is one, still have to be written or counted?
bool PipelineWorker::RejectStillOwed(const stream::Record& record, const Partition& partition) {
  if (options_.reject_policy != RejectPolicy::kTable) return !WasJudged(record, partition);
  Sink* rejects = sinks_.Find(options_.rejects_table);
  return rejects != nullptr && record.offset >= rejects->skip_below(record.partition);
}

Sink* PipelineWorker::SinkFor(const stream::Record& record, Partition& partition, decode::Reject& reject) {
  if (router_->by_topic_only()) {
    if (route_by_partition_.size() <= record.partition) route_by_partition_.resize(record.partition + 1, nullptr);
    // One that is closed and no longer detached, since somebody took its entry off, has to be looked at again.
    Sink* known = route_by_partition_[record.partition];
    if (known != nullptr && (known->open || known->detached_for(record.partition))) return known;
  }
  if (!RouteToTable(*router_, options_.tables, record, partition.name.topic, route_, reject)) return nullptr;
  const TableRule& rule = options_.tables[route_.rule];
  Sink* sink = OpenedSink(route_.table, &rule, partition, reject);
  if (sink != nullptr && router_->by_topic_only()) route_by_partition_[record.partition] = sink;
  return sink;
}

Sink* PipelineWorker::OpenedSink(const std::string& table, const TableRule* rule, const Partition& partition,
                                 decode::Reject& reject) {
  Sink* sink = sinks_.Find(table);
  if (sink != nullptr && sink->open) return sink;
  const auto index = static_cast<stream::PartitionIndex>(&partition - partitions_.data());
  if (sink == nullptr) {
    Result<Sink*> made = sinks_.FindOrMake(table, rule);
    if (!made.has_value()) {
      reject.code = decode::RejectCode::kNoRoute;
      reject.message = made.error().message();
      return nullptr;
    }
    sink = *made;
  }
  // Closed, but not for good: what is detached takes its records later, when it catches up.
  if (sink->detached_for(index)) return sink;
  if (sink->closed_reason.empty()) {  // not tried in this assignment
    Status opened = OpenMetTable(*sink, reject);
    if (!opened.has_value()) {
      fatal_ = std::move(opened.error());
      return nullptr;
    }
    if (sink->open || sink->detached_for(index)) return sink;
  }
  reject.code = decode::RejectCode::kNoRoute;
  reject.message = sink->closed_reason;
  return nullptr;
}

// A template's table. On return it is open, detached, or closed with a reason. An error ends the run. What can be
// mended from outside detaches it, so that its records wait in the log: as rejects they might be rows, too, should this
// worker end before H has passed them and the next one find the table usable.
Status PipelineWorker::OpenOrClose(Sink& sink) {
  Status opened = OpenWanted(sink);
  if (opened.has_value() || opened.error().code() == ErrorCode::kCancelled) return opened;
  const bool for_good = IsForGood(opened.error().code());
  // A home that is lost, or under other rules, gives such errors, too. It says nothing of the table, and ends the run.
  if (for_good && !sink.refused) {
    FIRN_TRY(RetryTransient("reading the home table", [&]() -> Status {
      FIRN_TRY(OfHomeAlone(home_.Reload()));
      Result<MapCommitResult> same = home_.Edit([](PositionsMap&) -> Result<bool> { return false; }, {}, stop_);
      return same.has_value() ? RequireDone(*same, home_.name()) : OfHomeAlone(std::unexpected(same.error()));
    }));
  }
  // Once its records are rejects, they stay rejects until it is open: a lane would give them rows as well.
  if (!for_good && !sink.refused) return DetachSink(sink, opened.error().ToString(), false);
  sink.refused = true;
  LogError("table cannot be used; its records go to the rejects",
           {{"table", sink.state.name()}, {"error", opened.error()}});
  sink.Close(opened.error().message(), false);
  return {};
}

// A table that a record is the first to name.
Status PipelineWorker::OpenMetTable(Sink& sink, decode::Reject& reject) {
  FIRN_TRY(OpenOrClose(sink));
  if (!sink.open && !sink.closed_reason.empty()) reject.message = sink.closed_reason;
  // New to this worker: it takes part from its own positions on; one that has to catch up has a lane.
  if (sink.open) {
    Status read = RetryTransient("reading the home table", [&] { return OfHomeAlone(home_.Reload()); });
    // Stopped, or worse: it takes no part in what is still committed.
    if (!read.has_value()) sink.Close("the home table cannot be read", false);
    FIRN_TRY(std::move(read));
  }
  const PositionsMap home_map = home_.map();
  for (size_t i = 0; i < partitions_.size(); ++i) {
    SetSkip(sink, static_cast<stream::PartitionIndex>(i), home_map);
    // It may have been written by other rules last, and further than any table that was known before.
    Partition& partition = partitions_[i];
    partition.in_doubt_below =
        std::max(partition.in_doubt_below, OffsetOf(home_map.home->cut, partition.key).value_or(0));
  }
  return {};
}

void PipelineWorker::RejectRecord(const stream::Record& record, Partition& partition, const decode::Reject& reject,
                                  const std::string& intended_table, bool catching_up) {
  if (options_.reject_policy == RejectPolicy::kDrop) {
    ++counters_.dropped;
    ++dropped_[std::string(decode::RejectCodeName(reject.code))];
    metrics_.CountReject(reject.code, true);
    return;
  }
  if (options_.reject_policy == RejectPolicy::kStop) {
    fatal_ = StoppedByReject(record, partition.name, reject);
    return;
  }
  Sink* sink = sinks_.Find(options_.rejects_table);
  const bool takes_part = sink != nullptr && sink->skip_below(record.partition) != INT64_MAX;
  // What its lane will find by itself waits for it; but a lane knows nothing of changed rules, nor of other lanes, and
  // may meet a table that could not be used as one that can.
  const bool found_by_lane = !catching_up && reject.code != decode::RejectCode::kRulesChanged &&
                             (reject.code != decode::RejectCode::kNoRoute || intended_table.empty());
  if (!takes_part && sink != nullptr && sink->detached_for(record.partition) && found_by_lane) {
    ++counters_.skipped;
    return;
  }
  if (!takes_part && sink != nullptr && sink->detached_for(record.partition)) {
    // Nobody else would write it: the partition waits here until the rejects table is back.
    LogWarning("a record has to be rejected while the rejects table is detached; its partition waits",
               {{"topic", partition.name.topic},
                {"partition", partition.name.partition},
                {"offset", record.offset},
                {"table", options_.rejects_table}});
    partition.awaits_rejects = true;
    return;
  }
  if (!takes_part) {
    fatal_ = Error(ErrorCode::kUnavailable,
                   fmt::format("a record has to be rejected, but the rejects table takes none; mend it, then start "
                               "again: {}/{} offset {}: table '{}'",
                               partition.name.topic, partition.name.partition, record.offset, options_.rejects_table));
    return;
  }
  if (!catching_up && record.offset < sink->skip_below(record.partition)) {
    ++counters_.skipped;
    return;
  }
  AppendReject(*sink, record, partition.name, reject, intended_table, deps_.clock.WallMs());
  rejects_cannot_wait_ |= !found_by_lane;
  metrics_.CountReject(reject.code, false);
}

}  // namespace firn::ingest
