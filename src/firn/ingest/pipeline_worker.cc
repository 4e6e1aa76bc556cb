// PipelineWorker, the loop: events in, batches frozen and handed over, results taken back.
#include "firn/ingest/pipeline_worker.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <utility>

#include "firn/base/check.h"
#include "firn/base/log.h"
#include "firn/ingest/table_intake.h"

namespace firn::ingest {
namespace {

constexpr int64_t kLoopMs = 50;
constexpr int64_t kStatusMs = 100;
constexpr int64_t kShareMs = 5'000;
constexpr int64_t kHandOverWaitMs = 200;
constexpr int64_t kTrimFileBytesMin = 1 << 20;
constexpr int64_t kOthersAskedMs = 2'000;
constexpr int64_t kMismatchWindowMs = 600'000;
constexpr size_t kMismatchesMax = 3;
constexpr int64_t kMismatchBackoffMs = 30'000;
constexpr int64_t kIntervalsInMaxAge = 5;  // DESIGN 4: an interval that runs late must not age its files out
constexpr int64_t kPaceToldFraction = 5;   // a change of the interval by less than a fifth is not told

// Roughly what a table's metadata holds in memory: long are its snapshots and, with many source partitions, positions.
int64_t MetadataBytes(const iceberg::TableMetadata& metadata) {
  constexpr int64_t kSnapshotBytes = 2 << 10;
  constexpr int64_t kEntryBytes = 128;
  int64_t bytes = static_cast<int64_t>(metadata.snapshots.size()) * kSnapshotBytes;
  bytes += static_cast<int64_t>(metadata.snapshot_log.size() + metadata.metadata_log.size()) * kEntryBytes;
  for (const schema::Schema& schema : metadata.schemas)
    bytes += static_cast<int64_t>(schema.fields.size()) * kEntryBytes;
  for (const auto& [key, value] : metadata.properties)
    bytes += static_cast<int64_t>(key.size() + value.size()) + kEntryBytes;
  return bytes;
}

template <typename... Handlers>
struct Overloaded : Handlers... {
  using Handlers::operator()...;
};

}  // namespace

Result<std::unique_ptr<Worker>> Worker::Create(PipelineOptions options, WorkerDependencies dependencies) {
  if (kIntervalsInMaxAge * options.commit_interval_ms > options.commit_max_age_ms) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("commit.max_age must be at least five times commit.interval: {} ms and {} ms",
                            options.commit_max_age_ms, options.commit_interval_ms));
  }
  if (options.tables.empty()) return Fail(ErrorCode::kInvalidInput, "no table is configured; add one under 'tables'");
  FIRN_ASSIGN(std::unique_ptr<Router> router, Router::Create(options.tables));
  FIRN_TRY(iceberg::TableIdentifier::Parse(options.home_table));
  if (options.commit_bytes_max <= 0) options.commit_bytes_max = INT64_MAX;  // as much as there is room for
  return std::make_unique<PipelineWorker>(std::move(options), dependencies, std::move(router));
}

PipelineWorker::PipelineWorker(PipelineOptions options, WorkerDependencies dependencies, std::unique_ptr<Router> router)
    : options_(std::move(options)),
      deps_(dependencies),
      router_(std::move(router)),
      rules_hash_(RulesHash(options_.tables)),
      committer_(deps_.catalog, deps_.store, deps_.clock, deps_.random,
                 CommitterIdentity{options_.pipeline, options_.worker, options_.group_id, options_.expiry_grace_ms}),
      home_(committer_, iceberg::TableIdentifier::Parse(options_.home_table).value(), rules_hash_,
            dependencies.threads),
      memory_(options_.memory_limit_bytes),
      spill_(deps_.spill, options_.spill_bytes_max),
      sinks_(options_, home_, committer_, metrics_, memory_, spill_),
      batch_committer_(options_, home_, committer_, deps_.threads),
      poller_(deps_.source, static_cast<size_t>(memory_.fetched_bytes_max(MemoryUse::kQueue)), deps_.clock,
              deps_.threads),
      lag_(deps_.source, deps_.clock, deps_.threads),
      metrics_(deps_.metrics, options_.pipeline),
      handing_over_(deps_.threads.MakeMonitor()),
      lanes_(options_, deps_, home_, committer_, metrics_, [this] { poller_.Wake(); }) {}

PipelineWorker::~PipelineWorker() {
  commit_stop_.request_stop();
  std::lock_guard lock(*handing_over_);
  if (commit_thread_ != nullptr) commit_thread_->RequestStop();
  handing_over_->NotifyAll();
}

WorkerStatus PipelineWorker::status() const {
  std::lock_guard lock(status_mutex_);
  return status_;
}

PipelineShare PipelineWorker::share() const {
  std::lock_guard lock(status_mutex_);
  return share_;
}

Result<RunResult> PipelineWorker::Run(std::stop_token stop, bool until_caught_up) {
  stop_ = stop;
  until_caught_up_ = until_caught_up;
  Status opened = OpenHome();
  if (!opened.has_value()) {
    if (opened.error().code() == ErrorCode::kCancelled) return RunResult{};
    return std::unexpected<Error>(std::move(opened.error()));
  }
  commit_thread_ = deps_.threads.Start("firn-commit", [this](std::stop_token token) { CommitThread(token); });
  poller_.Start();
  lag_.Start();
  batch_started_ms_ = last_checkpoint_ms_ = deps_.clock.BootMs();
  UpdatePace();
  Status ended = Loop();
  lanes_.CancelAll();
  lanes_.Wait();
  TakeLaneProgress();
  PublishStatus();
  RunResult result;
  result.caught_up = until_caught_up && ended.has_value() && CaughtUp() && !stop.stop_requested();
  result.status = status();
  stages_.fetch = poller_.cpu_seconds();
  result.stages = stages_;
  if (!ended.has_value() && ended.error().code() != ErrorCode::kCancelled) {
    return std::unexpected<Error>(std::move(ended.error()));
  }
  return result;
}

Status PipelineWorker::Loop() {
  const int64_t loop_started_ms = deps_.clock.BootMs();
  for (;;) {
    bool room = DueBySize().empty() && !stopping_ && !reset_wanted_ && !fatal_.has_value() &&
                !(commit_in_flight_ && FlushWanted());
    FIRN_ASSIGN(std::optional<Poller::Polled> polled, poller_.Next(kLoopMs, room));
    if (polled.has_value()) FIRN_TRY(HandleEvent(std::move(*polled)));
    if (stop_.stop_requested() && !stopping_) {
      stopping_ = true;
      stop_deadline_ms_ = deps_.clock.BootMs() + options_.shutdown_deadline_ms;
      LogInfo("stopping: what is decoded is committed first", {{"rows", sinks_.buffered_rows()}});
      lanes_.CancelAll();
    }
    FIRN_TRY(TakeCommitResult());
    FIRN_TRY(ReleaseWhenFlushed());
    if (reset_wanted_ && !commit_in_flight_) {
      reset_wanted_ = false;
      FIRN_TRY(Reset(reset_reason_));
    }
    FIRN_TRY(TendLanes());
    MaybeFreeze();
    if (until_caught_up_) FIRN_TRY(WatchPartitionsOfOthers());
    PublishStatusWhenDue();
    if (FlushWanted() && !commit_in_flight_ && !reset_wanted_ && releasing_.empty() && flushed_everything_ &&
        NothingToFlush()) {
      if (fatal_.has_value()) return std::unexpected<Error>(*fatal_);
      if (stopping_ || CaughtUp()) return {};
    }
    FIRN_TRY(CheckDeadlines());
    if (until_caught_up_ && !assigned_once_ && deps_.clock.BootMs() - loop_started_ms > options_.give_up_after_ms) {
      return Fail(
          ErrorCode::kTimeout,
          fmt::format("no partition was assigned within {} s; does the topic exist, may group '{}' read it, does "
                      "another member of the group hold all partitions?",
                      options_.give_up_after_ms / 1000, options_.group_id));
    }
  }
}

Status PipelineWorker::CheckDeadlines() {
  const int64_t now_ms = deps_.clock.BootMs();
  if (stopping_ && now_ms > stop_deadline_ms_) {
    LogWarning("shutdown deadline is over; the rest is left to the next start", {{"rows", sinks_.buffered_rows()}});
    commit_stop_.request_stop();
    return Fail(ErrorCode::kCancelled, "shutdown deadline");
  }
  if (until_caught_up_ && assigned_once_) {
    for (const Partition& partition : partitions_) {
      if (!partition.owned || partition.trouble.empty()) continue;
      return Fail(ErrorCode::kUnavailable, fmt::format("partition {}/{} cannot be read: {}", partition.name.topic,
                                                       partition.name.partition, partition.trouble));
    }
  }
  return {};
}

Status PipelineWorker::HandleEvent(Poller::Polled polled) {
  return std::visit(
      Overloaded{
          [](stream::NothingYet&) -> Status { return {}; },
          [&](std::unique_ptr<stream::RecordChunk>& chunk) -> Status {
            HandleChunk(*chunk, polled.orders_done);
            return {};
          },
          [&](stream::PartitionsAssigned& assigned) { return OnAssigned(assigned); },
          [&](stream::PartitionsRevoked& revoked) -> Status {
            OnRevoked(revoked);
            return {};
          },
          [&](stream::PartitionsLost& lost) { return OnLost(lost); },
          [&](stream::PartitionTrouble& trouble) -> Status {
            Partition& partition = Of(trouble.partition);
            if (partition.started && polled.orders_done < partition.start_order) return {};  // of the reading before
            partition.trouble = trouble.error.ToString();
            LogError(
                "partition is paused for all tables; the rest goes on",
                {{"topic", partition.name.topic}, {"partition", partition.name.partition}, {"error", trouble.error}});
            return {};
          },
          [&](stream::SourceTrouble& trouble) -> Status {
            ErrorCode code = trouble.error.code();
            if (code == ErrorCode::kInvalidInput || code == ErrorCode::kUnauthorized ||
                code == ErrorCode::kUnsupported) {
              return std::unexpected<Error>(std::move(trouble.error));
            }
            LogWarning("source reports trouble, it goes on by itself", {{"error", trouble.error}});
            return {};
          },
      },
      polled.event);
}

Status PipelineWorker::OnAssigned(const stream::PartitionsAssigned& event) {
  // Opening tables reads their maps; a commit under way is about to change them.
  while (commit_in_flight_) {
    if (!deps_.clock.SleepMs(5, stop_)) return {};
    FIRN_TRY(TakeCommitResult());
    PublishStatusWhenDue();
  }
  assigned_once_ = true;
  mismatch_times_ms_.clear();
  for (stream::PartitionIndex index : event.partitions) {
    Partition& partition = Of(index);
    partition.owned = true;
    partition.releasing = false;
  }
  LogInfo("partitions assigned", {{"count", event.partitions.size()}, {"owned", Owned().size()}});
  last_share_ms_ = -1;
  FIRN_TRY(StartPartitions(event.partitions, false));
  ResetIfMovedByOthers(event.partitions);
  std::vector<std::pair<stream::PartitionIndex, stream::SourcePartition>> watched;
  for (stream::PartitionIndex index : Owned()) watched.emplace_back(index, partitions_[index].name);
  lag_.Watch(std::move(watched));
  flushed_everything_ = false;
  lanes_settled_ = false;
  lanes_changed_ = true;
  return {};
}

void PipelineWorker::OnRevoked(const stream::PartitionsRevoked& event) {
  LogInfo("partitions revoked: committed first, then let go", {{"count", event.partitions.size()}});
  for (stream::PartitionIndex index : event.partitions) {
    Of(index).releasing = true;
    releasing_.insert(index);
  }
  lanes_.Cancel(event.partitions);
  release_flush_started_ = false;
  release_deadline_ms_ = deps_.clock.BootMs() + options_.max_poll_interval_ms / 2;
}

Status PipelineWorker::OnLost(const stream::PartitionsLost& event) {
  LogWarning("partitions lost: the group's session is over", {{"count", event.partitions.size()}});
  for (stream::PartitionIndex index : event.partitions) {
    LetGo(index);
    releasing_.erase(index);
  }
  lanes_.Cancel(event.partitions);
  poller_.Release(event.partitions);
  ForgetBuffered();
  dropped_.clear();
  reset_wanted_ = true;
  reset_reason_ = "the group's session was lost";
  return {};
}

void PipelineWorker::LetGo(stream::PartitionIndex index) {
  Partition& partition = Of(index);
  partition.owned = false;
  partition.releasing = false;
  partition.started = false;
  partition.home_seen = partition.home_believed;
  last_share_ms_ = -1;
}

bool PipelineWorker::CaughtUp() const {
  if (!until_caught_up_ || !assigned_once_ || !lanes_settled_) return false;
  for (const Partition& partition : partitions_) {
    int64_t reached = partition.owned ? partition.read.offset : partition.home_seen;
    if (reached < partition.target_end) return false;
  }
  return true;
}

// Partitions that were ours and are somebody else's now count as caught up when their H says so.
Status PipelineWorker::WatchPartitionsOfOthers() {
  auto awaited = [](const Partition& partition) {
    return !partition.owned && partition.home_seen < partition.target_end;
  };
  const int64_t now_ms = deps_.clock.BootMs();
  if (std::ranges::none_of(partitions_, awaited)) {
    others_moved_ms_ = now_ms;
    return {};
  }
  if (now_ms - others_asked_ms_ < kOthersAskedMs || commit_in_flight_) return {};
  others_asked_ms_ = now_ms;
  Status reloaded = home_.Reload();
  if (!reloaded.has_value() && !IsTransient(reloaded.error().code())) return reloaded;
  const std::shared_ptr<const PositionsMap> home_seen = home_.shared_map();
  const PositionsMap& home_map = *home_seen;
  for (Partition& partition : partitions_) {
    if (!awaited(partition)) continue;
    int64_t stands = OffsetOf(home_map.marks, partition.key).value_or(0);
    if (stands > partition.home_seen) others_moved_ms_ = now_ms;
    partition.home_seen = std::max(partition.home_seen, stands);
  }
  const int64_t patience_ms = options_.give_up_after_ms + 2 * checkpoint_interval_ms_;
  if (now_ms - others_moved_ms_ <= patience_ms) return {};
  return Fail(ErrorCode::kTimeout,
              fmt::format("partitions went to another member of group '{}', which has not committed any of them for "
                          "{} s",
                          options_.group_id, patience_ms / 1000));
}

bool PipelineWorker::FlushWanted() const {
  return stopping_ || fatal_.has_value() || !releasing_.empty() || CaughtUp();
}

// Rejects that it still owes are main's while the rejects table takes part.
bool PipelineWorker::HasCaughtUp(const Sink& sink, stream::PartitionIndex index) const {
  if (!sink.taken_in(index)) return false;
  const Sink* rejects = sinks_.Find(options_.rejects_table);
  const bool has_all = rejects == nullptr || sink.is_rejects() || rejects->skip_below(index) != INT64_MAX;
  const Partition& partition = partitions_[index];
  return has_all && partition.read.offset >= std::max(partition.home_believed, sink.at[index].owed_below);
}

bool PipelineWorker::NothingToFlush() const {
  if (sinks_.buffered_rows() > 0 || !dropped_.empty() || !rejected_until_.empty()) return false;
  for (const auto& sink : sinks_.all()) {
    for (size_t i = 0; i < sink->at.size(); ++i) {
      const auto index = static_cast<stream::PartitionIndex>(i);
      if (partitions_[i].owned && HasCaughtUp(*sink, index)) return false;  // its entry can be taken off
    }
  }
  return std::ranges::none_of(partitions_, [](const Partition& partition) {
    return partition.started && partition.read.offset > partition.home_believed;
  });
}

std::string_view PipelineWorker::DueBySize() const {
  if (sinks_.buffered_rows() >= options_.commit_rows_max) return "rows";
  if (sinks_.buffered_bytes() >= options_.commit_bytes_max) return "bytes";
  return sinks_.full() ? "memory" : "";
}

void PipelineWorker::MaybeFreeze() {
  if (commit_in_flight_ || reset_wanted_) return;
  bool take_in = ReadyToTakeIn();
  if (take_in && sinks_.buffered_rows() == 0) {
    TakeIn();
    take_in = false;
  }
  const int64_t now_ms = deps_.clock.BootMs();
  bool flush = FlushWanted() && (!flushed_everything_ || !NothingToFlush());
  if (!releasing_.empty() && !release_flush_started_) flush = true;
  bool by_time = now_ms - batch_started_ms_ >= commit_interval_ms_;
  const std::string_view by_size = DueBySize();
  if (!flush && !by_time && by_size.empty() && !take_in) return;
  if (!flush && !by_time && !by_size.empty()) {
    metrics_.CountEarlyCommit(by_size);
    if (deps_.spill == nullptr && by_size == "memory" && !std::exchange(told_of_memory_, true)) {
      LogInfo("memory takes no more rows, commits come before their interval; set spill.dir or raise memory.limit",
              {{"memory_limit", options_.memory_limit_bytes}, {"interval_ms", commit_interval_ms_}});
    }
  }
  bool checkpoint = flush || now_ms - last_checkpoint_ms_ >= checkpoint_interval_ms_;
  if (!flush && sinks_.buffered_rows() == 0 && (!checkpoint || NothingToFlush())) {
    batch_started_ms_ = now_ms;
    return;
  }
  if (!releasing_.empty()) release_flush_started_ = true;
  Batch batch = Freeze(checkpoint);
  if (take_in) TakeIn();
  batch_started_ms_ = now_ms;
  commit_in_flight_ = true;
  flushed_everything_ = false;
  std::lock_guard lock(*handing_over_);
  batch_in_ = std::move(batch);
  handing_over_->NotifyAll();
}

Batch PipelineWorker::Freeze(bool checkpoint) {
  Batch batch;
  batch.checkpoint = checkpoint;
  if (until_caught_up_) batch.home_patience_ms = options_.give_up_after_ms;
  const std::shared_ptr<const PositionsMap> home_seen = home_.shared_map();
  const PositionsMap& home_map = *home_seen;
  bool complete = true;
  int64_t watermark_ms = INT64_MAX;
  in_flight_.clear();
  for (stream::PartitionIndex index : Owned()) {
    const Partition& partition = partitions_[index];
    Claim& claim = batch.home_claims[partition.key];
    claim = Claim{partition.home_believed, partition.read, partition.name.topic};
    // A partition that was sent back for a table does not move H back.
    auto mark = home_map.marks.find(partition.key);
    if (claim.to.offset < claim.from && mark != home_map.marks.end()) claim.to = mark->second.position;
    if (checkpoint) in_flight_.push_back({nullptr, index, claim.to.offset});
    std::optional<LagWatch::End> end = lag_.EndOf(index);
    int64_t reaches_ms = end.has_value() && partition.read.offset >= end->offset
                             ? std::max(end->asked_ms, partition.read.timestamp_ms)
                             : partition.read.timestamp_ms;
    complete &= reaches_ms >= 0;
    watermark_ms = std::min(watermark_ms, reaches_ms);
  }
  if (complete && !batch.home_claims.empty()) batch.watermark_ms = watermark_ms;
  if (checkpoint) batch.dropped = std::exchange(dropped_, {});
  for (const auto& [of, below] : std::exchange(rejected_until_, {})) {
    if (!checkpoint) rejected_until_[of] = below;
    if (checkpoint && partitions_[of.second].owned) {
      batch.rejected.push_back(
          {of.first, partitions_[of.second].key, below.since_ms, below.rejected_below, below.rows_below});
    }
  }

  in_flight_rejected_.clear();
  batch.rejects_cannot_wait = std::exchange(rejects_cannot_wait_, false);
  FreezeDetached(batch, home_map);
  const Sink* rejects = sinks_.Find(options_.rejects_table);
  for (auto& sink : sinks_.all()) {
    if (!sink->open) continue;
    Claims claims;
    Claims rejected_if_detached;
    std::set<PartitionKey> behind;
    std::vector<InFlight> claimed;
    for (stream::PartitionIndex index : Owned()) {
      const Partition& partition = partitions_[index];
      if (sink->skip_below(index) == INT64_MAX) {
        behind.insert(partition.key);
        continue;
      }
      const Sink::AtPartition& at = sink->at[index];
      if (at.believed < partition.read.offset) {
        claims[partition.key] = Claim{at.believed, partition.read, partition.name.topic};
        claimed.push_back({sink.get(), index, partition.read.offset});
      }
      const bool has_its_rejects = rejects != nullptr && rejects->skip_below(index) != INT64_MAX;
      if (has_its_rejects && partition.read.offset > at.rejected) {
        rejected_if_detached[partition.key] = Claim{at.rejected, partition.read, partition.name.topic};
      }
      if (HasCaughtUp(*sink, index)) batch.caught_up.push_back({sink->state.name(), partition.key, at.since_ms});
    }
    if (sink->buffered_rows() == 0) continue;
    FIRN_CHECK(!claims.empty() || sink->is_rejects(), "rows without a claim on the positions they came from");
    TableBatch table = FreezeRows(*sink, std::move(claims));
    table.history_policy = HistoryPolicyOf(options_, sink->rule);
    table.behind = std::move(behind);
    if (sink->is_rejects()) {
      FreezeRejected(table);
    } else {
      table.rejected_if_detached = std::move(rejected_if_detached);
    }
    in_flight_.insert(in_flight_.end(), claimed.begin(), claimed.end());
    batch.tables.push_back(std::move(table));
  }
  spill_.EndBatch();
  RefreshPlans();  // now that no row is buffered that was decoded by an older one
  return batch;
}

void PipelineWorker::RefreshPlans() {
  for (auto& sink : sinks_.all()) {
    if (!sink->open || sink->buffered_rows() > 0) continue;
    Status refreshed = sinks_.RefreshPlan(*sink);
    if (!refreshed.has_value()) {
      LogError("the table's new schema cannot be used, rows go on under the old one",
               {{"table", sink->state.name()}, {"error", refreshed.error()}});
    }
  }
}

void PipelineWorker::CommitThread(std::stop_token stop) {
  while (!stop.stop_requested()) {
    std::optional<Batch> batch;
    {
      std::unique_lock lock(*handing_over_);
      if (!batch_in_.has_value() && !stop.stop_requested()) handing_over_->WaitMs(kHandOverWaitMs);
      batch = std::exchange(batch_in_, std::nullopt);
    }
    if (!batch.has_value()) continue;
    BatchResult result = batch_committer_.Commit(std::move(*batch), commit_stop_.get_token());
    batch.reset();
    // What one batch has freed is not kept beside what the next one takes.
    if (result.file_bytes >= kTrimFileBytesMin) malloc_trim(0);
    {
      std::lock_guard lock(*handing_over_);
      batch_out_ = std::move(result);
    }
    poller_.Wake();
  }
}

Status PipelineWorker::TakeCommitResult() {
  if (!commit_in_flight_) return {};
  std::optional<BatchResult> result;
  {
    std::lock_guard lock(*handing_over_);
    result = std::exchange(batch_out_, std::nullopt);
  }
  if (!result.has_value()) return {};
  commit_in_flight_ = false;
  return AfterCommit(std::move(*result));
}

void PipelineWorker::CloseDetached(const BatchResult& result) {
  for (const BatchResult::Detached& detached : result.detached) {
    if (detached.hold) metrics_.CountHistoryChange(detached.table->name(), HistoryPolicy::kHold, 0, 0);
    for (auto& sink : sinks_.all()) {
      if (&sink->state != detached.table) continue;
      sink->Close(detached.reason, detached.hold);
      OnDetached(*sink);
      if (sink->is_rejects()) LetGoWhatWasTakenIn();
    }
  }
}

// The rejects that main had of them are gone with the rejects table: where they end its marks tell, and their lanes.
void PipelineWorker::LetGoWhatWasTakenIn() {
  for (auto& sink : sinks_.all()) {
    for (stream::PartitionIndex index : Owned()) {
      if (index >= sink->at.size() || sink->is_rejects() || !sink->taken_in(index)) continue;
      reset_wanted_ = !stopping_;
      reset_reason_ = fmt::format("the rejects table was detached while table '{}' caught up", sink->state.name());
    }
  }
}

void PipelineWorker::CountCommitted(const BatchResult& result) {
  metrics_.CountBatch(result);
  counters_.rows_committed += static_cast<uint64_t>(result.rows);
  counters_.rejects_committed += static_cast<uint64_t>(result.rejects);
  counters_.commits += static_cast<uint64_t>(result.commits);
  counters_.commit_conflicts += static_cast<uint64_t>(result.conflicts);
  counters_.data_files += static_cast<uint64_t>(result.files);
  counters_.data_file_bytes += static_cast<uint64_t>(result.file_bytes);
  stages_.group += result.times.group_cpu_s;
  stages_.encode += result.times.encode_cpu_s;
  stages_.upload += result.times.upload_cpu_s;
  stages_.commit += result.commit_cpu_s;
}

Status PipelineWorker::AfterCommit(BatchResult result) {
  CountCommitted(result);
  CloseDetached(result);
  if (result.kind == BatchResult::Kind::kStop) return std::unexpected<Error>(std::move(*result.error));
  if (result.kind == BatchResult::Kind::kForget) {
    reset_wanted_ = !stopping_;
    reset_reason_ = result.reason;
    if (result.rows_lost) metrics_.CountLostBatch();
    if (stopping_) return Fail(ErrorCode::kCancelled, result.reason);
    if (result.rows_lost || result.rejects_away) return {};
    metrics_.CountMismatch();
    const int64_t now_ms = deps_.clock.BootMs();
    mismatch_times_ms_.push_back(now_ms);
    std::erase_if(mismatch_times_ms_, [&](int64_t at) { return now_ms - at > kMismatchWindowMs; });
    if (mismatch_times_ms_.size() >= kMismatchesMax) {
      LogError(
          "positions were moved by somebody else again and again; does another process run this pipeline outside of "
          "the consumer group?",
          {{"pipeline", options_.pipeline}, {"group", options_.group_id}, {"reason", result.reason}});
      deps_.clock.SleepMs(kMismatchBackoffMs, stop_);
      mismatch_times_ms_.clear();
    }
    return {};
  }
  for (const InFlight& done : in_flight_) {
    if (done.sink == nullptr) {
      if (result.home_moved) partitions_[done.partition].home_believed = done.to;
    } else if (done.sink->open) {
      done.sink->at[done.partition].believed = done.to;
    }
  }
  const Sink* rejects = sinks_.Find(options_.rejects_table);
  for (const auto& [sink, index] : std::exchange(in_flight_rejected_, {})) {
    sink->at[index].rejected = rejects->state.RejectedOf(sink->state.name(), partitions_[index].key);
  }
  if (result.home_moved) {
    last_checkpoint_ms_ = deps_.clock.BootMs();
    SeeDetached();
    PublishGroupOffsets();
    flushed_everything_ = true;
  }
  RefreshPlans();
  UpdatePace();
  if (result.conflicts > 0) batch_started_ms_ += CommitPace::Shift(commit_interval_ms_, deps_.random);
  if (result.rows + result.rejects > 0) {
    LogInfo("committed", {{"rows", result.rows},
                          {"rejects", result.rejects},
                          {"files", result.files},
                          {"bytes", result.file_bytes},
                          {"snapshots", result.commits},
                          {"seconds", result.commit_wall_s}});
  }
  return {};
}

// The home is one table for all workers, so checkpoints step back as commits do.
void PipelineWorker::UpdatePace() {
  CommitPace& pace = committer_.pace();
  const int64_t now_ms = deps_.clock.WallMs();
  const int64_t longest_ms = options_.commit_max_age_ms / kIntervalsInMaxAge;
  const int64_t before_ms = commit_interval_ms_;
  commit_interval_ms_ = pace.Stretch(options_.commit_interval_ms, longest_ms, now_ms);
  checkpoint_interval_ms_ = pace.Stretch(options_.checkpoint_interval_ms, longest_ms, now_ms);
  counters_.commit_interval_effective_ms = commit_interval_ms_;
  counters_.workers = pace.Workers(now_ms);
  const int64_t difference_ms = std::abs(commit_interval_ms_ - before_ms);
  if (before_ms == 0 || difference_ms < before_ms / kPaceToldFraction || difference_ms == 0) return;
  LogInfo("commit interval follows the number of workers and the time that a commit takes",
          {{"effective_ms", commit_interval_ms_},
           {"configured_ms", options_.commit_interval_ms},
           {"workers", counters_.workers},
           {"commit_p95_ms", pace.P95Ms()}});
  if (commit_interval_ms_ == longest_ms) {
    LogWarning(
        "the commit interval is as long as commit.max_age allows; raise that, use fewer workers, or a faster "
        "catalog",
        {{"effective_ms", commit_interval_ms_}});
  }
}

Status PipelineWorker::ReleaseWhenFlushed() {
  if (releasing_.empty()) return {};
  bool flushed = release_flush_started_ && !commit_in_flight_ && flushed_everything_;
  bool late = deps_.clock.BootMs() > release_deadline_ms_;
  if (!flushed && !late) return {};
  std::vector<stream::PartitionIndex> released(releasing_.begin(), releasing_.end());
  for (stream::PartitionIndex index : released) {
    LetGo(index);
  }
  releasing_.clear();
  poller_.Release(std::move(released));
  std::vector<std::pair<stream::PartitionIndex, stream::SourcePartition>> watched;
  for (stream::PartitionIndex index : Owned()) watched.emplace_back(index, partitions_[index].name);
  lag_.Watch(std::move(watched));
  if (late && !flushed) {
    // Rows of these partitions are in our columns: forget all. A commit under way is judged by its own comparison.
    ForgetBuffered();
    reset_wanted_ = true;
    reset_reason_ = "the revoked partitions could not be committed in time";
  }
  return {};
}

void PipelineWorker::PublishGroupOffsets() {
  const std::shared_ptr<const PositionsMap> home_seen = home_.shared_map();
  const PositionsMap& home_map = *home_seen;
  std::vector<stream::PartitionPosition> offsets;
  for (stream::PartitionIndex index : Owned()) {
    auto mark = home_map.marks.find(partitions_[index].key);
    if (mark != home_map.marks.end()) offsets.push_back({index, mark->second.position});
  }
  if (offsets.empty()) return;
  Status published = deps_.source.CommitGroupOffsets(offsets);
  if (!published.has_value()) {
    LogWarning("group offsets could not be published; only other people's lag tools are affected",
               {{"error", published.error()}});
  }
}

void PipelineWorker::PublishShare(const PositionsMap& home_map) {
  const int64_t now_ms = deps_.clock.BootMs();
  if (last_share_ms_ >= 0 && now_ms - last_share_ms_ < kShareMs) return;
  last_share_ms_ = now_ms;
  std::set<PartitionKey> owned;
  for (stream::PartitionIndex index : Owned()) owned.insert(partitions_[index].key);
  PipelineShare share = ShareOf(home_map, owned);
  std::lock_guard lock(status_mutex_);
  share_ = std::move(share);
}

void PipelineWorker::PublishStatusWhenDue() {
  const int64_t now_ms = deps_.clock.BootMs();
  if (now_ms - last_status_ms_ < kStatusMs) return;
  last_status_ms_ = now_ms;
  PublishStatus();
}

void PipelineWorker::PublishStatus() {
  WorkerStatus status = counters_;
  const std::shared_ptr<const PositionsMap> home_seen = home_.shared_map();
  const PositionsMap& home_map = *home_seen;
  const int64_t now_ms = deps_.clock.WallMs();
  int64_t lag = 0;
  bool known = assigned_once_;
  int64_t oldest_ms = now_ms;
  int64_t complete_ms = now_ms;
  bool complete_known = assigned_once_;
  std::string trouble;
  for (stream::PartitionIndex index : Owned()) {
    const Partition& partition = partitions_[index];
    ++status.assigned_partitions;
    if (!partition.trouble.empty())
      trouble = fmt::format("{}/{}: {}", partition.name.topic, partition.name.partition, partition.trouble);
    auto mark = home_map.marks.find(partition.key);
    std::optional<LagWatch::End> end = lag_.EndOf(index);
    if (mark == home_map.marks.end() || !end.has_value()) {
      known = false;
      continue;
    }
    int64_t behind = std::max<int64_t>(0, end->offset - mark->second.position.offset);
    lag += behind;
    int64_t last_ms = mark->second.position.timestamp_ms;
    if (behind > 0 && last_ms >= 0) oldest_ms = std::min(oldest_ms, last_ms);
    int64_t reaches_ms = behind == 0 ? end->asked_ms : last_ms;
    complete_known &= reaches_ms >= 0;
    complete_ms = std::min(complete_ms, reaches_ms);
  }
  status.lag_records = known ? lag : -1;
  status.buffered_bytes = sinks_.buffered_bytes();
  memory_.Set(MemoryUse::kClientQueue, options_.client_queue_bytes * kFetchedOverhead);
  memory_.Set(MemoryUse::kQueue, static_cast<int64_t>(poller_.queued_bytes()) * kFetchedOverhead);
  int64_t metadata_bytes = 0;
  for (const auto& sink : sinks_.all()) {
    if (auto loaded = sink->state.loaded(); loaded != nullptr) metadata_bytes += MetadataBytes(loaded->metadata);
  }
  memory_.Set(MemoryUse::kMetadata, metadata_bytes);
  memory_.Set(MemoryUse::kLanes,
              static_cast<int64_t>(lanes_.running()) * (options_.memory_limit_bytes / kLaneShareOfMemory));
  metrics_.SetMemory(memory_, spill_);
  status.lanes = static_cast<int32_t>(lanes_.running());
  DescribeDetached(home_map, status);
  const std::string commit_trouble = batch_committer_.trouble();
  if (trouble.empty()) trouble = commit_trouble;
  status.ready = assigned_once_ && trouble.empty() && status.detached.empty();
  if (!assigned_once_) status.not_ready_reason = "no partition is assigned yet";
  if (!trouble.empty()) status.not_ready_reason = trouble;
  if (!status.detached.empty()) {
    status.not_ready_reason =
        fmt::format("table '{}' is detached: {}", status.detached.front().table, status.detached.front().reason);
  }
  metrics_.SetGauges(status, known ? static_cast<double>(now_ms - oldest_ms) / 1000.0 : -1,
                     complete_known ? static_cast<double>(now_ms - complete_ms) / 1000.0 : -1, poller_.queued_bytes());
  PublishShare(home_map);
  std::lock_guard lock(status_mutex_);
  status_ = std::move(status);
}

}  // namespace firn::ingest
