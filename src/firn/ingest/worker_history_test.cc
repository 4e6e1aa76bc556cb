// A table's history is changed by somebody else while Firn is away or at work: what each policy makes of it.
#include <functional>

#include "firn/ingest/worker_fixture_for_test.h"

namespace firn::ingest {
namespace {

class HistoryPolicyTest : public WorkerTest {
 protected:
  static PipelineOptions With(HistoryPolicy policy) {
    PipelineOptions options = MakeOptions();
    options.history_policy = policy;
    return options;
  }

  // 50 records, then 50 more, each in commits of their own.
  void FillTwice(const PipelineOptions& options) {
    Produce(0, 50);
    ExpectCaughtUp(RunOnce(options));
    first_ = Load("lake.events");
    Produce(50, 50);
    ExpectCaughtUp(RunOnce(options));
  }

  void RollBack() {
    iceberg::SetSnapshotRef main;
    main.value.snapshot_id = *first_.metadata.current_snapshot_id;
    ASSERT_TRUE(catalog_.CommitAsSomebodyElse(first_.identifier, {main}).has_value());
  }

  // What a foreign CREATE OR REPLACE leaves: the same uuid and properties, no current snapshot.
  void Replace() {
    iceberg::LoadedTable table = Load("lake.events");
    table.metadata.current_snapshot_id.reset();
    table.metadata.refs.clear();
    catalog_.Register(table.identifier, table.metadata);
  }

  void Expire() {
    iceberg::LoadedTable table = Load("lake.events");
    iceberg::RemoveSnapshots expired;
    for (const iceberg::Snapshot& snapshot : table.metadata.snapshots) {
      if (snapshot.snapshot_id == *table.metadata.current_snapshot_id) continue;
      expired.snapshot_ids.push_back(snapshot.snapshot_id);
    }
    ASSERT_TRUE(catalog_.CommitAsSomebodyElse(table.identifier, {expired}).has_value());
  }

  void RemoveProperty() {
    iceberg::RemoveProperties removed;
    removed.keys = {PositionsProperty("p")};
    ASSERT_TRUE(catalog_.CommitAsSomebodyElse(first_.identifier, {removed}).has_value());
  }

  void SetProperty(const std::string& value) {
    iceberg::SetProperties set;
    set.properties = {{PositionsProperty("p"), value}};
    ASSERT_TRUE(catalog_.CommitAsSomebodyElse(first_.identifier, {set}).has_value());
  }

  double Counted(const std::string& name, const std::map<std::string, std::string>& more = {}) {
    metrics::Labels labels = {{"pipeline", "p"}, {"table", "lake.events"}};
    labels.insert(more.begin(), more.end());
    return registry_.counter(name, "", labels).value();
  }

  // The rows of ids [0, 50) are there once, those of [50, 100) as often as said, and later ones once.
  void ExpectRows(int of_the_second_half, int64_t count) {
    std::map<int64_t, int> counts = CountValues("lake.events", "id");
    for (int64_t id = 0; id < count; ++id) {
      const int expected = id >= 50 && id < 100 ? of_the_second_half : 1;
      ASSERT_EQ(counts.contains(id) ? counts[id] : 0, expected) << "id " << id;
    }
  }

  iceberg::LoadedTable first_;
};

TEST_F(HistoryPolicyTest, RewindReadsAgainWhatARollbackRemoved) {
  const PipelineOptions options = With(HistoryPolicy::kRewind);
  FillTwice(options);
  RollBack();
  Produce(100, 50);
  auto run = RunOnce(options);
  ExpectCaughtUp(run);
  EXPECT_TRUE(run->status.detached.empty());
  ExpectRows(1, 150);
  EXPECT_EQ(Counted("firn_history_changes_total", {{"policy", "rewind"}}), 1);
  EXPECT_GE(Counted("firn_history_offsets_read_again_total"), 50);
  EXPECT_EQ(Counted("firn_history_offsets_given_up_total"), 0);
}

TEST_F(HistoryPolicyTest, ContinueLeavesOutWhatARollbackRemoved) {
  const PipelineOptions options = With(HistoryPolicy::kContinue);
  FillTwice(options);
  RollBack();
  Produce(100, 50);
  auto run = RunOnce(options);
  ExpectCaughtUp(run);
  EXPECT_TRUE(run->status.detached.empty());
  ExpectRows(0, 150);
  EXPECT_EQ(Counted("firn_history_changes_total", {{"policy", "continue"}}), 1);
  EXPECT_GE(Counted("firn_history_offsets_given_up_total"), 50);
  EXPECT_EQ(Counted("firn_history_offsets_read_again_total"), 0);
}

TEST_F(HistoryPolicyTest, ATablesOwnPolicyGoesBeforeThePipelines) {
  PipelineOptions options = With(HistoryPolicy::kContinue);
  options.tables[0].history_policy = HistoryPolicy::kHold;
  FillTwice(options);
  RollBack();
  Produce(100, 50);
  auto run = RunOnce(options);
  ASSERT_TRUE(run.has_value()) << run.error().ToString();
  EXPECT_EQ(run->status.detached.size(), 4u);
  EXPECT_EQ(Counted("firn_history_changes_total", {{"policy", "hold"}}), 1);
}

// The change comes between two commits of one run: its batch is forgotten for this table, which then catches up.
TEST_F(HistoryPolicyTest, AChangeDuringARunIsFollowedInTheSameRun) {
  for (HistoryPolicy policy : {HistoryPolicy::kRewind, HistoryPolicy::kContinue}) {
    catalog_.SetFaults(nullptr);
    log_ = std::make_shared<stream::MemoryLog>("cluster", "events", "topic-id", 4);
    for (const char* table : {"lake.events", "lake.p__home", "lake.p__rejects"}) {
      (void)catalog_.DropTable(TableIdentifier::Parse(table).value());
    }
    const PipelineOptions options = With(policy);
    FillTwice(options);
    Produce(100, 50);
    bool done = false;
    catalog_.SetFaults([&](CatalogCall call, const TableIdentifier& table) {
      if (call == CatalogCall::kCommit && table.name == "events" && !std::exchange(done, true)) RollBack();
      return CatalogFault::kNone;
    });
    auto run = RunOnce(options);
    ExpectCaughtUp(run);
    EXPECT_TRUE(run->status.detached.empty());
    ExpectRows(policy == HistoryPolicy::kRewind ? 1 : 0, 150);
  }
}

TEST_F(HistoryPolicyTest, WithNothingToRewindToTheTableIsHeld) {
  const PipelineOptions options = With(HistoryPolicy::kRewind);
  FillTwice(options);
  Replace();
  Produce(100, 50);
  auto run = RunOnce(options);
  ASSERT_TRUE(run.has_value()) << run.error().ToString();
  ASSERT_EQ(run->status.detached.size(), 4u);
  EXPECT_NE(run->status.detached[0].reason.find("cannot be followed"), std::string::npos)
      << run->status.detached[0].reason;
}

TEST_F(HistoryPolicyTest, AReplacedTableGoesOnEmpty) {
  const PipelineOptions options = With(HistoryPolicy::kContinue);
  FillTwice(options);
  Replace();
  Produce(100, 50);
  auto run = RunOnce(options);
  ExpectCaughtUp(run);
  EXPECT_TRUE(run->status.detached.empty());
  std::map<int64_t, int> counts = CountValues("lake.events", "id");
  EXPECT_EQ(counts.size(), 50u);
  EXPECT_EQ(counts.begin()->first, 100);
  // And no further change is seen in it, even when nothing of before is listed any more.
  Expire();
  Produce(150, 50);
  run = RunOnce(options);
  ExpectCaughtUp(run);
  EXPECT_TRUE(run->status.detached.empty());
}

// The history is whole, only the property is not: both policies find the positions in the snapshot.
TEST_F(HistoryPolicyTest, ALostPropertyIsFoundAgain) {
  for (HistoryPolicy policy : {HistoryPolicy::kRewind, HistoryPolicy::kContinue}) {
    catalog_.SetFaults(nullptr);
    log_ = std::make_shared<stream::MemoryLog>("cluster", "events", "topic-id", 4);
    for (const char* table : {"lake.events", "lake.p__home", "lake.p__rejects"}) {
      (void)catalog_.DropTable(TableIdentifier::Parse(table).value());
    }
    FillTwice(With(policy));
    RemoveProperty();
    Produce(100, 50);
    auto run = RunOnce(With(policy));
    ExpectCaughtUp(run);
    ExpectExactly(150);
  }
}

TEST_F(HistoryPolicyTest, AnOldPropertyIsNotBelieved) {
  for (HistoryPolicy policy : {HistoryPolicy::kRewind, HistoryPolicy::kContinue}) {
    catalog_.SetFaults(nullptr);
    log_ = std::make_shared<stream::MemoryLog>("cluster", "events", "topic-id", 4);
    for (const char* table : {"lake.events", "lake.p__home", "lake.p__rejects"}) {
      (void)catalog_.DropTable(TableIdentifier::Parse(table).value());
    }
    FillTwice(With(policy));
    SetProperty(*first_.metadata.Property(PositionsProperty("p")));
    Produce(100, 50);
    auto run = RunOnce(With(policy));
    ExpectCaughtUp(run);
    ExpectExactly(150);
  }
}

// An older metadata file is registered under the table's name: data and positions agree with each other, and only the
// home knows that there was more.
TEST_F(HistoryPolicyTest, ATableThatIsSetBackWithItsPositionsIsSeen) {
  FillTwice(MakeOptions());
  catalog_.Register(first_.identifier, first_.metadata);
  Produce(100, 50);
  auto held = RunOnce();
  ASSERT_TRUE(held.has_value()) << held.error().ToString();
  ASSERT_EQ(held->status.detached.size(), 4u);
  EXPECT_NE(held->status.detached[0].reason.find("set back"), std::string::npos) << held->status.detached[0].reason;

  // Either policy then reads again what is missing, for that is what the table says itself.
  auto run = RunOnce(With(HistoryPolicy::kContinue));
  ExpectCaughtUp(run);
  EXPECT_TRUE(run->status.detached.empty());
  ExpectExactly(150);
}

// Rejects of records without a route have no table of their own that would bring them back.
TEST_F(HistoryPolicyTest, ARejectsTableThatWasRolledBackHasEachRejectOnce) {
  PipelineOptions options = With(HistoryPolicy::kRewind);
  options.tables[0].match = {RouteMatch{.field_path = {"kind"}, .field_equals = "k0"}};
  auto produce = [&](int64_t first) {
    Produce(first, 30);
    for (int32_t p = 0; p < 4; ++p) log_->Append(p, R"({"id":"not a number","kind":"k0"})");
  };
  produce(0);
  ExpectCaughtUp(RunOnce(options));
  iceberg::LoadedTable rejects = Load("lake.p__rejects");
  produce(30);
  ExpectCaughtUp(RunOnce(options));
  std::map<int64_t, int> before = CountValues("lake.p__rejects", "offset");
  iceberg::SetSnapshotRef main;
  main.value.snapshot_id = *rejects.metadata.current_snapshot_id;
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(rejects.identifier, {main}).has_value());
  ASSERT_NE(CountValues("lake.p__rejects", "offset"), before);
  auto run = RunOnce(options);
  ExpectCaughtUp(run);
  EXPECT_EQ(CountValues("lake.p__rejects", "offset"), before);
  EXPECT_EQ(CountValues("lake.events", "id").size(), 20u);
}

}  // namespace
}  // namespace firn::ingest
