// A table "db.events" (id, region; partitioned by region, unless a test makes another one) in memory, files for it, and
// what it holds: for the tests of compaction. One thread's.
#pragma once

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <parquet/arrow/reader.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "firn/columnar/column_builder.h"
#include "firn/compaction/table_compaction.h"
#include "firn/compaction/table_files.h"
#include "firn/env/testing/faulty_store.h"
#include "firn/env/testing/manual_clock.h"
#include "firn/env/testing/memory_store.h"
#include "firn/iceberg/catalog/testing/memory_catalog.h"
#include "firn/iceberg/commit/append.h"
#include "firn/iceberg/commit/live_entries.h"
#include "firn/iceberg/manifest/manifest_avro.h"
#include "firn/parquet/file_layout.h"

namespace firn::compaction {

inline const iceberg::TableIdentifier kTable{{"db"}, "events"};

class CompactionFixture : public ::testing::Test {
 protected:
  CompactionFixture() : CompactionFixture(EventsByRegion()) {}
  explicit CompactionFixture(const iceberg::CreateTableRequest& request) { CreateTable(request); }

  void CreateTable(const iceberg::CreateTableRequest& request) {
    EXPECT_TRUE(catalog_.EnsureNamespace({"db"}).has_value());
    auto created = catalog_.CreateTable(kTable, request);
    EXPECT_TRUE(created.has_value()) << created.error().ToString();
  }

  static iceberg::CreateTableRequest EventsByRegion() {
    iceberg::CreateTableRequest request;
    request.location = "file:///lake/events";
    request.schema.fields = {{FieldId{1}, "id", schema::Type::Primitive(schema::TypeKind::kLong), true},
                             {FieldId{2}, "region", schema::Type::Primitive(schema::TypeKind::kString)}};
    schema::PartitionField region;
    region.source_id = FieldId{2};
    region.field_id = FieldId{1000};
    region.name = "region";
    request.spec.fields = {region};
    return request;
  }

  iceberg::TableMetadata Metadata() { return catalog_.LoadTable(kTable)->metadata; }

  static std::pair<std::string, parquet::FileMetrics> ParquetOf(
      const schema::Schema& schema, const std::vector<std::shared_ptr<arrow::Array>>& columns) {
    std::string bytes;
    auto layout = parquet::FileLayout::Create(schema, {}, "{}", [&](std::string_view more) -> Status {
      bytes.append(more);
      return {};
    });
    const int64_t rows = columns[0]->length();
    EXPECT_TRUE(
        (*layout)->Write(*arrow::RecordBatch::Make(columnar::ToArrowSchema(schema), rows, columns)).has_value());
    parquet::FileMetrics metrics = (*layout)->Close().value();
    return {std::move(bytes), std::move(metrics)};
  }

  // A file with ids from `first` on, committed alone.
  std::string Append(const std::string& region, int64_t first, int64_t rows) {
    std::vector<int64_t> ids;
    for (int64_t i = 0; i < rows; ++i) ids.push_back(first + i);
    return AppendIds(fmt::format("{}-{}", region, first), region, ids);
  }

  std::string AppendIds(const std::string& name, const std::string& region, const std::vector<int64_t>& of_rows) {
    const schema::Schema schema = Metadata().CurrentSchema();
    const auto rows = static_cast<int64_t>(of_rows.size());
    arrow::Int64Builder ids;
    arrow::StringBuilder regions;
    for (const int64_t id : of_rows) EXPECT_TRUE(ids.Append(id).ok() && regions.Append(region).ok());
    std::vector<std::shared_ptr<arrow::Array>> columns = {ids.Finish().ValueOrDie(), regions.Finish().ValueOrDie()};
    for (size_t i = 2; i < schema.fields.size(); ++i) {
      columns.push_back(arrow::MakeArrayOfNull(arrow::int32(), rows).ValueOrDie());
    }
    return AppendColumns(name, columns, {schema::Value(region)});
  }

  // The same of a file of these columns of the table's schema.
  std::string AppendColumns(const std::string& name, const std::vector<std::shared_ptr<arrow::Array>>& columns,
                            const schema::PartitionTuple& partition, std::optional<int32_t> sort_order_id = {}) {
    const iceberg::TableMetadata base = Metadata();
    const auto [bytes, metrics] = ParquetOf(base.CurrentSchema(), columns);
    iceberg::NewDataFile file;
    file.file.file_path = fmt::format("file:///lake/events/data/{}.parquet", name);
    file.file.record_count = columns[0]->length();
    file.file.file_size_in_bytes = metrics.file_size_in_bytes;
    file.file.partition = partition;
    file.file.value_counts = metrics.value_counts;
    file.file.null_value_counts = metrics.null_value_counts;
    file.file.nan_value_counts = metrics.nan_value_counts;
    file.file.lower_bounds = metrics.lower_bounds;
    file.file.upper_bounds = metrics.upper_bounds;
    file.file.sort_order_id = sort_order_id;
    EXPECT_TRUE(store_.Put(file.file.file_path, bytes).has_value());
    iceberg::AppendRequest request;
    request.files = {&file, 1};
    iceberg::ManifestListCache cache;
    auto prepared = iceberg::PrepareAppend(base, request, store_, clock_, random_, cache);
    EXPECT_TRUE(catalog_.CommitAsSomebodyElse(kTable, prepared->updates).has_value());
    return file.file.file_path;
  }

  // Changes what the manifests say of a file.
  void RewriteEntry(const std::string& path, const std::function<void(iceberg::DataFile&)>& change) {
    const auto manifests = iceberg::ReadSnapshotManifests(*Metadata().CurrentSnapshot(), store_).value();
    for (const iceberg::ManifestFile& manifest : manifests) {
      auto contents = iceberg::ReadManifest(store_.Read(manifest.manifest_path).value()).value();
      for (iceberg::ManifestEntry& entry : contents.entries) {
        if (entry.data_file.file_path == path) change(entry.data_file);
      }
      const std::string bytes = iceberg::WriteManifest(contents.header, contents.entries).value();
      EXPECT_TRUE(store_.Delete(manifest.manifest_path).has_value());
      EXPECT_TRUE(store_.Put(manifest.manifest_path, bytes).has_value());
    }
  }

  // A file of the two columns of position deletes, or of ids that are deleted, committed alone. Returns its path.
  std::string DeletePositions(const std::string& region, const std::vector<std::pair<std::string, int64_t>>& rows,
                              bool names_its_file = false) {
    arrow::StringBuilder paths;
    arrow::Int64Builder positions;
    for (const auto& [path, position] : rows) EXPECT_TRUE(paths.Append(path).ok() && positions.Append(position).ok());
    schema::Schema schema;
    schema.fields = {{FieldId{2147483546}, "file_path", schema::Type::Primitive(schema::TypeKind::kString), true},
                     {FieldId{2147483545}, "pos", schema::Type::Primitive(schema::TypeKind::kLong), true}};
    iceberg::DataFile file;
    file.content = iceberg::FileContent::kPositionDeletes;
    if (names_its_file) file.referenced_data_file = rows.front().first;
    return CommitDeletes(region, schema, {paths.Finish().ValueOrDie(), positions.Finish().ValueOrDie()},
                         std::move(file));
  }
  std::string DeleteIds(const std::string& region, const std::vector<int64_t>& deleted, int32_t field_id = 1) {
    arrow::Int64Builder ids;
    for (const int64_t id : deleted) EXPECT_TRUE(ids.Append(id).ok());
    schema::Schema schema;
    schema.fields = {{FieldId{field_id}, "id", schema::Type::Primitive(schema::TypeKind::kLong), true}};
    iceberg::DataFile file;
    file.content = iceberg::FileContent::kEqualityDeletes;
    file.equality_ids = {field_id};
    return CommitDeletes(region, schema, {ids.Finish().ValueOrDie()}, std::move(file));
  }

  std::string CommitDeletes(const std::string& region, const schema::Schema& schema,
                            const std::vector<std::shared_ptr<arrow::Array>>& columns, iceberg::DataFile file) {
    const iceberg::TableMetadata base = Metadata();
    const int64_t sequence = base.last_sequence_number + 1;
    const int64_t rows = columns[0]->length();
    const std::string bytes = ParquetOf(schema, columns).first;
    file.file_path = fmt::format("file:///lake/events/data/deletes-{}.parquet", sequence);
    file.file_size_in_bytes = static_cast<int64_t>(bytes.size());
    file.record_count = rows;
    if (!base.DefaultSpec().is_unpartitioned()) file.partition = {schema::Value(region)};
    EXPECT_TRUE(store_.Put(file.file_path, bytes).has_value());
    const SnapshotId id{1'000'000 + sequence};
    iceberg::ManifestEntry entry;
    entry.snapshot_id = id;
    entry.data_file = file;
    const iceberg::ManifestHeader header{base.CurrentSchema(), base.DefaultSpec(), iceberg::ManifestContent::kDeletes};
    const std::string manifest = iceberg::WriteManifest(header, {entry}).value();
    const std::string path = fmt::format("file:///lake/events/metadata/deletes-{}.avro", sequence);
    EXPECT_TRUE(store_.Put(path, manifest).has_value());
    auto manifests = iceberg::ReadSnapshotManifests(*base.CurrentSnapshot(), store_).value();
    manifests.push_back(iceberg::SummarizeManifest(header, {entry}, path, static_cast<int64_t>(manifest.size()),
                                                   sequence, id)
                            .value());
    iceberg::Snapshot snapshot{.snapshot_id = id, .parent_snapshot_id = base.current_snapshot_id};
    snapshot.sequence_number = sequence;
    snapshot.timestamp_ms = std::max(clock_.WallMs(), base.last_updated_ms);
    snapshot.manifest_list = fmt::format("file:///lake/events/metadata/list-{}.avro", sequence);
    snapshot.summary = {{"operation", "delete"}};
    const std::string list = iceberg::WriteManifestList({id, base.current_snapshot_id, sequence}, manifests).value();
    EXPECT_TRUE(store_.Put(snapshot.manifest_list, list).has_value());
    iceberg::SnapshotRef main;
    main.snapshot_id = id;
    EXPECT_TRUE(catalog_
                    .CommitAsSomebodyElse(kTable, {iceberg::AddSnapshot{snapshot},
                                                   iceberg::SetSnapshotRef{"main", std::move(main)}})
                    .has_value());
    return file.file_path;
  }

  // Paths of the live delete files.
  std::vector<std::string> LiveDeletes() {
    std::vector<std::string> paths;
    const TableFiles files = ReadTableFiles(Metadata(), store_).value();
    for (const LiveFile& file : files.deletes) paths.push_back(file.entry.data_file.file_path);
    return paths;
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
