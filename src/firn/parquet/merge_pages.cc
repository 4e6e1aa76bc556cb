#include "firn/parquet/merge_pages.h"

#include <parquet/types.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "firn/parquet/run_length_reader.h"

namespace firn::parquet {
namespace {

constexpr int32_t kRunLengthLevels = 3;
constexpr size_t kCodecs = 8;

std::unexpected<Error> Corrupt(std::string message) {
  return Fail(ErrorCode::kCorruption, std::move(message));
}

int WidthOf(int16_t level) {
  return std::bit_width(static_cast<uint16_t>(level));
}

// Takes a level block of a v1 page: four bytes of length, then the run lengths.
Status TakeBlock(std::string_view& body, std::string_view& block) {
  uint32_t length = 0;
  if (body.size() < sizeof(length)) return Corrupt("a page ends within its levels");
  std::memcpy(&length, body.data(), sizeof(length));
  body.remove_prefix(sizeof(length));
  if (length > body.size()) return Corrupt("a page ends within its levels");
  block = body.substr(0, length);
  body.remove_prefix(length);
  return {};
}

// Bounds of the file's values as bounds of the output's; no bounds where the order is not sure.
ValueBounds BoundsOf(const SourceChunk& source, const OutputLeaf& leaf, std::string_view min, std::string_view max) {
  if (!source.has_type_order) return ValueBounds::Unknown();
  if (source.plan->conversion == Conversion::kNone) return ValueBounds::Known(leaf.order, min, max);
  const ValueType from = source.type();
  const auto length = static_cast<size_t>(from.value_bytes);
  if (min.size() != length || max.size() != length) return ValueBounds::Unknown();
  ByteBuffer low;
  ByteBuffer high;
  const ValueType to{leaf.physical_type, leaf.value_bytes};
  if (!AppendConverted(source.plan->conversion, from, to, min, low).has_value() ||
      !AppendConverted(source.plan->conversion, from, to, max, high).has_value()) {
    return ValueBounds::Unknown();
  }
  return ValueBounds::Known(leaf.order, low.view(), high.view());
}

ValueBounds ChunkBounds(const SourceChunk& source, const OutputLeaf& leaf) {
  const FileStatistics& statistics = source.chunk->statistics;
  if (statistics.null_count == source.chunk->num_values) return {};
  if (!statistics.min.has_value() || !statistics.max.has_value()) return ValueBounds::Unknown();
  ValueBounds bounds = BoundsOf(source, leaf, *statistics.min, *statistics.max);
  bounds.min_is_exact = statistics.min_is_exact;
  bounds.max_is_exact = statistics.max_is_exact;
  return bounds;
}

// The page index of the input, where it has one that fits its pages.
class PageIndexFacts {
 public:
  explicit PageIndexFacts(const SourceChunk& source) : source_(source) {
    if (source.chunk->offset_index.has_value()) {
      auto locations = ReadOffsetIndex(source.file, *source.chunk->offset_index);
      if (locations.has_value() && NamesThePages(*locations)) locations_ = *std::move(locations);
    }
    if (!locations_.empty() && source.chunk->column_index.has_value()) {
      auto index = ReadColumnIndex(source.file, *source.chunk->column_index);
      if (index.has_value() && index->null_pages.size() == source.pages.data.size()) index_ = *std::move(index);
    }
  }

  std::optional<int64_t> Rows(size_t page) const {
    if (locations_.empty()) return std::nullopt;
    const int64_t end = page + 1 < locations_.size() ? locations_[page + 1].first_row : source_.rows;
    return end - locations_[page].first_row;
  }
  std::optional<int64_t> Nulls(size_t page) const {
    if (!index_.has_value() || index_->null_counts.empty()) return std::nullopt;
    const int64_t nulls = index_->null_counts[page];
    return nulls >= 0 && nulls <= source_.pages.data[page].num_values ? std::optional(nulls) : std::nullopt;
  }
  std::optional<ValueBounds> Bounds(size_t page, const OutputLeaf& leaf) const {
    if (!index_.has_value() || index_->null_pages[page]) return std::nullopt;
    ValueBounds bounds = BoundsOf(source_, leaf, index_->min_values[page], index_->max_values[page]);
    bounds.min_is_exact = bounds.max_is_exact = false;
    return bounds.state == ValueBounds::State::kKnown ? std::optional(bounds) : std::nullopt;
  }

 private:
  bool NamesThePages(const std::vector<FilePageLocation>& locations) const {
    const auto& pages = source_.pages.data;
    if (locations.size() != pages.size() || locations.empty() || locations[0].first_row != 0) return false;
    for (size_t i = 0; i < pages.size(); ++i) {
      const int64_t end = i + 1 < pages.size() ? locations[i + 1].first_row : source_.rows;
      if (locations[i].offset != pages[i].offset || end <= locations[i].first_row) return false;
      if (end - locations[i].first_row > pages[i].num_values) return false;
    }
    return true;
  }

  const SourceChunk& source_;
  std::vector<FilePageLocation> locations_;
  std::optional<FileColumnIndex> index_;
};

// Rows, nulls and the first repetition level, out of the levels themselves.
Status CountLevels(PageOpener& opener, const OutputLeaf& leaf, const SourceChunk& source, size_t index,
                   PageFacts& facts, uint8_t& starts_row) {
  const PageView& page = source.pages.data[index];
  FIRN_ASSIGN(const OpenedPage opened, opener.Open(source, page, false));
  Levels levels;
  FIRN_TRY(opener.AppendLevels(source, page, opened, leaf, levels));
  if (leaf.definition_level > 0) {
    facts.nulls = levels.count - std::count(levels.definition.begin(), levels.definition.end(),
                                            static_cast<uint8_t>(leaf.definition_level));
  }
  if (leaf.repetition_level > 0) {
    facts.rows = std::count(levels.repetition.begin(), levels.repetition.end(), 0);
    starts_row = levels.repetition[0] == 0 ? 1 : 0;
  }
  return {};
}

Status PreparePage(PageOpener& opener, const OutputLeaf& leaf, const PageIndexFacts& index, size_t at,
                   SourceChunk& source) {
  const PageView& page = source.pages.data[at];
  const bool only = source.pages.data.size() == 1;
  const std::optional<int64_t> chunk_nulls = source.chunk->statistics.null_count;
  std::optional<int64_t> rows = index.Rows(at);
  std::optional<int64_t> nulls = index.Nulls(at);
  if (page.type == 3) {
    rows = page.num_rows;
    nulls = page.num_nulls;
  }
  if (leaf.repetition_level == 0) rows = page.num_values;
  if (only) rows = source.rows;
  if (source.node->definition_level == 0 || chunk_nulls == 0) nulls = 0;
  if (only && !nulls.has_value()) nulls = chunk_nulls;
  PageFacts facts{.rows = rows.value_or(0), .values = page.num_values, .nulls = nulls.value_or(0)};
  uint8_t starts_row = 1;
  if (!rows.has_value() || !nulls.has_value()) {
    FIRN_TRY(CountLevels(opener, leaf, source, at, facts, starts_row));
  }
  if (facts.nulls > facts.values || facts.nulls < 0) return Corrupt("a page with more nulls than values");
  if (facts.nulls < facts.values) facts.bounds = index.Bounds(at, leaf).value_or(source.bounds);
  // A chunk that says it has nothing but nulls, and a page that knows better.
  if (facts.nulls < facts.values && facts.bounds.state == ValueBounds::State::kEmpty) {
    facts.bounds = ValueBounds::Unknown();
  }
  source.facts.push_back(std::move(facts));
  source.starts_row.push_back(starts_row);
  return {};
}

}  // namespace

void PageFacts::Include(BoundOrder order, const PageFacts& other) {
  rows += other.rows;
  values += other.values;
  nulls += other.nulls;
  bounds.Include(order, other.bounds);
}

void Levels::Clear() {
  repetition.clear();
  definition.clear();
  count = 0;
}

ValueType SourceChunk::type() const {
  ValueType type{node->physical_type, 0};
  switch (node->physical_type) {
    case ::parquet::Type::BOOLEAN: type.value_bytes = 1; break;
    case ::parquet::Type::INT32:
    case ::parquet::Type::FLOAT: type.value_bytes = 4; break;
    case ::parquet::Type::INT64:
    case ::parquet::Type::DOUBLE: type.value_bytes = 8; break;
    case ::parquet::Type::FIXED_LEN_BYTE_ARRAY: type.value_bytes = node->type_length; break;
    default: break;
  }
  return type;
}

Result<PageCodec*> PageOpener::Codec(int32_t id) {
  if (id < 0 || id >= static_cast<int32_t>(kCodecs)) {
    return Fail(ErrorCode::kUnsupported, "a column chunk is compressed by an unknown codec");
  }
  codecs_.resize(kCodecs);
  auto& codec = codecs_[static_cast<size_t>(id)];
  if (codec == nullptr) {
    FIRN_ASSIGN(codec, PageCodec::Create(static_cast<CodecId>(id), level_));
  }
  return codec.get();
}

Result<std::string_view> PageOpener::Decompress(const SourceChunk& source, std::string_view bytes, int64_t length) {
  FIRN_ASSIGN(PageCodec* const codec, Codec(source.chunk->codec));
  FIRN_TRY(codec->Decompress(bytes, static_cast<size_t>(length), buffer_));
  return buffer_.view();
}

Result<OpenedPage> PageOpener::Open(const SourceChunk& source, const PageView& page, bool with_values) {
  OpenedPage opened;
  if (page.type == 3) {
    const auto repetition = static_cast<size_t>(page.repetition_bytes);
    const auto definition = static_cast<size_t>(page.definition_bytes);
    opened.repetition = page.body.substr(0, repetition);
    opened.definition = page.body.substr(repetition, definition);
    opened.values = page.body.substr(repetition + definition);
    const int64_t length = page.uncompressed_bytes - static_cast<int64_t>(repetition + definition);
    if (!with_values || !page.is_compressed || length == 0) return opened;
    FIRN_ASSIGN(opened.values, Decompress(source, opened.values, length));
    return opened;
  }
  std::string_view body = page.body;
  if (source.chunk->codec != static_cast<int32_t>(CodecId::kNone)) {
    FIRN_ASSIGN(body, Decompress(source, page.body, page.uncompressed_bytes));
  }
  if (page.type == 0 && source.node->repetition_level > 0) FIRN_TRY(TakeBlock(body, opened.repetition));
  if (page.type == 0 && source.node->definition_level > 0) FIRN_TRY(TakeBlock(body, opened.definition));
  opened.values = body;
  return opened;
}

Status PageOpener::AppendLevels(const SourceChunk& source, const PageView& page, const OpenedPage& opened,
                                const OutputLeaf& leaf, Levels& out) {
  const auto count = static_cast<size_t>(page.num_values);
  const int16_t file_repetition = source.node->repetition_level;
  const int16_t file_definition = source.node->definition_level;
  if (leaf.repetition_level > 0) {
    const size_t begin = out.repetition.size();
    out.repetition.resize(begin + count);
    const std::span<uint8_t> levels = std::span(out.repetition).subspan(begin);
    FIRN_TRY(ReadRunLengths(opened.repetition, WidthOf(file_repetition), levels));
    if (*std::max_element(levels.begin(), levels.end()) > file_repetition)
      return Corrupt("a level beyond its column's");
  }
  if (leaf.definition_level > 0) {
    const size_t begin = out.definition.size();
    out.definition.resize(begin + count);
    const std::span<uint8_t> levels = std::span(out.definition).subspan(begin);
    if (file_definition > 0) {
      FIRN_TRY(ReadRunLengths(opened.definition, WidthOf(file_definition), levels));
      if (*std::max_element(levels.begin(), levels.end()) > file_definition) {
        return Corrupt("a level beyond its column's");
      }
    }
    if (source.plan->changes_levels) {
      for (uint8_t& level : levels) level = source.plan->definition_map[level];
    }
  }
  out.count += static_cast<int64_t>(count);
  return {};
}

Status PreparePages(PageOpener& opener, const OutputLeaf& leaf, SourceChunk& source) {
  FIRN_ASSIGN(source.pages, ReadPages(source.file, *source.chunk));
  source.bounds = ChunkBounds(source, leaf);
  if (!HasReadablePages(source)) return {};
  const PageIndexFacts index(source);
  int64_t rows = 0;
  for (size_t i = 0; i < source.pages.data.size(); ++i) {
    FIRN_TRY(PreparePage(opener, leaf, index, i, source));
    rows += source.facts.back().rows;
    source.nulls += source.facts.back().nulls;
  }
  if (rows != source.rows) return Corrupt("the pages of a column chunk have not the rows of their row group");
  if (!source.starts_row.empty() && source.starts_row[0] == 0) return Corrupt("a column chunk begins within a row");
  return {};
}

bool HasReadablePages(const SourceChunk& source) {
  return std::all_of(source.pages.data.begin(), source.pages.data.end(), [&](const PageView& page) {
    const bool levels =
        page.type == 3 || ((source.node->definition_level == 0 || page.definition_encoding == kRunLengthLevels) &&
                           (source.node->repetition_level == 0 || page.repetition_encoding == kRunLengthLevels));
    if (IsDictionaryEncoding(page.encoding)) return levels && source.pages.dictionary.has_value();
    return levels && IsKnownEncoding(source.type(), page.encoding);
  });
}

}  // namespace firn::parquet
