// ChunkMerger: one output column chunk out of the column chunks of several inputs, in their order.
//
// One thread's; one object a chunk. Whatever can be is carried: pages whole, compressed bytes included; else values
// whole with new levels around them; else dictionary indices renumbered for one united dictionary; else values in PLAIN
// form, encoded again. Pages of few rows are put together with their neighbours, so that the output's pages are full.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/parquet/file_layout.h"
#include "firn/parquet/merge_dictionary.h"
#include "firn/parquet/merge_output.h"
#include "firn/parquet/merge_pages.h"

namespace firn::parquet {

// A united dictionary never grows beyond it (bytes in PLAIN form); further values are not dictionary-encoded.
inline constexpr int64_t kUnionDictionaryBytesMax = 8 << 20;
inline constexpr uint32_t kUnionDictionaryEntriesMax = 1 << 18;
// A page of so many rows, or so many compressed bytes, is carried rather than put together with others.
inline constexpr int64_t kCarriedPageRowsMin = 4096;
inline constexpr int64_t kCarriedPageBytesMin = 64 << 10;
// Compressed values of so many bytes are put together as they are where the codec's frames may follow one another;
// fewer would cost more space than they save time.
inline constexpr int64_t kCarriedFrameBytesMin = 4 << 10;

// What became of the inputs' pages and column chunks.
struct MergeCounts {
  int64_t pages_carried = 0;           // header and body as they were
  int64_t pages_with_new_levels = 0;   // compressed values as they were, levels written anew
  int64_t dictionaries_as_values = 0;  // compressed dictionary as it was, now the page of a column without one
  int64_t pages_renumbered = 0;        // indices of a united dictionary
  int64_t pages_encoded = 0;           // values encoded again
  int64_t null_pages = 0;              // of columns that an input has not
  std::map<std::string, int64_t, std::less<>> chunks_decoded;  // by Arrow's reader, by reason
  int64_t bloom_filters_made = 0;                              // out of all values of the column chunk
  int64_t bloom_filters_dropped = 0;                           // of inputs, whose table does not ask for one

  void Add(const MergeCounts& other);
};

// Whether dictionaries of a column pay, remembered from row group to row group.
struct DictionaryMemory {
  std::optional<bool> unite;
  double entries_per_value = 0;  // when it was decided
};

class ChunkMerger {
 public:
  ChunkMerger(const OutputLeaf& leaf, const FileLayoutOptions& options, PageOpener& opener, DictionaryMemory& memory,
              MergeCounts& counts);
  // `sources`: prepared by PreparePages, or missing columns with their `rows` (and the chunk of a column below the same
  // parent). They must live until the merger is gone.
  Result<FinishedChunk> Merge(std::vector<SourceChunk>& sources, CodecId codec, const ByteSink& sink, int64_t offset);
  // After a failure: the source whose pages were at hand; nothing when it was none of them.
  std::optional<size_t> failed_source(const std::vector<SourceChunk>& sources) const;

 private:
  enum class Target : uint8_t { kAny, kIndices, kValues };  // kAny: nothing but nulls
  struct Range {
    size_t begin = 0;
    size_t end = 0;
    size_t size() const { return end - begin; }
  };
  // A part of the page that is coming together: its entries lie in gathered_, or in a page that has not been opened
  // yet.
  struct Piece {
    PageFacts facts;
    Target target = Target::kAny;
    int32_t encoding = kEncodingPlain;    // of kValues
    const PageView* carried = nullptr;    // the page itself, if that may stand for the piece
    const SourceChunk* source = nullptr;  // of a page that has not been opened:
    const PageView* page = nullptr;
    std::string_view frame;  // or compressed PLAIN values of `source`, levels in gathered_
    int64_t frame_bytes = 0;
    Range entries;
    Range indices;
    Range plain;
  };
  struct Gathered {
    Levels levels;
    std::vector<uint32_t> indices;  // into the united dictionary
    ByteBuffer plain;
  };
  // The dictionary of the source at hand.
  struct CurrentDictionary {
    const SourceChunk* source = nullptr;
    std::string_view compressed;
    ByteBuffer plain;
    std::vector<uint32_t> offsets;  // empty: not needed so far
    std::vector<uint32_t> map;      // index -> united index; empty: not united
    bool is_identity = false;
  };

  Status DecideDictionary(std::vector<SourceChunk>& sources);
  Result<bool> SampleSaysUnite(const std::vector<SourceChunk*>& sources);
  void ForgetSample();
  Status Add(SourceChunk& source);
  Status AddMissing(const SourceChunk& source);
  Result<Levels> ParentLevels(const SourceChunk& source);
  Status AddEntries(const Levels& levels, std::string_view plain, const ValueBounds& bounds, Target target);
  Status AddDecoded(const SourceChunk& source, std::string_view reason);
  Status AddDecodedRows(const SourceChunk& source, const DecodedRows& decoded);
  Status AddPages(SourceChunk& source);
  Status AddPage(const SourceChunk& source, size_t index, bool unite);
  Status AddIndexPage(const SourceChunk& source, const PageView& page, Piece piece, bool glued_to_next);
  Status LoadDictionary(const SourceChunk& source);
  Result<bool> TakeIntoUnion(const SourceChunk& source);
  Result<bool> DictionaryAsValues(const SourceChunk& source);
  Status CarryAround(const SourceChunk& source, const PageView& page, int32_t encoding, const PageFacts& facts);
  Status MakeRoom(const Piece& piece, int64_t bytes, bool glued_to_before);
  Status Push(Piece piece, int64_t bytes, bool glued_to_next);
  Status Flush();
  Status FlushValues(const PageFacts& facts);
  Status FlushFrames(const PageFacts& facts);
  Status GatherPiece(const Piece& piece, Levels& levels, ByteBuffer& plain);
  Status ReadIndices(std::string_view values, int64_t count, std::vector<uint32_t>& out) const;
  int64_t CountNulls(const Levels& levels, Range entries) const;
  bool MixesDeltaTexts(const std::vector<SourceChunk>& sources) const;
  bool IsFull(const PageFacts& facts, const PageView& page) const;
  bool IsFrame(const PageView& page) const;
  int32_t ValueEncoding() const;
  ValueType output_type() const { return {leaf_.physical_type, leaf_.value_bytes}; }
  void AddSizes(const SourceChunk& source);
  void AddLevelSizes(const Levels& levels);

  const OutputLeaf& leaf_;
  const FileLayoutOptions& options_;
  PageOpener& opener_;
  DictionaryMemory& memory_;
  MergeCounts& counts_;
  std::unique_ptr<ChunkOutput> output_;
  const SourceChunk* at_hand_ = nullptr;
  CodecId codec_ = CodecId::kZstd;
  UnionDictionary union_;
  std::map<const SourceChunk*, std::vector<uint32_t>> sampled_;  // united already, when that was decided: their maps
  bool unite_ = true;
  bool mixes_ = false;  // see MixesDeltaTexts
  CurrentDictionary dictionary_;
  std::vector<Piece> pending_;
  int64_t pending_rows_ = 0;
  int64_t pending_bytes_ = 0;  // roughly
  Gathered gathered_;
  ValueBounds bounds_;
  bool sizes_known_ = true;
  format::SizeStatistics sizes_;
};

}  // namespace firn::parquet
