// Positions by hand beside workers: what moved meanwhile is never overwritten, and one table can be moved alone.
#include "firn/ingest/positions_admin.h"

#include <functional>
#include <memory>

#include "firn/ingest/attach.h"
#include "firn/ingest/home.h"
#include "firn/ingest/rules.h"
#include "firn/ingest/worker_fixture_for_test.h"

namespace firn::ingest {
namespace {

TEST(TopicIdTest, BothFormsOfAUuidAreOneId) {
  const std::string uuid = "f0f40f6c-0b1c-4f8e-bfff-a31f9e8d7c6b";
  EXPECT_EQ(ParseTopicId(uuid).value(), uuid);
  EXPECT_EQ(ParseTopicId("F0F40F6C-0B1C-4F8E-BFFF-A31F9E8D7C6B").value(), uuid);
  EXPECT_EQ(ParseTopicId("8PQPbAscT46__6Mfno18aw").value(), uuid);
  EXPECT_EQ(ParseTopicId("name:flows").value(), "name:flows");
  for (const char* wrong :
       {"", "flows", "name:", "8PQPbAscT46__6Mfno18a", "8PQPbAscT46__6Mfno18awA", "8PQPbAscT46__6Mfno18ax",
        "8PQPbAscT46//6Mfno18aw", "8PQPbAscT46__6Mfno18aw==", "f0f40f6c-0b1c-4f8e-bfff-a31f9e8d7c6",
        "AAAAAAAAAAAAAAAAAAAAAA", "00000000-0000-0000-0000-000000000000"}) {
    Result<std::string> refused = ParseTopicId(wrong);
    ASSERT_FALSE(refused.has_value()) << wrong;
    EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidInput);
    for (const char* named : {wrong, "UUID", "base64", "name:<topic>"}) {
      EXPECT_NE(refused.error().message().find(named), std::string::npos) << refused.error().message();
    }
  }
}

class PositionsAdminTest : public WorkerTest {
 protected:
  PositionsAdminTest() : options_(MakeOptions()), admin_(MakeAdmin()), other_(MakeAdmin()) {
    TableRule second = options_.tables[0];
    second.name = "lake.all";
    options_.tables[0].match = {RouteMatch{.field_path = {"kind"}, .field_equals = "k0"}};
    options_.tables.push_back(std::move(second));
    admin_ = MakeAdmin();
    other_ = MakeAdmin();
  }

  std::unique_ptr<PositionsAdmin> MakeAdmin() {
    return std::make_unique<PositionsAdmin>(options_, catalog_, faulty_, env::SystemClock(), env::SystemRandom());
  }

  // T or H of a partition of the one topic; -1: none.
  int64_t OffsetIn(const std::string& table, int32_t partition) {
    auto map = MapOf(Load(table).metadata, "p");
    if (!map.has_value() || !map->has_value()) return -1;
    return OffsetOf((*map)->marks, Key(partition)).value_or(-1);
  }

  static PartitionKey Key(int32_t partition) { return PartitionKey{"cluster", "topic-id", partition}; }

  std::vector<DetachedEntry> Detached() { return MapOf(Load("lake.p__home").metadata, "p").value()->home->detached; }

  // Puts a table on hold, as a worker does.
  void Hold(const std::string& table) {
    MapCommitter committer(catalog_, store_, env::SystemClock(), env::SystemRandom(), CommitterIdentity{"p", "w", "g"});
    Home home(committer, TableIdentifier::Parse("lake.p__home").value(), RulesHash(options_.tables));
    ASSERT_TRUE(home.Open({}).has_value());
    std::vector<DetachedEntry> entries;
    for (int32_t p = 0; p < log_->partition_count(); ++p) {
      entries.push_back(DetachedEntry{table, Key(p), "events", "test", 1, true, 0});
    }
    ASSERT_TRUE(home.Detach(entries, "", {}).has_value());
  }

  // Runs `meanwhile` once, just before the first commit to `table`.
  void BeforeCommitTo(const std::string& table, std::function<void()> meanwhile) {
    auto once = std::make_shared<std::function<void()>>(std::move(meanwhile));
    catalog_.SetFaults([once, table](CatalogCall call, const TableIdentifier& identifier) {
      if (call == CatalogCall::kCommit && identifier.ToString() == table && *once) {
        std::function<void()> now = std::exchange(*once, nullptr);
        now();
      }
      return CatalogFault::kNone;
    });
  }

  static SetRequest MakeSet(int32_t partition, int64_t offset, std::string table = "") {
    SetRequest request;
    request.topic = "events";
    request.partition = partition;
    request.offset = offset;
    request.table = std::move(table);
    return request;
  }

  PipelineOptions options_;
  std::unique_ptr<PositionsAdmin> admin_;
  std::unique_ptr<PositionsAdmin> other_;
};

TEST_F(PositionsAdminTest, ResumeRefusesWhenPositionsMovedMeanwhile) {
  Produce(0, 80);
  ExpectCaughtUp(RunOnce(options_));
  BeforeCommitTo("lake.all", [&] {
    SetRequest moved = MakeSet(0, 3);
    moved.tables_too = true;
    ASSERT_TRUE(other_->Set(moved, false, {}).has_value());
  });
  auto resumed = admin_->Resume("lake.all", ResumeMode::kContinue, false, {});
  ASSERT_FALSE(resumed.has_value());
  EXPECT_EQ(resumed.error().code(), ErrorCode::kConflict);
  EXPECT_EQ(OffsetIn("lake.all", 0), 3);
}

TEST_F(PositionsAdminTest, SetRefusesWhenTheSamePartitionMovedMeanwhile) {
  Produce(0, 80);
  ExpectCaughtUp(RunOnce(options_));
  BeforeCommitTo("lake.p__home", [&] { ASSERT_TRUE(other_->Set(MakeSet(0, 5), false, {}).has_value()); });
  auto set = admin_->Set(MakeSet(0, 3), false, {});
  ASSERT_FALSE(set.has_value());
  EXPECT_EQ(set.error().code(), ErrorCode::kConflict);
  EXPECT_EQ(OffsetIn("lake.p__home", 0), 5);

  // What workers do to other partitions is no matter.
  BeforeCommitTo("lake.p__home", [&] { ASSERT_TRUE(other_->Set(MakeSet(1, 5), false, {}).has_value()); });
  set = admin_->Set(MakeSet(0, 3), false, {});
  ASSERT_TRUE(set.has_value()) << set.error().ToString();
  EXPECT_EQ(OffsetIn("lake.p__home", 0), 3);
  EXPECT_EQ(OffsetIn("lake.p__home", 1), 5);
}

TEST_F(PositionsAdminTest, ALostAnswerIsNoConflict) {
  Produce(0, 80);
  ExpectCaughtUp(RunOnce(options_));
  for (CatalogFault fault : {CatalogFault::kLostAnswer, CatalogFault::kConflictAfter, CatalogFault::kLostRequest}) {
    int64_t offset = OffsetIn("lake.p__home", 2) - 1;
    bool first = true;
    catalog_.SetFaults([&](CatalogCall call, const TableIdentifier&) {
      return call == CatalogCall::kCommit && std::exchange(first, false) ? fault : CatalogFault::kNone;
    });
    auto set = admin_->Set(MakeSet(2, offset), false, {});
    ASSERT_TRUE(set.has_value()) << set.error().ToString();
    EXPECT_EQ(OffsetIn("lake.p__home", 2), offset);
  }
}

// Retention has overtaken a table that was on hold: the rows are lost, the table is not.
TEST_F(PositionsAdminTest, ATableBelowTheLogStartIsMended) {
  Produce(0, 100);
  ExpectCaughtUp(RunOnce(options_));
  Hold("lake.all");
  Produce(100, 300);
  (void)RunOnce(options_);
  const size_t before = CountValues("lake.all", "id").size();
  for (int32_t p = 0; p < 4; ++p) log_->TruncateBefore(p, 60);
  ASSERT_TRUE(admin_->Resume("lake.all", ResumeMode::kContinue, false, {}).has_value());
  (void)RunOnce(options_);
  ASSERT_EQ(Detached().size(), 4u);
  EXPECT_TRUE(Detached()[0].hold);

  const int64_t low_water = OffsetIn("lake.p__home", 0);
  SetRequest request = MakeSet(0, 60, "lake.all");
  request.partition.reset();
  auto plan = admin_->Set(request, true, {});
  ASSERT_TRUE(plan.has_value()) << plan.error().ToString();
  ASSERT_EQ(plan->size(), 4u);
  EXPECT_EQ((*plan)[0].table, "lake.all");
  EXPECT_LT((*plan)[0].from, 60);
  EXPECT_EQ((*plan)[0].to, 60);
  EXPECT_EQ(OffsetIn("lake.all", 0), (*plan)[0].from);
  EXPECT_TRUE(Detached()[0].hold);

  auto set = admin_->Set(request, false, {});
  ASSERT_TRUE(set.has_value()) << set.error().ToString();
  EXPECT_EQ(OffsetIn("lake.all", 0), 60);
  EXPECT_EQ(OffsetIn("lake.p__home", 0), low_water);
  EXPECT_FALSE(Detached()[0].hold);
  auto run = RunOnce(options_);
  ExpectCaughtUp(run);
  EXPECT_TRUE(run->status.detached.empty()) << run->status.detached[0].reason;
  std::map<int64_t, int> counts = CountValues("lake.all", "id");
  EXPECT_GT(counts.size(), before);
  for (const auto& [id, times] : counts) EXPECT_EQ(times, 1) << id;
  // Of what is still in the log, every record is there.
  for (int32_t p = 0; p < 4; ++p) {
    int64_t next = 0;
    for (const stream::LoggedRecord& record : log_->Read(p, 60, SIZE_MAX, next)) {
      if (record.value->find("\"k0\"") != std::string::npos) continue;
      int64_t id = std::stoll(record.value->substr(6));
      EXPECT_TRUE(counts.contains(id)) << id;
    }
  }
}

TEST_F(PositionsAdminTest, OneTableReadsAgainAndTheOthersDoNot) {
  Produce(0, 120);
  ExpectCaughtUp(RunOnce(options_));
  std::map<int64_t, int> other_before = CountValues("lake.events", "id");
  ASSERT_TRUE(admin_->Set(MakeSet(1, 0, "lake.all"), false, {}).has_value());
  auto run = RunOnce(options_);
  ExpectCaughtUp(run);
  EXPECT_TRUE(run->status.detached.empty());
  EXPECT_EQ(CountValues("lake.events", "id"), other_before);
  for (const auto& [id, times] : CountValues("lake.all", "id")) EXPECT_EQ(times, id % 4 == 1 ? 2 : 1) << id;
}

// The log of a detached entry may be gone for good: then no lane ever comes that would take the entry off.
TEST_F(PositionsAdminTest, WhatIsGivenUpIsDetachedNoMore) {
  Produce(0, 80);
  ExpectCaughtUp(RunOnce(options_));
  Hold("lake.all");
  auto read_until = [&](int32_t p) { return std::max(OffsetIn("lake.all", p), OffsetIn("lake.p__home", p)); };
  auto set = admin_->Set(MakeSet(0, read_until(0), "lake.all"), false, {});
  ASSERT_TRUE(set.has_value()) << set.error().ToString();
  EXPECT_NE(set->at(0).note.find("no longer detached"), std::string::npos) << set->at(0).note;
  ASSERT_TRUE(admin_->Set(MakeSet(1, read_until(1) - 1, "lake.all"), false, {}).has_value());
  std::map<int32_t, bool> held;
  for (const DetachedEntry& entry : Detached()) held[entry.partition.partition] = entry.hold;
  EXPECT_EQ(held, (std::map<int32_t, bool>{{1, false}, {2, true}, {3, true}}));
}

// A commit on top of a changed history would make it look like an unchanged one.
TEST_F(PositionsAdminTest, SettingAllTablesRefusesOneThatWasChanged) {
  Produce(0, 80);
  ExpectCaughtUp(RunOnce(options_));
  Produce(80, 80);
  ExpectCaughtUp(RunOnce(options_));
  iceberg::LoadedTable table = Load("lake.all");
  iceberg::SetSnapshotRef main;
  main.value.snapshot_id = *table.metadata.CurrentSnapshot()->parent_snapshot_id;
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(table.identifier, {main}).has_value());
  SetRequest request = MakeSet(1, 3);
  request.tables_too = true;
  for (bool dry_run : {true, false}) {
    auto set = admin_->Set(request, dry_run, {});
    ASSERT_FALSE(set.has_value());
    EXPECT_EQ(set.error().code(), ErrorCode::kConflict);
    EXPECT_NE(set.error().message().find("lake.all"), std::string::npos) << set.error().message();
  }
  EXPECT_NE(OffsetIn("lake.events", 1), 3);
  EXPECT_NE(OffsetIn("lake.p__home", 1), 3);
}

TEST_F(PositionsAdminTest, SettingOneTableRefusesWhatItCannotKnow) {
  Produce(0, 80);
  ExpectCaughtUp(RunOnce(options_));
  EXPECT_EQ(admin_->Set(MakeSet(0, 3, "lake.nothing"), false, {}).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(admin_->Set(MakeSet(0, 3, "lake.p__home"), false, {}).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(admin_->Set(MakeSet(9, 3, "lake.all"), false, {}).error().code(), ErrorCode::kNotFound);

  // A position that moved meanwhile: refused, and nothing is left on hold.
  BeforeCommitTo("lake.all", [&] {
    SetRequest moved = MakeSet(0, 5);
    moved.tables_too = true;
    ASSERT_TRUE(other_->Set(moved, false, {}).has_value());
  });
  EXPECT_EQ(admin_->Set(MakeSet(0, 3, "lake.all"), false, {}).error().code(), ErrorCode::kConflict);
  EXPECT_EQ(OffsetIn("lake.all", 0), 5);
  for (const DetachedEntry& entry : Detached()) EXPECT_FALSE(entry.hold);

  // A table that was rolled back: its map is not the truth about its rows.
  iceberg::LoadedTable table = Load("lake.all");
  iceberg::SetSnapshotRef main;
  main.value.snapshot_id = *table.metadata.CurrentSnapshot()->parent_snapshot_id;
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(table.identifier, {main}).has_value());
  EXPECT_EQ(admin_->Set(MakeSet(1, 3, "lake.all"), false, {}).error().code(), ErrorCode::kConflict);
}

// A table of a template that nobody may make yet, of a pipeline that began at the log's end.
class NeverMadeTableTest : public PositionsAdminTest {
 protected:
  static constexpr const char* kTable = "lake.events_k1";

  void SetUp() override {
    options_.tables.resize(1);
    options_.tables[0].name = "lake.{topic}_{field:kind}";
    options_.tables[0].match.clear();
    options_.start.kind = StartPolicy::Kind::kLatest;
    options_.detach_after_ms = 50;
    admin_ = MakeAdmin();
    Produce(0, 120);
    ExpectCaughtUp(RunOnce(options_));
    for (int32_t p = 0; p < 4; ++p) began_.push_back(End(p));
    Produce(120, 120);
    catalog_.SetFaults([](CatalogCall call, const TableIdentifier& table) {
      const bool hit = call == CatalogCall::kLoad && table.ToString() == kTable;
      return hit ? CatalogFault::kUnauthorized : CatalogFault::kNone;
    });
    auto run = RunOnce(options_);
    ASSERT_TRUE(run.has_value()) << run.error().ToString();
    ASSERT_EQ(Detached().size(), 4u);
    catalog_.SetFaults(nullptr);
  }

  int64_t End(int32_t partition) { return log_->WatermarksOf(partition).end; }
  ListedTable Listed() { return *MapOf(Load("lake.p__home").metadata, "p").value()->home->Find(kTable); }
  std::optional<DetachedEntry> Entry(int32_t partition) {
    for (const DetachedEntry& entry : Detached()) {
      if (entry.partition == Key(partition)) return entry;
    }
    return std::nullopt;
  }
  // The table has each of its records from there on once, by partition, and nothing else.
  void ExpectFrom(const std::vector<int64_t>& from) {
    std::map<int64_t, int> expected;
    for (int32_t p = 0; p < 4; ++p) {
      int64_t next = 0;
      for (const stream::LoggedRecord& record : log_->Read(p, from[static_cast<size_t>(p)], SIZE_MAX, next)) {
        if (record.value->find("\"k1\"") != std::string::npos) expected[std::stoll(record.value->substr(6))] = 1;
      }
    }
    EXPECT_EQ(CountValues(kTable, "id"), expected);
  }

  std::vector<int64_t> began_;
};

TEST_F(NeverMadeTableTest, BeginsWhereItIsSetTo) {
  const int64_t before = began_[0] - 20;
  const int64_t within = began_[1] + 10;
  const int64_t all = End(2);
  auto plan = admin_->Set(MakeSet(0, before, kTable), true, {});
  ASSERT_TRUE(plan.has_value()) << plan.error().ToString();
  ASSERT_EQ(plan->size(), 1u);
  EXPECT_EQ(plan->at(0).table, kTable);
  EXPECT_EQ(plan->at(0).from, began_[0]);
  EXPECT_EQ(plan->at(0).to, before);
  EXPECT_NE(plan->at(0).note.find(fmt::format("catches up to {}", End(0))), std::string::npos) << plan->at(0).note;
  EXPECT_EQ(OffsetOf(Listed().marks_at_listing, Key(0)), began_[0]) << "that was the plan alone";

  std::vector<int64_t> since_ms;
  for (int32_t p = 0; p < 4; ++p) since_ms.push_back(Entry(p)->since_ms);
  ASSERT_TRUE(admin_->Set(MakeSet(0, before, kTable), false, {}).has_value());
  ASSERT_TRUE(admin_->Set(MakeSet(1, within, kTable), false, {}).has_value());
  auto given_up = admin_->Set(MakeSet(2, all, kTable), false, {});
  ASSERT_TRUE(given_up.has_value()) << given_up.error().ToString();
  EXPECT_NE(given_up->at(0).note.find("no longer detached"), std::string::npos) << given_up->at(0).note;

  EXPECT_EQ(Listed().state, ListedState::kAttaching);
  const std::vector<int64_t> from = {before, within, all, began_[3]};
  for (int32_t p = 0; p < 4; ++p) {
    EXPECT_EQ(OffsetOf(Listed().marks_at_listing, Key(p)), from[static_cast<size_t>(p)]) << p;
    EXPECT_EQ(OffsetIn("lake.p__home", p), End(p)) << p;
  }
  EXPECT_FALSE(Entry(2).has_value());
  // Made anew: a lane that began before says nothing of it.
  ASSERT_TRUE(Entry(0).has_value() && Entry(1).has_value() && Entry(3).has_value());
  EXPECT_GT(Entry(0)->since_ms, since_ms[0]);
  EXPECT_GT(Entry(1)->since_ms, since_ms[1]);
  EXPECT_EQ(Entry(3)->since_ms, since_ms[3]);

  Produce(240, 60);
  auto run = RunOnce(options_);
  ExpectCaughtUp(run);
  EXPECT_TRUE(run->status.detached.empty());
  ExpectFrom(from);
  EXPECT_TRUE(CountValues(options_.rejects_table, "offset").empty());
}

// Somebody has given up what it misses, and wants it back; and a set takes a hold off.
TEST_F(NeverMadeTableTest, CatchesUpFromWhereItIsSetToThoughNobodyHadDetachedIt) {
  ASSERT_NO_FATAL_FAILURE(Hold(kTable));
  std::vector<int64_t> from;
  for (int32_t p = 0; p < 4; ++p) {
    ASSERT_TRUE(Entry(p)->hold) << p;
    from.push_back(began_[static_cast<size_t>(p)] + 10 * p - 15);
  }
  ASSERT_TRUE(admin_->Set(MakeSet(2, End(2), kTable), false, {}).has_value());
  ASSERT_FALSE(Entry(2).has_value());
  for (int32_t p = 0; p < 4; ++p) {
    ASSERT_TRUE(admin_->Set(MakeSet(p, from[static_cast<size_t>(p)], kTable), false, {}).has_value());
    ASSERT_TRUE(Entry(p).has_value()) << p;
    EXPECT_FALSE(Entry(p)->hold) << p;
  }
  auto run = RunOnce(options_);
  ExpectCaughtUp(run);
  EXPECT_TRUE(run->status.detached.empty());
  ExpectFrom(from);
}

// A worker that has run all the while knows the home as it was before.
TEST_F(NeverMadeTableTest, BeginsWhereItIsSetToInARunningWorkerToo) {
  MapCommitter committer(catalog_, store_, env::SystemClock(), env::SystemRandom(), CommitterIdentity{"p", "w", "g"});
  Home home(committer, TableIdentifier::Parse(options_.home_table).value(), RulesHash(options_.tables));
  ASSERT_TRUE(home.Open({}).has_value());
  ASSERT_TRUE(admin_->Set(MakeSet(0, began_[0] - 20, kTable), false, {}).has_value());
  TableState table(TableIdentifier::Parse(kTable).value());
  AttachRequest request;
  request.may_create = true;
  request.create.schema = options_.tables[0].schema;
  auto attached = AttachTable(home, committer, table, request, {});
  ASSERT_TRUE(attached.has_value()) << attached.error().ToString();
  EXPECT_EQ(OffsetIn(kTable, 0), began_[0] - 20);
  EXPECT_EQ(OffsetIn(kTable, 1), began_[1]);
}

TEST_F(NeverMadeTableTest, IsNotSetOnceItIsThere) {
  BeforeCommitTo("lake.p__home", [&] { ExpectCaughtUp(RunOnce(options_)); });
  auto set = admin_->Set(MakeSet(0, 0, kTable), false, {});
  ASSERT_FALSE(set.has_value());
  EXPECT_EQ(set.error().code(), ErrorCode::kConflict);
  EXPECT_NE(set.error().message().find("attached meanwhile"), std::string::npos) << set.error().message();
  EXPECT_EQ(Listed().state, ListedState::kAttached);
  ExpectFrom(began_);
}

}  // namespace
}  // namespace firn::ingest
