#include "firn/iceberg/commit/append.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "firn/base/encoding.h"
#include "firn/iceberg/commit/commit_base.h"
#include "firn/iceberg/commit/manifest_merge.h"
#include "firn/iceberg/commit/snapshot_expiry.h"
#include "firn/iceberg/commit/snapshot_summary.h"
#include "firn/iceberg/manifest/manifest_avro.h"

namespace firn::iceberg {
namespace {

// A manifest of so many entries is not split further, whatever the target size: the header alone may be beyond it.
constexpr size_t kManifestEntriesMin = 250;
class Append {
 public:
  Append(const TableMetadata& base, const AppendRequest& request, env::ObjectStore& store, env::Random& random,
         ManifestListCache& cache)
      : base_(base),
        request_(request),
        store_(store),
        cache_(cache),
        merge_(MergeOptions::For(base)),
        locations_(LocationProvider::For(base)),
        uuid_(FormatUuid(MakeUuidV4(random.Next64(), random.Next64()))) {}

  Result<PreparedCommit> Prepare(env::Clock& clock, env::Random& random) {
    FIRN_ASSIGN(parent_, BaseSnapshot(base_));
    FIRN_ASSIGN(base_manifests_, BaseManifests(parent_, store_, cache_));
    FIRN_ASSIGN(commit_.snapshot_id, UnusedSnapshotId(base_, random));
    FIRN_ASSIGN(commit_.sequence_number, NextSequenceNumber(base_));
    const int64_t now_ms = clock.WallMs();
    commit_.snapshot_timestamp_ms = SnapshotTimestamp(base_, parent_, now_ms);
    if (request_.on_identity) {
      // Taken out first: the callback gets the request that holds it.
      auto on_identity = std::move(request_.on_identity);
      FIRN_TRY(on_identity(commit_.snapshot_id, commit_.sequence_number, request_));
    }
    FIRN_TRY(CheckFiles());
    FIRN_ASSIGN(ManifestList manifests, NewManifests());
    FIRN_ASSIGN(const std::string list_location, WriteList(manifests));
    Describe(list_location, now_ms);
    cache_.Put(list_location, std::make_shared<const ManifestList>(std::move(manifests)));
    return std::move(commit_);
  }

 private:
  Status CheckFiles() const {
    std::set<std::string_view> paths;
    for (const NewDataFile& file : request_.files) {
      const std::string& path = file.file.file_path;
      const schema::PartitionSpec* spec = base_.FindSpec(file.spec_id);
      if (spec == nullptr) {
        return Fail(ErrorCode::kInvalidInput,
                    fmt::format("a file for a partition spec that the table has not ({}): '{}'", file.spec_id, path));
      }
      FIRN_TRY(schema::CheckWritable(*spec, SchemaForSpec(base_, *spec)));
      if (file.file.content != FileContent::kData) {
        return Fail(ErrorCode::kInvalidInput, fmt::format("an append takes data files only: '{}'", path));
      }
      if (!paths.insert(path).second) {
        return Fail(ErrorCode::kInvalidInput, fmt::format("a file is appended twice: '{}'", path));
      }
    }
    return {};
  }

  std::string NextManifestLocation() {
    return locations_.MetadataLocation(fmt::format("{}-m{}.avro", uuid_, manifest_number_++));
  }

  using Files = std::span<const DataFile* const>;  // of one spec

  std::vector<ManifestEntry> EntriesOf(Files files) const {
    std::vector<ManifestEntry> entries;
    entries.reserve(files.size());
    for (const DataFile* file : files) {
      ManifestEntry& entry = entries.emplace_back();
      entry.status = EntryStatus::kAdded;
      entry.snapshot_id = commit_.snapshot_id;
      entry.data_file = *file;
    }
    return entries;
  }

  // Manifests of one spec, in memory: one, or more where it would pass the target size.
  Status AddFresh(const schema::PartitionSpec& spec, Files files, std::vector<MergeCandidate>& candidates) {
    const ManifestHeader header{SchemaForSpec(base_, spec), spec};
    std::vector<ManifestEntry> entries = EntriesOf(files);
    NewManifest fresh;
    FIRN_ASSIGN(fresh.bytes, WriteManifest(header, entries));
    const auto length = static_cast<int64_t>(fresh.bytes.size());
    if (length > merge_.target_size_bytes && files.size() > kManifestEntriesMin) {
      entries = {};
      fresh.bytes = {};
      FIRN_TRY(AddFresh(spec, files.first(files.size() / 2), candidates));
      return AddFresh(spec, files.subspan(files.size() / 2), candidates);
    }
    MergeCandidate candidate;
    FIRN_ASSIGN(candidate.file, SummarizeManifest(header, entries, NextManifestLocation(), length,
                                                  commit_.sequence_number, commit_.snapshot_id));
    candidate.fresh = std::move(fresh);
    candidates.push_back(std::move(candidate));
    return {};
  }

  // How many of them go into a manifest, by what the first ones take. So no more than that are copied at a time.
  Result<size_t> FilesThatFit(const schema::PartitionSpec& spec, Files files) const {
    if (files.size() <= kManifestEntriesMin) return files.size();
    FIRN_ASSIGN(const std::string bytes,
                WriteManifest({SchemaForSpec(base_, spec), spec}, EntriesOf(files.first(kManifestEntriesMin))));
    const size_t target = static_cast<size_t>(merge_.target_size_bytes);
    return std::max(kManifestEntriesMin, target / (bytes.size() / kManifestEntriesMin + 1));
  }

  Result<std::vector<MergeCandidate>> FreshManifests() {
    std::map<int32_t, std::vector<const DataFile*>> by_spec;
    for (const NewDataFile& file : request_.files) by_spec[file.spec_id].push_back(&file.file);
    std::vector<MergeCandidate> candidates;
    for (const auto& [spec_id, files] : by_spec) {
      const schema::PartitionSpec& spec = *base_.FindSpec(spec_id);
      FIRN_ASSIGN(const size_t fit, FilesThatFit(spec, files));
      const size_t manifests = (files.size() + fit - 1) / fit;
      for (size_t i = 0; i < manifests; ++i) {  // as many in each
        const size_t begin = files.size() * i / manifests;
        const size_t end = files.size() * (i + 1) / manifests;
        FIRN_TRY(AddFresh(spec, Files(files).subspan(begin, end - begin), candidates));
      }
    }
    return candidates;
  }

  // All manifests of the new snapshot; what is new or merged is in the store afterwards.
  Result<ManifestList> NewManifests() {
    if (request_.files.empty()) return *base_manifests_;
    FIRN_ASSIGN(std::vector<MergeCandidate> candidates, FreshManifests());
    for (const ManifestFile& manifest : *base_manifests_) {
      if (manifest.content == ManifestContent::kData && HasLiveFiles(manifest)) {
        candidates.push_back({manifest, std::nullopt});
      }
    }
    const CommitScope scope{base_, store_, commit_.snapshot_id, commit_.sequence_number,
                            [this] { return NextManifestLocation(); }};
    FIRN_ASSIGN(MergeResult merged, MergeManifests(scope, merge_, std::move(candidates)));
    commit_.manifests_written = merged.written;
    commit_.manifests_merged = merged.merged;
    for (const ManifestFile& manifest : *base_manifests_) {
      if (manifest.content == ManifestContent::kDeletes && HasLiveFiles(manifest)) {
        merged.manifests.push_back(manifest);
      }
    }
    return std::move(merged.manifests);
  }

  Result<std::string> WriteList(const ManifestList& manifests) {
    ManifestListHeader header;
    header.snapshot_id = commit_.snapshot_id;
    if (parent_ != nullptr) header.parent_snapshot_id = parent_->snapshot_id;
    header.sequence_number = commit_.sequence_number;
    header.extra = request_.manifest_list_header;
    FIRN_ASSIGN(const std::string bytes, WriteManifestList(header, manifests));
    const std::string location =
        locations_.MetadataLocation(fmt::format("snap-{}-1-{}.avro", commit_.snapshot_id, uuid_));
    FIRN_TRY(store_.Put(location, bytes));
    return location;
  }

  void Describe(const std::string& list_location, int64_t now_ms) {
    Snapshot snapshot;
    snapshot.snapshot_id = commit_.snapshot_id;
    if (parent_ != nullptr) snapshot.parent_snapshot_id = parent_->snapshot_id;
    snapshot.sequence_number = commit_.sequence_number;
    snapshot.timestamp_ms = commit_.snapshot_timestamp_ms;
    snapshot.manifest_list = list_location;
    snapshot.summary = AppendSummary(parent_, *base_manifests_, request_.files, request_.summary);
    snapshot.schema_id = base_.current_schema_id;
    // The branch keeps its own retention settings.
    SnapshotRef main;
    if (auto found = base_.refs.find(std::string(kMainBranch)); found != base_.refs.end()) main = found->second;
    main.snapshot_id = commit_.snapshot_id;

    commit_.requirements.push_back(AssertTableUuid{base_.table_uuid});
    commit_.requirements.push_back(AssertRefSnapshotId{std::string(kMainBranch), base_.current_snapshot_id});
    commit_.updates.push_back(AddSnapshot{std::move(snapshot)});
    commit_.updates.push_back(SetSnapshotRef{std::string(kMainBranch), std::move(main)});
    if (!request_.set_properties.empty()) commit_.updates.push_back(SetProperties{request_.set_properties});
    if (!request_.expire_on_commit) return;
    auto expired = PickExpiredSnapshots(base_, request_.table_is_ours, now_ms - request_.expiry_grace_ms);
    if (!expired.empty()) commit_.updates.push_back(RemoveSnapshots{std::move(expired)});
  }

  const TableMetadata& base_;
  AppendRequest request_;  // a copy: on_identity may add to it
  env::ObjectStore& store_;
  ManifestListCache& cache_;
  const MergeOptions merge_;
  const LocationProvider locations_;
  const std::string uuid_;  // in the names of all files of this attempt
  int manifest_number_ = 0;
  const Snapshot* parent_ = nullptr;
  std::shared_ptr<const ManifestList> base_manifests_;
  PreparedCommit commit_;
};

}  // namespace

Result<PreparedCommit> PrepareAppend(const TableMetadata& base, const AppendRequest& request, env::ObjectStore& store,
                                     env::Clock& clock, env::Random& random, ManifestListCache& cache) {
  FIRN_TRY(CheckWritable(base));
  return Append(base, request, store, random, cache).Prepare(clock, random);
}

}  // namespace firn::iceberg
