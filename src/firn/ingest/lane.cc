#include "firn/ingest/lane.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "firn/base/check.h"
#include "firn/base/log.h"

namespace firn::ingest {
namespace {

constexpr int64_t kPollMs = 100;
constexpr int64_t kQueryTimeoutMs = 10'000;
// The last stretch must be this short: main reads again what came while it was run and committed.
constexpr int64_t kLastStretchMs = 1'000;
// Without a record for so long, though there are some, the lane makes room for another one.
constexpr int64_t kStalledMs = 60'000;
constexpr int64_t kLaneQueueShareOfMemory = 128;

Error Stopped() {
  return Error(ErrorCode::kCancelled, "the lane was stopped");
}

}  // namespace

Lane::Lane(const PipelineOptions& options, const WorkerDependencies& dependencies, Home& home, MapCommitter& committer,
           WorkerMetrics& metrics, LaneRequest request, std::function<void()> on_end)
    : options_(options),
      deps_(dependencies),
      home_(home),
      committer_(committer),
      metrics_(metrics),
      request_(std::move(request)),
      on_end_(std::move(on_end)),
      memory_(options.memory_limit_bytes / kLaneShareOfMemory),
      spill_(nullptr, 0),
      sinks_(options, home, committer, metrics, memory_, spill_),
      batch_committer_(options, home, committer, dependencies.threads),
      monitor_(dependencies.threads.MakeMonitor()) {
  for (const LanePartition& partition : request_.partitions) goals_.push_back(partition.goal);
}

Lane::~Lane() {
  Join();
}

void Lane::Start() {
  started_ms_ = deps_.clock.BootMs();
  thread_ = deps_.threads.Start("firn-lane", [this](std::stop_token stop) {
    LaneEnd end = Run(stop);
    {
      std::lock_guard lock(*monitor_);
      end_ = std::move(end);
    }
    on_end_();
  });
}

void Lane::Stop() {
  stopping_ = true;
  if (thread_ != nullptr) thread_->RequestStop();
}

void Lane::Join() {
  thread_.reset();
}

void Lane::SetGoals(const std::vector<int64_t>& goals) {
  std::lock_guard lock(*monitor_);
  goals_ = goals;
}

LaneProgress Lane::TakeProgress() {
  std::lock_guard lock(*monitor_);
  return std::exchange(progress_, {});
}

std::optional<LaneEnd> Lane::TakeEnd() {
  std::lock_guard lock(*monitor_);
  return std::exchange(end_, std::nullopt);
}

LaneEnd Lane::Run(std::stop_token stop) {
  Status status = CatchUp(stop);
  source_.reset();
  LaneEnd end;
  end.held = held_;
  end.blocked_by = blocked_by_;
  if (status.has_value()) {
    end.kind = LaneEnd::Kind::kCaughtUp;
    for (const At& at : at_) {
      end.partitions.push_back(
          {at.partition.index, at.partition.since_ms, at.believed, at.read, at.rejected_below, at.rejected});
    }
    return end;
  }
  end.reason = status.error().ToString();
  end.error = std::move(status.error());
  end.kind = end.error->code() == ErrorCode::kCancelled || stop.stop_requested() ? LaneEnd::Kind::kStopped
                                                                                  : failure_kind_;
  return end;
}

Status Lane::CatchUp(std::stop_token stop) {
  FIRN_TRY(Open(stop));
  FIRN_TRY(HoldWhatRetentionOvertook(stop));
  TakeGoals();
  int64_t stretch_ms = deps_.clock.BootMs();
  batch_started_ms_ = moved_ms_ = stretch_ms;
  for (;;) {
    if (stop.stop_requested()) return std::unexpected<Error>(Stopped());
    if (Reached()) {
      const bool short_stretch = deps_.clock.BootMs() - stretch_ms <= kLastStretchMs;
      TakeGoals();
      if (short_stretch || Reached()) break;
      stretch_ms = deps_.clock.BootMs();
    }
    if (source_ == nullptr) FIRN_TRY(OpenSource());
    FIRN_ASSIGN(stream::SourceEvent event, source_->Poll(kPollMs));
    FIRN_TRY(HandleEvent(std::move(event), stop));
    ReadOnWhereMainHas();
    if (CommitDue()) FIRN_TRY(Commit(stop));
    if (deps_.clock.BootMs() - moved_ms_ > kStalledMs) {
      return Fail(ErrorCode::kTimeout, fmt::format("no record came for {} s", kStalledMs / 1000));
    }
  }
  return Commit(stop);
}

// Whoever waits at a record that main has met by now is read again from there.
void Lane::ReadOnWhereMainHas() {
  std::vector<int64_t> goals;
  {
    std::lock_guard lock(*monitor_);
    goals = goals_;
  }
  for (At& at : at_) {
    if (!at.waits || goals[at.number] <= at.read.offset) continue;
    at.goal = goals[at.number];
    at.waits = false;
    unlisted_.clear();  // main may have listed any of them since
    source_.reset();
  }
}

Status Lane::OpenSource() {
  std::vector<stream::PartitionPosition> start;
  for (const At& at : at_) start.push_back({at.partition.index, at.read});
  FIRN_ASSIGN(source_, deps_.source.OpenLane(start, options_.memory_limit_bytes / kLaneQueueShareOfMemory));
  return {};
}

// The table as it stands, and where each partition is read from: where the rows end, or, should a worker have died
// between a table's commit and its rejects, where the rejects end.
Status Lane::Open(std::stop_token stop) {
  FIRN_ASSIGN(router_, Router::Create(options_.tables));
  FIRN_ASSIGN(target_, sinks_.FindOrMake(request_.table, request_.rule));
  FIRN_TRY(sinks_.Open(*target_, stop));
  if (!target_->open) {
    // Its history was changed: a person decides.
    std::vector<DetachedEntry> entries;
    for (const LanePartition& each : request_.partitions) {
      entries.push_back(DetachedEntry{request_.table, each.key, each.name.topic, target_->closed_reason,
                                      deps_.clock.WallMs(), true, each.rejected_below});
    }
    FIRN_ASSIGN(MapCommitResult edited, home_.Detach(entries, options_.rejects_table, stop));
    FIRN_TRY(RequireDone(edited, home_.name()));
    held_ = true;
    return Fail(ErrorCode::kInvalidInput, target_->closed_reason);
  }
  if (!target_->is_rejects() && options_.reject_policy == RejectPolicy::kTable) {
    FIRN_ASSIGN(rejects_, sinks_.Rejects());
    FIRN_TRY(sinks_.Open(*rejects_, stop));
    if (!rejects_->open) {
      blocked_by_ = options_.rejects_table;
      return Fail(ErrorCode::kUnavailable, rejects_->closed_reason);
    }
  }
  // After the tables: what the home says of their rejects is then no older than what they say themselves.
  FIRN_TRY(home_.Reload());
  home_map_ = home_.map();
  for (const LanePartition& partition : request_.partitions) {
    const DetachedEntry* entry = home_map_.home->FindDetached(request_.table, partition.key);
    if (entry != nullptr && entry->since_ms == partition.since_ms) continue;
    failure_kind_ = LaneEnd::Kind::kForgotten;
    return Fail(ErrorCode::kConflict, "somebody else has changed what the home says of the table");
  }
  const PositionsMap map = *target_->state.map();
  const PositionsMap rejects_map = writes_rejects() ? *rejects_->state.map() : PositionsMap();
  for (const LanePartition& partition : request_.partitions) {
    At at;
    at.partition = partition;
    at.number = at_.size();
    if (auto mark = map.marks.find(partition.key); mark != map.marks.end()) at.read = mark->second.position;
    at.believed = at.read.offset;
    const DetachedEntry* entry = home_map_.home->FindDetached(request_.table, partition.key);
    if (entry->home_offset > at.read.offset) at.read = stream::Position{entry->home_offset, -1, -1};
    at.has_rows_below = at.read.offset;
    at.doubt_from = std::max<int64_t>(0, entry->home_offset);
    at.doubt_below = entry->home_offset < 0 ? 0 : OffsetOf(home_map_.home->cut, partition.key).value_or(0);
    at.rejected = RejectedMark(rejects_map.rejected, request_.table, partition.key);
    const int64_t marked =
        at.rejected == kNoMark ? OffsetOf(rejects_map.marks, partition.key).value_or(0) : at.rejected;
    at.rejected_below = std::max(partition.rejected_below, marked);
    if (writes_rejects() && at.rejected_below < at.read.offset) at.read = stream::Position{at.rejected_below, -1, -1};
    at.epoch_seen = at.read.leader_epoch;
    LogInfo("lane: a table catches up", {{"table", request_.table},
                                         {"topic", partition.name.topic},
                                         {"partition", partition.name.partition},
                                         {"from", at.read.offset},
                                         {"to", partition.goal}});
    at_.push_back(std::move(at));
  }
  return {};
}

// What lies below a log's start can never be read: the table is held for that partition.
Status Lane::HoldWhatRetentionOvertook(std::stop_token stop) {
  std::vector<DetachedEntry> held;
  for (At& at : at_) {
    const int64_t has_rows_below = std::max(at.has_rows_below, at.believed);
    if (at.read.offset >= std::max(at.goal, at.partition.goal) && at.read.offset >= at.believed) continue;
    FIRN_ASSIGN(stream::Watermarks watermarks, deps_.source.QueryWatermarks(at.partition.name, kQueryTimeoutMs));
    if (at.read.offset >= watermarks.start) continue;
    if (has_rows_below >= watermarks.start && has_rows_below > at.read.offset) {
      // Only for rejects of a worker that died was it to be read from so far below.
      at.read = stream::Position{std::min(has_rows_below, watermarks.start), -1, -1};
      continue;
    }
    const std::string reason = fmt::format(
        "retention has removed records that the table still needs, offsets {} to {} of {}/{}; give them up with 'firn "
        "positions set --table'",
        at.read.offset, watermarks.start, at.partition.name.topic, at.partition.name.partition);
    LogError("table cannot catch up", {{"table", request_.table}, {"reason", reason}});
    held.push_back(DetachedEntry{request_.table, at.partition.key, at.partition.name.topic, reason,
                                 deps_.clock.WallMs(), true, at.rejected_below});
    at.reads = false;
  }
  if (held.empty()) return {};
  FIRN_ASSIGN(MapCommitResult edited, home_.Detach(held, options_.rejects_table, stop));
  FIRN_TRY(RequireDone(edited, home_.name()));
  held_ = true;
  std::erase_if(at_, [](const At& at) { return !at.reads; });
  return {};
}

void Lane::TakeGoals() {
  std::lock_guard lock(*monitor_);
  for (At& at : at_) at.goal = goals_[at.number];
  unlisted_.clear();  // main may have listed any of them since
}

bool Lane::Reached() const {
  return std::ranges::all_of(at_, [](const At& at) { return at.read.offset >= std::max(at.goal, at.believed); });
}

Lane::At* Lane::Find(stream::PartitionIndex index) {
  auto found = std::ranges::find_if(at_, [&](const At& at) { return at.partition.index == index; });
  return found == at_.end() ? nullptr : &*found;
}

Status Lane::HandleEvent(stream::SourceEvent event, std::stop_token stop) {
  if (auto* chunk = std::get_if<std::unique_ptr<stream::RecordChunk>>(&event)) return HandleChunk(**chunk, stop);
  if (auto* trouble = std::get_if<stream::PartitionTrouble>(&event)) return OnTrouble(*trouble, stop);
  if (auto* trouble = std::get_if<stream::SourceTrouble>(&event)) {
    const ErrorCode code = trouble->error.code();
    if (code == ErrorCode::kInvalidInput || code == ErrorCode::kUnauthorized || code == ErrorCode::kUnsupported) {
      return std::unexpected<Error>(std::move(trouble->error));
    }
  }
  return {};
}

// What was read before it is good and is committed. Then it is retention, or nothing that the lane can mend.
Status Lane::OnTrouble(const stream::PartitionTrouble& trouble, std::stop_token stop) {
  At* at = Find(trouble.partition);
  if (at == nullptr) return {};
  FIRN_TRY(Commit(stop));
  FIRN_TRY(HoldWhatRetentionOvertook(stop));
  at = Find(trouble.partition);
  if (at == nullptr) return {};
  if (at_.size() == 1) return std::unexpected<Error>(trouble.error);
  // The others need not wait for a partition that may never be read again.
  LogWarning("lane: a partition cannot be read; the table's others go on", {{"table", request_.table},
                                                                            {"topic", at->partition.name.topic},
                                                                            {"partition", at->partition.name.partition},
                                                                            {"reason", trouble.error.ToString()}});
  std::erase_if(at_, [&](const At& each) { return each.partition.index == trouble.partition; });
  return {};
}

Status Lane::HandleChunk(const stream::RecordChunk& chunk, std::stop_token stop) {
  moved_ms_ = deps_.clock.BootMs();
  uint64_t records = 0;
  uint64_t bytes_since_look = 0;
  std::vector<stream::PartitionTrouble> troubles;
  At* at = nullptr;
  for (const stream::Record& record : chunk.records()) {
    if (at == nullptr || at->partition.index != record.partition) at = Find(record.partition);
    if (at == nullptr || !at->reads || at->waits || record.offset < at->read.offset) continue;
    if (record.leader_epoch >= 0 && record.leader_epoch < at->epoch_seen) {
      at->reads = false;
      troubles.push_back({at->partition.index,
                          Error(ErrorCode::kConflict,
                                fmt::format("the log of {}/{} was truncated below the table's position and has grown "
                                            "again: leader epoch {} follows {} at offset {}",
                                            at->partition.name.topic, at->partition.name.partition,
                                            record.leader_epoch, at->epoch_seen, record.offset))});
      continue;
    }
    FIRN_TRY(HandleRecord(record, *at));
    if (at->waits) {
      // Between what was read and this record there is none: main may stand there, and is not to be waited for.
      at->read.offset = record.offset;
      at->read.leader_epoch = -1;
      continue;
    }
    if (stopped_by_reject_.has_value()) break;  // the position stays at this record
    at->read = stream::Position{record.offset + 1, record.leader_epoch, record.timestamp_ms};
    at->epoch_seen = std::max(at->epoch_seen, record.leader_epoch);
    ++records;
    bytes_since_look += record.value.has_value() ? record.value->size() : 0;
    if (bytes_since_look < kBytesBetweenLooks) continue;
    bytes_since_look = 0;
    sinks_.PackFullSlabs();
  }
  sinks_.PackFullSlabs();
  for (const stream::PartitionPosition& moved : chunk.positions()) {
    At* of = Find(moved.partition);
    if (stopped_by_reject_.has_value() || of == nullptr || !of->reads || of->waits) continue;
    if (moved.position.offset <= of->read.offset) continue;
    of->read.offset = moved.position.offset;
    of->read.leader_epoch = moved.position.leader_epoch;
    of->epoch_seen = std::max(of->epoch_seen, moved.position.leader_epoch);
  }
  if (target_->decoder != nullptr) {
    metrics_.CountUnknownFields(request_.table, target_->decoder->TakeUnknownFieldCounts());
  }
  {
    std::lock_guard lock(*monitor_);
    progress_.records += records;
  }
  for (const stream::PartitionTrouble& trouble : troubles) FIRN_TRY(OnTrouble(trouble, stop));
  return {};
}

Status Lane::HandleRecord(const stream::Record& record, At& at) {
  if (target_->is_rejects()) return HandleForRejects(record, at);
  decode::Reject reject;
  if (!at.is_routed_here.value_or(false)) {
    if (at.is_routed_here.has_value()) return {};
    const bool here = RouteToTable(*router_, options_.tables, record, at.partition.name.topic, route_, reject) &&
                      route_.table == request_.table;
    if (router_->by_topic_only()) at.is_routed_here = here;
    if (!here) return {};
  }
  const bool has_row = record.offset < std::max(at.believed, at.has_rows_below);
  const bool has_reject = record.offset < at.rejected_below;
  if (has_row && has_reject) return {};
  if (has_row && record.offset >= at.doubt_from && record.offset < at.doubt_below) {
    return RejectRecord(record, at, RulesChangedReject(), request_.table);
  }
  if (DecodeRow(record, at.partition.name, *target_, has_row ? target_->ScratchRows() : *target_->rows, reject)) {
    return {};
  }
  return has_reject ? Status() : RejectRecord(record, at, reject, request_.table);
}

// The rejects table catches up: what main left out while it was detached, of all tables that were not. Those that were
// have lanes that write their rejects.
Status Lane::HandleForRejects(const stream::Record& record, At& at) {
  if (record.offset < at.believed) return {};
  decode::Reject reject;
  if (RouteToTable(*router_, options_.tables, record, at.partition.name.topic, route_, reject)) {
    at.waits = MustWait(record, at);
    return at.waits ? Status() : DecodeForRejects(record, at);
  }
  return RejectRecord(record, at, reject, route_.table);
}

Status Lane::DecodeForRejects(const stream::Record& record, At& at) {
  const std::string table = route_.table;
  decode::Reject reject;
  if (home_map_.home->FindDetached(table, at.partition.key) != nullptr) return {};
  if (record.offset < target_->state.RejectedOf(table, at.partition.key)) return {};
  if (home_map_.home->Find(table) == nullptr) {
    FIRN_TRY(RequireUnlisted(table));
    reject.code = decode::RejectCode::kNoRoute;
    reject.message = "the table could not be used";
    return RejectRecord(record, at, reject, table);
  }
  FIRN_ASSIGN(Sink * sink, sinks_.FindOrMake(table, &options_.tables[route_.rule]));
  if (!sink->open) {
    blocked_by_ = table;
    FIRN_TRY(sinks_.Open(*sink, {}));
    if (!sink->open) return Fail(ErrorCode::kUnavailable, sink->closed_reason);
  }
  blocked_by_.clear();
  if (DecodeRow(record, at.partition.name, *sink, sink->ScratchRows(), reject)) return {};
  return RejectRecord(record, at, reject, table);
}

// Main has not met the record: what it will find of a table that this lane does not hold open cannot be told before.
bool Lane::MustWait(const stream::Record& record, const At& at) {
  if (record.offset < at.goal) return false;
  if (home_map_.home->FindDetached(route_.table, at.partition.key) != nullptr) return false;  // it has its own lane
  const Sink* sink = sinks_.Find(route_.table);
  return sink == nullptr || !sink->open;
}

// Main may have met the table after this lane began, and may have made it: then the lane begins again.
Status Lane::RequireUnlisted(const std::string& table) {
  if (!unlisted_.insert(table).second) return {};
  FIRN_TRY(home_.Reload());
  if (home_.shared_map()->home->Find(table) == nullptr) return {};
  failure_kind_ = LaneEnd::Kind::kForgotten;
  return Fail(ErrorCode::kConflict, fmt::format("the home lists a table that is new to this lane: '{}'", table));
}

Status Lane::RejectRecord(const stream::Record& record, const At& at, const decode::Reject& reject,
                          const std::string& intended_table) {
  switch (options_.reject_policy) {
    case RejectPolicy::kDrop: ++dropped_[std::string(decode::RejectCodeName(reject.code))]; break;
    case RejectPolicy::kStop: stopped_by_reject_ = StoppedByReject(record, at.partition.name, reject); return {};
    case RejectPolicy::kTable: {
      Sink& sink = rejects_ == nullptr ? *target_ : *rejects_;
      AppendReject(sink, record, at.partition.name, reject, intended_table, deps_.clock.WallMs());
    }
  }
  metrics_.CountReject(reject.code, options_.reject_policy == RejectPolicy::kDrop);
  return {};
}

int64_t Lane::buffered_rows() const {
  return target_->buffered_rows() + (rejects_ == nullptr ? 0 : rejects_->buffered_rows());
}

bool Lane::CommitDue() const {
  if (stopped_by_reject_.has_value()) return true;
  const int64_t bytes = target_->buffered_bytes() + (rejects_ == nullptr ? 0 : rejects_->buffered_bytes());
  if (bytes >= options_.commit_bytes_max || sinks_.full()) return true;
  if (buffered_rows() >= options_.commit_rows_max) return true;
  const int64_t waited_ms = deps_.clock.BootMs() - batch_started_ms_;
  if (buffered_rows() > 0) return waited_ms >= options_.commit_interval_ms;
  // Without rows the position alone, so that a restart does not begin at the beginning.
  return waited_ms >= std::max(options_.commit_interval_ms, options_.checkpoint_interval_ms) &&
         std::ranges::any_of(at_, [](const At& at) { return at.read.offset > at.believed; });
}

// The rejects first, with their mark: when the rows' commit does not follow, the mark says that they are there.
Batch Lane::Freeze(bool& claims_rows, bool& claims_rejects) {
  Batch batch;
  batch.lane_of = request_.table;
  Claims claims;
  Claims rejected;
  for (const At& at : at_) {
    const std::string& topic = at.partition.name.topic;
    batch.home_claims[at.partition.key] = Claim{at.believed, at.read, topic};
    if (at.read.offset > at.believed) claims[at.partition.key] = Claim{at.believed, at.read, topic};
    if (at.read.offset > at.rejected) rejected[at.partition.key] = Claim{at.rejected, at.read, topic};
  }
  claims_rejects = writes_rejects() && rejects_->buffered_rows() > 0;
  if (claims_rejects) {
    TableBatch rejects = FreezeRows(*rejects_, {});
    rejects.history_policy = HistoryPolicyOf(options_, nullptr);
    rejects.rejected[request_.table] = std::move(rejected);
    batch.tables.push_back(std::move(rejects));
  }
  claims_rows = !claims.empty();
  if (claims_rows) {
    batch.tables.push_back(FreezeRows(*target_, std::move(claims)));
    batch.tables.back().history_policy = HistoryPolicyOf(options_, target_->rule);
    if (target_->is_rejects()) {
      for (const DetachedEntry& entry : home_map_.home->detached) {
        if (entry.table == request_.table) continue;  // it has no rejects of its own
        batch.tables.back().rejected_elsewhere[entry.table][entry.partition] = entry.rejected_below;
      }
    }
  }
  FIRN_CHECK(buffered_rows() == 0, "rows of a lane without a claim on the positions they came from");
  return batch;
}

Status Lane::Commit(std::stop_token stop) {
  batch_started_ms_ = deps_.clock.BootMs();
  const bool dropped_only = buffered_rows() == 0 && !dropped_.empty();
  const bool moved = std::ranges::any_of(at_, [](const At& at) { return at.read.offset > at.believed; });
  if (buffered_rows() > 0 || dropped_only || moved) {
    bool claims_rows = false;
    bool claims_rejects = false;
    Batch batch = Freeze(claims_rows, claims_rejects);
    BatchResult result = batch_committer_.Commit(std::move(batch), stop);
    FIRN_TRY(AfterCommit(std::move(result), claims_rows, claims_rejects, stop));
  }
  moved_ms_ = deps_.clock.BootMs();
  if (!stopped_by_reject_.has_value()) return {};
  failure_kind_ = LaneEnd::Kind::kFatal;
  return std::unexpected<Error>(*stopped_by_reject_);
}

Status Lane::AfterCommit(BatchResult result, bool claimed_rows, bool claimed_rejects, std::stop_token stop) {
  const BatchResult::Kind kind = result.kind;
  const std::string reason = result.reason;
  std::optional<Error> error = result.error;
  {
    std::lock_guard lock(*monitor_);
    progress_.batches.push_back(std::move(result));
  }
  switch (kind) {
    case BatchResult::Kind::kDone: break;
    case BatchResult::Kind::kForget:
      if (stop.stop_requested()) return std::unexpected<Error>(Stopped());
      failure_kind_ = LaneEnd::Kind::kForgotten;
      return Fail(ErrorCode::kConflict, reason);
    case BatchResult::Kind::kFailed: return Fail(ErrorCode::kUnavailable, reason);
    case BatchResult::Kind::kStop: failure_kind_ = LaneEnd::Kind::kFatal; return std::unexpected<Error>(*error);
  }
  FIRN_TRY(sinks_.RefreshPlan(*target_));
  if (rejects_ != nullptr) FIRN_TRY(sinks_.RefreshPlan(*rejects_));
  std::lock_guard lock(*monitor_);
  for (At& at : at_) {
    if (claimed_rows) at.believed = std::max(at.believed, at.read.offset);
    if (claimed_rejects) at.rejected = std::max(at.rejected, at.read.offset);
    at.rejected_below = std::max(at.rejected_below, at.read.offset);
    progress_.committed.push_back(
        {at.partition.index, at.partition.since_ms, at.believed, at.read, at.rejected_below, at.rejected});
  }
  for (const auto& [code, count] : std::exchange(dropped_, {})) progress_.dropped[code] += count;
  return {};
}

}  // namespace firn::ingest
