#include "firn/compaction/table_compaction.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "firn/base/encoding.h"
#include "firn/base/log.h"
#include "firn/compaction/entry_metrics.h"
#include "firn/iceberg/commit/append.h"

namespace firn::compaction {
namespace {

// What is wrong with the input, not with the store or with us.
bool IsOfTheInput(ErrorCode code) {
  return code == ErrorCode::kCorruption || code == ErrorCode::kUnsupported || code == ErrorCode::kInvalidInput;
}

}  // namespace

bool IsOfTheGroup(ErrorCode code) {
  return IsOfTheInput(code) || code == ErrorCode::kUnauthorized || code == ErrorCode::kNotFound ||
         code == ErrorCode::kIoError || code == ErrorCode::kInternal;
}

TableCompaction::TableCompaction(const CompactionParts& parts, TablePlan plan, Limits limits, StepFn step)
    : parts_(parts),
      plan_(std::move(plan)),
      limits_(limits),
      step_(std::move(step)),
      table_(plan_.loaded.identifier.ToString()),
      stem_(fmt::format("firn-compacted-{}", FormatUuid(MakeUuidV4(parts.random.Next64(), parts.random.Next64())))) {
  request_.starting_sequence_number = plan_.loaded.metadata.last_sequence_number;
  request_.summary["firn.operation"] = "compaction";
  report_.files_seen = plan_.picked.files_seen;
  report_.groups_planned = static_cast<int64_t>(plan_.picked.groups.size());
  report_.left_alone = plan_.picked.left_alone;
}

void TableCompaction::Count(const PickedGroup& group) {
  report_.files_before += static_cast<int64_t>(group.files.size());
  ++report_.files_after;
  report_.rows += group.rows;
  report_.bytes_before += group.bytes;
}

void TableCompaction::CountPlanned() {
  for (const PickedGroup& group : plan_.picked.groups) Count(group);
}

void TableCompaction::LeaveAlone(size_t file, std::string_view reason, const std::string& detail) {
  ++report_.left_alone[std::string(reason)];
  refused_[plan_.FileAt(file).file_path] = reason;
  LogInfo("a file is left as it is",
          {{"table", table_}, {"file", plan_.FileAt(file).file_path}, {"reason", reason}, {"detail", detail}});
}

// Files that cannot be merged drop out, and it is begun again without them where their bytes were found damaged only on
// the way.
Status TableCompaction::Merge(const PickedGroup& group) {
  if (request_.groups.empty()) request_.latest_boot_ms = parts_.clock.BootMs() + limits_.output_age_ms_max;
  std::vector<size_t> files = group.files;
  while (files.size() >= 2) {
    std::optional<size_t> bad;
    const size_t merged_before = merged_.size();
    const double cpu_before = parts_.cpu_seconds();
    Status done = TryMerge(files, bad);
    const double cpu_s = parts_.cpu_seconds() - cpu_before;
    report_.cpu_s += cpu_s;
    if (merged_.size() > merged_before) merged_cpu_s_ += cpu_s;
    if (done.has_value() || !bad.has_value() || !IsOfTheInput(done.error().code())) return done;
    const bool damaged = done.error().code() != ErrorCode::kUnsupported;
    LeaveAlone(*bad, damaged ? "damaged" : "unsupported", done.error().message());
    std::erase(files, *bad);
  }
  TooFewFiles();
  return {};
}

// `files` shrinks by those that are refused. `bad`: the file that an error came from.
Status TableCompaction::TryMerge(std::vector<size_t>& files, std::optional<size_t>& bad) {
  const LiveFile& first = plan_.files.data[files.front()];
  const iceberg::LocationProvider locations = iceberg::LocationProvider::For(plan_.loaded.metadata);
  const std::string location =
      locations.DataLocation(first.partition_path, fmt::format("{}-{:05}.parquet", stem_, ++file_number_));
  std::unique_ptr<env::ObjectWriter> object;
  auto sink = [&](std::string_view bytes) -> Status {
    if (object == nullptr) {
      FIRN_ASSIGN(object, parts_.store.OpenWrite(location));
    }
    return object->Append(bytes);
  };
  const schema::Schema& schema = plan_.loaded.metadata.CurrentSchema();
  FIRN_ASSIGN(auto merge, parquet::FileMerge::Create(schema, plan_.layout, plan_.schema_json, sink));
  std::vector<size_t> taken;
  Result<parquet::FileMetrics> metrics = Fail(ErrorCode::kInternal, "not merged");
  Status added = AddInputs(*merge, files, taken);
  if (added.has_value() && taken.size() < 2) {
    TooFewFiles();
    return {};
  }
  if (added.has_value()) metrics = merge->Close();
  if (!added.has_value() || !metrics.has_value()) {
    if (auto input = merge->failed_input(); input.has_value()) bad = taken.at(*input);
    return added.has_value() ? Status(std::unexpected<Error>(std::move(metrics.error()))) : added;
  }
  FIRN_TRY(object->Close());
  return Finish(taken, location, *metrics, merge->counts());
}

Status TableCompaction::AddInputs(parquet::FileMerge& merge, std::vector<size_t>& files, std::vector<size_t>& taken) {
  for (size_t file : std::vector<size_t>(files)) {
    if (step_ && !step_()) return Fail(ErrorCode::kCancelled, "stopped while files are merged");
    auto bytes = parts_.store.Read(plan_.FileAt(file).file_path);
    if (!bytes.has_value() && bytes.error().code() == ErrorCode::kNotFound) {
      LeaveAlone(file, "missing", bytes.error().message());
      std::erase(files, file);
      continue;
    }
    if (!bytes.has_value()) return std::unexpected<Error>(std::move(bytes.error()));
    // Before, so that a failure of the call can be laid to this file.
    taken.push_back(file);
    FIRN_ASSIGN(auto refusal, merge.Add(std::make_shared<const std::string>(*std::move(bytes))));
    if (!refusal.has_value()) continue;
    taken.pop_back();
    std::erase(files, file);
    LeaveAlone(file, refusal->reason, refusal->detail);
  }
  return {};
}

Status TableCompaction::Finish(const std::vector<size_t>& taken, const std::string& location,
                               const parquet::FileMetrics& metrics, const parquet::MergeCounts& counts) {
  const LiveFile& first = plan_.files.data[taken.front()];
  std::vector<const iceberg::DataFile*> inputs;
  iceberg::RewriteGroup group;
  group.spec_id = first.spec_id;
  PickedGroup done{.files = taken};
  for (size_t file : taken) {
    const iceberg::DataFile& input = plan_.FileAt(file);
    inputs.push_back(&input);
    group.inputs.push_back(input.file_path);
    done.bytes += input.file_size_in_bytes;
    done.rows += input.record_count;
  }
  if (done.rows != metrics.record_count) {
    ++report_.groups_dropped["row_count_differs"];
    for (const std::string& path : group.inputs) refused_[path] = "row_count_differs";
    LogWarning("manifest entries and files disagree on the number of rows, the files stay as they are",
               {{"table", table_}, {"entries", done.rows}, {"files", metrics.record_count}});
    return {};
  }
  iceberg::DataFile output;
  output.file_path = location;
  output.partition = first.entry.data_file.partition;
  FillMetrics(plan_.loaded.metadata.CurrentSchema(), plan_.layout, metrics, inputs, output);
  report_.pages.Add(counts);
  merged_bytes_ += done.bytes;
  group.outputs.push_back(std::move(output));
  request_.groups.push_back(std::move(group));
  merged_.push_back({std::move(done), metrics.file_size_in_bytes});
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
  if (!outcome.has_value()) return std::unexpected<Error>(std::move(outcome.error()));
  report_.conflicts += outcome->conflicts;
  bool any = false;
  for (size_t i = 0; i < outcome->fates.size(); ++i) {
    const iceberg::GroupFate fate = outcome->fates[i];
    if (fate != iceberg::GroupFate::kReplaced && fate != iceberg::GroupFate::kAlreadyDone) {
      ++report_.groups_dropped[std::string(iceberg::GroupFateName(fate))];
      continue;
    }
    any = true;
    ++report_.groups_done;
    Count(merged_[i].group);
    report_.bytes_after += merged_[i].bytes;
  }
  report_.commits += any ? 1 : 0;
  request_.groups.clear();
  merged_.clear();
  merged_bytes_ = 0;
  merged_cpu_s_ = 0;
  return {};
}

namespace {

Result<CompactionReport> CompactOnce(const CompactionParts& parts, const iceberg::TableIdentifier& table,
                                     const CompactionOptions& options,
                                     const std::function<void(const CompactionReport&)>& progress,
                                     const std::stop_token& stop) {
  FIRN_ASSIGN(iceberg::LoadedTable loaded, parts.catalog.LoadTable(table));
  FIRN_ASSIGN(TablePlan plan, PlanTable(std::move(loaded), parts.store, {.where = options.where}));
  TableCompaction compaction(parts, std::move(plan), {.output_age_ms_max = options.output_age_ms_max},
                             [&stop] { return !stop.stop_requested(); });
  if (options.dry_run) {
    compaction.CountPlanned();
    return compaction.report();
  }
  Status first;
  for (const PickedGroup& group : compaction.plan().picked.groups) {
    Status merged = compaction.Merge(group);
    if (!merged.has_value() && merged.error().code() == ErrorCode::kCancelled && stop.stop_requested()) break;
    const bool go_on = merged.has_value() || IsOfTheGroup(merged.error().code());
    if (!merged.has_value()) {
      LogWarning("a group of files was not merged", {{"table", table.ToString()}, {"error", merged.error()}});
      if (first.has_value()) first = std::move(merged);
    }
    if (!go_on) break;
    if (progress) progress(compaction.report());
    if (compaction.is_full()) FIRN_TRY(compaction.Commit(stop));
  }
  // One group's failure does not cost those that are merged.
  FIRN_TRY(compaction.Commit(stop));
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
