// TableMetadata::Parse: metadata.json as other writers wrote it (spec: "Table Metadata Fields", Appendix C).
//
// Read in this order: what the version allows to be missing is filled in, each list is read, then the ids that point
// from one list into another are checked, so that everything behind this door may rely on them.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "firn/iceberg/spec/json_members.h"
#include "firn/iceberg/spec/spec_validation.h"
#include "firn/iceberg/spec/table_metadata.h"
#include "firn/schema/schema_json.h"

namespace firn::iceberg {
namespace {

using nlohmann::json;

constexpr int32_t kFormatVersionMax = 3;

constexpr int64_t kNoSnapshot = -1;  // Java writes it for "none" in v1 and v2

constexpr std::array<std::string_view, 22> kKnownMembers = {"current-schema-id",
                                                            "current-snapshot-id",
                                                            "default-sort-order-id",
                                                            "default-spec-id",
                                                            "format-version",
                                                            "last-column-id",
                                                            "last-partition-id",
                                                            "last-sequence-number",
                                                            "last-updated-ms",
                                                            "location",
                                                            "metadata-log",
                                                            "next-row-id",
                                                            "partition-spec",
                                                            "partition-specs",
                                                            "properties",
                                                            "refs",
                                                            "schema",
                                                            "schemas",
                                                            "snapshot-log",
                                                            "snapshots",
                                                            "sort-orders",
                                                            "table-uuid"};

std::unexpected<Error> Corrupt(std::string message) {
  return Fail(ErrorCode::kCorruption, std::move(message));
}

std::unexpected<Error> MissingInVersion(std::string_view name, int32_t format_version) {
  return Corrupt(fmt::format("member '{}' is required in format version {}", name, format_version));
}

Status ReadHeader(const json& root, TableMetadata& out) {
  FIRN_ASSIGN(out.format_version, Int32Member(root, "format-version"));
  if (out.format_version < 1) return Corrupt(fmt::format("format-version is not valid: {}", out.format_version));
  if (out.format_version > kFormatVersionMax) {
    return Fail(ErrorCode::kUnsupported, fmt::format("format versions up to {} are read; this table has: {}",
                                                     kFormatVersionMax, out.format_version));
  }
  FIRN_ASSIGN(std::optional<std::string> uuid, OptionalStringMember(root, "table-uuid"));
  out.table_uuid = uuid.value_or("");
  if (out.table_uuid.empty() && out.format_version > 1) return MissingInVersion("table-uuid", out.format_version);
  FIRN_ASSIGN(out.location, StringMember(root, "location"));
  while (out.location.ends_with('/')) out.location.pop_back();
  if (out.location.empty()) return Corrupt("member 'location' is empty");
  FIRN_ASSIGN(out.last_updated_ms, Int64Member(root, "last-updated-ms"));
  FIRN_ASSIGN(out.last_column_id, Int32Member(root, "last-column-id"));
  if (out.format_version > 1) {
    FIRN_ASSIGN(out.last_sequence_number, Int64Member(root, "last-sequence-number"));
  }
  FIRN_ASSIGN(out.next_row_id, OptionalInt64Member(root, "next-row-id"));
  if (!out.next_row_id && out.format_version >= 3) return MissingInVersion("next-row-id", out.format_version);
  FIRN_ASSIGN(out.properties, StringMapMember(root, "properties"));
  return {};
}

Status ReadSchemas(const json& root, TableMetadata& out) {
  FIRN_ASSIGN(const json* list, ArrayMember(root, "schemas"));
  if (list != nullptr && !list->empty()) {
    for (const json& one : *list) {
      FIRN_ASSIGN(schema::Schema schema, WithContext(schema::SchemaFromJson(one), "member 'schemas'"));
      if (out.FindSchema(schema.schema_id) != nullptr) {
        return Corrupt(fmt::format("member 'schemas' holds a schema-id twice: {}", schema.schema_id));
      }
      out.schemas.push_back(std::move(schema));
    }
    FIRN_ASSIGN(out.current_schema_id, Int32Member(root, "current-schema-id"));
  } else {
    const json* single = FindMember(root, "schema");
    if (single == nullptr || out.format_version > 1) return MissingInVersion("schemas", out.format_version);
    FIRN_ASSIGN(schema::Schema schema, WithContext(schema::SchemaFromJson(*single), "member 'schema'"));
    out.current_schema_id = schema.schema_id;
    out.schemas.push_back(std::move(schema));
  }
  if (out.FindSchema(out.current_schema_id) == nullptr) {
    return Corrupt(fmt::format("current-schema-id names no listed schema: {}", out.current_schema_id));
  }
  return {};
}

// v1 writers left field ids out and counted from 1000 in order (spec: "Partition Evolution").
json WithPartitionFieldIds(json fields) {
  int32_t next = kFirstPartitionFieldId;
  for (json& field : fields) {
    if (field.is_object() && FindMember(field, "field-id") == nullptr) field["field-id"] = next;
    ++next;
  }
  return fields;
}

Status ReadSpecList(const json& list, TableMetadata& out) {
  for (const json& one : list) {
    json filled = one;
    if (out.format_version == 1 && FindMember(one, "fields") != nullptr && one["fields"].is_array()) {
      filled["fields"] = WithPartitionFieldIds(one["fields"]);
    }
    FIRN_ASSIGN(schema::PartitionSpec spec,
                WithContext(schema::PartitionSpecFromJson(filled), "member 'partition-specs'"));
    if (out.FindSpec(spec.spec_id) != nullptr) {
      return Corrupt(fmt::format("member 'partition-specs' holds a spec-id twice: {}", spec.spec_id));
    }
    out.partition_specs.push_back(std::move(spec));
  }
  return {};
}

Status ReadSpecs(const json& root, TableMetadata& out) {
  FIRN_ASSIGN(const json* list, ArrayMember(root, "partition-specs"));
  if (list != nullptr && !list->empty()) {
    FIRN_TRY(ReadSpecList(*list, out));
    FIRN_ASSIGN(out.default_spec_id, Int32Member(root, "default-spec-id"));
  } else {
    FIRN_ASSIGN(const json* fields, ArrayMember(root, "partition-spec"));
    if (fields == nullptr || out.format_version > 1) return MissingInVersion("partition-specs", out.format_version);
    FIRN_TRY(ReadSpecList(json::array({{{"spec-id", 0}, {"fields", *fields}}}), out));
    out.default_spec_id = 0;
  }
  if (out.FindSpec(out.default_spec_id) == nullptr) {
    return Corrupt(fmt::format("default-spec-id names no listed partition spec: {}", out.default_spec_id));
  }
  FIRN_ASSIGN(std::optional<int32_t> last_partition_id, OptionalInt32Member(root, "last-partition-id"));
  if (!last_partition_id && out.format_version > 1) return MissingInVersion("last-partition-id", out.format_version);
  out.last_partition_id = last_partition_id.value_or(kFirstPartitionFieldId - 1);
  if (!last_partition_id) {
    for (const schema::PartitionSpec& spec : out.partition_specs) {
      for (const schema::PartitionField& field : spec.fields) {
        out.last_partition_id = std::max(out.last_partition_id, field.field_id.value());
      }
    }
  }
  return {};
}

Status ReadSortOrders(const json& root, TableMetadata& out) {
  FIRN_ASSIGN(const json* list, ArrayMember(root, "sort-orders"));
  if (list == nullptr && out.format_version > 1) return MissingInVersion("sort-orders", out.format_version);
  std::set<int32_t> ids;
  if (list != nullptr) {
    for (const json& one : *list) {
      FIRN_ASSIGN(schema::SortOrder order, WithContext(schema::SortOrderFromJson(one), "member 'sort-orders'"));
      if (!ids.insert(order.order_id).second) {
        return Corrupt(fmt::format("member 'sort-orders' holds an order-id twice: {}", order.order_id));
      }
      out.sort_orders.push_back(std::move(order));
    }
    FIRN_ASSIGN(out.default_sort_order_id, Int32Member(root, "default-sort-order-id"));
  }
  // Order 0 is by definition the empty one (spec: "Sorting"), so its absence from the list harms nobody.
  if (out.default_sort_order_id == 0 && ids.insert(0).second) out.sort_orders.emplace_back();
  if (!ids.contains(out.default_sort_order_id)) {
    return Corrupt(fmt::format("default-sort-order-id names no listed sort order: {}", out.default_sort_order_id));
  }
  return {};
}

Result<Snapshot> ReadSnapshot(const json& one) {
  Snapshot out;
  FIRN_ASSIGN(int64_t id, Int64Member(one, "snapshot-id"));
  out.snapshot_id = SnapshotId(id);
  FIRN_ASSIGN(std::optional<int64_t> parent, OptionalInt64Member(one, "parent-snapshot-id"));
  if (parent && *parent != kNoSnapshot) out.parent_snapshot_id = SnapshotId(*parent);
  FIRN_ASSIGN(std::optional<int64_t> sequence, OptionalInt64Member(one, "sequence-number"));
  out.sequence_number = sequence.value_or(0);
  FIRN_ASSIGN(out.timestamp_ms, Int64Member(one, "timestamp-ms"));
  FIRN_ASSIGN(std::optional<std::string> manifest_list, OptionalStringMember(one, "manifest-list"));
  out.manifest_list = manifest_list.value_or("");
  FIRN_ASSIGN(out.manifests, StringListMember(one, "manifests"));
  FIRN_ASSIGN(out.summary, StringMapMember(one, "summary"));
  FIRN_ASSIGN(out.schema_id, OptionalInt32Member(one, "schema-id"));
  FIRN_ASSIGN(out.first_row_id, OptionalInt64Member(one, "first-row-id"));
  FIRN_ASSIGN(out.added_rows, OptionalInt64Member(one, "added-rows"));
  FIRN_ASSIGN(out.key_id, OptionalStringMember(one, "key-id"));
  if (manifest_list && !out.manifests.empty()) {
    return Corrupt(fmt::format("a snapshot has both 'manifest-list' and 'manifests': {}", id));
  }
  return out;
}

Status ReadSnapshots(const json& root, TableMetadata& out) {
  FIRN_ASSIGN(const json* list, ArrayMember(root, "snapshots"));
  std::set<SnapshotId> ids;
  if (list != nullptr) {
    out.snapshots.reserve(list->size());
    for (const json& one : *list) {
      FIRN_ASSIGN(Snapshot snapshot, WithContext(ReadSnapshot(one), "member 'snapshots'"));
      if (!ids.insert(snapshot.snapshot_id).second) {
        return Corrupt(fmt::format("member 'snapshots' holds a snapshot-id twice: {}", snapshot.snapshot_id));
      }
      if (out.format_version > 1 && snapshot.sequence_number > out.last_sequence_number) {
        return Corrupt(fmt::format("the sequence number of snapshot {} is beyond last-sequence-number {}: {}",
                                   snapshot.snapshot_id, out.last_sequence_number, snapshot.sequence_number));
      }
      out.snapshots.push_back(std::move(snapshot));
    }
  }
  FIRN_ASSIGN(std::optional<int64_t> current, OptionalInt64Member(root, "current-snapshot-id"));
  if (current && *current != kNoSnapshot) {
    out.current_snapshot_id = SnapshotId(*current);
    if (!ids.contains(*out.current_snapshot_id)) {
      return Corrupt(fmt::format("current-snapshot-id names no listed snapshot: {}", *current));
    }
  }
  return {};
}

Result<SnapshotRef> ReadRef(const json& one) {
  SnapshotRef out;
  FIRN_ASSIGN(int64_t id, Int64Member(one, "snapshot-id"));
  out.snapshot_id = SnapshotId(id);
  FIRN_ASSIGN(out.type, StringMember(one, "type"));
  for (char& c : out.type) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (out.type != "branch" && out.type != "tag") {
    return Corrupt(fmt::format("a ref's type must be branch or tag, found: '{}'", out.type));
  }
  FIRN_ASSIGN(out.min_snapshots_to_keep, OptionalInt32Member(one, "min-snapshots-to-keep"));
  FIRN_ASSIGN(out.max_snapshot_age_ms, OptionalInt64Member(one, "max-snapshot-age-ms"));
  FIRN_ASSIGN(out.max_ref_age_ms, OptionalInt64Member(one, "max-ref-age-ms"));
  return out;
}

Status ReadRefs(const json& root, TableMetadata& out) {
  const json* refs = FindMember(root, "refs");
  if (refs != nullptr && !refs->is_object()) return Corrupt("member 'refs' must be an object");
  if (refs != nullptr) {
    for (const auto& [name, one] : refs->items()) {
      FIRN_ASSIGN(SnapshotRef ref, WithContext(ReadRef(one), fmt::format("ref '{}'", name)));
      if (out.FindSnapshot(ref.snapshot_id) == nullptr) {
        return Corrupt(fmt::format("ref '{}' names no listed snapshot: {}", name, ref.snapshot_id));
      }
      out.refs.emplace(name, std::move(ref));
    }
  }
  auto main = out.refs.find(std::string(kMainBranch));
  if (main == out.refs.end()) {
    if (out.current_snapshot_id) {
      SnapshotRef head;
      head.snapshot_id = *out.current_snapshot_id;
      out.refs.emplace(kMainBranch, std::move(head));
    }
    return {};
  }
  if (main->second.snapshot_id != out.current_snapshot_id) {
    return Corrupt(
        fmt::format("current-snapshot-id is not the head of branch main, which is: {}", main->second.snapshot_id));
  }
  return {};
}

Status ReadLogs(const json& root, TableMetadata& out) {
  FIRN_ASSIGN(const json* snapshot_log, ArrayMember(root, "snapshot-log"));
  if (snapshot_log != nullptr) {
    for (const json& one : *snapshot_log) {
      FIRN_ASSIGN(int64_t timestamp_ms, WithContext(Int64Member(one, "timestamp-ms"), "member 'snapshot-log'"));
      FIRN_ASSIGN(int64_t id, WithContext(Int64Member(one, "snapshot-id"), "member 'snapshot-log'"));
      out.snapshot_log.push_back({timestamp_ms, SnapshotId(id)});
    }
  }
  FIRN_ASSIGN(const json* metadata_log, ArrayMember(root, "metadata-log"));
  if (metadata_log != nullptr) {
    for (const json& one : *metadata_log) {
      FIRN_ASSIGN(int64_t timestamp_ms, WithContext(Int64Member(one, "timestamp-ms"), "member 'metadata-log'"));
      FIRN_ASSIGN(std::string file, WithContext(StringMember(one, "metadata-file"), "member 'metadata-log'"));
      out.metadata_log.push_back({timestamp_ms, std::move(file)});
    }
  }
  return {};
}

void KeepOtherMembers(const json& root, TableMetadata& out) {
  for (const auto& [name, value] : root.items()) {
    bool known = std::binary_search(kKnownMembers.begin(), kKnownMembers.end(), name);
    if (!known) out.other_members_json.emplace(name, value.dump(-1, ' ', false, json::error_handler_t::replace));
  }
}

}  // namespace

Result<TableMetadata> TableMetadata::FromJson(const json& root) {
  if (!root.is_object()) {
    return Corrupt(fmt::format("table metadata must be a JSON object, found: {}", root.type_name()));
  }
  TableMetadata out;
  FIRN_TRY(ReadHeader(root, out));
  FIRN_TRY(ReadSchemas(root, out));
  FIRN_TRY(ReadSpecs(root, out));
  FIRN_TRY(ReadSortOrders(root, out));
  FIRN_TRY(ReadSnapshots(root, out));
  FIRN_TRY(ReadRefs(root, out));
  FIRN_TRY(ReadLogs(root, out));
  KeepOtherMembers(root, out);
  return out;
}

Result<TableMetadata> TableMetadata::Parse(std::string_view json_text) {
  FIRN_ASSIGN(json root, ParseJson(json_text, "table metadata"));
  return FromJson(root);
}

}  // namespace firn::iceberg
