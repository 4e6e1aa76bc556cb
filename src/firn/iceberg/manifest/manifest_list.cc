// WriteManifestList and ReadManifestList: the manifest_file records of one snapshot, and the header beside them.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "firn/iceberg/manifest/avro_container.h"
#include "firn/iceberg/manifest/avro_decoder.h"
#include "firn/iceberg/manifest/avro_encoder.h"
#include "firn/iceberg/manifest/manifest_avro.h"
#include "firn/iceberg/manifest/manifest_schema.h"

namespace firn::iceberg {
namespace {

constexpr std::string_view kReservedMembers[] = {"snapshot-id",    "parent-snapshot-id", "sequence-number",
                                                 "format-version", "first-row-id",       "iceberg.schema"};

Status CheckExtraMember(const std::string& key) {
  const bool avros = key.starts_with("avro.");
  const bool icebergs =
      std::find(std::begin(kReservedMembers), std::end(kReservedMembers), key) != std::end(kReservedMembers);
  if (!avros && !icebergs && !key.empty()) return {};
  return Fail(ErrorCode::kInvalidInput, fmt::format("a manifest list's header member has a reserved name: '{}'", key));
}

Status CheckManifest(const ManifestFile& manifest) {
  if (manifest.manifest_path.empty() || manifest.manifest_length < 0) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("manifest list: no path or a negative length: '{}'", manifest.manifest_path));
  }
  const bool counted = manifest.added_files_count >= 0 && manifest.existing_files_count >= 0 &&
                       manifest.deleted_files_count >= 0 && manifest.added_rows_count >= 0 &&
                       manifest.existing_rows_count >= 0 && manifest.deleted_rows_count >= 0;
  if (!counted) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("manifest list: format v2 wants every count, one is unknown, of: "
                                                      "'{}'",
                                                      manifest.manifest_path));
  }
  return {};
}

void EncodePartitions(const std::optional<std::vector<FieldSummary>>& partitions, ByteWriter& writer) {
  writer.PutZigZagVarint(partitions.has_value() ? kValueBranch : kNullBranch);
  if (!partitions.has_value()) return;
  if (!partitions->empty()) writer.PutZigZagVarint(static_cast<int64_t>(partitions->size()));
  for (const FieldSummary& summary : *partitions) {
    writer.PutByte(summary.contains_null ? 1 : 0);
    writer.PutZigZagVarint(summary.contains_nan.has_value() ? kValueBranch : kNullBranch);
    if (summary.contains_nan.has_value()) writer.PutByte(*summary.contains_nan ? 1 : 0);
    EncodeOptionalBytes(summary.lower_bound, writer);
    EncodeOptionalBytes(summary.upper_bound, writer);
  }
  writer.PutZigZagVarint(0);
}

void EncodeManifestFile(const ManifestFile& manifest, ByteWriter& writer) {
  EncodeBytes(manifest.manifest_path, writer);
  writer.PutZigZagVarint(manifest.manifest_length);
  writer.PutZigZagVarint(manifest.partition_spec_id);
  writer.PutZigZagVarint(static_cast<int32_t>(manifest.content));
  writer.PutZigZagVarint(manifest.sequence_number);
  writer.PutZigZagVarint(manifest.min_sequence_number);
  writer.PutZigZagVarint(manifest.added_snapshot_id.value());
  writer.PutZigZagVarint(manifest.added_files_count);
  writer.PutZigZagVarint(manifest.existing_files_count);
  writer.PutZigZagVarint(manifest.deleted_files_count);
  writer.PutZigZagVarint(manifest.added_rows_count);
  writer.PutZigZagVarint(manifest.existing_rows_count);
  writer.PutZigZagVarint(manifest.deleted_rows_count);
  EncodePartitions(manifest.partitions, writer);
  EncodeOptionalBytes(manifest.key_metadata, writer);
}

template <typename Target, typename Source>
Status Set(Target& target, Result<std::optional<Source>> value) {
  if (!value.has_value()) return std::unexpected<Error>(std::move(value.error()));
  // Null in a required field: what the struct starts with (format v1 leaves much out).
  if (value->has_value()) target = **std::move(value);
  return {};
}

Status ReadFieldSummary(const AvroSchema& schema, ByteCursor& cursor, FieldSummary& summary) {
  FIRN_ASSIGN(const AvroSchema* record, ResolveUnion(schema, cursor));
  if (record->kind != AvroKind::kRecord) return UnexpectedKind(*record, "record field_summary");
  const std::vector<int32_t> ids = ResolveFieldIds(*record, FieldSummaryNames());
  // A file that does not say so may hold nulls.
  summary.contains_null = true;
  for (size_t i = 0; i < ids.size(); ++i) {
    const AvroSchema& field = *record->fields[i].schema;
    switch (ids[i]) {
      case kContainsNullId: FIRN_TRY(Set(summary.contains_null, DecodeBoolean(field, cursor))); break;
      case kContainsNanId: FIRN_TRY(Set(summary.contains_nan, DecodeBoolean(field, cursor))); break;
      case kLowerBoundId: FIRN_TRY(Set(summary.lower_bound, DecodeBytes(field, cursor))); break;
      case kUpperBoundId: FIRN_TRY(Set(summary.upper_bound, DecodeBytes(field, cursor))); break;
      default: FIRN_TRY(SkipDatum(field, cursor));
    }
  }
  return {};
}

Status ReadPartitions(const AvroSchema& schema, ByteCursor& cursor, ManifestFile& manifest) {
  std::vector<FieldSummary> summaries;
  FIRN_ASSIGN(const bool present, DecodeArray(schema, cursor, [&](const AvroSchema& item) {
                return ReadFieldSummary(item, cursor, summaries.emplace_back());
              }));
  if (present) manifest.partitions = std::move(summaries);
  return {};
}

Status ReadContent(const AvroSchema& schema, ByteCursor& cursor, ManifestFile& manifest) {
  int32_t content = 0;
  FIRN_TRY(Set(content, DecodeInt(schema, cursor)));
  if (content < 0 || content > 1) {
    return Fail(ErrorCode::kCorruption, fmt::format("unknown manifest content: {}", content));
  }
  manifest.content = static_cast<ManifestContent>(content);
  return {};
}

Status ReadAddedSnapshotId(const AvroSchema& schema, ByteCursor& cursor, ManifestFile& manifest) {
  FIRN_ASSIGN(const std::optional<int64_t> id, DecodeLong(schema, cursor));
  manifest.added_snapshot_id = SnapshotId{id.value_or(0)};
  return {};
}

Status ReadField(int32_t id, const AvroSchema& schema, ByteCursor& cursor, ManifestFile& manifest) {
  switch (id) {
    case kManifestPathId: return Set(manifest.manifest_path, DecodeBytes(schema, cursor));
    case kManifestLengthId: return Set(manifest.manifest_length, DecodeLong(schema, cursor));
    case kPartitionSpecIdId: return Set(manifest.partition_spec_id, DecodeInt(schema, cursor));
    case kManifestContentId: return ReadContent(schema, cursor, manifest);
    case kManifestSequenceNumberId: return Set(manifest.sequence_number, DecodeLong(schema, cursor));
    case kMinSequenceNumberId: return Set(manifest.min_sequence_number, DecodeLong(schema, cursor));
    case kAddedSnapshotIdId: return ReadAddedSnapshotId(schema, cursor, manifest);
    case kAddedFilesCountId: return Set(manifest.added_files_count, DecodeInt(schema, cursor));
    case kExistingFilesCountId: return Set(manifest.existing_files_count, DecodeInt(schema, cursor));
    case kDeletedFilesCountId: return Set(manifest.deleted_files_count, DecodeInt(schema, cursor));
    case kAddedRowsCountId: return Set(manifest.added_rows_count, DecodeLong(schema, cursor));
    case kExistingRowsCountId: return Set(manifest.existing_rows_count, DecodeLong(schema, cursor));
    case kDeletedRowsCountId: return Set(manifest.deleted_rows_count, DecodeLong(schema, cursor));
    case kPartitionsId: return ReadPartitions(schema, cursor, manifest);
    case kManifestKeyMetadataId: return Set(manifest.key_metadata, DecodeBytes(schema, cursor));
    case kManifestFirstRowIdId: return Set(manifest.first_row_id, DecodeLong(schema, cursor));
    default: return SkipDatum(schema, cursor);
  }
}

Result<ManifestFile> ReadManifestFile(const AvroSchema& root, const std::vector<int32_t>& ids, ByteCursor& cursor) {
  ManifestFile manifest;
  manifest.added_files_count = manifest.existing_files_count = manifest.deleted_files_count = kUnknownCount;
  manifest.added_rows_count = manifest.existing_rows_count = manifest.deleted_rows_count = kUnknownCount;
  for (size_t i = 0; i < ids.size(); ++i) FIRN_TRY(ReadField(ids[i], *root.fields[i].schema, cursor, manifest));
  if (manifest.manifest_path.empty()) return Fail(ErrorCode::kCorruption, "a manifest without a path");
  for (int32_t* count : {&manifest.added_files_count, &manifest.existing_files_count, &manifest.deleted_files_count}) {
    *count = std::max(*count, kUnknownCount);
  }
  for (int64_t* count : {&manifest.added_rows_count, &manifest.existing_rows_count, &manifest.deleted_rows_count}) {
    *count = std::max(*count, int64_t{kUnknownCount});
  }
  return manifest;
}

}  // namespace

Result<std::string> WriteManifestList(const ManifestListHeader& header, const std::vector<ManifestFile>& manifests) {
  if (header.format_version != 2) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("manifest lists are written in format v2 only, wanted: {}", header.format_version));
  }
  std::map<std::string, std::string> members = header.extra;
  for (const auto& [key, value] : members) FIRN_TRY(CheckExtraMember(key));
  static const std::string kSchema = ManifestListAvroSchema();
  members["avro.schema"] = kSchema;
  members["snapshot-id"] = fmt::format("{}", header.snapshot_id);
  members["parent-snapshot-id"] =
      header.parent_snapshot_id.has_value() ? fmt::format("{}", *header.parent_snapshot_id) : "null";
  members["sequence-number"] = fmt::format("{}", header.sequence_number);
  members["format-version"] = "2";
  AvroContainerWriter container(std::move(members));
  for (const ManifestFile& manifest : manifests) {
    FIRN_TRY(CheckManifest(manifest));
    ByteWriter writer(container.records());
    EncodeManifestFile(manifest, writer);
    FIRN_TRY(container.EndRecord());
  }
  return container.Finish();
}

Result<ManifestListContents> ReadManifestList(std::string_view bytes) {
  FIRN_ASSIGN(AvroContainer container, WithContext(ReadAvroContainer(bytes), "manifest list"));
  FIRN_ASSIGN(const AvroSchemaPtr root,
              WithContext(AvroSchema::Parse(container.header["avro.schema"]), "manifest list"));
  if (root->kind != AvroKind::kRecord) return UnexpectedKind(*root, "record manifest_file");
  const std::vector<int32_t> ids = ResolveFieldIds(*root, ManifestFileNames());
  ManifestListContents contents;
  for (const AvroBlock& block : container.blocks) {
    ByteCursor cursor(block.records);
    for (int64_t i = 0; i < block.record_count; ++i) {
      FIRN_ASSIGN(ManifestFile manifest, WithContext(ReadManifestFile(*root, ids, cursor), "manifest list"));
      contents.manifests.push_back(std::move(manifest));
    }
    if (!cursor.empty()) {
      return Fail(ErrorCode::kCorruption,
                  fmt::format("manifest list: bytes behind a block's last record: {}", cursor.remaining()));
    }
  }
  contents.header = std::move(container.header);
  return contents;
}

}  // namespace firn::iceberg
