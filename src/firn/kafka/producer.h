// Producer: writes records to Kafka, for the demo, tests and measurements. Not on Firn's ingest path.
//
// Thread-safe. Batches, compresses and retries as librdkafka does; idempotent by default, so a retry doubles nothing.
// Produce waits while the local queue is full. Records whose delivery failed are counted, and Flush reports the first.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "firn/base/error.h"
#include "firn/kafka/kafka_config.h"
#include "firn/stream/record_source.h"

namespace firn::kafka {

struct ProducerOptions {
  std::string bootstrap;
  Properties properties;  // librdkafka's names; docs/kafka.md
};

struct ProducedRecord {
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;  // nullopt: a tombstone
  std::span<const stream::Header> headers;
  int64_t timestamp_ms = 0;               // 0: now
};

inline constexpr int32_t kPartitionByKey = -1;

class Producer {
 public:
  static Result<std::unique_ptr<Producer>> Create(ProducerOptions options);
  ~Producer();

  // The record's bytes are copied before it returns.
  Status Produce(const std::string& topic, int32_t partition, const ProducedRecord& record);
  // Waits until everything is delivered or has failed. kTimeout when some are still under way.
  Status Flush(int64_t timeout_ms);
  int64_t failed() const;

 private:
  struct Impl;
  explicit Producer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace firn::kafka
