// KafkaRecordChunk: records of one Poll, still in the memory where librdkafka put them; nothing is copied.
//
// Owns the messages and a share of the client. Built by the poll thread; then immutable and free to be handed on and
// destroyed anywhere. One message keeps the whole fetched (decompressed) batch alive that it came in.
#pragma once

#include <memory>
#include <set>
#include <span>
#include <vector>

#include "firn/kafka/consumer_handle.h"
#include "firn/stream/record_source.h"

namespace firn::kafka {

class KafkaRecordChunk final : public stream::RecordChunk {
 public:
  KafkaRecordChunk(std::shared_ptr<ConsumerHandle> consumer, size_t capacity);
  ~KafkaRecordChunk() override;

  // Takes the message over; records become visible with Finish. Nullptr, and the message stays the caller's, when its
  // headers cannot be read.
  const stream::Record* Add(rd_kafka_message_t* message, stream::PartitionIndex partition);
  void Finish(std::vector<stream::PartitionPosition> positions);
  // Takes out what it holds of these partitions, positions too. Only while nobody else has seen the finished chunk.
  void Drop(const std::set<stream::PartitionIndex>& partitions);

  std::span<const stream::Record> records() const override { return records_; }
  std::span<const stream::PartitionPosition> positions() const override { return positions_; }
  // Keys, values and headers, plus what librdkafka and this chunk keep for each record.
  size_t bytes() const override { return bytes_; }

 private:
  struct HeaderRange {
    size_t record;
    size_t first;
    size_t count;
  };
  bool AddHeaders(const rd_kafka_message_t* message);

  std::shared_ptr<ConsumerHandle> consumer_;
  std::vector<rd_kafka_message_t*> messages_;
  std::vector<stream::Record> records_;
  std::vector<stream::Header> headers_;
  std::vector<HeaderRange> header_ranges_;
  std::vector<stream::PartitionPosition> positions_;
  size_t bytes_ = 0;
};

}  // namespace firn::kafka
