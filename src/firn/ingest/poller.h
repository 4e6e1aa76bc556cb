// Poller: the thread that only polls the record source, so that the group's session outlives any outage downstream.
//
// The ingest thread takes events with Next and gives orders with Assign, Release and Seek, which the poll thread
// carries out between two polls. Chunks wait in a queue bounded by bytes; when it is full the source is polled without
// taking records (backpressure). After Seek no chunk that was fetched before it comes out of Next.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "firn/stream/record_source.h"

namespace firn::ingest {

class Poller {
 public:
  Poller(stream::RecordSource& source, size_t queue_bytes_max);
  ~Poller();  // stops the thread

  void Start();
  // The next event, control events first. `want_chunks` false: records stay in the queue. A failed poll or order comes
  // as SourceTrouble.
  std::optional<stream::SourceEvent> Next(int64_t timeout_ms, bool want_chunks);

  void Assign(std::vector<stream::PartitionPosition> start);
  void Release(std::vector<stream::PartitionIndex> partitions);
  void Seek(std::vector<stream::PartitionPosition> positions);
  // Waits until all orders given so far are carried out, at most `timeout_ms`.
  bool Drain(int64_t timeout_ms);

  size_t queued_bytes() const;
  double cpu_seconds() const { return cpu_seconds_.load(std::memory_order_relaxed); }
  // Another thread has something for the ingest thread: Next returns early.
  void Wake();

 private:
  void Run(std::stop_token stop);
  void CarryOut(std::unique_lock<std::mutex>& lock);
  void Deliver(stream::SourceEvent event);

  using Order = std::function<Status(stream::RecordSource&)>;

  stream::RecordSource& source_;
  const size_t queue_bytes_max_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<stream::SourceEvent> control_;
  std::deque<std::unique_ptr<stream::RecordChunk>> chunks_;
  std::deque<Order> orders_;
  size_t queued_bytes_ = 0;
  int seeks_pending_ = 0;
  bool carrying_out_ = false;
  bool woken_ = false;
  std::atomic<double> cpu_seconds_{0};
  std::jthread thread_;
};

}  // namespace firn::ingest
