#include "firn/parquet/merge_chunk.h"

#include <parquet/types.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "firn/parquet/run_length.h"
#include "firn/parquet/run_length_reader.h"

namespace firn::parquet {
namespace {

// Dictionaries that are smaller than so much of their values are united without a look.
constexpr double kSurelyUniteBelow = 0.5;
// Else a sample of so many values is united; when more than so much of it is different, the column is one of values.
constexpr int64_t kSampleValues = 120'000;
constexpr double kDistinctMax = 0.7;
// So many of which hardly any is there twice are enough to see that.
constexpr int64_t kUniqueSampleValues = 16'000;
constexpr double kUniqueMin = 0.98;
// The decision holds for later row groups until entries per value have moved by so much.
constexpr double kDecisionHoldsWithin = 0.2;

std::unexpected<Error> Corrupt(std::string message) {
  return Fail(ErrorCode::kCorruption, std::move(message));
}

int64_t CountDictionaryValues(const SourceChunk& source) {
  int64_t values = 0;
  for (size_t i = 0; i < source.pages.data.size(); ++i) {
    if (!IsDictionaryEncoding(source.pages.data[i].encoding)) continue;
    values += source.facts[i].values - source.facts[i].nulls;
  }
  return values;
}

bool HasOnlyDictionaryPages(const SourceChunk& source) {
  return std::all_of(source.pages.data.begin(), source.pages.data.end(),
                     [](const PageView& page) { return IsDictionaryEncoding(page.encoding); });
}

// Are values of it pages here, and not taken apart by Arrow's reader?
bool IsCarried(const SourceChunk& source) {
  return !source.plan->is_missing && source.plan->conversion == Conversion::kNone && HasReadablePages(source);
}

bool WithinLimits(int64_t entries, size_t bytes) {
  return entries <= kUnionDictionaryEntriesMax && bytes <= static_cast<size_t>(kUnionDictionaryBytesMax);
}

void AppendRange(const Levels& from, size_t begin, size_t end, Levels& to) {
  auto append = [&](const std::vector<uint8_t>& source, std::vector<uint8_t>& target) {
    if (source.empty()) return;
    target.insert(target.end(), source.begin() + static_cast<ptrdiff_t>(begin),
                  source.begin() + static_cast<ptrdiff_t>(end));
  };
  append(from.repetition, to.repetition);
  append(from.definition, to.definition);
  to.count += static_cast<int64_t>(end - begin);
}

}  // namespace

void MergeCounts::Add(const MergeCounts& other) {
  pages_carried += other.pages_carried;
  pages_with_new_levels += other.pages_with_new_levels;
  dictionaries_as_values += other.dictionaries_as_values;
  pages_renumbered += other.pages_renumbered;
  pages_encoded += other.pages_encoded;
  null_pages += other.null_pages;
  for (const auto& [reason, count] : other.chunks_decoded) chunks_decoded[reason] += count;
  bloom_filters_made += other.bloom_filters_made;
  bloom_filters_dropped += other.bloom_filters_dropped;
}

ChunkMerger::ChunkMerger(const OutputLeaf& leaf, const FileLayoutOptions& options, PageOpener& opener,
                         DictionaryMemory& memory, MergeCounts& counts)
    : leaf_(leaf),
      options_(options),
      opener_(opener),
      memory_(memory),
      counts_(counts),
      union_(leaf.physical_type == ::parquet::Type::BYTE_ARRAY ? 0 : leaf.value_bytes) {}

Result<FinishedChunk> ChunkMerger::Merge(std::vector<SourceChunk>& sources, CodecId codec, const ByteSink& sink,
                                         int64_t offset) {
  codec_ = codec;
  output_ = std::make_unique<ChunkOutput>(leaf_, ChunkOutput::Settings{codec, options_.page_checksum}, opener_);
  if (leaf_.repetition_level > 0) sizes_.repetition_levels.resize(static_cast<size_t>(leaf_.repetition_level) + 1);
  if (leaf_.definition_level > 0) sizes_.definition_levels.resize(static_cast<size_t>(leaf_.definition_level) + 1);
  if (leaf_.physical_type == ::parquet::Type::BYTE_ARRAY) sizes_.unencoded_byte_array_bytes = 0;
  FIRN_TRY(DecideDictionary(sources));
  mixes_ = MixesDeltaTexts(sources);
  for (SourceChunk& source : sources) {
    at_hand_ = &source;
    FIRN_TRY(Add(source));
  }
  FIRN_TRY(Flush());
  at_hand_ = nullptr;
  FIRN_ASSIGN(FinishedChunk finished,
              output_->WriteTo(sink, offset, union_.body(), static_cast<int32_t>(union_.size()), bounds_));
  if (sizes_known_) finished.chunk.size_statistics = std::move(sizes_);
  return finished;
}

std::optional<size_t> ChunkMerger::failed_source(const std::vector<SourceChunk>& sources) const {
  if (at_hand_ == nullptr) return std::nullopt;
  return static_cast<size_t>(at_hand_ - sources.data());
}

// Dictionaries -------------------------------------------------------------------------------------------------------

Status ChunkMerger::DecideDictionary(std::vector<SourceChunk>& sources) {
  int64_t entries = 0;
  int64_t values = 0;
  std::vector<SourceChunk*> with_dictionary;
  for (SourceChunk& source : sources) {
    if (!IsCarried(source) || !source.pages.dictionary.has_value()) continue;
    const int64_t of_source = CountDictionaryValues(source);
    if (of_source == 0) continue;
    entries += source.pages.dictionary->num_values;
    values += of_source;
    with_dictionary.push_back(&source);
  }
  const double ratio = values == 0 ? 0 : static_cast<double>(entries) / static_cast<double>(values);
  if (with_dictionary.size() < 2) return {};
  if (ratio < kSurelyUniteBelow) {
    memory_.unite.reset();
    return {};
  }
  if (!memory_.unite.has_value() || std::abs(memory_.entries_per_value - ratio) > kDecisionHoldsWithin) {
    FIRN_ASSIGN(memory_.unite, SampleSaysUnite(with_dictionary));
    memory_.entries_per_value = ratio;
  }
  unite_ = *memory_.unite;
  return {};
}

// What it unites is the beginning of the united dictionary, if there is to be one.
Result<bool> ChunkMerger::SampleSaysUnite(const std::vector<SourceChunk*>& sources) {
  double values = 0;
  for (const SourceChunk* source : sources) {
    FIRN_TRY(LoadDictionary(*source));
    FIRN_ASSIGN(sampled_[source], union_.Add(dictionary_.plain.view(), source->pages.dictionary->num_values));
    values += static_cast<double>(CountDictionaryValues(*source));
    if (values >= kSampleValues) break;
    if (values >= kUniqueSampleValues && union_.size() >= kUniqueMin * values) break;
  }
  const bool unite = union_.size() <= kDistinctMax * values;
  if (!unite || !WithinLimits(union_.size(), union_.body().size())) ForgetSample();
  return unite;
}

void ChunkMerger::ForgetSample() {
  union_ = UnionDictionary(output_type().physical_type == ::parquet::Type::BYTE_ARRAY ? 0 : leaf_.value_bytes);
  sampled_.clear();
}

Status ChunkMerger::LoadDictionary(const SourceChunk& source) {
  if (dictionary_.source == &source) return {};
  at_hand_ = &source;
  const PageView& page = *source.pages.dictionary;
  if (page.encoding != kEncodingPlain && page.encoding != kEncodingPlainDictionary) {
    return Fail(ErrorCode::kUnsupported, "a dictionary that is not in PLAIN form");
  }
  FIRN_ASSIGN(PageCodec* const codec, opener_.Codec(source.chunk->codec));
  FIRN_TRY(codec->Decompress(page.body, static_cast<size_t>(page.uncompressed_bytes), dictionary_.plain));
  dictionary_.source = &source;
  dictionary_.compressed = page.body;
  dictionary_.offsets.clear();
  dictionary_.map.clear();
  return {};
}

// True: indices of the source's pages can be looked up in dictionary_.map.
Result<bool> ChunkMerger::TakeIntoUnion(const SourceChunk& source) {
  if (!unite_) return false;
  const PageView& page = *source.pages.dictionary;
  if (dictionary_.source != nullptr && !dictionary_.map.empty() && dictionary_.compressed == page.body &&
      dictionary_.map.size() == static_cast<size_t>(page.num_values)) {
    dictionary_.source = &source;
    return true;
  }
  if (const auto sampled = sampled_.find(&source); sampled != sampled_.end()) {
    // Its values are not needed: what is united has indices.
    dictionary_.source = &source;
    dictionary_.compressed = page.body;
    dictionary_.offsets.clear();
    dictionary_.map = std::move(sampled->second);
    sampled_.erase(sampled);
  } else {
    FIRN_TRY(LoadDictionary(source));
    const int64_t entries = int64_t{union_.size()} + page.num_values;
    if (union_.size() > 0 && !WithinLimits(entries, union_.body().size() + dictionary_.plain.size())) {
      unite_ = false;
      return false;
    }
    FIRN_ASSIGN(dictionary_.map, union_.Add(dictionary_.plain.view(), page.num_values));
  }
  dictionary_.is_identity = true;
  for (uint32_t i = 0; i < dictionary_.map.size() && dictionary_.is_identity; ++i) {
    dictionary_.is_identity = dictionary_.map[i] == i;
  }
  return true;
}

// A dictionary whose indices are 0, 1, 2, ... is the page of its values.
Result<bool> ChunkMerger::DictionaryAsValues(const SourceChunk& source) {
  const PageView& page = *source.pages.dictionary;
  const bool full = IsFull({.rows = source.rows}, page);
  const bool fits = source.chunk->codec == static_cast<int32_t>(codec_) && HasOnlyDictionaryPages(source) &&
                    ValueEncoding() == kEncodingPlain && (full || IsFrame(page)) &&
                    page.uncompressed_bytes <= 2 * options_.page_bytes_max;
  if (!fits || CountDictionaryValues(source) != page.num_values) return false;
  Levels levels;
  std::vector<uint32_t> indices;
  for (const PageView& data : source.pages.data) {
    FIRN_ASSIGN(const OpenedPage opened, opener_.Open(source, data, true));
    const auto begin = static_cast<size_t>(levels.count);
    FIRN_TRY(opener_.AppendLevels(source, data, opened, leaf_, levels));
    const int64_t entries = data.num_values;
    const int64_t nulls = CountNulls(levels, {begin, begin + static_cast<size_t>(entries)});
    FIRN_TRY(ReadIndices(opened.values, entries - nulls, indices));
  }
  if (indices.size() != static_cast<size_t>(page.num_values)) return false;
  for (uint32_t i = 0; i < indices.size(); ++i) {
    if (indices[i] != i) return false;
  }
  // As any page that is carried, it is not opened: what its checksum does not tell, its readers will.
  const PageFacts facts{source.rows, levels.count, levels.count - page.num_values, source.bounds};
  if (full) {
    FIRN_TRY(Flush());
    FIRN_TRY(output_->AppendAround(levels, kEncodingPlain, {&page.body, 1}, page.uncompressed_bytes,
                                   codec_ != CodecId::kNone, facts));
    ++counts_.dictionaries_as_values;
    return true;
  }
  Piece piece{.facts = facts, .target = Target::kValues, .encoding = kEncodingPlain, .source = &source};
  piece.frame = page.body;
  piece.frame_bytes = page.uncompressed_bytes;
  FIRN_TRY(MakeRoom(piece, piece.frame_bytes, false));
  piece.entries.begin = static_cast<size_t>(gathered_.levels.count);
  AppendRange(levels, 0, static_cast<size_t>(levels.count), gathered_.levels);
  piece.entries.end = static_cast<size_t>(gathered_.levels.count);
  FIRN_TRY(Push(std::move(piece), page.uncompressed_bytes, false));
  return true;
}

Status ChunkMerger::ReadIndices(std::string_view values, int64_t count, std::vector<uint32_t>& out) const {
  if (count == 0) return {};
  if (values.empty()) return Corrupt("a page of dictionary indices is empty");
  const size_t begin = out.size();
  out.resize(begin + static_cast<size_t>(count));
  return ReadRunLengths(values.substr(1), static_cast<uint8_t>(values[0]), std::span(out).subspan(begin));
}

// Statistics that tell of nothing but nulls are not believed where there are values.
ValueBounds BoundsOf(const SourceChunk& source, bool has_values) {
  if (!has_values) return {};
  return source.bounds.state == ValueBounds::State::kEmpty ? ValueBounds::Unknown() : source.bounds;
}

// Inputs -------------------------------------------------------------------------------------------------------------

Status ChunkMerger::Add(SourceChunk& source) {
  if (source.plan->is_missing) return AddMissing(source);
  AddSizes(source);
  if (source.plan->conversion != Conversion::kNone) return AddDecoded(source, "promoted_type");
  if (!HasReadablePages(source)) return AddDecoded(source, "encoding");
  bounds_.Include(leaf_.order, BoundsOf(source, source.nulls < source.chunk->num_values));
  return AddPages(source);
}

Status ChunkMerger::AddPages(SourceChunk& source) {
  bool unite = false;
  if (source.pages.dictionary.has_value()) {
    const bool used = std::any_of(source.pages.data.begin(), source.pages.data.end(),
                                  [](const PageView& page) { return IsDictionaryEncoding(page.encoding); });
    if (used) {
      FIRN_ASSIGN(unite, TakeIntoUnion(source));
      if (!unite) {
        FIRN_ASSIGN(const bool done, DictionaryAsValues(source));
        if (done) return {};
        FIRN_TRY(LoadDictionary(source));
      }
    }
  }
  for (size_t i = 0; i < source.pages.data.size(); ++i) FIRN_TRY(AddPage(source, i, unite));
  return {};
}

bool ChunkMerger::IsFull(const PageFacts& facts, const PageView& page) const {
  const int64_t rows_min = std::min(kCarriedPageRowsMin, std::max<int64_t>(1, options_.page_rows_max / 4));
  return facts.rows >= rows_min || static_cast<int64_t>(page.body.size()) >= kCarriedPageBytesMin;
}

// zstd's frames are read one after the other: values that are compressed in parts need not be compressed again.
bool ChunkMerger::IsFrame(const PageView& page) const {
  const int64_t bytes_min = std::min(kCarriedFrameBytesMin, options_.page_rows_max);  // small pages: small frames
  return codec_ == CodecId::kZstd && static_cast<int64_t>(page.body.size()) >= bytes_min;
}

// DuckDB (1.5.5) reads texts of a DELTA_LENGTH_BYTE_ARRAY page wrongly, now and then, where pages with a dictionary
// stand around it in one column chunk: no single writer makes such chunks. Where both meet, the texts become PLAIN.
bool ChunkMerger::MixesDeltaTexts(const std::vector<SourceChunk>& sources) const {
  bool indices = false;
  bool delta = false;
  for (const SourceChunk& source : sources) {
    if (!IsCarried(source)) continue;
    for (const PageView& page : source.pages.data) {
      indices = indices || IsDictionaryEncoding(page.encoding);
      delta = delta || IsDeltaTextEncoding(page.encoding);
    }
  }
  return unite_ && indices && delta;
}

Status ChunkMerger::AddPage(const SourceChunk& source, size_t index, bool unite) {
  const PageView& page = source.pages.data[index];
  const PageFacts& facts = source.facts[index];
  const bool glued_to_before = source.starts_row[index] == 0;
  const bool glued_to_next = index + 1 < source.starts_row.size() && source.starts_row[index + 1] == 0;
  const bool is_indices = IsDictionaryEncoding(page.encoding);
  const bool whole = !glued_to_before && !glued_to_next;
  const bool becomes_plain = mixes_ && IsDeltaTextEncoding(page.encoding);
  const bool values_hold = !becomes_plain && source.chunk->codec == static_cast<int32_t>(codec_) &&
                           (!is_indices || (unite && dictionary_.is_identity));
  const bool may_carry = whole && values_hold && !source.plan->changes_levels;
  if (may_carry && IsFull(facts, page)) {
    FIRN_TRY(Flush());
    output_->CopyPage(page, facts);
    ++counts_.pages_carried;
    return {};
  }
  const bool has_values_alone =
      page.type == 3 || (source.node->definition_level == 0 && source.node->repetition_level == 0);
  if (whole && values_hold && has_values_alone && IsFull(facts, page)) {
    return CarryAround(source, page, is_indices ? kEncodingRleDictionary : page.encoding, facts);
  }
  Piece piece{.facts = facts};
  if (may_carry) piece.carried = &page;
  piece.target = is_indices && unite ? Target::kIndices : Target::kValues;
  piece.encoding = is_indices ? ValueEncoding() : becomes_plain ? kEncodingPlain : page.encoding;
  FIRN_TRY(MakeRoom(piece, page.uncompressed_bytes, glued_to_before));
  if (is_indices) return AddIndexPage(source, page, std::move(piece), glued_to_next);
  piece.source = &source;
  piece.page = &page;
  return Push(std::move(piece), page.uncompressed_bytes, glued_to_next);
}

Status ChunkMerger::AddIndexPage(const SourceChunk& source, const PageView& page, Piece piece, bool glued_to_next) {
  FIRN_ASSIGN(const OpenedPage opened, opener_.Open(source, page, true));
  piece.entries.begin = static_cast<size_t>(gathered_.levels.count);
  FIRN_TRY(opener_.AppendLevels(source, page, opened, leaf_, gathered_.levels));
  piece.entries.end = static_cast<size_t>(gathered_.levels.count);
  piece.facts.nulls = CountNulls(gathered_.levels, piece.entries);
  const int64_t count = piece.facts.values - piece.facts.nulls;
  const auto entries = static_cast<uint32_t>(source.pages.dictionary->num_values);
  std::vector<uint32_t>& indices = gathered_.indices;
  piece.indices.begin = indices.size();
  FIRN_TRY(ReadIndices(opened.values, count, indices));
  const std::span<uint32_t> own = std::span(indices).subspan(piece.indices.begin);
  if (!own.empty() && *std::max_element(own.begin(), own.end()) >= entries) {
    return Corrupt("a dictionary index beyond its dictionary");
  }
  int64_t bytes = page.uncompressed_bytes;
  if (piece.target == Target::kIndices) {
    if (!dictionary_.is_identity) {
      for (uint32_t& index : own) index = dictionary_.map[index];
    }
    piece.indices.end = indices.size();
  } else {
    if (dictionary_.offsets.empty()) {
      const int32_t value_bytes = leaf_.physical_type == ::parquet::Type::BYTE_ARRAY ? 0 : leaf_.value_bytes;
      FIRN_ASSIGN(dictionary_.offsets, PlainOffsets(dictionary_.plain.view(), entries, value_bytes));
    }
    piece.plain.begin = gathered_.plain.size();
    const std::string_view plain = dictionary_.plain.view();
    const std::vector<uint32_t>& offsets = dictionary_.offsets;
    for (uint32_t index : own)
      gathered_.plain.Append(plain.data() + offsets[index], offsets[index + 1] - offsets[index]);
    piece.plain.end = gathered_.plain.size();
    bytes = static_cast<int64_t>(piece.plain.size());
    indices.resize(piece.indices.begin);
    piece.indices = {};
  }
  return Push(std::move(piece), bytes, glued_to_next);
}

// The compressed values as they are, with levels in the output's terms before them.
Status ChunkMerger::CarryAround(const SourceChunk& source, const PageView& page, int32_t encoding,
                                const PageFacts& facts) {
  FIRN_TRY(Flush());
  Levels levels;
  OpenedPage opened;
  std::string_view values = page.body;
  int64_t uncompressed = page.uncompressed_bytes;
  bool is_compressed = codec_ != CodecId::kNone;
  if (page.type == 3) {
    FIRN_ASSIGN(opened, opener_.Open(source, page, false));
    values = opened.values;
    uncompressed -= int64_t{page.repetition_bytes} + page.definition_bytes;
    is_compressed = is_compressed && page.is_compressed;
  }
  FIRN_TRY(opener_.AppendLevels(source, page, opened, leaf_, levels));
  PageFacts own = facts;
  own.nulls = CountNulls(levels, {0, static_cast<size_t>(levels.count)});
  FIRN_TRY(output_->AppendAround(levels, encoding, {&values, 1}, uncompressed, is_compressed, own));
  ++counts_.pages_with_new_levels;
  return {};
}

Status ChunkMerger::AddDecoded(const SourceChunk& source, std::string_view reason) {
  int64_t rows = 0;
  FIRN_TRY(DecodeChunk(source.file, source.row_group, source.plan->leaf, [&](const DecodedRows& decoded) -> Status {
    rows += leaf_.repetition_level > 0 ? std::count(decoded.repetition.begin(), decoded.repetition.end(), 0)
                                       : decoded.count;
    return AddDecodedRows(source, decoded);
  }));
  if (rows != source.rows) return Corrupt("a column chunk has not the rows of its row group");
  auto counted = counts_.chunks_decoded.try_emplace(std::string(reason), 0).first;
  ++counted->second;
  return {};
}

Status ChunkMerger::AddDecodedRows(const SourceChunk& source, const DecodedRows& decoded) {
  Levels levels;
  levels.count = decoded.count;
  if (leaf_.repetition_level > 0) levels.repetition = decoded.repetition;
  if (leaf_.definition_level > 0) {
    levels.definition = decoded.definition;
    if (decoded.definition.empty()) levels.definition.assign(static_cast<size_t>(decoded.count), 0);
    for (uint8_t& level : levels.definition) {
      if (level >= source.plan->definition_map.size()) return Corrupt("a level beyond its column's");
      level = source.plan->definition_map[level];
    }
  }
  if (decoded.values != levels.count - CountNulls(levels, {0, static_cast<size_t>(levels.count)})) {
    return Corrupt("a column chunk has not as many values as its levels say");
  }
  ByteBuffer plain;
  FIRN_TRY(AppendConverted(source.plan->conversion, source.type(), output_type(), decoded.plain.view(), plain));
  const ValueBounds bounds = BoundsOf(source, decoded.values > 0);
  bounds_.Include(leaf_.order, bounds);
  return AddEntries(levels, plain.view(), bounds, Target::kValues);
}

// Entries that are at hand, cut into pieces of a page's size where rows begin.
Status ChunkMerger::AddEntries(const Levels& levels, std::string_view plain, const ValueBounds& bounds, Target target) {
  const auto count = static_cast<size_t>(levels.count);
  const int32_t value_bytes = leaf_.physical_type == ::parquet::Type::BYTE_ARRAY ? 0 : leaf_.value_bytes;
  const int64_t values = levels.count - CountNulls(levels, {0, count});
  std::vector<uint32_t> offsets;
  if (values > 0) {
    FIRN_ASSIGN(offsets, PlainOffsets(plain, values, value_bytes));
  }
  size_t value = 0;
  for (size_t begin = 0; begin < count;) {
    Piece piece{.target = target, .encoding = ValueEncoding()};
    const size_t first_value = value;
    size_t end = begin;
    auto bytes = [&] { return value == first_value ? int64_t{0} : int64_t{offsets[value]} - offsets[first_value]; };
    for (; end < count; ++end) {
      const bool is_row = levels.repetition.empty() || levels.repetition[end] == 0;
      if (is_row && (piece.facts.rows >= options_.page_rows_max || bytes() >= options_.page_bytes_max)) break;
      if (is_row) ++piece.facts.rows;
      const bool is_null = !levels.definition.empty() && levels.definition[end] != leaf_.definition_level;
      if (!is_null) ++value;
      piece.facts.nulls += is_null ? 1 : 0;
    }
    piece.facts.values = static_cast<int64_t>(end - begin);
    if (piece.facts.nulls < piece.facts.values) piece.facts.bounds = bounds;
    const int64_t piece_bytes = bytes();
    FIRN_TRY(MakeRoom(piece, piece_bytes, false));
    piece.entries = {static_cast<size_t>(gathered_.levels.count),
                     static_cast<size_t>(gathered_.levels.count) + end - begin};
    AppendRange(levels, begin, end, gathered_.levels);
    piece.plain.begin = gathered_.plain.size();
    if (piece_bytes > 0) gathered_.plain.Append(plain.substr(offsets[first_value], static_cast<size_t>(piece_bytes)));
    piece.plain.end = gathered_.plain.size();
    FIRN_TRY(Push(std::move(piece), piece_bytes, false));
    begin = end;
  }
  return {};
}

// Entries of the parent of a column that the input has not, read off a column below the same parent.
Result<Levels> ChunkMerger::ParentLevels(const SourceChunk& source) {
  const ColumnPlan& plan = *source.plan;
  Levels levels;
  if (plan.leaf < 0) {
    levels.count = source.rows;
    levels.definition.assign(static_cast<size_t>(source.rows), plan.definition_map[0]);
    if (leaf_.repetition_level > 0) levels.repetition.assign(static_cast<size_t>(source.rows), 0);
    return levels;
  }
  FIRN_TRY(DecodeChunk(source.file, source.row_group, plan.leaf, [&](const DecodedRows& sibling) -> Status {
    for (size_t i = 0; i < static_cast<size_t>(sibling.count); ++i) {
      const uint8_t repetition = sibling.repetition.empty() ? 0 : sibling.repetition[i];
      if (repetition > plan.parent_repetition) continue;
      const uint8_t definition = sibling.definition.empty() ? 0 : sibling.definition[i];
      if (definition >= plan.definition_map.size()) return Corrupt("a level beyond its column's");
      levels.definition.push_back(plan.definition_map[definition]);
      if (leaf_.repetition_level > 0) levels.repetition.push_back(repetition);
      ++levels.count;
    }
    return {};
  }));
  return levels;
}

Status ChunkMerger::AddMissing(const SourceChunk& source) {
  FIRN_ASSIGN(const Levels levels, ParentLevels(source));
  AddLevelSizes(levels);
  ++counts_.null_pages;
  return AddEntries(levels, {}, {}, Target::kAny);
}

// Pages --------------------------------------------------------------------------------------------------------------

int32_t ChunkMerger::ValueEncoding() const {
  const bool integer = leaf_.physical_type == ::parquet::Type::INT32 || leaf_.physical_type == ::parquet::Type::INT64;
  return integer && options_.modern_encodings ? kEncodingDeltaBinaryPacked : kEncodingPlain;
}

int64_t ChunkMerger::CountNulls(const Levels& levels, Range entries) const {
  if (leaf_.definition_level == 0) return 0;
  const auto begin = levels.definition.begin() + static_cast<ptrdiff_t>(entries.begin);
  const auto end = levels.definition.begin() + static_cast<ptrdiff_t>(entries.end);
  return static_cast<int64_t>(entries.size()) - std::count(begin, end, static_cast<uint8_t>(leaf_.definition_level));
}

// Ends the page that is coming together if the piece does not fit into it.
Status ChunkMerger::MakeRoom(const Piece& piece, int64_t bytes, bool glued_to_before) {
  if (pending_.empty() || glued_to_before) return {};
  bool fits = pending_rows_ + piece.facts.rows <= options_.page_rows_max + options_.page_rows_max / 2 &&
              pending_bytes_ + bytes <= options_.page_bytes_max + options_.page_bytes_max / 2;
  for (const Piece& before : pending_) {
    if (before.target == Target::kAny || piece.target == Target::kAny) continue;
    const bool same =
        before.target == piece.target && (piece.target == Target::kIndices || before.encoding == piece.encoding);
    fits = fits && same;
  }
  return fits ? Status() : Flush();
}

Status ChunkMerger::Push(Piece piece, int64_t bytes, bool glued_to_next) {
  pending_rows_ += piece.facts.rows;
  pending_bytes_ += bytes;
  pending_.push_back(std::move(piece));
  const bool full = pending_rows_ >= options_.page_rows_max || pending_bytes_ >= options_.page_bytes_max;
  return full && !glued_to_next ? Flush() : Status();
}

Status ChunkMerger::Flush() {
  if (pending_.empty()) return {};
  PageFacts facts;
  Target target = Target::kAny;
  for (const Piece& piece : pending_) {
    facts.Include(leaf_.order, piece.facts);
    if (piece.target == Target::kValues || target == Target::kAny) target = std::max(target, piece.target);
  }
  if (pending_.size() == 1 && pending_[0].carried != nullptr) {
    output_->CopyPage(*pending_[0].carried, facts);
    ++counts_.pages_carried;
  } else if (target == Target::kIndices && facts.nulls < facts.values) {
    const int width = std::max(1, BitWidth(union_.size() - 1));
    ByteBuffer values;
    values.AppendByte(static_cast<uint8_t>(width));
    AppendRunLengths(std::span<const uint32_t>(gathered_.indices), width, values);
    FIRN_TRY(output_->AppendPage(gathered_.levels, kEncodingRleDictionary, values.view(), facts));
    ++counts_.pages_renumbered;
  } else {
    const bool frames =
        std::all_of(pending_.begin(), pending_.end(), [](const Piece& piece) { return !piece.frame.empty(); });
    FIRN_TRY(frames ? FlushFrames(facts) : FlushValues(facts));
  }
  pending_.clear();
  pending_rows_ = pending_bytes_ = 0;
  gathered_.levels.Clear();
  gathered_.indices.clear();
  gathered_.plain.Clear();
  return {};
}

Status ChunkMerger::FlushFrames(const PageFacts& facts) {
  std::vector<std::string_view> frames;
  int64_t bytes = 0;
  for (const Piece& piece : pending_) {
    frames.push_back(piece.frame);
    bytes += piece.frame_bytes;
  }
  counts_.dictionaries_as_values += static_cast<int64_t>(frames.size());
  return output_->AppendAround(gathered_.levels, kEncodingPlain, frames, bytes, true, facts);
}

Status ChunkMerger::FlushValues(const PageFacts& facts) {
  // One encoding, or PLAIN where pages that share a row differ in it.
  std::optional<int32_t> encoding;
  for (const Piece& piece : pending_) {
    if (piece.target == Target::kAny) continue;
    const int32_t own = piece.target == Target::kIndices ? kEncodingPlain : piece.encoding;
    encoding = encoding.value_or(own) == own ? own : kEncodingPlain;
  }
  if (pending_.size() == 1 && pending_[0].page != nullptr && pending_[0].encoding == pending_[0].page->encoding) {
    const Piece& piece = pending_[0];
    const SourceChunk* const before = std::exchange(at_hand_, piece.source);
    FIRN_ASSIGN(const OpenedPage opened, opener_.Open(*piece.source, *piece.page, true));
    Levels levels;
    FIRN_TRY(opener_.AppendLevels(*piece.source, *piece.page, opened, leaf_, levels));
    PageFacts own = facts;
    own.nulls = CountNulls(levels, {0, static_cast<size_t>(levels.count)});
    ++counts_.pages_with_new_levels;
    at_hand_ = before;
    return output_->AppendPage(levels, piece.encoding, opened.values, own);
  }
  Levels levels;
  ByteBuffer plain;
  for (const Piece& piece : pending_) FIRN_TRY(GatherPiece(piece, levels, plain));
  PageFacts own = facts;
  own.nulls = CountNulls(levels, {0, static_cast<size_t>(levels.count)});
  const int64_t count = own.values - own.nulls;
  ByteBuffer encoded;
  if (count > 0)
    FIRN_TRY(AppendEncoded(output_type(), encoding.value_or(kEncodingPlain), plain.view(), count, encoded));
  ++counts_.pages_encoded;
  return output_->AppendPage(levels, count > 0 ? encoding.value_or(kEncodingPlain) : kEncodingPlain, encoded.view(),
                             own);
}

Status ChunkMerger::GatherPiece(const Piece& piece, Levels& levels, ByteBuffer& plain) {
  if (piece.page == nullptr) {
    AppendRange(gathered_.levels, piece.entries.begin, piece.entries.end, levels);
    if (!piece.frame.empty()) {
      const SourceChunk* const before = std::exchange(at_hand_, piece.source);
      FIRN_ASSIGN(PageCodec* const codec, opener_.Codec(piece.source->chunk->codec));
      ByteBuffer values;
      FIRN_TRY(codec->Decompress(piece.frame, static_cast<size_t>(piece.frame_bytes), values));
      plain.Append(values.view());
      at_hand_ = before;
      return {};
    }
    plain.Append(gathered_.plain.view().substr(piece.plain.begin, piece.plain.size()));
    for (size_t i = piece.indices.begin; i < piece.indices.end; ++i) plain.Append(union_.Plain(gathered_.indices[i]));
    return {};
  }
  const SourceChunk* const before = std::exchange(at_hand_, piece.source);
  FIRN_ASSIGN(const OpenedPage opened, opener_.Open(*piece.source, *piece.page, true));
  const auto begin = static_cast<size_t>(levels.count);
  FIRN_TRY(opener_.AppendLevels(*piece.source, *piece.page, opened, leaf_, levels));
  const int64_t count = piece.page->num_values - CountNulls(levels, {begin, static_cast<size_t>(levels.count)});
  ValueType type = output_type();
  if (type.physical_type == ::parquet::Type::BYTE_ARRAY) type.value_bytes = 0;
  FIRN_TRY(AppendPlain(type, piece.page->encoding, opened.values, count, plain));
  at_hand_ = before;
  return {};
}

// Size statistics: true, or none at all.
void ChunkMerger::AddSizes(const SourceChunk& source) {
  const FileSizes& sizes = source.chunk->sizes;
  const ColumnPlan& plan = *source.plan;
  const bool repetition_known =
      leaf_.repetition_level == 0 || sizes.repetition_levels.size() == static_cast<size_t>(leaf_.repetition_level) + 1;
  const bool definition_known =
      leaf_.definition_level == 0 || source.node->definition_level == 0 ||
      sizes.definition_levels.size() == static_cast<size_t>(source.node->definition_level) + 1;
  const bool bytes_known = !sizes_.unencoded_byte_array_bytes.has_value() || sizes.unencoded_bytes.has_value();
  sizes_known_ = sizes_known_ && repetition_known && definition_known && bytes_known;
  if (!sizes_known_) return;
  if (sizes_.unencoded_byte_array_bytes.has_value()) *sizes_.unencoded_byte_array_bytes += *sizes.unencoded_bytes;
  for (size_t i = 0; i < sizes_.repetition_levels.size(); ++i) {
    sizes_.repetition_levels[i] += sizes.repetition_levels[i];
  }
  if (leaf_.definition_level == 0) return;
  if (source.node->definition_level == 0) {
    sizes_.definition_levels[plan.definition_map[0]] += source.chunk->num_values;
    return;
  }
  for (size_t i = 0; i < sizes.definition_levels.size(); ++i) {
    sizes_.definition_levels[plan.definition_map[i]] += sizes.definition_levels[i];
  }
}

void ChunkMerger::AddLevelSizes(const Levels& levels) {
  for (uint8_t level : levels.definition) ++sizes_.definition_levels[level];
  for (uint8_t level : levels.repetition) ++sizes_.repetition_levels[level];
}

}  // namespace firn::parquet
