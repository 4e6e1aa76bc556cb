// A table gets positions again: whatever ends it on the way, no row and no reject is left out, and none is looked for
// that was never there.
#include "firn/ingest/resume.h"

#include "firn/ingest/batch_commit.h"
#include "firn/ingest/history.h"
#include "firn/ingest/rules.h"
#include "firn/ingest/worker_fixture_for_test.h"

namespace firn::ingest {
namespace {

class ResumeTest : public WorkerTest {
 protected:
  ResumeTest() : committer_(catalog_, store_, env::SystemClock(), env::SystemRandom(), {"p", "w", "g"}) {
    options_.history_policy = HistoryPolicy::kRewind;
  }

  static PartitionKey Key(int32_t partition) { return PartitionKey{"cluster", "topic-id", partition}; }
  static Mark At(int64_t offset) { return Mark{"events", stream::Position{offset, -1, -1}}; }
  PositionsMap MapIn(const std::string& table) { return MapOf(Load(table).metadata, "p").value().value(); }
  int64_t OffsetIn(const std::string& table, int32_t partition) {
    return OffsetOf(MapIn(table).marks, Key(partition)).value_or(0);
  }
  const DetachedEntry* EntryOf(const std::string& table, int32_t partition) {
    home_map_ = MapIn("lake.p__home");
    return home_map_.home->FindDetached(table, Key(partition));
  }

  void FillTwice() {
    Produce(0, 50);
    ExpectCaughtUp(RunOnce(options_));
    first_ = Load("lake.events");
    Produce(50, 50);
    ExpectCaughtUp(RunOnce(options_));
  }
  void RollBackTo(const iceberg::LoadedTable& table) {
    iceberg::SetSnapshotRef main;
    main.value.snapshot_id = *table.metadata.current_snapshot_id;
    ASSERT_TRUE(catalog_.CommitAsSomebodyElse(table.identifier, {main}).has_value());
  }

  // As a worker by its policy, or as a person.
  Status Resume(const std::string& table, ResumeMode mode, bool by_hand) {
    Home home(committer_, TableIdentifier::Parse("lake.p__home").value(), RulesHash(options_.tables));
    FIRN_TRY(home.Open({}));
    TableState state(TableIdentifier::Parse(table).value());
    FIRN_TRY(committer_.Reload(state));
    FIRN_ASSIGN(ResumePlan plan, PlanResume(*state.loaded(), home.map(), options_, mode, store_));
    return CarryOutResume(plan, home, committer_, state, "test", by_hand, {});
  }
  void EditHome(const std::function<void(PositionsMap&)>& edit) {
    Home home(committer_, TableIdentifier::Parse("lake.p__home").value(), RulesHash(options_.tables));
    ASSERT_TRUE(home.Open({}).has_value());
    auto edited = home.Edit(
        [&](PositionsMap& map) -> Result<bool> {
          edit(map);
          return true;
        },
        {}, {});
    ASSERT_TRUE(RequireCommitted(edited, "home").has_value());
  }
  void EditTable(const std::string& table, const std::function<void(PositionsMap&)>& edit) {
    TableState state(TableIdentifier::Parse(table).value());
    MapCommitRequest request;
    request.decide = [&](const iceberg::LoadedTable&,
                         const std::optional<PositionsMap>& stands) -> Result<MapDecision> {
      MapDecision decision;
      decision.next = *stands;
      edit(decision.next);
      return decision;
    };
    ASSERT_TRUE(RequireCommitted(committer_.Commit(state, request, {}), table).has_value());
  }
  // The process dies with the first commit to the home that comes after `commits` to the table.
  void DieAfter(int commits) {
    auto left = std::make_shared<int>(commits);
    catalog_.SetFaults([left](CatalogCall call, const TableIdentifier& table) {
      if (call != CatalogCall::kCommit) return CatalogFault::kNone;
      if (table.name == "events") --*left;
      return table.name == "p__home" && *left <= 0 ? CatalogFault::kUnauthorized : CatalogFault::kNone;
    });
  }

  PipelineOptions options_ = MakeOptions();
  MapCommitter committer_;
  iceberg::LoadedTable first_;
  PositionsMap home_map_;
};

TEST_F(ResumeTest, WhatEndsItInBetweenLosesNothing) {
  for (bool by_hand : {false, true}) {
    catalog_.SetFaults(nullptr);
    log_ = std::make_shared<stream::MemoryLog>("cluster", "events", "topic-id", 4);
    for (const char* table : {"lake.events", "lake.p__home", "lake.p__rejects"}) {
      (void)catalog_.DropTable(TableIdentifier::Parse(table).value());
    }
    FillTwice();
    RollBackTo(first_);
    const int64_t stood = OffsetIn("lake.events", 0);
    DieAfter(0);
    EXPECT_FALSE(Resume("lake.events", ResumeMode::kRewind, by_hand).has_value());
    EXPECT_EQ(EntryOf("lake.events", 0), nullptr);
    EXPECT_EQ(OffsetIn("lake.events", 0), stood) << "the table before the home";
    DieAfter(1);
    EXPECT_FALSE(Resume("lake.events", ResumeMode::kRewind, by_hand).has_value());
    EXPECT_LT(OffsetIn("lake.events", 0), OffsetIn("lake.p__home", 0));
    ASSERT_NE(EntryOf("lake.events", 0), nullptr);
    EXPECT_EQ(EntryOf("lake.events", 0)->hold, by_hand);
    // By hand it is for the same hand to end it; a worker goes on by itself.
    if (by_hand) {
      ASSERT_TRUE(Resume("lake.events", ResumeMode::kRewind, by_hand).has_value());
    }
    Produce(100, 50);
    auto run = RunOnce(options_);
    ExpectCaughtUp(run);
    EXPECT_TRUE(run->status.detached.empty());
    ExpectExactly(150);
  }
}

TEST_F(ResumeTest, ATableThatCannotBeReplacedIsNotLeftOnHold) {
  FillTwice();
  RollBackTo(first_);
  catalog_.SetFaults([](CatalogCall call, const TableIdentifier& table) {
    return call == CatalogCall::kCommit && table.name == "events" ? CatalogFault::kUnauthorized : CatalogFault::kNone;
  });
  EXPECT_FALSE(Resume("lake.events", ResumeMode::kRewind, true).has_value());
  ASSERT_NE(EntryOf("lake.events", 0), nullptr);
  EXPECT_FALSE(EntryOf("lake.events", 0)->hold);
}

TEST_F(ResumeTest, WhatMainPassedWhileATableWithoutPositionsWasHeldIsNotGivenUp) {
  options_.history_policy = HistoryPolicy::kHold;
  FillTwice();
  iceberg::RemoveProperties removal;
  removal.keys = {PositionsProperty("p")};
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(TableIdentifier::Parse("lake.events").value(), {removal}).has_value());
  Produce(100, 50);
  auto held = RunOnce(options_);
  ASSERT_TRUE(held.has_value()) << held.error().ToString();
  ASSERT_NE(EntryOf("lake.events", 0), nullptr);
  EXPECT_TRUE(EntryOf("lake.events", 0)->hold);
  EXPECT_LT(EntryOf("lake.events", 0)->home_offset, OffsetIn("lake.p__home", 0));
  ASSERT_TRUE(Resume("lake.events", ResumeMode::kContinue, true).has_value());
  auto run = RunOnce(options_);
  ExpectCaughtUp(run);
  EXPECT_TRUE(run->status.detached.empty());
  ExpectExactly(150);
}

// Listed and never attached, it can only have the positions that it was listed with.
TEST_F(ResumeTest, PositionsOfAnEarlierLifeAreNotAdopted) {
  FillTwice();
  options_.history_policy = HistoryPolicy::kHold;
  EditHome([](PositionsMap& map) {
    *map.home->Find("lake.events") = ListedTable{"lake.events", "", ListedState::kAttaching, {}};
  });
  auto held = RunOnce(options_);
  ASSERT_TRUE(held.has_value()) << held.error().ToString();
  ASSERT_NE(EntryOf("lake.events", 0), nullptr);
  EXPECT_TRUE(EntryOf("lake.events", 0)->hold);
  ExpectExactly(100);
  ASSERT_TRUE(Resume("lake.events", ResumeMode::kContinue, true).has_value());
  Produce(100, 50);
  auto run = RunOnce(options_);
  ExpectCaughtUp(run);
  EXPECT_TRUE(run->status.detached.empty());
  ExpectExactly(150);
}

// Another worker has committed more than H says, has read it, and moves H over it.
TEST_F(ResumeTest, WhatAnotherWorkerIsAheadByIsReadAgain) {
  FillTwice();
  const Marks low_water = MapIn("lake.p__home").marks;
  EditHome([](PositionsMap& map) {
    for (auto& [key, mark] : map.marks) mark.position = stream::Position{5, -1, -1};
  });
  RollBackTo(first_);
  EXPECT_GT(OffsetOf(MapOf(first_.metadata, "p").value()->marks, Key(0)).value(), 5);
  ASSERT_TRUE(Resume("lake.events", ResumeMode::kRewind, false).has_value());
  ASSERT_NE(EntryOf("lake.events", 0), nullptr);
  EditHome([&](PositionsMap& map) { map.marks = low_water; });
  auto run = RunOnce(options_);
  ExpectCaughtUp(run);
  EXPECT_TRUE(run->status.detached.empty());
  ExpectExactly(100);
}

// A worker that had taken the table in takes the entry off that it knew of, not the one that was made anew.
TEST_F(ResumeTest, AnEntryIsMadeAnew) {
  FillTwice();
  EditHome([](PositionsMap& map) {
    map.home->detached.push_back(DetachedEntry{"lake.events", Key(0), "events", "before", 7, false, 3});
  });
  RollBackTo(first_);
  ASSERT_TRUE(Resume("lake.events", ResumeMode::kRewind, false).has_value());
  const DetachedEntry* entry = EntryOf("lake.events", 0);
  ASSERT_NE(entry, nullptr);
  EXPECT_GT(entry->since_ms, 7);
  EXPECT_EQ(entry->rejected_below, 3);
  Home home(committer_, TableIdentifier::Parse("lake.p__home").value(), RulesHash(options_.tables));
  ASSERT_TRUE(home.Open({}).has_value());
  BatchCommitter batches(options_, home, committer_, env::SystemThreads());
  Batch batch;
  batch.checkpoint = true;
  batch.caught_up.push_back({"lake.events", Key(0), 7});
  batch.rejected.push_back({"lake.events", Key(0), 7, 20});
  EXPECT_EQ(batches.Commit(std::move(batch), {}).kind, BatchResult::Kind::kDone);
  entry = EntryOf("lake.events", 0);
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(entry->rejected_below, 3);
  batch = Batch();
  batch.checkpoint = true;
  batch.caught_up.push_back({"lake.events", Key(0), entry->since_ms});
  EXPECT_EQ(batches.Commit(std::move(batch), {}).kind, BatchResult::Kind::kDone);
  EXPECT_EQ(EntryOf("lake.events", 0), nullptr);
}

// Partition 3 has no record of the table: its positions stay at the listing, perhaps below what retention has left.
TEST_F(ResumeTest, AQuietPartitionIsNotLookedThrough) {
  FillTwice();
  const Mark end = MapIn("lake.events").marks.at(Key(0));
  EditTable("lake.events", [](PositionsMap& map) {
    map.marks[Key(0)] = At(5);
    map.marks[Key(3)] = At(0);
  });
  const iceberg::LoadedTable before = Load("lake.events");
  EditTable("lake.events", [&](PositionsMap& map) { map.marks[Key(0)] = end; });
  const iceberg::LoadedTable stood = Load("lake.events");
  const iceberg::LoadedTable home = Load("lake.p__home");
  auto again = [&] {
    catalog_.Register(stood.identifier, stood.metadata);
    catalog_.Register(home.identifier, home.metadata);
    RollBackTo(before);
  };
  const int64_t low_water = OffsetIn("lake.p__home", 3);

  again();
  ASSERT_TRUE(Resume("lake.events", ResumeMode::kRewind, false).has_value());
  EXPECT_EQ(OffsetIn("lake.events", 0), 5);
  EXPECT_NE(EntryOf("lake.events", 0), nullptr);
  EXPECT_EQ(OffsetIn("lake.events", 3), low_water);
  EXPECT_EQ(EntryOf("lake.events", 3), nullptr);

  again();
  ASSERT_TRUE(Resume("lake.events", ResumeMode::kContinue, false).has_value());
  EXPECT_GE(OffsetIn("lake.events", 0), end.position.offset);
  EXPECT_EQ(EntryOf("lake.events", 0), nullptr);
  EXPECT_EQ(OffsetIn("lake.events", 3), low_water);
  EXPECT_EQ(EntryOf("lake.events", 3), nullptr);

  // The home rests on more than the table says: then nobody knows that nothing is missing.
  again();
  EditHome([](PositionsMap& map) { map.home->Find("lake.events")->sequence_number = 1000; });
  ASSERT_TRUE(Resume("lake.events", ResumeMode::kRewind, false).has_value());
  EXPECT_EQ(OffsetIn("lake.events", 3), 0);
  EXPECT_NE(EntryOf("lake.events", 3), nullptr);

  // Nor where the table is detached.
  again();
  EditHome([](PositionsMap& map) {
    map.home->detached.push_back(DetachedEntry{"lake.events", Key(3), "events", "before", 7, false, 0});
  });
  ASSERT_TRUE(Resume("lake.events", ResumeMode::kRewind, false).has_value());
  EXPECT_EQ(OffsetIn("lake.events", 3), 0);
}

// While the rejects table is detached, H says nothing of which rejects are there.
TEST_F(ResumeTest, ANewEntryDoesNotClaimRejectsThatAreNotThere) {
  FillTwice();
  EditHome([](PositionsMap& map) {
    map.home->detached.push_back(DetachedEntry{"lake.p__rejects", Key(0), "events", "before", 7, false, 0});
  });
  RollBackTo(first_);
  ASSERT_TRUE(Resume("lake.events", ResumeMode::kRewind, false).has_value());
  ASSERT_NE(EntryOf("lake.events", 0), nullptr);
  EXPECT_EQ(EntryOf("lake.events", 0)->rejected_below, 0);
  ASSERT_NE(EntryOf("lake.events", 1), nullptr);
  EXPECT_EQ(EntryOf("lake.events", 1)->rejected_below, OffsetIn("lake.p__home", 1));
}

// The marks of other tables' rejects go back with the rejects, and so does what the home says of them.
TEST_F(ResumeTest, MarksOfRejectsGoBackWithTheRejects) {
  FillTwice();
  EditTable("lake.p__rejects", [](PositionsMap& map) {
    for (int32_t p = 0; p < 4; ++p) map.marks[Key(p)] = At(10);
    map.rejected["lake.events"] = {{Key(0), At(12)}, {Key(2), At(4)}};
  });
  const iceberg::LoadedTable before = Load("lake.p__rejects");
  EditTable("lake.p__rejects", [](PositionsMap& map) {
    map.marks[Key(1)] = At(14);
    map.marks[Key(2)] = At(14);
    map.rejected["lake.events"] = {{Key(0), At(15)}};
  });
  EditHome([](PositionsMap& map) {
    auto detach = [&](int32_t p, int64_t below) {
      map.home->detached.push_back(DetachedEntry{"lake.events", Key(p), "events", "before", 7, false, below});
    };
    detach(0, 15);  // its lane has written rejects that are gone
    detach(1, 14);  // main has written rejects that are gone
    detach(3, 11);  // nothing of it is gone
  });
  RollBackTo(before);
  ASSERT_TRUE(Resume("lake.p__rejects", ResumeMode::kRewind, false).has_value());
  const PositionsMap map = MapIn("lake.p__rejects");
  const Marks& marks = map.rejected.at("lake.events");
  EXPECT_EQ(OffsetOf(marks, Key(0)), 12);
  EXPECT_EQ(OffsetOf(marks, Key(1)), 10);
  EXPECT_EQ(OffsetOf(marks, Key(2)), 4);
  EXPECT_EQ(OffsetOf(marks, Key(3)), 11);
  EXPECT_EQ(EntryOf("lake.events", 0)->rejected_below, 12);
  EXPECT_GT(EntryOf("lake.events", 0)->since_ms, 7);
  EXPECT_EQ(EntryOf("lake.events", 1)->rejected_below, 10);
  // It takes part again, but the mark of its lane is back: from there on its rejects are gone.
  ASSERT_NE(EntryOf("lake.events", 2), nullptr);
  EXPECT_EQ(EntryOf("lake.events", 2)->rejected_below, 4);
  EXPECT_EQ(EntryOf("lake.events", 3)->rejected_below, 11);
  EXPECT_EQ(EntryOf("lake.events", 3)->since_ms, 7);
}

TEST_F(ResumeTest, RejectsThatAreGivenUpKeepTheirMarks) {
  FillTwice();
  const iceberg::LoadedTable before = Load("lake.p__rejects");
  EditTable("lake.p__rejects", [](PositionsMap& map) { map.rejected["lake.events"] = {{Key(0), At(15)}}; });
  EditHome([](PositionsMap& map) {
    map.home->detached.push_back(DetachedEntry{"lake.events", Key(0), "events", "before", 7, false, 15});
  });
  RollBackTo(before);
  ASSERT_TRUE(Resume("lake.p__rejects", ResumeMode::kContinue, false).has_value());
  EXPECT_EQ(OffsetOf(MapIn("lake.p__rejects").rejected.at("lake.events"), Key(0)), 15);
  EXPECT_EQ(EntryOf("lake.events", 0)->rejected_below, 15);
}

// Who detaches a table has looked at the rejects table before somebody rewound it.
TEST_F(ResumeTest, WhoDetachesATableBesideTheRejectsTableSaysNothingOfItsRejects) {
  FillTwice();
  EditHome([](PositionsMap& map) {
    map.home->detached.push_back(DetachedEntry{"lake.p__rejects", Key(0), "events", "rewound", 7, false, 0});
  });
  Home home(committer_, TableIdentifier::Parse("lake.p__home").value(), RulesHash(options_.tables));
  ASSERT_TRUE(home.Open({}).has_value());
  const std::vector<DetachedEntry> entries = {{"lake.events", Key(0), "events", "gone", 8, false, 12},
                                              {"lake.events", Key(1), "events", "gone", 8, false, 12}};
  ASSERT_TRUE(home.Detach(entries, "lake.p__rejects", {}).has_value());
  EXPECT_EQ(EntryOf("lake.events", 0)->rejected_below, 0);
  EXPECT_EQ(EntryOf("lake.events", 1)->rejected_below, 12);
}

// The same the other way round: it was detached after the rewind was planned.
TEST_F(ResumeTest, ARewindOfTheRejectsTableForgetsWhatEntriesSayThatItWasNotPlannedWith) {
  FillTwice();
  EditTable("lake.p__rejects", [](PositionsMap& map) { map.marks = {{Key(0), At(4)}}; });
  const iceberg::LoadedTable before = Load("lake.p__rejects");
  EditTable("lake.p__rejects", [](PositionsMap& map) { map.marks = {{Key(0), At(12)}}; });
  RollBackTo(before);
  Home home(committer_, TableIdentifier::Parse("lake.p__home").value(), RulesHash(options_.tables));
  ASSERT_TRUE(home.Open({}).has_value());
  TableState state(TableIdentifier::Parse("lake.p__rejects").value());
  ASSERT_TRUE(committer_.Reload(state).has_value());
  auto plan = PlanResume(*state.loaded(), home.map(), options_, ResumeMode::kRewind, store_);
  ASSERT_TRUE(plan.has_value()) << plan.error().ToString();
  EditHome([](PositionsMap& map) {
    map.home->detached.push_back(DetachedEntry{"lake.events", Key(0), "events", "meanwhile", 7, false, 12});
  });
  ASSERT_TRUE(CarryOutResume(*plan, home, committer_, state, "test", false, {}).has_value());
  EXPECT_EQ(OffsetIn("lake.p__rejects", 0), 4);
  EXPECT_EQ(EntryOf("lake.events", 0)->rejected_below, 0);
}

// Copied metadata under the name: its snapshots tell to a record what is in it, the home's positions do not.
TEST_F(ResumeTest, ACopyUnderAnotherUuidGoesOnFromWhatItsSnapshotsSay) {
  options_.history_policy = HistoryPolicy::kHold;
  for (ResumeMode mode : {ResumeMode::kContinue, ResumeMode::kRewind}) {
    log_ = std::make_shared<stream::MemoryLog>("cluster", "events", "topic-id", 4);
    for (const char* table : {"lake.events", "lake.p__home", "lake.p__rejects"}) {
      (void)catalog_.DropTable(TableIdentifier::Parse(table).value());
    }
    FillTwice();
    EditHome([](PositionsMap& map) {
      for (auto& [key, mark] : map.marks) mark.position.offset = 3;
    });
    iceberg::LoadedTable copy = Load("lake.events");
    copy.metadata.table_uuid = "00000000-0000-4000-8000-00000000abcd";
    catalog_.Register(copy.identifier, copy.metadata);
    Produce(100, 50);
    // To continue gives up what main has gone past meanwhile, to rewind does not.
    const bool at_once = mode == ResumeMode::kContinue;
    EXPECT_TRUE(!at_once || Resume("lake.events", mode, true).has_value());
    ASSERT_EQ(RunOnce(options_)->status.detached.size(), at_once ? 0u : 4u);
    EXPECT_TRUE(at_once || Resume("lake.events", mode, true).has_value());
    ExpectCaughtUp(RunOnce(options_));
    ExpectExactly(150);
  }
}

// The catalog does not answer while it makes the home, and has not made it.
TEST_F(ResumeTest, ALostCreateIsTriedAgain) {
  Produce(0, 50);
  int lost = 0;
  catalog_.SetFaults([&](CatalogCall call, const TableIdentifier& table) {
    if (call != CatalogCall::kCreate || table.name != "p__home") return CatalogFault::kNone;
    return ++lost == 1 ? CatalogFault::kLostRequest : CatalogFault::kNone;
  });
  ExpectCaughtUp(RunOnce(options_));
  EXPECT_EQ(lost, 2);
  ExpectExactly(50);
}

// An older table of the pipeline is given the name back: it agrees with itself, and is not the one that H rests on.
TEST_F(ResumeTest, AnotherTableOfThePipelineIsNotTakenForThisOne) {
  options_.history_policy = HistoryPolicy::kHold;
  FillTwice();
  const iceberg::LoadedTable table = Load("lake.events");
  iceberg::LoadedTable other = table;
  PositionsMap map = MapIn("lake.events");
  map.table_uuid = other.metadata.table_uuid = "00000000-0000-4000-8000-00000000abcd";
  for (auto& [key, mark] : map.marks) mark.position.offset = 3;
  other.metadata.properties[PositionsProperty("p")] = map.Serialize();
  catalog_.Register(other.identifier, other.metadata);
  Produce(100, 50);
  auto run = RunOnce(options_);
  ASSERT_TRUE(run.has_value()) << run.error().ToString();
  ASSERT_EQ(run->status.detached.size(), 4u);
  EXPECT_NE(run->status.detached[0].reason.find("another table has the name"), std::string::npos)
      << run->status.detached[0].reason;
  PositionsAdmin admin(options_, catalog_, store_, env::SystemClock(), env::SystemRandom());
  auto shown = admin.Show();
  ASSERT_TRUE(shown.has_value()) << shown.error().ToString();
  for (const TablePositions& each : shown->tables) {
    EXPECT_EQ(each.problem.empty(), each.table != "lake.events") << each.table;
  }
  // The one that was fed comes back.
  catalog_.Register(table.identifier, table.metadata);
  ASSERT_TRUE(Resume("lake.events", ResumeMode::kContinue, true).has_value());
  ExpectCaughtUp(RunOnce(options_));
  ExpectExactly(150);
}

}  // namespace
}  // namespace firn::ingest
