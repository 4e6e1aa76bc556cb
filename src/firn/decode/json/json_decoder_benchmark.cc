// What a record of about 950 bytes costs from bytes to columns (goal: at most 0.9 CPU-µs, 2 with shuffled keys).
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "firn/base/check.h"
#include "firn/decode/json/json_decoder.h"
#include "firn/decode/json/testing/ocsf_event.h"
#include "firn/schema/type_parser.h"

namespace firn::decode::json {
namespace {

constexpr size_t kEvents = 20'000;
constexpr int64_t kRowsPerBatch = 100'000;
constexpr size_t kEventsInCache = 200;

schema::Schema OcsfSchema(const std::string& columns) {
  int32_t next_id = 1;
  Result<schema::TypePtr> type = schema::ParseTypeText("struct<" + columns + ">", next_id);
  FIRN_CHECK(type.has_value(), "the benchmark's schema does not parse");
  schema::Schema schema;
  schema.fields = (*type)->fields();
  return schema;
}

// `escaped`: two texts of each event with escapes and letters beyond ASCII, as they are and as escapes.
std::vector<std::string> MakeEvents(testing::EventStyle style, bool escaped = false) {
  testing::OcsfEvents events(42, style);
  std::vector<std::string> texts;
  for (size_t i = 0; i < kEvents; ++i) {
    std::string text = events.Next();
    if (escaped) {
      text.replace(text.find("FlowSensor"), 10, "Flow\\\\Sen\\u00e9");
      text.replace(text.find("Informational"), 13, "Informaci\xc3\xb3n");
    }
    texts.push_back(std::move(text));
  }
  return texts;
}

void Run(benchmark::State& state, const std::vector<std::string>& events, const std::string& columns,
         int64_t rows_per_batch = kRowsPerBatch) {
  schema::Schema schema = OcsfSchema(columns);
  std::unique_ptr<JsonDecoder> decoder = std::move(JsonDecoder::Create(schema, {}).value());
  columnar::RowBuilder rows(schema);
  stream::SourcePartition partition;
  stream::Record record;
  Reject reject;
  size_t next = 0;
  size_t bytes = 0;
  // One behind the other, as in a batch of Kafka.
  std::string together;
  for (const std::string& event : events) together += event;
  std::vector<std::string_view> views;
  for (const std::string& event : events) {
    views.push_back(std::string_view(together).substr(bytes, event.size()));
    bytes += event.size();
  }
  bytes = 0;
  for (auto _ : state) {
    std::string_view event = views[next];
    next = next + 1 == events.size() ? 0 : next + 1;
    record.value = event;
    bytes += event.size();
    bool decoded = decoder->Decode(record, partition, rows, reject);
    FIRN_CHECK(decoded, reject.message);
    if (rows.row_count() == rows_per_batch) benchmark::DoNotOptimize(rows.Finish());
  }
  state.SetBytesProcessed(static_cast<int64_t>(bytes));
}

void BM_SameOrder(benchmark::State& state) { Run(state, MakeEvents({}), testing::kOcsfColumns); }
BENCHMARK(BM_SameOrder);

// The same with events and columns that stay in the cache: what is left when memory costs nothing.
void BM_SameOrderInCache(benchmark::State& state) {
  std::vector<std::string> events = MakeEvents({});
  events.resize(kEventsInCache);
  Run(state, events, testing::kOcsfColumns, kEventsInCache);
}
BENCHMARK(BM_SameOrderInCache);

void BM_ShuffledKeys(benchmark::State& state) { Run(state, MakeEvents({.shuffled = true}), testing::kOcsfColumns); }
BENCHMARK(BM_ShuffledKeys);

void BM_ThreeShapes(benchmark::State& state) { Run(state, MakeEvents({.has_shapes = true}), testing::kOcsfColumns); }
BENCHMARK(BM_ThreeShapes);

void BM_WithNulls(benchmark::State& state) { Run(state, MakeEvents({.has_nulls = true}), testing::kOcsfColumns); }
BENCHMARK(BM_WithNulls);

void BM_WithSpaces(benchmark::State& state) { Run(state, MakeEvents({.is_spaced = true}), testing::kOcsfColumns); }
BENCHMARK(BM_WithSpaces);

void BM_WithEscapes(benchmark::State& state) { Run(state, MakeEvents({}, true), testing::kOcsfColumns); }
BENCHMARK(BM_WithEscapes);

// Fields without column are still checked and counted.
void BM_MostFieldsUnknown(benchmark::State& state) {
  Run(state, MakeEvents({}), "time: timestamptz, class_uid: int, src_endpoint: struct<ip: string>");
}
BENCHMARK(BM_MostFieldsUnknown);

// Sixty columns that no record has: what nulls cost.
void BM_ManyAbsentColumns(benchmark::State& state) {
  std::string columns = testing::kOcsfColumns;
  for (int i = 0; i < 60; ++i) columns += fmt::format(", absent_{}: {}", i, i % 2 == 0 ? "string" : "long");
  Run(state, MakeEvents({}), columns);
}
BENCHMARK(BM_ManyAbsentColumns);

// The free-form half as JSON text.
void BM_JsonText(benchmark::State& state) {
  Run(state, MakeEvents({}), "time: timestamptz, metadata: string, traffic: string, observables: string");
}
BENCHMARK(BM_JsonText);

}  // namespace
}  // namespace firn::decode::json

BENCHMARK_MAIN();
