// TableRows: the rows of one table in one batch, from the slab to the commit (DESIGN 2, "Slab").
//
// A slab that is full is packed: its rows are grouped by partition and sorted by the table's order. A group with a page
// of rows, where the table has no order, goes into a file under construction; every other group becomes part of a run.
// When the share of memory for waiting rows is used up, runs and finished pages go to the spill file. At the commit the
// rows are read again one partition at a time, as often as the commit takes. What the last slab holds is not packed
// before: it is grouped when it is written.
//
// Filled by one thread, then handed to the commit thread; while files are written, PartitionRows, each with a thread of
// its own, read it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "firn/base/error.h"
#include "firn/columnar/partitioner.h"
#include "firn/columnar/row_run.h"
#include "firn/columnar/sort_keys.h"
#include "firn/columnar/sorted_merge.h"
#include "firn/iceberg/commit/append.h"
#include "firn/ingest/file_plan.h"
#include "firn/ingest/kept_file.h"
#include "firn/ingest/memory_budget.h"
#include "firn/ingest/spill.h"

namespace firn::ingest {

// A table's rows come to their commit when it has so many runs: each costs a block in memory while they are merged.
inline constexpr size_t kRunsMax = 128;

struct PackTimes {
  double group_cpu_s = 0;  // and packing
  double encode_cpu_s = 0;
};

class TableRows {
 public:
  struct Limits {
    int64_t row_group_bytes_max = 64 << 20;
    int64_t direct_rows_min = 20'000;  // of a group that goes into a file at once: a page
    int64_t run_block_bytes = columnar::kRunBlockBytes;
  };
  struct Partition {
    schema::PartitionTuple tuple;
    std::vector<std::unique_ptr<KeptFile>> files;  // the last may be open
    size_t tail = SIZE_MAX;                        // its rows in the last slab
    bool closed = false;                           // the commit has put all rows into the last file and closed it
    std::vector<iceberg::DataFile> sent;           // all of it is in the store, by an attempt that failed elsewhere
  };

  // Budget and spill must outlive it. `table` and `schema_id` are what the rows were decoded by.
  TableRows(std::shared_ptr<const iceberg::LoadedTable> table, int32_t schema_id, MemoryBudget& memory, Spill& spill,
            Limits limits);
  TableRows(std::shared_ptr<const iceberg::LoadedTable> table, int32_t schema_id, MemoryBudget& memory, Spill& spill);
  ~TableRows();

  // Packs the slab. What cannot be done is told by PrepareToWrite: then the commit fails as if it had come up there.
  void Add(const std::shared_ptr<arrow::RecordBatch>& slab);
  // The rows that were decoded last; nothing is added after it. The rows are those of the commit under way now.
  void AddTail(std::shared_ptr<arrow::RecordBatch> slab);

  int64_t rows() const { return rows_; }
  int64_t waiting_bytes() const { return waiting_bytes_; }  // packed and encoded, in memory and spilled
  size_t run_count() const { return runs_.size(); }
  // Their commit has to come now: a thread that merges sorted rows holds a block of each run, however large.
  bool full() const {
    const bool is_merged = plan_ != nullptr && plan_->is_sorted();
    return runs_.size() >= kRunsMax || (is_merged && blocks_bytes_ > memory_.run_blocks_bytes_max());
  }
  PackTimes TakeTimes() { return std::exchange(times_, {}); }

  // Groups the tail; then the rest of the class may be used. May be called again.
  Status PrepareToWrite();
  const FilePlan& plan() const { return *plan_; }
  MemoryBudget& memory() const { return memory_; }
  std::vector<Partition>& partitions() { return partitions_; }
  // The rows are not to be had any more, and have to be read from the source again.
  bool lost() const { return lost_; }
  void MarkLost() { lost_ = true; }
  // After what cannot be tried again with these rows, but may succeed with the same ones read again. An error of
  // another kind would come again, and again: that is for the commit to tell.
  void MarkLostIfTransient(const Error& error);
  void MarkLostBySpill();  // which has not given back what it was given, and is not used any more

 private:
  friend class PartitionRows;
  Status MakePlan();
  Status Pack(const std::shared_ptr<arrow::RecordBatch>& slab);
  Result<bool> WriteDirectly(uint32_t partition, const columnar::PartitionGroup& group);
  uint32_t NumberOf(const schema::PartitionTuple& tuple);
  void SpillIfFull(columnar::RowRun& run);

  const std::shared_ptr<const iceberg::LoadedTable> table_;
  const int32_t schema_id_;
  MemoryBudget& memory_;
  Spill& spill_;
  const Limits limits_;
  std::shared_ptr<const FilePlan> plan_;
  Status failure_;
  std::vector<columnar::RowRun> runs_;
  std::vector<Partition> partitions_;
  std::unordered_map<std::string, uint32_t> numbers_;  // of partitions, by their tuple's bytes
  std::shared_ptr<arrow::RecordBatch> tail_;           // until grouped
  std::vector<columnar::PartitionGroup> tail_groups_;
  int64_t rows_ = 0;
  int64_t waiting_bytes_ = 0;
  int64_t blocks_bytes_ = 0;                           // the largest block of each run
  PackTimes times_;
  std::atomic<bool> lost_{false};
  MemoryHold runs_hold_;
  MemoryHold tail_hold_;
};

// Reads the packed rows, one partition at a time; one object a thread. Of each run it keeps the block at which it
// stands: the next partitions are in it.
class PartitionRows {
 public:
  explicit PartitionRows(TableRows& rows);
  ~PartitionRows();
  // The rows of a partition but for those in its files, in the table's order; valid until the next Open. Errors of the
  // spill file mark the rows as lost.
  Result<columnar::RowSource> Open(uint32_t partition);
  int64_t memory_bytes() const;  // of blocks

 private:
  columnar::RowSource RunSource(columnar::RunReader& reader);
  columnar::RowSource TailSource(const columnar::PartitionGroup& group) const;

  TableRows& rows_;
  std::vector<columnar::RunReader> readers_;  // of each run
  std::unique_ptr<columnar::SortedMerge> merge_;
};

}  // namespace firn::ingest
