// ValueEncoder: the values of one page in one of Parquet's encodings (format: Encodings.md), nulls already left out.
//
// Owned by one column writer and its thread. Values are copied in Put. DictionaryEncoder, which outlives its pages, has
// a header of its own.
#pragma once

#include <cstdint>
#include <memory>

#include "firn/parquet/byte_buffer.h"
#include "firn/parquet/format.h"
#include "firn/parquet/leaf_rows.h"
#include "firn/parquet/leaf_shape.h"

namespace firn::parquet {

class ValueEncoder {
 public:
  virtual ~ValueEncoder() = default;
  virtual void Put(const ValueSpan& span) = 0;
  // What Flush would append, roughly and rather too much.
  virtual int64_t page_bytes() const = 0;
  // Appends the values put since the last Flush; the encoder is empty then, and keeps its memory.
  virtual void Flush(ByteBuffer& out) = 0;
};

// The values in PLAIN form; of any type but boolean.
void AppendPlain(const LeafShape& shape, const ValueSpan& span, ByteBuffer& out);

// Does the encoding know the column's physical type? RLE stands for booleans.
bool Fits(format::Encoding encoding, const LeafShape& shape);
// Any encoding that fits but kRleDictionary. The shape must outlive the encoder.
std::unique_ptr<ValueEncoder> MakeValueEncoder(format::Encoding encoding, const LeafShape& shape);

}  // namespace firn::parquet
