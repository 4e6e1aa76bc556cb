#include "firn/compaction/table_compaction.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "firn/compaction/table_fixture_for_test.h"

namespace firn::compaction {
namespace {

using schema::Type;
using schema::TypeKind;

using CompactionTest = CompactionFixture;

TEST_F(CompactionTest, SmallFilesBecomeOneAPartition) {
  for (int64_t i = 0; i < 5; ++i) Append("eu", i * 10, 10);
  for (int64_t i = 5; i < 8; ++i) Append("us", i * 10, 10);
  auto report = Compact();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->files_seen, 8);
  EXPECT_EQ(report->groups_done, 2);
  EXPECT_EQ(report->files_before, 8);
  EXPECT_EQ(report->files_after, 2);
  EXPECT_EQ(report->rows, 80);
  EXPECT_EQ(report->commits, 1);
  EXPECT_TRUE(report->groups_dropped.empty() && report->left_alone.empty());
  std::vector<int64_t> ids = Ids();
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(ids, UpTo(80));
  const auto live = iceberg::ReadLiveEntries(Metadata(), store_).value();
  ASSERT_EQ(live.size(), 2u);
  for (const iceberg::ManifestEntry& entry : live) {
    // The highest one of its inputs.
    EXPECT_EQ(entry.sequence_number, entry.data_file.file_path.find("region=eu") != std::string::npos ? 5 : 8);
    EXPECT_EQ(entry.data_file.file_size_in_bytes, store_.Stat(entry.data_file.file_path)->size);
    EXPECT_TRUE(entry.data_file.lower_bounds.contains(1));
  }
  // Nothing is left to do, and nothing is committed.
  const int64_t sequence = Metadata().last_sequence_number;
  report = Compact();
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->groups_planned, 0);
  EXPECT_EQ(Metadata().last_sequence_number, sequence);
}

TEST_F(CompactionTest, EachSnapshotSaysWhatItsGroupsTook) {
  for (int64_t i = 0; i < 2; ++i) Append("eu", i * 10, 10);
  for (int64_t i = 2; i < 4; ++i) Append("us", i * 10, 10);
  double cpu_s = 0;
  // Read before and after each merge and each commit: each of them takes a quarter of a second.
  const CompactionParts parts{catalog_, store_, clock_, random_, [&] { return cpu_s += 0.25; }};
  TableCompaction compaction(parts, PlanTable(catalog_.LoadTable(kTable).value(), store_, {}).value(), {}, nullptr);
  for (const PickedGroup& group : compaction.plan().picked.groups) {
    ASSERT_TRUE(compaction.Merge(group).has_value());
    ASSERT_TRUE(compaction.Commit({}).has_value());
    EXPECT_EQ(Metadata().CurrentSnapshot()->summary.at("firn.compaction-ms"), "250");
  }
  EXPECT_EQ(compaction.report().commits, 2);
  EXPECT_DOUBLE_EQ(compaction.report().cpu_s, 1);
}

TEST_F(CompactionTest, RowsKeepTheirOrder) {
  for (int64_t i = 0; i < 6; ++i) Append("eu", i * 7, 7);
  ASSERT_TRUE(Compact().has_value());
  EXPECT_EQ(Ids(), UpTo(42));
}

TEST_F(CompactionTest, ADryRunOnlySays) {
  Append("eu", 0, 10);
  Append("eu", 10, 10);
  const int64_t puts = store_.calls(env::StoreCall::kPut);
  auto report = Compact({.dry_run = true});
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->groups_planned, 1);
  EXPECT_EQ(report->files_before, 2);
  EXPECT_EQ(report->files_after, 1);
  EXPECT_EQ(store_.calls(env::StoreCall::kPut), puts);
  EXPECT_EQ(store_.calls(env::StoreCall::kOpenWrite), 0);
  EXPECT_EQ(LiveFiles(), 2u);
}

TEST_F(CompactionTest, WhereNamesAPartition) {
  for (int64_t i = 0; i < 2; ++i) Append("eu", i * 10, 10);
  for (int64_t i = 2; i < 4; ++i) Append("us", i * 10, 10);
  auto report = Compact({.where = {"region=us"}});
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->files_before, 2);
  EXPECT_EQ(LiveFiles(), 3u);
  auto wrong = Compact({.where = {"day=1"}});
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(wrong.error().code(), ErrorCode::kInvalidInput);
}

TEST_F(CompactionTest, DamagedAndMissingFilesStayAlone) {
  Append("eu", 0, 10);
  const std::string damaged = Append("eu", 10, 10);
  Append("eu", 20, 10);
  const std::string missing = Append("eu", 30, 10);
  Append("eu", 40, 10);
  const std::string rotten = Append("eu", 50, 10);
  const std::string before = store_.Read(damaged).value();
  ASSERT_TRUE(store_.Delete(damaged).has_value() && store_.Put(damaged, "PAR1 not at all PAR1").has_value());
  ASSERT_TRUE(store_.Delete(missing).has_value());
  // The footer is whole, the first page is not.
  std::string bytes = store_.Read(rotten).value();
  for (size_t i = 4; i < 40; ++i) bytes[i] = 'x';
  ASSERT_TRUE(store_.Delete(rotten).has_value() && store_.Put(rotten, bytes).has_value());
  auto report = Compact();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->left_alone, (std::map<std::string, int64_t>{{"damaged", 2}, {"missing", 1}}));
  EXPECT_EQ(report->files_before, 3);
  EXPECT_EQ(report->rows, 30);
  EXPECT_EQ(LiveFiles(), 4u);
}

// Only the file whose entry lies about its rows stays.
TEST_F(CompactionTest, AFalseRecordCountLeavesOneFileAlone) {
  Append("eu", 0, 10);
  const std::string false_count = Append("eu", 10, 10);
  Append("eu", 20, 10);
  RewriteEntry(false_count, [](iceberg::DataFile& file) { file.record_count = 11; });
  auto report = Compact();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->left_alone, (std::map<std::string, int64_t>{{"row_count_differs", 1}}));
  EXPECT_TRUE(report->groups_dropped.empty());
  EXPECT_EQ(report->groups_done, 1);
  EXPECT_EQ(report->rows, 20);
  EXPECT_EQ(LiveFiles(), 2u);
}

TEST_F(CompactionTest, AFalseRecordCountOfAFileWithDeletesLeavesItAlone) {
  Append("eu", 0, 10);
  const std::string false_count = Append("eu", 10, 10);
  Append("eu", 20, 10);
  RewriteEntry(false_count, [](iceberg::DataFile& file) { file.record_count = 9; });
  DeletePositions("eu", {{false_count, 3}}, true);
  const CompactionParts parts{catalog_, store_, clock_, random_};
  TableCompaction compaction(parts, PlanTable(catalog_.LoadTable(kTable).value(), store_, {}).value(), {}, nullptr);
  ASSERT_EQ(compaction.plan().picked.groups.size(), 1u);
  ASSERT_TRUE(compaction.Merge(compaction.plan().picked.groups[0]).has_value());
  ASSERT_TRUE(compaction.Commit({}).has_value());
  EXPECT_EQ(compaction.report().files_before, 2);
  EXPECT_EQ(compaction.refused(), (RefusedFiles{{RefusedKey(false_count), "row_count_differs"}}));
  // So that it is not tried again and again.
  const auto again = PlanTable(catalog_.LoadTable(kTable).value(), store_, {.refused = &compaction.refused()}).value();
  EXPECT_TRUE(again.picked.groups.empty());
}

// One file that may not be read, or cannot, does not keep the others from being merged.
TEST_F(CompactionTest, AnUnreadableFileStaysAlone) {
  int64_t next = 0;
  for (const ErrorCode code : {ErrorCode::kUnauthorized, ErrorCode::kIoError}) {
    SCOPED_TRACE(ErrorCodeName(code));
    for (int i = 0; i < 3; ++i, next += 10) Append("eu", next, 10);
    const auto before = static_cast<int64_t>(LiveFiles());
    store_.Inject({.call = env::StoreCall::kRead, .persistent = true, .code = code, .location_contains = "eu-0."});
    auto report = Compact();
    store_.ClearFaults();
    ASSERT_TRUE(report.has_value()) << report.error().ToString();
    EXPECT_EQ(report->left_alone, (std::map<std::string, int64_t>{{"unreadable", 1}}));
    EXPECT_EQ(report->files_before, before - 1);
    EXPECT_EQ(LiveFiles(), 2u);
  }
}

// That nothing can be read is the store's trouble, and no file's.
TEST_F(CompactionTest, AStoreThatDoesNotReadIsNoReasonToLeaveFilesAlone) {
  for (int64_t i = 0; i < 4; ++i) Append("eu", i * 10, 10);
  const CompactionParts parts{catalog_, store_, clock_, random_};
  TableCompaction compaction(parts, PlanTable(catalog_.LoadTable(kTable).value(), store_, {}).value(), {}, nullptr);
  store_.Inject({.call = env::StoreCall::kRead,
                 .persistent = true,
                 .code = ErrorCode::kUnauthorized,
                 .location_contains = ".parquet"});
  Status merged = compaction.Merge(compaction.plan().picked.groups[0]);
  store_.ClearFaults();
  ASSERT_FALSE(merged.has_value());
  EXPECT_EQ(merged.error().code(), ErrorCode::kUnauthorized);
  EXPECT_TRUE(compaction.refused().empty() && compaction.report().left_alone.empty());
}

// A crash loses what is not committed, so a group does not have more files than one commit takes.
TEST_F(CompactionTest, AGroupHasNoMoreFilesThanACommit) {
  for (int64_t i = 0; i < 2; ++i) Append("eu", i * 10, 10);
  TableFiles files = ReadTableFiles(Metadata(), store_).value();
  while (files.data.size() < 2 * kFilesPerCommitMax + 2) files.data.push_back(files.data.front());
  const Picked picked = Pick(files, {});
  ASSERT_EQ(picked.groups.size(), 3u);
  for (const PickedGroup& group : picked.groups) EXPECT_LE(group.files.size(), kFilesPerCommitMax);
}

TEST_F(CompactionTest, OthersMayCommitMeanwhile) {
  Append("eu", 0, 10);
  Append("eu", 10, 10);
  int commits = 0;
  catalog_.SetFaults([&](iceberg::CatalogCall call, const iceberg::TableIdentifier&) {
    if (call == iceberg::CatalogCall::kCommit && ++commits == 1) Append("eu", 20, 10);
    return iceberg::CatalogFault::kNone;
  });
  auto report = Compact();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->conflicts, 1);
  EXPECT_EQ(report->groups_done, 1);
  std::vector<int64_t> ids = Ids();
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(ids, UpTo(30));
}

TEST_F(CompactionTest, TwoCompactionsDoNotDoubleRows) {
  for (int64_t i = 0; i < 4; ++i) Append("eu", i * 10, 10);
  bool inside = false;
  catalog_.SetFaults([&](iceberg::CatalogCall call, const iceberg::TableIdentifier&) {
    if (call == iceberg::CatalogCall::kCommit && !inside) {
      inside = true;
      EXPECT_TRUE(Compact().has_value());
    }
    return iceberg::CatalogFault::kNone;
  });
  auto report = Compact();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->groups_dropped, (std::map<std::string, int64_t>{{"input_gone", 1}}));
  EXPECT_EQ(report->files_after, 0);
  EXPECT_EQ(Ids(), UpTo(40));
}

TEST_F(CompactionTest, ColumnsAddedSinceAreNull) {
  Append("eu", 0, 10);
  schema::Schema wider = Metadata().CurrentSchema();
  wider.schema_id = 1;
  wider.fields.push_back({FieldId{3}, "added", Type::Primitive(TypeKind::kInt)});
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(kTable, {iceberg::AddSchema{wider, 3}, iceberg::SetCurrentSchema{-1}}));
  Append("eu", 10, 10);
  auto report = Compact();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->pages.null_pages, 1);
  EXPECT_EQ(Ids(), UpTo(20));
  const auto live = iceberg::ReadLiveEntries(Metadata(), store_).value();
  EXPECT_EQ(live[0].data_file.value_counts.at(3), 20);
  EXPECT_EQ(live[0].data_file.null_value_counts.at(3), 20);
}

TEST_F(CompactionTest, MergedFilesThatAreTooOldAreNotCommitted) {
  Append("eu", 0, 10);
  Append("eu", 10, 10);
  const CompactionParts parts{catalog_, store_, clock_, random_};
  auto plan = PlanTable(*catalog_.LoadTable(kTable), store_, {});
  TableCompaction compaction(parts, *std::move(plan), {.output_age_ms_max = 1000}, nullptr);
  ASSERT_TRUE(compaction.Merge(compaction.plan().picked.groups[0]).has_value());
  clock_.Advance(1001);
  Status committed = compaction.Commit({});
  ASSERT_FALSE(committed.has_value());
  EXPECT_EQ(committed.error().code(), ErrorCode::kTimeout);
  EXPECT_EQ(LiveFiles(), 2u);
}

TEST_F(CompactionTest, APlanKeepsItsFirstGroups) {
  for (int64_t i = 0; i < 3; ++i) Append("eu", i * 10, 10);
  for (int64_t i = 3; i < 5; ++i) Append("us", i * 10, 10);
  auto plan = PlanTable(*catalog_.LoadTable(kTable), store_, {});
  ASSERT_EQ(plan->picked.groups.size(), 2u);
  const std::string first = plan->FileAt(plan->picked.groups[0].files[0]).file_path;
  const size_t files = plan->picked.groups[0].files.size();
  plan->KeepFirst(16, 3, 1 << 30);  // the second group would be more than three files
  ASSERT_EQ(plan->picked.groups.size(), 1u);
  EXPECT_EQ(plan->files.data.size(), files);
  EXPECT_EQ(plan->FileAt(plan->picked.groups[0].files[0]).file_path, first);
}

TEST_F(CompactionTest, FormatThreeIsRefused) {
  Append("eu", 0, 10);
  ASSERT_TRUE(catalog_.CommitAsSomebodyElse(kTable, {iceberg::UpgradeFormatVersion{3}}));
  auto report = Compact();
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code(), ErrorCode::kUnsupported);
}

TEST_F(CompactionTest, EachFaultOfTheStoreLeavesAllRows) {
  for (int64_t i = 0; i < 3; ++i) Append("eu", i * 10, 10);
  int failed = 0;
  for (int64_t nth = 1; nth < 60; ++nth) {
    store_.ClearFaults();
    store_.Inject({.nth = nth});
    auto report = Compact();
    store_.ClearFaults();
    std::vector<int64_t> ids = Ids();
    std::sort(ids.begin(), ids.end());
    EXPECT_EQ(ids, UpTo(30));
    if (report.has_value() && LiveFiles() == 1) break;
    ++failed;
  }
  EXPECT_GT(failed, 5);
  EXPECT_EQ(LiveFiles(), 1u);
}

}  // namespace
}  // namespace firn::compaction
