// ConsumerHandle: one librdkafka consumer with its two queues, and how a thread waits for either.
//
// The group queue carries rebalances, errors and answers; the records queue carries the fetched records of all assigned
// partitions. Shared by the source and by the chunks it gave out, because records point into the client's memory: the
// client is destroyed with the last of them. `Wait` and the queues belong to the poll thread; client() is thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "firn/base/error.h"
#include "firn/kafka/kafka_config.h"
#include "firn/kafka/rdkafka_handles.h"

namespace firn::kafka {

class ConsumerHandle {
 public:
  static Result<std::shared_ptr<ConsumerHandle>> Create(Conf conf, bool oauth);
  ConsumerHandle(const ConsumerHandle&) = delete;
  ConsumerHandle& operator=(const ConsumerHandle&) = delete;
  ~ConsumerHandle();

  rd_kafka_t* client() const { return client_.get(); }
  rd_kafka_queue_t* group_queue() const { return group_queue_.get(); }
  rd_kafka_queue_t* records_queue() const { return records_queue_.get(); }

  // Returns when the group queue (or, if asked, the records queue) gets something, or after the timeout. A spurious
  // return is possible. Precondition: the caller has just found the queues empty.
  void Wait(bool records, int64_t timeout_ms);

  // Counts Metadata responses. A topic's id inside librdkafka changes only by such a response, and the count grows
  // before the response takes effect.
  uint64_t metadata_responses() const { return metadata_responses_.load(std::memory_order_acquire); }
  void CountMetadataResponse() { metadata_responses_.fetch_add(1, std::memory_order_acq_rel); }

  // Leaves the group; answers what rebalances still come by letting go of everything.
  void LeaveGroup(int64_t timeout_ms);

 private:
  ConsumerHandle() = default;

  int group_fd_ = -1;
  int records_fd_ = -1;
  std::atomic<uint64_t> metadata_responses_ = 0;
  // Destroyed in this order from the bottom: queues, then the client.
  RdPtr<rd_kafka_t> client_;
  RdPtr<rd_kafka_queue_t> records_queue_;
  RdPtr<rd_kafka_queue_t> group_queue_;
};

}  // namespace firn::kafka
