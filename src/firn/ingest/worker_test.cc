// The worker against fakes that fail on demand: each record ends in its table or in the rejects, once.
#include "firn/ingest/worker_fixture_for_test.h"

namespace firn::ingest {
namespace {

TEST_F(WorkerTest, EachRecordIsARowOnceOverRestarts) {
  Produce(0, 500);
  ExpectCaughtUp(RunOnce());
  Produce(500, 300);
  ExpectCaughtUp(RunOnce());
  ExpectCaughtUp(RunOnce());
  ExpectExactly(800);
}

TEST_F(WorkerTest, BadRecordsGoToTheRejectsWithTheirPosition) {
  Produce(0, 40);
  log_->Append(1, "not json");
  log_->Append(1, std::nullopt);
  log_->Append(2, "");
  log_->Append(3, R"({"id":1.5,"kind":"x"})");
  Produce(40, 40);
  auto result = RunOnce();
  ExpectCaughtUp(result);
  EXPECT_EQ(result->status.rejects_committed, 4u);
  ExpectExactly(80);
  int rejects = 0;
  for (const auto& [offset, times] : CountValues("lake.p__rejects", "offset")) rejects += times;
  EXPECT_EQ(rejects, 4);
}

// Rounded down to hundreds, the partition's value would need a digit more than the type has.
TEST_F(WorkerTest, ADecimalThatNoTruncatedPartitionHoldsIsAReject) {
  PipelineOptions options = MakeOptions();
  schema::Field price = MakeField(3, "price", schema::TypeKind::kLong);
  price.type = schema::Type::Decimal(5, 2);
  options.tables[0].schema.fields.push_back(price);
  options.tables[0].partition = {"truncate(100, price)"};
  log_->Append(0, R"({"id":0,"price":-999.99})");
  log_->Append(0, R"({"id":0,"price":-999.00})");
  log_->Append(0, R"({"id":0,"price":"-999.01"})");
  log_->Append(0, R"({"id":1,"price":999.99})");
  log_->Append(0, R"({"id":2})");
  auto result = RunOnce(options);
  ExpectCaughtUp(result);
  EXPECT_EQ(result->status.rejects_committed, 2u);
  EXPECT_EQ(CountValues("lake.events", "id"), (std::map<int64_t, int>{{0, 1}, {1, 1}, {2, 1}}));
}

TEST_F(WorkerTest, ItsShareOfTheWorkIsThatOfItsPartitions) {
  Produce(0, 100);
  stream::MemorySource source(log_);
  source.GiveAll();
  auto worker = MakeWorker(source, MakeOptions());
  EXPECT_TRUE(worker->share().mine.empty());
  ExpectCaughtUp(worker->Run({}, true));
  EXPECT_EQ(worker->share().shares, 4);
  EXPECT_EQ(worker->share().mine, (std::set<int64_t>{0, 1, 2, 3}));
}

TEST_F(WorkerTest, GroupOffsetsAreACopyOfTheHome) {
  Produce(0, 100);
  stream::MemorySource source(log_);
  source.GiveAll();
  auto worker = MakeWorker(source, MakeOptions());
  ExpectCaughtUp(worker->Run({}, true));
  for (int32_t p = 0; p < 4; ++p) {
    EXPECT_EQ(source.group_offsets().at(static_cast<uint32_t>(p)), log_->WatermarksOf(p).end);
  }
}

// Every kind of catalog fault, at every call, once and again.
class CatalogFaults : public WorkerTest, public testing::WithParamInterface<CatalogFault> {};

TEST_P(CatalogFaults, NeitherLoseNorDouble) {
  std::atomic<int> calls{0};
  catalog_.SetFaults([&](CatalogCall call, const TableIdentifier&) {
    if (call == CatalogCall::kLoad) return CatalogFault::kNone;
    return ++calls % 3 == 0 ? GetParam() : CatalogFault::kNone;
  });
  for (int round = 0; round < 4; ++round) {
    Produce(round * 100, 100);
    ExpectCaughtUp(RunOnce());
  }
  EXPECT_GT(calls, 10);
  ExpectExactly(400);
}

INSTANTIATE_TEST_SUITE_P(Kinds, CatalogFaults,
                         testing::Values(CatalogFault::kConflict, CatalogFault::kUnavailable,
                                         CatalogFault::kLostRequest, CatalogFault::kLostAnswer,
                                         CatalogFault::kConflictAfter));

TEST_F(WorkerTest, StoreFaultsAtEveryCallNeitherLoseNorDouble) {
  int64_t id = 0;
  for (env::StoreCall call : {env::StoreCall::kOpenWrite, env::StoreCall::kAppend, env::StoreCall::kClose,
                              env::StoreCall::kPut, env::StoreCall::kRead, env::StoreCall::kStat}) {
    for (bool after : {false, true}) {
      faulty_.ClearFaults();
      faulty_.Inject({.call = call, .nth = 2, .code = ErrorCode::kTimeout, .after_effect = after});
      Produce(id, 50);
      id += 50;
      ExpectCaughtUp(RunOnce());
    }
  }
  faulty_.ClearFaults();
  ExpectExactly(id);
}

TEST_F(WorkerTest, ForeignAppendsBetweenOurCommitsAreKept) {
  Produce(0, 100);
  ExpectCaughtUp(RunOnce());
  iceberg::LoadedTable table = Load("lake.events");
  auto entries = iceberg::ReadLiveEntries(table.metadata, store_).value();
  // Somebody else rolls nothing back but adds an empty snapshot on top of ours.
  iceberg::Snapshot foreign = *table.metadata.CurrentSnapshot();
  foreign.parent_snapshot_id = foreign.snapshot_id;
  foreign.snapshot_id = SnapshotId{77};
  foreign.sequence_number += 1;
  foreign.summary = {{"operation", "append"}};
  iceberg::SetSnapshotRef main;
  main.value.snapshot_id = SnapshotId{77};
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(table.identifier, {iceberg::AddSnapshot{foreign}, main}).has_value());
  Produce(100, 100);
  ExpectCaughtUp(RunOnce());
  ExpectExactly(200);
}

TEST_F(WorkerTest, RollbackHoldsTheTableAndLosesNothingElse) {
  PipelineOptions options = MakeOptions();
  options.checkpoint_interval_ms = 100;
  Produce(0, 50);
  ExpectCaughtUp(RunOnce(options));
  iceberg::LoadedTable before = Load("lake.events");
  Produce(50, 50);
  ExpectCaughtUp(RunOnce(options));
  iceberg::SetSnapshotRef main;
  main.value.snapshot_id = *before.metadata.current_snapshot_id;
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(before.identifier, {main}).has_value());
  Produce(100, 50);
  auto held = RunOnce(options);
  ASSERT_TRUE(held.has_value()) << held.error().ToString();
  EXPECT_EQ(held->status.detached.size(), 4u);
  ExpectExactly(50);

  PositionsAdmin admin(options, catalog_, faulty_, env::SystemClock(), env::SystemRandom());
  auto plan = admin.Resume("lake.events", ResumeMode::kRewind, true, {});
  ASSERT_TRUE(plan.has_value()) << plan.error().ToString();
  ASSERT_TRUE(admin.Resume("lake.events", ResumeMode::kRewind, false, {}).has_value());
  auto resumed = RunOnce(options);
  ExpectCaughtUp(resumed);
  EXPECT_TRUE(resumed->status.detached.empty());
  ExpectExactly(150);
}

TEST_F(WorkerTest, DroppedTableIsDetachedAndTheRestGoesOn) {
  PipelineOptions options = TwoTables();
  Produce(0, 90);
  ExpectCaughtUp(RunOnce(options));
  ASSERT_TRUE(catalog_.DropTable(TableIdentifier::Parse("lake.events").value()).has_value());
  Produce(90, 90);
  auto result = RunOnce(options);
  ASSERT_TRUE(result.has_value()) << result.error().ToString();
  EXPECT_EQ(result->status.detached.size(), 4u);
  EXPECT_EQ(CountValues("lake.other", "id").size(), 120u);
  EXPECT_EQ(result->status.rejects_committed, 0u) << "what waits for its table is no reject";
}

TEST_F(WorkerTest, LostHomeIsRefusedAndRebuilt) {
  Produce(0, 100);
  ExpectCaughtUp(RunOnce());
  ASSERT_TRUE(catalog_.DropTable(TableIdentifier::Parse("lake.p__home").value()).has_value());
  Produce(100, 100);
  auto refused = RunOnce();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidInput);
  PipelineOptions options = MakeOptions();
  PositionsAdmin admin(options, catalog_, faulty_, env::SystemClock(), env::SystemRandom());
  auto rebuilt = admin.Rebuild(false, {});
  ASSERT_TRUE(rebuilt.has_value()) << rebuilt.error().ToString();
  ExpectCaughtUp(RunOnce());
  ExpectExactly(200);
}

TEST_F(WorkerTest, RoutingRulesChangedAcrossACrashLoseNothing) {
  PipelineOptions options = TwoTables();
  Produce(0, 90);
  // The tables commit, then the home and the rejects fail for good: the state after a crash between the two.
  std::atomic<bool> crash{false};
  std::atomic<int> commits_of_other{0};
  catalog_.SetFaults([&](CatalogCall call, const TableIdentifier& table) {
    // The first commit of the table is its attach, the second its rows.
    if (call == CatalogCall::kCommit && table.name == "other" && ++commits_of_other == 2) crash = true;
    return crash && call == CatalogCall::kCommit && table.name == "p__home" ? CatalogFault::kUnavailable
                                                                            : CatalogFault::kNone;
  });
  {
    stream::MemorySource source(log_);
    source.GiveAll();
    PipelineOptions impatient = options;
    impatient.shutdown_deadline_ms = 200;
    auto worker = MakeWorker(source, impatient);
    std::stop_source stop;
    std::jthread stopper([&] {
      while (!crash) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      stop.request_stop();
    });
    (void)worker->Run(stop.get_token(), false);
  }
  catalog_.SetFaults(nullptr);
  std::map<int64_t, int> events = CountValues("lake.events", "id");
  std::map<int64_t, int> others = CountValues("lake.other", "id");
  ASSERT_EQ(events.size() + others.size(), 90u);
  // New rules: everything to lake.events. What was committed is in doubt, so it is rejected, never doubled or lost.
  PipelineOptions changed = MakeOptions();
  auto result = RunOnce(changed);
  ExpectCaughtUp(result);
  Produce(90, 30);
  ExpectCaughtUp(RunOnce(changed));
  events = CountValues("lake.events", "id");
  EXPECT_EQ(events.size(), 60u);
  for (const auto& [id, times] : events) EXPECT_EQ(times, 1) << id;
  EXPECT_EQ(CountValues("lake.other", "id").size(), 60u);
  int rejected = 0;
  for (const auto& [offset, times] : CountValues("lake.p__rejects", "offset")) rejected += times;
  EXPECT_EQ(rejected, 90);
}

// A worker with the old rules commits to lake.events while the home is given the new ones, and dies before lake.other.
TEST_F(WorkerTest, WhatOldRulesCommitWhileNewOnesComeIsInDoubt) {
  PipelineOptions options = TwoTables();
  Produce(0, 90);
  ExpectCaughtUp(RunOnce(options));
  Produce(90, 30);
  MapCommitter old_worker(catalog_, store_, env::SystemClock(), env::SystemRandom(), {"p", "old", "g"});
  TableState events(TableIdentifier::Parse("lake.events").value());
  bool fed = false;
  catalog_.SetFaults([&](CatalogCall call, const TableIdentifier& table) {
    // The first commit to the home is the adoption of the rules: how far the tables are has been looked at before.
    if (call != CatalogCall::kCommit || table.name != "p__home" || std::exchange(fed, true)) return CatalogFault::kNone;
    MapCommitRequest rows;
    rows.decide = [&](const iceberg::LoadedTable&, const std::optional<PositionsMap>& stands) -> Result<MapDecision> {
      MapDecision decision;
      decision.next = *stands;
      for (auto& [key, mark] : decision.next.marks) mark.position.offset = log_->WatermarksOf(key.partition).end;
      return decision;
    };
    EXPECT_TRUE(old_worker.Commit(events, rows, {}).has_value());
    return CatalogFault::kNone;
  });
  PipelineOptions changed = MakeOptions();  // everything to lake.events
  ExpectCaughtUp(RunOnce(changed));
  EXPECT_TRUE(fed);
  int rejected = 0;
  for (const auto& [offset, times] : CountValues("lake.p__rejects", "offset")) rejected += times;
  EXPECT_EQ(rejected, 30) << "nobody else has those that were meant for lake.other";
  Produce(120, 30);
  ExpectCaughtUp(RunOnce(changed));
  EXPECT_EQ(CountValues("lake.events", "id").size(), 60u);
  EXPECT_TRUE(MapOf(Load("lake.p__home").metadata, "p").value()->home->cut.empty());
}

TEST_F(WorkerTest, DeathBetweenTheTablesCommitAndTheRejectsLosesNoReject) {
  Produce(0, 40);
  for (int32_t p = 0; p < 4; ++p) log_->Append(p, "broken");
  Produce(40, 40);
  // The rejects table can be attached, but not be given rows, from the moment that the main table has its rows.
  std::atomic<int> commits_of_events{0};
  std::atomic<bool> dying{false};
  catalog_.SetFaults([&](CatalogCall call, const TableIdentifier& table) {
    if (call == CatalogCall::kCommit && table.name == "events" && ++commits_of_events == 2) dying = true;
    return dying && call == CatalogCall::kCommit && table.name != "events" ? CatalogFault::kUnavailable
                                                                           : CatalogFault::kNone;
  });
  {
    stream::MemorySource source(log_);
    source.GiveAll();
    PipelineOptions impatient = MakeOptions();
    impatient.shutdown_deadline_ms = 200;
    auto worker = MakeWorker(source, impatient);
    std::stop_source stop;
    std::jthread stopper([&] {
      while (!dying) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      stop.request_stop();
    });
    (void)worker->Run(stop.get_token(), false);
  }
  catalog_.SetFaults(nullptr);
  ExpectExactly(80);
  ExpectCaughtUp(RunOnce());
  ExpectExactly(80);
  int rejects = 0;
  for (const auto& [offset, times] : CountValues("lake.p__rejects", "offset")) rejects += times;
  EXPECT_EQ(rejects, 4);
}

// Found by simulation: H passed rejects of a detached rejects table; those without a table were not written afterwards.
TEST_F(WorkerTest, ADetachedRejectsTableCatchesUpWithRecordsThatHaveNoTableToo) {
  PipelineOptions options = MakeOptions();
  RouteMatch match;
  match.field_path = {"kind"};
  match.field_regex = "k.*";
  options.tables[0].match.push_back(match);
  options.detach_after_ms = 50;
  Produce(0, 40);
  for (int32_t p = 0; p < 4; ++p) log_->Append(p, R"({"id":1000,"kind":"nowhere"})");
  Produce(40, 40);
  // The rejects table is attached, and loses its permission when the main table has its rows.
  std::atomic<int> commits_of_events{0};
  catalog_.SetFaults([&](CatalogCall call, const TableIdentifier& table) {
    if (call == CatalogCall::kCommit && table.name == "events") ++commits_of_events;
    return commits_of_events > 1 && table.name == "p__rejects" ? CatalogFault::kUnauthorized : CatalogFault::kNone;
  });
  ExpectCaughtUp(RunOnce(options));
  catalog_.SetFaults(nullptr);
  EXPECT_TRUE(CountValues("lake.p__rejects", "offset").empty());
  ExpectCaughtUp(RunOnce(options));
  ExpectExactly(80);
  int rejects = 0;
  for (const auto& [offset, times] : CountValues("lake.p__rejects", "offset")) rejects += times;
  EXPECT_EQ(rejects, 4);
}

TEST_F(WorkerTest, TwoWorkersWithARebalanceInBetween) {
  Produce(0, 400);
  stream::MemorySource first_source(log_);
  stream::MemorySource second_source(log_);
  first_source.GiveAll();
  std::stop_source stop;
  auto first = MakeWorker(first_source, MakeOptions());
  PipelineOptions second_options = MakeOptions();
  second_options.worker = "w2";
  auto second = MakeWorker(second_source, second_options);
  auto run_first = std::async(std::launch::async, [&] { return first->Run(stop.get_token(), false); });
  auto run_second = std::async(std::launch::async, [&] { return second->Run(stop.get_token(), false); });
  int64_t id = 400;
  for (int round = 0; round < 6; ++round) {
    stream::MemorySource& from = round % 2 == 0 ? first_source : second_source;
    stream::MemorySource& to = round % 2 == 0 ? second_source : first_source;
    Produce(id, 100);
    id += 100;
    while (!from.Holds(2) || !from.Holds(3)) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    from.Revoke({2, 3});
    while (from.Holds(2) || from.Holds(3)) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    to.Give({2, 3});
  }
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (first->status().rows_committed + second->status().rows_committed < static_cast<uint64_t>(id) &&
         std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  stop.request_stop();
  EXPECT_TRUE(run_first.get().has_value());
  EXPECT_TRUE(run_second.get().has_value());
  ExpectExactly(id);
}

TEST_F(WorkerTest, ZombieThatStillBelievesItOwnsAPartitionDoublesNothing) {
  Produce(0, 200);
  stream::MemorySource zombie_source(log_);
  zombie_source.GiveAll();
  std::stop_source stop;
  auto zombie = MakeWorker(zombie_source, MakeOptions());
  auto run = std::async(std::launch::async, [&] { return zombie->Run(stop.get_token(), false); });
  for (int round = 0; round < 5; ++round) {
    Produce(200 + round * 100, 100);
    ExpectCaughtUp(RunOnce());  // reads all partitions too: two owners at once
  }
  stop.request_stop();
  EXPECT_TRUE(run.get().has_value());
  ExpectCaughtUp(RunOnce());
  ExpectExactly(700);
}

TEST_F(WorkerTest, StopPolicyCommitsWhatCameBeforeAndNamesTheRecord) {
  PipelineOptions options = MakeOptions();
  options.reject_policy = RejectPolicy::kStop;
  Produce(0, 40);
  log_->Append(0, "broken");
  auto stopped = RunOnce(options);
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().code(), ErrorCode::kInvalidInput);
  EXPECT_NE(stopped.error().message().find("events/0 offset "), std::string::npos) << stopped.error().message();
  // Partition 0 has every fourth id; what lies below the broken record is committed, whatever the others had.
  std::map<int64_t, int> rows = CountValues("lake.events", "id");
  for (int64_t id = 0; id < 40; id += 4) EXPECT_EQ(rows[id], 1) << id;
  options.reject_policy = RejectPolicy::kTable;
  ExpectCaughtUp(RunOnce(options));
  ExpectExactly(40);
}

TEST_F(WorkerTest, DroppedRecordsAreCountedInTheHomesSummary) {
  PipelineOptions options = MakeOptions();
  options.reject_policy = RejectPolicy::kDrop;
  Produce(0, 20);
  log_->Append(0, "broken");
  log_->Append(1, "broken");
  auto result = RunOnce(options);
  ExpectCaughtUp(result);
  EXPECT_EQ(result->status.dropped, 2u);
  EXPECT_EQ(Load("lake.p__home").metadata.CurrentSnapshot()->summary.at("firn.dropped-records.malformed_json"), "2");
}

TEST_F(WorkerTest, TemplateMakesATableForEachTopicAndField) {
  PipelineOptions options = MakeOptions();
  options.tables[0].name = "lake.{topic}_{field:kind}";
  Produce(0, 90);
  ExpectCaughtUp(RunOnce(options));
  Produce(90, 30);
  ExpectCaughtUp(RunOnce(options));
  for (const char* table : {"lake.events_k0", "lake.events_k1", "lake.events_k2"}) ExpectExactly(40, table);
}

// Its records are rejects, and that does not end at the next assignment, which opens everything anew.
TEST_F(WorkerTest, ATemplatesTableThatCannotBeUsedEndsNoAssignment) {
  Produce(0, 30);
  ExpectCaughtUp(RunOnce());  // pipeline p feeds lake.events from these partitions
  PipelineOptions options = MakeOptions();
  options.pipeline = "q";
  options.home_table = "lake.q__home";
  options.rejects_table = "lake.q__rejects";
  options.tables[0].name = "lake.{topic}";
  stream::MemorySource source(log_);
  source.Give({0, 1});
  auto worker = MakeWorker(source, options);
  std::stop_source stop;
  auto run = std::async(std::launch::async, [&] { return worker->Run(stop.get_token(), false); });
  auto wait_for = [&](auto condition) {
    for (int i = 0; i < 4000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return condition();
  };
  EXPECT_TRUE(wait_for([&] { return worker->status().rejects_committed > 0; }));
  source.Give({2, 3});
  EXPECT_TRUE(wait_for([&] { return worker->status().rejects_committed == 30; })) << worker->status().rejects_committed;
  stop.request_stop();
  auto ended = run.get();
  EXPECT_TRUE(ended.has_value()) << ended.error().ToString();
}

// A token that runs out says nothing of the table that was asked for at that moment, nor of any other.
TEST_F(WorkerTest, ATokenThatRanOutClosesNoTable) {
  PipelineOptions options = MakeOptions();
  options.tables[0].name = "lake.{topic}_{field:kind}";
  for (const bool everything : {false, true}) {
    SCOPED_TRACE(everything);
    log_ = std::make_shared<stream::MemoryLog>("cluster", "events", "topic-id", 4);
    for (const char* table : {"p__home", "p__rejects", "events_k0", "events_k1", "events_k2"}) {
      (void)catalog_.DropTable(TableIdentifier{{"lake"}, table});
    }
    Produce(0, 90);
    int refused = 0;
    catalog_.SetFaults([&](CatalogCall call, const TableIdentifier& table) {
      const bool starts = call == CatalogCall::kLoad && table.name == "events_k1" && refused == 0;
      const bool goes_on = everything && refused > 0 && refused < 4;
      if (starts || goes_on) ++refused;
      return starts || goes_on ? CatalogFault::kUnauthorized : CatalogFault::kNone;
    });
    ExpectCaughtUp(RunOnce(options));
    EXPECT_EQ(refused, everything ? 4 : 1);
    for (const char* table : {"lake.events_k0", "lake.events_k1", "lake.events_k2"}) ExpectExactly(30, table);
    EXPECT_TRUE(CountValues("lake.p__rejects", "offset").empty());
  }
}

TEST_F(WorkerTest, OtherPipelineOnTheSameTopicIsRefused) {
  Produce(0, 20);
  ExpectCaughtUp(RunOnce());
  PipelineOptions second = MakeOptions();
  second.pipeline = "q";
  second.home_table = "lake.q__home";
  second.rejects_table = "lake.q__rejects";
  auto refused = RunOnce(second);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidInput);
  second.allow_shared_topic = true;
  ExpectCaughtUp(RunOnce(second));
}

// By that clock and the store's it is told how old a batch is.
TEST_F(WorkerTest, AClockThatIsNotTheCatalogsIsRefusedAtStart) {
  for (int64_t skew_ms : {int64_t{-60'000}, int64_t{60'000}}) {
    env::ManualClock clock(env::SystemClock().WallMs() + skew_ms);
    iceberg::MemoryCatalog catalog(clock);
    stream::MemorySource source(log_);
    source.GiveAll();
    PipelineOptions options = MakeOptions();
    const WorkerDependencies parts{catalog, faulty_, source, env::SystemClock(), env::SystemRandom(), registry_};
    auto worker = Worker::Create(options, parts);
    ASSERT_TRUE(worker.has_value());
    auto run = (*worker)->Run({}, true);
    ASSERT_FALSE(run.has_value()) << skew_ms;
    EXPECT_EQ(run.error().code(), ErrorCode::kInvalidInput);
    EXPECT_NE(run.error().message().find("synchronise"), std::string::npos) << run.error().message();

    options.clock_skew_max_ms = 120'000;
    worker = Worker::Create(options, parts);
    ASSERT_TRUE(worker.has_value());
    EXPECT_TRUE((*worker)->Run({}, true).has_value());
  }
}

TEST_F(WorkerTest, AnIntervalThatCouldAgeABatchOutIsRefused) {
  PipelineOptions options = MakeOptions();
  options.commit_interval_ms = 1000;
  options.commit_max_age_ms = 4999;
  stream::MemorySource source(log_);
  const WorkerDependencies parts{catalog_, faulty_, source, env::SystemClock(), env::SystemRandom(), registry_};
  EXPECT_EQ(Worker::Create(options, parts).error().code(), ErrorCode::kInvalidInput);
  options.commit_max_age_ms = 5000;
  EXPECT_TRUE(Worker::Create(options, parts).has_value());
}

// Two workers that share a slow catalog step back, and say so.
TEST_F(WorkerTest, TheIntervalGrowsWithTheWorkersAndTheirCommitTime) {
  catalog_.SetFaults([](CatalogCall call, const TableIdentifier&) {
    if (call == CatalogCall::kCommit) std::this_thread::sleep_for(std::chrono::milliseconds(60));
    return CatalogFault::kNone;
  });
  Produce(0, 40);
  ExpectCaughtUp(RunOnce());
  PipelineOptions second = MakeOptions();
  second.worker = "w2";
  Produce(40, 40);
  auto run = RunOnce(second);
  ExpectCaughtUp(run);
  EXPECT_EQ(run->status.workers, 2);
  // At least two workers, 60 ms, three times.
  EXPECT_GE(run->status.commit_interval_effective_ms, 360);
  EXPECT_GE(registry_.gauge("firn_commit_interval_effective_seconds", "", {{"pipeline", "p"}}).value(), 0.36);
  EXPECT_EQ(registry_.gauge("firn_workers", "", {{"pipeline", "p"}}).value(), 2);
}

TEST_F(WorkerTest, TruncatedLogPausesThePartitionAndNamesIt) {
  Produce(0, 80);
  ExpectCaughtUp(RunOnce());
  Produce(80, 80);
  log_->TruncateBefore(1, log_->WatermarksOf(1).end - 2);
  auto result = RunOnce();
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code(), ErrorCode::kUnavailable);
}

// One partition's records come with an older leader epoch than those before them; it stops there, for every table.
TEST_F(WorkerTest, ALeaderEpochThatGoesBackPausesThePartitionAndTheRestGoesOn) {
  for (int32_t p = 0; p < 4; ++p) log_->SetLeaderEpoch(p, 5);
  Produce(0, 40);
  ExpectCaughtUp(RunOnce());
  for (int32_t p = 0; p < 4; ++p) log_->SetLeaderEpoch(p, 6);
  Produce(40, 40);
  log_->SetLeaderEpoch(1, 4);
  Produce(80, 40);
  stream::MemorySource source(log_);
  source.GiveAll();
  auto worker = MakeWorker(source, MakeOptions());
  std::stop_source stop;
  auto run = std::async(std::launch::async, [&] { return worker->Run(stop.get_token(), false); });
  // Everything but the last ten records of partition 1.
  for (int i = 0; i < 2000 && worker->status().rows_committed < 70; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_FALSE(worker->status().ready);
  EXPECT_NE(worker->status().not_ready_reason.find("truncated"), std::string::npos)
      << worker->status().not_ready_reason;
  EXPECT_NE(worker->status().not_ready_reason.find("events/1"), std::string::npos);
  stop.request_stop();
  EXPECT_TRUE(run.get().has_value());
  std::map<int64_t, int> counts = CountValues("lake.events", "id");
  for (int64_t id = 0; id < 120; ++id) EXPECT_EQ(counts.contains(id), id < 80 || id % 4 != 1) << id;
}

}  // namespace
}  // namespace firn::ingest
