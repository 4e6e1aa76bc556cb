#include "firn/iceberg/spec/table_update.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "firn/schema/schema_json.h"

namespace firn::iceberg {
namespace {

using nlohmann::json;

// The REST names: "action" of updates, "type" of requirements (REST: BaseUpdate, TableRequirement).
struct UpdateToJson {
  json operator()(const AssignUuid& u) const { return {{"action", "assign-uuid"}, {"uuid", u.uuid}}; }
  json operator()(const UpgradeFormatVersion& u) const {
    return {{"action", "upgrade-format-version"}, {"format-version", u.format_version}};
  }
  json operator()(const AddSchema& u) const {
    json out = {{"action", "add-schema"}, {"schema", schema::ToJson(u.schema)}};
    if (u.last_column_id > 0) out["last-column-id"] = u.last_column_id;
    return out;
  }
  json operator()(const SetCurrentSchema& u) const {
    return {{"action", "set-current-schema"}, {"schema-id", u.schema_id}};
  }
  json operator()(const AddPartitionSpec& u) const {
    json spec = schema::ToJson(u.spec);
    for (json& field : spec["fields"]) {
      if (field["field-id"] == 0) field.erase("field-id");  // unassigned: the receiver gives it
    }
    return {{"action", "add-spec"}, {"spec", std::move(spec)}};
  }
  json operator()(const SetDefaultSpec& u) const { return {{"action", "set-default-spec"}, {"spec-id", u.spec_id}}; }
  json operator()(const AddSortOrder& u) const {
    return {{"action", "add-sort-order"}, {"sort-order", schema::ToJson(u.order)}};
  }
  json operator()(const SetDefaultSortOrder& u) const {
    return {{"action", "set-default-sort-order"}, {"sort-order-id", u.order_id}};
  }
  json operator()(const AddSnapshot& u) const { return {{"action", "add-snapshot"}, {"snapshot", ToJson(u.snapshot)}}; }
  json operator()(const SetSnapshotRef& u) const {
    json out = ToJson(u.value);
    out["action"] = "set-snapshot-ref";
    out["ref-name"] = u.ref;
    return out;
  }
  json operator()(const RemoveSnapshots& u) const {
    json ids = json::array();
    for (SnapshotId id : u.snapshot_ids) ids.push_back(id.value());
    return {{"action", "remove-snapshots"}, {"snapshot-ids", std::move(ids)}};
  }
  json operator()(const RemoveSnapshotRef& u) const { return {{"action", "remove-snapshot-ref"}, {"ref-name", u.ref}}; }
  json operator()(const SetLocation& u) const { return {{"action", "set-location"}, {"location", u.location}}; }
  json operator()(const SetProperties& u) const { return {{"action", "set-properties"}, {"updates", u.properties}}; }
  json operator()(const RemoveProperties& u) const { return {{"action", "remove-properties"}, {"removals", u.keys}}; }
};

struct RequirementToJson {
  json operator()(const AssertCreate&) const { return {{"type", "assert-create"}}; }
  json operator()(const AssertTableUuid& r) const { return {{"type", "assert-table-uuid"}, {"uuid", r.uuid}}; }
  json operator()(const AssertRefSnapshotId& r) const {
    json out = {{"type", "assert-ref-snapshot-id"}, {"ref", r.ref}, {"snapshot-id", nullptr}};
    if (r.snapshot_id) out["snapshot-id"] = r.snapshot_id->value();
    return out;
  }
  json operator()(const AssertLastAssignedFieldId& r) const {
    return {{"type", "assert-last-assigned-field-id"}, {"last-assigned-field-id", r.last_assigned_field_id}};
  }
  json operator()(const AssertCurrentSchemaId& r) const {
    return {{"type", "assert-current-schema-id"}, {"current-schema-id", r.schema_id}};
  }
  json operator()(const AssertLastAssignedPartitionId& r) const {
    return {{"type", "assert-last-assigned-partition-id"},
            {"last-assigned-partition-id", r.last_assigned_partition_id}};
  }
  json operator()(const AssertDefaultSpecId& r) const {
    return {{"type", "assert-default-spec-id"}, {"default-spec-id", r.spec_id}};
  }
  json operator()(const AssertDefaultSortOrderId& r) const {
    return {{"type", "assert-default-sort-order-id"}, {"default-sort-order-id", r.order_id}};
  }
};

template <typename T>
Status MustEqual(std::string_view what, const T& wanted, const T& found) {
  if (wanted == found) return {};
  return Fail(ErrorCode::kConflict,
              fmt::format("requirement failed: {} must be {}, the table has: {}", what, wanted, found));
}

std::string SnapshotText(std::optional<SnapshotId> id) {
  return id ? fmt::format("{}", *id) : "none";
}

struct RequirementCheck {
  const TableMetadata& base;

  Status operator()(const AssertCreate&) const {
    return Fail(ErrorCode::kConflict,
                fmt::format("requirement failed: the table must not exist, but has the uuid: {}", base.table_uuid));
  }
  Status operator()(const AssertTableUuid& r) const { return MustEqual("table-uuid", r.uuid, base.table_uuid); }
  Status operator()(const AssertRefSnapshotId& r) const {
    auto ref = base.refs.find(r.ref);
    std::optional<SnapshotId> found;
    if (ref != base.refs.end()) found = ref->second.snapshot_id;
    return MustEqual(fmt::format("ref '{}'", r.ref), SnapshotText(r.snapshot_id), SnapshotText(found));
  }
  Status operator()(const AssertLastAssignedFieldId& r) const {
    return MustEqual("last-column-id", r.last_assigned_field_id, base.last_column_id);
  }
  Status operator()(const AssertCurrentSchemaId& r) const {
    return MustEqual("current-schema-id", r.schema_id, base.current_schema_id);
  }
  Status operator()(const AssertLastAssignedPartitionId& r) const {
    return MustEqual("last-partition-id", r.last_assigned_partition_id, base.last_partition_id);
  }
  Status operator()(const AssertDefaultSpecId& r) const {
    return MustEqual("default-spec-id", r.spec_id, base.default_spec_id);
  }
  Status operator()(const AssertDefaultSortOrderId& r) const {
    return MustEqual("default-sort-order-id", r.order_id, base.default_sort_order_id);
  }
};

}  // namespace

json ToJson(const TableUpdate& update) {
  return std::visit(UpdateToJson{}, update);
}

json ToJson(const TableRequirement& requirement) {
  return std::visit(RequirementToJson{}, requirement);
}

Status CheckRequirement(const TableRequirement& requirement, const TableMetadata* base) {
  if (base != nullptr) return std::visit(RequirementCheck{*base}, requirement);
  if (std::holds_alternative<AssertCreate>(requirement)) return {};
  std::string text = ToJson(requirement).dump(-1, ' ', true, json::error_handler_t::replace);
  return Fail(ErrorCode::kConflict, fmt::format("requirement failed: the table does not exist, wanted: {}", text));
}

}  // namespace firn::iceberg
