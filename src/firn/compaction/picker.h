// The picker: which data files of a table are worth putting together, as a pure function of the table's state.
//
// Values in, values out; no IO, no clock. Files of one spec and partition that are small against the target are packed
// into groups, in the order that their rows are to have; each group becomes one file. Files that must not be moved are
// counted by reason.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "firn/iceberg/manifest/manifest.h"
#include "firn/schema/value.h"

namespace firn::compaction {

struct LiveFile {
  iceberg::ManifestEntry entry;  // with its sequence numbers
  int32_t spec_id = 0;
  std::string partition_path;  // "event_day=2024-01-15/region=eu"; empty: unpartitioned
};

struct TableFiles {
  std::vector<LiveFile> data;     // in manifest order
  std::vector<LiveFile> deletes;  // position and equality deletes
};

struct PickOptions {
  int64_t target_bytes = 512 << 20;
  // A file of at least so much of the target stays as it is.
  double large_enough = 0.75;
  size_t group_files_min = 2;
  // "name=value" as in partition paths; a file must match all of them.
  std::vector<std::string> where;
  // The table's first sort field, if it is a column as it is: files go by its lower bound. Else in ingest order.
  std::optional<int32_t> sort_field_id;
  schema::TypePtr sort_type;
};

struct PickedGroup {
  std::vector<size_t> files;  // indices of TableFiles::data, in the order of their rows
  int64_t bytes = 0;
  int64_t rows = 0;
};

struct Picked {
  std::vector<PickedGroup> groups;  // most files removed for each byte moved first
  // Files that are small and stay: "has_deletes", "not_parquet", "encrypted", "alone".
  std::map<std::string, int64_t> left_alone;
  int64_t files_seen = 0;  // that match `where`
};

Picked Pick(const TableFiles& table, const PickOptions& options);

// May this delete file touch rows of that data file (spec: "Scan Planning")? `is_global`: its spec has no partition.
bool MayTouch(const LiveFile& deletes, const LiveFile& data, bool is_global);

}  // namespace firn::compaction
