#include "firn/ingest/poller.h"

#include "firn/ingest/data_files.h"

namespace firn::ingest {
namespace {

constexpr int64_t kPollMs = 100;
constexpr int64_t kPollMsWhenFull = 20;

}  // namespace

Poller::Poller(stream::RecordSource& source, size_t queue_bytes_max, env::Clock& clock, env::Threads& threads)
    : source_(source),
      queue_bytes_max_(queue_bytes_max),
      clock_(clock),
      threads_(threads),
      monitor_(threads.MakeMonitor()) {}

Poller::~Poller() = default;

void Poller::Start() {
  thread_ = threads_.Start("firn-poll", [this](std::stop_token stop) { Run(stop); });
}

Result<std::optional<Poller::Polled>> Poller::Next(int64_t timeout_ms, bool want_chunks) {
  std::unique_lock lock(*monitor_);
  auto something = [&] {
    return woken_ || failure_.has_value() || !control_.empty() ||
           (want_chunks && !chunks_.empty());
  };
  const int64_t until_ms = clock_.BootMs() + timeout_ms;
  while (!something() && clock_.BootMs() < until_ms) monitor_->WaitMs(until_ms - clock_.BootMs());
  woken_ = false;
  if (!control_.empty()) {
    Polled polled = std::move(control_.front());
    control_.pop_front();
    return polled;
  }
  if (failure_.has_value()) return std::unexpected<Error>(*failure_);
  if (want_chunks && !chunks_.empty()) {
    QueuedChunk queued = std::move(chunks_.front());
    chunks_.pop_front();
    queued_bytes_ -= queued.chunk->bytes();
    return Polled{stream::SourceEvent(std::move(queued.chunk)), queued.orders_done};
  }
  return std::nullopt;
}

uint64_t Poller::Assign(std::vector<stream::PartitionPosition> start) {
  std::lock_guard lock(*monitor_);
  orders_.push_back([start = std::move(start)](stream::RecordSource& source) { return source.Assign(start); });
  return ++orders_given_;
}

void Poller::Release(std::vector<stream::PartitionIndex> partitions) {
  std::lock_guard lock(*monitor_);
  orders_.push_back(
      [partitions = std::move(partitions)](stream::RecordSource& source) { return source.Release(partitions); });
  ++orders_given_;
}

uint64_t Poller::Seek(std::vector<stream::PartitionPosition> positions) {
  std::lock_guard lock(*monitor_);
  orders_.push_back(
      [positions = std::move(positions)](stream::RecordSource& source) { return source.Seek(positions); });
  return ++orders_given_;
}

bool Poller::Drain(int64_t timeout_ms) {
  std::unique_lock lock(*monitor_);
  const int64_t until_ms = clock_.BootMs() + timeout_ms;
  auto done = [&] { return orders_.empty() && !carrying_out_; };
  while (!done() && clock_.BootMs() < until_ms) monitor_->WaitMs(until_ms - clock_.BootMs());
  return done();
}

size_t Poller::queued_bytes() const {
  std::lock_guard lock(*monitor_);
  return queued_bytes_;
}

void Poller::Wake() {
  std::lock_guard lock(*monitor_);
  woken_ = true;
  monitor_->NotifyAll();
}

void Poller::CarryOut(std::unique_lock<env::Monitor>& lock) {
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
    monitor_->NotifyAll();
  }
}

void Poller::Deliver(stream::SourceEvent event) {
  if (std::holds_alternative<stream::NothingYet>(event)) return;
  std::lock_guard lock(*monitor_);
  if (auto* chunk = std::get_if<std::unique_ptr<stream::RecordChunk>>(&event)) {
    queued_bytes_ += (*chunk)->bytes();
    chunks_.push_back({std::move(*chunk), orders_done_});
  } else {
    control_.push_back({std::move(event), orders_done_});
  }
  monitor_->NotifyAll();
}

void Poller::Run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    bool room;
    {
      std::unique_lock lock(*monitor_);
      CarryOut(lock);
      room = queued_bytes_ < queue_bytes_max_;
    }
    Result<stream::SourceEvent> event = source_.Poll(room ? kPollMs : kPollMsWhenFull, room);
    const bool nothing = event.has_value() && std::holds_alternative<stream::NothingYet>(*event);
    if (!nothing) cpu_seconds_.store(ThreadCpuSeconds(), std::memory_order_relaxed);
    if (event.has_value()) {
      Deliver(std::move(event).value());
    } else {
      std::lock_guard lock(*monitor_);
      failure_ = std::move(event.error()).WithContext("record source");
      monitor_->NotifyAll();
      return;
    }
  }
  std::unique_lock lock(*monitor_);
  CarryOut(lock);
}

}  // namespace firn::ingest
