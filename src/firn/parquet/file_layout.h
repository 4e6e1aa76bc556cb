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
#include "firn/schema/type.h"

namespace arrow {
class RecordBatch;
}

namespace firn::parquet {

enum class MetricsMode : uint8_t { kNone, kCounts, kTruncate, kFull };

struct ColumnMetricsOptions {
  MetricsMode mode = MetricsMode::kTruncate;
  int32_t truncate_length = 16;  // code points of a string, bytes of a binary
};

// From table properties (write.parquet.*, write.metadata.metrics.*) and the table's sort order.
struct FileLayoutOptions {
  std::string compression_codec = "zstd";  // uncompressed, snappy, gzip, zstd, lz4, brotli
  int32_t compression_level = -1;          // -1: the codec's default here (zstd 1)
  int64_t row_group_bytes_max = 128 << 20;
  int64_t page_bytes_max = 1 << 20;
  int64_t page_rows_max = 20'000;
  int64_t dictionary_bytes_max = 2 << 20;
  int32_t page_version = 1;
  std::map<int32_t, double> bloom_filter_fpp;            // by leaf field id
  std::map<int32_t, ColumnMetricsOptions> metrics;       // by leaf field id; missing: the default below
  ColumnMetricsOptions default_metrics;
};

// Reads the options out of Iceberg table properties. kInvalidInput names property and value. Unknown properties under
// write.parquet. are ignored (other writers define their own).
Result<FileLayoutOptions> FileLayoutOptionsFromProperties(const std::map<std::string, std::string>& properties,
                                                          const schema::Schema& schema);

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

class FileLayout {
 public:
  // `schema_json`: the Iceberg schema, stored under "iceberg.schema" in the footer as Java does.
  static Result<std::unique_ptr<FileLayout>> Create(const schema::Schema& schema, const FileLayoutOptions& options,
                                                    std::string schema_json, ByteSink sink);
  virtual ~FileLayout() = default;
  // Batches of the Arrow schema of `schema`, in file order.
  virtual Status Write(const arrow::RecordBatch& batch) = 0;
  // Bytes that the file would have if it were closed now, roughly: for rolling over at the target size.
  virtual int64_t bytes_estimated() const = 0;
  virtual Result<FileMetrics> Close() = 0;
};

}  // namespace firn::parquet
