// The pages of one input's column chunk, as the merge looks at them: rows, nulls and bounds of each, levels and values
// when they are asked for.
//
// One thread's. Views into the input's bytes, which must outlive it.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/parquet/byte_buffer.h"
#include "firn/parquet/merge_bounds.h"
#include "firn/parquet/merge_columns.h"
#include "firn/parquet/merge_values.h"
#include "firn/parquet/page_codec.h"
#include "firn/parquet/page_reader.h"

namespace firn::parquet {

// What the output's page index says of a page.
struct PageFacts {
  int64_t rows = 0;
  int64_t values = 0;  // entries, nulls included
  int64_t nulls = 0;
  ValueBounds bounds;

  void Include(BoundOrder order, const PageFacts& other);
};

// Entries of pages, of the output's levels; empty where the output's highest level is 0.
struct Levels {
  std::vector<uint8_t> repetition;
  std::vector<uint8_t> definition;
  int64_t count = 0;

  void Clear();
};

struct OpenedPage {
  std::string_view repetition;  // run lengths
  std::string_view definition;
  std::string_view values;  // encoded; not there when they were not asked for
};

// One chunk of one input, for one output leaf.
struct SourceChunk {
  std::string_view file;
  int32_t row_group = 0;
  int64_t rows = 0;
  const FileChunk* chunk = nullptr;
  const FileNode* node = nullptr;  // the file's leaf
  const ColumnPlan* plan = nullptr;
  bool has_type_order = false;

  InputPages pages;
  std::vector<PageFacts> facts;     // of pages.data
  std::vector<uint8_t> starts_row;  // does the page begin with a row?
  ValueBounds bounds;               // of the chunk, in the output's type
  int64_t nulls = 0;

  ValueType type() const;
};

// What is between the file's bytes and values: codecs, and buffers that are used again.
class PageOpener {
 public:
  // Codecs are made when they are needed; `level` for compressing.
  explicit PageOpener(int32_t level) : level_(level) {}
  Result<PageCodec*> Codec(int32_t id);
  // The views are valid until the next call.
  Result<OpenedPage> Open(const SourceChunk& source, const PageView& page, bool with_values);
  // Appends the page's levels in the output's terms.
  Status AppendLevels(const SourceChunk& source, const PageView& page, const OpenedPage& opened, const OutputLeaf& leaf,
                      Levels& out);

 private:
  Result<std::string_view> Decompress(const SourceChunk& source, std::string_view bytes, int64_t length);

  const int32_t level_;
  std::vector<std::unique_ptr<PageCodec>> codecs_;  // by number
  ByteBuffer buffer_;
};

// Reads pages, facts and bounds. Pages whose rows or nulls nobody states are looked into.
Status PreparePages(PageOpener& opener, const OutputLeaf& leaf, SourceChunk& source);
// Can its pages be taken apart here? If not, the chunk goes through Arrow's reader.
bool HasReadablePages(const SourceChunk& source);

}  // namespace firn::parquet
