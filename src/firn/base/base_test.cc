#include <gtest/gtest.h>

#include <thread>

#include "firn/base/bounded_queue.h"
#include "firn/base/byte_cursor.h"
#include "firn/base/encoding.h"
#include "firn/base/error.h"
#include "firn/base/log.h"

namespace firn {
namespace {

TEST(ErrorTest, ContextStandsBeforeTheMessage) {
  Error error = Error(ErrorCode::kNotFound, "no such table: 'a.b'").WithContext("commit");
  EXPECT_EQ(error.ToString(), "not_found: commit: no such table: 'a.b'");
}

TEST(ByteCursorTest, ReadsWhatTheWriterWroteAndNothingMore) {
  std::string bytes;
  ByteWriter writer(bytes);
  for (int64_t value : {int64_t{0}, int64_t{-1}, int64_t{63}, int64_t{64}, INT64_MAX, INT64_MIN}) {
    writer.PutZigZagVarint(value);
  }
  ByteCursor cursor(bytes);
  for (int64_t value : {int64_t{0}, int64_t{-1}, int64_t{63}, int64_t{64}, INT64_MAX, INT64_MIN}) {
    EXPECT_EQ(cursor.TakeZigZagVarint().value(), value);
  }
  EXPECT_TRUE(cursor.empty());
  EXPECT_EQ(cursor.TakeByte().error().code(), ErrorCode::kCorruption);
}

TEST(ByteCursorTest, RefusesAnEndlessVarint) {
  std::string bytes(11, '\xff');
  EXPECT_EQ(ByteCursor(bytes).TakeZigZagVarint().error().code(), ErrorCode::kCorruption);
}

TEST(EncodingTest, HexAndBase64) {
  EXPECT_EQ(HexEncode(std::string_view("\x00\xffz", 3)), "00ff7a");
  EXPECT_EQ(HexDecode("00FF7a").value(), std::string("\x00\xffz", 3));
  EXPECT_EQ(HexDecode("0g").error().code(), ErrorCode::kInvalidInput);
  EXPECT_EQ(HexDecode("0").error().code(), ErrorCode::kInvalidInput);
  for (std::string text : {"", "f", "fo", "foo", "foob", "fooba", "foobar"}) {
    std::string back = "x";
    ASSERT_TRUE(Base64DecodeTo(Base64Encode(text), back));
    EXPECT_EQ(back, "x" + text);
  }
  std::string out = "kept";
  EXPECT_FALSE(Base64DecodeTo("a*bc", out));
  EXPECT_EQ(out, "kept");
}

TEST(EncodingTest, Uuid) {
  Uuid uuid;
  ASSERT_TRUE(ParseUuid("F79C3E09-677c-4bbd-a479-3f349cb785e7", uuid));
  EXPECT_EQ(FormatUuid(uuid), "f79c3e09-677c-4bbd-a479-3f349cb785e7");
  EXPECT_FALSE(ParseUuid("f79c3e09-677c-4bbd-a4793f349cb785e7", uuid));
  EXPECT_EQ(FormatUuid(MakeUuidV4(0, 0)), "00000000-0000-4000-8000-000000000000");
}

TEST(EncodingTest, InvalidUtf8IsReplaced) {
  auto valid = [](std::string_view bytes) {
    std::string out = "x";
    AppendValidUtf8(bytes, out);
    return out.substr(1);
  };
  const std::string mark = "\xef\xbf\xbd";
  for (std::string text : {"", "plain", "Gr\xc3\xbc\xc3\x9f", "\xe0\xa0\x80\xed\x9f\xbf\xef\xbf\xbf",
                           "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(valid(text), text);
  }
  EXPECT_EQ(valid(std::string_view("\0", 1)), std::string(1, '\0'));
  EXPECT_EQ(valid("a\xff z"), "a" + mark + " z");
  EXPECT_EQ(valid("\xc3"), mark);                        // cut off
  EXPECT_EQ(valid("\xe2\x82"), mark + mark);
  EXPECT_EQ(valid("\xc0\xaf"), mark + mark);              // overlong
  EXPECT_EQ(valid("\xe0\x80\xaf"), mark + mark + mark);
  EXPECT_EQ(valid("\xed\xa0\x80"), mark + mark + mark);   // a surrogate
  EXPECT_EQ(valid("\xf4\x90\x80\x80"), mark + mark + mark + mark);
  EXPECT_EQ(valid("\x80" "a"), mark + "a");
}

TEST(LogTest, WhateverIsInItStaysOneLine) {
  ::testing::internal::CaptureStderr();
  LogInfo("bad\nline \x1b[31m", {{"key", "a\x1b" "b"}, {"plain", "c"}});
  std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("bad\\nline \\u001b[31m key=\"a\\u001bb\" plain=c\n"), std::string::npos) << text;

  ConfigureLogging(LogFormat::kJson, LogLevel::kInfo);
  ::testing::internal::CaptureStderr();
  LogInfo("not \xff text", {{"key", "\xc3(\" \\"}});
  text = ::testing::internal::GetCapturedStderr();
  ConfigureLogging(LogFormat::kText, LogLevel::kInfo);
  EXPECT_NE(text.find("\"message\":\"not \xef\xbf\xbd text\",\"key\":\"\xef\xbf\xbd(\\\" \\\\\"}\n"), std::string::npos)
      << text;
}

TEST(EncodingTest, NearestWordOnlyWhenNear) {
  const std::string_view known[] = {"catalog", "kafka", "tables"};
  EXPECT_EQ(NearestWord("catalogue", known), "catalog");
  EXPECT_EQ(NearestWord("zzzzzz", known), "");
}

TEST(BoundedQueueTest, BlocksWhenFullAndDrainsAfterClose) {
  BoundedQueue<int> queue(2);
  EXPECT_TRUE(queue.Push(1, 1));
  EXPECT_TRUE(queue.Push(2, 1));
  int third = 3;
  EXPECT_FALSE(queue.TryPush(third, 1));
  std::jthread pusher([&] { EXPECT_TRUE(queue.Push(3, 1)); });
  EXPECT_EQ(queue.Pop(std::chrono::seconds(5)), 1);
  pusher.join();
  queue.Close();
  EXPECT_FALSE(queue.Push(4, 1));
  EXPECT_EQ(queue.Pop(std::chrono::seconds(5)), 2);
  EXPECT_EQ(queue.Pop(std::chrono::seconds(5)), 3);
  EXPECT_EQ(queue.Pop(std::chrono::milliseconds(0)), std::nullopt);
}

}  // namespace
}  // namespace firn
