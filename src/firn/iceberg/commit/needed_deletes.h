// NeededDeletes: which delete files have a data file left that they may delete rows from.
//
// Pure. Says "needed" where the manifests do not tell (spec: "Scan Planning").
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "firn/iceberg/manifest/manifest.h"

namespace firn::iceberg {

// Where a file belongs. Two partitions that look alike as paths are one here: then more is needed than has to be.
struct FilePlace {
  int32_t spec_id = 0;
  std::string partition_path;
  bool is_unpartitioned = false;  // deletes by equality are then of the whole table
};

class NeededDeletes {
 public:
  // A data file that was there when the delete files were looked at, and stays. `entry`: with its sequence number.
  void AddLive(const ManifestEntry& entry, const FilePlace& place);
  // One that is new: no delete file can know its path yet.
  void AddNew(int64_t sequence_number, const FilePlace& place);

  // `names`: all data files that a position delete file has rows for; null: not known.
  bool IsNeeded(const ManifestEntry& deletes, const FilePlace& place, const std::vector<std::string>* names) const;

 private:
  struct Partition {
    std::vector<std::pair<std::string, int64_t>> files;  // path, data sequence number
    int64_t least_sequence = INT64_MAX;                  // new files included
  };
  std::unordered_map<std::string, int64_t> sequence_of_;  // by path
  std::map<std::pair<int32_t, std::string>, Partition> partitions_;
  int64_t least_sequence_ = INT64_MAX;
};

}  // namespace firn::iceberg
