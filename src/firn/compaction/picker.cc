#include "firn/compaction/picker.h"

#include <algorithm>
#include <tuple>

#include "firn/iceberg/commit/position_deletes.h"

namespace firn::compaction {
namespace {

using iceberg::FileContent;

std::vector<std::string> Segments(const std::string& path) {
  std::vector<std::string> segments;
  size_t begin = 0;
  while (begin < path.size()) {
    const size_t end = std::min(path.find('/', begin), path.size());
    segments.push_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return segments;
}

bool Matches(const std::string& path, const std::vector<std::string>& where) {
  if (where.empty()) return true;
  const std::vector<std::string> segments = Segments(path);
  return std::all_of(where.begin(), where.end(), [&](const std::string& wanted) {
    return std::find(segments.begin(), segments.end(), wanted) != segments.end();
  });
}

bool IsParquet(std::string format) {
  for (char& c : format) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return format == "PARQUET";
}

// Why a small file has to stay; empty: it may be moved.
std::string ReasonToStay(const TableFiles& table, const LiveFile& file, const PickOptions& options) {
  const iceberg::DataFile& data = file.entry.data_file;
  if (!IsParquet(data.file_format)) return "not_parquet";
  if (data.key_metadata.has_value()) return "encrypted";
  if (data.file_size_in_bytes > options.file_bytes_max) return "exceeds_memory";
  for (const LiveFile& deletes : table.deletes) {
    if (MayTouch(deletes, file, deletes.partition_path.empty())) return "has_deletes";
  }
  if (options.refused == nullptr) return "";
  auto refused = options.refused->find(data.file_path);
  return refused == options.refused->end() ? "" : refused->second;
}

constexpr int64_t kTierBytes = 4 << 10;  // files below are of one tier: little more than a footer

// Files of one tier are within a factor of `factor` of each other; so many of them make one of a higher tier.
int TierOf(int64_t bytes, size_t factor) {
  int tier = 0;
  for (int64_t below = kTierBytes; bytes >= below; ++tier) below *= static_cast<int64_t>(factor);
  return tier;
}

class Packer {
 public:
  Packer(const TableFiles& table, const PickOptions& options, Picked& picked)
      : table_(table), options_(options), picked_(picked) {}

  // Files of one spec and partition.
  void Pack(std::vector<size_t> files) {
    if (!options_.pace.has_value()) return PackAll(std::move(files));
    int64_t newest_ms = 0;
    for (size_t file : files) newest_ms = std::max(newest_ms, table_.data[file].added_ms);
    cold_ = newest_ms < options_.pace->cold_before_ms;
    if (cold_) return PackAll(WithoutLarge(std::move(files)));
    std::map<int, std::vector<size_t>> tiers;
    const size_t enough = std::max<size_t>(options_.pace->tier_files_min, 2);
    for (size_t file : files) tiers[TierOf(Bytes(file), enough)].push_back(file);
    for (auto& [tier, of_tier] : tiers) {
      if (of_tier.size() >= enough) {
        PackAll(std::move(of_tier));
      } else {
        picked_.left_alone["waiting"] += static_cast<int64_t>(of_tier.size());
      }
    }
  }

 private:
  int64_t Bytes(size_t file) const { return table_.data[file].entry.data_file.file_size_in_bytes; }

  // Late records trickle into cold partitions too: a file more than twice as large as all smaller ones together waits,
  // so that each move makes it half as large again.
  std::vector<size_t> WithoutLarge(std::vector<size_t> files) {
    std::vector<size_t> by_size = files;
    std::stable_sort(by_size.begin(), by_size.end(), [&](size_t a, size_t b) { return Bytes(a) < Bytes(b); });
    int64_t sum = 0;
    size_t keep = 0;
    for (size_t i = 0; i < by_size.size(); ++i) {
      if (i == 0 || Bytes(by_size[i]) <= 2 * sum) keep = i + 1;
      sum += Bytes(by_size[i]);
    }
    if (keep < 2 && by_size.size() > 1) keep = 0;  // one alone is no group
    if (keep < by_size.size()) picked_.left_alone["waiting"] += static_cast<int64_t>(by_size.size() - keep);
    by_size.resize(keep);
    std::sort(by_size.begin(), by_size.end());
    return by_size;
  }

  void PackAll(std::vector<size_t> files) {
    Sort(files);
    PickedGroup group;
    for (size_t file : files) {
      const iceberg::DataFile& data = table_.data[file].entry.data_file;
      if (!group.files.empty() && group.bytes + data.file_size_in_bytes > options_.target_bytes) End(group);
      group.files.push_back(file);
      group.bytes += data.file_size_in_bytes;
      group.rows += data.record_count;
    }
    End(group);
  }

  void End(PickedGroup& group) {
    group.cold = cold_;
    if (group.files.size() >= std::max<size_t>(options_.group_files_min, 2)) {
      picked_.groups.push_back(std::move(group));
    } else if (!group.files.empty()) {
      picked_.left_alone["alone"] += static_cast<int64_t>(group.files.size());
    }
    group = {};
  }

  std::optional<schema::Value> LowerBound(size_t file) const {
    const auto& bounds = table_.data[file].entry.data_file.lower_bounds;
    auto found = bounds.find(*options_.sort_field_id);
    if (found == bounds.end()) return std::nullopt;
    auto value = schema::DeserializeSingleValue(*options_.sort_type, found->second);
    return value.has_value() ? std::optional(*std::move(value)) : std::nullopt;
  }

  void Sort(std::vector<size_t>& files) const {
    std::stable_sort(files.begin(), files.end(), [&](size_t a, size_t b) {
      return table_.data[a].entry.sequence_number < table_.data[b].entry.sequence_number;
    });
    if (!options_.sort_field_id.has_value() || options_.sort_type == nullptr) return;
    std::vector<std::pair<schema::Value, size_t>> by_bound;
    for (size_t file : files) {
      std::optional<schema::Value> bound = LowerBound(file);
      // Files without a bound have no place among the others.
      if (!bound.has_value()) return;
      by_bound.emplace_back(*std::move(bound), file);
    }
    std::stable_sort(by_bound.begin(), by_bound.end(),
                     [](const auto& a, const auto& b) { return schema::CompareValues(a.first, b.first) < 0; });
    for (size_t i = 0; i < files.size(); ++i) files[i] = by_bound[i].second;
  }

  const TableFiles& table_;
  const PickOptions& options_;
  Picked& picked_;
  bool cold_ = false;
};

// Files of one spec whose paths are the same, by partition: a path says "null" for null and for that text.
std::vector<std::vector<size_t>> ByPartition(const TableFiles& table, const std::vector<size_t>& files) {
  const auto partition_of = [&](size_t file) -> const schema::PartitionTuple& {
    return table.data[file].entry.data_file.partition;
  };
  std::vector<std::vector<size_t>> partitions;
  for (size_t file : files) {
    auto same = std::find_if(partitions.begin(), partitions.end(), [&](const std::vector<size_t>& others) {
      return schema::SamePartition(partition_of(others.front()), partition_of(file));
    });
    if (same == partitions.end()) same = partitions.insert(same, std::vector<size_t>());
    same->push_back(file);
  }
  return partitions;
}

double Gain(const PickedGroup& group) {
  return static_cast<double>(group.files.size() - 1) / static_cast<double>(std::max<int64_t>(group.bytes, 1));
}

}  // namespace

bool MayTouch(const LiveFile& deletes, const LiveFile& data, bool is_global) {
  const iceberg::DataFile& file = deletes.entry.data_file;
  const int64_t data_sequence = data.entry.sequence_number.value_or(0);
  const int64_t delete_sequence = deletes.entry.sequence_number.value_or(0);
  const bool same = deletes.spec_id == data.spec_id && deletes.partition_path == data.partition_path;
  if (file.content == FileContent::kPositionDeletes) {
    const bool names_it = file.referenced_data_file.has_value();
    return iceberg::MayDeleteFrom(file, data.entry.data_file.file_path) &&
           (names_it || (same && data_sequence <= delete_sequence));
  }
  return (same || is_global) && data_sequence < delete_sequence;
}

bool ComesBefore(const PickedGroup& a, const PickedGroup& b) {
  return a.cold != b.cold ? a.cold : Gain(a) > Gain(b);
}

Picked Pick(const TableFiles& table, const PickOptions& options) {
  Picked picked;
  const auto large = static_cast<int64_t>(static_cast<double>(options.target_bytes) * options.large_enough);
  std::map<std::tuple<int32_t, std::string>, std::vector<size_t>> paths;
  for (size_t i = 0; i < table.data.size(); ++i) {
    const LiveFile& file = table.data[i];
    if (!Matches(file.partition_path, options.where)) continue;
    if (options.owns && !options.owns(file.spec_id, file.partition_path)) continue;
    ++picked.files_seen;
    if (file.entry.data_file.file_size_in_bytes >= large) continue;
    if (const std::string reason = ReasonToStay(table, file, options); !reason.empty()) {
      ++picked.left_alone[reason];
      continue;
    }
    paths[{file.spec_id, file.partition_path}].push_back(i);
  }
  Packer packer(table, options, picked);
  for (const auto& [path, files] : paths) {
    for (auto& partition : ByPartition(table, files)) packer.Pack(std::move(partition));
  }
  std::stable_sort(picked.groups.begin(), picked.groups.end(), ComesBefore);
  return picked;
}

}  // namespace firn::compaction
