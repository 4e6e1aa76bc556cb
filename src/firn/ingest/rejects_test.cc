#include "firn/ingest/rejects.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <limits>

namespace firn::ingest {
namespace {

TEST(RejectsTest, BytesAndTimesThatTheColumnsCannotHold) {
  schema::Schema schema = RejectsTableRequest().schema;
  auto appender = RejectsAppender::Create(schema);
  ASSERT_TRUE(appender.has_value()) << appender.error().ToString();
  columnar::RowBuilder rows(schema);
  const stream::SourcePartition partition{"c", "id", "flows", 3};
  const stream::Header headers[] = {{"na\xffme", "\xff"}, {"plain", std::nullopt}};
  for (int64_t timestamp_ms :
       {int64_t{1'700'000'000'000}, int64_t{-1}, int64_t{253'402'300'800'000}, std::numeric_limits<int64_t>::max()}) {
    const stream::Record record{.offset = 7, .timestamp_ms = timestamp_ms, .value = "\xff", .headers = headers};
    (*appender)->Append(rows, record, partition, {.code = decode::RejectCode::kNoRoute, .message = "\xc3("}, "t", 5);
  }
  auto batch = rows.Finish();
  // Covers that every string is UTF-8.
  ASSERT_TRUE(batch->ValidateFull().ok()) << batch->ValidateFull().ToString();
  const auto& times = static_cast<const arrow::TimestampArray&>(*batch->GetColumnByName("timestamp"));
  EXPECT_EQ(times.Value(0), 1'700'000'000'000'000);
  EXPECT_EQ(times.null_count(), 3);
  const auto& lists = static_cast<const arrow::ListArray&>(*batch->GetColumnByName("headers"));
  const auto& entries = static_cast<const arrow::StructArray&>(*lists.values());
  EXPECT_EQ(static_cast<const arrow::StringArray&>(*entries.field(0)).GetString(0), "na\xef\xbf\xbdme");
  EXPECT_EQ(static_cast<const arrow::BinaryArray&>(*entries.field(1)).GetString(0), "\xff");
  const auto& values = static_cast<const arrow::BinaryArray&>(*batch->GetColumnByName("value"));
  EXPECT_EQ(values.GetString(0), "\xff");
}

}  // namespace
}  // namespace firn::ingest
