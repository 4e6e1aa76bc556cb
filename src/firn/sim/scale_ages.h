// ScaleAges: how old what a scale run has produced and not committed yet is, by partition.
//
// One OS thread. Of each record it keeps when and for which table it was produced, until the home has passed it; of
// each table the offsets of its map, which is parsed again only when the table has another snapshot.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "firn/base/strong_id.h"
#include "firn/ingest/positions.h"
#include "firn/sim/sim_catalog.h"

namespace firn::sim {

// How often each age was seen.
class AgeCounts {
 public:
  void Add(int64_t age_ms) { ++counts_[age_ms], ++total_; }
  void Add(const AgeCounts& other);
  int64_t AtShare(double share) const;  // 0.5: the median; 0 without any
  int64_t Largest() const { return counts_.empty() ? 0 : counts_.rbegin()->first; }

 private:
  std::map<int64_t, int64_t> counts_;
  int64_t total_ = 0;
};

class ScaleAges {
 public:
  // All partitions of one topic; `tables` and `home` by their identifiers.
  ScaleAges(std::string pipeline, const std::string& home, const std::vector<std::string>& tables, int32_t partitions);

  void Produced(int32_t partition, int32_t table, int64_t at_ms);
  // Adds the age of each partition that something was ever produced to.
  void Look(const CatalogServer& catalog, int64_t now_ms, AgeCounts& ages);
  // What the home had passed when Look was last called: nobody reads the log below.
  int64_t passed(int32_t partition) const { return partitions_[static_cast<size_t>(partition)].first; }
  // Entries of the home then. While there are any, nothing counts as passed: their tables read it again.
  int64_t detached() const { return detached_; }

 private:
  struct Map {
    iceberg::TableIdentifier identifier;
    std::optional<SnapshotId> of;  // the snapshot that it was read at
    std::vector<int64_t> offsets;  // by partition
  };
  struct Waiting {
    int64_t at_ms;
    int32_t table;
  };
  struct Partition {
    int64_t first = 0;  // the offset of the first that waits
    std::deque<Waiting> waiting;
    bool used = false;
  };
  // The map, when it is another one than the last time.
  std::optional<ingest::PositionsMap> ReadAgain(Map& map, const CatalogServer& catalog) const;

  const std::string pipeline_;
  Map home_;
  std::vector<Map> tables_;
  std::vector<Partition> partitions_;
  int64_t detached_ = 0;
};

}  // namespace firn::sim
