// Reading the hybrid of run lengths and packed groups of eight in which Parquet stores levels and dictionary indices
// (format: Encodings.md, "RLE"). The other direction is run_length.h.
//
// Pure, over bytes from outside: kCorruption where they end early or a width cannot be.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "firn/base/error.h"

namespace firn::parquet {

// Fills `out` with the first values; bytes after them are left alone. Widths: 0 to 8, or 0 to 32. No length before it.
Status ReadRunLengths(std::string_view bytes, int width, std::span<uint8_t> out);
Status ReadRunLengths(std::string_view bytes, int width, std::span<uint32_t> out);

}  // namespace firn::parquet
