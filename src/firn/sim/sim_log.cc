#include "firn/sim/sim_log.h"

#include <algorithm>
#include <iterator>

#include "firn/base/check.h"

namespace firn::sim {

int64_t SimLog::last_stable_offset() const {
  int64_t stable = end_;
  for (const auto& [transaction, first] : open_) stable = std::min(stable, first);
  return std::max(stable, start_);
}

int64_t SimLog::Append(LogEntry entry) {
  entry.offset = end_;
  entry.leader_epoch = leader_epoch();
  if (entry.transaction != kNoTransaction) open_.try_emplace(entry.transaction, end_);
  entries_.emplace(end_, std::move(entry));
  return end_++;
}

std::vector<int64_t> SimLog::EndTransaction(TransactionId transaction, bool committed, int64_t timestamp_ms) {
  std::vector<int64_t> ids;
  auto open = open_.find(transaction);
  if (open == open_.end()) return ids;
  for (auto it = entries_.lower_bound(open->second); it != entries_.end(); ++it) {
    if (it->second.transaction == transaction) ids.push_back(it->second.id);
  }
  open_.erase(open);
  if (!committed) aborted_.insert(transaction);
  LogEntry marker;
  marker.timestamp_ms = timestamp_ms;
  Append(std::move(marker));
  return ids;
}

std::vector<int64_t> SimLog::TruncateBefore(int64_t offset) {
  std::vector<int64_t> gone;
  offset = std::min(offset, last_stable_offset());
  if (offset <= start_) return gone;
  start_ = offset;
  auto until = entries_.lower_bound(start_);
  for (auto it = entries_.begin(); it != until; ++it) {
    if (it->second.id != 0) gone.push_back(it->second.id);
  }
  entries_.erase(entries_.begin(), until);
  return gone;
}

std::vector<int64_t> SimLog::Compact(int64_t below) {
  std::vector<int64_t> gone;
  const auto until = entries_.lower_bound(std::min(below, last_stable_offset()));
  std::map<std::string, int64_t> last;  // key → its last offset that counts
  for (auto it = entries_.begin(); it != until; ++it) {
    const LogEntry& entry = it->second;
    if (entry.id != 0 && entry.key.has_value() && !aborted_.contains(entry.transaction)) last[*entry.key] = it->first;
  }
  for (auto it = entries_.begin(); it != until;) {
    const LogEntry& entry = it->second;
    bool keep = entry.id != 0 && entry.key.has_value() && last.contains(*entry.key) && last[*entry.key] == it->first;
    if (!keep && entry.id != 0) gone.push_back(entry.id);
    it = keep ? std::next(it) : entries_.erase(it);
  }
  return gone;
}

std::vector<int64_t> SimLog::TruncateAfter(int64_t offset) {
  std::vector<int64_t> gone;
  offset = std::max(offset, start_);
  if (offset < end_) {
    auto from = entries_.lower_bound(offset);
    for (auto it = from; it != entries_.end(); ++it) {
      if (it->second.id != 0) gone.push_back(it->second.id);
    }
    entries_.erase(from, entries_.end());
    end_ = offset;
    std::erase_if(open_, [&](const auto& one) { return one.second >= offset; });
    std::erase_if(epochs_, [&](const Epoch& one) { return one.start >= offset && one.epoch != epochs_.front().epoch; });
  }
  return gone;
}

void SimLog::ElectLeader() {
  ++highest_epoch_;
  // An epoch without records leaves no trace in the log.
  if (epochs_.size() > 1 && epochs_.back().start == end_) epochs_.pop_back();
  epochs_.push_back({highest_epoch_, end_});
}

bool SimLog::IsReadable(const LogEntry& entry, bool read_committed) const {
  return entry.id != 0 && !(read_committed && aborted_.contains(entry.transaction));
}

SimLog::Slice SimLog::Read(int64_t from, size_t records_max, bool read_committed) const {
  Slice slice;
  const int64_t limit = read_committed ? last_stable_offset() : end_;
  slice.next = std::max(from, limit);
  slice.at_end = true;
  auto it = entries_.lower_bound(from);
  for (; it != entries_.end() && it->first < limit; ++it) {
    if (!IsReadable(it->second, read_committed)) continue;
    if (slice.entries.size() == records_max) {
      slice.next = it->first;
      slice.at_end = false;
      break;
    }
    slice.entries.push_back(&it->second);
  }
  // Of the last offset before it, whether compaction has left the record there or not.
  for (const Epoch& each : epochs_) {
    if (each.start < slice.next) slice.next_epoch = each.epoch;
  }
  return slice;
}

int64_t SimLog::EndOfEpoch(int32_t epoch) const {
  for (size_t i = epochs_.size(); i-- > 0;) {
    if (epochs_[i].epoch > epoch) continue;
    return i + 1 < epochs_.size() ? epochs_[i + 1].start : end_;
  }
  return -1;
}

std::optional<int64_t> SimLog::OffsetForTimestamp(int64_t timestamp_ms) const {
  for (const auto& [offset, entry] : entries_) {
    if (entry.id != 0 && entry.timestamp_ms >= timestamp_ms) return offset;
  }
  return std::nullopt;
}

}  // namespace firn::sim
