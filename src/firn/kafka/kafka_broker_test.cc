// KafkaSource against real Kafka brokers: what the mock does not have, transactions above all. Skipped unless
// FIRN_TEST_KAFKA_BOOTSTRAP names a cluster on which this test may create and delete topics "firn-test-...".
#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "firn/kafka/kafka_source.h"
#include "firn/kafka/kafka_test_reader.h"
#include "firn/kafka/rdkafka_handles.h"

namespace firn::kafka {
namespace {

using std::chrono::milliseconds;

// A librdkafka producer with the admin calls and transactions that Firn itself has no use for.
class Writer {
 public:
  Writer(const std::string& bootstrap, const std::string& transactional_id) {
    char text[512];
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap.c_str(), text, sizeof(text));
    if (!transactional_id.empty()) {
      rd_kafka_conf_set(conf, "transactional.id", transactional_id.c_str(), text, sizeof(text));
    }
    client_.reset(rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text)));
    EXPECT_NE(client_, nullptr) << text;
    if (!transactional_id.empty()) Check(rd_kafka_init_transactions(client_.get(), 30'000));
  }

  void Begin() { Check(rd_kafka_begin_transaction(client_.get())); }
  void Commit() { Check(rd_kafka_commit_transaction(client_.get(), 30'000)); }
  // Flushed first: an abort would drop what was not sent yet.
  void Abort() {
    Flush();
    Check(rd_kafka_abort_transaction(client_.get(), 30'000));
  }

  void Produce(const std::string& topic, const std::string& value, int64_t timestamp_ms = 0) {
    rd_kafka_resp_err_t code = rd_kafka_producev(
        client_.get(), RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(0),
        RD_KAFKA_V_VALUE(const_cast<char*>(value.data()), value.size()), RD_KAFKA_V_TIMESTAMP(timestamp_ms),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    EXPECT_EQ(code, RD_KAFKA_RESP_ERR_NO_ERROR);
  }
  void Flush() { EXPECT_EQ(rd_kafka_flush(client_.get(), 30'000), RD_KAFKA_RESP_ERR_NO_ERROR); }

  void CreateTopic(const std::string& topic, int partitions) {
    char text[256];
    rd_kafka_NewTopic_t* wanted = rd_kafka_NewTopic_new(topic.c_str(), partitions, 1, text, sizeof(text));
    RdPtr<rd_kafka_queue_t> queue(rd_kafka_queue_new(client_.get()));
    rd_kafka_CreateTopics(client_.get(), &wanted, 1, nullptr, queue.get());
    Wait(queue.get());
    rd_kafka_NewTopic_destroy(wanted);
    std::this_thread::sleep_for(milliseconds(300));  // leaders
  }

  void DeleteTopic(const std::string& topic) {
    rd_kafka_DeleteTopic_t* unwanted = rd_kafka_DeleteTopic_new(topic.c_str());
    RdPtr<rd_kafka_queue_t> queue(rd_kafka_queue_new(client_.get()));
    rd_kafka_DeleteTopics(client_.get(), &unwanted, 1, nullptr, queue.get());
    Wait(queue.get());
    rd_kafka_DeleteTopic_destroy(unwanted);
  }

  void DeleteRecords(const std::string& topic, int64_t before_offset) {
    TopicPartitionList list = MakeTopicPartitionList(1);
    AddTopicPartition(list, topic, 0, before_offset);
    rd_kafka_DeleteRecords_t* request = rd_kafka_DeleteRecords_new(list.get());
    RdPtr<rd_kafka_queue_t> queue(rd_kafka_queue_new(client_.get()));
    rd_kafka_DeleteRecords(client_.get(), &request, 1, nullptr, queue.get());
    Wait(queue.get());
    rd_kafka_DeleteRecords_destroy(request);
  }

 private:
  void Check(rd_kafka_error_t* error) {
    RdPtr<rd_kafka_error_t> owned(error);
    EXPECT_EQ(error, nullptr) << rd_kafka_error_string(error);
  }
  void Wait(rd_kafka_queue_t* queue) {
    RdPtr<rd_kafka_event_t> event(rd_kafka_queue_poll(queue, 30'000));
    ASSERT_NE(event, nullptr);
    EXPECT_EQ(rd_kafka_event_error(event.get()), RD_KAFKA_RESP_ERR_NO_ERROR);
  }

  RdPtr<rd_kafka_t> client_;
};

class KafkaBrokerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* bootstrap = std::getenv("FIRN_TEST_KAFKA_BOOTSTRAP");
    if (bootstrap == nullptr) GTEST_SKIP() << "FIRN_TEST_KAFKA_BOOTSTRAP is not set";
    bootstrap_ = bootstrap;
    admin_ = std::make_unique<Writer>(bootstrap_, "");
    // Groups and topics of an earlier run must not matter.
    run_ = std::to_string(std::chrono::system_clock::now().time_since_epoch().count());
    topic_ = std::string("firn-test-") + ::testing::UnitTest::GetInstance()->current_test_info()->name() + run_;
  }
  void TearDown() override {
    if (admin_ != nullptr && created_) admin_->DeleteTopic(topic_);
  }
  void CreateTopic(int partitions = 1) {
    admin_->CreateTopic(topic_, partitions);
    created_ = true;
  }

  KafkaSourceOptions Options(bool read_committed = true) {
    KafkaSourceOptions options;
    options.bootstrap = bootstrap_;
    options.group_id = topic_ + (read_committed ? "-committed" : "-uncommitted");
    options.topics = {topic_};
    options.read_committed = read_committed;
    options.properties = {{"session.timeout.ms", "6000"},
                          {"heartbeat.interval.ms", "500"},
                          {"max.poll.interval.ms", "8000"},
                          {"topic.metadata.refresh.interval.ms", "2000"},
                          {"fetch.wait.max.ms", "100"}};
    return options;
  }

  std::string bootstrap_;
  std::string run_;
  std::string topic_;
  bool created_ = false;
  std::unique_ptr<Writer> admin_;
};

TEST_F(KafkaBrokerTest, PositionsPassMarkersAndAbortedData) {
  CreateTopic();
  Writer writer(bootstrap_, topic_);
  writer.Begin();
  for (int i = 0; i < 5; ++i) writer.Produce(topic_, "kept");
  writer.Commit();  // 0..4, marker 5
  writer.Begin();
  for (int i = 0; i < 5; ++i) writer.Produce(topic_, "aborted");
  writer.Abort();   // 6..10, marker 11

  TestReader committed(Options());
  ASSERT_TRUE(committed.StepUntil([&] { return committed.OffsetOf(topic_, 0) == 12; }));
  EXPECT_EQ(committed.records.size(), 5u);
  stream::Position end = committed.positions.at({topic_, 0});
  EXPECT_GE(end.leader_epoch, 0);  // the marker's
  EXPECT_EQ(end.timestamp_ms, committed.records.back().timestamp_ms);
  stream::SourcePartition name = committed.source->partition(committed.indexes.at({topic_, 0}));
  EXPECT_EQ(committed.source->QueryWatermarks(name, 5000)->end, 12);

  TestReader uncommitted(Options(false));
  ASSERT_TRUE(uncommitted.StepUntil([&] { return uncommitted.OffsetOf(topic_, 0) == 12; }));
  EXPECT_EQ(uncommitted.records.size(), 10u);

  // Only aborted data more: no record comes, the position goes on.
  writer.Begin();
  for (int i = 0; i < 3; ++i) writer.Produce(topic_, "aborted");
  writer.Abort();   // 12..14, marker 15
  ASSERT_TRUE(committed.StepUntil([&] { return committed.OffsetOf(topic_, 0) == 16; }));
  EXPECT_EQ(committed.records.size(), 5u);

  // And from such a position, with its epoch, reading goes on without trouble.
  TestReader next(Options());
  next.start[{topic_, 0}] = committed.positions.at({topic_, 0});
  committed.source.reset();
  ASSERT_TRUE(next.StepUntil([&] { return next.assignments == 1; }));
  writer.Begin();
  writer.Produce(topic_, "kept");
  writer.Commit();  // 16, marker 17
  ASSERT_TRUE(next.StepUntil([&] { return next.OffsetOf(topic_, 0) == 18; }));
  ASSERT_EQ(next.records.size(), 1u);
  EXPECT_EQ(next.records[0].offset, 16);
  EXPECT_TRUE(next.troubles.empty());
}

TEST_F(KafkaBrokerTest, AnOpenTransactionIsTheEnd) {
  CreateTopic();
  Writer writer(bootstrap_, topic_);
  for (int i = 0; i < 2; ++i) admin_->Produce(topic_, "plain");
  admin_->Flush();  // 0, 1
  writer.Begin();
  for (int i = 0; i < 3; ++i) writer.Produce(topic_, "open");
  writer.Flush();   // 2..4
  admin_->Produce(topic_, "behind");
  admin_->Flush();  // 5

  TestReader reader(Options());
  ASSERT_TRUE(reader.StepUntil([&] { return reader.OffsetOf(topic_, 0) == 2; }));
  reader.StepFor(800);
  EXPECT_EQ(reader.OffsetOf(topic_, 0), 2);
  EXPECT_EQ(reader.records.size(), 2u);
  stream::SourcePartition name = reader.source->partition(reader.indexes.at({topic_, 0}));
  EXPECT_EQ(reader.source->QueryWatermarks(name, 5000)->end, 2);  // the last stable offset
  TestReader uncommitted(Options(false));
  stream::SourcePartition same = name;
  EXPECT_EQ(uncommitted.source->QueryWatermarks(same, 5000)->end, 6);

  writer.Commit();  // marker 6
  ASSERT_TRUE(reader.StepUntil([&] { return reader.OffsetOf(topic_, 0) == 7; }));
  ASSERT_EQ(reader.records.size(), 6u);
  EXPECT_EQ(reader.records.back().value, "behind");
}

TEST_F(KafkaBrokerTest, OffsetsByTimestamp) {
  CreateTopic();
  for (int i = 0; i < 10; ++i) admin_->Produce(topic_, "x", 1'700'000'000'000 + i * 1000);
  admin_->Flush();
  TestReader reader(Options());
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 10; }));
  stream::SourcePartition name = reader.source->partition(reader.indexes.at({topic_, 0}));
  EXPECT_EQ(reader.source->OffsetForTimestamp(name, 1'700'000'004'000, 5000).value(), 4);
  EXPECT_EQ(reader.source->OffsetForTimestamp(name, 1'700'000'004'001, 5000).value(), 5);
  EXPECT_EQ(reader.source->OffsetForTimestamp(name, 0, 5000).value(), 0);
  EXPECT_EQ(reader.source->OffsetForTimestamp(name, 1'800'000'000'000, 5000).value(), 10);
}

TEST_F(KafkaBrokerTest, RetentionStopsThePartitionUntilASeek) {
  CreateTopic();
  for (int i = 0; i < 10; ++i) admin_->Produce(topic_, "x");
  admin_->Flush();
  admin_->DeleteRecords(topic_, 6);
  TestReader reader(Options());
  reader.start[{topic_, 0}] = {.offset = 3};
  ASSERT_TRUE(reader.StepUntil([&] { return !reader.troubles.empty(); }));
  EXPECT_EQ(reader.troubles[0].error.code(), ErrorCode::kNotFound);
  const stream::PartitionPosition to[] = {{reader.indexes.at({topic_, 0}), {.offset = 6}}};
  ASSERT_TRUE(reader.source->Seek(to).has_value());
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 4; }));
  EXPECT_EQ(reader.records[0].offset, 6);
}

// The case that librdkafka does not see: the new topic is longer than the old one's position.
TEST_F(KafkaBrokerTest, ARecreatedTopicIsNotReadAtTheOldOnesPosition) {
  CreateTopic();
  for (int i = 0; i < 10; ++i) admin_->Produce(topic_, "old");
  admin_->Flush();
  KafkaSourceOptions options = Options();
  options.properties["topic.metadata.refresh.interval.ms"] = "60000";  // only the fetch itself finds out
  TestReader reader(options);
  ASSERT_TRUE(reader.StepUntil([&] { return reader.OffsetOf(topic_, 0) == 10; }));
  std::string old_id = reader.source->partition(reader.indexes.at({topic_, 0})).topic_id;
  admin_->DeleteTopic(topic_);
  admin_->CreateTopic(topic_, 1);
  Writer writer(bootstrap_, "");
  for (int i = 0; i < 50; ++i) writer.Produce(topic_, "new");
  writer.Flush();
  ASSERT_TRUE(reader.StepUntil([&] { return reader.assignments == 2 || !reader.troubles.empty(); }, 40'000));
  reader.StepFor(2000);
  // Under the old identity not one record of the new topic.
  size_t old_ones = 0;
  for (const SeenRecord& record : reader.records) old_ones += record.value == "old";
  EXPECT_EQ(old_ones, 10u);
  if (reader.assignments == 1) {
    EXPECT_EQ(reader.records.size(), 10u);
    EXPECT_EQ(reader.troubles[0].error.code(), ErrorCode::kConflict);
  } else {
    EXPECT_NE(reader.source->partition(reader.indexes.at({topic_, 0})).topic_id, old_id);
  }
}

TEST_F(KafkaBrokerTest, ADeferredReleaseKeepsTheSession) {
  CreateTopic(4);
  auto producer = MakeProducer(bootstrap_);
  ProduceNumbered(*producer, topic_, 4, 0, 1000);
  for (const char* protocol : {"cooperative-sticky", "range", "consumer"}) {
    KafkaSourceOptions options = Options();
    options.group_id += protocol;
    if (std::string_view(protocol) == "consumer") {
      options.properties.erase("session.timeout.ms");  // the broker's business then
      options.properties.erase("heartbeat.interval.ms");
      options.properties["max.poll.interval.ms"] = "20000";
      options.properties["group.protocol"] = "consumer";
    } else {
      options.properties["partition.assignment.strategy"] = protocol;
    }
    TestReader first(options);
    ASSERT_TRUE(first.StepUntil([&] { return first.records.size() == 4000; }, 60'000)) << protocol;
    TestReader second(options);
    ASSERT_TRUE(first.StepUntil([&] {
      second.Step();
      return first.revocations == 1;
    }, 40'000, /*answer=*/false)) << protocol;
    const auto until = std::chrono::steady_clock::now() + milliseconds(7000);
    while (std::chrono::steady_clock::now() < until) {
      first.Step(/*answer=*/false);
      second.Step();
    }
    EXPECT_EQ(first.losses, 0) << protocol;
    for (const auto& [name, position] : first.positions) second.start[name] = position;
    first.AnswerReleased();
    ASSERT_TRUE(first.StepUntil([&] {
      second.Step();
      return first.owned.size() == 2 && second.owned.size() == 2;
    }, 60'000)) << protocol;
    first.StepFor(1000);
    second.StepFor(1000);
    EXPECT_EQ(first.records.size(), 4000u) << protocol;
    EXPECT_TRUE(second.records.empty()) << protocol;
    EXPECT_EQ(first.losses + second.losses, 0) << protocol;
  }
}

TEST_F(KafkaBrokerTest, OneBatchAfterTheOtherNothingTwice) {
  CreateTopic(6);
  auto producer = MakeProducer(bootstrap_);
  ProduceNumbered(*producer, topic_, 6, 0, 10'000);
  KafkaSourceOptions options = Options();
  const auto begin = std::chrono::steady_clock::now();
  TestReader reader(options);
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() >= 60'000; }, 60'000));
  const auto took = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begin);
  RecordProperty("milliseconds", static_cast<int>(took.count()));
  reader.StepFor(500);
  std::map<int32_t, int64_t> next;
  for (const SeenRecord& record : reader.records) ASSERT_EQ(record.offset, next[record.partition]++);
  for (int32_t partition = 0; partition < 6; ++partition) EXPECT_EQ(reader.OffsetOf(topic_, partition), 10'000);
}

}  // namespace
}  // namespace firn::kafka
