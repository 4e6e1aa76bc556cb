#include "firn/ingest/table_rows.h"

#include <arrow/api.h>
#include <arrow/compute/api_vector.h>
#include <arrow/io/memory.h>
#include <gtest/gtest.h>
#include <parquet/arrow/reader.h>

#include <algorithm>
#include <random>
#include <set>

#include "firn/env/testing/faulty_store.h"
#include "firn/env/testing/manual_clock.h"
#include "firn/env/testing/memory_spill.h"
#include "firn/env/testing/memory_store.h"
#include "firn/ingest/data_files.h"
#include "firn/parquet/random_rows_for_test.h"

namespace firn::ingest {
namespace {

using schema::Type;
using schema::TypeKind;
using Batch = std::shared_ptr<arrow::RecordBatch>;

constexpr int32_t kRowId = 10'000;  // the field that numbers the rows

std::shared_ptr<iceberg::LoadedTable> MakeTable(schema::Schema schema, schema::PartitionSpec spec,
                                                schema::SortOrder order, iceberg::Properties properties = {}) {
  auto table = std::make_shared<iceberg::LoadedTable>();
  table->identifier = {{"lake"}, "t"};
  table->metadata.location = "file:///lake/t";
  table->metadata.table_uuid = "9c12d441-03fe-4693-9a96-a0705ddf69c1";
  table->metadata.schemas = {std::move(schema)};
  table->metadata.current_schema_id = table->metadata.schemas[0].schema_id;
  table->metadata.default_spec_id = spec.spec_id;
  table->metadata.partition_specs = {std::move(spec)};
  table->metadata.sort_orders = {schema::SortOrder{}, std::move(order)};
  table->metadata.default_sort_order_id = table->metadata.sort_orders[1].order_id;
  table->metadata.properties = std::move(properties);
  return table;
}

schema::Field RowField() {
  return {FieldId{kRowId}, "row", Type::Primitive(TypeKind::kLong)};
}

// The batch with one column more: the number of each row.
Batch WithNumbers(const Batch& batch, int64_t first) {
  arrow::Int64Builder numbers;
  for (int64_t row = 0; row < batch->num_rows(); ++row) EXPECT_TRUE(numbers.Append(first + row).ok());
  auto field = columnar::ToArrowField(RowField());
  return batch->AddColumn(batch->num_columns(), field, numbers.Finish().ValueOrDie()).ValueOrDie();
}

bool IsFloat(const Type& type) {
  return type.kind() == TypeKind::kFloat || type.kind() == TypeKind::kDouble;
}

// Random spec: buckets or ranges of the row's number, and a column as it is.
schema::PartitionSpec RandomSpec(const schema::Schema& schema, std::mt19937_64& random) {
  schema::PartitionSpec spec{3, {}};
  const char* transforms[] = {"bucket[5]", "truncate[97]", "truncate[1000000]", "bucket[61]"};
  if (random() % 3 != 0) {
    auto transform = schema::Transform::Parse(transforms[random() % 4]).value();
    spec.fields.push_back({FieldId{kRowId}, FieldId{1000}, "by_row", transform});
  }
  const schema::Field& field = schema.fields[random() % schema.fields.size()];
  if (field.type->is_primitive() && !IsFloat(*field.type) && random() % 2 == 0) {
    spec.fields.push_back({field.id, FieldId{1001}, "by_value", schema::Transform::Parse("identity").value()});
  }
  return spec;
}

schema::SortOrder RandomOrder(const schema::Schema& schema, std::mt19937_64& random) {
  schema::SortOrder order{7, {}};
  for (const schema::Field& field : schema.fields) {
    if (!field.type->is_primitive() || random() % 2 == 0) continue;
    schema::SortField by;
    by.source_id = field.id;
    by.direction = random() % 2 == 0 ? schema::SortDirection::kAscending : schema::SortDirection::kDescending;
    by.null_order = random() % 2 == 0 ? schema::NullOrder::kNullsFirst : schema::NullOrder::kNullsLast;
    order.fields.push_back(by);
  }
  return order.fields.empty() || random() % 2 == 0 ? schema::SortOrder{} : order;
}

class TableRowsTest : public testing::Test {
 protected:
  Result<WrittenFiles> Write(TableRows& rows, int32_t threads = 2) {
    return WriteDataFiles(rows, faulty_, random_, env::SystemThreads(), threads);
  }

  std::shared_ptr<arrow::Table> ReadFile(const iceberg::DataFile& file) {
    auto bytes = arrow::Buffer::FromString(store_.Read(file.file_path).value());
    EXPECT_EQ(bytes->size(), file.file_size_in_bytes);
    auto reader =
        ::parquet::arrow::OpenFile(std::make_shared<arrow::io::BufferReader>(bytes), arrow::default_memory_pool())
            .ValueOrDie();
    auto table = reader->ReadTable().ValueOrDie();
    EXPECT_EQ(table->num_rows(), file.record_count);
    return table;
  }

  // All rows of the files, in the order of their numbers.
  std::shared_ptr<arrow::Table> ReadSorted(const WrittenFiles& written) {
    std::vector<std::shared_ptr<arrow::Table>> tables;
    for (const auto& file : written.files) tables.push_back(ReadFile(file.file));
    auto all = arrow::ConcatenateTables(tables).ValueOrDie();
    auto numbers = all->GetColumnByName("row")->chunks();
    std::vector<std::pair<int64_t, uint64_t>> order;
    for (const auto& chunk : numbers) {
      const auto& values = static_cast<const arrow::Int64Array&>(*chunk);
      for (int64_t i = 0; i < values.length(); ++i) order.emplace_back(values.Value(i), order.size());
    }
    std::ranges::sort(order);
    arrow::UInt64Builder indexes;
    for (const auto& [number, at] : order) EXPECT_TRUE(indexes.Append(at).ok());
    return arrow::compute::Take(all, indexes.Finish().ValueOrDie()).ValueOrDie().table();
  }

  void ExpectSame(const std::shared_ptr<arrow::Table>& read, const std::vector<Batch>& batches) {
    auto expected = arrow::Table::FromRecordBatches(batches).ValueOrDie();
    ASSERT_EQ(read->num_rows(), expected->num_rows());
    for (int i = 0; i < expected->num_columns(); ++i) {
      auto options = arrow::EqualOptions().nans_equal(true);
      auto one = arrow::Concatenate(expected->column(i)->chunks()).ValueOrDie();
      auto other = arrow::Concatenate(read->column(i)->chunks()).ValueOrDie();
      EXPECT_TRUE(one->Equals(*other, options)) << expected->field(i)->ToString();
    }
  }

  // Is each file in the order that it names?
  void ExpectSorted(const WrittenFiles& written, const schema::Schema& schema, const schema::SortOrder& order) {
    for (const auto& file : written.files) {
      EXPECT_EQ(file.file.sort_order_id.value_or(0), order.order_id);
      if (order.order_id == 0) continue;
      auto batch = ReadFile(file.file)->CombineChunksToBatch().ValueOrDie();
      auto keys = columnar::SortKeys::Compute({batch}, schema, order).value();
      for (int64_t row = 1; row < batch->num_rows(); ++row) {
        ASSERT_LE(keys.Compare(static_cast<uint32_t>(row - 1), keys, static_cast<uint32_t>(row)), 0) << row;
      }
    }
  }

  // Plain rows over `partitions` partitions (row modulo that), `text_bytes` of text each.
  struct Plain {
    std::shared_ptr<iceberg::LoadedTable> table;
    std::unique_ptr<columnar::RowBuilder> builder;
    int64_t partitions;
    std::string text;
    int64_t next = 0;
    std::vector<Batch> batches;

    Batch Next(int64_t count) {
      for (int64_t i = 0; i < count; ++i, ++next) {
        builder->column(0).AppendInt64(next % partitions);
        EXPECT_TRUE(builder->column(1).AppendBytes(text + std::to_string(next * 7919 % 100'003)));
        builder->column(2).AppendInt64(next);
        builder->CloseRow();
      }
      batches.push_back(builder->Finish());
      return batches.back();
    }
  };
  static Plain MakePlain(int64_t partitions, size_t text_bytes, bool sorted = false) {
    schema::Schema schema;
    schema.fields = {{FieldId{1}, "part", Type::Primitive(TypeKind::kLong)},
                     {FieldId{2}, "text", Type::Primitive(TypeKind::kString)},
                     RowField()};
    schema::PartitionSpec spec{3, {{FieldId{1}, FieldId{1000}, "part", schema::Transform::Parse("identity").value()}}};
    schema::SortOrder order;
    if (sorted) order = {7, {{FieldId{2}, schema::Transform::Parse("identity").value()}}};
    Plain plain;
    plain.table = MakeTable(schema, spec, order);
    plain.builder = std::make_unique<columnar::RowBuilder>(plain.table->metadata.schemas[0]);
    plain.partitions = partitions;
    plain.text = std::string(text_bytes, 'x');
    return plain;
  }

  std::set<std::string> Folders(const WrittenFiles& written) {
    std::set<std::string> folders;
    for (const auto& file : written.files) {
      folders.insert(file.file.file_path.substr(0, file.file.file_path.rfind('/')));
    }
    return folders;
  }

  env::MemoryStore store_;
  env::FaultyStore faulty_{store_};
  env::SeededRandom random_{3};
  env::MemorySpill disk_;
};

TEST_F(TableRowsTest, RowsComeBackEqualWhateverSchemaSpecOrderAndBudget) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    parquet::RandomRows rows(seed);
    schema::Schema schema = rows.schema();
    schema.fields.push_back(RowField());
    auto spec = RandomSpec(schema, random);
    auto order = RandomOrder(rows.schema(), random);
    const bool one_partition_value = spec.fields.size() < 2;
    auto table = MakeTable(schema, spec, order);

    MemoryBudget memory(int64_t{1} << (10 + random() % 20));
    Spill spill(random() % 3 == 0 ? nullptr : &disk_, int64_t{1} << (8 + random() % 20));
    TableRows::Limits limits;
    limits.direct_rows_min = 1 + static_cast<int64_t>(random() % 200);
    limits.run_block_bytes = 1 << (6 + random() % 12);
    limits.row_group_bytes_max = 1 << (12 + random() % 14);
    TableRows kept(table, schema.schema_id, memory, spill, limits);
    std::vector<Batch> batches;
    int64_t count = 0;
    for (uint64_t slabs = random() % 6; slabs > 0; --slabs) {
      batches.push_back(WithNumbers(rows.MakeBatch(static_cast<int64_t>(1 + random() % 120)), count));
      count += batches.back()->num_rows();
      kept.Add(batches.back());
    }
    if (count == 0 || random() % 3 != 0) {
      batches.push_back(WithNumbers(rows.MakeBatch(static_cast<int64_t>(1 + random() % 120)), count));
      count += batches.back()->num_rows();
      kept.AddTail(batches.back());
    } else {
      kept.AddTail(nullptr);
    }
    EXPECT_EQ(kept.rows(), count);
    // A failed attempt changes nothing.
    if (random() % 2 == 0) {
      faulty_.Inject({.call = random() % 2 == 0 ? env::StoreCall::kAppend : env::StoreCall::kClose, .nth = 1});
      EXPECT_FALSE(Write(kept).has_value());
      faulty_.ClearFaults();
    }
    for (int attempt = 0; attempt < 2; ++attempt) {  // nor does one that came through, whose answer was lost later
      auto written = Write(kept, 1 + static_cast<int32_t>(random() % 3));
      ASSERT_TRUE(written.has_value()) << written.error().ToString();
      EXPECT_FALSE(kept.lost());
      EXPECT_EQ(written->rows, count);
      EXPECT_TRUE(!one_partition_value || Folders(*written).size() == written->files.size()) << "one file a partition";
      ExpectSame(ReadSorted(*written), batches);
      ExpectSorted(*written, schema, order);
    }
  }
  EXPECT_EQ(disk_.bytes(), 0);
  EXPECT_GT(disk_.bytes_appended(), 0);
}

TEST_F(TableRowsTest, AThousandPartitionsUnderASmallLimitAreOneFileEach) {
  for (bool sorted : {false, true}) {
    MemoryBudget memory(int64_t{8} << 20);
    Spill spill(&disk_, int64_t{1} << 30);
    Plain plain = MakePlain(1'000, 100, sorted);
    TableRows rows(plain.table, 0, memory, spill);
    for (int slab = 0; slab < 40; ++slab) {
      rows.Add(plain.Next(5'000));
      // What does not fit has gone to the disk but for the index and one run.
      EXPECT_LE(memory.used(MemoryUse::kRows), memory.share(MemoryUse::kRows) + (int64_t{1} << 20)) << slab;
    }
    EXPECT_GT(spill.bytes(), 0);
    rows.AddTail(plain.Next(777));
    auto written = Write(rows);
    ASSERT_TRUE(written.has_value()) << written.error().ToString();
    EXPECT_EQ(written->files.size(), 1'000U);
    EXPECT_EQ(Folders(*written).size(), 1'000U);
    ExpectSame(ReadSorted(*written), plain.batches);
    ExpectSorted(*written, plain.table->metadata.schemas[0], plain.table->metadata.DefaultSortOrder());
  }
}

TEST_F(TableRowsTest, ManyRunsOfManyPartitionsAreReadOnce) {
  MemoryBudget memory(int64_t{512} << 20);  // two threads
  Spill spill(&disk_, int64_t{1} << 30);
  memory.Set(MemoryUse::kRows, 512 << 20);  // somebody else's
  Plain plain = MakePlain(2'000, 30);
  TableRows rows(plain.table, 0, memory, spill, {.run_block_bytes = 1 << 10});
  for (size_t slab = 0; slab < kRunsMax; ++slab) rows.Add(plain.Next(2'000));
  rows.AddTail(nullptr);
  ASSERT_EQ(rows.run_count(), kRunsMax);
  auto written = Write(rows, 2);
  ASSERT_TRUE(written.has_value()) << written.error().ToString();
  EXPECT_EQ(written->files.size(), 2'000U);
  // A block that two threads need is read by both.
  EXPECT_LE(disk_.bytes_read(), spill.bytes() * 3 / 2);
}

TEST_F(TableRowsTest, LargeGroupsGoIntoAFileAtOnceAndSmallOnesJoinIt) {
  MemoryBudget memory(int64_t{512} << 20);
  Spill spill(nullptr, 0);
  Plain plain = MakePlain(2, 20);
  TableRows rows(plain.table, 0, memory, spill);
  rows.Add(plain.Next(50'000));
  EXPECT_EQ(rows.run_count(), 0U);
  EXPECT_GT(memory.used(MemoryUse::kOpenFiles), 0);
  rows.Add(plain.Next(1'000));
  EXPECT_EQ(rows.run_count(), 1U);
  rows.Add(plain.Next(60'000));
  rows.AddTail(plain.Next(10));
  EXPECT_EQ(memory.used(MemoryUse::kOpenFiles), 0);
  auto written = Write(rows);
  ASSERT_TRUE(written.has_value()) << written.error().ToString();
  EXPECT_EQ(written->files.size(), 2U);
  ExpectSame(ReadSorted(*written), plain.batches);
}

TEST_F(TableRowsTest, EncodersThatAreKeptOpenAreBounded) {
  MemoryBudget memory(int64_t{64} << 20);
  Spill spill(&disk_, int64_t{1} << 30);
  Plain plain = MakePlain(30, 400);
  TableRows::Limits limits;
  limits.direct_rows_min = 500;
  TableRows rows(plain.table, 0, memory, spill, limits);
  int64_t most = 0;
  for (int slab = 0; slab < 10; ++slab) {
    rows.Add(plain.Next(30'000));
    most = std::max(most, memory.used(MemoryUse::kOpenFiles));
  }
  EXPECT_GT(most, 0);
  EXPECT_LE(most, memory.share(MemoryUse::kOpenFiles) * 3 / 2);
  rows.AddTail(nullptr);
  auto written = Write(rows);
  ASSERT_TRUE(written.has_value()) << written.error().ToString();
  EXPECT_EQ(written->files.size(), 30U);
  EXPECT_EQ(written->rows, 300'000);
}

TEST_F(TableRowsTest, WhatASpillFileDoesNotGiveBackIsLostAndNotWritten) {
  for (int fault = 0; fault < 3; ++fault) {
    for (bool kept_file : {false, true}) {
      MemoryBudget memory(int64_t{64} << 10);
      env::MemorySpill disk;
      Spill spill(&disk, int64_t{1} << 30);
      if (fault == 0) disk.TearAppend(1);
      Plain plain = MakePlain(3, 100);
      TableRows::Limits limits;
      limits.row_group_bytes_max = 4 << 10;
      if (kept_file) limits.direct_rows_min = 1;
      memory.Set(MemoryUse::kRows, 1 << 20);  // somebody else's
      TableRows rows(plain.table, 0, memory, spill, limits);
      for (int slab = 0; slab < 20; ++slab) rows.Add(plain.Next(600));
      rows.AddTail(nullptr);
      ASSERT_GT(spill.bytes(), 0);
      if (fault == 1) disk.set_lies(true);
      if (fault == 2) disk.set_reads_fail(true);
      auto written = Write(rows);
      EXPECT_FALSE(written.has_value());
      EXPECT_TRUE(rows.lost());
      EXPECT_FALSE(spill.usable()) << "the same would happen again";
    }
  }
}

TEST_F(TableRowsTest, AFullDiskKeepsRowsInMemoryUntilTheNextBatch) {
  MemoryBudget memory(int64_t{1} << 20);
  Spill spill(&disk_, int64_t{1} << 30);
  disk_.set_bytes_max(0);
  memory.Set(MemoryUse::kRows, 1 << 20);
  Plain plain = MakePlain(3, 100);
  {
    TableRows rows(plain.table, 0, memory, spill);
    EXPECT_TRUE(spill.usable());
    rows.Add(plain.Next(1'000));
    EXPECT_FALSE(spill.usable());
    rows.AddTail(plain.Next(5));
    auto written = Write(rows);
    ASSERT_TRUE(written.has_value()) << written.error().ToString();
    ExpectSame(ReadSorted(*written), plain.batches);
  }
  spill.EndBatch();
  EXPECT_TRUE(spill.usable());
  EXPECT_EQ(memory.used(), 1 << 20);  // all is given back
}

TEST_F(TableRowsTest, SpillFilesGoWithTheRowsThatAreInThem) {
  MemoryBudget memory(int64_t{1} << 20);
  Spill spill(&disk_, 300'000);
  memory.Set(MemoryUse::kRows, 1 << 20);
  Plain plain = MakePlain(3, 100);
  auto first = std::make_unique<TableRows>(plain.table, 0, memory, spill);
  first->Add(plain.Next(2'000));
  spill.EndBatch();
  auto second = std::make_unique<TableRows>(plain.table, 0, memory, spill);
  second->Add(plain.Next(2'000));
  EXPECT_EQ(disk_.files(), 2);
  EXPECT_EQ(disk_.bytes(), spill.bytes());
  first.reset();
  EXPECT_EQ(disk_.files(), 1);
  EXPECT_EQ(disk_.bytes(), spill.bytes());
  for (int slab = 0; slab < 40; ++slab) second->Add(plain.Next(2'000));
  EXPECT_LE(spill.bytes(), 300'000);
  EXPECT_FALSE(spill.usable());
}

TEST_F(TableRowsTest, WhatCannotBePackedFailsTheCommit) {
  MemoryBudget memory(int64_t{64} << 20);
  Spill spill(nullptr, 0);
  Plain plain = MakePlain(3, 10);
  plain.table->metadata.properties["write.parquet.compression-codec"] = "lzo";
  TableRows rows(plain.table, 0, memory, spill);
  rows.Add(plain.Next(10));
  rows.AddTail(plain.Next(10));
  EXPECT_EQ(rows.rows(), 20);
  for (int attempt = 0; attempt < 2; ++attempt) EXPECT_EQ(Write(rows).error().code(), ErrorCode::kInvalidInput);
  EXPECT_FALSE(rows.lost());
  TableRows gone(plain.table, 99, memory, spill);
  gone.AddTail(plain.Next(1));
  EXPECT_EQ(Write(gone).error().code(), ErrorCode::kConflict);
}

TEST_F(TableRowsTest, WhatAFailedAttemptHasSentIsNotSentAgain) {
  MemoryBudget memory(int64_t{64} << 20);
  Spill spill(nullptr, 0);
  Plain plain = MakePlain(10, 100);
  TableRows rows(plain.table, 0, memory, spill);
  rows.Add(plain.Next(500));
  rows.AddTail(plain.Next(500));
  faulty_.Inject({.call = env::StoreCall::kClose, .nth = 6});
  EXPECT_FALSE(Write(rows, 1).has_value());
  EXPECT_EQ(faulty_.calls(env::StoreCall::kOpenWrite), 6);
  faulty_.Inject({.call = env::StoreCall::kStat});
  EXPECT_FALSE(Write(rows, 1).has_value());
  EXPECT_EQ(faulty_.calls(env::StoreCall::kOpenWrite), 11);
  auto written = Write(rows, 1);
  ASSERT_TRUE(written.has_value()) << written.error().ToString();
  EXPECT_EQ(faulty_.calls(env::StoreCall::kOpenWrite), 11);
  EXPECT_EQ(written->rows, 1'000);
  EXPECT_EQ(written->files.size(), 10U);
  EXPECT_GT(written->store_time_ms, 0);
  ExpectSame(ReadSorted(*written), plain.batches);
}

// A long row is a block by itself, and a merge holds one of each run.
TEST_F(TableRowsTest, RunsOfLongRowsMakeTheCommitDue) {
  for (bool sorted : {false, true}) {
    MemoryBudget memory(int64_t{64} << 20);
    Spill spill(&disk_, int64_t{1} << 30);
    Plain plain = MakePlain(1, 1 << 20, sorted);
    TableRows rows(plain.table, 0, memory, spill, {.run_block_bytes = memory.run_block_bytes()});
    while (!rows.full()) rows.Add(plain.Next(1));
    EXPECT_LE(rows.run_count(), sorted ? 6U : kRunsMax);
    EXPECT_GE(rows.run_count(), sorted ? 4U : kRunsMax);
    rows.AddTail(nullptr);
    auto written = Write(rows);
    ASSERT_TRUE(written.has_value()) << written.error().ToString();
    ExpectSame(ReadSorted(*written), plain.batches);
    Plain shorter = MakePlain(1, 100, sorted);
    TableRows ordinary(shorter.table, 0, memory, spill, {.run_block_bytes = memory.run_block_bytes()});
    while (!ordinary.full()) ordinary.Add(shorter.Next(300));
    EXPECT_EQ(ordinary.run_count(), kRunsMax);
  }
}

// What was wanting may be there when the rows are read again: no reason to give the table up.
TEST_F(TableRowsTest, RowsThatCouldNotBePackedForWantOfRoomAreLost) {
  const schema::Schema schema{.fields = {RowField()}};
  const auto table = MakeTable(schema, {3, {}}, {});
  MemoryBudget memory(int64_t{64} << 20);
  Spill spill(nullptr, 0);
  TableRows rows(table, table->metadata.current_schema_id, memory, spill);
  arrow::Int64Builder numbers;
  ASSERT_TRUE(numbers.Append(1).ok());
  // More rows than can be grouped, as the batch says; the array is not looked at.
  rows.Add(arrow::RecordBatch::Make(columnar::ToArrowSchema(schema), int64_t{1} << 31,
                                    arrow::ArrayVector{numbers.Finish().ValueOrDie()}));
  rows.AddTail(nullptr);
  EXPECT_EQ(Write(rows).error().code(), ErrorCode::kResourceExhausted);
  EXPECT_TRUE(rows.lost());
}

TEST(MemoryBudget, SharesAddUpToTheLimit) {
  MemoryBudget memory(int64_t{512} << 20);
  int64_t sum = 0;
  for (size_t i = 0; i < kMemoryUses; ++i) sum += memory.share(static_cast<MemoryUse>(i));
  EXPECT_LE(sum, memory.limit());
  EXPECT_GE(sum, memory.limit() * 15 / 16);
  EXPECT_LE(2 * memory.slab_bytes_max(), memory.share(MemoryUse::kSlabs));
  EXPECT_EQ(memory.commit_threads(2), 2);
  EXPECT_EQ(MemoryBudget(int64_t{128} << 20).commit_threads(2), 1);
  // Metadata that outgrows its share takes from the waiting rows, but never all.
  const int64_t rows = memory.share(MemoryUse::kRows);
  memory.Set(MemoryUse::kMetadata, memory.share(MemoryUse::kMetadata) + 1000);
  EXPECT_EQ(memory.share(MemoryUse::kRows), rows - 500);
  // So does a client's queue that the configuration makes larger.
  memory.Set(MemoryUse::kClientQueue, memory.share(MemoryUse::kClientQueue) + 1000);
  EXPECT_EQ(memory.share(MemoryUse::kRows), rows - 1000);
  memory.Set(MemoryUse::kMetadata, memory.limit());
  EXPECT_GT(memory.share(MemoryUse::kRows), 0);
}

TEST(MemoryBudget, IndexesOfSpilledRowsHaveABoundToo) {
  MemoryBudget memory(int64_t{512} << 20);
  memory.Set(MemoryUse::kRows, memory.share(MemoryUse::kRows) + 1);
  EXPECT_TRUE(memory.rows_full(false));
  EXPECT_FALSE(memory.rows_full(true));
  memory.Set(MemoryUse::kRows, memory.share(MemoryUse::kRows) * 2);
  EXPECT_TRUE(memory.rows_full(true));
}

}  // namespace
}  // namespace firn::ingest
