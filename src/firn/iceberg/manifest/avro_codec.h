// The block codecs of Avro object container files: null, deflate, zstandard, snappy (reading); deflate (writing).
//
// Pure functions on bytes; the output of a block is bounded by kAvroBlockBytesMax whatever the input claims.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "firn/base/error.h"

namespace firn::iceberg {

inline constexpr size_t kAvroBlockBytesMax = 256u << 20;  // of one block, before and after decompression

// `codec` as in the header member avro.codec. kUnsupported: another codec; kCorruption: bytes that do not decompress,
// or a wrong checksum; kResourceExhausted: more than kAvroBlockBytesMax.
Result<std::string> DecompressAvroBlock(std::string_view codec, std::string_view block);

// Raw deflate (RFC 1951), as Avro's codec "deflate" wants it.
Result<std::string> DeflateAvroBlock(std::string_view block);

}  // namespace firn::iceberg
