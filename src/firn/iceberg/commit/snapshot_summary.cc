#include "firn/iceberg/commit/snapshot_summary.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <set>
#include <utility>

namespace firn::iceberg {
namespace {

// The tuple as bytes: values of NaN and of different types still compare. A value of before its column was promoted is
// the same as the promoted one.
std::string PartitionKey(const NewDataFile& file) {
  std::string key = fmt::format("{}", file.spec_id);
  for (const schema::Value& written : file.file.partition) {
    const schema::Value value = schema::Promoted(written);
    key += fmt::format("|{}:", value.index());
    std::visit(
        [&](const auto& held) {
          using Held = std::decay_t<decltype(held)>;
          if constexpr (std::is_same_v<Held, std::string>) {
            key += fmt::format("{}:{}", held.size(), held);
          } else if constexpr (!std::is_same_v<Held, std::monostate>) {
            key.append(reinterpret_cast<const char*>(&held), sizeof(held));
          }
        },
        value);
  }
  return key;
}

std::optional<int64_t> StatedTotal(const Snapshot& parent, const std::string& key) {
  auto found = parent.summary.find(key);
  if (found == parent.summary.end()) return std::nullopt;
  const std::string& text = found->second;
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

struct Counts {
  int64_t data_files = 0;
  int64_t records = 0;
  int64_t delete_files = 0;
};

Counts CountManifests(const std::vector<ManifestFile>& manifests) {
  Counts counts;
  for (const ManifestFile& manifest : manifests) {
    const int64_t files = int64_t{manifest.added_files_count} + manifest.existing_files_count;
    if (manifest.content == ManifestContent::kData) {
      counts.data_files += files;
      int64_t sum = 0;
      if (__builtin_add_overflow(manifest.added_rows_count, manifest.existing_rows_count, &sum) ||
          __builtin_add_overflow(counts.records, sum, &counts.records)) {
        counts.records = -1;
        return counts;
      }
    } else {
      counts.delete_files += files;
    }
  }
  return counts;
}

struct FileTotals {
  int64_t files = 0;  // data files
  int64_t records = 0;
  int64_t bytes = 0;  // of delete files too
  int64_t position_delete_files = 0;
  int64_t equality_delete_files = 0;
  int64_t position_deletes = 0;
  int64_t equality_deletes = 0;

  int64_t delete_files() const { return position_delete_files + equality_delete_files; }
};

FileTotals Total(std::span<const NewDataFile> files, std::set<std::string>& partitions) {
  FileTotals totals;
  for (const NewDataFile& file : files) {
    const int64_t records = file.file.record_count;
    switch (file.file.content) {
      case FileContent::kData:
        ++totals.files;
        totals.records += records;
        break;
      case FileContent::kPositionDeletes:
        ++totals.position_delete_files;
        totals.position_deletes += records;
        break;
      case FileContent::kEqualityDeletes:
        ++totals.equality_delete_files;
        totals.equality_deletes += records;
        break;
    }
    totals.bytes += file.file.file_size_in_bytes;
    partitions.insert(PartitionKey(file));
  }
  return totals;
}

// Members of counts that are not 0.
void DescribeRemoved(const FileTotals& removed, std::map<std::string, std::string>& summary) {
  const std::pair<const char*, int64_t> counts[] = {
      {"deleted-data-files", removed.files},
      {"deleted-records", removed.records},
      {"removed-files-size", removed.bytes},
      {"removed-delete-files", removed.delete_files()},
      {"removed-position-delete-files", removed.position_delete_files},
      {"removed-position-deletes", removed.position_deletes},
      {"removed-equality-delete-files", removed.equality_delete_files},
      {"removed-equality-deletes", removed.equality_deletes}};
  for (const auto& [key, count] : counts) {
    if (count > 0) summary[key] = fmt::format("{}", count);
  }
}

std::map<std::string, std::string> Summarize(const char* operation, const Snapshot* parent,
                                             const std::vector<ManifestFile>& parent_manifests,
                                             std::span<const NewDataFile> added_files,
                                             std::span<const NewDataFile> removed_files,
                                             const std::map<std::string, std::string>& extra) {
  std::set<std::string> partitions;
  const FileTotals added = Total(added_files, partitions);
  const FileTotals removed = Total(removed_files, partitions);
  std::map<std::string, std::string> summary;
  summary["operation"] = operation;
  summary["changed-partition-count"] = fmt::format("{}", partitions.size());
  if (added.files > 0) {
    summary["added-data-files"] = fmt::format("{}", added.files);
    summary["added-records"] = fmt::format("{}", added.records);
    summary["added-files-size"] = fmt::format("{}", added.bytes);
  }
  DescribeRemoved(removed, summary);
  const Counts counted = CountManifests(parent_manifests);
  struct Total {
    const char* key;
    int64_t change;
    int64_t counted;  // -1: the manifests do not say
  };
  const Total totals[] = {{"total-data-files", added.files - removed.files, counted.data_files},
                          {"total-records", added.records - removed.records, counted.records},
                          {"total-files-size", added.bytes - removed.bytes, -1},
                          {"total-delete-files", -removed.delete_files(), counted.delete_files},
                          {"total-position-deletes", -removed.position_deletes, -1},
                          {"total-equality-deletes", -removed.equality_deletes, -1}};
  for (const Total& total : totals) {
    const int64_t before = parent == nullptr ? 0 : StatedTotal(*parent, total.key).value_or(total.counted);
    int64_t after = 0;
    if (before < 0 || __builtin_add_overflow(before, total.change, &after) || after < 0) continue;
    summary[total.key] = fmt::format("{}", after);
  }
  summary.insert(extra.begin(), extra.end());
  return summary;
}

}  // namespace

std::map<std::string, std::string> AppendSummary(const Snapshot* parent,
                                                 const std::vector<ManifestFile>& parent_manifests,
                                                 std::span<const NewDataFile> files,
                                                 const std::map<std::string, std::string>& extra) {
  return Summarize("append", parent, parent_manifests, files, {}, extra);
}

std::map<std::string, std::string> ReplaceSummary(const Snapshot* parent,
                                                  const std::vector<ManifestFile>& parent_manifests,
                                                  const std::vector<NewDataFile>& added,
                                                  const std::vector<NewDataFile>& removed,
                                                  const std::map<std::string, std::string>& extra) {
  return Summarize("replace", parent, parent_manifests, added, removed, extra);
}

}  // namespace firn::iceberg
