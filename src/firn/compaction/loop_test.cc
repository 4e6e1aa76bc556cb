#include "firn/compaction/loop.h"

#include <gtest/gtest.h>

#include "firn/compaction/table_fixture_for_test.h"

namespace firn::compaction {
namespace {

constexpr int64_t kInterval = 60'000;
constexpr int64_t kCold = 1'800'000;

class LoopTest : public CompactionFixture {
 protected:
  LoopOptions Options() { return {.interval_ms = kInterval, .cold_after_ms = kCold, .files_min = 4}; }

  // Runs for so much simulated time; sleeping is all that takes any.
  LoopStatus RunFor(int64_t duration_ms, LoopScope scope = {{kTable}}, const LoopOptions* options = nullptr) {
    const int64_t end_ms = clock_.BootMs() + duration_ms;
    CompactionLoop loop(
        options != nullptr ? *options : Options(), {catalog_, store_, clock_, random_, [] { return 0; }},
        [&, scope]() -> Result<LoopScope> {
          ++looks_;
          if (clock_.BootMs() >= end_ms) stop_.request_stop();
          return scope;
        },
        registry_, {{"pipeline", "p"}},
        [&](const std::string& table, const CompactionReport& report) {
          EXPECT_EQ(table, "db.events");
          ++reports_;
          if (report.groups_done > 0 && stop_after_report_) stop_.request_stop();
        });
    stop_ = std::stop_source();
    loop.Run(stop_.get_token());
    return loop.status();
  }

  std::vector<int64_t> SortedIds() {
    std::vector<int64_t> ids = Ids();
    std::sort(ids.begin(), ids.end());
    return ids;
  }

  metrics::Registry registry_;
  std::stop_source stop_;
  int looks_ = 0;
  int reports_ = 0;
  bool stop_after_report_ = false;
};

TEST_F(LoopTest, FilesWaitForOthersOfLikeSizeOrUntilTheirPartitionIsCold) {
  for (int64_t i = 0; i < 3; ++i) Append("eu", i * 10, 10);
  EXPECT_EQ(RunFor(5 * kInterval).commits, 0);
  EXPECT_NE(registry_.ExposeText().find(
                R"(firn_compaction_left_alone_files{pipeline="p",reason="waiting",table="db.events"} 3)"),
            std::string::npos);
  Append("eu", 30, 10);
  EXPECT_EQ(RunFor(5 * kInterval).files_before, 4);
  EXPECT_EQ(LiveFiles(), 1u);
  Append("eu", 40, 10);
  EXPECT_EQ(RunFor(5 * kInterval).commits, 0);
  // One and the same run: nothing in the table changes, time alone does.
  EXPECT_EQ(RunFor(kCold + 2 * kQuietIntervals * kInterval).commits, 1);
  EXPECT_EQ(LiveFiles(), 1u);
  EXPECT_EQ(Ids(), UpTo(50));
}

TEST_F(LoopTest, EachPartitionIsOneProcesss) {
  const std::vector<std::string> regions = {"eu", "us", "ap", "sa", "af", "me"};
  int64_t id = 0;
  for (const std::string& region : regions) {
    for (int i = 0; i < 4; ++i, id += 10) Append(region, id, 10);
  }
  const LoopStatus first = RunFor(3 * kInterval, {{kTable}, 3, {0, 2}});
  EXPECT_GT(first.files_after, 0);
  EXPECT_LT(first.files_after, 6);
  const LoopStatus second = RunFor(3 * kInterval, {{kTable}, 3, {1}});
  EXPECT_EQ(first.files_after + second.files_after, 6);
  EXPECT_EQ(LiveFiles(), 6u);
  EXPECT_EQ(SortedIds(), UpTo(240));
}

TEST_F(LoopTest, APartitionThatComesOverIsSeenThoughTheTableDoesNotChange) {
  for (int64_t i = 0; i < 4; ++i) Append("eu", i * 10, 10);
  LoopScope scope{{kTable}, 2, {}};
  const int64_t mine = ShareOf("db.events", Metadata().default_spec_id, "region=eu", 2);
  const int64_t end_ms = clock_.BootMs() + 20 * kInterval;
  CompactionLoop loop(Options(), {catalog_, store_, clock_, random_, [] { return 0; }},
                      [&]() -> Result<LoopScope> {
                        if (++looks_ == 5) scope.mine.insert(mine);
                        if (clock_.BootMs() >= end_ms) stop_.request_stop();
                        return scope;
                      },
                      registry_, {});
  loop.Run(stop_.get_token());
  EXPECT_EQ(loop.status().commits, 1);
}

TEST_F(LoopTest, FailuresAreCountedAndComeMoreAndMoreRarely) {
  for (int64_t i = 0; i < 4; ++i) Append("eu", i * 10, 10);
  bool down = true;
  int loads = 0;
  catalog_.SetFaults([&](iceberg::CatalogCall call, const iceberg::TableIdentifier&) {
    loads += call == iceberg::CatalogCall::kLoad ? 1 : 0;
    return down ? iceberg::CatalogFault::kUnavailable : iceberg::CatalogFault::kNone;
  });
  const LoopStatus failing = RunFor(100 * kInterval);
  EXPECT_EQ(failing.commits, 0);
  EXPECT_EQ(failing.errors, loads);
  EXPECT_GE(loads, 4);
  EXPECT_LE(loads, 10);
  EXPECT_NE(failing.last_error.find("db.events"), std::string::npos);
  EXPECT_NE(registry_.ExposeText().find(R"(firn_compaction_errors_total{code="unavailable")"), std::string::npos);
  down = false;
  EXPECT_EQ(RunFor(3 * kInterval).commits, 1);
}

TEST_F(LoopTest, WorkThatFailsComesMoreAndMoreRarelyToo) {
  for (int64_t i = 0; i < 4; ++i) Append("eu", i * 10, 10);
  const int64_t opened = store_.calls(env::StoreCall::kOpenWrite);
  catalog_.SetFaults([&](iceberg::CatalogCall call, const iceberg::TableIdentifier&) {
    return call == iceberg::CatalogCall::kCommit ? iceberg::CatalogFault::kUnauthorized : iceberg::CatalogFault::kNone;
  });
  const LoopStatus failing = RunFor(100 * kInterval);
  EXPECT_EQ(failing.commits, 0);
  const int64_t tries = store_.calls(env::StoreCall::kOpenWrite) - opened;
  EXPECT_GE(tries, 4);
  EXPECT_LE(tries, 10);
}

TEST_F(LoopTest, AGroupThatCannotBeReadDoesNotHoldUpOthers) {
  const std::string unreadable = "/eu-";
  for (int64_t i = 0; i < 4; ++i) Append("eu", i * 10, 10);
  for (int64_t i = 4; i < 8; ++i) Append("us", i * 10, 12);
  store_.Inject({.call = env::StoreCall::kRead,
                 .persistent = true,
                 .code = ErrorCode::kUnauthorized,
                 .location_contains = unreadable});
  const LoopStatus status = RunFor(3 * kInterval);
  EXPECT_EQ(status.files_before, 4);
  EXPECT_GE(status.errors, 1);
  EXPECT_NE(status.last_error.find(unreadable), std::string::npos) << status.last_error;
}

TEST_F(LoopTest, WhatIsMergedOutlivesLostCommits) {
  for (int64_t i = 0; i < 4; ++i) Append("eu", i * 10, 10);
  const int64_t opened = store_.calls(env::StoreCall::kOpenWrite);
  int commits = 0;
  int64_t next = 40;
  catalog_.SetFaults([&](iceberg::CatalogCall call, const iceberg::TableIdentifier&) {
    // More losses than one commit has attempts for, each to a row of somebody else.
    if (call == iceberg::CatalogCall::kCommit && ++commits <= 8) {
      Append("us", next, 10);
      next += 10;
    }
    return iceberg::CatalogFault::kNone;
  });
  stop_after_report_ = true;
  const LoopStatus status = RunFor(10 * kInterval);
  EXPECT_EQ(status.commits, 1);
  EXPECT_EQ(status.files_before, 4);
  EXPECT_EQ(store_.calls(env::StoreCall::kOpenWrite) - opened, 1);
  EXPECT_EQ(SortedIds(), UpTo(next));
}

TEST_F(LoopTest, WhatIsTooOldIsNotTriedAgain) {
  for (int64_t i = 0; i < 4; ++i) Append("eu", i * 10, 10);
  auto options = Options();
  options.output_age_ms_max = 1000;
  store_.Inject({.call = env::StoreCall::kRead, .location_contains = "/eu-0", .delay_ms = 2000, .fails = false});
  const int64_t begin_ms = clock_.WallMs();
  const LoopStatus status = RunFor(5 * kInterval, {{kTable}}, &options);
  EXPECT_EQ(status.errors, 1);
  EXPECT_NE(status.last_error.find("too old"), std::string::npos) << status.last_error;
  EXPECT_EQ(status.last_error_ms - begin_ms, 2000);
  EXPECT_EQ(status.commits, 1);
}

TEST_F(LoopTest, MoreRefusedFilesThanAreRememberedEndTheWorkOnTheirTable) {
  for (int64_t i = 0; i < 8; ++i) {
    const std::string path = Append("eu", i * 10, 10);
    ASSERT_TRUE(store_.Delete(path).has_value() && store_.Put(path, "PAR1 not at all PAR1").has_value());
  }
  auto options = Options();
  options.refused_files_max = 2;
  store_.Inject({.call = env::StoreCall::kRead, .persistent = true, .location_contains = "/eu-", .fails = false});
  int64_t reads = 0;
  const int64_t begin_ms = clock_.BootMs();
  CompactionLoop* running = nullptr;
  CompactionLoop loop(options, {catalog_, store_, clock_, random_, [] { return 0; }},
                      [&]() -> Result<LoopScope> {
                        ++looks_;
                        if (looks_ < 20) Append("us", looks_ * 10, 10);  // there is always something new to look at
                        if (looks_ == 20) {
                          reads = store_.faults_hit();
                          const auto errors = running->status().table_errors;
                          EXPECT_TRUE(errors.contains("db.events") &&
                                      errors.at("db.events").error.code() == ErrorCode::kResourceExhausted);
                          // Files that are gone do not count.
                          EXPECT_TRUE(catalog_.DropTable(kTable).has_value());
                          CreateTable(EventsByRegion());
                          for (int64_t i = 0; i < 4; ++i) Append("ap", i * 10, 10);
                        }
                        if (clock_.BootMs() >= begin_ms + 100 * kInterval) stop_.request_stop();
                        return LoopScope{{kTable}};
                      },
                      registry_, {});
  running = &loop;
  loop.Run(stop_.get_token());
  EXPECT_EQ(reads, 8);
  EXPECT_EQ(loop.status().commits, 1);
  EXPECT_TRUE(loop.status().table_errors.empty());
}

TEST_F(LoopTest, RefusedFilesAreReadOnce) {
  for (int64_t i = 0; i < 4; ++i) {
    const std::string path = Append("eu", i * 10, 10);
    ASSERT_TRUE(store_.Delete(path).has_value() && store_.Put(path, "PAR1 not at all PAR1").has_value());
  }
  const int64_t id = 40;
  auto options = Options();
  options.interval_ms = 1000;
  int64_t reads = 0;
  bool touched = false;
  const int64_t end_ms = clock_.BootMs() + 100'000;
  CompactionLoop loop(options, {catalog_, store_, clock_, random_, [] { return 0; }},
                      [&]() -> Result<LoopScope> {
                        // Another partition changes, so that the table is looked at again.
                        if (!touched && clock_.BootMs() > 20'000) {
                          touched = true;
                          reads = store_.calls(env::StoreCall::kRead);
                          Append("us", id, 10);
                        }
                        if (clock_.BootMs() >= end_ms) stop_.request_stop();
                        return LoopScope{{kTable}};
                      },
                      registry_, {});
  loop.Run(stop_.get_token());
  EXPECT_TRUE(touched);
  // Manifests, and none of the four.
  EXPECT_LT(store_.calls(env::StoreCall::kRead) - reads, 12);
  EXPECT_NE(registry_.ExposeText().find(R"(firn_compaction_left_alone_files{reason="damaged",table="db.events"} 4)"),
            std::string::npos);
}

TEST_F(LoopTest, AStopAbandonsTheMergeAndCommitsWhatIsMerged) {
  for (int64_t i = 0; i < 4; ++i) Append("eu", i * 10, 10);
  for (int64_t i = 4; i < 8; ++i) Append("us", i * 10, 10);
  int inputs = 0;
  auto cpu_seconds = [&] {
    // Asked before each input: in the second group somebody says stop.
    if (store_.calls(env::StoreCall::kOpenWrite) > 0 && ++inputs > 4) stop_.request_stop();
    return 0.0;
  };
  CompactionLoop loop(Options(), {catalog_, store_, clock_, random_, cpu_seconds},
                      [&]() -> Result<LoopScope> { return LoopScope{{kTable}}; }, registry_, {});
  loop.Run(stop_.get_token());
  const LoopStatus status = loop.status();
  EXPECT_EQ(status.commits, 1);
  EXPECT_EQ(status.files_before, 4);
  EXPECT_EQ(status.errors, 0);
  EXPECT_EQ(LiveFiles(), 5u);
  EXPECT_EQ(SortedIds(), UpTo(80));
}

TEST_F(LoopTest, TheShareRisesWithTheBacklog) {
  for (int64_t i = 0; i < 4; ++i) Append("eu", i * 10, 10);
  auto options = Options();
  options.cpu_share = {.low = 0.001, .high = 0.5};
  double cpu_s = 0;
  auto cpu_seconds = [&] { return cpu_s += 5; };
  double most = 0;
  CompactionLoop* running = nullptr;
  CompactionLoop loop(
      options, {catalog_, store_, clock_, random_, cpu_seconds},
      [&]() -> Result<LoopScope> {
        const int64_t first = Metadata().last_sequence_number * 100;
        for (int64_t i = 0; i < 4; ++i) Append("eu", first + i * 10, 10);
        if (++looks_ > 20) stop_.request_stop();
        return LoopScope{{kTable}};
      },
      registry_, {},
      [&](const std::string&, const CompactionReport&) { most = std::max(most, running->status().cpu_share); });
  running = &loop;
  EXPECT_DOUBLE_EQ(loop.status().cpu_share, options.cpu_share.low);
  loop.Run(stop_.get_token());
  EXPECT_GT(most, options.cpu_share.low);
  EXPECT_LE(most, options.cpu_share.high);
  EXPECT_GT(loop.status().bytes_per_cpu_second, 0);
}

// Something is due at any time: each piece takes a second of CPU.
class AlwaysDue final : public SideWork {
 public:
  explicit AlwaysDue(std::function<void()> on_piece) : on_piece_(std::move(on_piece)) {}
  void SetScope(const LoopScope& scope) override { tables_ = scope.tables.size(); }
  int64_t NextMs() const override { return 0; }
  void DoNext(const std::function<bool()>& pause, std::stop_token) override {
    ++pieces_;
    cpu_s_ += 1;
    pause();
    on_piece_();
  }

  size_t tables_ = 0;
  int pieces_ = 0;
  double cpu_s_ = 0;
  std::function<void()> on_piece_;
};

TEST_F(LoopTest, SideWorkTakesTurnsWithCompactionAndKeepsToTheShare) {
  auto options = Options();
  options.interval_ms = 4'000;
  options.cpu_share = {.low = 0.25, .high = 0.25};
  std::vector<int> pieces_at_commit;
  AlwaysDue work([&] {
    // New files as long as it goes on, so that there is always a group waiting too.
    for (int64_t i = 0; i < 4; ++i) Append("eu", Metadata().last_sequence_number * 10, 10);
  });
  const int64_t begin_ms = clock_.BootMs(), end_ms = begin_ms + 80'000;
  CompactionLoop loop(
      options, {catalog_, store_, clock_, random_, [&] { return work.cpu_s_; }},
      [&]() -> Result<LoopScope> {
        if (clock_.BootMs() >= end_ms) stop_.request_stop();
        return LoopScope{{kTable}};
      },
      registry_, {}, [&](const std::string&, const CompactionReport&) { pieces_at_commit.push_back(work.pieces_); });
  loop.SetSideWork(&work);
  loop.Run(stop_.get_token());
  EXPECT_EQ(work.tables_, 1u);
  // Though there is always something else to do, compaction has its turns.
  EXPECT_GE(pieces_at_commit.size(), 10u);
  for (size_t i = 1; i < pieces_at_commit.size(); ++i) EXPECT_LE(pieces_at_commit[i], pieces_at_commit[i - 1] + 2);
  // A quarter of a core, and what was saved up before.
  const double passed_s = static_cast<double>(clock_.BootMs() - begin_ms) * 1e-3;
  EXPECT_LE(work.cpu_s_, passed_s * 0.25 + CpuPace::kCreditSeconds + 1);
  EXPECT_GE(work.cpu_s_, passed_s * 0.2);
}

TEST_F(LoopTest, AnErrorStandsUntilItsTableGoesWell) {
  for (int64_t i = 0; i < 4; ++i) Append("eu", i * 10, 10);
  bool down = true;
  catalog_.SetFaults([&](iceberg::CatalogCall call, const iceberg::TableIdentifier&) {
    return down && call == iceberg::CatalogCall::kCommit ? iceberg::CatalogFault::kUnauthorized
                                                         : iceberg::CatalogFault::kNone;
  });
  const int64_t begin_ms = clock_.BootMs(), wall_ms = clock_.WallMs();
  std::optional<TableError> standing;
  CompactionLoop* running = nullptr;
  CompactionLoop loop(Options(), {catalog_, store_, clock_, random_, [] { return 0; }},
                      [&]() -> Result<LoopScope> {
                        const auto errors = running->status().table_errors;
                        if (clock_.BootMs() >= begin_ms + 10 * kInterval && down) {
                          standing = errors.at("db.events");
                          down = false;
                        }
                        if (clock_.BootMs() >= begin_ms + 60 * kInterval) stop_.request_stop();
                        return LoopScope{{kTable}};
                      },
                      registry_, {});
  running = &loop;
  loop.Run(stop_.get_token());
  ASSERT_TRUE(standing.has_value());
  EXPECT_EQ(standing->error.code(), ErrorCode::kUnauthorized);
  EXPECT_GE(standing->failures, 2);
  EXPECT_EQ(standing->since_ms, wall_ms);
  EXPECT_EQ(loop.status().commits, 1);
  EXPECT_TRUE(loop.status().table_errors.empty());
  EXPECT_GE(loop.status().errors, 2);
}

TEST_F(LoopTest, ATableThatIsNotThereYetIsNoError) {
  const LoopStatus status = RunFor(40 * kInterval, {{iceberg::TableIdentifier{{"db"}, "later"}}});
  EXPECT_EQ(status.errors, 0);
  EXPECT_EQ(status.tables, 1);
}

}  // namespace
}  // namespace firn::compaction
