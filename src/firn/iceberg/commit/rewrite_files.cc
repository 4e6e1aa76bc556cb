#include "firn/iceberg/commit/rewrite_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "firn/base/encoding.h"
#include "firn/iceberg/commit/attempt_store.h"
#include "firn/iceberg/commit/commit_base.h"
#include "firn/iceberg/commit/live_entries.h"
#include "firn/iceberg/commit/manifest_merge.h"
#include "firn/iceberg/commit/needed_deletes.h"
#include "firn/iceberg/commit/position_deletes.h"
#include "firn/iceberg/commit/snapshot_summary.h"
#include "firn/iceberg/manifest/manifest_avro.h"

namespace firn::iceberg {
namespace {

class Rewrite {
 public:
  Rewrite(const TableMetadata& base, const RewriteRequest& request, env::ObjectStore& store, env::Random& random)
      : base_(base),
        request_(request),
        store_(store),
        locations_(LocationProvider::For(base)),
        uuid_(FormatUuid(MakeUuidV4(random.Next64(), random.Next64()))) {}

  Result<PreparedRewrite> Prepare(env::Clock& clock, env::Random& random) {
    FIRN_TRY(IndexGroups());
    FIRN_ASSIGN(parent_, BaseSnapshot(base_));
    ManifestListCache no_cache;
    FIRN_ASSIGN(base_manifests_, BaseManifests(parent_, store_, no_cache));
    FIRN_TRY(FindLiveFiles());
    FIRN_TRY(Decide());
    FIRN_TRY(MindDeletes());
    PreparedRewrite prepared;
    for (const GroupState& group : groups_) prepared.fates.push_back(group.fate);
    const bool any = std::any_of(groups_.begin(), groups_.end(),
                                 [](const GroupState& group) { return group.fate == GroupFate::kReplaced; });
    if (!any) return prepared;
    FIRN_ASSIGN(commit_.snapshot_id, UnusedSnapshotId(base_, random));
    FIRN_ASSIGN(commit_.sequence_number, NextSequenceNumber(base_));
    commit_.snapshot_timestamp_ms = SnapshotTimestamp(base_, parent_, clock.WallMs());
    FIRN_ASSIGN(const ManifestList manifests, NewManifests());
    FIRN_ASSIGN(const std::string list_location, WriteList(manifests));
    Describe(list_location);
    prepared.commit = std::move(commit_);
    prepared.delete_files_removed =
        std::count_if(removed_.begin(), removed_.end(),
                      [](const NewDataFile& removed) { return removed.file.content != FileContent::kData; });
    return prepared;
  }

 private:
  struct LiveInput {
    ManifestEntry entry;  // without metrics
    int32_t spec_id = 0;
  };
  struct GroupState {
    std::map<std::string, LiveInput> live;  // inputs, by path
    std::set<size_t> manifests;             // that they stand in, indices in base_manifests_
    size_t live_outputs = 0;
    GroupFate fate = GroupFate::kReplaced;
    std::map<std::string, int64_t> applied;  // delete files that are live, with their sequence number (equality only)
  };
  struct LiveOther {
    ManifestEntry entry;  // path and sequence number alone
    FilePlace place;
  };
  struct DeleteManifest {
    size_t index;  // in base_manifests_
    ManifestFileContents contents;
  };

  Status IndexGroups() {
    groups_.resize(request_.groups.size());
    for (size_t i = 0; i < request_.groups.size(); ++i) {
      const RewriteGroup& group = request_.groups[i];
      const bool lacks_outputs = group.outputs.empty() && group.rows_deleted == 0;
      if (group.inputs.empty() || lacks_outputs || base_.FindSpec(group.spec_id) == nullptr) {
        return Fail(ErrorCode::kInvalidInput, "a group of files to replace lacks inputs, outputs or its spec");
      }
      for (const std::string& path : group.inputs) {
        if (!group_of_input_.emplace(path, i).second) {
          return Fail(ErrorCode::kInvalidInput, fmt::format("a file is to be replaced twice: '{}'", path));
        }
      }
      for (const DataFile& file : group.outputs) {
        if (!group_of_output_.emplace(file.file_path, i).second) {
          return Fail(ErrorCode::kInvalidInput, fmt::format("a file is added twice: '{}'", file.file_path));
        }
      }
    }
    return {};
  }

  Status FindLiveFiles() {
    has_deletes_ = std::any_of(base_manifests_->begin(), base_manifests_->end(), [](const ManifestFile& manifest) {
      return manifest.content == ManifestContent::kDeletes && HasLiveFiles(manifest);
    });
    for (size_t i = 0; i < base_manifests_->size(); ++i) {
      const ManifestFile& manifest = (*base_manifests_)[i];
      if (manifest.content != ManifestContent::kData || !HasLiveFiles(manifest)) continue;
      FIRN_TRY(ForEachEntry(manifest, store_, EntryMetrics::kNone, [&](ManifestEntry entry) -> Status {
        if (!entry.is_live()) return {};
        const std::string& path = entry.data_file.file_path;
        if (auto output = group_of_output_.find(path); output != group_of_output_.end()) {
          ++groups_[output->second].live_outputs;
        }
        auto input = group_of_input_.find(path);
        if (input == group_of_input_.end()) {
          return has_deletes_ ? NoteOther(entry, manifest.partition_spec_id) : Status();
        }
        GroupState& group = groups_[input->second];
        group.manifests.insert(i);
        group.live.emplace(input->first, LiveInput{std::move(entry), manifest.partition_spec_id});
        return {};
      }));
    }
    return {};
  }

  Result<FilePlace> PlaceOf(const DataFile& file, int32_t spec_id) const {
    const schema::PartitionSpec* spec = base_.FindSpec(spec_id);
    if (spec == nullptr) return Fail(ErrorCode::kCorruption, "a manifest of a spec that the table has not");
    return FilePlace{spec_id, schema::PartitionPath(*spec, SchemaForSpec(base_, *spec), file.partition),
                     spec->is_unpartitioned()};
  }

  Status NoteOther(const ManifestEntry& entry, int32_t spec_id) {
    LiveOther other;
    FIRN_ASSIGN(other.place, PlaceOf(entry.data_file, spec_id));
    other.entry.sequence_number = entry.sequence_number;
    other.entry.data_file.file_path = entry.data_file.file_path;
    others_.push_back(std::move(other));
    return {};
  }

  Status Decide() {
    for (size_t i = 0; i < groups_.size(); ++i) {
      const RewriteGroup& wanted = request_.groups[i];
      GroupState& group = groups_[i];
      if (group.live_outputs == wanted.outputs.size() && group.live.empty()) {
        group.fate = GroupFate::kAlreadyDone;
      } else if (group.live.size() != wanted.inputs.size() || group.live_outputs > 0) {
        group.fate = GroupFate::kInputGone;
      } else {
        FIRN_TRY(CheckGroup(wanted, group));
      }
    }
    return {};
  }

  Status CheckGroup(const RewriteGroup& wanted, const GroupState& group) const {
    int64_t rows = wanted.rows_deleted;
    for (const DataFile& file : wanted.outputs) rows += file.record_count;
    for (const auto& [path, input] : group.live) {
      rows -= input.entry.data_file.record_count;
      for (const DataFile& file : wanted.outputs) {
        const bool same = schema::SamePartition(file.partition, input.entry.data_file.partition);
        if (input.spec_id == wanted.spec_id && same) continue;
        return Fail(ErrorCode::kInvalidInput,
                    fmt::format("files of another spec or partition are replaced: '{}'", path));
      }
    }
    if (rows == 0 && (wanted.rows_deleted == 0 || !wanted.applied.empty())) return {};
    return Fail(ErrorCode::kInvalidInput, fmt::format("files are replaced by files with another number of rows ({:+}): "
                                                      "'{}'",
                                                      rows, wanted.inputs.front()));
  }

  // Live delete files that may touch an input, and would not touch the output in its place, must be those that were
  // applied.
  Status MindDeletes() {
    for (size_t i = 0; i < base_manifests_->size(); ++i) {
      const ManifestFile& manifest = (*base_manifests_)[i];
      if (manifest.content != ManifestContent::kDeletes || !HasLiveFiles(manifest)) continue;
      FIRN_ASSIGN(ManifestFileContents contents, ReadManifestFile(manifest, store_));
      for (const ManifestEntry& entry : contents.entries) {
        if (entry.is_live()) MindDelete(entry, manifest.partition_spec_id);
      }
      delete_manifests_.push_back({i, std::move(contents)});
    }
    for (size_t i = 0; i < groups_.size(); ++i) {
      const bool all_there = groups_[i].applied.size() == request_.groups[i].applied.size();
      if (groups_[i].fate == GroupFate::kReplaced && !all_there) groups_[i].fate = GroupFate::kDeletesChanged;
    }
    return {};
  }

  void MindDelete(const ManifestEntry& entry, int32_t spec_id) {
    for (size_t i = 0; i < groups_.size(); ++i) {
      GroupState& group = groups_[i];
      if (group.fate != GroupFate::kReplaced) continue;
      const bool touches = std::any_of(group.live.begin(), group.live.end(), [&](const auto& input) {
        return IsTouched(input.second, entry, spec_id);
      });
      const std::string& path = entry.data_file.file_path;
      const std::vector<AppliedDeletes>& applied = request_.groups[i].applied;
      const bool is_applied = std::any_of(applied.begin(), applied.end(),
                                          [&](const AppliedDeletes& deletes) { return deletes.path == path; });
      if (is_applied) {
        const bool by_equality = entry.data_file.content == FileContent::kEqualityDeletes;
        group.applied[path] = by_equality ? entry.sequence_number.value_or(0) : 0;
      } else if (touches) {
        group.fate = GroupFate::kDeletesChanged;
      }
    }
  }

  // Spec: "Scan Planning". Position deletes go by path, so the output would lose even those that are still to come.
  bool IsTouched(const LiveInput& input, const ManifestEntry& deletes, int32_t spec_id) const {
    const int64_t data_sequence = input.entry.sequence_number.value_or(0);
    const int64_t delete_sequence = deletes.sequence_number.value_or(0);
    const DataFile& file = deletes.data_file;
    const bool same =
        spec_id == input.spec_id && schema::SamePartition(file.partition, input.entry.data_file.partition);
    if (file.content == FileContent::kPositionDeletes) {
      const bool names_it = file.referenced_data_file.has_value();
      return MayDeleteFrom(file, input.entry.data_file.file_path) &&
             (names_it || (same && data_sequence <= delete_sequence));
    }
    const schema::PartitionSpec* spec = base_.FindSpec(spec_id);
    const bool is_global = spec == nullptr || spec->is_unpartitioned();
    return (same || is_global) && data_sequence < delete_sequence &&
           delete_sequence <= request_.starting_sequence_number;
  }

  std::string NextManifestLocation() {
    return locations_.MetadataLocation(fmt::format("{}-m{}.avro", uuid_, manifest_number_++));
  }

  Result<ManifestFile> Write(const ManifestHeader& header, const std::vector<ManifestEntry>& entries) {
    FIRN_ASSIGN(const std::string bytes, WriteManifest(header, entries));
    const std::string location = NextManifestLocation();
    FIRN_ASSIGN(ManifestFile manifest, SummarizeManifest(header, entries, location, static_cast<int64_t>(bytes.size()),
                                                         commit_.sequence_number, commit_.snapshot_id));
    FIRN_TRY(store_.Put(location, bytes));
    ++commit_.manifests_written;
    return manifest;
  }

  static int64_t SequenceOfOutputs(const GroupState& group) {
    int64_t sequence = 0;
    for (const auto& [path, input] : group.live) {
      sequence = std::max(sequence, input.entry.sequence_number.value_or(0));
    }
    // What was applied need not be looked at again.
    for (const auto& [path, applied] : group.applied) sequence = std::max(sequence, applied);
    return sequence;
  }

  // Outputs, one manifest a spec.
  Status AddOutputs(ManifestList& manifests) {
    std::map<int32_t, std::vector<ManifestEntry>> by_spec;
    for (size_t i = 0; i < groups_.size(); ++i) {
      if (groups_[i].fate != GroupFate::kReplaced) continue;
      const int64_t data_sequence = SequenceOfOutputs(groups_[i]);
      for (const DataFile& file : request_.groups[i].outputs) {
        ManifestEntry entry;
        entry.status = EntryStatus::kAdded;
        entry.snapshot_id = commit_.snapshot_id;
        entry.sequence_number = data_sequence;
        entry.data_file = file;
        by_spec[request_.groups[i].spec_id].push_back(std::move(entry));
        added_.push_back({request_.groups[i].spec_id, file});
      }
    }
    for (const auto& [spec_id, entries] : by_spec) {
      const schema::PartitionSpec& spec = *base_.FindSpec(spec_id);
      FIRN_ASSIGN(ManifestFile manifest, Write({SchemaForSpec(base_, spec), spec}, entries));
      manifests.push_back(std::move(manifest));
    }
    return {};
  }

  // Paths of the delete files that no data file needs any more.
  Status FindUnneeded() {
    if (delete_manifests_.empty()) return {};
    NeededDeletes needed;
    std::map<std::string, const std::vector<std::string>*> names;
    for (const LiveOther& other : others_) needed.AddLive(other.entry, other.place);
    for (size_t i = 0; i < groups_.size(); ++i) {
      const RewriteGroup& wanted = request_.groups[i];
      const bool replaced = groups_[i].fate == GroupFate::kReplaced;
      for (const auto& [path, input] : groups_[i].live) {
        FIRN_ASSIGN(const FilePlace place, PlaceOf(input.entry.data_file, input.spec_id));
        if (!replaced) needed.AddLive(input.entry, place);
      }
      if (!replaced) continue;
      for (const DataFile& file : wanted.outputs) {
        FIRN_ASSIGN(const FilePlace place, PlaceOf(file, wanted.spec_id));
        needed.AddNew(SequenceOfOutputs(groups_[i]), place);
      }
      for (const AppliedDeletes& applied : wanted.applied) names[applied.path] = &applied.data_files;
    }
    for (const DeleteManifest& manifest : delete_manifests_) {
      const int32_t spec_id = (*base_manifests_)[manifest.index].partition_spec_id;
      for (const ManifestEntry& entry : manifest.contents.entries) {
        if (!entry.is_live()) continue;
        const std::string& path = entry.data_file.file_path;
        FIRN_ASSIGN(const FilePlace place, PlaceOf(entry.data_file, spec_id));
        auto known = names.find(path);
        if (!needed.IsNeeded(entry, place, known == names.end() ? nullptr : known->second)) unneeded_.insert(path);
      }
    }
    return {};
  }

  bool IsReplaced(const std::string& path) const {
    auto input = group_of_input_.find(path);
    return input != group_of_input_.end() && groups_[input->second].fate == GroupFate::kReplaced;
  }

  // The manifest with its files that go marked as deleted by this snapshot. It is read again for it, entry by entry:
  // all that are touched may have the metrics of every file of the table.
  Result<ManifestFile> Filter(const ManifestFile& manifest) {
    const schema::PartitionSpec* spec = base_.FindSpec(manifest.partition_spec_id);
    if (spec == nullptr) return Fail(ErrorCode::kCorruption, "a manifest of a spec that the table has not");
    FIRN_ASSIGN(ManifestWriter writer, ManifestWriter::Create({SchemaForSpec(base_, *spec), *spec, manifest.content},
                                                              commit_.sequence_number, commit_.snapshot_id));
    FIRN_TRY(ForEachEntry(manifest, store_, EntryMetrics::kAll, [&](ManifestEntry entry) -> Status {
      if (!entry.is_live()) return {};
      const std::string& path = entry.data_file.file_path;
      const bool goes = manifest.content == ManifestContent::kDeletes ? unneeded_.contains(path) : IsReplaced(path);
      entry.status = goes ? EntryStatus::kDeleted : EntryStatus::kExisting;
      if (goes) entry.snapshot_id = commit_.snapshot_id;
      FIRN_TRY(writer.Add(entry));
      if (!goes) return {};
      NewDataFile removed{.spec_id = manifest.partition_spec_id, .file = {}};
      removed.file.content = entry.data_file.content;
      removed.file.partition = std::move(entry.data_file.partition);
      removed.file.record_count = entry.data_file.record_count;
      removed.file.file_size_in_bytes = entry.data_file.file_size_in_bytes;
      removed_.push_back(std::move(removed));
      return {};
    }));
    FIRN_ASSIGN(WrittenManifest written, writer.Finish(NextManifestLocation()));
    FIRN_TRY(store_.Put(written.file.manifest_path, written.bytes));
    ++commit_.manifests_written;
    return std::move(written.file);
  }

  // Those with a file that goes.
  std::set<size_t> ChangedManifests() const {
    std::set<size_t> changed;
    for (const GroupState& group : groups_) {
      if (group.fate == GroupFate::kReplaced) changed.insert(group.manifests.begin(), group.manifests.end());
    }
    for (const DeleteManifest& deletes : delete_manifests_) {
      const auto& entries = deletes.contents.entries;
      const bool any = std::any_of(entries.begin(), entries.end(), [&](const ManifestEntry& entry) {
        return entry.is_live() && unneeded_.contains(entry.data_file.file_path);
      });
      if (any) changed.insert(deletes.index);
    }
    return changed;
  }

  Result<ManifestList> NewManifests() {
    ManifestList manifests;
    FIRN_TRY(AddOutputs(manifests));
    FIRN_TRY(FindUnneeded());
    const std::set<size_t> changed = ChangedManifests();
    for (size_t i = 0; i < base_manifests_->size(); ++i) {
      const ManifestFile& manifest = (*base_manifests_)[i];
      if (changed.contains(i)) {
        FIRN_ASSIGN(ManifestFile filtered, Filter(manifest));
        manifests.push_back(std::move(filtered));
      } else if (HasLiveFiles(manifest)) {
        manifests.push_back(manifest);
      }
    }
    return manifests;
  }

  Result<std::string> WriteList(const ManifestList& manifests) {
    ManifestListHeader header;
    header.snapshot_id = commit_.snapshot_id;
    if (parent_ != nullptr) header.parent_snapshot_id = parent_->snapshot_id;
    header.sequence_number = commit_.sequence_number;
    FIRN_ASSIGN(const std::string bytes, WriteManifestList(header, manifests));
    const std::string location =
        locations_.MetadataLocation(fmt::format("snap-{}-1-{}.avro", commit_.snapshot_id, uuid_));
    FIRN_TRY(store_.Put(location, bytes));
    return location;
  }

  void Describe(const std::string& list_location) {
    Snapshot snapshot;
    snapshot.snapshot_id = commit_.snapshot_id;
    if (parent_ != nullptr) snapshot.parent_snapshot_id = parent_->snapshot_id;
    snapshot.sequence_number = commit_.sequence_number;
    snapshot.timestamp_ms = commit_.snapshot_timestamp_ms;
    snapshot.manifest_list = list_location;
    snapshot.summary = ReplaceSummary(parent_, *base_manifests_, added_, removed_, request_.summary);
    snapshot.schema_id = base_.current_schema_id;
    SnapshotRef main;
    if (auto found = base_.refs.find(std::string(kMainBranch)); found != base_.refs.end()) main = found->second;
    main.snapshot_id = commit_.snapshot_id;
    commit_.requirements.push_back(AssertTableUuid{base_.table_uuid});
    commit_.requirements.push_back(AssertRefSnapshotId{std::string(kMainBranch), base_.current_snapshot_id});
    commit_.updates.push_back(AddSnapshot{std::move(snapshot)});
    commit_.updates.push_back(SetSnapshotRef{std::string(kMainBranch), std::move(main)});
  }

  const TableMetadata& base_;
  const RewriteRequest& request_;
  AttemptStore store_;  // manifests that change are read twice
  const LocationProvider locations_;
  const std::string uuid_;  // in the names of all files of this attempt
  int manifest_number_ = 0;
  const Snapshot* parent_ = nullptr;
  std::shared_ptr<const ManifestList> base_manifests_;
  std::map<std::string, size_t> group_of_input_;
  std::map<std::string, size_t> group_of_output_;
  std::vector<GroupState> groups_;
  bool has_deletes_ = false;
  std::vector<LiveOther> others_;  // live data files that are no inputs; only where there are deletes
  std::vector<DeleteManifest> delete_manifests_;
  std::set<std::string> unneeded_;  // delete files
  std::vector<NewDataFile> added_;
  std::vector<NewDataFile> removed_;  // what the summary counts of them
  PreparedCommit commit_;
};

}  // namespace

std::string_view GroupFateName(GroupFate fate) {
  switch (fate) {
    case GroupFate::kReplaced: return "replaced";
    case GroupFate::kInputGone: return "input_gone";
    case GroupFate::kAlreadyDone: return "already_done";
    case GroupFate::kDeletesChanged: return "deletes_changed";
  }
  return "input_gone";
}

Result<PreparedRewrite> PrepareRewrite(const TableMetadata& base, const RewriteRequest& request,
                                       env::ObjectStore& store, env::Clock& clock, env::Random& random) {
  FIRN_TRY(CheckWritable(base));
  return Rewrite(base, request, store, random).Prepare(clock, random);
}

}  // namespace firn::iceberg
