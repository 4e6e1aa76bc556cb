// ExternalSort: rows in a sort order, whatever their number, in bounded memory.
//
// One thread's. Rows are collected up to an eighth of the memory, sorted and packed into a run; runs beyond a quarter
// of it go to spill files; in the end they are merged, in several passes where they are too many for one. Equal rows
// keep the order they came in. Of `memory_bytes` about two thirds are used at most (rows that are sorted are there
// twice), single long rows excepted; the index of spilled rows comes on top, about 32 bytes for each 128 KiB.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "firn/base/error.h"
#include "firn/columnar/row_run.h"
#include "firn/columnar/sorted_merge.h"
#include "firn/schema/partition.h"

namespace firn::env {
class SpillFolder;
}

namespace firn::columnar {

struct ExternalSortOptions {
  int64_t memory_bytes = 256 << 20;
  env::SpillFolder* spill = nullptr;  // null: everything has to fit into memory
  std::function<bool()> go_on;        // asked between two pieces of a pass; false: kCancelled. Null: true
};

class ExternalSort {
 public:
  // `schema` and `order` must outlive it; `order` has a field at least, and an id that is not 0.
  ExternalSort(const schema::Schema& schema, const schema::SortOrder& order, ExternalSortOptions options);
  ~ExternalSort();

  // Of columnar::ToArrowSchema of the schema but for names and nullability. kResourceExhausted: memory is full, and
  // there is no spill folder or it is full too.
  Status Add(const std::shared_ptr<arrow::RecordBatch>& batch);
  // After the last row: all of them in order. The source is good as long as this object. kCorruption, kIoError, from
  // the source too: a spill file does not give back what it was given.
  Result<RowSource> Finish();

  int64_t rows() const { return rows_; }
  int64_t runs() const { return runs_; }        // that were packed, not counting those of passes
  int64_t passes() const { return passes_; }    // merges that made room for the last one
  int64_t bytes_spilled() const { return bytes_spilled_; }

 private:
  // Sorted rows; one after another they are in order.
  using Chain = std::vector<RowRun>;
  class ChainReader;

  Result<std::vector<RowSlice>> SortBuffer();
  Status PackBuffer();
  Status Keep(RowRun run, bool may_stay, const std::shared_ptr<env::SpillFile>& file, Chain& chain);
  Result<std::shared_ptr<env::SpillFile>> FileOfRuns();
  size_t FanIn() const;
  Status MakeRoom();
  Result<Chain> MergeChains(size_t first, size_t count);
  std::unique_ptr<SortedMerge> MergeOf(size_t first, size_t count) const;
  RowSource SourceOf(const Chain& chain) const;

  const schema::Schema& schema_;
  const schema::SortOrder& order_;
  const ExternalSortOptions options_;
  const int64_t block_bytes_;
  const std::shared_ptr<arrow::Schema> arrow_schema_;
  std::vector<std::shared_ptr<arrow::RecordBatch>> buffer_;
  int64_t buffer_bytes_ = 0;
  std::vector<Chain> chains_;
  int64_t packed_bytes_ = 0;   // of chains, in memory
  int64_t largest_block_ = 0;  // of all chains, unpacked
  std::shared_ptr<env::SpillFile> file_;
  int64_t runs_of_file_ = 0;
  std::unique_ptr<SortedMerge> merge_;
  int64_t rows_ = 0;
  int64_t runs_ = 0;
  int64_t passes_ = 0;
  int64_t bytes_spilled_ = 0;
};

}  // namespace firn::columnar
