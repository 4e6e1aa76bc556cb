#include "firn/maintenance/manifest_clustering.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "firn/base/log.h"
#include "firn/iceberg/commit/live_entries.h"
#include "firn/iceberg/commit/manifest_merge.h"
#include "firn/iceberg/commit/snapshot_summary.h"
#include "firn/maintenance/snapshot_writer.h"

namespace firn::maintenance {
namespace {

using iceberg::ManifestEntry;
using iceberg::ManifestFile;

int CompareTuples(const schema::PartitionTuple& a, const schema::PartitionTuple& b) {
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    // Nulls first; an old manifest may hold a narrower type.
    if (a[i].index() != b[i].index()) return a[i].index() < b[i].index() ? -1 : 1;
    if (schema::IsNull(a[i])) continue;
    if (const int order = schema::CompareValues(a[i], b[i]); order != 0) return order;
  }
  return a.size() < b.size() ? -1 : a.size() > b.size() ? 1 : 0;
}

struct TupleLess {
  bool operator()(const schema::PartitionTuple& a, const schema::PartitionTuple& b) const {
    return CompareTuples(a, b) < 0;
  }
};

// Over how many manifests the files of each partition are spread.
class Spread {
 public:
  void BeginManifest() { ++manifest_; }
  void Add(const schema::PartitionTuple& partition) {
    int64_t& last = last_[partition];
    if (last != manifest_) ++total_;
    last = manifest_;
  }
  int64_t total() const { return total_; }
  int64_t partitions() const { return static_cast<int64_t>(last_.size()); }

 private:
  int64_t manifest_ = 0;
  int64_t total_ = 0;
  std::map<schema::PartitionTuple, int64_t, TupleLess> last_;
};

// The data manifests of one spec.
struct SpecManifests {
  std::vector<ManifestEntry> entries;
  int64_t count = 0;
  int64_t bytes = 0;
  Spread before;
  Spread after;
  std::vector<size_t> ends;  // of each new manifest's entries

  void Arrange(int64_t target_bytes) {
    std::stable_sort(entries.begin(), entries.end(), [](const ManifestEntry& a, const ManifestEntry& b) {
      const int order = CompareTuples(a.data_file.partition, b.data_file.partition);
      return order != 0 ? order < 0 : a.sequence_number < b.sequence_number;
    });
    // As many entries as the manifests so far had bytes for; a partition is kept together where it fits.
    const int64_t entry_bytes = std::max<int64_t>(bytes / std::max<int64_t>(std::ssize(entries), 1), 1);
    const auto limit = static_cast<size_t>(std::max<int64_t>(target_bytes / entry_bytes, 1));
    size_t begin = 0;
    while (begin < entries.size()) {
      size_t end = std::min(begin + limit, entries.size());
      if (end < entries.size()) end = CutBetweenPartitions(begin, end, limit);
      after.BeginManifest();
      for (size_t i = begin; i < end; ++i) after.Add(entries[i].data_file.partition);
      ends.push_back(end);
      begin = end;
    }
  }

 private:
  // The last change of partition in the manifest's second half, else the full length.
  size_t CutBetweenPartitions(size_t begin, size_t end, size_t limit) const {
    for (size_t cut = end; cut > begin + limit / 2; --cut) {
      if (CompareTuples(entries[cut - 1].data_file.partition, entries[cut].data_file.partition) != 0) return cut;
    }
    return end;
  }
};

class Clustering {
 public:
  Clustering(const MaintenanceParts& parts, const ClusteringOptions& options, ClusteringReport& report)
      : parts_(parts), options_(options), report_(report) {}

  Result<std::optional<PlannedCommit>> Prepare(const iceberg::TableMetadata& base) {
    report_ = {};
    FIRN_ASSIGN(SnapshotWriter writer, SnapshotWriter::Create(parts_, base));
    std::map<int32_t, SpecManifests> specs;
    FIRN_TRY(Read(writer, specs));
    const iceberg::MergeOptions merge = iceberg::MergeOptions::For(base);
    int64_t touched_before = 0, touched_after = 0, partitions = 0;
    for (auto& [spec_id, spec] : specs) {
      spec.Arrange(merge.target_size_bytes);
      report_.manifests_after += std::ssize(spec.ends);
      touched_before += spec.before.total();
      touched_after += spec.after.total();
      partitions += spec.before.partitions();
    }
    const double count = static_cast<double>(std::max<int64_t>(partitions, 1));
    report_.manifests_a_partition_before = static_cast<double>(touched_before) / count;
    report_.manifests_a_partition_after = static_cast<double>(touched_after) / count;
    report_.worth_it = report_.manifests_after < report_.manifests_before ||
                       report_.manifests_a_partition_before > kSpreadGainMin * report_.manifests_a_partition_after;
    if (!report_.worth_it || !options_.apply) return std::optional<PlannedCommit>();
    FIRN_ASSIGN(PlannedCommit commit, Write(writer, specs));
    return std::optional<PlannedCommit>(std::move(commit));
  }

 private:
  Status Read(const SnapshotWriter& writer, std::map<int32_t, SpecManifests>& specs) {
    for (const ManifestFile& manifest : writer.base_manifests()) {
      if (manifest.content != iceberg::ManifestContent::kData || !iceberg::HasLiveFiles(manifest)) continue;
      if (manifest.key_metadata.has_value()) {
        return Fail(ErrorCode::kUnsupported, fmt::format("an encrypted manifest: '{}'", manifest.manifest_path));
      }
      FIRN_ASSIGN(iceberg::ManifestFileContents contents, iceberg::ReadManifestFile(manifest, parts_.store));
      SpecManifests& spec = specs[manifest.partition_spec_id];
      ++spec.count;
      spec.bytes += manifest.manifest_length;
      ++report_.manifests_before;
      report_.bytes_before += manifest.manifest_length;
      spec.before.BeginManifest();
      for (ManifestEntry& entry : contents.entries) {
        if (!entry.is_live()) continue;
        entry.status = iceberg::EntryStatus::kExisting;
        spec.before.Add(entry.data_file.partition);
        spec.entries.push_back(std::move(entry));
        ++report_.entries;
      }
    }
    return {};
  }

  Result<PlannedCommit> Write(SnapshotWriter& writer, std::map<int32_t, SpecManifests>& specs) {
    iceberg::ManifestList manifests;
    for (auto& [spec_id, spec] : specs) {
      size_t begin = 0;
      for (const size_t end : spec.ends) {
        const std::vector<ManifestEntry> entries(spec.entries.begin() + static_cast<ptrdiff_t>(begin),
                                                 spec.entries.begin() + static_cast<ptrdiff_t>(end));
        FIRN_ASSIGN(ManifestFile manifest, writer.WriteManifest(spec_id, iceberg::ManifestContent::kData, entries));
        report_.bytes_after += manifest.manifest_length;
        manifests.push_back(std::move(manifest));
        begin = end;
      }
    }
    int64_t kept = 0;
    for (const ManifestFile& manifest : writer.base_manifests()) {
      if (manifest.content != iceberg::ManifestContent::kDeletes || !iceberg::HasLiveFiles(manifest)) continue;
      manifests.push_back(manifest);
      ++kept;
    }
    // Names as Java's RewriteManifests gives them.
    std::map<std::string, std::string> summary =
        iceberg::ReplaceSummary(writer.parent(), writer.base_manifests(), {}, {},
                                {{"firn.operation", "manifests"},
                                 {"manifests-created", fmt::format("{}", report_.manifests_after)},
                                 {"manifests-replaced", fmt::format("{}", report_.manifests_before)},
                                 {"manifests-kept", fmt::format("{}", kept)},
                                 {"entries-processed", fmt::format("{}", report_.entries)}});
    return writer.Finish(manifests, std::move(summary));
  }

  const MaintenanceParts& parts_;
  const ClusteringOptions& options_;
  ClusteringReport& report_;
};

}  // namespace

Result<ClusteringReport> ClusterManifests(const MaintenanceParts& parts, const iceberg::TableIdentifier& table,
                                          const ClusteringOptions& options, std::stop_token stop) {
  const std::string context = fmt::format("clustering manifests of table '{}'", table.ToString());
  ClusteringReport report;
  Clustering clustering(parts, options, report);
  auto plan = [&](const iceberg::TableMetadata& base) { return clustering.Prepare(base); };
  FIRN_ASSIGN(const bool committed,
              WithContext(PlanOrCommit(parts, table, options.apply, report, plan, stop), context));
  if (committed) {
    LogInfo("manifests are clustered",
            {{"table", table.ToString()}, {"before", report.manifests_before}, {"after", report.manifests_after}});
  }
  return report;
}

}  // namespace firn::maintenance
