// TablePlan: what is to be done for one table: its state as it was loaded, and the groups of files that the picker
// found.
//
// A value of one thread. Nothing is written.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/compaction/picker.h"
#include "firn/env/object_store.h"
#include "firn/iceberg/catalog/catalog.h"
#include "firn/parquet/file_layout.h"

namespace firn::compaction {

struct PlanOptions {
  std::vector<std::string> where;  // "name=value", as in partition paths
  std::optional<PickPace> pace;
  std::function<bool(int32_t spec_id, const std::string& partition_path)> owns;
  const std::map<std::string, std::string>* refused = nullptr;
  // The inputs of a row group are held whole: row groups and inputs are at most so large, whatever the table asks for.
  int64_t memory_bytes = std::numeric_limits<int64_t>::max();
};

struct TablePlan {
  iceberg::LoadedTable loaded;
  parquet::FileLayoutOptions layout;
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

// kInvalidInput: `where` names a field that no partition spec of the table has, or a property has no meaning.
// kUnsupported: a table that Firn does not write (format v3, ...). Else as iceberg::ReadSnapshotManifests.
Result<TablePlan> PlanTable(iceberg::LoadedTable loaded, env::ObjectStore& store, const PlanOptions& options);

}  // namespace firn::compaction
