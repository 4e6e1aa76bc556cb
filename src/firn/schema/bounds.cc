#include "firn/schema/bounds.h"

#include <algorithm>
#include <vector>

namespace firn::schema {
namespace {

constexpr uint32_t kMaxCodePoint = 0x10FFFF;
constexpr uint32_t kFirstSurrogate = 0xD800;
constexpr uint32_t kLastSurrogate = 0xDFFF;

// Decodes the code point at `at`; its length in bytes is 0 when it is not UTF-8 (RFC 3629: no overlong forms, no
// surrogates, nothing beyond U+10FFFF).
struct CodePoint {
  uint32_t value = 0;
  size_t length = 0;
};

CodePoint DecodeAt(std::string_view text, size_t at) {
  auto first = static_cast<uint8_t>(text[at]);
  if (first < 0x80) return {first, 1};
  size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() - at < length) return {};
  uint32_t value = first & (0xFF >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    auto next = static_cast<uint8_t>(text[at + i]);
    if ((next & 0xC0) != 0x80) return {};
    value = value << 6 | (next & 0x3F);
  }
  constexpr uint32_t kSmallestOfLength[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kSmallestOfLength[length] || value > kMaxCodePoint) return {};
  if (value >= kFirstSurrogate && value <= kLastSurrogate) return {};
  return {value, length};
}

void AppendUtf8(uint32_t value, std::string& out) {
  if (value < 0x80) {
    out += static_cast<char>(value);
    return;
  }
  int continuation_bytes = value < 0x800 ? 1 : value < 0x10000 ? 2 : 3;
  constexpr uint32_t kLeads[] = {0, 0xC0, 0xE0, 0xF0};
  out += static_cast<char>(kLeads[continuation_bytes] | value >> (6 * continuation_bytes));
  for (int i = continuation_bytes - 1; i >= 0; --i) out += static_cast<char>(0x80 | (value >> (6 * i) & 0x3F));
}

std::optional<std::string> IncrementString(std::string_view prefix) {
  std::vector<std::pair<size_t, uint32_t>> code_points;  // where it starts, what it is
  for (size_t at = 0; at < prefix.size();) {
    CodePoint next = DecodeAt(prefix, at);
    if (next.length == 0) return std::nullopt;
    code_points.emplace_back(at, next.value);
    at += next.length;
  }
  while (!code_points.empty() && code_points.back().second == kMaxCodePoint) code_points.pop_back();
  if (code_points.empty()) return std::nullopt;
  auto [at, value] = code_points.back();
  std::string upper(prefix.substr(0, at));
  AppendUtf8(value + 1 == kFirstSurrogate ? kLastSurrogate + 1 : value + 1, upper);
  return upper;
}

std::optional<std::string> IncrementBytes(std::string_view prefix) {
  while (!prefix.empty() && static_cast<uint8_t>(prefix.back()) == 0xFF) prefix.remove_suffix(1);
  if (prefix.empty()) return std::nullopt;
  std::string upper(prefix);
  upper.back() = static_cast<char>(static_cast<uint8_t>(upper.back()) + 1);
  return upper;
}

std::string_view Prefix(const Type& type, std::string_view bytes, int32_t length) {
  if (type.kind() == TypeKind::kString) return CodePointPrefix(bytes, length);
  if (type.kind() == TypeKind::kBinary) return bytes.substr(0, static_cast<size_t>(std::max(length, 0)));
  return bytes;
}

}  // namespace

std::string_view CodePointPrefix(std::string_view text, int32_t count) {
  size_t at = 0;
  for (int32_t taken = 0; taken < count && at < text.size(); ++taken) {
    at += std::max<size_t>(1, DecodeAt(text, at).length);
  }
  return text.substr(0, at);
}

bool IsUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    size_t length = DecodeAt(text, at).length;
    if (length == 0) return false;
    at += length;
  }
  return true;
}

std::string TruncateLower(const Type& type, std::string_view bytes, int32_t length) {
  return std::string(Prefix(type, bytes, length));
}

std::optional<std::string> TruncateUpper(const Type& type, std::string_view bytes, int32_t length) {
  std::string_view prefix = Prefix(type, bytes, length);
  if (prefix.size() == bytes.size()) return std::string(bytes);
  return type.kind() == TypeKind::kString ? IncrementString(prefix) : IncrementBytes(prefix);
}

}  // namespace firn::schema
