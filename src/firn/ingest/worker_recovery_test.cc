// The worker when tables fail and come back, partitions are lost, and several workers meet: nothing is lost or doubled.
#include <algorithm>
#include <functional>

#include "firn/ingest/worker_fixture_for_test.h"

namespace firn::ingest {
namespace {

class RecoveryTest : public WorkerTest {
 protected:
  // Every commit of lake.events is refused; loading it works.
  void RefuseCommitsOfEvents() {
    catalog_.SetFaults([](CatalogCall call, const TableIdentifier& table) {
      return call == CatalogCall::kCommit && table.name == "events" ? CatalogFault::kUnavailable : CatalogFault::kNone;
    });
  }
  static PipelineOptions ImpatientOptions() {
    PipelineOptions options = MakeOptions();
    options.detach_after_ms = 50;
    return options;
  }
};

TEST_F(RecoveryTest, TableThatFailsAgainWhileItCatchesUpLosesNothing) {
  Produce(0, 100);
  ExpectCaughtUp(RunOnce());
  for (int round = 1; round <= 3; ++round) {
    Produce(round * 100, 100);
    RefuseCommitsOfEvents();
    auto detached = RunOnce(ImpatientOptions());
    ASSERT_TRUE(detached.has_value()) << detached.error().ToString();
    EXPECT_EQ(detached->status.detached.size(), 4u);
  }
  catalog_.SetFaults(nullptr);
  auto caught_up = RunOnce();
  ExpectCaughtUp(caught_up);
  EXPECT_TRUE(caught_up->status.detached.empty());
  ExpectExactly(400);
}

TEST_F(RecoveryTest, RejectsOfATableThatCatchesUpComeOnce) {
  Produce(0, 40);
  ExpectCaughtUp(RunOnce());
  int64_t broken = 0;
  for (int round = 0; round < 3; ++round) {
    for (int32_t p = 0; p < 4; ++p, ++broken) log_->Append(p, "broken");
    Produce(40 + round * 40, 40);
    for (int32_t p = 0; p < 4; ++p, ++broken) log_->Append(p, "broken too");
    if (round < 2) RefuseCommitsOfEvents();
    ASSERT_TRUE(RunOnce(ImpatientOptions()).has_value());
    catalog_.SetFaults(nullptr);
  }
  ExpectCaughtUp(RunOnce());
  ExpectExactly(160);
  EXPECT_EQ(CountRejects(), broken);
}

TEST_F(RecoveryTest, OutageOfEverythingDetachesNothingAndIsSeen) {
  Produce(0, 40);
  ExpectCaughtUp(RunOnce());
  std::atomic<bool> down{true};
  catalog_.SetFaults([&](CatalogCall call, const TableIdentifier&) {
    return down && call == CatalogCall::kCommit ? CatalogFault::kUnavailable : CatalogFault::kNone;
  });
  Produce(40, 40);
  stream::MemorySource source(log_);
  source.GiveAll();
  auto worker = MakeWorker(source, ImpatientOptions());
  std::stop_source stop;
  auto run = std::async(std::launch::async, [&] { return worker->Run(stop.get_token(), false); });
  EXPECT_TRUE(WaitFor([&] { return worker->status().not_ready_reason.find("lake.events") != std::string::npos; }));
  EXPECT_FALSE(worker->status().ready);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));  // many times detach_after
  EXPECT_TRUE(worker->status().detached.empty());
  down = false;
  EXPECT_TRUE(WaitFor([&] { return worker->status().rows_committed == 40 && worker->status().ready; }));
  EXPECT_TRUE(worker->status().detached.empty());
  stop.request_stop();
  EXPECT_TRUE(run.get().has_value());
  catalog_.SetFaults(nullptr);
  ExpectExactly(80);
}

TEST_F(RecoveryTest, TableOfATemplateThatCannotBeDecodedIntoWaitsAndCatchesUp) {
  iceberg::CreateTableRequest request;
  request.schema.fields = {MakeField(1, "id", schema::TypeKind::kLong)};
  ASSERT_TRUE(catalog_.EnsureNamespace({"lake"}).has_value());
  ASSERT_TRUE(catalog_.CreateTable(TableIdentifier::Parse("lake.events").value(), request).has_value());
  PipelineOptions options = MakeOptions();
  options.tables[0].name = "lake.{topic}";
  options.tables[0].decode.raw_column = "raw_that_the_table_has_not";
  Produce(0, 40);
  auto detached = RunOnce(options);
  ASSERT_TRUE(detached.has_value()) << detached.error().ToString();
  EXPECT_EQ(detached->status.detached.size(), 4u);
  EXPECT_TRUE(CountValues("lake.events", "id").empty());
  // Nothing new comes that would name the table, and yet it has every row once its configuration is mended.
  options.tables[0].decode.raw_column.clear();
  auto mended = RunOnce(options);
  ExpectCaughtUp(mended);
  EXPECT_TRUE(mended->status.detached.empty());
  ExpectExactly(40);
  EXPECT_EQ(CountRejects(), 0);
}

// As rejects its records might be rows, too: whoever reads them again after a crash may find that it can be made.
TEST_F(RecoveryTest, TableOfATemplateThatMayNotBeMadeWaitsAndCatchesUp) {
  PipelineOptions options = ImpatientOptions();
  options.tables[0].name = "lake.{topic}_{field:kind}";
  Produce(0, 60);
  catalog_.SetFaults([](CatalogCall call, const TableIdentifier& table) {
    return call == CatalogCall::kLoad && table.name == "events_k1" ? CatalogFault::kUnauthorized : CatalogFault::kNone;
  });
  auto detached = RunOnce(options);
  ASSERT_TRUE(detached.has_value()) << detached.error().ToString();
  EXPECT_EQ(detached->status.detached.size(), 4u);
  EXPECT_EQ(CountRejects(), 0);
  for (const char* table : {"lake.events_k0", "lake.events_k2"}) ExpectExactly(20, table);
  Produce(60, 30);
  ASSERT_TRUE(RunOnce(options).has_value());
  catalog_.SetFaults(nullptr);
  auto mended = RunOnce(options);
  ExpectCaughtUp(mended);
  EXPECT_TRUE(mended->status.detached.empty());
  for (const char* table : {"lake.events_k0", "lake.events_k1", "lake.events_k2"}) ExpectExactly(30, table);
  EXPECT_EQ(CountRejects(), 0);
}

// Once they are rejects they stay rejects: the lane of a table that is detached later would give them rows, too.
TEST_F(RecoveryTest, TableOfATemplateWhoseRecordsAreRejectsIsNotDetachedAfterwards) {
  PipelineOptions options = ImpatientOptions();
  options.tables[0].name = "lake.{topic}";
  const schema::Schema columns = std::exchange(options.tables[0].schema, {});
  Produce(0, 30);
  stream::MemorySource source(log_);
  source.Give({0, 1});
  auto worker = MakeWorker(source, options);
  std::stop_source stop;
  auto run = std::async(std::launch::async, [&] { return worker->Run(stop.get_token(), false); });
  EXPECT_TRUE(WaitFor([&] { return worker->status().rejects_committed > 0; }));
  iceberg::CreateTableRequest request;
  request.schema = columns;
  ASSERT_TRUE(catalog_.CreateTable(TableIdentifier::Parse("lake.events").value(), request).has_value());
  catalog_.SetFaults([](CatalogCall call, const TableIdentifier& table) {
    return call == CatalogCall::kLoad && table.name == "events" ? CatalogFault::kUnauthorized : CatalogFault::kNone;
  });
  source.Give({2, 3});
  EXPECT_TRUE(WaitFor([&] { return worker->status().rejects_committed == 30; })) << worker->status().rejects_committed;
  EXPECT_TRUE(worker->status().detached.empty());
  stop.request_stop();
  EXPECT_TRUE(run.get().has_value());
}

// As an outage of the store of one table's metadata: k1 cannot be looked for, k2 cannot be made.
TEST_F(RecoveryTest, TablesOfATemplateThatAnOutageKeepsFromBeingMadeWaitAndCatchUp) {
  PipelineOptions options = ImpatientOptions();
  options.tables[0].name = "lake.{topic}_{field:kind}";
  Produce(0, 60);
  auto outage = [](CatalogCall call, const TableIdentifier& table) {
    const bool hit = (call == CatalogCall::kLoad && table.name == "events_k1") ||
                     (call == CatalogCall::kCreate && table.name == "events_k2");
    return hit ? CatalogFault::kUnavailable : CatalogFault::kNone;
  };
  catalog_.SetFaults(outage);
  auto detached = RunOnce(options);
  ASSERT_TRUE(detached.has_value()) << detached.error().ToString();
  EXPECT_EQ(detached->status.detached.size(), 8u);
  ExpectExactly(20, "lake.events_k0");
  const HomeRecord home = *MapOf(Load("lake.p__home").metadata, "p").value()->home;
  for (const char* table : {"lake.events_k1", "lake.events_k2"}) {
    ASSERT_NE(home.Find(table), nullptr) << table;
    EXPECT_EQ(home.Find(table)->state, ListedState::kAttaching) << table;
    EXPECT_EQ(std::ranges::count(home.detached, table, &DetachedEntry::table), 4) << table;
  }
  for (const DetachedEntry& entry : home.detached) EXPECT_FALSE(entry.hold) << entry.table;
  // Main goes on, far above what the two of them will begin with.
  catalog_.SetFaults(outage);
  Produce(60, 30);
  ASSERT_TRUE(RunOnce(options).has_value());
  ExpectExactly(30, "lake.events_k0");
  EXPECT_EQ(CountRejects(), 0);
  Produce(90, 30);
  auto mended = RunOnce(options);
  ExpectCaughtUp(mended);
  EXPECT_TRUE(mended->status.detached.empty());
  for (const char* table : {"lake.events_k0", "lake.events_k1", "lake.events_k2"}) ExpectExactly(40, table);
  EXPECT_EQ(CountRejects(), 0);
}

// What is wrong with the home says nothing of a table that happens to be opened then.
TEST_F(RecoveryTest, HomeThatIsLostWhileATableIsOpenedEndsTheRunAndRejectsNothing) {
  PipelineOptions options = ImpatientOptions();
  options.tables[0].name = "lake.{topic}_{field:kind}";
  Produce(0, 60);
  bool lost = false;
  catalog_.SetFaults([&](CatalogCall call, const TableIdentifier& table) {
    if (call != CatalogCall::kLoad || table.name != "events_k1") return CatalogFault::kNone;
    if (!std::exchange(lost, true)) {
      iceberg::RemoveProperties removed;
      removed.keys = {PositionsProperty("p")};
      EXPECT_TRUE(
          catalog_.CommitAsSomebodyElse(TableIdentifier::Parse("lake.p__home").value(), {removed}).has_value());
    }
    return CatalogFault::kUnauthorized;
  });
  auto run = RunOnce(options);
  ASSERT_FALSE(run.has_value());
  EXPECT_NE(run.error().message().find("firn positions rebuild"), std::string::npos) << run.error().ToString();
  EXPECT_EQ(CountRejects(), 0);
}

TEST_F(RecoveryTest, WorkersThatMayNotMakeATableGoOnAndItCatchesUpOnce) {
  PipelineOptions options = ImpatientOptions();
  options.tables[0].name = "lake.{topic}_{field:kind}";
  PipelineOptions others = options;
  others.worker = "w2";
  catalog_.SetFaults([](CatalogCall call, const TableIdentifier& table) {
    return call == CatalogCall::kLoad && table.name == "events_k1" ? CatalogFault::kUnauthorized : CatalogFault::kNone;
  });
  Produce(0, 60);
  // Until both have committed `rows` together.
  auto run_both = [&](uint64_t rows, const std::function<bool()>& meanwhile) {
    stream::MemorySource first_source(log_);
    stream::MemorySource second_source(log_);
    first_source.Give({0, 1});
    second_source.Give({2, 3});
    Running first(MakeWorker(first_source, options));
    Running second(MakeWorker(second_source, others));
    EXPECT_TRUE(meanwhile());
    EXPECT_TRUE(WaitFor([&] { return first.status().rows_committed + second.status().rows_committed == rows; }));
    EXPECT_TRUE(first.Stop().has_value());
    EXPECT_TRUE(second.Stop().has_value());
  };
  auto detached = [&] {
    auto home = catalog_.LoadTable(TableIdentifier::Parse("lake.p__home").value());
    if (!home.has_value()) return size_t{0};
    auto map = MapOf(home->metadata, "p");
    return map.has_value() && map->has_value() ? (*map)->home->detached.size() : size_t{0};
  };
  run_both(80, [&] {
    const bool both = WaitFor([&] { return detached() == 4; });
    Produce(60, 60);  // after that, too, each goes on with the rest
    return both;
  });
  EXPECT_EQ(CountRejects(), 0);  // the catalog's faults are gone with that
  // Both make it, and each has its half of what it misses.
  run_both(40 + 30, [&] {
    Produce(120, 30);
    return WaitFor([&] { return detached() == 0; });
  });
  for (const char* table : {"lake.events_k0", "lake.events_k1", "lake.events_k2"}) ExpectExactly(50, table);
  EXPECT_EQ(CountRejects(), 0);
}

// The old rules gave lake.events its records and died before lake.other had its own; the new ones send all to the
// former. What it is ahead of is in doubt, for its lane as for main.
class InDoubtTest : public RecoveryTest {
 protected:
  void SetUp() override {
    Produce(0, 90);
    ExpectCaughtUp(RunOnce(TwoTables()));
    Produce(90, 30);
    for (int32_t p = 0; p < 4; ++p) log_->Append(p, "broken");
    MapCommitter old_worker(catalog_, store_, env::SystemClock(), env::SystemRandom(), {"p", "old", "g"});
    TableState events(TableIdentifier::Parse("lake.events").value());
    MapCommitRequest rows;
    rows.decide = [&](const iceberg::LoadedTable&, const std::optional<PositionsMap>& stands) -> Result<MapDecision> {
      MapDecision decision;
      decision.next = *stands;
      for (auto& [key, mark] : decision.next.marks) mark.position.offset = log_->WatermarksOf(key.partition).end;
      return decision;
    };
    ASSERT_TRUE(old_worker.Commit(events, rows, {}).has_value());
  }
  // From the moment on that the home has the new rules, nobody may open lake.events.
  void ForbidEventsOnceAdopted() {
    catalog_.SetFaults([this](CatalogCall call, const TableIdentifier& table) {
      if (call == CatalogCall::kCommit && table.name == "p__home") adopted_ = true;
      return adopted_ && table.name == "events" ? CatalogFault::kUnauthorized : CatalogFault::kNone;
    });
  }
  static constexpr int64_t kInDoubt = 34;  // nobody else has those that were meant for lake.other
  std::atomic<bool> adopted_{false};
};

TEST_F(InDoubtTest, IsRejectedByTheLaneOfATableThatWasDetached) {
  ForbidEventsOnceAdopted();
  auto detached = RunOnce(ImpatientOptions());  // everything to lake.events
  ASSERT_TRUE(detached.has_value()) << detached.error().ToString();
  EXPECT_EQ(detached->status.detached.size(), 4u);
  EXPECT_EQ(CountRejects(), 0);
  catalog_.SetFaults(nullptr);
  Produce(120, 30);
  auto mended = RunOnce();
  ExpectCaughtUp(mended);
  EXPECT_TRUE(mended->status.detached.empty());
  EXPECT_EQ(CountRejects(), kInDoubt);
  ExpectCaughtUp(RunOnce());
  EXPECT_TRUE(MapOf(Load("lake.p__home").metadata, "p").value()->home->cut.empty());
}

// Main stands below while the lane goes to its end; then it reads what the lane has rejected.
TEST_F(InDoubtTest, IsLeftAloneByMainWhereTheLaneHasJudgedIt) {
  ForbidEventsOnceAdopted();
  {
    stream::MemorySource source(log_);
    source.HoldRecords(true);
    source.GiveAll();
    Running running(MakeWorker(source, ImpatientOptions()));
    EXPECT_TRUE(WaitFor([&] { return running.status().detached.size() == 4; }));
    EXPECT_TRUE(running.Stop().has_value());
  }
  catalog_.SetFaults(nullptr);
  stream::MemorySource source(log_);
  source.HoldRecords(true);
  source.GiveAll();
  Running running(MakeWorker(source, MakeOptions()));
  EXPECT_TRUE(WaitFor([&] { return running.status().rejects_committed == kInDoubt && running.status().lanes == 0; }));
  EXPECT_EQ(running.status().records, 0u);
  source.HoldRecords(false);
  EXPECT_TRUE(WaitFor([&] { return running.status().detached.empty(); }));
  EXPECT_EQ(running.status().records, static_cast<uint64_t>(kInDoubt));
  EXPECT_TRUE(running.Stop().has_value());
  EXPECT_EQ(CountRejects(), kInDoubt);
}

// The rejects table is detached while it has them to take: its lane would take them for rows of lake.events.
TEST_F(InDoubtTest, IsReadAgainWhereTheRejectsTableWasDetachedInstead) {
  stream::MemorySource source(log_);
  source.HoldRecords(true);
  source.GiveAll();
  Running running(MakeWorker(source, ImpatientOptions()));
  ASSERT_TRUE(WaitFor([&] { return running.status().assigned_partitions == 4 && running.status().ready; }));
  catalog_.SetFaults([](CatalogCall call, const TableIdentifier& table) {
    const bool hit = call == CatalogCall::kCommit && table.name == "p__rejects";
    return hit ? CatalogFault::kUnavailable : CatalogFault::kNone;
  });
  source.HoldRecords(false);
  EXPECT_TRUE(WaitFor([&] { return running.status().detached.size() == 4; }));
  catalog_.SetFaults(nullptr);
  EXPECT_TRUE(running.Stop().has_value());
  auto mended = RunOnce();
  ExpectCaughtUp(mended);
  EXPECT_TRUE(mended->status.detached.empty());
  EXPECT_EQ(CountRejects(), kInDoubt);
}

// A record of a table that cannot be used is read while the rejects table, which is about to be detached, has others to
// take. Its lane may meet the table as one that can be used.
TEST_F(RecoveryTest, PartitionWaitsForTheRejectsTableAtARejectThatItsLaneMayNotFind) {
  PipelineOptions options = ImpatientOptions();
  options.tables[0].name = "lake.{topic}_{field:kind}";
  iceberg::CreateTableRequest request;
  request.schema = std::exchange(options.tables[0].schema, {});  // so no other can be made
  options.tables[0].partition.clear();
  ASSERT_TRUE(catalog_.EnsureNamespace({"lake"}).has_value());
  ASSERT_TRUE(catalog_.CreateTable(TableIdentifier::Parse("lake.events_k0").value(), request).has_value());
  log_->Append(0, R"({"id":1,"kind":"k0"})");
  ExpectCaughtUp(RunOnce(options));
  std::atomic<int64_t> unusable{-1};
  catalog_.SetFaults([&](CatalogCall call, const TableIdentifier& table) {
    if (call != CatalogCall::kCommit || table.name != "p__rejects") return CatalogFault::kNone;
    if (unusable < 0) unusable = log_->Append(0, R"({"id":2,"kind":"k1"})");
    return CatalogFault::kUnavailable;
  });
  log_->Append(0, R"({"id":"none","kind":"k0"})");
  auto low_water = [&](int32_t partition) {
    const PositionsMap home =
        *MapOf(catalog_.LoadTable(TableIdentifier::Parse("lake.p__home").value()).value().metadata, "p").value();
    return OffsetOf(home.marks, PartitionKey{"cluster", "topic-id", partition}).value_or(0);
  };
  {
    stream::MemorySource source(log_);
    source.Give({0, 1});
    Running running(MakeWorker(source, options));
    EXPECT_TRUE(WaitFor([&] { return running.status().detached.size() == 2; }));
    log_->Append(1, R"({"id":3,"kind":"k0"})");
    EXPECT_TRUE(WaitFor([&] { return low_water(1) == 1; }));
    EXPECT_LE(low_water(0), unusable);
    EXPECT_TRUE(running.Stop().has_value());
  }
  catalog_.SetFaults(nullptr);
  ExpectCaughtUp(RunOnce(options));
  EXPECT_EQ(low_water(0), unusable + 1);
  EXPECT_EQ(CountRejects(), 2);
}

TEST_F(RecoveryTest, WorkersThatMeetATableAtTheSameTimeBothFeedIt) {
  PipelineOptions options = MakeOptions();
  options.tables[0].name = "lake.{topic}_{field:kind}";
  stream::MemorySource first_source(log_);
  stream::MemorySource second_source(log_);
  first_source.Give({0, 1});
  second_source.Give({2, 3});
  auto first = MakeWorker(first_source, options);
  options.worker = "w2";
  auto second = MakeWorker(second_source, options);
  std::stop_source stop;
  auto run_first = std::async(std::launch::async, [&] { return first->Run(stop.get_token(), false); });
  auto run_second = std::async(std::launch::async, [&] { return second->Run(stop.get_token(), false); });
  EXPECT_TRUE(WaitFor([&] { return first->status().ready && second->status().ready; }));
  Produce(0, 120);
  EXPECT_TRUE(WaitFor([&] { return first->status().rows_committed + second->status().rows_committed == 120; }));
  EXPECT_TRUE(first->status().detached.empty());
  EXPECT_TRUE(second->status().detached.empty());
  stop.request_stop();
  EXPECT_TRUE(run_first.get().has_value());
  EXPECT_TRUE(run_second.get().has_value());
  for (const char* table : {"lake.events_k0", "lake.events_k1", "lake.events_k2"}) ExpectExactly(40, table);
}

TEST_F(RecoveryTest, PartitionsThatAreLostAndComeBackAreReadToTheirEnd) {
  Produce(0, 400);
  stream::MemorySource source(log_);
  // Both decisions wait for the worker: it knows what it has to reach, and loses everything before the first record.
  source.GiveAll();
  source.Lose({0, 1, 2, 3});
  auto worker = MakeWorker(source, MakeOptions());
  auto run = std::async(std::launch::async, [&] { return worker->Run({}, true); });
  EXPECT_EQ(run.wait_for(std::chrono::milliseconds(500)), std::future_status::timeout)
      << "ended without having caught up";
  source.GiveAll();
  auto result = run.get();
  ExpectCaughtUp(result);
  ExpectExactly(400);
}

TEST_F(RecoveryTest, CommitOfAZombieWhileRowsAreBufferedDoublesNothing) {
  for (int64_t id = 0; id < 50; ++id) log_->Append(0, fmt::format(R"({{"id":{},"kind":"k"}})", id));
  stream::MemorySource source(log_);
  source.Give({0});
  PipelineOptions slow = MakeOptions();
  slow.commit_interval_ms = 60'000;
  slow.checkpoint_interval_ms = 60'000;
  auto worker = MakeWorker(source, slow);
  std::stop_source stop;
  auto run = std::async(std::launch::async, [&] { return worker->Run(stop.get_token(), false); });
  EXPECT_TRUE(WaitFor([&] { return worker->status().records == 50; }));
  {
    stream::MemorySource zombie_source(log_);
    zombie_source.Give({0});
    auto zombie = MakeWorker(zombie_source, MakeOptions());
    ExpectCaughtUp(zombie->Run({}, true));
  }
  for (int64_t id = 50; id < 100; ++id) log_->Append(0, fmt::format(R"({{"id":{},"kind":"k"}})", id));
  EXPECT_TRUE(WaitFor([&] { return worker->status().records == 100; }));
  source.Give({1});  // reads the maps again
  EXPECT_TRUE(WaitFor([&] { return source.Holds(1); }));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  stop.request_stop();
  EXPECT_TRUE(run.get().has_value());
  ExpectCaughtUp(RunOnce());
  ExpectExactly(100);
}

TEST_F(RecoveryTest, NewColumnIsFilledWhileRecordsKeepComing) {
  Produce(0, 40);
  ExpectCaughtUp(RunOnce());
  stream::MemorySource source(log_);
  source.GiveAll();
  auto worker = MakeWorker(source, MakeOptions());
  std::stop_source stop;
  auto run = std::async(std::launch::async, [&] { return worker->Run(stop.get_token(), false); });
  std::atomic<int64_t> next{1000};
  std::jthread producer([&](std::stop_token end) {
    while (!end.stop_requested()) {
      int64_t id = next++;
      log_->Append(static_cast<int32_t>(id % 4), fmt::format(R"({{"id":{},"kind":"k","extra":{}}})", id, id));
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  EXPECT_TRUE(WaitFor([&] { return worker->status().rows_committed > 100; }));
  iceberg::LoadedTable table = Load("lake.events");
  schema::Schema wider = table.metadata.CurrentSchema();
  wider.schema_id = 1;
  wider.fields.push_back(MakeField(3, "extra", schema::TypeKind::kLong));
  ASSERT_TRUE(
      catalog_.CommitAsSomebodyElse(table.identifier, {iceberg::AddSchema{wider, 3}, iceberg::SetCurrentSchema{-1}})
          .has_value());
  // Read by the files' own statistics: rows of the new column appear while the stream never pauses.
  auto filled = [&] {
    auto entries = iceberg::ReadLiveEntries(Load("lake.events").metadata, store_);
    for (const iceberg::ManifestEntry& entry : *entries) {
      if (entry.data_file.value_counts.contains(3)) return true;
    }
    return false;
  };
  EXPECT_TRUE(WaitFor(filled));
  producer.request_stop();
  producer.join();
  stop.request_stop();
  EXPECT_TRUE(run.get().has_value());
}

}  // namespace
}  // namespace firn::ingest
