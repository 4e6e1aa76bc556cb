// FileMerge: one large Parquet file out of many small ones, by moving their pages instead of decoding their rows.
//
// One thread's. Add the inputs in the order that their rows are to have, then Close. What a page says is carried or
// rewritten column chunk by column chunk (merge_chunk.h); rows are neither dropped nor reordered. Held in memory: the
// inputs of one row group, whole, with what is known of them (held_bytes), and the made pages of one column chunk. A
// row group ends before that is more than its limit, so that thousands of files that are little but footers take no
// more than a few large ones.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/parquet/file_layout.h"
#include "firn/parquet/merge_chunk.h"
#include "firn/parquet/merge_columns.h"
#include "firn/schema/type.h"

namespace firn::parquet {

class FileMerge {
 public:
  // `schema_json` as FileLayout has it. Of the options these hold: codec and level for what is compressed anew, row
  // group, page and dictionary limits, encodings, checksums, bloom filters. kUnsupported, kInvalidInput: as FileLayout.
  static Result<std::unique_ptr<FileMerge>> Create(const schema::Schema& schema, const FileLayoutOptions& options,
                                                   std::string schema_json, ByteSink sink);
  virtual ~FileMerge() = default;

  // Can this file be merged? Looks at its footer alone; damaged footers are refused too ("damaged"), and files of
  // another number of rows than `rows`, where that is given ("row_count_differs").
  virtual std::expected<void, Refusal> Check(std::string_view file,
                                             std::optional<int64_t> rows = std::nullopt) const = 0;
  // The bytes of a whole file. A refusal leaves the merge as it was. An Error ends it: failed_input says which input
  // was the cause, nothing when it was the sink.
  virtual Result<std::optional<Refusal>> Add(std::shared_ptr<const std::string> file,
                                             std::optional<int64_t> rows = std::nullopt) = 0;
  // Writes what is left and the footer. Of the metrics: counts of rows, values and nulls, sizes and split offsets, all
  // true; bounds and counts of NaN are not made here.
  virtual Result<FileMetrics> Close() = 0;

  virtual int64_t bytes_written() const = 0;
  // Of inputs that wait for the end of their row group: their bytes, and what is known of them.
  virtual int64_t held_bytes() const = 0;
  virtual const MergeCounts& counts() const = 0;
  virtual std::optional<size_t> failed_input() const = 0;  // counts successful calls of Add, from 0
};

}  // namespace firn::parquet
