// TokenCursor: the way through one indexed JSON text, token by token; every read is inside the text.
//
// Owned by one thread; looks at a text and an index that somebody else keeps alive. Tokens are checked where they are
// read: the index only says where they begin. Step over every value, wanted or not, and all of the text was checked.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "firn/decode/json/json_number.h"
#include "firn/decode/json/json_string.h"
#include "firn/decode/json/testing/structural_index.h"

namespace firn::decode::json::testing {

class TokenCursor {
 public:
  TokenCursor() = default;
  TokenCursor(std::string_view text, const StructuralIndex& index)
      : text_(text.data()),
        size_(text.size()),
        positions_(index.positions()),
        count_(index.count()),
        clear_from_(text.data()) {
    next_backslash_ = FindBackslash(text.data());
  }

  // The token's first byte, or 0 behind the last one.
  char Peek() const { return at_ < count_ ? text_[positions_[at_]] : '\0'; }
  // The same where the token at hand cannot be behind the last one: inside an object of a text that EndsWithObject,
  // after any token but a closing one.
  char PeekInside() const { return text_[positions_[at_]]; }
  bool EndsWithObject() const { return count_ > 0 && text_[positions_[count_ - 1]] == '}'; }
  void Advance() { ++at_; }
  bool AtEnd() const { return at_ >= count_; }
  uint32_t at() const { return at_; }
  void Return(uint32_t at) { at_ = at; }
  const char* text_end() const { return text_ + size_; }
  // Where the walk stands, for messages.
  uint32_t position() const { return at_ < count_ ? positions_[at_] : static_cast<uint32_t>(size_); }

  // The string token at hand, escapes as written. The index holds no token inside a string, so the last byte before the
  // next token that is not white space is the closing quote.
  std::string_view StringBody() const {
    const char* begin = text_ + positions_[at_] + 1;
    const char* end = text_ + positions_[at_ + 1] - 1;
    while (*end != '"') --end;
    return {begin, static_cast<size_t>(end - begin)};
  }
  // Whether it has any. Remembers how far the text is free of backslashes, so that most strings need no look.
  bool HasEscape(std::string_view body) {
    const char* end = body.data() + body.size();
    if (body.data() >= clear_from_ && end <= next_backslash_) return false;
    return FindEscape(body.data(), end);
  }

  // An object's key and its colon, inside as above; steps over both. False when they are not there.
  bool TakeKey(std::string_view& key) {
    if (PeekInside() != '"') return false;
    key = StringBody();
    ++at_;
    if (PeekInside() != ':') return false;
    ++at_;
    return true;
  }

  // The number or word at hand; false when it is none, or something else is glued to its end. Steps over it.
  bool TakeNumber(JsonNumber& number) {
    const char* end = text_ + positions_[at_ + 1];
    if (!ReadNumber(text_ + positions_[at_], end, number)) return false;
    return EndsToken(number.text.data() + number.text.size(), end);
  }
  bool TakeWord(std::string_view word) {
    const char* begin = text_ + positions_[at_];
    const char* end = text_ + positions_[at_ + 1];
    if (static_cast<size_t>(end - begin) < word.size() || std::memcmp(begin, word.data(), word.size()) != 0) {
      return false;
    }
    return EndsToken(begin + word.size(), end);
  }

  enum class Step : uint8_t { kOk, kMalformed, kTooDeep };
  // Steps over the value at hand, whatever it is, and checks all of it. `depth_left`: objects and lists it may nest.
  Step SkipValue(int32_t depth_left);

  // The tokens [from, to) as JSON without white space: a view of the text where it has none, else written to `scratch`.
  std::string_view Compact(uint32_t from, uint32_t to, std::string& scratch) const;
  // The same as it stands in the text.
  std::string_view Raw(uint32_t from, uint32_t to) const;
  // The value that begins at `token` as it stands in the text; up to the text's end when it is broken. For messages.
  std::string_view ValueFrom(uint32_t token) const;

 private:
  static bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
  bool EndsToken(const char* at, const char* next_token) {
    ++at_;
    return at == next_token || IsSpace(*at);
  }
  // The first backslash from there on, or the text's end.
  const char* FindBackslash(const char* from) const {
    const void* found = std::memchr(from, '\\', static_cast<size_t>(text_end() - from));
    return found == nullptr ? text_end() : static_cast<const char*>(found);
  }
  bool FindEscape(const char* begin, const char* end);
  std::string_view TokenText(uint32_t token) const;
  bool SkipString();
  Step SkipObject(int32_t depth_left);
  Step SkipList(int32_t depth_left);

  const char* text_ = nullptr;
  size_t size_ = 0;
  const uint32_t* positions_ = nullptr;
  uint32_t count_ = 0;
  uint32_t at_ = 0;
  const char* clear_from_ = nullptr;      // no backslash from here
  const char* next_backslash_ = nullptr;  // to here
};

}  // namespace firn::decode::json::testing
