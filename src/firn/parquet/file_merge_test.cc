#include "firn/parquet/file_merge.h"

#include <arrow/api.h>
#include <arrow/compare.h>
#include <arrow/json/from_string.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <parquet/arrow/writer.h>
#include <parquet/bloom_filter.h>
#include <parquet/bloom_filter_reader.h>
#include <parquet/statistics.h>

#include "firn/columnar/column_builder.h"
#include "firn/parquet/parquet_file_for_test.h"
#include "firn/parquet/random_rows_for_test.h"

namespace firn::parquet {
namespace {

namespace pq = ::parquet;
using schema::Field;
using schema::Type;
using schema::TypeKind;

using Batches = std::vector<std::shared_ptr<arrow::RecordBatch>>;

struct Merged {
  ParquetFileForTest file;
  MergeCounts counts;
};

Result<Merged> Merge(const schema::Schema& schema, const FileLayoutOptions& options,
                     const std::vector<std::string>& inputs) {
  Merged merged;
  FIRN_ASSIGN(auto merge, FileMerge::Create(schema, options, "{}", AppendTo(merged.file.bytes)));
  for (const std::string& input : inputs) {
    FIRN_ASSIGN(auto refusal, merge->Add(std::make_shared<const std::string>(input)));
    if (refusal.has_value()) {
      return Fail(ErrorCode::kUnsupported, std::string(refusal->reason) + ": " + refusal->detail);
    }
  }
  FIRN_ASSIGN(merged.file.metrics, merge->Close());
  merged.counts = merge->counts();
  return merged;
}

std::shared_ptr<arrow::Table> ReadFile(const std::string& bytes) {
  return ParquetFileForTest{bytes, {}}.Read();
}

// A file by Arrow's own writer: its types, encodings and levels, not ours.
std::string WriteByArrow(const schema::Schema& schema, const Batches& batches,
                         const pq::WriterProperties::Builder& made, int64_t row_group_rows) {
  auto builder = made;
  auto table = arrow::Table::FromRecordBatches(
                   columnar::ToArrowSchema(schema),
                   [&] {
                     Batches typed;
                     for (const auto& batch : batches) {
                       auto read =
                           WriteParquet(schema, {}, {batch}).value().Read()->CombineChunksToBatch().ValueOrDie();
                       typed.push_back(read->ReplaceSchema(columnar::ToArrowSchema(schema)).ValueOrDie());
                     }
                     return typed;
                   }())
                   .ValueOrDie();
  auto sink = arrow::io::BufferOutputStream::Create().ValueOrDie();
  auto status = pq::arrow::WriteTable(*table, arrow::default_memory_pool(), sink, row_group_rows, builder.build());
  EXPECT_TRUE(status.ok()) << status.ToString();
  return sink->Finish().ValueOrDie()->ToString();
}

class Dice {
 public:
  explicit Dice(uint64_t seed) : random_(seed * 7919 + 13) {}
  int64_t Below(int64_t bound) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(bound)); }
  bool Heads() { return Below(2) == 0; }

 private:
  std::mt19937_64 random_;
};

const char* const kCodecs[] = {"zstd", "snappy", "gzip", "lz4", "brotli", "uncompressed"};

FileLayoutOptions RandomOptions(Dice& dice, bool one_codec) {
  FileLayoutOptions options;
  options.compression_codec = one_codec ? "zstd" : kCodecs[dice.Below(6)];
  options.page_version = dice.Heads() ? 1 : 2;
  options.page_checksum = dice.Heads();
  options.modern_encodings = dice.Heads();
  options.page_rows_max = dice.Heads() ? 20'000 : 20 + dice.Below(200);
  options.row_group_rows_max = dice.Heads() ? 1 << 20 : 100 + dice.Below(1000);
  return options;
}

pq::WriterProperties::Builder RandomProperties(Dice& dice, bool one_codec) {
  const pq::Compression::type codecs[] = {pq::Compression::ZSTD, pq::Compression::SNAPPY, pq::Compression::GZIP,
                                          pq::Compression::LZ4, pq::Compression::UNCOMPRESSED};
  pq::WriterProperties::Builder builder;
  builder.compression(one_codec ? pq::Compression::ZSTD : codecs[dice.Below(5)]);
  if (dice.Heads()) builder.disable_dictionary();
  if (dice.Heads()) builder.data_page_version(pq::ParquetDataPageVersion::V2);
  if (dice.Heads()) builder.enable_write_page_index();
  if (dice.Heads()) builder.disable_write_page_index();
  if (dice.Heads()) builder.enable_page_checksum();
  if (dice.Heads()) builder.enable_store_decimal_as_integer();
  if (dice.Below(4) == 0) builder.disable_statistics();
  if (dice.Heads()) builder.dictionary_pagesize_limit(64 + dice.Below(2000));
  if (dice.Heads()) builder.data_pagesize(100 + dice.Below(4000))->write_batch_size(10 + dice.Below(100));
  return builder;
}

// Bit by bit, but that every NaN is the same to Arrow's comparison.
void ExpectSameRows(const arrow::Table& expected, const arrow::Table& actual) {
  ASSERT_EQ(expected.num_rows(), actual.num_rows());
  ASSERT_EQ(expected.num_columns(), actual.num_columns());
  const auto equal = arrow::EqualOptions::Defaults().nans_equal(true).signed_zeros_equal(false);
  for (int i = 0; i < expected.num_columns(); ++i) {
    auto left = arrow::Concatenate(expected.column(i)->chunks());
    auto right = arrow::Concatenate(actual.column(i)->chunks());
    if (expected.num_rows() == 0) continue;
    ASSERT_TRUE(left.ok() && right.ok());
    EXPECT_TRUE((*left)->Equals(**right, equal)) << expected.field(i)->ToString();
  }
}

DecodedRows Decode(std::string_view file, size_t row_group, size_t leaf) {
  DecodedRows whole;
  const auto group = static_cast<int32_t>(row_group);
  auto done = DecodeChunk(file, group, static_cast<int32_t>(leaf), [&](const DecodedRows& rows) {
    whole.repetition.insert(whole.repetition.end(), rows.repetition.begin(), rows.repetition.end());
    whole.definition.insert(whole.definition.end(), rows.definition.begin(), rows.definition.end());
    whole.count += rows.count;
    whole.plain.Append(rows.plain.view());
    whole.values += rows.values;
    return Status();
  });
  EXPECT_TRUE(done.has_value()) << done.error().ToString();
  return whole;
}

// Values of one chunk as single values, for looking at their bounds.
std::vector<std::string_view> Values(const DecodedRows& chunk, ValueType type) {
  const bool is_bytes = type.physical_type == pq::Type::BYTE_ARRAY;
  auto offsets = PlainOffsets(chunk.plain.view(), chunk.values, is_bytes ? 0 : type.value_bytes).value();
  std::vector<std::string_view> values;
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    const uint32_t begin = offsets[i] + (is_bytes ? 4 : 0);
    values.push_back(chunk.plain.view().substr(begin, offsets[i + 1] - begin));
  }
  return values;
}

bool IsNan(BoundOrder order, std::string_view value) {
  float narrow = 0;
  double wide = 0;
  if (order == BoundOrder::kFloat) std::memcpy(&narrow, value.data(), sizeof(narrow));
  if (order == BoundOrder::kDouble) std::memcpy(&wide, value.data(), sizeof(wide));
  return std::isnan(narrow) || std::isnan(wide);
}

void ExpectWithin(BoundOrder order, std::string_view value, std::string_view min, std::string_view max) {
  if (IsNan(order, value)) return;
  EXPECT_LE(CompareBounds(order, min, value), 0);
  EXPECT_GE(CompareBounds(order, max, value), 0);
}

// Entries of each page, by where rows begin: what the offset index promises, counted out of the decoded levels.
void ExpectTruePageIndex(std::string_view file, const OutputLeaf& leaf, const FileRowGroup& group,
                         const FileChunk& chunk, const DecodedRows& decoded) {
  ASSERT_TRUE(chunk.offset_index.has_value());
  auto pages = ReadPages(file, chunk);
  ASSERT_TRUE(pages.has_value()) << pages.error().ToString();
  auto locations = ReadOffsetIndex(file, *chunk.offset_index);
  ASSERT_TRUE(locations.has_value());
  ASSERT_EQ(locations->size(), pages->data.size());
  FileColumnIndex index;
  if (chunk.column_index.has_value()) index = ReadColumnIndex(file, *chunk.column_index).value();
  const auto values = Values(decoded, {leaf.physical_type, leaf.value_bytes});
  size_t entry = 0;
  size_t value = 0;
  int64_t row = 0;
  for (size_t i = 0; i < pages->data.size(); ++i) {
    EXPECT_EQ((*locations)[i].offset, pages->data[i].offset);
    EXPECT_EQ((*locations)[i].first_row, row);
    EXPECT_TRUE(decoded.repetition.empty() || decoded.repetition[entry] == 0) << "a page begins within a row";
    int64_t nulls = 0;
    const size_t end = entry + static_cast<size_t>(pages->data[i].num_values);
    for (; entry < end; ++entry) {
      if (decoded.repetition.empty() || decoded.repetition[entry] == 0) ++row;
      const bool is_null = !decoded.definition.empty() && decoded.definition[entry] != leaf.definition_level;
      nulls += is_null ? 1 : 0;
      if (is_null) continue;
      if (!index.null_pages.empty()) ExpectWithin(leaf.order, values[value], index.min_values[i], index.max_values[i]);
      ++value;
    }
    if (index.null_pages.empty()) continue;
    EXPECT_EQ(index.null_pages[i], nulls == pages->data[i].num_values);
    EXPECT_EQ(index.null_counts[i], nulls);
  }
  EXPECT_EQ(row, group.num_rows);
}

void ExpectTrueSizes(const FileChunk& chunk, const OutputLeaf& leaf, const DecodedRows& decoded) {
  if (!chunk.sizes.definition_levels.empty()) {
    std::vector<int64_t> levels(static_cast<size_t>(leaf.definition_level) + 1);
    for (uint8_t level : decoded.definition) ++levels[level];
    EXPECT_EQ(chunk.sizes.definition_levels, levels);
  }
  if (!chunk.sizes.repetition_levels.empty()) {
    std::vector<int64_t> levels(static_cast<size_t>(leaf.repetition_level) + 1);
    for (uint8_t level : decoded.repetition) ++levels[level];
    EXPECT_EQ(chunk.sizes.repetition_levels, levels);
  }
  if (chunk.sizes.unencoded_bytes.has_value()) {
    EXPECT_EQ(*chunk.sizes.unencoded_bytes, static_cast<int64_t>(decoded.plain.size()) - 4 * decoded.values);
  }
}

// Everything that footer and page index say, against the values themselves.
void ExpectTrueMetadata(const schema::Schema& schema, const ParquetFileForTest& file) {
  auto reader = file.Open();
  auto footer = ReadFooter(file.bytes);
  ASSERT_TRUE(footer.has_value()) << footer.error().ToString();
  const auto root = std::static_pointer_cast<pq::schema::GroupNode>(reader->metadata()->schema()->schema_root());
  const std::vector<OutputLeaf> leaves = OutputLeaves(schema, root);
  std::map<int32_t, int64_t> values;
  std::map<int32_t, int64_t> nulls;
  for (const OutputLeaf& leaf : leaves) values[leaf.field_id] = nulls[leaf.field_id] = 0;
  for (size_t g = 0; g < footer->row_groups.size(); ++g) {
    const FileRowGroup& group = footer->row_groups[g];
    for (size_t c = 0; c < leaves.size(); ++c) {
      SCOPED_TRACE(leaves[c].field_id);
      const FileChunk& chunk = group.chunks[c];
      const DecodedRows decoded = Decode(file.bytes, g, c);
      EXPECT_EQ(chunk.num_values, decoded.count);
      EXPECT_EQ(chunk.statistics.null_count, decoded.count - decoded.values);
      values[leaves[c].field_id] += decoded.count;
      nulls[leaves[c].field_id] += decoded.count - decoded.values;
      if (chunk.statistics.min.has_value()) {
        for (std::string_view value : Values(decoded, {leaves[c].physical_type, leaves[c].value_bytes})) {
          ExpectWithin(leaves[c].order, value, *chunk.statistics.min, *chunk.statistics.max);
        }
      }
      ASSERT_NO_FATAL_FAILURE(ExpectTruePageIndex(file.bytes, leaves[c], group, chunk, decoded));
      ExpectTrueSizes(chunk, leaves[c], decoded);
    }
  }
  EXPECT_EQ(file.metrics.value_counts, values);
  EXPECT_EQ(file.metrics.null_value_counts, nulls);
  EXPECT_EQ(file.metrics.file_size_in_bytes, static_cast<int64_t>(file.bytes.size()));
  EXPECT_EQ(file.metrics.record_count, footer->num_rows);
}

std::shared_ptr<arrow::Table> Concatenated(const std::vector<std::string>& inputs) {
  std::vector<std::shared_ptr<arrow::Table>> tables;
  for (const std::string& input : inputs) {
    auto table = ReadFile(input);
    if (!tables.empty()) table = table->ReplaceSchemaMetadata(nullptr);
    if (!tables.empty() && !table->schema()->Equals(*tables[0]->schema(), false)) {
      std::vector<std::shared_ptr<arrow::ChunkedArray>> columns;
      for (int i = 0; i < table->num_columns(); ++i) {
        columns.push_back(table->column(i)->View(tables[0]->column(i)->type()).ValueOr(table->column(i)));
      }
      table = arrow::Table::Make(tables[0]->schema(), columns);
    }
    tables.push_back(table);
  }
  return arrow::ConcatenateTables(tables).ValueOrDie();
}

// Random types, encodings, codecs, nulls, nesting, page sizes, page versions, writers.
class RandomMerge : public ::testing::TestWithParam<int> {};

TEST_P(RandomMerge, HasTheRowsOfItsInputs) {
  const auto seed = static_cast<uint64_t>(GetParam());
  Dice dice(seed);
  RandomRows random(seed);
  const bool one_codec = dice.Heads();
  std::vector<std::string> inputs;
  const int64_t files = 1 + dice.Below(6);
  for (int64_t i = 0; i < files; ++i) {
    Batches batches;
    const int64_t rows = dice.Below(8) == 0 ? 0 : 1 + dice.Below(dice.Heads() ? 1200 : 60);
    if (rows > 0) batches = {random.MakeBatch(rows)};
    if (dice.Heads() || rows == 0) {
      auto file = WriteParquet(random.schema(), RandomOptions(dice, one_codec), batches);
      ASSERT_TRUE(file.has_value()) << file.error().ToString();
      inputs.push_back(file->bytes);
    } else {
      const int64_t group_rows = dice.Heads() ? 1 << 20 : 50 + dice.Below(500);
      inputs.push_back(WriteByArrow(random.schema(), batches, RandomProperties(dice, one_codec), group_rows));
    }
  }
  const FileLayoutOptions options = RandomOptions(dice, one_codec);
  auto merged = Merge(random.schema(), options, inputs);
  ASSERT_TRUE(merged.has_value()) << merged.error().ToString();
  auto table = merged->file.Read();
  ASSERT_NE(table, nullptr);
  ASSERT_TRUE(table->ValidateFull().ok());
  ASSERT_NO_FATAL_FAILURE(ExpectSameRows(*Concatenated(inputs), *table));
  ASSERT_NO_FATAL_FAILURE(ExpectTrueMetadata(random.schema(), merged->file));
  // Merging what was merged changes nothing but places.
  auto again = Merge(random.schema(), options, {merged->file.bytes, merged->file.bytes});
  ASSERT_TRUE(again.has_value()) << again.error().ToString();
  ExpectSameRows(*Concatenated({merged->file.bytes, merged->file.bytes}), *again->file.Read());
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomMerge, ::testing::Range(0, 150));

Field Make(int32_t id, std::string name, schema::TypePtr type, bool required = false) {
  return {FieldId{id}, std::move(name), std::move(type), required};
}

schema::TypePtr Of(TypeKind kind) {
  return Type::Primitive(kind);
}

schema::Schema OneColumn(schema::TypePtr type, bool required = false) {
  schema::Schema schema;
  schema.fields = {Make(1, "c", std::move(type), required)};
  return schema;
}

// Rows from JSON, one array a column.
std::shared_ptr<arrow::RecordBatch> Rows(const schema::Schema& schema, const std::vector<std::string>& columns) {
  auto types = columnar::ToArrowSchema(schema);
  std::vector<std::shared_ptr<arrow::Array>> arrays;
  for (size_t i = 0; i < columns.size(); ++i) {
    arrays.push_back(
        arrow::json::ArrayFromJSONString(types->field(static_cast<int>(i))->type(), columns[i]).ValueOrDie());
  }
  return arrow::RecordBatch::Make(types, arrays[0]->length(), arrays);
}

std::string FileOf(const schema::Schema& schema, const std::vector<std::string>& columns,
                   const FileLayoutOptions& options = {}) {
  auto file = WriteParquet(schema, options, {Rows(schema, columns)});
  EXPECT_TRUE(file.has_value()) << file.error().ToString();
  return file->bytes;
}

void ExpectRows(const schema::Schema& schema, const Merged& merged, const std::vector<std::string>& columns) {
  auto expected = arrow::Table::FromRecordBatches({Rows(schema, columns)}).ValueOrDie();
  ASSERT_NO_FATAL_FAILURE(ExpectSameRows(*expected, *merged.file.Read()));
  ExpectTrueMetadata(schema, merged.file);
}

// Texts that hardly compress, each of its number alone.
std::string TextOf(int64_t number) {
  return "value " + std::to_string(number * 2'654'435'761 % 10'000'000'019);
}

// `rows` texts, that of row i being TextOf(base + i % distinct).
std::string WriteTexts(int64_t rows, int64_t distinct, int64_t base, bool dictionary,
                       pq::ParquetDataPageVersion version = pq::ParquetDataPageVersion::V1) {
  arrow::StringBuilder builder;
  for (int64_t i = 0; i < rows; ++i) {
    EXPECT_TRUE(builder.Append(TextOf(base + i % distinct)).ok());
  }
  const schema::Schema schema = OneColumn(Of(TypeKind::kString));
  auto array = builder.Finish().ValueOrDie();
  auto batch = arrow::RecordBatch::Make(columnar::ToArrowSchema(schema), rows, {array});
  pq::WriterProperties::Builder properties;
  properties.compression(pq::Compression::ZSTD)->data_page_version(version);
  if (!dictionary) properties.disable_dictionary();
  return WriteByArrow(schema, {batch}, properties, 1 << 20);
}

Merged MergeTexts(const std::vector<std::string>& inputs) {
  const schema::Schema schema = OneColumn(Of(TypeKind::kString));
  auto merged = Merge(schema, {}, inputs);
  EXPECT_TRUE(merged.has_value()) << merged.error().ToString();
  ExpectSameRows(*Concatenated(inputs), *merged->file.Read());
  ExpectTrueMetadata(schema, merged->file);
  return *std::move(merged);
}

TEST(FileMerge, PagesWithoutDictionaryAreCarried) {
  const Merged merged = MergeTexts({WriteTexts(5000, 5000, 0, false), WriteTexts(6000, 6000, 9000, false)});
  EXPECT_EQ(merged.counts.pages_carried, 2);
  EXPECT_EQ(merged.counts.pages_encoded + merged.counts.pages_renumbered, 0);
}

TEST(FileMerge, EqualDictionariesLeavePagesAsTheyAre) {
  const std::string file = WriteTexts(5000, 100, 0, true);
  const Merged merged = MergeTexts({file, file, file});
  EXPECT_EQ(merged.counts.pages_carried, 3);
  EXPECT_EQ(merged.counts.pages_renumbered, 0);
}

TEST(FileMerge, OtherDictionariesAreUnited) {
  const Merged merged =
      MergeTexts({WriteTexts(5000, 100, 0, true), WriteTexts(5000, 100, 50, true), WriteTexts(300, 10, 500, true)});
  EXPECT_EQ(merged.counts.pages_carried, 1);
  EXPECT_EQ(merged.counts.pages_renumbered, 1);
  EXPECT_EQ(merged.counts.pages_encoded, 0);
  auto footer = ReadFooter(merged.file.bytes).value();
  EXPECT_EQ(ReadPages(merged.file.bytes, footer.row_groups[0].chunks[0])->dictionary->num_values, 160);
}

TEST(FileMerge, DictionariesOfUniqueValuesBecomePages) {
  const Merged merged = MergeTexts({WriteTexts(5000, 5000, 0, true), WriteTexts(6000, 6000, 9000, true)});
  EXPECT_EQ(merged.counts.dictionaries_as_values, 2);
  EXPECT_EQ(merged.counts.pages_encoded, 0);
}

// Frames of zstd that follow one another: nothing is compressed again, and the page is as full as any.
TEST(FileMerge, SmallDictionariesOfUniqueValuesBecomeOnePage) {
  std::vector<std::string> inputs;
  for (int64_t i = 0; i < 8; ++i) inputs.push_back(WriteTexts(2500, 2500, i * 2500, true));
  const Merged merged = MergeTexts(inputs);
  EXPECT_EQ(merged.counts.dictionaries_as_values, 8);
  EXPECT_EQ(merged.counts.pages_encoded, 0);
  auto footer = ReadFooter(merged.file.bytes).value();
  EXPECT_EQ(ReadPages(merged.file.bytes, footer.row_groups[0].chunks[0])->data.size(), 1U);
  // Beside values that are not compressed so they are opened.
  inputs[3] = WriteTexts(100, 100, 7500, false);
  EXPECT_EQ(MergeTexts(inputs).counts.pages_encoded, 1);
}

// The decision costs no second look at what it was made on: sampled dictionaries have their places already.
TEST(FileMerge, DictionariesThatASampleUnitesKeepTheirOrder) {
  std::vector<std::string> inputs;
  for (int64_t i = 0; i < 40; ++i) inputs.push_back(WriteTexts(600, 400, i % 4 * 350, true));
  const Merged merged = MergeTexts(inputs);
  auto footer = ReadFooter(merged.file.bytes).value();
  EXPECT_EQ(ReadPages(merged.file.bytes, footer.row_groups[0].chunks[0])->dictionary->num_values, 3 * 350 + 400);
  EXPECT_EQ(merged.counts.pages_encoded, 0);
}

// DuckDB 1.5.5 takes texts of such a page from memory that is freed, where pages with a dictionary stand around it.
TEST(FileMerge, DeltaTextsBesideDictionariesBecomePlain) {
  const schema::Schema schema = OneColumn(Of(TypeKind::kString));
  auto delta = [&](int64_t rows) {
    arrow::StringBuilder builder;
    for (int64_t i = 0; i < rows; ++i) {
      EXPECT_TRUE((i % 3 == 0 ? builder.AppendNull() : builder.Append("text " + std::to_string(i))).ok());
    }
    auto batch = arrow::RecordBatch::Make(columnar::ToArrowSchema(schema), rows, {builder.Finish().ValueOrDie()});
    pq::WriterProperties::Builder properties;
    properties.compression(pq::Compression::ZSTD)->disable_dictionary();
    properties.encoding(pq::Encoding::DELTA_LENGTH_BYTE_ARRAY);
    return WriteByArrow(schema, {batch}, properties, 1 << 20);
  };
  auto encodings = [](const Merged& merged) {
    auto footer = ReadFooter(merged.file.bytes).value();
    std::vector<int32_t> found;
    const auto pages = ReadPages(merged.file.bytes, footer.row_groups[0].chunks[0]);
    for (const PageView& page : pages->data) found.push_back(page.encoding);
    return found;
  };
  const std::string dictionary = WriteTexts(5000, 100, 0, true);
  using Encodings = std::vector<int32_t>;
  // One that is large enough to be carried, and one that is put together with others.
  EXPECT_EQ(encodings(MergeTexts({dictionary, delta(5000), dictionary})), (Encodings{8, 0, 8}));
  EXPECT_EQ(encodings(MergeTexts({dictionary, delta(50), dictionary})), (Encodings{8, 0, 8}));
  EXPECT_EQ(encodings(MergeTexts({delta(50), dictionary, dictionary})), (Encodings{0, 8, 8}));
  EXPECT_EQ(encodings(MergeTexts({delta(5000), delta(5000)})), (Encodings{6, 6}));
}

TEST(FileMerge, SmallPagesArePutTogether) {
  std::vector<std::string> inputs;
  for (int64_t i = 0; i < 30; ++i) inputs.push_back(WriteTexts(100, 100, i * 100, i % 2 == 0));
  const Merged merged = MergeTexts(inputs);
  EXPECT_EQ(merged.counts.pages_carried, 0);
  EXPECT_EQ(merged.counts.pages_encoded, 1);
}

TEST(FileMerge, CodecsMayDiffer) {
  const schema::Schema schema = OneColumn(Of(TypeKind::kString));
  FileLayoutOptions snappy;
  snappy.compression_codec = "snappy";
  FileLayoutOptions gzip;
  gzip.compression_codec = "gzip";
  auto merged =
      Merge(schema, {}, {FileOf(schema, {R"(["a", null, "b"])"}, snappy), FileOf(schema, {R"(["c"])"}, gzip)});
  ASSERT_TRUE(merged.has_value()) << merged.error().ToString();
  ExpectRows(schema, *merged, {R"(["a", null, "b", "c"])"});
}

TEST(FileMerge, PromotedTypesAreDecoded) {
  struct Case {
    schema::TypePtr from;
    schema::TypePtr to;
    std::string values;
  };
  const Case cases[] = {
      {Of(TypeKind::kInt), Of(TypeKind::kLong), "[1, -2, null, 2147483647]"},
      {Of(TypeKind::kFloat), Of(TypeKind::kDouble), "[1.5, -0.25, null]"},
      {Type::Decimal(9, 2), Type::Decimal(18, 2), R"(["-1.25", null, "9999999.99"])"},
      {Type::Decimal(18, 2), Type::Decimal(30, 2), R"(["-1.25", null, "12345678901.00"])"},
      {Type::Decimal(20, 3), Type::Decimal(38, 3), R"(["-1.250", "0.001"])"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.to->ToString());
    const schema::Schema schema = OneColumn(one.to);
    auto merged = Merge(schema, {}, {FileOf(OneColumn(one.from), {one.values})});
    ASSERT_TRUE(merged.has_value()) << merged.error().ToString();
    ExpectRows(schema, *merged, {one.values});
    EXPECT_EQ(merged->counts.chunks_decoded, (std::map<std::string, int64_t, std::less<>>{{"promoted_type", 1}}));
    EXPECT_TRUE(ReadFooter(merged->file.bytes)->row_groups[0].chunks[0].statistics.min.has_value());
  }
}

TEST(FileMerge, RequiredColumnsBecomeOptional) {
  for (int32_t version : {1, 2}) {
    SCOPED_TRACE(version);
    FileLayoutOptions options;
    options.page_version = version;
    options.page_rows_max = 4;
    schema::Schema required;
    required.fields = {Make(1, "a", Of(TypeKind::kLong), true),
                       Make(2, "l", Type::List(Make(3, "element", Of(TypeKind::kString), true)), true)};
    schema::Schema optional;
    optional.fields = {Make(1, "a", Of(TypeKind::kLong)),
                       Make(2, "l", Type::List(Make(3, "element", Of(TypeKind::kString))))};
    const std::string file = FileOf(required, {"[1, 2, 3, 4, 5]", R"([["x"], [], ["y", "z"], [], ["x"]])"}, options);
    const std::string with_nulls = FileOf(optional, {"[null, 7]", R"([null, ["w", null]])"}, options);
    auto merged = Merge(optional, options, {file, with_nulls});
    ASSERT_TRUE(merged.has_value()) << merged.error().ToString();
    ExpectRows(optional, *merged,
               {"[1, 2, 3, 4, 5, null, 7]", R"([["x"], [], ["y", "z"], [], ["x"], null, ["w", null]])"});
    EXPECT_GT(merged->counts.pages_with_new_levels, 0);
  }
}

TEST(FileMerge, AnOptionalParentGetsItsLevel) {
  auto structure = [](bool required) {
    return OneColumn(Type::Struct({Make(2, "x", Of(TypeKind::kInt)), Make(3, "y", Of(TypeKind::kInt), true)}),
                     required);
  };
  const std::string file = FileOf(structure(true), {R"([{"x": 1, "y": 2}, {"x": null, "y": 3}])"});
  auto merged = Merge(structure(false), {}, {file, FileOf(structure(false), {R"([null, {"x": 4, "y": 5}])"})});
  ASSERT_TRUE(merged.has_value()) << merged.error().ToString();
  ExpectRows(structure(false), *merged, {R"([{"x": 1, "y": 2}, {"x": null, "y": 3}, null, {"x": 4, "y": 5}])"});
}

TEST(FileMerge, MissingColumnsAreNullBelowTheirParents) {
  schema::Schema before;
  before.fields = {
      Make(1, "s", Type::Struct({Make(2, "tags", Type::List(Make(3, "element", Of(TypeKind::kString))))})),
      Make(4, "l", Type::List(Make(5, "element", Type::Struct({Make(6, "x", Of(TypeKind::kInt))})))),
  };
  schema::Schema after;
  after.fields = {
      Make(7, "new", Of(TypeKind::kString)),
      Make(1, "s",
           Type::Struct({Make(8, "added", Of(TypeKind::kLong)),
                         Make(2, "tags", Type::List(Make(3, "element", Of(TypeKind::kString))))})),
      Make(4, "l",
           Type::List(Make(5, "element",
                           Type::Struct({Make(6, "x", Of(TypeKind::kInt)), Make(9, "y", Of(TypeKind::kDouble))})))),
      Make(10, "m", Type::List(Make(11, "element", Of(TypeKind::kInt)))),
  };
  const std::string file = FileOf(before, {R"([{"tags": ["a", "b"]}, null, {"tags": null}, {"tags": []}])",
                                           R"([[{"x": 1}, null, {"x": null}], null, [], [{"x": 2}]])"});
  auto merged = Merge(after, {}, {file, file});
  ASSERT_TRUE(merged.has_value()) << merged.error().ToString();
  const std::string s = R"({"added": null, "tags": ["a", "b"]}, null, {"added": null, "tags": null},
                           {"added": null, "tags": []})";
  const std::string l = R"([{"x": 1, "y": null}, null, {"x": null, "y": null}], null, [], [{"x": 2, "y": null}])";
  const std::string nulls = "[null, null, null, null, null, null, null, null]";
  ExpectRows(after, *merged, {nulls, "[" + s + "," + s + "]", "[" + l + "," + l + "]", nulls});
  EXPECT_EQ(merged->counts.null_pages, 8);
}

TEST(FileMerge, ColumnsAreMatchedByFieldId) {
  schema::Schema before;
  before.fields = {Make(1, "a", Of(TypeKind::kInt)), Make(2, "b", Of(TypeKind::kInt)),
                   Make(3, "c", Of(TypeKind::kInt))};
  schema::Schema after;
  after.fields = {Make(3, "a", Of(TypeKind::kInt)), Make(1, "z", Of(TypeKind::kInt))};
  auto merged = Merge(after, {}, {FileOf(before, {"[1, 2]", "[3, 4]", "[5, 6]"})});
  ASSERT_TRUE(merged.has_value()) << merged.error().ToString();
  ExpectRows(after, *merged, {"[5, 6]", "[1, 2]"});
}

TEST(FileMerge, RefusesWhatItCannotMerge) {
  auto refusal = [](const schema::Schema& schema, const std::string& file) {
    auto merge = FileMerge::Create(schema, {}, "{}", [](std::string_view) { return Status(); }).value();
    auto checked = merge->Check(file);
    return checked.has_value() ? std::string("none") : std::string(checked.error().reason);
  };
  const schema::Schema text = OneColumn(Of(TypeKind::kString));
  const std::string file = FileOf(text, {R"(["a"])"});
  EXPECT_EQ(refusal(text, file), "none");
  EXPECT_EQ(refusal(OneColumn(Of(TypeKind::kInt)), file), "column_type");
  EXPECT_EQ(refusal(OneColumn(Of(TypeKind::kString), true), file), "optional_to_required");
  EXPECT_EQ(refusal(OneColumn(Type::Struct({Make(2, "x", Of(TypeKind::kInt))})), file), "column_type");
  schema::Schema more = text;
  more.fields.push_back(Make(2, "d", Of(TypeKind::kInt), true));
  EXPECT_EQ(refusal(more, file), "required_column_missing");
  EXPECT_EQ(refusal(text, file.substr(0, file.size() - 9) + "damaged!!"), "damaged");
  auto plain = arrow::schema({arrow::field("c", arrow::utf8())});
  auto table = arrow::Table::MakeEmpty(plain).ValueOrDie();
  auto sink = arrow::io::BufferOutputStream::Create().ValueOrDie();
  ASSERT_TRUE(pq::arrow::WriteTable(*table, arrow::default_memory_pool(), sink).ok());
  EXPECT_EQ(refusal(text, sink->Finish().ValueOrDie()->ToString()), "no_field_ids");
}

TEST(FileMerge, RowGroupsKeepTheirLimits) {
  const schema::Schema schema = OneColumn(Of(TypeKind::kLong));
  FileLayoutOptions options;
  options.row_group_rows_max = 5;
  const std::string file = FileOf(schema, {"[1, 2, 3]"});
  auto merged = Merge(schema, options, {file, file, file});
  ASSERT_TRUE(merged.has_value());
  auto footer = ReadFooter(merged->file.bytes).value();
  EXPECT_EQ(footer.row_groups.size(), 3u);
  EXPECT_EQ(merged->file.metrics.split_offsets.size(), 3u);
  EXPECT_EQ(merged->file.metrics.split_offsets[0], 4);
  ExpectRows(schema, *merged, {"[1, 2, 3, 1, 2, 3, 1, 2, 3]"});
}

// Bytes that the process has from its heap; 0 where an allocator of a sanitizer stands in.
size_t HeapBytes() {
  const auto heap = mallinfo2();
  return heap.uordblks + heap.hblkhd;
}

// Thousands of files that are little but footers, within a small limit: footers, and what is made of them, count.
TEST(FileMerge, ManyTinyInputsKeepTheMemoryLimit) {
  constexpr int kColumns = 20;
  constexpr int kFiles = 3000;
  schema::Schema schema;
  for (int i = 1; i <= kColumns; ++i) schema.fields.push_back(Make(i, fmt::format("c{}", i), Of(TypeKind::kLong)));
  const std::string file = FileOf(schema, std::vector<std::string>(kColumns, "[1, 2, 3]"));
  FileLayoutOptions options;
  options.row_group_bytes_max = 2 << 20;
  int64_t written = 0;
  auto merge = FileMerge::Create(schema, options, "{}", [&](std::string_view bytes) -> Status {
                 written += static_cast<int64_t>(bytes.size());
                 return {};
               }).value();
  const size_t before = HeapBytes();
  size_t most = 0;
  for (int i = 0; i < kFiles; ++i) {
    ASSERT_TRUE(merge->Add(std::make_shared<const std::string>(file), 3).has_value());
    EXPECT_LE(merge->held_bytes(), options.row_group_bytes_max);
    most = std::max(most, HeapBytes() - std::min(before, HeapBytes()));
  }
  const FileMetrics metrics = merge->Close().value();
  EXPECT_EQ(metrics.record_count, 3 * kFiles);
  EXPECT_GT(metrics.split_offsets.size(), 2u);
  // Beside the inputs: metadata of the row groups that are written, codecs, buffers.
  EXPECT_LT(most, static_cast<size_t>(options.row_group_bytes_max) + (1 << 20)) << "of so many bytes: " << written;
}

TEST(FileMerge, AFileOfAnotherNumberOfRowsIsRefused) {
  const schema::Schema schema = OneColumn(Of(TypeKind::kLong));
  const auto file = std::make_shared<const std::string>(FileOf(schema, {"[1, 2, 3]"}));
  std::string out;
  auto merge = FileMerge::Create(schema, {}, "{}", AppendTo(out)).value();
  EXPECT_TRUE(merge->Check(*file, 3).has_value());
  EXPECT_EQ(merge->Check(*file, 4).error().reason, "row_count_differs");
  EXPECT_EQ(merge->Add(file, 2).value()->reason, "row_count_differs");
  EXPECT_FALSE(merge->Add(file, 3).value().has_value());
  EXPECT_EQ(merge->Close()->record_count, 3);
}

// Columns that are decoded come in parts, which end where rows do.
TEST(FileMerge, LongColumnsAreDecodedInParts) {
  constexpr int64_t kRows = 150'000;
  auto list_of = [](TypeKind kind) { return OneColumn(Type::List(Make(2, "element", Of(kind)))); };
  auto rows_of = [](const schema::Schema& schema, auto values) {
    const auto type = columnar::ToArrowSchema(schema);
    auto* pool = arrow::default_memory_pool();
    arrow::ListBuilder lists(pool, std::make_shared<decltype(values)>(std::move(values)), type->field(0)->type());
    auto& elements = static_cast<decltype(values)&>(*lists.value_builder());
    for (int64_t i = 0; i < kRows; ++i) {
      EXPECT_TRUE((i % 11 == 0 ? lists.AppendNull() : lists.Append()).ok());
      for (int64_t k = 0; i % 11 != 0 && k < i % 5; ++k) {
        EXPECT_TRUE((k == 3 ? elements.AppendNull() : elements.Append(static_cast<int32_t>(i + k))).ok());
      }
    }
    return arrow::RecordBatch::Make(type, kRows, {lists.Finish().ValueOrDie()});
  };
  const schema::Schema narrow = list_of(TypeKind::kInt);
  const schema::Schema wide = list_of(TypeKind::kLong);
  auto file = WriteParquet(narrow, {}, {rows_of(narrow, arrow::Int32Builder())});
  ASSERT_TRUE(file.has_value()) << file.error().ToString();
  int parts = 0;
  ASSERT_TRUE(DecodeChunk(file->bytes, 0, 0, [&](const DecodedRows& rows) {
                EXPECT_EQ(rows.repetition.front(), 0);
                ++parts;
                return Status();
              }).has_value());
  EXPECT_GT(parts, 1);
  auto merged = Merge(wide, {}, {file->bytes});
  ASSERT_TRUE(merged.has_value()) << merged.error().ToString();
  auto expected = arrow::Table::FromRecordBatches({rows_of(wide, arrow::Int64Builder())}).ValueOrDie();
  ExpectSameRows(*expected, *merged->file.Read());
  ExpectTrueMetadata(wide, merged->file);
  EXPECT_EQ(merged->counts.chunks_decoded.at("promoted_type"), 1);
}

TEST(FileMerge, BloomFiltersAreMadeAnew) {
  const schema::Schema schema = OneColumn(Of(TypeKind::kString));
  FileLayoutOptions options;
  options.bloom_filter_fpp[1] = 0.01;
  auto merged = Merge(schema, options, {WriteTexts(3000, 1000, 0, true), WriteTexts(3000, 3000, 5000, false)});
  ASSERT_TRUE(merged.has_value()) << merged.error().ToString();
  EXPECT_EQ(merged->counts.bloom_filters_made, 1);
  auto reader = merged->file.Open();
  auto filter = reader->GetBloomFilterReader().RowGroup(0)->GetColumnBloomFilter(0);
  ASSERT_NE(filter, nullptr);
  int64_t false_positives = 0;
  for (int64_t i = 0; i < 8000; ++i) {
    const std::string text = TextOf(i);
    const bool found = filter->FindHash(filter->Hash(std::string_view(text)));
    if (i < 1000 || i >= 5000) {
      EXPECT_TRUE(found) << i;
    } else {
      false_positives += found ? 1 : 0;
    }
  }
  EXPECT_LT(false_positives, 200);
  auto without = Merge(schema, {}, {merged->file.bytes});
  ASSERT_TRUE(without.has_value());
  EXPECT_EQ(without->counts.bloom_filters_dropped, 1);
}

TEST(FileMerge, NamesTheDamagedInput) {
  const schema::Schema schema = OneColumn(Of(TypeKind::kString));
  FileLayoutOptions options;
  options.page_checksum = true;
  const std::string good = FileOf(schema, {R"(["a", "b", "c"])"}, options);
  std::string bad = good;
  auto footer = ReadFooter(good).value();
  auto pages = ReadPages(good, footer.row_groups[0].chunks[0]).value();
  bad[static_cast<size_t>(pages.data[0].body.data() - good.data())] ^= 0x11;
  std::string out;
  auto merge = FileMerge::Create(schema, {}, "{}", AppendTo(out)).value();
  for (const std::string& file : {good, good, bad, good}) {
    ASSERT_TRUE(merge->Add(std::make_shared<const std::string>(file)).has_value());
  }
  auto closed = merge->Close();
  ASSERT_FALSE(closed.has_value());
  EXPECT_EQ(closed.error().code(), ErrorCode::kCorruption);
  EXPECT_EQ(merge->failed_input(), 2u);
  EXPECT_FALSE(merge->Close().has_value());
}

TEST(FileMerge, TheSinksErrorComesBack) {
  const schema::Schema schema = OneColumn(Of(TypeKind::kString));
  auto merge = FileMerge::Create(schema, {}, "{}", [](std::string_view) -> Status {
                 return Fail(ErrorCode::kResourceExhausted, "disk full");
               }).value();
  ASSERT_TRUE(merge->Add(std::make_shared<const std::string>(FileOf(schema, {R"(["a"])"}))).has_value());
  auto closed = merge->Close();
  ASSERT_FALSE(closed.has_value());
  EXPECT_EQ(closed.error().code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(merge->failed_input(), std::nullopt);
}

// Changed bytes anywhere: an error or other rows, never a read or write outside (the sanitizers watch).
TEST(FileMerge, DamageIsAnErrorOrHarmless) {
  for (uint64_t seed = 0; seed < 12; ++seed) {
    RandomRows random(seed);
    FileLayoutOptions options;
    options.compression_codec = seed % 2 == 0 ? "uncompressed" : "zstd";
    auto file = WriteParquet(random.schema(), options, {random.MakeBatch(60)});
    ASSERT_TRUE(file.has_value());
    Dice dice(seed);
    for (int i = 0; i < 60; ++i) {
      std::string damaged = file->bytes;
      for (int64_t k = 1 + dice.Below(3); k > 0; --k) {
        damaged[static_cast<size_t>(dice.Below(static_cast<int64_t>(damaged.size())))] ^=
            static_cast<char>(1 + dice.Below(255));
      }
      (void)Merge(random.schema(), {}, {file->bytes, damaged, damaged});
    }
  }
}

}  // namespace
}  // namespace firn::parquet
