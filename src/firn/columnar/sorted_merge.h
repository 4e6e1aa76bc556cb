// SortedMerge: sorted rows out of several sources in one order, without holding more than a batch of each.
//
// One thread. Equal rows keep the order of their sources, and inside a source their own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "firn/base/error.h"
#include "firn/columnar/row_pack.h"
#include "firn/schema/partition.h"

namespace arrow {
class RecordBatch;
}

namespace firn::columnar {

inline constexpr int64_t kMergedRowsMax = 8'192;
inline constexpr int64_t kMergedBytesMax = 2 << 20;

// Rows in order, piece by piece; without a batch at the end.
using RowSource = std::function<Result<RowSlice>()>;

class SortedMerge {
 public:
  // `schema` and `order` must outlive the merge; `order` has a field at least.
  SortedMerge(const schema::Schema& schema, const schema::SortOrder& order, std::vector<RowSource> sources,
              int64_t batch_bytes_max = kMergedBytesMax);
  ~SortedMerge();

  // The next rows, none at the end. Batches hold at most kMergedRowsMax rows and about `batch_bytes_max` bytes, single
  // rows excepted; where one source has it all, its own batches come out as they are.
  Result<RowSlice> Next();

 private:
  struct Input;
  struct Taken;
  Status Start();
  Status Refill(Input& input);
  bool Before(const Input* a, const Input* b) const;
  void Push(Input* input);
  Input* Pop();
  Result<std::shared_ptr<arrow::RecordBatch>> Gather(std::vector<Taken>& taken, std::vector<uint32_t>& order) const;

  const schema::Schema& schema_;
  const schema::SortOrder& order_;
  const int64_t batch_bytes_max_;
  std::vector<std::unique_ptr<Input>> inputs_;
  std::vector<Input*> heap_;  // those with rows, the least row on top
  bool started_ = false;
};

}  // namespace firn::columnar
