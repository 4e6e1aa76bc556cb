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
    loaded_ = std::move(shared);
    stale_ = false;
  }

  // The map that the worker believes stands in the table; nullopt: not attached.
  std::optional<PositionsMap> map() const {
    std::lock_guard lock(mutex_);
    return map_;
  }
  void set_map(PositionsMap map) {
    std::lock_guard lock(mutex_);
    map_ = std::move(map);
  }
  // What the map says of the rejects of another table; 0: nothing. Without a copy of the map.
  int64_t RejectedOf(const std::string& table, const PartitionKey& partition) const {
    std::lock_guard lock(mutex_);
    if (!map_.has_value()) return 0;
    auto of_table = map_->rejected.find(table);
    return of_table == map_->rejected.end() ? 0 : OffsetOf(of_table->second, partition).value_or(0);
  }
  bool attached() const {
    std::lock_guard lock(mutex_);
    return map_.has_value();
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
  std::optional<PositionsMap> map_;
  bool stale_ = false;
};

// The map in a table's property; nullopt: the pipeline has none there.
Result<std::optional<PositionsMap>> MapOf(const iceberg::TableMetadata& metadata, std::string_view pipeline);

}  // namespace firn::ingest
