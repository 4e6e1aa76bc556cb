// ColumnEncoding: which Parquet encoding a leaf column gets, decided from a sample of its first values.
//
// Pure functions. Measured on security events: the right encoding per column costs two thirds of the CPU and three
// quarters of the bytes of "dictionary everywhere". The rule, from a sample of at most 2,048 values spread over the
// rows at hand: estimate the distinct values of all rows (Chao's estimator), and take the dictionary when it stays
// small and is the cheaper form; else DELTA_BINARY_PACKED for integers, BYTE_STREAM_SPLIT for floats,
// DELTA_LENGTH_BYTE_ARRAY for strings and binary, PLAIN for the rest.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "firn/columnar/row_pack.h"
#include "firn/schema/type.h"

namespace arrow {
struct ArrayData;
}

namespace firn::parquet {

enum class Encoding : uint8_t {
  kDictionary, kPlain, kRunLength, kDeltaBinaryPacked, kDeltaLengthByteArray, kByteStreamSplit,
};

struct EncodingRules {
  int64_t dictionary_bytes_max = 2 << 20;
  // False: only dictionary and PLAIN, which every reader of Iceberg tables takes since format v1. The vectorized
  // readers of Iceberg's Java library take the others only since 1.11 (DELTA_BINARY_PACKED: 1.10).
  bool modern_encodings = true;
  bool run_length_booleans = false;  // with v2 pages, as other writers do
};

// The values of one leaf column in the rows at hand, lists flattened: entries [begin, begin + length) of the buffers of
// an array, whose own offset is counted in already. The array must live as long.
struct LeafPiece {
  const arrow::ArrayData* array = nullptr;
  int64_t begin = 0;
  int64_t length = 0;
};
using LeafValues = std::vector<LeafPiece>;

// One entry a leaf column in Parquet's order, which `leaves` has room for; the batches have the schema's layout.
void CollectLeaves(const schema::Schema& schema, std::span<const columnar::RowSlice> rows,
                   std::vector<LeafValues>& leaves);

struct EncodingChoice {
  Encoding encoding = Encoding::kPlain;
  Encoding otherwise = Encoding::kPlain;  // instead of a dictionary that outgrows its limit
  double value_bytes = 0;                 // mean length of a value in the sample
};
EncodingChoice ChooseEncoding(const schema::Type& type, const LeafValues& values, const EncodingRules& rules);

}  // namespace firn::parquet
