// Partitioner: from rows in memory to groups of rows of one partition each, in the table's sort order where it has one.
//
// Pure and single-threaded. Groups come out in order of their first row; rows inside a group keep their order unless
// the table declares a sort order.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "firn/base/error.h"
#include "firn/columnar/row_pack.h"
#include "firn/schema/partition.h"

namespace firn::columnar {

// Batches are put together into one, to be sorted, up to so many bytes: strings of one batch have 32-bit offsets.
inline constexpr int64_t kSortedBatchBytesMax = 512 << 20;

struct PartitionGroup {
  schema::PartitionTuple partition;  // empty when unpartitioned
  std::vector<RowSlice> slices;  // its rows; slicing a batch for each of thousands of groups would cost more than them
  int64_t row_count = 0;

  std::vector<std::shared_ptr<arrow::RecordBatch>> Batches() const;  // the slices, sliced
};

// Groups the rows of `batches` (all of the Arrow schema of `schema`) by the spec's partition values, and sorts each
// group by `sort_order` (order_id 0: not at all; equal rows keep their order). Rows that are one group already, in
// order, come back as the batches that came in. What lies together is sliced; the rest is copied, all groups of a batch
// into the same buffers, which live as long as any of them. kUnsupported: a transform that Firn cannot apply.
// kInvalidInput: a field whose source column is missing or not of a type for it, or a decimal whose truncated value has
// more digits than its type. Sorted rows come in batches of at most `sorted_batch_bytes_max`, single rows excepted.
Result<std::vector<PartitionGroup>> GroupRows(const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches,
                                              const schema::Schema& schema, const schema::PartitionSpec& spec,
                                              const schema::SortOrder& sort_order,
                                              int64_t sorted_batch_bytes_max = kSortedBatchBytesMax);

}  // namespace firn::columnar
