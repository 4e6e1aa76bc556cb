// ApplyUpdates: one commit's updates, in order, on a copy of the base (Java: TableMetadata.Builder).
//
// Rules that need the whole commit come at the end: which added snapshots were current only in between, what a removed
// snapshot does to the log, and whether the schema, the spec and the sort order still fit together.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_set>

#include "firn/iceberg/spec/spec_validation.h"
#include "firn/iceberg/spec/table_update.h"
#include "firn/schema/schema_json.h"

namespace firn::iceberg {
namespace {

using nlohmann::json;

constexpr int32_t kLastAdded = -1;
constexpr int32_t kFormatVersionMax = 3;
constexpr int64_t kPreviousVersionsDefault = 100;
constexpr const char* kPreviousVersionsMax = "write.metadata.previous-versions-max";

std::unexpected<Error> Invalid(std::string message) {
  return Fail(ErrorCode::kInvalidInput, std::move(message));
}

// Equal in everything that a reader can see, docs and defaults included, whatever the id.
bool SameSchema(const schema::Schema& a, const schema::Schema& b) {
  json left = schema::ToJson(a);
  json right = schema::ToJson(b);
  left.erase("schema-id");
  right.erase("schema-id");
  return left == right;
}

bool SameField(const schema::PartitionField& a, const schema::PartitionField& b) {
  return a.source_id == b.source_id && a.transform == b.transform && a.name == b.name;
}

// Java: PartitionSpec.compatibleWith. Field ids follow from the rest.
bool SameSpec(const schema::PartitionSpec& a, const schema::PartitionSpec& b) {
  return std::equal(a.fields.begin(), a.fields.end(), b.fields.begin(), b.fields.end(), SameField);
}

// One past ids that somebody else chose: they may be the last ones there are.
Result<int32_t> FreshId(int64_t id, std::string_view what) {
  if (id > std::numeric_limits<int32_t>::max()) return Invalid(fmt::format("no {} is left above: {}", what, id - 1));
  return static_cast<int32_t>(id);
}

class MetadataBuilder {
 public:
  MetadataBuilder(const TableMetadata& base, int64_t now_ms) : base_(base), out_(base) {
    now_ms_ = std::max(now_ms, base.last_updated_ms);
    for (const SnapshotLogEntry& entry : base.snapshot_log) now_ms_ = std::max(now_ms_, entry.timestamp_ms);
    for (const MetadataLogEntry& entry : base.metadata_log) now_ms_ = std::max(now_ms_, entry.timestamp_ms);
  }

  // The log entries of this commit carry last-updated-ms, so it is fixed before the first update is applied.
  void NotBefore(int64_t timestamp_ms) { now_ms_ = std::max(now_ms_, timestamp_ms); }

  Status operator()(const AssignUuid& u);
  Status operator()(const UpgradeFormatVersion& u);
  Status operator()(const AddSchema& u);
  Status operator()(const SetCurrentSchema& u);
  Status operator()(const AddPartitionSpec& u);
  Status operator()(const SetDefaultSpec& u);
  Status operator()(const AddSortOrder& u);
  Status operator()(const SetDefaultSortOrder& u);
  Status operator()(const AddSnapshot& u);
  Status operator()(const SetSnapshotRef& u);
  Status operator()(const RemoveSnapshots& u);
  Status operator()(const RemoveSnapshotRef& u);
  Status operator()(const SetLocation& u);
  Status operator()(const SetProperties& u);
  Status operator()(const RemoveProperties& u);

  Result<TableMetadata> Finish(const std::string& base_metadata_location);

 private:
  Status CheckNewSnapshot(const Snapshot& snapshot) const;
  Result<FieldId> PartitionFieldId(const schema::PartitionField& field);
  void RemoveRef(const std::string& name);
  void RemoveStatistics(const std::set<SnapshotId>& gone);
  Status CheckRemovedSnapshots() const;
  void RepairSnapshotLog();
  void AppendToMetadataLog(const std::string& base_metadata_location);

  const TableMetadata& base_;
  TableMetadata out_;
  int64_t now_ms_ = 0;
  std::optional<int32_t> last_added_schema_;
  std::optional<int32_t> last_added_spec_;
  std::optional<int32_t> last_added_order_;
  std::set<SnapshotId> added_snapshots_;
  std::set<SnapshotId> once_current_;  // of those added here, the ones that main was set to
  std::set<SnapshotId> removed_snapshots_;
  bool snapshots_removed_ = false;
  bool layout_changed_ = false;  // schema, spec or sort order
};

Status MetadataBuilder::operator()(const AssignUuid& u) {
  if (u.uuid.empty()) return Invalid("assign-uuid needs a uuid");
  if (!out_.table_uuid.empty() && out_.table_uuid != u.uuid) {
    return Invalid(fmt::format("the table has a uuid that cannot be replaced: {}", out_.table_uuid));
  }
  out_.table_uuid = u.uuid;
  return {};
}

Status MetadataBuilder::operator()(const UpgradeFormatVersion& u) {
  if (u.format_version < out_.format_version) {
    return Invalid(fmt::format("format version {} cannot go back to: {}", out_.format_version, u.format_version));
  }
  if (u.format_version > kFormatVersionMax) {
    return Fail(ErrorCode::kUnsupported, fmt::format("format version is not known: {}", u.format_version));
  }
  if (out_.format_version < 3 && u.format_version >= 3) out_.next_row_id = 0;  // spec: "Row Lineage", upgrade
  out_.format_version = u.format_version;
  return {};
}

Status MetadataBuilder::operator()(const AddSchema& u) {
  FIRN_TRY(ValidateSchema(u.schema, out_.format_version));
  int32_t last_column_id = std::max(u.last_column_id, u.schema.HighestFieldId());
  if (u.last_column_id > 0 && u.last_column_id < out_.last_column_id) {
    return Invalid(fmt::format("last-column-id {} cannot go back to: {}", out_.last_column_id, u.last_column_id));
  }
  out_.last_column_id = std::max(out_.last_column_id, last_column_id);
  int64_t next_id = 0;
  for (const schema::Schema& known : out_.schemas) {
    if (SameSchema(known, u.schema)) {
      last_added_schema_ = known.schema_id;
      return {};
    }
    next_id = std::max(next_id, int64_t{known.schema_id} + 1);
  }
  schema::Schema added = u.schema;
  FIRN_ASSIGN(added.schema_id, FreshId(next_id, "schema-id"));
  last_added_schema_ = added.schema_id;
  out_.schemas.push_back(std::move(added));
  return {};
}

Result<int32_t> Resolve(int32_t id, std::optional<int32_t> last_added, std::string_view what) {
  if (id != kLastAdded) return id;
  if (!last_added) return Invalid(fmt::format("{} is -1 (last added), but this commit adds none before it", what));
  return *last_added;
}

Status MetadataBuilder::operator()(const SetCurrentSchema& u) {
  FIRN_ASSIGN(int32_t id, Resolve(u.schema_id, last_added_schema_, "set-current-schema"));
  if (out_.FindSchema(id) == nullptr) return Invalid(fmt::format("set-current-schema names no listed schema: {}", id));
  layout_changed_ = layout_changed_ || id != out_.current_schema_id;
  out_.current_schema_id = id;
  return {};
}

// A field that means the same in an older spec keeps its id there (spec: "Partition Evolution").
Result<FieldId> MetadataBuilder::PartitionFieldId(const schema::PartitionField& field) {
  for (const schema::PartitionSpec& spec : out_.partition_specs) {
    for (const schema::PartitionField& known : spec.fields) {
      bool same_meaning = known.source_id == field.source_id && known.transform == field.transform;
      if (field.field_id == FieldId() && SameField(known, field)) return known.field_id;
      if (field.field_id == known.field_id && field.field_id != FieldId() && !same_meaning) {
        return Invalid(fmt::format("partition field '{}' takes the id that an older spec gave to '{}': {}", field.name,
                                   known.name, field.field_id));
      }
    }
  }
  if (field.field_id != FieldId()) return field.field_id;
  FIRN_ASSIGN(out_.last_partition_id, FreshId(int64_t{out_.last_partition_id} + 1, "partition field id"));
  return FieldId(out_.last_partition_id);
}

Status MetadataBuilder::operator()(const AddPartitionSpec& u) {
  int64_t next_id = 0;
  for (const schema::PartitionSpec& known : out_.partition_specs) {
    if (SameSpec(known, u.spec)) {
      last_added_spec_ = known.spec_id;
      return {};
    }
    next_id = std::max(next_id, int64_t{known.spec_id} + 1);
  }
  schema::PartitionSpec spec = u.spec;
  FIRN_ASSIGN(spec.spec_id, FreshId(next_id, "spec-id"));
  for (schema::PartitionField& field : spec.fields) {
    FIRN_ASSIGN(field.field_id, PartitionFieldId(field));
    out_.last_partition_id = std::max(out_.last_partition_id, field.field_id.value());
  }
  FIRN_TRY(ValidateSpec(spec, out_.CurrentSchema()));
  last_added_spec_ = spec.spec_id;
  out_.partition_specs.push_back(std::move(spec));
  return {};
}

Status MetadataBuilder::operator()(const SetDefaultSpec& u) {
  FIRN_ASSIGN(int32_t id, Resolve(u.spec_id, last_added_spec_, "set-default-spec"));
  if (out_.FindSpec(id) == nullptr) return Invalid(fmt::format("set-default-spec names no listed spec: {}", id));
  layout_changed_ = layout_changed_ || id != out_.default_spec_id;
  out_.default_spec_id = id;
  return {};
}

Status MetadataBuilder::operator()(const AddSortOrder& u) {
  FIRN_TRY(ValidateSortOrder(u.order, out_.CurrentSchema()));
  int64_t next_id = u.order.fields.empty() ? 0 : 1;
  for (const schema::SortOrder& known : out_.sort_orders) {
    if (known.fields == u.order.fields) {
      last_added_order_ = known.order_id;
      return {};
    }
    if (!u.order.fields.empty()) next_id = std::max(next_id, int64_t{known.order_id} + 1);
  }
  schema::SortOrder added = u.order;
  FIRN_ASSIGN(added.order_id, FreshId(next_id, "order-id"));
  last_added_order_ = added.order_id;
  out_.sort_orders.push_back(std::move(added));
  return {};
}

Status MetadataBuilder::operator()(const SetDefaultSortOrder& u) {
  FIRN_ASSIGN(int32_t id, Resolve(u.order_id, last_added_order_, "set-default-sort-order"));
  bool known = std::any_of(out_.sort_orders.begin(), out_.sort_orders.end(),
                           [&](const schema::SortOrder& order) { return order.order_id == id; });
  if (!known) return Invalid(fmt::format("set-default-sort-order names no listed sort order: {}", id));
  layout_changed_ = layout_changed_ || id != out_.default_sort_order_id;
  out_.default_sort_order_id = id;
  return {};
}

Status MetadataBuilder::CheckNewSnapshot(const Snapshot& snapshot) const {
  SnapshotId id = snapshot.snapshot_id;
  if (id.value() < 0) return Invalid(fmt::format("a snapshot id must not be negative: {}", id));
  if (out_.FindSnapshot(id) != nullptr) return Invalid(fmt::format("the snapshot id is taken; draw another: {}", id));
  bool is_old = snapshot.sequence_number <= out_.last_sequence_number;
  if (out_.format_version > 1 && is_old) {
    return Invalid(fmt::format("snapshot {} needs a sequence number above {}, has: {}", id, out_.last_sequence_number,
                               snapshot.sequence_number));
  }
  if (snapshot.manifest_list.empty() && out_.format_version > 1) {
    return Invalid(fmt::format("a snapshot needs a manifest list: {}", id));
  }
  if (!snapshot.summary.contains("operation")) {
    return Invalid(fmt::format("a snapshot's summary needs 'operation': {}", id));
  }
  if (snapshot.schema_id && out_.FindSchema(*snapshot.schema_id) == nullptr) {
    return Invalid(fmt::format("snapshot {} names no listed schema: {}", id, *snapshot.schema_id));
  }
  if (out_.format_version < 3) return {};
  int64_t next_row_id = out_.next_row_id.value_or(0);
  if (!snapshot.first_row_id || *snapshot.first_row_id < next_row_id || !snapshot.added_rows ||
      *snapshot.added_rows < 0) {
    return Invalid(
        fmt::format("snapshot {} of a v3 table needs added-rows and a first-row-id of at least: {}", id, next_row_id));
  }
  return {};
}

Status MetadataBuilder::operator()(const AddSnapshot& u) {
  FIRN_TRY(CheckNewSnapshot(u.snapshot));
  if (out_.format_version > 1) out_.last_sequence_number = u.snapshot.sequence_number;
  if (out_.format_version >= 3) {
    int64_t next_row_id = 0;
    if (__builtin_add_overflow(*u.snapshot.first_row_id, *u.snapshot.added_rows, &next_row_id)) {
      return Invalid(fmt::format("first-row-id + added-rows is beyond 64 bits: {}", *u.snapshot.first_row_id));
    }
    out_.next_row_id = next_row_id;
  }
  out_.snapshots.push_back(u.snapshot);
  added_snapshots_.insert(u.snapshot.snapshot_id);
  return {};
}

Status MetadataBuilder::operator()(const SetSnapshotRef& u) {
  const Snapshot* target = out_.FindSnapshot(u.value.snapshot_id);
  if (target == nullptr) return Invalid(fmt::format("ref '{}' names no snapshot: {}", u.ref, u.value.snapshot_id));
  if (u.ref.empty()) return Invalid("a ref needs a name");
  if (u.value.type != "branch" && (u.value.type != "tag" || u.ref == kMainBranch)) {
    return Invalid(fmt::format("ref '{}' cannot be of type: '{}'", u.ref, u.value.type));
  }
  auto existing = out_.refs.find(u.ref);
  bool moves = existing == out_.refs.end() || existing->second.snapshot_id != u.value.snapshot_id;
  if (u.ref == kMainBranch && moves) {
    out_.current_snapshot_id = u.value.snapshot_id;
    out_.snapshot_log.push_back({now_ms_, u.value.snapshot_id});
    if (added_snapshots_.contains(u.value.snapshot_id)) once_current_.insert(u.value.snapshot_id);
  }
  out_.refs[u.ref] = u.value;
  return {};
}

void MetadataBuilder::RemoveRef(const std::string& name) {
  if (out_.refs.erase(name) > 0 && name == kMainBranch) {
    out_.current_snapshot_id.reset();
    out_.snapshot_log.clear();
  }
}

// Statistics files belong to a snapshot and go with it (spec: "Table Statistics").
void MetadataBuilder::RemoveStatistics(const std::set<SnapshotId>& gone) {
  for (const char* name : {"statistics", "partition-statistics"}) {
    auto kept = out_.other_members_json.find(name);
    if (kept == out_.other_members_json.end()) continue;
    json list = json::parse(kept->second, nullptr, /*allow_exceptions=*/false);
    if (!list.is_array()) continue;
    json left = json::array();
    for (const json& one : list) {
      auto id = one.is_object() ? one.find("snapshot-id") : one.end();
      bool of_gone = one.is_object() && id != one.end() && id->is_number_integer() &&
                     gone.contains(SnapshotId(id->get<int64_t>()));
      if (!of_gone) left.push_back(one);
    }
    kept->second = left.dump();
  }
}

Status MetadataBuilder::operator()(const RemoveSnapshots& u) {
  std::set<SnapshotId> gone(u.snapshot_ids.begin(), u.snapshot_ids.end());
  size_t removed = out_.snapshots.EraseIf([&](const Snapshot& s) { return gone.contains(s.snapshot_id); });
  if (removed == 0) return {};
  snapshots_removed_ = true;
  removed_snapshots_.insert(gone.begin(), gone.end());
  RemoveStatistics(gone);
  return {};
}

Status MetadataBuilder::operator()(const RemoveSnapshotRef& u) {
  RemoveRef(u.ref);
  return {};
}

Status MetadataBuilder::operator()(const SetLocation& u) {
  std::string location = u.location;
  while (location.ends_with('/')) location.pop_back();
  if (location.empty()) return Invalid(fmt::format("set-location needs a location, got: '{}'", u.location));
  out_.location = std::move(location);
  return {};
}

Status MetadataBuilder::operator()(const SetProperties& u) {
  if (u.properties.contains("format-version")) {
    return Invalid("'format-version' is no stored property; use upgrade-format-version");
  }
  FIRN_TRY(ValidateProperties(u.properties));
  for (const auto& [key, value] : u.properties) out_.properties[key] = value;
  return {};
}

Status MetadataBuilder::operator()(const RemoveProperties& u) {
  for (const std::string& key : u.keys) out_.properties.erase(key);
  return {};
}

// Snapshots that this commit both added and replaced were never seen as current. A removed snapshot takes the log
// before it along: with a gap, "current at time t" would be answered with a snapshot that was not (Java:
// updateSnapshotLog).
void MetadataBuilder::RepairSnapshotLog() {
  std::unordered_set<SnapshotId> listed;
  if (snapshots_removed_) {
    for (const Snapshot& snapshot : out_.snapshots) listed.insert(snapshot.snapshot_id);
  }
  std::vector<SnapshotLogEntry> log;
  for (const SnapshotLogEntry& entry : out_.snapshot_log) {
    bool is_intermediate = once_current_.contains(entry.snapshot_id) && entry.snapshot_id != out_.current_snapshot_id;
    if (snapshots_removed_ && !listed.contains(entry.snapshot_id)) {
      log.clear();
    } else if (!is_intermediate) {
      log.push_back(entry);
    }
  }
  out_.snapshot_log = std::move(log);
}

int64_t PreviousVersionsMax(const Properties& properties) {
  auto found = properties.find(kPreviousVersionsMax);
  if (found == properties.end()) return kPreviousVersionsDefault;
  const std::string& text = found->second;
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  // A commit must not fail for a bad number here; the default is what readers expect.
  if (error != std::errc() || end != text.data() + text.size()) return kPreviousVersionsDefault;
  return std::max<int64_t>(value, 1);
}

void MetadataBuilder::AppendToMetadataLog(const std::string& base_metadata_location) {
  if (base_metadata_location.empty()) return;
  out_.metadata_log.push_back({base_.last_updated_ms, base_metadata_location});
  auto size = static_cast<int64_t>(out_.metadata_log.size());
  int64_t surplus = size - PreviousVersionsMax(out_.properties);
  if (surplus > 0) out_.metadata_log.erase(out_.metadata_log.begin(), out_.metadata_log.begin() + surplus);
}

// Who removes a snapshot did not know of the branch or tag that names it: it was set since they looked. They look
// again; only who removes the ref in the same commit has seen it.
Status MetadataBuilder::CheckRemovedSnapshots() const {
  for (const auto& [name, ref] : out_.refs) {
    if (!removed_snapshots_.contains(ref.snapshot_id)) continue;
    return Fail(ErrorCode::kConflict, fmt::format("a snapshot to be removed is named by ref '{}'; remove the ref too, "
                                                  "or keep the snapshot: {}",
                                                  name, ref.snapshot_id));
  }
  return {};
}

Result<TableMetadata> MetadataBuilder::Finish(const std::string& base_metadata_location) {
  FIRN_TRY(CheckRemovedSnapshots());
  RepairSnapshotLog();
  if (layout_changed_) {
    FIRN_TRY(ValidateSpec(out_.DefaultSpec(), out_.CurrentSchema()));
    FIRN_TRY(ValidateSortOrder(out_.DefaultSortOrder(), out_.CurrentSchema()));
  }
  if (out_.format_version > 1 && out_.table_uuid.empty()) {
    return Invalid("a table of format version 2 needs a uuid; add assign-uuid to the commit");
  }
  out_.last_updated_ms = now_ms_;
  AppendToMetadataLog(base_metadata_location);
  return std::move(out_);
}

}  // namespace

Result<TableMetadata> ApplyUpdates(const TableMetadata& base, const std::vector<TableUpdate>& updates, int64_t now_ms,
                                   const std::string& base_metadata_location) {
  MetadataBuilder builder(base, now_ms);
  for (const TableUpdate& update : updates) {
    if (const auto* added = std::get_if<AddSnapshot>(&update)) builder.NotBefore(added->snapshot.timestamp_ms);
  }
  for (const TableUpdate& update : updates) FIRN_TRY(std::visit(builder, update));
  return builder.Finish(base_metadata_location);
}

}  // namespace firn::iceberg
