#include "firn/compaction/movable_files.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

namespace firn::compaction {
namespace {

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

// Why a file has to stay; empty: it may be moved.
std::string ReasonToStay(const TableFiles& table, const DeleteIndex& deletes, size_t index,
                         const PickOptions& options) {
  const iceberg::DataFile& data = table.data[index].entry.data_file;
  if (!IsParquet(data)) return "not_parquet";
  if (data.key_metadata.has_value()) return "encrypted";
  if (std::max(data.file_size_in_bytes, deletes.Bytes(index)) > options.file_bytes_max) return "exceeds_memory";
  if (!deletes.AreApplicable(index)) return "has_deletes";
  if (options.refused == nullptr) return "";
  auto refused = options.refused->find(RefusedKey(data.file_path));
  return refused == options.refused->end() ? "" : refused->second;
}

// Among those of one spec and path, which says "null" for null and for that text.
std::vector<size_t>& PartitionOf(const TableFiles& table, size_t file, std::vector<std::vector<size_t>>& of_path) {
  const auto tuple_of = [&](size_t of) -> const schema::PartitionTuple& {
    return table.data[of].entry.data_file.partition;
  };
  for (std::vector<size_t>& partition : of_path) {
    if (schema::SamePartition(tuple_of(partition.front()), tuple_of(file))) return partition;
  }
  return of_path.emplace_back();
}

}  // namespace

std::vector<std::vector<size_t>> MovableFiles(const TableFiles& table, const DeleteIndex& deletes,
                                              const PickOptions& options, const std::function<bool(size_t)>& wants,
                                              Picked& picked) {
  std::map<std::pair<int32_t, std::string>, std::vector<std::vector<size_t>>> paths;
  for (size_t i = 0; i < table.data.size(); ++i) {
    const LiveFile& file = table.data[i];
    if (!Matches(file.partition_path, options.where)) continue;
    if (options.owns && !options.owns(file.spec_id, file.partition_path)) continue;
    ++picked.files_seen;
    if (!wants(i)) continue;
    if (const std::string reason = ReasonToStay(table, deletes, i, options); !reason.empty()) {
      ++picked.left_alone[reason];
      continue;
    }
    PartitionOf(table, i, paths[{file.spec_id, file.partition_path}]).push_back(i);
  }
  std::vector<std::vector<size_t>> files;
  for (auto& [path, partitions] : paths) {
    for (std::vector<size_t>& partition : partitions) files.push_back(std::move(partition));
  }
  return files;
}

}  // namespace firn::compaction
