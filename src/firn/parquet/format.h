// The structures of a Parquet file around its pages, as the format's parquet.thrift numbers them, and how they are
// written. Values, no behaviour.
//
// Numbers of enums are those of the file. Only what Firn writes is here: no encryption, no index pages, no v0 fields.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "firn/parquet/byte_buffer.h"

namespace parquet::schema {
class GroupNode;
}

namespace firn::parquet::format {

inline constexpr std::string_view kMagic = "PAR1";

enum class PhysicalType : uint8_t {
  kBoolean = 0, kInt32 = 1, kInt64 = 2, kFloat = 4, kDouble = 5, kByteArray = 6, kFixedLenByteArray = 7,
};
enum class Encoding : uint8_t {
  kPlain = 0, kRle = 3, kDeltaBinaryPacked = 5, kDeltaLengthByteArray = 6, kRleDictionary = 8, kByteStreamSplit = 9,
};
enum class Codec : uint8_t {
  kUncompressed = 0, kSnappy = 1, kGzip = 2, kBrotli = 4, kZstd = 6, kLz4Raw = 7,
};
enum class PageType : uint8_t { kData = 0, kDictionary = 2, kDataV2 = 3 };
enum class BoundaryOrder : uint8_t { kUnordered = 0, kAscending = 1, kDescending = 2 };

struct PageHeader {
  PageType type = PageType::kData;
  int32_t uncompressed_bytes = 0;
  int32_t compressed_bytes = 0;
  std::optional<uint32_t> crc;
  int32_t num_values = 0;  // nulls included
  Encoding encoding = Encoding::kPlain;
  // v2 only
  int32_t num_nulls = 0;
  int32_t num_rows = 0;
  int32_t definition_level_bytes = 0;
  int32_t repetition_level_bytes = 0;
  bool is_compressed = true;
};

struct Statistics {
  int64_t null_count = 0;
  bool has_bounds = false;
  std::string min;
  std::string max;
  bool min_is_exact = true;
  bool max_is_exact = true;
};

struct SizeStatistics {
  std::optional<int64_t> unencoded_byte_array_bytes;
  std::vector<int64_t> repetition_levels;  // histograms; empty: none
  std::vector<int64_t> definition_levels;
};

struct PageEncodingCount {
  PageType page_type = PageType::kData;
  Encoding encoding = Encoding::kPlain;
  int32_t count = 0;
};

struct ColumnChunk {
  PhysicalType type = PhysicalType::kInt32;
  std::vector<Encoding> encodings;
  std::span<const std::string> path;  // the writer's
  Codec codec = Codec::kUncompressed;
  int64_t num_values = 0;
  int64_t uncompressed_bytes = 0;  // headers included, here and in the next
  int64_t compressed_bytes = 0;
  int64_t data_page_offset = 0;
  std::optional<int64_t> dictionary_page_offset;
  Statistics statistics;
  std::vector<PageEncodingCount> encoding_counts;
  std::optional<int64_t> bloom_filter_offset;
  int32_t bloom_filter_bytes = 0;
  SizeStatistics size_statistics;
  int64_t offset_index_offset = 0;
  int32_t offset_index_bytes = 0;
  std::optional<int64_t> column_index_offset;
  int32_t column_index_bytes = 0;

  int64_t start() const { return dictionary_page_offset.value_or(data_page_offset); }
};

struct RowGroup {
  std::vector<ColumnChunk> columns;
  int64_t num_rows = 0;
};

struct PageLocation {
  int64_t offset = 0;
  int32_t compressed_bytes = 0;  // header included
  int64_t first_row = 0;         // in the row group
};

struct OffsetIndex {
  std::vector<PageLocation> pages;
  std::vector<int64_t> unencoded_byte_array_bytes;  // byte arrays only; else empty
};

struct ColumnIndex {
  std::vector<bool> null_pages;
  std::vector<std::string> min_values;
  std::vector<std::string> max_values;
  BoundaryOrder boundary_order = BoundaryOrder::kUnordered;
  std::vector<int64_t> null_counts;
};

void Append(const PageHeader& header, ByteBuffer& out);
void Append(const OffsetIndex& index, ByteBuffer& out);
void Append(const ColumnIndex& index, ByteBuffer& out);
// FileMetaData in three parts, one behind another: the schema, the rows, and what ends it. The first and the last are
// alike in all files of a schema.
void AppendSchema(const ::parquet::schema::GroupNode& schema, ByteBuffer& out);
void AppendRowGroups(std::span<const RowGroup> row_groups, ByteBuffer& out);
void AppendFileEnd(const std::string& key, const std::string& value, const std::string& created_by,
                   const ::parquet::schema::GroupNode& schema, ByteBuffer& out);
// Header of a split-block bloom filter of so many bytes, hashed by XXH64, not compressed.
void AppendBloomFilterHeader(int32_t bytes, ByteBuffer& out);

}  // namespace firn::parquet::format
