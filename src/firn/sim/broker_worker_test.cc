// A real worker on a simulated cluster, held by the checker: the three must agree about what a source promises.
//
// The worker has real threads here, so calls into the cluster are made one at a time; its rebalances come as they come.
#include <mutex>

#include "firn/ingest/worker_fixture_for_test.h"
#include "firn/sim/checker.h"
#include "firn/sim/sim_source.h"

namespace firn::sim {
namespace {

class LockedSource final : public stream::RecordSource {
  auto Locked(auto call) const {
    std::lock_guard lock(mutex_);
    return call();
  }

 public:
  LockedSource(std::mutex& mutex, std::unique_ptr<SimSource> source) : mutex_(mutex), source_(std::move(source)) {}
  ~LockedSource() override {
    std::lock_guard lock(mutex_);
    source_.reset();
  }

  Result<stream::SourceEvent> Poll(int64_t timeout_ms, bool want_records) override {
    auto event = Locked([&] { return source_->Poll(timeout_ms, want_records); });
    // Simulated waiting takes no time; the other threads want theirs.
    if (event.has_value() && std::holds_alternative<stream::NothingYet>(*event)) {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    return event;
  }
  Status Assign(std::span<const stream::PartitionPosition> start) override {
    return Locked([&] { return source_->Assign(start); });
  }
  Status Release(std::span<const stream::PartitionIndex> partitions) override {
    return Locked([&] { return source_->Release(partitions); });
  }
  Status Seek(std::span<const stream::PartitionPosition> positions) override {
    return Locked([&] { return source_->Seek(positions); });
  }
  Status CommitGroupOffsets(std::span<const stream::PartitionPosition> positions) override {
    return Locked([&] { return source_->CommitGroupOffsets(positions); });
  }
  Result<stream::Watermarks> QueryWatermarks(const stream::SourcePartition& partition, int64_t timeout_ms) override {
    return Locked([&] { return source_->QueryWatermarks(partition, timeout_ms); });
  }
  Result<std::vector<std::optional<int64_t>>> QueryEnds(std::span<const stream::SourcePartition> partitions,
                                                        int64_t timeout_ms) override {
    return Locked([&] { return source_->QueryEnds(partitions, timeout_ms); });
  }
  Result<int64_t> OffsetForTimestamp(const stream::SourcePartition& partition, int64_t timestamp_ms,
                                     int64_t timeout_ms) override {
    return Locked([&] { return source_->OffsetForTimestamp(partition, timestamp_ms, timeout_ms); });
  }
  Result<std::vector<stream::TopicDescription>> DescribeTopics(int64_t timeout_ms) override {
    return Locked([&] { return source_->DescribeTopics(timeout_ms); });
  }
  std::string cluster_id() const override { return source_->cluster_id(); }
  stream::SourcePartition partition(stream::PartitionIndex index) const override {
    return Locked([&] { return source_->partition(index); });
  }
  stream::PartitionIndex IndexOf(const stream::SourcePartition& partition) override {
    return Locked([&] { return source_->IndexOf(partition); });
  }

 private:
  std::mutex& mutex_;
  std::unique_ptr<SimSource> source_;
};

class BrokerWorkerTest : public testing::TestWithParam<uint64_t> {
 protected:
  BrokerWorkerTest()
      : random_(GetParam()),
        faults_(random_),
        catalog_(env::SystemClock()),
        broker_(clock_, random_, faults_, history_) {
    ingest::TableRule rule;
    rule.name = "lake.{field:table}";
    rule.schema.fields = {ingest::MakeField(1, "id", schema::TypeKind::kLong),
                          ingest::MakeField(2, "p", schema::TypeKind::kInt),
                          ingest::MakeField(3, "o", schema::TypeKind::kLong)};
    options_ = ingest::MakeOptions();
    options_.tables = {std::move(rule)};
    options_.commit_interval_ms = 20;
    options_.checkpoint_interval_ms = 30;
    broker_.CreateTopic("events", 3);
  }

  Production Make(TransactionId transaction = kNoTransaction) {
    Production production;
    production.routing_text = Below(random_, 3) == 0 ? "b" : "a";
    production.table = "lake." + production.routing_text;
    production.key = std::string(1, static_cast<char>('a' + Below(random_, 20)));
    production.transaction = transaction;
    if (Below(random_, 20) == 0) production.shape = ValueShape::kWrongType;
    return production;
  }
  void Produce(int count, TransactionId transaction = kNoTransaction) {
    for (int i = 0; i < count; ++i) {
      auto partition = static_cast<int32_t>(Below(random_, broker_.partition_count("events")));
      broker_.Produce("events", partition, Make(transaction));
    }
  }
  void ProduceInTransactions() {
    for (int i = 0; i < 6; ++i) {
      TransactionId transaction = broker_.BeginTransaction();
      for (int j = 0; j < 5; ++j) {
        Produce(3, transaction);
        Produce(2);
      }
      broker_.EndTransaction(transaction, Below(random_, 2) == 0);
    }
  }

  void RunWorker() {
    SimSourceOptions source_options;
    source_options.topics = {"events"};
    LockedSource source(mutex_, std::make_unique<SimSource>(broker_, clock_, random_, faults_,
                                                            std::make_shared<SimLife>(), source_options));
    auto worker = ingest::Worker::Create(
        options_, {catalog_, store_, source, env::SystemClock(), env::SystemRandom(), registry_});
    ASSERT_TRUE(worker.has_value()) << worker.error().ToString();
    auto result = (*worker)->Run({}, true);
    ASSERT_TRUE(result.has_value()) << result.error().ToString();
    ASSERT_TRUE(result->caught_up);
  }

  env::ManualClock clock_;
  env::SeededRandom random_;
  SeededFaults faults_;
  LogHistory history_;
  env::MemoryStore store_;
  iceberg::MemoryCatalog catalog_;
  metrics::Registry registry_;
  SimBroker broker_;
  std::mutex mutex_;
  ingest::PipelineOptions options_;
};

TEST_P(BrokerWorkerTest, TablesHoldWhatTheLogHeld) {
  Checker checker(catalog_, store_, options_, history_);
  for (int round = 0; round < 4; ++round) {
    Produce(60);
    ProduceInTransactions();
    if (round == 1) broker_.AddPartitions("events", 2);
    for (int32_t p = 0; p < broker_.partition_count("events"); ++p) {
      const SimLog* log = broker_.log("events", p);
      // Compaction reaches into what nobody has read yet, retention and elections do not.
      if (Below(random_, 2) == 0) broker_.Compact("events", p, log->end() - Below(random_, 40));
      if (Below(random_, 3) == 0) broker_.ElectLeader("events", p);
    }
    Produce(60);
    RunWorker();
    if (HasFatalFailure()) return;
    CheckReport report = checker.Check({}, true);
    ASSERT_TRUE(report.ok()) << "seed " << GetParam() << " round " << round << ": " << report.ToString();
    EXPECT_GT(report.demanded, 50);
    for (int32_t p = 0; p < broker_.partition_count("events"); ++p) {
      if (Below(random_, 3) == 0) broker_.Retain("events", p, broker_.log("events", p)->end() - Below(random_, 10));
    }
  }
  EXPECT_GT(faults_.counter().count(FaultKind::kTransactionAborted), 0u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, BrokerWorkerTest, testing::Range<uint64_t>(1, 7));

}  // namespace
}  // namespace firn::sim
