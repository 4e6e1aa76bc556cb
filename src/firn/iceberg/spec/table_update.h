// Updates and requirements: how a table changes (REST: "CommitTableRequest").
//
// Pure. `ApplyUpdates` is what a catalog without a server (SQLite) does itself, and what tests hold a server against.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "firn/iceberg/spec/table_metadata.h"

namespace firn::iceberg {

struct AssignUuid { std::string uuid; };
struct UpgradeFormatVersion { int32_t format_version = 2; };
struct AddSchema { schema::Schema schema; int32_t last_column_id = 0; };
struct SetCurrentSchema { int32_t schema_id = -1; };                 // -1: the one added last in this commit
struct AddPartitionSpec { schema::PartitionSpec spec; };
struct SetDefaultSpec { int32_t spec_id = -1; };
struct AddSortOrder { schema::SortOrder order; };
struct SetDefaultSortOrder { int32_t order_id = -1; };
struct AddSnapshot { Snapshot snapshot; };
struct SetSnapshotRef { std::string ref = std::string(kMainBranch); SnapshotRef value; };
struct RemoveSnapshots { std::vector<SnapshotId> snapshot_ids; };
struct RemoveSnapshotRef { std::string ref; };
struct SetLocation { std::string location; };
struct SetProperties { Properties properties; };
struct RemoveProperties { std::vector<std::string> keys; };
using TableUpdate = std::variant<AssignUuid, UpgradeFormatVersion, AddSchema, SetCurrentSchema, AddPartitionSpec,
                                 SetDefaultSpec, AddSortOrder, SetDefaultSortOrder, AddSnapshot, SetSnapshotRef,
                                 RemoveSnapshots, RemoveSnapshotRef, SetLocation, SetProperties, RemoveProperties>;

struct AssertCreate {};
struct AssertTableUuid { std::string uuid; };
struct AssertRefSnapshotId { std::string ref = std::string(kMainBranch); std::optional<SnapshotId> snapshot_id; };
struct AssertLastAssignedFieldId { int32_t last_assigned_field_id = 0; };
struct AssertCurrentSchemaId { int32_t schema_id = 0; };
struct AssertLastAssignedPartitionId { int32_t last_assigned_partition_id = 0; };
struct AssertDefaultSpecId { int32_t spec_id = 0; };
struct AssertDefaultSortOrderId { int32_t order_id = 0; };
using TableRequirement = std::variant<AssertCreate, AssertTableUuid, AssertRefSnapshotId, AssertLastAssignedFieldId,
                                      AssertCurrentSchemaId, AssertLastAssignedPartitionId, AssertDefaultSpecId,
                                      AssertDefaultSortOrderId>;

nlohmann::json ToJson(const TableUpdate& update);
nlohmann::json ToJson(const TableRequirement& requirement);

// kConflict names the requirement that does not hold. `base` null: the table does not exist.
Status CheckRequirement(const TableRequirement& requirement, const TableMetadata* base);

// The next metadata: last-updated-ms is max(now_ms, base's, the logs'), the snapshot log stays free of gaps, and the
// metadata log gets `base_metadata_location`, capped by write.metadata.previous-versions-max. kInvalidInput: an update
// contradicts the base (unknown schema id, snapshot with an old sequence number, ...). kConflict: a snapshot to be
// removed is named by a ref that stays.
Result<TableMetadata> ApplyUpdates(const TableMetadata& base, const std::vector<TableUpdate>& updates, int64_t now_ms,
                                   const std::string& base_metadata_location);

struct CreateTableRequest {
  std::string location;  // empty: the catalog chooses
  schema::Schema schema;
  schema::PartitionSpec spec;
  schema::SortOrder sort_order;
  Properties properties;
};
// The request as a new table stores it: field ids assigned anew (breadth first as Java does, from 1), spec, sort order
// and identifier fields rewritten to them, everything validated. What a catalog server is sent.
Result<CreateTableRequest> WithFreshIds(const CreateTableRequest& request);

// A fresh v2 table of WithFreshIds(request), whose location must be set. `uuid` is the text of a random UUID.
Result<TableMetadata> NewTableMetadata(const CreateTableRequest& request, const std::string& uuid, int64_t now_ms);

}  // namespace firn::iceberg
