// ChunkOutput: the pages of one output column chunk while they come together, and what footer and page index say of
// them.
//
// One thread's. Pages that are carried are views into their input, which must outlive WriteTo; made ones lie in memory
// here. Nothing is written before all pages are there, because the dictionary comes first and is known last.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "firn/base/error.h"
#include "firn/parquet/file_layout.h"
#include "firn/parquet/format.h"
#include "firn/parquet/merge_pages.h"

namespace firn::parquet {

// What a column chunk leaves for the end of the file.
struct FinishedChunk {
  format::ColumnChunk chunk;
  format::OffsetIndex offset_index;
  format::ColumnIndex column_index;  // without pages: none, because a page's bounds are not known
};

class ChunkOutput {
 public:
  struct Settings {
    CodecId codec = CodecId::kZstd;
    bool checksums = false;
  };
  ChunkOutput(const OutputLeaf& leaf, Settings settings, PageOpener& opener)
      : leaf_(leaf), settings_(settings), opener_(opener) {}

  // Header and body as they are. The page has the chunk's codec and the output's levels.
  void CopyPage(const PageView& page, const PageFacts& facts);
  // A v1 page. `values` are encoded and not compressed.
  Status AppendPage(const Levels& levels, int32_t encoding, std::string_view values, const PageFacts& facts);
  // A v2 page around values that are compressed already by the chunk's codec (or not at all); `parts` follow one
  // another and are kept as views.
  Status AppendAround(const Levels& levels, int32_t encoding, std::span<const std::string_view> parts,
                      int64_t uncompressed_bytes, bool is_compressed, const PageFacts& facts);

  int64_t pages() const { return static_cast<int64_t>(facts_.size()); }
  // Bytes of pages that lie in memory here.
  int64_t bytes_made() const { return static_cast<int64_t>(made_.size()); }

  // Sends the chunk to the sink, which is at `offset`. `dictionary`: a PLAIN body and its entries, written when a page
  // needs one. `bounds` are the chunk's own.
  Result<FinishedChunk> WriteTo(const ByteSink& sink, int64_t offset, std::string_view dictionary, int32_t entries,
                                const ValueBounds& bounds);

 private:
  struct Segment {
    std::string_view carried;  // or, without data:
    size_t begin = 0;          // in made_
    size_t length = 0;
  };

  void Note(int32_t page_type, int32_t encoding, int64_t bytes, int64_t uncompressed, const PageFacts& facts);
  void AddMade(size_t begin);
  uint32_t Checksum(std::string_view first, std::span<const std::string_view> others) const;
  Status AppendDictionary(std::string_view dictionary, int32_t entries, ByteBuffer& out);
  void Index(int64_t first_offset, FinishedChunk& finished) const;

  const OutputLeaf& leaf_;
  const Settings settings_;
  PageOpener& opener_;
  ByteBuffer made_;
  ByteBuffer body_;
  ByteBuffer compressed_;
  std::vector<Segment> segments_;
  std::vector<int64_t> sizes_;  // of pages, headers included
  std::vector<PageFacts> facts_;
  std::map<std::pair<int32_t, int32_t>, int32_t> encodings_;  // page type, encoding -> pages
  int64_t uncompressed_bytes_ = 0;
};

}  // namespace firn::parquet
