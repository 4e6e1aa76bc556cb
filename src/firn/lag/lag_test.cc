#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firn/base/log.h"
#include "firn/env/testing/manual_clock.h"
#include "firn/env/testing/memory_store.h"
#include "firn/iceberg/catalog/testing/memory_catalog.h"
#include "firn/iceberg/commit/append.h"
#include "firn/iceberg/commit/rewrite_files.h"
#include "firn/lag/lag_metrics.h"
#include "firn/lag/lag_reader.h"

namespace firn::lag {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kMinuteMs = 60'000;
constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kNowMs = 1'700'000'000'000;
constexpr int64_t kTarget = 1000;  // small: below 750

// A table as values: snapshots and one manifest, without bytes anywhere.
class State {
 public:
  State() {
    metadata_.properties["write.target-file-size-bytes"] = std::to_string(kTarget);
    facts_->partitions = {"day=1", "day=2"};
  }

  // A commit `minutes_ago` that adds files of the sizes.
  State& Add(int64_t minutes_ago, const std::vector<int64_t>& sizes, uint32_t partition = 0,
             const std::string& operation = "append", std::map<std::string, std::string> summary = {}) {
    iceberg::Snapshot snapshot;
    snapshot.snapshot_id = SnapshotId{++last_};
    if (last_ > 1) snapshot.parent_snapshot_id = SnapshotId{last_ - 1};
    snapshot.sequence_number = last_;
    snapshot.timestamp_ms = kNowMs - minutes_ago * kMinuteMs;
    snapshot.summary = std::move(summary);
    snapshot.summary["operation"] = operation;
    int64_t bytes = 0;
    for (const int64_t size : sizes) {
      facts_->files.push_back({partition, size, 10, snapshot.snapshot_id, last_});
      bytes += size;
    }
    snapshot.summary["added-files-size"] = std::to_string(bytes);
    metadata_.snapshots.push_back(snapshot);
    metadata_.current_snapshot_id = snapshot.snapshot_id;
    return *this;
  }

  void Expire(int64_t id) {
    std::erase_if(metadata_.snapshots, [&](const auto& snapshot) { return snapshot.snapshot_id.value() == id; });
  }

  TableLag Lag(LagOptions options = {}) const {
    ManifestState manifest;
    manifest.manifest.manifest_length = 77;
    manifest.facts = facts_;
    options.now_ms = kNowMs;
    return ComputeLag(metadata_, {manifest}, options);
  }

  iceberg::TableMetadata metadata_;
  std::shared_ptr<ManifestFacts> facts_ = std::make_shared<ManifestFacts>();
  int64_t last_ = 0;
};

TEST(TableLag, SmallFilesThatFitTogetherAreUncompacted) {
  State state;
  state.Add(90, {100, 749, 750, 800}).Add(30, {200}, 1);
  TableLag lag = state.Lag({.partitions_max = 5});
  EXPECT_EQ(lag.data_files, 5);
  EXPECT_EQ(lag.data_bytes, 2599);
  EXPECT_EQ(lag.rows, 50);
  EXPECT_EQ(lag.partitions, 2);
  EXPECT_EQ(lag.manifests, 1);
  EXPECT_EQ(lag.manifest_bytes, 77);
  // 100 and 749 make one file; the only small file of the other partition stays as it is.
  EXPECT_EQ(lag.uncompacted_files, 2);
  EXPECT_EQ(lag.uncompacted_bytes, 849);
  EXPECT_EQ(lag.uncompacted_partitions, 1);
  EXPECT_EQ(lag.oldest_ms, kNowMs - 90 * kMinuteMs);
  EXPECT_FALSE(lag.oldest_at_least);
  ASSERT_EQ(lag.worst.size(), 1u);
  EXPECT_EQ(lag.worst[0].partition, "day=1");
  EXPECT_EQ(lag.worst[0].files, 4);
  state.Add(10, {300}, 1).Add(5, {10}, 1);
  lag = state.Lag({.partitions_max = 1});
  EXPECT_EQ(lag.uncompacted_partitions, 2);
  EXPECT_EQ(lag.uncompacted_files, 5);
  ASSERT_EQ(lag.worst.size(), 1u);
  EXPECT_EQ(lag.worst[0].partition, "day=2");
}

TEST(TableLag, TwoSmallFilesThatDoNotFitIntoOneAreNoLag) {
  State state;
  state.Add(10, {600, 700});
  EXPECT_EQ(state.Lag().uncompacted_files, 0);
  EXPECT_EQ(state.Lag().state, LagState::kClear);
  state.Add(5, {400});
  EXPECT_EQ(state.Lag().uncompacted_files, 3);
}

TEST(TableLag, TheAgeOfAFileWhoseSnapshotIsExpiredIsALowerBound) {
  State state;
  state.Add(120, {10}).Add(60, {10}).Add(30, {10});
  state.Expire(1);
  TableLag lag = state.Lag();
  EXPECT_EQ(lag.oldest_ms, kNowMs - 60 * kMinuteMs);
  EXPECT_TRUE(lag.oldest_at_least);
}

TEST(TableLag, RatesAreOverTheWindow) {
  State state;
  state.Add(120, {100}).Add(50, {100}).Add(20, {500});
  TableLag lag = state.Lag();
  EXPECT_EQ(lag.window_s, 3600);
  EXPECT_DOUBLE_EQ(*lag.arrival_bytes_per_s, 600.0 / 3600);
  EXPECT_DOUBLE_EQ(*lag.compacted_bytes_per_s, 0);
  EXPECT_DOUBLE_EQ(*lag.write_amplification, 1);
  EXPECT_FALSE(lag.capacity_bytes_per_s.has_value());
  EXPECT_EQ(lag.state, LagState::kNotCompacted);
  EXPECT_EQ(lag.last_commit_ms, kNowMs - 20 * kMinuteMs);
  // A shorter history shortens the window, and its oldest snapshot is where it begins.
  lag = state.Lag({.window_ms = 10 * kHourMs});
  EXPECT_EQ(lag.window_s, 7200);
  EXPECT_DOUBLE_EQ(*lag.arrival_bytes_per_s, 600.0 / 7200);
  State young;
  young.Add(0, {100, 100});
  EXPECT_FALSE(young.Lag().arrival_bytes_per_s.has_value());
  EXPECT_EQ(young.Lag().state, LagState::kUnknown);
}

TEST(TableLag, CompactionsAreNoArrival) {
  State state;
  state.Add(70, {1})
      .Add(50, {300, 300})
      .Add(40, {550}, 1, "replace", {{"removed-files-size", "600"}, {"firn.compaction-ms", "2000"}});
  TableLag lag = state.Lag({.partitions_max = 5});
  EXPECT_DOUBLE_EQ(*lag.arrival_bytes_per_s, 600.0 / 3600);
  EXPECT_DOUBLE_EQ(*lag.compacted_bytes_per_s, 600.0 / 3600);
  EXPECT_DOUBLE_EQ(*lag.capacity_bytes_per_s, 300);
  EXPECT_DOUBLE_EQ(*lag.capacity_ratio, 1800);
  EXPECT_DOUBLE_EQ(*lag.write_amplification, 1150.0 / 600);
  EXPECT_EQ(lag.last_compaction_ms, kNowMs - 40 * kMinuteMs);
  EXPECT_DOUBLE_EQ(lag.worst[0].arrival_bytes_per_s, 600.0 / 3600);
}

TEST(TableLag, TheForecastSaysWhenItIsDoneOrWhenItIsTooLate) {
  auto with = [](int64_t compacted, int64_t arrived, std::vector<int64_t> lag) {
    State state;
    state.metadata_.properties["write.target-file-size-bytes"] = "1000000";
    state.Add(60, {});
    state.Add(30, std::move(lag), 0, "replace",
              {{"removed-files-size", std::to_string(compacted)}, {"firn.compaction-ms", "3600000"}});
    state.Add(10, {});
    state.metadata_.snapshots.back().summary["added-files-size"] = std::to_string(arrived);
    return state.Lag();
  };
  // Capacity 7200 B in an hour: 2 B/s.
  TableLag lag = with(7200, 3600, {50, 50});
  EXPECT_EQ(lag.state, LagState::kKeepsUp);
  EXPECT_DOUBLE_EQ(*lag.forecast_s, 100);
  lag = with(7200, 3600, {5000, 5000});
  EXPECT_EQ(lag.state, LagState::kBehind);
  EXPECT_DOUBLE_EQ(*lag.forecast_s, 10'000);
  lag = with(7200, 10'800, {1100, 1100});
  EXPECT_EQ(lag.state, LagState::kFallsBehind);
  EXPECT_DOUBLE_EQ(*lag.forecast_s, 5000);  // 5,000 B are left to 7,200, and it grows by 1 B/s
  lag = with(7200, 10'800, {5000, 5000});
  EXPECT_EQ(lag.state, LagState::kBehind);
  EXPECT_FALSE(lag.forecast_s.has_value());
  EXPECT_EQ(with(7200, 10'800, {}).state, LagState::kClear);
}

TEST(TableLag, CapacityThatIsKnownFromElsewhereCounts) {
  State state;
  state.Add(70, {1})
      .Add(50, {400, 400})
      .Add(40, {10}, 1, "replace", {{"removed-files-size", "600"}, {"firn.compaction-ms", "2000"}});
  TableLag lag = state.Lag();
  SetCapacity(lag, 400.0 / 3600, 3'600'000);
  EXPECT_DOUBLE_EQ(*lag.capacity_ratio, 0.5);
  EXPECT_EQ(lag.state, LagState::kBehind);  // 801 bytes are more than an hour's 400
  EXPECT_FALSE(lag.forecast_s.has_value());
  SetCapacity(lag, std::nullopt, 3'600'000);
  EXPECT_FALSE(lag.capacity_ratio.has_value());
  EXPECT_EQ(lag.state, LagState::kBehind);  // by what was compacted: 600 an hour
}

TEST(TableLag, AnEmptyTableIsClear) {
  const TableLag lag = ComputeLag({}, {}, {.now_ms = kNowMs});
  EXPECT_EQ(lag.state, LagState::kClear);
  EXPECT_FALSE(lag.arrival_bytes_per_s.has_value());
}

const iceberg::TableIdentifier kTable{{"db"}, "events"};

class LagReaderTest : public ::testing::Test {
 protected:
  LagReaderTest() {
    iceberg::CreateTableRequest request;
    request.location = "file:///lake/events";
    request.schema.fields = {{FieldId{1}, "region", schema::Type::Primitive(schema::TypeKind::kString)}};
    schema::PartitionField region;
    region.source_id = FieldId{1};
    region.field_id = FieldId{1000};
    region.name = "region";
    request.spec.fields = {region};
    EXPECT_TRUE(catalog_.EnsureNamespace({"db"}).has_value());
    EXPECT_TRUE(catalog_.CreateTable(kTable, request).has_value());
  }

  void Commit(const std::string& region, int count, int64_t bytes) {
    iceberg::AppendRequest request;
    std::vector<iceberg::NewDataFile> files;
    for (int i = 0; i < count; ++i) {
      iceberg::DataFile file;
      file.file_path = fmt::format("file:///lake/events/data/{}.parquet", ++files_);
      file.record_count = 1;
      file.file_size_in_bytes = bytes;
      file.partition = {schema::Value(region)};
      files.push_back({0, file});
    }
    request.files = files;
    iceberg::ManifestListCache cache;
    auto prepared =
        iceberg::PrepareAppend(catalog_.LoadTable(kTable)->metadata, request, store_, clock_, random_, cache);
    ASSERT_TRUE(prepared.has_value());
    ASSERT_TRUE(catalog_.CommitAsSomebodyElse(kTable, prepared->updates).has_value());
  }

  env::ManualClock clock_{kNowMs, env::ManualClock::SleepMode::kWait};
  env::SeededRandom random_{3};
  env::MemoryStore store_{clock_};
  iceberg::MemoryCatalog catalog_{clock_};
  int files_ = 0;
};

TEST_F(LagReaderTest, ReadsTheManifestsAndOpensNoDataFile) {
  LagReader reader(catalog_, store_, clock_);
  EXPECT_EQ(reader.Read(kTable, {})->data_files, 0);
  Commit("eu", 3, 100);
  clock_.Advance(kMinuteMs);
  Commit("us", 2, 50);
  clock_.Advance(kMinuteMs);
  auto lag = reader.Read(kTable, {.partitions_max = 5});
  ASSERT_TRUE(lag.has_value()) << lag.error().ToString();
  EXPECT_EQ(lag->data_files, 5);
  EXPECT_EQ(lag->uncompacted_files, 5);
  EXPECT_EQ(lag->uncompacted_bytes, 400);
  EXPECT_EQ(lag->manifests, 2);
  EXPECT_EQ(lag->oldest_ms, kNowMs);
  ASSERT_EQ(lag->worst.size(), 2u);
  EXPECT_EQ(lag->worst[0].partition, "region=eu");
  // Manifests that it has seen it does not need again.
  const std::vector<env::ObjectInfo> objects = store_.List("file:///lake/events/metadata").value();
  for (const env::ObjectInfo& info : objects) {
    if (info.location.find("snap-") == std::string::npos) store_.Delete(info.location).value();
  }
  EXPECT_EQ(reader.Read(kTable, {})->data_files, 5);
  EXPECT_EQ(LagReader(catalog_, store_, clock_).Read(kTable, {}).error().code(), ErrorCode::kCorruption);
  EXPECT_EQ(reader.Read({{"db"}, "nothing"}, {}).error().code(), ErrorCode::kNotFound);
}

TEST_F(LagReaderTest, CapacityIsSharedOutByWhatArrives) {
  iceberg::CreateTableRequest request;
  request.location = "file:///lake/quiet";
  request.schema.fields = {{FieldId{1}, "region", schema::Type::Primitive(schema::TypeKind::kString)}};
  ASSERT_TRUE(catalog_.CreateTable({{"db"}, "quiet"}, request).has_value());
  Commit("eu", 1, 100);
  clock_.Advance(kMinuteMs);
  Commit("eu", 2, 300);
  metrics::Registry registry;
  TableLagWatchOptions options{.pipeline = "p", .interval_ms = kMinuteMs};
  options.capacity_bytes_per_s = [] { return 40.0; };
  clock_.Advance(kMinuteMs);
  TableLagWatch watch(catalog_, store_, clock_, registry, options,
                      []() -> Result<std::vector<iceberg::TableIdentifier>> {
                        return std::vector{kTable, iceberg::TableIdentifier{{"db"}, "quiet"}};
                      });
  clock_.AwaitSleepers(1);
  ASSERT_EQ(watch.tables().size(), 2u);
  const TableLag lag = watch.tables()[0].lag;
  EXPECT_DOUBLE_EQ(*lag.arrival_bytes_per_s, 600.0 / 120);
  EXPECT_DOUBLE_EQ(*lag.capacity_bytes_per_s, 40);
  EXPECT_DOUBLE_EQ(*lag.capacity_ratio, 8);
  EXPECT_EQ(lag.state, LagState::kKeepsUp);
  EXPECT_DOUBLE_EQ(*lag.forecast_s, 700.0 / 35);
  EXPECT_DOUBLE_EQ(*watch.tables()[1].lag.capacity_bytes_per_s, 35);
}

TEST_F(LagReaderTest, MetadataThatHaveGrownLargeAreWarnedOfOnceACrossing) {
  std::mutex mutex;
  std::vector<std::string> warnings;
  RedirectLog([&](LogLevel level, std::string_view line) {
    std::lock_guard lock(mutex);
    if (level == LogLevel::kWarning) warnings.emplace_back(line);
  });
  auto set_size = [&](int64_t bytes) {
    const std::string location = catalog_.LoadTable(kTable)->metadata_location;
    ASSERT_TRUE(store_.Delete(location).has_value());
    ASSERT_TRUE(store_.Put(location, std::string(static_cast<size_t>(bytes), ' ')).has_value());
  };
  set_size(kMetadataBytesWarn);
  metrics::Registry registry;
  {
    TableLagWatch watch(catalog_, store_, clock_, registry, {.pipeline = "p", .interval_ms = kMinuteMs},
                        []() -> Result<std::vector<iceberg::TableIdentifier>> { return std::vector{kTable}; });
    clock_.AwaitSleepers(1);
    auto warned_after = [&](int64_t bytes) {
      set_size(bytes);
      clock_.Advance(kMinuteMs);
      while (watch.tables()[0].read_ms != clock_.WallMs()) std::this_thread::yield();
      clock_.AwaitSleepers(1);
      std::lock_guard lock(mutex);
      return warnings.size();
    };
    EXPECT_EQ(warned_after(kMetadataBytesWarn), 0u);
    EXPECT_EQ(warned_after(kMetadataBytesWarn + 1), 1u);
    EXPECT_THAT(registry.ExposeText(),
                HasSubstr("firn_table_metadata_bytes{pipeline=\"p\",table=\"db.events\"} 524289"));
    EXPECT_EQ(warned_after(2 * kMetadataBytesWarn), 1u);
    EXPECT_EQ(warned_after(kMetadataBytesWarn - 1), 1u);
    EXPECT_EQ(warned_after(kMetadataBytesWarn + 1), 1u) << "to and fro about the limit says nothing new";
    EXPECT_EQ(warned_after(kMetadataBytesWarn / 2), 1u);
    EXPECT_EQ(warned_after(kMetadataBytesWarn + 1), 2u);
  }
  RedirectLog({});
  ASSERT_EQ(warnings.size(), 2u);
  for (const char* named : {"db.events", "524289", "firn maintain --expire --apply"}) {
    EXPECT_THAT(warnings[1], HasSubstr(named));
  }
}

TEST_F(LagReaderTest, TheWatchKeepsTheMetricsFreshAndFewPartitionsNamed) {
  metrics::Registry registry;
  for (const char* region : {"a", "b", "c"}) Commit(region, 2, 100);
  Commit("a", 1, 100);
  TableLagWatchOptions options{.pipeline = "p", .interval_ms = kMinuteMs};
  options.lag.partitions_max = 2;
  std::atomic<bool> broken = false;
  TableLagWatch watch(catalog_, store_, clock_, registry, options,
                      [&]() -> Result<std::vector<iceberg::TableIdentifier>> {
                        if (broken) {
                          catalog_.SetFaults([](auto, const auto&) { return iceberg::CatalogFault::kUnavailable; });
                        }
                        return std::vector{kTable, iceberg::TableIdentifier{{"db"}, "later"}};
                      });
  clock_.AwaitSleepers(1);
  std::string text = registry.ExposeText();
  EXPECT_THAT(text, HasSubstr("firn_table_data_files{pipeline=\"p\",table=\"db.events\"} 7"));
  EXPECT_THAT(text, HasSubstr("firn_compaction_lag_files{pipeline=\"p\",table=\"db.events\"} 7"));
  EXPECT_THAT(text, HasSubstr("firn_partition_compaction_lag_files{partition=\"region=a\",pipeline=\"p\","
                              "table=\"db.events\"} 3"));
  EXPECT_THAT(text, HasSubstr("partition=\"region=b\""));
  EXPECT_THAT(text, Not(HasSubstr("partition=\"region=c\"")));
  EXPECT_THAT(text, Not(HasSubstr("db.later")));
  Commit("c", 5, 100);
  clock_.Advance(kMinuteMs);
  while (watch.tables()[0].read_ms != clock_.WallMs()) std::this_thread::yield();
  text = registry.ExposeText();
  EXPECT_THAT(text, HasSubstr("partition=\"region=c\""));
  EXPECT_THAT(text, Not(HasSubstr("partition=\"region=b\"")));
  EXPECT_THAT(text, HasSubstr("firn_table_lag_up{pipeline=\"p\",table=\"db.events\"} 1"));
  broken = true;
  clock_.AwaitSleepers(1);
  clock_.Advance(kMinuteMs);
  // The table that was not there before cannot be read either now.
  while (watch.tables().size() < 2) std::this_thread::yield();
  text = registry.ExposeText();
  EXPECT_THAT(text, HasSubstr("firn_table_lag_up{pipeline=\"p\",table=\"db.events\"} 0"));
  EXPECT_THAT(text, HasSubstr("firn_compaction_lag_files{pipeline=\"p\",table=\"db.events\"} 12"));
  ASSERT_TRUE(watch.tables()[0].error.has_value());
  EXPECT_EQ(watch.tables()[0].error->code(), ErrorCode::kUnavailable);
  EXPECT_EQ(watch.tables()[0].lag.data_files, 12);
}

}  // namespace
}  // namespace firn::lag
