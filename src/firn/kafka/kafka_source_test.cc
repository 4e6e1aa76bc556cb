// KafkaSource against librdkafka's mock brokers. kafka_broker_test.cc has what only real brokers do.
#include "firn/kafka/kafka_source.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <thread>

#include "firn/kafka/kafka_test_reader.h"
#include "firn/kafka/mock_cluster.h"
#include "firn/kafka/record_chunk.h"

namespace firn::kafka {
namespace {

using std::chrono::milliseconds;

constexpr int16_t kFetchApi = 1;
constexpr int16_t kMetadataApi = 3;
constexpr int16_t kTopicAuthorizationFailed = 29;
constexpr int16_t kThrottlingQuotaExceeded = 89;  // a partition's error that passes by itself

class KafkaSourceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto created = MockCluster::Create(2);
    ASSERT_TRUE(created.has_value()) << created.error().ToString();
    cluster_ = std::move(*created);
    producer_ = MakeProducer(cluster_->bootstrap());
  }

  KafkaSourceOptions Options(std::vector<std::string> topics = {"flows"}) {
    KafkaSourceOptions options;
    options.bootstrap = cluster_->bootstrap();
    options.group_id = "pipeline";
    options.topics = std::move(topics);
    options.properties = {{"session.timeout.ms", "2000"},
                          {"heartbeat.interval.ms", "200"},
                          {"max.poll.interval.ms", "3000"},
                          {"fetch.wait.max.ms", "50"},
                          {"topic.metadata.refresh.interval.ms", "500"},
                          {"reconnect.backoff.max.ms", "500"}};
    return options;
  }

  void CreateTopic(const std::string& topic, int partitions) {
    Status created = cluster_->CreateTopic(topic, partitions);
    ASSERT_TRUE(created.has_value()) << created.error().ToString();
  }

  std::unique_ptr<MockCluster> cluster_;
  std::unique_ptr<Producer> producer_;
};

// Every (partition, offset) once, in order within its partition.
void ExpectEachOnce(const std::vector<SeenRecord>& records, int partitions, int count) {
  std::map<int32_t, std::vector<int64_t>> offsets;
  for (const SeenRecord& record : records) {
    offsets[record.partition].push_back(record.offset);
    EXPECT_EQ(record.value, std::to_string(record.partition) + ":" + std::to_string(record.offset));
  }
  ASSERT_EQ(offsets.size(), static_cast<size_t>(partitions));
  for (const auto& [partition, seen] : offsets) {
    ASSERT_EQ(seen.size(), static_cast<size_t>(count)) << partition;
    for (int i = 0; i < count; ++i) ASSERT_EQ(seen[i], i) << partition;
  }
}

TEST_F(KafkaSourceTest, ReadsEverythingOnceAndItsPositionsReachTheEnd) {
  CreateTopic("flows", 4);
  ProduceNumbered(*producer_, "flows", 4, 0, 500);
  TestReader reader(Options());
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() >= 2000; }));
  reader.StepFor(300);
  ExpectEachOnce(reader.records, 4, 500);
  for (int32_t partition = 0; partition < 4; ++partition) EXPECT_EQ(reader.OffsetOf("flows", partition), 500);

  stream::SourcePartition name = reader.source->partition(reader.indexes.at({"flows", 0}));
  EXPECT_EQ(name.cluster_id, reader.source->cluster_id());
  EXPECT_FALSE(name.cluster_id.empty());
  EXPECT_EQ(name.topic_id.size(), 36u);
  EXPECT_EQ(reader.source->IndexOf(name), reader.indexes.at({"flows", 0}));
  auto watermarks = reader.source->QueryWatermarks(name, 5000);
  ASSERT_TRUE(watermarks.has_value()) << watermarks.error().ToString();
  EXPECT_EQ(watermarks->start, 0);
  EXPECT_EQ(watermarks->end, 500);
  EXPECT_TRUE(reader.troubles.empty());

  std::vector<stream::SourcePartition> names;
  for (int32_t partition : {2, 0, 9, 3, 1}) names.push_back(name), names.back().partition = partition;
  names.push_back(name);
  names.back().topic = "no-such-topic";
  ASSERT_TRUE(producer_->Produce("flows", 3, {.value = "more"}).has_value());
  ASSERT_TRUE(producer_->Flush(10'000).has_value());
  auto ends = reader.source->QueryEnds(names, 5000);
  ASSERT_TRUE(ends.has_value()) << ends.error().ToString();
  EXPECT_EQ(*ends, (std::vector<std::optional<int64_t>>{500, 500, std::nullopt, 501, 500, std::nullopt}));
  EXPECT_TRUE(reader.source->QueryEnds({}, 5000)->empty());
}

TEST_F(KafkaSourceTest, KeysValuesAndHeadersKeepNullAndEmptyApart) {
  CreateTopic("flows", 1);
  const stream::Header headers[] = {{"trace", "abc"}, {"none", std::nullopt}, {"empty", ""}, {"trace", "again"}};
  ASSERT_TRUE(producer_->Produce("flows", 0, {.key = "k", .value = "v", .headers = headers, .timestamp_ms = 1'700'000})
                  .has_value());
  ASSERT_TRUE(producer_->Produce("flows", 0, {.key = "k"}).has_value());
  ASSERT_TRUE(producer_->Produce("flows", 0, {.key = "", .value = ""}).has_value());
  ASSERT_TRUE(producer_->Produce("flows", 0, {.value = std::string_view("\0\xff", 2)}).has_value());
  ASSERT_TRUE(producer_->Flush(10'000).has_value());

  TestReader reader(Options());
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 4; }));
  const SeenRecord& full = reader.records[0];
  EXPECT_EQ(full.key, "k");
  EXPECT_EQ(full.value, "v");
  EXPECT_EQ(full.timestamp_ms, 1'700'000);
  EXPECT_EQ(full.timestamp_type, stream::TimestampType::kCreateTime);
  ASSERT_EQ(full.headers.size(), 4u);
  EXPECT_EQ(full.headers[0], std::make_pair(std::string("trace"), std::optional<std::string>("abc")));
  EXPECT_EQ(full.headers[1].second, std::nullopt);
  EXPECT_EQ(full.headers[2].second, "");
  EXPECT_EQ(full.headers[3].second, "again");
  EXPECT_EQ(reader.records[1].key, "k");
  EXPECT_EQ(reader.records[1].value, std::nullopt);
  EXPECT_TRUE(reader.records[1].headers.empty());
  EXPECT_EQ(reader.records[2].key, "");
  EXPECT_EQ(reader.records[2].value, "");
  EXPECT_EQ(reader.records[3].key, std::nullopt);
  EXPECT_EQ(reader.records[3].value, std::string("\0\xff", 2));
}

TEST_F(KafkaSourceTest, ADeferredReleaseKeepsTheSessionAndLosesAndDoublesNothing) {
  CreateTopic("flows", 4);
  ProduceNumbered(*producer_, "flows", 4, 0, 100);
  TestReader first(Options());
  ASSERT_TRUE(first.StepUntil([&] { return first.records.size() == 400; }));

  TestReader second(Options());
  // The newcomer's joining takes partitions from the first, which answers only after more than its session timeout.
  ASSERT_TRUE(first.StepUntil([&] {
    second.Step();
    return first.revocations == 1;
  }, 60'000, /*answer=*/false));
  EXPECT_EQ(first.open_released.size(), 2u);
  const auto until = std::chrono::steady_clock::now() + milliseconds(2600);
  while (std::chrono::steady_clock::now() < until) {
    first.Step(/*answer=*/false);
    second.Step();
  }
  EXPECT_EQ(first.losses, 0);
  EXPECT_EQ(second.owned.size(), 0u);  // still the first's
  for (const auto& [name, position] : first.positions) second.start[name] = position;
  first.AnswerReleased();
  ASSERT_TRUE(first.StepUntil([&] {
    second.Step();
    return second.owned.size() == 2;
  }));
  EXPECT_EQ(first.owned.size(), 2u);
  EXPECT_EQ(first.losses, 0);

  ProduceNumbered(*producer_, "flows", 4, 100, 100);
  ASSERT_TRUE(first.StepUntil([&] {
    second.Step();
    return first.records.size() + second.records.size() >= 800;
  }));
  std::vector<SeenRecord> all = first.records;
  all.insert(all.end(), second.records.begin(), second.records.end());
  ExpectEachOnce(all, 4, 200);
}

TEST_F(KafkaSourceTest, ADeferredAssignKeepsTheSession) {
  CreateTopic("flows", 2);
  ProduceNumbered(*producer_, "flows", 2, 0, 10);
  TestReader reader(Options());
  ASSERT_TRUE(reader.StepUntil([&] { return reader.assignments == 1; }, 60'000, /*answer=*/false));
  reader.StepFor(4000, /*answer=*/false);  // longer than session and poll interval
  EXPECT_EQ(reader.losses + reader.revocations, 0);
  EXPECT_TRUE(reader.records.empty());
  reader.AnswerAssigned();
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 20; }));
  ExpectEachOnce(reader.records, 2, 10);
}

TEST_F(KafkaSourceTest, EagerRebalancingWorksToo) {
  CreateTopic("flows", 4);
  ProduceNumbered(*producer_, "flows", 4, 0, 50);
  KafkaSourceOptions options = Options();
  options.properties["partition.assignment.strategy"] = "range";
  TestReader first(options);
  ASSERT_TRUE(first.StepUntil([&] { return first.records.size() == 200; }));
  TestReader second(options);
  // Eager: everything is taken, then shared out anew.
  ASSERT_TRUE(first.StepUntil([&] {
    second.Step();
    return first.revocations == 1;
  }, 60'000, /*answer=*/false));
  EXPECT_EQ(first.open_released.size(), 4u);
  for (const auto& [name, position] : first.positions) second.start[name] = position;
  first.AnswerReleased();
  ASSERT_TRUE(first.StepUntil([&] {
    second.Step();
    return first.owned.size() == 2 && second.owned.size() == 2;
  }));
  ProduceNumbered(*producer_, "flows", 4, 50, 50);
  ASSERT_TRUE(first.StepUntil([&] {
    second.Step();
    return first.records.size() + second.records.size() >= 400;
  }));
  std::vector<SeenRecord> all = first.records;
  all.insert(all.end(), second.records.begin(), second.records.end());
  ExpectEachOnce(all, 4, 100);
}

TEST_F(KafkaSourceTest, SeekingBackGivesExactlyWhatLiesBehind) {
  CreateTopic("flows", 2);
  ProduceNumbered(*producer_, "flows", 2, 0, 1000);
  KafkaSourceOptions options = Options();
  options.chunk_records_max = 50;  // much stays fetched and not given out
  TestReader reader(options);
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() >= 300; }));
  reader.records.clear();
  const stream::PartitionPosition to[] = {{reader.indexes.at({"flows", 0}), {.offset = 7}},
                                          {reader.indexes.at({"flows", 1}), {.offset = 990}}};
  ASSERT_TRUE(reader.source->Seek(to).has_value());
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() >= 993 + 10; }));
  reader.StepFor(300);
  int64_t next[] = {7, 990};
  for (const SeenRecord& record : reader.records) EXPECT_EQ(record.offset, next[record.partition]++);
  EXPECT_EQ(next[0], 1000);
  EXPECT_EQ(next[1], 1000);

  const stream::PartitionPosition nobody[] = {{99, {.offset = 0}}};
  EXPECT_EQ(reader.source->Seek(nobody).error().code(), ErrorCode::kInvalidInput);
  const stream::PartitionPosition negative[] = {{reader.indexes.at({"flows", 0}), {.offset = -2}}};
  EXPECT_EQ(reader.source->Seek(negative).error().code(), ErrorCode::kInvalidInput);
}

TEST_F(KafkaSourceTest, NotWantingRecordsKeepsTheMembership) {
  CreateTopic("flows", 1);
  ProduceNumbered(*producer_, "flows", 1, 0, 10);
  TestReader reader(Options());
  ASSERT_TRUE(reader.StepUntil([&] { return reader.assignments == 1; }, 60'000, true, /*want_records=*/false));
  reader.StepFor(4500, true, /*want_records=*/false);
  EXPECT_TRUE(reader.records.empty());
  EXPECT_EQ(reader.losses, 0);
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 10; }));

  // The test can fail: without Poll the group throws us out, and we get it all back.
  std::this_thread::sleep_for(milliseconds(4500));
  ASSERT_TRUE(reader.StepUntil([&] { return reader.losses == 1; }));
  ASSERT_TRUE(reader.StepUntil([&] { return reader.assignments == 2; }));
}

TEST_F(KafkaSourceTest, AnOffsetThatRetentionRemovedStopsThePartitionUntilASeek) {
  CreateTopic("flows", 2);
  ProduceNumbered(*producer_, "flows", 2, 0, 100);
  ASSERT_TRUE(cluster_->DeleteRecords("flows", 0, 60).has_value());
  for (const char* strategy : {"cooperative-sticky", "roundrobin"}) {
    KafkaSourceOptions options = Options();
    options.group_id = strategy;
    options.properties["partition.assignment.strategy"] = strategy;
    TestReader reader(options);
    reader.start[{"flows", 0}] = {.offset = 10};
    ASSERT_TRUE(reader.StepUntil([&] { return !reader.troubles.empty() && reader.records.size() == 100; })) << strategy;
    reader.StepFor(300);
    ASSERT_EQ(reader.troubles.size(), 1u);
    EXPECT_EQ(reader.troubles[0].partition, reader.indexes.at({"flows", 0}));
    EXPECT_EQ(reader.troubles[0].error.code(), ErrorCode::kNotFound);
    EXPECT_EQ(reader.records.size(), 100u);  // the other partition goes on
    const stream::PartitionPosition to[] = {{reader.indexes.at({"flows", 0}), {.offset = 60}}};
    ASSERT_TRUE(reader.source->Seek(to).has_value());
    ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 140; })) << strategy;
    reader.StepFor(300);
    EXPECT_EQ(reader.records.size(), 140u);
    EXPECT_EQ(reader.records.back().offset, 99);
    EXPECT_EQ(reader.OffsetOf("flows", 0), 100);
    EXPECT_EQ(reader.troubles.size(), 1u);
  }
}

TEST_F(KafkaSourceTest, AnOffsetBehindTheEndIsTrouble) {
  CreateTopic("flows", 1);
  ProduceNumbered(*producer_, "flows", 1, 0, 10);
  TestReader reader(Options());
  reader.start[{"flows", 0}] = {.offset = 11};
  ASSERT_TRUE(reader.StepUntil([&] { return !reader.troubles.empty(); }));
  EXPECT_EQ(reader.troubles[0].error.code(), ErrorCode::kNotFound);
  EXPECT_TRUE(reader.records.empty());
}

TEST_F(KafkaSourceTest, ATruncatedLogIsSeenByItsLeaderEpoch) {
  CreateTopic("flows", 1);
  ASSERT_TRUE(cluster_->SetLeader("flows", 0, 1).has_value());
  ProduceNumbered(*producer_, "flows", 1, 0, 10);
  int32_t epoch = -1;
  {
    TestReader reader(Options());
    ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 10; }));
    epoch = reader.records[0].leader_epoch;
    ASSERT_GE(epoch, 0);
  }
  ASSERT_TRUE(cluster_->SetLeader("flows", 0, 2).has_value());
  ProduceNumbered(*producer_, "flows", 1, 10, 10);
  // Somebody read up to 15 of the old epoch, which ended at 10: what is at 10 to 14 now is something else.
  TestReader reader(Options());
  reader.start[{"flows", 0}] = {.offset = 15, .leader_epoch = epoch};
  ASSERT_TRUE(reader.StepUntil([&] { return !reader.troubles.empty(); }));
  EXPECT_EQ(reader.troubles[0].error.code(), ErrorCode::kConflict);
  EXPECT_TRUE(reader.records.empty());
  // And one that is where the old epoch ended reads on.
  const stream::PartitionPosition to[] = {{reader.indexes.at({"flows", 0}), {.offset = 10, .leader_epoch = epoch}}};
  ASSERT_TRUE(reader.source->Seek(to).has_value());
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 10; }));
  EXPECT_EQ(reader.records[0].offset, 10);
}

TEST_F(KafkaSourceTest, ARecreatedTopicIsNotReadAtTheOldOnesPosition) {
  CreateTopic("flows", 1);
  ProduceNumbered(*producer_, "flows", 1, 0, 10);
  TestReader reader(Options());
  ASSERT_TRUE(reader.StepUntil([&] { return reader.OffsetOf("flows", 0) == 10; }));
  std::string old_id = reader.source->partition(reader.indexes.at({"flows", 0})).topic_id;
  ASSERT_TRUE(cluster_->DeleteTopic("flows").has_value());
  CreateTopic("flows", 1);
  producer_ = MakeProducer(cluster_->bootstrap());
  ProduceNumbered(*producer_, "flows", 1, 0, 50);
  // Either librdkafka noticed that it was gone and gave it back, or the new id was noticed.
  ASSERT_TRUE(reader.StepUntil([&] { return reader.assignments == 2 || !reader.troubles.empty(); }));
  if (!reader.troubles.empty()) {
    EXPECT_EQ(reader.troubles[0].error.code(), ErrorCode::kConflict);
    EXPECT_EQ(reader.records.size(), 10u);
  } else {
    EXPECT_NE(reader.source->partition(reader.indexes.at({"flows", 0})).topic_id, old_id);
  }
}

TEST_F(KafkaSourceTest, ARecreatedTopicIsNotReadBySeekingEither) {
  CreateTopic("flows", 1);
  ProduceNumbered(*producer_, "flows", 1, 0, 10);
  KafkaSourceOptions options = Options();
  options.properties["topic.metadata.refresh.interval.ms"] = "100000";  // the group must not notice before we do
  TestReader reader(options);
  ASSERT_TRUE(reader.StepUntil([&] { return reader.OffsetOf("flows", 0) == 10; }));
  ASSERT_TRUE(cluster_->DeleteTopic("flows").has_value());
  CreateTopic("flows", 1);
  producer_ = MakeProducer(cluster_->bootstrap());
  ProduceNumbered(*producer_, "flows", 1, 0, 50);
  ASSERT_TRUE(reader.StepUntil([&] { return reader.assignments == 2 || !reader.troubles.empty(); }));
  if (reader.assignments == 2) GTEST_SKIP() << "the group was faster";
  EXPECT_EQ(reader.troubles[0].error.code(), ErrorCode::kConflict);
  const stream::PartitionPosition to[] = {{reader.indexes.at({"flows", 0}), {.offset = 0}}};
  ASSERT_TRUE(reader.source->Seek(to).has_value());
  ASSERT_TRUE(reader.StepUntil([&] { return reader.troubles.size() == 2 || reader.records.size() > 10; }));
  EXPECT_EQ(reader.records.size(), 10u);
  EXPECT_EQ(reader.troubles.back().partition, reader.indexes.at({"flows", 0}));
  EXPECT_EQ(reader.troubles.back().error.code(), ErrorCode::kConflict);
}

TEST_F(KafkaSourceTest, ATopicThatIsGoneBeforeItIsAssignedHoldsUpNoOther) {
  for (const char* strategy : {"cooperative-sticky", "roundrobin"}) {
    const std::string gone = fmt::format("gone-{}", strategy);
    const std::string stays = fmt::format("stays-{}", strategy);
    CreateTopic(stays, 1);
    CreateTopic(gone, 1);
    ProduceNumbered(*producer_, stays, 1, 0, 10);
    KafkaSourceOptions options = Options({stays, gone});
    options.group_id = strategy;
    options.properties["partition.assignment.strategy"] = strategy;
    options.properties["topic.metadata.refresh.interval.ms"] = "100000";
    options.properties["max.poll.interval.ms"] = "60000";
    TestReader reader(options);
    std::this_thread::sleep_for(milliseconds(2000));  // the group shares both topics out; nobody has asked for ids yet
    ASSERT_TRUE(cluster_->DeleteTopic(gone).has_value());
    ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 10; }, 10'000)) << strategy;
    EXPECT_EQ(reader.owned.size(), 1u);
    // It comes back: assigned then, with what the topic is called now.
    CreateTopic(gone, 1);
    auto producer = MakeProducer(cluster_->bootstrap());
    ProduceNumbered(*producer, gone, 1, 0, 10);
    ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 20; }, 30'000)) << strategy;
    EXPECT_EQ(reader.OffsetOf(gone, 0), 10);
    EXPECT_EQ(reader.OffsetOf(stays, 0), 10);
  }
}

TEST_F(KafkaSourceTest, TroubleComesBehindTheRecordsThatWereFetchedBeforeIt) {
  CreateTopic("flows", 1);
  ProduceNumbered(*producer_, "flows", 1, 0, 10);
  TestReader reader(Options());
  ASSERT_TRUE(reader.StepUntil([&] { return reader.assignments == 1; }, 60'000, true, /*want_records=*/false));
  reader.StepFor(1000, true, /*want_records=*/false);  // the records are fetched
  cluster_->FailRequests(kFetchApi, kThrottlingQuotaExceeded, 2);
  reader.StepFor(1000, true, /*want_records=*/false);  // and then an error
  ASSERT_TRUE(reader.source_troubles.empty());
  ASSERT_TRUE(reader.StepUntil([&] { return !reader.source_troubles.empty() || !reader.records.empty(); }));
  EXPECT_EQ(reader.records.size(), 10u);
  EXPECT_TRUE(reader.source_troubles.empty());
  ASSERT_TRUE(reader.StepUntil([&] { return !reader.source_troubles.empty(); }));
  EXPECT_EQ(reader.source_troubles[0].code(), ErrorCode::kResourceExhausted);
}

TEST_F(KafkaSourceTest, AChunkGivesUpThePartitionsThatAreDropped) {
  CreateTopic("flows", 2);
  ProduceNumbered(*producer_, "flows", 2, 0, 50);
  const stream::Header headers[] = {{"trace", "abc"}};
  ASSERT_TRUE(producer_->Produce("flows", 0, {.value = "0:50", .headers = headers}).has_value());
  ASSERT_TRUE(producer_->Produce("flows", 1, {.value = "1:50", .headers = headers}).has_value());
  ASSERT_TRUE(producer_->Flush(10'000).has_value());
  auto source = KafkaSource::Create(Options());
  ASSERT_TRUE(source.has_value()) << source.error().ToString();
  std::unique_ptr<stream::RecordChunk> chunk;
  for (int i = 0; i < 1000 && chunk == nullptr; ++i) {
    auto event = (*source)->Poll(20, /*want_records=*/false);
    ASSERT_TRUE(event.has_value()) << event.error().ToString();
    auto* assigned = std::get_if<stream::PartitionsAssigned>(&*event);
    if (assigned == nullptr) continue;
    const stream::PartitionPosition start[] = {{assigned->partitions.at(0), {}}, {assigned->partitions.at(1), {}}};
    ASSERT_TRUE((*source)->Assign(start).has_value());
    std::this_thread::sleep_for(milliseconds(1000));  // both partitions are fetched
    for (int j = 0; j < 100 && chunk == nullptr; ++j) {
      auto polled = (*source)->Poll(20, /*want_records=*/true);
      ASSERT_TRUE(polled.has_value()) << polled.error().ToString();
      if (auto* got = std::get_if<std::unique_ptr<stream::RecordChunk>>(&*polled)) chunk = std::move(*got);
    }
  }
  ASSERT_NE(chunk, nullptr);
  ASSERT_EQ(chunk->records().size(), 102u);
  ASSERT_EQ(chunk->positions().size(), 2u);
  const size_t bytes = chunk->bytes();
  auto& whole = static_cast<KafkaRecordChunk&>(*chunk);
  whole.Drop({0});
  EXPECT_EQ(chunk->bytes(), bytes / 2);  // the partitions hold the same but for one digit
  ASSERT_EQ(chunk->records().size(), 51u);
  for (const stream::Record& record : chunk->records()) EXPECT_EQ(record.partition, 1u);
  EXPECT_EQ(chunk->records()[50].headers[0].value, "abc");
  ASSERT_EQ(chunk->positions().size(), 1u);
  EXPECT_EQ(chunk->positions()[0].partition, 1u);
  whole.Drop({1});
  EXPECT_TRUE(chunk->records().empty());
  EXPECT_TRUE(chunk->positions().empty());
  EXPECT_EQ(chunk->bytes(), 0u);
}

// Explaining each would take two seconds, eight of them longer than many a session lives.
TEST_F(KafkaSourceTest, ExplainingLostOffsetsKeepsToItsTime) {
  CreateTopic("flows", 8);
  ProduceNumbered(*producer_, "flows", 8, 0, 10);
  KafkaSourceOptions options = Options();
  options.properties["session.timeout.ms"] = "60000";
  options.properties["max.poll.interval.ms"] = "60000";
  options.properties["topic.metadata.refresh.interval.ms"] = "100000";
  options.topic_identity_by_name = true;  // ids cannot be confirmed without brokers
  TestReader reader(options);
  for (int32_t partition = 0; partition < 8; ++partition) reader.start[{"flows", partition}] = {.offset = 1000};
  ASSERT_TRUE(reader.StepUntil([&] { return reader.assignments == 1; }, 60'000, true, /*want_records=*/false));
  reader.StepFor(1500, true, /*want_records=*/false);
  for (int broker : {1, 2}) ASSERT_TRUE(cluster_->StopBroker(broker).has_value());
  int64_t longest_ms = 0;
  const auto deadline = std::chrono::steady_clock::now() + milliseconds(60'000);
  while (reader.troubles.size() < 8 && std::chrono::steady_clock::now() < deadline) {
    const auto begin = std::chrono::steady_clock::now();
    reader.Step();
    const auto took = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begin).count();
    longest_ms = std::max<int64_t>(longest_ms, took);
  }
  ASSERT_EQ(reader.troubles.size(), 8u);
  for (const stream::PartitionTrouble& trouble : reader.troubles) {
    EXPECT_EQ(trouble.error.code(), ErrorCode::kNotFound);
  }
  EXPECT_LT(longest_ms, 8000);
}

TEST_F(KafkaSourceTest, TopicIdsAreNotAskedForWithEachChunk) {
  CreateTopic("flows", 1);
  ProduceNumbered(*producer_, "flows", 1, 0, 2000);
  KafkaSourceOptions options = Options();
  options.chunk_records_max = 10;
  options.properties["topic.metadata.refresh.interval.ms"] = "100000";
  TestReader reader(options);
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() >= 100; }));
  int64_t before = cluster_->CountRequests(kMetadataApi);
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 2000; }));
  EXPECT_LE(cluster_->CountRequests(kMetadataApi) - before, 6);
}

TEST_F(KafkaSourceTest, ARegexTakesInTopicsThatAppearLater) {
  CreateTopic("flows-a", 1);
  CreateTopic("others", 1);
  CreateTopic("my-flows-x", 1);
  ProduceNumbered(*producer_, "flows-a", 1, 0, 5);
  ProduceNumbered(*producer_, "others", 1, 0, 5);
  ProduceNumbered(*producer_, "my-flows-x", 1, 0, 5);
  KafkaSourceOptions options = Options({});
  options.topics_regex = "flows-[a-z]{1,3}|never";
  TestReader reader(options);
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 5; }));
  CreateTopic("flows-b", 2);
  ProduceNumbered(*producer_, "flows-b", 2, 0, 5);
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 15; }));
  for (const SeenRecord& record : reader.records) EXPECT_TRUE(record.topic.starts_with("flows-")) << record.topic;
  auto topics = reader.source->DescribeTopics(5000);
  ASSERT_TRUE(topics.has_value()) << topics.error().ToString();
  ASSERT_EQ(topics->size(), 2u);
  std::ranges::sort(*topics, {}, &stream::TopicDescription::topic);
  EXPECT_EQ((*topics)[1].topic, "flows-b");
  EXPECT_EQ((*topics)[1].partition_count, 2);
  EXPECT_EQ((*topics)[1].topic_id, reader.source->partition(reader.indexes.at({"flows-b", 0})).topic_id);
  EXPECT_NE((*topics)[1].topic_id, (*topics)[0].topic_id);
}

TEST_F(KafkaSourceTest, BrokersWithoutTopicIdsNeedNames) {
  CreateTopic("flows", 1);
  ProduceNumbered(*producer_, "flows", 1, 0, 5);
  ASSERT_TRUE(cluster_->LimitApiVersion(kMetadataApi, 9).has_value());  // ids came with version 10
  ASSERT_TRUE(cluster_->LimitApiVersion(kFetchApi, 11).has_value());
  EXPECT_EQ(KafkaSource::Create(Options()).error().code(), ErrorCode::kUnsupported);
  KafkaSourceOptions options = Options();
  options.topic_identity_by_name = true;
  TestReader reader(options);
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 5; }));
  EXPECT_EQ(reader.source->partition(reader.indexes.at({"flows", 0})).topic_id, "name:flows");
}

TEST_F(KafkaSourceTest, ForbiddenPartitionsAreTrouble) {
  CreateTopic("flows", 1);
  ProduceNumbered(*producer_, "flows", 1, 0, 5);
  cluster_->FailRequests(kFetchApi, kTopicAuthorizationFailed, 1);
  TestReader reader(Options());
  ASSERT_TRUE(reader.StepUntil([&] { return !reader.troubles.empty(); }));
  EXPECT_EQ(reader.troubles[0].error.code(), ErrorCode::kUnauthorized);
  const stream::PartitionPosition to[] = {{reader.indexes.at({"flows", 0}), {.offset = 0}}};
  ASSERT_TRUE(reader.source->Seek(to).has_value());
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 5; }));
}

TEST_F(KafkaSourceTest, StoppedBrokersAreToldOnceAndReadingGoesOn) {
  CreateTopic("flows", 1);
  ProduceNumbered(*producer_, "flows", 1, 0, 5);
  KafkaSourceOptions options = Options();
  options.properties["session.timeout.ms"] = "20000";
  options.properties["max.poll.interval.ms"] = "20000";
  TestReader reader(options);
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 5; }));
  for (int broker : {1, 2}) ASSERT_TRUE(cluster_->StopBroker(broker).has_value());
  reader.StepFor(1500);
  ASSERT_FALSE(reader.source_troubles.empty());
  EXPECT_LE(std::ranges::count(reader.source_troubles, ErrorCode::kUnavailable, &Error::code), 1);
  EXPECT_EQ(reader.source->DescribeTopics(500).has_value(), false);
  for (int broker : {1, 2}) ASSERT_TRUE(cluster_->StartBroker(broker).has_value());
  ProduceNumbered(*producer_, "flows", 1, 5, 5);
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 10; }));
  ExpectEachOnce(reader.records, 1, 10);
  EXPECT_TRUE(reader.troubles.empty());
}

TEST_F(KafkaSourceTest, AHeldPartitionIsReadFromWhereSeekSays) {
  CreateTopic("flows", 2);
  ProduceNumbered(*producer_, "flows", 2, 0, 20);
  TestReader reader(Options());
  reader.hold.insert({"flows", 1});
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 20; }));
  reader.StepFor(300);
  EXPECT_EQ(reader.records.size(), 20u);
  const stream::PartitionPosition to[] = {{reader.indexes.at({"flows", 1}), {.offset = 15}}};
  ASSERT_TRUE(reader.source->Seek(to).has_value());
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 25; }));
  EXPECT_EQ(reader.records[20].offset, 15);
}

TEST_F(KafkaSourceTest, AnswersWithoutAQuestionAreRefused) {
  CreateTopic("flows", 1);
  TestReader reader(Options());
  EXPECT_EQ(reader.source->Assign({}).error().code(), ErrorCode::kInvalidInput);
  EXPECT_EQ(reader.source->Release({}).error().code(), ErrorCode::kInvalidInput);
  ASSERT_TRUE(reader.StepUntil([&] { return reader.assignments == 1; }, 60'000, /*answer=*/false));
  const stream::PartitionPosition unknown[] = {{77, {}}};
  EXPECT_EQ(reader.source->Assign(unknown).error().code(), ErrorCode::kInvalidInput);
  reader.AnswerAssigned();
}

TEST_F(KafkaSourceTest, ChunksOutliveTheSource) {
  CreateTopic("flows", 1);
  ProduceNumbered(*producer_, "flows", 1, 0, 100);
  std::unique_ptr<stream::RecordChunk> kept;
  {
    auto source = KafkaSource::Create(Options());
    ASSERT_TRUE(source.has_value()) << source.error().ToString();
    for (int i = 0; i < 1000 && kept == nullptr; ++i) {
      auto event = (*source)->Poll(20, true);
      ASSERT_TRUE(event.has_value()) << event.error().ToString();
      if (auto* assigned = std::get_if<stream::PartitionsAssigned>(&*event)) {
        const stream::PartitionPosition start[] = {{assigned->partitions.at(0), {}}};
        ASSERT_TRUE((*source)->Assign(start).has_value());
      }
      if (auto* chunk = std::get_if<std::unique_ptr<stream::RecordChunk>>(&*event)) kept = std::move(*chunk);
    }
  }
  ASSERT_NE(kept, nullptr);
  ASSERT_FALSE(kept->records().empty());
  EXPECT_EQ(kept->records()[0].value, "0:0");
}

TEST_F(KafkaSourceTest, OffsetsForTimestampsBehindEverythingAreTheEnd) {
  CreateTopic("flows", 1);
  ProduceNumbered(*producer_, "flows", 1, 0, 7);
  TestReader reader(Options());
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 7; }));
  stream::SourcePartition name = reader.source->partition(0);
  auto offset = reader.source->OffsetForTimestamp(name, 9'999'999'999'999, 5000);
  ASSERT_TRUE(offset.has_value()) << offset.error().ToString();
  EXPECT_EQ(*offset, 7);
  EXPECT_EQ(reader.source->OffsetForTimestamp(name, -5, 5000).error().code(), ErrorCode::kInvalidInput);
  name.partition = 12;
  EXPECT_FALSE(reader.source->QueryWatermarks(name, 2000).has_value());
}

TEST_F(KafkaSourceTest, GroupOffsetsArePublished) {
  CreateTopic("flows", 1);
  ProduceNumbered(*producer_, "flows", 1, 0, 7);
  TestReader reader(Options());
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() == 7; }));
  const stream::PartitionPosition done[] = {{reader.indexes.at({"flows", 0}), {.offset = 7, .leader_epoch = 0}}};
  EXPECT_TRUE(reader.source->CommitGroupOffsets(done).has_value());
  EXPECT_TRUE(reader.source->CommitGroupOffsets({}).has_value());
  reader.StepFor(300);
  EXPECT_FALSE(reader.fatal.has_value());
}

TEST(KafkaSourceOptionsTest, WrongOptionsAreRefused) {
  KafkaSourceOptions options;
  options.bootstrap = "127.0.0.1:1";
  options.group_id = "g";
  EXPECT_EQ(KafkaSource::Create(options).error().code(), ErrorCode::kInvalidInput);  // no topics
  options.topics = {"a"};
  options.topics_regex = "b";
  EXPECT_EQ(KafkaSource::Create(options).error().code(), ErrorCode::kInvalidInput);  // both
  options.topics.clear();
  options.topics_regex = "b(";
  EXPECT_EQ(KafkaSource::Create(options).error().code(), ErrorCode::kInvalidInput);
  options.topics_regex.clear();
  options.topics = {"^a"};
  EXPECT_EQ(KafkaSource::Create(options).error().code(), ErrorCode::kInvalidInput);
  options.topics = {"a"};
  options.chunk_records_max = 0;
  EXPECT_EQ(KafkaSource::Create(options).error().code(), ErrorCode::kInvalidInput);
  options.chunk_records_max = 10;
  options.connect_timeout_ms = 300;
  ErrorCode unreachable = KafkaSource::Create(options).error().code();
  EXPECT_TRUE(unreachable == ErrorCode::kUnavailable || unreachable == ErrorCode::kTimeout);
}

// What a lane has given out of each partition.
struct LaneReader {
  std::map<stream::PartitionIndex, std::vector<int64_t>> offsets;
  std::map<stream::PartitionIndex, stream::Position> positions;
  std::vector<stream::PartitionTrouble> troubles;

  bool PollUntil(stream::LaneSource& lane, const std::function<bool()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!done()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      auto event = lane.Poll(50);
      if (!event.has_value()) {
        ADD_FAILURE() << event.error().ToString();
        return false;
      }
      if (auto* chunk = std::get_if<std::unique_ptr<stream::RecordChunk>>(&*event)) {
        for (const stream::Record& record : (*chunk)->records()) offsets[record.partition].push_back(record.offset);
        for (const stream::PartitionPosition& one : (*chunk)->positions()) positions[one.partition] = one.position;
      }
      if (auto* trouble = std::get_if<stream::PartitionTrouble>(&*event)) troubles.push_back(std::move(*trouble));
    }
    return true;
  }
};

TEST_F(KafkaSourceTest, LaneReadsItsPartitionsFromWhereItIsToldAndTheGroupDoesNotNotice) {
  CreateTopic("flows", 4);
  ProduceNumbered(*producer_, "flows", 4, 0, 500);
  TestReader reader(Options());
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() >= 2000; }));
  const stream::PartitionIndex one = reader.indexes.at({"flows", 1});
  const stream::PartitionIndex three = reader.indexes.at({"flows", 3});
  std::vector<stream::PartitionPosition> start{{one, {.offset = 100}}, {three, {.offset = 499}}};
  auto lane = reader.source->OpenLane(start, 4 << 20);
  ASSERT_TRUE(lane.has_value()) << lane.error().ToString();
  LaneReader seen;
  ASSERT_TRUE(seen.PollUntil(**lane, [&] { return seen.offsets[one].size() >= 400 && !seen.offsets[three].empty(); }));
  // While it is open both go on, each for itself.
  ProduceNumbered(*producer_, "flows", 4, 500, 20);
  auto all = [&] { return seen.offsets[one].size() >= 420 && seen.offsets[three].size() >= 21; };
  ASSERT_TRUE(seen.PollUntil(**lane, all));
  ASSERT_TRUE(reader.StepUntil([&] { return reader.records.size() >= 2080; }));
  reader.StepFor(500);
  ExpectEachOnce(reader.records, 4, 520);
  EXPECT_EQ(reader.assignments, 1);
  EXPECT_EQ(reader.revocations, 0);
  EXPECT_EQ(seen.offsets.size(), 2u);
  for (auto [index, first] : {std::pair{one, 100}, std::pair{three, 499}}) {
    ASSERT_EQ(seen.offsets[index].size(), static_cast<size_t>(520 - first));
    for (int64_t i = first; i < 520; ++i) ASSERT_EQ(seen.offsets[index][static_cast<size_t>(i - first)], i);
    EXPECT_EQ(seen.positions[index].offset, 520);
  }
  EXPECT_TRUE(seen.troubles.empty());
}

TEST_F(KafkaSourceTest, LaneBelowTheLogsStartSaysSo) {
  CreateTopic("flows", 1);
  ProduceNumbered(*producer_, "flows", 1, 0, 100);
  ASSERT_TRUE(cluster_->DeleteRecords("flows", 0, 50).has_value());
  auto source = KafkaSource::Create(Options());
  ASSERT_TRUE(source.has_value()) << source.error().ToString();
  auto topics = (*source)->DescribeTopics(5000);
  ASSERT_TRUE(topics.has_value());
  const stream::PartitionIndex index = (*source)->IndexOf({.cluster_id = (*source)->cluster_id(),
                                                           .topic_id = topics->front().topic_id,
                                                           .topic = "flows",
                                                           .partition = 0});
  std::vector<stream::PartitionPosition> start{{index, {.offset = 10}}};
  auto lane = (*source)->OpenLane(start, 4 << 20);
  ASSERT_TRUE(lane.has_value()) << lane.error().ToString();
  LaneReader seen;
  ASSERT_TRUE(seen.PollUntil(**lane, [&] { return !seen.troubles.empty(); }));
  EXPECT_EQ(seen.troubles[0].partition, index);
  EXPECT_EQ(seen.troubles[0].error.code(), ErrorCode::kNotFound);
  EXPECT_TRUE(seen.offsets[index].empty());
}

TEST_F(KafkaSourceTest, LaneOfATopicThatWasMadeAnewReadsNothingOfIt) {
  CreateTopic("flows", 1);
  ProduceNumbered(*producer_, "flows", 1, 0, 100);
  auto source = KafkaSource::Create(Options());
  ASSERT_TRUE(source.has_value()) << source.error().ToString();
  const stream::PartitionIndex index = (*source)->IndexOf({.cluster_id = (*source)->cluster_id(),
                                                           .topic_id = "the-id-of-before",
                                                           .topic = "flows",
                                                           .partition = 0});
  std::vector<stream::PartitionPosition> start{{index, {.offset = 10}}};
  auto lane = (*source)->OpenLane(start, 4 << 20);
  ASSERT_TRUE(lane.has_value()) << lane.error().ToString();
  LaneReader seen;
  ASSERT_TRUE(seen.PollUntil(**lane, [&] { return !seen.troubles.empty(); }));
  EXPECT_EQ(seen.troubles[0].error.code(), ErrorCode::kConflict);
  EXPECT_TRUE(seen.offsets[index].empty());
}

}  // namespace
}  // namespace firn::kafka
