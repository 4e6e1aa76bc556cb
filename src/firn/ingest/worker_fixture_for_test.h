// WorkerTest: one lake and one log in memory that fail on demand, for the tests of the worker. Workers come and go.
#pragma once

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <parquet/arrow/reader.h>

#include <atomic>
#include <chrono>
#include <future>
#include <map>
#include <thread>

#include "firn/env/testing/faulty_store.h"
#include "firn/env/testing/manual_clock.h"
#include "firn/env/testing/memory_store.h"
#include "firn/iceberg/catalog/testing/memory_catalog.h"
#include "firn/iceberg/commit/live_entries.h"
#include "firn/ingest/positions.h"
#include "firn/ingest/positions_admin.h"
#include "firn/ingest/worker.h"
#include "firn/stream/testing/memory_log.h"

namespace firn::ingest {

using iceberg::CatalogCall;
using iceberg::CatalogFault;
using iceberg::TableIdentifier;

inline schema::Field MakeField(int32_t id, const char* name, schema::TypeKind kind) {
  schema::Field field;
  field.id = FieldId{id};
  field.name = name;
  field.type = schema::Type::Primitive(kind);
  return field;
}

inline PipelineOptions MakeOptions() {
  PipelineOptions options;
  options.pipeline = "p";
  options.worker = "w";
  options.group_id = "g";
  options.home_table = "lake.p__home";
  options.rejects_table = "lake.p__rejects";
  options.commit_interval_ms = 100;
  options.checkpoint_interval_ms = 200;
  options.shutdown_deadline_ms = 20'000;
  TableRule rule;
  rule.name = "lake.events";
  rule.schema.fields = {MakeField(1, "id", schema::TypeKind::kLong), MakeField(2, "kind", schema::TypeKind::kString)};
  rule.partition = {"kind"};
  options.tables.push_back(std::move(rule));
  return options;
}

// lake.events takes each third record, lake.other the rest.
inline PipelineOptions TwoTables() {
  PipelineOptions options = MakeOptions();
  options.tables[0].match = {RouteMatch{.field_path = {"kind"}, .field_equals = "k0"}};
  TableRule other = options.tables[0];
  other.name = "lake.other";
  other.match.clear();
  options.tables.push_back(other);
  return options;
}

// A worker in a thread of its own.
class Running {
 public:
  Running(std::unique_ptr<Worker> worker) : worker_(std::move(worker)) {
    run_ = std::async(std::launch::async, [this] { return worker_->Run(stop_.get_token(), false); });
  }
  ~Running() { (void)Stop(); }
  Worker& worker() { return *worker_; }
  WorkerStatus status() const { return worker_->status(); }
  Result<RunResult> Stop() {
    stop_.request_stop();
    return run_.valid() ? run_.get() : Result<RunResult>(RunResult{});
  }

 private:
  std::unique_ptr<Worker> worker_;
  std::stop_source stop_;
  std::future<Result<RunResult>> run_;
};

// One lake and one log; workers come and go.
class WorkerTest : public testing::Test {
 protected:
  WorkerTest() : catalog_(env::SystemClock()), faulty_(store_) {
    log_ = std::make_shared<stream::MemoryLog>("cluster", "events", "topic-id", 4);
  }

  void Produce(int64_t first, int64_t count) {
    for (int64_t id = first; id < first + count; ++id) {
      int32_t partition = static_cast<int32_t>(id % log_->partition_count());
      log_->Append(partition, fmt::format(R"({{"id":{},"kind":"k{}"}})", id, id % 3));
      if (id % 11 == 0) log_->AppendMarker(partition);
    }
  }

  std::unique_ptr<Worker> MakeWorker(stream::MemorySource& source, PipelineOptions options) {
    auto worker = Worker::Create(std::move(options),
                                 {catalog_, faulty_, source, env::SystemClock(), env::SystemRandom(), registry_});
    EXPECT_TRUE(worker.has_value()) << worker.error().ToString();
    return std::move(*worker);
  }

  // Runs a fresh worker until it is caught up.
  Result<RunResult> RunOnce(PipelineOptions options = MakeOptions()) {
    stream::MemorySource source(log_);
    source.GiveAll();
    auto worker = MakeWorker(source, std::move(options));
    return worker->Run({}, true);
  }

  void ExpectCaughtUp(const Result<RunResult>& result) {
    ASSERT_TRUE(result.has_value()) << result.error().ToString();
    EXPECT_TRUE(result->caught_up);
  }

  iceberg::LoadedTable Load(const std::string& table) {
    catalog_.SetFaults(nullptr);
    auto loaded = catalog_.LoadTable(TableIdentifier::Parse(table).value());
    EXPECT_TRUE(loaded.has_value()) << loaded.error().ToString();
    return std::move(*loaded);
  }

  // How often each value of an int64 column stands in a table, by Arrow's reader.
  std::map<int64_t, int> CountValues(const std::string& table, const std::string& column) {
    std::map<int64_t, int> counts;
    iceberg::LoadedTable loaded = Load(table);
    auto entries = iceberg::ReadLiveEntries(loaded.metadata, store_);
    EXPECT_TRUE(entries.has_value());
    for (const iceberg::ManifestEntry& entry : *entries) {
      std::string bytes = store_.Read(entry.data_file.file_path).value();
      EXPECT_EQ(static_cast<int64_t>(bytes.size()), entry.data_file.file_size_in_bytes);
      auto input = std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(std::move(bytes)));
      auto reader = ::parquet::arrow::OpenFile(input, arrow::default_memory_pool()).ValueOrDie();
      std::shared_ptr<arrow::Table> read = reader->ReadTable().ValueOrDie();
      EXPECT_EQ(read->num_rows(), entry.data_file.record_count);
      for (const auto& chunk : read->GetColumnByName(column)->chunks()) {
        const auto& values = static_cast<const arrow::Int64Array&>(*chunk);
        for (int64_t i = 0; i < values.length(); ++i) ++counts[values.Value(i)];
      }
    }
    return counts;
  }

  void ExpectExactly(int64_t count, const std::string& table = "lake.events") {
    std::map<int64_t, int> counts = CountValues(table, "id");
    EXPECT_EQ(counts.size(), static_cast<size_t>(count));
    for (const auto& [id, times] : counts) ASSERT_EQ(times, 1) << "id " << id;
  }

  int64_t CountRejects() {
    int64_t rejects = 0;
    for (const auto& [offset, times] : CountValues("lake.p__rejects", "offset")) rejects += times;
    return rejects;
  }

  template <typename Condition>
  static bool WaitFor(Condition condition) {
    for (int i = 0; i < 4000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  env::MemoryStore store_;
  iceberg::MemoryCatalog catalog_;
  env::FaultyStore faulty_;
  metrics::Registry registry_;
  std::shared_ptr<stream::MemoryLog> log_;
};

}  // namespace firn::ingest
