#include "firn/ingest/data_files.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <gtest/gtest.h>
#include <parquet/arrow/reader.h>

#include "firn/columnar/column_builder.h"
#include "firn/env/testing/manual_clock.h"
#include "firn/env/testing/memory_store.h"
#include "firn/ingest/table_rows.h"
#include "firn/schema/value.h"

namespace firn::ingest {
namespace {

using schema::Type;
using schema::TypeKind;

constexpr int32_t kColumns = 105;  // beyond the hundred that have bounds by default
constexpr int32_t kSortColumn = kColumns;

// c1 ... c104 hold the row's number, c105 is to be sorted by.
iceberg::LoadedTable WideTable(std::vector<schema::SortField> order, iceberg::Properties properties = {}) {
  iceberg::CreateTableRequest request;
  request.location = "file:///lake/wide";
  request.properties = std::move(properties);
  for (int32_t id = 1; id <= kColumns; ++id) {
    schema::Field field;
    field.id = FieldId{id};
    field.name = "c" + std::to_string(id);
    field.type = Type::Primitive(TypeKind::kLong);
    request.schema.fields.push_back(std::move(field));
  }
  iceberg::LoadedTable table;
  table.identifier = {{"lake"}, "wide"};
  table.metadata = iceberg::NewTableMetadata(request, "9c12d441-03fe-4693-9a96-a0705ddf69c1", 1).value();
  table.metadata.sort_orders.push_back({7, std::move(order)});
  table.metadata.default_sort_order_id = 7;
  return table;
}

schema::SortField SortBy(int32_t source, std::string_view transform = "identity") {
  schema::SortField field;
  field.source_id = FieldId{source};
  field.transform = schema::Transform::Parse(transform).value();
  return field;
}

std::shared_ptr<arrow::RecordBatch> Rows(const schema::Schema& schema, const std::vector<int64_t>& sort_values) {
  columnar::RowBuilder builder(schema);
  for (size_t row = 0; row < sort_values.size(); ++row) {
    for (size_t column = 0; column + 1 < schema.fields.size(); ++column) {
      builder.column(column).AppendInt64(static_cast<int64_t>(row));
    }
    builder.column(schema.fields.size() - 1).AppendInt64(sort_values[row]);
    builder.CloseRow();
  }
  return builder.Finish();
}

class DataFilesTest : public testing::Test {
 protected:
  Result<WrittenFiles> Write(const iceberg::LoadedTable& table, const std::vector<int64_t>& sort_values) {
    TableRows rows(std::make_shared<iceberg::LoadedTable>(table), table.metadata.current_schema_id, memory_, spill_);
    rows.AddTail(Rows(table.metadata.CurrentSchema(), sort_values));
    return WriteDataFiles(rows, store_, random_, env::SystemThreads(), 1);
  }

  std::vector<int64_t> SortColumnOf(const iceberg::DataFile& file) {
    auto input =
        std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(store_.Read(file.file_path).value()));
    auto reader = ::parquet::arrow::OpenFile(input, arrow::default_memory_pool()).ValueOrDie();
    std::shared_ptr<arrow::Table> read = reader->ReadTable().ValueOrDie();
    std::vector<int64_t> values;
    for (const auto& chunk : read->column(kSortColumn - 1)->chunks()) {
      const auto& numbers = static_cast<const arrow::Int64Array&>(*chunk);
      for (int64_t i = 0; i < numbers.length(); ++i) values.push_back(numbers.Value(i));
    }
    return values;
  }

  env::MemoryStore store_;
  env::SeededRandom random_{3};
  MemoryBudget memory_{int64_t{512} << 20};
  Spill spill_{nullptr, 0};
};

TEST_F(DataFilesTest, SortedRowsSayTheirOrderAndKeepBoundsOfItsColumns) {
  auto written = Write(WideTable({SortBy(kSortColumn)}), {5, -1, 9, 3});
  ASSERT_TRUE(written.has_value()) << written.error().ToString();
  ASSERT_EQ(written->files.size(), 1u);
  const iceberg::DataFile& file = written->files[0].file;
  EXPECT_EQ(file.sort_order_id, 7);
  EXPECT_EQ(SortColumnOf(file), (std::vector<int64_t>{-1, 3, 5, 9}));
  const Type& type = *Type::Primitive(TypeKind::kLong);
  ASSERT_TRUE(file.lower_bounds.contains(kSortColumn));
  EXPECT_EQ(file.lower_bounds.at(kSortColumn), schema::SerializeSingleValue(type, int64_t{-1}));
  EXPECT_EQ(file.upper_bounds.at(kSortColumn), schema::SerializeSingleValue(type, int64_t{9}));
  EXPECT_FALSE(file.lower_bounds.contains(kSortColumn - 1));
}

TEST_F(DataFilesTest, AnOrderThatCannotBeComputedLeavesRowsAsTheyAre) {
  for (const schema::SortField& field :
       {SortBy(kSortColumn, "zorder[3]"), SortBy(999), SortBy(kSortColumn, "truncate[0x]")}) {
    auto table = WideTable({SortBy(kSortColumn), field});
    auto written = Write(table, {5, -1, 9, 3});
    ASSERT_TRUE(written.has_value()) << written.error().ToString();
    const iceberg::DataFile& file = written->files.at(0).file;
    EXPECT_FALSE(file.sort_order_id.has_value());
    EXPECT_EQ(SortColumnOf(file), (std::vector<int64_t>{5, -1, 9, 3}));
    EXPECT_TRUE(CheckWriteProperties(table.metadata).has_value());
  }
}

TEST_F(DataFilesTest, PropertiesThatCannotBeFollowedAreNamedBeforeAnythingIsWritten) {
  EXPECT_TRUE(CheckWriteProperties(WideTable({}).metadata).has_value());
  const std::pair<const char*, const char*> properties[] = {
      {"write.parquet.compression-codec", "lzo"},
      {"write.target-file-size-bytes", "512MB"},
      {"write.target-file-size-bytes", "0"},
      {"write.metadata.metrics.default", "some"},
  };
  for (const auto& [key, value] : properties) {
    const iceberg::LoadedTable table = WideTable({}, {{key, value}});
    const Status status = CheckWriteProperties(table.metadata);
    ASSERT_FALSE(status.has_value()) << key;
    EXPECT_EQ(status.error().code(), ErrorCode::kInvalidInput) << key;
    EXPECT_EQ(Write(table, {1}).error().code(), ErrorCode::kInvalidInput) << key;
  }
  EXPECT_EQ(store_.object_count(), 0u);
}

TEST_F(DataFilesTest, NamesThatAreNotUtf8DoNoHarm) {
  auto table = WideTable({});
  table.metadata.schemas[0].fields[0].name = "caf\xe9";
  table.metadata.schemas[0].fields[1].doc = "\xff";
  auto written = Write(table, {1, 2});
  ASSERT_TRUE(written.has_value()) << written.error().ToString();
  EXPECT_EQ(written->rows, 2);
}

}  // namespace
}  // namespace firn::ingest
