// What a commit costs by the number of its partitions: half a million security events (35 leaves), packed in eight
// slabs and written as a file a partition, into a store that only counts. Counters: CPU seconds a million rows of the
// whole, and CPU microseconds a file of its second half, from runs to files.
#include <arrow/record_batch.h>
#include <benchmark/benchmark.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "firn/env/testing/manual_clock.h"
#include "firn/ingest/data_files.h"
#include "firn/ingest/table_rows.h"
#include "firn/parquet/network_events_for_test.h"

namespace firn::ingest {
namespace {

constexpr int64_t kSlabRows = 65'536;
constexpr int kSlabs = 8;

class CountingWriter final : public env::ObjectWriter {
 public:
  explicit CountingWriter(std::atomic<int64_t>& total) : total_(total) {}
  Status Append(std::string_view bytes) override {
    bytes_ += static_cast<int64_t>(bytes.size());
    return {};
  }
  Status Close() override {
    total_ += bytes_;
    return {};
  }
  int64_t bytes_written() const override { return bytes_; }

 private:
  std::atomic<int64_t>& total_;
  int64_t bytes_ = 0;
};

// Takes files and forgets them.
class CountingStore final : public env::ObjectStore {
 public:
  int64_t bytes() const { return bytes_; }
  Result<std::unique_ptr<env::ObjectWriter>> OpenWrite(const std::string&) override {
    return std::make_unique<CountingWriter>(bytes_);
  }
  Result<env::ObjectInfo> Stat(const std::string& location) override { return env::ObjectInfo{location, 1, 1}; }
  Status Put(const std::string&, std::string_view) override { return Unused(); }
  Status PutIfAbsent(const std::string&, std::string_view) override { return Unused(); }
  Result<std::string> Read(const std::string&) override { return Unused(); }
  Result<std::vector<env::ObjectInfo>> List(const std::string&) override { return Unused(); }
  Status Delete(const std::string&) override { return Unused(); }

 private:
  static std::unexpected<Error> Unused() { return Fail(ErrorCode::kInternal, "only data files are written here"); }
  std::atomic<int64_t> bytes_{0};
};

std::shared_ptr<iceberg::LoadedTable> MakeTable(const schema::Schema& schema, int32_t buckets) {
  using Kind = schema::TransformKind;
  auto table = std::make_shared<iceberg::LoadedTable>();
  table->identifier = {{"bench"}, "flows"};
  table->metadata.location = "file:///bench/flows";
  table->metadata.table_uuid = "9c12d441-03fe-4693-9a96-a0705ddf69c1";
  table->metadata.schemas = {schema};
  table->metadata.current_schema_id = schema.schema_id;
  const FieldId uid = schema.FindByName("metadata.uid")->id;
  table->metadata.partition_specs = {{1, {{uid, FieldId{1000}, "uid_bucket", {Kind::kBucket, buckets, ""}}}}};
  table->metadata.default_spec_id = 1;
  table->metadata.sort_orders = {schema::SortOrder{}};
  return table;
}

const std::vector<std::shared_ptr<arrow::RecordBatch>>& AllSlabs() {
  static const auto slabs = [] {
    parquet::NetworkEvents events;
    std::vector<std::shared_ptr<arrow::RecordBatch>> made;
    for (int i = 0; i < kSlabs; ++i) made.push_back(events.Take(kSlabRows));
    return made;
  }();
  return slabs;
}

void BM_Commit(benchmark::State& state) {
  const auto& slabs = AllSlabs();
  const auto table = MakeTable(parquet::NetworkActivity(), static_cast<int32_t>(state.range(0)));
  MemoryBudget memory(int64_t{2} << 30);
  Spill spill(nullptr, 0);
  env::SeededRandom random(3);
  CountingStore store;
  double write_s = 0;
  int64_t files = 0;
  for (auto _ : state) {
    TableRows rows(table, table->metadata.current_schema_id, memory, spill);
    for (const auto& slab : slabs) rows.Add(slab);
    rows.AddTail(nullptr);
    const double before = ThreadCpuSeconds();
    auto written = WriteDataFiles(rows, store, random, env::SystemThreads(), 1);
    write_s += ThreadCpuSeconds() - before;
    if (!written.has_value()) return state.SkipWithError(written.error().ToString().c_str());
    files += static_cast<int64_t>(written->files.size());
  }
  const double rows = static_cast<double>(state.iterations()) * kSlabs * kSlabRows;
  state.counters["us_per_file"] = write_s * 1e6 / static_cast<double>(files);
  state.counters["write_cpu_s_per_M"] = write_s / rows * 1e6;
  state.counters["bytes_per_row"] = static_cast<double>(store.bytes()) / rows;
  state.counters["cpu_s_per_M"] =
      benchmark::Counter(rows / 1e6, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(BM_Commit)->Arg(10)->Arg(1'000)->Arg(5'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace firn::ingest

BENCHMARK_MAIN();
