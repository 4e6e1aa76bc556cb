// Poller: the thread that only polls the record source, so that the group's session outlives any outage downstream.
//
// The ingest thread takes events with Next and gives orders with Assign, Release and Seek, which the poll thread
// carries out between two polls. Chunks wait in a queue bounded by bytes; when it is full the source is polled without
// taking records (backpressure). After Assign and Seek chunks from before them may still come out of Next: their
// orders_done tells.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "firn/env/clock.h"
#include "firn/env/threads.h"
#include "firn/stream/record_source.h"

namespace firn::ingest {

class Poller {
 public:
  Poller(stream::RecordSource& source, size_t queue_bytes_max, env::Clock& clock = env::SystemClock(),
         env::Threads& threads = env::SystemThreads());
  ~Poller();  // stops the thread

  void Start();
  struct Polled {
    stream::SourceEvent event;
    uint64_t orders_done = 0;  // when it was polled: a chunk may be older than an order that is given by now
  };
  // The next event, control events first. `want_chunks` false: records stay in the queue. An error: a poll or an order
  // has failed, which is the end of the source.
  Result<std::optional<Polled>> Next(int64_t timeout_ms, bool want_chunks);

  // Orders give their number; chunks that were polled before they were carried out have a smaller orders_done.
  uint64_t Assign(std::vector<stream::PartitionPosition> start);
  void Release(std::vector<stream::PartitionIndex> partitions);
  uint64_t Seek(std::vector<stream::PartitionPosition> positions);
  // Waits until all orders given so far are carried out, at most `timeout_ms`.
  bool Drain(int64_t timeout_ms);

  size_t queued_bytes() const;
  double cpu_seconds() const { return cpu_seconds_.load(std::memory_order_relaxed); }
  // Another thread has something for the ingest thread: Next returns early.
  void Wake();

 private:
  void Run(std::stop_token stop);
  void CarryOut(std::unique_lock<env::Monitor>& lock);
  void Deliver(stream::SourceEvent event);

  using Order = std::function<Status(stream::RecordSource&)>;

  stream::RecordSource& source_;
  const size_t queue_bytes_max_;
  env::Clock& clock_;
  env::Threads& threads_;
  const std::unique_ptr<env::Monitor> monitor_;  // guards what follows
  std::deque<Polled> control_;
  struct QueuedChunk {
    std::unique_ptr<stream::RecordChunk> chunk;
    uint64_t orders_done = 0;
  };
  std::deque<QueuedChunk> chunks_;
  std::deque<Order> orders_;
  uint64_t orders_given_ = 0;
  uint64_t orders_done_ = 0;
  std::optional<Error> failure_;
  size_t queued_bytes_ = 0;
  bool carrying_out_ = false;
  bool woken_ = false;
  std::atomic<double> cpu_seconds_{0};
  std::unique_ptr<env::Thread> thread_;
};

}  // namespace firn::ingest
