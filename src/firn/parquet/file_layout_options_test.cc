#include <gtest/gtest.h>

#include "firn/parquet/file_layout.h"

namespace firn::parquet {
namespace {

using Properties = std::map<std::string, std::string>;
using schema::Field;
using schema::Schema;
using schema::Type;
using schema::TypeKind;

Field Column(int32_t id, std::string name, schema::TypePtr type) { return {FieldId{id}, std::move(name), type}; }

Schema TestSchema() {
  auto text = Type::Primitive(TypeKind::kString);
  return {.fields = {Column(1, "id", Type::Primitive(TypeKind::kLong)),
                     Column(2, "ok", Type::Primitive(TypeKind::kBoolean)),
                     Column(3, "src", Type::Struct({Column(4, "ip", text)})),
                     Column(5, "tags", Type::List(Column(6, "element", text)))}};
}

FileLayoutOptions Good(const Properties& properties, const schema::SortOrder& order = {}) {
  auto options = FileLayoutOptionsFromProperties(properties, TestSchema(), order);
  EXPECT_TRUE(options.has_value()) << options.error().ToString();
  return options.value_or(FileLayoutOptions{});
}

TEST(FileLayoutOptions, DefaultsAreJavasButForTheLevel) {
  auto options = Good({});
  EXPECT_EQ(options.compression_codec, "zstd");
  EXPECT_EQ(options.compression_level, -1);
  EXPECT_EQ(options.row_group_bytes_max, 134'217'728);
  EXPECT_EQ(options.page_bytes_max, 1'048'576);
  EXPECT_EQ(options.page_rows_max, 20'000);
  EXPECT_EQ(options.dictionary_bytes_max, 2'097'152);
  EXPECT_EQ(options.page_version, 1);
  EXPECT_TRUE(options.bloom_filter_fpp.empty());
  EXPECT_TRUE(options.metrics.empty());
  EXPECT_EQ(options.default_metrics.mode, MetricsMode::kTruncate);
  EXPECT_EQ(options.default_metrics.truncate_length, 16);
}

TEST(FileLayoutOptions, EveryPropertyIsRead) {
  auto options = Good({{"write.parquet.row-group-size-bytes", "1000"},
                       {"write.parquet.page-size-bytes", "2000"},
                       {"write.parquet.page-row-limit", "30"},
                       {"write.parquet.dict-size-bytes", "4000"},
                       {"write.parquet.page-version", "v2"},
                       {"write.parquet.compression-codec", "GZIP"},
                       {"write.parquet.compression-level", "9"},
                       {"write.parquet.bloom-filter-enabled.column.src.ip", "TRUE"},
                       {"write.parquet.bloom-filter-fpp.column.src.ip", "0.2"},
                       {"write.parquet.bloom-filter-ndv.column.src.ip", "77"},
                       {"write.parquet.bloom-filter-enabled.column.tags.element", "true"},
                       {"write.parquet.bloom-filter-enabled.column.id", "false"},
                       {"write.parquet.bloom-filter-enabled.column.gone", "neither"},
                       {"write.parquet.bloom-filter-max-bytes", "4096"},
                       {"write.parquet.of-another-writer", "?"},
                       {"firn.parquet.encodings", "compatible"},
                       {"firn.parquet.page-checksum", "true"},
                       {"firn.parquet.row-group-row-limit", "500"}});
  EXPECT_EQ(options.row_group_bytes_max, 1000);
  EXPECT_EQ(options.page_bytes_max, 2000);
  EXPECT_EQ(options.page_rows_max, 30);
  EXPECT_EQ(options.dictionary_bytes_max, 4000);
  EXPECT_EQ(options.page_version, 2);
  EXPECT_EQ(options.compression_codec, "gzip");
  EXPECT_EQ(options.compression_level, 9);
  EXPECT_EQ(options.bloom_filter_fpp, (std::map<int32_t, double>{{4, 0.2}, {6, 0.01}}));
  EXPECT_EQ(options.bloom_filter_ndv, (std::map<int32_t, int64_t>{{4, 77}}));
  EXPECT_EQ(options.bloom_filter_bytes_max, 4096);
  EXPECT_FALSE(options.modern_encodings);
  EXPECT_TRUE(options.page_checksum);
  EXPECT_EQ(options.row_group_rows_max, 500);
}

TEST(FileLayoutOptions, BadValuesAreRefused) {
  const Properties bad[] = {
      {{"write.parquet.row-group-size-bytes", "0"}},
      {{"write.parquet.row-group-size-bytes", "-5"}},
      {{"write.parquet.row-group-size-bytes", "99999999999999999999"}},
      {{"write.parquet.page-size-bytes", ""}},
      {{"write.parquet.page-size-bytes", "4294967296"}},
      {{"write.parquet.page-row-limit", "20k"}},
      {{"write.parquet.dict-size-bytes", " 7"}},
      {{"write.parquet.page-version", "3"}},
      {{"write.parquet.compression-codec", "lzo"}},
      {{"write.parquet.compression-level", "23"}},
      {{"write.parquet.compression-level", "-1"}},
      {{"write.parquet.bloom-filter-enabled.column.id", "yes"}},
      {{"write.parquet.bloom-filter-enabled.column.ok", "true"}},
      {{"write.parquet.bloom-filter-enabled.column.id", "true"}, {"write.parquet.bloom-filter-fpp.column.id", "1"}},
      {{"write.parquet.bloom-filter-enabled.column.id", "true"}, {"write.parquet.bloom-filter-fpp.column.id", "nan"}},
      {{"write.parquet.bloom-filter-enabled.column.id", "true"}, {"write.parquet.bloom-filter-ndv.column.id", "0"}},
      {{"write.parquet.bloom-filter-max-bytes", "1"}},
      {{"write.metadata.metrics.default", "truncate(0)"}},
      {{"write.metadata.metrics.default", "truncate(16"}},
      {{"write.metadata.metrics.column.src.ip", "some"}},
      {{"write.metadata.metrics.max-inferred-column-defaults", "-1"}},
      {{"firn.parquet.encodings", "delta"}},
      {{"firn.parquet.page-checksum", "1"}},
  };
  for (const auto& properties : bad) {
    auto options = FileLayoutOptionsFromProperties(properties, TestSchema());
    ASSERT_FALSE(options.has_value()) << properties.begin()->first << "=" << properties.begin()->second;
    EXPECT_EQ(options.error().code(), ErrorCode::kInvalidInput);
  }
}

TEST(FileLayoutOptions, MetricsModes) {
  auto options = Good({{"write.metadata.metrics.default", "Counts"},
                       {"write.metadata.metrics.column.src.ip", "truncate(4)"},
                       {"write.metadata.metrics.column.id", "full"},
                       {"write.metadata.metrics.column.gone", "nonsense"}});
  EXPECT_EQ(options.default_metrics.mode, MetricsMode::kCounts);
  ASSERT_EQ(options.metrics.size(), 2U);
  EXPECT_EQ(options.metrics[4].mode, MetricsMode::kTruncate);
  EXPECT_EQ(options.metrics[4].truncate_length, 4);
  EXPECT_EQ(options.metrics[1].mode, MetricsMode::kFull);
}

TEST(FileLayoutOptions, SortColumnsKeepBounds) {
  schema::Transform bucket{schema::TransformKind::kBucket, 8, ""};
  schema::SortOrder order{1, {{FieldId{4}, schema::Transform{}}, {FieldId{1}, bucket}}};
  auto options = Good({{"write.metadata.metrics.default", "none"}}, order);
  ASSERT_EQ(options.metrics.size(), 1U);
  EXPECT_EQ(options.metrics[4].mode, MetricsMode::kTruncate);
  EXPECT_EQ(options.metrics[4].truncate_length, 16);
  auto overridden = Good(
      {{"write.metadata.metrics.default", "none"}, {"write.metadata.metrics.column.src.ip", "counts"}}, order);
  EXPECT_EQ(overridden.metrics[4].mode, MetricsMode::kCounts);
  EXPECT_TRUE(Good({{"write.metadata.metrics.default", "full"}}, order).metrics.empty());
}

TEST(FileLayoutOptions, BeyondTheLimitOnlyTheFirstColumnsKeepMetrics) {
  // Columns of a struct count before those below it: id, ok, then src.ip.
  auto options = Good({{"write.metadata.metrics.max-inferred-column-defaults", "3"}});
  EXPECT_EQ(options.default_metrics.mode, MetricsMode::kNone);
  ASSERT_EQ(options.metrics.size(), 3U);
  for (int32_t id : {1, 2, 4}) EXPECT_EQ(options.metrics[id].mode, MetricsMode::kTruncate);
  EXPECT_TRUE(Good({{"write.metadata.metrics.max-inferred-column-defaults", "4"}}).metrics.empty());
}

}  // namespace
}  // namespace firn::parquet
