// What a column chunk looks like in the file: when a dictionary is given up, when a codec is not used, what nulls are.
#include <arrow/record_batch.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <parquet/page_index.h>
#include <parquet/statistics.h>

#include <map>
#include <random>
#include <string>

#include "firn/columnar/column_builder.h"
#include "firn/parquet/file_truth_for_test.h"
#include "firn/parquet/parquet_file_for_test.h"

namespace firn::parquet {
namespace {

using schema::Schema;
using schema::Type;
using schema::TypeKind;
using ::parquet::Encoding;

Schema OneColumn(TypeKind kind) { return {.fields = {{FieldId{1}, "c", Type::Primitive(kind)}}}; }

// Batches of 10,000 rows, so that the encoding is chosen from the first two.
template <typename Fill>
ParquetFileForTest WriteColumn(TypeKind kind, int64_t rows, const FileLayoutOptions& options, Fill fill) {
  Schema schema = OneColumn(kind);
  columnar::RowBuilder builder(schema);
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  for (int64_t row = 0; row < rows; ++row) {
    fill(builder.column(0), row);
    builder.CloseRow();
    if (row % 10'000 == 9'999 || row == rows - 1) batches.push_back(builder.Finish());
  }
  auto file = WriteParquet(schema, options, batches);
  EXPECT_TRUE(file.has_value());
  auto expected = *arrow::Table::FromRecordBatches(columnar::ToArrowSchema(schema), batches);
  EXPECT_TRUE(file->Read()->Equals(*expected));
  ExpectTruth(*file, options);
  return std::move(*file);
}

// How many data pages of row group 0 have each encoding.
std::map<Encoding::type, int> DataPages(const ParquetFileForTest& file, int group = 0) {
  std::map<Encoding::type, int> pages;
  auto reader = file.Open();
  auto row_group = reader->metadata()->RowGroup(group);
  auto chunk = row_group->ColumnChunk(0);
  for (const auto& count : chunk->encoding_stats()) {
    if (count.page_type != ::parquet::PageType::DICTIONARY_PAGE) pages[count.encoding] += count.count;
  }
  return pages;
}

bool HasDictionary(const ParquetFileForTest& file) {
  return file.Open()->metadata()->RowGroup(0)->ColumnChunk(0)->has_dictionary_page();
}

::parquet::Compression::type CodecOf(const ParquetFileForTest& file) {
  return file.Open()->metadata()->RowGroup(0)->ColumnChunk(0)->compression();
}

void AppendUnique(columnar::ColumnBuilder& column, int64_t row) {
  column.AppendBytes("event-" + std::to_string(row * 48'271 % 2'147'483'647));
}

class PageVersions : public ::testing::TestWithParam<int32_t> {
 protected:
  FileLayoutOptions Options() const { return {.page_version = GetParam(), .page_checksum = true}; }
};

TEST_P(PageVersions, ADictionaryThatOutgrowsItsLimitIsFollowedByPlainerPages) {
  FileLayoutOptions options = Options();
  options.dictionary_bytes_max = 200'000;
  auto file = WriteColumn(TypeKind::kString, 100'000, options, [](auto& column, int64_t row) {
    AppendUnique(column, row < 40'000 ? row % 100 : row);
  });
  EXPECT_TRUE(HasDictionary(file));
  auto pages = DataPages(file);
  EXPECT_EQ(pages.size(), 2U);
  EXPECT_GE(pages[Encoding::RLE_DICTIONARY], 2);
  EXPECT_GE(pages[Encoding::DELTA_LENGTH_BYTE_ARRAY], 2);
}

TEST_P(PageVersions, ADictionaryOfMostlyDistinctValuesIsGivenUp) {
  FileLayoutOptions options = Options();
  options.dictionary_bytes_max = 64 << 20;
  auto file = WriteColumn(TypeKind::kString, 200'000, options, [](auto& column, int64_t row) {
    AppendUnique(column, row < 20'000 ? row % 100 : row);
  });
  auto pages = DataPages(file);
  EXPECT_EQ(pages[Encoding::RLE_DICTIONARY], 4);
  EXPECT_EQ(pages[Encoding::DELTA_LENGTH_BYTE_ARRAY], 6);
}

TEST_P(PageVersions, AFirstPageOfDistinctValuesIsTakenBack) {
  // The sample is of the first rows, all null but a few; the page then says otherwise.
  for (TypeKind kind : {TypeKind::kString, TypeKind::kDouble, TypeKind::kLong}) {
    auto file = WriteColumn(kind, 70'000, Options(), [&](auto& column, int64_t row) {
      if (row < 17'000) return column.AppendNull();
      if (kind == TypeKind::kString) return AppendUnique(column, row);
      if (kind == TypeKind::kLong) return column.AppendInt64(row * 7'919);
      column.AppendDouble(static_cast<double>(row) / 7);
    });
    EXPECT_FALSE(HasDictionary(file));
    EXPECT_FALSE(DataPages(file).contains(Encoding::RLE_DICTIONARY));
  }
}

TEST_P(PageVersions, OneSmallPageDecidesByHalfOfItsValues) {
  auto repeated = [&](int64_t variety) {
    // All of it null when the encoding is chosen.
    return WriteColumn(TypeKind::kString, 17'000, Options(), [&](auto& column, int64_t row) {
      if (row < 16'900) return column.AppendNull();
      AppendUnique(column, row % variety);
    });
  };
  FileLayoutOptions options = Options();
  EXPECT_TRUE(HasDictionary(repeated(40)));
  EXPECT_FALSE(HasDictionary(repeated(60)));
}

TEST_P(PageVersions, NothingButNullsNeedsNoDictionary) {
  auto file = WriteColumn(TypeKind::kString, 50'000, Options(), [](auto& column, int64_t) { column.AppendNull(); });
  EXPECT_FALSE(HasDictionary(file));
  EXPECT_EQ(DataPages(file), (std::map<Encoding::type, int>{{Encoding::PLAIN, 3}}));
  EXPECT_LT(file.bytes.size(), 800U);
}

TEST_P(PageVersions, NullPagesBeforeADictionary) {
  auto file = WriteColumn(TypeKind::kString, 90'000, Options(), [](auto& column, int64_t row) {
    if (row < 41'000 || (row > 60'000 && row < 85'000)) return column.AppendNull();
    column.AppendBytes(row % 3 == 0 ? "login" : "logout");
  });
  EXPECT_TRUE(HasDictionary(file));
  EXPECT_EQ(DataPages(file), (std::map<Encoding::type, int>{{Encoding::PLAIN, 2}, {Encoding::RLE_DICTIONARY, 3}}));
}

TEST_P(PageVersions, PagesThatDoNotShrinkAreNotCompressed) {
  std::mt19937_64 random(4);
  auto noise = [&](auto& column, int64_t) { column.AppendInt64(static_cast<int64_t>(random())); };
  EXPECT_EQ(CodecOf(WriteColumn(TypeKind::kLong, 100'000, Options(), noise)), ::parquet::Compression::UNCOMPRESSED);
  // One page that shrinks is enough; the pages before it are of the same codec then.
  auto late = [&](auto& column, int64_t row) {
    column.AppendInt64(row < 90'000 ? static_cast<int64_t>(random()) : row % 7 * 1'000'000'007);
  };
  EXPECT_EQ(CodecOf(WriteColumn(TypeKind::kLong, 200'000, Options(), late)), ::parquet::Compression::ZSTD);
}

TEST_P(PageVersions, AfterARowGroupTheNextOneBeginsAnew) {
  FileLayoutOptions options = Options();
  options.row_group_rows_max = 30'000;
  options.dictionary_bytes_max = 100'000;
  auto file = WriteColumn(TypeKind::kString, 90'000, options, [](auto& column, int64_t row) {
    AppendUnique(column, row >= 20'000 && row < 30'000 ? row : row % 50);
  });
  EXPECT_TRUE(DataPages(file, 0).contains(Encoding::RLE_DICTIONARY));
  EXPECT_EQ(DataPages(file, 2), (std::map<Encoding::type, int>{{Encoding::RLE_DICTIONARY, 2}}));
}

INSTANTIATE_TEST_SUITE_P(V1AndV2, PageVersions, ::testing::Values(1, 2));

TEST(PageWriter, LongBoundsAreCutAndSaySo) {
  Schema schema = OneColumn(TypeKind::kString);
  columnar::RowBuilder builder(schema);
  for (int64_t row = 0; row < 3; ++row) {
    builder.column(0).AppendBytes(std::string(5'000, static_cast<char>('a' + row)));
    builder.CloseRow();
  }
  auto file = WriteParquet(schema, {}, {builder.Finish()});
  ASSERT_TRUE(file.has_value());
  auto reader = file->Open();
  auto statistics = reader->metadata()->RowGroup(0)->ColumnChunk(0)->encoded_statistics();
  EXPECT_EQ(statistics->min(), std::string(256, 'a'));
  EXPECT_EQ(statistics->max(), std::string(255, 'c') + "d");
  EXPECT_EQ(statistics->is_min_value_exact, std::optional<bool>(false));
  EXPECT_EQ(statistics->is_max_value_exact, std::optional<bool>(false));
  auto index = reader->GetPageIndexReader()->RowGroup(0)->GetColumnIndex(0);
  EXPECT_EQ(index->encoded_max_values()[0], std::string(63, 'c') + "d");
}

TEST(PageWriter, PagesKeepTheirBytes) {
  Schema schema = OneColumn(TypeKind::kString);
  columnar::RowBuilder builder(schema);
  std::mt19937_64 random(9);
  for (int64_t row = 0; row < 20'000; ++row) {
    builder.column(0).AppendBytes(std::to_string(random()) + std::string(random() % 300, 'x'));
    builder.CloseRow();
  }
  FileLayoutOptions options{.compression_codec = "uncompressed", .page_bytes_max = 10'000};
  auto file = WriteParquet(schema, options, {builder.Finish()});
  ASSERT_TRUE(file.has_value());
  auto reader = file->Open();
  auto pages = reader->GetPageIndexReader()->RowGroup(0)->GetOffsetIndex(0)->page_locations();
  for (size_t i = 0; i + 1 < pages.size(); ++i) {
    EXPECT_LE(pages[i].compressed_page_size, 10'200);
    EXPECT_GE(pages[i].compressed_page_size, 9'000);
  }
}

// Under a sanitizer's allocator there is nothing to be seen.
int64_t AllocatedBytes() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<int64_t>(info.uordblks + info.hblkhd);
}

// A page may hold a single long value, which compresses to nothing; its exact bounds, twice as long, do not.
TEST(PageWriter, PagesOfLongValuesLeaveLittleInMemory) {
  Schema schema = OneColumn(TypeKind::kString);
  columnar::RowBuilder builder(schema);
  builder.column(0).AppendBytes(std::string(300'000, 'x'));
  builder.CloseRow();
  const auto batch = builder.Finish();
  std::string bytes;
  auto layout = FileLayout::Create(schema, {.page_bytes_max = 200'000}, "{}", AppendTo(bytes));
  ASSERT_TRUE(layout.has_value());
  for (int row = 0; row < 200; ++row) ASSERT_TRUE((*layout)->Write(*batch).has_value());
  const int64_t before = AllocatedBytes();
  for (int row = 0; row < 200; ++row) ASSERT_TRUE((*layout)->Write(*batch).has_value());
  EXPECT_LT(AllocatedBytes() - before, 5'000'000);
  auto metrics = (*layout)->Close();
  ASSERT_TRUE(metrics.has_value());
  EXPECT_EQ(metrics->lower_bounds.at(1), std::string(16, 'x'));
}

}  // namespace
}  // namespace firn::parquet
