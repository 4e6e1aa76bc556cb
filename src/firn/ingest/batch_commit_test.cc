// BatchCommitter on clocks that a test turns: batches that are too old, machines that sleep, clocks that jump.
#include "firn/ingest/batch_commit.h"

#include <gtest/gtest.h>

#include "firn/columnar/column_builder.h"
#include "firn/env/testing/faulty_store.h"
#include "firn/env/testing/manual_clock.h"
#include "firn/env/testing/memory_store.h"
#include "firn/iceberg/catalog/testing/memory_catalog.h"
#include "firn/ingest/attach.h"
#include "firn/ingest/topic_start.h"
#include "firn/stream/testing/memory_log.h"

namespace firn::ingest {
namespace {

using iceberg::CatalogCall;
using iceberg::CatalogFault;

constexpr int64_t kHourMs = 3'600'000;
const PartitionKey kPartition{"cluster", "topic-id", 0};

class BatchCommitTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.pipeline = "p";
    options_.commit_max_age_ms = 6 * kHourMs;
    options_.detach_after_ms = 100 * kHourMs;
    ASSERT_TRUE(home_.Open({}).has_value());
    auto named = home_.Edit(
        [](PositionsMap& map) -> Result<bool> {
          map.marks[kPartition] = Mark{"events", {}};
          return true;
        },
        {}, {});
    ASSERT_TRUE(named.has_value()) << named.error().ToString();
    AttachRequest request;
    request.may_create = true;
    schema::Field field;
    field.id = FieldId{1};
    field.name = "id";
    field.type = schema::Type::Primitive(schema::TypeKind::kLong);
    request.create.schema.fields = {field};
    auto attached = AttachTable(home_, committer_, table_, request, {});
    ASSERT_TRUE(attached.has_value()) << attached.error().ToString();
  }

  // One row, read from offsets [from, to).
  Batch MakeBatch(int64_t from, int64_t to) {
    Batch batch;
    TableBatch table;
    table.table = &table_;
    std::shared_ptr<const iceberg::LoadedTable> plan_table = table_.loaded();
    columnar::RowBuilder rows(plan_table->metadata.CurrentSchema());
    rows.column(0).AppendInt64(from);
    rows.CloseRow();
    table.waiting = std::make_unique<TableRows>(plan_table, 0, memory_, spill_);
    table.waiting->AddTail(rows.Finish());
    table.rows = 1;
    table.claims[kPartition] = Claim{from, stream::Position{to, -1, -1}, "events"};
    batch.home_claims = table.claims;
    batch.tables.push_back(std::move(table));
    return batch;
  }

  // Before the first commit of the table, `happens`; the commit itself is refused for once.
  void FailOnce(std::function<void()> happens) {
    catalog_.SetFaults([happens, this](CatalogCall call, const iceberg::TableIdentifier& table) {
      if (call != CatalogCall::kCommit || table.name != "events" || failed_) return CatalogFault::kNone;
      failed_ = true;
      happens();
      return CatalogFault::kUnavailable;
    });
  }

  // H is to move, over records of which three were dropped.
  static Batch MakeCheckpoint(int64_t from, int64_t to) {
    Batch batch;
    batch.checkpoint = true;
    batch.home_claims[kPartition] = Claim{from, stream::Position{to, -1, -1}, "events"};
    batch.dropped["decode"] = 3;
    return batch;
  }
  // As the home's history counts them.
  int64_t Dropped() {
    int64_t dropped = 0;
    const iceberg::TableMetadata home = catalog_.LoadTable({{"lake"}, "p__home"}).value().metadata;
    for (const iceberg::Snapshot& snapshot : home.snapshots) {
      auto found = snapshot.summary.find("firn.dropped-records");
      if (found != snapshot.summary.end()) dropped += std::stoll(found->second);
    }
    return dropped;
  }
  int64_t LowWater() { return OffsetOf(home_.map().marks, kPartition).value_or(0); }
  int64_t Position() { return OffsetOf(MapOf(Load(), "p").value()->marks, kPartition).value_or(0); }
  iceberg::TableMetadata Load() { return catalog_.LoadTable(table_.identifier()).value().metadata; }

  env::ManualClock clock_;          // this machine's
  env::ManualClock catalog_clock_;  // the catalog's
  env::ManualClock store_clock_;    // the store's
  env::SeededRandom random_{7};
  env::MemoryStore store_{store_clock_};
  iceberg::MemoryCatalog catalog_{catalog_clock_};
  PipelineOptions options_;
  MapCommitter committer_{catalog_, store_, clock_, random_, {"p", "w", ""}};
  Home home_{committer_, iceberg::TableIdentifier{{"lake"}, "p__home"}, "rules"};
  TableState table_{iceberg::TableIdentifier{{"lake"}, "events"}};
  MemoryBudget memory_{64 << 20};
  Spill spill_{nullptr, 0};
  BatchCommitter batches_{options_, home_, committer_, env::SystemThreads()};
  bool failed_ = false;
};

// A worker that opens a table once more after others have put it under new rules does not commit to it by its own.
TEST_F(BatchCommitTest, OldRulesCommitNothingToATableThatHasNewOnes) {
  Home newer(committer_, iceberg::TableIdentifier{{"lake"}, "p__home"}, "new rules");
  ASSERT_TRUE(newer.Open({}).has_value());
  ASSERT_TRUE(newer.AdoptRules({}, {}, {}).has_value());
  TableState theirs(table_.identifier());
  auto opened = AttachTable(newer, committer_, theirs, {}, {});
  ASSERT_TRUE(opened.has_value()) << opened.error().ToString();
  EXPECT_EQ(theirs.map()->rules_hash, "new rules") << "from its opening on, before any row";
  ASSERT_TRUE(committer_.Reload(table_).has_value());
  table_.set_map(*MapOf(table_.loaded()->metadata, "p").value());
  EXPECT_EQ(batches_.Commit(MakeBatch(0, 5), {}).kind, BatchResult::Kind::kStop);
  EXPECT_EQ(Position(), 0);
  auto again = AttachTable(home_, committer_, table_, {}, {});
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().code(), ErrorCode::kInvalidInput);
  EXPECT_NE(again.error().message().find("other routing rules"), std::string::npos) << again.error().message();
}

// Rejects of tables that are detached: a commit that moves the rejects table over records whose rejects it does not
// hold says so; one whose rejects a lane has written meanwhile is forgotten.
class RejectMarksTest : public BatchCommitTest {
 protected:
  Batch MakeRejects(int64_t from, int64_t to) {
    Batch batch = MakeBatch(from, to);
    batch.tables[0].is_rejects = true;
    return batch;
  }
  // What a lane of lake.a does: its rejects, and how far they reach.
  BatchResult LaneWrites(int64_t from, int64_t to) {
    Batch lane = MakeRejects(0, to);
    lane.tables[0].claims.clear();
    lane.tables[0].rejected["lake.a"][kPartition] = Claim{from, stream::Position{to, -1, -1}, "events"};
    return batches_.Commit(std::move(lane), {});
  }
  int64_t MarkOf(const std::string& table) {
    return RejectedMark(MapOf(Load(), "p").value()->rejected, table, kPartition);
  }
};

TEST_F(RejectMarksTest, WhatACommitPassesOverWithoutATablesRejectsIsMarked) {
  ASSERT_EQ(batches_.Commit(MakeRejects(0, 5), {}).kind, BatchResult::Kind::kDone);
  EXPECT_EQ(MarkOf("lake.a"), kNoMark);
  Batch without = MakeRejects(5, 9);
  without.tables[0].rejected_elsewhere["lake.a"][kPartition] = 0;
  without.tables[0].rejected_elsewhere["lake.b"][kPartition] = 7;  // known to reach further than the table's own
  ASSERT_EQ(batches_.Commit(std::move(without), {}).kind, BatchResult::Kind::kDone);
  EXPECT_EQ(MarkOf("lake.a"), 5);
  EXPECT_EQ(MarkOf("lake.b"), 7);
  // A mark that stands stays where it is.
  Batch again = MakeRejects(9, 12);
  again.tables[0].rejected_elsewhere["lake.a"][kPartition] = 0;
  ASSERT_EQ(batches_.Commit(std::move(again), {}).kind, BatchResult::Kind::kDone);
  EXPECT_EQ(MarkOf("lake.a"), 5);
}

TEST_F(RejectMarksTest, AWorkerThatDoesNotKnowOfALaneIsForgottenAndNotWrittenTwice) {
  ASSERT_EQ(batches_.Commit(MakeRejects(0, 5), {}).kind, BatchResult::Kind::kDone);
  Batch zombie = MakeRejects(5, 9);  // lake.a takes part in it, without a mark
  zombie.tables[0].rejected_known["lake.a"][kPartition] = kNoMark;
  ASSERT_EQ(LaneWrites(kNoMark, 9).kind, BatchResult::Kind::kDone);
  BatchResult late = batches_.Commit(std::move(zombie), {});
  EXPECT_EQ(late.kind, BatchResult::Kind::kForget);
  EXPECT_NE(late.reason.find("somebody else has written rejects"), std::string::npos) << late.reason;
  EXPECT_EQ(Position(), 5);
  // One that knows goes on.
  Batch knows = MakeRejects(5, 9);
  knows.tables[0].rejected_known["lake.a"][kPartition] = 9;
  EXPECT_EQ(batches_.Commit(std::move(knows), {}).kind, BatchResult::Kind::kDone);
  EXPECT_EQ(Position(), 9);
}

TEST_F(BatchCommitTest, ABatchIsCommitted) {
  BatchResult result = batches_.Commit(MakeBatch(0, 5), {});
  EXPECT_EQ(result.kind, BatchResult::Kind::kDone) << result.reason;
  EXPECT_EQ(Position(), 5);
}

// The machine sleeps between upload and commit. Its boot clock knows, and the wall clock, when it is right again.
TEST_F(BatchCommitTest, ABatchThatSleptTooLongIsForgotten) {
  FailOnce([&] { clock_.Advance(6 * kHourMs + 1); });
  BatchResult result = batches_.Commit(MakeBatch(0, 5), {});
  EXPECT_EQ(result.kind, BatchResult::Kind::kForget);
  EXPECT_TRUE(result.reason.starts_with("too_old")) << result.reason;
  EXPECT_EQ(Position(), 0);
  // What is read again is a new batch.
  EXPECT_EQ(batches_.Commit(MakeBatch(0, 5), {}).kind, BatchResult::Kind::kDone);
  EXPECT_EQ(Position(), 5);
}

TEST_F(BatchCommitTest, ALongWaitThatIsNotTooLongIsNoReason) {
  FailOnce([&] { clock_.Advance(6 * kHourMs - 60'000); });
  EXPECT_EQ(batches_.Commit(MakeBatch(0, 5), {}).kind, BatchResult::Kind::kDone);
}

// Set back over the sleep, so that the wall clock shows nothing of it.
TEST_F(BatchCommitTest, AWallClockThatIsSetBackHidesNothing) {
  FailOnce([&] {
    clock_.Advance(7 * kHourMs);
    clock_.JumpWall(-8 * kHourMs);
  });
  EXPECT_EQ(batches_.Commit(MakeBatch(0, 5), {}).kind, BatchResult::Kind::kForget);
}

// A boot clock that stood still: a virtual machine that was stopped and goes on. Its wall clock was set right since.
TEST_F(BatchCommitTest, ABootClockThatStoodStillHidesNothing) {
  FailOnce([&] { clock_.JumpWall(7 * kHourMs); });
  EXPECT_EQ(batches_.Commit(MakeBatch(0, 5), {}).kind, BatchResult::Kind::kForget);
}

// The same with a wall clock that still shows the old time: catalog and store say how long it was.
TEST_F(BatchCommitTest, AMachineThatKnowsNothingIsToldByCatalogAndStore) {
  FailOnce([&] { catalog_clock_.Advance(7 * kHourMs); });
  EXPECT_EQ(batches_.Commit(MakeBatch(0, 5), {}).kind, BatchResult::Kind::kForget);
  EXPECT_EQ(Position(), 0);
}

// Positions first: what is committed already is not too old.
TEST_F(BatchCommitTest, ALostAnswerIsDoneHoweverOldTheBatch) {
  catalog_.SetFaults([&](CatalogCall call, const iceberg::TableIdentifier& table) {
    if (call != CatalogCall::kCommit || table.name != "events" || failed_) return CatalogFault::kNone;
    failed_ = true;
    clock_.Advance(7 * kHourMs);
    return CatalogFault::kLostAnswer;
  });
  EXPECT_EQ(batches_.Commit(MakeBatch(0, 5), {}).kind, BatchResult::Kind::kDone);
  EXPECT_EQ(Position(), 5);
}

// Ages are told from the store's clock, so it must be right, too. It is seen with the first files that are written.
TEST_F(BatchCommitTest, AStoreWithAnotherTimeIsRefused) {
  for (int64_t skew_ms : {int64_t{-31'000}, int64_t{31'000}}) {
    store_clock_.JumpWall(skew_ms);
    BatchCommitter fresh(options_, home_, committer_, env::SystemThreads());
    BatchResult result = fresh.Commit(MakeBatch(0, 5), {});
    ASSERT_EQ(result.kind, BatchResult::Kind::kStop) << skew_ms;
    EXPECT_EQ(result.error->code(), ErrorCode::kInvalidInput);
    EXPECT_NE(result.error->message().find("store"), std::string::npos) << result.error->message();
    EXPECT_EQ(Position(), 0);
    store_clock_.JumpWall(-skew_ms);
  }
  store_clock_.JumpWall(29'000);
  EXPECT_EQ(batches_.Commit(MakeBatch(0, 5), {}).kind, BatchResult::Kind::kDone);
}

// What lies below it is in doubt for the lanes of tables that were detached there, wherever H is by now. An entry that
// was made at the cut or above, or of another partition, has no such records.
TEST_F(BatchCommitTest, TheCutStaysWhileAnEntryThatWasMadeBelowItStands) {
  constexpr int64_t kCut = 8;
  constexpr int64_t kSinceMs = 7;
  const PartitionKey others{"cluster", "topic-id", 1};
  auto entry = [](const char* table, const PartitionKey& key, int64_t home_offset) {
    return DetachedEntry{table, key, "events", "a test", kSinceMs, false, 0, home_offset};
  };
  auto prepared = home_.Edit(
      [&](PositionsMap& map) -> Result<bool> {
        for (const PartitionKey& key : {kPartition, others}) {
          map.marks[key] = map.home->cut[key] = Mark{"events", stream::Position{kCut, -1, -1}};
        }
        map.home->detached = {entry("lake.below", kPartition, kCut - 1), entry("lake.at", others, kCut)};
        return true;
      },
      {}, {});
  ASSERT_TRUE(prepared.has_value()) << prepared.error().ToString();
  auto checkpoint = [&](int64_t from, std::vector<Batch::CaughtUp> caught_up) {
    Batch batch;
    batch.checkpoint = true;
    batch.home_claims[kPartition] = Claim{from, stream::Position{from + 1, -1, -1}, "events"};
    batch.caught_up = std::move(caught_up);
    EXPECT_EQ(batches_.Commit(std::move(batch), {}).kind, BatchResult::Kind::kDone);
    return home_.map().home->cut;
  };
  const Marks both_stand = checkpoint(kCut, {});
  EXPECT_EQ(OffsetOf(both_stand, kPartition), kCut);
  EXPECT_FALSE(both_stand.contains(others));
  EXPECT_TRUE(checkpoint(kCut + 1, {{"lake.below", kPartition, kSinceMs}}).empty());
  EXPECT_NE(home_.map().home->FindDetached("lake.at", others), nullptr);
}

// A worker whose session was lost, and the one that has its partitions now.
TEST_F(BatchCommitTest, WhoFindsHMovedJustSoByAnotherCountsNoDrops) {
  MapCommitter their_committer(catalog_, store_, clock_, random_, {"p", "w2", ""});
  Home theirs(their_committer, iceberg::TableIdentifier{{"lake"}, "p__home"}, "rules");
  ASSERT_TRUE(theirs.Open({}).has_value());
  BatchCommitter others(options_, theirs, their_committer, env::SystemThreads());
  ASSERT_EQ(others.Commit(MakeCheckpoint(0, 5), {}).kind, BatchResult::Kind::kDone);
  ASSERT_EQ(Dropped(), 3);
  const int64_t sequence_number = 41;  // of a commit that the other one knows nothing of
  batches_.NoteCommitted({{table_.name(), sequence_number}});
  BatchResult result = batches_.Commit(MakeCheckpoint(0, 5), {});
  EXPECT_EQ(result.kind, BatchResult::Kind::kDone) << result.reason;
  EXPECT_TRUE(result.home_moved);
  EXPECT_EQ(LowWater(), 5);
  EXPECT_EQ(Dropped(), 3);
  EXPECT_EQ(home_.map().home->Find(table_.name())->sequence_number, sequence_number);
  ASSERT_EQ(batches_.Commit(MakeCheckpoint(5, 9), {}).kind, BatchResult::Kind::kDone);
  EXPECT_EQ(Dropped(), 6);
}

// By the next attempt there is something else to change in the home: a cut that nobody needs any more.
TEST_F(BatchCommitTest, AnAttemptWhoseAnswerWasLostHasCountedItsDrops) {
  auto prepared = home_.Edit(
      [&](PositionsMap& map) -> Result<bool> {
        map.home->cut[kPartition] = Mark{"events", stream::Position{3, -1, -1}};
        map.home->detached = {DetachedEntry{"lake.below", kPartition, "events", "a test", 7, false, 0, 2}};
        return true;
      },
      {}, {});
  ASSERT_TRUE(prepared.has_value()) << prepared.error().ToString();
  MapCommitter their_committer(catalog_, store_, clock_, random_, {"p", "w2", ""});
  Home theirs(their_committer, iceberg::TableIdentifier{{"lake"}, "p__home"}, "rules");
  ASSERT_TRUE(theirs.Open({}).has_value());
  bool lost = false;
  bool caught_up = false;
  catalog_.SetFaults([&](CatalogCall call, const iceberg::TableIdentifier& table) {
    if (table.name != "p__home" || caught_up) return CatalogFault::kNone;
    if (call == CatalogCall::kCommit && !std::exchange(lost, true)) return CatalogFault::kLostAnswer;
    if (!lost) return CatalogFault::kNone;
    caught_up = true;
    auto taken_off = [](PositionsMap& map) -> Result<bool> {
      map.home->detached.clear();
      return true;
    };
    EXPECT_TRUE(theirs.Edit(taken_off, {}, {}).has_value());
    return CatalogFault::kNone;
  });
  BatchResult result = batches_.Commit(MakeCheckpoint(0, 5), {});
  EXPECT_EQ(result.kind, BatchResult::Kind::kDone) << result.reason;
  EXPECT_TRUE(caught_up);
  EXPECT_TRUE(home_.map().home->cut.empty());
  EXPECT_EQ(LowWater(), 5);
  EXPECT_EQ(Dropped(), 3);
}

TEST_F(BatchCommitTest, HStaysBelowRejectsThatTheLaneOfTheirTableWouldNotFind) {
  options_.rejects_table = table_.name();
  options_.detach_after_ms = 120'000;
  catalog_.SetFaults([](CatalogCall call, const iceberg::TableIdentifier& table) {
    return call == CatalogCall::kCommit && table.name == "events" ? CatalogFault::kUnavailable : CatalogFault::kNone;
  });
  for (bool cannot_wait : {true, false}) {
    Batch batch = MakeBatch(0, 5);
    batch.tables[0].is_rejects = true;
    batch.checkpoint = true;
    batch.rejects_cannot_wait = cannot_wait;
    BatchResult result = batches_.Commit(std::move(batch), {});
    EXPECT_EQ(result.kind, cannot_wait ? BatchResult::Kind::kForget : BatchResult::Kind::kDone) << result.reason;
    EXPECT_EQ(result.detached.size(), 1u);
    EXPECT_EQ(LowWater(), cannot_wait ? 0 : 5);
  }
}

// An upload takes what it takes: time runs from the first failure on, and one alone detaches nothing.
TEST_F(BatchCommitTest, ASlowUploadThatFailsIsTriedAgain) {
  constexpr int64_t kMinuteMs = 60'000;
  env::FaultyStore slow(store_, clock_);
  MapCommitter committer{catalog_, slow, clock_, random_, {"p", "w", ""}};
  options_.detach_after_ms = 2 * kMinuteMs;
  options_.clock_skew_max_ms = kHourMs;  // the store's clock stands still
  BatchCommitter batches(options_, home_, committer, env::SystemThreads());
  auto close = [](int64_t nth, bool fails) {
    return env::Fault{.call = env::StoreCall::kClose,
                      .nth = nth,
                      .location_contains = "/data/",
                      .delay_ms = 3 * kMinuteMs,
                      .fails = fails};
  };
  slow.Inject(close(1, true));
  slow.Inject(close(2, true));
  slow.Inject(close(3, false));
  // What an upload took is no failure of the commit that follows.
  FailOnce([&] { clock_.Advance(kMinuteMs); });
  BatchResult result = batches.Commit(MakeBatch(0, 5), {});
  EXPECT_EQ(result.kind, BatchResult::Kind::kDone) << result.reason;
  EXPECT_TRUE(result.detached.empty());
  EXPECT_EQ(Position(), 5);
}

TEST_F(BatchCommitTest, ATableWhoseFilesCannotBeWrittenIsDetached) {
  env::FaultyStore broken(store_, clock_);
  MapCommitter committer{catalog_, broken, clock_, random_, {"p", "w", ""}};
  options_.detach_after_ms = 120'000;
  BatchCommitter batches(options_, home_, committer, env::SystemThreads());
  broken.Inject({.call = env::StoreCall::kClose, .persistent = true, .location_contains = "/data/"});
  const int64_t began_ms = clock_.BootMs();
  BatchResult result = batches.Commit(MakeBatch(0, 5), {});
  EXPECT_EQ(result.kind, BatchResult::Kind::kDone) << result.reason;
  EXPECT_EQ(result.detached.size(), 1u);
  EXPECT_GE(clock_.BootMs() - began_ms, 120'000);
  EXPECT_LE(clock_.BootMs() - began_ms, 140'000);
}

// Compare-and-swap is lost to other workers for longer than a table that is broken would be tried: it is not.
TEST_F(BatchCommitTest, ATableThatOthersCommitToIsNotDetachedForIt) {
  options_.detach_after_ms = 120'000;
  const int64_t began_ms = clock_.BootMs();
  int64_t lost = 0;
  catalog_.SetFaults([&](CatalogCall call, const iceberg::TableIdentifier& table) {
    if (call != CatalogCall::kCommit || table.name != "events") return CatalogFault::kNone;
    if (clock_.BootMs() - began_ms > 600'000) return CatalogFault::kNone;
    ++lost;
    iceberg::SetProperties theirs{{{"theirs", std::to_string(lost)}}};
    EXPECT_TRUE(catalog_.CommitAsSomebodyElse(table_.identifier(), {theirs}).has_value());
    return CatalogFault::kConflict;
  });
  BatchResult result = batches_.Commit(MakeBatch(0, 5), {});
  EXPECT_EQ(result.kind, BatchResult::Kind::kDone) << result.reason;
  EXPECT_TRUE(result.detached.empty());
  EXPECT_GT(lost, 3);
  EXPECT_EQ(Position(), 5);
}

// A catalog that answers 409 while nobody commits, for ever: that is a broken table.
TEST_F(BatchCommitTest, ATableThatNobodyCommitsToAndThatRefusesEveryCommitIsDetached) {
  options_.detach_after_ms = 120'000;
  catalog_.SetFaults([](CatalogCall call, const iceberg::TableIdentifier& table) {
    return call == CatalogCall::kCommit && table.name == "events" ? CatalogFault::kConflict : CatalogFault::kNone;
  });
  BatchResult result = batches_.Commit(MakeBatch(0, 5), {});
  EXPECT_EQ(result.kind, BatchResult::Kind::kDone) << result.reason;
  EXPECT_EQ(result.detached.size(), 1u);
}

// When the time for the last commit is over, nothing more is uploaded.
TEST_F(BatchCommitTest, AStopEndsTheUpload) {
  env::FaultyStore counting(store_, clock_);
  MapCommitter committer{catalog_, counting, clock_, random_, {"p", "w", ""}};
  BatchCommitter batches(options_, home_, committer, env::SystemThreads());
  std::stop_source stop;
  stop.request_stop();
  BatchResult result = batches.Commit(MakeBatch(0, 5), stop.get_token());
  EXPECT_EQ(result.kind, BatchResult::Kind::kForget);
  EXPECT_EQ(counting.calls(env::StoreCall::kOpenWrite), 0);
  EXPECT_EQ(Position(), 0);
}

// A table that is older than what this worker has committed to it is not built upon, whatever its positions say.
TEST_F(BatchCommitTest, ATableThatIsSetBackIsNotCommittedTo) {
  const iceberg::TableMetadata before = Load();
  ASSERT_EQ(batches_.Commit(MakeBatch(0, 5), {}).kind, BatchResult::Kind::kDone);
  catalog_.Register(table_.identifier(), before);
  // Of another partition: the claim by itself agrees with the old map.
  Batch batch = MakeBatch(0, 3);
  batch.tables[0].claims = {{PartitionKey{"cluster", "topic-id", 1}, Claim{0, stream::Position{3, -1, -1}, "events"}}};
  BatchResult result = batches_.Commit(std::move(batch), {});
  EXPECT_EQ(result.kind, BatchResult::Kind::kForget) << result.reason;
  EXPECT_EQ(Load().current_snapshot_id, before.current_snapshot_id);
}

// A topic that was made anew between its assignment and its start will never be listed under the id that was assigned.
TEST_F(BatchCommitTest, ATopicThatHasLostItsNameIsNotWaitedFor) {
  stream::MemorySource source(std::make_shared<stream::MemoryLog>("cluster", "events", "newer-id", 1));
  const stream::SourcePartition gone{"cluster", "older-id", "events", 0};
  Status started = EnsureTopicsStarted(home_, source, {}, {gone}, {});
  EXPECT_TRUE(started.has_value()) << started.error().ToString();
  EXPECT_FALSE(OffsetOf(home_.map().marks, KeyOf(gone)).has_value());
  const stream::SourcePartition unlisted{"cluster", "any-id", "not there yet", 0};
  started = EnsureTopicsStarted(home_, source, {}, {unlisted}, {});
  ASSERT_FALSE(started.has_value());
  EXPECT_EQ(started.error().code(), ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace firn::ingest
