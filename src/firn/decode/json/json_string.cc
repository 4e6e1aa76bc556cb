#include "firn/decode/json/json_string.h"

#include <fmt/format.h>

#include <cstring>
#include <iterator>

namespace firn::decode::json {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The four hex digits at `at`, or -1.
int32_t ReadUnit(std::string_view raw, size_t at) {
  if (raw.size() - at < 4) return -1;
  int32_t unit = 0;
  for (size_t i = 0; i < 4; ++i) {
    int digit = HexDigit(raw[at + i]);
    if (digit < 0) return -1;
    unit = unit << 4 | digit;
  }
  return unit;
}

// The character of a one-letter escape, or 0.
char SimpleEscape(char c) {
  switch (c) {
    case '"':
    case '\\':
    case '/': return c;
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    default: return 0;
  }
}

void AppendUtf8(uint32_t code, std::string& out) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  }
}

// `at` stands behind "\u"; moves it behind the escape, or behind both of a surrogate pair.
Escapes UnescapeUnicode(std::string_view raw, size_t& at, std::string& out) {
  int32_t unit = ReadUnit(raw, at);
  if (unit < 0) return Escapes::kMalformed;
  at += 4;
  auto code = static_cast<uint32_t>(unit);
  if (code >= 0xdc00 && code < 0xe000) return Escapes::kLoneSurrogate;
  if (code >= 0xd800 && code < 0xdc00) {
    if (raw.substr(at, 2) != "\\u") return Escapes::kLoneSurrogate;
    int32_t low = ReadUnit(raw, at + 2);
    if (low < 0) return Escapes::kMalformed;
    if (low < 0xdc00 || low >= 0xe000) return Escapes::kLoneSurrogate;
    at += 6;
    code = 0x10000 + ((code - 0xd800) << 10) + (static_cast<uint32_t>(low) - 0xdc00);
  }
  AppendUtf8(code, out);
  return Escapes::kOk;
}

}  // namespace

Escapes Unescape(std::string_view raw, std::string& out) {
  size_t at = 0;
  for (;;) {
    const void* found = raw.size() == at ? nullptr : std::memchr(raw.data() + at, '\\', raw.size() - at);
    size_t end = found == nullptr ? raw.size() : static_cast<size_t>(static_cast<const char*>(found) - raw.data());
    out.append(raw.substr(at, end - at));
    if (found == nullptr) return Escapes::kOk;
    at = end + 1;
    if (at == raw.size()) return Escapes::kMalformed;
    char kind = raw[at++];
    if (kind == 'u') {
      Escapes outcome = UnescapeUnicode(raw, at, out);
      if (outcome != Escapes::kOk) return outcome;
      continue;
    }
    char simple = SimpleEscape(kind);
    if (simple == 0) return Escapes::kMalformed;
    out += simple;
  }
}

bool EscapesAreValid(std::string_view raw) {
  size_t at = raw.find('\\');
  while (at != std::string_view::npos) {
    if (at + 1 == raw.size()) return false;
    if (raw[at + 1] == 'u') {
      if (ReadUnit(raw, at + 2) < 0) return false;
    } else if (SimpleEscape(raw[at + 1]) == 0) {
      return false;
    }
    at = raw.find('\\', at + 2);
  }
  return true;
}

void AppendEscaped(std::string_view text, std::string& out) {
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      out += c;
    }
  }
}

std::string Shorten(std::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max) return std::string(text);
  size_t end = bytes_max < 3 ? 0 : bytes_max - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "...";
}

}  // namespace firn::decode::json
