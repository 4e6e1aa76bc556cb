// Values of pages in PLAIN form and out of it, by Arrow's decoders and encoders; column chunks by Arrow's reader.
//
// One thread's, without state between calls. In PLAIN form here, a boolean is a byte (the format packs eight into one).
// Arrow's exceptions end here. Numbers of types and encodings are the format's.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/parquet/byte_buffer.h"
#include "firn/parquet/merge_columns.h"

namespace firn::parquet {

inline constexpr int32_t kEncodingPlain = 0;
inline constexpr int32_t kEncodingPlainDictionary = 2;  // the old number of kEncodingRleDictionary
inline constexpr int32_t kEncodingRle = 3;
inline constexpr int32_t kEncodingDeltaBinaryPacked = 5;
inline constexpr int32_t kEncodingDeltaLengthByteArray = 6;
inline constexpr int32_t kEncodingDeltaByteArray = 7;
inline constexpr int32_t kEncodingRleDictionary = 8;

// A type as the file has it.
struct ValueType {
  int32_t physical_type = 0;
  int32_t value_bytes = 0;  // as OutputLeaf::value_bytes
};

inline bool IsDictionaryEncoding(int32_t encoding) {
  return encoding == kEncodingRleDictionary || encoding == kEncodingPlainDictionary;
}
inline bool IsDeltaTextEncoding(int32_t encoding) {
  return encoding == kEncodingDeltaLengthByteArray || encoding == kEncodingDeltaByteArray;
}
// Can AppendPlain and AppendEncoded take it?
bool IsKnownEncoding(ValueType type, int32_t encoding);

// Appends exactly `count` values. kCorruption: the body holds fewer, or cannot be decoded.
Status AppendPlain(ValueType type, int32_t encoding, std::string_view body, int64_t count, ByteBuffer& out);
// The other way.
Status AppendEncoded(ValueType type, int32_t encoding, std::string_view plain, int64_t count, ByteBuffer& out);

// Whole rows of a column chunk.
struct DecodedRows {
  std::vector<uint8_t> repetition;  // empty where the highest level is 0
  std::vector<uint8_t> definition;
  int64_t count = 0;  // entries, nulls included
  ByteBuffer plain;   // values that are not null
  int64_t values = 0;
};
// Rows that are decoded at a time end with the batch in which they become so many entries, or bytes of values.
inline constexpr int64_t kDecodedEntriesMax = 1 << 17;
inline constexpr size_t kDecodedBytesMax = 4 << 20;
// A column chunk by Arrow's reader, a part after the other: a chunk may be hundreds of times larger decoded. Ends with
// the first error of `take`.
Status DecodeChunk(std::string_view file, int32_t row_group, int32_t leaf,
                   const std::function<Status(const DecodedRows&)>& take);

// PLAIN values of the file's type as PLAIN values of the table's. kCorruption: a decimal beyond its precision.
Status AppendConverted(Conversion conversion, ValueType from, ValueType to, std::string_view plain, ByteBuffer& out);

}  // namespace firn::parquet
