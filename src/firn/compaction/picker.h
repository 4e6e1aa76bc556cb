// The picker: which data files of a table are worth putting together, as a pure function of the table's state.
//
// Values in, values out; no IO, no clock. Files of one spec and partition that are small against the target are packed
// into groups, in the order that their rows are to have; each group becomes one file. Files that must not be moved are
// counted by reason. Row deletes are applied to the files that are moved; where they are many, a file is moved for
// their sake alone. With `pace` set, files of a partition that still grows wait until enough of like size are there: so
// a byte is moved about once for each factor of `tier_files_min` in size, however often one looks.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/iceberg/manifest/manifest.h"
#include "firn/schema/value.h"

namespace firn::compaction {

struct LiveFile {
  iceberg::ManifestEntry entry;  // with its sequence numbers
  std::string metrics;           // what PackMetrics has taken out of the entry
  int32_t spec_id = 0;
  std::string partition_path;  // "event_day=2024-01-15/region=eu"; empty: unpartitioned
  // When it came into the table, by its snapshot's timestamp; of an expired snapshot that of the oldest listed one.
  int64_t added_ms = 0;
};

struct TableFiles {
  std::vector<LiveFile> data;     // in manifest order
  std::vector<LiveFile> deletes;  // position and equality deletes
};

// With `pace`, a file of a partition that grows is written anew for its deletes' sake when they are about so much of
// its rows; elsewhere, and in a single run, any are enough.
inline constexpr double kDeletedShareMin = 0.1;

// How a loop that comes again and again picks; a single run takes whatever is small.
struct PickPace {
  // Files of like size (within this factor of each other) that a group needs while its partition grows.
  size_t tier_files_min = 8;
  // A partition without a new file since then does not grow: two files are enough.
  int64_t cold_before_ms = 0;
};

// Files that could not be merged when it was tried, with the reason, by RefusedKey of their paths; and of
// NothingDeletedKey (delete_index.h) of those whose deletes delete nothing. There may be very many: a key is a hash.
using RefusedFiles = std::map<uint64_t, std::string>;
inline uint64_t RefusedKey(std::string_view path) { return std::hash<std::string_view>{}(path); }

struct PickOptions {
  int64_t target_bytes = 512 << 20;
  // A file of at least so much of the target stays as it is.
  double large_enough = 0.75;
  size_t group_files_min = 2;
  // More of them become several files, which are put together another time: so much at most is lost by a crash.
  size_t group_files_max = 10'000;
  // "name=value" as in partition paths; a file must match all of them.
  std::vector<std::string> where;
  // The table's first sort field, if it is a column as it is: files go by its lower bound. Else in ingest order.
  std::optional<int32_t> sort_field_id;
  schema::TypePtr sort_type;
  std::optional<PickPace> pace;
  // Larger ones stay ("exceeds_memory"): an input is held whole.
  int64_t file_bytes_max = std::numeric_limits<int64_t>::max();
  // Whose partition it is to look after; others are not seen at all. Null: all are.
  std::function<bool(int32_t spec_id, const std::string& partition_path)> owns;
  const RefusedFiles* refused = nullptr;  // null: none
};

struct PickedGroup {
  std::vector<size_t> files;    // indices of TableFiles::data, in the order of their rows
  std::vector<size_t> deletes;  // of TableFiles::deletes that may touch one of them, ascending
  int64_t bytes = 0;
  int64_t rows = 0;
  bool cold = false;  // its partition does not grow
};

// The order of work: cold partitions first, then most files (delete files too) removed for each byte moved.
bool ComesBefore(const PickedGroup& a, const PickedGroup& b);

struct Picked {
  std::vector<PickedGroup> groups;  // in the order of ComesBefore
  // Files that are small, or have deletes, and stay: "has_deletes" (that are not applied here), "not_parquet",
  // "encrypted", "exceeds_memory", "alone", "waiting" (for others of like size), and reasons of `refused`.
  std::map<std::string, int64_t> left_alone;
  int64_t files_seen = 0;  // that match `where`
};

Picked Pick(const TableFiles& table, const PickOptions& options);

}  // namespace firn::compaction
