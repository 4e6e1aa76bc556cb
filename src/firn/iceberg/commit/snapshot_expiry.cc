#include "firn/iceberg/commit/snapshot_expiry.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <unordered_map>

namespace firn::iceberg {
namespace {

constexpr const char* kMaxAgeProperty = "history.expire.max-snapshot-age-ms";
constexpr const char* kMinKeepProperty = "history.expire.min-snapshots-to-keep";

struct Retention {
  int64_t max_age_ms = 0;
  int64_t min_to_keep = 1;
};

// nullopt: the property is there and says nothing that could be followed.
std::optional<int64_t> NumberProperty(const TableMetadata& base, const char* key, int64_t absent) {
  const auto text = base.Property(key);
  if (!text.has_value()) return absent;
  int64_t value = 0;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size() || value < 0) return std::nullopt;
  return value;
}

std::optional<Retention> TableRetention(const TableMetadata& base, bool table_is_ours) {
  if (!base.BoolProperty("gc.enabled", true)) return std::nullopt;
  const bool has_own = base.Property(kMaxAgeProperty).has_value() || base.Property(kMinKeepProperty).has_value();
  if (!table_is_ours && !has_own) return std::nullopt;
  const auto age =
      NumberProperty(base, kMaxAgeProperty, table_is_ours ? kOwnTableSnapshotAgeMs : kForeignTableSnapshotAgeMs);
  const auto keep = NumberProperty(base, kMinKeepProperty, 1);
  if (!age.has_value() || !keep.has_value()) return std::nullopt;
  return Retention{*age, *keep};
}

class Keeper {
 public:
  Keeper(const TableMetadata& base, Retention table, int64_t now_ms) : base_(base), table_(table), now_ms_(now_ms) {
    for (const Snapshot& snapshot : base.snapshots) by_id_.emplace(snapshot.snapshot_id, &snapshot);
  }

  std::set<SnapshotId> Keep() {
    for (const auto& [name, ref] : base_.refs) {
      kept_.insert(ref.snapshot_id);
      if (ref.type == "tag") continue;
      KeepBranch(ref.snapshot_id, {ref.max_snapshot_age_ms.value_or(table_.max_age_ms),
                                   ref.min_snapshots_to_keep.value_or(table_.min_to_keep)});
    }
    // Metadata without refs still have a current snapshot.
    if (base_.current_snapshot_id.has_value() && !base_.refs.contains(std::string(kMainBranch))) {
      KeepBranch(*base_.current_snapshot_id, table_);
    }
    KeepByAgeAndCount();
    return std::move(kept_);
  }

 private:
  bool YoungerThan(const Snapshot& snapshot, int64_t age_ms) const {
    // now - age without overflow: ages may be as large as a long.
    return age_ms >= now_ms_ || snapshot.timestamp_ms >= now_ms_ - age_ms;
  }

  void KeepByAgeAndCount() {
    std::vector<const Snapshot*> newest;
    for (const Snapshot& snapshot : base_.snapshots) {
      newest.push_back(&snapshot);
      if (YoungerThan(snapshot, kExpireAgeMinMs)) kept_.insert(snapshot.snapshot_id);
      // In no branch (rolled back, staged): the table's age alone decides.
      if (!on_branch_.contains(snapshot.snapshot_id) && YoungerThan(snapshot, table_.max_age_ms)) {
        kept_.insert(snapshot.snapshot_id);
      }
    }
    const size_t count = std::min(newest.size(), kExpireSpareNewest);
    std::partial_sort(newest.begin(), newest.begin() + static_cast<ptrdiff_t>(count), newest.end(),
                      [](const Snapshot* a, const Snapshot* b) {
                        return std::pair(a->sequence_number, a->timestamp_ms) >
                               std::pair(b->sequence_number, b->timestamp_ms);
                      });
    for (size_t i = 0; i < count; ++i) kept_.insert(newest[i]->snapshot_id);
  }

  // From the head back to the first snapshot that is both too old and beyond the count.
  void KeepBranch(SnapshotId head, Retention retention) {
    const int64_t count_min = std::max(retention.min_to_keep, static_cast<int64_t>(kExpireSpareNewest));
    std::set<SnapshotId> seen;
    bool keeping = true;
    auto found = by_id_.find(head);
    for (int64_t count = 0; found != by_id_.end() && seen.insert(found->first).second; ++count) {
      const Snapshot& snapshot = *found->second;
      keeping = keeping && (count < count_min || YoungerThan(snapshot, retention.max_age_ms));
      if (keeping) kept_.insert(snapshot.snapshot_id);
      on_branch_.insert(snapshot.snapshot_id);
      if (!snapshot.parent_snapshot_id.has_value()) break;
      found = by_id_.find(*snapshot.parent_snapshot_id);
    }
  }

  const TableMetadata& base_;
  const Retention table_;
  const int64_t now_ms_;
  std::unordered_map<SnapshotId, const Snapshot*> by_id_;
  std::set<SnapshotId> on_branch_;  // reachable from any branch's head, kept or not
  std::set<SnapshotId> kept_;
};

}  // namespace

std::vector<SnapshotId> PickExpiredSnapshots(const TableMetadata& base, bool table_is_ours, int64_t now_ms) {
  const std::optional<Retention> retention = TableRetention(base, table_is_ours);
  if (!retention.has_value() || base.snapshots.size() <= kExpireSpareNewest) return {};
  const std::set<SnapshotId> kept = Keeper(base, *retention, now_ms).Keep();
  std::vector<const Snapshot*> expired;
  for (const Snapshot& snapshot : base.snapshots) {
    if (!kept.contains(snapshot.snapshot_id)) expired.push_back(&snapshot);
  }
  std::sort(expired.begin(), expired.end(), [](const Snapshot* a, const Snapshot* b) {
    return std::pair(a->sequence_number, a->snapshot_id) < std::pair(b->sequence_number, b->snapshot_id);
  });
  std::vector<SnapshotId> ids;
  for (const Snapshot* snapshot : expired) {
    if (ids.size() < kExpirePerCommitMax) ids.push_back(snapshot->snapshot_id);
  }
  return ids;
}

}  // namespace firn::iceberg
