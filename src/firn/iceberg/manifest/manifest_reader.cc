// ReadManifest: the container's header, a plan that maps the writer's fields to ours by id, then entry after entry.
#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "firn/iceberg/manifest/avro_container.h"
#include "firn/iceberg/manifest/avro_decoder.h"
#include "firn/iceberg/manifest/manifest_avro.h"
#include "firn/iceberg/manifest/manifest_schema.h"
#include "firn/schema/schema_json.h"

namespace firn::iceberg {
namespace {

using schema::TypeKind;
using schema::TypePtr;

using Header = std::map<std::string, std::string>;

std::string_view Member(const Header& header, const std::string& key) {
  auto found = header.find(key);
  return found == header.end() ? std::string_view() : std::string_view(found->second);
}

Result<int32_t> IntMember(const Header& header, const std::string& key, int32_t absent) {
  const std::string_view text = Member(header, key);
  if (text.empty()) return absent;
  int32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Fail(ErrorCode::kCorruption, fmt::format("header member '{}' is no number: '{}'", key, text.substr(0, 64)));
  }
  return value;
}

Result<nlohmann::json> JsonMember(const Header& header, const std::string& key) {
  const std::string_view text = Member(header, key);
  if (text.empty()) return Fail(ErrorCode::kCorruption, fmt::format("header member is missing: '{}'", key));
  FIRN_TRY(WithContext(CheckJsonDepth(text), key));
  nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return Fail(ErrorCode::kCorruption, fmt::format("header member is no JSON: '{}'", key));
  return json;
}

Result<ManifestHeader> ReadHeader(const Header& members) {
  ManifestHeader header;
  FIRN_ASSIGN(header.format_version, IntMember(members, "format-version", 1));
  const std::string_view content = Member(members, "content");
  if (content != "" && content != "data" && content != "deletes") {
    return Fail(ErrorCode::kCorruption, fmt::format("header member 'content': '{}'", content.substr(0, 64)));
  }
  header.content = content == "deletes" ? ManifestContent::kDeletes : ManifestContent::kData;
  FIRN_ASSIGN(const nlohmann::json schema_json, JsonMember(members, "schema"));
  FIRN_ASSIGN(header.table_schema, WithContext(schema::SchemaFromJson(schema_json), "header member 'schema'"));
  FIRN_ASSIGN(header.table_schema.schema_id, IntMember(members, "schema-id", header.table_schema.schema_id));
  FIRN_ASSIGN(nlohmann::json spec_json, JsonMember(members, "partition-spec"));
  FIRN_ASSIGN(const int32_t spec_id, IntMember(members, "partition-spec-id", 0));
  // The spec wants the fields array; a whole spec object is taken too.
  if (spec_json.is_array()) spec_json = nlohmann::json{{"fields", std::move(spec_json)}};
  if (spec_json.is_object()) spec_json["spec-id"] = spec_id;
  FIRN_ASSIGN(header.spec, WithContext(schema::PartitionSpecFromJson(spec_json), "header member 'partition-spec'"));
  return header;
}

// What a file's own Avro type says when the header's schema cannot: a source column that is gone, a foreign transform.
TypePtr TypeOfAvro(const AvroSchema& branch) {
  switch (branch.kind) {
    case AvroKind::kBoolean: return schema::Type::Primitive(TypeKind::kBoolean);
    case AvroKind::kInt: return schema::Type::Primitive(TypeKind::kInt);
    case AvroKind::kLong: return schema::Type::Primitive(TypeKind::kLong);
    case AvroKind::kFloat: return schema::Type::Primitive(TypeKind::kFloat);
    case AvroKind::kDouble: return schema::Type::Primitive(TypeKind::kDouble);
    case AvroKind::kString: return schema::Type::Primitive(TypeKind::kString);
    case AvroKind::kFixed:
      if (branch.logical_type == "decimal") return schema::Type::Decimal(38, 0);
      [[fallthrough]];
    default: return schema::Type::Primitive(TypeKind::kBinary);
  }
}

bool Holds(TypeKind type, AvroKind avro) {
  const bool integer = avro == AvroKind::kInt || avro == AvroKind::kLong;
  const bool bytes = avro == AvroKind::kBytes || avro == AvroKind::kFixed || avro == AvroKind::kString;
  switch (type) {
    case TypeKind::kBoolean: return avro == AvroKind::kBoolean;
    case TypeKind::kFloat: return avro == AvroKind::kFloat;
    case TypeKind::kDouble: return avro == AvroKind::kFloat || avro == AvroKind::kDouble;
    case TypeKind::kInt:
    case TypeKind::kDate:
    case TypeKind::kLong:
    case TypeKind::kTime:
    case TypeKind::kTimestamp:
    case TypeKind::kTimestamptz:
    case TypeKind::kTimestampNs:
    case TypeKind::kTimestamptzNs: return integer;
    case TypeKind::kDecimal: return avro == AvroKind::kBytes || avro == AvroKind::kFixed;
    case TypeKind::kString:
    case TypeKind::kUuid:
    case TypeKind::kFixed:
    case TypeKind::kBinary: return bytes;
    default: return false;
  }
}

// Where each field of the writer's partition record goes.
struct PartitionSlot {
  size_t position = SIZE_MAX;  // in the tuple; SIZE_MAX: skipped
  TypePtr type;
};

struct EntryPlan {
  std::vector<int32_t> entry_ids;
  const AvroSchema* data_file = nullptr;
  std::vector<int32_t> data_file_ids;
  const AvroSchema* partition = nullptr;
  std::vector<PartitionSlot> partition_slots;
  size_t tuple_size = 0;
};

const AvroField* FieldWithId(const AvroSchema& record, const std::vector<int32_t>& ids, int32_t id) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] == id) return &record.fields[i];
  }
  return nullptr;
}

const AvroSchema& ValueBranch(const AvroSchema& schema) {
  if (schema.kind != AvroKind::kUnion) return schema;
  for (const AvroSchemaPtr& branch : schema.items) {
    if (branch->kind != AvroKind::kNull) return *branch;
  }
  return schema;
}

Status PlanPartition(const ManifestHeader& header, EntryPlan& plan) {
  plan.tuple_size = header.spec.fields.size();
  auto partition_type = schema::PartitionType(header.spec, header.table_schema);
  std::vector<NameId> names;
  std::vector<std::string> sanitized;
  for (const schema::PartitionField& field : header.spec.fields) sanitized.push_back(SanitizeAvroName(field.name));
  for (size_t i = 0; i < sanitized.size(); ++i) names.push_back({sanitized[i], header.spec.fields[i].field_id.value()});
  const std::vector<int32_t> ids = ResolveFieldIds(*plan.partition, names);
  plan.partition_slots.resize(ids.size());
  for (size_t i = 0; i < plan.tuple_size; ++i) {
    const schema::PartitionField& field = header.spec.fields[i];
    size_t found = 0;
    while (found < ids.size() && ids[found] != field.field_id.value()) ++found;
    if (found == ids.size()) {
      // Nothing can be lost of a partition field that is always null.
      if (field.transform.kind == schema::TransformKind::kVoid) continue;
      return Fail(ErrorCode::kCorruption,
                  fmt::format("the partition record lacks a field of the spec: '{}'", field.name));
    }
    const AvroSchema& branch = ValueBranch(*plan.partition->fields[found].schema);
    TypePtr type = partition_type.has_value() ? (*partition_type)->fields()[i].type : nullptr;
    if (type == nullptr || !Holds(type->kind(), branch.kind)) type = TypeOfAvro(branch);
    plan.partition_slots[found] = {i, std::move(type)};
  }
  return {};
}

Result<EntryPlan> MakePlan(const AvroSchema& root, const ManifestHeader& header) {
  EntryPlan plan;
  if (root.kind != AvroKind::kRecord) return UnexpectedKind(root, "record manifest_entry");
  plan.entry_ids = ResolveFieldIds(root, ManifestEntryNames());
  const AvroField* data_file = FieldWithId(root, plan.entry_ids, kDataFileId);
  plan.data_file = data_file == nullptr ? nullptr : RecordBranch(*data_file->schema);
  if (plan.data_file == nullptr || FieldWithId(root, plan.entry_ids, kStatusId) == nullptr) {
    return Fail(ErrorCode::kCorruption, "not a manifest: its entries have no status or no data_file");
  }
  plan.data_file_ids = ResolveFieldIds(*plan.data_file, DataFileNames());
  for (int32_t id : {kFilePathId, kFileFormatId, kPartitionId, kRecordCountId, kFileSizeId}) {
    if (FieldWithId(*plan.data_file, plan.data_file_ids, id) == nullptr) {
      return Fail(ErrorCode::kCorruption, fmt::format("manifest lacks a required field of data_file: {}", id));
    }
  }
  plan.partition = RecordBranch(*FieldWithId(*plan.data_file, plan.data_file_ids, kPartitionId)->schema);
  if (plan.partition == nullptr) return Fail(ErrorCode::kCorruption, "manifest: the partition is no record");
  FIRN_TRY(PlanPartition(header, plan));
  return plan;
}

void PassOverMetrics(EntryPlan& plan) {
  constexpr int32_t kPassedOver = -1;
  for (int32_t& id : plan.data_file_ids) {
    const bool is_metric = id == kColumnSizesId || id == kValueCountsId || id == kNullValueCountsId ||
                           id == kNanValueCountsId || id == kLowerBoundsId || id == kUpperBoundsId;
    if (is_metric) id = kPassedOver;
  }
}

Status ReadPartition(const EntryPlan& plan, const AvroSchema& schema, ByteCursor& cursor, DataFile& file) {
  file.partition.assign(plan.tuple_size, schema::Value());
  FIRN_ASSIGN(const AvroSchema* branch, ResolveUnion(schema, cursor));
  if (branch != plan.partition) return UnexpectedKind(*branch, "a partition record");
  for (size_t i = 0; i < plan.partition_slots.size(); ++i) {
    const PartitionSlot& slot = plan.partition_slots[i];
    const AvroField& field = plan.partition->fields[i];
    if (slot.position == SIZE_MAX) {
      FIRN_TRY(SkipDatum(*field.schema, cursor));
      continue;
    }
    FIRN_ASSIGN(file.partition[slot.position], DecodeValue(*field.schema, *slot.type, cursor));
  }
  return {};
}

template <typename T>
Result<T> NotNull(Result<std::optional<T>> value, std::string_view name) {
  if (!value.has_value()) return std::unexpected<Error>(std::move(value.error()));
  if (!value->has_value()) return Fail(ErrorCode::kCorruption, fmt::format("required field is null: '{}'", name));
  return std::move(**value);
}

template <typename Target, typename Source>
Status Set(Target& target, Result<Source> value) {
  if (!value.has_value()) return std::unexpected<Error>(std::move(value.error()));
  target = *std::move(value);
  return {};
}

Status ReadContent(const AvroSchema& schema, ByteCursor& cursor, DataFile& file) {
  FIRN_ASSIGN(const std::optional<int32_t> number, DecodeInt(schema, cursor));
  // Files of format v1 have no content: they are data.
  if (number.value_or(0) < 0 || number.value_or(0) > 2) {
    return Fail(ErrorCode::kCorruption, fmt::format("unknown file content: {}", *number));
  }
  file.content = static_cast<FileContent>(number.value_or(0));
  return {};
}

Status ReadDataFileField(const EntryPlan& plan, int32_t id, const AvroSchema& schema, ByteCursor& cursor,
                         DataFile& file) {
  switch (id) {
    case kContentId: return ReadContent(schema, cursor, file);
    case kFilePathId: return Set(file.file_path, NotNull(DecodeBytes(schema, cursor), "file_path"));
    case kFileFormatId: return Set(file.file_format, NotNull(DecodeBytes(schema, cursor), "file_format"));
    case kPartitionId: return ReadPartition(plan, schema, cursor, file);
    case kRecordCountId: return Set(file.record_count, NotNull(DecodeLong(schema, cursor), "record_count"));
    case kFileSizeId: return Set(file.file_size_in_bytes, NotNull(DecodeLong(schema, cursor), "file_size_in_bytes"));
    case kColumnSizesId: return DecodeLongMap(schema, cursor, file.column_sizes);
    case kValueCountsId: return DecodeLongMap(schema, cursor, file.value_counts);
    case kNullValueCountsId: return DecodeLongMap(schema, cursor, file.null_value_counts);
    case kNanValueCountsId: return DecodeLongMap(schema, cursor, file.nan_value_counts);
    case kLowerBoundsId: return DecodeBytesMap(schema, cursor, file.lower_bounds);
    case kUpperBoundsId: return DecodeBytesMap(schema, cursor, file.upper_bounds);
    case kKeyMetadataId: return Set(file.key_metadata, DecodeBytes(schema, cursor));
    case kSplitOffsetsId: return DecodeLongList(schema, cursor, file.split_offsets);
    case kEqualityIdsId: return DecodeIntList(schema, cursor, file.equality_ids);
    case kSortOrderIdId: return Set(file.sort_order_id, DecodeInt(schema, cursor));
    case kFirstRowIdId: return Set(file.first_row_id, DecodeLong(schema, cursor));
    case kReferencedDataFileId: return Set(file.referenced_data_file, DecodeBytes(schema, cursor));
    case kContentOffsetId: return Set(file.content_offset, DecodeLong(schema, cursor));
    case kContentSizeId: return Set(file.content_size_in_bytes, DecodeLong(schema, cursor));
    default: return SkipDatum(schema, cursor);
  }
}

Status ReadDataFile(const EntryPlan& plan, const AvroSchema& schema, ByteCursor& cursor, DataFile& file) {
  FIRN_ASSIGN(const AvroSchema* branch, ResolveUnion(schema, cursor));
  if (branch != plan.data_file) return UnexpectedKind(*branch, "a data_file record");
  for (size_t i = 0; i < branch->fields.size(); ++i) {
    FIRN_TRY(ReadDataFileField(plan, plan.data_file_ids[i], *branch->fields[i].schema, cursor, file));
  }
  if (file.record_count < 0 || file.file_size_in_bytes < 0) {
    return Fail(ErrorCode::kCorruption, fmt::format("a negative record count or size, of file: '{}'", file.file_path));
  }
  return {};
}

Status ReadStatus(const AvroSchema& schema, ByteCursor& cursor, ManifestEntry& entry) {
  FIRN_ASSIGN(const int32_t status, NotNull(DecodeInt(schema, cursor), "status"));
  if (status < 0 || status > 2) return Fail(ErrorCode::kCorruption, fmt::format("unknown entry status: {}", status));
  entry.status = static_cast<EntryStatus>(status);
  return {};
}

Status ReadSnapshotId(const AvroSchema& schema, ByteCursor& cursor, ManifestEntry& entry) {
  FIRN_ASSIGN(const std::optional<int64_t> id, DecodeLong(schema, cursor));
  if (id.has_value()) entry.snapshot_id = SnapshotId{*id};
  return {};
}

Status ReadEntryField(const EntryPlan& plan, int32_t id, const AvroSchema& schema, ByteCursor& cursor,
                      ManifestEntry& entry) {
  switch (id) {
    case kStatusId: return ReadStatus(schema, cursor, entry);
    case kSnapshotIdId: return ReadSnapshotId(schema, cursor, entry);
    case kSequenceNumberId: return Set(entry.sequence_number, DecodeLong(schema, cursor));
    case kFileSequenceNumberId: return Set(entry.file_sequence_number, DecodeLong(schema, cursor));
    case kDataFileId: return ReadDataFile(plan, schema, cursor, entry.data_file);
    default: return SkipDatum(schema, cursor);
  }
}

Result<ManifestEntry> ReadEntry(const EntryPlan& plan, const AvroSchema& root, ByteCursor& cursor) {
  ManifestEntry entry;
  for (size_t i = 0; i < root.fields.size(); ++i) {
    FIRN_TRY(ReadEntryField(plan, plan.entry_ids[i], *root.fields[i].schema, cursor, entry));
  }
  return entry;
}

}  // namespace

Result<ManifestHeader> ReadManifestEntries(std::string_view bytes, EntryMetrics metrics,
                                           const std::function<Status(ManifestEntry)>& take) {
  FIRN_ASSIGN(const AvroContainer container, WithContext(ReadAvroContainer(bytes), "manifest"));
  FIRN_ASSIGN(const AvroSchemaPtr root,
              WithContext(AvroSchema::Parse(Member(container.header, "avro.schema")), "manifest"));
  FIRN_ASSIGN(ManifestHeader header, WithContext(ReadHeader(container.header), "manifest"));
  FIRN_ASSIGN(EntryPlan plan, WithContext(MakePlan(*root, header), "manifest"));
  if (metrics == EntryMetrics::kNone) PassOverMetrics(plan);
  int64_t number = 0;
  for (const AvroBlock& block : container.blocks) {
    ByteCursor cursor(block.records);
    for (int64_t i = 0; i < block.record_count; ++i, ++number) {
      auto entry = ReadEntry(plan, *root, cursor);
      if (!entry.has_value()) {
        return std::unexpected<Error>(std::move(entry.error()).WithContext(fmt::format("manifest entry {}", number)));
      }
      // Format v1 has no sequence numbers: everything in it counts as 0 (spec: "Sequence Number Inheritance").
      if (header.format_version == 1) {
        entry->sequence_number = entry->sequence_number.value_or(0);
        entry->file_sequence_number = entry->file_sequence_number.value_or(0);
      }
      FIRN_TRY(take(*std::move(entry)));
    }
    if (!cursor.empty()) {
      return Fail(ErrorCode::kCorruption,
                  fmt::format("manifest: bytes behind a block's last entry: {}", cursor.remaining()));
    }
  }
  return header;
}

Result<ManifestFileContents> ReadManifest(std::string_view bytes) {
  ManifestFileContents contents;
  FIRN_ASSIGN(contents.header, ReadManifestEntries(bytes, EntryMetrics::kAll, [&](ManifestEntry entry) -> Status {
                contents.entries.push_back(std::move(entry));
                return {};
              }));
  return contents;
}

Status InheritFromManifest(const ManifestFile& manifest, ManifestEntry& entry) {
  if (!entry.snapshot_id.has_value()) entry.snapshot_id = manifest.added_snapshot_id;
  // Sequence number 0: a manifest of format v1, whatever its entries' status.
  const bool inherits = entry.status == EntryStatus::kAdded || manifest.sequence_number == 0;
  if (!inherits && (!entry.sequence_number.has_value() || !entry.file_sequence_number.has_value())) {
    return Fail(ErrorCode::kCorruption, fmt::format("manifest '{}' has an existing or deleted entry without its "
                                                    "sequence numbers: '{}'",
                                                    manifest.manifest_path, entry.data_file.file_path));
  }
  entry.sequence_number = entry.sequence_number.value_or(manifest.sequence_number);
  entry.file_sequence_number = entry.file_sequence_number.value_or(manifest.sequence_number);
  return {};
}

Status InheritFromManifest(const ManifestFile& manifest, std::vector<ManifestEntry>& entries) {
  for (ManifestEntry& entry : entries) FIRN_TRY(InheritFromManifest(manifest, entry));
  return {};
}

}  // namespace firn::iceberg
