// TableState: one Iceberg table as one worker knows it; the newest loaded metadata and the believed map.
//
// Shared by the ingest thread (reads schema, T) and the commit thread (commits, reloads): members behind a mutex,
// values handed out whole.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "firn/iceberg/catalog/catalog.h"
#include "firn/ingest/positions.h"

namespace firn::ingest {

class TableState {
 public:
  explicit TableState(iceberg::TableIdentifier identifier)
      : identifier_(std::move(identifier)), name_(identifier_.ToString()) {}

  const iceberg::TableIdentifier& identifier() const { return identifier_; }
  const std::string& name() const { return name_; }

  std::shared_ptr<const iceberg::LoadedTable> loaded() const {
    std::lock_guard lock(mutex_);
    return loaded_;
  }
  void set_loaded(iceberg::LoadedTable loaded) {
    auto shared = std::make_shared<const iceberg::LoadedTable>(std::move(loaded));
    std::lock_guard lock(mutex_);
    if (loaded_ == nullptr) left_at_ = shared->metadata.current_snapshot_id;
    loaded_ = std::move(shared);
    stale_ = false;
  }
  // What a commit of ours, prepared on `base`, has made of the table.
  void set_committed(const iceberg::TableMetadata& base, iceberg::LoadedTable committed) {
    auto shared = std::make_shared<const iceberg::LoadedTable>(std::move(committed));
    std::lock_guard lock(mutex_);
    others_at_work_ = base.current_snapshot_id != left_at_;
    left_at_ = shared->metadata.current_snapshot_id;
    loaded_ = std::move(shared);
    stale_ = false;
  }
  // Somebody else had added a snapshot between our last two commits, so he may well have added another one since: what
  // is loaded is probably behind, and an attempt that is prepared on it is lost.
  bool others_at_work() const {
    std::lock_guard lock(mutex_);
    return others_at_work_;
  }

  // The map that the worker believes stands in the table; nullopt: not attached.
  std::optional<PositionsMap> map() const {
    const std::shared_ptr<const PositionsMap> map = shared_map();
    return map == nullptr ? std::nullopt : std::optional<PositionsMap>(*map);
  }
  // The same without a copy, null when not attached: of thousands of partitions a copy takes milliseconds.
  std::shared_ptr<const PositionsMap> shared_map() const {
    std::lock_guard lock(mutex_);
    return map_;
  }
  void set_map(PositionsMap map) {
    auto shared = std::make_shared<const PositionsMap>(std::move(map));
    std::lock_guard lock(mutex_);
    map_ = std::move(shared);
  }
  // What the map says of the rejects of another table, or kNoMark. Without a copy of the map.
  int64_t RejectedOf(const std::string& table, const PartitionKey& partition) const {
    std::lock_guard lock(mutex_);
    return map_ != nullptr ? RejectedMark(map_->rejected, table, partition) : kNoMark;
  }
  // T of a partition, or nullopt. Without a copy of the map.
  std::optional<int64_t> OffsetAt(const PartitionKey& partition) const {
    std::lock_guard lock(mutex_);
    return map_ != nullptr ? OffsetOf(map_->marks, partition) : std::nullopt;
  }
  bool attached() const {
    std::lock_guard lock(mutex_);
    return map_ != nullptr;
  }
  void clear_map() {
    std::lock_guard lock(mutex_);
    map_.reset();
  }

  // The loaded metadata may be behind: the next commit reloads first.
  void MarkStale() {
    std::lock_guard lock(mutex_);
    stale_ = true;
  }
  bool stale() const {
    std::lock_guard lock(mutex_);
    return stale_ || loaded_ == nullptr;
  }

 private:
  const iceberg::TableIdentifier identifier_;
  const std::string name_;
  mutable std::mutex mutex_;
  std::shared_ptr<const iceberg::LoadedTable> loaded_;
  std::shared_ptr<const PositionsMap> map_;
  bool stale_ = false;
  std::optional<SnapshotId> left_at_;  // current when we last committed, or first looked
  bool others_at_work_ = false;
};

// The map in a table's property; nullopt: the pipeline has none there.
Result<std::optional<PositionsMap>> MapOf(const iceberg::TableMetadata& metadata, std::string_view pipeline);

}  // namespace firn::ingest
