// Snapshot and Snapshots: the versions of a table that its metadata lists (spec: "Snapshots").
//
// Snapshots is read like a vector of values. Its copies share the snapshots, which never change: a table that three
// workers commit to every minute has thousands of a day, and each commit copies its metadata a few times.
#pragma once

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "firn/base/strong_id.h"

namespace firn::iceberg {

struct Snapshot {
  SnapshotId snapshot_id;
  std::optional<SnapshotId> parent_snapshot_id;
  int64_t sequence_number = 0;
  int64_t timestamp_ms = 0;
  std::string manifest_list;             // location; empty for v1 snapshots that list manifests inline
  std::vector<std::string> manifests;    // v1 only
  std::map<std::string, std::string> summary;  // "operation" included
  std::optional<int32_t> schema_id;
  std::optional<int64_t> first_row_id;   // v3
  std::optional<int64_t> added_rows;     // v3
  std::optional<std::string> key_id;     // v3 encryption
};

class Snapshots {
 public:
  class const_iterator {
   public:
    using iterator_category = std::random_access_iterator_tag;
    using value_type = Snapshot;
    using difference_type = std::ptrdiff_t;
    using pointer = const Snapshot*;
    using reference = const Snapshot&;

    const_iterator() = default;
    explicit const_iterator(const std::shared_ptr<const Snapshot>* at) : at_(at) {}
    reference operator*() const { return **at_; }
    pointer operator->() const { return at_->get(); }
    reference operator[](difference_type n) const { return *at_[n]; }
    const_iterator& operator++() { return ++at_, *this; }
    const_iterator operator++(int) { return const_iterator(at_++); }
    const_iterator& operator--() { return --at_, *this; }
    const_iterator operator--(int) { return const_iterator(at_--); }
    const_iterator& operator+=(difference_type n) { return at_ += n, *this; }
    const_iterator& operator-=(difference_type n) { return at_ -= n, *this; }
    friend const_iterator operator+(const_iterator it, difference_type n) { return it += n; }
    friend const_iterator operator+(difference_type n, const_iterator it) { return it += n; }
    friend const_iterator operator-(const_iterator it, difference_type n) { return it -= n; }
    friend difference_type operator-(const_iterator a, const_iterator b) { return a.at_ - b.at_; }
    auto operator<=>(const const_iterator&) const = default;

   private:
    const std::shared_ptr<const Snapshot>* at_ = nullptr;
  };
  using value_type = Snapshot;
  using iterator = const_iterator;

  Snapshots() = default;
  Snapshots(std::initializer_list<Snapshot> snapshots) {
    for (const Snapshot& snapshot : snapshots) push_back(snapshot);
  }
  Snapshots(std::vector<Snapshot> snapshots) {  // NOLINT(google-explicit-constructor): the same thing
    for (Snapshot& snapshot : snapshots) push_back(std::move(snapshot));
  }

  const_iterator begin() const { return const_iterator(list_.data()); }
  const_iterator end() const { return const_iterator(list_.data() + list_.size()); }
  size_t size() const { return list_.size(); }
  bool empty() const { return list_.empty(); }
  const Snapshot& operator[](size_t place) const { return *list_[place]; }
  const Snapshot& front() const { return *list_.front(); }
  const Snapshot& back() const { return *list_.back(); }

  void reserve(size_t count) { list_.reserve(count); }
  void clear() { list_.clear(); }
  void push_back(Snapshot snapshot) { list_.push_back(std::make_shared<const Snapshot>(std::move(snapshot))); }
  // Takes out those for which `gone` holds; returns how many.
  template <typename Predicate>
  size_t EraseIf(Predicate gone) {
    return std::erase_if(list_, [&](const std::shared_ptr<const Snapshot>& each) { return gone(*each); });
  }
  // Puts what `change` makes of a copy in the place of one.
  template <typename Change>
  void Replace(size_t place, Change change) {
    auto changed = std::make_shared<Snapshot>(*list_[place]);
    change(*changed);
    list_[place] = std::move(changed);
  }
  template <typename Change>
  void ReplaceAll(Change change) {
    for (size_t place = 0; place < list_.size(); ++place) Replace(place, change);
  }

 private:
  std::vector<std::shared_ptr<const Snapshot>> list_;
};

}  // namespace firn::iceberg
