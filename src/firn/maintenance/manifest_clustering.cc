#include "firn/maintenance/manifest_clustering.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "firn/base/log.h"
#include "firn/compaction/packed_metrics.h"
#include "firn/iceberg/commit/live_entries.h"
#include "firn/iceberg/commit/manifest_merge.h"
#include "firn/iceberg/commit/snapshot_summary.h"
#include "firn/maintenance/snapshot_writer.h"

namespace firn::maintenance {
namespace {

using iceberg::EntryMetrics;
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

int64_t BytesOf(const schema::PartitionTuple& tuple) {
  int64_t bytes = 0;
  for (const schema::Value& value : tuple) {
    const auto* text = std::get_if<std::string>(&value);
    bytes += static_cast<int64_t>(sizeof(value) + (text == nullptr ? 0 : text->capacity()));
  }
  return bytes;
}

// By what a live entry is put in order.
struct EntryKey {
  schema::PartitionTuple partition;
  std::optional<int64_t> sequence_number;
  size_t number = 0;  // of the spec's live entries, as they are read
};

struct PackedEntry {
  ManifestEntry entry;
  std::string metrics;

  explicit PackedEntry(ManifestEntry from) : entry(std::move(from)) {
    metrics = compaction::PackMetrics(entry.data_file, std::nullopt);
  }
  ManifestEntry Unpack() const {
    ManifestEntry whole = entry;
    compaction::UnpackMetrics(metrics, whole.data_file);
    return whole;
  }
  int64_t bytes() const {
    const iceberg::DataFile& file = entry.data_file;
    return static_cast<int64_t>(sizeof(*this) + metrics.capacity() + file.file_path.capacity() +
                                file.split_offsets.capacity() * sizeof(int64_t)) +
           BytesOf(file.partition);
  }
};

// The data manifests of one spec.
struct SpecManifests {
  std::vector<EntryKey> keys;
  std::vector<PackedEntry> entries;
  int64_t count = 0;
  int64_t bytes = 0;
  Spread before;
  Spread after;
  std::vector<size_t> ends;  // of each new manifest's keys

  void Arrange(int64_t target_bytes) {
    std::stable_sort(keys.begin(), keys.end(), [](const EntryKey& a, const EntryKey& b) {
      const int order = CompareTuples(a.partition, b.partition);
      return order != 0 ? order < 0 : a.sequence_number < b.sequence_number;
    });
    // As many entries as the manifests so far had bytes for; a partition is kept together where it fits.
    const int64_t entry_bytes = std::max<int64_t>(bytes / std::max<int64_t>(std::ssize(keys), 1), 1);
    const auto limit = static_cast<size_t>(std::max<int64_t>(target_bytes / entry_bytes, 1));
    size_t begin = 0;
    while (begin < keys.size()) {
      size_t end = std::min(begin + limit, keys.size());
      if (end < keys.size()) end = CutBetweenPartitions(begin, end, limit);
      after.BeginManifest();
      for (size_t i = begin; i < end; ++i) after.Add(keys[i].partition);
      ends.push_back(end);
      begin = end;
    }
  }

 private:
  // The last change of partition in the manifest's second half, else the full length.
  size_t CutBetweenPartitions(size_t begin, size_t end, size_t limit) const {
    for (size_t cut = end; cut > begin + limit / 2; --cut) {
      if (CompareTuples(keys[cut - 1].partition, keys[cut].partition) != 0) return cut;
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
    held_bytes_ = 0;
    FIRN_ASSIGN(SnapshotWriter writer, SnapshotWriter::Create(parts_, base));
    std::map<int32_t, SpecManifests> specs;
    FIRN_TRY(ReadKeys(writer, specs));
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
    FIRN_TRY(ReadEntries(writer, specs));
    FIRN_ASSIGN(PlannedCommit commit, Write(writer, specs));
    return std::optional<PlannedCommit>(std::move(commit));
  }

 private:
  // What is told by partitions alone.
  Status ReadKeys(const SnapshotWriter& writer, std::map<int32_t, SpecManifests>& specs) {
    for (const ManifestFile& manifest : writer.base_manifests()) {
      if (!IsRead(manifest)) continue;
      if (manifest.key_metadata.has_value()) {
        return Fail(ErrorCode::kUnsupported, fmt::format("an encrypted manifest: '{}'", manifest.manifest_path));
      }
      SpecManifests& spec = specs[manifest.partition_spec_id];
      ++spec.count;
      spec.bytes += manifest.manifest_length;
      ++report_.manifests_before;
      report_.bytes_before += manifest.manifest_length;
      spec.before.BeginManifest();
      FIRN_TRY(iceberg::ForEachEntry(manifest, parts_.store, EntryMetrics::kNone, [&](ManifestEntry entry) -> Status {
        if (!entry.is_live()) return {};
        spec.before.Add(entry.data_file.partition);
        spec.keys.push_back({std::move(entry.data_file.partition), entry.sequence_number, spec.keys.size()});
        ++report_.entries;
        return Hold(static_cast<int64_t>(sizeof(EntryKey)) + BytesOf(spec.keys.back().partition));
      }));
    }
    return {};
  }

  // The same manifests once more, so that entries come in the order of their keys' numbers.
  Status ReadEntries(const SnapshotWriter& writer, std::map<int32_t, SpecManifests>& specs) {
    for (const ManifestFile& manifest : writer.base_manifests()) {
      if (!IsRead(manifest)) continue;
      SpecManifests& spec = specs[manifest.partition_spec_id];
      std::vector<PackedEntry>& entries = spec.entries;
      entries.reserve(spec.keys.size());
      FIRN_TRY(iceberg::ForEachEntry(manifest, parts_.store, EntryMetrics::kAll, [&](ManifestEntry entry) -> Status {
        if (!entry.is_live()) return {};
        entry.status = iceberg::EntryStatus::kExisting;
        entries.emplace_back(std::move(entry));
        return Hold(entries.back().bytes());
      }));
    }
    return {};
  }

  static bool IsRead(const ManifestFile& manifest) {
    return manifest.content == iceberg::ManifestContent::kData && iceberg::HasLiveFiles(manifest);
  }

  Status Hold(int64_t bytes) {
    held_bytes_ += bytes;
    if (held_bytes_ <= options_.memory_bytes) return {};
    return Fail(ErrorCode::kResourceExhausted,
                fmt::format("the entries of the table's manifests take more memory than the loop may have for them; "
                            "raise memory.limit, or call firn maintain --manifests: {} bytes",
                            options_.memory_bytes));
  }

  Result<PlannedCommit> Write(SnapshotWriter& writer, std::map<int32_t, SpecManifests>& specs) {
    iceberg::ManifestList manifests;
    for (auto& [spec_id, spec] : specs) {
      size_t begin = 0;
      for (const size_t end : spec.ends) {
        FIRN_ASSIGN(iceberg::ManifestWriter open, writer.OpenManifest(spec_id, iceberg::ManifestContent::kData));
        for (size_t i = begin; i < end; ++i) FIRN_TRY(open.Add(spec.entries.at(spec.keys[i].number).Unpack()));
        FIRN_ASSIGN(ManifestFile manifest, writer.PutManifest(std::move(open)));
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
  int64_t held_bytes_ = 0;
};

}  // namespace

Result<ClusteringReport> ClusterManifests(const MaintenanceParts& parts, const iceberg::TableIdentifier& table,
                                          const ClusteringOptions& options, std::stop_token stop) {
  const std::string context = fmt::format("clustering manifests of table '{}'", table.ToString());
  ClusteringReport report;
  Clustering clustering(parts, options, report);
  auto plan = [&](const iceberg::TableMetadata& base) { return clustering.Prepare(base); };
  FIRN_ASSIGN(const bool committed,
              WithContext(PlanOrCommit(parts, table, options.apply, report, plan, stop, options.retries_max), context));
  if (committed) {
    LogInfo("manifests are clustered",
            {{"table", table.ToString()}, {"before", report.manifests_before}, {"after", report.manifests_after}});
  }
  return report;
}

}  // namespace firn::maintenance
