// LeafRows: one leaf column of one batch: the levels of its rows, and its values without nulls and in the form in which
// Parquet stores them.
//
// Owned by one column writer, which points it at one batch after another; a batch must live until the next one.
// Levels follow the Dremel paper: a definition level tells how much of the way to the leaf is there, a repetition level
// at which list an entry goes on. What lies under a null struct, or outside of a list's ranges, is no value at all.
#pragma once

#include <cstdint>
#include <vector>

#include "firn/parquet/byte_buffer.h"
#include "firn/parquet/leaf_shape.h"
#include "firn/parquet/level_buffer.h"

namespace arrow {
struct ArrayData;
class RecordBatch;
}  // namespace arrow

namespace firn::parquet {

// Neighbouring values. Fixed width: `count` values from `bytes` on (booleans: one byte each). Byte arrays: value i is
// bytes[offsets[i], offsets[i + 1]).
struct ValueSpan {
  const uint8_t* bytes = nullptr;
  const int32_t* offsets = nullptr;
  int64_t count = 0;
};

// Memory that columns share one after another.
struct LeafScratch {
  struct Run {
    int64_t begin = 0;
    int64_t count = 0;
  };
  std::vector<Run> runs;               // of entries of the leaf array that are values
  std::vector<uint8_t> definition;
  std::vector<uint8_t> repetition;
  std::vector<uint8_t> next_definition;
  std::vector<uint8_t> next_repetition;
  std::vector<int64_t> position;       // of each entry in the array at hand; -1: the way ends above it
  std::vector<int64_t> next_position;
  ByteBuffer values;
  std::vector<ValueSpan> spans;
};

class LeafRows {
 public:
  explicit LeafRows(const LeafShape& shape) : shape_(shape) {}

  // The batch has the layout of the schema (CheckLayout). Only its buffers are looked at: a batch of few rows is taken
  // thousands of times, and making Arrow's arrays of its columns would cost more than their values.
  void PointAt(const arrow::RecordBatch& batch);

  struct Counted {
    int64_t entries = 0;
    int64_t values = 0;  // of them no null
  };
  // Appends the levels of the rows [begin, end) and leaves their values in scratch.spans: valid until the next call, or
  // as long as the batch.
  Counted Take(int64_t begin, int64_t end, LevelBuffer& definition, LevelBuffer& repetition,
               LeafScratch& scratch) const;

  // Upper bounds for rows [begin, end): entries of the leaf, and bytes of its values in PLAIN form.
  struct Extent {
    int64_t entries = 0;
    int64_t bytes = 0;
  };
  Extent ExtentOf(int64_t begin, int64_t end) const;

 private:
  struct Node {
    LeafStep::Kind kind = LeafStep::Kind::kLeaf;
    bool optional = false;
    const uint8_t* validity = nullptr;  // null: all are valid
    bool all_null = false;
    int64_t offset = 0;                 // of the validity bits
    const int32_t* offsets = nullptr;   // of a list
  };

  void PointAtValues(const arrow::ArrayData& leaf, int64_t first);
  void TakeFlat(int64_t begin, int64_t end, LevelBuffer& definition, LeafScratch& scratch) const;
  void TakeNested(int64_t begin, int64_t end, LeafScratch& scratch) const;
  static bool Thin(const Node& node, LeafScratch& scratch);
  static bool Descend(const Node& list, uint8_t repetition_level, LeafScratch& scratch);
  void GatherSpans(LeafScratch& scratch) const;
  void GatherFixed(LeafScratch& scratch) const;
  void GatherBooleans(LeafScratch& scratch) const;
  void GatherDecimals(LeafScratch& scratch) const;

  const LeafShape& shape_;
  std::vector<Node> nodes_;
  bool has_list_ = false;
  const uint8_t* values_ = nullptr;        // of entry 0 of the leaf; booleans: the bits
  const int32_t* value_offsets_ = nullptr;
  int64_t bit_offset_ = 0;                 // booleans
  int32_t stored_width_ = 0;               // in the Arrow array
};

}  // namespace firn::parquet
