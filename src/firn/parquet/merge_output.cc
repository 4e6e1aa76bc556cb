#include "firn/parquet/merge_output.h"

#include <zlib.h>

#include <algorithm>
#include <bit>
#include <limits>

#include "firn/parquet/run_length.h"

namespace firn::parquet {
namespace {

constexpr int32_t kDataPage = 0;
constexpr int32_t kDictionaryPage = 2;
constexpr int32_t kDataPageV2 = 3;

void AppendLevelRuns(const std::vector<uint8_t>& levels, int16_t highest, ByteBuffer& out) {
  AppendRunLengths(std::span<const uint8_t>(levels), std::bit_width(static_cast<uint16_t>(highest)), out);
}

// With its length before it, as v1 pages have it.
void AppendLevelBlock(const std::vector<uint8_t>& levels, int16_t highest, ByteBuffer& out) {
  if (highest == 0) return;
  const size_t at = out.size();
  out.AppendValue(uint32_t{0});
  AppendLevelRuns(levels, highest, out);
  const auto length = static_cast<uint32_t>(out.size() - at - sizeof(uint32_t));
  std::memcpy(out.data() + at, &length, sizeof(length));
}

Status CheckPageBytes(size_t bytes) {
  if (bytes <= static_cast<size_t>(std::numeric_limits<int32_t>::max())) return {};
  return Fail(ErrorCode::kResourceExhausted, "a page would be larger than 2 GiB");
}

format::BoundaryOrder OrderOf(BoundOrder order, const std::vector<PageFacts>& pages) {
  bool ascending = true;
  bool descending = true;
  const ValueBounds* before = nullptr;
  for (const PageFacts& page : pages) {
    if (page.bounds.state != ValueBounds::State::kKnown) continue;
    if (before != nullptr) {
      const int low = CompareBounds(order, before->min, page.bounds.min);
      const int high = CompareBounds(order, before->max, page.bounds.max);
      ascending = ascending && low <= 0 && high <= 0;
      descending = descending && low >= 0 && high >= 0;
    }
    before = &page.bounds;
  }
  if (ascending) return format::BoundaryOrder::kAscending;
  return descending ? format::BoundaryOrder::kDescending : format::BoundaryOrder::kUnordered;
}

}  // namespace

void ChunkOutput::Note(int32_t page_type, int32_t encoding, int64_t bytes, int64_t uncompressed,
                       const PageFacts& facts) {
  ++encodings_[{page_type, encoding == kEncodingPlainDictionary ? kEncodingRleDictionary : encoding}];
  sizes_.push_back(bytes);
  uncompressed_bytes_ += uncompressed;
  facts_.push_back(facts);
}

void ChunkOutput::AddMade(size_t begin) {
  segments_.push_back({{}, begin, made_.size() - begin});
}

uint32_t ChunkOutput::Checksum(std::string_view first, std::span<const std::string_view> others) const {
  uLong sum = crc32(0, nullptr, 0);
  auto add = [&](std::string_view part) {
    if (!part.empty()) sum = crc32(sum, reinterpret_cast<const Bytef*>(part.data()), static_cast<uInt>(part.size()));
  };
  add(first);
  for (std::string_view part : others) add(part);
  return static_cast<uint32_t>(sum);
}

void ChunkOutput::CopyPage(const PageView& page, const PageFacts& facts) {
  segments_.push_back({page.whole, 0, 0});
  Note(page.type, page.encoding, static_cast<int64_t>(page.whole.size()), page.header_bytes() + page.uncompressed_bytes,
       facts);
}

Status ChunkOutput::AppendPage(const Levels& levels, int32_t encoding, std::string_view values,
                               const PageFacts& facts) {
  body_.Clear();
  AppendLevelBlock(levels.repetition, leaf_.repetition_level, body_);
  AppendLevelBlock(levels.definition, leaf_.definition_level, body_);
  body_.Append(values);
  FIRN_TRY(CheckPageBytes(body_.size()));
  compressed_.Clear();
  FIRN_ASSIGN(PageCodec* const codec, opener_.Codec(static_cast<int32_t>(settings_.codec)));
  FIRN_TRY(codec->AppendCompressed(body_.view(), compressed_));
  FIRN_TRY(CheckPageBytes(compressed_.size()));
  format::PageHeader header;
  header.type = format::PageType::kData;
  header.uncompressed_bytes = static_cast<int32_t>(body_.size());
  header.compressed_bytes = static_cast<int32_t>(compressed_.size());
  if (settings_.checksums) header.crc = Checksum(compressed_.view(), {});
  header.num_values = static_cast<int32_t>(levels.count);
  header.encoding = static_cast<format::Encoding>(encoding);
  const size_t begin = made_.size();
  format::Append(header, made_);
  const auto header_bytes = static_cast<int64_t>(made_.size() - begin);
  made_.Append(compressed_.view());
  AddMade(begin);
  Note(kDataPage, encoding, static_cast<int64_t>(made_.size() - begin),
       header_bytes + static_cast<int64_t>(body_.size()), facts);
  return {};
}

Status ChunkOutput::AppendAround(const Levels& levels, int32_t encoding, std::span<const std::string_view> parts,
                                 int64_t uncompressed_bytes, bool is_compressed, const PageFacts& facts) {
  size_t bytes = 0;
  for (std::string_view part : parts) bytes += part.size();
  body_.Clear();
  if (leaf_.repetition_level > 0) AppendLevelRuns(levels.repetition, leaf_.repetition_level, body_);
  const size_t repetition_bytes = body_.size();
  if (leaf_.definition_level > 0) AppendLevelRuns(levels.definition, leaf_.definition_level, body_);
  FIRN_TRY(CheckPageBytes(body_.size() + std::max(bytes, static_cast<size_t>(uncompressed_bytes))));
  format::PageHeader header;
  header.type = format::PageType::kDataV2;
  header.uncompressed_bytes = static_cast<int32_t>(static_cast<int64_t>(body_.size()) + uncompressed_bytes);
  header.compressed_bytes = static_cast<int32_t>(body_.size() + bytes);
  if (settings_.checksums) header.crc = Checksum(body_.view(), parts);
  header.num_values = static_cast<int32_t>(levels.count);
  header.num_nulls = static_cast<int32_t>(facts.nulls);
  header.num_rows = static_cast<int32_t>(facts.rows);
  header.encoding = static_cast<format::Encoding>(encoding);
  header.repetition_level_bytes = static_cast<int32_t>(repetition_bytes);
  header.definition_level_bytes = static_cast<int32_t>(body_.size() - repetition_bytes);
  header.is_compressed = is_compressed;
  const size_t begin = made_.size();
  format::Append(header, made_);
  const auto header_bytes = static_cast<int64_t>(made_.size() - begin);
  made_.Append(body_.view());
  AddMade(begin);
  const auto made = static_cast<int64_t>(made_.size() - begin);
  for (std::string_view part : parts) segments_.push_back({part, 0, 0});
  Note(kDataPageV2, encoding, made + static_cast<int64_t>(bytes), header_bytes + header.uncompressed_bytes,
       facts);
  return {};
}

Status ChunkOutput::AppendDictionary(std::string_view dictionary, int32_t entries, ByteBuffer& out) {
  FIRN_TRY(CheckPageBytes(dictionary.size()));
  compressed_.Clear();
  FIRN_ASSIGN(PageCodec* const codec, opener_.Codec(static_cast<int32_t>(settings_.codec)));
  FIRN_TRY(codec->AppendCompressed(dictionary, compressed_));
  FIRN_TRY(CheckPageBytes(compressed_.size()));
  format::PageHeader header;
  header.type = format::PageType::kDictionary;
  header.uncompressed_bytes = static_cast<int32_t>(dictionary.size());
  header.compressed_bytes = static_cast<int32_t>(compressed_.size());
  if (settings_.checksums) header.crc = Checksum(compressed_.view(), {});
  header.num_values = entries;
  header.encoding = format::Encoding::kPlain;
  format::Append(header, out);
  uncompressed_bytes_ += static_cast<int64_t>(out.size() + dictionary.size());
  out.Append(compressed_.view());
  return {};
}

void ChunkOutput::Index(int64_t first_offset, FinishedChunk& finished) const {
  int64_t offset = first_offset;
  int64_t row = 0;
  bool bounds_known = true;
  for (size_t i = 0; i < facts_.size(); ++i) {
    finished.offset_index.pages.push_back({offset, static_cast<int32_t>(sizes_[i]), row});
    offset += sizes_[i];
    row += facts_[i].rows;
    bounds_known = bounds_known && facts_[i].bounds.state != ValueBounds::State::kUnknown;
  }
  if (!bounds_known) return;
  format::ColumnIndex& index = finished.column_index;
  for (const PageFacts& page : facts_) {
    index.null_pages.push_back(page.bounds.state == ValueBounds::State::kEmpty);
    index.min_values.push_back(page.bounds.min);
    index.max_values.push_back(page.bounds.max);
    index.null_counts.push_back(page.nulls);
  }
  index.boundary_order = OrderOf(leaf_.order, facts_);
}

Result<FinishedChunk> ChunkOutput::WriteTo(const ByteSink& sink, int64_t offset, std::string_view dictionary,
                                           int32_t entries, const ValueBounds& bounds) {
  FinishedChunk finished;
  format::ColumnChunk& chunk = finished.chunk;
  chunk.type = static_cast<format::PhysicalType>(leaf_.physical_type);
  chunk.path = leaf_.names;
  chunk.codec = static_cast<format::Codec>(settings_.codec);
  const bool has_dictionary = std::any_of(encodings_.begin(), encodings_.end(), [](const auto& entry) {
    return entry.first.second == kEncodingRleDictionary;
  });
  int64_t at = offset;
  if (has_dictionary) {
    ByteBuffer page;
    FIRN_TRY(AppendDictionary(dictionary, entries, page));
    FIRN_TRY(sink(page.view()));
    chunk.dictionary_page_offset = offset;
    at += static_cast<int64_t>(page.size());
    ++encodings_[{kDictionaryPage, kEncodingPlain}];
  }
  chunk.data_page_offset = at;
  Index(at, finished);
  for (const Segment& segment : segments_) {
    const std::string_view bytes =
        segment.carried.data() != nullptr ? segment.carried : made_.view().substr(segment.begin, segment.length);
    FIRN_TRY(sink(bytes));
    at += static_cast<int64_t>(bytes.size());
  }
  chunk.compressed_bytes = at - offset;
  chunk.uncompressed_bytes = uncompressed_bytes_;
  for (const auto& [kind, count] : encodings_) {
    const auto encoding = static_cast<format::Encoding>(kind.second);
    chunk.encoding_counts.push_back({static_cast<format::PageType>(kind.first), encoding, count});
    const auto& listed = chunk.encodings;
    if (std::find(listed.begin(), listed.end(), encoding) == listed.end()) chunk.encodings.push_back(encoding);
  }
  const bool has_levels = leaf_.definition_level > 0 || leaf_.repetition_level > 0;
  const auto rle = format::Encoding::kRle;
  if (has_levels && std::find(chunk.encodings.begin(), chunk.encodings.end(), rle) == chunk.encodings.end()) {
    chunk.encodings.push_back(rle);
  }
  for (const PageFacts& page : facts_) {
    chunk.num_values += page.values;
    chunk.statistics.null_count += page.nulls;
  }
  if (bounds.state == ValueBounds::State::kKnown) {
    chunk.statistics.has_bounds = true;
    chunk.statistics.min = bounds.min;
    chunk.statistics.max = bounds.max;
    chunk.statistics.min_is_exact = bounds.min_is_exact;
    chunk.statistics.max_is_exact = bounds.max_is_exact;
  }
  return finished;
}

}  // namespace firn::parquet
