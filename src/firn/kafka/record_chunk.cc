#include "firn/kafka/record_chunk.h"

#include <string_view>

namespace firn::kafka {
namespace {

// One librdkafka message (an op of about 400 bytes), one Record, one pointer.
constexpr size_t kRecordOverheadBytes = 512;

std::optional<std::string_view> Bytes(const void* data, size_t length) {
  if (data == nullptr) return std::nullopt;
  return std::string_view(static_cast<const char*>(data), length);
}

stream::TimestampType ToTimestampType(rd_kafka_timestamp_type_t type) {
  switch (type) {
    case RD_KAFKA_TIMESTAMP_CREATE_TIME: return stream::TimestampType::kCreateTime;
    case RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME: return stream::TimestampType::kLogAppendTime;
    case RD_KAFKA_TIMESTAMP_NOT_AVAILABLE: break;
  }
  return stream::TimestampType::kNone;
}

}  // namespace

KafkaRecordChunk::KafkaRecordChunk(std::shared_ptr<ConsumerHandle> consumer, size_t capacity)
    : consumer_(std::move(consumer)) {
  messages_.reserve(capacity);
  records_.reserve(capacity);
}

KafkaRecordChunk::~KafkaRecordChunk() {
  for (rd_kafka_message_t* message : messages_) rd_kafka_message_destroy(message);
}

const stream::Record* KafkaRecordChunk::Add(rd_kafka_message_t* message, stream::PartitionIndex partition) {
  if (!AddHeaders(message)) return nullptr;
  messages_.push_back(message);
  stream::Record& record = records_.emplace_back();
  record.partition = partition;
  record.offset = message->offset;
  record.leader_epoch = rd_kafka_message_leader_epoch(message);
  rd_kafka_timestamp_type_t type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
  record.timestamp_ms = rd_kafka_message_timestamp(message, &type);
  record.timestamp_type = ToTimestampType(type);
  record.key = Bytes(message->key, message->key_len);
  record.value = Bytes(message->payload, message->len);
  bytes_ += message->key_len + message->len + kRecordOverheadBytes;
  return &record;
}

// Of the record that comes next.
bool KafkaRecordChunk::AddHeaders(const rd_kafka_message_t* message) {
  rd_kafka_headers_t* headers = nullptr;
  rd_kafka_resp_err_t code = rd_kafka_message_headers(message, &headers);
  if (code == RD_KAFKA_RESP_ERR__NOENT) return true;
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return false;
  HeaderRange range{.record = records_.size(), .first = headers_.size(), .count = 0};
  const char* name = nullptr;
  const void* value = nullptr;
  size_t length = 0;
  while (rd_kafka_header_get_all(headers, range.count, &name, &value, &length) == RD_KAFKA_RESP_ERR_NO_ERROR) {
    headers_.push_back({.name = name, .value = Bytes(value, length)});
    bytes_ += headers_.back().name.size() + length + sizeof(stream::Header);
    ++range.count;
  }
  header_ranges_.push_back(range);
  return true;
}

void KafkaRecordChunk::Finish(std::vector<stream::PartitionPosition> positions) {
  positions_ = std::move(positions);
  // Only now: headers_ has stopped moving.
  for (const HeaderRange& range : header_ranges_) {
    records_[range.record].headers = std::span(headers_).subspan(range.first, range.count);
  }
  header_ranges_.clear();
}

void KafkaRecordChunk::Drop(const std::set<stream::PartitionIndex>& partitions) {
  std::erase_if(positions_, [&](const auto& one) { return partitions.contains(one.partition); });
  size_t kept = 0;
  for (size_t i = 0; i < records_.size(); ++i) {
    if (partitions.contains(records_[i].partition)) {
      bytes_ -= messages_[i]->key_len + messages_[i]->len + kRecordOverheadBytes;
      for (const stream::Header& header : records_[i].headers) {
        bytes_ -= header.name.size() + header.value.value_or("").size() + sizeof(stream::Header);
      }
      rd_kafka_message_destroy(messages_[i]);
      continue;
    }
    records_[kept] = records_[i];
    messages_[kept++] = messages_[i];
  }
  records_.resize(kept);
  messages_.resize(kept);
}

}  // namespace firn::kafka
