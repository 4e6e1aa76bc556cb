// A table "db.events" (id, region; partitioned by region) in memory, files for it, and what it holds: for the tests of
// compaction. One thread's.
#pragma once

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <parquet/arrow/reader.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "firn/columnar/column_builder.h"
#include "firn/compaction/table_compaction.h"
#include "firn/env/testing/faulty_store.h"
#include "firn/env/testing/manual_clock.h"
#include "firn/env/testing/memory_store.h"
#include "firn/iceberg/catalog/testing/memory_catalog.h"
#include "firn/iceberg/commit/append.h"
#include "firn/iceberg/commit/live_entries.h"
#include "firn/parquet/file_layout.h"

namespace firn::compaction {

inline const iceberg::TableIdentifier kTable{{"db"}, "events"};

class CompactionFixture : public ::testing::Test {
 protected:
  CompactionFixture() {
    iceberg::CreateTableRequest request;
    request.location = "file:///lake/events";
    request.schema.fields = {{FieldId{1}, "id", schema::Type::Primitive(schema::TypeKind::kLong), true},
                             {FieldId{2}, "region", schema::Type::Primitive(schema::TypeKind::kString)}};
    schema::PartitionField region;
    region.source_id = FieldId{2};
    region.field_id = FieldId{1000};
    region.name = "region";
    request.spec.fields = {region};
    EXPECT_TRUE(catalog_.EnsureNamespace({"db"}).has_value());
    EXPECT_TRUE(catalog_.CreateTable(kTable, request).has_value());
  }

  iceberg::TableMetadata Metadata() { return catalog_.LoadTable(kTable)->metadata; }

  // A file with ids from `first` on, committed alone.
  std::string Append(const std::string& region, int64_t first, int64_t rows) {
    const iceberg::TableMetadata base = Metadata();
    const schema::Schema& schema = base.CurrentSchema();
    arrow::Int64Builder ids;
    arrow::StringBuilder regions;
    for (int64_t i = 0; i < rows; ++i) {
      EXPECT_TRUE(ids.Append(first + i).ok() && regions.Append(region).ok());
    }
    std::vector<std::shared_ptr<arrow::Array>> columns = {ids.Finish().ValueOrDie(), regions.Finish().ValueOrDie()};
    for (size_t i = 2; i < schema.fields.size(); ++i) {
      columns.push_back(arrow::MakeArrayOfNull(arrow::int32(), rows).ValueOrDie());
    }
    std::string bytes;
    auto layout = parquet::FileLayout::Create(schema, {}, "{}", [&](std::string_view more) -> Status {
      bytes.append(more);
      return {};
    });
    EXPECT_TRUE(
        (*layout)->Write(*arrow::RecordBatch::Make(columnar::ToArrowSchema(schema), rows, columns)).has_value());
    const parquet::FileMetrics metrics = (*layout)->Close().value();
    iceberg::NewDataFile file;
    file.file.file_path = fmt::format("file:///lake/events/data/{}-{}.parquet", region, first);
    file.file.record_count = rows;
    file.file.file_size_in_bytes = metrics.file_size_in_bytes;
    file.file.partition = {schema::Value(region)};
    file.file.value_counts = metrics.value_counts;
    file.file.null_value_counts = metrics.null_value_counts;
    file.file.lower_bounds = metrics.lower_bounds;
    file.file.upper_bounds = metrics.upper_bounds;
    EXPECT_TRUE(store_.Put(file.file.file_path, bytes).has_value());
    iceberg::AppendRequest request;
    request.files = {&file, 1};
    iceberg::ManifestListCache cache;
    auto prepared = iceberg::PrepareAppend(base, request, store_, clock_, random_, cache);
    EXPECT_TRUE(catalog_.CommitAsSomebodyElse(kTable, prepared->updates).has_value());
    return file.file.file_path;
  }

  Result<CompactionReport> Compact(const CompactionOptions& options = {}) {
    return CompactTable({catalog_, store_, clock_, random_}, kTable, options, nullptr, {});
  }

  // Ids of all live rows, in file order.
  std::vector<int64_t> Ids() {
    std::vector<int64_t> ids;
    const auto live = iceberg::ReadLiveEntries(Metadata(), store_).value();
    for (const iceberg::ManifestEntry& entry : live) {
      auto buffer = arrow::Buffer::FromString(store_.Read(entry.data_file.file_path).value());
      auto reader =
          ::parquet::arrow::OpenFile(std::make_shared<arrow::io::BufferReader>(buffer), arrow::default_memory_pool())
              .ValueOrDie();
      auto table = reader->ReadTable().ValueOrDie();
      EXPECT_EQ(table->num_rows(), entry.data_file.record_count);
      for (const auto& chunk : table->GetColumnByName("id")->chunks()) {
        const auto& values = static_cast<const arrow::Int64Array&>(*chunk);
        for (int64_t i = 0; i < values.length(); ++i) ids.push_back(values.Value(i));
      }
    }
    return ids;
  }

  size_t LiveFiles() { return iceberg::ReadLiveEntries(Metadata(), store_)->size(); }

  env::ManualClock clock_;
  env::SeededRandom random_{11};
  env::MemoryStore memory_{clock_};
  env::FaultyStore store_{memory_, clock_};
  iceberg::MemoryCatalog catalog_{clock_};
};

inline std::vector<int64_t> UpTo(int64_t count) {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(i);
  return ids;
}

}  // namespace firn::compaction
