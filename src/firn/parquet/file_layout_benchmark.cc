// What a million security events cost in CPU and bytes: the columns of an OCSF network activity event (35 leaves), one
// file a slab of 131,072 rows, as ingest writes them. Counters: cpu_s_per_M (CPU-seconds a million rows) and
// bytes_per_row. "ArrowDefault" is Arrow's writer as it comes, but for zstd 1.
#include <arrow/io/memory.h>
#include <arrow/record_batch.h>
#include <arrow/table.h>
#include <benchmark/benchmark.h>
#include <parquet/arrow/writer.h>
#include <parquet/properties.h>

#include <string>
#include <vector>

#include "firn/columnar/partitioner.h"
#include "firn/parquet/file_layout.h"
#include "firn/parquet/network_events_for_test.h"

namespace firn::parquet {
namespace {

constexpr int64_t kSlabRows = 131'072;
constexpr int kSlabs = 8;

struct Events {
  schema::Schema schema;
  std::vector<std::shared_ptr<arrow::RecordBatch>> slabs;
};

const Events& AllEvents() {
  static const Events events = [] {
    NetworkEvents source;
    Events made{source.schema(), {}};
    for (int i = 0; i < kSlabs; ++i) made.slabs.push_back(source.Take(kSlabRows));
    return made;
  }();
  return events;
}

void Report(benchmark::State& state, int64_t bytes) {
  double rows = static_cast<double>(state.iterations()) * kSlabs * kSlabRows;
  state.counters["bytes_per_row"] = static_cast<double>(bytes) / rows;
  // Seconds of CPU by a row, times a million.
  state.counters["cpu_s_per_M"] =
      benchmark::Counter(rows / 1e6, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

bool WriteFile(const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches, const FileLayoutOptions& options,
               int64_t& bytes) {
  auto sink = [&bytes](std::string_view more) -> Status {
    bytes += static_cast<int64_t>(more.size());
    return {};
  };
  auto layout = FileLayout::Create(AllEvents().schema, options, "{}", sink);
  if (!layout.has_value()) return false;
  for (const auto& batch : batches) {
    if (!(*layout)->Write(*batch).has_value()) return false;
  }
  return (*layout)->Close().has_value();
}

void WriteSlabs(benchmark::State& state, const FileLayoutOptions& options) {
  AllEvents();
  int64_t bytes = 0;
  for (auto _ : state) {
    for (const auto& slab : AllEvents().slabs) {
      if (!WriteFile({slab}, options, bytes)) state.SkipWithError("writing failed");
    }
  }
  Report(state, bytes);
}

void BM_Modern(benchmark::State& state) { WriteSlabs(state, {}); }
void BM_ModernUncompressed(benchmark::State& state) { WriteSlabs(state, {.compression_codec = "uncompressed"}); }
void BM_ModernZstd3(benchmark::State& state) { WriteSlabs(state, {.compression_level = 3}); }
void BM_ModernPagesV2(benchmark::State& state) { WriteSlabs(state, {.page_version = 2}); }
void BM_ModernChecksum(benchmark::State& state) { WriteSlabs(state, {.page_checksum = true}); }
void BM_Compatible(benchmark::State& state) { WriteSlabs(state, {.modern_encodings = false}); }

void BM_OneFile(benchmark::State& state) {
  AllEvents();
  int64_t bytes = 0;
  for (auto _ : state) {
    if (!WriteFile(AllEvents().slabs, {}, bytes)) state.SkipWithError("writing failed");
  }
  Report(state, bytes);
}

void BM_ArrowDefault(benchmark::State& state) {
  AllEvents();
  auto properties = ::parquet::WriterProperties::Builder().compression(::parquet::Compression::ZSTD)
                        ->compression_level(1)->build();
  int64_t bytes = 0;
  for (auto _ : state) {
    for (const auto& slab : AllEvents().slabs) {
      auto sink = *arrow::io::BufferOutputStream::Create();
      auto table = *arrow::Table::FromRecordBatches({slab});
      auto status = ::parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), sink, kSlabRows, properties);
      if (!status.ok()) state.SkipWithError("writing failed");
      bytes += (*sink->Finish())->size();
    }
  }
  Report(state, bytes);
}

schema::PartitionSpec DayAndBucket() {
  using Kind = schema::TransformKind;
  return {1, {{FieldId{1}, FieldId{1000}, "day", {Kind::kDay, 0, ""}},
              {AllEvents().schema.FindByName("src_endpoint.ip")->id, FieldId{1001}, "ip", {Kind::kBucket, 16, ""}}}};
}

void GroupSlabs(benchmark::State& state, const schema::SortOrder& order, bool write) {
  auto spec = DayAndBucket();
  int64_t bytes = 0;
  for (auto _ : state) {
    for (const auto& slab : AllEvents().slabs) {
      auto groups = columnar::GroupRows({slab}, AllEvents().schema, spec, order);
      if (!groups.has_value()) return state.SkipWithError("grouping failed");
      benchmark::DoNotOptimize(groups->data());
      for (const auto& group : *groups) {
        if (write && !WriteFile(group.Batches(), {}, bytes)) return state.SkipWithError("writing failed");
      }
    }
  }
  Report(state, bytes);
}

void BM_GroupDayBucket16(benchmark::State& state) { GroupSlabs(state, {}, false); }
void BM_GroupAndSortByTimeDescending(benchmark::State& state) {
  schema::SortOrder order{1, {{FieldId{1}, schema::Transform{}, schema::SortDirection::kDescending}}};
  GroupSlabs(state, order, false);
}
void BM_GroupAndWrite(benchmark::State& state) { GroupSlabs(state, {}, true); }

BENCHMARK(BM_Modern)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_ModernUncompressed)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_ModernZstd3)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_ModernPagesV2)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_ModernChecksum)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Compatible)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_OneFile)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_ArrowDefault)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_GroupDayBucket16)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_GroupAndSortByTimeDescending)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_GroupAndWrite)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace firn::parquet

BENCHMARK_MAIN();
