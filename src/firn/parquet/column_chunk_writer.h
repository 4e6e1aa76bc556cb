// ColumnChunkWriter: one leaf column of the open row group: rows are cut into pages, each page encoded when it is full,
// compressed and held until the group is written; statistics, page index and bloom filter on the way.
//
// Owned by one RowGroupWriter and its thread; serves one file after another. Memory: the values of the open page, the
// dictionary (its limit and a page more), the bloom filter, and the compressed pages.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "firn/base/error.h"
#include "firn/parquet/bloom_filter.h"
#include "firn/parquet/chunk_pages.h"
#include "firn/parquet/dictionary_encoder.h"
#include "firn/parquet/file_output.h"
#include "firn/parquet/format.h"
#include "firn/parquet/leaf_rows.h"
#include "firn/parquet/leaf_shape.h"
#include "firn/parquet/level_buffer.h"
#include "firn/parquet/page_compressor.h"
#include "firn/parquet/value_encoder.h"
#include "firn/parquet/value_statistics.h"

namespace firn::parquet {

struct BloomFilterSize {
  double false_positive_rate = 0.01;
  int64_t distinct = 0;         // values that it is made for
  bool distinct_is_given = false;  // else it is folded to what the chunk really has
  int64_t bytes_max = 1 << 20;
};

struct ColumnOptions {
  bool dictionary = false;                                   // to begin with
  format::Encoding encoding = format::Encoding::kPlain;      // without dictionary
  int64_t page_rows_max = 20'000;
  int64_t page_bytes_max = 1 << 20;
  int64_t dictionary_bytes_max = 2 << 20;
  int32_t page_version = 1;
  std::optional<BloomFilterSize> bloom_filter;
};

// Memory that the columns of a file use one after another.
struct PageScratch {
  LeafScratch leaf;
  ByteBuffer page;
  ByteBuffer compressed;
};

class ColumnChunkWriter {
 public:
  // Shape, compressor and scratch must outlive it.
  ColumnChunkWriter(const LeafShape& shape, PageCompressor& compressor, PageScratch& scratch, bool page_checksum);

  // Before the first rows of each file: all chunks of the last one are finished.
  void Open(const ColumnOptions& options);
  // Rows [begin, end) of a batch.
  Status Append(const arrow::RecordBatch& batch, int64_t begin, int64_t end);

  struct Finished {
    format::ColumnChunk chunk;
    format::OffsetIndex offset_index;
    std::optional<format::ColumnIndex> column_index;  // none where a page has no bounds that could stand there
    Bounds bounds;  // exact
    int64_t nulls = 0;
    int64_t nans = 0;
  };
  // Writes the chunk; the next rows begin another one.
  Result<Finished> Finish(FileOutput& out);
  // Behind the row group's chunks: the bloom filter of the chunk finished last, if the column has one.
  Status WriteBloomFilter(FileOutput& out, format::ColumnChunk& chunk);

  int64_t stored_bytes() const { return pages_.stored_bytes(); }              // finished pages, compressed
  int64_t uncompressed_bytes() const { return pages_.uncompressed_bytes(); }  // the same before
  int64_t open_bytes() const;                                                 // not in a page yet, and the dictionary
  int64_t held_bytes() const;                                                 // memory of all that, and of the filter

 private:
  struct PageSummary {
    Bounds bounds;  // as the column index stores them; not known: none that could stand there
    int64_t values = 0;
    int64_t nulls = 0;
    int64_t unencoded_bytes = 0;
  };

  int64_t FittingRows(int64_t begin, int64_t end) const;
  Status Take(int64_t begin, int64_t end);
  void BeginChunk();
  Status FinishPage(bool last = false);
  void NoteBounds(const Bounds& exact);
  void CloseDictionary();
  // The encoding of the page that is being finished; decides whether the dictionary is kept.
  format::Encoding SettlePage(bool last);
  void PutIntoBloomFilter(const ValueSpan& span);
  ValueEncoder& encoder();
  int64_t open_page_bytes() const;
  format::Statistics ChunkStatistics(const Bounds& bounds) const;
  std::optional<format::ColumnIndex> MakeColumnIndex();

  const LeafShape& shape_;
  ColumnOptions options_;
  PageScratch& scratch_;
  ChunkPages pages_;
  LeafRows rows_;
  std::unique_ptr<ValueEncoder> plain_;               // once it is needed
  format::Encoding plain_encoding_ = format::Encoding::kPlain;  // what it writes
  std::unique_ptr<DictionaryEncoder> dictionary_;     // once it is needed; its memory serves one chunk after another
  bool has_dictionary_ = false;                       // the column may have one, in this file
  std::unique_ptr<ValueStatistics> statistics_;
  std::optional<BloomFilter> bloom_filter_;
  bool dictionary_open_ = false;                      // pages of this chunk still go into the dictionary
  int64_t dictionary_values_ = 0;                     // of the chunk, in finished dictionary pages

  // the open page
  LevelBuffer definition_;
  LevelBuffer repetition_;
  int64_t page_rows_ = 0;
  int64_t page_entries_ = 0;
  PageSummary page_;

  // the chunk
  int64_t chunk_rows_ = 0;
  int64_t chunk_entries_ = 0;
  int64_t chunk_nulls_ = 0;
  int64_t nans_before_ = 0;                           // of earlier chunks
  std::vector<PageSummary> summaries_;
  Bounds chunk_bounds_;                               // exact
  format::SizeStatistics sizes_;
};

}  // namespace firn::parquet
