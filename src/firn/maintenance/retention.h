// RetainData: rows of partitions that have become too old leave the table, as whole files and without reading one.
//
// A `delete` snapshot only: the files stay in the store as long as a snapshot, a branch or a tag reaches them. A tag is
// therefore a legal hold: what it names stays readable at the tag, whatever leaves main, until the tag is removed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <stop_token>
#include <string>

#include "firn/base/error.h"
#include "firn/ingest/pipeline_options.h"
#include "firn/maintenance/commit_loop.h"
#include "firn/schema/partition.h"

namespace firn::maintenance {

using ingest::kRetentionAgeMsMin;

struct RetentionOptions {
  std::string field;   // a partition field: year, month, day or hour of a time, or a date or time as it is
  int64_t age_ms = 0;  // partitions whose whole time is longer ago than that
  bool apply = false;
};

struct HeldFiles {
  int64_t files = 0;
  int64_t bytes = 0;
};

struct RetentionReport {
  int64_t cutoff_ms = 0;  // partitions that end at or before it
  int64_t partitions = 0;
  int64_t files = 0;
  int64_t rows = 0;
  int64_t bytes = 0;
  int64_t delete_files = 0;               // that belonged to them
  int64_t files_without_value = 0;        // the partition's value is null: they stay
  int64_t files_of_other_specs = 0;       // whose partition spec has no such field: they stay
  std::map<std::string, HeldFiles> held;  // by tag or branch: how much of it stays readable there
  std::optional<SnapshotId> snapshot_id;
  int32_t conflicts = 0;
};

// The end of the time that a partition value stands for, in ms since the epoch; nullopt: null, or a transform that says
// nothing about time. `source` is the type of the field's source column.
std::optional<int64_t> PartitionEndMs(const schema::Transform& transform, const schema::Type& source,
                                      const schema::Value& value);

// kInvalidInput: no partition spec has the field, it does not stand for a time, or the age is too short. kUnsupported:
// a table that Firn does not write.
Result<RetentionReport> RetainData(const MaintenanceParts& parts, const iceberg::TableIdentifier& table,
                                   const RetentionOptions& options, std::stop_token stop);

}  // namespace firn::maintenance
