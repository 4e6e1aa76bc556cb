// ValueScan: what Arrow's own statistics do not tell about a batch: how many NaNs each float column holds, and whether
// a required column holds a null, which Parquet would store as something else without a word.
//
// Owned by one file writer. Only values that exist are looked at: what lies under a null struct or outside the range of
// a list is not a value.
#pragma once

#include <cstdint>
#include <map>

#include "firn/base/error.h"
#include "firn/schema/type.h"

namespace arrow {
class RecordBatch;
}

namespace firn::parquet {

class ValueScan {
 public:
  // `schema` must outlive the scan.
  explicit ValueScan(const schema::Schema& schema);

  // A batch of the schema's layout. kInvalidInput names a required column with a null in it.
  Status Add(const arrow::RecordBatch& batch);

  // By field id; every float and double leaf has an entry.
  const std::map<int32_t, int64_t>& nan_counts() const { return nan_counts_; }

 private:
  const schema::Schema& schema_;
  std::map<int32_t, int64_t> nan_counts_;
};

}  // namespace firn::parquet
