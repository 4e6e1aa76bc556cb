#include "firn/decode/json/testing/token_cursor.h"

#include <string>

namespace firn::decode::json::testing {

bool TokenCursor::FindEscape(const char* begin, const char* end) {
  if (begin < clear_from_) {  // the walk has gone back
    return std::memchr(begin, '\\', static_cast<size_t>(end - begin)) != nullptr;
  }
  if (next_backslash_ < begin) {
    clear_from_ = begin;
    next_backslash_ = FindBackslash(begin);
  }
  return next_backslash_ < end;
}

bool TokenCursor::SkipString() {
  std::string_view body = StringBody();
  Advance();
  return !HasEscape(body) || EscapesAreValid(body);
}

TokenCursor::Step TokenCursor::SkipValue(int32_t depth_left) {
  JsonNumber number;
  bool good = false;
  switch (Peek()) {
    case '{': return SkipObject(depth_left);
    case '[': return SkipList(depth_left);
    case '"': good = SkipString(); break;
    case 't': good = TakeWord("true"); break;
    case 'f': good = TakeWord("false"); break;
    case 'n': good = TakeWord("null"); break;
    case '\0': good = false; break;
    default: good = TakeNumber(number); break;
  }
  return good ? Step::kOk : Step::kMalformed;
}

TokenCursor::Step TokenCursor::SkipObject(int32_t depth_left) {
  if (depth_left <= 0) return Step::kTooDeep;
  Advance();
  if (Peek() == '}') {
    Advance();
    return Step::kOk;
  }
  for (;;) {
    if (Peek() != '"' || !SkipString() || Peek() != ':') return Step::kMalformed;
    Advance();
    Step step = SkipValue(depth_left - 1);
    if (step != Step::kOk) return step;
    char separator = Peek();
    Advance();
    if (separator == '}') return Step::kOk;
    if (separator != ',') return Step::kMalformed;
  }
}

TokenCursor::Step TokenCursor::SkipList(int32_t depth_left) {
  if (depth_left <= 0) return Step::kTooDeep;
  Advance();
  if (Peek() == ']') {
    Advance();
    return Step::kOk;
  }
  for (;;) {
    Step step = SkipValue(depth_left - 1);
    if (step != Step::kOk) return step;
    char separator = Peek();
    Advance();
    if (separator == ']') return Step::kOk;
    if (separator != ',') return Step::kMalformed;
  }
}

std::string_view TokenCursor::TokenText(uint32_t token) const {
  const char* begin = text_ + positions_[token];
  const char* end = text_ + positions_[token + 1];
  while (end > begin && IsSpace(end[-1])) --end;
  return {begin, static_cast<size_t>(end - begin)};
}

std::string_view TokenCursor::Raw(uint32_t from, uint32_t to) const {
  std::string_view last = TokenText(to - 1);
  const char* begin = text_ + positions_[from];
  return {begin, static_cast<size_t>(last.data() + last.size() - begin)};
}

std::string_view TokenCursor::ValueFrom(uint32_t token) const {
  constexpr int32_t kDepthMax = 64;
  if (token >= count_) return {};
  TokenCursor copy = *this;
  copy.Return(token);
  if (copy.SkipValue(kDepthMax) == Step::kOk) return Raw(token, copy.at());
  return {text_ + positions_[token], size_ - positions_[token]};
}

std::string_view TokenCursor::Compact(uint32_t from, uint32_t to, std::string& scratch) const {
  uint32_t token = from;
  while (token + 1 < to && !IsSpace(text_[positions_[token + 1] - 1])) ++token;
  if (token + 1 >= to) return Raw(from, to);
  scratch.clear();
  for (token = from; token < to; ++token) scratch.append(TokenText(token));
  return scratch;
}

}  // namespace firn::decode::json::testing
