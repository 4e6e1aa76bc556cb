// TablePlan: what is to be done for one table: its state as it was loaded, and the groups of files that the picker
// found.
//
// A value of one thread. Nothing is written.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/compaction/picker.h"
#include "firn/env/object_store.h"
#include "firn/iceberg/catalog/catalog.h"
#include "firn/parquet/file_layout.h"
#include "firn/schema/partition.h"

namespace firn::compaction {

// The strategy `sort`, instead of putting files together as they are.
struct SortRequest {
  std::vector<std::string> by;  // as schema::ParseSortOrder; empty: the table's own order
};

struct PlanOptions {
  std::vector<std::string> where;  // "name=value", as in partition paths
  std::optional<PickPace> pace;
  std::function<bool(int32_t spec_id, const std::string& partition_path)> owns;
  const RefusedFiles* refused = nullptr;
  // The inputs of a row group are held whole: row groups and inputs are at most so large, whatever the table asks for.
  int64_t memory_bytes = std::numeric_limits<int64_t>::max();
  std::optional<SortRequest> sort;
};

struct SortPlan {
  schema::SortOrder order;
  std::optional<int32_t> id;  // of this order, if it is one of the table's: files that are sorted so name it
};

struct TablePlan {
  iceberg::LoadedTable loaded;
  parquet::FileLayoutOptions layout;
  int64_t target_bytes = 0;  // of an output file
  std::optional<SortPlan> sort;
  std::string schema_json;
  TableFiles files;
  Picked picked;

  const iceberg::DataFile& FileAt(size_t index) const { return files.data[index].entry.data_file; }
  // Forgets all groups but the first `groups_max`, fewer where they have more files or bytes than that, and all data
  // and delete files that are in none of those. One group stays in any case.
  void KeepFirst(size_t groups_max, size_t files_max, int64_t bytes_max);
};

// write.target-file-size-bytes, or PickOptions' own where it is absent. kInvalidInput: it is not a positive number.
Result<int64_t> TargetBytes(const iceberg::TableMetadata& metadata);
// The column by whose lower bounds the picker puts files in order: the first of the sort order, if it is one as it is.
void SetOrder(const iceberg::TableMetadata& metadata, PickOptions& pick);
// kInvalidInput: the table has no order and none is given, or it cannot be read. kUnsupported: rows cannot be sorted by
// it (a transform that Firn does not know, a column that is gone or inside a list or map).
Result<SortPlan> PlanSort(const iceberg::TableMetadata& metadata, const SortRequest& request);

// kInvalidInput: `where` names a field that no partition spec of the table has, or a property has no meaning.
// kUnsupported: a table that Firn does not write (format v3, ...). Else as iceberg::ReadSnapshotManifests.
Result<TablePlan> PlanTable(iceberg::LoadedTable loaded, env::ObjectStore& store, const PlanOptions& options);

}  // namespace firn::compaction
