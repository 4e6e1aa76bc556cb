#include "firn/ingest/rejects.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <algorithm>
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

schema::Field* FieldOf(schema::Schema& schema, const std::string& name) {
  auto found = std::ranges::find(schema.fields, name, &schema::Field::name);
  return found == schema.fields.end() ? nullptr : &*found;
}

// What says which record it was and what stood in it must not be left out.
TEST(RejectsTest, ATableWithoutWhatARejectIsForIsRefused) {
  for (const char* name : {"code", "topic", "partition", "offset", "value"}) {
    schema::Schema schema = RejectsTableRequest().schema;
    std::erase_if(schema.fields, [&](const schema::Field& field) { return field.name == name; });
    auto appender = RejectsAppender::Create(schema);
    ASSERT_FALSE(appender.has_value()) << name;
    EXPECT_EQ(appender.error().code(), ErrorCode::kInvalidInput);
    EXPECT_NE(appender.error().message().find(name), std::string::npos) << appender.error().message();
  }
  for (const char* name : {"message", "intended_table", "headers", "key", "timestamp", "rejected_at"}) {
    schema::Schema schema = RejectsTableRequest().schema;
    std::erase_if(schema.fields, [&](const schema::Field& field) { return field.name == name; });
    EXPECT_TRUE(RejectsAppender::Create(schema).has_value()) << name;
  }
  // Not every record has one.
  for (const char* name : {"intended_table", "timestamp", "key", "value"}) {
    schema::Schema schema = RejectsTableRequest().schema;
    FieldOf(schema, name)->required = true;
    EXPECT_FALSE(RejectsAppender::Create(schema).has_value()) << name;
  }
}

TEST(RejectsTest, FieldsOfHeadersAreFoundByName) {
  auto with_headers = [](std::vector<std::pair<const char*, schema::TypeKind>> parts, bool value_required = false) {
    schema::Schema schema = RejectsTableRequest().schema;
    std::vector<schema::Field> fields;
    for (const auto& [name, kind] : parts) {
      fields.push_back({FieldId{100 + static_cast<int32_t>(fields.size())}, name, schema::Type::Primitive(kind)});
      fields.back().required = value_required && fields.back().name == "value";
    }
    FieldOf(schema, "headers")->type = schema::Type::List({FieldId{14}, "element", schema::Type::Struct(fields)});
    return schema;
  };
  using Kind = schema::TypeKind;
  schema::Schema schema =
      with_headers({{"value", Kind::kBinary}, {"note", Kind::kLong}, {"name", Kind::kString}});
  auto appender = RejectsAppender::Create(schema);
  ASSERT_TRUE(appender.has_value()) << appender.error().ToString();
  columnar::RowBuilder rows(schema);
  const stream::Header headers[] = {{"first", "\xff"}, {"second", std::nullopt}};
  const stream::Record record{.offset = 7, .value = "x", .headers = headers};
  (*appender)->Append(rows, record, {"c", "id", "flows", 3}, {}, "t", 5);
  auto batch = rows.Finish();
  ASSERT_TRUE(batch->ValidateFull().ok()) << batch->ValidateFull().ToString();
  const auto& lists = static_cast<const arrow::ListArray&>(*batch->GetColumnByName("headers"));
  const auto& entries = static_cast<const arrow::StructArray&>(*lists.values());
  EXPECT_EQ(static_cast<const arrow::BinaryArray&>(*entries.field(0)).GetString(0), "\xff");
  EXPECT_TRUE(entries.field(0)->IsNull(1));
  EXPECT_EQ(entries.field(1)->null_count(), 2);
  EXPECT_EQ(static_cast<const arrow::StringArray&>(*entries.field(2)).GetString(1), "second");
  for (const schema::Schema& bad :
       {with_headers({{"name", Kind::kString}, {"text", Kind::kBinary}}),
        with_headers({{"key", Kind::kString}, {"value", Kind::kBinary}}),
        with_headers({{"name", Kind::kLong}, {"value", Kind::kBinary}}),
        with_headers({{"name", Kind::kString}, {"value", Kind::kString}}),
        with_headers({{"name", Kind::kString}, {"value", Kind::kBinary}}, true)}) {
    EXPECT_FALSE(RejectsAppender::Create(bad).has_value());
  }
}

TEST(RejectsTest, ARowThatTheBatchHasNoRoomForIsLeftOut) {
  schema::Schema schema = RejectsTableRequest().schema;
  auto appender = std::move(RejectsAppender::Create(schema).value());
  columnar::RowBuilder rows(schema);
  const stream::SourcePartition partition{"c", "id", "flows", 3};
  appender->Append(rows, {.offset = 7, .key = "k", .value = "x"}, partition, {}, "t", 5);
  // The size alone is looked at: no byte of it is touched.
  const std::string_view huge("y", static_cast<size_t>(columnar::kColumnBytesMax));
  appender->Append(rows, {.offset = 8, .value = huge}, partition, {}, "t", 5);
  appender->Append(rows, {.offset = 9, .key = huge, .value = "x"}, partition, {}, "t", 5);
  EXPECT_EQ(rows.row_count(), 1);
  EXPECT_EQ(rows.Finish()->num_rows(), 1);
}

}  // namespace
}  // namespace firn::ingest
