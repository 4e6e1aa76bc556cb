#include "firn/compaction/table_compaction.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "firn/base/encoding.h"
#include "firn/base/log.h"
#include "firn/compaction/entry_metrics.h"
#include "firn/compaction/table_files.h"
#include "firn/iceberg/commit/append.h"
#include "firn/iceberg/commit/rewrite_files.h"
#include "firn/parquet/file_merge.h"
#include "firn/schema/schema_json.h"

namespace firn::compaction {
namespace {

double ThreadCpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

Result<int64_t> TargetBytes(const iceberg::TableMetadata& metadata, int64_t absent) {
  const std::optional<std::string> text = metadata.Property("write.target-file-size-bytes");
  if (!text.has_value()) return absent;
  int64_t value = 0;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error == std::errc() && end == text->data() + text->size() && value > 0) return value;
  return Fail(ErrorCode::kInvalidInput,
              fmt::format("table property write.target-file-size-bytes is not a positive number: '{}'", *text));
}

// Each "name=value" must name a field of some spec: a slip of the pen would find no file and look like success.
Status CheckWhere(const iceberg::TableMetadata& metadata, const std::vector<std::string>& where) {
  std::set<std::string> names;
  for (const schema::PartitionSpec& spec : metadata.partition_specs) {
    for (const schema::PartitionField& field : spec.fields) names.insert(field.name);
  }
  for (const std::string& wanted : where) {
    const size_t equals = wanted.find('=');
    if (equals != std::string::npos && names.contains(wanted.substr(0, equals))) continue;
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("a condition is PARTITION_FIELD=VALUE, and the table's partition fields are ({}): '{}'",
                            fmt::join(names, ", "), wanted));
  }
  return {};
}

// What is wrong with the input, not with the store or with us.
bool IsOfTheInput(ErrorCode code) {
  return code == ErrorCode::kCorruption || code == ErrorCode::kUnsupported || code == ErrorCode::kInvalidInput;
}

class TableCompaction {
 public:
  TableCompaction(const CompactionParts& parts, const iceberg::TableIdentifier& table, const CompactionOptions& options)
      : parts_(parts), table_(table), options_(options) {}

  Result<CompactionReport> Run(const std::function<void(const CompactionReport&)>& progress, std::stop_token stop) {
    const double cpu_before = ThreadCpuSeconds();
    FIRN_TRY(Plan());
    if (options_.dry_run) {
      for (const PickedGroup& group : picked_.groups) Count(group);
      return report_;
    }
    for (const PickedGroup& group : picked_.groups) {
      if (stop.stop_requested()) break;
      FIRN_TRY(MergeGroup(group));
      report_.cpu_s = ThreadCpuSeconds() - cpu_before;
      if (progress) progress(report_);
      if (request_.groups.size() >= kGroupsPerCommitMax) FIRN_TRY(Commit(stop));
    }
    FIRN_TRY(Commit(stop));
    report_.cpu_s = ThreadCpuSeconds() - cpu_before;
    if (progress) progress(report_);
    return report_;
  }

 private:
  Status Plan() {
    FIRN_ASSIGN(loaded_, parts_.catalog.LoadTable(table_));
    const iceberg::TableMetadata& metadata = loaded_.metadata;
    FIRN_TRY(iceberg::CheckWritable(metadata));
    FIRN_TRY(CheckWhere(metadata, options_.where));
    const schema::Schema& schema = metadata.CurrentSchema();
    FIRN_ASSIGN(layout_,
                parquet::FileLayoutOptionsFromProperties(metadata.properties, schema, metadata.DefaultSortOrder()));
    schema_json_ = schema::ToJson(schema).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    PickOptions pick;
    FIRN_ASSIGN(pick.target_bytes, TargetBytes(metadata, pick.target_bytes));
    pick.where = options_.where;
    SetOrder(metadata, pick);
    FIRN_ASSIGN(files_, ReadTableFiles(metadata, parts_.store));
    picked_ = Pick(files_, pick);
    request_.starting_sequence_number = metadata.last_sequence_number;
    request_.summary["firn.operation"] = "compaction";
    stem_ = fmt::format("firn-compacted-{}", FormatUuid(MakeUuidV4(parts_.random.Next64(), parts_.random.Next64())));
    report_.files_seen = picked_.files_seen;
    report_.groups_planned = static_cast<int64_t>(picked_.groups.size());
    report_.left_alone = picked_.left_alone;
    return {};
  }

  static void SetOrder(const iceberg::TableMetadata& metadata, PickOptions& pick) {
    const schema::SortOrder& order = metadata.DefaultSortOrder();
    if (order.fields.empty()) return;
    const schema::SortField& first = order.fields[0];
    const schema::Field* field = metadata.CurrentSchema().FindById(first.source_id);
    const bool as_it_is = first.transform.kind == schema::TransformKind::kIdentity &&
                          first.direction == schema::SortDirection::kAscending;
    if (!as_it_is || field == nullptr || !field->type->is_primitive()) return;
    pick.sort_field_id = first.source_id.value();
    pick.sort_type = field->type;
  }

  const iceberg::DataFile& FileAt(size_t index) const { return files_.data[index].entry.data_file; }

  void Count(const PickedGroup& group) {
    report_.files_before += static_cast<int64_t>(group.files.size());
    ++report_.files_after;
    report_.rows += group.rows;
    report_.bytes_before += group.bytes;
  }

  void LeaveAlone(size_t file, std::string_view reason, const std::string& detail) {
    ++report_.left_alone[std::string(reason)];
    LogInfo("a file is left as it is",
            {{"table", table_.ToString()}, {"file", FileAt(file).file_path}, {"reason", reason}, {"detail", detail}});
  }

  // One output file out of the group's files; those that cannot be merged drop out, and it is begun again without them
  // where their bytes were found damaged only on the way.
  Status MergeGroup(const PickedGroup& group) {
    std::vector<size_t> files = group.files;
    while (files.size() >= 2) {
      std::optional<size_t> bad;
      auto done = TryMerge(files, bad);
      if (done.has_value()) return {};
      if (!bad.has_value() || !IsOfTheInput(done.error().code())) return done;
      LeaveAlone(*bad, "damaged", done.error().message());
      std::erase(files, *bad);
    }
    ++report_.groups_dropped["too_few_files"];
    return {};
  }

  // `files` shrinks by those that are refused. `bad`: the file that an error came from.
  Status TryMerge(std::vector<size_t>& files, std::optional<size_t>& bad) {
    const LiveFile& first = files_.data[files.front()];
    const iceberg::LocationProvider locations = iceberg::LocationProvider::For(loaded_.metadata);
    const std::string location =
        locations.DataLocation(first.partition_path, fmt::format("{}-{:05}.parquet", stem_, ++file_number_));
    std::unique_ptr<env::ObjectWriter> object;
    auto sink = [&](std::string_view bytes) -> Status {
      if (object == nullptr) {
        FIRN_ASSIGN(object, parts_.store.OpenWrite(location));
      }
      return object->Append(bytes);
    };
    const schema::Schema& schema = loaded_.metadata.CurrentSchema();
    FIRN_ASSIGN(auto merge, parquet::FileMerge::Create(schema, layout_, schema_json_, sink));
    std::vector<size_t> taken;
    auto blame = [&] {
      if (auto input = merge->failed_input(); input.has_value()) bad = taken.at(*input);
    };
    for (size_t file : std::vector<size_t>(files)) {
      auto bytes = parts_.store.Read(FileAt(file).file_path);
      if (!bytes.has_value() && bytes.error().code() == ErrorCode::kNotFound) {
        LeaveAlone(file, "missing", bytes.error().message());
        std::erase(files, file);
        continue;
      }
      if (!bytes.has_value()) return std::unexpected<Error>(std::move(bytes.error()));
      // Before, so that a failure of the call can be laid to this file.
      taken.push_back(file);
      auto refusal = merge->Add(std::make_shared<const std::string>(*std::move(bytes)));
      if (!refusal.has_value()) {
        blame();
        return std::unexpected<Error>(std::move(refusal.error()));
      }
      if (!refusal->has_value()) continue;
      taken.pop_back();
      std::erase(files, file);
      LeaveAlone(file, (*refusal)->reason, (*refusal)->detail);
    }
    if (taken.size() < 2) {
      ++report_.groups_dropped["too_few_files"];
      return {};
    }
    auto metrics = merge->Close();
    if (!metrics.has_value()) {
      blame();
      return std::unexpected<Error>(std::move(metrics.error()));
    }
    FIRN_TRY(object->Close());
    return Finish(taken, location, *metrics, merge->counts());
  }

  Status Finish(const std::vector<size_t>& taken, const std::string& location, const parquet::FileMetrics& metrics,
                const parquet::MergeCounts& counts) {
    const LiveFile& first = files_.data[taken.front()];
    std::vector<const iceberg::DataFile*> inputs;
    iceberg::RewriteGroup group;
    group.spec_id = first.spec_id;
    PickedGroup done{.files = taken};
    for (size_t file : taken) {
      inputs.push_back(&FileAt(file));
      group.inputs.push_back(FileAt(file).file_path);
      done.bytes += FileAt(file).file_size_in_bytes;
      done.rows += FileAt(file).record_count;
    }
    if (done.rows != metrics.record_count) {
      ++report_.groups_dropped["row_count_differs"];
      LogWarning("manifest entries and files disagree on the number of rows, the files stay as they are",
                 {{"table", table_.ToString()}, {"entries", done.rows}, {"files", metrics.record_count}});
      return {};
    }
    iceberg::DataFile output;
    output.file_path = location;
    output.partition = first.entry.data_file.partition;
    FillMetrics(loaded_.metadata.CurrentSchema(), layout_, metrics, inputs, output);
    done.files.shrink_to_fit();
    report_.pages.Add(counts);
    group.outputs.push_back(std::move(output));
    request_.groups.push_back(std::move(group));
    merged_.push_back({std::move(done), metrics.file_size_in_bytes});
    return {};
  }

  Status Commit(std::stop_token stop) {
    if (request_.groups.empty()) return {};
    // What is merged is committed even when we are asked to stop; only waiting between attempts ends early.
    FIRN_ASSIGN(
        const iceberg::RewriteOutcome outcome,
        iceberg::CommitRewrite(parts_.catalog, table_, request_, parts_.store, parts_.clock, parts_.random, stop));
    report_.conflicts += outcome.conflicts;
    bool any = false;
    for (size_t i = 0; i < outcome.fates.size(); ++i) {
      const iceberg::GroupFate fate = outcome.fates[i];
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
    return {};
  }

  struct Merged {
    PickedGroup group;
    int64_t bytes = 0;
  };

  const CompactionParts& parts_;
  const iceberg::TableIdentifier& table_;
  const CompactionOptions& options_;
  iceberg::LoadedTable loaded_;
  parquet::FileLayoutOptions layout_;
  std::string schema_json_;
  TableFiles files_;
  Picked picked_;
  std::string stem_;
  int64_t file_number_ = 0;
  iceberg::RewriteRequest request_;
  std::vector<Merged> merged_;  // one a group of request_
  CompactionReport report_;
};

}  // namespace

Result<CompactionReport> CompactTable(const CompactionParts& parts, const iceberg::TableIdentifier& table,
                                      const CompactionOptions& options,
                                      const std::function<void(const CompactionReport&)>& progress,
                                      std::stop_token stop) {
  auto report = TableCompaction(parts, table, options).Run(progress, stop);
  return WithContext(std::move(report), fmt::format("compacting table '{}'", table.ToString()));
}

}  // namespace firn::compaction
