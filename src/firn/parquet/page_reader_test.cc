#include "firn/parquet/page_reader.h"

#include <arrow/api.h>
#include <gtest/gtest.h>
#include <parquet/arrow/writer.h>
#include <parquet/column_page.h>
#include <parquet/column_reader.h>
#include <parquet/statistics.h>

#include "firn/parquet/parquet_file_for_test.h"
#include "firn/parquet/random_rows_for_test.h"

namespace firn::parquet {
namespace {

namespace pq = ::parquet;

ParquetFileForTest RandomFile(uint64_t seed, const FileLayoutOptions& options, int64_t rows) {
  RandomRows random(seed);
  auto file = WriteParquet(random.schema(), options, {random.MakeBatch(rows)});
  EXPECT_TRUE(file.has_value()) << file.error().ToString();
  return *std::move(file);
}

std::string_view Text(const std::string& text) {
  return text;
}

void ExpectSameSchema(const InputFooter& footer, const pq::FileMetaData& metadata) {
  ASSERT_EQ(footer.leaves.size(), static_cast<size_t>(metadata.num_columns()));
  for (int i = 0; i < metadata.num_columns(); ++i) {
    const pq::ColumnDescriptor& column = *metadata.schema()->Column(i);
    const FileNode& leaf = footer.nodes[static_cast<size_t>(footer.leaves[static_cast<size_t>(i)])];
    EXPECT_EQ(leaf.name, Text(column.name()));
    EXPECT_EQ(leaf.physical_type, static_cast<int32_t>(column.physical_type()));
    EXPECT_EQ(leaf.definition_level, column.max_definition_level());
    EXPECT_EQ(leaf.repetition_level, column.max_repetition_level());
    EXPECT_EQ(leaf.field_id, column.schema_node()->field_id());
    EXPECT_EQ(leaf.annotation == Annotation::kDecimal, column.logical_type()->is_decimal());
    if (leaf.annotation == Annotation::kDecimal) {
      EXPECT_EQ(leaf.precision, column.type_precision());
      EXPECT_EQ(leaf.scale, column.type_scale());
    }
    EXPECT_EQ(leaf.annotation == Annotation::kTimestampMicros, column.logical_type()->is_timestamp());
    EXPECT_EQ(leaf.annotation == Annotation::kUuid, column.logical_type()->is_UUID());
  }
}

void ExpectSamePages(std::string_view bytes, const FileChunk& chunk, pq::PageReader& arrow_pages) {
  auto pages = ReadPages(bytes, chunk);
  ASSERT_TRUE(pages.has_value()) << pages.error().ToString();
  size_t at = 0;
  while (auto page = arrow_pages.NextPage()) {
    if (page->type() == pq::PageType::DICTIONARY_PAGE) {
      ASSERT_TRUE(pages->dictionary.has_value());
      EXPECT_EQ(pages->dictionary->num_values, static_cast<const pq::DictionaryPage&>(*page).num_values());
      continue;
    }
    ASSERT_LT(at, pages->data.size());
    const auto& data = static_cast<const pq::DataPage&>(*page);
    EXPECT_EQ(pages->data[at].num_values, data.num_values());
    EXPECT_EQ(pages->data[at].encoding, static_cast<int32_t>(data.encoding()));
    EXPECT_EQ(pages->data[at].uncompressed_bytes, data.uncompressed_size());
    ++at;
  }
  EXPECT_EQ(at, pages->data.size());
}

// Footer and pages as Arrow's reader sees them, of random files.
TEST(PageReader, SeesWhatArrowSees) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    FileLayoutOptions options;
    options.page_version = seed % 2 == 0 ? 1 : 2;
    options.page_checksum = seed % 3 == 0;
    options.row_group_rows_max = 700;
    options.page_rows_max = 100;
    const ParquetFileForTest file = RandomFile(seed, options, 1500);
    auto footer = ReadFooter(file.bytes);
    ASSERT_TRUE(footer.has_value()) << footer.error().ToString();
    auto reader = file.Open();
    ASSERT_NO_FATAL_FAILURE(ExpectSameSchema(*footer, *reader->metadata()));
    EXPECT_EQ(footer->num_rows, 1500);
    EXPECT_TRUE(footer->has_type_order);
    ASSERT_EQ(footer->row_groups.size(), static_cast<size_t>(reader->metadata()->num_row_groups()));
    for (size_t group = 0; group < footer->row_groups.size(); ++group) {
      auto arrow_group = reader->RowGroup(static_cast<int>(group));
      EXPECT_EQ(footer->row_groups[group].num_rows, arrow_group->metadata()->num_rows());
      for (size_t column = 0; column < footer->leaves.size(); ++column) {
        const FileChunk& chunk = footer->row_groups[group].chunks[column];
        auto theirs = arrow_group->metadata()->ColumnChunk(static_cast<int>(column));
        ASSERT_NO_FATAL_FAILURE(
            ExpectSamePages(file.bytes, chunk, *arrow_group->GetColumnPageReader(static_cast<int>(column))));
        ASSERT_TRUE(chunk.statistics.null_count.has_value());
        auto statistics = theirs->encoded_statistics();
        EXPECT_EQ(*chunk.statistics.null_count, statistics->null_count);
        EXPECT_EQ(chunk.statistics.min.has_value(), statistics->has_min);
        if (statistics->has_min && chunk.statistics.min.has_value()) {
          EXPECT_EQ(*chunk.statistics.min, Text(statistics->min()));
          EXPECT_EQ(*chunk.statistics.max, Text(statistics->max()));
        }
      }
    }
  }
}

TEST(PageReader, PageIndexNamesThePages) {
  FileLayoutOptions options;
  options.page_rows_max = 100;
  const ParquetFileForTest file = RandomFile(3, options, 1000);
  auto footer = ReadFooter(file.bytes);
  ASSERT_TRUE(footer.has_value());
  for (const FileChunk& chunk : footer->row_groups[0].chunks) {
    ASSERT_TRUE(chunk.offset_index.has_value());
    auto pages = ReadPages(file.bytes, chunk);
    auto locations = ReadOffsetIndex(file.bytes, *chunk.offset_index);
    ASSERT_TRUE(pages.has_value() && locations.has_value());
    ASSERT_EQ(locations->size(), pages->data.size());
    for (size_t i = 0; i < locations->size(); ++i) EXPECT_EQ((*locations)[i].offset, pages->data[i].offset);
    EXPECT_EQ((*locations)[0].first_row, 0);
    if (!chunk.column_index.has_value()) continue;
    auto index = ReadColumnIndex(file.bytes, *chunk.column_index);
    ASSERT_TRUE(index.has_value()) << index.error().ToString();
    EXPECT_EQ(index->null_pages.size(), locations->size());
  }
}

// Integer annotations have a one-byte field, which only foreign writers store.
TEST(PageReader, ReadsIntegerAnnotations) {
  auto schema = arrow::schema({arrow::field("a", arrow::int16()), arrow::field("b", arrow::uint32())});
  auto batch = arrow::RecordBatch::MakeEmpty(schema).ValueOrDie();
  auto table = arrow::Table::FromRecordBatches({batch}).ValueOrDie();
  auto sink = arrow::io::BufferOutputStream::Create().ValueOrDie();
  ASSERT_TRUE(pq::arrow::WriteTable(*table, arrow::default_memory_pool(), sink).ok());
  auto bytes = sink->Finish().ValueOrDie()->ToString();
  auto footer = ReadFooter(bytes);
  ASSERT_TRUE(footer.has_value()) << footer.error().ToString();
  EXPECT_EQ(footer->nodes[1].annotation, Annotation::kSignedInteger);
  EXPECT_EQ(footer->nodes[1].integer_bits, 16);
  EXPECT_EQ(footer->nodes[2].annotation, Annotation::kOther);
}

// Whatever is cut off or changed: an error or a result, never a read outside (the sanitizers watch).
TEST(PageReader, DamageIsAnError) {
  FileLayoutOptions options;
  options.page_checksum = true;
  const ParquetFileForTest file = RandomFile(5, options, 300);
  for (size_t length = 0; length < file.bytes.size(); length += 7) {
    EXPECT_FALSE(ReadFooter(std::string_view(file.bytes).substr(0, length)).has_value());
  }
  for (size_t i = 4; i + 8 < file.bytes.size(); i += 3) {
    std::string damaged = file.bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x55);
    auto footer = ReadFooter(damaged);
    if (!footer.has_value()) continue;
    for (const FileRowGroup& group : footer->row_groups) {
      for (const FileChunk& chunk : group.chunks) (void)ReadPages(damaged, chunk);
    }
  }
}

TEST(PageReader, ChecksumsAreChecked) {
  FileLayoutOptions options;
  options.page_checksum = true;
  ParquetFileForTest file = RandomFile(6, options, 300);
  auto footer = ReadFooter(file.bytes);
  ASSERT_TRUE(footer.has_value());
  const FileChunk& chunk = footer->row_groups[0].chunks[0];
  auto pages = ReadPages(file.bytes, chunk);
  ASSERT_TRUE(pages.has_value());
  ASSERT_FALSE(pages->data[0].body.empty());
  const auto at = static_cast<size_t>(pages->data[0].body.data() - file.bytes.data());
  std::string damaged = file.bytes;
  damaged[at] = static_cast<char>(damaged[at] ^ 1);
  auto wrong = ReadPages(damaged, chunk);
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(wrong.error().code(), ErrorCode::kCorruption);
}

}  // namespace
}  // namespace firn::parquet
