// ChunkPages: the finished pages of one column chunk, compressed and held until the row group is written.
//
// Owned by one column writer and its thread. A v2 page says itself whether it is compressed. The v1 pages of a chunk
// share one codec: they stay as they are until one of them shrinks by more than a twentieth, then all are compressed.
// Pages that did not shrink are tried only now and then, and very small ones never.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/parquet/byte_buffer.h"
#include "firn/parquet/file_output.h"
#include "firn/parquet/format.h"
#include "firn/parquet/page_compressor.h"

namespace firn::parquet {

class ChunkPages {
 public:
  ChunkPages(PageCompressor& compressor, bool checksum) : compressor_(compressor), checksum_(checksum) {}

  // `header` has type, counts, encoding and level lengths; sizes and checksum are filled in here. `scratch` is used.
  // kResourceExhausted when a page is beyond the format's 2 GiB.
  Status Add(format::PageHeader header, int64_t first_row, std::string_view body, ByteBuffer& scratch);
  // Writes the dictionary page, if there is one, and all pages, gives their memory back but for a little, and fills
  // in what `chunk` and `index` say about them.
  Status Write(std::string_view dictionary, int32_t dictionary_entries, bool has_dictionary, ByteBuffer& scratch,
               FileOutput& out, format::ColumnChunk& chunk, format::OffsetIndex& index);

  bool empty() const { return pages_.empty(); }
  int64_t stored_bytes() const { return stored_bytes_; }
  int64_t uncompressed_bytes() const { return uncompressed_bytes_; }

 private:
  struct HeldPage {
    format::PageHeader header;
    int64_t first_row = 0;
    size_t block = 0;
    size_t offset = 0;
  };

  bool Shrinks(size_t before, size_t after) const { return after * 20 <= before * 19; }
  bool IsTurn(size_t bytes);
  Status AddV1(HeldPage page, std::string_view body, ByteBuffer& scratch);
  Status AddV2(HeldPage page, std::string_view body, ByteBuffer& scratch);
  Status CompressHeld(ByteBuffer& scratch);
  Status Hold(HeldPage page, std::string_view first, std::string_view second = {});
  std::string_view BodyOf(const HeldPage& page) const;
  Status WritePage(format::PageHeader header, std::string_view body, FileOutput& out, format::ColumnChunk& chunk);
  void Clear();

  PageCompressor& compressor_;
  bool checksum_;
  bool compressed_ = false;     // v1: all pages are; v2: some are
  int32_t untried_ = 0;         // pages since the last one that was tried and did not shrink
  bool last_try_failed_ = false;
  std::vector<HeldPage> pages_;
  std::vector<ByteBuffer> blocks_;
  ByteBuffer head_;  // of the page that is written
  int64_t stored_bytes_ = 0;
  int64_t uncompressed_bytes_ = 0;
};

}  // namespace firn::parquet
