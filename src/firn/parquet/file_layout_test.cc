#include "firn/parquet/file_layout.h"

#include <arrow/builder.h>
#include <arrow/record_batch.h>
#include <arrow/util/key_value_metadata.h>
#include <parquet/bloom_filter.h>
#include <parquet/bloom_filter_reader.h>
#include <parquet/page_index.h>
#include <parquet/schema.h>

#include <cmath>
#include <limits>

#include "firn/columnar/column_builder.h"
#include "firn/parquet/parquet_file_for_test.h"
#include "firn/schema/value.h"

namespace firn::parquet {
namespace {

using schema::Field;
using schema::Schema;
using schema::Type;
using schema::TypeKind;
using schema::TypePtr;
using PhysicalType = ::parquet::Type;

TypePtr Of(TypeKind kind) { return Type::Primitive(kind); }
Field Optional(int32_t id, std::string name, TypePtr type) { return {FieldId{id}, std::move(name), std::move(type)}; }
Field Required(int32_t id, std::string name, TypePtr type) {
  return {FieldId{id}, std::move(name), std::move(type), true};
}

using Batches = std::vector<std::shared_ptr<arrow::RecordBatch>>;

template <typename Fill>
Batches OneBatch(const Schema& schema, int64_t rows, Fill fill) {
  columnar::RowBuilder builder(schema);
  for (int64_t row = 0; row < rows; ++row) {
    fill(builder, row);
    builder.CloseRow();
  }
  return {builder.Finish()};
}

Schema LongColumn() { return {.fields = {Required(1, "n", Of(TypeKind::kLong))}}; }
Batches LongRows(int64_t rows) {
  return OneBatch(LongColumn(), rows, [](auto& builder, int64_t row) { builder.column(0).AppendInt64(row); });
}

struct ExpectedLeaf {
  int32_t id;
  const char* path;
  PhysicalType::type physical;
  std::string logical;
  int32_t length = 0;
};

void ExpectLeaf(const ::parquet::ColumnDescriptor& column, const ExpectedLeaf& leaf) {
  SCOPED_TRACE(leaf.path);
  EXPECT_EQ(column.schema_node()->field_id(), leaf.id);
  EXPECT_EQ(column.path()->ToDotString(), leaf.path);
  EXPECT_EQ(column.physical_type(), leaf.physical);
  EXPECT_EQ(column.logical_type()->ToString(), leaf.logical);
  if (leaf.length > 0) {
    EXPECT_EQ(column.type_length(), leaf.length);
  }
}

TEST(FileLayout, EveryTypeIsStoredAsTheSpecSays) {
  Schema schema{.fields = {
      Required(1, "flag", Of(TypeKind::kBoolean)), Optional(2, "i", Of(TypeKind::kInt)),
      Optional(3, "l", Of(TypeKind::kLong)), Optional(4, "f", Of(TypeKind::kFloat)),
      Optional(5, "d", Of(TypeKind::kDouble)), Optional(6, "d9", Type::Decimal(9, 2)),
      Optional(7, "d10", Type::Decimal(10, 0)), Optional(8, "d18", Type::Decimal(18, 18)),
      Optional(9, "d19", Type::Decimal(19, 3)), Optional(10, "d38", Type::Decimal(38, 10)),
      Optional(11, "date", Of(TypeKind::kDate)), Optional(12, "time", Of(TypeKind::kTime)),
      Optional(13, "ts", Of(TypeKind::kTimestamp)), Optional(14, "tstz", Of(TypeKind::kTimestamptz)),
      Optional(15, "s", Of(TypeKind::kString)), Optional(16, "u", Of(TypeKind::kUuid)),
      Optional(17, "fixed", Type::Fixed(5)), Optional(18, "b", Of(TypeKind::kBinary)),
      Optional(19, "ns", Of(TypeKind::kTimestampNs)), Optional(20, "tzns", Of(TypeKind::kTimestamptzNs))}};
  auto file = WriteParquet(schema, {}, OneBatch(schema, 1, [](auto& builder, int64_t) {
    builder.column(0).AppendBool(true);
    for (size_t i = 1; i < builder.column_count(); ++i) builder.column(i).AppendNull();
  }));
  ASSERT_TRUE(file.has_value()) << file.error().ToString();
  auto ts = [](bool utc, const char* unit) {
    return std::string("Timestamp(isAdjustedToUTC=") + (utc ? "true" : "false") + ", timeUnit=" + unit +
           ", is_from_converted_type=false, force_set_converted_type=false)";
  };
  auto decimal = [](int precision, int scale) {
    return "Decimal(precision=" + std::to_string(precision) + ", scale=" + std::to_string(scale) + ")";
  };
  const ExpectedLeaf leaves[] = {
      {1, "flag", PhysicalType::BOOLEAN, "None"}, {2, "i", PhysicalType::INT32, "None"},
      {3, "l", PhysicalType::INT64, "None"}, {4, "f", PhysicalType::FLOAT, "None"},
      {5, "d", PhysicalType::DOUBLE, "None"}, {6, "d9", PhysicalType::INT32, decimal(9, 2)},
      {7, "d10", PhysicalType::INT64, decimal(10, 0)}, {8, "d18", PhysicalType::INT64, decimal(18, 18)},
      {9, "d19", PhysicalType::FIXED_LEN_BYTE_ARRAY, decimal(19, 3), 9},
      {10, "d38", PhysicalType::FIXED_LEN_BYTE_ARRAY, decimal(38, 10), 16},
      {11, "date", PhysicalType::INT32, "Date"},
      {12, "time", PhysicalType::INT64, "Time(isAdjustedToUTC=false, timeUnit=microseconds)"},
      {13, "ts", PhysicalType::INT64, ts(false, "microseconds")},
      {14, "tstz", PhysicalType::INT64, ts(true, "microseconds")},
      {15, "s", PhysicalType::BYTE_ARRAY, "String"}, {16, "u", PhysicalType::FIXED_LEN_BYTE_ARRAY, "UUID", 16},
      {17, "fixed", PhysicalType::FIXED_LEN_BYTE_ARRAY, "None", 5}, {18, "b", PhysicalType::BYTE_ARRAY, "None"},
      {19, "ns", PhysicalType::INT64, ts(false, "nanoseconds")},
      {20, "tzns", PhysicalType::INT64, ts(true, "nanoseconds")}};
  auto reader = file->Open();
  const auto* parquet_schema = reader->metadata()->schema();
  ASSERT_EQ(parquet_schema->num_columns(), 20);
  for (int i = 0; i < 20; ++i) ExpectLeaf(*parquet_schema->Column(i), leaves[i]);
  EXPECT_TRUE(parquet_schema->Column(0)->schema_node()->is_required());
  EXPECT_TRUE(parquet_schema->Column(1)->schema_node()->is_optional());
}

TEST(FileLayout, NestedColumnsAreThreeLevelWithIdsEverywhere) {
  auto number = Of(TypeKind::kDouble);
  auto location = Type::Struct({Required(11, "lat", number), Optional(12, "lon", number)});
  auto counts = Type::List(Optional(33, "element", Of(TypeKind::kInt)));
  Schema schema{.fields = {
      Optional(1, "place", location),
      Required(2, "tags", Type::List(Required(21, "element", Of(TypeKind::kString)))),
      Optional(3, "attributes", Type::Map(Required(31, "key", Of(TypeKind::kString)), Optional(32, "value", counts)))}};
  auto file = WriteParquet(schema, {}, {});
  ASSERT_TRUE(file.has_value()) << file.error().ToString();
  auto reader = file->Open();
  const auto* columns = reader->metadata()->schema();
  ASSERT_EQ(columns->num_columns(), 5);
  const std::pair<const char*, std::pair<int, int>> expected[] = {
      {"place.lat", {1, 0}}, {"place.lon", {2, 0}}, {"tags.list.element", {1, 1}},
      {"attributes.key_value.key", {2, 1}}, {"attributes.key_value.value.list.element", {5, 2}}};
  const int32_t leaf_ids[] = {11, 12, 21, 31, 33};
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(columns->Column(i)->path()->ToDotString(), expected[i].first);
    EXPECT_EQ(columns->Column(i)->max_definition_level(), expected[i].second.first);
    EXPECT_EQ(columns->Column(i)->max_repetition_level(), expected[i].second.second);
    EXPECT_EQ(columns->Column(i)->schema_node()->field_id(), leaf_ids[i]);
  }
  const auto& root = *columns->group_node();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(root.field(i)->field_id(), i + 1);
  const auto& tags = static_cast<const ::parquet::schema::GroupNode&>(*root.field(1));
  EXPECT_TRUE(tags.logical_type()->is_list());
  EXPECT_EQ(tags.field(0)->field_id(), -1);
  const auto& attributes = static_cast<const ::parquet::schema::GroupNode&>(*root.field(2));
  EXPECT_TRUE(attributes.logical_type()->is_map());
  const auto& entries = static_cast<const ::parquet::schema::GroupNode&>(*attributes.field(0));
  EXPECT_EQ(entries.name(), "key_value");
  EXPECT_EQ(entries.field_id(), -1);
  EXPECT_EQ(entries.field(1)->field_id(), 32);
}

TEST(FileLayout, FooterCarriesTheIcebergSchemaAndNoArrowSchema) {
  auto file = WriteParquet(LongColumn(), {}, LongRows(3));
  ASSERT_TRUE(file.has_value());
  auto metadata = file->Open()->metadata()->key_value_metadata();
  ASSERT_NE(metadata, nullptr);
  EXPECT_EQ(metadata->size(), 1);
  EXPECT_EQ(*metadata->Get("iceberg.schema"), "{\"type\":\"struct\"}");
}

TEST(FileLayout, AnEmptyFileIsAFile) {
  auto file = WriteParquet(LongColumn(), {}, {});
  ASSERT_TRUE(file.has_value()) << file.error().ToString();
  EXPECT_EQ(file->metrics.record_count, 0);
  EXPECT_TRUE(file->metrics.lower_bounds.empty());
  EXPECT_TRUE(file->metrics.split_offsets.empty());
  EXPECT_EQ(file->metrics.value_counts.at(1), 0);
  EXPECT_EQ(file->Read()->num_rows(), 0);
}

TEST(FileLayout, TypesThatParquetCannotStoreAreNamed) {
  std::string bytes;
  for (const auto& type : {Of(TypeKind::kVariant), Of(TypeKind::kUnknown), Type::Struct({}),
                           Type::List(Optional(2, "element", Type::Struct({})))}) {
    Schema schema{.fields = {Optional(1, "v", type)}};
    auto layout = FileLayout::Create(schema, {}, "{}", AppendTo(bytes));
    ASSERT_FALSE(layout.has_value());
    EXPECT_EQ(layout.error().code(), ErrorCode::kUnsupported);
  }
  FileLayoutOptions options;
  options.compression_codec = "lzo";
  auto layout = FileLayout::Create(LongColumn(), options, "{}", AppendTo(bytes));
  ASSERT_FALSE(layout.has_value());
  EXPECT_EQ(layout.error().code(), ErrorCode::kInvalidInput);
  EXPECT_TRUE(bytes.empty());
}

TEST(FileLayout, ABatchOfAnotherShapeIsRefused) {
  Schema other{.fields = {Required(1, "n", Of(TypeKind::kInt))}};
  auto wrong_type = OneBatch(other, 1, [](auto& builder, int64_t) { builder.column(0).AppendInt32(1); });
  Schema two{.fields = {Required(1, "n", Of(TypeKind::kLong)), Required(2, "m", Of(TypeKind::kLong))}};
  auto too_many = OneBatch(two, 1, [](auto& builder, int64_t) {
    builder.column(0).AppendInt64(1);
    builder.column(1).AppendInt64(1);
  });
  for (const auto& batches : {wrong_type, too_many}) {
    auto file = WriteParquet(LongColumn(), {}, batches);
    ASSERT_FALSE(file.has_value());
    EXPECT_EQ(file.error().code(), ErrorCode::kInvalidInput);
  }
}

TEST(FileLayout, ANullInARequiredColumnSpoilsTheFile) {
  auto place = Type::Struct({Required(2, "lat", Of(TypeKind::kLong))});
  Schema schema{.fields = {Optional(1, "place", place)}};
  // Under a null struct there is no value, so no null either.
  auto fine = OneBatch(schema, 2, [](auto& builder, int64_t) { builder.column(0).AppendNull(); });
  auto bad = OneBatch(schema, 2, [](auto& builder, int64_t row) {
    if (row == 0) return builder.column(0).AppendNull();
    builder.column(0).child(0).AppendNull();
    builder.column(0).AppendStruct();
  });
  std::string bytes;
  auto layout = FileLayout::Create(schema, {}, "{}", AppendTo(bytes));
  ASSERT_TRUE(layout.has_value());
  EXPECT_TRUE((*layout)->Write(*fine[0]).has_value());
  auto status = (*layout)->Write(*bad[0]);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code(), ErrorCode::kInvalidInput);
  EXPECT_FALSE((*layout)->Write(*fine[0]).has_value());
  EXPECT_FALSE((*layout)->Close().has_value());
}

// The Arrow type's own nullability must not decide over the levels that are stored.
TEST(FileLayout, NullabilityOfTheBatchesTypesDoesNotMatter) {
  auto place = Type::Struct({Required(2, "lat", Of(TypeKind::kLong)), Optional(3, "lon", Of(TypeKind::kLong))});
  Schema schema{.fields = {Required(1, "place", place)}};
  for (bool nullable : {true, false}) {
    arrow::Int64Builder first, second;
    ASSERT_TRUE(first.AppendValues({1, 2, 3}).ok());
    ASSERT_TRUE(second.Append(7).ok() && second.AppendNull().ok() && second.Append(9).ok());
    arrow::ArrayVector children = {*first.Finish(), *second.Finish()};
    arrow::FieldVector fields = {arrow::field("x", arrow::int64(), nullable), arrow::field("y", arrow::int64(), true)};
    auto structs = *arrow::StructArray::Make(children, fields);
    auto batch = arrow::RecordBatch::Make(arrow::schema({arrow::field("z", structs->type(), nullable)}), 3, {structs});
    auto file = WriteParquet(schema, {}, {batch});
    ASSERT_TRUE(file.has_value()) << file.error().ToString();
    EXPECT_EQ(file->metrics.null_value_counts, (std::map<int32_t, int64_t>{{2, 0}, {3, 1}}));
    auto column = file->Read()->column(0)->chunk(0);
    EXPECT_TRUE(static_cast<const arrow::StructArray&>(*column).field(0)->Equals(children[0]));
    EXPECT_TRUE(static_cast<const arrow::StructArray&>(*column).field(1)->Equals(children[1]));
  }
}

TEST(FileLayout, TheSinksErrorComesBackAsItWas) {
  for (size_t allowed : {size_t{0}, size_t{2000}}) {
    size_t taken = 0;
    auto sink = [&](std::string_view more) -> Status {
      if (taken + more.size() > allowed) return Fail(ErrorCode::kResourceExhausted, "full");
      taken += more.size();
      return {};
    };
    FileLayoutOptions options;
    options.row_group_rows_max = 100;
    auto layout = FileLayout::Create(LongColumn(), options, "{}", sink);
    ASSERT_TRUE(layout.has_value());
    Status status;
    auto batches = LongRows(20'000);
    for (int i = 0; i < 3 && status.has_value(); ++i) status = (*layout)->Write(*batches[0]);
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().code(), ErrorCode::kResourceExhausted);
    auto closed = (*layout)->Close();
    ASSERT_FALSE(closed.has_value());
    EXPECT_EQ(closed.error().code(), ErrorCode::kResourceExhausted);
  }
}

TEST(FileLayout, AFileThatIsGivenUpSendsNothingMore) {
  std::string bytes;
  auto layout = FileLayout::Create(LongColumn(), {}, "{}", AppendTo(bytes));
  ASSERT_TRUE(layout.has_value());
  ASSERT_TRUE((*layout)->Write(*LongRows(20'000)[0]).has_value());
  size_t before = bytes.size();
  layout->reset();
  EXPECT_EQ(bytes.size(), before);
}

TEST(FileLayout, RowGroupsAndPagesKeepTheirLimits) {
  FileLayoutOptions options;
  options.row_group_rows_max = 30'000;
  options.page_rows_max = 7'000;
  auto file = WriteParquet(LongColumn(), options, LongRows(70'000));
  ASSERT_TRUE(file.has_value());
  auto reader = file->Open();
  ASSERT_EQ(reader->metadata()->num_row_groups(), 3);
  ASSERT_EQ(file->metrics.split_offsets.size(), 3U);
  EXPECT_EQ(file->metrics.split_offsets[0], 4);
  for (int group = 0; group < 3; ++group) {
    EXPECT_EQ(reader->metadata()->RowGroup(group)->num_rows(), group < 2 ? 30'000 : 10'000);
    EXPECT_EQ(reader->metadata()->RowGroup(group)->ColumnChunk(0)->data_page_offset(),
              file->metrics.split_offsets[group]);
    auto index = reader->GetPageIndexReader()->RowGroup(group);
    ASSERT_NE(index, nullptr);
    EXPECT_NE(index->GetColumnIndex(0), nullptr);
    auto offsets = index->GetOffsetIndex(0);
    const auto& pages = offsets->page_locations();
    for (size_t page = 1; page < pages.size(); ++page) {
      EXPECT_LE(pages[page].first_row_index - pages[page - 1].first_row_index, 7'000);
    }
    EXPECT_EQ(pages.size(), group < 2 ? 5U : 2U);
  }

  FileLayoutOptions by_bytes;
  by_bytes.row_group_bytes_max = 4'000;
  Schema strings{.fields = {Required(1, "s", Of(TypeKind::kString))}};
  Batches batches;
  for (int i = 0; i < 30; ++i) {
    batches.push_back(OneBatch(strings, 1'000, [&](auto& builder, int64_t row) {
      builder.column(0).AppendBytes(std::to_string(row * 7919 % 1000 * (i + 1) * 104729));
    })[0]);
  }
  auto small = WriteParquet(strings, by_bytes, batches);
  ASSERT_TRUE(small.has_value());
  EXPECT_GT(small->Open()->metadata()->num_row_groups(), 10);
}

TEST(FileLayout, TheSizeIsEstimatedWhileWriting) {
  Schema schema{.fields = {Required(1, "s", Of(TypeKind::kString)), Required(2, "n", Of(TypeKind::kLong))}};
  std::string bytes;
  auto layout = FileLayout::Create(schema, {}, "{}", AppendTo(bytes));
  ASSERT_TRUE(layout.has_value());
  int64_t before = 0;
  uint64_t state = 1;
  for (int i = 0; i < 20; ++i) {
    auto batches = OneBatch(schema, 10'000, [&](auto& builder, int64_t row) {
      state = state * 6364136223846793005 + 1442695040888963407;
      builder.column(0).AppendBytes(std::to_string(state));
      builder.column(1).AppendInt64(row);
    });
    ASSERT_TRUE((*layout)->Write(*batches[0]).has_value());
    EXPECT_GT((*layout)->bytes_estimated(), before);
    EXPECT_GT((*layout)->bytes_buffered(), 0);
    before = (*layout)->bytes_estimated();
  }
  auto metrics = (*layout)->Close();
  ASSERT_TRUE(metrics.has_value());
  EXPECT_NEAR(static_cast<double>(before), static_cast<double>(bytes.size()), 0.15 * static_cast<double>(bytes.size()));
}

// Filters are made for as many rows as a row group may have: they must not be what ends it.
TEST(FileLayout, BloomFiltersDoNotCutRowGroups) {
  Schema schema;
  for (int32_t id = 1; id <= 4; ++id) {
    schema.fields.push_back(Required(id, "n" + std::to_string(id), Of(TypeKind::kLong)));
  }
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  for (int64_t first = 0; first < 40'000; first += 1'000) {
    batches.push_back(OneBatch(schema, 1'000, [&](auto& builder, int64_t row) {
      for (size_t i = 0; i < 4; ++i) builder.column(i).AppendInt64((first + row) * 0x9E3779B97F4A7C15LL);
    })[0]);
  }
  FileLayoutOptions options;
  options.row_group_bytes_max = 2 << 20;
  for (int32_t id = 1; id <= 4; ++id) options.bloom_filter_fpp[id] = 0.01;
  auto file = WriteParquet(schema, options, batches);
  ASSERT_TRUE(file.has_value());
  auto reader = file->Open();
  EXPECT_EQ(reader->metadata()->num_row_groups(), 1);
  // All filters of a row group have half of its bytes.
  options.row_group_bytes_max = 256 << 10;
  auto small = WriteParquet(schema, options, batches);
  ASSERT_TRUE(small.has_value());
  auto small_reader = small->Open();
  EXPECT_LE(small_reader->metadata()->num_row_groups(), 8);
  int64_t bytes = 0;
  for (int i = 0; i < 4; ++i) {
    bytes += small_reader->GetBloomFilterReader().RowGroup(0)->GetColumnBloomFilter(i)->GetBitsetSize();
  }
  EXPECT_LE(bytes, 128 << 10);
}

TEST(FileLayout, BloomFiltersHoldTheirValuesWithinTheirBytes) {
  Schema schema{.fields = {Required(1, "s", Of(TypeKind::kString)), Required(2, "n", Of(TypeKind::kLong))}};
  auto batches = OneBatch(schema, 50'000, [](auto& builder, int64_t row) {
    builder.column(0).AppendBytes("key-" + std::to_string(row));
    builder.column(1).AppendInt64(row);
  });
  FileLayoutOptions options;
  options.bloom_filter_fpp[1] = 0.01;
  auto plenty = WriteParquet(schema, options, batches);
  options.bloom_filter_bytes_max = 4096;
  auto scarce = WriteParquet(schema, options, batches);
  ASSERT_TRUE(plenty.has_value() && scarce.has_value());
  auto reader = plenty->Open();
  auto group = reader->GetBloomFilterReader().RowGroup(0);
  auto filter = group->GetColumnBloomFilter(0);
  ASSERT_NE(filter, nullptr);
  EXPECT_EQ(group->GetColumnBloomFilter(1), nullptr);
  auto holds = [&](const std::string& text) {
    ::parquet::ByteArray bytes(text);
    return filter->FindHash(filter->Hash(&bytes));
  };
  int false_positives = 0;
  for (int i = 0; i < 2000; ++i) {
    EXPECT_TRUE(holds("key-" + std::to_string(i * 25)));
    false_positives += holds("other-" + std::to_string(i));
  }
  EXPECT_LT(false_positives, 60);
  auto small_reader = scarce->Open();
  auto small = small_reader->GetBloomFilterReader().RowGroup(0)->GetColumnBloomFilter(0);
  ASSERT_NE(small, nullptr);
  EXPECT_LE(small->GetBitsetSize(), 4096U);
}

TEST(FileLayout, EncodingsFollowTheData) {
  Schema schema{.fields = {Required(1, "kind", Of(TypeKind::kString)), Required(2, "unique", Of(TypeKind::kString)),
                           Required(3, "time", Of(TypeKind::kTimestamptz)), Required(4, "x", Of(TypeKind::kDouble))}};
  auto batches = OneBatch(schema, 20'000, [](auto& builder, int64_t row) {
    builder.column(0).AppendBytes(row % 3 == 0 ? "login" : "logout");
    builder.column(1).AppendBytes("event-" + std::to_string(row * 48271 % 2147483647));
    builder.column(2).AppendInt64(1'700'000'000'000'000 + row * 1000);
    builder.column(3).AppendDouble(std::sqrt(static_cast<double>(row)));
  });
  using ::parquet::Encoding;
  auto encodings = [&](bool modern) {
    FileLayoutOptions options;
    options.modern_encodings = modern;
    auto file = WriteParquet(schema, options, batches);
    std::vector<Encoding::type> result;
    auto reader = file->Open();
    auto row_group = reader->metadata()->RowGroup(0);
    for (int i = 0; i < 4; ++i) {
      auto chunk = row_group->ColumnChunk(i);
      Encoding::type data = chunk->has_dictionary_page() ? Encoding::RLE_DICTIONARY : Encoding::UNKNOWN;
      for (auto encoding : chunk->encodings()) {
        if (data == Encoding::UNKNOWN && encoding != Encoding::RLE) data = encoding;
      }
      result.push_back(data);
    }
    return result;
  };
  EXPECT_EQ(encodings(true), (std::vector{Encoding::RLE_DICTIONARY, Encoding::DELTA_LENGTH_BYTE_ARRAY,
                                          Encoding::DELTA_BINARY_PACKED, Encoding::BYTE_STREAM_SPLIT}));
  EXPECT_EQ(encodings(false),
            (std::vector{Encoding::RLE_DICTIONARY, Encoding::PLAIN, Encoding::PLAIN, Encoding::PLAIN}));
}

TEST(FileLayoutMetrics, FloatsLeaveNansOutAndWidenZero) {
  Schema schema{.fields = {Optional(1, "f", Of(TypeKind::kFloat)), Optional(2, "d", Of(TypeKind::kDouble)),
                           Optional(3, "nan", Of(TypeKind::kDouble))}};
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const float values[] = {kNan, 0.0F, -0.0F, kNan, 0.0F};
  auto file = WriteParquet(schema, {}, OneBatch(schema, 6, [&](auto& builder, int64_t row) {
    if (row == 5) {
      for (size_t i = 0; i < 3; ++i) builder.column(i).AppendNull();
      return;
    }
    builder.column(0).AppendFloat(values[row]);
    builder.column(1).AppendDouble(row == 0 ? kNan : static_cast<double>(row));
    builder.column(2).AppendDouble(kNan);
  }));
  ASSERT_TRUE(file.has_value());
  const auto& metrics = file->metrics;
  EXPECT_EQ(metrics.nan_value_counts, (std::map<int32_t, int64_t>{{1, 2}, {2, 1}, {3, 5}}));
  EXPECT_EQ(metrics.null_value_counts, (std::map<int32_t, int64_t>{{1, 1}, {2, 1}, {3, 1}}));
  EXPECT_EQ(metrics.value_counts, (std::map<int32_t, int64_t>{{1, 6}, {2, 6}, {3, 6}}));
  EXPECT_EQ(metrics.lower_bounds.at(1), std::string("\0\0\0\x80", 4));
  EXPECT_EQ(metrics.upper_bounds.at(1), std::string("\0\0\0\0", 4));
  EXPECT_EQ(metrics.lower_bounds.at(2), schema::SerializeSingleValue(*Of(TypeKind::kDouble), 1.0));
  EXPECT_EQ(metrics.upper_bounds.at(2), schema::SerializeSingleValue(*Of(TypeKind::kDouble), 4.0));
  EXPECT_FALSE(metrics.lower_bounds.contains(3) || metrics.upper_bounds.contains(3));
}

TEST(FileLayoutMetrics, BoundsAreShortenedAndNeverTooSmall) {
  Schema schema{.fields = {Required(1, "s", Of(TypeKind::kString)), Required(2, "top", Of(TypeKind::kString)),
                           Required(3, "b", Of(TypeKind::kBinary)), Required(4, "huge", Of(TypeKind::kString)),
                           Required(5, "u", Of(TypeKind::kUuid)), Required(6, "n", Type::Decimal(20, 0))}};
  std::string top;
  for (int i = 0; i < 20; ++i) top += "\U0010FFFF";
  std::string uuid = "0123456789abcdef";
  auto file = WriteParquet(schema, {}, OneBatch(schema, 2, [&](auto& builder, int64_t row) {
    builder.column(0).AppendBytes(row == 0 ? "aaaaaaaaaaaaaaaaaaaaaaa" : "\u00e9\u00e9\u00e9\u00e9bbbbbbbbbbbbzz");
    builder.column(1).AppendBytes(row == 0 ? "a" : top);
    builder.column(2).AppendBytes(row == 0 ? std::string(20, '\x01') : std::string(20, '\xff'));
    builder.column(3).AppendBytes(std::string(row == 0 ? 5 : 5000, 'x'));
    builder.column(4).AppendBytes(uuid);
    builder.column(5).AppendDecimal(row == 0 ? -129 : 128);
  }));
  ASSERT_TRUE(file.has_value()) << file.error().ToString();
  const auto& metrics = file->metrics;
  EXPECT_EQ(metrics.lower_bounds.at(1), "aaaaaaaaaaaaaaaa");
  EXPECT_EQ(metrics.upper_bounds.at(1), "\u00e9\u00e9\u00e9\u00e9bbbbbbbbbbbc");
  EXPECT_EQ(metrics.lower_bounds.at(2), "a");
  EXPECT_FALSE(metrics.upper_bounds.contains(2));
  EXPECT_EQ(metrics.lower_bounds.at(3), std::string(16, '\x01'));
  EXPECT_FALSE(metrics.upper_bounds.contains(3));
  // Longer than what the file's own statistics keep: the metrics come from the values all the same.
  EXPECT_EQ(metrics.lower_bounds.at(4), "xxxxx");
  EXPECT_EQ(metrics.upper_bounds.at(4), "xxxxxxxxxxxxxxxy");
  EXPECT_EQ(metrics.value_counts.at(4), 2);
  EXPECT_EQ(metrics.lower_bounds.at(5), uuid);
  EXPECT_EQ(metrics.upper_bounds.at(5), uuid);
  EXPECT_EQ(metrics.lower_bounds.at(6), "\xff\x7f");
  EXPECT_EQ(metrics.upper_bounds.at(6), std::string("\x00\x80", 2));
}

TEST(FileLayoutMetrics, ModesSayWhatIsKept) {
  Schema schema{.fields = {Required(1, "none", Of(TypeKind::kLong)), Required(2, "counts", Of(TypeKind::kLong)),
                           Required(3, "full", Of(TypeKind::kString)),
                           Required(4, "list", Type::List(Required(5, "element", Of(TypeKind::kLong))))}};
  FileLayoutOptions options;
  options.metrics[1] = {MetricsMode::kNone, 0};
  options.metrics[2] = {MetricsMode::kCounts, 0};
  options.metrics[3] = {MetricsMode::kFull, 0};
  std::string text(100, 'y');
  auto file = WriteParquet(schema, options, OneBatch(schema, 3, [&](auto& builder, int64_t row) {
    builder.column(0).AppendInt64(row);
    builder.column(1).AppendInt64(row);
    builder.column(2).AppendBytes(text);
    if (row == 1) {  // [0, 1], then empty lists
      builder.column(3).child(0).AppendInt64(0);
      builder.column(3).child(0).AppendInt64(1);
    }
    builder.column(3).AppendList();
  }));
  ASSERT_TRUE(file.has_value());
  const auto& metrics = file->metrics;
  EXPECT_EQ(metrics.column_sizes.size(), 4U);
  EXPECT_EQ(metrics.value_counts, (std::map<int32_t, int64_t>{{2, 3}, {3, 3}, {5, 4}}));
  EXPECT_EQ(metrics.null_value_counts, (std::map<int32_t, int64_t>{{2, 0}, {3, 0}, {5, 2}}));
  EXPECT_EQ(metrics.lower_bounds, (std::map<int32_t, std::string>{{3, text}}));
  EXPECT_EQ(metrics.upper_bounds, (std::map<int32_t, std::string>{{3, text}}));
}

// Values longer than a page are looked at often enough that pages stay near their limit.
TEST(FileLayout, LongValuesDoNotMakeHugePages) {
  Schema schema{.fields = {Required(1, "s", Of(TypeKind::kString))}};
  FileLayoutOptions options;
  options.compression_codec = "uncompressed";
  auto file = WriteParquet(schema, options, OneBatch(schema, 200, [](auto& builder, int64_t row) {
    builder.column(0).AppendBytes(std::string(100'000, static_cast<char>('a' + row % 26)) + std::to_string(row));
  }));
  ASSERT_TRUE(file.has_value());
  auto reader = file->Open();
  auto offsets = reader->GetPageIndexReader()->RowGroup(0)->GetOffsetIndex(0);
  for (const auto& page : offsets->page_locations()) EXPECT_LE(page.compressed_page_size, 3 << 20);
  EXPECT_EQ(file->Read()->num_rows(), 200);
}

}  // namespace
}  // namespace firn::parquet
