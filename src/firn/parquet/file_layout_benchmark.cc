// What a million security events cost in CPU and bytes: the columns of an OCSF network activity event (35 leaves), one
// file a slab of 131,072 rows, as ingest writes them. Counters: cpu_s_per_M (CPU-seconds a million rows) and
// bytes_per_row. "ArrowDefault" is Arrow's writer as it comes, but for zstd 1.
#include <arrow/io/memory.h>
#include <arrow/record_batch.h>
#include <arrow/table.h>
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <parquet/arrow/writer.h>
#include <parquet/properties.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "firn/columnar/column_builder.h"
#include "firn/columnar/partitioner.h"
#include "firn/parquet/file_layout.h"

namespace firn::parquet {
namespace {

using columnar::ColumnBuilder;
using columnar::RowBuilder;
using schema::Field;
using schema::Type;
using schema::TypeKind;

constexpr int64_t kSlabRows = 131'072;
constexpr int kSlabs = 8;

schema::Schema NetworkActivity() {
  int32_t id = 0;
  auto field = [&](std::string name, schema::TypePtr type) { return Field{FieldId{++id}, std::move(name), type}; };
  auto text = [&](std::string name) { return field(std::move(name), Type::Primitive(TypeKind::kString)); };
  auto number = [&](std::string name) { return field(std::move(name), Type::Primitive(TypeKind::kInt)); };
  auto count = [&](std::string name) { return field(std::move(name), Type::Primitive(TypeKind::kLong)); };
  auto time = [&](std::string name) { return field(std::move(name), Type::Primitive(TypeKind::kTimestamptz)); };
  schema::Schema schema;
  schema.fields = {time("time"), time("event_time"), number("class_uid"), text("class_name"), number("category_uid"),
                   text("category_name"), number("activity_id"), text("activity_name"), count("type_uid"),
                   text("type_name"), number("severity_id"), text("severity"), number("status_id"), text("status")};
  auto product = Type::Struct({text("name"), text("vendor_name"), text("version")});
  schema.fields.push_back(
      field("metadata", Type::Struct({text("uid"), text("version"), field("product", product), time("logged_time")})));
  schema.fields.push_back(field("unused", Type::Primitive(TypeKind::kDouble)));
  auto source = Type::Struct({text("ip"), number("port"), text("hostname")});
  schema.fields.push_back(field("src_endpoint", source));
  schema.fields.push_back(field("dst_endpoint", Type::Struct({text("ip"), number("port")})));
  schema.fields.push_back(field("connection_info", Type::Struct({text("protocol_name"), number("protocol_num"),
                                                                 number("direction_id"), text("uid")})));
  schema.fields.push_back(field("traffic", Type::Struct({count("bytes_in"), count("bytes_out"), count("packets_in"),
                                                         count("packets_out")})));
  auto observable = Type::Struct({text("name"), number("type_id"), text("value")});
  schema.fields.push_back(field("observables", Type::List(field("element", observable))));
  return schema;
}

class EventSource {
 public:
  EventSource() : schema_(NetworkActivity()), builder_(schema_) {}
  const schema::Schema& schema() const { return schema_; }

  std::shared_ptr<arrow::RecordBatch> Slab() {
    for (int64_t row = 0; row < kSlabRows; ++row) AppendEvent();
    return builder_.Finish();
  }

 private:
  uint64_t Below(uint64_t bound) { return random_() % bound; }
  std::string Hex(int digits) { return fmt::format("{:016x}{:016x}", random_(), random_()).substr(0, digits); }
  int64_t Skewed() { return static_cast<int64_t>(std::exp(5 + 2 * normal_(random_))); }

  void AppendHeader(int64_t activity) {
    static constexpr std::string_view kActivities[] = {"Open", "Close", "Reset", "Fail", "Refuse", "Traffic"};
    static constexpr std::string_view kSeverities[] = {"Informational", "Low", "Medium", "High"};
    uint64_t severity = Below(20) == 0 ? 1 + Below(3) : 0;
    builder_.column(0).AppendInt64(time_us_);
    builder_.column(1).AppendInt64(time_us_ + static_cast<int64_t>(Below(2'000'000)));
    builder_.column(2).AppendInt32(4001);
    builder_.column(3).AppendBytes("Network Activity");
    builder_.column(4).AppendInt32(4);
    builder_.column(5).AppendBytes("Network Activity");
    builder_.column(6).AppendInt32(static_cast<int32_t>(activity + 1));
    builder_.column(7).AppendBytes(kActivities[activity]);
    builder_.column(8).AppendInt64(400'101 + activity);
    builder_.column(9).AppendBytes(fmt::format("Network Activity: {}", kActivities[activity]));
    builder_.column(10).AppendInt32(static_cast<int32_t>(severity + 1));
    builder_.column(11).AppendBytes(kSeverities[severity]);
    bool success = Below(30) != 0;
    builder_.column(12).AppendInt32(success ? 1 : 2);
    builder_.column(13).AppendBytes(success ? "Success" : "Failure");
  }

  void AppendMetadata() {
    ColumnBuilder& metadata = builder_.column(14);
    metadata.child(0).AppendBytes(Hex(32));
    metadata.child(1).AppendBytes("1.3.0");
    metadata.child(2).child(0).AppendBytes("Flow Sensor");
    metadata.child(2).child(1).AppendBytes("Example Networks");
    metadata.child(2).child(2).AppendBytes(Below(2) == 0 ? "7.1.4" : "7.2.0");
    metadata.child(2).AppendStruct();
    metadata.child(3).AppendInt64(time_us_ + static_cast<int64_t>(Below(5'000)) * 1000);
    metadata.AppendStruct();
    builder_.column(15).AppendNull();
  }

  void AppendObservable(std::string_view name, int32_t type, std::string_view value) {
    ColumnBuilder& element = builder_.column(20).child(0);
    element.child(0).AppendBytes(name);
    element.child(1).AppendInt32(type);
    element.child(2).AppendBytes(value);
    element.AppendStruct();
  }

  void AppendConnection(std::string_view source, std::string_view target, std::string_view host) {
    static constexpr int32_t kPorts[] = {443, 443, 443, 80, 53, 22, 3389, 8080};
    ColumnBuilder& from = builder_.column(16);
    from.child(0).AppendBytes(source);
    from.child(1).AppendInt32(static_cast<int32_t>(1024 + Below(64'000)));
    from.child(2).AppendBytes(host);
    from.AppendStruct();
    ColumnBuilder& to = builder_.column(17);
    to.child(0).AppendBytes(target);
    to.child(1).AppendInt32(kPorts[Below(8)]);
    to.AppendStruct();
    bool udp = Below(4) == 0;
    ColumnBuilder& connection = builder_.column(18);
    connection.child(0).AppendBytes(udp ? "udp" : "tcp");
    connection.child(1).AppendInt32(udp ? 17 : 6);
    connection.child(2).AppendInt32(static_cast<int32_t>(1 + Below(2)));
    connection.child(3).AppendBytes(Hex(16));
    connection.AppendStruct();
    ColumnBuilder& traffic = builder_.column(19);
    for (size_t i = 0; i < 4; ++i) traffic.child(i).AppendInt64(i < 2 ? Skewed() : Skewed() / 800);
    traffic.AppendStruct();
  }

  void AppendEvent() {
    time_us_ += static_cast<int64_t>(Below(400));
    AppendHeader(static_cast<int64_t>(Below(6)));
    AppendMetadata();
    uint64_t machine = Below(20'000);
    std::string source = fmt::format("10.{}.{}.{}", machine % 4, machine / 250 % 250, machine % 250);
    std::string target = fmt::format("{}.{}.{}.{}", 11 + Below(180), Below(256), Below(256), Below(256));
    std::string host = fmt::format("host-{:05}.corp.example", machine);
    AppendConnection(source, target, host);
    AppendObservable("src_endpoint.ip", 2, source);
    AppendObservable("dst_endpoint.ip", 2, target);
    builder_.column(20).AppendList();
    builder_.CloseRow();
  }

  schema::Schema schema_;
  RowBuilder builder_;
  std::mt19937_64 random_{42};
  std::normal_distribution<double> normal_;
  int64_t time_us_ = 1'700'000'000'000'000;
};

struct Events {
  schema::Schema schema;
  std::vector<std::shared_ptr<arrow::RecordBatch>> slabs;
};

const Events& AllEvents() {
  static const Events events = [] {
    EventSource source;
    Events made{source.schema(), {}};
    for (int i = 0; i < kSlabs; ++i) made.slabs.push_back(source.Slab());
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
        if (write && !WriteFile(group.batches, {}, bytes)) return state.SkipWithError("writing failed");
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
