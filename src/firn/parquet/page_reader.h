// Reading a Parquet file that somebody wrote, down to its pages: footer, page index, page headers, compressed bodies.
//
// Pure, over the bytes of the whole file; results are views into them. Every byte is taken for hostile: lengths are
// checked, counts believed only as far as bytes can hold them, what is wrong is kCorruption. Nothing is decompressed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"

namespace firn::parquet {

// How deep a file's schema may nest.
inline constexpr int kFileSchemaDepthMax = 64;
// Bytes of one page before compression; beyond it the file is left alone.
inline constexpr int64_t kPageBytesMax = int64_t{1} << 28;

enum class Annotation : uint8_t {
  kNone,
  kText,
  kDecimal,
  kDate,
  kTimeMicros,
  kTimestampMicros,
  kTimestampNanos,
  kSignedInteger,
  kUuid,
  kOther,
};
enum class Repetition : uint8_t { kRequired = 0, kOptional = 1, kRepeated = 2 };

// A node of the file's schema, in the file's order; the root is the first.
struct FileNode {
  int32_t parent = -1;  // index of the node; -1: the root itself
  std::string_view name;
  Repetition repetition = Repetition::kRequired;
  std::optional<int32_t> field_id;
  bool is_leaf = false;
  int16_t definition_level = 0;  // the highest, at this node
  int16_t repetition_level = 0;
  // leaves only
  int32_t physical_type = -1;  // the format's number
  int32_t type_length = 0;
  Annotation annotation = Annotation::kNone;
  int32_t precision = 0;
  int32_t scale = 0;
  int32_t integer_bits = 0;
};

struct FileStatistics {
  std::optional<int64_t> null_count;
  std::optional<std::string_view> min;  // min_value and max_value; the deprecated pair is not believed
  std::optional<std::string_view> max;
  bool min_is_exact = false;
  bool max_is_exact = false;
};

struct FileSizes {
  std::optional<int64_t> unencoded_bytes;
  std::vector<int64_t> repetition_levels;
  std::vector<int64_t> definition_levels;
};

struct ByteSpan {
  int64_t offset = 0;
  int64_t length = 0;
};

struct FileChunk {
  int32_t physical_type = -1;
  int32_t codec = 0;
  int64_t num_values = 0;
  int64_t compressed_bytes = 0;
  int64_t data_page_offset = 0;
  std::optional<int64_t> dictionary_page_offset;
  FileStatistics statistics;
  FileSizes sizes;
  std::optional<ByteSpan> offset_index;
  std::optional<ByteSpan> column_index;
  bool has_bloom_filter = false;
  bool is_encrypted = false;
  bool is_elsewhere = false;  // in another file (file_path)
};

struct FileRowGroup {
  int64_t num_rows = 0;
  std::vector<FileChunk> chunks;  // one a leaf
};

struct InputFooter {
  std::vector<FileNode> nodes;
  std::vector<int32_t> leaves;  // indices of nodes
  std::vector<FileRowGroup> row_groups;
  int64_t num_rows = 0;
  std::string_view created_by;
  bool has_type_order = false;  // bounds of every column are in its type's order (column_orders)
};

// kUnsupported: the footer is encrypted. Rows, chunks and leaves agree in what comes back.
Result<InputFooter> ReadFooter(std::string_view file);

struct PageView {
  int32_t type = 0;  // the format's numbers: 0 data, 2 dictionary, 3 data v2
  int32_t encoding = 0;
  int32_t num_values = 0;
  int64_t uncompressed_bytes = 0;
  // v1
  int32_t definition_encoding = 0;
  int32_t repetition_encoding = 0;
  // v2
  int32_t num_nulls = 0;
  int32_t num_rows = 0;
  int32_t definition_bytes = 0;
  int32_t repetition_bytes = 0;
  bool is_compressed = true;
  std::string_view whole;  // header and body
  std::string_view body;

  int64_t header_bytes() const { return static_cast<int64_t>(whole.size() - body.size()); }
  int64_t offset = 0;  // in the file
};

struct InputPages {
  std::optional<PageView> dictionary;
  std::vector<PageView> data;  // with at least one value each; empty ones are passed over
  int64_t num_values = 0;
};

// The pages of one chunk. kCorruption also when a page's checksum is wrong, or its values are not as many as the footer
// says. kUnsupported: a page of unknown type or beyond kPageBytesMax.
Result<InputPages> ReadPages(std::string_view file, const FileChunk& chunk);

struct FileColumnIndex {
  std::vector<bool> null_pages;
  std::vector<std::string_view> min_values;
  std::vector<std::string_view> max_values;
  std::vector<int64_t> null_counts;  // empty: not stated
};
Result<FileColumnIndex> ReadColumnIndex(std::string_view file, ByteSpan where);

struct FilePageLocation {
  int64_t offset = 0;
  int64_t first_row = 0;
};
Result<std::vector<FilePageLocation>> ReadOffsetIndex(std::string_view file, ByteSpan where);

}  // namespace firn::parquet
