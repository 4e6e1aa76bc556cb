// Random schemas, rows and options through the writer: the values read back are those written, the metrics are those
// counted while the rows were made, and what the file says about its pages is what Arrow's readers find in them.
#include <arrow/compare.h>
#include <arrow/record_batch.h>

#include <cmath>

#include "firn/parquet/file_truth_for_test.h"
#include "firn/parquet/parquet_file_for_test.h"
#include "firn/parquet/random_rows_for_test.h"
#include "firn/schema/bounds.h"

namespace firn::parquet {
namespace {

FileLayoutOptions RandomOptions(std::mt19937_64& random, const schema::Schema& schema) {
  constexpr const char* kCodecs[] = {"zstd", "snappy", "gzip", "uncompressed", "lz4", "brotli"};
  FileLayoutOptions options;
  options.compression_codec = kCodecs[random() % 6];
  options.page_version = 1 + static_cast<int32_t>(random() % 2);
  options.page_checksum = random() % 2 == 0;
  options.modern_encodings = random() % 3 != 0;
  options.page_rows_max = 50 + static_cast<int64_t>(random() % 700);
  options.page_bytes_max = 1 << (11 + random() % 9);
  options.row_group_rows_max = 200 + static_cast<int64_t>(random() % 4000);
  if (random() % 2 == 0) options.row_group_bytes_max = 1 << (10 + random() % 8);
  options.default_metrics.mode = random() % 2 == 0 ? MetricsMode::kFull : MetricsMode::kTruncate;
  options.default_metrics.truncate_length = 1 + static_cast<int32_t>(random() % 20);
  for (const auto& leaf : schema::LeafColumns(schema)) {
    if (leaf.field->type->kind() == schema::TypeKind::kBoolean || random() % 4 != 0) continue;
    options.bloom_filter_fpp[leaf.field->id.value()] = 0.05;
  }
  return options;
}

schema::Value WithZeroSign(schema::Value value, bool negative) {
  if (auto* narrow = std::get_if<float>(&value); narrow != nullptr && *narrow == 0) *narrow = negative ? -0.0F : 0.0F;
  if (auto* wide = std::get_if<double>(&value); wide != nullptr && *wide == 0) *wide = negative ? -0.0 : 0.0;
  return value;
}

void ExpectBounds(const FileMetrics& metrics, const ColumnMetricsOptions& mode, const schema::LeafColumn& leaf,
                  const LeafTruth& truth) {
  int32_t id = leaf.field->id.value();
  if (leaf.in_list_or_map || IsNull(truth.smallest)) {
    EXPECT_FALSE(metrics.lower_bounds.contains(id) || metrics.upper_bounds.contains(id));
    return;
  }
  const schema::Type& type = *leaf.field->type;
  std::string lower = SerializeSingleValue(type, WithZeroSign(truth.smallest, true));
  std::optional<std::string> upper = SerializeSingleValue(type, WithZeroSign(truth.largest, false));
  if (mode.mode == MetricsMode::kTruncate) {
    lower = schema::TruncateLower(type, lower, mode.truncate_length);
    upper = schema::TruncateUpper(type, *upper, mode.truncate_length);
  }
  ASSERT_TRUE(metrics.lower_bounds.contains(id));
  EXPECT_EQ(metrics.lower_bounds.at(id), lower);
  ASSERT_EQ(metrics.upper_bounds.contains(id), upper.has_value());
  if (upper.has_value()) {
    EXPECT_EQ(metrics.upper_bounds.at(id), *upper);
  }
}

void ExpectMetrics(const FileMetrics& metrics, const FileLayoutOptions& options, const RandomRows& rows) {
  int64_t column_bytes = 0;
  for (const auto& leaf : schema::LeafColumns(rows.schema())) {
    int32_t id = leaf.field->id.value();
    SCOPED_TRACE(leaf.name + ": " + leaf.field->type->ToString());
    const LeafTruth& truth = rows.truth().at(id);
    EXPECT_EQ(metrics.value_counts.at(id), truth.values);
    EXPECT_EQ(metrics.null_value_counts.at(id), truth.nulls);
    auto kind = leaf.field->type->kind();
    bool is_float = kind == schema::TypeKind::kFloat || kind == schema::TypeKind::kDouble;
    ASSERT_EQ(metrics.nan_value_counts.contains(id), is_float);
    if (is_float) {
      EXPECT_EQ(metrics.nan_value_counts.at(id), truth.nans);
    }
    ExpectBounds(metrics, options.default_metrics, leaf, truth);
    column_bytes += metrics.column_sizes.at(id);
  }
  EXPECT_LT(column_bytes, metrics.file_size_in_bytes);
}

void ExpectRows(const ParquetFileForTest& file, const schema::Schema& schema,
                const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches) {
  auto expected = *arrow::Table::FromRecordBatches(columnar::ToArrowSchema(schema), batches);
  auto actual = file.Read();
  ASSERT_NE(actual, nullptr);
  ASSERT_TRUE(actual->ValidateFull().ok());
  EXPECT_TRUE(actual->schema()->Equals(*expected->schema(), /*check_metadata=*/false))
      << actual->schema()->ToString() << expected->schema()->ToString();
  EXPECT_TRUE(actual->Equals(*expected, arrow::EqualOptions::Defaults().nans_equal(true).signed_zeros_equal(false)));
}

class FileLayoutProperty : public ::testing::TestWithParam<int> {};

TEST_P(FileLayoutProperty, ValuesComeBackAndMetricsAreTrue) {
  for (int round = 0; round < 12; ++round) {
    auto seed = static_cast<uint64_t>(GetParam() * 1000 + round);
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomRows rows(seed);
    std::mt19937_64 random(seed + 77);
    auto options = RandomOptions(random, rows.schema());
    std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
    int64_t total = 0;
    for (int i = 0; i < 5; ++i) {
      auto batch = rows.MakeBatch(static_cast<int64_t>(random() % (i == 4 && round == 0 ? 20'000 : 800)));
      total += batch->num_rows();
      // Slices of a longer batch, with offsets into its buffers, must be no different.
      batches.push_back(batch->Slice(0, batch->num_rows() / 3));
      batches.push_back(batch->Slice(batch->num_rows() / 3));
    }
    auto file = WriteParquet(rows.schema(), options, batches);
    ASSERT_TRUE(file.has_value()) << file.error().ToString();
    EXPECT_EQ(file->metrics.record_count, total);
    EXPECT_EQ(file->metrics.file_size_in_bytes, static_cast<int64_t>(file->bytes.size()));
    ExpectMetrics(file->metrics, options, rows);
    ExpectRows(*file, rows.schema(), batches);
    ExpectTruth(*file, options);
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, FileLayoutProperty, ::testing::Range(0, 8));

// Every way in which structs, lists and maps can lie in one another, `depth` of them, each optional or required.
void NestedTypes(int depth, int32_t& id, std::vector<schema::TypePtr>& out) {
  auto text = schema::Type::Primitive(schema::TypeKind::kString);
  if (depth == 0) {
    out = {text, schema::Type::Primitive(schema::TypeKind::kLong)};
    return;
  }
  std::vector<schema::TypePtr> inner;
  NestedTypes(depth - 1, id, inner);
  for (const auto& type : inner) {
    for (bool required : {false, true}) {
      auto field = [&](std::string name, schema::TypePtr of) {
        return schema::Field{FieldId{++id}, std::move(name), std::move(of), required};
      };
      out.push_back(schema::Type::Struct({field("a", type), field("b", text)}));
      out.push_back(schema::Type::List(field("element", type)));
      schema::Field key{FieldId{++id}, "key", text, true};
      out.push_back(schema::Type::Map(std::move(key), field("value", type)));
    }
  }
}

// Field ids again, so that a schema made of shared types has each of them once.
schema::TypePtr WithFreshIds(const schema::TypePtr& type, int32_t& id) {
  if (type->is_primitive()) return type;
  std::vector<schema::Field> fields = type->fields();
  for (auto& field : fields) {
    field.id = FieldId{++id};
    field.type = WithFreshIds(field.type, id);
  }
  if (type->kind() == schema::TypeKind::kStruct) return schema::Type::Struct(std::move(fields));
  if (type->kind() == schema::TypeKind::kList) return schema::Type::List(std::move(fields[0]));
  return schema::Type::Map(std::move(fields[0]), std::move(fields[1]));
}

// Neither what a file before it has left in the writer nor what stands around its rows in their batch gets into a file.
TEST(FileLayoutReopened, WritesTheFileThatANewOneWrites) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomRows rows(seed);
    std::mt19937_64 random(seed + 5);
    const FileLayoutOptions options = RandomOptions(random, rows.schema());
    std::string bytes;
    auto form = MakeFileForm(rows.schema(), options, "{\"type\":\"struct\"}");
    ASSERT_TRUE(form.has_value()) << form.error().ToString();
    auto layout = FileLayout::Create(*form, AppendTo(bytes));
    for (int file = 0; file < 6; ++file) {
      std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
      if (file > 0) layout->Reopen();
      bytes.clear();
      for (uint64_t parts = random() % 4; parts > 0; --parts) {
        auto batch = rows.MakeBatch(1 + static_cast<int64_t>(random() % (file == 2 ? 5'000 : 150)));
        const auto begin = static_cast<int64_t>(random() % static_cast<uint64_t>(batch->num_rows()));
        const auto left = static_cast<uint64_t>(batch->num_rows() - begin);
        const columnar::RowSlice slice{batch, begin, begin + static_cast<int64_t>(random() % (left + 1))};
        batches.push_back(slice.Batch());
        ASSERT_TRUE(layout->Write(slice).has_value());
      }
      auto metrics = layout->Close();
      ASSERT_TRUE(metrics.has_value()) << metrics.error().ToString();
      auto alone = WriteParquet(rows.schema(), options, batches);
      ASSERT_TRUE(alone.has_value());
      ASSERT_EQ(bytes, alone->bytes) << "file " << file;
      EXPECT_EQ(metrics->lower_bounds, alone->metrics.lower_bounds);
      EXPECT_EQ(metrics->nan_value_counts, alone->metrics.nan_value_counts);
      EXPECT_EQ(metrics->split_offsets, alone->metrics.split_offsets);
    }
  }
}

TEST(FileLayoutNesting, EveryShape) {
  std::vector<schema::TypePtr> types;
  int32_t id = 0;
  for (int depth = 1; depth <= 3; ++depth) {
    std::vector<schema::TypePtr> of_depth;
    NestedTypes(depth, id, of_depth);
    types.insert(types.end(), of_depth.begin(), of_depth.end());
  }
  constexpr size_t kColumns = 12;
  for (size_t begin = 0; begin < types.size(); begin += kColumns) {
    schema::Schema schema;
    int32_t next_id = 0;
    for (size_t i = begin; i < std::min(types.size(), begin + kColumns); ++i) {
      FieldId field_id{++next_id};
      schema.fields.push_back({field_id, "c" + std::to_string(i), WithFreshIds(types[i], next_id), i % 3 == 0});
    }
    SCOPED_TRACE("types from " + std::to_string(begin) + ": " + types[begin]->ToString());
    RandomRows rows(begin, schema);
    auto batch = rows.MakeBatch(300);
    FileLayoutOptions options;
    options.page_version = begin % 2 == 0 ? 1 : 2;
    options.page_rows_max = 70;
    options.page_checksum = true;
    std::vector<std::shared_ptr<arrow::RecordBatch>> batches = {batch->Slice(0, 99), batch->Slice(99)};
    auto file = WriteParquet(schema, options, batches);
    ASSERT_TRUE(file.has_value()) << file.error().ToString();
    ExpectRows(*file, schema, batches);
    ExpectTruth(*file, options);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace firn::parquet
