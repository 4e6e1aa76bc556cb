#include <fmt/format.h>

#include "firn/iceberg/commit/append.h"

namespace firn::iceberg {
namespace {

std::string LowerCase(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

// Java (seen in 1.11.0) writes and expects a length before a partition value of type fixed that the manifest's Avro
// schema does not have; a manifest that follows the schema makes Java fail, one that follows Java everybody else.
Status CheckNoFixedPartition(const schema::PartitionSpec& spec, const schema::Schema& schema) {
  FIRN_ASSIGN(const schema::TypePtr type, schema::PartitionType(spec, schema));
  for (const schema::Field& field : type->fields()) {
    if (field.type->kind() == schema::TypeKind::kFixed) {
      return Fail(
          ErrorCode::kUnsupported,
          fmt::format("readers disagree on manifests partitioned by a column of type fixed; partition by another "
                      "column or by bucket: '{}'",
                      field.name));
    }
  }
  return {};
}

// Truncating rounds down, so no negative value would be left within the type.
Status CheckTruncatedDecimals(const schema::PartitionSpec& spec, const schema::Schema& schema) {
  for (const schema::PartitionField& field : spec.fields) {
    const schema::Field* source = schema.FindById(field.source_id);
    if (field.transform.kind != schema::TransformKind::kTruncate || source == nullptr) continue;
    if (source->type->kind() != schema::TypeKind::kDecimal) continue;
    int64_t power = 1;
    for (int32_t i = 0; i < source->type->precision() && power <= field.transform.parameter; ++i) power *= 10;
    if (field.transform.parameter < power) continue;
    return Fail(ErrorCode::kUnsupported,
                fmt::format("a partition field truncates to a width that its decimal column cannot hold; give it a "
                            "smaller width: '{}', {} of {}",
                            field.name, field.transform.ToString(), source->type->ToString()));
  }
  return {};
}

}  // namespace

Status CheckWritable(const TableMetadata& metadata) {
  if (metadata.format_version == 1) {
    return Fail(
        ErrorCode::kUnsupported,
        "Firn writes tables of format v2; upgrade the table (property 'format-version' = '2' in Spark or Trino); "
        "its format version: 1");
  }
  if (metadata.format_version != 2) {
    return Fail(
        ErrorCode::kUnsupported,
        fmt::format("Firn writes tables of format v2 only, and a table cannot be downgraded; write into a new v2 "
                    "table; its format version: {}",
                    metadata.format_version));
  }
  if (auto format = metadata.Property("write.format.default"); format.has_value() && LowerCase(*format) != "parquet") {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("Firn writes Parquet only; set the property write.format.default to 'parquet'; its value: "
                            "'{}'",
                            *format));
  }
  const Snapshot* current = metadata.CurrentSnapshot();
  if (metadata.Property("encryption.key-id").has_value() || metadata.other_members_json.contains("encryption-keys") ||
      (current != nullptr && current->key_id.has_value())) {
    return Fail(
        ErrorCode::kUnsupported,
        "the table is encrypted (property encryption.key-id), and Firn does not encrypt files; write into a table "
        "without it");
  }
  const schema::Schema& schema = metadata.CurrentSchema();
  if (schema::RequiredFormatVersion(schema) > metadata.format_version) {
    return Fail(ErrorCode::kUnsupported,
                "the table's schema has column types of format v3; drop them or write into "
                "another table");
  }
  FIRN_TRY(WithContext(schema::CheckWritable(metadata.DefaultSpec(), schema), "default partition spec"));
  FIRN_TRY(CheckTruncatedDecimals(metadata.DefaultSpec(), schema));
  return CheckNoFixedPartition(metadata.DefaultSpec(), schema);
}

}  // namespace firn::iceberg
