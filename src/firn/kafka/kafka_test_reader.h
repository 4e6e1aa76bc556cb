// TestReader: a KafkaSource with the least that a pipeline does around it, for tests: answers assignments from a table
// of positions, keeps all records as owned text, and remembers the events. One thread.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "firn/kafka/kafka_source.h"
#include "firn/kafka/producer.h"

namespace firn::kafka {

struct SeenRecord {
  std::string topic;
  int32_t partition = 0;
  int64_t offset = 0;
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::vector<std::pair<std::string, std::optional<std::string>>> headers;
  int64_t timestamp_ms = 0;
  stream::TimestampType timestamp_type = stream::TimestampType::kNone;
  int32_t leader_epoch = -1;
};

class TestReader {
 public:
  using TopicPartition = std::pair<std::string, int32_t>;

  explicit TestReader(KafkaSourceOptions options) {
    auto created = KafkaSource::Create(std::move(options));
    EXPECT_TRUE(created.has_value()) << created.error().ToString();
    if (!created.has_value()) {
      fatal = created.error();
      return;
    }
    source = std::move(*created);
  }

  // Polls once; with `answer`, assignments start at `start` (else 0) and revocations are released at once.
  void Step(bool answer = true, bool want_records = true, int64_t timeout_ms = 20) {
    if (source == nullptr) return;
    auto polled = source->Poll(timeout_ms, want_records);
    if (!polled.has_value()) {
      fatal = polled.error();
      return;
    }
    stream::SourceEvent& event = *polled;
    if (auto* chunk = std::get_if<std::unique_ptr<stream::RecordChunk>>(&event)) Keep(**chunk);
    if (auto* assigned = std::get_if<stream::PartitionsAssigned>(&event)) {
      ++assignments;
      open_assigned = assigned->partitions;
      if (answer) AnswerAssigned();
    }
    if (auto* revoked = std::get_if<stream::PartitionsRevoked>(&event)) {
      ++revocations;
      open_released = revoked->partitions;
      if (answer) AnswerReleased();
    }
    if (auto* lost = std::get_if<stream::PartitionsLost>(&event)) {
      ++losses;
      open_released = lost->partitions;
      if (answer) AnswerReleased();
    }
    if (auto* trouble = std::get_if<stream::PartitionTrouble>(&event)) troubles.emplace_back(std::move(*trouble));
    if (auto* trouble = std::get_if<stream::SourceTrouble>(&event)) source_troubles.push_back(trouble->error);
  }

  void AnswerAssigned() {
    std::vector<stream::PartitionPosition> positions;
    for (stream::PartitionIndex index : open_assigned) {
      stream::SourcePartition name = source->partition(index);
      indexes[{name.topic, name.partition}] = index;
      if (hold.contains({name.topic, name.partition})) continue;
      auto from = start.find({name.topic, name.partition});
      positions.push_back({index, from == start.end() ? stream::Position{} : from->second});
    }
    auto answered = source->Assign(positions);
    EXPECT_TRUE(answered.has_value()) << answered.error().ToString();
    for (stream::PartitionIndex index : open_assigned) owned.insert(index);
    open_assigned.clear();
  }

  void AnswerReleased() {
    auto answered = source->Release(open_released);
    EXPECT_TRUE(answered.has_value()) << answered.error().ToString();
    for (stream::PartitionIndex index : open_released) {
      stream::SourcePartition name = source->partition(index);
      auto at = positions.find({name.topic, name.partition});
      if (at != positions.end()) start[at->first] = at->second;  // as a commit would have left it
      owned.erase(index);
    }
    open_released.clear();
  }

  bool StepUntil(const std::function<bool()>& done, int64_t timeout_ms = 60'000, bool answer = true,
                 bool want_records = true) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    while (!done()) {
      if (std::chrono::steady_clock::now() > deadline || fatal.has_value()) return false;
      Step(answer, want_records);
    }
    return true;
  }

  void StepFor(int64_t duration_ms, bool answer = true, bool want_records = true) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(duration_ms);
    while (std::chrono::steady_clock::now() < deadline && !fatal.has_value()) Step(answer, want_records);
  }

  int64_t OffsetOf(const std::string& topic, int32_t partition) const {
    auto at = positions.find({topic, partition});
    return at == positions.end() ? -1 : at->second.offset;
  }

  std::unique_ptr<KafkaSource> source;
  std::map<TopicPartition, stream::Position> start;
  std::set<TopicPartition> hold;
  std::map<TopicPartition, stream::PartitionIndex> indexes;
  std::map<TopicPartition, stream::Position> positions;
  std::vector<SeenRecord> records;
  std::set<stream::PartitionIndex> owned;
  std::vector<stream::PartitionIndex> open_assigned;
  std::vector<stream::PartitionIndex> open_released;
  std::vector<stream::PartitionTrouble> troubles;
  std::vector<Error> source_troubles;
  std::optional<Error> fatal;
  int assignments = 0;
  int revocations = 0;
  int losses = 0;

 private:
  void Keep(const stream::RecordChunk& chunk) {
    size_t bytes = 0;
    for (const stream::Record& record : chunk.records()) {
      stream::SourcePartition name = source->partition(record.partition);
      SeenRecord& seen = records.emplace_back();
      seen.topic = name.topic;
      seen.partition = name.partition;
      seen.offset = record.offset;
      if (record.key.has_value()) seen.key = std::string(*record.key);
      if (record.value.has_value()) seen.value = std::string(*record.value);
      for (const stream::Header& header : record.headers) {
        std::optional<std::string> value;
        if (header.value.has_value()) value = std::string(*header.value);
        seen.headers.emplace_back(std::string(header.name), value);
      }
      seen.timestamp_ms = record.timestamp_ms;
      seen.timestamp_type = record.timestamp_type;
      seen.leader_epoch = record.leader_epoch;
      bytes += record.value.value_or("").size();
    }
    EXPECT_GE(chunk.bytes(), bytes);
    for (const stream::PartitionPosition& one : chunk.positions()) {
      stream::SourcePartition name = source->partition(one.partition);
      auto [at, first] = positions.try_emplace({name.topic, name.partition}, one.position);
      at->second = one.position;
    }
  }
};

inline std::unique_ptr<Producer> MakeProducer(const std::string& bootstrap, Properties properties = {}) {
  auto producer = Producer::Create({.bootstrap = bootstrap, .properties = std::move(properties)});
  EXPECT_TRUE(producer.has_value()) << producer.error().ToString();
  return std::move(*producer);
}

// Values are "<partition>:<number>", numbered from `first`, each partition by itself.
inline void ProduceNumbered(Producer& producer, const std::string& topic, int partitions, int first, int count) {
  for (int32_t partition = 0; partition < partitions; ++partition) {
    for (int i = first; i < first + count; ++i) {
      std::string value = std::to_string(partition) + ":" + std::to_string(i);
      ASSERT_TRUE(producer.Produce(topic, partition, {.value = value}).has_value());
    }
  }
  Status flushed = producer.Flush(60'000);
  ASSERT_TRUE(flushed.has_value()) << flushed.error().ToString();
}

}  // namespace firn::kafka
