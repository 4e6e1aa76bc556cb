// Random records of random tables, by the decoder and by the reference over an index: equal rows, rejects and counts.
// FIRN_DIFFERENTIAL_TABLES is how many tables (default 400, each with 60 records), FIRN_DIFFERENTIAL_SEED the first.
#include <gtest/gtest.h>

#include <cstdlib>

#include "firn/decode/json/testing/json_differential.h"
#include "firn/decode/json/testing/ocsf_event.h"

namespace firn::decode::json::testing {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(JsonDifferential, RandomTablesAndRecords) {
  const uint64_t tables = FromEnvironment("FIRN_DIFFERENTIAL_TABLES", 400);
  const uint64_t first = FromEnvironment("FIRN_DIFFERENTIAL_SEED", 1);
  uint64_t rows = 0;
  uint64_t records = 0;
  for (uint64_t seed = first; seed < first + tables; ++seed) {
    SCOPED_TRACE(seed);
    Engine random(seed);
    schema::Schema schema = seed % 16 == 0 ? TableOfEveryType() : RandomTable(random);
    JsonDecoderOptions options = RandomOptions(schema, random);
    if (!JsonDecoder::Create(schema, options).has_value()) continue;  // paths that cannot go together
    Differential differential(schema, options);
    for (int i = 0; i < 60; ++i, ++records) {
      // Three shapes, and every order of keys.
      rows += differential.Decode(RandomRecord(schema, random() % 4, random)) ? 1 : 0;
      if (i % 20 == 19) differential.CompareRows();
    }
  }
  // Neither all rows nor all rejects: both sides of every rule were walked.
  EXPECT_GT(rows, records / 5);
  EXPECT_LT(rows, records * 4 / 5);
}

TEST(JsonDifferential, EventsWithEveryByteBroken) {
  const schema::Schema schema = [] {
    Engine random(1);
    return TableOfEveryType();
  }();
  Differential differential(schema, {});
  Engine random(5);
  const std::string record =
      R"({"b":true,"i":-12,"l":12345678901,"d":1.5,"tz":1763769600123,"s":"a text","st":{"a":1,"in":{"x":"y","y":[1]}})"
      R"(,"li":[["x"],[]],"ls":[{"a":1,"b":{"k":2}}],"mi":{"1":"one"},"z":{"q":[null,"\n"]})"
      R"(,"ts":"2024-01-31T00:00:00"})";
  ASSERT_TRUE(differential.Decode(record));
  for (size_t at = 0; at < record.size(); ++at) {
    for (char c : {'"', '\\', '{', '}', ',', ':', '0', ' ', '\x01', '\xff', 'e'}) {
      std::string broken = record;
      broken[at] = c;
      differential.Decode(broken);
    }
    differential.Decode(record.substr(0, at));
  }
  differential.CompareRows();
}

}  // namespace
}  // namespace firn::decode::json::testing
