// BoundedQueue: how threads of Firn hand work on. A full queue is backpressure.
//
// Many producers, many consumers; all members thread-safe. Bounded by the sum of the costs that Push was given
// (bytes, or 1 each); one item larger than the whole limit is still taken when the queue is empty, so nothing gets
// stuck. After Close, pushes fail and pops drain what is left, then return nothing.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace firn {

template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t cost_max) : cost_max_(cost_max) {}

  // Waits for room; false when the queue was closed.
  bool Push(T item, size_t cost) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || HasRoomLocked(cost); });
    return PushLocked(std::move(item), cost);
  }

  // Takes `item` only if there is room now.
  bool TryPush(T& item, size_t cost) {
    std::unique_lock lock(mutex_);
    if (!HasRoomLocked(cost)) return false;
    return PushLocked(std::move(item), cost);
  }

  // For control messages that must not wait: ignores the limit.
  bool PushUnbounded(T item, size_t cost) {
    std::unique_lock lock(mutex_);
    return PushLocked(std::move(item), cost);
  }

  std::optional<T> Pop(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, timeout, [&] { return closed_ || !items_.empty(); });
    if (items_.empty()) return std::nullopt;
    std::pair<T, size_t> front = std::move(items_.front());
    items_.pop_front();
    cost_ -= front.second;
    changed_.notify_all();
    return std::move(front.first);
  }

  bool HasRoom(size_t cost) const {
    std::unique_lock lock(mutex_);
    return HasRoomLocked(cost);
  }

  void Close() {
    std::unique_lock lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

  size_t cost() const {
    std::unique_lock lock(mutex_);
    return cost_;
  }

 private:
  bool HasRoomLocked(size_t cost) const { return items_.empty() || cost_ + cost <= cost_max_; }
  bool PushLocked(T item, size_t cost) {
    if (closed_) return false;
    items_.emplace_back(std::move(item), cost);
    cost_ += cost;
    changed_.notify_all();
    return true;
  }

  const size_t cost_max_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<T, size_t>> items_;
  size_t cost_ = 0;
  bool closed_ = false;
};

}  // namespace firn
