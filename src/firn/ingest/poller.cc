#include "firn/ingest/poller.h"

#include <pthread.h>

#include <chrono>

#include "firn/ingest/data_files.h"

namespace firn::ingest {
namespace {

constexpr int64_t kPollMs = 100;
constexpr int64_t kPollMsWhenFull = 20;

}  // namespace

Poller::Poller(stream::RecordSource& source, size_t queue_bytes_max)
    : source_(source), queue_bytes_max_(queue_bytes_max) {}

Poller::~Poller() = default;

void Poller::Start() {
  thread_ = std::jthread([this](std::stop_token stop) {
    pthread_setname_np(pthread_self(), "firn-poll");
    Run(stop);
  });
}

Result<std::optional<Poller::Polled>> Poller::Next(int64_t timeout_ms, bool want_chunks) {
  std::unique_lock lock(mutex_);
  auto something = [&] {
    return woken_ || failure_.has_value() || !control_.empty() ||
           (want_chunks && seeks_pending_ == 0 && !chunks_.empty());
  };
  changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), something);
  woken_ = false;
  if (!control_.empty()) {
    Polled polled{std::move(control_.front()), orders_done_};
    control_.pop_front();
    return polled;
  }
  if (failure_.has_value()) return std::unexpected<Error>(*failure_);
  if (want_chunks && seeks_pending_ == 0 && !chunks_.empty()) {
    QueuedChunk queued = std::move(chunks_.front());
    chunks_.pop_front();
    queued_bytes_ -= queued.chunk->bytes();
    return Polled{stream::SourceEvent(std::move(queued.chunk)), queued.orders_done};
  }
  return std::nullopt;
}

uint64_t Poller::Assign(std::vector<stream::PartitionPosition> start) {
  std::lock_guard lock(mutex_);
  orders_.push_back([start = std::move(start)](stream::RecordSource& source) { return source.Assign(start); });
  return ++orders_given_;
}

void Poller::Release(std::vector<stream::PartitionIndex> partitions) {
  std::lock_guard lock(mutex_);
  orders_.push_back(
      [partitions = std::move(partitions)](stream::RecordSource& source) { return source.Release(partitions); });
  ++orders_given_;
}

uint64_t Poller::Seek(std::vector<stream::PartitionPosition> positions) {
  std::lock_guard lock(mutex_);
  ++seeks_pending_;
  orders_.push_back([this, positions = std::move(positions)](stream::RecordSource& source) {
    Status status = source.Seek(positions);
    std::lock_guard inner(mutex_);
    chunks_.clear();
    queued_bytes_ = 0;
    --seeks_pending_;
    return status;
  });
  return ++orders_given_;
}

bool Poller::Drain(int64_t timeout_ms) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                           [&] { return orders_.empty() && !carrying_out_; });
}

size_t Poller::queued_bytes() const {
  std::lock_guard lock(mutex_);
  return queued_bytes_;
}

void Poller::Wake() {
  std::lock_guard lock(mutex_);
  woken_ = true;
  changed_.notify_all();
}

void Poller::CarryOut(std::unique_lock<std::mutex>& lock) {
  while (!orders_.empty()) {
    Order order = std::move(orders_.front());
    orders_.pop_front();
    carrying_out_ = true;
    lock.unlock();
    Status status = order(source_);
    lock.lock();
    carrying_out_ = false;
    ++orders_done_;
    if (!status.has_value()) failure_ = std::move(status.error()).WithContext("order to the record source");
    changed_.notify_all();
  }
}

void Poller::Deliver(stream::SourceEvent event) {
  if (std::holds_alternative<stream::NothingYet>(event)) return;
  std::lock_guard lock(mutex_);
  if (auto* chunk = std::get_if<std::unique_ptr<stream::RecordChunk>>(&event)) {
    queued_bytes_ += (*chunk)->bytes();
    chunks_.push_back({std::move(*chunk), orders_done_});
  } else {
    control_.push_back(std::move(event));
  }
  changed_.notify_all();
}

void Poller::Run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    bool room;
    {
      std::unique_lock lock(mutex_);
      CarryOut(lock);
      room = queued_bytes_ < queue_bytes_max_;
    }
    Result<stream::SourceEvent> event = source_.Poll(room ? kPollMs : kPollMsWhenFull, room);
    cpu_seconds_.store(ThreadCpuSeconds(), std::memory_order_relaxed);
    if (event.has_value()) {
      Deliver(std::move(event).value());
    } else {
      std::lock_guard lock(mutex_);
      failure_ = std::move(event.error()).WithContext("record source");
      changed_.notify_all();
      return;
    }
  }
  std::unique_lock lock(mutex_);
  CarryOut(lock);
}

}  // namespace firn::ingest
