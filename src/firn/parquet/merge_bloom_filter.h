// The bloom filter of a merged column chunk, made anew out of all its values: filters of inputs have other sizes and
// cannot be put together.
//
// One thread's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "firn/base/error.h"
#include "firn/parquet/file_layout.h"
#include "firn/parquet/merge_values.h"

namespace parquet {
class BlockSplitBloomFilter;
}

namespace firn::parquet {

class MergedBloomFilter {
 public:
  // `values`: how many there will be, for the filter's size where no number of distinct values is given.
  MergedBloomFilter(const FileLayoutOptions& options, int32_t field_id, double fpp, int64_t values);
  ~MergedBloomFilter();

  // PLAIN values of the output's type.
  Status Add(ValueType type, std::string_view plain, int64_t count);
  // Header and bits, as they stand in the file.
  Result<std::string> Bytes() const;

 private:
  uint64_t HashOf(ValueType type, std::string_view value) const;

  std::unique_ptr<::parquet::BlockSplitBloomFilter> filter_;
};

}  // namespace firn::parquet
