#include "firn/ingest/commit_pace.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "firn/env/testing/manual_clock.h"

namespace firn::ingest {
namespace {

constexpr int64_t kNowMs = 1'700'000'000'000;
constexpr int64_t kLongestMs = 3'600'000;

iceberg::Snapshot MakeSnapshot(const std::string& pipeline, const std::string& worker, int64_t at_ms) {
  iceberg::Snapshot snapshot;
  snapshot.timestamp_ms = at_ms;
  snapshot.summary = {{"firn.pipeline", pipeline}, {"firn.worker", worker}};
  return snapshot;
}

TEST(CommitPaceTest, NothingKnownLeavesTheIntervalAlone) {
  CommitPace pace;
  EXPECT_EQ(pace.Stretch(60'000, kLongestMs, kNowMs), 60'000);
  EXPECT_EQ(pace.Workers(kNowMs), 1);
}

TEST(CommitPaceTest, WorkersAreThoseWhoCommittedLately) {
  CommitPace pace;
  iceberg::TableMetadata metadata;
  metadata.snapshots = {MakeSnapshot("p", "a", kNowMs - 1000), MakeSnapshot("p", "a", kNowMs - 60'000),
                        MakeSnapshot("p", "b", kNowMs - 2000),
                        MakeSnapshot("p", "gone", kNowMs - CommitPace::kWorkerSeenMs - 1),
                        MakeSnapshot("q", "anothers", kNowMs)};
  iceberg::Snapshot foreign;
  foreign.timestamp_ms = kNowMs;
  metadata.snapshots.push_back(foreign);
  pace.Look(metadata, "p", kNowMs);
  EXPECT_EQ(pace.Workers(kNowMs), 2);
  // A catalog that lists one snapshot at a time: whoever was seen counts on for a while.
  metadata.snapshots = {MakeSnapshot("p", "c", kNowMs)};
  pace.Look(metadata, "p", kNowMs);
  EXPECT_EQ(pace.Workers(kNowMs), 3);
  EXPECT_EQ(pace.Workers(kNowMs + CommitPace::kWorkerSeenMs), 1);
}

TEST(CommitPaceTest, ManyWorkersWithSlowCommitsStepBack) {
  CommitPace pace;
  for (int i = 0; i < 40; ++i) pace.SawWorker(std::to_string(i), kNowMs);
  for (int i = 0; i < 94; ++i) pace.CommitTook(100);
  EXPECT_EQ(pace.Stretch(60'000, kLongestMs, kNowMs), 60'000) << "12 s of commits fit into a minute";
  for (int i = 0; i < 6; ++i) pace.CommitTook(2000);
  EXPECT_EQ(pace.P95Ms(), 2000);
  EXPECT_EQ(pace.Stretch(60'000, kLongestMs, kNowMs), 240'000);
  EXPECT_EQ(pace.Stretch(600'000, kLongestMs, kNowMs), 600'000);
  // A few slow ones are forgotten.
  for (int i = 0; i < 99; ++i) pace.CommitTook(100);
  EXPECT_EQ(pace.Stretch(5'000, kLongestMs, kNowMs), 12'000);
}

TEST(CommitPaceTest, WhoCommitsSeldomCountsAsLong) {
  CommitPace pace;
  iceberg::TableMetadata metadata;
  for (int i = 0; i < 1000; ++i) {  // each of them every 50 minutes
    metadata.snapshots.push_back(MakeSnapshot("p", std::to_string(i), kNowMs - i * 3'000));
  }
  pace.CommitTook(1'000);
  constexpr int64_t kLongest = 72 * 60'000;
  for (int i = 0; i < 10; ++i) {
    pace.Look(metadata, "p", kNowMs);
    pace.Stretch(60'000, kLongest, kNowMs);
  }
  EXPECT_EQ(pace.Workers(kNowMs), 1000);
  EXPECT_EQ(pace.Stretch(60'000, kLongest, kNowMs), 3'000'000) << "1,000 commits of a second, three times over";
}

TEST(CommitPaceTest, OneSlowCommitOfFewKeepsNobodyAway) {
  CommitPace pace;
  for (int i = 0; i < 30; ++i) pace.SawWorker(std::to_string(i), kNowMs);
  for (int i = 0; i < 3; ++i) pace.CommitTook(500);
  pace.CommitTook(8'000);
  EXPECT_EQ(pace.Stretch(60'000, kLongestMs, kNowMs), 60'000);
  for (int i = 0; i < 16; ++i) pace.CommitTook(500);
  EXPECT_EQ(pace.P95Ms(), 500);
  pace.CommitTook(8'000);
  EXPECT_EQ(pace.P95Ms(), 8'000);
}

TEST(CommitPaceTest, WhoLostComesAtAnotherTime) {
  env::SeededRandom random(3);
  int64_t lowest = 0, highest = 0;
  for (int i = 0; i < 1000; ++i) {
    const int64_t shift_ms = CommitPace::Shift(60'000, random);
    lowest = std::min(lowest, shift_ms);
    highest = std::max(highest, shift_ms);
  }
  EXPECT_GE(lowest, -15'000);
  EXPECT_LE(highest, 15'000);
  EXPECT_LT(lowest, -14'000);
  EXPECT_GT(highest, 14'000);
  EXPECT_EQ(CommitPace::Shift(3, random), 0);
}

TEST(CommitPaceTest, NeverBeyondTheLongest) {
  CommitPace pace;
  for (int i = 0; i < 1000; ++i) pace.SawWorker(std::to_string(i), kNowMs);
  pace.CommitTook(30'000);
  EXPECT_EQ(pace.Stretch(60'000, kLongestMs, kNowMs), kLongestMs);
  for (int i = 0; i < 2; ++i) pace.CommitTook(INT64_MAX);  // the median, too
  EXPECT_EQ(pace.Stretch(60'000, kLongestMs, kNowMs), kLongestMs);
  EXPECT_EQ(pace.Stretch(60'000, INT64_MAX, kNowMs), INT64_MAX);
}

}  // namespace
}  // namespace firn::ingest
