#include "firn/parquet/file_truth_for_test.h"

#include <parquet/bloom_filter.h>
#include <parquet/bloom_filter_reader.h>
#include <parquet/column_page.h>
#include <parquet/column_reader.h>
#include <parquet/page_index.h>
#include <parquet/properties.h>
#include <parquet/size_statistics.h>
#include <parquet/statistics.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <type_traits>

namespace firn::parquet {
namespace {

namespace pq = ::parquet;

// Everything that a column chunk holds, as Arrow's column reader gives it.
template <typename DType>
struct ChunkValues {
  using T = typename DType::c_type;
  std::vector<int16_t> definition;
  std::vector<int16_t> repetition;
  std::vector<uint8_t> has_value;       // by level entry
  std::unique_ptr<T[]> values;          // bool has no vector of its own
  size_t value_count = 0;
  std::vector<std::string> owned;       // bytes behind byte arrays, which live no longer than a page
};

template <typename DType>
ChunkValues<DType> ReadChunk(pq::ParquetFileReader& reader, int group, int column) {
  using T = typename DType::c_type;
  ChunkValues<DType> chunk;
  auto row_group = reader.RowGroup(group);
  const auto* descriptor = reader.metadata()->schema()->Column(column);
  auto entries = static_cast<size_t>(row_group->metadata()->ColumnChunk(column)->num_values());
  chunk.values = std::make_unique<T[]>(entries + 1);
  chunk.owned.reserve(entries);
  auto base = row_group->Column(column);
  auto& typed = static_cast<pq::TypedColumnReader<DType>&>(*base);
  std::vector<int16_t> definition(1000), repetition(1000);
  while (typed.HasNext()) {
    int64_t values = 0;
    auto levels = static_cast<size_t>(typed.ReadBatch(1000, definition.data(), repetition.data(),
                                                      chunk.values.get() + chunk.value_count, &values));
    if (descriptor->max_definition_level() == 0) std::fill_n(definition.begin(), levels, int16_t{0});
    if (descriptor->max_repetition_level() == 0) std::fill_n(repetition.begin(), levels, int16_t{0});
    for (size_t i = 0; i < levels; ++i) {
      chunk.definition.push_back(definition[i]);
      chunk.repetition.push_back(repetition[i]);
      chunk.has_value.push_back(definition[i] == descriptor->max_definition_level());
    }
    for (int64_t i = 0; i < values; ++i) {
      T& value = chunk.values[chunk.value_count + static_cast<size_t>(i)];
      if constexpr (std::is_same_v<T, pq::ByteArray>) {
        chunk.owned.emplace_back(reinterpret_cast<const char*>(value.ptr), value.len);
        value.ptr = reinterpret_cast<const uint8_t*>(chunk.owned.back().data());
      } else if constexpr (std::is_same_v<T, pq::FLBA>) {
        chunk.owned.emplace_back(reinterpret_cast<const char*>(value.ptr), descriptor->type_length());
        value.ptr = reinterpret_cast<const uint8_t*>(chunk.owned.back().data());
      }
    }
    chunk.value_count += static_cast<size_t>(values);
  }
  return chunk;
}

template <typename T>
bool IsNan(const T& value) {
  if constexpr (std::is_floating_point_v<T>) return std::isnan(value);
  return false;
}

struct PageOfChunk {
  size_t entry_begin = 0, entry_end = 0;
  size_t value_begin = 0, value_end = 0;
  size_t nans = 0;
};

template <typename DType>
class ChunkTruth {
 public:
  ChunkTruth(pq::ParquetFileReader& reader, int group, int column, const FileLayoutOptions& options)
      : reader_(reader), group_(group), column_(column), options_(options),
        descriptor_(reader.metadata()->schema()->Column(column)),
        metadata_(reader.metadata()->RowGroup(group)->ColumnChunk(column)),
        chunk_(ReadChunk<DType>(reader, group, column)) {}

  void Expect() {
    ASSERT_EQ(static_cast<int64_t>(chunk_.definition.size()), metadata_->num_values());
    auto index = reader_.GetPageIndexReader()->RowGroup(group_);
    ASSERT_NE(index, nullptr);
    auto offsets = index->GetOffsetIndex(column_);
    ASSERT_NE(offsets, nullptr);
    CutPages(*offsets);
    ExpectPageHeaders(*offsets);
    if (::testing::Test::HasFatalFailure()) return;
    ExpectColumnIndex(index->GetColumnIndex(column_));
    ExpectChunkStatistics();
    ExpectSizeStatistics(*offsets);
    ExpectBloomFilter();
  }

 private:
  // From the row at which each page begins.
  void CutPages(const pq::OffsetIndex& offsets) {
    const auto& locations = offsets.page_locations();
    int64_t row = -1;
    size_t value = 0;
    for (size_t entry = 0; entry < chunk_.definition.size(); ++entry) {
      if (chunk_.repetition[entry] == 0) {
        ++row;
        if (pages_.size() < locations.size() && locations[pages_.size()].first_row_index == row) {
          pages_.push_back({entry, entry, value, value, 0});
        }
      }
      ASSERT_FALSE(pages_.empty());
      PageOfChunk& page = pages_.back();
      page.entry_end = entry + 1;
      if (chunk_.has_value[entry] != 0) {
        page.nans += IsNan(chunk_.values[value]);
        page.value_end = ++value;
      }
    }
    ASSERT_EQ(pages_.size(), locations.size());
    ASSERT_EQ(value, chunk_.value_count);
  }

  void ExpectPageHeaders(const pq::OffsetIndex& offsets) {
    std::map<std::pair<int, int>, int> counts;
    auto pages = reader_.RowGroup(group_)->GetColumnPageReader(column_);
    size_t number = 0;
    int64_t bytes = metadata_->has_dictionary_page() ? offsets.page_locations()[0].offset -
                                                           metadata_->dictionary_page_offset() : 0;
    while (auto page = pages->NextPage()) {
      if (page->type() == pq::PageType::DICTIONARY_PAGE) {
        ++counts[{pq::PageType::DICTIONARY_PAGE, pq::Encoding::PLAIN}];
        continue;
      }
      ASSERT_LT(number, pages_.size());
      const auto& data = static_cast<const pq::DataPage&>(*page);
      ++counts[{page->type(), data.encoding()}];
      EXPECT_EQ(data.num_values(), static_cast<int32_t>(pages_[number].entry_end - pages_[number].entry_begin));
      EXPECT_EQ(page->type(), options_.page_version == 2 ? pq::PageType::DATA_PAGE_V2 : pq::PageType::DATA_PAGE);
      int64_t rows = Rows(pages_[number]);
      EXPECT_LE(rows, options_.page_rows_max);
      if (page->type() == pq::PageType::DATA_PAGE_V2) {
        const auto& v2 = static_cast<const pq::DataPageV2&>(*page);
        EXPECT_EQ(v2.num_rows(), rows);
        EXPECT_EQ(v2.num_nulls(), static_cast<int32_t>(Nulls(pages_[number])));
      }
      bytes += offsets.page_locations()[number].compressed_page_size;
      ++number;
    }
    ASSERT_EQ(number, pages_.size());
    EXPECT_EQ(bytes, metadata_->total_compressed_size());
    std::map<std::pair<int, int>, int> stated;
    for (const auto& count : metadata_->encoding_stats()) stated[{count.page_type, count.encoding}] += count.count;
    EXPECT_EQ(stated, counts);
  }

  int64_t Rows(const PageOfChunk& page) const {
    return std::count(chunk_.repetition.begin() + static_cast<int64_t>(page.entry_begin),
                      chunk_.repetition.begin() + static_cast<int64_t>(page.entry_end), 0);
  }
  static int64_t Nulls(const PageOfChunk& page) {
    return static_cast<int64_t>(page.entry_end - page.entry_begin - (page.value_end - page.value_begin));
  }

  pq::EncodedStatistics StatisticsOf(size_t begin, size_t end, int64_t nulls) const {
    auto statistics = pq::MakeStatistics<DType>(descriptor_);
    statistics->Update(chunk_.values.get() + begin, static_cast<int64_t>(end - begin), nulls);
    return statistics->Encode();
  }

  void ExpectColumnIndex(const std::shared_ptr<pq::ColumnIndex>& index) {
    bool only_nan = std::any_of(pages_.begin(), pages_.end(), [](const PageOfChunk& page) {
      return page.nans > 0 && page.nans == page.value_end - page.value_begin;
    });
    ASSERT_EQ(index == nullptr, only_nan);
    if (index == nullptr) return;
    ASSERT_EQ(index->null_pages().size(), pages_.size());
    for (size_t i = 0; i < pages_.size(); ++i) {
      const PageOfChunk& page = pages_[i];
      EXPECT_EQ(index->null_pages()[i], page.value_begin == page.value_end);
      EXPECT_EQ(index->null_counts()[i], Nulls(page));
      if (page.value_begin == page.value_end) continue;
      auto statistics = StatisticsOf(page.value_begin, page.value_end, Nulls(page));
      EXPECT_EQ(index->encoded_min_values()[i], statistics.min());
      EXPECT_EQ(index->encoded_max_values()[i], statistics.max());
    }
    ExpectOrder(static_cast<const pq::TypedColumnIndex<DType>&>(*index));
  }

  void ExpectOrder(const pq::TypedColumnIndex<DType>& index) {
    auto comparator = pq::MakeComparator<DType>(descriptor_);
    bool ascending = true, descending = true;
    const auto& pages = index.non_null_page_indices();
    for (size_t i = 1; i < pages.size(); ++i) {
      auto before = static_cast<size_t>(pages[i - 1]), here = static_cast<size_t>(pages[i]);
      bool falls = comparator->Compare(index.min_values()[here], index.min_values()[before]) ||
                   comparator->Compare(index.max_values()[here], index.max_values()[before]);
      bool rises = comparator->Compare(index.min_values()[before], index.min_values()[here]) ||
                   comparator->Compare(index.max_values()[before], index.max_values()[here]);
      ascending = ascending && !falls;
      descending = descending && !rises;
    }
    EXPECT_EQ(index.boundary_order(), ascending    ? pq::BoundaryOrder::Ascending
                                      : descending ? pq::BoundaryOrder::Descending
                                                   : pq::BoundaryOrder::Unordered);
  }

  void ExpectChunkStatistics() {
    ASSERT_TRUE(metadata_->is_stats_set());
    auto stated = metadata_->encoded_statistics();
    auto nulls = metadata_->num_values() - static_cast<int64_t>(chunk_.value_count);
    auto truth = StatisticsOf(0, chunk_.value_count, nulls);
    EXPECT_EQ(stated->null_count, nulls);
    ASSERT_EQ(stated->has_min, truth.has_min);
    ASSERT_EQ(stated->has_max, truth.has_max);
    if (!stated->has_min) return;
    EXPECT_EQ(stated->min(), truth.min());
    EXPECT_EQ(stated->max(), truth.max());
    EXPECT_EQ(stated->is_min_value_exact, std::optional<bool>(true));
    EXPECT_EQ(stated->is_max_value_exact, std::optional<bool>(true));
  }

  void ExpectSizeStatistics(const pq::OffsetIndex& offsets) {
    auto sizes = metadata_->size_statistics();
    auto histogram = [](const std::vector<int16_t>& levels, int16_t highest) {
      std::vector<int64_t> counts(static_cast<size_t>(highest) + 1, 0);
      for (int16_t level : levels) ++counts[static_cast<size_t>(level)];
      return counts;
    };
    bool repeated = descriptor_->max_repetition_level() > 0;
    bool deep = descriptor_->max_definition_level() > 1;
    constexpr bool kBytes = std::is_same_v<DType, pq::ByteArrayType>;
    ASSERT_EQ(sizes != nullptr, repeated || deep || kBytes);
    if (sizes == nullptr) return;
    std::vector<int64_t> none;
    EXPECT_EQ(sizes->repetition_level_histogram,
              repeated ? histogram(chunk_.repetition, descriptor_->max_repetition_level()) : none);
    EXPECT_EQ(sizes->definition_level_histogram,
              deep ? histogram(chunk_.definition, descriptor_->max_definition_level()) : none);
    ASSERT_EQ(sizes->unencoded_byte_array_data_bytes.has_value(), kBytes);
    if constexpr (kBytes) {
      int64_t all = 0;
      ASSERT_EQ(offsets.unencoded_byte_array_data_bytes().size(), pages_.size());
      for (size_t i = 0; i < pages_.size(); ++i) {
        int64_t bytes = 0;
        for (size_t value = pages_[i].value_begin; value < pages_[i].value_end; ++value) {
          bytes += chunk_.values[value].len;
        }
        EXPECT_EQ(offsets.unencoded_byte_array_data_bytes()[i], bytes);
        all += bytes;
      }
      EXPECT_EQ(*sizes->unencoded_byte_array_data_bytes, all);
    }
  }

  void ExpectBloomFilter() {
    auto group = reader_.GetBloomFilterReader().RowGroup(group_);
    auto filter = group == nullptr ? nullptr : group->GetColumnBloomFilter(column_);
    bool wanted = options_.bloom_filter_fpp.contains(descriptor_->schema_node()->field_id());
    ASSERT_EQ(filter != nullptr, wanted && chunk_.value_count > 0);
    if (filter == nullptr) return;
    EXPECT_LE(static_cast<int64_t>(filter->GetBitsetSize()), std::max<int64_t>(options_.bloom_filter_bytes_max, 32));
    for (size_t i = 0; i < chunk_.value_count; ++i) {
      if constexpr (std::is_same_v<DType, pq::FLBAType>) {
        pq::FLBA value = chunk_.values[i];
        EXPECT_TRUE(filter->FindHash(filter->Hash(&value, static_cast<uint32_t>(descriptor_->type_length()))));
      } else if constexpr (std::is_same_v<DType, pq::ByteArrayType>) {
        pq::ByteArray value = chunk_.values[i];
        EXPECT_TRUE(filter->FindHash(filter->Hash(&value)));
      } else if constexpr (!std::is_same_v<DType, pq::BooleanType>) {
        EXPECT_TRUE(filter->FindHash(filter->Hash(chunk_.values[i])));
      }
    }
  }

  pq::ParquetFileReader& reader_;
  int group_;
  int column_;
  const FileLayoutOptions& options_;
  const pq::ColumnDescriptor* descriptor_;
  std::unique_ptr<pq::ColumnChunkMetaData> metadata_;
  ChunkValues<DType> chunk_;
  std::vector<PageOfChunk> pages_;
};

void ExpectChunk(pq::ParquetFileReader& reader, int group, int column, const FileLayoutOptions& options) {
  switch (reader.metadata()->schema()->Column(column)->physical_type()) {
    case pq::Type::BOOLEAN: return ChunkTruth<pq::BooleanType>(reader, group, column, options).Expect();
    case pq::Type::INT32: return ChunkTruth<pq::Int32Type>(reader, group, column, options).Expect();
    case pq::Type::INT64: return ChunkTruth<pq::Int64Type>(reader, group, column, options).Expect();
    case pq::Type::FLOAT: return ChunkTruth<pq::FloatType>(reader, group, column, options).Expect();
    case pq::Type::DOUBLE: return ChunkTruth<pq::DoubleType>(reader, group, column, options).Expect();
    case pq::Type::BYTE_ARRAY: return ChunkTruth<pq::ByteArrayType>(reader, group, column, options).Expect();
    case pq::Type::FIXED_LEN_BYTE_ARRAY: return ChunkTruth<pq::FLBAType>(reader, group, column, options).Expect();
    default: FAIL() << "a physical type that Firn does not write";
  }
}

}  // namespace

void ExpectTruth(const ParquetFileForTest& file, const FileLayoutOptions& options) {
  auto source = std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(file.bytes));
  pq::ReaderProperties properties;
  properties.set_page_checksum_verification(true);
  auto reader = pq::ParquetFileReader::Open(source, properties);
  auto metadata = reader->metadata();
  int64_t rows = 0;
  for (int group = 0; group < metadata->num_row_groups(); ++group) {
    auto row_group = metadata->RowGroup(group);
    rows += row_group->num_rows();
    EXPECT_LE(row_group->num_rows(), options.row_group_rows_max);
    int64_t compressed = 0, uncompressed = 0;
    for (int column = 0; column < metadata->num_columns(); ++column) {
      SCOPED_TRACE("row group " + std::to_string(group) + ", column " +
                   metadata->schema()->Column(column)->path()->ToDotString());
      compressed += row_group->ColumnChunk(column)->total_compressed_size();
      uncompressed += row_group->ColumnChunk(column)->total_uncompressed_size();
      ExpectChunk(*reader, group, column, options);
      if (::testing::Test::HasFailure()) return;
    }
    EXPECT_EQ(row_group->total_compressed_size(), compressed);
    EXPECT_EQ(row_group->total_byte_size(), uncompressed);
  }
  EXPECT_EQ(metadata->num_rows(), rows);
}

}  // namespace firn::parquet
