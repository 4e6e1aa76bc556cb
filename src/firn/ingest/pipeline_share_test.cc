#include "firn/ingest/pipeline_share.h"

#include <gtest/gtest.h>

#include "firn/ingest/worker_fixture_for_test.h"

namespace firn::ingest {
namespace {

PartitionKey Key(int32_t partition) {
  return {"cluster", "topic", partition};
}

PositionsMap HomeOf(int32_t partitions) {
  PositionsMap home;
  for (int32_t i = 0; i < partitions; ++i) home.marks[Key(i)];
  home.home.emplace();
  return home;
}

TEST(PipelineShare, PartitionsOfTheHomeAreNumberedAlikeForAll) {
  const PositionsMap home = HomeOf(5);
  const PipelineShare one = ShareOf(home, {Key(0), Key(3)});
  const PipelineShare other = ShareOf(home, {Key(1), Key(2), Key(4)});
  EXPECT_EQ(one.shares, 5);
  EXPECT_EQ(one.mine, (std::set<int64_t>{0, 3}));
  EXPECT_EQ(other.mine, (std::set<int64_t>{1, 2, 4}));
  // One that the home does not know yet is nobody's.
  EXPECT_TRUE(ShareOf(home, {Key(7)}).mine.empty());
  EXPECT_EQ(ShareOf({}, {Key(0)}).shares, 0);
}

TEST(PipelineShare, TablesOnHoldAndThoseThatAreNotMadeYetAreLeftOut) {
  PositionsMap home = HomeOf(1);
  for (const char* name : {"a.held", "a.detached", "a.good"}) {
    home.home->tables.push_back({.table = name, .state = ListedState::kAttached});
  }
  home.home->tables.push_back({.table = "a.new", .state = ListedState::kAttaching});
  home.home->detached.push_back({.table = "a.held", .partition = Key(0), .hold = true});
  home.home->detached.push_back({.table = "a.detached", .partition = Key(0)});
  EXPECT_EQ(ShareOf(home, {}).tables, (std::vector<std::string>{"a.detached", "a.good"}));
}

class WholeShareTest : public WorkerTest {};

TEST_F(WholeShareTest, WithoutAHomeTheConfiguredTablesAreAll) {
  PipelineOptions options = MakeOptions();
  TableRule rule;
  rule.name = "lake.x_{topic}";
  options.tables.push_back(rule);
  auto share = LoadWholeShare(catalog_, options);
  ASSERT_TRUE(share.has_value());
  EXPECT_EQ(share->tables, (std::vector<std::string>{"lake.events", "lake.p__rejects"}));
  EXPECT_EQ(share->shares, 1);
  EXPECT_EQ(share->mine, (std::set<int64_t>{0}));
  options.reject_policy = RejectPolicy::kDrop;
  EXPECT_EQ(LoadWholeShare(catalog_, options)->tables, (std::vector<std::string>{"lake.events"}));
}

}  // namespace
}  // namespace firn::ingest
