#include "firn/parquet/chunk_pages.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

namespace firn::parquet {
namespace {

using format::Encoding;
using format::PageHeader;
using format::PageType;

// Pages are kept in blocks that double in size between these.
constexpr size_t kBlockBytesMin = 1 << 10;
constexpr size_t kBlockBytesMax = 256 << 10;
// After a page that did not shrink, so many are stored as they are before the next is tried.
constexpr int32_t kPagesUntried = 3;
// What a codec adds to a page is more than it takes from so few bytes; and the two pages of a column that is all alike
// in a small file cost more to compress than to encode.
constexpr size_t kTinyBytes = 64;
// The format counts the bytes of a page in 32 bits.
constexpr size_t kPageBytesLimit = std::numeric_limits<int32_t>::max();

Status CheckSize(size_t bytes) {
  if (bytes <= kPageBytesLimit) return {};
  return Fail(ErrorCode::kResourceExhausted,
              fmt::format("a row's values do not fit into a page of at most {} bytes: {}", kPageBytesLimit, bytes));
}

uint32_t Crc32(std::string_view bytes) {
  return static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

void Count(PageType type, Encoding encoding, std::vector<format::PageEncodingCount>& counts) {
  for (auto& entry : counts) {
    if (entry.page_type == type && entry.encoding == encoding) {
      ++entry.count;
      return;
    }
  }
  counts.push_back({type, encoding, 1});
}

}  // namespace

Status ChunkPages::Add(PageHeader header, int64_t first_row, std::string_view body, ByteBuffer& scratch) {
  FIRN_TRY(CheckSize(body.size()));
  header.uncompressed_bytes = static_cast<int32_t>(body.size());
  uncompressed_bytes_ += static_cast<int64_t>(body.size());
  HeldPage page{header, first_row};
  return header.type == PageType::kDataV2 ? AddV2(std::move(page), body, scratch)
                                          : AddV1(std::move(page), body, scratch);
}

bool ChunkPages::IsTurn(size_t bytes) {
  if (!compressor_.compresses() || bytes <= kTinyBytes) return false;
  if (!last_try_failed_ || ++untried_ > kPagesUntried) {
    untried_ = 0;
    return true;
  }
  return false;
}

Status ChunkPages::AddV1(HeldPage page, std::string_view body, ByteBuffer& scratch) {
  // A chunk with a dictionary is compressed for the dictionary's sake.
  const bool with_dictionary = page.header.encoding == Encoding::kRleDictionary && body.size() > kTinyBytes;
  bool must = compressor_.compresses() && (compressed_ || with_dictionary);
  if (!must && !IsTurn(body.size())) return Hold(std::move(page), body);
  FIRN_TRY(compressor_.Compress(body, scratch));
  if (!must && !Shrinks(body.size(), scratch.size())) {
    last_try_failed_ = true;
    return Hold(std::move(page), body);
  }
  if (!compressed_ && !pages_.empty()) {
    // The scratch buffer is needed for the others.
    std::string held(scratch.view());
    FIRN_TRY(CompressHeld(scratch));
    return Hold(std::move(page), held);
  }
  compressed_ = true;
  return Hold(std::move(page), scratch.view());
}

Status ChunkPages::AddV2(HeldPage page, std::string_view body, ByteBuffer& scratch) {
  auto level_bytes = static_cast<size_t>(page.header.definition_level_bytes + page.header.repetition_level_bytes);
  std::string_view levels = body.substr(0, level_bytes);
  std::string_view values = body.substr(level_bytes);
  page.header.is_compressed = false;
  if (!IsTurn(values.size())) return Hold(std::move(page), body);
  FIRN_TRY(compressor_.Compress(values, scratch));
  last_try_failed_ = !Shrinks(values.size(), scratch.size());
  if (last_try_failed_) return Hold(std::move(page), body);
  page.header.is_compressed = compressed_ = true;
  return Hold(std::move(page), levels, scratch.view());
}

Status ChunkPages::CompressHeld(ByteBuffer& scratch) {
  auto pages = std::exchange(pages_, {});
  auto blocks = std::exchange(blocks_, std::vector<ByteBuffer>());
  stored_bytes_ = 0;
  compressed_ = true;
  for (HeldPage& page : pages) {
    std::string_view body = blocks[page.block].view().substr(page.offset,
                                                             static_cast<size_t>(page.header.compressed_bytes));
    FIRN_TRY(compressor_.Compress(body, scratch));
    FIRN_TRY(Hold(std::move(page), scratch.view()));
  }
  return {};
}

Status ChunkPages::Hold(HeldPage page, std::string_view first, std::string_view second) {
  size_t size = first.size() + second.size();
  FIRN_TRY(CheckSize(size));
  if (blocks_.empty() || blocks_.back().capacity() - blocks_.back().size() < size) {
    size_t wanted = std::clamp(static_cast<size_t>(stored_bytes_), kBlockBytesMin, kBlockBytesMax);
    blocks_.emplace_back();
    blocks_.back().Room(std::max(wanted, size));
  }
  page.block = blocks_.size() - 1;
  page.offset = blocks_.back().size();
  page.header.compressed_bytes = static_cast<int32_t>(size);
  blocks_.back().Append(first);
  blocks_.back().Append(second);
  stored_bytes_ += static_cast<int64_t>(size);
  pages_.push_back(std::move(page));
  return {};
}

std::string_view ChunkPages::BodyOf(const HeldPage& page) const {
  return blocks_[page.block].view().substr(page.offset, static_cast<size_t>(page.header.compressed_bytes));
}

Status ChunkPages::WritePage(PageHeader header, std::string_view body, FileOutput& out,
                             format::ColumnChunk& chunk) {
  if (checksum_) header.crc = Crc32(body);
  head_.Clear();
  Append(header, head_);
  chunk.uncompressed_bytes += static_cast<int64_t>(head_.size()) + header.uncompressed_bytes;
  chunk.compressed_bytes += static_cast<int64_t>(head_.size() + body.size());
  Count(header.type, header.encoding, chunk.encoding_counts);
  FIRN_TRY(out.Append(head_.view()));
  return out.Append(body);
}

Status ChunkPages::Write(std::string_view dictionary, int32_t dictionary_entries, bool has_dictionary,
                         ByteBuffer& scratch, FileOutput& out, format::ColumnChunk& chunk,
                         format::OffsetIndex& index) {
  if (has_dictionary) {
    FIRN_TRY(CheckSize(dictionary.size()));
    PageHeader header;
    header.type = PageType::kDictionary;
    header.num_values = dictionary_entries;
    header.uncompressed_bytes = static_cast<int32_t>(dictionary.size());
    // One codec for the chunk: v1 pages with a dictionary are compressed, and v2 pages say it for themselves.
    if (!compressed_ && dictionary.size() > kTinyBytes && compressor_.compresses()) {
      const bool v1 = !pages_.empty() && pages_.front().header.type == PageType::kData;
      if (v1) FIRN_TRY(CompressHeld(scratch));
      compressed_ = true;
    }
    if (compressed_) FIRN_TRY(compressor_.Compress(dictionary, scratch));
    const std::string_view stored = compressed_ ? scratch.view() : dictionary;
    FIRN_TRY(CheckSize(stored.size()));
    header.compressed_bytes = static_cast<int32_t>(stored.size());
    chunk.dictionary_page_offset = out.position();
    FIRN_TRY(WritePage(header, stored, out, chunk));
  }
  chunk.codec = compressed_ ? compressor_.codec() : format::Codec::kUncompressed;
  chunk.data_page_offset = out.position();
  for (const HeldPage& page : pages_) {
    int64_t begin = out.position();
    FIRN_TRY(WritePage(page.header, BodyOf(page), out, chunk));
    index.pages.push_back({begin, static_cast<int32_t>(out.position() - begin), page.first_row});
  }
  if (has_dictionary) chunk.encodings.push_back(Encoding::kPlain);
  for (const auto& count : chunk.encoding_counts) {
    if (std::find(chunk.encodings.begin(), chunk.encodings.end(), count.encoding) == chunk.encodings.end()) {
      chunk.encodings.push_back(count.encoding);
    }
  }
  // Of the levels.
  if (std::find(chunk.encodings.begin(), chunk.encodings.end(), Encoding::kRle) == chunk.encodings.end()) {
    chunk.encodings.push_back(Encoding::kRle);
  }
  Clear();
  return {};
}

void ChunkPages::Clear() {
  if (blocks_.size() > 1) {
    pages_ = std::vector<HeldPage>();
    blocks_ = std::vector<ByteBuffer>();
  }
  pages_.clear();
  for (ByteBuffer& block : blocks_) block.ClearAndTrim();
  stored_bytes_ = uncompressed_bytes_ = 0;
  compressed_ = last_try_failed_ = false;
  untried_ = 0;
}

}  // namespace firn::parquet
