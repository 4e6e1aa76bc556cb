// Random schemas, rows and options through the writer: the values read back are those written, the metrics are those
// counted while the rows were made.
#include <arrow/compare.h>
#include <arrow/record_batch.h>

#include <cmath>

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

    auto expected = *arrow::Table::FromRecordBatches(columnar::ToArrowSchema(rows.schema()), batches);
    auto actual = file->Read();
    ASSERT_NE(actual, nullptr);
    ASSERT_TRUE(actual->ValidateFull().ok());
    EXPECT_TRUE(actual->schema()->Equals(*expected->schema(), /*check_metadata=*/false))
        << actual->schema()->ToString() << expected->schema()->ToString();
    EXPECT_TRUE(actual->Equals(*expected, arrow::EqualOptions::Defaults().nans_equal(true).signed_zeros_equal(false)));
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, FileLayoutProperty, ::testing::Range(0, 8));

}  // namespace
}  // namespace firn::parquet
