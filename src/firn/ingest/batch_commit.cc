#include "firn/ingest/batch_commit.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "firn/base/check.h"
#include "firn/base/log.h"
#include "firn/ingest/history.h"

namespace firn::ingest {
namespace {

// A table that was detached below the cut: its lane has to tell which of its records are in doubt.
bool IsInDoubtForALane(const HomeRecord& home, const PartitionKey& key, int64_t cut) {
  return std::ranges::any_of(home.detached, [&](const DetachedEntry& entry) {
    return entry.partition == key && entry.home_offset >= 0 && entry.home_offset < cut;
  });
}

constexpr int64_t kRetryWaitMsMin = 200;
constexpr int64_t kRetryWaitMsMax = 10'000;
// Whatever one try takes, a table is not detached before so many have failed in a row.
constexpr int kDetachTriesMin = 3;
constexpr const char* kStopped = "stopped before the batch was committed";

// Does the mark belong to a cluster that is not read any more, or to a topic that was made anew?
bool IsLeftBehind(const PartitionKey& key, const Mark& mark, const Claims& read) {
  bool same_cluster = false;
  for (const auto& [own, claim] : read) {
    if (own.cluster_id != key.cluster_id) continue;
    same_cluster = true;
    if (claim.topic == mark.topic) return own.topic_id != key.topic_id;
  }
  return !same_cluster && !read.empty();
}

// Of everything that one commit claims in a map.
ClaimVerdict CompareAll(const PositionsMap& stands, const TableBatch& table) {
  const ClaimVerdict rows = CompareClaims(stands.marks, table.claims);
  if (table.rejected.empty()) return rows;
  const ClaimVerdict rejected = CompareRejected(stands.rejected, table.rejected);
  if (table.claims.empty() || rows == rejected) return rejected;
  return ClaimVerdict::kMismatch;
}

// The rejects table's own positions may move only over rejects that nobody else has written meanwhile: a mark that the
// batch did not know of, of a table whose rejects it holds, is a lane's.
bool WroteElsewhere(const PositionsMap& stands, const PositionsMap& believed, const TableBatch& batch) {
  auto has = [](const auto& by_table, const std::string& table, const PartitionKey& key) {
    auto of_table = by_table.find(table);
    return of_table != by_table.end() && of_table->second.contains(key);
  };
  for (const auto& [table, marks] : stands.rejected) {
    for (const auto& [key, mark] : marks) {
      if (!batch.claims.contains(key) || has(batch.rejected, table, key)) continue;
      if (has(batch.rejected_elsewhere, table, key)) continue;
      const int64_t known = has(batch.rejected_known, table, key) ? batch.rejected_known.at(table).at(key)
                                                                  : RejectedMark(believed.rejected, table, key);
      if (known != mark.position.offset) return true;
    }
  }
  return false;
}

// Tables whose rejects are not in what the commit moves the rejects table over get a mark that says where they end.
void MarkElsewhere(const TableBatch& batch, PositionsMap& next) {
  for (const auto& [table, of_table] : batch.rejected_elsewhere) {
    for (const auto& [key, below] : of_table) {
      auto claim = batch.claims.find(key);
      if (claim == batch.claims.end() || RejectedMark(next.rejected, table, key) != kNoMark) continue;
      next.rejected[table][key] =
          Mark{claim->second.topic, stream::Position{std::max(below, claim->second.from), -1, -1}};
    }
  }
}

// H moves only over what is committed, or what the home lists as detached at that moment.
Status RequireStillDetached(const HomeRecord& home, const Batch& batch, const BatchResult& result) {
  auto require = [&](const std::string& table, const PartitionKey& partition) -> Status {
    if (home.FindDetached(table, partition) != nullptr) return {};
    return Fail(ErrorCode::kConflict, fmt::format("somebody else took a detached table in: '{}'", table));
  };
  for (const auto& [table, partition] : batch.skipped) FIRN_TRY(require(table, partition));
  for (const BatchResult::Detached& detached : result.detached) {
    for (const auto& [partition, claim] : batch.home_claims) {
      FIRN_TRY(require(detached.table->name(), partition));
    }
  }
  return {};
}

}  // namespace

bool IsTransient(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUnavailable:
    case ErrorCode::kTimeout:
    case ErrorCode::kConflict:
    case ErrorCode::kCommitStateUnknown:
    case ErrorCode::kIoError:
    case ErrorCode::kResourceExhausted: return true;
    default: return false;
  }
}

// Waits between attempts of something that failed for a reason that may pass; logs the first and then every tenth time.
// Its time runs from the first failure on: what an attempt takes by itself is no outage.
class BatchCommitter::Patience {
 public:
  Patience(env::Clock& clock, std::string what, int64_t patience_ms = INT64_MAX)
      : clock_(clock), what_(std::move(what)), patience_ms_(patience_ms) {}

  bool Wait(const Error& error, BatchResult& result, std::stop_token stop) {
    if (failures_ == 0) since_ms_ = clock_.BootMs();
    if (failures_++ % 10 == 0) {
      LogWarning("failed, will be tried again", {{"what", what_}, {"failures", failures_}, {"error", error}});
    }
    if (elapsed_ms() >= patience_ms_) {
      result.kind = BatchResult::Kind::kStop;
      result.error = Error(error).WithContext(fmt::format("{}, given up after {} s", what_, elapsed_ms() / 1000));
      return false;
    }
    int64_t wait = std::min(kRetryWaitMsMax, kRetryWaitMsMin << std::min(failures_, 10));
    if (clock_.SleepMs(wait, stop)) return true;
    result.kind = BatchResult::Kind::kForget;
    result.reason = kStopped;
    return false;
  }
  void Reset() { failures_ = 0; }  // after a step that may have failed before
  int failures() const { return failures_; }
  int64_t elapsed_ms() const { return failures_ == 0 ? 0 : clock_.BootMs() - since_ms_; }
  const std::string& what() const { return what_; }

 private:
  env::Clock& clock_;
  std::string what_;
  int64_t since_ms_ = 0;
  int64_t patience_ms_;
  int failures_ = 0;
};

bool BatchCommitter::Wait(Patience& patience, const Error& error, BatchResult& result, std::stop_token stop) {
  {
    std::lock_guard lock(mutex_);
    trouble_ = fmt::format("{}: {}", patience.what(), error.ToString());
  }
  return patience.Wait(error, result, stop);
}

void BatchCommitter::Succeeded() {
  std::lock_guard lock(mutex_);
  trouble_.clear();
}

std::string BatchCommitter::trouble() const {
  std::lock_guard lock(mutex_);
  return trouble_;
}

// The home knows these; what a lane has committed meanwhile is for the next checkpoint.
void BatchCommitter::Told(const std::map<std::string, int64_t>& numbers) {
  std::lock_guard lock(mutex_);
  std::erase_if(committed_, [&](const auto& each) {
    auto told = numbers.find(each.first);
    return told != numbers.end() && told->second == each.second;
  });
}

void BatchCommitter::NoteCommitted(const std::map<std::string, int64_t>& sequence_numbers) {
  std::lock_guard lock(mutex_);
  for (const auto& [table, number] : sequence_numbers) committed_[table] = std::max(committed_[table], number);
}

BatchCommitter::BatchCommitter(const PipelineOptions& options, Home& home, MapCommitter& committer,
                               env::Threads& threads)
    : options_(options), home_(home), committer_(committer), threads_(threads) {}

BatchResult BatchCommitter::Commit(Batch batch, std::stop_token stop) {
  BatchResult result;
  first_upload_ = Age{0, committer_.clock().WallMs(), committer_.clock().BootMs()};
  for (TableBatch& table : batch.tables) {
    CommitTable(table, batch, result, stop);
    table.waiting.reset();
    if (result.kind != BatchResult::Kind::kDone) return result;
  }
  if (batch.checkpoint) Checkpoint(batch, result, stop);
  return result;
}

bool BatchCommitter::TooOld() const {
  int64_t age = std::max(committer_.clock().WallMs() - first_upload_.wall_ms,
                         committer_.clock().BootMs() - first_upload_.boot_ms);
  std::optional<int64_t> catalog_ms = committer_.catalog().ServerTimeMs();
  if (catalog_ms.has_value() && first_upload_.store_ms > 0) age = std::max(age, *catalog_ms - first_upload_.store_ms);
  return age > options_.commit_max_age_ms;
}

// The first files of a process show it; later the store's clock is its own business again.
Status BatchCommitter::CheckStoreClock() {
  if (first_upload_.store_ms == 0 || std::exchange(store_clock_checked_, true)) return {};
  const int64_t early_ms = first_upload_.wall_ms - first_upload_.store_ms;
  const int64_t late_ms = first_upload_.store_ms - committer_.clock().WallMs();
  const int64_t skew_ms = std::max(early_ms, late_ms);
  if (skew_ms <= options_.clock_skew_max_ms) return {};
  return Fail(ErrorCode::kInvalidInput,
              fmt::format("this machine's clock and the store's differ too much; synchronise them "
                          "(limits.clock_skew_max {} ms): {} ms",
                          options_.clock_skew_max_ms, skew_ms));
}

Result<MapDecision> BatchCommitter::Decide(const TableBatch& table, const iceberg::LoadedTable& fresh,
                                           const std::optional<PositionsMap>& stands) const {
  MapDecision decision;
  const std::shared_ptr<const PositionsMap> believed = table.table->shared_map();
  FIRN_CHECK(believed != nullptr, "rows for a table that is not attached");
  if (!stands.has_value()) {
    decision.outcome = CommitOutcome::kHistoryChanged;
    decision.reason = "the property with this pipeline's positions is gone";
    return decision;
  }
  if (stands->rules_hash != home_.rules_hash()) {  // it carried ours when it was opened
    decision.outcome = CommitOutcome::kForeignRules;
    decision.reason = fmt::format("the table carries rules hash {}, this worker's rules have {}", stands->rules_hash,
                                  home_.rules_hash());
    return decision;
  }
  FIRN_ASSIGN(HistoryVerdict history,
              JudgeHistory(fresh.metadata, table.table->name(), options_.pipeline, *stands, committer_.store()));
  if (!history.unchanged) {
    decision.outcome = CommitOutcome::kHistoryChanged;
    decision.reason = history.reason;
    return decision;
  }
  if (stands->sequence_number < believed->sequence_number || stands->table_uuid != believed->table_uuid) {
    // Set back together with its table, or another table: opening it again judges that by what the home knows.
    decision.outcome = CommitOutcome::kMismatch;
    decision.reason = "the positions in the table are older than those that this worker has seen there, or another's";
    return decision;
  }
  switch (CompareAll(*stands, table)) {
    case ClaimVerdict::kAlreadyDone: decision.outcome = CommitOutcome::kAlreadyDone; return decision;
    case ClaimVerdict::kMismatch:
      decision.outcome = CommitOutcome::kMismatch;
      decision.reason = "the positions in the table are not those that this worker read from";
      return decision;
    case ClaimVerdict::kGo: break;
  }
  if (table.is_rejects && WroteElsewhere(*stands, *believed, table)) {
    decision.outcome = CommitOutcome::kMismatch;
    decision.reason = "somebody else has written rejects of a table that this worker took for its own";
    return decision;
  }
  if (TooOld()) {
    decision.outcome = CommitOutcome::kTooOld;
    decision.reason = fmt::format("the batch is older than commit.max_age ({} ms)", options_.commit_max_age_ms);
    return decision;
  }
  decision.next = *stands;
  decision.next.marks = ApplyClaims(std::move(decision.next.marks), table.claims);
  decision.next.rejected = ApplyRejected(std::move(decision.next.rejected), table.rejected);
  if (table.is_rejects) MarkElsewhere(table, decision.next);
  decision.next.rules_hash = home_.rules_hash();
  return decision;
}

Result<MapCommitResult> BatchCommitter::CommitRows(TableBatch& table, const Batch& batch, const WrittenFiles& written,
                                                   std::stop_token stop) {
  MapCommitRequest request;
  request.files = written.files;
  request.rows = written.rows;
  request.properties = table.properties;
  if (batch.watermark_ms >= 0) {
    // Partitions of other workers count with the time of their last record.
    int64_t watermark = batch.watermark_ms;
    const std::shared_ptr<const PositionsMap> believed = table.table->shared_map();
    for (const auto& [key, mark] : believed->marks) {
      if (IsLeftBehind(key, mark, batch.home_claims)) continue;
      if (batch.home_claims.contains(key) && !table.behind.contains(key)) continue;
      watermark = mark.position.timestamp_ms < 0 ? -1 : std::min(watermark, mark.position.timestamp_ms);
      if (watermark < 0) break;
    }
    if (watermark >= 0) request.summary["firn.watermark-ms"] = std::to_string(watermark);
  }
  request.decide = [&](const iceberg::LoadedTable& fresh, const std::optional<PositionsMap>& stands) {
    return Decide(table, fresh, stands);
  };
  return committer_.Commit(*table.table, request, stop);
}

void BatchCommitter::Forget(BatchResult& result, const std::string& table, const MapCommitResult& outcome) {
  result.kind = BatchResult::Kind::kForget;
  result.reason = fmt::format("{}: {}: table '{}'", CommitOutcomeName(outcome.outcome), outcome.reason, table);
}

void BatchCommitter::NoteUpload(const WrittenFiles& written, BatchResult& result) {
  if (first_upload_.store_ms == 0) first_upload_.store_ms = written.store_time_ms;
  result.times.group_cpu_s += written.times.group_cpu_s;
  result.times.encode_cpu_s += written.times.encode_cpu_s;
  result.times.upload_cpu_s += written.times.upload_cpu_s;
  Status clock = CheckStoreClock();
  if (clock.has_value()) return;
  result.kind = BatchResult::Kind::kStop;
  result.error = std::move(clock.error());
}

void BatchCommitter::CommitTable(TableBatch& table, Batch& batch, BatchResult& result, std::stop_token stop) {
  const int64_t patience_ms =
      batch.home_patience_ms == INT64_MAX ? INT64_MAX : options_.detach_after_ms + batch.home_patience_ms;
  Patience patience(committer_.clock(), fmt::format("commit of table '{}'", table.table->name()), patience_ms);
  std::optional<WrittenFiles> written;
  if (table.waiting == nullptr) written.emplace();  // the positions alone
  const int64_t started_ms = committer_.clock().BootMs();
  std::string lost_to;  // where the table stood when the last attempt was lost
  for (;;) {
    Error failure(ErrorCode::kInternal, "");
    if (!written.has_value()) {
      Result<WrittenFiles> files = WriteDataFiles(*table.waiting, committer_.store(), committer_.random(), threads_,
                                                  options_.upload_threads, stop);
      if (files.has_value()) {
        written = std::move(files).value();
        patience.Reset();
        FIRN_CHECK(written->rows == table.rows, "data files must hold exactly the decoded rows");
        NoteUpload(*written, result);
        if (result.kind != BatchResult::Kind::kDone) return;
      } else if (table.waiting->lost()) {
        result.kind = BatchResult::Kind::kForget;
        result.rows_lost = true;
        result.reason = fmt::format("rows of table '{}' were lost: {}", table.table->name(), files.error().ToString());
        return;
      } else if (stop.stop_requested()) {
        result.kind = BatchResult::Kind::kForget;
        result.reason = kStopped;
        return;
      } else {
        failure = std::move(files.error()).WithContext(fmt::format("data files of table '{}'", table.table->name()));
      }
    }
    if (written.has_value()) {
      double cpu_before = ThreadCpuSeconds();
      Result<MapCommitResult> committed = CommitRows(table, batch, *written, stop);
      result.commit_cpu_s += ThreadCpuSeconds() - cpu_before;
      if (committed.has_value()) {
        result.conflicts += committed->conflicts;
        result.commit_wall_s += static_cast<double>(committer_.clock().BootMs() - started_ms) / 1000.0;
        switch (committed->outcome) {
          case CommitOutcome::kCommitted:
          case CommitOutcome::kAlreadyDone:
            ++result.commits;
            result.files += static_cast<int64_t>(written->files.size());
            result.file_bytes += written->bytes;
            (table.is_rejects ? result.rejects : result.rows) += written->rows;
            result.sequence_numbers[table.table->name()] = table.table->map()->sequence_number;
            NoteCommitted(result.sequence_numbers);
            Succeeded();
            return;
          case CommitOutcome::kMismatch:
          case CommitOutcome::kTooOld: Forget(result, table.table->name(), *committed); return;
          case CommitOutcome::kForeignRules:
            result.kind = BatchResult::Kind::kStop;
            result.error = Error(ErrorCode::kInvalidInput,
                                 fmt::format("another worker of this pipeline runs with other routing rules; give all "
                                             "workers the same configuration: {}",
                                             committed->reason));
            return;
          case CommitOutcome::kHistoryChanged: {
            const bool hold = table.history_policy == HistoryPolicy::kHold;
            Status detached = Detach(table, batch, committed->reason, hold, result, stop);
            if (detached.has_value()) return;
            failure = std::move(detached.error());
          }
        }
      } else {
        failure = std::move(committed.error());
      }
    }
    // A table that others commit to is not broken, however often they win.
    if (failure.code() == ErrorCode::kConflict) {
      const std::string stands = table.table->loaded()->metadata_location;
      if (std::exchange(lost_to, stands) != stands) patience.Reset();
    }
    if (patience.elapsed_ms() >= options_.detach_after_ms && patience.failures() + 1 >= kDetachTriesMin) {
      // When the home cannot be committed either, it is not this table's fault: both are tried on.
      Status detached = Detach(table, batch, failure.ToString(), false, result, stop);
      if (detached.has_value()) return;
      failure = std::move(detached.error());
    }
    if (!Wait(patience, failure, result, stop)) return;
  }
}

Status BatchCommitter::Detach(TableBatch& table, Batch& batch, const std::string& reason, bool hold,
                              BatchResult& result, std::stop_token stop) {
  const std::string& name = table.table->name();
  const bool of_lane = !batch.lane_of.empty();
  if (of_lane && (!hold || name != batch.lane_of)) {
    result.kind = BatchResult::Kind::kFailed;
    result.reason = fmt::format("table '{}': {}", name, reason);
    return {};
  }
  const int64_t now_ms = committer_.clock().WallMs();
  std::vector<DetachedEntry> entries;
  for (const auto& [partition, claim] : batch.home_claims) {
    auto below = batch.rejected_below.find(partition);
    auto rows = table.claims.find(partition);
    entries.push_back(DetachedEntry{name, partition, claim.topic, reason, now_ms, hold,
                                    below == batch.rejected_below.end() ? 0 : below->second, -1,
                                    rows == table.claims.end() ? table.table->OffsetAt(partition).value_or(-1)
                                                               : rows->second.from});
  }
  FIRN_ASSIGN(MapCommitResult edited, home_.Detach(entries, options_.rejects_table, stop));
  if (Status done = RequireDone(edited, home_.name()); !done.has_value()) {
    result.kind = BatchResult::Kind::kStop;
    result.error = std::move(done.error());
    return {};
  }
  LogError("table is detached; the rest of the pipeline goes on without it",
           {{"table", name},
            {"reason", reason},
            {"remedy", hold ? "firn positions resume decides how it goes on" : "mend the cause; it is tried again"}});
  if (of_lane) {
    result.kind = BatchResult::Kind::kFailed;
    result.reason = reason;
    return {};
  }
  if (name == options_.rejects_table && batch.rejects_cannot_wait) {
    result.kind = BatchResult::Kind::kForget;
    result.reason = "the rejects table is detached, and its lane would not find all of these rejects";
    result.rejects_away = true;
  }
  // From here on the rejects that this batch has of it are known by their mark.
  auto rejects = std::ranges::find_if(batch.tables, &TableBatch::is_rejects);
  if (rejects != batch.tables.end() && &*rejects != &table && !table.rejected_if_detached.empty()) {
    rejects->rejected[name] = table.rejected_if_detached;
  }
  // One that was catching up has not caught up; nor has any whose rejects of this batch are not committed now.
  const bool is_rejects = name == options_.rejects_table;
  std::erase_if(batch.caught_up, [&](const auto& entry) { return is_rejects || entry.table == name; });
  result.detached.push_back({table.table, reason, hold});
  return {};
}

void BatchCommitter::Checkpoint(const Batch& batch, BatchResult& result, std::stop_token stop) {
  std::map<std::string, std::string> summary;
  uint64_t dropped = 0;
  for (const auto& [code, count] : batch.dropped) {
    summary["firn.dropped-records." + code] = std::to_string(count);
    dropped += count;
  }
  if (dropped > 0) summary["firn.dropped-records"] = std::to_string(dropped);
  std::map<std::string, int64_t> numbers;
  {
    std::lock_guard lock(mutex_);
    numbers = committed_;
  }
  Patience patience(committer_.clock(), "checkpoint of the home table", batch.home_patience_ms);
  for (;;) {
    bool counted = false;  // somebody has moved H just so, an attempt of ours or another worker, and counted with it
    Result<MapCommitResult> edited = home_.Edit(
        [&](PositionsMap& map) -> Result<bool> {
          ClaimVerdict verdict = CompareClaims(map.marks, batch.home_claims);
          if (verdict == ClaimVerdict::kMismatch) {
            return Fail(ErrorCode::kConflict, "somebody else moved the low-water mark of a partition of this worker");
          }
          counted = verdict == ClaimVerdict::kAlreadyDone && !batch.home_claims.empty() && !summary.empty();
          if (counted) return false;
          FIRN_TRY(RequireStillDetached(*map.home, batch, result));
          size_t before = map.home->detached.size();
          std::erase_if(map.home->detached, [&](const DetachedEntry& entry) {
            return !entry.hold && std::ranges::any_of(batch.caught_up, [&](const Batch::CaughtUp& each) {
              return each.table == entry.table && each.partition == entry.partition &&
                     each.since_ms == entry.since_ms;
            });
          });
          bool changed = map.home->detached.size() != before;
          for (const Batch::Rejected& rejected : batch.rejected) {
            DetachedEntry* entry = map.home->FindDetached(rejected.table, rejected.partition);
            if (entry == nullptr || entry->since_ms != rejected.since_ms) continue;
            if (entry->rejected_below >= rejected.below && entry->rows_below >= rejected.rows_below) continue;
            entry->rejected_below = std::max(entry->rejected_below, rejected.below);
            entry->rows_below = std::max(entry->rows_below, rejected.rows_below);
            changed = true;
          }
          for (ListedTable& listed : map.home->tables) {
            auto committed = numbers.find(listed.table);
            if (committed == numbers.end() || committed->second <= listed.sequence_number) continue;
            listed.sequence_number = committed->second;
            changed = true;
          }
          bool moved = verdict == ClaimVerdict::kGo && !batch.home_claims.empty();
          if (moved) map.marks = ApplyClaims(std::move(map.marks), batch.home_claims);
          size_t cuts = std::erase_if(map.home->cut, [&](const auto& cut) {
            return OffsetOf(map.marks, cut.first).value_or(0) >= cut.second.position.offset &&
                   !IsInDoubtForALane(*map.home, cut.first, cut.second.position.offset);
          });
          return moved || changed || cuts > 0;
        },
        summary, stop);
    if (counted && edited.has_value()) {
      summary.clear();
      continue;
    }
    if (edited.has_value()) {
      result.conflicts += edited->conflicts;
      switch (edited->outcome) {
        case CommitOutcome::kCommitted: ++result.commits; [[fallthrough]];
        case CommitOutcome::kAlreadyDone:
          result.home_moved = true;
          Told(numbers);
          Succeeded();
          return;
        case CommitOutcome::kForeignRules:
        case CommitOutcome::kHistoryChanged:
          result.kind = BatchResult::Kind::kStop;
          result.error = RequireDone(*edited, home_.name()).error();
          return;
        default: Forget(result, home_.name(), *edited); return;
      }
    }
    if (!Wait(patience, edited.error(), result, stop)) return;
  }
}

}  // namespace firn::ingest
