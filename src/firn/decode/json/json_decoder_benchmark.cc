// What a record of about 950 bytes costs from bytes to columns (goal: at most 1.5 CPU-µs at -O3).
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

schema::Schema OcsfSchema(const std::string& columns) {
  int32_t next_id = 1;
  Result<schema::TypePtr> type = schema::ParseTypeText("struct<" + columns + ">", next_id);
  FIRN_CHECK(type.has_value(), "the benchmark's schema does not parse");
  schema::Schema schema;
  schema.fields = (*type)->fields();
  return schema;
}

std::vector<std::string> MakeEvents(bool shuffled, bool escaped) {
  testing::OcsfEvents events(42, shuffled);
  std::vector<std::string> texts;
  for (size_t i = 0; i < kEvents; ++i) {
    std::string text = events.Next();
    if (escaped) text.replace(text.find("FlowSensor"), 10, "Flow\\\\Sen\\u00e9");
    texts.push_back(std::move(text));
  }
  return texts;
}

void Run(benchmark::State& state, const std::vector<std::string>& events, const std::string& columns, int64_t rows_per_batch = kRowsPerBatch) {
  schema::Schema schema = OcsfSchema(columns);
  std::unique_ptr<JsonDecoder> decoder = std::move(JsonDecoder::Create(schema, {}).value());
  columnar::RowBuilder rows(schema);
  stream::SourcePartition partition;
  stream::Record record;
  Reject reject;
  size_t next = 0;
  size_t bytes = 0;
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

void BM_Hot(benchmark::State& state) {
  std::vector<std::string> events = MakeEvents(false, false);
  events.resize(200);
  Run(state, events, testing::kOcsfColumns, 200);
}
BENCHMARK(BM_Hot);
void BM_HotInput(benchmark::State& state) {
  std::vector<std::string> events = MakeEvents(false, false);
  events.resize(200);
  Run(state, events, testing::kOcsfColumns);
}
BENCHMARK(BM_HotInput);
void BM_HotShuffled(benchmark::State& state) {
  std::vector<std::string> events = MakeEvents(true, false);
  events.resize(2000);
  Run(state, events, testing::kOcsfColumns, 200);
}
BENCHMARK(BM_HotShuffled);

void BM_SameOrder(benchmark::State& state) { Run(state, MakeEvents(false, false), testing::kOcsfColumns); }
BENCHMARK(BM_SameOrder);

void BM_ShuffledKeys(benchmark::State& state) { Run(state, MakeEvents(true, false), testing::kOcsfColumns); }
BENCHMARK(BM_ShuffledKeys);

void BM_WithEscapes(benchmark::State& state) { Run(state, MakeEvents(false, true), testing::kOcsfColumns); }
BENCHMARK(BM_WithEscapes);

// Fields without column are still checked and counted.
void BM_MostFieldsUnknown(benchmark::State& state) {
  Run(state, MakeEvents(false, false), "time: timestamptz, class_uid: int, src_endpoint: struct<ip: string>");
}
BENCHMARK(BM_MostFieldsUnknown);

// Sixty columns that no record has: what nulls cost.
void BM_ManyAbsentColumns(benchmark::State& state) {
  std::string columns = testing::kOcsfColumns;
  for (int i = 0; i < 60; ++i) columns += fmt::format(", absent_{}: {}", i, i % 2 == 0 ? "string" : "long");
  Run(state, MakeEvents(false, false), columns);
}
BENCHMARK(BM_ManyAbsentColumns);

// The free-form half as JSON text.
void BM_JsonText(benchmark::State& state) {
  Run(state, MakeEvents(false, false), "time: timestamptz, metadata: string, traffic: string, observables: string");
}
BENCHMARK(BM_JsonText);

}  // namespace
}  // namespace firn::decode::json

BENCHMARK_MAIN();
