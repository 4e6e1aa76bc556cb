// One lane by itself, where the test is main: a table's, and the rejects table's at tables of a template that main has
// not met. What becomes of those is main's to find out: none of their records may be a reject and a row.
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

// lake.events_k0 is there. The test is main.
class LaneTest : public WorkerTest {
 protected:
  static constexpr const char* kTable = "lake.events_k0";

  void SetUp() override {
    Produce(0, 40);
    ExpectCaughtUp(RunOnce(options_));
    ASSERT_TRUE(home_.Open({}).has_value());
  }
  // For two partitions, from H on.
  void Detach(const std::string& table) {
    std::vector<DetachedEntry> entries;
    for (stream::PartitionIndex index = 0; index < 2; ++index) {
      entries.push_back(DetachedEntry{table, Key(index), "events", "a test", kSinceMs});
    }
    auto detached = home_.Detach(entries, options_.rejects_table, {});
    ASSERT_TRUE(detached.has_value()) << detached.error().ToString();
  }

  PartitionKey Key(stream::PartitionIndex index) { return KeyOf(source_.partition(index)); }
  int64_t End(int32_t partition) { return log_->WatermarksOf(partition).end; }
  int64_t Reject(int32_t partition) { return log_->Append(partition, R"({"id":"none","kind":"k0"})"); }
  int64_t OfTable(int32_t partition, int64_t id) {
    return log_->Append(partition, fmt::format(R"({{"id":{},"kind":"k0"}})", id));
  }
  int64_t OfNewTable(int32_t partition) { return log_->Append(partition, R"({"id":7,"kind":"new"})"); }

  void StartFor(const std::string& table, const std::vector<int64_t>& goals) {
    LaneRequest request{table, table == options_.rejects_table ? nullptr : &options_.tables[0], {}};
    for (stream::PartitionIndex index = 0; index < 2; ++index) {
      request.partitions.push_back({index, source_.partition(index), Key(index), kSinceMs, 0, goals[index]});
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

TEST_F(LaneTest, LogThatWasCutAndHasGrownAgainEndsItForThatPartitionAlone) {
  ASSERT_NO_FATAL_FAILURE(Detach(kTable));
  log_->SetLeaderEpoch(1, 5);
  const int64_t good = OfTable(1, 1001);
  log_->SetLeaderEpoch(1, 3);
  OfTable(1, 1002);
  for (int64_t id = 1003; id < 1020; ++id) OfTable(0, id);
  StartFor(kTable, {End(0), End(1)});
  std::optional<LaneEnd> end = AwaitEnd();
  ASSERT_TRUE(end.has_value());
  ASSERT_EQ(end->kind, LaneEnd::Kind::kCaughtUp) << end->reason;
  ASSERT_EQ(end->partitions.size(), 1u);
  EXPECT_EQ(end->partitions[0].index, 0u);
  const Marks marks = MapOf(Load(kTable).metadata, "p").value()->marks;
  EXPECT_EQ(OffsetOf(marks, Key(0)), End(0));
  EXPECT_EQ(OffsetOf(marks, Key(1)), good + 1);
  std::map<int64_t, int> rows = CountValues(kTable, "id");
  for (int64_t id = 1001; id < 1020; ++id) EXPECT_EQ(rows[id], id == 1002 ? 0 : 1) << id;
}

// By the rules of before, what came since its last row was another table's, whatever the rules of now say of it. Only
// its rejects are looked for from further below.
TEST_F(LaneTest, AQuietTableGetsNoRowsFromBelowWhereItWasDetached) {
  OfTable(0, 1001);
  Reject(0);
  const int64_t low_water = End(0);
  auto passed = home_.Edit(
      [&](PositionsMap& map) -> Result<bool> {
        map.marks[Key(0)].position.offset = low_water;
        return true;
      },
      {}, {});
  ASSERT_TRUE(passed.has_value()) << passed.error().ToString();
  ASSERT_NO_FATAL_FAILURE(Detach(kTable));
  OfTable(0, 1002);
  Reject(0);
  StartFor(kTable, {End(0), End(1)});
  std::optional<LaneEnd> end = AwaitEnd();
  ASSERT_TRUE(end.has_value());
  ASSERT_EQ(end->kind, LaneEnd::Kind::kCaughtUp) << end->reason;
  std::map<int64_t, int> rows = CountValues(kTable, "id");
  EXPECT_EQ(rows[1001], 0);
  EXPECT_EQ(rows[1002], 1);
  EXPECT_EQ(CountRejects(), 2);
}

// The rejects table is detached.
class RejectsLaneTest : public LaneTest {
 protected:
  void SetUp() override {
    LaneTest::SetUp();
    Detach(options_.rejects_table);
  }
  void Start(const std::vector<int64_t>& goals) { StartFor(options_.rejects_table, goals); }
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
  // One of its own would make main forget its first rejects.
  EXPECT_TRUE(MapOf(Load(options_.rejects_table).metadata, "p").value()->rejected.empty());
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

// A table that main could not make, and has listed: its records wait for a lane of its own.
TEST_F(RejectsLaneTest, DoesNotWaitAtARecordOfATableThatIsDetached) {
  ASSERT_NO_FATAL_FAILURE(Detach("lake.events_new"));
  Reject(0);
  const int64_t main_reads = End(0);
  OfNewTable(0);
  Reject(0);
  Start({main_reads, kNever});
  EXPECT_TRUE(WaitFor([&] { return Reached(0) == End(0); })) << Reached(0) << " of " << End(0);
  EXPECT_EQ(source_.lanes().opened, 1);
  lane_->Stop();
  lane_->Join();
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
