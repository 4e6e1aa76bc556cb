// FileLayout: writes one Parquet data file and reports its true metrics, keyed by Iceberg field id.
//
// One thread a file. Knows Parquet and Iceberg *types*, nothing of tables, manifests or catalogs.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/columnar/row_pack.h"
#include "firn/schema/partition.h"
#include "firn/schema/type.h"

namespace arrow {
class RecordBatch;
class Schema;
}  // namespace arrow

namespace firn::parquet {

enum class MetricsMode : uint8_t { kNone, kCounts, kTruncate, kFull };

struct ColumnMetricsOptions {
  MetricsMode mode = MetricsMode::kTruncate;
  int32_t truncate_length = 16;  // code points of a string, bytes of a binary
};

// From table properties (write.parquet.*, write.metadata.metrics.*) and the table's sort order. Defaults are those of
// Iceberg's Java library but for the compression level: zstd 1, which on events is faster and no larger than 3.
struct FileLayoutOptions {
  std::string compression_codec = "zstd";  // uncompressed, snappy, gzip, zstd, lz4 (as LZ4_RAW), brotli
  int32_t compression_level = -1;          // -1: the codec's default here (zstd 1, gzip 6)
  int64_t row_group_bytes_max = 128 << 20;  // encoded and compressed
  int64_t row_group_rows_max = 1 << 20;
  int64_t page_bytes_max = 1 << 20;
  int64_t page_rows_max = 20'000;
  int64_t dictionary_bytes_max = 2 << 20;
  int32_t page_version = 1;
  bool page_checksum = false;
  bool modern_encodings = true;            // else only dictionary and PLAIN; see column_encoding.h
  int64_t bloom_filter_bytes_max = 1 << 20;
  // By leaf field id; the columns that have a bloom filter. DuckDB up to 1.5.5 asks such a filter of a binary or fixed
  // column for the wrong bytes, and then finds no rows (duckdb#23829).
  std::map<int32_t, double> bloom_filter_fpp;
  std::map<int32_t, int64_t> bloom_filter_ndv;           // by leaf field id; missing: as many as rows in a row group
  std::map<int32_t, ColumnMetricsOptions> metrics;       // by leaf field id; missing: the default below
  ColumnMetricsOptions default_metrics;
};

// Reads the options out of Iceberg table properties:
//   write.parquet.{row-group-size-bytes, page-size-bytes, page-row-limit, dict-size-bytes, page-version,
//     compression-codec, compression-level, bloom-filter-enabled.column.C, bloom-filter-fpp.column.C,
//     bloom-filter-ndv.column.C, bloom-filter-max-bytes},
//   write.metadata.metrics.{default, column.C, max-inferred-column-defaults},
//   firn.parquet.{encodings = modern|compatible, page-checksum = true|false, row-group-row-limit}.
// Columns of `sort_order` keep at least truncate(16) bounds unless the column's own property says otherwise.
// kInvalidInput names property and value. Unknown properties are ignored (other writers define their own), and so are
// those of columns that the schema does not have (any more).
Result<FileLayoutOptions> FileLayoutOptionsFromProperties(const std::map<std::string, std::string>& properties,
                                                          const schema::Schema& schema,
                                                          const schema::SortOrder& sort_order = {});

struct FileMetrics {
  int64_t record_count = 0;
  int64_t file_size_in_bytes = 0;
  std::map<int32_t, int64_t> column_sizes;
  std::map<int32_t, int64_t> value_counts;       // nulls and NaNs included
  std::map<int32_t, int64_t> null_value_counts;
  std::map<int32_t, int64_t> nan_value_counts;   // float and double only
  std::map<int32_t, std::string> lower_bounds;   // single-value serialization; none below lists and maps
  std::map<int32_t, std::string> upper_bounds;
  std::vector<int64_t> split_offsets;            // row-group starts
};

// Bytes go out through this; a Status that fails ends the file.
using ByteSink = std::function<Status(std::string_view)>;

struct FileForm;

// What files of one schema and one set of options share (file_form.h). `schema_json`: the Iceberg schema, stored under
// "iceberg.schema" in the footer as Java does. kUnsupported names a column that Parquet cannot store, kInvalidInput a
// codec that this build does not have.
Result<std::shared_ptr<const FileForm>> MakeFileForm(const schema::Schema& schema, const FileLayoutOptions& options,
                                                     const std::string& schema_json);

class FileLayout {
 public:
  static std::unique_ptr<FileLayout> Create(std::shared_ptr<const FileForm> form, ByteSink sink);
  // With a form of its own.
  static Result<std::unique_ptr<FileLayout>> Create(const schema::Schema& schema, const FileLayoutOptions& options,
                                                    std::string schema_json, ByteSink sink);
  virtual ~FileLayout() = default;
  // Rows of the Arrow schema of `schema`, in file order; field names and nullability in the batch's own types do not
  // matter, a null in a required column is kInvalidInput. The first batches are kept (not copied) until the encodings
  // can be chosen from them. After a failure the file is of no use: every later call returns that error.
  virtual Status Write(const columnar::RowSlice& rows) = 0;
  Status Write(const arrow::RecordBatch& batch);
  // Bytes that the file would have if it were closed now, roughly: for rolling over at the target size.
  virtual int64_t bytes_estimated() const = 0;
  // Bytes that the writer holds in memory: batches not encoded yet, pages of the open row group.
  virtual int64_t bytes_buffered() const = 0;
  // Writes the footer. A layout that is destroyed without it sends nothing more into the sink.
  virtual Result<FileMetrics> Close() = 0;
  // After a Close that succeeded: the next rows begin another file, whose bytes go into the same sink. It is the same
  // file that a new layout would write, without the cost of making one, which is more than that of a hundred rows.
  virtual void Reopen() = 0;
};

}  // namespace firn::parquet
