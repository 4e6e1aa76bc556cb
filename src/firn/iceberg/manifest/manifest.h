// Data files, manifest entries, manifests and manifest lists (spec: "Manifests", "Manifest Lists").
//
// Structures here; `manifest_avro.h` reads and writes their Avro bytes. Values without IO.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "firn/base/strong_id.h"
#include "firn/schema/partition.h"

namespace firn::iceberg {

enum class FileContent : int32_t { kData = 0, kPositionDeletes = 1, kEqualityDeletes = 2 };
enum class EntryStatus : int32_t { kExisting = 0, kAdded = 1, kDeleted = 2 };
enum class ManifestContent : int32_t { kData = 0, kDeletes = 1 };

// A count in a manifest list of format v1 that its writer left out; written lists have none.
inline constexpr int32_t kUnknownCount = -1;

// A partition value beyond that does not get into manifest lists: every planner of a query reads them whole.
inline constexpr size_t kPartitionValueBytesMax = 4096;

struct DataFile {
  FileContent content = FileContent::kData;
  std::string file_path;
  std::string file_format = "PARQUET";
  schema::PartitionTuple partition;
  int64_t record_count = 0;
  int64_t file_size_in_bytes = 0;
  std::map<int32_t, int64_t> column_sizes;       // keyed by leaf field id
  std::map<int32_t, int64_t> value_counts;
  std::map<int32_t, int64_t> null_value_counts;
  std::map<int32_t, int64_t> nan_value_counts;
  std::map<int32_t, std::string> lower_bounds;   // single-value serialization
  std::map<int32_t, std::string> upper_bounds;
  std::optional<std::string> key_metadata;
  std::vector<int64_t> split_offsets;
  std::vector<int32_t> equality_ids;
  std::optional<int32_t> sort_order_id;
  std::optional<int64_t> first_row_id;           // v3
  std::optional<std::string> referenced_data_file;
  std::optional<int64_t> content_offset;         // v3
  std::optional<int64_t> content_size_in_bytes;  // v3
};

struct ManifestEntry {
  EntryStatus status = EntryStatus::kAdded;
  std::optional<SnapshotId> snapshot_id;
  std::optional<int64_t> sequence_number;
  std::optional<int64_t> file_sequence_number;
  DataFile data_file;

  bool is_live() const { return status != EntryStatus::kDeleted; }
};

struct FieldSummary {
  bool contains_null = false;
  std::optional<bool> contains_nan;
  std::optional<std::string> lower_bound;
  std::optional<std::string> upper_bound;
};

struct ManifestFile {
  std::string manifest_path;
  int64_t manifest_length = 0;
  int32_t partition_spec_id = 0;
  ManifestContent content = ManifestContent::kData;
  int64_t sequence_number = 0;
  int64_t min_sequence_number = 0;
  SnapshotId added_snapshot_id;
  int32_t added_files_count = 0;  // this and the next five: kUnknownCount possible in what was read
  int32_t existing_files_count = 0;
  int32_t deleted_files_count = 0;
  int64_t added_rows_count = 0;
  int64_t existing_rows_count = 0;
  int64_t deleted_rows_count = 0;
  std::optional<std::vector<FieldSummary>> partitions;  // none: a manifest that may match anything
  std::optional<std::string> key_metadata;
  std::optional<int64_t> first_row_id;  // v3
};

}  // namespace firn::iceberg
