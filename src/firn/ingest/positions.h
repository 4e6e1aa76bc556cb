// PositionsMap: the checkpoint that stands in each table (docs/formats/positions.md), as a value with its JSON form.
//
// Pure. Maps are compared and merged here; who may move what is decided by table_committer and home.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/base/strong_id.h"
#include "firn/stream/record_source.h"

namespace firn::ingest {

inline constexpr int32_t kPositionsVersion = 1;

// (cluster id, topic id, partition): the identity; the topic's name is a label beside it.
struct PartitionKey {
  std::string cluster_id;
  std::string topic_id;
  int32_t partition = 0;
  auto operator<=>(const PartitionKey&) const = default;
};
PartitionKey KeyOf(const stream::SourcePartition& partition);

struct Mark {
  std::string topic;  // label
  stream::Position position;
  bool operator==(const Mark&) const = default;
};
using Marks = std::map<PartitionKey, Mark>;

// The offset of a partition in `marks`, or nullopt.
std::optional<int64_t> OffsetOf(const Marks& marks, const PartitionKey& key);

enum class ListedState : uint8_t { kAttaching, kAttached };

struct ListedTable {
  std::string table;       // dotted identifier
  std::string table_uuid;  // empty until attached
  ListedState state = ListedState::kAttaching;
  Marks marks_at_listing;  // while attaching
  // The highest one of this pipeline's commits to it that a checkpoint knew of; 0: none. A map with a lower one was set
  // back together with its table.
  int64_t sequence_number = 0;
};

struct DetachedEntry {
  std::string table;
  PartitionKey partition;
  std::string topic;
  std::string reason;
  int64_t since_ms = 0;
  bool hold = false;
  // The table's rejects below this offset are in the rejects table.
  int64_t rejected_below = 0;
  // H when the entry was made: below, the table had all its rows. -1: not known (an entry of an older version).
  int64_t home_offset = -1;
  // The same by what was committed to the table itself, before and, as far as checkpoints tell, since. -1 likewise.
  int64_t rows_below = -1;
};

struct HomeRecord {
  std::vector<ListedTable> tables;
  std::vector<DetachedEntry> detached;
  // After a change of the routing rules: below, records may have been committed under the old ones.
  Marks cut;

  const ListedTable* Find(std::string_view table) const;
  ListedTable* Find(std::string_view table);
  const DetachedEntry* FindDetached(std::string_view table, const PartitionKey& partition) const;
  DetachedEntry* FindDetached(std::string_view table, const PartitionKey& partition);
};

struct PositionsMap {
  std::string table;
  std::string table_uuid;
  SnapshotId snapshot_id;
  int64_t sequence_number = 0;
  std::optional<SnapshotId> rows_snapshot_id;
  int64_t rows_sequence_number = 0;
  std::string rules_hash;
  Marks marks;
  std::optional<HomeRecord> home;
  // In the rejects table: of these tables, which are or were detached, the rejects below these positions stand here.
  // Of a table without a mark they stand here below `marks`.
  std::map<std::string, Marks> rejected;

  std::string Serialize() const;
  // kUnsupported: written for a newer reader; kCorruption: not a map.
  static Result<PositionsMap> Parse(std::string_view json_text);
};

std::string PositionsProperty(std::string_view pipeline);  // "firn.positions.<pipeline>"
std::string SourcesProperty(std::string_view pipeline);    // "firn.sources.<pipeline>"

// Range that a commit claims of one partition.
struct Claim {
  int64_t from = 0;  // the believed T[p]
  stream::Position to;
  std::string topic;
};
using Claims = std::map<PartitionKey, Claim>;

enum class ClaimVerdict : uint8_t { kGo, kAlreadyDone, kMismatch };
// Step 4 of section 5. No claims: kGo. A partition that the map does not have counts as offset 0... from must be 0
// then.
ClaimVerdict CompareClaims(const Marks& marks, const Claims& claims);

// `marks` with the claimed partitions replaced.
Marks ApplyClaims(Marks marks, const Claims& claims);

inline constexpr int64_t kNoMark = -1;
// What `rejected` says of a table's rejects, or kNoMark.
int64_t RejectedMark(const std::map<std::string, Marks>& rejected, const std::string& table, const PartitionKey& key);

// The claims of a commit to the rejects table on its `rejected` member, by table. Their offsets may be kNoMark: from
// there when there is no mark yet, to there when it goes away.
using RejectedClaims = std::map<std::string, Claims>;
ClaimVerdict CompareRejected(const std::map<std::string, Marks>& rejected, const RejectedClaims& claims);
std::map<std::string, Marks> ApplyRejected(std::map<std::string, Marks> rejected, const RejectedClaims& claims);

}  // namespace firn::ingest
