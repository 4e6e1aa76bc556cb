#include "firn/iceberg/catalog/metadata_file.h"

#include <gtest/gtest.h>

#include "firn/env/testing/faulty_store.h"
#include "firn/env/testing/manual_clock.h"
#include "firn/env/testing/memory_store.h"
#include "firn/iceberg/spec/table_update.h"

namespace firn::iceberg {
namespace {

TableMetadata MakeTable() {
  CreateTableRequest request;
  request.location = "file:///lake/t";
  schema::Field field;
  field.id = FieldId(1);
  field.name = "a";
  field.type = schema::Type::Primitive(schema::TypeKind::kLong);
  request.schema.fields = {field};
  return NewTableMetadata(request, "9c12d441-03fe-4693-9a96-a0705ddf69c1", 1).value();
}

TEST(Gzip, RoundTripsAndLeavesPlainTextAlone) {
  std::string text(1'000'000, 'x');
  auto packed = GzipMetadata(text);
  ASSERT_TRUE(packed.has_value());
  EXPECT_LT(packed->size(), 10'000u);
  EXPECT_EQ(GunzipMetadata(*packed).value(), text);
  EXPECT_EQ(GunzipMetadata(*packed + *packed).value(), text + text);  // joined members
  EXPECT_EQ(GunzipMetadata("{}").value(), "{}");
  EXPECT_EQ(GunzipMetadata("").value(), "");
}

TEST(Gzip, RefusesDamageAndBombs) {
  std::string packed = GzipMetadata(std::string(1'000'000, 'x')).value();
  EXPECT_EQ(GunzipMetadata(packed.substr(0, packed.size() - 1)).error().code(), ErrorCode::kCorruption);
  EXPECT_EQ(GunzipMetadata(packed.substr(0, 3)).error().code(), ErrorCode::kCorruption);
  EXPECT_EQ(GunzipMetadata(packed + "tail").error().code(), ErrorCode::kCorruption);
  std::string flipped = packed;
  flipped[packed.size() - 6] ^= 1;  // in the CRC
  EXPECT_EQ(GunzipMetadata(flipped).error().code(), ErrorCode::kCorruption);
  EXPECT_EQ(GunzipMetadata(packed, 999'999).error().code(), ErrorCode::kResourceExhausted);
}

TEST(MetadataVersion, IsTheNumberBeforeTheDash) {
  EXPECT_EQ(MetadataVersion("s3://b/t/metadata/00012-9c12d441-03fe.metadata.json"), 12);
  EXPECT_EQ(MetadataVersion("00000-x.gz.metadata.json"), 0);
  EXPECT_EQ(MetadataVersion("file:///a-b/c/v3.metadata.json"), -1);
  EXPECT_EQ(MetadataVersion("x-1.metadata.json"), -1);
  EXPECT_EQ(MetadataVersion("99999999999999999999-x"), -1);
  EXPECT_EQ(MetadataVersion(""), -1);
}

class MetadataFileTest : public testing::Test {
 protected:
  env::MemoryStore memory_;
  env::FaultyStore store_{memory_};
  env::SeededRandom random_{7};
};

TEST_F(MetadataFileTest, WritesUnderItsOwnNameAndReadsBack) {
  TableMetadata table = MakeTable();
  auto location = WriteMetadataFile(store_, random_, table, 3);
  ASSERT_TRUE(location.has_value()) << location.error().ToString();
  EXPECT_TRUE(location->starts_with("file:///lake/t/metadata/00003-")) << *location;
  EXPECT_TRUE(location->ends_with(".metadata.json"));
  EXPECT_EQ(ReadMetadataFile(store_, *location)->Serialize(), table.Serialize());
  EXPECT_NE(WriteMetadataFile(store_, random_, table, 3).value(), *location);
}

TEST_F(MetadataFileTest, HonoursPathAndCompression) {
  TableMetadata table = MakeTable();
  table.properties = {{"write.metadata.path", "file:///elsewhere/"}, {"write.metadata.compression-codec", "gzip"}};
  std::string location = WriteMetadataFile(store_, random_, table, 123456).value();
  EXPECT_TRUE(location.starts_with("file:///elsewhere/123456-")) << location;
  EXPECT_TRUE(location.ends_with(".gz.metadata.json"));
  EXPECT_TRUE(store_.Read(location)->starts_with("\x1f\x8b"));
  EXPECT_EQ(ReadMetadataFile(store_, location)->Serialize(), table.Serialize());
}

TEST_F(MetadataFileTest, LocationsFitIntoTheColumnsOfCatalogs) {
  TableMetadata table = MakeTable();
  const size_t rest = WriteMetadataFile(store_, random_, table, 1)->size() - table.location.size();
  table.location = "file:///" + std::string(1000 - rest - 8, 'x');
  EXPECT_EQ(WriteMetadataFile(store_, random_, table, 1)->size(), 1000u);
  const int64_t calls = store_.calls(env::StoreCall::kPutIfAbsent);
  table.location += 'x';
  EXPECT_EQ(WriteMetadataFile(store_, random_, table, 1).error().code(), ErrorCode::kInvalidInput);
  EXPECT_EQ(store_.calls(env::StoreCall::kPutIfAbsent), calls);
}

TEST_F(MetadataFileTest, TakesAnotherNameWhenOneIsTaken) {
  store_.Inject({.call = env::StoreCall::kPutIfAbsent, .code = ErrorCode::kAlreadyExists, .after_effect = true});
  EXPECT_TRUE(WriteMetadataFile(store_, random_, MakeTable(), 1).has_value());
  EXPECT_EQ(memory_.object_count(), 2u);
  store_.Inject({.call = env::StoreCall::kPutIfAbsent, .persistent = true, .code = ErrorCode::kAlreadyExists});
  EXPECT_FALSE(WriteMetadataFile(store_, random_, MakeTable(), 1).has_value());
}

TEST_F(MetadataFileTest, ReadingNamesWhatIsWrong) {
  EXPECT_EQ(ReadMetadataFile(store_, "file:///none").error().code(), ErrorCode::kNotFound);
  memory_.Overwrite("file:///bad", "{");
  EXPECT_EQ(ReadMetadataFile(store_, "file:///bad").error().code(), ErrorCode::kCorruption);
  memory_.Overwrite("file:///v9", R"({"format-version": 9})");
  EXPECT_EQ(ReadMetadataFile(store_, "file:///v9").error().code(), ErrorCode::kUnsupported);
}

TEST_F(MetadataFileTest, DeletesOnlyWhatFellOutOfTheLogAndIsOurs) {
  TableMetadata base = MakeTable();
  const std::string ours = "file:///lake/t/metadata/00000-a.metadata.json";
  const std::string kept = "file:///lake/t/metadata/00001-b.metadata.json";
  const std::string foreign = "file:///lake/other/metadata/00000-a.metadata.json";
  const std::string sly = "file:///lake/t/../other/metadata/00000-a.metadata.json";
  const std::string data = "file:///lake/t/data/a.parquet";
  for (const auto& file : {ours, kept, foreign, sly, data}) {
    memory_.Overwrite(file, "x");
    base.metadata_log.push_back({1, file});
  }
  TableMetadata current = base;
  current.metadata_log = {{1, kept}};
  DeleteExpiredMetadataFiles(store_, base, current);
  EXPECT_EQ(memory_.object_count(), 5u);  // not asked for
  current.properties["write.metadata.delete-after-commit.enabled"] = "true";
  DeleteExpiredMetadataFiles(store_, base, current);
  EXPECT_EQ(memory_.object_count(), 4u);
  EXPECT_FALSE(memory_.Stat(ours).has_value());
}

}  // namespace
}  // namespace firn::iceberg
