#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firn/base/log.h"
#include "firn/compaction/table_plan.h"
#include "firn/env/testing/manual_clock.h"
#include "firn/env/testing/memory_store.h"
#include "firn/iceberg/catalog/testing/memory_catalog.h"
#include "firn/iceberg/commit/append.h"
#include "firn/iceberg/commit/live_entries.h"
#include "firn/iceberg/commit/position_deletes.h"
#include "firn/iceberg/commit/rewrite_files.h"
#include "firn/iceberg/manifest/manifest_avro.h"
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

// Every partition is cold at once, and nothing counts as given up.
LagOptions Options() {
  LagOptions options;
  options.now_ms = kNowMs;
  options.cold_after_ms = 0;
  options.stalled_after_ms = 24 * kHourMs;
  options.partitions_max = 5;
  return options;
}

// A table as values: snapshots and one manifest, without bytes anywhere.
class State {
 public:
  State() {
    metadata_.schemas = {{}};
    metadata_.partition_specs = {{}};
    metadata_.sort_orders = {{}};
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
      facts_->files.push_back({partition, size, 10, snapshot.snapshot_id, last_, last_});
      bytes += size;
    }
    snapshot.summary["added-files-size"] = std::to_string(bytes);
    metadata_.snapshots.push_back(snapshot);
    metadata_.current_snapshot_id = snapshot.snapshot_id;
    return *this;
  }

  void Expire(int64_t id) {
    metadata_.snapshots.EraseIf([&](const auto& snapshot) { return snapshot.snapshot_id.value() == id; });
  }

  TableLag Lag(const LagOptions& options = Options()) const {
    ManifestState manifest;
    manifest.manifest.manifest_length = 77;
    manifest.facts = facts_;
    return ComputeLag(metadata_, {manifest}, options);
  }

  iceberg::TableMetadata metadata_;
  std::shared_ptr<ManifestFacts> facts_ = std::make_shared<ManifestFacts>();
  int64_t last_ = 0;
};

TEST(TableLag, SmallFilesThatCompactionWouldTakeAreUncompacted) {
  State state;
  state.Add(90, {100, 150, 750, 800}).Add(30, {200}, 1);
  TableLag lag = state.Lag();
  EXPECT_EQ(lag.data_files, 5);
  EXPECT_EQ(lag.data_bytes, 2000);
  EXPECT_EQ(lag.rows, 50);
  EXPECT_EQ(lag.partitions, 2);
  EXPECT_EQ(lag.manifests, 1);
  EXPECT_EQ(lag.manifest_bytes, 77);
  EXPECT_EQ(lag.uncompacted_files, 2);
  EXPECT_EQ(lag.uncompacted_bytes, 250);
  EXPECT_EQ(lag.uncompacted_partitions, 1);
  EXPECT_EQ(lag.left_alone, (std::map<std::string, int64_t>{{"alone", 1}}));
  EXPECT_EQ(lag.left_alone_bytes, 200);
  EXPECT_EQ(lag.oldest_ms, kNowMs - 90 * kMinuteMs);
  EXPECT_FALSE(lag.oldest_at_least);
  ASSERT_EQ(lag.worst.size(), 1u);
  EXPECT_EQ(lag.worst[0].partition, "day=1");
  EXPECT_EQ(lag.worst[0].files, 4);
  state.Add(10, {300}, 1).Add(5, {10}, 1);
  LagOptions one = Options();
  one.partitions_max = 1;
  lag = state.Lag(one);
  EXPECT_EQ(lag.uncompacted_partitions, 2);
  EXPECT_EQ(lag.uncompacted_files, 5);
  EXPECT_TRUE(lag.left_alone.empty());
  ASSERT_EQ(lag.worst.size(), 1u);
  EXPECT_EQ(lag.worst[0].partition, "day=2");
}

TEST(TableLag, TwoSmallFilesThatDoNotFitIntoOneAreNoLag) {
  State state;
  state.Add(10, {600, 700});
  EXPECT_EQ(state.Lag().uncompacted_files, 0);
  EXPECT_EQ(state.Lag().left_alone.at("alone"), 2);
  EXPECT_EQ(state.Lag().state, LagState::kClear);
}

TEST(TableLag, WhatTheLoopWouldNotTakeIsLeftAloneByReason) {
  LagOptions options = Options();
  options.cold_after_ms = 30 * kMinuteMs;
  options.memory_bytes = 500;
  State state;
  state.Add(10, {100, 100, 100, 100, 100, 100, 100, 600});
  TableLag lag = state.Lag(options);
  EXPECT_EQ(lag.uncompacted_files, 0);
  EXPECT_EQ(lag.left_alone, (std::map<std::string, int64_t>{{"exceeds_memory", 1}, {"waiting", 7}}));
  EXPECT_EQ(lag.left_alone_bytes, 1300);
  EXPECT_EQ(lag.state, LagState::kClear);
  state.Add(5, {100});
  lag = state.Lag(options);
  EXPECT_EQ(lag.uncompacted_files, 8);
  EXPECT_EQ(lag.left_alone, (std::map<std::string, int64_t>{{"exceeds_memory", 1}}));
  EXPECT_EQ(lag.waiting_ms, 5 * kMinuteMs);  // since the eighth file came
  // A large file of a cold partition waits for more; what others' deletes touch and what is no Parquet stays.
  State cold;
  cold.Add(90, {480, 20, 30, 40}, 1);
  cold.facts_->files[3].is_parquet = false;
  EXPECT_EQ(cold.Lag(options).uncompacted_files, 2);
  EXPECT_EQ(cold.Lag(options).left_alone, (std::map<std::string, int64_t>{{"not_parquet", 1}, {"waiting", 1}}));
  EXPECT_EQ(cold.Lag(options).waiting_ms, 60 * kMinuteMs);  // since it has been cold
  cold.metadata_.format_version = 3;
  EXPECT_EQ(cold.Lag(options).left_alone, (std::map<std::string, int64_t>{{"unsupported", 4}}));
  EXPECT_EQ(cold.Lag(options).state, LagState::kClear);
}

TEST(TableLag, CapacityOfTheMorningDoesNotHideThatNobodyCompacts) {
  State state;
  state.Add(600, {1});
  state.Add(540, {}, 0, "replace", {{"removed-files-size", "1000000"}, {"firn.compaction-ms", "10"}});
  state.Add(120, {100, 100}).Add(50, {100, 100});
  LagOptions options = Options();
  options.cold_after_ms = 15 * kMinuteMs;
  options.stalled_after_ms = 30 * kMinuteMs;
  TableLag lag = state.Lag(options);
  EXPECT_GT(*lag.capacity_ratio, 1000);
  EXPECT_EQ(lag.waiting_ms, 35 * kMinuteMs);
  EXPECT_TRUE(lag.stalled);
  EXPECT_EQ(lag.state, LagState::kNotCompacted);
  EXPECT_FALSE(lag.forecast_s.has_value());
  // Neither does a loop that says what it could do.
  SetCapacity(lag, 1e9, kHourMs);
  EXPECT_EQ(lag.state, LagState::kNotCompacted);
  // One that is at work elsewhere in the table has not given up.
  state.Add(20, {}, 1, "replace", {{"removed-files-size", "500"}, {"firn.compaction-ms", "10"}});
  lag = state.Lag(options);
  EXPECT_EQ(lag.waiting_ms, 20 * kMinuteMs);
  EXPECT_EQ(lag.state, LagState::kKeepsUp);
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
  state.Add(120, {100}).Add(50, {300}).Add(20, {300});
  TableLag lag = state.Lag();
  EXPECT_EQ(lag.window_s, 3600);
  EXPECT_DOUBLE_EQ(*lag.arrival_bytes_per_s, 600.0 / 3600);
  EXPECT_DOUBLE_EQ(*lag.compacted_bytes_per_s, 0);
  EXPECT_DOUBLE_EQ(*lag.write_amplification, 1);
  EXPECT_FALSE(lag.capacity_bytes_per_s.has_value());
  EXPECT_EQ(lag.state, LagState::kNotCompacted);
  EXPECT_EQ(lag.last_commit_ms, kNowMs - 20 * kMinuteMs);
  // A shorter history shortens the window, and its oldest snapshot is where it begins.
  LagOptions wide = Options();
  wide.window_ms = 10 * kHourMs;
  lag = state.Lag(wide);
  EXPECT_EQ(lag.window_s, 7200);
  EXPECT_DOUBLE_EQ(*lag.arrival_bytes_per_s, 600.0 / 7200);
  State young;
  young.Add(0, {100, 100, 100, 100, 100, 100, 100, 100});
  EXPECT_FALSE(young.Lag().arrival_bytes_per_s.has_value());
  EXPECT_EQ(young.Lag().state, LagState::kUnknown);
}

TEST(TableLag, CompactionsAreNoArrival) {
  State state;
  state.Add(70, {100})
      .Add(50, {300, 300})
      .Add(40, {550}, 1, "replace", {{"removed-files-size", "600"}, {"firn.compaction-ms", "2000"}});
  TableLag lag = state.Lag();
  EXPECT_DOUBLE_EQ(*lag.arrival_bytes_per_s, 600.0 / 3600);
  EXPECT_DOUBLE_EQ(*lag.compacted_bytes_per_s, 600.0 / 3600);
  EXPECT_DOUBLE_EQ(*lag.capacity_bytes_per_s, 300);
  EXPECT_DOUBLE_EQ(*lag.capacity_ratio, 1800);
  EXPECT_DOUBLE_EQ(*lag.write_amplification, 1150.0 / 600);
  EXPECT_EQ(lag.last_compaction_ms, kNowMs - 40 * kMinuteMs);
  EXPECT_DOUBLE_EQ(lag.worst[0].arrival_bytes_per_s, 600.0 / 3600);
  // A quarter of a core takes four times as long.
  LagOptions quarter = Options();
  quarter.cpu_share = 0.25;
  EXPECT_DOUBLE_EQ(*state.Lag(quarter).capacity_bytes_per_s, 75);
  EXPECT_DOUBLE_EQ(*state.Lag(quarter).capacity_ratio, 450);
}

TEST(TableLag, TheForecastSaysWhenItIsDoneOrWhenItIsTooLate) {
  auto with = [](int64_t compacted, int64_t arrived, std::vector<int64_t> lag) {
    State state;
    state.metadata_.properties["write.target-file-size-bytes"] = "1000000";
    state.Add(60, {});
    state.Add(30, std::move(lag), 0, "replace",
              {{"removed-files-size", std::to_string(compacted)}, {"firn.compaction-ms", "3600000"}});
    state.Add(10, {});
    state.metadata_.snapshots.Replace(state.metadata_.snapshots.size() - 1, [&](auto& last) {
      last.summary["added-files-size"] = std::to_string(arrived);
    });
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
      .Add(50, {400, 400, 200})
      .Add(40, {10}, 1, "replace", {{"removed-files-size", "600"}, {"firn.compaction-ms", "2000"}});
  TableLag lag = state.Lag();
  SetCapacity(lag, 400.0 / 3600, 3'600'000);
  EXPECT_DOUBLE_EQ(*lag.capacity_ratio, 0.4);
  EXPECT_EQ(lag.state, LagState::kBehind);  // 1000 bytes are more than an hour's 400
  EXPECT_FALSE(lag.forecast_s.has_value());
  SetCapacity(lag, std::nullopt, 3'600'000);
  EXPECT_FALSE(lag.capacity_ratio.has_value());
  EXPECT_EQ(lag.state, LagState::kBehind);  // by what was compacted: 600 an hour
}

TEST(TableLag, AnEmptyTableIsClear) {
  iceberg::TableMetadata metadata;
  metadata.schemas = {{}};
  metadata.partition_specs = {{}};
  metadata.sort_orders = {{}};
  const TableLag lag = ComputeLag(metadata, {}, {.now_ms = kNowMs});
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

  static LagOptions Cold() {
    LagOptions options = Options();
    options.stalled_after_ms = 30 * kMinuteMs;
    return options;
  }

  // Of one data file, as another engine writes it.
  void CommitPositionDelete(const std::string& data_file, const std::string& region) {
    const iceberg::TableMetadata base = catalog_.LoadTable(kTable)->metadata;
    const int64_t sequence = base.last_sequence_number + 1;
    iceberg::ManifestEntry entry;
    entry.snapshot_id = SnapshotId{77};
    entry.data_file.content = iceberg::FileContent::kPositionDeletes;
    entry.data_file.file_path = "file:///lake/events/data/deletes.parquet";
    entry.data_file.record_count = 1;
    entry.data_file.file_size_in_bytes = 10;
    entry.data_file.partition = {schema::Value(region)};
    entry.data_file.lower_bounds[iceberg::kDeleteFilePathFieldId] = data_file;
    entry.data_file.upper_bounds[iceberg::kDeleteFilePathFieldId] = data_file;
    const iceberg::ManifestHeader header{base.CurrentSchema(), base.DefaultSpec(), iceberg::ManifestContent::kDeletes};
    const std::string bytes = iceberg::WriteManifest(header, {entry}).value();
    const std::string path = "file:///lake/events/metadata/deletes-m0.avro";
    ASSERT_TRUE(store_.Put(path, bytes).has_value());
    auto manifests = iceberg::ReadSnapshotManifests(*base.CurrentSnapshot(), store_).value();
    manifests.push_back(
        iceberg::SummarizeManifest(header, {entry}, path, static_cast<int64_t>(bytes.size()), sequence, SnapshotId{77})
            .value());
    iceberg::Snapshot snapshot;
    snapshot.snapshot_id = SnapshotId{77};
    snapshot.parent_snapshot_id = base.current_snapshot_id;
    snapshot.sequence_number = sequence;
    snapshot.timestamp_ms = clock_.WallMs();
    snapshot.manifest_list = "file:///lake/events/metadata/snap-77.avro";
    snapshot.summary = {{"operation", "delete"}};
    const iceberg::ManifestListHeader list{
        .snapshot_id = SnapshotId{77}, .parent_snapshot_id = base.current_snapshot_id, .sequence_number = sequence};
    ASSERT_TRUE(store_.Put(snapshot.manifest_list, iceberg::WriteManifestList(list, manifests).value()).has_value());
    iceberg::SnapshotRef main{.snapshot_id = SnapshotId{77}};
    ASSERT_TRUE(
        catalog_.CommitAsSomebodyElse(kTable, {iceberg::AddSnapshot{snapshot}, iceberg::SetSnapshotRef{"main", main}})
            .has_value());
  }

  // The same figures as those of a plan of compaction.
  void ExpectAsPlanned(LagReader& reader, const LagOptions& options) {
    auto lag = reader.Read(kTable, options);
    ASSERT_TRUE(lag.has_value()) << lag.error().ToString();
    compaction::PlanOptions plan_options;
    plan_options.pace = compaction::PickPace{options.files_min, clock_.WallMs() - options.cold_after_ms};
    plan_options.memory_bytes = options.memory_bytes;
    auto plan = compaction::PlanTable(*catalog_.LoadTable(kTable), store_, plan_options);
    ASSERT_TRUE(plan.has_value()) << plan.error().ToString();
    int64_t files = 0, bytes = 0;
    for (const compaction::PickedGroup& group : plan->picked.groups) {
      files += std::ssize(group.files);
      bytes += group.bytes;
    }
    EXPECT_EQ(lag->uncompacted_files, files);
    EXPECT_EQ(lag->uncompacted_bytes, bytes);
    EXPECT_EQ(lag->left_alone, plan->picked.left_alone);
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
      file.lower_bounds[1] = std::to_string(files_ * 7 % 5);
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
  auto lag = reader.Read(kTable, Cold());
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

TEST_F(LagReaderTest, ItsFiguresAreThoseOfAPlan) {
  ASSERT_TRUE(
      catalog_.CommitAsSomebodyElse(kTable, {iceberg::SetProperties{{{"write.target-file-size-bytes", "1000"}}}})
          .has_value());
  LagReader reader(catalog_, store_, clock_);
  LagOptions options = Cold();
  options.cold_after_ms = 10 * kMinuteMs;
  options.memory_bytes = 400;
  for (const int64_t bytes : {10, 60, 300, 130, 90, 420, 250}) {
    Commit("eu", 2, bytes);
    if (bytes > 100) Commit("us", 3, bytes - 70);
    if (bytes == 130) clock_.Advance(12 * kMinuteMs);
    clock_.Advance(kMinuteMs);
    ExpectAsPlanned(reader, options);
  }
  clock_.Advance(15 * kMinuteMs);
  ExpectAsPlanned(reader, options);
  EXPECT_TRUE(reader.Read(kTable, options)->left_alone.contains("exceeds_memory"));
  // Manifests that were read when nobody asked for locations are read again.
  CommitPositionDelete("file:///lake/events/data/3.parquet", "eu");
  clock_.Advance(15 * kMinuteMs);
  ExpectAsPlanned(reader, options);
  // And when an order is set.
  iceberg::TableMetadata ordered = catalog_.LoadTable(kTable)->metadata;
  schema::SortField by_region;
  by_region.source_id = FieldId{1};
  ordered.sort_orders.push_back({7, {by_region}});
  ordered.default_sort_order_id = 7;
  catalog_.Register(kTable, ordered);
  EXPECT_EQ(SortFieldOf(ordered), 1);
  ExpectAsPlanned(reader, options);
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
  options.lag = Cold();
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
  clock_.Advance(1);
  TableLagWatchOptions options{.pipeline = "p", .interval_ms = kMinuteMs};
  options.lag = Cold();
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

TEST_F(LagReaderTest, FiguresOfTablesThatAreNotReadAreMarkedAndThoseOfVanishedOnesGo) {
  metrics::Registry registry;
  Commit("a", 2, 100);
  const iceberg::TableIdentifier other{{"db"}, "other"};
  iceberg::CreateTableRequest request;
  request.location = "file:///lake/other";
  request.schema.fields = {{FieldId{1}, "region", schema::Type::Primitive(schema::TypeKind::kString)}};
  ASSERT_TRUE(catalog_.CreateTable(other, request).has_value());
  clock_.Advance(1);
  TableLagWatchOptions options{.pipeline = "p", .interval_ms = kMinuteMs};
  options.lag = Cold();
  std::atomic<int> rounds = 0;
  TableLagWatch watch(catalog_, store_, clock_, registry, options,
                      [&]() -> Result<std::vector<iceberg::TableIdentifier>> {
                        const int round = ++rounds;
                        if (round == 2) return Fail(ErrorCode::kUnavailable, "the home cannot be loaded");
                        if (round >= 4) return std::vector{other};
                        return std::vector{kTable, other};
                      });
  auto next = [&] {
    const int before = rounds;
    clock_.AwaitSleepers(1);
    clock_.Advance(kMinuteMs);
    while (rounds == before) std::this_thread::yield();
    clock_.AwaitSleepers(1);
    return registry.ExposeText();
  };
  clock_.AwaitSleepers(1);
  EXPECT_THAT(registry.ExposeText(), HasSubstr("firn_table_lag_up{pipeline=\"p\",table=\"db.events\"} 1"));
  // Which tables there are is not known.
  std::string text = next();
  EXPECT_THAT(text, HasSubstr("firn_table_lag_up{pipeline=\"p\",table=\"db.events\"} 0"));
  EXPECT_THAT(text, HasSubstr("firn_table_lag_up{pipeline=\"p\",table=\"db.other\"} 0"));
  EXPECT_EQ(watch.tables()[0].error->code(), ErrorCode::kUnavailable);
  ASSERT_TRUE(catalog_.DropTable(other).has_value());
  text = next();
  EXPECT_THAT(text, HasSubstr("firn_table_lag_up{pipeline=\"p\",table=\"db.events\"} 1"));
  EXPECT_THAT(text, HasSubstr("firn_partition_compaction_lag_files{partition=\"region=a\""));
  EXPECT_THAT(text, Not(HasSubstr("db.other")));
  EXPECT_EQ(watch.tables().size(), 1u);
  EXPECT_THAT(next(), Not(HasSubstr("table=\"")));
  EXPECT_TRUE(watch.tables().empty());
}

}  // namespace
}  // namespace firn::lag
