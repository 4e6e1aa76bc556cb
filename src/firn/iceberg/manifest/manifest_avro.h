// Manifests and manifest lists as Avro object container files, written as Java writes them, read as anybody wrote them.
//
// Pure: bytes in, values out. Written: format v2, codec deflate, field ids in the Avro schema, the header members that
// the spec's "Manifests" asks for. Read: v1, v2, v3 files; codecs null, deflate, zstd, snappy; fields matched by id.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/iceberg/manifest/manifest.h"
#include "firn/schema/partition.h"
#include "firn/schema/type.h"

namespace firn::iceberg {

struct ManifestHeader {
  schema::Schema table_schema;
  schema::PartitionSpec spec;
  ManifestContent content = ManifestContent::kData;
  int32_t format_version = 2;
};

// kInvalidInput: ADDED entries may leave their sequence numbers out (inheritance), EXISTING and DELETED ones may
// not. Partition values are promoted to the types that spec and schema give. kUnsupported: a format other than v2.
Result<std::string> WriteManifest(const ManifestHeader& header, const std::vector<ManifestEntry>& entries);

struct WrittenManifest {
  std::string bytes;
  ManifestFile file;  // as SummarizeManifest makes it
};
// WriteManifest and SummarizeManifest one entry after the other: a manifest of ten thousand files is hundreds of
// megabytes in memory. One thread's.
class ManifestWriter {
 public:
  static Result<ManifestWriter> Create(ManifestHeader header, int64_t sequence_number, SnapshotId snapshot_id);
  ManifestWriter(ManifestWriter&&) noexcept;
  ~ManifestWriter();
  Status Add(const ManifestEntry& entry);
  Result<WrittenManifest> Finish(std::string manifest_path);

 private:
  struct Parts;
  explicit ManifestWriter(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

struct ManifestFileContents {
  ManifestHeader header;
  std::vector<ManifestEntry> entries;
};
// `partition_type`: what the entries' partition tuples are read as is taken from the file's own spec and schema.
Result<ManifestFileContents> ReadManifest(std::string_view bytes);

enum class EntryMetrics : uint8_t {
  kAll,
  kNone,  // sizes, counts and bounds of columns are passed over, and left empty
};
// The same one entry after the other; ends with the first error of `take`.
Result<ManifestHeader> ReadManifestEntries(std::string_view bytes, EntryMetrics metrics,
                                           const std::function<Status(ManifestEntry)>& take);

// Gives entries of a manifest what they inherit from its line in the manifest list: snapshot id and sequence numbers
// (spec: "Sequence Number Inheritance"). kCorruption: an entry lacks a number that it cannot inherit.
Status InheritFromManifest(const ManifestFile& manifest, std::vector<ManifestEntry>& entries);
Status InheritFromManifest(const ManifestFile& manifest, ManifestEntry& entry);

struct ManifestListHeader {
  SnapshotId snapshot_id;
  std::optional<SnapshotId> parent_snapshot_id;
  int64_t sequence_number = 0;
  int32_t format_version = 2;
  std::map<std::string, std::string> extra;  // further key-value members of the Avro header (Firn's positions)
};
// kInvalidInput: an extra member with a name of Avro's or Iceberg's own, a manifest with an unknown count.
Result<std::string> WriteManifestList(const ManifestListHeader& header, const std::vector<ManifestFile>& manifests);

struct ManifestListContents {
  std::vector<ManifestFile> manifests;
  std::map<std::string, std::string> header;  // every key-value member of the Avro header
};
Result<ManifestListContents> ReadManifestList(std::string_view bytes);

// The manifest-list entry for a manifest that was just written: counts, sequence numbers and partition summaries with
// typed bounds from its entries, or no summaries where a value is longer than kPartitionValueBytesMax.
// `sequence_number` is the commit's; ADDED entries inherit it.
Result<ManifestFile> SummarizeManifest(const ManifestHeader& header, const std::vector<ManifestEntry>& entries,
                                       std::string manifest_path, int64_t manifest_length, int64_t sequence_number,
                                       SnapshotId snapshot_id);

}  // namespace firn::iceberg
