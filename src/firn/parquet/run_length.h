// Bit packing, and the hybrid of run lengths and packed groups of eight in which Parquet stores levels, booleans and
// dictionary indices (format: Encodings.md, "RLE"). Pure functions.
#pragma once

#include <bit>
#include <cstdint>
#include <span>

#include "firn/parquet/byte_buffer.h"

namespace firn::parquet {

// Bits that hold every number up to `largest`.
inline int BitWidth(uint64_t largest) { return std::bit_width(largest); }

// Packs 8 * `groups` values of `width` bits, lowest bit first, into exactly groups * width bytes. A value must not have
// higher bits. Widths reach to those of the type.
void PackGroups(const uint8_t* values, size_t groups, int width, uint8_t* out);
void PackGroups(const uint32_t* values, size_t groups, int width, uint8_t* out);
void PackGroups(const uint64_t* values, size_t groups, int width, uint8_t* out);

// Appends the values in the hybrid form, of width 1 to 8, or 1 to 32; no length before it.
void AppendRunLengths(std::span<const uint8_t> values, int width, ByteBuffer& out);
void AppendRunLengths(std::span<const uint32_t> values, int width, ByteBuffer& out);
// One run of one value.
void AppendRun(uint32_t value, uint64_t count, int width, ByteBuffer& out);

}  // namespace firn::parquet
