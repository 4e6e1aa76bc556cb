#include "firn/maintenance/snapshot_writer.h"

#include <fmt/format.h>

#include "firn/base/encoding.h"
#include "firn/iceberg/commit/manifest_merge.h"

namespace firn::maintenance {

SnapshotWriter::SnapshotWriter(const MaintenanceParts& parts, const iceberg::TableMetadata& base)
    : parts_(parts),
      base_(&base),
      locations_(iceberg::LocationProvider::For(base)),
      uuid_(FormatUuid(MakeUuidV4(parts.random.Next64(), parts.random.Next64()))) {}

Result<SnapshotWriter> SnapshotWriter::Create(const MaintenanceParts& parts, const iceberg::TableMetadata& base) {
  FIRN_TRY(iceberg::CheckWritable(base));
  SnapshotWriter writer(parts, base);
  FIRN_ASSIGN(writer.parent_, iceberg::BaseSnapshot(base));
  iceberg::ManifestListCache cache;
  FIRN_ASSIGN(writer.base_manifests_, iceberg::BaseManifests(writer.parent_, parts.store, cache));
  FIRN_ASSIGN(writer.snapshot_id_, iceberg::UnusedSnapshotId(base, parts.random));
  FIRN_ASSIGN(writer.sequence_number_, iceberg::NextSequenceNumber(base));
  return writer;
}

Result<iceberg::ManifestWriter> SnapshotWriter::OpenManifest(int32_t spec_id, iceberg::ManifestContent content) const {
  const schema::PartitionSpec* spec = base_->FindSpec(spec_id);
  if (spec == nullptr) {
    return Fail(ErrorCode::kCorruption, fmt::format("a manifest of a spec that the table has not: {}", spec_id));
  }
  return iceberg::ManifestWriter::Create({iceberg::SchemaForSpec(*base_, *spec), *spec, content}, sequence_number_,
                                         snapshot_id_);
}

Result<iceberg::ManifestFile> SnapshotWriter::PutManifest(iceberg::ManifestWriter manifest) {
  const std::string location = locations_.MetadataLocation(fmt::format("{}-m{}.avro", uuid_, manifest_number_++));
  FIRN_ASSIGN(iceberg::WrittenManifest written, manifest.Finish(location));
  FIRN_TRY(parts_.store.Put(location, written.bytes));
  return std::move(written.file);
}

Result<PlannedCommit> SnapshotWriter::Finish(const iceberg::ManifestList& manifests,
                                             std::map<std::string, std::string> summary) {
  iceberg::ManifestListHeader header;
  header.snapshot_id = snapshot_id_;
  if (parent_ != nullptr) header.parent_snapshot_id = parent_->snapshot_id;
  header.sequence_number = sequence_number_;
  FIRN_ASSIGN(const std::string bytes, iceberg::WriteManifestList(header, manifests));
  iceberg::Snapshot snapshot;
  snapshot.manifest_list = locations_.MetadataLocation(fmt::format("snap-{}-1-{}.avro", snapshot_id_, uuid_));
  FIRN_TRY(parts_.store.Put(snapshot.manifest_list, bytes));
  snapshot.snapshot_id = snapshot_id_;
  snapshot.parent_snapshot_id = header.parent_snapshot_id;
  snapshot.sequence_number = sequence_number_;
  snapshot.timestamp_ms = iceberg::SnapshotTimestamp(*base_, parent_, parts_.clock.WallMs());
  snapshot.summary = std::move(summary);
  snapshot.schema_id = base_->current_schema_id;
  // The branch keeps its own retention settings.
  const std::string branch(iceberg::kMainBranch);
  iceberg::SnapshotRef main;
  if (auto found = base_->refs.find(branch); found != base_->refs.end()) main = found->second;
  main.snapshot_id = snapshot_id_;
  PlannedCommit commit;
  commit.snapshot_id = snapshot_id_;
  commit.requirements.push_back(iceberg::AssertTableUuid{base_->table_uuid});
  commit.requirements.push_back(iceberg::AssertRefSnapshotId{branch, base_->current_snapshot_id});
  commit.updates.push_back(iceberg::AddSnapshot{std::move(snapshot)});
  commit.updates.push_back(iceberg::SetSnapshotRef{branch, std::move(main)});
  return commit;
}

}  // namespace firn::maintenance
