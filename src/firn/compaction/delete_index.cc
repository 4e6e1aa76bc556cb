#include "firn/compaction/delete_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include "firn/iceberg/commit/position_deletes.h"

namespace firn::compaction {
namespace {

using iceberg::FileContent;

// The one data file that a position delete file is about, if its entry says so.
std::optional<std::string> OnlyPath(const iceberg::DataFile& deletes) {
  if (deletes.content != FileContent::kPositionDeletes) return std::nullopt;
  if (deletes.referenced_data_file.has_value()) return deletes.referenced_data_file;
  auto lower = deletes.lower_bounds.find(iceberg::kDeleteFilePathFieldId);
  auto upper = deletes.upper_bounds.find(iceberg::kDeleteFilePathFieldId);
  const bool both = lower != deletes.lower_bounds.end() && upper != deletes.upper_bounds.end();
  return both && lower->second == upper->second ? std::optional(lower->second) : std::nullopt;
}

bool IsGlobal(const LiveFile& deletes) {
  return deletes.entry.data_file.content == FileContent::kEqualityDeletes && deletes.partition_path.empty();
}

}  // namespace

DeleteIndex::DeleteIndex(const TableFiles& table) : table_(table) {
  if (table.deletes.empty()) return;
  std::unordered_map<std::string, std::vector<size_t>> by_path;
  std::map<std::pair<int32_t, std::string>, std::vector<size_t>> by_partition;
  std::vector<size_t> global;
  for (size_t i = 0; i < table.deletes.size(); ++i) {
    const LiveFile& deletes = table.deletes[i];
    if (auto path = OnlyPath(deletes.entry.data_file); path.has_value()) {
      by_path[*path].push_back(i);
    } else if (IsGlobal(deletes)) {
      global.push_back(i);
    } else {
      by_partition[{deletes.spec_id, deletes.partition_path}].push_back(i);
    }
  }
  touching_.resize(table.data.size());
  touched_.resize(table.deletes.size());
  for (size_t data = 0; data < table.data.size(); ++data) {
    const LiveFile& file = table.data[data];
    auto take = [&](const std::vector<size_t>& candidates) {
      for (const size_t deletes : candidates) {
        if (!MayTouch(table.deletes[deletes], file, IsGlobal(table.deletes[deletes]))) continue;
        touching_[data].push_back(deletes);
        ++touched_[deletes];
      }
    };
    take(global);
    if (auto found = by_path.find(file.entry.data_file.file_path); found != by_path.end()) take(found->second);
    auto found = by_partition.find({file.spec_id, file.partition_path});
    if (found != by_partition.end()) take(found->second);
    std::sort(touching_[data].begin(), touching_[data].end());
  }
}

bool DeleteIndex::AreApplicable(size_t data) const {
  return std::all_of(Of(data).begin(), Of(data).end(), [this](size_t index) {
    const iceberg::DataFile& file = table_.deletes[index].entry.data_file;
    return IsParquet(file) && !file.key_metadata.has_value() && !file.content_offset.has_value();
  });
}

int64_t DeleteIndex::Bytes(size_t data) const {
  int64_t bytes = 0;
  for (const size_t index : Of(data)) bytes += table_.deletes[index].entry.data_file.file_size_in_bytes;
  return bytes;
}

int64_t DeleteIndex::NewestMs(size_t data) const {
  int64_t newest_ms = 0;
  for (const size_t index : Of(data)) newest_ms = std::max(newest_ms, table_.deletes[index].added_ms);
  return newest_ms;
}

double DeleteIndex::RowsDeleted(size_t data) const {
  double rows = 0;
  const int64_t added_by = table_.data[data].entry.file_sequence_number.value_or(0);
  for (const size_t index : Of(data)) {
    const iceberg::ManifestEntry& deletes = table_.deletes[index].entry;
    const bool by_position = deletes.data_file.content == FileContent::kPositionDeletes;
    if (by_position && deletes.file_sequence_number.value_or(std::numeric_limits<int64_t>::max()) < added_by) continue;
    rows += static_cast<double>(deletes.data_file.record_count) / static_cast<double>(touched_[index]);
  }
  return rows;
}

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

std::string NothingDeletedKey(const TableFiles& table, size_t data, const std::vector<size_t>& deletes) {
  int64_t newest = 0;
  for (const size_t index : deletes) newest = std::max(newest, table.deletes[index].entry.sequence_number.value_or(0));
  return fmt::format("{}\n{}", table.data[data].entry.data_file.file_path, newest);
}

bool IsParquet(const iceberg::DataFile& file) {
  std::string format = file.file_format;
  for (char& c : format) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return format == "PARQUET";
}

}  // namespace firn::compaction
