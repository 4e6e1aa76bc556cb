// TableMetadata: one version of a table as the spec's metadata.json describes it (formats 1 to 3 read, 2 written).
//
// A value without IO. `Parse` accepts what other writers wrote (current-snapshot-id -1, missing optional members, gzip
// is the reader's business) and keeps members that Firn does not know, so that writing it back loses nothing.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "firn/base/error.h"
#include "firn/base/strong_id.h"
#include "firn/iceberg/spec/snapshots.h"
#include "firn/schema/partition.h"
#include "firn/schema/type.h"

namespace firn::iceberg {

using Properties = std::map<std::string, std::string>;

struct SnapshotRef {
  SnapshotId snapshot_id;
  std::string type = "branch";  // or "tag"
  std::optional<int32_t> min_snapshots_to_keep;
  std::optional<int64_t> max_snapshot_age_ms;
  std::optional<int64_t> max_ref_age_ms;
};

struct SnapshotLogEntry { int64_t timestamp_ms = 0; SnapshotId snapshot_id; };
struct MetadataLogEntry { int64_t timestamp_ms = 0; std::string metadata_file; };

inline constexpr std::string_view kMainBranch = "main";

struct TableMetadata {
  int32_t format_version = 2;
  std::string table_uuid;
  std::string location;  // no trailing '/'
  int64_t last_sequence_number = 0;
  int64_t last_updated_ms = 0;
  int32_t last_column_id = 0;
  std::vector<schema::Schema> schemas;
  int32_t current_schema_id = 0;
  std::vector<schema::PartitionSpec> partition_specs;
  int32_t default_spec_id = 0;
  int32_t last_partition_id = 999;
  std::vector<schema::SortOrder> sort_orders;
  int32_t default_sort_order_id = 0;
  Properties properties;
  std::optional<SnapshotId> current_snapshot_id;
  Snapshots snapshots;
  std::vector<SnapshotLogEntry> snapshot_log;
  std::vector<MetadataLogEntry> metadata_log;
  std::map<std::string, SnapshotRef> refs;
  std::optional<int64_t> next_row_id;  // v3
  // Members that Firn keeps but does not read: "statistics", "partition-statistics", "encryption-keys", unknown ones.
  std::map<std::string, std::string> other_members_json;

  const schema::Schema& CurrentSchema() const;
  const schema::Schema* FindSchema(int32_t schema_id) const;
  const schema::PartitionSpec& DefaultSpec() const;
  const schema::PartitionSpec* FindSpec(int32_t spec_id) const;
  const schema::SortOrder& DefaultSortOrder() const;
  const Snapshot* FindSnapshot(SnapshotId id) const;
  const Snapshot* CurrentSnapshot() const;  // head of main; nullptr: none yet
  std::optional<std::string> Property(const std::string& key) const;
  // As Java reads it: "true" in any case is true, any other text false; `absent` without the property.
  bool BoolProperty(const std::string& key, bool absent) const;

  static Result<TableMetadata> Parse(std::string_view json_text);
  static Result<TableMetadata> FromJson(const nlohmann::json& json);
  std::string Serialize() const;
  nlohmann::json ToJson() const;
};

nlohmann::json ToJson(const Snapshot& snapshot);
nlohmann::json ToJson(const SnapshotRef& ref);

}  // namespace firn::iceberg
