#include "firn/iceberg/manifest/manifest_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "firn/iceberg/manifest/avro_encoder.h"

namespace firn::iceberg {
namespace {

using Json = nlohmann::ordered_json;
using schema::TypeKind;

constexpr NameId kEntryNames[] = {{"status", kStatusId},
                                  {"snapshot_id", kSnapshotIdId},
                                  {"data_file", kDataFileId},
                                  {"sequence_number", kSequenceNumberId},
                                  {"file_sequence_number", kFileSequenceNumberId}};
constexpr NameId kDataFileNameIds[] = {{"content", kContentId},
                                       {"file_path", kFilePathId},
                                       {"file_format", kFileFormatId},
                                       {"partition", kPartitionId},
                                       {"record_count", kRecordCountId},
                                       {"file_size_in_bytes", kFileSizeId},
                                       {"column_sizes", kColumnSizesId},
                                       {"value_counts", kValueCountsId},
                                       {"null_value_counts", kNullValueCountsId},
                                       {"nan_value_counts", kNanValueCountsId},
                                       {"lower_bounds", kLowerBoundsId},
                                       {"upper_bounds", kUpperBoundsId},
                                       {"key_metadata", kKeyMetadataId},
                                       {"split_offsets", kSplitOffsetsId},
                                       {"equality_ids", kEqualityIdsId},
                                       {"sort_order_id", kSortOrderIdId},
                                       {"first_row_id", kFirstRowIdId},
                                       {"referenced_data_file", kReferencedDataFileId},
                                       {"content_offset", kContentOffsetId},
                                       {"content_size_in_bytes", kContentSizeId}};
// The older names of the counts are those of format v1 writers.
constexpr NameId kManifestFileNameIds[] = {{"manifest_path", kManifestPathId},
                                           {"manifest_length", kManifestLengthId},
                                           {"partition_spec_id", kPartitionSpecIdId},
                                           {"content", kManifestContentId},
                                           {"sequence_number", kManifestSequenceNumberId},
                                           {"min_sequence_number", kMinSequenceNumberId},
                                           {"added_snapshot_id", kAddedSnapshotIdId},
                                           {"added_files_count", kAddedFilesCountId},
                                           {"added_data_files_count", kAddedFilesCountId},
                                           {"existing_files_count", kExistingFilesCountId},
                                           {"existing_data_files_count", kExistingFilesCountId},
                                           {"deleted_files_count", kDeletedFilesCountId},
                                           {"deleted_data_files_count", kDeletedFilesCountId},
                                           {"added_rows_count", kAddedRowsCountId},
                                           {"existing_rows_count", kExistingRowsCountId},
                                           {"deleted_rows_count", kDeletedRowsCountId},
                                           {"partitions", kPartitionsId},
                                           {"key_metadata", kManifestKeyMetadataId},
                                           {"first_row_id", kManifestFirstRowIdId}};
constexpr NameId kFieldSummaryNameIds[] = {{"contains_null", kContainsNullId},
                                           {"contains_nan", kContainsNanId},
                                           {"lower_bound", kLowerBoundId},
                                           {"upper_bound", kUpperBoundId}};

Json Required(std::string_view name, int32_t id, Json type) {
  return Json{{"name", name}, {"type", std::move(type)}, {"field-id", id}};
}

Json Optional(std::string_view name, int32_t id, Json type) {
  return Json{{"name", name}, {"type", Json::array({"null", std::move(type)})}, {"default", nullptr}, {"field-id", id}};
}

Json Record(std::string_view name, Json fields) {
  return Json{{"type", "record"}, {"name", name}, {"fields", std::move(fields)}};
}

// A map with int keys: Avro's own maps have string keys only.
Json IntKeyedMap(int32_t key_id, int32_t value_id, std::string_view value_type) {
  Json pair = Record(fmt::format("k{}_v{}", key_id, value_id),
                     Json::array({Required("key", key_id, "int"), Required("value", value_id, value_type)}));
  return Json{{"type", "array"}, {"items", std::move(pair)}, {"logicalType", "map"}};
}

Json ListOf(int32_t element_id, Json item) {
  return Json{{"type", "array"}, {"items", std::move(item)}, {"element-id", element_id}};
}

Json Logical(std::string_view type, std::string_view logical_type) {
  return Json{{"type", type}, {"logicalType", logical_type}};
}

Json Timestamp(std::string_view logical_type, bool adjust_to_utc) {
  return Json{{"type", "long"}, {"logicalType", logical_type}, {"adjust-to-utc", adjust_to_utc}};
}

// A named type is defined at its first use and referred to afterwards.
Json NamedFixed(std::string name, int32_t size, std::set<std::string>& defined, Json attributes) {
  if (!defined.insert(name).second) return Json(name);
  Json json{{"type", "fixed"}, {"name", name}, {"size", size}};
  json.update(attributes);
  return json;
}

Result<Json> PartitionAvroType(const schema::Type& type, const schema::PartitionField& field,
                               std::set<std::string>& defined) {
  // The spec calls a day an int; every writer puts down a date.
  if (field.transform.kind == schema::TransformKind::kDay) return Logical("int", "date");
  switch (type.kind()) {
    case TypeKind::kBoolean: return Json("boolean");
    case TypeKind::kInt: return Json("int");
    case TypeKind::kLong: return Json("long");
    case TypeKind::kFloat: return Json("float");
    case TypeKind::kDouble: return Json("double");
    case TypeKind::kString: return Json("string");
    case TypeKind::kBinary: return Json("bytes");
    case TypeKind::kDate: return Logical("int", "date");
    case TypeKind::kTime: return Logical("long", "time-micros");
    case TypeKind::kTimestamp: return Timestamp("timestamp-micros", false);
    case TypeKind::kTimestamptz: return Timestamp("timestamp-micros", true);
    case TypeKind::kUuid: return NamedFixed("uuid_fixed", 16, defined, Json{{"logicalType", "uuid"}});
    case TypeKind::kFixed:
      return NamedFixed(fmt::format("fixed_{}", type.length()), type.length(), defined, Json::object());
    case TypeKind::kDecimal:
      return NamedFixed(fmt::format("decimal_{}_{}", type.precision(), type.scale()), DecimalBytes(type.precision()),
                        defined,
                        Json{{"logicalType", "decimal"}, {"precision", type.precision()}, {"scale", type.scale()}});
    default:
      return Fail(ErrorCode::kUnsupported, fmt::format("partition field '{}' has a type that format v2 has not: {}",
                                                       field.name, type.ToString()));
  }
}

Result<Json> PartitionRecord(const schema::PartitionSpec& spec, const schema::Type& partition_type) {
  std::set<std::string> defined;
  Json fields = Json::array();
  for (size_t i = 0; i < spec.fields.size(); ++i) {
    const schema::PartitionField& field = spec.fields[i];
    FIRN_ASSIGN(Json type, PartitionAvroType(*partition_type.fields()[i].type, field, defined));
    const std::string avro_name = SanitizeAvroName(field.name);
    Json json = Optional(avro_name, field.field_id.value(), std::move(type));
    if (avro_name != field.name) json["iceberg-field-name"] = field.name;
    fields.push_back(std::move(json));
  }
  return Record("r102", std::move(fields));
}

}  // namespace

std::span<const NameId> ManifestEntryNames() {
  return kEntryNames;
}
std::span<const NameId> DataFileNames() {
  return kDataFileNameIds;
}
std::span<const NameId> ManifestFileNames() {
  return kManifestFileNameIds;
}
std::span<const NameId> FieldSummaryNames() {
  return kFieldSummaryNameIds;
}

std::vector<int32_t> ResolveFieldIds(const AvroSchema& record, std::span<const NameId> names) {
  std::vector<int32_t> ids;
  for (const AvroField& field : record.fields) {
    auto named =
        std::find_if(names.begin(), names.end(), [&](const NameId& entry) { return entry.name == field.name; });
    ids.push_back(field.field_id.value_or(named == names.end() ? -1 : named->id));
  }
  return ids;
}

const AvroSchema* RecordBranch(const AvroSchema& schema) {
  if (schema.kind == AvroKind::kRecord) return &schema;
  if (schema.kind != AvroKind::kUnion) return nullptr;
  for (const AvroSchemaPtr& branch : schema.items) {
    if (branch->kind == AvroKind::kRecord) return branch.get();
  }
  return nullptr;
}

Result<std::string> ManifestAvroSchema(const schema::PartitionSpec& spec, const schema::Type& partition_type) {
  FIRN_ASSIGN(Json partition, PartitionRecord(spec, partition_type));
  Json data_file =
      Record("r2", Json::array({Required("content", kContentId, "int"), Required("file_path", kFilePathId, "string"),
                                Required("file_format", kFileFormatId, "string"),
                                Required("partition", kPartitionId, std::move(partition)),
                                Required("record_count", kRecordCountId, "long"),
                                Required("file_size_in_bytes", kFileSizeId, "long"),
                                Optional("column_sizes", kColumnSizesId, IntKeyedMap(117, 118, "long")),
                                Optional("value_counts", kValueCountsId, IntKeyedMap(119, 120, "long")),
                                Optional("null_value_counts", kNullValueCountsId, IntKeyedMap(121, 122, "long")),
                                Optional("nan_value_counts", kNanValueCountsId, IntKeyedMap(138, 139, "long")),
                                Optional("lower_bounds", kLowerBoundsId, IntKeyedMap(126, 127, "bytes")),
                                Optional("upper_bounds", kUpperBoundsId, IntKeyedMap(129, 130, "bytes")),
                                Optional("key_metadata", kKeyMetadataId, "bytes"),
                                Optional("split_offsets", kSplitOffsetsId, ListOf(133, "long")),
                                Optional("equality_ids", kEqualityIdsId, ListOf(136, "int")),
                                Optional("sort_order_id", kSortOrderIdId, "int"),
                                Optional("referenced_data_file", kReferencedDataFileId, "string")}));
  return Record("manifest_entry",
                Json::array({Required("status", kStatusId, "int"), Optional("snapshot_id", kSnapshotIdId, "long"),
                             Optional("sequence_number", kSequenceNumberId, "long"),
                             Optional("file_sequence_number", kFileSequenceNumberId, "long"),
                             Required("data_file", kDataFileId, std::move(data_file))}))
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string ManifestListAvroSchema() {
  Json summary = Record("r508", Json::array({Required("contains_null", kContainsNullId, "boolean"),
                                             Optional("contains_nan", kContainsNanId, "boolean"),
                                             Optional("lower_bound", kLowerBoundId, "bytes"),
                                             Optional("upper_bound", kUpperBoundId, "bytes")}));
  return Record("manifest_file", Json::array({Required("manifest_path", kManifestPathId, "string"),
                                              Required("manifest_length", kManifestLengthId, "long"),
                                              Required("partition_spec_id", kPartitionSpecIdId, "int"),
                                              Required("content", kManifestContentId, "int"),
                                              Required("sequence_number", kManifestSequenceNumberId, "long"),
                                              Required("min_sequence_number", kMinSequenceNumberId, "long"),
                                              Required("added_snapshot_id", kAddedSnapshotIdId, "long"),
                                              Required("added_files_count", kAddedFilesCountId, "int"),
                                              Required("existing_files_count", kExistingFilesCountId, "int"),
                                              Required("deleted_files_count", kDeletedFilesCountId, "int"),
                                              Required("added_rows_count", kAddedRowsCountId, "long"),
                                              Required("existing_rows_count", kExistingRowsCountId, "long"),
                                              Required("deleted_rows_count", kDeletedRowsCountId, "long"),
                                              Optional("partitions", kPartitionsId, ListOf(508, std::move(summary))),
                                              Optional("key_metadata", kManifestKeyMetadataId, "bytes")}))
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string SanitizeAvroName(std::string_view name) {
  std::string out;
  for (size_t i = 0; i < name.size(); ++i) {
    const auto c = static_cast<unsigned char>(name[i]);
    const bool digit = c >= '0' && c <= '9';
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    if (letter || (digit && i > 0)) {
      out.push_back(static_cast<char>(c));
    } else if (digit) {
      out += fmt::format("_{}", static_cast<char>(c));
    } else {
      out += fmt::format("_x{:X}", c);
    }
  }
  return out;
}

}  // namespace firn::iceberg
