// MockCluster: librdkafka's in-process Kafka brokers, for the demo and for tests. They speak real Kafka over 127.0.0.1.
//
// Owned by whoever starts it; thread-safe. Limits of it: a partition keeps 5 MB of (compressed) batches or 100,000
// batches, whichever is less, and then drops the oldest, so give a topic many partitions; nothing is kept on disk;
// lookups by timestamp find nothing; transactions are not isolated. Topics do have ids.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "firn/base/error.h"

namespace firn::kafka {

inline constexpr int64_t kMockPartitionBytesMax = 5 << 20;

class MockCluster {
 public:
  static Result<std::unique_ptr<MockCluster>> Create(int brokers = 1);
  ~MockCluster();

  std::string bootstrap() const;
  Status CreateTopic(const std::string& topic, int partitions);
  Status DeleteTopic(const std::string& topic);
  // As retention does: the log then starts at `before_offset`.
  Status DeleteRecords(const std::string& topic, int32_t partition, int64_t before_offset);
  // Moves the leader to `broker` (1-based) and opens a new leader epoch.
  Status SetLeader(const std::string& topic, int32_t partition, int32_t broker);
  Status StopBroker(int32_t broker);
  Status StartBroker(int32_t broker);
  // The next `times` requests of this Kafka API key fail with this Kafka error code.
  void FailRequests(int16_t api_key, int16_t error_code, int times);
  // Requests of this API key since the first call of this function.
  int64_t CountRequests(int16_t api_key);
  // As if the brokers were too old for a newer version of an API.
  Status LimitApiVersion(int16_t api_key, int16_t version_max);

 private:
  struct Impl;
  explicit MockCluster(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace firn::kafka
