#include "firn/iceberg/commit/needed_deletes.h"

#include <algorithm>

#include "firn/iceberg/commit/position_deletes.h"

namespace firn::iceberg {

void NeededDeletes::AddLive(const ManifestEntry& entry, const FilePlace& place) {
  const int64_t sequence = entry.sequence_number.value_or(0);
  sequence_of_[entry.data_file.file_path] = sequence;
  partitions_[{place.spec_id, place.partition_path}].files.emplace_back(entry.data_file.file_path, sequence);
  AddNew(sequence, place);
}

void NeededDeletes::AddNew(int64_t sequence_number, const FilePlace& place) {
  Partition& partition = partitions_[{place.spec_id, place.partition_path}];
  partition.least_sequence = std::min(partition.least_sequence, sequence_number);
  least_sequence_ = std::min(least_sequence_, sequence_number);
}

bool NeededDeletes::IsNeeded(const ManifestEntry& deletes, const FilePlace& place,
                             const std::vector<std::string>* names) const {
  const DataFile& file = deletes.data_file;
  const int64_t sequence = deletes.sequence_number.value_or(0);
  auto of_partition = partitions_.find({place.spec_id, place.partition_path});
  if (file.content == FileContent::kEqualityDeletes) {
    const bool there = of_partition != partitions_.end();
    const int64_t least = place.is_unpartitioned ? least_sequence_
                          : there                ? of_partition->second.least_sequence
                                                 : INT64_MAX;
    return least < sequence;
  }
  if (names != nullptr) {
    return std::any_of(names->begin(), names->end(),
                       [this](const std::string& path) { return sequence_of_.contains(path); });
  }
  if (file.referenced_data_file.has_value()) return sequence_of_.contains(*file.referenced_data_file);
  if (of_partition == partitions_.end()) return false;
  const auto& files = of_partition->second.files;
  return std::any_of(files.begin(), files.end(), [&](const auto& data) {
    return data.second <= sequence && MayDeleteFrom(file, data.first);
  });
}

}  // namespace firn::iceberg
