#include "firn/maintenance/expiry.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "firn/base/log.h"
#include "firn/iceberg/commit/append.h"
#include "firn/iceberg/commit/snapshot_expiry.h"
#include "firn/ingest/history.h"
#include "firn/ingest/map_commit.h"
#include "firn/maintenance/locations.h"
#include "firn/maintenance/paced_store.h"
#include "firn/maintenance/references.h"

namespace firn::maintenance {
namespace {

using iceberg::Snapshot;
using iceberg::SnapshotRef;
using iceberg::TableMetadata;

constexpr std::string_view kPositionsPrefix = "firn.positions.";

Result<int64_t> NumberProperty(const TableMetadata& metadata, const char* key, int64_t absent) {
  const std::optional<std::string> text = metadata.Property(key);
  if (!text.has_value()) return absent;
  int64_t value = 0;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error == std::errc() && end == text->data() + text->size() && value >= 0) return value;
  return Fail(ErrorCode::kInvalidInput,
              fmt::format("a retention property of the table is no number, so nothing is expired; correct it: {}='{}'",
                          key, *text));
}

class Planner {
 public:
  Planner(const TableMetadata& metadata, int64_t age_ms, int64_t keep, int64_t ref_age_ms, int64_t now_ms)
      : metadata_(metadata), age_ms_(age_ms), keep_(keep), ref_age_ms_(ref_age_ms), now_ms_(now_ms) {
    for (const Snapshot& snapshot : metadata.snapshots) by_id_.emplace(snapshot.snapshot_id, &snapshot);
  }

  Result<ExpiryPlan> Plan() {
    for (const auto& [name, ref] : metadata_.refs) KeepRef(name, ref);
    // Metadata without refs still have a current snapshot.
    const std::string main(iceberg::kMainBranch);
    if (metadata_.current_snapshot_id.has_value() && !metadata_.refs.contains(main)) {
      KeepRef(main, {.snapshot_id = *metadata_.current_snapshot_id});
    }
    FIRN_TRY(KeepPositions());
    std::vector<const Snapshot*> expired;
    for (const Snapshot& snapshot : metadata_.snapshots) {
      // In no branch (rolled back, staged): the table's age decides alone.
      if (!on_branch_.contains(snapshot.snapshot_id) && IsYounger(snapshot, age_ms_)) Keep(snapshot, "age");
      if (!kept_.contains(snapshot.snapshot_id)) expired.push_back(&snapshot);
    }
    std::sort(expired.begin(), expired.end(), [](const Snapshot* a, const Snapshot* b) {
      return std::pair(a->sequence_number, a->snapshot_id) < std::pair(b->sequence_number, b->snapshot_id);
    });
    for (const Snapshot* snapshot : expired) plan_.snapshots.push_back(snapshot->snapshot_id);
    return std::move(plan_);
  }

 private:
  bool IsYounger(const Snapshot& snapshot, int64_t age_ms) const {
    return age_ms >= now_ms_ || snapshot.timestamp_ms >= now_ms_ - age_ms;
  }

  void Keep(const Snapshot& snapshot, const std::string& why) {
    if (kept_.insert(snapshot.snapshot_id).second) ++plan_.kept_for[why];
  }

  void KeepRef(const std::string& name, const SnapshotRef& ref) {
    auto head = by_id_.find(ref.snapshot_id);
    const bool is_main = name == iceberg::kMainBranch;
    if (!is_main && head != by_id_.end() && !IsYounger(*head->second, ref.max_ref_age_ms.value_or(ref_age_ms_))) {
      plan_.refs.push_back(name);
      return;
    }
    if (head == by_id_.end()) return;
    const std::string why = ref.type + " " + name;
    if (ref.type == "tag") return Keep(*head->second, why);
    const int64_t age_ms = ref.max_snapshot_age_ms.value_or(age_ms_);
    const int64_t count_min = std::max<int64_t>(ref.min_snapshots_to_keep.value_or(keep_), 1);
    std::set<SnapshotId> seen;
    bool keeping = true;
    for (int64_t count = 0; head != by_id_.end() && seen.insert(head->first).second; ++count) {
      const Snapshot& snapshot = *head->second;
      keeping = keeping && (count < count_min || IsYounger(snapshot, age_ms));
      if (keeping) Keep(snapshot, why);
      on_branch_.insert(snapshot.snapshot_id);
      if (!snapshot.parent_snapshot_id.has_value()) break;
      head = by_id_.find(*snapshot.parent_snapshot_id);
    }
  }

  // What the history check and a rewind of each pipeline look for: the snapshot of its map, the last one with rows, and
  // its newest in main's history.
  Status KeepPositions() {
    for (const auto& [key, value] : metadata_.properties) {
      if (!key.starts_with(kPositionsPrefix)) continue;
      const std::string pipeline = key.substr(kPositionsPrefix.size());
      const std::string why = "pipeline " + pipeline;
      FIRN_ASSIGN(const ingest::PositionsMap map, WithContext(ingest::PositionsMap::Parse(value), key));
      KeepId(map.snapshot_id, why);
      if (map.rows_snapshot_id.has_value()) KeepId(*map.rows_snapshot_id, why);
      bool chain_complete = false;
      const Snapshot* newest = ingest::NewestSnapshotOf(metadata_, pipeline, chain_complete);
      if (newest != nullptr) Keep(*newest, why);
    }
    return {};
  }

  void KeepId(SnapshotId id, const std::string& why) {
    auto found = by_id_.find(id);
    if (found != by_id_.end()) Keep(*found->second, why);
  }

  const TableMetadata& metadata_;
  const int64_t age_ms_;
  const int64_t keep_;
  const int64_t ref_age_ms_;
  const int64_t now_ms_;
  std::unordered_map<SnapshotId, const Snapshot*> by_id_;
  std::set<SnapshotId> on_branch_;  // reachable from the head of a branch that stays
  std::set<SnapshotId> kept_;
  ExpiryPlan plan_;
};

struct Unreachable {
  std::vector<DoomedFile> content;  // first to be deleted
  std::vector<DoomedFile> manifests;
  std::vector<DoomedFile> lists;
};

class FileSearch {
 public:
  FileSearch(const TableMetadata& metadata, env::ObjectStore& store, ExpiryReport& report)
      : metadata_(metadata), store_(store), reader_(store), report_(report) {}

  // Reads the manifests of what has gone; call it while they are still there.
  Result<Unreachable> Find(const std::vector<const Snapshot*>& gone, const std::vector<const Snapshot*>& kept) {
    Unreachable out;
    FIRN_ASSIGN(const SnapshotFiles before, FilesOfGone(gone));
    FIRN_ASSIGN(const SnapshotFiles after, reader_.FilesOf(kept));
    for (const std::string& list : before.manifest_lists) {
      if (!after.manifest_lists.contains(list)) Add(out.lists, "manifest_list", list, 0);
    }
    // Without a manifest of their own, none of their files has become unreachable.
    std::vector<const iceberg::ManifestFile*> own;
    for (const auto& [path, manifest] : before.manifests) {
      if (after.manifests.contains(path)) continue;
      Add(out.manifests, "manifest", path, manifest.manifest_length);
      own.push_back(&manifest);
    }
    if (own.empty()) return out;
    LocationSet seen;  // what stays, and then what goes
    for (const auto& [path, manifest] : after.manifests) {
      FIRN_TRY(reader_.ForEachEntry(manifest, [&](const ReferenceReader::ContentFile& file) {
        if (file.live) seen.Add(file.location);
      }));
    }
    for (const iceberg::ManifestFile* manifest : own) {
      Status read = reader_.ForEachEntry(*manifest, [&](const ReferenceReader::ContentFile& file) {
        if (!seen.Add(file.location)) return;
        Add(out.content, file.content == iceberg::FileContent::kData ? "data" : "deletes", file.location, file.bytes);
      });
      if (!read.has_value() && !IsMissing(manifest->manifest_path)) return std::unexpected<Error>(read.error());
    }
    return out;
  }

 private:
  // Of snapshots that are gone a list or manifest may be missing: somebody else expired them at the same time, and what
  // they name was deleted before them.
  bool IsMissing(const std::string& location) const {
    const Result<env::ObjectInfo> info = store_.Stat(location);
    return !info.has_value() && info.error().code() == ErrorCode::kNotFound;
  }

  Result<SnapshotFiles> FilesOfGone(const std::vector<const Snapshot*>& gone) {
    SnapshotFiles all;
    for (const Snapshot* snapshot : gone) {
      Result<SnapshotFiles> files = reader_.FilesOf({snapshot});
      if (!files.has_value() && !snapshot->manifest_list.empty() && IsMissing(snapshot->manifest_list)) continue;
      if (!files.has_value()) return files;
      all.manifest_lists.merge(files->manifest_lists);
      all.manifests.merge(files->manifests);
    }
    return all;
  }

  void Add(std::vector<DoomedFile>& files, const char* kind, const std::string& location, int64_t bytes) {
    if (!IsOfTable(metadata_, location)) {
      ++report_.files_outside;
      return;
    }
    ++report_.files[kind];
    report_.bytes += bytes;
    files.push_back({location, bytes});
  }

  const TableMetadata& metadata_;
  env::ObjectStore& store_;
  ReferenceReader reader_;
  ExpiryReport& report_;
};

std::unordered_set<SnapshotId> IdsOf(const TableMetadata& metadata) {
  std::unordered_set<SnapshotId> ids;
  for (const Snapshot& snapshot : metadata.snapshots) ids.insert(snapshot.snapshot_id);
  return ids;
}

// The snapshots of `base` that `ids` names, and the others.
void Divide(const TableMetadata& base, const std::unordered_set<SnapshotId>& ids, std::vector<const Snapshot*>& in,
            std::vector<const Snapshot*>& out) {
  for (const Snapshot& snapshot : base.snapshots) (ids.contains(snapshot.snapshot_id) ? in : out).push_back(&snapshot);
}

PlannedCommit CommitOf(const TableMetadata& base, const ExpiryPlan& plan) {
  PlannedCommit commit;
  commit.requirements.push_back(iceberg::AssertTableUuid{base.table_uuid});
  // A ref that somebody moves meanwhile may keep other snapshots.
  for (const auto& [name, ref] : base.refs) {
    commit.requirements.push_back(iceberg::AssertRefSnapshotId{name, ref.snapshot_id});
  }
  for (const std::string& ref : plan.refs) commit.updates.push_back(iceberg::RemoveSnapshotRef{ref});
  if (!plan.snapshots.empty()) commit.updates.push_back(iceberg::RemoveSnapshots{plan.snapshots});
  return commit;
}

class Expiry {
 public:
  Expiry(const MaintenanceParts& parts, const iceberg::TableIdentifier& table, const ExpiryOptions& options)
      : parts_(parts), table_(table), options_(options) {}

  Result<ExpiryReport> Run(std::stop_token stop) {
    if (!options_.apply) return DryRun();
    auto prepare = [&](const iceberg::LoadedTable& loaded) -> Result<std::optional<PlannedCommit>> {
      FIRN_TRY(iceberg::CheckWritable(loaded.metadata));
      FIRN_ASSIGN(const ExpiryPlan plan, PlanExpiry(loaded.metadata, options_, parts_.clock.WallMs()));
      // All snapshots of the old one would seem to be gone, and may live on under another name.
      if (!base_.table_uuid.empty() && base_.table_uuid != loaded.metadata.table_uuid) {
        return Fail(ErrorCode::kConflict, "the table was replaced by another meanwhile");
      }
      if (base_.snapshots.empty()) report_.snapshots_before = std::ssize(loaded.metadata.snapshots);
      Remember(loaded.metadata, plan);
      if (plan.snapshots.empty() && plan.refs.empty()) return std::optional<PlannedCommit>();
      return std::optional<PlannedCommit>(CommitOf(loaded.metadata, plan));
    };
    Result<LoopOutcome> outcome = CommitUntilTaken(parts_, table_, prepare, stop);
    if (!outcome.has_value() && outcome.error().code() == ErrorCode::kCommitStateUnknown) {
      return WithContext(Result<ExpiryReport>(std::unexpected<Error>(std::move(outcome.error()))),
                         "if the snapshots are gone all the same, their files are orphans (--orphans)");
    }
    if (!outcome.has_value()) return std::unexpected<Error>(std::move(outcome.error()));
    report_.conflicts = outcome->conflicts;
    const TableMetadata& after = outcome->table.metadata;
    SetDone(after, outcome->committed);
    if (!outcome->committed) return std::move(report_);
    Status deleted = DeleteUnreachable(after, stop);
    if (!deleted.has_value()) {
      report_.search_error = std::move(deleted.error())
                                 .WithContext("the snapshots are gone and their files are left as orphans (--orphans)");
    }
    LogInfo("snapshots are expired", {{"table", table_.ToString()},
                                      {"snapshots", report_.plan.snapshots.size()},
                                      {"files", report_.deleted.files},
                                      {"bytes", report_.deleted.bytes}});
    return std::move(report_);
  }

 private:
  Result<ExpiryReport> DryRun() {
    FIRN_ASSIGN(const iceberg::LoadedTable loaded, parts_.catalog.LoadTable(table_));
    FIRN_ASSIGN(report_.plan, PlanExpiry(loaded.metadata, options_, parts_.clock.WallMs()));
    report_.snapshots_before = static_cast<int64_t>(loaded.metadata.snapshots.size());
    const std::unordered_set<SnapshotId> ids(report_.plan.snapshots.begin(), report_.plan.snapshots.end());
    std::vector<const Snapshot*> gone, kept;
    Divide(loaded.metadata, ids, gone, kept);
    FIRN_TRY(FileSearch(loaded.metadata, parts_.store, report_).Find(gone, kept));
    return std::move(report_);
  }

  // All snapshots of all attempts: of one whose answer was lost, some are gone before the next.
  void Remember(const TableMetadata& metadata, const ExpiryPlan& plan) {
    const iceberg::Snapshots earlier = std::move(base_.snapshots);
    base_ = metadata;
    const std::unordered_set<SnapshotId> there = IdsOf(metadata);
    for (const Snapshot& snapshot : earlier) {
      if (!there.contains(snapshot.snapshot_id)) base_.snapshots.push_back(snapshot);
    }
    for (const SnapshotId id : plan.snapshots) {
      if (planned_.insert(id).second) report_.plan.snapshots.push_back(id);
    }
    for (const std::string& ref : plan.refs) {
      std::vector<std::string>& refs = report_.plan.refs;
      if (std::find(refs.begin(), refs.end(), ref) == refs.end()) refs.push_back(ref);
    }
    report_.plan.kept_for = plan.kept_for;
  }

  // The report is to name what was planned and is gone; without a commit of ours, somebody else has done it.
  void SetDone(const TableMetadata& after, bool committed) {
    const std::unordered_set<SnapshotId> there = IdsOf(after);
    std::erase_if(report_.plan.snapshots, [&](SnapshotId id) { return !committed || there.contains(id); });
    std::erase_if(report_.plan.refs, [&](const std::string& ref) { return !committed || after.refs.contains(ref); });
  }

  // By what the catalog has now, not by what was planned: it has the last word on what is gone.
  Status DeleteUnreachable(const TableMetadata& after, std::stop_token stop) {
    if (after.table_uuid != base_.table_uuid) return {};
    const std::unordered_set<SnapshotId> there = IdsOf(after);
    std::vector<const Snapshot*> kept;
    for (const Snapshot& snapshot : after.snapshots) kept.push_back(&snapshot);
    std::vector<const Snapshot*> gone, rest;
    Divide(base_, there, rest, gone);
    // Read while everything is there; manifests are needed to find the files, so they go after them.
    PacedStore until_stop(parts_.store, [&] { return !stop.stop_requested(); });
    FIRN_ASSIGN(const Unreachable files, FileSearch(base_, until_stop, report_).Find(gone, kept));
    for (const std::vector<DoomedFile>* group : {&files.content, &files.manifests, &files.lists}) {
      report_.deleted.Add(DeleteFiles(parts_.store, *group, stop));
      if (report_.deleted.stopped) break;
    }
    return {};
  }

  const MaintenanceParts& parts_;
  const iceberg::TableIdentifier& table_;
  const ExpiryOptions& options_;
  TableMetadata base_;  // of the last attempt, with the snapshots of those before it
  std::set<SnapshotId> planned_;
  ExpiryReport report_;
};

}  // namespace

Result<ExpiryPlan> PlanExpiry(const TableMetadata& metadata, const ExpiryOptions& options, int64_t now_ms) {
  FIRN_TRY(CheckMayDelete(metadata));
  const bool ours = metadata.Property(std::string(ingest::kCreatedByProperty)).has_value();
  FIRN_ASSIGN(const int64_t age_ms,
              NumberProperty(metadata, "history.expire.max-snapshot-age-ms",
                             ours ? iceberg::kOwnTableSnapshotAgeMs : iceberg::kForeignTableSnapshotAgeMs));
  FIRN_ASSIGN(const int64_t keep, NumberProperty(metadata, "history.expire.min-snapshots-to-keep", 1));
  FIRN_ASSIGN(const int64_t ref_age_ms,
              NumberProperty(metadata, "history.expire.max-ref-age-ms", std::numeric_limits<int64_t>::max()));
  return Planner(metadata, options.snapshot_age_ms.value_or(age_ms), options.snapshots_to_keep.value_or(keep),
                 ref_age_ms, now_ms)
      .Plan();
}

Result<ExpiryReport> ExpireSnapshots(const MaintenanceParts& parts, const iceberg::TableIdentifier& table,
                                     const ExpiryOptions& options, std::stop_token stop) {
  return WithContext(Expiry(parts, table, options).Run(stop),
                     fmt::format("expiring snapshots of table '{}'", table.ToString()));
}

}  // namespace firn::maintenance
