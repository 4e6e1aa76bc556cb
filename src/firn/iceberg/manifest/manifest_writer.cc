// WriteManifest, SummarizeManifest, ManifestWriter: entries to Avro bytes, and to their manifest's line in the manifest
// list.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "firn/iceberg/manifest/avro_container.h"
#include "firn/iceberg/manifest/avro_encoder.h"
#include "firn/iceberg/manifest/manifest_avro.h"
#include "firn/iceberg/manifest/manifest_schema.h"
#include "firn/schema/schema_json.h"

namespace firn::iceberg {
namespace {

using schema::TypeKind;
using schema::Value;

std::string Dump(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Status CheckEntry(const ManifestHeader& header, const ManifestEntry& entry) {
  const DataFile& file = entry.data_file;
  if (file.file_path.empty()) return Fail(ErrorCode::kInvalidInput, "manifest entry without a file path");
  if (file.partition.size() != header.spec.fields.size()) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("{} partition values for a spec of {} fields, in: '{}'", file.partition.size(),
                            header.spec.fields.size(), file.file_path));
  }
  const bool is_delete = file.content != FileContent::kData;
  if (is_delete != (header.content == ManifestContent::kDeletes)) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("data and delete files do not share a manifest: '{}'", file.file_path));
  }
  const bool complete =
      entry.snapshot_id.has_value() && entry.sequence_number.has_value() && entry.file_sequence_number.has_value();
  if (entry.status != EntryStatus::kAdded && !complete) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("an existing or deleted entry needs its original snapshot id and "
                                                      "sequence numbers: '{}'",
                                                      file.file_path));
  }
  if (file.record_count < 0 || file.file_size_in_bytes < 0) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("negative record count or size: '{}'", file.file_path));
  }
  return {};
}

// Some readers compare the name of the format letter by letter with Java's.
std::string UpperCase(std::string text) {
  for (char& c : text) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return text;
}

// Arrays and maps: one block with all items, then the empty block that ends them.
template <typename Items, typename Encode>
void EncodeItems(const Items& items, ByteWriter& writer, Encode encode) {
  if (!items.empty()) writer.PutZigZagVarint(static_cast<int64_t>(items.size()));
  for (const auto& item : items) encode(item);
  writer.PutZigZagVarint(0);
}

// A map that knows nothing is written empty, not null, as Java writes the metrics of a Parquet file.
void EncodeLongMap(const std::map<int32_t, int64_t>& map, ByteWriter& writer) {
  writer.PutZigZagVarint(kValueBranch);
  EncodeItems(map, writer, [&](const auto& pair) {
    writer.PutZigZagVarint(pair.first);
    writer.PutZigZagVarint(pair.second);
  });
}

void EncodeBytesMap(const std::map<int32_t, std::string>& map, ByteWriter& writer) {
  writer.PutZigZagVarint(kValueBranch);
  EncodeItems(map, writer, [&](const auto& pair) {
    writer.PutZigZagVarint(pair.first);
    EncodeBytes(pair.second, writer);
  });
}

template <typename Integer>
void EncodeOptionalList(const std::vector<Integer>& list, ByteWriter& writer) {
  writer.PutZigZagVarint(list.empty() ? kNullBranch : kValueBranch);
  if (!list.empty()) EncodeItems(list, writer, [&](Integer item) { writer.PutZigZagVarint(item); });
}

Status EncodeDataFile(const schema::Type& partition_type, const DataFile& file, ByteWriter& writer) {
  writer.PutZigZagVarint(static_cast<int32_t>(file.content));
  EncodeBytes(file.file_path, writer);
  EncodeBytes(UpperCase(file.file_format), writer);
  for (size_t i = 0; i < file.partition.size(); ++i) {
    const schema::Field& field = partition_type.fields()[i];
    FIRN_ASSIGN(const Value value, WithContext(PromoteValue(field, file.partition[i]), file.file_path));
    EncodeOptionalValue(*field.type, value, writer);
  }
  writer.PutZigZagVarint(file.record_count);
  writer.PutZigZagVarint(file.file_size_in_bytes);
  EncodeLongMap(file.column_sizes, writer);
  EncodeLongMap(file.value_counts, writer);
  EncodeLongMap(file.null_value_counts, writer);
  EncodeLongMap(file.nan_value_counts, writer);
  EncodeBytesMap(file.lower_bounds, writer);
  EncodeBytesMap(file.upper_bounds, writer);
  EncodeOptionalBytes(file.key_metadata, writer);
  EncodeOptionalList(file.split_offsets, writer);
  EncodeOptionalList(file.equality_ids, writer);
  EncodeOptionalLong(file.sort_order_id, writer);
  EncodeOptionalBytes(file.referenced_data_file, writer);
  return {};
}

// The running summary of one partition field over a manifest's entries.
class FieldSummarizer {
 public:
  explicit FieldSummarizer(const schema::Field& field) : field_(field) {}

  Status Add(const Value& raw) {
    FIRN_ASSIGN(const Value value, PromoteValue(field_, raw));
    const auto* bytes = std::get_if<std::string>(&value);
    if (bytes != nullptr && bytes->size() > kPartitionValueBytesMax) is_too_long_ = true;
    if (schema::IsNull(value)) {
      contains_null_ = true;
    } else if (IsNan(value)) {
      contains_nan_ = true;
    } else {
      if (schema::IsNull(lower_) || schema::CompareValues(value, lower_) < 0) lower_ = value;
      if (schema::IsNull(upper_) || schema::CompareValues(value, upper_) > 0) upper_ = value;
    }
    return {};
  }

  FieldSummary Finish() const {
    FieldSummary summary;
    summary.contains_null = contains_null_;
    summary.contains_nan = contains_nan_;
    if (!schema::IsNull(lower_)) {
      summary.lower_bound = schema::SerializeSingleValue(*field_.type, SignedZero(lower_, true));
      summary.upper_bound = schema::SerializeSingleValue(*field_.type, SignedZero(upper_, false));
    }
    return summary;
  }

  // A value is longer than what a manifest list should carry for every manifest.
  bool is_too_long() const { return is_too_long_; }

 private:
  static bool IsNan(const Value& value) {
    if (const auto* number = std::get_if<float>(&value)) return std::isnan(*number);
    if (const auto* number = std::get_if<double>(&value)) return std::isnan(*number);
    return false;
  }

  // -0.0 below, +0.0 above, for readers that hold the two apart.
  static Value SignedZero(const Value& value, bool negative) {
    if (const auto* number = std::get_if<float>(&value); number != nullptr && *number == 0) {
      return Value(negative ? -0.0f : 0.0f);
    }
    if (const auto* number = std::get_if<double>(&value); number != nullptr && *number == 0) {
      return Value(negative ? -0.0 : 0.0);
    }
    return value;
  }

  const schema::Field& field_;
  bool is_too_long_ = false;
  bool contains_null_ = false;
  bool contains_nan_ = false;
  Value lower_;
  Value upper_;
};

// A manifest's line in the manifest list, entry by entry.
class Summarizer {
 public:
  Summarizer(const ManifestHeader& header, schema::TypePtr partition_type, int64_t sequence_number,
             SnapshotId snapshot_id)
      : partition_type_(std::move(partition_type)) {
    manifest_.partition_spec_id = header.spec.spec_id;
    manifest_.content = header.content;
    manifest_.sequence_number = sequence_number;
    manifest_.min_sequence_number = sequence_number;
    manifest_.added_snapshot_id = snapshot_id;
    for (const schema::Field& field : partition_type_->fields()) fields_.emplace_back(field);
  }

  Status Add(const ManifestEntry& entry) {
    const int64_t rows = entry.data_file.record_count;
    switch (entry.status) {
      case EntryStatus::kAdded: ++manifest_.added_files_count, manifest_.added_rows_count += rows; break;
      case EntryStatus::kExisting: ++manifest_.existing_files_count, manifest_.existing_rows_count += rows; break;
      case EntryStatus::kDeleted: ++manifest_.deleted_files_count, manifest_.deleted_rows_count += rows; break;
    }
    if (entry.is_live()) {
      manifest_.min_sequence_number =
          std::min(manifest_.min_sequence_number, entry.sequence_number.value_or(manifest_.sequence_number));
    }
    for (size_t i = 0; i < fields_.size(); ++i) {
      if (i >= entry.data_file.partition.size()) {
        return Fail(ErrorCode::kInvalidInput,
                    fmt::format("too few partition values, in: '{}'", entry.data_file.file_path));
      }
      FIRN_TRY(fields_[i].Add(entry.data_file.partition[i]));
    }
    return {};
  }

  // No summaries where a value is too long: one without bounds would say that all values are null or NaN, and shortened
  // bounds are not foreseen here, but a manifest without summaries may match anything.
  ManifestFile Finish(std::string manifest_path, int64_t manifest_length) {
    manifest_.manifest_path = std::move(manifest_path);
    manifest_.manifest_length = manifest_length;
    manifest_.partitions.reset();
    const bool any_too_long =
        std::any_of(fields_.begin(), fields_.end(), [](const FieldSummarizer& field) { return field.is_too_long(); });
    if (any_too_long) return manifest_;
    manifest_.partitions.emplace();
    for (const FieldSummarizer& field : fields_) manifest_.partitions->push_back(field.Finish());
    return manifest_;
  }

 private:
  const schema::TypePtr partition_type_;
  std::vector<FieldSummarizer> fields_;
  ManifestFile manifest_;
};

Result<AvroContainerWriter> OpenContainer(const ManifestHeader& header, const schema::Type& partition_type) {
  if (header.format_version != 2) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("manifests are written in format v2 only, wanted: {}", header.format_version));
  }
  FIRN_ASSIGN(std::string avro_schema, ManifestAvroSchema(header.spec, partition_type));
  return AvroContainerWriter({
      {"avro.schema", std::move(avro_schema)},
      {"schema", Dump(schema::ToJson(header.table_schema))},
      {"schema-id", fmt::format("{}", header.table_schema.schema_id)},
      {"partition-spec", Dump(schema::PartitionFieldsToJson(header.spec))},
      {"partition-spec-id", fmt::format("{}", header.spec.spec_id)},
      {"format-version", "2"},
      {"content", header.content == ManifestContent::kData ? "data" : "deletes"},
  });
}

Status AppendEntry(const ManifestHeader& header, const schema::Type& partition_type, const ManifestEntry& entry,
                   AvroContainerWriter& container) {
  FIRN_TRY(CheckEntry(header, entry));
  ByteWriter writer(container.records());
  writer.PutZigZagVarint(static_cast<int32_t>(entry.status));
  EncodeOptionalLong(entry.snapshot_id.has_value() ? std::optional(entry.snapshot_id->value()) : std::nullopt, writer);
  EncodeOptionalLong(entry.sequence_number, writer);
  EncodeOptionalLong(entry.file_sequence_number, writer);
  FIRN_TRY(EncodeDataFile(partition_type, entry.data_file, writer));
  return container.EndRecord();
}

}  // namespace

Result<std::string> WriteManifest(const ManifestHeader& header, const std::vector<ManifestEntry>& entries) {
  FIRN_ASSIGN(const schema::TypePtr partition_type, schema::PartitionType(header.spec, header.table_schema));
  FIRN_ASSIGN(AvroContainerWriter container, OpenContainer(header, *partition_type));
  for (const ManifestEntry& entry : entries) FIRN_TRY(AppendEntry(header, *partition_type, entry, container));
  return container.Finish();
}

Result<ManifestFile> SummarizeManifest(const ManifestHeader& header, const std::vector<ManifestEntry>& entries,
                                       std::string manifest_path, int64_t manifest_length, int64_t sequence_number,
                                       SnapshotId snapshot_id) {
  FIRN_ASSIGN(schema::TypePtr partition_type, schema::PartitionType(header.spec, header.table_schema));
  Summarizer summarizer(header, std::move(partition_type), sequence_number, snapshot_id);
  for (const ManifestEntry& entry : entries) FIRN_TRY(summarizer.Add(entry));
  return summarizer.Finish(std::move(manifest_path), manifest_length);
}

struct ManifestWriter::Parts {
  ManifestHeader header;
  schema::TypePtr partition_type;
  AvroContainerWriter container;
  Summarizer summarizer;
};

ManifestWriter::ManifestWriter(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
ManifestWriter::ManifestWriter(ManifestWriter&&) noexcept = default;
ManifestWriter::~ManifestWriter() = default;

Result<ManifestWriter> ManifestWriter::Create(ManifestHeader header, int64_t sequence_number, SnapshotId snapshot_id) {
  FIRN_ASSIGN(const schema::TypePtr partition_type, schema::PartitionType(header.spec, header.table_schema));
  FIRN_ASSIGN(AvroContainerWriter container, OpenContainer(header, *partition_type));
  Summarizer summarizer(header, partition_type, sequence_number, snapshot_id);
  return ManifestWriter(std::unique_ptr<Parts>(
      new Parts{std::move(header), partition_type, std::move(container), std::move(summarizer)}));
}

Status ManifestWriter::Add(const ManifestEntry& entry) {
  FIRN_TRY(AppendEntry(parts_->header, *parts_->partition_type, entry, parts_->container));
  return parts_->summarizer.Add(entry);
}

Result<WrittenManifest> ManifestWriter::Finish(std::string manifest_path) {
  WrittenManifest written;
  FIRN_ASSIGN(written.bytes, parts_->container.Finish());
  written.file = parts_->summarizer.Finish(std::move(manifest_path), static_cast<int64_t>(written.bytes.size()));
  return written;
}

}  // namespace firn::iceberg
