// Text forms of bytes: hex, base64 (RFC 4648, padding optional when reading), UUIDs, UTF-8 made valid; and the nearest
// known word.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "firn/base/error.h"

namespace firn {

std::string HexEncode(std::string_view bytes);
Result<std::string> HexDecode(std::string_view text);  // upper and lower case; kInvalidInput otherwise

std::string Base64Encode(std::string_view bytes);
// Appends the decoded bytes to `out`; false (and `out` as it was) when `text` is not base64. Standard and URL alphabet.
bool Base64DecodeTo(std::string_view text, std::string& out);

using Uuid = std::array<uint8_t, 16>;  // big-endian, as printed
std::string FormatUuid(const Uuid& uuid);           // lower case, with hyphens
bool ParseUuid(std::string_view text, Uuid& out);   // with or without hyphens, any case
// A random (version 4) UUID out of 128 random bits.
Uuid MakeUuidV4(uint64_t high, uint64_t low);

// Appends `bytes` with U+FFFD for each byte that is part of no well-formed sequence (Unicode 15.0, table 3-7).
void AppendValidUtf8(std::string_view bytes, std::string& out);

// The known word with the smallest edit distance, if it is near enough to be meant (distance <= 1 + length / 3).
std::string_view NearestWord(std::string_view word, std::span<const std::string_view> known);

}  // namespace firn
