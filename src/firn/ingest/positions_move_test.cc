// A topic moves to another cluster: nothing of it is read twice, nothing is left out, and what is not sure is refused.
#include "firn/ingest/positions_move.h"

#include "firn/ingest/history.h"
#include "firn/ingest/home.h"
#include "firn/ingest/rules.h"
#include "firn/ingest/worker_fixture_for_test.h"

namespace firn::ingest {
namespace {

TEST(OffsetPairsTest, LinesOfThreeNumbers) {
  auto pairs = ParseOffsetPairs("# mirrored at noon\n0 120 100\r\n\n  1\t130  130\n0 150 131");
  ASSERT_TRUE(pairs.has_value()) << pairs.error().ToString();
  EXPECT_EQ(*pairs, (OffsetPairs{{{0, 120}, 100}, {{0, 150}, 131}, {{1, 130}, 130}}));
  EXPECT_TRUE(ParseOffsetPairs("")->empty());
  for (const char* bad : {"0 1", "0 1 2 3", "a 1 2", "0 -1 2", "0 1 2x", "4294967296 1 2", "0 1 2\n0 1 3",
                          "0 10 20\n0 11 19"}) {
    EXPECT_EQ(ParseOffsetPairs(bad).error().code(), ErrorCode::kInvalidInput) << bad;
  }
}

constexpr int64_t kMirroredMs = 1'700'000'000'001;  // a moment after what the old log has

class PositionsMoveTest : public WorkerTest {
 protected:
  PositionsMoveTest() : old_log_(log_) {}

  PositionsAdmin MakeAdmin() {
    return PositionsAdmin(options_, catalog_, faulty_, env::SystemClock(), env::SystemRandom());
  }
  static MoveRequest MakeRequest(MoveRequest::Offsets offsets) {
    MoveRequest request;
    request.topic = "events";
    request.from_cluster = "cluster";
    request.to_cluster = "cluster-2";
    request.to_topic_id = "topic-id-2";
    request.offsets = offsets;
    return request;
  }
  // The new cluster's log: what the old one has from `from` on, each record `shift` further back.
  void Mirror(int64_t from) {
    auto mirror = std::make_shared<stream::MemoryLog>("cluster-2", "events", "topic-id-2", old_log_->partition_count());
    for (int32_t p = 0; p < old_log_->partition_count(); ++p) {
      int64_t next = 0;
      for (const stream::LoggedRecord& record : old_log_->Read(p, from, SIZE_MAX, next)) {
        mirror->Append(p, record.value, kMirroredMs);
      }
    }
    log_ = mirror;
  }
  Marks HomeMarks() { return MapOf(Load("lake.p__home").metadata, "p").value()->marks; }
  int64_t HomeOffset(int32_t partition) { return *OffsetOf(HomeMarks(), {"cluster", "topic-id", partition}); }

  PipelineOptions options_ = MakeOptions();
  std::shared_ptr<stream::MemoryLog> old_log_;
};

TEST_F(PositionsMoveTest, AMirroredTopicGoesOnWhereItsOffsetsAreGiven) {
  Produce(0, 200);
  ExpectCaughtUp(RunOnce());
  Produce(200, 100);
  Mirror(20);  // retention has taken the first ones, and markers are not mirrored

  PositionsAdmin admin = MakeAdmin();
  MoveRequest request = MakeRequest(MoveRequest::Offsets::kPairs);
  auto plan = admin.Move(request, true, {});
  ASSERT_FALSE(plan.has_value());
  EXPECT_EQ(plan.error().code(), ErrorCode::kInvalidInput);
  for (int32_t p = 0; p < 4; ++p) {
    EXPECT_NE(plan.error().message().find(fmt::format("\n{} {} ?", p, HomeOffset(p))), std::string::npos)
        << plan.error().message();
    int64_t next = 0;
    const auto unread = old_log_->Read(p, HomeOffset(p), SIZE_MAX, next).size();
    request.pairs[{p, HomeOffset(p)}] = log_->WatermarksOf(p).end - static_cast<int64_t>(unread);
  }
  plan = admin.Move(request, true, {});
  ASSERT_TRUE(plan.has_value()) << plan.error().ToString();
  EXPECT_EQ(plan->size(), 12u);  // four partitions of two tables and the home
  EXPECT_EQ(plan->back().table, "lake.p__home");
  EXPECT_EQ(HomeMarks().size(), 4u) << "a plan changes nothing";

  ASSERT_TRUE(admin.Move(request, false, {}).has_value());
  EXPECT_EQ(HomeMarks().size(), 8u) << "the old cluster's positions stay";
  ASSERT_TRUE(admin.Move(request, false, {}).has_value()) << "the same again is no contradiction";
  options_.start.kind = StartPolicy::Kind::kEarliest;
  ExpectCaughtUp(RunOnce(options_));
  ExpectExactly(300);
  // Now the new log has been read from.
  EXPECT_EQ(admin.Move(request, false, {}).error().code(), ErrorCode::kAlreadyExists);
  // And the old one's records, which never come any more, do not hold the watermark back.
  bool complete = false;
  const iceberg::LoadedTable table = Load("lake.events");
  const iceberg::Snapshot& last = *NewestSnapshotOf(table.metadata, "p", complete);
  EXPECT_GE(std::stoll(last.summary.at("firn.watermark-ms")), kMirroredMs);
}

TEST_F(PositionsMoveTest, AnIdThatThePipelineWouldNeverLookForIsRefused) {
  Produce(0, 100);
  ExpectCaughtUp(RunOnce());
  MoveRequest request = MakeRequest(MoveRequest::Offsets::kKeep);
  request.to_topic_id = "name:events";
  EXPECT_EQ(MakeAdmin().Move(request, true, {}).error().code(), ErrorCode::kInvalidInput);
  options_.topic_identity_by_name = true;
  EXPECT_TRUE(MakeAdmin().Move(request, true, {}).has_value());
  for (const char* id : {"name:other", "topic-id-2"}) {
    request.to_topic_id = id;
    EXPECT_EQ(MakeAdmin().Move(request, true, {}).error().code(), ErrorCode::kInvalidInput) << id;
  }
}

TEST_F(PositionsMoveTest, ATopicWithTheSameOffsetsOrOnlyNewRecords) {
  Produce(0, 100);
  ExpectCaughtUp(RunOnce());
  PositionsAdmin admin = MakeAdmin();
  auto kept = admin.Move(MakeRequest(MoveRequest::Offsets::kKeep), true, {});
  ASSERT_TRUE(kept.has_value()) << kept.error().ToString();
  for (const AdminChange& change : *kept) EXPECT_EQ(change.from, change.to);

  ASSERT_TRUE(admin.Move(MakeRequest(MoveRequest::Offsets::kEarliest), false, {}).has_value());
  log_ = std::make_shared<stream::MemoryLog>("cluster-2", "events", "topic-id-2", 4);
  Produce(100, 60);
  options_.start.kind = StartPolicy::Kind::kLatest;  // without effect: the topic has positions
  ExpectCaughtUp(RunOnce(options_));
  ExpectExactly(160);
}

// The move is interrupted before the home is written, and a worker starts on the new cluster.
TEST_F(PositionsMoveTest, HalfAMoveDoublesNothing) {
  Produce(0, 100);
  ExpectCaughtUp(RunOnce());
  MoveRequest request = MakeRequest(MoveRequest::Offsets::kPairs);
  Produce(100, 50);
  Mirror(0);
  for (int32_t p = 0; p < 4; ++p) {
    int64_t next = 0;
    const auto unread = old_log_->Read(p, HomeOffset(p), SIZE_MAX, next).size();
    request.pairs[{p, HomeOffset(p)}] = log_->WatermarksOf(p).end - static_cast<int64_t>(unread);
  }
  catalog_.SetFaults([](CatalogCall call, const TableIdentifier& table) {
    return call == CatalogCall::kCommit && table.name == "p__home" ? CatalogFault::kUnauthorized : CatalogFault::kNone;
  });
  PositionsAdmin admin = MakeAdmin();
  EXPECT_EQ(admin.Move(request, false, {}).error().code(), ErrorCode::kUnauthorized);
  catalog_.SetFaults(nullptr);
  ExpectCaughtUp(RunOnce());
  ExpectExactly(150);
}

TEST_F(PositionsMoveTest, WhatIsNotSureIsRefused) {
  Produce(0, 100);
  ExpectCaughtUp(RunOnce());
  PositionsAdmin admin = MakeAdmin();
  auto code = [&](const MoveRequest& request) {
    auto moved = admin.Move(request, true, {});
    return moved.has_value() ? ErrorCode::kInternal : moved.error().code();
  };
  MoveRequest request = MakeRequest(MoveRequest::Offsets::kKeep);
  request.from_cluster = "nowhere";
  EXPECT_EQ(code(request), ErrorCode::kNotFound);
  request = MakeRequest(MoveRequest::Offsets::kKeep);
  request.topic = "other";
  EXPECT_EQ(code(request), ErrorCode::kNotFound);
  request = MakeRequest(MoveRequest::Offsets::kKeep);
  request.to_cluster = "cluster";
  EXPECT_EQ(code(request), ErrorCode::kInvalidInput);

  // A table ahead of the home: a new log that begins with "the first unread record" would mean two things.
  MapCommitter committer(catalog_, store_, env::SystemClock(), env::SystemRandom(), CommitterIdentity{"p", "w", "g"});
  const PartitionKey key{"cluster", "topic-id", 0};
  auto home_map = MapOf(Load("lake.p__home").metadata, "p").value();
  Marks back = {{key, Mark{"events", stream::Position{3, -1, -1}}}};
  TableState home_state(TableIdentifier::Parse("lake.p__home").value());
  ASSERT_TRUE(ReplaceMap(committer, home_state, {.planned = home_map, .marks = back}, "", {}).has_value());
  EXPECT_EQ(code(MakeRequest(MoveRequest::Offsets::kEarliest)), ErrorCode::kConflict);
  EXPECT_EQ(code(MakeRequest(MoveRequest::Offsets::kKeep)), ErrorCode::kInternal) << "the same offsets are sure";

  // A table that has to catch up needs the old cluster.
  Home home(committer, TableIdentifier::Parse("lake.p__home").value(), RulesHash(options_.tables));
  ASSERT_TRUE(home.Open({}).has_value());
  ASSERT_TRUE(home.Detach({DetachedEntry{"lake.events", key, "events", "test", 1, false, 0}}, "", {}).has_value());
  EXPECT_EQ(code(MakeRequest(MoveRequest::Offsets::kKeep)), ErrorCode::kConflict);
  // The remedy that it gives does help.
  SetRequest give_up;
  give_up.topic = "events";
  give_up.partition = 0;
  give_up.table = "lake.events";
  give_up.offset = *OffsetOf(MapOf(Load("lake.events").metadata, "p").value()->marks, key);
  ASSERT_TRUE(admin.Set(give_up, false, {}).has_value());
  EXPECT_EQ(code(MakeRequest(MoveRequest::Offsets::kKeep)), ErrorCode::kInternal);

  // Records in doubt after a change of the rules are judged by offsets of the old cluster.
  auto cut_at = [&](int64_t offset) {
    return home.Edit(
        [&](PositionsMap& map) -> Result<bool> {
          map.home->cut = {{key, Mark{"events", stream::Position{offset, -1, -1}}}};
          return true;
        },
        {}, {});
  };
  ASSERT_TRUE(RequireCommitted(cut_at(4), "home").has_value());
  EXPECT_EQ(code(MakeRequest(MoveRequest::Offsets::kKeep)), ErrorCode::kConflict);
  ASSERT_TRUE(RequireCommitted(cut_at(3), "home").has_value());
  EXPECT_EQ(code(MakeRequest(MoveRequest::Offsets::kKeep)), ErrorCode::kInternal) << "H has passed it";
}

}  // namespace
}  // namespace firn::ingest
