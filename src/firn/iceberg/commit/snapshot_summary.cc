#include "firn/iceberg/commit/snapshot_summary.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <set>

namespace firn::iceberg {
namespace {

// The tuple as bytes: values of NaN and of different types still compare.
std::string PartitionKey(const NewDataFile& file) {
  std::string key = fmt::format("{}", file.spec_id);
  for (const schema::Value& value : file.file.partition) {
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

}  // namespace

std::map<std::string, std::string> AppendSummary(const Snapshot* parent,
                                                 const std::vector<ManifestFile>& parent_manifests,
                                                 const std::vector<NewDataFile>& files,
                                                 const std::map<std::string, std::string>& extra) {
  int64_t records = 0;
  int64_t bytes = 0;
  std::set<std::string> partitions;
  for (const NewDataFile& file : files) {
    records += file.file.record_count;
    bytes += file.file.file_size_in_bytes;
    partitions.insert(PartitionKey(file));
  }
  const auto count = static_cast<int64_t>(files.size());
  std::map<std::string, std::string> summary;
  summary["operation"] = "append";
  summary["changed-partition-count"] = fmt::format("{}", partitions.size());
  if (count > 0) {
    summary["added-data-files"] = fmt::format("{}", count);
    summary["added-records"] = fmt::format("{}", records);
    summary["added-files-size"] = fmt::format("{}", bytes);
  }
  const Counts counted = CountManifests(parent_manifests);
  struct Total {
    const char* key;
    int64_t added;
    int64_t counted;  // -1: the manifests do not say
  };
  const Total totals[] = {{"total-data-files", count, counted.data_files},
                          {"total-records", records, counted.records},
                          {"total-files-size", bytes, -1},
                          {"total-delete-files", 0, counted.delete_files},
                          {"total-position-deletes", 0, -1},
                          {"total-equality-deletes", 0, -1}};
  for (const Total& total : totals) {
    const int64_t before = parent == nullptr ? 0 : StatedTotal(*parent, total.key).value_or(total.counted);
    int64_t after = 0;
    if (before < 0 || __builtin_add_overflow(before, total.added, &after)) continue;
    summary[total.key] = fmt::format("{}", after);
  }
  summary.insert(extra.begin(), extra.end());
  return summary;
}

}  // namespace firn::iceberg
