#include "firn/cli/demo_feed.h"

#include "firn/env/clock.h"
#include "firn/kafka/event_generator.h"
#include "firn/kafka/producer.h"

namespace firn::cli {
namespace {

constexpr int64_t kBatchEvents = 500;  // between two looks at the clock and at what is committed
constexpr int64_t kWaitMs = 10;
constexpr int64_t kFlushMs = 30'000;

}  // namespace

DemoFeed::DemoFeed(DemoFeedOptions options, std::function<uint64_t()> committed)
    : options_(std::move(options)), committed_(std::move(committed)) {}

DemoFeed::~DemoFeed() = default;  // the jthread is asked to stop and joined

Result<std::unique_ptr<DemoFeed>> DemoFeed::Start(DemoFeedOptions options, std::function<uint64_t()> committed) {
  std::unique_ptr<DemoFeed> feed(new DemoFeed(std::move(options), std::move(committed)));
  feed->thread_ = std::jthread([feed = feed.get()](std::stop_token stop) {
    feed->result_ = feed->Produce(stop);
    feed->done_.store(true, std::memory_order_release);
  });
  return feed;
}

bool DemoFeed::WaitForRoom(int64_t started_ms, std::stop_token stop) const {
  env::Clock& clock = env::SystemClock();
  while (!stop.stop_requested()) {
    auto produced = static_cast<int64_t>(this->produced());
    int64_t allowed = (clock.BootMs() - started_ms) * options_.events_per_second_max / 1000;
    bool near_enough = produced - static_cast<int64_t>(committed_()) < options_.ahead_max;
    if (produced <= allowed && near_enough) return true;
    clock.SleepMs(kWaitMs, stop);
  }
  return false;
}

Status DemoFeed::Produce(std::stop_token stop) {
  FIRN_ASSIGN(std::unique_ptr<kafka::Producer> producer, kafka::Producer::Create({.bootstrap = options_.bootstrap}));
  env::Clock& clock = env::SystemClock();
  int64_t started_ms = clock.BootMs();
  // Two days of event time, whatever the number of events, so that the table has more than one partition.
  constexpr int64_t kSpanMs = 2 * 86'400'000;
  kafka::EventGenerator generator({.start_time_ms = clock.WallMs() / 86'400'000 * 86'400'000 - kSpanMs,
                                   .span_ms = kSpanMs,
                                   .events_per_span = options_.events,
                                   .malformed_every = options_.malformed_every});
  for (int64_t i = 0; i < options_.events; ++i) {
    if (i % kBatchEvents == 0 && !WaitForRoom(started_ms, stop)) break;
    generator.Next();
    if (generator.malformation() != kafka::Malformation::kNone) malformed_.fetch_add(1, std::memory_order_relaxed);
    // Runs of one partition make full batches.
    auto partition = static_cast<int32_t>(i / 50 % options_.partitions);
    FIRN_TRY(producer->Produce(options_.topic, partition, {.value = generator.value()}));
    produced_.fetch_add(1, std::memory_order_relaxed);
  }
  return producer->Flush(kFlushMs);
}

}  // namespace firn::cli
