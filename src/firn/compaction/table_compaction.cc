#include "firn/compaction/table_compaction.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <set>

#include "firn/base/encoding.h"
#include "firn/base/log.h"
#include "firn/compaction/delete_index.h"
#include "firn/compaction/entry_metrics.h"
#include "firn/compaction/packed_metrics.h"
#include "firn/compaction/row_filter.h"
#include "firn/iceberg/commit/append.h"

namespace firn::compaction {
namespace {

// What is wrong with the input, not with the store or with us.
bool IsOfTheInput(ErrorCode code) {
  return code == ErrorCode::kCorruption || code == ErrorCode::kUnsupported || code == ErrorCode::kInvalidInput;
}

iceberg::DataFile WithMetrics(const LiveFile& file) {
  iceberg::DataFile unpacked = file.entry.data_file;
  if (!file.metrics.empty()) UnpackMetrics(file.metrics, unpacked);
  return unpacked;
}

}  // namespace

bool IsOfTheGroup(ErrorCode code) {
  return IsOfTheInput(code) || code == ErrorCode::kUnauthorized || code == ErrorCode::kNotFound ||
         code == ErrorCode::kIoError || code == ErrorCode::kInternal;
}

TableCompaction::TableCompaction(const CompactionParts& parts, TablePlan plan, Limits limits, StepFn step)
    : parts_(parts),
      limits_(limits),
      step_(std::move(step)),
      table_(plan.loaded.identifier.ToString()),
      stem_(fmt::format("firn-compacted-{}", FormatUuid(MakeUuidV4(parts.random.Next64(), parts.random.Next64())))) {
  request_.summary["firn.operation"] = "compaction";
  report_.files_seen = plan.picked.files_seen;
  Replan(std::move(plan));
}

void TableCompaction::Replan(TablePlan plan) {
  plan_ = std::move(plan);
  request_.starting_sequence_number = plan_.loaded.metadata.last_sequence_number;
  report_.groups_planned += static_cast<int64_t>(plan_.picked.groups.size());
  report_.left_alone = plan_.picked.left_alone;
}

void TableCompaction::Count(const Merged& merged) {
  report_.files_before += static_cast<int64_t>(merged.group.files.size());
  report_.files_after += merged.outputs;
  report_.rows += merged.group.rows - merged.rows_deleted;
  report_.rows_deleted += merged.rows_deleted;
  report_.bytes_before += merged.group.bytes;
  report_.bytes_after += merged.bytes;
}

void TableCompaction::CountPlanned() {
  for (const PickedGroup& group : plan_.picked.groups) {
    const int64_t full = (group.bytes + plan_.target_bytes - 1) / plan_.target_bytes;
    Count({.group = group, .outputs = plan_.sort.has_value() ? std::max<int64_t>(full, 1) : 1});
  }
}

void TableCompaction::LeaveAlone(size_t file, std::string_view reason, const std::string& detail) {
  ++report_.left_alone[std::string(reason)];
  refused_[RefusedKey(plan_.FileAt(file).file_path)] = reason;
  LogInfo("a file is left as it is",
          {{"table", table_}, {"file", plan_.FileAt(file).file_path}, {"reason", reason}, {"detail", detail}});
}

// Of those that the picker found for the whole group.
std::vector<size_t> TableCompaction::DeletesOf(const PickedGroup& group, size_t file) const {
  std::vector<size_t> touching;
  for (const size_t index : group.deletes) {
    const LiveFile& deletes = plan_.files.deletes[index];
    if (MayTouch(deletes, plan_.files.data[file], deletes.partition_path.empty())) touching.push_back(index);
  }
  return touching;
}

// Its rows are in the order that is wanted.
bool TableCompaction::IsSorted(size_t file) const {
  return plan_.sort->id.has_value() && plan_.FileAt(file).sort_order_id == plan_.sort->id;
}

// Is there anything to be done with these files?
bool TableCompaction::IsEnough(const PickedGroup& group, const std::vector<size_t>& files) const {
  if (files.size() != 1) return files.size() >= 2;
  return !DeletesOf(group, files[0]).empty() || (plan_.sort.has_value() && !IsSorted(files[0]));
}

// Files that cannot be merged drop out, and it is begun again without them where their bytes were found damaged only on
// the way.
Status TableCompaction::Merge(const PickedGroup& group) {
  if (request_.groups.empty()) {
    request_.latest_boot_ms = std::numeric_limits<int64_t>::max();
    // Sorting may take hours before there is an output: its own writer says when that is.
    if (!plan_.sort.has_value()) NoteOutput();
  }
  DeleteReader deletes(plan_, parts_.store);
  std::vector<size_t> files = group.files;
  while (IsEnough(group, files)) {
    std::optional<size_t> bad;
    const size_t merged_before = merged_.size();
    const double cpu_before = parts_.cpu_seconds();
    Status done = plan_.sort.has_value() ? TrySort(group, deletes, files, bad) : TryMerge(group, deletes, files, bad);
    const double cpu_s = parts_.cpu_seconds() - cpu_before;
    report_.cpu_s += cpu_s;
    if (merged_.size() > merged_before) merged_cpu_s_ += cpu_s;
    if (done.has_value() || !bad.has_value() || !IsOfTheInput(done.error().code())) return done;
    const bool damaged = done.error().code() != ErrorCode::kUnsupported;
    LeaveAlone(*bad, damaged ? "damaged" : "unsupported", done.error().message());
    std::erase(files, *bad);
    if (plan_.sort.has_value()) return RefusedInput();
  }
  TooFewFiles();
  return {};
}

// The age of what is committed together is that of its first output.
void TableCompaction::NoteOutput() {
  request_.latest_boot_ms = std::min(request_.latest_boot_ms, parts_.clock.BootMs() + limits_.output_age_ms_max);
}

std::string TableCompaction::NewLocation(const PickedGroup& group) {
  const iceberg::LocationProvider locations = iceberg::LocationProvider::For(plan_.loaded.metadata);
  return locations.DataLocation(plan_.files.data[group.files.front()].partition_path,
                                fmt::format("{}-{:05}.parquet", stem_, ++file_number_));
}

// `files` shrinks by those that are refused. `bad`: the file that an error came from.
Status TableCompaction::TryMerge(const PickedGroup& group, DeleteReader& deletes, std::vector<size_t>& files,
                                 std::optional<size_t>& bad) {
  const std::string location = NewLocation(group);
  std::unique_ptr<env::ObjectWriter> object;
  auto sink = [&](std::string_view bytes) -> Status {
    if (object == nullptr) {
      FIRN_ASSIGN(object, parts_.store.OpenWrite(location));
    }
    return object->Append(bytes);
  };
  const schema::Schema& schema = plan_.loaded.metadata.CurrentSchema();
  FIRN_ASSIGN(auto merge, parquet::FileMerge::Create(schema, plan_.layout, plan_.schema_json, sink));
  Inputs inputs;
  Result<parquet::FileMetrics> metrics = parquet::FileMetrics{};
  Status added = AddInputs(group, deletes, *merge, files, inputs);
  if (added.has_value() && !IsWorthIt(group, inputs)) return {};
  const bool any_rows = !inputs.merged.empty();
  if (added.has_value() && any_rows) metrics = merge->Close();
  if (!added.has_value() || !metrics.has_value()) {
    bad = inputs.failed;
    if (auto input = merge->failed_input(); input.has_value()) bad = inputs.taken.at(inputs.merged.at(*input)).file;
    return added.has_value() ? Status(std::unexpected<Error>(std::move(metrics.error()))) : added;
  }
  if (!any_rows) return Finish(group, deletes, inputs, {});
  FIRN_TRY(object->Close());
  report_.pages.Add(merge->counts());
  MergedMetrics of_rows(schema, plan_.layout);
  for (const MergeInput& input : inputs.taken) {
    of_rows.Add(input.left != nullptr ? *input.left : WithMetrics(plan_.files.data[input.file]));
  }
  iceberg::DataFile output;
  output.file_path = location;
  output.partition = plan_.FileAt(inputs.taken.front().file).partition;
  of_rows.Fill(*metrics, output);
  return Finish(group, deletes, inputs, {std::move(output)});
}

// One file alone is written anew only for its deletes' sake, or to be sorted. Equality deletes that delete nothing are
// reason enough: by its new sequence number the output is rid of them.
bool TableCompaction::IsWorthIt(const PickedGroup& group, const Inputs& inputs) {
  if (inputs.taken.size() >= 2) return true;
  if (inputs.taken.empty()) {
    TooFewFiles();
    return false;
  }
  const MergeInput& input = inputs.taken.front();
  if (input.rows_deleted > 0 || inputs.any_equality) return true;
  if (plan_.sort.has_value() && !IsSorted(input.file)) return true;
  const std::vector<size_t> touching = DeletesOf(group, input.file);
  if (touching.empty()) {
    TooFewFiles();
    return false;
  }
  refused_[RefusedKey(NothingDeletedKey(plan_.files, input.file, touching))] = "nothing_deleted";
  ++report_.groups_dropped["nothing_deleted"];
  return false;
}

// Gives `take` the bytes of one file after the other; those that are missing or cannot be read drop out of `files`.
// That one cannot be read is its own trouble, that two in a row cannot is the store's.
Status TableCompaction::ReadInputs(
    const std::vector<size_t>& wanted, std::vector<size_t>& files,
    const std::function<Status(size_t file, std::shared_ptr<const std::string> bytes)>& take) {
  struct Unread {
    size_t file;
    Error error;
  };
  std::optional<Unread> unread;
  bool any_read = false;
  for (const size_t file : wanted) {
    if (step_ && !step_()) return Fail(ErrorCode::kCancelled, "stopped while files are merged");
    auto read = parts_.store.Read(plan_.FileAt(file).file_path);
    if (!read.has_value()) {
      const ErrorCode code = read.error().code();
      std::erase(files, file);
      if (code == ErrorCode::kNotFound) {
        LeaveAlone(file, "missing", read.error().message());
        continue;
      }
      if (unread.has_value()) return std::unexpected<Error>(std::move(unread->error));
      unread.emplace(file, std::move(read.error()));
      if (code != ErrorCode::kUnauthorized && code != ErrorCode::kIoError) break;
      continue;
    }
    any_read = true;
    if (unread.has_value()) LeaveAlone(unread->file, "unreadable", unread->error.message());
    unread.reset();
    FIRN_TRY(take(file, std::make_shared<const std::string>(*std::move(read))));
  }
  if (!unread.has_value()) return {};
  const ErrorCode code = unread->error.code();
  const bool is_its_own = any_read && (code == ErrorCode::kUnauthorized || code == ErrorCode::kIoError);
  if (!is_its_own) return std::unexpected<Error>(std::move(unread->error));
  LeaveAlone(unread->file, "unreadable", unread->error.message());
  return {};
}

Status TableCompaction::AddInputs(const PickedGroup& group, DeleteReader& deletes, parquet::FileMerge& merge,
                                  std::vector<size_t>& files, Inputs& inputs) {
  const std::vector<size_t> wanted = files;
  FIRN_TRY(ReadInputs(wanted, files, [&](size_t file, std::shared_ptr<const std::string> bytes) -> Status {
    inputs.failed = file;
    MergeInput input{.file = file};
    FIRN_ASSIGN(const bool applied, ApplyDeletes(group, deletes, merge, input, bytes));
    inputs.failed.reset();
    if (!applied) {
      std::erase(files, file);
      return {};
    }
    const int64_t rows = plan_.FileAt(file).record_count - input.rows_deleted;
    // Before, so that a failure of the merge can be laid to this file.
    inputs.taken.push_back(std::move(input));
    if (bytes == nullptr) return {};
    inputs.merged.push_back(inputs.taken.size() - 1);
    FIRN_ASSIGN(auto refusal, merge.Add(std::move(bytes), rows));
    if (!refusal.has_value()) return {};
    inputs.merged.pop_back();
    inputs.taken.pop_back();
    std::erase(files, file);
    LeaveAlone(file, refusal->reason, refusal->detail);
    return {};
  }));
  NoteEquality(group, inputs);
  return {};
}

void TableCompaction::NoteEquality(const PickedGroup& group, Inputs& inputs) const {
  for (const MergeInput& input : inputs.taken) {
    const std::vector<size_t> touching = DeletesOf(group, input.file);
    inputs.any_equality |= std::any_of(touching.begin(), touching.end(), [this](size_t index) {
      return plan_.files.deletes[index].entry.data_file.content == iceberg::FileContent::kEqualityDeletes;
    });
  }
}

// nullopt: they cannot be read, the file is left alone.
Result<std::optional<FileDeletes>> TableCompaction::DeletesFor(const PickedGroup& group, DeleteReader& deletes,
                                                               size_t file) {
  const std::vector<size_t> touching = DeletesOf(group, file);
  Result<FileDeletes> applicable = deletes.For(file, touching);
  if (applicable.has_value()) return std::optional(*std::move(applicable));
  const ErrorCode code = applicable.error().code();
  if (!IsOfTheInput(code) && code != ErrorCode::kNotFound) return std::unexpected<Error>(std::move(applicable.error()));
  LeaveAlone(file, "delete_file_unreadable", applicable.error().message());
  return std::optional<FileDeletes>();
}

// False: the file is left alone. `bytes` become those of a file without the rows that were deleted, null where none is
// left.
Result<bool> TableCompaction::ApplyDeletes(const PickedGroup& group, DeleteReader& deletes,
                                           const parquet::FileMerge& merge, MergeInput& input,
                                           std::shared_ptr<const std::string>& bytes) {
  FIRN_ASSIGN(const std::optional<FileDeletes> applicable, DeletesFor(group, deletes, input.file));
  if (!applicable.has_value()) return false;
  if (applicable->empty()) return true;
  if (auto checked = merge.Check(*bytes, plan_.FileAt(input.file).record_count); !checked.has_value()) {
    LeaveAlone(input.file, checked.error().reason, checked.error().detail);
    return false;
  }
  FIRN_ASSIGN(FilteredFile filtered,
              WithoutDeleted(plan_.loaded.metadata.CurrentSchema(), plan_.layout, bytes, *applicable));
  if (filtered.rows_deleted == 0) return true;
  input.rows_deleted = filtered.rows_deleted;
  iceberg::DataFile left;
  left.record_count = filtered.metrics.record_count;
  left.value_counts = std::move(filtered.metrics.value_counts);
  left.null_value_counts = std::move(filtered.metrics.null_value_counts);
  left.nan_value_counts = std::move(filtered.metrics.nan_value_counts);
  left.lower_bounds = std::move(filtered.metrics.lower_bounds);
  left.upper_bounds = std::move(filtered.metrics.upper_bounds);
  input.left = std::make_shared<const iceberg::DataFile>(std::move(left));
  bytes = std::move(filtered.bytes);
  return true;
}

Status TableCompaction::Finish(const PickedGroup& group, const DeleteReader& deletes, const Inputs& inputs,
                               std::vector<iceberg::DataFile> outputs) {
  std::set<size_t> applied;
  iceberg::RewriteGroup rewrite;
  rewrite.spec_id = plan_.files.data[inputs.taken.front().file].spec_id;
  Merged done;
  for (const MergeInput& input : inputs.taken) {
    const iceberg::DataFile& entry = plan_.FileAt(input.file);
    rewrite.inputs.push_back(entry.file_path);
    rewrite.rows_deleted += input.rows_deleted;
    done.group.files.push_back(input.file);
    done.group.bytes += entry.file_size_in_bytes;
    done.group.rows += entry.record_count;
    const std::vector<size_t> touching = DeletesOf(group, input.file);
    applied.insert(touching.begin(), touching.end());
  }
  int64_t rows_of_files = rewrite.rows_deleted;
  for (const iceberg::DataFile& output : outputs) {
    rows_of_files += output.record_count;
    done.bytes += output.file_size_in_bytes;
  }
  if (done.group.rows != rows_of_files) {
    ++report_.groups_dropped["row_count_differs"];
    for (const std::string& path : rewrite.inputs) refused_[RefusedKey(path)] = "row_count_differs";
    LogWarning("manifest entries and files disagree on the number of rows, the files stay as they are",
               {{"table", table_}, {"entries", done.group.rows}, {"files", rows_of_files}});
    return {};
  }
  for (const size_t index : applied) {
    rewrite.applied.push_back({plan_.files.deletes[index].entry.data_file.file_path, deletes.NamedBy(index)});
  }
  done.rows_deleted = rewrite.rows_deleted;
  done.outputs = static_cast<int64_t>(outputs.size());
  rewrite.outputs = std::move(outputs);
  merged_bytes_ += done.group.bytes;
  merged_files_ += done.group.files.size();
  request_.groups.push_back(std::move(rewrite));
  merged_.push_back(std::move(done));
  return {};
}

Status TableCompaction::Commit(std::stop_token stop) {
  if (request_.groups.empty()) return {};
  request_.summary["firn.compaction-ms"] = fmt::format("{}", std::llround(merged_cpu_s_ * 1000));
  const double cpu_before = parts_.cpu_seconds();
  // What is merged is committed even when we are asked to stop; only waiting between attempts ends early.
  auto outcome = iceberg::CommitRewrite(parts_.catalog, plan_.loaded.identifier, request_, parts_.store, parts_.clock,
                                        parts_.random, stop);
  report_.cpu_s += parts_.cpu_seconds() - cpu_before;
  if (!outcome.has_value() && is_too_old()) {
    return std::unexpected<Error>(std::move(outcome.error())
                                      .WithContext(fmt::format("{} s after the first new file was begun is later than "
                                                               "its maximum age allows (commit.max_age)",
                                                               limits_.output_age_ms_max / 1000)));
  }
  if (!outcome.has_value()) return std::unexpected<Error>(std::move(outcome.error()));
  report_.conflicts += outcome->conflicts;
  report_.delete_files_removed += outcome->delete_files_removed;
  bool any = false;
  for (size_t i = 0; i < outcome->fates.size(); ++i) {
    const iceberg::GroupFate fate = outcome->fates[i];
    if (fate != iceberg::GroupFate::kReplaced && fate != iceberg::GroupFate::kAlreadyDone) {
      ++report_.groups_dropped[std::string(iceberg::GroupFateName(fate))];
      continue;
    }
    any = true;
    ++report_.groups_done;
    Count(merged_[i]);
  }
  report_.commits += any ? 1 : 0;
  request_.groups.clear();
  merged_.clear();
  merged_bytes_ = 0;
  merged_files_ = 0;
  merged_cpu_s_ = 0;
  return {};
}

namespace {

// A table of tens of thousands of files takes its time: what is done so far.
void LogCommitted(const iceberg::TableIdentifier& table, const CompactionReport& report) {
  LogInfo("small files were put together, more are to come", {{"table", table.ToString()},
                                                              {"groups_done", report.groups_done},
                                                              {"groups", report.groups_planned},
                                                              {"files", report.files_before},
                                                              {"became", report.files_after},
                                                              {"bytes", report.bytes_before},
                                                              {"cpu_s", fmt::format("{:.2f}", report.cpu_s)}});
}

// All groups of the plan. False: the next ones would meet the same error, or a stop is requested. `first`: the first
// group's error.
Result<bool> DoPlanned(TableCompaction& compaction, const std::function<void(const CompactionReport&)>& progress,
                       const std::stop_token& stop, std::set<std::string>& failed, Status& first) {
  const TablePlan& plan = compaction.plan();
  bool go_on = true;
  for (const PickedGroup& group : plan.picked.groups) {
    // What failed for an earlier plan would fail again.
    if (std::ranges::any_of(group.files, [&](size_t file) { return failed.contains(plan.FileAt(file).file_path); })) {
      continue;
    }
    // What is sorted does not grow old while a large group is.
    if (plan.sort.has_value() && group.bytes >= kBytesPerCommitMax) FIRN_TRY(compaction.Commit(stop));
    Status merged = compaction.Merge(group);
    if (!merged.has_value() && merged.error().code() == ErrorCode::kCancelled && stop.stop_requested()) {
      go_on = false;
      break;
    }
    // Rows of another group may find room.
    const bool no_room = !merged.has_value() && merged.error().code() == ErrorCode::kResourceExhausted;
    go_on = merged.has_value() || IsOfTheGroup(merged.error().code()) || (no_room && plan.sort.has_value());
    if (!merged.has_value()) {
      LogWarning("a group of files was not merged",
                 {{"table", plan.loaded.identifier.ToString()}, {"error", merged.error()}});
      for (const size_t file : group.files) failed.insert(plan.FileAt(file).file_path);
      if (first.has_value()) first = std::move(merged);
    }
    if (!go_on) break;
    if (progress) progress(compaction.report());
    if (!compaction.is_full()) continue;
    FIRN_TRY(compaction.Commit(stop));
    LogCommitted(plan.loaded.identifier, compaction.report());
  }
  // One group's failure does not cost those that are merged.
  FIRN_TRY(compaction.Commit(stop));
  return go_on && !stop.stop_requested();
}

Result<CompactionReport> CompactOnce(const CompactionParts& parts, const iceberg::TableIdentifier& table,
                                     const CompactionOptions& options,
                                     const std::function<void(const CompactionReport&)>& progress,
                                     const std::stop_token& stop) {
  FIRN_ASSIGN(iceberg::LoadedTable loaded, parts.catalog.LoadTable(table));
  PlanOptions plan_options;
  plan_options.where = options.where;
  plan_options.sort = options.sort;
  FIRN_ASSIGN(TablePlan plan, PlanTable(std::move(loaded), parts.store, plan_options));
  TableCompaction compaction(parts, std::move(plan), {options.output_age_ms_max, options.sort_memory_bytes},
                             [&stop] { return !stop.stop_requested(); });
  if (options.dry_run) {
    compaction.CountPlanned();
    return compaction.report();
  }
  plan_options.refused = &compaction.refused();
  std::set<std::string> failed;
  Status first;
  for (;;) {
    const size_t refused = compaction.refused().size();
    FIRN_ASSIGN(const bool go_on, DoPlanned(compaction, progress, stop, failed, first));
    // What is left of groups with refused files is picked without those.
    if (!go_on || !options.sort.has_value() || compaction.refused().size() == refused) break;
    FIRN_ASSIGN(loaded, parts.catalog.LoadTable(table));
    FIRN_ASSIGN(plan, PlanTable(std::move(loaded), parts.store, plan_options));
    compaction.Replan(std::move(plan));
  }
  FIRN_TRY(first);
  if (progress) progress(compaction.report());
  return compaction.report();
}

}  // namespace

Result<CompactionReport> CompactTable(const CompactionParts& parts, const iceberg::TableIdentifier& table,
                                      const CompactionOptions& options,
                                      const std::function<void(const CompactionReport&)>& progress,
                                      std::stop_token stop) {
  auto report = CompactOnce(parts, table, options, progress, stop);
  return WithContext(std::move(report), fmt::format("compacting table '{}'", table.ToString()));
}

}  // namespace firn::compaction
