// What Java (iceberg-core 1.11.0), PyIceberg 0.12.0 and DuckDB 1.5.5 wrote, read by us; and what damage to it does.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "firn/iceberg/manifest/manifest_avro.h"
#include "firn/iceberg/manifest/test_data.h"

namespace firn::iceberg {
namespace {

using schema::Value;

TEST(ForeignManifestTest, JavaWithEveryPartitionType) {
  auto manifest = ReadManifest(ReadManifestTestData("java_v2_deleted.avro"));
  ASSERT_TRUE(manifest.has_value()) << manifest.error().ToString();
  EXPECT_EQ(manifest->header.format_version, 2);
  EXPECT_EQ(manifest->header.content, ManifestContent::kData);
  EXPECT_EQ(manifest->header.table_schema.fields.size(), 13u);
  ASSERT_EQ(manifest->entries.size(), 1u);
  const ManifestEntry& entry = manifest->entries[0];
  EXPECT_EQ(entry.status, EntryStatus::kDeleted);
  EXPECT_EQ(entry.sequence_number, 1);
  EXPECT_EQ(entry.file_sequence_number, 1);
  EXPECT_EQ(entry.snapshot_id, SnapshotId{6937736634167489255});
  EXPECT_EQ(entry.data_file.file_path, "file:///lake/t/data/f0.parquet");
  EXPECT_EQ(entry.data_file.file_format, "PARQUET");
  EXPECT_EQ(entry.data_file.record_count, 10);
  EXPECT_EQ(entry.data_file.file_size_in_bytes, 1000);
  EXPECT_EQ(entry.data_file.split_offsets, std::vector<int64_t>{4});
  EXPECT_EQ(entry.data_file.sort_order_id, 0);
  EXPECT_EQ(entry.data_file.column_sizes, (std::map<int32_t, int64_t>{{1, 40}}));
  EXPECT_EQ(entry.data_file.nan_value_counts, (std::map<int32_t, int64_t>{{4, 0}}));
  EXPECT_EQ(entry.data_file.lower_bounds.at(1), std::string("\x01\0\0\0\0\0\0\0", 8));
  const schema::PartitionTuple& tuple = entry.data_file.partition;
  ASSERT_EQ(tuple.size(), 12u);
  EXPECT_EQ(tuple[0], Value(int32_t{19737}));
  EXPECT_EQ(tuple[1], Value(int32_t{7}));
  EXPECT_EQ(tuple[2], Value(std::string("eu")));
  EXPECT_TRUE(std::signbit(std::get<double>(tuple[3])));
  EXPECT_EQ(tuple[4], Value(schema::Decimal128{-1420}));
  EXPECT_EQ(tuple[5], Value(std::string("\xf7\x9c\x3e\x09\x67\x7c\x4b\xbd\xa4\x79\x3f\x34\x9c\xb7\x85\xe7")));
  EXPECT_EQ(tuple[6], Value(true));
  EXPECT_EQ(tuple[7], Value(int32_t{-1}));
  EXPECT_EQ(tuple[8], Value(std::string("\x09\x08")));
  EXPECT_EQ(tuple[9], Value(int64_t{81068000000}));
  EXPECT_TRUE(std::isnan(std::get<float>(tuple[10])));
  EXPECT_EQ(tuple[11], Value(int32_t{-7}));
}

TEST(ForeignManifestTest, JavaNullPartitionsAreNull) {
  auto manifest = ReadManifest(ReadManifestTestData("java_v2_data.avro"));
  ASSERT_TRUE(manifest.has_value()) << manifest.error().ToString();
  ASSERT_EQ(manifest->entries.size(), 1u);
  EXPECT_FALSE(manifest->entries[0].sequence_number.has_value());
  for (const Value& value : manifest->entries[0].data_file.partition) EXPECT_TRUE(schema::IsNull(value));
}

TEST(ForeignManifestTest, JavaPositionDeletes) {
  auto manifest = ReadManifest(ReadManifestTestData("java_v2_position_deletes.avro"));
  ASSERT_TRUE(manifest.has_value()) << manifest.error().ToString();
  EXPECT_EQ(manifest->header.content, ManifestContent::kDeletes);
  ASSERT_EQ(manifest->entries.size(), 1u);
  EXPECT_EQ(manifest->entries[0].data_file.content, FileContent::kPositionDeletes);
  EXPECT_EQ(manifest->entries[0].data_file.referenced_data_file, "file:///lake/t/data/f1.parquet");
  EXPECT_FALSE(manifest->entries[0].data_file.sort_order_id.has_value());
}

TEST(ForeignManifestTest, JavaFormatOneCountsAsSequenceNumberZero) {
  auto manifest = ReadManifest(ReadManifestTestData("java_v1_data.avro"));
  ASSERT_TRUE(manifest.has_value()) << manifest.error().ToString();
  EXPECT_EQ(manifest->header.format_version, 1);
  ASSERT_EQ(manifest->entries.size(), 1u);
  EXPECT_EQ(manifest->entries[0].sequence_number, 0);
  EXPECT_EQ(manifest->entries[0].file_sequence_number, 0);
  EXPECT_EQ(manifest->entries[0].data_file.content, FileContent::kData);
  EXPECT_EQ(manifest->entries[0].data_file.partition[11], Value(int32_t{-7}));

  auto list = ReadManifestList(ReadManifestTestData("java_v1_list.avro"));
  ASSERT_TRUE(list.has_value()) << list.error().ToString();
  ASSERT_EQ(list->manifests.size(), 2u);
  EXPECT_EQ(list->manifests[1].sequence_number, 0);
  EXPECT_EQ(list->manifests[1].added_snapshot_id, SnapshotId{8807498982101860317});
  EXPECT_EQ(list->manifests[1].added_rows_count, 10);
  std::vector<ManifestEntry> entries = manifest->entries;
  ASSERT_TRUE(InheritFromManifest(list->manifests[1], entries).has_value());
  EXPECT_EQ(entries[0].sequence_number, 0);
}

TEST(ForeignManifestTest, JavaManifestList) {
  auto list = ReadManifestList(ReadManifestTestData("java_v2_list.avro"));
  ASSERT_TRUE(list.has_value()) << list.error().ToString();
  EXPECT_EQ(list->header.at("sequence-number"), "4");
  ASSERT_EQ(list->manifests.size(), 3u);
  EXPECT_EQ(list->manifests[0].sequence_number, 2);
  EXPECT_EQ(list->manifests[1].deleted_files_count, 1);
  EXPECT_EQ(list->manifests[1].deleted_rows_count, 10);
  EXPECT_EQ(list->manifests[2].content, ManifestContent::kDeletes);
  ASSERT_EQ(list->manifests[1].partitions->size(), 12u);
  const FieldSummary& price = (*list->manifests[1].partitions)[4];
  EXPECT_FALSE(price.contains_null);
  EXPECT_EQ(price.lower_bound, "\xfa\x74");
  EXPECT_EQ((*list->manifests[1].partitions)[10].contains_nan, true);
  EXPECT_FALSE((*list->manifests[1].partitions)[10].lower_bound.has_value());
}

// Rewriting what Java wrote gives Java's bounds: the summaries are computed, not copied.
TEST(ForeignManifestTest, SummaryOfJavasEntriesIsJavas) {
  auto manifest = ReadManifest(ReadManifestTestData("java_v2_deleted.avro"));
  ASSERT_TRUE(manifest.has_value());
  auto list = ReadManifestList(ReadManifestTestData("java_v2_list.avro"));
  ASSERT_TRUE(list.has_value());
  const ManifestFile& javas = list->manifests[1];
  auto ours = SummarizeManifest(manifest->header, manifest->entries, "m", 1, 4, javas.added_snapshot_id);
  ASSERT_TRUE(ours.has_value()) << ours.error().ToString();
  EXPECT_EQ(ours->deleted_files_count, javas.deleted_files_count);
  EXPECT_EQ(ours->min_sequence_number, javas.min_sequence_number);
  for (size_t i = 0; i < 12; ++i) {
    EXPECT_EQ((*ours->partitions)[i].contains_null, (*javas.partitions)[i].contains_null) << i;
    EXPECT_EQ((*ours->partitions)[i].contains_nan, (*javas.partitions)[i].contains_nan) << i;
    EXPECT_EQ((*ours->partitions)[i].lower_bound, (*javas.partitions)[i].lower_bound) << i;
    // Field 3 is -0.0 alone: Java's upper bound is -0.0, ours +0.0 (readers may hold the two apart).
    if (i == 3) continue;
    EXPECT_EQ((*ours->partitions)[i].upper_bound, (*javas.partitions)[i].upper_bound) << i;
  }
  EXPECT_EQ((*ours->partitions)[3].upper_bound, std::string(8, '\0'));
}

TEST(ForeignManifestTest, PyIceberg) {
  auto manifest = ReadManifest(ReadManifestTestData("pyiceberg_data.avro"));
  ASSERT_TRUE(manifest.has_value()) << manifest.error().ToString();
  ASSERT_EQ(manifest->entries.size(), 2u);
  const DataFile& second = manifest->entries[1].data_file;
  EXPECT_EQ(second.partition[0], Value(int32_t{-1}));
  EXPECT_TRUE(schema::IsNull(second.partition[1]));
  EXPECT_EQ(second.null_value_counts.at(4), 1);
  EXPECT_EQ(second.upper_bounds.count(4), 0u);

  auto deleted = ReadManifest(ReadManifestTestData("pyiceberg_deleted.avro"));
  ASSERT_TRUE(deleted.has_value()) << deleted.error().ToString();
  EXPECT_FALSE(deleted->entries[0].is_live());
  EXPECT_EQ(deleted->entries[0].sequence_number, 2);

  auto list = ReadManifestList(ReadManifestTestData("pyiceberg_list.avro"));
  ASSERT_TRUE(list.has_value()) << list.error().ToString();
  ASSERT_EQ(list->manifests.size(), 2u);
  EXPECT_EQ(list->manifests[1].added_files_count, 2);
  EXPECT_EQ((*list->manifests[1].partitions)[0].lower_bound, "\xff\xff\xff\xff");
}

TEST(ForeignManifestTest, DuckDb) {
  auto manifest = ReadManifest(ReadManifestTestData("duckdb_data.avro"));
  ASSERT_TRUE(manifest.has_value()) << manifest.error().ToString();
  ASSERT_EQ(manifest->entries.size(), 3u);
  EXPECT_EQ(manifest->entries[0].data_file.partition, schema::PartitionTuple{Value(std::string("eu"))});
  EXPECT_TRUE(schema::IsNull(manifest->entries[2].data_file.partition[0]));
  EXPECT_EQ(manifest->entries[2].data_file.null_value_counts, (std::map<int32_t, int64_t>{{1, 0}, {2, 1}, {3, 1}}));
  EXPECT_TRUE(manifest->entries[0].data_file.value_counts.empty());
  auto list = ReadManifestList(ReadManifestTestData("duckdb_list.avro"));
  ASSERT_TRUE(list.has_value()) << list.error().ToString();
  ASSERT_EQ(list->manifests.size(), 1u);
  // DuckDB leaves the snapshot id to the list.
  ASSERT_TRUE(InheritFromManifest(list->manifests[0], manifest->entries).has_value());
  EXPECT_EQ(manifest->entries[0].snapshot_id, SnapshotId{2805017797691854266});
  EXPECT_EQ(manifest->entries[0].sequence_number, 1);
  // Written again, the format has the spelling that every reader takes.
  auto bytes = WriteManifest(manifest->header, manifest->entries);
  ASSERT_TRUE(bytes.has_value()) << bytes.error().ToString();
  EXPECT_EQ(ReadManifest(*bytes)->entries[0].data_file.file_format, "PARQUET");
}

constexpr const char* kAllFiles[] = {"java_v1_data.avro",      "java_v1_list.avro",  "java_v2_data.avro",
                                     "java_v2_deleted.avro",   "java_v2_list.avro",  "java_v2_position_deletes.avro",
                                     "pyiceberg_data.avro",    "duckdb_data.avro",   "duckdb_list.avro",
                                     "pyiceberg_deleted.avro", "pyiceberg_list.avro"};

TEST(ForeignManifestTest, AFileThatEndsEarlyIsCorruption) {
  for (const char* name : kAllFiles) {
    const std::string bytes = ReadManifestTestData(name);
    ASSERT_FALSE(bytes.empty()) << name;
    const bool is_list = std::string(name).find("list") != std::string::npos;
    for (size_t length = 0; length < bytes.size(); length += 1 + length / 40) {
      const std::string_view cut = std::string_view(bytes).substr(0, length);
      const ErrorCode code = is_list ? ReadManifestList(cut).error().code() : ReadManifest(cut).error().code();
      EXPECT_EQ(code, ErrorCode::kCorruption) << name << " cut at " << length;
    }
  }
}

// Damage may go unseen (a path's letter) but never ends in anything else than a value or an error.
TEST(ForeignManifestTest, AnyFlippedByteIsAValueOrAnError) {
  std::mt19937_64 random(20240115);
  size_t refused = 0;
  for (const char* name : kAllFiles) {
    const std::string bytes = ReadManifestTestData(name);
    for (int i = 0; i < 200; ++i) {
      std::string damaged = bytes;
      damaged[random() % damaged.size()] ^= static_cast<char>(1 + random() % 255);
      refused += ReadManifest(damaged).has_value() ? 0 : 1;
      refused += ReadManifestList(damaged).has_value() ? 0 : 1;
    }
  }
  EXPECT_GT(refused, 2000u);
}

}  // namespace
}  // namespace firn::iceberg
