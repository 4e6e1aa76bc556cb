#include "firn/compaction/table_compaction.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <arrow/json/from_string.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <parquet/arrow/reader.h>

#include <algorithm>

#include "firn/columnar/column_builder.h"
#include "firn/compaction/table_files.h"
#include "firn/env/testing/faulty_store.h"
#include "firn/env/testing/manual_clock.h"
#include "firn/env/testing/memory_store.h"
#include "firn/iceberg/catalog/testing/memory_catalog.h"
#include "firn/iceberg/commit/append.h"
#include "firn/iceberg/commit/live_entries.h"
#include "firn/parquet/file_layout.h"

namespace firn::compaction {
namespace {

using schema::Type;
using schema::TypeKind;
using schema::Value;

const iceberg::TableIdentifier kTable{{"db"}, "events"};

class CompactionTest : public ::testing::Test {
 protected:
  CompactionTest() {
    iceberg::CreateTableRequest request;
    request.location = "file:///lake/events";
    request.schema.fields = {{FieldId{1}, "id", Type::Primitive(TypeKind::kLong), true},
                             {FieldId{2}, "region", Type::Primitive(TypeKind::kString)}};
    schema::PartitionField region;
    region.source_id = FieldId{2};
    region.field_id = FieldId{1000};
    region.name = "region";
    request.spec.fields = {region};
    EXPECT_TRUE(catalog_.EnsureNamespace({"db"}).has_value());
    EXPECT_TRUE(catalog_.CreateTable(kTable, request).has_value());
  }

  iceberg::TableMetadata Metadata() { return catalog_.LoadTable(kTable)->metadata; }

  // A file with ids from `first` on, committed alone.
  std::string Append(const std::string& region, int64_t first, int64_t rows) {
    const iceberg::TableMetadata base = Metadata();
    const schema::Schema& schema = base.CurrentSchema();
    arrow::Int64Builder ids;
    arrow::StringBuilder regions;
    for (int64_t i = 0; i < rows; ++i) {
      EXPECT_TRUE(ids.Append(first + i).ok() && regions.Append(region).ok());
    }
    std::vector<std::shared_ptr<arrow::Array>> columns = {ids.Finish().ValueOrDie(), regions.Finish().ValueOrDie()};
    for (size_t i = 2; i < schema.fields.size(); ++i) {
      columns.push_back(arrow::MakeArrayOfNull(arrow::int32(), rows).ValueOrDie());
    }
    std::string bytes;
    auto layout = parquet::FileLayout::Create(schema, {}, "{}", [&](std::string_view more) -> Status {
      bytes.append(more);
      return {};
    });
    EXPECT_TRUE(
        (*layout)->Write(*arrow::RecordBatch::Make(columnar::ToArrowSchema(schema), rows, columns)).has_value());
    const parquet::FileMetrics metrics = (*layout)->Close().value();
    iceberg::NewDataFile file;
    file.file.file_path = fmt::format("file:///lake/events/data/{}-{}.parquet", region, first);
    file.file.record_count = rows;
    file.file.file_size_in_bytes = metrics.file_size_in_bytes;
    file.file.partition = {Value(region)};
    file.file.value_counts = metrics.value_counts;
    file.file.null_value_counts = metrics.null_value_counts;
    file.file.lower_bounds = metrics.lower_bounds;
    file.file.upper_bounds = metrics.upper_bounds;
    EXPECT_TRUE(store_.Put(file.file.file_path, bytes).has_value());
    iceberg::AppendRequest request;
    request.files = {&file, 1};
    iceberg::ManifestListCache cache;
    auto prepared = iceberg::PrepareAppend(base, request, store_, clock_, random_, cache);
    EXPECT_TRUE(catalog_.CommitAsSomebodyElse(kTable, prepared->updates).has_value());
    return file.file.file_path;
  }

  Result<CompactionReport> Compact(const CompactionOptions& options = {}) {
    return CompactTable({catalog_, store_, clock_, random_}, kTable, options, nullptr, {});
  }

  // Ids of all live rows, in file order.
  std::vector<int64_t> Ids() {
    std::vector<int64_t> ids;
    const auto live = iceberg::ReadLiveEntries(Metadata(), store_).value();
    for (const iceberg::ManifestEntry& entry : live) {
      auto buffer = arrow::Buffer::FromString(store_.Read(entry.data_file.file_path).value());
      auto reader =
          ::parquet::arrow::OpenFile(std::make_shared<arrow::io::BufferReader>(buffer), arrow::default_memory_pool())
              .ValueOrDie();
      auto table = reader->ReadTable().ValueOrDie();
      EXPECT_EQ(table->num_rows(), entry.data_file.record_count);
      for (const auto& chunk : table->GetColumnByName("id")->chunks()) {
        const auto& values = static_cast<const arrow::Int64Array&>(*chunk);
        for (int64_t i = 0; i < values.length(); ++i) ids.push_back(values.Value(i));
      }
    }
    return ids;
  }

  size_t LiveFiles() { return iceberg::ReadLiveEntries(Metadata(), store_)->size(); }

  env::ManualClock clock_;
  env::SeededRandom random_{11};
  env::MemoryStore memory_{clock_};
  env::FaultyStore store_{memory_, clock_};
  iceberg::MemoryCatalog catalog_{clock_};
};

std::vector<int64_t> UpTo(int64_t count) {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(i);
  return ids;
}

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
    EXPECT_EQ(entry.sequence_number, 8);
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
