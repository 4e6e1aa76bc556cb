// TableCompaction: carries out a TablePlan: merges groups page by page, or sorts their rows where the plan says so,
// applies row deletes on the way, and commits what is done. CompactTable: plans and does all of it, once.
//
// One thread. What a query gives, positions and snapshots of others stay as they are; old files stay until their
// snapshots expire. A file with rows that were deleted is decoded and encoded anew without them, and only that file.
// Files that cannot be merged are left where they are, counted by reason. A crash leaves files that nobody names
// (orphans), never a changed table.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/compaction/cpu_pace.h"
#include "firn/compaction/row_deletes.h"
#include "firn/compaction/table_plan.h"
#include "firn/env/clock.h"
#include "firn/env/object_store.h"
#include "firn/env/spill_file.h"
#include "firn/iceberg/catalog/catalog.h"
#include "firn/iceberg/commit/rewrite_files.h"
#include "firn/parquet/file_merge.h"
#include "firn/parquet/merge_chunk.h"

namespace firn::columnar {
class ExternalSort;
}

namespace firn::compaction {

// What one commit takes: each commit reads the table's manifests and writes those anew that its files stand in, and
// what is not committed is work that can still be lost.
inline constexpr size_t kGroupsPerCommitMax = 256;
inline constexpr size_t kFilesPerCommitMax = 10'000;
inline constexpr int64_t kBytesPerCommitMax = int64_t{2} << 30;

// An error of one group's files; others may do. Elsewhere each group would meet the same.
bool IsOfTheGroup(ErrorCode code);

struct CompactionOptions {
  std::vector<std::string> where;  // "name=value", as in partition paths
  bool dry_run = false;
  int64_t output_age_ms_max = 6 * 3'600'000;  // as TableCompaction::Limits
  int64_t sort_memory_bytes = 256 << 20;      // likewise
  std::optional<SortRequest> sort;            // null: files are put together as they are
};

// What sorting took; nothing where pages are moved.
struct SortCounts {
  int64_t rows = 0;
  int64_t runs = 0;  // that were packed, because the rows were too many for one piece
  int64_t passes = 0;
  int64_t bytes_spilled = 0;
};

struct CompactionReport {
  int64_t files_seen = 0;
  int64_t groups_planned = 0;
  int64_t groups_done = 0;
  std::map<std::string, int64_t> groups_dropped;  // by reason: "input_gone", "input_refused", "too_few_files", ...
  std::map<std::string, int64_t> left_alone;      // files, by reason
  int64_t files_before = 0;                       // of the groups that were done; of a dry run: that were planned
  int64_t files_after = 0;
  int64_t rows = 0;                               // of the new files; of a dry run: of the old ones
  int64_t rows_deleted = 0;                       // that the new files lack, because they were deleted
  int64_t delete_files_removed = 0;
  int64_t bytes_before = 0;
  int64_t bytes_after = 0;
  int64_t commits = 0;
  int64_t conflicts = 0;
  double cpu_s = 0;
  parquet::MergeCounts pages;
  SortCounts sort;
};

// A file whose rows are in the output, but for deleted ones.
struct MergeInput {
  size_t file = 0;  // index of TableFiles::data
  int64_t rows_deleted = 0;
  std::shared_ptr<const iceberg::DataFile> left;  // metrics of its rows that are left, when some were deleted
};

struct CompactionParts {
  iceberg::Catalog& catalog;
  env::ObjectStore& store;
  env::Clock& clock;
  env::Random& random;
  std::function<double()> cpu_seconds = ThreadCpuSeconds;  // of the calling thread
  env::SpillFolder* spill = nullptr;                       // for rows that are sorted; null: memory has to do
};

class TableCompaction {
 public:
  struct Limits {
    int64_t output_age_ms_max = 6 * 3'600'000;  // older outputs are not committed (DESIGN 3, invariant 4)
    int64_t sort_memory_bytes = 256 << 20;      // for rows that are sorted and the row group that is written
  };
  // Asked between two inputs, and between two pieces of sorted rows; false: the group is abandoned.
  using StepFn = std::function<bool()>;

  TableCompaction(const CompactionParts& parts, TablePlan plan, Limits limits, StepFn step);

  const TablePlan& plan() const { return plan_; }
  // Another plan for the same table, when nothing waits for a commit: the report goes on.
  void Replan(TablePlan plan);
  // One output file out of the group's files, or several sorted ones, to be committed. A group that comes to nothing is
  // success, and counted; so is one to be sorted of which a file is refused, since the others may be due for that file
  // alone. kCancelled: `step` said so.
  Status Merge(const PickedGroup& group);
  // Enough is merged for a commit.
  bool is_full() const {
    return request_.groups.size() >= kGroupsPerCommitMax || merged_files_ >= kFilesPerCommitMax ||
           merged_bytes_ >= kBytesPerCommitMax;
  }
  bool has_merged() const { return !request_.groups.empty(); }
  // What is merged will not be committed any more.
  bool is_too_old() const { return parts_.clock.BootMs() > request_.latest_boot_ms; }
  // What is merged becomes one snapshot. After an error it is still to be committed, and Commit may be called again.
  Status Commit(std::stop_token stop);

  // As if all of the plan had been done.
  void CountPlanned();
  const CompactionReport& report() const { return report_; }
  // Files that cannot be merged: another run would find the same.
  const RefusedFiles& refused() const { return refused_; }

 private:
  struct Merged {
    PickedGroup group;
    int64_t bytes = 0;
    int64_t outputs = 0;
    int64_t rows_deleted = 0;
  };
  struct Inputs {
    std::vector<MergeInput> taken;
    std::vector<size_t> merged;  // of taken, in the order of FileMerge::Add: those with rows
    std::optional<size_t> failed;
    bool any_equality = false;
  };
  void Count(const Merged& merged);
  void LeaveAlone(size_t file, std::string_view reason, const std::string& detail);
  void TooFewFiles() { ++report_.groups_dropped["too_few_files"]; }
  Status RefusedInput() {
    ++report_.groups_dropped["input_refused"];
    return {};
  }
  std::vector<size_t> DeletesOf(const PickedGroup& group, size_t file) const;
  bool IsEnough(const PickedGroup& group, const std::vector<size_t>& files) const;
  bool IsSorted(size_t file) const;
  Status TryMerge(const PickedGroup& group, DeleteReader& deletes, std::vector<size_t>& files,
                  std::optional<size_t>& bad);
  bool IsWorthIt(const PickedGroup& group, const Inputs& inputs);
  Status ReadInputs(const std::vector<size_t>& wanted, std::vector<size_t>& files,
                    const std::function<Status(size_t file, std::shared_ptr<const std::string> bytes)>& take);
  Status AddInputs(const PickedGroup& group, DeleteReader& deletes, parquet::FileMerge& merge,
                   std::vector<size_t>& files, Inputs& inputs);
  Result<std::optional<FileDeletes>> DeletesFor(const PickedGroup& group, DeleteReader& deletes, size_t file);
  void NoteEquality(const PickedGroup& group, Inputs& inputs) const;
  Result<bool> ApplyDeletes(const PickedGroup& group, DeleteReader& deletes, const parquet::FileMerge& merge,
                            MergeInput& input, std::shared_ptr<const std::string>& bytes);
  std::string NewLocation(const PickedGroup& group);
  Status Finish(const PickedGroup& group, const DeleteReader& deletes, const Inputs& inputs,
                std::vector<iceberg::DataFile> outputs);
  // table_compaction_sort.cc
  Status TrySort(const PickedGroup& group, DeleteReader& deletes, std::vector<size_t>& files,
                 std::optional<size_t>& bad);
  Status AddRows(const PickedGroup& group, DeleteReader& deletes, columnar::ExternalSort& sort,
                 std::vector<size_t>& files, Inputs& inputs);
  Status AddRowsOf(const FileDeletes& deletes, std::shared_ptr<const std::string> bytes, columnar::ExternalSort& sort,
                   Inputs& inputs, MergeInput& input);
  void NoteOutput();
  Result<std::vector<iceberg::DataFile>> WriteSorted(const PickedGroup& group, columnar::ExternalSort& sort);

  const CompactionParts& parts_;
  TablePlan plan_;
  const Limits limits_;
  const StepFn step_;
  const std::string table_;
  const std::string stem_;  // of the names of its files
  int64_t file_number_ = 0;
  iceberg::RewriteRequest request_;
  std::vector<Merged> merged_;  // one a group of request_
  int64_t merged_bytes_ = 0;    // of their inputs
  size_t merged_files_ = 0;
  double merged_cpu_s_ = 0;
  RefusedFiles refused_;
  CompactionReport report_;
};

// `progress` is called after each group. When `stop` is requested, what is merged is committed and the report comes
// back. Errors: as PlanTable, and the catalog's and store's; what could be merged is committed all the same.
Result<CompactionReport> CompactTable(const CompactionParts& parts, const iceberg::TableIdentifier& table,
                                      const CompactionOptions& options,
                                      const std::function<void(const CompactionReport&)>& progress,
                                      std::stop_token stop);

}  // namespace firn::compaction
