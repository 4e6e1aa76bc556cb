// The strategy `sort` on whole tables.
#include <arrow/api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "firn/columnar/sort_keys.h"
#include "firn/compaction/delete_index.h"
#include "firn/compaction/row_filter.h"
#include "firn/compaction/row_reader.h"
#include "firn/compaction/table_fixture_for_test.h"
#include "firn/env/testing/memory_spill.h"
#include "firn/parquet/random_rows_for_test.h"
#include "firn/schema/partition.h"

namespace firn::compaction {
namespace {

using schema::Type;
using schema::TypeKind;
using Batch = std::shared_ptr<arrow::RecordBatch>;

class TableSortTest : public CompactionFixture {
 protected:
  TableSortTest() : CompactionFixture(Request()) {}
  explicit TableSortTest(const iceberg::CreateTableRequest& request) : CompactionFixture(request) {}

  // By region, and the id downwards.
  static iceberg::CreateTableRequest Request() {
    iceberg::CreateTableRequest request = EventsByRegion();
    request.sort_order = schema::ParseSortOrder({"id desc"}, request.schema).value();
    return request;
  }

  Result<CompactionReport> Sort(std::vector<std::string> by = {}, bool dry_run = false) {
    CompactionOptions options;
    options.sort.emplace().by = std::move(by);
    options.dry_run = dry_run;
    options.sort_memory_bytes = memory_bytes_;
    CompactionParts parts{catalog_, store_, clock_, random_};
    parts.spill = &spill_;
    return CompactTable(parts, kTable, options, nullptr, {});
  }

  void SetProperty(const std::string& name, const std::string& value) {
    ASSERT_TRUE(catalog_.CommitAsSomebodyElse(kTable, {iceberg::SetProperties{{{name, value}}}}));
  }

  // Of eu, in more than four files that do not become fewer.
  void SortManyRows() {
    SetProperty("write.target-file-size-bytes", "8000");
    memory_bytes_ = 64 << 10;
    std::mt19937_64 random(1);
    for (int64_t i = 0; i < 20; ++i) {
      std::vector<int64_t> ids(1000);
      for (int64_t& id : ids) id = static_cast<int64_t>(random() >> 8);
      AppendIds(fmt::format("f{}", i), "eu", ids);
    }
    ASSERT_TRUE(Sort().has_value());
  }

  std::vector<iceberg::DataFile> Files() {
    std::vector<iceberg::DataFile> files;
    const auto live = iceberg::ReadLiveEntries(Metadata(), store_).value();
    for (const iceberg::ManifestEntry& entry : live) files.push_back(entry.data_file);
    return files;
  }

  std::vector<Batch> RowsOf(const std::string& path) {
    const schema::Schema schema = Metadata().CurrentSchema();
    auto reader = RowReader::Open(schema, std::make_shared<const std::string>(store_.Read(path).value())).value();
    std::vector<Batch> rows;
    for (Batch batch = reader->Next().value(); batch != nullptr; batch = reader->Next().value()) rows.push_back(batch);
    return rows;
  }

  void SetSize(const std::string& path, int64_t bytes) {
    RewriteEntry(path, [&](iceberg::DataFile& file) { file.file_size_in_bytes = bytes; });
  }

  static constexpr int64_t kLong = 7 * 3'600'000;  // longer than merged files may wait
  int64_t memory_bytes_ = 256 << 20;
  env::MemorySpill spill_;
};

TEST_F(TableSortTest, FilesOfAPartitionBecomeOneInOrder) {
  Append("eu", 0, 10);
  Append("us", 100, 5);
  Append("eu", 20, 10);
  Append("eu", 10, 10);
  auto report = Sort();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->files_before, 4);
  EXPECT_EQ(report->files_after, 2);
  EXPECT_EQ(report->rows, 35);
  EXPECT_EQ(report->sort.rows, 35);
  EXPECT_EQ(report->commits, 1);
  for (const iceberg::DataFile& file : Files()) {
    EXPECT_EQ(file.sort_order_id, Metadata().default_sort_order_id);
    EXPECT_EQ(file.file_size_in_bytes, store_.Stat(file.file_path)->size);
  }
  std::vector<int64_t> expected = UpTo(30);
  std::ranges::reverse(expected);
  std::vector<int64_t> ids = Ids();
  if (ids.front() == 104) std::ranges::rotate(ids, ids.begin() + 5);
  expected.insert(expected.end(), {104, 103, 102, 101, 100});
  EXPECT_EQ(ids, expected);
  const int64_t sequence = Metadata().last_sequence_number;
  report = Sort();
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->groups_planned, 0);
  EXPECT_EQ(Metadata().last_sequence_number, sequence);
}

TEST_F(TableSortTest, ADryRunOnlySays) {
  Append("eu", 0, 10);
  Append("eu", 10, 10);
  const int64_t puts = store_.calls(env::StoreCall::kPut);
  auto report = Sort({}, true);
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->groups_planned, 1);
  EXPECT_EQ(report->files_before, 2);
  EXPECT_EQ(report->files_after, 1);
  EXPECT_EQ(store_.calls(env::StoreCall::kPut), puts);
  EXPECT_EQ(store_.calls(env::StoreCall::kOpenWrite), 0);
  EXPECT_EQ(LiveFiles(), 2u);
}

TEST_F(TableSortTest, AnOrderOfOnesOwnIsNamedOnlyWhereItIsTheTables) {
  Append("eu", 0, 10);
  auto report = Sort({"id"});
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(Ids(), UpTo(10));
  EXPECT_EQ(Files().at(0).sort_order_id, std::nullopt);
  // Nothing says that it is sorted so.
  EXPECT_EQ(Sort({"id"})->groups_done, 1);
  ASSERT_TRUE(Sort({"id desc nulls last"}).has_value());
  EXPECT_EQ(Files().at(0).sort_order_id, Metadata().default_sort_order_id);
  EXPECT_EQ(Ids().front(), 9);
  EXPECT_EQ(Sort()->groups_planned, 0);
}

TEST_F(TableSortTest, OrdersThatCannotBeAreRefused) {
  Append("eu", 0, 10);
  for (const char* order : {"nothing", "id sideways", "day(region)", "bucket(0, id)"}) {
    auto report = Sort({order});
    ASSERT_FALSE(report.has_value()) << order;
    EXPECT_EQ(report.error().code(), ErrorCode::kInvalidInput) << order;
  }
}

TEST_F(TableSortTest, DeletesAreAppliedAndRemoved) {
  const std::string a = Append("eu", 0, 10);
  Append("eu", 10, 10);
  Append("us", 50, 10);
  DeletePositions("eu", {{a, 0}, {a, 9}});
  DeleteIds("eu", {13, 55});
  auto report = Sort();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->rows_deleted, 3);
  EXPECT_EQ(report->delete_files_removed, 2);
  EXPECT_TRUE(LiveDeletes().empty());
  std::vector<int64_t> ids = Ids();
  std::ranges::sort(ids);
  EXPECT_EQ(ids, (std::vector<int64_t>{1,  2,  3,  4,  5,  6,  7,  8,  10, 11, 12, 14, 15, 16,
                                       17, 18, 19, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59}));
  // A sorted file with deletes is written anew for their sake, one whose rows are all deleted goes.
  DeleteIds("eu", {1});
  DeleteIds("us", {50, 51, 52, 53, 54, 55, 56, 57, 58, 59});
  report = Sort();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->rows_deleted, 11);
  EXPECT_EQ(LiveFiles(), 1u);
  EXPECT_EQ(Ids().size(), 16u);
}

TEST_F(TableSortTest, DamagedAndMissingFilesStayAlone) {
  Append("eu", 0, 10);
  const std::string missing = Append("eu", 10, 10);
  const std::string rotten = Append("eu", 20, 10);
  const std::string other = Append("eu", 30, 10);
  Append("eu", 40, 10);
  std::string bytes = store_.Read(rotten).value();
  for (size_t i = 4; i < 40; ++i) bytes[i] = 'x';
  ASSERT_TRUE(store_.Delete(rotten).has_value() && store_.Put(rotten, bytes).has_value());
  ASSERT_TRUE(store_.Delete(missing).has_value());
  ASSERT_TRUE(store_.Delete(other).has_value() && store_.Put(other, "PAR1 no PAR1").has_value());
  auto report = Sort();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->left_alone, (std::map<std::string, int64_t>{{"damaged", 2}, {"missing", 1}}));
  EXPECT_EQ(report->files_before, 2);
  EXPECT_EQ(report->rows, 20);
  EXPECT_EQ(LiveFiles(), 4u);
}

TEST_F(TableSortTest, WhatComesInLaterIsSortedWithWhatItOverlaps) {
  SortManyRows();
  std::set<std::string> before;
  for (const iceberg::DataFile& file : Files()) before.insert(file.file_path);
  ASSERT_GT(before.size(), 4u);
  EXPECT_EQ(Sort()->groups_planned, 0);
  AppendIds("late", "eu", {int64_t{1} << 54, (int64_t{1} << 54) + 1000});
  auto report = Sort();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_GT(report->groups_done, 0);
  size_t kept = 0;
  for (const iceberg::DataFile& file : Files()) kept += before.count(file.file_path);
  EXPECT_GE(kept, before.size() - 3);
  EXPECT_EQ(Sort()->groups_planned, 0);
}

TEST_F(TableSortTest, ForARefusedFileNothingElseIsSortedAnew) {
  SortManyRows();
  const std::string refused = AppendIds("foreign", "eu", {0, int64_t{1} << 55});
  ASSERT_TRUE(store_.Delete(refused).has_value() && store_.Put(refused, "PAR1 no PAR1").has_value());
  const std::string rotten = AppendIds("rotten", "eu", {1, (int64_t{1} << 55) + 1});
  std::string bytes = store_.Read(rotten).value();
  for (size_t i = 4; i < 40; ++i) bytes[i] = 'x';
  ASSERT_TRUE(store_.Delete(rotten).has_value() && store_.Put(rotten, bytes).has_value());
  Append("us", 0, 10);
  const size_t files = LiveFiles();
  auto report = Sort();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->left_alone.at("damaged"), 2);
  EXPECT_EQ(report->groups_dropped, (std::map<std::string, int64_t>{{"input_refused", 2}}));
  EXPECT_EQ(report->files_before, 1);  // that of us
  EXPECT_EQ(LiveFiles(), files);
  // What else is due is sorted, in the same run.
  AppendIds("late", "eu", {int64_t{1} << 54, (int64_t{1} << 54) + 1000});
  report = Sort();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_GE(report->files_before, 2);
  EXPECT_LE(report->files_before, 3);
  const int64_t sequence = Metadata().last_sequence_number;
  report = Sort();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->groups_done, 0);
  EXPECT_EQ(Metadata().last_sequence_number, sequence);
}

TEST_F(TableSortTest, EachFaultOfTheStoreLeavesAllRows) {
  for (int64_t i = 0; i < 3; ++i) Append("eu", i * 10, 10);
  int failed = 0;
  for (int64_t nth = 1; nth < 60; ++nth) {
    store_.ClearFaults();
    store_.Inject({.nth = nth});
    auto report = Sort();
    store_.ClearFaults();
    std::vector<int64_t> ids = Ids();
    std::ranges::sort(ids);
    EXPECT_EQ(ids, UpTo(30));
    if (report.has_value() && LiveFiles() == 1) break;
    ++failed;
  }
  EXPECT_GT(failed, 5);
  EXPECT_EQ(LiveFiles(), 1u);
}

TEST_F(TableSortTest, RowsThatFindNoRoomLeaveTheTableAsItIs) {
  memory_bytes_ = 64 << 10;
  spill_.set_bytes_max(1000);
  for (int64_t i = 0; i < 3; ++i) Append("eu", i * 3000, 3000);
  auto report = Sort();
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(LiveFiles(), 3u);
  spill_.set_bytes_max(1 << 20);
  report = Sort();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_GT(report->sort.bytes_spilled, 0);
  std::vector<int64_t> expected = UpTo(9000);
  std::ranges::reverse(expected);
  EXPECT_EQ(Ids(), expected);
}

TEST_F(TableSortTest, AGroupThatFindsNoRoomDoesNotHoldUpOthers) {
  memory_bytes_ = 64 << 10;
  spill_.set_bytes_max(1000);
  for (int64_t i = 0; i < 3; ++i) Append("eu", i * 3000, 3000);
  SetSize(Append("us", 0, 10), int64_t{1} << 30);  // so that its turn comes later
  auto report = Sort();
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(LiveFiles(), 4u);
  for (const iceberg::DataFile& file : Files()) {
    EXPECT_EQ(file.sort_order_id.has_value(), file.partition == schema::PartitionTuple{schema::Value("us")});
  }
}

TEST_F(TableSortTest, FilesAreAsOldAsTheirFirstOutput) {
  const std::string first = Append("eu", 0, 10);
  Append("eu", 10, 10);
  store_.Inject({.call = env::StoreCall::kRead, .location_contains = first, .delay_ms = kLong, .fails = false});
  auto report = Sort();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(LiveFiles(), 1u);
  Append("eu", 5, 10);
  store_.Inject({.call = env::StoreCall::kClose, .location_contains = "compacted", .delay_ms = kLong, .fails = false});
  report = Sort();
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code(), ErrorCode::kTimeout);
  EXPECT_NE(report.error().message().find("commit.max_age"), std::string::npos) << report.error().message();
  EXPECT_EQ(LiveFiles(), 2u);
}

TEST_F(TableSortTest, WhatIsSortedDoesNotGrowOldBesideALargeGroup) {
  Append("us", 0, 10);
  const std::string large = Append("eu", 0, 10);
  SetSize(large, int64_t{3} << 30);
  store_.Inject({.call = env::StoreCall::kRead, .location_contains = large, .delay_ms = kLong, .fails = false});
  auto report = Sort();
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->groups_done, 2);
  EXPECT_EQ(report->commits, 2);
}

TEST_F(CompactionFixture, ATableWithoutAnOrderHasToBeToldOne) {
  Append("eu", 0, 10);
  CompactionOptions options;
  options.sort.emplace();
  auto refused = Compact(options);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidInput);
  EXPECT_NE(refused.error().message().find("--sort-by"), std::string::npos);
  options.sort->by = {"id desc"};
  EXPECT_TRUE(Compact(options).has_value());
  EXPECT_EQ(Ids().front(), 9);
}

// Tables of any columns, orders, files and deletes.
class RandomTableSort : public TableSortTest, public testing::WithParamInterface<uint64_t> {
 protected:
  RandomTableSort() : TableSortTest(EventsByRegion()) {}  // the table is made anew by the test

  int64_t Below(int64_t bound) { return static_cast<int64_t>(dice_() % static_cast<uint64_t>(bound)); }

  // An id, so that rows can be told, and columns of any type.
  schema::Schema RandomSchema() {
    schema::Schema schema = parquet::RandomRows(GetParam()).schema();
    schema.fields.push_back({FieldId{10'000}, "id", Type::Primitive(TypeKind::kLong)});
    return schema;
  }

  // Some of the columns that can be sorted by, by any transform that they allow.
  std::vector<std::string> RandomOrder(const schema::Schema& schema) {
    std::vector<std::string> order;
    for (const schema::Field& field : schema.fields) {
      if (!field.type->is_primitive() || Below(3) > 0) continue;
      const char* const transforms[] = {"bucket(4, {})", "truncate(3, {})", "year({})", "day({})", "hour({})"};
      std::string text = field.name;
      if (Below(2) == 0) {
        std::string tried = fmt::format(fmt::runtime(transforms[Below(5)]), field.name);
        if (schema::ParseSortOrder({tried}, schema).has_value()) text = tried;
      }
      if (Below(2) == 0) text += Below(2) == 0 ? " asc" : " desc";
      if (Below(2) == 0) text += Below(2) == 0 ? " nulls first" : " nulls last";
      order.push_back(text);
    }
    std::ranges::shuffle(order, dice_);
    if (order.empty()) order = {"id desc"};
    return order;
  }

  // Each row's text, of all rows that readers see.
  std::multiset<std::string> Rows() {
    const TableFiles files = ReadTableFiles(Metadata(), store_).value();
    TablePlan plan;
    plan.loaded = catalog_.LoadTable(kTable).value();
    plan.files = files;
    DeleteReader reader(plan, store_);
    std::vector<size_t> all(files.deletes.size());
    for (size_t i = 0; i < all.size(); ++i) all[i] = i;
    std::multiset<std::string> rows;
    for (size_t i = 0; i < files.data.size(); ++i) {
      std::vector<size_t> touching;
      for (const size_t deletes : all) {
        if (MayTouch(files.deletes[deletes], files.data[i], true)) touching.push_back(deletes);
      }
      const FileDeletes deletes = reader.For(i, touching).value();
      RowFilter filter(deletes);
      for (const Batch& batch : RowsOf(files.data[i].entry.data_file.file_path)) {
        if (Batch kept = filter.Next(batch).value(); kept != nullptr) AddTexts(*kept, rows);
      }
    }
    return rows;
  }

  static void AddTexts(const arrow::RecordBatch& batch, std::multiset<std::string>& rows) {
    for (int64_t row = 0; row < batch.num_rows(); ++row) {
      std::string text;
      for (const auto& column : batch.columns()) text += TextOf(*column, row);
      rows.insert(std::move(text));
    }
  }

  // Without what stands under nulls.
  static std::string TextOf(const arrow::Array& column, int64_t row) {
    if (column.IsNull(row)) return "~,";
    std::string text;
    if (column.type_id() == arrow::Type::STRUCT) {
      const auto& structs = static_cast<const arrow::StructArray&>(column);
      for (const auto& field : structs.fields()) text += TextOf(*field, row);
      return fmt::format("({}),", text);
    }
    if (column.type_id() != arrow::Type::LIST && column.type_id() != arrow::Type::MAP) {
      return column.GetScalar(row).ValueOrDie()->ToString() + ",";
    }
    const auto& lists = static_cast<const arrow::ListArray&>(column);
    for (int64_t i = lists.value_offset(row); i < lists.value_offset(row + 1); ++i) text += TextOf(*lists.values(), i);
    return fmt::format("[{}],", text);
  }

  // Every file in order, and one after another without overlapping.
  void ExpectInOrder(const std::vector<iceberg::DataFile>& entries) {
    const iceberg::TableMetadata metadata = Metadata();
    const schema::Schema& schema = metadata.CurrentSchema();
    const schema::SortOrder& order = metadata.DefaultSortOrder();
    std::vector<std::vector<Batch>> files;
    for (const iceberg::DataFile& file : entries) files.push_back(RowsOf(file.file_path));
    const auto first_before = [&](const std::vector<Batch>& a, const std::vector<Batch>& b) {
      const auto first = columnar::SortKeys::Compute({a.front()->Slice(0, 1)}, schema, order).value();
      const auto second = columnar::SortKeys::Compute({b.front()->Slice(0, 1)}, schema, order).value();
      return first.Compare(0, second, 0) < 0;
    };
    std::ranges::stable_sort(files, first_before);
    std::vector<Batch> all;
    uint32_t rows = 0;
    for (const std::vector<Batch>& file : files) {
      for (const Batch& batch : file) {
        all.push_back(batch);
        rows += static_cast<uint32_t>(batch->num_rows());
      }
    }
    const auto keys = columnar::SortKeys::Compute(all, schema, order).value();
    for (uint32_t row = 1; row < rows; ++row) {
      ASSERT_LE(keys.Compare(row - 1, keys, row), 0) << "row " << row << " of " << rows;
    }
  }

  std::mt19937_64 dice_{GetParam() * 7919 + 1};
};

TEST_P(RandomTableSort, RowsStayAndComeIntoOrder) {
  iceberg::CreateTableRequest request;
  request.location = "file:///lake/events";
  request.schema = RandomSchema();
  const std::vector<std::string> order = RandomOrder(request.schema);
  SCOPED_TRACE(fmt::format("order: {}", fmt::join(order, ", ")));
  request.sort_order = schema::ParseSortOrder(order, request.schema).value();
  request.properties["write.target-file-size-bytes"] = std::to_string(2'000 + Below(40'000));
  ASSERT_TRUE(catalog_.DropTable(kTable).has_value());
  CreateTable(request);
  const schema::Schema schema = Metadata().CurrentSchema();
  schema::Schema without_id = schema;
  without_id.fields.pop_back();
  parquet::RandomRows maker(GetParam() + 1, without_id);
  int64_t id = 0;
  const auto append = [&](int64_t rows) {
    arrow::Int64Builder ids;
    for (int64_t i = 0; i < rows; ++i) EXPECT_TRUE(ids.Append(id++).ok());
    std::vector<std::shared_ptr<arrow::Array>> columns = maker.MakeBatch(rows)->columns();
    columns.push_back(ids.Finish().ValueOrDie());
    return AppendColumns(fmt::format("f{}", id), columns, {});
  };
  memory_bytes_ = 16 << (10 + Below(8));
  for (int round = 0; round < 3; ++round) {
    std::vector<std::string> paths;
    for (int64_t files = 1 + Below(4); files > 0; --files) paths.push_back(append(1 + Below(300)));
    if (round > 0) DeletePositions("", {{paths[0], 0}, {Files().at(0).file_path, 0}});
    if (round == 2) DeleteIds("", {1, id / 2, id - 1}, schema.fields.back().id.value());
    const std::multiset<std::string> before = Rows();
    auto report = Sort();
    ASSERT_TRUE(report.has_value()) << report.error().ToString();
    EXPECT_EQ(Rows(), before);
    EXPECT_TRUE(LiveDeletes().empty());
    EXPECT_TRUE(report->left_alone.empty() || report->left_alone.begin()->first == "alone");
    for (const iceberg::DataFile& file : Files()) {
      EXPECT_EQ(file.sort_order_id, Metadata().default_sort_order_id);
      ExpectInOrder({file});
    }
    // Later ones leave what touches the new files in the first field alone.
    if (round == 0) ExpectInOrder(Files());
    report = Sort();
    ASSERT_TRUE(report.has_value());
    EXPECT_EQ(report->groups_planned, 0) << "round " << round;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomTableSort, testing::Range<uint64_t>(0, 24));

}  // namespace
}  // namespace firn::compaction
