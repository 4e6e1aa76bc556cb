// What can be wrong with a JSON text as a whole, whatever its tokens say: no value, strings without end, raw control
// characters in strings, bytes that are no UTF-8.
//
// Pure functions, any thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace firn::decode::json {

enum class TextFault : uint8_t { kNone, kStrings, kNoValue, kInvalidUtf8 };

// The first fault in this order. For texts that are refused anyhow: byte by byte, not fast.
TextFault FindTextFault(std::string_view text);

bool IsValidUtf8(std::string_view text);

}  // namespace firn::decode::json
