// Strings of JSON: escapes in and out.
//
// Pure functions, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace firn::decode::json {

enum class Escapes : uint8_t { kOk, kMalformed, kLoneSurrogate };

// Appends the string whose text between the quotes is `raw` (valid UTF-8, no raw control characters) to `out`. A
// surrogate escape without its partner has no UTF-8 form: kLoneSurrogate. `out` is undefined unless kOk.
Escapes Unescape(std::string_view raw, std::string& out);
// Whether every backslash in `raw` begins an escape that JSON knows; lone surrogates pass.
bool EscapesAreValid(std::string_view raw);

// Appends `text` as it stands between quotes in JSON.
void AppendEscaped(std::string_view text, std::string& out);

// The first bytes of `text`, at most `bytes_max`, cut between characters; "..." at the end when something was cut.
std::string Shorten(std::string_view text, size_t bytes_max);

}  // namespace firn::decode::json
