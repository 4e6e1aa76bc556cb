// Lanes: a detached table catches up while the rest goes on, and whatever dies on the way, each record is a row or a
// reject once.
#include <algorithm>

#include "firn/ingest/lanes.h"
#include "firn/ingest/positions_admin.h"
#include "firn/ingest/resume.h"
#include "firn/ingest/rules.h"
#include "firn/ingest/worker_fixture_for_test.h"
#include "firn/ingest/worker_metrics.h"

namespace firn::ingest {
namespace {

PipelineOptions Impatient(PipelineOptions options) {
  options.detach_after_ms = 50;
  return options;
}

class LanesTest : public WorkerTest {
 protected:
  void Refuse(const std::string& table) {
    catalog_.SetFaults([table](CatalogCall call, const TableIdentifier& of) {
      return call == CatalogCall::kCommit && of.name == table ? CatalogFault::kUnavailable : CatalogFault::kNone;
    });
  }
  // lake.events is detached, with `count` new records from `first` on that it misses its part of.
  void DetachEvents(int64_t first, int64_t count, PipelineOptions options) {
    Refuse("events");
    Produce(first, count);
    auto detached = RunOnce(Impatient(std::move(options)));
    ASSERT_TRUE(detached.has_value()) << detached.error().ToString();
    catalog_.SetFaults(nullptr);
    ASSERT_EQ(detached->status.detached.size(), 4u);
  }
  // A worker that cannot even load lake.events, which is detached, takes the others to the log's end.
  void PassBy() {
    catalog_.SetFaults([](CatalogCall, const TableIdentifier& table) {
      return table.name == "events" ? CatalogFault::kUnavailable : CatalogFault::kNone;
    });
    auto passed_by = RunOnce(Impatient(TwoTables()));
    catalog_.SetFaults(nullptr);
    ASSERT_TRUE(passed_by.has_value()) << passed_by.error().ToString();
    ASSERT_EQ(passed_by->status.detached.size(), 4u);
    EXPECT_EQ(passed_by->status.detached[3].home_position, log_->WatermarksOf(3).end);
  }
  // Counted without touching the catalog's faults.
  int64_t TotalRecords(const std::string& table) {
    auto loaded = catalog_.LoadTable(TableIdentifier::Parse(table).value());
    if (!loaded.has_value()) return -1;
    const iceberg::Snapshot* snapshot = loaded->metadata.CurrentSnapshot();
    auto total = snapshot->summary.find("total-records");
    return total == snapshot->summary.end() ? 0 : std::stoll(total->second);
  }
  void ExpectBothExact(int64_t produced) {
    ExpectExactly((produced + 2) / 3, "lake.events");
    ExpectExactly(produced - (produced + 2) / 3, "lake.other");
  }
  // Goes to lake.events, and is none of its rows.
  void ProduceBroken() {
    for (int32_t p = 0; p < 4; ++p) log_->Append(p, R"({"id":"none","kind":"k0"})");
    broken_ += 4;
  }
  int64_t broken_ = 0;
};

// A table that is set back to before what its lane committed is known by the home's note alone.
TEST_F(LanesTest, TheHomeNotesWhatALaneHasCommitted) {
  Produce(0, 90);
  ExpectCaughtUp(RunOnce(TwoTables()));
  DetachEvents(90, 90, TwoTables());
  ExpectCaughtUp(RunOnce(TwoTables()));
  ExpectBothExact(180);
  const PositionsMap home = MapOf(Load("lake.p__home").metadata, "p").value().value();
  EXPECT_TRUE(home.home->detached.empty());
  EXPECT_EQ(home.home->Find("lake.events")->sequence_number,
            MapOf(Load("lake.events").metadata, "p").value()->sequence_number);
}

// An entry that was made anew before the next checkpoint says less, as after a rewind of the rejects table.
TEST_F(LanesTest, TheHomeNotesItForTheEntryThatTheLaneWorkedFor) {
  Produce(0, 90);
  ExpectCaughtUp(RunOnce(TwoTables()));
  ASSERT_NO_FATAL_FAILURE(DetachEvents(90, 90, TwoTables()));
  PipelineOptions options = TwoTables();
  options.commit_rows_max = 5;
  options.checkpoint_interval_ms = 60'000;
  auto told = [&](int32_t partition) {
    const PositionsMap home = MapOf(Load("lake.p__home").metadata, "p").value().value();
    return *home.home->FindDetached("lake.events", {"cluster", "topic-id", partition});
  };
  const int64_t had = told(0).rows_below;
  ASSERT_GT(told(1).rejected_below, 0);
  stream::MemorySource source(log_);
  catalog_.SetFaults([&](CatalogCall call, const TableIdentifier& table) {
    if (call == CatalogCall::kCommit && table.name == "events") source.lanes().held = true;  // after its first commit
    return CatalogFault::kNone;
  });
  source.GiveAll();
  Running running(MakeWorker(source, options));
  ASSERT_TRUE(WaitFor([&] {
    const std::vector<DetachedTable> detached = running.status().detached;
    return detached.size() == 4 && detached[0].position > had;
  }));
  MapCommitter by_hand(catalog_, store_, env::SystemClock(), env::SystemRandom(), {"p", "w2", "g"});
  Home home(by_hand, TableIdentifier{{"lake"}, "p__home"}, RulesHash(options.tables));
  ASSERT_TRUE(home.Open({}).has_value());
  auto anew = [](PositionsMap& map) -> Result<bool> {
    for (DetachedEntry& entry : map.home->detached) {
      if (entry.partition.partition == 0) continue;
      MakeAnew(entry, 0);
      entry.rejected_below = 0;
    }
    return true;
  };
  ASSERT_TRUE(home.Edit(anew, {}, {}).has_value());
  source.Lose({0, 1, 2, 3});
  ASSERT_TRUE(WaitFor([&] { return !source.Holds(0) && source.lanes().open == 0; }));
  source.GiveAll();
  ASSERT_TRUE(WaitFor([&] { return source.lanes().open == 1; }));
  EXPECT_TRUE(running.Stop().has_value());
  EXPECT_EQ(told(0).rows_below, OffsetOf(MapOf(Load("lake.events").metadata, "p").value()->marks, told(0).partition));
  for (int32_t p = 1; p < 4; ++p) EXPECT_EQ(told(p).rejected_below, 0) << p;
  ExpectCaughtUp(RunOnce(TwoTables()));
  ExpectBothExact(180);
}

TEST_F(LanesTest, TableCatchesUpWhileMainGoesOn) {
  Produce(0, 90);
  ExpectCaughtUp(RunOnce(TwoTables()));
  DetachEvents(90, 90, TwoTables());
  stream::MemorySource source(log_);
  source.lanes().held = true;
  source.GiveAll();
  Running running(MakeWorker(source, TwoTables()));
  ASSERT_TRUE(WaitFor([&] { return running.status().lanes == 1; }));
  Produce(180, 90);
  EXPECT_TRUE(WaitFor([&] { return TotalRecords("lake.other") == 180; })) << "the lane holds up other tables";
  EXPECT_EQ(TotalRecords("lake.events"), 30);
  std::vector<DetachedTable> detached = running.status().detached;
  ASSERT_EQ(detached.size(), 4u);
  EXPECT_TRUE(detached[0].lane);
  EXPECT_TRUE(WaitFor([&] { return running.status().detached[0].retained_records > 0; }));
  EXPECT_GT(running.status().detached[0].home_position, running.status().detached[0].position);
  source.lanes().held = false;
  EXPECT_TRUE(WaitFor([&] { return running.status().ready && running.status().detached.empty(); }));
  EXPECT_EQ(running.status().lanes, 0);
  Produce(270, 30);
  EXPECT_TRUE(WaitFor([&] { return TotalRecords("lake.events") == 100; }));
  EXPECT_TRUE(running.Stop().has_value());
  ExpectBothExact(300);
}

// What a detached table misses was routed by the rules of that time.
TEST_F(LanesTest, NewRulesAreRefusedUntilADetachedTableIsBack) {
  Produce(0, 90);
  ExpectCaughtUp(RunOnce(TwoTables()));
  DetachEvents(90, 90, TwoTables());
  PassBy();
  PipelineOptions changed = TwoTables();
  changed.tables[0].match[0].field_equals = "k1";
  auto refused = RunOnce(changed);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidInput);
  const std::string& told = refused.error().message();
  EXPECT_NE(told.find("while a table is detached"), std::string::npos) << told;
  EXPECT_NE(told.find("lake.events"), std::string::npos) << told;
  // The old ones bring it back, and the new ones are welcome.
  ExpectCaughtUp(RunOnce(TwoTables()));
  ExpectBothExact(180);
  ExpectCaughtUp(RunOnce(changed));
}

TEST_F(LanesTest, ATableThatIsDroppedWithItsRuleIsGivenUp) {
  Produce(0, 90);
  ExpectCaughtUp(RunOnce(TwoTables()));
  DetachEvents(90, 90, TwoTables());
  ASSERT_TRUE(catalog_.DropTable(TableIdentifier::Parse("lake.events").value()).has_value());
  PipelineOptions without = TwoTables();
  without.tables.erase(without.tables.begin());
  auto result = RunOnce(without);
  ASSERT_TRUE(result.has_value()) << result.error().ToString();
  EXPECT_TRUE(result->status.detached.empty());
}

TEST_F(LanesTest, HandOverIsExactWhileRecordsKeepComing) {
  Produce(0, 90);
  ExpectCaughtUp(RunOnce(TwoTables()));
  DetachEvents(90, 210, TwoTables());
  stream::MemorySource source(log_);
  source.GiveAll();
  Running running(MakeWorker(source, TwoTables()));
  std::atomic<int64_t> next{300};
  std::jthread producer([&](std::stop_token end) {
    while (!end.stop_requested()) {
      Produce(next, 12);
      next += 12;
      ProduceBroken();
      std::this_thread::sleep_for(std::chrono::milliseconds(3));
    }
  });
  EXPECT_TRUE(WaitFor([&] { return running.status().ready && running.status().detached.empty(); }));
  const int64_t then = next;
  EXPECT_TRUE(WaitFor([&] { return next > then + 1'000; }));
  producer.request_stop();
  producer.join();
  EXPECT_TRUE(WaitFor([&] { return TotalRecords("lake.events") + TotalRecords("lake.other") == next; }));
  EXPECT_TRUE(running.Stop().has_value());
  ExpectCaughtUp(RunOnce(TwoTables()));
  ExpectBothExact(next);
  EXPECT_EQ(CountRejects(), broken_);
}

TEST_F(LanesTest, DeathBetweenTheDetachAndTheRejectsLosesNone) {
  Produce(0, 90);
  ExpectCaughtUp(RunOnce(TwoTables()));
  ProduceBroken();
  Produce(90, 90);
  // lake.events is detached by the first home commit; from then on nothing can be committed any more.
  std::atomic<bool> dying{false};
  catalog_.SetFaults([&](CatalogCall call, const TableIdentifier& table) {
    if (call != CatalogCall::kCommit) return CatalogFault::kNone;
    if (table.name == "p__home" && !dying.exchange(true)) return CatalogFault::kNone;
    return dying || table.name == "events" ? CatalogFault::kUnavailable : CatalogFault::kNone;
  });
  PipelineOptions options = Impatient(TwoTables());
  options.shutdown_deadline_ms = 1;
  options.checkpoint_interval_ms = 60'000;
  {
    stream::MemorySource source(log_);
    source.GiveAll();
    Running running(MakeWorker(source, options));
    EXPECT_TRUE(WaitFor([&] { return dying.load(); }));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    (void)running.Stop();
  }
  catalog_.SetFaults(nullptr);
  Produce(180, 30);
  ASSERT_NO_FATAL_FAILURE(PassBy());
  ExpectCaughtUp(RunOnce(TwoTables()));
  ExpectBothExact(210);
  EXPECT_EQ(CountRejects(), broken_);
}

TEST_F(LanesTest, DeathAfterATableWasTakenInAndBeforeItsRejectsLosesNone) {
  Produce(0, 90);
  ExpectCaughtUp(RunOnce(TwoTables()));
  DetachEvents(90, 90, TwoTables());
  // Main reads rows and a reject of lake.events only after the lane's last commit, and dies when it has committed the
  // rows.
  std::atomic<int> commits{0};
  std::atomic<bool> dying{false};
  catalog_.SetFaults([&](CatalogCall call, const TableIdentifier& table) {
    if (call != CatalogCall::kCommit) return CatalogFault::kNone;
    if (dying) return CatalogFault::kUnavailable;
    if (table.name == "events" && ++commits == 1) {
      Produce(180, 60);
      ProduceBroken();
      Produce(240, 60);
    }
    if (table.name == "p__rejects") dying = true;
    return dying ? CatalogFault::kUnavailable : CatalogFault::kNone;
  });
  PipelineOptions options = TwoTables();
  options.shutdown_deadline_ms = 1;
  {
    stream::MemorySource source(log_);
    source.GiveAll();
    Running running(MakeWorker(source, options));
    EXPECT_TRUE(WaitFor([&] { return dying.load(); }));
    (void)running.Stop();
  }
  EXPECT_GE(commits, 2);
  ASSERT_NO_FATAL_FAILURE(PassBy());
  ExpectCaughtUp(RunOnce(TwoTables()));
  ExpectBothExact(300);
  EXPECT_EQ(CountRejects(), broken_);
}

// A person gives up what a detached table has missed and so takes its entry off, after the rejects table has gone on
// without the table's rejects: who reads from H owes them, also when the table has its rows already.
TEST_F(LanesTest, WhoIsTakenOffTheListByHandStillOwesItsRejects) {
  Produce(0, 90);
  ExpectCaughtUp(RunOnce(TwoTables()));
  ASSERT_NO_FATAL_FAILURE(DetachEvents(90, 90, TwoTables()));
  PipelineOptions dies = Impatient(TwoTables());
  dies.shutdown_deadline_ms = 1;
  dies.checkpoint_interval_ms = 60'000;
  // Nothing is committed any more after the next rejects, or instead of them.
  auto run_and_die = [&](bool events_away, bool after) {
    std::atomic<bool> dying{false};
    catalog_.SetFaults([&](CatalogCall call, const TableIdentifier& table) {
      if (events_away && table.name == "events") return CatalogFault::kUnavailable;
      if (call != CatalogCall::kCommit) return CatalogFault::kNone;
      if (dying) return CatalogFault::kUnavailable;
      dying = table.name == "p__rejects";
      return dying && !after ? CatalogFault::kUnavailable : CatalogFault::kNone;
    });
    stream::MemorySource source(log_);
    source.GiveAll();
    Running running(MakeWorker(source, dies));
    EXPECT_TRUE(WaitFor([&] { return dying.load(); }));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    (void)running.Stop();
    catalog_.SetFaults(nullptr);
  };
  ProduceBroken();
  for (int32_t p = 0; p < 4; ++p) log_->Append(p, "{");
  run_and_die(/*events_away=*/true, /*after=*/true);
  EXPECT_EQ(CountRejects(), 4) << "none of lake.events";
  const PipelineOptions options = TwoTables();
  PositionsAdmin admin(options, catalog_, faulty_, env::SystemClock(), env::SystemRandom());
  const PositionsMap home = *MapOf(Load("lake.p__home").metadata, "p").value();
  for (const auto& [key, mark] : home.marks) {
    SetRequest give_up;
    give_up.topic = "events";
    give_up.partition = key.partition;
    give_up.offset = mark.position.offset;
    give_up.table = "lake.events";
    auto set = admin.Set(give_up, false, {});
    ASSERT_TRUE(set.has_value()) << set.error().ToString();
  }
  EXPECT_TRUE(MapOf(Load("lake.p__home").metadata, "p").value()->home->detached.empty());
  Produce(180, 30);
  ProduceBroken();
  run_and_die(/*events_away=*/false, /*after=*/false);
  ExpectCaughtUp(RunOnce(TwoTables()));
  EXPECT_EQ(TotalRecords("lake.events"), 40) << "30 before and 10 after what was given up";
  EXPECT_EQ(CountRejects(), 4 + broken_);
}

// A worker that dies at its n-th commit, before or after the catalog has carried it out, for every n.
class LaneDeathTest : public LanesTest, public testing::WithParamInterface<bool> {
 protected:
  // False: it has finished before.
  bool RunAndDieAt(int nth) {
    std::atomic<int> commits{0};
    std::atomic<bool> dying{false};
    const CatalogFault last = GetParam() ? CatalogFault::kLostAnswer : CatalogFault::kUnavailable;
    catalog_.SetFaults([&](CatalogCall call, const TableIdentifier&) {
      if (dying) return CatalogFault::kUnavailable;
      if (call != CatalogCall::kCommit || ++commits < nth) return CatalogFault::kNone;
      dying = true;
      return last;
    });
    PipelineOptions options = TwoTables();
    options.shutdown_deadline_ms = 1;
    {
      stream::MemorySource source(log_, 5);
      source.GiveAll();
      Running running(MakeWorker(source, options));
      WaitFor([&] { return dying || (running.status().assigned_partitions == 4 && running.status().ready); });
      if (dying) std::this_thread::sleep_for(std::chrono::milliseconds(20));
      (void)running.Stop();
    }
    catalog_.SetFaults(nullptr);
    return dying;
  }
};

TEST_P(LaneDeathTest, LosesAndDoublesNothingWhereverItDies) {
  int64_t produced = 90;
  Produce(0, produced);
  ExpectCaughtUp(RunOnce(TwoTables()));
  for (int nth = 1; nth <= 12; ++nth) {
    SCOPED_TRACE(nth);
    ProduceBroken();
    ASSERT_NO_FATAL_FAILURE(DetachEvents(produced, 60, TwoTables()));
    produced += 60;
    ProduceBroken();
    Produce(produced, 30);
    produced += 30;
    const bool died = RunAndDieAt(nth);
    ExpectCaughtUp(RunOnce(TwoTables()));
    ExpectBothExact(produced);
    ASSERT_EQ(CountRejects(), broken_);
    if (!died) break;
  }
}

INSTANTIATE_TEST_SUITE_P(BeforeAndAfterTheEffect, LaneDeathTest, testing::Bool());

TEST_F(LanesTest, TableThatFailsInItsLaneBacksOffAndHarmsNothing) {
  Produce(0, 90);
  ExpectCaughtUp(RunOnce(TwoTables()));
  DetachEvents(90, 90, TwoTables());
  Refuse("events");
  stream::MemorySource source(log_);
  source.GiveAll();
  Running running(MakeWorker(source, Impatient(TwoTables())));
  Produce(180, 90);
  EXPECT_TRUE(WaitFor([&] { return TotalRecords("lake.other") == 180 && source.lanes().opened == 1; }));
  EXPECT_TRUE(WaitFor([&] { return running.status().lanes == 0; }));
  Produce(270, 30);
  EXPECT_TRUE(WaitFor([&] { return TotalRecords("lake.other") == 200; }));
  EXPECT_EQ(source.lanes().opened, 1) << "a lane that failed waits";
  EXPECT_TRUE(running.Stop().has_value());
  catalog_.SetFaults(nullptr);
  ExpectCaughtUp(RunOnce(TwoTables()));
  ExpectBothExact(300);
}

TEST_F(LanesTest, RetentionThatOvertakesALaneHoldsThatPartitionAlone) {
  Produce(0, 90);
  ExpectCaughtUp(RunOnce(TwoTables()));
  DetachEvents(90, 90, TwoTables());
  stream::MemorySource source(log_);
  source.lanes().held = true;
  source.GiveAll();
  Running running(MakeWorker(source, TwoTables()));
  ASSERT_TRUE(WaitFor([&] { return source.lanes().open == 1; }));
  log_->TruncateBefore(1, log_->WatermarksOf(1).end - 2);
  source.lanes().held = false;
  EXPECT_TRUE(WaitFor([&] {
    std::vector<DetachedTable> detached = running.status().detached;
    return detached.size() == 1 && detached[0].hold;
  }));
  EXPECT_EQ(running.status().detached[0].partition, "events/1");
  EXPECT_TRUE(running.Stop().has_value());
  std::map<int64_t, int> rows = CountValues("lake.events", "id");
  for (int64_t id = 0; id < 180; id += 3) EXPECT_EQ(rows[id], id % 4 == 1 && id >= 90 ? 0 : 1) << id;
}

TEST_F(LanesTest, PartitionThatCannotBeReadHoldsUpNoOther) {
  Produce(0, 90);
  ExpectCaughtUp(RunOnce(TwoTables()));
  DetachEvents(90, 90, TwoTables());
  stream::MemorySource source(log_);
  source.lanes().unreadable = 1;
  source.GiveAll();
  Running running(MakeWorker(source, TwoTables()));
  EXPECT_TRUE(WaitFor([&] { return running.status().detached.size() == 1; }));
  ASSERT_FALSE(running.status().detached.empty());
  EXPECT_EQ(running.status().detached[0].partition, "events/1");
  EXPECT_FALSE(running.status().detached[0].hold);
  EXPECT_TRUE(running.Stop().has_value());
  std::map<int64_t, int> rows = CountValues("lake.events", "id");
  for (int64_t id = 0; id < 180; id += 3) EXPECT_EQ(rows[id], id % 4 == 1 && id >= 90 ? 0 : 1) << id;
  ExpectCaughtUp(RunOnce(TwoTables()));
  ExpectBothExact(180);
}

TEST_F(LanesTest, RevokeInMidLaneLeavesTheRestToTheNextOwner) {
  Produce(0, 90);
  ExpectCaughtUp(RunOnce(TwoTables()));
  DetachEvents(90, 90, TwoTables());
  stream::MemorySource first_source(log_);
  stream::MemorySource second_source(log_);
  first_source.lanes().held = true;
  first_source.GiveAll();
  Running first(MakeWorker(first_source, TwoTables()));
  PipelineOptions options = TwoTables();
  options.worker = "w2";
  Running second(MakeWorker(second_source, options));
  ASSERT_TRUE(WaitFor([&] { return first_source.lanes().open == 1; }));
  first_source.Revoke({2, 3});
  ASSERT_TRUE(WaitFor([&] { return !first_source.Holds(2) && !first_source.Holds(3); }));
  second_source.Give({2, 3});
  EXPECT_TRUE(WaitFor([&] { return second_source.lanes().opened > 0 && second_source.lanes().open == 0; }));
  Produce(180, 90);
  EXPECT_TRUE(WaitFor([&] { return second.status().detached.size() == 2; }));
  first_source.lanes().held = false;
  EXPECT_TRUE(WaitFor([&] { return first.status().detached.empty(); }));
  EXPECT_TRUE(WaitFor([&] { return TotalRecords("lake.events") == 90 && TotalRecords("lake.other") == 180; }));
  EXPECT_TRUE(first.Stop().has_value());
  EXPECT_TRUE(second.Stop().has_value());
  ExpectBothExact(270);
}

TEST_F(LanesTest, EntryThatAnotherOwnerTookOffIsNotPassedOver) {
  Produce(0, 90);
  ExpectCaughtUp(RunOnce(TwoTables()));
  DetachEvents(90, 90, TwoTables());
  stream::MemorySource source(log_);
  source.lanes().held = true;
  source.GiveAll();
  PipelineOptions slow = TwoTables();
  slow.worker = "zombie";
  Running running(MakeWorker(source, slow));
  ASSERT_TRUE(WaitFor([&] { return source.lanes().open == 1; }));
  // Two owners at once. The other one takes the table in; this one still skips its records.
  ExpectCaughtUp(RunOnce(TwoTables()));
  Produce(180, 90);
  EXPECT_TRUE(WaitFor([&] { return TotalRecords("lake.events") == 90 && TotalRecords("lake.other") == 180; }));
  source.lanes().held = false;
  EXPECT_TRUE(running.Stop().has_value());
  ExpectCaughtUp(RunOnce(TwoTables()));
  ExpectBothExact(270);
}

TEST_F(LanesTest, OwnersThatBothRunALaneDoubleNothing) {
  Produce(0, 90);
  ExpectCaughtUp(RunOnce(TwoTables()));
  for (int round = 0; round < 3; ++round) {
    ProduceBroken();
    DetachEvents(90 + round * 90, 90, TwoTables());
    ProduceBroken();
    stream::MemorySource first_source(log_, 3);
    stream::MemorySource second_source(log_, 5);
    first_source.GiveAll();
    second_source.GiveAll();
    Running first(MakeWorker(first_source, TwoTables()));
    Running second(MakeWorker(second_source, TwoTables()));
    EXPECT_TRUE(WaitFor([&] { return TotalRecords("lake.events") == 60 + 30 * round; }));
    EXPECT_TRUE(first.Stop().has_value());
    EXPECT_TRUE(second.Stop().has_value());
    ExpectCaughtUp(RunOnce(TwoTables()));
    ExpectBothExact(180 + round * 90);
    ASSERT_EQ(CountRejects(), broken_);
  }
}

TEST_F(LanesTest, LanesAreFewAndAllTablesGetTheirTurn) {
  PipelineOptions options = MakeOptions();
  options.tables[0].name = "lake.{topic}_{field:kind}";
  auto produce = [&](int64_t first, int64_t count) {
    for (int64_t id = first; id < first + count; ++id) {
      log_->Append(static_cast<int32_t>(id % 4), fmt::format(R"({{"id":{},"kind":"k{}"}})", id, id % 7));
    }
  };
  produce(0, 70);
  ExpectCaughtUp(RunOnce(options));
  catalog_.SetFaults([](CatalogCall call, const TableIdentifier& table) {
    const bool ours = call == CatalogCall::kCommit && table.name.starts_with("events_");
    return ours ? CatalogFault::kUnavailable : CatalogFault::kNone;
  });
  produce(70, 70);
  ASSERT_TRUE(RunOnce(Impatient(options)).has_value());
  catalog_.SetFaults(nullptr);
  stream::MemorySource source(log_);
  source.lanes().held = true;
  source.GiveAll();
  Running running(MakeWorker(source, options));
  EXPECT_TRUE(WaitFor([&] { return source.lanes().open == static_cast<int>(kLanesMax); }));
  source.lanes().held = false;
  EXPECT_TRUE(WaitFor([&] { return running.status().ready && running.status().detached.empty(); }));
  EXPECT_EQ(source.lanes().open_max, static_cast<int>(kLanesMax));
  EXPECT_TRUE(running.Stop().has_value());
  for (int kind = 0; kind < 7; ++kind) ExpectExactly(20, fmt::format("lake.events_k{}", kind));
}

// Nine tables that do not keep up with their topic, on a clock that the test turns.
class LaneTurnsTest : public LanesTest {
 protected:
  static constexpr int kTables = 9;
  static constexpr int64_t kStepMs = 30'000;

  void SetUp() override {
    options_ = MakeOptions();
    options_.tables[0].name = "lake.{topic}_{field:kind}";
    options_.clock_skew_max_ms = INT64_MAX;  // the store has a clock of its own
    Append();
    ExpectCaughtUp(RunOnce(options_));
    ASSERT_TRUE(home_.Open({}).has_value());
    for (stream::PartitionIndex index = 0; index < 4; ++index) {
      const stream::SourcePartition name = source_.partition(index);
      partitions_.push_back({index, name, KeyOf(name), kSinceMs, 0, INT64_MAX});
    }
    auto detached = home_.Edit(
        [&](PositionsMap& map) -> Result<bool> {
          for (int i = 0; i < kTables; ++i) {
            for (const LanePartition& partition : partitions_) {
              map.home->detached.push_back(DetachedEntry{TableOf(i), partition.key, "events", "a test", kSinceMs});
            }
          }
          return true;
        },
        {}, {});
    ASSERT_TRUE(detached.has_value()) << detached.error().ToString();
  }
  static std::string TableOf(int i) { return fmt::format("lake.events_k{}", i); }
  void Append() {
    for (int i = 0; i < kTables; ++i) {
      for (int32_t p = 0; p < 4; ++p) log_->Append(p, fmt::format(R"({{"id":{},"kind":"k{}"}})", next_++, i));
    }
  }
  std::set<int> Running() const {
    std::set<int> running;
    for (int i = 0; i < kTables; ++i) {
      if (lanes_.Has(TableOf(i), 0)) running.insert(i);
    }
    return running;
  }
  // What the ingest thread does ten times a second.
  void Look() {
    for (const auto& [table, progress] : lanes_.TakeProgress()) {
      if (progress.records > 0) moved_.insert(table);
    }
    for (const Lanes::Ended& ended : lanes_.TakeEnded()) {
      EXPECT_EQ(ended.end.kind, LaneEnd::Kind::kStopped) << ended.end.reason;
    }
    std::vector<LaneRequest> waiting;
    for (int i = 0; i < kTables; ++i) {
      if (!lanes_.Has(TableOf(i), 0)) waiting.push_back({TableOf(i), &options_.tables[0], partitions_});
    }
    lanes_.StartWaiting(std::move(waiting));
  }
  // Time passes, and every lane reads on all the while.
  void Pass(int64_t ms) {
    for (; ms > 0; ms -= kStepMs) {
      moved_.clear();
      Append();
      ASSERT_TRUE(WaitFor([&] {
        Look();
        return std::ranges::all_of(Running(), [&](int i) { return moved_.contains(TableOf(i)); });
      }));
      clock_.Advance(std::min(ms, kStepMs));
    }
    Look();
  }

  static constexpr int64_t kSinceMs = 7;
  PipelineOptions options_;
  env::ManualClock clock_{env::SystemClock().WallMs()};
  stream::MemorySource source_{log_};
  MapCommitter committer_{catalog_, store_, clock_, env::SystemRandom(), {"p", "w", "g"}};
  Home home_{committer_, TableIdentifier{{"lake"}, "p__home"}, RulesHash(TemplateRule())};
  WorkerMetrics metrics_{registry_, "p"};
  Lanes lanes_{options_, {catalog_, store_, source_, clock_, env::SystemRandom(), registry_}, home_, committer_,
               metrics_, [] {}};
  std::vector<LanePartition> partitions_;
  std::set<std::string> moved_;
  int64_t next_ = 0;

 private:
  static std::vector<TableRule> TemplateRule() {
    std::vector<TableRule> rules = MakeOptions().tables;
    rules[0].name = "lake.{topic}_{field:kind}";
    return rules;
  }
};

TEST_F(LaneTurnsTest, ATurnEndsWhenOthersWaitAndWhoeverWaitedLongestIsNext) {
  using Tables = std::set<int>;
  Look();
  EXPECT_EQ(Running(), (Tables{0, 1, 2, 3}));
  Pass(kLaneTurnMs - kStepMs);
  EXPECT_EQ(Running(), (Tables{0, 1, 2, 3})) << "nobody's turn is over";
  Pass(kStepMs);
  EXPECT_TRUE(WaitFor([&] { return Look(), Running() == Tables{4, 5, 6, 7}; }));
  Pass(kLaneTurnMs - kStepMs);
  EXPECT_EQ(Running(), (Tables{4, 5, 6, 7})) << "those that wait again do not cut another one's turn short";
  Pass(kStepMs);
  EXPECT_TRUE(WaitFor([&] { return Look(), Running() == Tables{8, 0, 1, 2}; }))
      << "one that has had no turn comes before those that have had one";
  Pass(kLaneTurnMs);
  EXPECT_TRUE(WaitFor([&] { return Look(), Running() == Tables{3, 4, 5, 6}; }));
}

TEST_F(LaneTurnsTest, ATurnGoesOnWhileNobodyWaits) {
  auto look_at_four = [&] {
    std::vector<LaneRequest> waiting;
    for (int i = 0; i < 4; ++i) {
      if (!lanes_.Has(TableOf(i), 0)) waiting.push_back({TableOf(i), &options_.tables[0], partitions_});
    }
    lanes_.StartWaiting(std::move(waiting));
  };
  look_at_four();
  for (int64_t ms = 0; ms < 3 * kLaneTurnMs; ms += kStepMs) {
    moved_.clear();
    Append();
    ASSERT_TRUE(WaitFor([&] {
      for (const auto& [table, progress] : lanes_.TakeProgress()) {
        if (progress.records > 0) moved_.insert(table);
      }
      return moved_.size() == 4;
    }));
    clock_.Advance(kStepMs);
    look_at_four();
  }
  EXPECT_EQ(Running().size(), 4u);
  EXPECT_TRUE(lanes_.TakeEnded().empty());
}

TEST_F(LanesTest, RejectsTableCatchesUpLikeAnyOther) {
  Produce(0, 30);
  ExpectCaughtUp(RunOnce(TwoTables()));
  auto produce = [&](int64_t first) {
    Produce(first, 30);
    ProduceBroken();
    for (int32_t p = 0; p < 4; ++p) log_->Append(p, "cannot be routed");
    broken_ += 4;
  };
  Refuse("p__rejects");
  produce(30);
  auto detached = RunOnce(Impatient(TwoTables()));
  ASSERT_TRUE(detached.has_value()) << detached.error().ToString();
  ASSERT_EQ(detached->status.detached.size(), 4u);
  produce(60);
  auto still = RunOnce(Impatient(TwoTables()));
  ASSERT_TRUE(still.has_value()) << still.error().ToString();
  catalog_.SetFaults(nullptr);
  produce(90);
  auto caught_up = RunOnce(TwoTables());
  ExpectCaughtUp(caught_up);
  EXPECT_TRUE(caught_up->status.detached.empty());
  ExpectBothExact(120);
  EXPECT_EQ(CountRejects(), broken_);
}

// Main has no reject to commit, so only the lane of another table meets it.
TEST_F(LanesTest, AQuietRejectsTableThatWasChangedIsHeldWhenALaneMeetsIt) {
  Produce(0, 30);
  ProduceBroken();
  ExpectCaughtUp(RunOnce(TwoTables()));
  stream::MemorySource source(log_);
  source.GiveAll();
  Running running(MakeWorker(source, Impatient(TwoTables())));
  Produce(30, 30);
  ASSERT_TRUE(WaitFor([&] { return TotalRecords("lake.events") == 20; }));
  iceberg::RemoveProperties removed;
  removed.keys = {PositionsProperty("p")};
  const TableIdentifier rejects = TableIdentifier::Parse("lake.p__rejects").value();
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(rejects, {removed}).has_value());
  Refuse("events");
  Produce(60, 30);
  EXPECT_TRUE(WaitFor([&] {
    return std::ranges::any_of(running.status().detached, [](const DetachedTable& each) {
      return each.table == "lake.p__rejects" && each.hold;
    });
  }));
  EXPECT_TRUE(running.Stop().has_value());
  catalog_.SetFaults(nullptr);
}

TEST_F(LanesTest, RejectThatStopsThePipelineStopsItInALaneToo) {
  PipelineOptions options = TwoTables();
  options.reject_policy = RejectPolicy::kStop;
  Produce(0, 90);
  ExpectCaughtUp(RunOnce(options));
  DetachEvents(90, 90, options);
  Refuse("events");
  log_->Append(2, R"({"id":"none","kind":"k0"})");
  Produce(180, 30);
  ASSERT_TRUE(RunOnce(Impatient(options)).has_value()) << "main does not decode what waits for its table";
  catalog_.SetFaults(nullptr);
  auto stopped = RunOnce(options);
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().code(), ErrorCode::kInvalidInput);
  EXPECT_NE(stopped.error().message().find("events/2 offset "), std::string::npos) << stopped.error().message();
  options.reject_policy = RejectPolicy::kTable;
  ExpectCaughtUp(RunOnce(options));
  ExpectBothExact(210);
}

TEST_F(LanesTest, DroppedRecordsOfALaneAreCounted) {
  PipelineOptions options = TwoTables();
  options.reject_policy = RejectPolicy::kDrop;
  Produce(0, 90);
  ExpectCaughtUp(RunOnce(options));
  DetachEvents(90, 90, options);
  Refuse("events");
  ProduceBroken();
  auto skipped = RunOnce(Impatient(options));
  ASSERT_TRUE(skipped.has_value());
  catalog_.SetFaults(nullptr);
  auto result = RunOnce(options);
  ExpectCaughtUp(result);
  EXPECT_EQ(skipped->status.dropped + result->status.dropped, 4u);
  ExpectBothExact(180);
}

TEST_F(LanesTest, RowsThatWaitForACommitAreNotPassedByACheckpoint) {
  PipelineOptions options = TwoTables();
  options.shutdown_deadline_ms = 1;
  options.commit_interval_ms = options.checkpoint_interval_ms = 20;
  std::atomic<int64_t> next{0};
  std::jthread producer([&](std::stop_token end) {
    while (!end.stop_requested()) {
      Produce(next, 3);
      next += 3;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  for (int round = 0; round < 6; ++round) {
    stream::MemorySource source(log_, 3);
    source.GiveAll();
    Running running(MakeWorker(source, options));
    WaitFor([&] { return running.status().rows_committed > 100; });
    (void)running.Stop();
  }
  producer.request_stop();
  producer.join();
  ExpectCaughtUp(RunOnce(TwoTables()));
  ExpectBothExact(next);
}

}  // namespace
}  // namespace firn::ingest
