// The worker with little memory: commits come earlier, rows are spilled, spill files fail; no row is lost or doubled.
#include <random>

#include "firn/env/testing/memory_spill.h"
#include "firn/ingest/worker_fixture_for_test.h"

namespace firn::ingest {
namespace {

class WorkerSpillTest : public WorkerTest {
 protected:
  // Rows with text that LZ4 cannot make much smaller, over many partitions of the table.
  void ProduceLong(int64_t first, int64_t count) {
    std::mt19937_64 random(static_cast<uint64_t>(first) + 1);
    for (int64_t id = first; id < first + count; ++id) {
      std::string text;
      while (text.size() < 400) text += fmt::format("{:x}", random());
      log_->Append(static_cast<int32_t>(id % log_->partition_count()),
                   fmt::format(R"({{"id":{},"kind":"k{}","text":"{}"}})", id, id % 50, text));
    }
  }

  static PipelineOptions SmallOptions() {
    PipelineOptions options = MakeOptions();
    options.tables[0].schema.fields.push_back(MakeField(3, "text", schema::TypeKind::kString));
    options.memory_limit_bytes = 1 << 20;
    options.commit_interval_ms = 60'000;
    options.checkpoint_interval_ms = 60'000;
    return options;
  }

  Result<RunResult> Run(PipelineOptions options, env::SpillFolder* spill) {
    stream::MemorySource source(log_);
    source.GiveAll();
    WorkerDependencies dependencies{catalog_, faulty_, source, env::SystemClock(), env::SystemRandom(), registry_};
    dependencies.spill = spill;
    auto worker = Worker::Create(std::move(options), dependencies);
    EXPECT_TRUE(worker.has_value()) << worker.error().ToString();
    return (*worker)->Run({}, true);
  }

  double Counter(const std::string& name, const metrics::Labels& more = {}) {
    metrics::Labels labels{{"pipeline", "p"}};
    labels.insert(more.begin(), more.end());
    return registry_.counter(name, "", labels).value();
  }

  env::MemorySpill disk_;
};

TEST_F(WorkerSpillTest, WithoutSpillTheCommitComesEarlier) {
  ProduceLong(0, 8'000);
  auto result = Run(SmallOptions(), nullptr);
  ExpectCaughtUp(result);
  ExpectExactly(8'000);
  EXPECT_GT(Counter("firn_early_commits_total", {{"reason", "memory"}}), 2);
  EXPECT_GT(result->status.commits, 4U);
}

TEST_F(WorkerSpillTest, WithSpillOneCommitHoldsItAll) {
  ProduceLong(0, 8'000);
  auto result = Run(SmallOptions(), &disk_);
  ExpectCaughtUp(result);
  ExpectExactly(8'000);
  EXPECT_EQ(Counter("firn_early_commits_total", {{"reason", "memory"}}), 0);
  EXPECT_GT(disk_.bytes_appended(), 1 << 20);
  EXPECT_EQ(disk_.files(), 0);
  EXPECT_EQ(result->status.data_files, 50U);  // one a partition
}

TEST_F(WorkerSpillTest, AFullSpillDiskOnlyBringsTheCommitForward) {
  ProduceLong(0, 8'000);
  disk_.set_bytes_max(500'000);
  auto result = Run(SmallOptions(), &disk_);
  ExpectCaughtUp(result);
  ExpectExactly(8'000);
  EXPECT_GT(Counter("firn_early_commits_total", {{"reason", "memory"}}), 0);
  EXPECT_GT(disk_.bytes_appended(), 0);
}

// What says where the rows of a partition are cannot be spilled.
TEST_F(WorkerSpillTest, PartitionsWithoutNumberBringTheCommitForwardInSpiteOfSpill) {
  for (int64_t id = 0; id < 8'000; ++id) {
    log_->Append(static_cast<int32_t>(id % log_->partition_count()),
                 fmt::format(R"({{"id":{},"kind":"k{}","text":""}})", id, id));
  }
  auto result = Run(SmallOptions(), &disk_);
  ExpectCaughtUp(result);
  ExpectExactly(8'000);
  EXPECT_GT(Counter("firn_early_commits_total", {{"reason", "memory"}}), 1);
}

TEST_F(WorkerSpillTest, ATornSpillFileMeansReadingAgain) {
  int64_t produced = 0;
  for (int64_t nth : {1, 5, 20}) {
    ProduceLong(produced, 8'000);
    produced += 8'000;
    env::MemorySpill disk;
    disk.TearAppend(nth);
    auto result = Run(SmallOptions(), &disk);
    ExpectCaughtUp(result);
    ExpectExactly(produced);
  }
  EXPECT_EQ(Counter("firn_lost_batches_total"), 3);
}

TEST_F(WorkerSpillTest, ALyingSpillDiskIsNotTrustedTwice) {
  ProduceLong(0, 8'000);
  disk_.set_lies(true);
  auto result = Run(SmallOptions(), &disk_);
  ExpectCaughtUp(result);
  ExpectExactly(8'000);
  EXPECT_EQ(Counter("firn_lost_batches_total"), 1);
  EXPECT_EQ(Counter("firn_position_mismatches_total"), 0);  // nobody else is to blame
}

TEST_F(WorkerSpillTest, CommitsAreDueByRowsAndByBytes) {
  ProduceLong(0, 8'000);
  PipelineOptions options = SmallOptions();
  options.memory_limit_bytes = int64_t{512} << 20;
  options.commit_rows_max = 1'500;
  ExpectCaughtUp(Run(options, nullptr));
  EXPECT_GT(Counter("firn_early_commits_total", {{"reason", "rows"}}), 0);
  ProduceLong(8'000, 8'000);
  options.commit_rows_max = 10'000'000;
  options.commit_bytes_max = 400'000;
  ExpectCaughtUp(Run(options, nullptr));
  EXPECT_GT(Counter("firn_early_commits_total", {{"reason", "bytes"}}), 0);
  EXPECT_EQ(Counter("firn_early_commits_total", {{"reason", "memory"}}), 0);
  ExpectExactly(16'000);
}

TEST_F(WorkerSpillTest, AFailingStoreIsWrittenAgainFromTheSpillFile) {
  ProduceLong(0, 8'000);
  for (int64_t nth : {1, 10, 20}) {
    faulty_.Inject({.call = env::StoreCall::kClose, .nth = nth, .location_contains = ".parquet"});
  }
  auto result = Run(SmallOptions(), &disk_);
  ExpectCaughtUp(result);
  ExpectExactly(8'000);
  EXPECT_GE(faulty_.faults_hit(), 3);
  EXPECT_EQ(Counter("firn_lost_batches_total"), 0);
}

}  // namespace
}  // namespace firn::ingest
