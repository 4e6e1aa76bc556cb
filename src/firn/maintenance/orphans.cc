#include "firn/maintenance/orphans.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "firn/base/log.h"
#include "firn/iceberg/catalog/metadata_file.h"
#include "firn/iceberg/commit/append.h"
#include "firn/maintenance/locations.h"
#include "firn/maintenance/references.h"

namespace firn::maintenance {
namespace {

using env::ObjectInfo;
using iceberg::LoadedTable;

bool IsMetadataJson(std::string_view location) {
  return location.ends_with(".metadata.json") || location.ends_with(".metadata.json.gz");
}

std::string_view KindOf(std::string_view location) {
  if (IsMetadataJson(location)) return "metadata";
  if (location.ends_with(".avro")) return "manifest";
  if (location.ends_with(".tmp")) return "temporary";
  if (location.ends_with(".parquet") || location.ends_with(".orc") || location.ends_with(".puffin")) return "data";
  return "other";
}

std::unexpected<Error> Shared(const LoadedTable& table, std::string_view other) {
  return Fail(ErrorCode::kUnsupported,
              fmt::format("another table's files lie in this table's folder, so what looks like an orphan may be its; "
                          "move one of the two, or, when that table is gone for good, its metadata file: '{}' holds "
                          "'{}'",
                          table.metadata.location, other));
}

class OrphanRemoval {
 public:
  OrphanRemoval(const MaintenanceParts& parts, const iceberg::TableIdentifier& table, const OrphanOptions& options)
      : parts_(parts), table_(table), options_(options), references_(parts.store) {}

  Result<OrphanReport> Run(std::stop_token stop) {
    FIRN_TRY(CheckAge());
    FIRN_ASSIGN(loaded_, parts_.catalog.LoadTable(table_));
    FIRN_TRY(CheckTable());
    FIRN_TRY(CheckOtherTables());
    report_.not_listed = FoldersOutside(loaded_.metadata);
    // Listed before the references are read: what is committed in between counts as referenced.
    FIRN_ASSIGN(listed_, parts_.store.List(loaded_.metadata.location));
    FIRN_TRY(references_.Add(loaded_));
    FIRN_TRY(Sort(parts_.clock.WallMs() - options_.older_than_ms));
    FIRN_TRY(CheckListing());
    FIRN_TRY(CheckForeignMetadata());
    if (options_.apply && !orphans_.empty()) FIRN_TRY(Delete(stop));
    Count();
    return std::move(report_);
  }

 private:
  Status CheckAge() const {
    if (options_.older_than_ms / kCommitAgesInOrphanAge >= options_.commit_max_age_ms) return {};
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("a batch may be committed until it is commit.max_age old, so orphans must be at least {} "
                            "times as old; give a longer --older-than, or lower commit.max_age: {} ms and {} ms",
                            kCommitAgesInOrphanAge, options_.older_than_ms, options_.commit_max_age_ms));
  }

  Status CheckTable() const {
    FIRN_TRY(CheckMayDelete(loaded_.metadata));
    if (options_.apply) FIRN_TRY(iceberg::CheckWritable(loaded_.metadata));
    if (KeyOf(loaded_.metadata.location).path != "/") return {};
    return Fail(ErrorCode::kUnsupported,
                fmt::format("the table's location is a whole bucket or disk, and what else lies there is not known to "
                            "be nobody's; give the table a folder of its own: '{}'",
                            loaded_.metadata.location));
  }

  // By name: the other tables of the namespace.
  Status CheckOtherTables() const {
    FIRN_ASSIGN(const std::vector<iceberg::TableIdentifier> others, parts_.catalog.ListTables(table_.namespace_levels));
    const LocationKey mine = KeyOf(loaded_.metadata.location);
    for (const iceberg::TableIdentifier& other : others) {
      if (other == table_) continue;
      Result<LoadedTable> loaded = parts_.catalog.LoadTable(other);
      if (!loaded.has_value() && loaded.error().code() == ErrorCode::kNotFound) continue;
      if (!loaded.has_value()) {
        return WithContext(Status(std::unexpected<Error>(std::move(loaded.error()))),
                           fmt::format("whether '{}' shares the table's location cannot be seen", other.ToString()));
      }
      std::vector<std::string> folders = FoldersOutside(loaded->metadata);
      folders.push_back(loaded->metadata.location);
      for (const std::string& folder : folders) {
        const LocationKey theirs = KeyOf(folder);
        if (IsBelow(theirs, mine) || IsBelow(mine, theirs)) return Shared(loaded_, other.ToString());
      }
    }
    return {};
  }

  // By what lies there: whoever shares the folder has metadata files in it. Newest first, so that the log of each of
  // ours accounts for those before it; every file is either named so or read.
  Status CheckForeignMetadata() {
    std::vector<const ObjectInfo*> unknown;
    for (const ObjectInfo* info : unreferenced_) {
      if (IsMetadataJson(info->location)) unknown.push_back(info);
    }
    std::sort(unknown.begin(), unknown.end(), [](const ObjectInfo* a, const ObjectInfo* b) {
      return std::pair(a->modified_ms, a->location) > std::pair(b->modified_ms, b->location);
    });
    std::unordered_set<std::string> ours;
    for (const ObjectInfo* info : unknown) {
      if (ours.contains(KeyOf(info->location).text())) continue;
      Result<iceberg::TableMetadata> metadata = iceberg::ReadMetadataFile(parts_.store, info->location);
      if (metadata.has_value()) {
        if (metadata->table_uuid != loaded_.metadata.table_uuid) return Shared(loaded_, info->location);
        for (const iceberg::MetadataLogEntry& entry : metadata->metadata_log) {
          ours.insert(KeyOf(entry.metadata_file).text());
        }
        continue;
      }
      const ErrorCode code = metadata.error().code();
      if (code == ErrorCode::kNotFound) continue;  // gone meanwhile
      if (code != ErrorCode::kCorruption && code != ErrorCode::kUnsupported) {
        return std::unexpected<Error>(std::move(metadata.error()));
      }
      return Fail(ErrorCode::kUnsupported,
                  fmt::format("a metadata file in the table's folder cannot be read, so nobody knows whether another "
                              "table lives here; move it away when it is nobody's: '{}': {}",
                              info->location, metadata.error().message()));
    }
    return {};
  }

  // Each listed file into its class.
  Status Sort(int64_t modified_before_ms) {
    const size_t root = KeyOf(loaded_.metadata.location).text().size();
    for (const ObjectInfo& info : listed_) {
      ++report_.files_listed;
      report_.bytes_listed += info.size;
      switch (references_.Find(info.location)) {
        case References::Found::kYes: ++report_.files_referenced; continue;
        case References::Found::kElsewhere:
          return Fail(ErrorCode::kUnsupported,
                      fmt::format("the table names a file under another scheme or bucket than the listing does, so "
                                  "nobody knows whether they are one file; give the table one spelling: '{}', listed "
                                  "as '{}'",
                                  references_.RootOf(info.location), info.location));
        case References::Found::kNo: break;
      }
      unreferenced_.push_back(&info);
      const std::string key = KeyOf(info.location).text();
      if (IsHidden(std::string_view(key).substr(std::min(root + 1, key.size())))) {
        ++report_.files_hidden;
      } else if (info.modified_ms >= modified_before_ms) {
        ++report_.files_young;
        report_.bytes_young += info.size;
      } else {
        orphans_.push_back(&info);
      }
    }
    return {};
  }

  // A listing that does not show what must be there says nothing about what need not be.
  Status CheckListing() const {
    if (!IsBelow(KeyOf(loaded_.metadata_location), KeyOf(loaded_.metadata.location))) return {};
    if (report_.files_referenced > 0) return {};
    return Fail(ErrorCode::kUnsupported,
                fmt::format("the listing of the table's folder shows none of the table's own files; check that the "
                            "location is spelled as the store spells it: '{}'",
                            loaded_.metadata.location));
  }

  // The store's clock as of the fence's manifest list: ours may be ahead of it.
  Result<int64_t> StoreTimeMs() const {
    const iceberg::Snapshot* current = loaded_.metadata.CurrentSnapshot();
    if (current == nullptr) return Fail(ErrorCode::kInternal, "the fencing snapshot is not there");
    FIRN_ASSIGN(const ObjectInfo info, parts_.store.Stat(current->manifest_list));
    return info.modified_ms;
  }

  Status Delete(std::stop_token stop) {
    FIRN_ASSIGN(LoopOutcome fence, CommitFence(parts_, table_, stop));
    report_.fenced = true;
    const std::string uuid = loaded_.metadata.table_uuid;
    loaded_ = std::move(fence.table);
    if (loaded_.metadata.table_uuid != uuid) {
      return Fail(ErrorCode::kConflict, "the table was replaced by another meanwhile; run again");
    }
    FIRN_TRY(CheckTable());
    FIRN_TRY(references_.Add(loaded_));
    FIRN_ASSIGN(const int64_t store_now_ms, StoreTimeMs());
    const int64_t modified_before_ms = std::min(store_now_ms, parts_.clock.WallMs()) - options_.older_than_ms;
    std::erase_if(orphans_, [&](const ObjectInfo* info) {
      return info->modified_ms >= modified_before_ms || references_.Find(info->location) != References::Found::kNo;
    });
    std::vector<DoomedFile> doomed;
    for (const ObjectInfo* info : orphans_) doomed.push_back({info->location, info->size});
    report_.deleted = DeleteFiles(parts_.store, doomed, stop);
    LogInfo("orphans are deleted", {{"table", table_.ToString()},
                                    {"files", report_.deleted.files},
                                    {"bytes", report_.deleted.bytes},
                                    {"failed", report_.deleted.failed}});
    return {};
  }

  void Count() {
    for (const ObjectInfo* info : orphans_) {
      ++report_.orphans;
      report_.orphan_bytes += info->size;
      ++report_.by_kind[std::string(KindOf(info->location))];
      if (report_.locations.size() < kOrphansNamedMax) report_.locations.push_back(info->location);
    }
  }

  const MaintenanceParts& parts_;
  const iceberg::TableIdentifier& table_;
  const OrphanOptions& options_;
  LoadedTable loaded_;
  References references_;
  std::vector<ObjectInfo> listed_;
  std::vector<const ObjectInfo*> unreferenced_;  // into listed_
  std::vector<const ObjectInfo*> orphans_;
  OrphanReport report_;
};

}  // namespace

Result<OrphanReport> RemoveOrphans(const MaintenanceParts& parts, const iceberg::TableIdentifier& table,
                                   const OrphanOptions& options, std::stop_token stop) {
  return WithContext(OrphanRemoval(parts, table, options).Run(stop),
                     fmt::format("removing orphans of table '{}'", table.ToString()));
}

}  // namespace firn::maintenance
