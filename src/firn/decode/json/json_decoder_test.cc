// What docs/types.md cannot say in a row: options, own columns, counts, limits, hostile input, real logs. The table
// itself is tested in json_table_test.cc.
#include "firn/decode/json/json_decoder.h"

#include <arrow/api.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "firn/decode/json/testing/ocsf_event.h"
#include "firn/schema/type_parser.h"

namespace firn::decode::json {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

schema::Schema ParseColumns(const std::string& columns) {
  int32_t next_id = 1;
  Result<schema::TypePtr> type = schema::ParseTypeText("struct<" + columns + ">", next_id);
  EXPECT_TRUE(type.has_value()) << columns;
  schema::Schema schema;
  if (type.has_value()) schema.fields = (*type)->fields();
  return schema;
}

// A table, its decoder, and what they made of the records so far.
class Fixture {
 public:
  explicit Fixture(const std::string& columns, JsonDecoderOptions options = {})
      : schema(ParseColumns(columns)), rows(schema) {
    auto created = JsonDecoder::Create(schema, std::move(options));
    EXPECT_TRUE(created.has_value()) << (created ? "" : created.error().ToString());
    if (created.has_value()) decoder = std::move(*created);
  }
  bool Decode(std::string_view text) {
    // Exactly as many bytes, so that a read behind them is seen by the address sanitizer.
    std::vector<char> exact(text.begin(), text.end());
    record.value = std::string_view(exact.data(), exact.size());
    return decoder->Decode(record, partition, rows, reject);
  }
  std::string CodeOf(std::string_view text) {
    return Decode(text) ? "decoded" : std::string(RejectCodeName(reject.code));
  }

  schema::Schema schema;
  columnar::RowBuilder rows;
  std::unique_ptr<JsonDecoder> decoder;
  stream::Record record;
  stream::SourcePartition partition;
  Reject reject;
};

ErrorCode CreateError(const std::string& columns, const JsonDecoderOptions& options) {
  auto created = JsonDecoder::Create(ParseColumns(columns), options);
  return created.has_value() ? ErrorCode::kInternal : created.error().code();
}

std::string StringAt(const arrow::RecordBatch& batch, const std::string& column, int64_t row) {
  return static_cast<const arrow::StringArray&>(*batch.GetColumnByName(column)).GetString(row);
}

TEST(JsonDecoder, WhatAnotherColumnTakesIsNotCountedAsUnknown) {
  JsonDecoderOptions options;
  options.sources[FieldId{1}].path = {"x"};
  options.sources[FieldId{2}].path = {"x", "y"};
  Fixture text("b: string, c: int", options);
  ASSERT_TRUE(text.Decode(R"({"x": {"y": 7, "z": 1}, "w": 2})"));
  EXPECT_THAT(text.decoder->TakeUnknownFieldCounts().by_path, ElementsAre(Pair("w", 1)));
  // Still there after the names of unknown fields were dropped.
  ASSERT_TRUE(text.Decode(R"({"x": {"y": 7, "q": 1}})"));
  EXPECT_TRUE(text.decoder->TakeUnknownFieldCounts().by_path.empty());

  options.sources[FieldId{1}].path = {"x"};
  Fixture nested("m: map<string, struct<d: int>>", {});
  ASSERT_TRUE(nested.Decode(R"({"m": {"k": {"d": 1, "e": 2}}})"));
  EXPECT_THAT(nested.decoder->TakeUnknownFieldCounts().by_path, ElementsAre(Pair("m.*.e", 1)));
}

// Skipped where malloc is the sanitizer's, which tells nothing.
TEST(JsonDecoder, AHugeRecordsMemoryIsGivenBack) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "malloc is the sanitizer's";
#endif
  auto in_use = [] {
    struct mallinfo2 info = mallinfo2();
    return static_cast<int64_t>(info.uordblks + info.hblkhd);
  };
  Fixture table("a: map<string, int>");
  std::string huge = "{\"a\": {";
  for (int i = 0; i < 500'000; ++i) huge += fmt::format("{}\"k{}\\n\": 1", i == 0 ? "" : ",", i);
  huge += "}, \"a\": }";  // rejected at its end: the columns let go of it
  ASSERT_TRUE(table.Decode(R"({"a": {"k": 1}})"));
  const int64_t before = in_use();
  ASSERT_FALSE(table.Decode(huge));
  ASSERT_TRUE(table.Decode(R"({"a": {"k": 1}})"));  // the index of tokens goes with the next record
  table.rows.Finish();
  EXPECT_LT(in_use() - before, 4 << 20);
}

TEST(JsonDecoder, RefusesOptionsThatCannotWork) {
  JsonDecoderOptions options;
  options.depth_max = 0;
  EXPECT_EQ(CreateError("a: int", options), ErrorCode::kInvalidInput);
  options.depth_max = kDepthMaxLimit + 1;
  EXPECT_EQ(CreateError("a: int", options), ErrorCode::kInvalidInput);
  options = {};
  options.record_bytes_max = 0;
  EXPECT_EQ(CreateError("a: int", options), ErrorCode::kInvalidInput);
  options = {};
  options.unknown_fields = UnknownFields::kKeep;
  EXPECT_EQ(CreateError("a: int", options), ErrorCode::kInvalidInput);
  options.unknown_column = "a";
  EXPECT_EQ(CreateError("a: int", options), ErrorCode::kInvalidInput);
  options.unknown_column = "b";
  EXPECT_EQ(CreateError("a: string", options), ErrorCode::kInvalidInput);
  options = {};
  options.unknown_column = "a";
  EXPECT_EQ(CreateError("a: string", options), ErrorCode::kInvalidInput);
  options = {};
  options.raw_column = "a";
  EXPECT_EQ(CreateError("a: int", options), ErrorCode::kInvalidInput);
  options.unknown_fields = UnknownFields::kKeep;
  options.unknown_column = "a";
  EXPECT_EQ(CreateError("a: string", options), ErrorCode::kInvalidInput);
}

TEST(JsonDecoder, RefusesSourcesThatCannotBeFollowed) {
  JsonDecoderOptions options;
  options.sources[FieldId{99}].path = {"x"};
  EXPECT_EQ(CreateError("a: int", options), ErrorCode::kInvalidInput);
  options.sources.clear();
  schema::Schema schema = ParseColumns("a: list<struct<b: timestamptz>>");
  FieldId inner = schema.FindByName("a.element.b")->id;
  options.sources[inner].path = {"x"};
  EXPECT_EQ(JsonDecoder::Create(schema, options).error().code(), ErrorCode::kInvalidInput);
  options.sources[inner] = {{}, EpochUnit::kSeconds, {}};  // a unit alone is fine there
  EXPECT_TRUE(JsonDecoder::Create(schema, options).has_value());
  options.raw_column = "r";
  schema = ParseColumns("r: string");
  options.sources.clear();
  options.sources[schema.fields[0].id].path = {"x"};
  EXPECT_EQ(JsonDecoder::Create(schema, options).error().code(), ErrorCode::kInvalidInput);
  // Two structs assembled from one object.
  options = {};
  schema = ParseColumns("a: struct<x: int, y: int>, b: struct<x: int, y: int>");
  options.sources[schema.fields[1].id].path = {"a"};
  options.sources[schema.FindByName("a.x")->id].path = {"q"};
  options.sources[schema.FindByName("b.x")->id].path = {"q"};
  EXPECT_EQ(JsonDecoder::Create(schema, options).error().code(), ErrorCode::kInvalidInput);
}

TEST(JsonDecoder, RefusesTypesThatJsonCannotFill) {
  EXPECT_EQ(CreateError("a: map<struct<b: int>, int>", {}), ErrorCode::kUnsupported);
  schema::Schema schema = ParseColumns("a: int");
  for (schema::TypeKind kind : {schema::TypeKind::kVariant, schema::TypeKind::kUnknown}) {
    schema.fields[0].type = schema::Type::Primitive(kind);
    EXPECT_EQ(JsonDecoder::Create(schema, {}).error().code(), ErrorCode::kUnsupported);
  }
}

TEST(JsonDecoder, TombstonesAndEmptyValues) {
  Fixture table("a: int");
  table.record.value = std::nullopt;
  EXPECT_FALSE(table.decoder->Decode(table.record, table.partition, table.rows, table.reject));
  EXPECT_EQ(table.reject.code, RejectCode::kTombstone);
  EXPECT_EQ(table.CodeOf(""), "empty_value");
  EXPECT_EQ(table.rows.row_count(), 0);
}

TEST(JsonDecoder, BytesThatAreNoUtf8) {
  Fixture table("a: string");
  EXPECT_EQ(table.CodeOf("{\"a\":\"\xff\"}"), "invalid_utf8");
  EXPECT_EQ(table.CodeOf("{\"a\":\"\xc3\"}"), "invalid_utf8");          // cut off
  EXPECT_EQ(table.CodeOf("{\"a\":\"\xc0\xaf\"}"), "invalid_utf8");      // overlong
  EXPECT_EQ(table.CodeOf("{\"a\":\"\xed\xa0\x80\"}"), "invalid_utf8");  // a surrogate
  EXPECT_EQ(table.CodeOf("{\"a\":\"\xf4\x90\x80\x80\"}"), "invalid_utf8");
  EXPECT_EQ(table.CodeOf("{\"z\":\"\xff\"}"), "invalid_utf8");          // where no column looks
  EXPECT_EQ(table.CodeOf("\xef\xbb\xbf{\"a\":\"x\"}"), "malformed_json");  // a byte order mark
  EXPECT_EQ(table.CodeOf(std::string_view("{\"a\":\"\0\"}", 9)), "malformed_json");
  EXPECT_EQ(table.CodeOf(std::string_view("{\"a\":1}\0", 8)), "malformed_json");
  EXPECT_EQ(table.CodeOf("{\"a\":\"line\nbreak\"}"), "malformed_json");
  EXPECT_EQ(table.CodeOf("{\"a\":\"\xc3\xa9\"}"), "decoded");
}

TEST(JsonDecoder, EveryPrefixOfARecordIsRejectedAndLeavesNothing) {
  testing::OcsfEvents events(7, false);
  std::string event = events.Next();
  Fixture table(testing::kOcsfColumns);
  ASSERT_TRUE(table.Decode(event));
  for (size_t length = 1; length < event.size(); ++length) {
    EXPECT_EQ(table.CodeOf(event.substr(0, length)), "malformed_json") << length;
  }
  auto batch = table.rows.Finish();
  EXPECT_EQ(batch->num_rows(), 1);
  EXPECT_TRUE(batch->ValidateFull().ok());
}

TEST(JsonDecoder, GoodAndBadRecordsInAnyOrderGiveTheGoodOnes) {
  testing::OcsfEvents plain(1, false);
  testing::OcsfEvents shuffled(2, true);
  std::mt19937 random(3);
  Fixture mixed(testing::kOcsfColumns);
  Fixture good(testing::kOcsfColumns);
  for (int i = 0; i < 2000; ++i) {
    std::string event = i % 3 == 0 ? shuffled.Next() : plain.Next();
    ASSERT_TRUE(mixed.Decode(event));
    ASSERT_TRUE(good.Decode(event));
    // One byte somewhere becomes another: mostly a reject, sometimes another good record.
    std::string broken = plain.Next();
    broken[random() % broken.size()] = "\"{}[]:,\\x0"[random() % 10];
    if (!mixed.Decode(broken)) continue;
    ASSERT_TRUE(good.Decode(broken));
  }
  auto left = mixed.rows.Finish();
  EXPECT_TRUE(left->ValidateFull().ok());
  EXPECT_TRUE(left->Equals(*good.rows.Finish()));
}

TEST(JsonDecoder, KeyOrderDoesNotMatter) {
  std::string text = R"({"b":2,"a":1,"s":{"y":"q","x":[1,2]}})";
  Fixture one("a: int, b: int, s: struct<x: list<int>, y: string>");
  Fixture two("a: int, b: int, s: struct<x: list<int>, y: string>");
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(one.Decode(text));
    ASSERT_TRUE(two.Decode(i % 2 == 0 ? R"({"s":{"x":[1,2],"y":"q"},"a":1,"b":2})" : text));
  }
  EXPECT_TRUE(one.rows.Finish()->Equals(*two.rows.Finish()));
}

TEST(JsonDecoder, OneDecoderServesSeveralBuilders) {
  Fixture table("a: int, b: string");
  columnar::RowBuilder other(table.schema);
  table.record.value = R"({"a":1,"b":"x"})";
  ASSERT_TRUE(table.decoder->Decode(table.record, table.partition, table.rows, table.reject));
  ASSERT_TRUE(table.decoder->Decode(table.record, table.partition, other, table.reject));
  ASSERT_TRUE(table.decoder->Decode(table.record, table.partition, other, table.reject));
  EXPECT_EQ(table.rows.Finish()->num_rows(), 1);
  EXPECT_EQ(other.Finish()->num_rows(), 2);
  ASSERT_TRUE(table.decoder->Decode(table.record, table.partition, other, table.reject));
  EXPECT_EQ(StringAt(*other.Finish(), "b", 0), "x");
}

TEST(JsonDecoder, CountsUnknownFieldsByPath) {
  Fixture table("a: struct<x: int>, l: list<struct<y: int>>, m: map<string, struct<z: int>>");
  ASSERT_TRUE(table.Decode(R"({"a":{"q":1},"l":[{"p":true},{"p":false}],"m":{"k":{"o":null}},"top":{"in":[1]}})"));
  ASSERT_TRUE(table.Decode(R"({"top":2,"\u0074op2":"two"})"));
  UnknownFieldCounts counts = table.decoder->TakeUnknownFieldCounts();
  EXPECT_THAT(counts.by_path, ElementsAre(Pair("a.q", 1), Pair("l[].p", 2), Pair("m.*.o", 1), Pair("top", 2),
                                          Pair("top2", 1)));
  EXPECT_THAT(counts.sample_by_path, ElementsAre(Pair("a.q", "1"), Pair("l[].p", "true"), Pair("m.*.o", "null"),
                                                 Pair("top", R"({"in":[1]})"), Pair("top2", "\"two\"")));
  EXPECT_EQ(counts.beyond_the_limit, 0U);
  EXPECT_TRUE(table.decoder->TakeUnknownFieldCounts().by_path.empty());
  ASSERT_TRUE(table.Decode(R"({"top":3})"));
  EXPECT_THAT(table.decoder->TakeUnknownFieldCounts().by_path, ElementsAre(Pair("top", 1)));
}

TEST(JsonDecoder, KnowsUnknownNamesOnlyUpToALimit) {
  Fixture table("a: int");
  std::string text = "{\"a\":1";
  std::string value(300, 'v');
  for (size_t i = 0; i < kUnknownFieldNamesMax + 500; ++i) text += fmt::format(",\"k{}\":\"{}\"", i, value);
  text += "}";
  ASSERT_TRUE(table.Decode(text));
  ASSERT_TRUE(table.Decode(text));
  UnknownFieldCounts counts = table.decoder->TakeUnknownFieldCounts();
  EXPECT_EQ(counts.by_path.size(), kUnknownFieldNamesMax);
  EXPECT_EQ(counts.by_path["k0"], 2U);
  EXPECT_EQ(counts.beyond_the_limit, 1000U);
  EXPECT_LE(counts.sample_by_path["k0"].size(), 100U);
}

TEST(JsonDecoder, RejectMessagesAreBounded) {
  Fixture table("a: int");
  EXPECT_EQ(table.CodeOf("{\"a\":\"" + std::string(100'000, 'x') + "\"}"), "wrong_type");
  EXPECT_LT(table.reject.message.size(), 600U);
  std::string deep = "{";
  for (int i = 0; i < 60; ++i) deep += "\"" + std::string(1000, 'k') + "\":{";
  EXPECT_EQ(table.CodeOf(deep), "malformed_json");
  EXPECT_LT(table.reject.message.size(), 600U);
}

TEST(JsonDecoder, DepthIsBoundedForEveryShape) {
  JsonDecoderOptions options;
  options.depth_max = kDepthMaxLimit;
  Fixture table("a: string, b: list<list<int>>", options);
  auto nested = [](const std::string& key, size_t depth, char open, char close) {
    return "{\"" + key + "\":" + std::string(depth, open) + std::string(depth, close) + "}";
  };
  EXPECT_EQ(table.CodeOf(nested("a", 999, '[', ']')), "decoded");
  EXPECT_EQ(table.CodeOf(nested("a", 1000, '[', ']')), "too_deep");
  EXPECT_EQ(table.CodeOf(nested("z", 1000, '[', ']')), "too_deep");
  EXPECT_EQ(table.CodeOf(nested("z", 1'000'000, '[', ']')), "too_deep");
  EXPECT_EQ(table.CodeOf(nested("b", 3, '[', ']')), "wrong_type");
  EXPECT_EQ(table.CodeOf(nested("a", 5, '{', '}')), "malformed_json");
  std::string objects;
  for (int i = 0; i < 200'000; ++i) objects += "{\"a\":";
  EXPECT_EQ(table.CodeOf(objects + "1" + std::string(200'000, '}')), "too_deep");
  EXPECT_EQ(table.CodeOf(std::string(100'000, '[') + std::string(100'000, ']')), "too_deep");
}

TEST(JsonDecoder, LargeRecordsAndTheNextSmallOne) {
  Fixture table("a: string, b: list<int>");
  std::string large(3 << 20, 'x');
  ASSERT_TRUE(table.Decode("{\"a\":\"" + large + "\"}"));
  ASSERT_TRUE(table.Decode(R"({"a":"small"})"));
  std::string many = "{\"b\":[1";
  for (int i = 0; i < 500'000; ++i) many += ",1";
  ASSERT_TRUE(table.Decode(many + "]}"));
  ASSERT_TRUE(table.Decode(R"({"a":"small"})"));
  auto batch = table.rows.Finish();
  EXPECT_TRUE(batch->ValidateFull().ok());
  EXPECT_EQ(StringAt(*batch, "a", 0), large);
  EXPECT_EQ(static_cast<const arrow::ListArray&>(*batch->column(1)).value_length(2), 500'001);
}

TEST(JsonDecoder, WritesTheRecordItselfIntoTheRawColumn) {
  for (const char* type : {"string", "binary"}) {
    JsonDecoderOptions options;
    options.raw_column = "_raw";
    Fixture table(std::string("a: int, _raw: ") + type, options);
    std::string text = " {\"a\" : 1,  \"_raw\":\"taken as any other key\"} ";
    ASSERT_TRUE(table.Decode(text));
    EXPECT_EQ(table.CodeOf("{\"a\":true}"), "wrong_type");
    auto batch = table.rows.Finish();
    EXPECT_TRUE(batch->ValidateFull().ok());
    EXPECT_EQ(static_cast<const arrow::BinaryArray&>(*batch->column(1)).GetString(0), text);
    EXPECT_EQ(table.decoder->TakeUnknownFieldCounts().by_path.size(), 1U);
  }
}

schema::Schema KafkaSchema(schema::TypePtr type) {
  schema::Schema schema = ParseColumns("a: int");
  schema::Field field;
  field.id = FieldId{50};
  field.name = "_kafka";
  field.type = std::move(type);
  schema.fields.push_back(field);
  return schema;
}

TEST(JsonDecoder, WritesKafkaMetadata) {
  schema::Schema schema = KafkaSchema(KafkaColumnType());
  JsonDecoderOptions options;
  options.kafka_column = "_kafka";
  auto decoder = std::move(JsonDecoder::Create(schema, options).value());
  columnar::RowBuilder rows(schema);
  stream::Header headers[] = {{"trace", "t1"}, {"bad\xff", std::nullopt}};
  stream::Record record;
  record.value = R"({"a":1})";
  record.offset = 42;
  record.timestamp_ms = 1'700'000'000'123;
  record.timestamp_type = stream::TimestampType::kCreateTime;
  record.key = "k\xff";
  record.headers = headers;
  stream::SourcePartition partition{"c", "t-id", "topic-a", 7};
  Reject reject;
  ASSERT_TRUE(decoder->Decode(record, partition, rows, reject));
  stream::Record bare;
  bare.value = R"({"a":2})";
  bare.timestamp_ms = INT64_MAX;  // a producer may send anything
  ASSERT_TRUE(decoder->Decode(bare, partition, rows, reject));
  auto batch = rows.Finish();
  ASSERT_TRUE(batch->ValidateFull().ok()) << batch->ValidateFull().ToString();
  const auto& kafka = static_cast<const arrow::StructArray&>(*batch->column(1));
  EXPECT_EQ(static_cast<const arrow::StringArray&>(*kafka.field(0)).GetString(0), "topic-a");
  EXPECT_EQ(static_cast<const arrow::Int32Array&>(*kafka.field(1)).Value(0), 7);
  EXPECT_EQ(static_cast<const arrow::Int64Array&>(*kafka.field(2)).Value(0), 42);
  EXPECT_EQ(static_cast<const arrow::TimestampArray&>(*kafka.field(3)).Value(0), 1'700'000'000'123'000);
  EXPECT_TRUE(kafka.field(3)->IsNull(1));
  EXPECT_EQ(static_cast<const arrow::StringArray&>(*kafka.field(4)).GetString(0), "create_time");
  EXPECT_TRUE(kafka.field(4)->IsNull(1));
  EXPECT_EQ(static_cast<const arrow::BinaryArray&>(*kafka.field(5)).GetString(0), "k\xff");
  EXPECT_TRUE(kafka.field(5)->IsNull(1));
  const auto& list = static_cast<const arrow::ListArray&>(*kafka.field(6));
  EXPECT_EQ(list.value_length(0), 2);
  EXPECT_EQ(list.value_length(1), 0);
  const auto& entries = static_cast<const arrow::StructArray&>(*list.values());
  EXPECT_EQ(static_cast<const arrow::StringArray&>(*entries.field(0)).GetString(1), "bad\xef\xbf\xbd");
  EXPECT_TRUE(entries.field(1)->IsNull(1));
}

TEST(JsonDecoder, TakesASubsetOfTheKafkaFields) {
  JsonDecoderOptions options;
  options.kafka_column = "k";
  Fixture table("a: int, k: struct<key: string, offset: long not null, of_somebody_else: double>", options);
  table.record.key = "id\xfe";
  table.record.offset = 9;
  ASSERT_TRUE(table.Decode(R"({"a":1})"));
  auto batch = table.rows.Finish();
  ASSERT_TRUE(batch->ValidateFull().ok());
  const auto& kafka = static_cast<const arrow::StructArray&>(*batch->column(1));
  EXPECT_EQ(static_cast<const arrow::StringArray&>(*kafka.field(0)).GetString(0), "id\xef\xbf\xbd");
  EXPECT_EQ(static_cast<const arrow::Int64Array&>(*kafka.field(1)).Value(0), 9);
  EXPECT_TRUE(kafka.field(2)->IsNull(0));
  for (const char* columns : {"k: string", "k: struct<topic: int>", "k: struct<partition: long>",
                              "k: struct<timestamp: long>", "k: struct<headers: string>", "k: struct<x: int not null>",
                              "k: struct<headers: list<struct<name: int>>>", "k: struct<key: int>"}) {
    EXPECT_EQ(CreateError(columns, options), ErrorCode::kInvalidInput) << columns;
  }
  Fixture strict("a: int, k: struct<key: binary not null>", options);
  EXPECT_EQ(strict.CodeOf(R"({"a":1})"), "missing_required");
  EXPECT_EQ(strict.rows.Finish()->num_rows(), 0);
}

TEST(JsonDecoder, AHeaderWithoutItsRequiredValueIsAReject) {
  JsonDecoderOptions options;
  options.kafka_column = "k";
  Fixture table("a: int, k: struct<headers: list<struct<name: string, value: string not null>>>", options);
  const stream::Header headers[] = {{"first", "1"}, {"second", std::nullopt}};
  table.record.headers = headers;
  EXPECT_EQ(table.CodeOf(R"({"a":1})"), "missing_required");
  table.record.headers = std::span(headers).first(1);
  EXPECT_EQ(table.CodeOf(R"({"a":1})"), "decoded");
  auto batch = table.rows.Finish();
  ASSERT_TRUE(batch->ValidateFull().ok()) << batch->ValidateFull().ToString();
  const auto& kafka = static_cast<const arrow::StructArray&>(*batch->column(1));
  EXPECT_EQ(static_cast<const arrow::ListArray&>(*kafka.field(0)).value_length(0), 1);
}

// Two bytes of text may stand for an element of a thousand columns.
TEST(JsonDecoder, ElementsThatWouldOutgrowMemoryAreTooLarge) {
  auto repeated = [](int64_t count, const std::string& element) {
    std::string text = "{\"l\":[";
    for (int64_t i = 0; i < count; ++i) text += (i == 0 ? "" : ",") + element;
    return text + "]}";
  };
  std::string wide = "l: list<struct<f0: long";
  for (int i = 1; i < 1000; ++i) wide += fmt::format(", f{}: long", i);
  Fixture table(wide + ">>");
  const int64_t fitting = (int64_t{64} << 20) / 8000;
  EXPECT_EQ(table.CodeOf(repeated(fitting + 1, "{}")), "too_large");
  EXPECT_NE(table.reject.message.find("'l'"), std::string::npos) << table.reject.message;
  EXPECT_EQ(table.CodeOf(repeated(fitting, "{}")), "decoded");
  EXPECT_EQ(table.CodeOf(repeated(1, "{}")), "decoded");
  EXPECT_EQ(table.rows.Finish()->num_rows(), 2);
  // One list of a record that is as long as may be.
  Fixture numbers("l: list<long>");
  EXPECT_EQ(numbers.CodeOf(repeated((int64_t{8} << 20) - 10, "1")), "decoded");
  Fixture nested("l: list<list<list<int>>>, m: map<string, decimal(9, 2)>");
  EXPECT_EQ(nested.CodeOf(repeated(100'000, "[[],[]]")), "decoded");
}

TEST(JsonDecoder, ColumnsMayHaveUnitsOfTheirOwn) {
  schema::Schema schema = ParseColumns("s: timestamptz, m: timestamptz, h: binary, b: binary, l: list<timestamptz>");
  JsonDecoderOptions options;
  options.sources[schema.fields[0].id].epoch_unit = EpochUnit::kSeconds;
  options.sources[schema.fields[2].id].binary_text = BinaryText::kHex;
  options.sources[schema.fields[4].type->element().id].epoch_unit = EpochUnit::kNanos;
  auto decoder = std::move(JsonDecoder::Create(schema, options).value());
  columnar::RowBuilder rows(schema);
  stream::Record record;
  record.value = R"({"s":1,"m":1,"h":"00","b":"AAAA","l":[1000]})";
  Reject reject;
  ASSERT_TRUE(decoder->Decode(record, {}, rows, reject)) << reject.message;
  auto batch = rows.Finish();
  EXPECT_EQ(static_cast<const arrow::TimestampArray&>(*batch->column(0)).Value(0), 1'000'000);
  EXPECT_EQ(static_cast<const arrow::TimestampArray&>(*batch->column(1)).Value(0), 1'000);
  EXPECT_EQ(static_cast<const arrow::BinaryArray&>(*batch->column(2)).GetString(0), std::string(1, '\0'));
  EXPECT_EQ(static_cast<const arrow::BinaryArray&>(*batch->column(3)).GetString(0), std::string(3, '\0'));
  const auto& list = static_cast<const arrow::ListArray&>(*batch->column(4));
  EXPECT_EQ(static_cast<const arrow::TimestampArray&>(*list.values()).Value(0), 1);
}

TEST(JsonDecoder, NamesRequiredColumnsThatNothingFills) {
  schema::Schema schema = ParseColumns(
      "a: int not null, b: int, c: struct<d: int not null, e: int> not null, f: struct<g: int not null>, "
      "h: string not null, i: int not null");
  JsonDecoderOptions options;
  options.raw_column = "h";
  options.sources[schema.FindByName("i")->id].path = {"x", "y"};
  EXPECT_THAT(RequiredColumnsWithoutSource(schema, options), ElementsAre("a", "c", "c.d"));
}

// Sums up what a folder of newline-delimited real logs becomes; every line is either a row or a reject, and never both.
TEST(JsonDecoder, RealLogsBecomeRows) {
  const char* shared = std::getenv("FIRN_SHARED_DIR");
  const char* source = std::getenv("FIRN_SOURCE_DIR");
  std::filesystem::path folder =
      shared != nullptr ? shared : std::filesystem::path(source == nullptr ? "." : source) / ".." / "shared";
  folder /= "samples";
  if (!std::filesystem::is_directory(folder)) GTEST_SKIP() << "no sample logs here: " << folder;
  JsonDecoderOptions options;
  options.unknown_fields = UnknownFields::kKeep;
  options.unknown_column = "rest";
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".ndjson") continue;
    ++files;
    Fixture table("eventTime: timestamptz, time: timestamptz, published: timestamptz, userIdentity: string, "
                  "requestParameters: string, eventName: string, id_orig_p: int, protoPayload: string, "
                  "actor: struct<id: string, type: string>, rest: string", options);
    std::ifstream file(entry.path());
    int64_t lines = 0;
    int64_t rejects = 0;
    for (std::string line; std::getline(file, line); ++lines) {
      if (!table.Decode(line)) ++rejects;
      EXPECT_TRUE(rejects == 0 || table.reject.code != RejectCode::kMalformedJson) << line;
    }
    auto batch = table.rows.Finish();
    EXPECT_TRUE(batch->ValidateFull().ok()) << entry.path();
    EXPECT_EQ(batch->num_rows() + rejects, lines);
    EXPECT_LE(rejects * 10, lines) << entry.path() << ": " << table.reject.message;
  }
  EXPECT_GT(files, 0U);
}

}  // namespace
}  // namespace firn::decode::json
