// PipelineWorker, the records: route, decode, reject. This is the hot loop of the ingest thread.
#include <fmt/format.h>

#include "firn/base/log.h"
#include "firn/ingest/pipeline_worker.h"

namespace firn::ingest {
namespace {

constexpr uint64_t kSlabCheckRows = 512;

}  // namespace

void PipelineWorker::HandleChunk(const stream::RecordChunk& chunk) {
  double cpu_before = ThreadCpuSeconds();
  uint64_t bytes = 0;
  uint64_t count = 0;
  for (const stream::Record& record : chunk.records()) {
    Partition& partition = Of(record.partition);
    if (!partition.owned || partition.releasing || !partition.trouble.empty()) continue;
    if (record.offset < partition.read.offset) continue;
    if (fatal_.has_value()) break;
    HandleRecord(record, partition);
    if (fatal_.has_value()) break;  // rejects: stop; the position stays at this record
    partition.read = stream::Position{record.offset + 1, record.leader_epoch, record.timestamp_ms};
    bytes += record.value.has_value() ? record.value->size() : 0;
    ++count;
  }
  if (!fatal_.has_value()) {
    for (const stream::PartitionPosition& moved : chunk.positions()) {
      Partition& partition = Of(moved.partition);
      if (!partition.owned || partition.releasing || !partition.trouble.empty()) continue;
      if (moved.position.offset <= partition.read.offset) continue;
      partition.read.offset = moved.position.offset;
      if (moved.position.leader_epoch >= 0) partition.read.leader_epoch = moved.position.leader_epoch;
    }
  }
  if (count > 0) flushed_everything_ = false;
  counters_.records += count;
  counters_.bytes += bytes;
  metrics_.CountRecords(count, bytes);
  for (auto& sink : sinks_.all()) {
    if (sink->rows == nullptr) continue;
    if (sink->rows->row_count() >= kSlabRowsMax || sink->rows->bytes() >= kSlabBytesMax) sink->CutSlab();
    if (sink->decoder != nullptr) {
      metrics_.CountUnknownFields(sink->state.name(), sink->decoder->TakeUnknownFieldCounts());
    }
  }
  stages_.parse += ThreadCpuSeconds() - cpu_before;
}

void PipelineWorker::HandleRecord(const stream::Record& record, Partition& partition) {
  decode::Reject reject;
  Sink* sink = SinkFor(record, partition, reject);
  if (fatal_.has_value()) return;
  if (sink == nullptr) {
    RejectRecord(record, partition, reject, "", false);
    return;
  }
  if (record.partition < sink->skip_below.size() && record.offset < sink->skip_below[record.partition]) {
    bool detached = sink->skip_below[record.partition] == INT64_MAX;
    if (!detached && record.offset < partition.in_doubt_below) {
      reject.code = decode::RejectCode::kRulesChanged;
      reject.message =
          "the routing rules were changed across a restart; under the old rules this record may have gone to "
          "another table";
      RejectRecord(record, partition, reject, sink->state.name(), false);
      return;
    }
    ++counters_.skipped;
    // The table has its row; but the worker that gave it may have died before the rejects of that batch were committed.
    bool owed = !detached && RejectStillOwed(record, partition);
    if (owed && !DecodeRow(record, partition, *sink, sink->ScratchRows(), reject)) {
      RejectRecord(record, partition, reject, sink->state.name(), false);
    }
    return;
  }
  if (DecodeRow(record, partition, *sink, *sink->rows, reject)) {
    if (++rows_decoded_since_check_ % kSlabCheckRows == 0 &&
        (sink->rows->row_count() >= kSlabRowsMax || sink->rows->bytes() >= kSlabBytesMax)) {
      sink->CutSlab();
    }
    return;
  }
  // Below the home's mark only a table that catches up takes part; its rejects were not written when main passed by.
  RejectRecord(record, partition, reject, sink->state.name(), record.offset < partition.home_offset);
}

bool PipelineWorker::DecodeRow(const stream::Record& record, const Partition& partition, Sink& sink,
                               columnar::RowBuilder& rows, decode::Reject& reject) {
  if (!record.value.has_value()) {
    reject.code = decode::RejectCode::kTombstone;
    reject.message = "a tombstone has no row to make; upserts are not built";
    return false;
  }
  if (record.value->empty()) {
    reject.code = decode::RejectCode::kEmptyValue;
    reject.message = "the value has no bytes";
    return false;
  }
  return sink.decoder->Decode(record, partition.name, rows, reject);
}

// Of a record whose table is ahead: would its reject, if it is one, still have to be written or counted?
bool PipelineWorker::RejectStillOwed(const stream::Record& record, const Partition& partition) {
  if (options_.reject_policy != RejectPolicy::kTable) return record.offset >= partition.home_offset;
  Sink* rejects = sinks_.Find(options_.rejects_table);
  return rejects != nullptr && rejects->open && record.partition < rejects->skip_below.size() &&
         record.offset >= rejects->skip_below[record.partition];
}

Sink* PipelineWorker::SinkFor(const stream::Record& record, Partition& partition, decode::Reject& reject) {
  if (router_->by_topic_only()) {
    if (route_by_partition_.size() <= record.partition) route_by_partition_.resize(record.partition + 1, nullptr);
    if (Sink* known = route_by_partition_[record.partition]) return known;
  }
  if (!router_->RouteRecord(record, partition.name.topic, route_, reject)) return nullptr;
  const TableRule& rule = options_.tables[route_.rule];
  Sink* sink = OpenedSink(rule.is_template() ? route_.table : rule.name, &rule, reject);
  if (sink != nullptr && router_->by_topic_only()) route_by_partition_[record.partition] = sink;
  return sink;
}

Sink* PipelineWorker::OpenedSink(const std::string& table, const TableRule* rule, decode::Reject& reject) {
  Sink* sink = sinks_.Find(table);
  if (sink != nullptr && (sink->open || sink->hold)) return sink;
  if (sink == nullptr) {
    Result<Sink*> made = sinks_.FindOrMake(table, rule);
    if (!made.has_value()) {
      reject.code = decode::RejectCode::kNoRoute;
      reject.message = made.error().message();
      return nullptr;
    }
    sink = *made;
  }
  if (!sink->closed_reason.empty()) {  // was tried before in this assignment
    reject.code = decode::RejectCode::kNoRoute;
    reject.message = sink->closed_reason;
    return nullptr;
  }
  Status opened = RetryTransient(fmt::format("opening table '{}'", table), [&] { return sinks_.Open(*sink, stop_); });
  if (!opened.has_value()) {
    if (opened.error().code() == ErrorCode::kCancelled) {
      fatal_ = std::move(opened.error());
      return nullptr;
    }
    LogError("table cannot be used; its records go to the rejects", {{"table", table}, {"error", opened.error()}});
    sink->closed_reason = opened.error().message();
    reject.code = decode::RejectCode::kNoRoute;
    reject.message = sink->closed_reason;
    return nullptr;
  }
  if (sink->hold) {
    Status detached = DetachSink(*sink, sink->closed_reason, true);
    if (!detached.has_value()) {
      fatal_ = std::move(detached.error());
      return nullptr;
    }
  }
  // New to this worker: it takes part from its own positions on; one that has to catch up needs an earlier start.
  const PositionsMap home_map = home_.map();
  for (size_t i = 0; i < partitions_.size(); ++i) {
    SetSkip(*sink, static_cast<stream::PartitionIndex>(i), home_map);
    bool detached = home_map.home.has_value() && partitions_[i].owned &&
                    home_map.home->FindDetached(table, partitions_[i].key) != nullptr;
    if (detached && sink->open && sink->skip_below[i] != INT64_MAX) {
      reset_wanted_ = true;
      reset_reason_ = fmt::format("table '{}' catches up", table);
    }
  }
  return sink;
}

void PipelineWorker::RejectRecord(const stream::Record& record, const Partition& partition,
                                  const decode::Reject& reject, const std::string& intended_table, bool catching_up) {
  if (options_.reject_policy == RejectPolicy::kDrop) {
    ++counters_.dropped;
    ++dropped_[std::string(decode::RejectCodeName(reject.code))];
    metrics_.CountReject(reject.code, true);
    return;
  }
  if (options_.reject_policy == RejectPolicy::kStop) {
    fatal_ = Error(ErrorCode::kInvalidInput, fmt::format("stopped by 'rejects.policy: stop' at {}/{} offset {}: {}: {}",
                                                         partition.name.topic, partition.name.partition, record.offset,
                                                         decode::RejectCodeName(reject.code), reject.message));
    return;
  }
  Sink* sink = sinks_.Find(options_.rejects_table);
  if (sink == nullptr || !sink->open) {
    fatal_ = Error(ErrorCode::kUnavailable,
                   fmt::format("a record has to be rejected, but the rejects table is detached; mend it, then 'firn "
                               "positions resume': {}/{} offset {}: table '{}'",
                               partition.name.topic, partition.name.partition, record.offset, options_.rejects_table));
    return;
  }
  if (!catching_up && record.partition < sink->skip_below.size() &&
      record.offset < sink->skip_below[record.partition]) {
    ++counters_.skipped;
    return;
  }
  sink->rejects->Append(*sink->rows, record, partition.name, reject, intended_table, deps_.clock.WallMs());
  metrics_.CountReject(reject.code, false);
  if (sink->rows->row_count() >= kSlabRowsMax) sink->CutSlab();
}

}  // namespace firn::ingest
