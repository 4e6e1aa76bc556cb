#include "firn/decode/json/infer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "firn/columnar/column_builder.h"
#include "firn/decode/json/testing/ocsf_event.h"

namespace firn::decode::json {
namespace {

std::vector<std::string> Times(size_t count, std::vector<std::string> samples) {
  std::vector<std::string> all;
  for (size_t i = 0; i < count; ++i) all.insert(all.end(), samples.begin(), samples.end());
  return all;
}

InferredSchema Infer(const std::vector<std::string>& samples, const InferOptions& options = {}) {
  Result<InferredSchema> result = InferSchema(samples, options);
  EXPECT_TRUE(result.has_value());
  return result.has_value() ? std::move(*result) : InferredSchema{};
}

std::string TypeOf(const InferredSchema& result, const std::string& name) {
  const schema::Field* field = result.schema.FindByName(name);
  return field == nullptr ? "none" : field->type->ToString();
}

const InferredColumn& Column(const InferredSchema& result, const std::string& name) {
  for (const InferredColumn& column : result.columns) {
    if (column.name == name) return column;
  }
  ADD_FAILURE() << name;
  return result.columns.front();
}

// The proposal must take the samples that it was made of.
void ExpectTakesAll(const InferredSchema& result, const std::vector<std::string>& samples, uint64_t unusable = 0) {
  JsonDecoderOptions options;
  options.sources = result.sources;
  auto decoder = JsonDecoder::Create(result.schema, options);
  ASSERT_TRUE(decoder.has_value()) << decoder.error().ToString();
  columnar::RowBuilder rows(result.schema);
  uint64_t rejects = 0;
  for (const std::string& sample : samples) {
    stream::Record record;
    record.value = sample;
    Reject reject;
    if (!(*decoder)->Decode(record, {}, rows, reject)) ++rejects;
    EXPECT_LE(rejects, unusable) << reject.message;
  }
  EXPECT_EQ(rejects, unusable);
}

TEST(InferSchema, ScalarTypes) {
  std::vector<std::string> samples = Times(5, {
      R"({"b":true,"i":443,"l":5000000000,"d":0.5,"s":"x","u":"f79c3e09-677c-4bbd-a479-3f349cb785e7","n":null,)"
      R"("day":"2024-01-31","t":"2024-01-31T12:00:00Z","big":18446744073709551615,"id":"007","md5":)"
      R"("d41d8cd98f00b204e9800998ecf8427e"})"});
  InferredSchema result = Infer(samples);
  EXPECT_EQ(TypeOf(result, "b"), "boolean");
  EXPECT_EQ(TypeOf(result, "i"), "int");
  EXPECT_EQ(TypeOf(result, "l"), "long");
  EXPECT_EQ(TypeOf(result, "d"), "double");
  EXPECT_EQ(TypeOf(result, "s"), "string");
  EXPECT_EQ(TypeOf(result, "u"), "uuid");
  EXPECT_EQ(TypeOf(result, "n"), "string");
  EXPECT_EQ(TypeOf(result, "day"), "date");
  EXPECT_EQ(TypeOf(result, "t"), "timestamptz");
  EXPECT_EQ(TypeOf(result, "big"), "decimal(20, 0)");
  EXPECT_EQ(TypeOf(result, "id"), "string");
  EXPECT_EQ(TypeOf(result, "md5"), "string");
  EXPECT_EQ(Column(result, "b").confidence, Confidence::kHigh);
  EXPECT_EQ(Column(result, "n").confidence, Confidence::kLow);
  EXPECT_EQ(Column(result, "n").nulls, 5U);
  EXPECT_EQ(result.record_count, 5U);
  ExpectTakesAll(result, samples);
}

TEST(InferSchema, WidensAndFallsBackToText) {
  std::vector<std::string> samples = {
      R"({"a":1,"b":1,"c":1,"d":1,"e":true,"f":"2024-01-31T00:00:00Z","g":"f79c3e09-677c-4bbd-a479-3f349cb785e7"})",
      R"({"a":3000000000,"b":1.5,"c":"2","d":"x","e":"no","f":"2024-01-31","g":""})",
      R"({"a":-1,"b":2,"c":3,"d":{},"e":1,"f":"2024-01-31 00:00:00","g":"f79c3e09-677c-4bbd-a479-3f349cb785e7"})"};
  InferredSchema result = Infer(samples);
  EXPECT_EQ(TypeOf(result, "a"), "long");
  EXPECT_EQ(TypeOf(result, "b"), "double");
  EXPECT_EQ(TypeOf(result, "c"), "int");
  EXPECT_EQ(TypeOf(result, "d"), "string");
  EXPECT_EQ(Column(result, "d").confidence, Confidence::kLow);
  samples.pop_back();
  // Booleans beside texts: a boolean column would refuse the texts, and a string column takes both.
  EXPECT_EQ(TypeOf(Infer(samples), "e"), "string");
  EXPECT_EQ(TypeOf(result, "f"), "timestamptz");
  EXPECT_EQ(Column(result, "f").confidence, Confidence::kMedium);
  EXPECT_EQ(TypeOf(result, "g"), "string");
  ExpectTakesAll(result, samples);
}

TEST(InferSchema, EpochNumbersByNameAndMagnitude) {
  std::vector<std::string> samples = Times(5, {
      R"({"time":1706704496789,"ts":1588205199.82437,"startTs":1706704496,"createdAt":1706704496789123,)"
      R"("event_time_ns":1706704496789123456,"packets":1706704496,"uptime":12,"mixed_time":1706704496})",
      R"({"mixed_time":1706704496789})"});
  InferredSchema result = Infer(samples);
  EXPECT_EQ(Column(result, "time").epoch_unit, EpochUnit::kMillis);
  EXPECT_EQ(Column(result, "ts").epoch_unit, EpochUnit::kSeconds);
  EXPECT_EQ(Column(result, "startTs").epoch_unit, EpochUnit::kSeconds);
  EXPECT_EQ(Column(result, "createdAt").epoch_unit, EpochUnit::kMicros);
  EXPECT_EQ(Column(result, "event_time_ns").epoch_unit, EpochUnit::kNanos);
  EXPECT_EQ(Column(result, "mixed_time").epoch_unit, EpochUnit::kAuto);
  EXPECT_EQ(TypeOf(result, "ts"), "timestamptz");
  EXPECT_EQ(TypeOf(result, "packets"), "long");
  EXPECT_EQ(TypeOf(result, "uptime"), "int");
  EXPECT_EQ(Column(result, "time").confidence, Confidence::kMedium);
  ExpectTakesAll(result, samples);
}

TEST(InferSchema, NestedAndFreeForm) {
  std::vector<std::string> samples;
  for (int i = 0; i < 40; ++i) {
    samples.push_back(R"({"src":{"ip":"10.0.0.1","port":)" + std::to_string(i) + R"(},"list":[{"a":1},{"b":"x"}],)" +
                      R"("tags":["x"],"none":[],"empty":{},"free":{"k)" + std::to_string(i) + R"(":{"x":1}}})");
  }
  InferOptions options;
  options.distinct_keys_max = 20;
  InferredSchema result = Infer(samples, options);
  EXPECT_EQ(TypeOf(result, "src.port"), "int");
  EXPECT_EQ(TypeOf(result, "list.element.a"), "int");
  EXPECT_EQ(TypeOf(result, "list.element.b"), "string");
  EXPECT_EQ(TypeOf(result, "tags.element"), "string");
  EXPECT_EQ(TypeOf(result, "none.element"), "string");
  EXPECT_EQ(Column(result, "none").confidence, Confidence::kLow);
  EXPECT_EQ(TypeOf(result, "empty"), "string");
  EXPECT_EQ(TypeOf(result, "free"), "string");
  EXPECT_EQ(Column(result, "list.element").present, 80U);
  ExpectTakesAll(result, samples);
  options.depth_max = 0;
  EXPECT_EQ(TypeOf(Infer(samples, options), "src"), "string");
}

TEST(InferSchema, KeysThatDifferOnlyInCase) {
  InferredSchema result = Infer({R"({"awsregion":"a","":1})", R"({"awsRegion":"a"})", R"({"awsRegion":"b"})"});
  ASSERT_EQ(result.schema.fields.size(), 1U);
  EXPECT_EQ(result.schema.fields[0].name, "awsRegion");
  EXPECT_EQ(result.notes.size(), 2U);
}

TEST(InferSchema, HostileSamples) {
  EXPECT_EQ(InferSchema({}, {}).error().code(), ErrorCode::kInvalidInput);
  std::vector<std::string> none = {"", "[]", "1", "{", "\xff"};
  EXPECT_EQ(InferSchema(none, {}).error().code(), ErrorCode::kInvalidInput);
  std::string deep = "{\"a\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
  std::string wide = "{";
  for (int i = 0; i < 5000; ++i) wide += (i > 0 ? ",\"k" : "\"k") + std::to_string(i) + "\":" + std::to_string(i);
  InferredSchema result = Infer({deep, wide + "}", "not json"});
  EXPECT_EQ(result.unusable_count, 1U);
  EXPECT_EQ(result.schema.fields.size(), kInferredColumnsMax);
  EXPECT_FALSE(result.notes.empty());
}

TEST(InferSchema, ProposalsTakeTheirSamples) {
  testing::OcsfEvents events(5, true);
  std::vector<std::string> samples;
  for (int i = 0; i < 200; ++i) samples.push_back(events.Next());
  InferredSchema result = Infer(samples);
  EXPECT_EQ(TypeOf(result, "time"), "timestamptz");
  EXPECT_EQ(TypeOf(result, "metadata.logged_time"), "timestamptz");
  EXPECT_EQ(TypeOf(result, "traffic.bytes_in"), "int");
  EXPECT_EQ(TypeOf(result, "observables.element.value"), "string");
  ExpectTakesAll(result, samples);
}

TEST(InferSchema, ProposalsTakeRealLogs) {
  const char* shared = std::getenv("FIRN_SHARED_DIR");
  const char* source = std::getenv("FIRN_SOURCE_DIR");
  std::filesystem::path folder =
      shared != nullptr ? shared : std::filesystem::path(source == nullptr ? "." : source) / ".." / "shared";
  folder /= "samples";
  if (!std::filesystem::is_directory(folder)) GTEST_SKIP() << "no sample logs here: " << folder;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".ndjson") continue;
    SCOPED_TRACE(entry.path().string());
    std::vector<std::string> samples;
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) samples.push_back(line);
    InferredSchema result = Infer(samples);
    EXPECT_EQ(result.unusable_count, 0U);
    ExpectTakesAll(result, samples);
  }
}

}  // namespace
}  // namespace firn::decode::json
