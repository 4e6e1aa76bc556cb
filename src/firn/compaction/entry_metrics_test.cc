#include "firn/compaction/entry_metrics.h"

#include <gtest/gtest.h>

#include "firn/compaction/packed_metrics.h"
#include "firn/schema/value.h"

namespace firn::compaction {
namespace {

using schema::Type;
using schema::TypeKind;
using schema::Value;

schema::Schema TwoColumns() {
  schema::Schema schema;
  schema.fields = {{FieldId{1}, "n", Type::Primitive(TypeKind::kLong)},
                   {FieldId{2}, "d", Type::Primitive(TypeKind::kDouble)}};
  return schema;
}

std::string Long(int64_t value) {
  return schema::SerializeSingleValue(*Type::Primitive(TypeKind::kLong), Value(value));
}

iceberg::DataFile Input(int64_t low, int64_t high) {
  iceberg::DataFile file;
  file.record_count = 10;
  file.value_counts = {{1, 10}, {2, 10}};
  file.null_value_counts = {{1, 1}, {2, 0}};
  file.nan_value_counts = {{2, 3}};
  file.lower_bounds = {{1, Long(low)}};
  file.upper_bounds = {{1, Long(high)}};
  return file;
}

parquet::FileMetrics Merged() {
  parquet::FileMetrics metrics;
  metrics.record_count = 20;
  metrics.file_size_in_bytes = 777;
  metrics.value_counts = {{1, 20}, {2, 20}};
  metrics.null_value_counts = {{1, 2}, {2, 0}};
  metrics.column_sizes = {{1, 5}, {2, 6}};
  metrics.split_offsets = {4};
  return metrics;
}

iceberg::DataFile Fill(const iceberg::DataFile& a, const iceberg::DataFile& b,
                       const parquet::FileLayoutOptions& options = {}) {
  const schema::Schema schema = TwoColumns();
  MergedMetrics metrics(schema, options);
  for (iceberg::DataFile input : {a, b}) {
    // As a plan keeps them.
    const std::string packed = PackMetrics(input, std::nullopt);
    EXPECT_TRUE(input.value_counts.empty() && input.lower_bounds.empty() && input.upper_bounds.empty());
    UnpackMetrics(packed, input);
    metrics.Add(input);
  }
  iceberg::DataFile output;
  metrics.Fill(Merged(), output);
  return output;
}

TEST(EntryMetrics, BoundsEncloseThoseOfAllInputs) {
  const iceberg::DataFile output = Fill(Input(-5, 7), Input(3, 300));
  EXPECT_EQ(output.record_count, 20);
  EXPECT_EQ(output.file_size_in_bytes, 777);
  EXPECT_EQ(output.value_counts, Merged().value_counts);
  EXPECT_EQ(output.null_value_counts, Merged().null_value_counts);
  EXPECT_EQ(output.nan_value_counts, (std::map<int32_t, int64_t>{{2, 6}}));
  EXPECT_EQ(output.lower_bounds, (std::map<int32_t, std::string>{{1, Long(-5)}}));
  EXPECT_EQ(output.upper_bounds, (std::map<int32_t, std::string>{{1, Long(300)}}));
  EXPECT_EQ(output.split_offsets, std::vector<int64_t>{4});
}

TEST(EntryMetrics, WhatAnInputDoesNotSayIsLeftOut) {
  iceberg::DataFile silent = Input(0, 1);
  silent.lower_bounds.clear();
  silent.nan_value_counts.clear();
  iceberg::DataFile output = Fill(Input(-5, 7), silent);
  EXPECT_TRUE(output.lower_bounds.empty());
  EXPECT_EQ(output.upper_bounds.size(), 1u);
  EXPECT_TRUE(output.nan_value_counts.empty());
  // Nothing but nulls has no bounds, and needs none.
  silent.null_value_counts[1] = 10;
  silent.upper_bounds.clear();
  output = Fill(Input(-5, 7), silent);
  EXPECT_EQ(output.lower_bounds.at(1), Long(-5));
  EXPECT_EQ(output.upper_bounds.at(1), Long(7));
}

TEST(EntryMetrics, OlderFilesMayHaveNarrowerBounds) {
  iceberg::DataFile narrow = Input(0, 1);
  narrow.lower_bounds[1] = std::string("\xF6\xFF\xFF\xFF", 4);  // -10 as an int
  EXPECT_EQ(Fill(Input(-5, 7), narrow).lower_bounds.at(1), Long(-10));
}

TEST(PackedMetrics, GiveBackWhatTheyTook) {
  iceberg::DataFile file = Input(-5, 7);
  file.column_sizes = {{1, 40}, {2, 300}};
  file.value_counts[2147483546] = int64_t{1} << 62;
  file.lower_bounds[7] = "";
  file.upper_bounds[200] = std::string(300, 'z');
  iceberg::DataFile packed_file = file;
  const std::string packed = PackMetrics(packed_file, 7);
  EXPECT_EQ(packed_file.lower_bounds, (std::map<int32_t, std::string>{{7, ""}}));
  EXPECT_TRUE(packed_file.column_sizes.empty());
  UnpackMetrics(packed, packed_file);
  EXPECT_EQ(packed_file.column_sizes, file.column_sizes);
  EXPECT_EQ(packed_file.value_counts, file.value_counts);
  EXPECT_EQ(packed_file.null_value_counts, file.null_value_counts);
  EXPECT_EQ(packed_file.nan_value_counts, file.nan_value_counts);
  EXPECT_EQ(packed_file.lower_bounds, file.lower_bounds);
  EXPECT_EQ(packed_file.upper_bounds, file.upper_bounds);
}

TEST(EntryMetrics, ModesHold) {
  parquet::FileLayoutOptions options;
  options.metrics[1].mode = parquet::MetricsMode::kCounts;
  options.metrics[2].mode = parquet::MetricsMode::kNone;
  const iceberg::DataFile output = Fill(Input(-5, 7), Input(3, 300), options);
  EXPECT_EQ(output.value_counts, (std::map<int32_t, int64_t>{{1, 20}}));
  EXPECT_TRUE(output.lower_bounds.empty() && output.upper_bounds.empty() && output.nan_value_counts.empty());
}

}  // namespace
}  // namespace firn::compaction
