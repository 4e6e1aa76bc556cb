// Truncated lower and upper bounds of a column, as manifests and column indexes keep them ("truncate(16)").
//
// Pure functions over single values in their binary form (spec Appendix D). Only string and binary are ever shortened:
// strings by code points, binary by bytes; all other types come back as they were, and so does what is short already.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "firn/schema/type.h"

namespace firn::schema {

// The longest prefix within `length`: never greater than the value.
std::string TruncateLower(const Type& type, std::string_view bytes, int32_t length);

// The shortest text near the prefix that is not smaller than any value with this prefix: the last code point or byte
// that can be increased is, and what follows it is cut off. Nothing when there is none (all U+10FFFF or 0xFF), or when
// a string is not UTF-8: then the bound is to be left out, never written too small.
std::optional<std::string> TruncateUpper(const Type& type, std::string_view bytes, int32_t length);

// The bytes of the first `count` code points of `text`. Broken UTF-8 counts one code point a stray byte.
std::string_view CodePointPrefix(std::string_view text, int32_t count);
// RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF.
bool IsUtf8(std::string_view text);

}  // namespace firn::schema
