// The lane of the rejects table at tables of a template that main has not met: what becomes of them is main's to find
// out, and no record of theirs may be a reject in the lane and a row in main.
#include "firn/ingest/lane.h"
#include "firn/ingest/rules.h"
#include "firn/ingest/worker_fixture_for_test.h"
#include "firn/ingest/worker_metrics.h"

namespace firn::ingest {
namespace {

constexpr int64_t kNever = INT64_MAX;  // a goal that keeps the lane going; goals only grow
constexpr int64_t kSinceMs = 7;

PipelineOptions ByKind() {
  PipelineOptions options = MakeOptions();
  options.tables[0].name = "lake.{topic}_{field:kind}";
  options.commit_interval_ms = options.checkpoint_interval_ms = 20;
  return options;
}

// lake.events_k0 is there; the rejects table is detached for two partitions from the log's end on. The test is main.
class RejectsLaneTest : public WorkerTest {
 protected:
  void SetUp() override {
    Produce(0, 40);
    ExpectCaughtUp(RunOnce(options_));
    ASSERT_TRUE(home_.Open({}).has_value());
    std::vector<DetachedEntry> entries;
    for (stream::PartitionIndex index = 0; index < 2; ++index) {
      const PartitionKey key = KeyOf(source_.partition(index));
      entries.push_back(DetachedEntry{options_.rejects_table, key, "events", "a test", kSinceMs});
    }
    auto detached = home_.Detach(entries, options_.rejects_table, {});
    ASSERT_TRUE(detached.has_value()) << detached.error().ToString();
  }

  int64_t End(int32_t partition) { return log_->WatermarksOf(partition).end; }
  int64_t Reject(int32_t partition) { return log_->Append(partition, R"({"id":"none","kind":"k0"})"); }
  int64_t OfNewTable(int32_t partition) { return log_->Append(partition, R"({"id":7,"kind":"new"})"); }

  void Start(const std::vector<int64_t>& goals) {
    LaneRequest request{options_.rejects_table, nullptr, {}};
    for (stream::PartitionIndex index = 0; index < 2; ++index) {
      const stream::SourcePartition name = source_.partition(index);
      request.partitions.push_back({index, name, KeyOf(name), kSinceMs, 0, goals[index]});
    }
    reached_.clear();
    lane_ = std::make_unique<Lane>(options_, dependencies_, home_, committer_, metrics_, std::move(request), [] {});
    lane_->Start();
  }
  // What main does once it has met a record of the table and can make it, in another worker.
  void MakeNewTable() {
    Home theirs(committer_, TableIdentifier::Parse(home_.name()).value(), RulesHash(options_.tables));
    ASSERT_TRUE(theirs.Open({}).has_value());
    TableState table(TableIdentifier::Parse("lake.events_new").value());
    AttachRequest request;
    request.may_create = true;
    request.create.schema = options_.tables[0].schema;
    auto attached = AttachTable(theirs, committer_, table, request, {});
    ASSERT_TRUE(attached.has_value()) << attached.error().ToString();
    ASSERT_TRUE(attached->attached) << attached->hold_reason;
  }
  // Every record below is committed. Time passes, so that there are commits.
  int64_t Reached(stream::PartitionIndex index) {
    clock_.Advance(options_.commit_interval_ms);
    for (const LaneEnd::Partition& done : lane_->TakeProgress().committed) reached_[done.index] = done.read.offset;
    return reached_[index];
  }
  std::optional<LaneEnd> AwaitEnd() {
    std::optional<LaneEnd> end;
    WaitFor([&] { return (end = lane_->TakeEnd()).has_value(); });
    EXPECT_TRUE(end.has_value()) << "the lane does not end";
    return end;
  }

  PipelineOptions options_ = ByKind();
  stream::MemorySource source_{log_};
  env::ManualClock clock_{env::SystemClock().WallMs()};  // the lane's
  WorkerDependencies dependencies_{catalog_, store_, source_, clock_, env::SystemRandom(), registry_};
  MapCommitter committer_{catalog_, store_, env::SystemClock(), env::SystemRandom(), {"p", "w", "g"}};
  Home home_{committer_, TableIdentifier::Parse("lake.p__home").value(), RulesHash(options_.tables)};
  WorkerMetrics metrics_{registry_, "p"};
  std::map<stream::PartitionIndex, int64_t> reached_;
  std::unique_ptr<Lane> lane_;
};

TEST_F(RejectsLaneTest, WaitsAtARecordOfATableThatMainHasNotMet) {
  Reject(0);
  const int64_t main_reads = End(0);
  Reject(0);  // of a table that the lane holds open by then: nothing of it is main's to find out
  const int64_t unmet = OfNewTable(0);
  Reject(0);
  Reject(1);
  const int64_t goal = End(1) + 1;  // a record that is yet to come
  Start({main_reads, goal});
  ASSERT_TRUE(WaitFor([&] { return Reached(1) == End(1) && Reached(0) >= unmet; }));
  EXPECT_EQ(Reached(0), unmet);
  EXPECT_EQ(CountRejects(), 3);
  // Main could not make it, and its records are rejects: now they are the lane's, too.
  lane_->SetGoals({End(0), goal});
  Reject(1);
  std::optional<LaneEnd> end = AwaitEnd();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->kind, LaneEnd::Kind::kCaughtUp) << end->reason;
  EXPECT_EQ(CountRejects(), 6);
}

TEST_F(RejectsLaneTest, BeginsAgainWhenMainHasMadeTheTable) {
  const int64_t unmet = OfNewTable(0);
  Start({unmet, kNever});
  ASSERT_TRUE(WaitFor([&] { return Reached(0) == unmet; }));
  MakeNewTable();
  lane_->SetGoals({End(0), kNever});
  std::optional<LaneEnd> end = AwaitEnd();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->kind, LaneEnd::Kind::kForgotten);
  EXPECT_NE(end->reason.find("lake.events_new"), std::string::npos) << end->reason;
  Start({End(0), End(1)});
  end = AwaitEnd();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->kind, LaneEnd::Kind::kCaughtUp) << end->reason;
  EXPECT_EQ(CountRejects(), 0);
}

// Main may find another time what it has not found before.
TEST_F(RejectsLaneTest, AsksAgainForATableOnceMainHasReadOn) {
  OfNewTable(0);  // main could not make it then
  const int64_t unmet = OfNewTable(0);
  Start({unmet, kNever});
  ASSERT_TRUE(WaitFor([&] { return Reached(0) == unmet; }));
  MakeNewTable();
  lane_->SetGoals({End(0), kNever});
  std::optional<LaneEnd> end = AwaitEnd();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->kind, LaneEnd::Kind::kForgotten);
  EXPECT_EQ(CountRejects(), 1);
}

// Likewise where the lane never had to wait: it comes to where main stood at first, and main is further by then.
TEST_F(RejectsLaneTest, AsksAgainForATableWithEachGoal) {
  OfNewTable(0);
  const int64_t goal = End(1) + 1;
  Start({End(0), goal});
  ASSERT_TRUE(WaitFor([&] { return Reached(0) == End(0); }));
  MakeNewTable();
  clock_.Advance(10'000);  // a long stretch is followed by another one
  lane_->SetGoals({End(0) + 1, goal});
  Reject(1);
  ASSERT_TRUE(WaitFor([&] { return Reached(1) == goal; }));
  OfNewTable(0);
  std::optional<LaneEnd> end = AwaitEnd();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->kind, LaneEnd::Kind::kForgotten);
  EXPECT_EQ(CountRejects(), 2);
}

// Main stands behind a transaction marker, in front of the record.
TEST_F(RejectsLaneTest, StandsAtTheRecordThatItWaitsAt) {
  Reject(0);
  log_->AppendMarker(0);
  const int64_t unmet = OfNewTable(0);
  const int64_t goal = End(1) + 4;
  Start({unmet - 1, goal});
  ASSERT_TRUE(WaitFor([&] { return Reached(0) >= unmet - 1; }));
  lane_->SetGoals({unmet, goal});
  for (int i = 0; i < 3; ++i) {
    Reject(1);
    ASSERT_TRUE(WaitFor([&] { return Reached(1) == End(1); }));
  }
  EXPECT_EQ(source_.lanes().opened, 1) << "the same records are read again and again";
  Reject(1);
  std::optional<LaneEnd> end = AwaitEnd();
  ASSERT_TRUE(end.has_value());
  ASSERT_EQ(end->kind, LaneEnd::Kind::kCaughtUp) << end->reason;
  EXPECT_EQ(end->partitions[0].read.offset, unmet);
  EXPECT_EQ(CountRejects(), 5);
}

}  // namespace
}  // namespace firn::ingest
