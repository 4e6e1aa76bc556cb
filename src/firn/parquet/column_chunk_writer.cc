#include "firn/parquet/column_chunk_writer.h"

#include <algorithm>
#include <utility>

#include "firn/parquet/stored_bounds.h"

namespace firn::parquet {
namespace {

using format::Encoding;
using format::PageHeader;
using format::PageType;

// A page this full is finished rather than filled up row by row.
constexpr int64_t kPageFullShare = 16;
// An index into a dictionary is taken for so many bytes when rows are cut.
constexpr int64_t kIndexBytes = 2;
// A dictionary whose entries are more than half of the values is given up, but not before so many values: on the way to
// many rows, most values of the first page may be new and yet all come again.
constexpr int64_t kDictionaryTrialValues = 65'536;
// Bytes of values that a dictionary is given at a time, if pages are not larger.
constexpr int64_t kDictionaryPieceBytes = 64 << 10;

}  // namespace

ColumnChunkWriter::ColumnChunkWriter(const LeafShape& shape, PageCompressor& compressor, PageScratch& scratch,
                                     bool page_checksum)
    : shape_(shape), scratch_(scratch), pages_(compressor, page_checksum), rows_(shape),
      statistics_(ValueStatistics::Make(shape)), definition_(shape.max_definition_level),
      repetition_(shape.max_repetition_level) {}

void ColumnChunkWriter::Open(const ColumnOptions& options) {
  options_ = options;
  has_dictionary_ = options.dictionary && Fits(Encoding::kRleDictionary, shape_);
  if (has_dictionary_ && dictionary_ == nullptr) dictionary_ = DictionaryEncoder::Make(shape_);
  BeginChunk();
}

void ColumnChunkWriter::BeginChunk() {
  dictionary_open_ = has_dictionary_;
  dictionary_values_ = 0;
  chunk_rows_ = chunk_entries_ = chunk_nulls_ = 0;
  nans_before_ = statistics_->nan_count();
  summaries_.clear();
  chunk_bounds_ = {};
  sizes_ = {};
  if (shape_.max_repetition_level > 0) sizes_.repetition_levels.assign(shape_.max_repetition_level + size_t{1}, 0);
  // With one definition level the number of nulls says as much.
  if (shape_.max_definition_level > 1) sizes_.definition_levels.assign(shape_.max_definition_level + size_t{1}, 0);
}

ValueEncoder& ColumnChunkWriter::encoder() {
  if (dictionary_open_) return *dictionary_;
  if (plain_ == nullptr || plain_encoding_ != options_.encoding) {
    plain_ = MakeValueEncoder(options_.encoding, shape_);
    plain_encoding_ = options_.encoding;
  }
  return *plain_;
}

int64_t ColumnChunkWriter::open_page_bytes() const {
  if (dictionary_open_) return dictionary_->page_bytes();
  return plain_ == nullptr ? 0 : plain_->page_bytes();
}

int64_t ColumnChunkWriter::open_bytes() const {
  int64_t bytes = open_page_bytes() + definition_.bytes() + repetition_.bytes();
  if (has_dictionary_) bytes += dictionary_->entry_bytes();
  return bytes;
}

int64_t ColumnChunkWriter::held_bytes() const {
  return stored_bytes() + open_bytes() + (has_dictionary_ ? dictionary_->table_bytes() : 0) +
         (bloom_filter_.has_value() ? bloom_filter_->bytes() : 0);
}

void ColumnChunkWriter::CloseDictionary() {
  dictionary_open_ = false;
  if (has_dictionary_) dictionary_->Seal();
}

Status ColumnChunkWriter::Append(const arrow::RecordBatch& batch, int64_t begin, int64_t end) {
  rows_.PointAt(batch);
  while (begin < end) {
    int64_t count = FittingRows(begin, end);
    if (count == 0) {
      FIRN_TRY(FinishPage());
      continue;
    }
    FIRN_TRY(Take(begin, begin + count));
    begin += count;
    bool full = open_page_bytes() > options_.page_bytes_max - options_.page_bytes_max / kPageFullShare;
    bool outgrown = dictionary_open_ && dictionary_->entry_bytes() > options_.dictionary_bytes_max;
    if (page_rows_ >= options_.page_rows_max || full || outgrown) FIRN_TRY(FinishPage());
  }
  return {};
}

// As many rows as the open page has room for, judged by the size of their values in PLAIN form: those that encode to
// less leave room, and more are taken. At least one into an empty page.
int64_t ColumnChunkWriter::FittingRows(int64_t begin, int64_t end) const {
  int64_t room = options_.page_bytes_max - open_page_bytes();
  int64_t left = std::min(end - begin, options_.page_rows_max - page_rows_);
  auto fits = [&](int64_t count) {
    LeafRows::Extent extent = rows_.ExtentOf(begin, begin + count);
    if (!dictionary_open_) return extent.bytes <= room && extent.entries <= options_.page_bytes_max;
    // The values may all be new to the dictionary.
    int64_t piece_bytes_max = std::max(options_.page_bytes_max, kDictionaryPieceBytes);
    return extent.entries * kIndexBytes <= room && extent.bytes <= piece_bytes_max;
  };
  if (fits(left)) return left;
  int64_t fitting = 0;
  while (left - fitting > 1) {
    int64_t middle = fitting + (left - fitting) / 2;
    (fits(middle) ? fitting : left) = middle;
  }
  return fitting == 0 && page_rows_ == 0 ? 1 : fitting;
}

Status ColumnChunkWriter::Take(int64_t begin, int64_t end) {
  if (dictionary_open_ && dictionary_->entry_bytes() + rows_.ExtentOf(begin, end).bytes > kDictionaryBytesLimit) {
    FIRN_TRY(FinishPage());
    CloseDictionary();
  }
  LeafRows::Counted counted = rows_.Take(begin, end, definition_, repetition_, scratch_.leaf);
  page_rows_ += end - begin;
  page_entries_ += counted.entries;
  page_.values += counted.values;
  page_.nulls += counted.entries - counted.values;
  bool is_number = !shape_.is_bytes() && shape_.physical != format::PhysicalType::kFixedLenByteArray;
  for (const ValueSpan& span : scratch_.leaf.spans) {
    if (shape_.is_bytes()) page_.unencoded_bytes += span.offsets[span.count] - span.offsets[0];
    // A dictionary of texts or bytes tells the page's distinct values when it is full.
    if (is_number || !dictionary_open_) statistics_->Put(span);
    if (!dictionary_open_) PutIntoBloomFilter(span);
    encoder().Put(span);
  }
  return {};
}

void ColumnChunkWriter::PutIntoBloomFilter(const ValueSpan& span) {
  if (!options_.bloom_filter.has_value()) return;
  if (!bloom_filter_.has_value()) {
    const BloomFilterSize& size = *options_.bloom_filter;
    bloom_filter_.emplace(BloomFilter::BytesFor(size.distinct, size.false_positive_rate, size.bytes_max));
  }
  bloom_filter_->Put(shape_, span);
}

Encoding ColumnChunkWriter::SettlePage(bool last) {
  if (!dictionary_open_) return page_.values == 0 ? Encoding::kPlain : options_.encoding;
  dictionary_->PutPageValues(*statistics_);
  const int64_t entries = dictionary_->Entries().count;
  if (entries == 0) return Encoding::kPlain;  // nothing but nulls so far; the dictionary is still to come
  // The first page can still be taken back: where it is all there is, half of the values decides; else nearly all.
  bool mostly_distinct = last ? entries * 2 > page_.values : entries * 10 > page_.values * 9;
  if (dictionary_values_ == 0 && mostly_distinct) {
    PutIntoBloomFilter(dictionary_->Entries());
    dictionary_open_ = false;
    dictionary_->MovePage(encoder());
    dictionary_->Reset();
    has_dictionary_ = false;
    return options_.encoding;
  }
  dictionary_values_ += page_.values;
  return Encoding::kRleDictionary;
}

// Exact bounds are kept once a chunk: each page's would be as long as the longest values, of which a page may hold one,
// and compress to nothing.
void ColumnChunkWriter::NoteBounds(const Bounds& exact) {
  if (!exact.known) return;
  chunk_bounds_.Widen(shape_.order, exact);
  auto stored = StoredBounds(*shape_.type, exact, kPageBoundCharsMax);
  if (stored.has_value()) page_.bounds = std::move(*stored);
}

Status ColumnChunkWriter::FinishPage(bool last) {
  if (page_rows_ == 0) return {};
  PageHeader header;
  header.encoding = SettlePage(last);
  NoteBounds(statistics_->TakeBounds());
  header.num_values = static_cast<int32_t>(page_entries_);
  ByteBuffer& body = scratch_.page;
  body.Clear();
  const bool v2 = options_.page_version == 2;
  repetition_.Encode(!v2, body);
  size_t repetition_bytes = body.size();
  definition_.Encode(!v2, body);
  if (v2) {
    header.type = PageType::kDataV2;
    header.num_nulls = static_cast<int32_t>(page_.nulls);
    header.num_rows = static_cast<int32_t>(page_rows_);
    header.repetition_level_bytes = static_cast<int32_t>(repetition_bytes);
    header.definition_level_bytes = static_cast<int32_t>(body.size() - repetition_bytes);
  }
  if (page_.values > 0 || header.encoding != Encoding::kPlain) encoder().Flush(body);
  FIRN_TRY(pages_.Add(header, chunk_rows_, body.view(), scratch_.compressed));
  if (!sizes_.repetition_levels.empty()) repetition_.CountInto(sizes_.repetition_levels);
  if (!sizes_.definition_levels.empty()) definition_.CountInto(sizes_.definition_levels);
  definition_.Clear();
  repetition_.Clear();
  chunk_rows_ += std::exchange(page_rows_, 0);
  chunk_entries_ += std::exchange(page_entries_, 0);
  chunk_nulls_ += page_.nulls;
  summaries_.push_back(std::exchange(page_, {}));
  if (dictionary_open_) {
    bool outgrown = dictionary_->entry_bytes() > options_.dictionary_bytes_max;
    bool mostly_distinct =
        dictionary_values_ >= kDictionaryTrialValues && dictionary_->Entries().count * 2 > dictionary_values_;
    if (outgrown || mostly_distinct) CloseDictionary();
  }
  return {};
}

Result<ColumnChunkWriter::Finished> ColumnChunkWriter::Finish(FileOutput& out) {
  FIRN_TRY(FinishPage(true));
  Finished finished;
  ByteBuffer& dictionary = scratch_.page;
  dictionary.Clear();
  int64_t entries = has_dictionary_ ? dictionary_->Entries().count : 0;
  if (entries > 0) {
    AppendPlain(shape_, dictionary_->Entries(), dictionary);
    PutIntoBloomFilter(dictionary_->Entries());
  }
  FIRN_TRY(pages_.Write(dictionary.view(), static_cast<int32_t>(entries), entries > 0, scratch_.compressed, out,
                        finished.chunk, finished.offset_index));
  format::ColumnChunk& chunk = finished.chunk;
  chunk.type = shape_.physical;
  chunk.path = shape_.path;
  chunk.num_values = chunk_entries_;
  for (const PageSummary& page : summaries_) {
    if (!shape_.is_bytes()) break;
    finished.offset_index.unencoded_byte_array_bytes.push_back(page.unencoded_bytes);
    sizes_.unencoded_byte_array_bytes = sizes_.unencoded_byte_array_bytes.value_or(0) + page.unencoded_bytes;
  }
  chunk.size_statistics = std::move(sizes_);
  finished.bounds = std::exchange(chunk_bounds_, {});
  chunk.statistics = ChunkStatistics(finished.bounds);
  finished.column_index = MakeColumnIndex();
  finished.nulls = chunk_nulls_;
  finished.nans = statistics_->nan_count() - nans_before_;
  if (bloom_filter_.has_value() && !options_.bloom_filter->distinct_is_given) {
    int64_t distinct = entries > 0 && dictionary_open_ ? entries : chunk_entries_ - chunk_nulls_;
    bloom_filter_->FoldTo(BloomFilter::BytesFor(distinct, options_.bloom_filter->false_positive_rate,
                                                options_.bloom_filter->bytes_max));
  }
  if (has_dictionary_) dictionary_->Reset();
  BeginChunk();
  return finished;
}

Status ColumnChunkWriter::WriteBloomFilter(FileOutput& out, format::ColumnChunk& chunk) {
  if (!bloom_filter_.has_value()) return {};
  ByteBuffer bytes;
  bloom_filter_->Append(bytes);
  bloom_filter_.reset();
  chunk.bloom_filter_offset = out.position();
  chunk.bloom_filter_bytes = static_cast<int32_t>(bytes.size());
  return out.Append(bytes.view());
}

format::Statistics ColumnChunkWriter::ChunkStatistics(const Bounds& bounds) const {
  format::Statistics statistics;
  statistics.null_count = chunk_nulls_;
  if (!bounds.known) return statistics;
  auto stored = StoredBounds(*shape_.type, bounds, kChunkBoundCharsMax);
  if (!stored.has_value()) return statistics;
  statistics.has_bounds = true;
  statistics.min_is_exact = stored->lower == bounds.lower;
  statistics.max_is_exact = stored->upper == bounds.upper;
  statistics.min = std::move(stored->lower);
  statistics.max = std::move(stored->upper);
  return statistics;
}

std::optional<format::ColumnIndex> ColumnChunkWriter::MakeColumnIndex() {
  format::ColumnIndex index;
  PageOrder order(shape_.order);
  for (PageSummary& page : summaries_) {
    index.null_pages.push_back(page.values == 0);
    index.null_counts.push_back(page.nulls);
    if (page.values == 0) {
      index.min_values.emplace_back();
      index.max_values.emplace_back();
      continue;
    }
    // Nothing but NaN, or no short upper bound: no bound may stand there, and none may be left out.
    if (!page.bounds.known) return std::nullopt;
    order.Add(page.bounds.lower, page.bounds.upper);
    index.min_values.push_back(std::move(page.bounds.lower));
    index.max_values.push_back(std::move(page.bounds.upper));
  }
  index.boundary_order = order.order();
  return index;
}

}  // namespace firn::parquet
