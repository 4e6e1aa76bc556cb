#include "firn/maintenance/table_maintenance.h"

#include <algorithm>
#include <vector>

#include "firn/maintenance/maintenance_fixture_for_test.h"

namespace firn::maintenance {
namespace {

constexpr int64_t kMinuteMs = 60'000;

// ---- the schedule

TEST(ScheduleTest, TasksComeAtTheirIntervalsAndFirstSpreadOut) {
  Schedule schedule({{Task::kExpire, kHourMs}, {Task::kOrphans, 24 * kHourMs}, {Task::kManifests, 0}});
  std::set<Job> jobs;
  for (int i = 0; i < 50; ++i) {
    for (const Task task : kTasks) jobs.insert({"db.t" + std::to_string(i), task});
  }
  schedule.SetJobs(jobs, 0);
  EXPECT_FALSE(schedule.Due(kFirstDueMsMax / 2 - 1).has_value());
  std::map<Job, std::vector<int64_t>> ran;
  for (int64_t now_ms = 0; now_ms <= 4 * kHourMs; now_ms += 1000) {
    while (const std::optional<Job> job = schedule.Due(now_ms)) {
      ran[*job].push_back(now_ms);
      schedule.Done(*job, now_ms, std::nullopt);
    }
  }
  EXPECT_EQ(ran.size(), 100u);  // tasks without an interval never come
  std::set<int64_t> firsts;
  for (const auto& [job, times] : ran) {
    EXPECT_EQ(times.size(), job.task == Task::kExpire ? 4u : 1u) << job.table;
    EXPECT_LE(times.front(), kFirstDueMsMax + 1000);
    firsts.insert(times.front());
    for (size_t i = 1; i < times.size(); ++i) EXPECT_EQ(times[i] - times[i - 1], kHourMs);
  }
  EXPECT_GT(firsts.size(), 60u);
}

TEST(ScheduleTest, OfOneTableWhatMakesWorkForOthersComesFirst) {
  Schedule schedule({{Task::kOrphans, 1000}, {Task::kExpire, 1000}, {Task::kRetain, 1000}, {Task::kManifests, 1000}});
  std::set<Job> jobs;
  for (const Task task : kTasks) jobs.insert({"a.b", task});
  schedule.SetJobs(jobs, 0);
  std::vector<Task> order;
  while (const std::optional<Job> job = schedule.Due(5000)) {
    order.push_back(job->task);
    schedule.Done(*job, 5000, std::nullopt);
  }
  EXPECT_EQ(order, (std::vector<Task>{Task::kRetain, Task::kExpire, Task::kManifests, Task::kOrphans}));
}

TEST(ScheduleTest, WhatMayPassIsTriedAgainSoonAndTheRestAtTheInterval) {
  EXPECT_EQ(RetryMs(24 * kHourMs, 1, true), kTaskRetryMsMin);
  EXPECT_EQ(RetryMs(24 * kHourMs, 3, true), 4 * kTaskRetryMsMin);
  EXPECT_EQ(RetryMs(24 * kHourMs, 1000, true), kTaskRetryMsMax);
  EXPECT_EQ(RetryMs(2000, 1000, true), 2000);
  EXPECT_EQ(RetryMs(24 * kHourMs, 1, false), 24 * kHourMs);
  EXPECT_TRUE(MayPass(Task::kExpire, ErrorCode::kConflict));
  EXPECT_FALSE(MayPass(Task::kExpire, ErrorCode::kUnsupported));
}

// Another try reads and writes all manifests again, and may lose again.
TEST(ScheduleTest, ClusteringThatHasLostItsRaceWaitsForItsInterval) {
  Schedule schedule({{Task::kManifests, 6 * kHourMs}, {Task::kExpire, 6 * kHourMs}});
  const Job manifests{"a.b", Task::kManifests}, expire{"a.b", Task::kExpire};
  schedule.SetJobs({manifests, expire}, 0);
  schedule.Done(manifests, 0, ErrorCode::kConflict);
  schedule.Done(expire, 0, ErrorCode::kConflict);
  EXPECT_EQ(schedule.NextMs(manifests), 6 * kHourMs);
  EXPECT_EQ(schedule.NextMs(expire), kTaskRetryMsMin);
  schedule.Done(manifests, 0, ErrorCode::kUnavailable);
  EXPECT_LT(*schedule.NextMs(manifests), kHourMs);
}

TEST(ScheduleTest, ATableThatComesBackKeepsItsTimes) {
  Schedule schedule({{Task::kOrphans, kDayMs}});
  const Job job{"a.b", Task::kOrphans};
  schedule.SetJobs({job}, 0);
  schedule.Done(job, kHourMs, std::nullopt);
  schedule.SetJobs({}, 2 * kHourMs);
  EXPECT_FALSE(schedule.Due(2 * kDayMs).has_value());
  EXPECT_EQ(schedule.NextMs(), std::numeric_limits<int64_t>::max());
  schedule.SetJobs({job}, 3 * kHourMs);
  EXPECT_EQ(schedule.NextMs(job), kDayMs + kHourMs);
  // Where its time has passed it is as one that is new.
  schedule.SetJobs({}, 4 * kHourMs);
  schedule.SetJobs({job}, 3 * kDayMs);
  EXPECT_GE(*schedule.NextMs(job), 3 * kDayMs + kFirstDueMsMax / 2);
  EXPECT_LE(*schedule.NextMs(job), 3 * kDayMs + kFirstDueMsMax);
}

TEST(ScheduleTest, TablesThatComeAndGo) {
  Schedule schedule({{Task::kExpire, kMinuteMs}});
  const Job mine{"a.b", Task::kExpire}, other{"a.c", Task::kExpire};
  schedule.SetJobs({mine}, 0);
  const std::optional<int64_t> due_ms = schedule.NextMs(mine);
  // A second look changes nothing for those that stay.
  schedule.SetJobs({mine, other}, kMinuteMs / 4);
  EXPECT_EQ(schedule.NextMs(mine), due_ms);
  EXPECT_GE(*schedule.NextMs(other), kMinuteMs / 4 + kMinuteMs / 2);
  schedule.SetJobs({other}, kMinuteMs / 4);
  EXPECT_FALSE(schedule.NextMs(mine).has_value());
  EXPECT_EQ(schedule.Due(kHourMs), other);
  schedule.SetJobs({}, 0);
  EXPECT_EQ(schedule.NextMs(), std::numeric_limits<int64_t>::max());
}

// ---- the loop's side, with a task that does nothing

class FakeTasksTest : public MaintenanceTest {
 protected:
  TableMaintenance Make(MaintenanceOptions options) {
    return {
        std::move(options),
        Parts(),
        registry_,
        {{"pipeline", "p"}},
        [this](Task task, const iceberg::TableIdentifier& table, const TableMaintenance::PauseFn&, std::stop_token) {
          ran_.push_back({table.ToString(), task});
          return next_;
        },
        [] { return 0; }};
  }

  // Works through what is due, so long.
  void RunFor(TableMaintenance& maintenance, int64_t duration_ms) {
    const int64_t end_ms = clock_.BootMs() + duration_ms;
    while (maintenance.NextMs() <= end_ms) {
      clock_.Advance(std::max<int64_t>(maintenance.NextMs() - clock_.BootMs(), 0));
      maintenance.DoNext([] { return true; }, {});
    }
    clock_.Advance(std::max<int64_t>(end_ms - clock_.BootMs(), 0));
  }

  metrics::Registry registry_;
  std::vector<Job> ran_;
  TaskOutcome next_;
};

compaction::LoopScope ScopeOf(int tables, int64_t shares, std::set<int64_t> mine) {
  compaction::LoopScope scope{{}, shares, std::move(mine)};
  for (int i = 0; i < tables; ++i) scope.tables.push_back({{"db"}, "t" + std::to_string(i)});
  return scope;
}

TEST_F(FakeTasksTest, EachTableHasOneOwnerAndTheHomeToo) {
  MaintenanceOptions options{.interval_ms = {{Task::kExpire, kMinuteMs}}};
  options.also = {{{"db"}, "home"}};
  std::map<std::string, int> owners;
  for (int64_t worker = 0; worker < 3; ++worker) {
    TableMaintenance maintenance = Make(options);
    maintenance.SetScope(ScopeOf(20, 3, {worker}));
    ran_.clear();
    RunFor(maintenance, kMinuteMs);
    EXPECT_FALSE(ran_.empty());
    for (const Job& job : ran_) ++owners[job.table];
  }
  EXPECT_EQ(owners.size(), 21u);
  for (const auto& [table, count] : owners) EXPECT_EQ(count, 1) << table;
}

TEST_F(FakeTasksTest, ATableThatGoesOnHoldIsLeftAlone) {
  TableMaintenance maintenance = Make({.interval_ms = {{Task::kExpire, kMinuteMs}}});
  maintenance.SetScope(ScopeOf(2, 1, {0}));
  RunFor(maintenance, 3 * kMinuteMs);
  EXPECT_EQ(maintenance.status().size(), 2u);
  maintenance.SetScope(ScopeOf(1, 1, {0}));
  ran_.clear();
  RunFor(maintenance, 3 * kMinuteMs);
  EXPECT_EQ(std::ranges::count(ran_, Job{"db.t1", Task::kExpire}), 0);
  EXPECT_GE(std::ranges::count(ran_, Job{"db.t0", Task::kExpire}), 2);
  EXPECT_EQ(maintenance.status().size(), 1u);
}

TEST_F(FakeTasksTest, DataLeaveOnlyTablesWithARule) {
  MaintenanceOptions options{.interval_ms = {{Task::kRetain, kMinuteMs}}};
  options.retention = [](const std::string& table) -> std::optional<RetentionOptions> {
    if (table != "db.t1") return std::nullopt;
    return RetentionOptions{.field = "event_day", .age_ms = kDayMs};
  };
  TableMaintenance maintenance = Make(options);
  maintenance.SetScope(ScopeOf(3, 1, {0}));
  RunFor(maintenance, 2 * kMinuteMs);
  ASSERT_FALSE(ran_.empty());
  for (const Job& job : ran_) EXPECT_EQ(job.table, "db.t1");
}

TEST_F(FakeTasksTest, AnErrorStandsUntilTheTaskSucceedsAndWhatWasFreedIsCounted) {
  TableMaintenance maintenance = Make({.interval_ms = {{Task::kOrphans, kHourMs}}});
  maintenance.SetScope(ScopeOf(1, 1, {0}));
  next_ = {.freed = {.files = 2, .bytes = 20}, .error = Error(ErrorCode::kUnavailable, "the store is away")};
  RunFor(maintenance, kFirstDueMsMax);
  TaskStatus status = maintenance.status().at("db.t0").at(Task::kOrphans);
  ASSERT_TRUE(status.error.has_value());
  EXPECT_EQ(status.error->message(), "the store is away");
  EXPECT_GE(status.failures, 1);
  EXPECT_EQ(status.last_ms, 0);
  const int64_t since_ms = status.error_since_ms;
  RunFor(maintenance, 3 * kTaskRetryMsMin);
  status = maintenance.status().at("db.t0").at(Task::kOrphans);
  EXPECT_GE(status.failures, 2);
  EXPECT_EQ(status.error_since_ms, since_ms);
  EXPECT_NE(registry_.ExposeText().find(R"(firn_maintenance_failing{pipeline="p",table="db.t0",task="orphans"} 1)"),
            std::string::npos);
  const int64_t freed_before = status.freed.files;
  next_ = {.freed = {.files = 3, .bytes = 30}};
  RunFor(maintenance, kTaskRetryMsMax);
  status = maintenance.status().at("db.t0").at(Task::kOrphans);
  EXPECT_FALSE(status.error.has_value());
  EXPECT_EQ(status.failures, 0);
  EXPECT_EQ(status.freed.files, freed_before + 3);
  EXPECT_GT(status.last_ms, since_ms);
  EXPECT_EQ(status.next_ms, status.last_ms + kHourMs);
  const std::string text = registry_.ExposeText();
  EXPECT_NE(text.find(R"(firn_maintenance_failing{pipeline="p",table="db.t0",task="orphans"} 0)"), std::string::npos);
  EXPECT_NE(text.find("firn_maintenance_files_total{pipeline=\"p\",table=\"db.t0\",task=\"orphans\"} " +
                      std::to_string(freed_before + 3)),
            std::string::npos)
      << text;
}

TEST_F(FakeTasksTest, AStopIsNoFailure) {
  TableMaintenance maintenance = Make({.interval_ms = {{Task::kExpire, kMinuteMs}}});
  maintenance.SetScope(ScopeOf(1, 1, {0}));
  clock_.Advance(kMinuteMs);
  next_.error = Error(ErrorCode::kCancelled, "stopped");
  std::stop_source stop;
  stop.request_stop();
  maintenance.DoNext([] { return false; }, stop.get_token());
  EXPECT_EQ(ran_.size(), 1u);
  EXPECT_FALSE(maintenance.status().at("db.t0").at(Task::kExpire).error.has_value());
  // But what it has done is told, and what it has left.
  next_.freed.snapshots = 3;
  maintenance.DoNext([] { return false; }, stop.get_token());
  const TaskStatus status = maintenance.status().at("db.t0").at(Task::kExpire);
  EXPECT_EQ(status.freed.snapshots, 3);
  EXPECT_TRUE(status.error.has_value());
}

// ---- the tasks themselves

class RealTasksTest : public MaintenanceTest {
 protected:
  TaskOutcome Run(Task task, const MaintenanceOptions& options = {}) {
    return RunTask(Parts(), options, task, kTable, [this] { return ++pauses_ > 0; }, {});
  }

  int pauses_ = 0;
};

TEST_F(RealTasksTest, EachFreesWhatItIsFor) {
  SetProperty("history.expire.max-snapshot-age-ms", "1000");
  SetProperty("history.expire.min-snapshots-to-keep", "1");
  Commit({File("old", Today() - 40)});
  Commit({File("a", Today())});
  Commit({File("b", Today())});
  Replace({"a", "b"}, File("ab", Today(), 150));
  Commit({File("c", Today())});
  clock_.Advance(4 * kDayMs);
  File("crashed", Today());
  clock_.Advance(4 * kDayMs);
  MaintenanceOptions options;
  options.retention = [](const std::string&) { return RetentionOptions{.field = "event_day", .age_ms = 30 * kDayMs}; };
  const TaskOutcome retained = Run(Task::kRetain, options);
  EXPECT_EQ(retained.freed.rows, 10);
  EXPECT_EQ(retained.freed.partitions, 1);
  EXPECT_EQ(LiveNames(), (std::set<std::string>{"ab", "c"}));
  clock_.Advance(kHourMs);
  const TaskOutcome clustered = Run(Task::kManifests);
  EXPECT_FALSE(clustered.error.has_value());
  EXPECT_GE(clustered.freed.manifests, 1);
  const TaskOutcome expired = Run(Task::kExpire);
  EXPECT_FALSE(expired.error.has_value()) << expired.error->ToString();
  EXPECT_GE(expired.freed.snapshots, 5);
  EXPECT_FALSE(DataExists("a") || DataExists("b") || DataExists("old"));
  EXPECT_GE(expired.freed.bytes, 300);
  const TaskOutcome orphans = Run(Task::kOrphans);
  EXPECT_FALSE(orphans.error.has_value());
  EXPECT_GT(pauses_, 0);
  EXPECT_EQ(orphans.freed.ByName(), (std::map<std::string, int64_t>{{"files", 1}, {"bytes", 100}}));
  EXPECT_EQ(LiveNames(), (std::set<std::string>{"ab", "c"}));
  ExpectWhole();
}

TEST_F(RealTasksTest, WhatTheTableDoesNotSayIsNotExpired) {
  for (const char* name : {"a", "b", "c"}) Commit({File(name, Today())});
  clock_.Advance(30 * kDayMs);
  Commit({File("d", Today())});
  // Somebody else made it, and it has no word on its snapshots.
  EXPECT_TRUE(Run(Task::kExpire).freed.ByName().empty());
  // Firn made it: its age holds, and the newest stay all the same, as with commits.
  SetProperty("firn.created-by", "firn");
  EXPECT_TRUE(Run(Task::kExpire).freed.ByName().empty());
  SetProperty("history.expire.min-snapshots-to-keep", "2");
  EXPECT_EQ(Run(Task::kExpire).freed.snapshots, 2);
  EXPECT_EQ(Metadata().snapshots.size(), 2u);
}

TEST_F(RealTasksTest, FilesThatMayBeAnothersAreLeftAloneAndRefusedWhereTheyWereAskedFor) {
  SetProperty("history.expire.max-snapshot-age-ms", "1000");
  Commit({File("a", Today())});
  Commit({File("b", Today())});
  SetProperty("gc.enabled", "false");
  clock_.Advance(30 * kDayMs);
  const TaskOutcome expired = Run(Task::kExpire);
  EXPECT_FALSE(expired.error.has_value());
  EXPECT_TRUE(expired.freed.ByName().empty());
  const TaskOutcome orphans = Run(Task::kOrphans);
  ASSERT_TRUE(orphans.error.has_value());
  EXPECT_EQ(orphans.error->code(), ErrorCode::kUnsupported);
}

TEST_F(RealTasksTest, ATableThatIsNotMadeYetIsNoError) {
  const iceberg::TableIdentifier later{{"db"}, "later"};
  for (const Task task : kTasks) {
    EXPECT_FALSE(RunTask(Parts(), {}, task, later, [] { return true; }, {}).error.has_value()) << TaskName(task);
  }
}

// Two workers that both take a table for theirs.
TEST_F(RealTasksTest, TwoThatCollideDoNoHarm) {
  SetProperty("history.expire.max-snapshot-age-ms", "1000");
  SetProperty("history.expire.min-snapshots-to-keep", "1");
  Commit({File("a", Today())});
  Commit({File("b", Today())});
  Replace({"a", "b"}, File("ab", Today(), 150));
  File("crashed", Today());
  clock_.Advance(8 * kDayMs);
  Commit({File("c", Today())});
  clock_.Advance(2000);
  Commit({File("d", Today())});
  for (const Task task : {Task::kExpire, Task::kManifests, Task::kOrphans}) {
    bool inside = false;
    TaskOutcome other;
    catalog_.SetFaults([&](iceberg::CatalogCall call, const iceberg::TableIdentifier&) {
      // At the first one's commit the other does all of it.
      if (call == iceberg::CatalogCall::kCommit && !inside) {
        inside = true;
        other = Run(task);
      }
      return iceberg::CatalogFault::kNone;
    });
    const TaskOutcome first = Run(task);
    catalog_.SetFaults(nullptr);
    EXPECT_TRUE(inside) << TaskName(task);
    EXPECT_FALSE(first.error.has_value()) << first.error->ToString();
    EXPECT_FALSE(other.error.has_value()) << other.error->ToString();
    EXPECT_EQ(LiveNames(), (std::set<std::string>{"ab", "c", "d"}));
    ExpectWhole();
  }
  EXPECT_FALSE(DataExists("a") || DataExists("crashed"));
}

TEST_F(RealTasksTest, ClusteringLeavesATableThatOthersCommitToAfterASecondTry) {
  SetProperty("commit.manifest-merge.enabled", "false");
  Commit({File("a", Today())});
  Commit({File("b", Today())});
  int commits = 0;
  catalog_.SetFaults([&](iceberg::CatalogCall call, const iceberg::TableIdentifier&) {
    if (call != iceberg::CatalogCall::kCommit) return iceberg::CatalogFault::kNone;
    ++commits;
    return iceberg::CatalogFault::kConflict;
  });
  const TaskOutcome outcome = Run(Task::kManifests);
  catalog_.SetFaults(nullptr);
  ASSERT_TRUE(outcome.error.has_value());
  EXPECT_EQ(outcome.error->code(), ErrorCode::kConflict);
  EXPECT_EQ(commits, 2);
}

// Between the commit and the deletion a pause would only make it likelier that files are left.
TEST_F(RealTasksTest, ExpiryMakesNoPauseAndAStopAfterItsCommitIsTold) {
  SetProperty("history.expire.max-snapshot-age-ms", "1000");
  SetProperty("history.expire.min-snapshots-to-keep", "1");
  auto replace = [&](const std::string& a, const std::string& b) {
    Commit({File(a, Today())});
    Commit({File(b, Today())});
    Replace({a, b}, File(a + b, Today(), 150));
    clock_.Advance(2000);
  };
  replace("a", "b");
  TaskOutcome outcome = RunTask(Parts(), {}, Task::kExpire, kTable, [] { return false; }, {});
  EXPECT_FALSE(outcome.error.has_value()) << outcome.error->ToString();
  EXPECT_FALSE(DataExists("a") || DataExists("b"));
  replace("c", "d");
  std::stop_source stop;
  catalog_.SetFaults([&](iceberg::CatalogCall call, const iceberg::TableIdentifier&) {
    if (call == iceberg::CatalogCall::kCommit) stop.request_stop();
    return iceberg::CatalogFault::kNone;
  });
  outcome = RunTask(Parts(), {}, Task::kExpire, kTable, [] { return true; }, stop.get_token());
  catalog_.SetFaults(nullptr);
  EXPECT_GE(outcome.freed.snapshots, 3);
  EXPECT_TRUE(DataExists("c"));
  ASSERT_TRUE(outcome.error.has_value());
  EXPECT_EQ(outcome.error->code(), ErrorCode::kCancelled);
}

TEST_F(RealTasksTest, AStopWhileItReadsEndsTheTask) {
  Commit({File("a", Today())});
  File("crashed", Today());
  clock_.Advance(8 * kDayMs);
  const TaskOutcome outcome = RunTask(Parts(), {}, Task::kOrphans, kTable, [] { return false; }, {});
  ASSERT_TRUE(outcome.error.has_value());
  EXPECT_EQ(outcome.error->code(), ErrorCode::kCancelled);
  EXPECT_TRUE(DataExists("crashed"));
}

}  // namespace
}  // namespace firn::maintenance
