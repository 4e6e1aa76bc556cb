#include "firn/iceberg/spec/table_metadata.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "firn/base/check.h"
#include "firn/schema/schema_json.h"

namespace firn::iceberg {
namespace {

using nlohmann::json;

template <typename T, typename Id, typename Member>
const T* FindByMember(const std::vector<T>& items, Id id, Member member) {
  auto found = std::find_if(items.begin(), items.end(), [&](const T& item) { return item.*member == id; });
  return found == items.end() ? nullptr : &*found;
}

json RefsToJson(const std::map<std::string, SnapshotRef>& refs) {
  json out = json::object();
  for (const auto& [name, ref] : refs) out[name] = ToJson(ref);
  return out;
}

template <typename T>
json ListToJson(const std::vector<T>& items) {
  json out = json::array();
  for (const T& item : items) out.push_back(schema::ToJson(item));
  return out;
}

json SnapshotsToJson(const TableMetadata& metadata) {
  json out = json::array();
  for (const Snapshot& snapshot : metadata.snapshots) {
    json one = ToJson(snapshot);
    if (metadata.format_version == 1) one.erase("sequence-number");  // v1 has none (spec: "Snapshots")
    out.push_back(std::move(one));
  }
  return out;
}

void LogsToJson(const TableMetadata& metadata, json& out) {
  json snapshot_log = json::array();
  for (const SnapshotLogEntry& entry : metadata.snapshot_log) {
    snapshot_log.push_back({{"timestamp-ms", entry.timestamp_ms}, {"snapshot-id", entry.snapshot_id.value()}});
  }
  json metadata_log = json::array();
  for (const MetadataLogEntry& entry : metadata.metadata_log) {
    metadata_log.push_back({{"timestamp-ms", entry.timestamp_ms}, {"metadata-file", entry.metadata_file}});
  }
  out["snapshot-log"] = std::move(snapshot_log);
  out["metadata-log"] = std::move(metadata_log);
}

}  // namespace

json ToJson(const Snapshot& snapshot) {
  json out = {{"snapshot-id", snapshot.snapshot_id.value()},
              {"sequence-number", snapshot.sequence_number},
              {"timestamp-ms", snapshot.timestamp_ms}};
  if (snapshot.parent_snapshot_id) out["parent-snapshot-id"] = snapshot.parent_snapshot_id->value();
  if (!snapshot.manifest_list.empty()) {
    out["manifest-list"] = snapshot.manifest_list;
  } else {
    out["manifests"] = snapshot.manifests;
  }
  if (!snapshot.summary.empty()) out["summary"] = snapshot.summary;
  if (snapshot.schema_id) out["schema-id"] = *snapshot.schema_id;
  if (snapshot.first_row_id) out["first-row-id"] = *snapshot.first_row_id;
  if (snapshot.added_rows) out["added-rows"] = *snapshot.added_rows;
  if (snapshot.key_id) out["key-id"] = *snapshot.key_id;
  return out;
}

json ToJson(const SnapshotRef& ref) {
  json out = {{"snapshot-id", ref.snapshot_id.value()}, {"type", ref.type}};
  if (ref.min_snapshots_to_keep) out["min-snapshots-to-keep"] = *ref.min_snapshots_to_keep;
  if (ref.max_snapshot_age_ms) out["max-snapshot-age-ms"] = *ref.max_snapshot_age_ms;
  if (ref.max_ref_age_ms) out["max-ref-age-ms"] = *ref.max_ref_age_ms;
  return out;
}

const schema::Schema* TableMetadata::FindSchema(int32_t schema_id) const {
  return FindByMember(schemas, schema_id, &schema::Schema::schema_id);
}

const schema::PartitionSpec* TableMetadata::FindSpec(int32_t spec_id) const {
  return FindByMember(partition_specs, spec_id, &schema::PartitionSpec::spec_id);
}

const Snapshot* TableMetadata::FindSnapshot(SnapshotId id) const {
  // The newest are at the end, and asked for most.
  for (size_t i = snapshots.size(); i-- > 0;) {
    if (snapshots[i].snapshot_id == id) return &snapshots[i];
  }
  return nullptr;
}

// Parse, NewTableMetadata and ApplyUpdates let nothing through whose current ids do not resolve.
const schema::Schema& TableMetadata::CurrentSchema() const {
  const schema::Schema* found = FindSchema(current_schema_id);
  FIRN_CHECK(found != nullptr, "current-schema-id names a listed schema");
  return *found;
}

const schema::PartitionSpec& TableMetadata::DefaultSpec() const {
  const schema::PartitionSpec* found = FindSpec(default_spec_id);
  FIRN_CHECK(found != nullptr, "default-spec-id names a listed partition spec");
  return *found;
}

const schema::SortOrder& TableMetadata::DefaultSortOrder() const {
  const schema::SortOrder* found = FindByMember(sort_orders, default_sort_order_id, &schema::SortOrder::order_id);
  FIRN_CHECK(found != nullptr, "default-sort-order-id names a listed sort order");
  return *found;
}

const Snapshot* TableMetadata::CurrentSnapshot() const {
  return current_snapshot_id ? FindSnapshot(*current_snapshot_id) : nullptr;
}

std::optional<std::string> TableMetadata::Property(const std::string& key) const {
  auto found = properties.find(key);
  return found == properties.end() ? std::nullopt : std::optional<std::string>(found->second);
}

bool TableMetadata::BoolProperty(const std::string& key, bool absent) const {
  auto found = properties.find(key);
  if (found == properties.end()) return absent;
  constexpr std::string_view kTrue = "true";
  return std::equal(found->second.begin(), found->second.end(), kTrue.begin(), kTrue.end(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; });
}

json TableMetadata::ToJson() const {
  json out = json::object();
  for (const auto& [name, text] : other_members_json) {
    json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!value.is_discarded()) out[name] = std::move(value);
  }
  out["format-version"] = format_version;
  if (!table_uuid.empty()) out["table-uuid"] = table_uuid;
  out["location"] = location;
  out["last-updated-ms"] = last_updated_ms;
  out["last-column-id"] = last_column_id;
  out["schemas"] = ListToJson(schemas);
  out["current-schema-id"] = current_schema_id;
  out["partition-specs"] = ListToJson(partition_specs);
  out["default-spec-id"] = default_spec_id;
  out["last-partition-id"] = last_partition_id;
  out["sort-orders"] = ListToJson(sort_orders);
  out["default-sort-order-id"] = default_sort_order_id;
  out["properties"] = properties;
  if (current_snapshot_id) out["current-snapshot-id"] = current_snapshot_id->value();
  out["snapshots"] = SnapshotsToJson(*this);
  out["refs"] = RefsToJson(refs);
  LogsToJson(*this, out);
  if (format_version == 1) {
    // What v1 readers look for (spec Appendix C: "schema" and "partition-spec" are required in v1).
    out["schema"] = schema::ToJson(CurrentSchema());
    out["partition-spec"] = schema::PartitionFieldsToJson(DefaultSpec());
  } else {
    out["last-sequence-number"] = last_sequence_number;
  }
  if (next_row_id) out["next-row-id"] = *next_row_id;
  return out;
}

std::string TableMetadata::Serialize() const {
  // Members come out sorted by name. Text that is not UTF-8 can only come from our own callers; it must not throw.
  return ToJson().dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace firn::iceberg
