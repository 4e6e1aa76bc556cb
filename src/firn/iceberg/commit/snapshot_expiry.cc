#include "firn/iceberg/commit/snapshot_expiry.h"

#include <algorithm>
#include <charconv>
#include <optional>
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
  Keeper(const TableMetadata& base, Retention table, int64_t now_ms)
      : base_(base),
        table_(table),
        now_ms_(now_ms),
        on_branch_(base.snapshots.size()),
        kept_(base.snapshots.size()) {
    by_id_.reserve(base.snapshots.size());
    for (size_t i = 0; i < base.snapshots.size(); ++i) by_id_.emplace(base.snapshots[i].snapshot_id, i);
  }

  // By the snapshots' places in the metadata.
  std::vector<bool> Keep() {
    for (const auto& [name, ref] : base_.refs) {
      if (auto named = by_id_.find(ref.snapshot_id); named != by_id_.end()) kept_[named->second] = true;
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
    std::vector<size_t> newest;
    newest.reserve(base_.snapshots.size());
    for (size_t i = 0; i < base_.snapshots.size(); ++i) {
      newest.push_back(i);
      const Snapshot& snapshot = base_.snapshots[i];
      // In no branch (rolled back, staged): the table's age alone decides.
      const bool unnamed_and_young = !on_branch_[i] && YoungerThan(snapshot, table_.max_age_ms);
      if (unnamed_and_young || YoungerThan(snapshot, kExpireAgeMinMs)) kept_[i] = true;
    }
    const size_t count = std::min(newest.size(), kExpireSpareNewest);
    std::nth_element(newest.begin(), newest.begin() + static_cast<ptrdiff_t>(count), newest.end(),
                     [this](size_t a, size_t b) { return AgeOf(a) > AgeOf(b); });
    for (size_t i = 0; i < count; ++i) kept_[newest[i]] = true;
  }

  // From the head back to the first snapshot that is both too old and beyond the count.
  void KeepBranch(SnapshotId head, Retention retention) {
    const int64_t count_min = std::max(retention.min_to_keep, static_cast<int64_t>(kExpireSpareNewest));
    std::vector<bool> seen(base_.snapshots.size());
    bool keeping = true;
    auto found = by_id_.find(head);
    for (int64_t count = 0; found != by_id_.end() && !seen[found->second]; ++count) {
      const Snapshot& snapshot = base_.snapshots[found->second];
      seen[found->second] = true;
      keeping = keeping && (count < count_min || YoungerThan(snapshot, retention.max_age_ms));
      if (keeping) kept_[found->second] = true;
      on_branch_[found->second] = true;
      if (!snapshot.parent_snapshot_id.has_value()) break;
      found = by_id_.find(*snapshot.parent_snapshot_id);
    }
  }

  std::pair<int64_t, int64_t> AgeOf(size_t place) const {
    return {base_.snapshots[place].sequence_number, base_.snapshots[place].timestamp_ms};
  }

  const TableMetadata& base_;
  const Retention table_;
  const int64_t now_ms_;
  std::unordered_map<SnapshotId, size_t> by_id_;  // → place in the metadata
  std::vector<bool> on_branch_;  // reachable from any branch's head, kept or not
  std::vector<bool> kept_;
};

}  // namespace

std::vector<SnapshotId> PickExpiredSnapshots(const TableMetadata& base, bool table_is_ours, int64_t now_ms) {
  const std::optional<Retention> retention = TableRetention(base, table_is_ours);
  if (!retention.has_value() || base.snapshots.size() <= kExpireSpareNewest) return {};
  const std::vector<bool> kept = Keeper(base, *retention, now_ms).Keep();
  std::vector<const Snapshot*> expired;
  for (size_t i = 0; i < kept.size(); ++i) {
    if (!kept[i]) expired.push_back(&base.snapshots[i]);
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
