// TextCursor: the way through one JSON text, token by token, in one pass and without an index of them.
//
// Owned by one thread; looks at a text that somebody else keeps alive, with kTextPadding zero bytes behind it
// (PaddedText), which no loop here runs over. Whoever steps over every value, wanted or not, has checked all of the
// text but its UTF-8.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "firn/decode/json/json_number.h"
#include "firn/decode/json/json_scan.h"

namespace firn::decode::json {

class TextCursor {
 public:
  TextCursor() = default;
  explicit TextCursor(std::string_view padded)
      : begin_(padded.data()), end_(padded.data() + padded.size()), at_(padded.data()) {
    SkipSpaceHere();
  }

  // The first byte of the token at hand; 0 behind the last one.
  char Peek() const { return *at_; }
  // Over a token of one byte.
  void Advance() {
    ++at_;
    SkipSpaceHere();
  }
  bool AtEnd() const { return at_ >= end_; }
  // Whether the text's last byte but white space is the end of an object.
  bool EndsWithObject() const {
    const char* end = end_;
    while (end > begin_ && IsSpace(end[-1])) --end;
    return end > begin_ && end[-1] == '}';
  }
  const char* text_end() const { return end_; }
  // For loops that walk by json_scan.h themselves and come back.
  const char* position() const { return at_; }
  void Return(const char* position) { at_ = position; }
  // Where the token at hand begins, to come back to, and for messages.
  uint32_t at() const { return static_cast<uint32_t>(std::min(at_, end_) - begin_); }
  void Return(uint32_t at) { at_ = begin_ + at; }

  // The string at hand, escapes as written. False, and not moved: it has no end, or a control character inside.
  bool TakeString(std::string_view& body, bool& has_escape) {
    const char* begin = at_ + 1;
    const char* stop = StringStop(begin);
    has_escape = *stop != '"';
    if (has_escape) [[unlikely]] {
      stop = StringEnd(stop);
      if (stop == nullptr) return false;
    }
    body = {begin, static_cast<size_t>(stop - begin)};
    at_ = stop + 1;
    SkipSpaceHere();
    return true;
  }
  // An object's key and its colon. False when they are not there.
  bool TakeKey(std::string_view& key, bool& has_escape) {
    if (*at_ != '"' || !TakeString(key, has_escape) || *at_ != ':') return false;
    Advance();
    return true;
  }
  // The number at hand when it is an integer of at most 18 digits; else false and not moved.
  bool TakePlainInteger(int64_t& value) {
    const char* end = ReadPlainInteger(at_, end_, value);
    if (end == nullptr) return false;
    at_ = end;
    SkipSpaceHere();
    return true;
  }
  // The number or word at hand; false when it is none, or something else is glued to its end.
  bool TakeNumber(JsonNumber& number) {
    return ReadNumber(at_, end_, number) && TakeScalar(number.text.data() + number.text.size());
  }
  bool TakeWord(std::string_view word) {
    return std::memcmp(at_, word.data(), word.size()) == 0 && TakeScalar(at_ + word.size());
  }

  enum class Step : uint8_t { kOk, kMalformed, kTooDeep };
  // Steps over the value at hand, whatever it is, and checks all of it. `depth_left`: objects and lists it may nest.
  Step SkipValue(int32_t depth_left);

  // The value from `from` up to the token at `to`, as it stands in the text.
  std::string_view Raw(uint32_t from, uint32_t to) const;
  // The same as JSON without white space, written to `scratch`. Where space_count() is what it was before the value,
  // Raw is the same and costs nothing.
  std::string_view Compact(uint32_t from, uint32_t to, std::string& scratch) const;
  // How often this cursor has met white space; what is walked outside of it (see position) does not count.
  uint32_t space_count() const { return space_count_; }
  // The value that begins at `from`; up to the text's end when it is broken. For messages.
  std::string_view ValueFrom(uint32_t from) const;

 private:
  void SkipSpaceHere() {
    if (static_cast<unsigned char>(*at_) <= ' ') [[unlikely]] {
      ++space_count_;
      at_ = SkipSpace(at_);
    }
  }
  bool TakeScalar(const char* end) {
    if (!EndsScalar(end, end_)) return false;
    at_ = end;
    SkipSpaceHere();
    return true;
  }
  // The closing quote, from a stop on; nullptr when there is none, or a control character before it.
  static const char* StringEnd(const char* stop);

  bool SkipString();
  Step SkipObject(int32_t depth_left);
  Step SkipList(int32_t depth_left);

  const char* begin_ = nullptr;
  const char* end_ = nullptr;
  const char* at_ = nullptr;
  uint32_t space_count_ = 0;
};

}  // namespace firn::decode::json
