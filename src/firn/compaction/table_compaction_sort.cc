// TableCompaction, the strategy `sort`: the rows of a group's files, sorted, as new files.
#include <arrow/record_batch.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "firn/columnar/external_sort.h"
#include "firn/compaction/row_filter.h"
#include "firn/compaction/row_reader.h"
#include "firn/compaction/table_compaction.h"

namespace firn::compaction {
namespace {

// Of the memory for sorting, what a row group may have that is written while the rows are merged.
constexpr int64_t kRowGroupPart = 4;
// A larger input is spilled while its rows are read.
constexpr int64_t kInputPart = 32;
// Rows between two questions whether to go on.
constexpr int64_t kRowsBetweenSteps = 65'536;

iceberg::DataFile EntryOf(std::string location, const schema::PartitionTuple& partition, parquet::FileMetrics metrics,
                          const SortPlan& sort) {
  iceberg::DataFile file;
  file.file_path = std::move(location);
  file.partition = partition;
  file.record_count = metrics.record_count;
  file.file_size_in_bytes = metrics.file_size_in_bytes;
  file.column_sizes = std::move(metrics.column_sizes);
  file.value_counts = std::move(metrics.value_counts);
  file.null_value_counts = std::move(metrics.null_value_counts);
  file.nan_value_counts = std::move(metrics.nan_value_counts);
  file.lower_bounds = std::move(metrics.lower_bounds);
  file.upper_bounds = std::move(metrics.upper_bounds);
  file.split_offsets = std::move(metrics.split_offsets);
  file.sort_order_id = sort.id;
  return file;
}

}  // namespace

// `files` shrinks by those that are refused. `bad`: the file that an error came from.
Status TableCompaction::TrySort(const PickedGroup& group, DeleteReader& deletes, std::vector<size_t>& files,
                                std::optional<size_t>& bad) {
  columnar::ExternalSort sort(plan_.loaded.metadata.CurrentSchema(), plan_.sort->order,
                              {limits_.sort_memory_bytes, parts_.spill, step_});
  Inputs inputs;
  Status added = AddRows(group, deletes, sort, files, inputs);
  if (!added.has_value()) {
    bad = inputs.failed;
    return added;
  }
  if (files.size() < group.files.size()) return RefusedInput();
  if (!IsWorthIt(group, inputs)) return {};
  const bool any_deleted = std::ranges::any_of(inputs.taken, [](const MergeInput& input) {
    return input.rows_deleted > 0;
  });
  std::vector<iceberg::DataFile> outputs;
  // Files without a row become one.
  if (sort.rows() > 0 || !any_deleted) {
    FIRN_ASSIGN(outputs, WriteSorted(group, sort));
  }
  report_.sort.rows += sort.rows();
  report_.sort.runs += sort.runs();
  report_.sort.passes += sort.passes();
  report_.sort.bytes_spilled += sort.bytes_spilled();
  return Finish(group, deletes, inputs, std::move(outputs));
}

Status TableCompaction::AddRows(const PickedGroup& group, DeleteReader& deletes, columnar::ExternalSort& sort,
                                std::vector<size_t>& files, Inputs& inputs) {
  auto nowhere = [](std::string_view) -> Status { return {}; };
  FIRN_ASSIGN(const auto checker,
              parquet::FileMerge::Create(plan_.loaded.metadata.CurrentSchema(), plan_.layout, "{}", nowhere));
  const std::vector<size_t> wanted = files;
  FIRN_TRY(ReadInputs(wanted, files, [&](size_t file, std::shared_ptr<const std::string> bytes) -> Status {
    std::optional<FileDeletes> applicable;
    if (auto checked = checker->Check(*bytes, plan_.FileAt(file).record_count); !checked.has_value()) {
      LeaveAlone(file, checked.error().reason, checked.error().detail);
    } else {
      FIRN_ASSIGN(applicable, DeletesFor(group, deletes, file));
    }
    if (!applicable.has_value()) {
      std::erase(files, file);
      return {};
    }
    // Nothing comes of the group any more; what else is to be refused is still looked for.
    if (files.size() < wanted.size()) return {};
    MergeInput input{.file = file};
    FIRN_TRY(AddRowsOf(*applicable, std::move(bytes), sort, inputs, input));
    inputs.taken.push_back(std::move(input));
    return {};
  }));
  NoteEquality(group, inputs);
  return {};
}

// `inputs.failed` says when an error is the file's.
Status TableCompaction::AddRowsOf(const FileDeletes& deletes, std::shared_ptr<const std::string> bytes,
                                  columnar::ExternalSort& sort, Inputs& inputs, MergeInput& input) {
  inputs.failed = input.file;
  // A large one does not stay in memory beside the rows that it gives.
  const bool is_large = static_cast<int64_t>(bytes->size()) > limits_.sort_memory_bytes / kInputPart;
  FIRN_ASSIGN(auto reader, RowReader::Open(plan_.loaded.metadata.CurrentSchema(), std::move(bytes),
                                           is_large ? parts_.spill : nullptr));
  RowFilter filter(deletes);
  for (;;) {
    FIRN_ASSIGN(std::shared_ptr<arrow::RecordBatch> batch, reader->Next());
    if (batch == nullptr) break;
    FIRN_ASSIGN(batch, filter.Next(batch));
    if (batch == nullptr) continue;
    inputs.failed.reset();
    FIRN_TRY(sort.Add(batch));
    inputs.failed = input.file;
  }
  inputs.failed.reset();
  input.rows_deleted = filter.rows_deleted();
  return {};
}

Result<std::vector<iceberg::DataFile>> TableCompaction::WriteSorted(const PickedGroup& group,
                                                                    columnar::ExternalSort& sort) {
  parquet::FileLayoutOptions options = plan_.layout;
  options.row_group_bytes_max = std::min(options.row_group_bytes_max, limits_.sort_memory_bytes / kRowGroupPart);
  std::string location;
  std::unique_ptr<env::ObjectWriter> object;
  auto sink = [&](std::string_view bytes) -> Status {
    if (object == nullptr) {
      NoteOutput();
      location = NewLocation(group);
      FIRN_ASSIGN(object, parts_.store.OpenWrite(location));
    }
    return object->Append(bytes);
  };
  FIRN_ASSIGN(auto layout, parquet::FileLayout::Create(plan_.loaded.metadata.CurrentSchema(), options,
                                                       plan_.schema_json, sink));
  std::vector<iceberg::DataFile> outputs;
  auto end_file = [&]() -> Status {
    FIRN_ASSIGN(parquet::FileMetrics metrics, layout->Close());
    FIRN_TRY(object->Close());
    object.reset();
    const schema::PartitionTuple& partition = plan_.FileAt(group.files.front()).partition;
    outputs.push_back(EntryOf(location, partition, std::move(metrics), *plan_.sort));
    return {};
  };
  FIRN_ASSIGN(const columnar::RowSource next, sort.Finish());
  bool is_open = false;
  for (int64_t rows_since_step = 0;;) {
    FIRN_ASSIGN(const columnar::RowSlice rows, next());
    if (rows.batch == nullptr) break;
    rows_since_step += rows.rows();
    if (rows_since_step >= kRowsBetweenSteps) {
      if (step_ && !step_()) return Fail(ErrorCode::kCancelled, "stopped while sorted files are written");
      rows_since_step = 0;
    }
    if (!is_open && !outputs.empty()) layout->Reopen();
    is_open = true;
    FIRN_TRY(layout->Write(rows));
    if (layout->bytes_estimated() < plan_.target_bytes) continue;
    FIRN_TRY(end_file());
    is_open = false;
  }
  if (is_open || outputs.empty()) FIRN_TRY(end_file());
  return outputs;
}

}  // namespace firn::compaction
