// The Avro schemas of manifests and manifest lists: field ids of the spec, the JSON that the writer puts down (names
// and records as Java's), and the name → id tables for files whose writer left the ids out.
//
// Pure. Ids: spec "Manifests" and "Manifest Lists".
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/iceberg/manifest/avro_schema.h"
#include "firn/schema/partition.h"
#include "firn/schema/type.h"

namespace firn::iceberg {

// manifest_entry
inline constexpr int32_t kStatusId = 0, kSnapshotIdId = 1, kDataFileId = 2, kSequenceNumberId = 3,
                         kFileSequenceNumberId = 4;
// data_file
inline constexpr int32_t kContentId = 134, kFilePathId = 100, kFileFormatId = 101, kPartitionId = 102,
                         kRecordCountId = 103, kFileSizeId = 104, kColumnSizesId = 108, kValueCountsId = 109,
                         kNullValueCountsId = 110, kNanValueCountsId = 137, kLowerBoundsId = 125, kUpperBoundsId = 128,
                         kKeyMetadataId = 131, kSplitOffsetsId = 132, kEqualityIdsId = 135, kSortOrderIdId = 140,
                         kFirstRowIdId = 142, kReferencedDataFileId = 143, kContentOffsetId = 144, kContentSizeId = 145;
// manifest_file
inline constexpr int32_t kManifestPathId = 500, kManifestLengthId = 501, kPartitionSpecIdId = 502,
                         kAddedSnapshotIdId = 503, kAddedFilesCountId = 504, kExistingFilesCountId = 505,
                         kDeletedFilesCountId = 506, kPartitionsId = 507, kAddedRowsCountId = 512,
                         kExistingRowsCountId = 513, kDeletedRowsCountId = 514, kManifestSequenceNumberId = 515,
                         kMinSequenceNumberId = 516, kManifestContentId = 517, kManifestKeyMetadataId = 519,
                         kManifestFirstRowIdId = 520;
// field_summary
inline constexpr int32_t kContainsNullId = 509, kLowerBoundId = 510, kUpperBoundId = 511, kContainsNanId = 518;

struct NameId {
  std::string_view name;
  int32_t id;
};
std::span<const NameId> ManifestEntryNames();
std::span<const NameId> DataFileNames();
std::span<const NameId> ManifestFileNames();
std::span<const NameId> FieldSummaryNames();

// One id a field of `record`: its own field-id, else by name, else -1 (to be skipped).
std::vector<int32_t> ResolveFieldIds(const AvroSchema& record, std::span<const NameId> names);

// The record among a schema's branches (itself, if it is one); nullptr: none.
const AvroSchema* RecordBranch(const AvroSchema& schema);

// The avro.schema of a v2 manifest whose partition tuples are of `partition_type` (schema::PartitionType of `spec`).
// kUnsupported: a partition type that Avro files of v2 tables cannot hold.
Result<std::string> ManifestAvroSchema(const schema::PartitionSpec& spec, const schema::Type& partition_type);
// The avro.schema of a v2 manifest list.
std::string ManifestListAvroSchema();

// Java's spelling of a column name as an Avro name: "a.b" → "a_x2Eb", "1st" → "_1st".
std::string SanitizeAvroName(std::string_view name);

}  // namespace firn::iceberg
