#include "firn/decode/json/text_cursor.h"

#include <string>

#include "firn/decode/json/json_string.h"

namespace firn::decode::json {

const char* TextCursor::StringEnd(const char* stop) {
  while (*stop == '\\') {
    if (static_cast<unsigned char>(stop[1]) < 0x20) return nullptr;
    stop = StringStop(stop + 2);
  }
  return *stop == '"' ? stop : nullptr;
}

bool TextCursor::SkipString() {
  std::string_view body;
  bool has_escape = false;
  return TakeString(body, has_escape) && (!has_escape || EscapesAreValid(body));
}

TextCursor::Step TextCursor::SkipValue(int32_t depth_left) {
  JsonNumber number;
  int64_t integer = 0;
  bool good = false;
  switch (*at_) {
    case '{': return SkipObject(depth_left);
    case '[': return SkipList(depth_left);
    case '"': good = SkipString(); break;
    case 't': good = TakeWord("true"); break;
    case 'f': good = TakeWord("false"); break;
    case 'n': good = TakeWord("null"); break;
    default: good = TakePlainInteger(integer) || TakeNumber(number); break;
  }
  return good ? Step::kOk : Step::kMalformed;
}

TextCursor::Step TextCursor::SkipObject(int32_t depth_left) {
  if (depth_left <= 0) return Step::kTooDeep;
  Advance();
  if (*at_ == '}') {
    Advance();
    return Step::kOk;
  }
  for (;;) {
    if (*at_ != '"' || !SkipString() || *at_ != ':') return Step::kMalformed;
    Advance();
    Step step = SkipValue(depth_left - 1);
    if (step != Step::kOk) return step;
    char separator = *at_;
    Advance();
    if (separator == '}') return Step::kOk;
    if (separator != ',') return Step::kMalformed;
  }
}

TextCursor::Step TextCursor::SkipList(int32_t depth_left) {
  if (depth_left <= 0) return Step::kTooDeep;
  Advance();
  if (*at_ == ']') {
    Advance();
    return Step::kOk;
  }
  for (;;) {
    Step step = SkipValue(depth_left - 1);
    if (step != Step::kOk) return step;
    char separator = *at_;
    Advance();
    if (separator == ']') return Step::kOk;
    if (separator != ',') return Step::kMalformed;
  }
}

std::string_view TextCursor::Raw(uint32_t from, uint32_t to) const {
  const char* begin = begin_ + from;
  const char* end = begin_ + to;
  while (end > begin && IsSpace(end[-1])) --end;
  return {begin, static_cast<size_t>(end - begin)};
}

std::string_view TextCursor::ValueFrom(uint32_t from) const {
  constexpr int32_t kDepthMax = 64;
  TextCursor copy = *this;
  copy.Return(from);
  if (copy.SkipValue(kDepthMax) == Step::kOk) return Raw(from, copy.at());
  return {begin_ + from, static_cast<size_t>(end_ - begin_) - from};
}

std::string_view TextCursor::Compact(uint32_t from, uint32_t to, std::string& scratch) const {
  const std::string_view raw = Raw(from, to);
  scratch.clear();
  const char* end = raw.data() + raw.size();
  for (const char* at = raw.data(); at != end;) {
    const char* begin = at;
    if (*at == '"') {
      at = StringEnd(StringStop(at + 1)) + 1;
    } else {
      while (at != end && *at != '"' && !IsSpace(*at)) ++at;
    }
    scratch.append(begin, at);
    while (at != end && IsSpace(*at)) ++at;
  }
  return scratch;
}

}  // namespace firn::decode::json
