// The steps of json_scan.h and quoted_key.h against byte-by-byte ones, at every length and place.
#include "firn/decode/json/json_scan.h"

#include <gtest/gtest.h>

#include <charconv>
#include <string>

#include "firn/decode/json/padded_text.h"
#include "firn/decode/json/text_check.h"
#include "firn/decode/json/testing/structural_index.h"

namespace firn::decode::json {
namespace {

TEST(JsonScan, StringsStopAtQuotesBackslashesAndControls) {
  PaddedText padded;
  for (int byte = 0; byte < 256; ++byte) {
    const bool stops = byte < 0x20 || byte == '"' || byte == '\\';
    for (size_t place = 0; place < 40; ++place) {
      std::string text(40, 'x');
      text[place] = static_cast<char>(byte);
      const std::string_view view = padded.Load(text);
      EXPECT_EQ(StringStop(view.data()) - view.data(), stops ? place : 40) << byte;
    }
  }
}

TEST(JsonScan, PlainIntegersOfEveryLength) {
  PaddedText padded;
  const std::string digits = "9182736450918273645012345";
  for (size_t count = 0; count <= digits.size(); ++count) {
    for (const std::string sign : {"", "-"}) {
      for (const std::string tail : {"", ",", "}", "]", " ", ".5", "e1", "x", "\"", ":", "\x01", "/", "\xc3\xa9"}) {
        const std::string text = sign + digits.substr(0, count) + tail;
        const std::string_view view = padded.Load(text);
        int64_t value = 0;
        const char* end = ReadPlainInteger(view.data(), view.data() + view.size(), value);
        const bool ends = tail.empty() || std::string(",}] :").find(tail) != std::string::npos;
        ASSERT_EQ(end != nullptr, ends && count >= 1 && count <= 18) << text;
        if (end == nullptr) continue;
        int64_t expected = 0;
        std::from_chars(text.data(), text.data() + text.size(), expected);
        EXPECT_EQ(value, expected);
        EXPECT_EQ(static_cast<size_t>(end - view.data()), text.size() - tail.size());
      }
    }
  }
  int64_t value = 0;
  EXPECT_EQ(ReadPlainInteger(padded.Load("01,").data(), nullptr, value), nullptr);
  EXPECT_EQ(ReadPlainInteger(padded.Load("000000000000,").data(), nullptr, value), nullptr);
  EXPECT_NE(ReadPlainInteger(padded.Load("0,").data(), nullptr, value), nullptr);
}

TEST(JsonScan, ExpectedKeysOfEveryLength) {
  PaddedText padded;
  for (size_t size = 0; size < 50; ++size) {
    const std::string key(size, 'k');
    const QuotedKey quoted(key);
    auto end = [&](const std::string& text) {
      const std::string_view view = padded.Load(text);
      const char* found = ExpectedKeyEnd(view.data(), view.data() + view.size(), quoted);
      return found == nullptr ? 0 : found - view.data();
    };
    const auto length = static_cast<std::ptrdiff_t>(size);
    EXPECT_EQ(end("\"" + key + "\":1"), length + 3);
    EXPECT_EQ(end("\"" + key + "\" \n :1"), length + 6);
    EXPECT_EQ(end("\"" + key + "k\":1"), 0);
    EXPECT_EQ(end("\"" + key + "\"1"), 0);
    EXPECT_EQ(end("\"" + key), 0);
    EXPECT_EQ(end(""), 0);
    for (size_t place = 0; place < size; ++place) {
      std::string other = key;
      other[place] = 'K';
      EXPECT_EQ(end("\"" + other + "\":1"), 0);
      EXPECT_NE(HashKey(other), HashKey(key));
    }
  }
  EXPECT_EQ(QuotedKey("a\"b").size(), 0U);
  EXPECT_EQ(QuotedKey("a\\b").size(), 0U);
  EXPECT_EQ(QuotedKey("a\nb").size(), 0U);
}

TEST(TextCheck, FindsWhatTheIndexFinds) {
  testing::StructuralIndex index;
  using Outcome = testing::StructuralIndex::Outcome;
  auto expected = [&](std::string_view text) {
    switch (index.Build(text)) {
      case Outcome::kOk: return TextFault::kNone;
      case Outcome::kNoValue: return TextFault::kNoValue;
      case Outcome::kInvalidUtf8: return TextFault::kInvalidUtf8;
      case Outcome::kMalformed: break;
    }
    return TextFault::kStrings;
  };
  const std::string bytes = "\"\\a \n\x01\xff\xc3\xa9{";
  for (size_t number = 0; number < 100'000; ++number) {  // every text of up to five of these bytes
    std::string text;
    for (size_t rest = number; rest > 0; rest /= bytes.size()) text += bytes[rest % bytes.size()];
    ASSERT_EQ(FindTextFault(text), expected(text)) << number;
  }
}

}  // namespace
}  // namespace firn::decode::json
