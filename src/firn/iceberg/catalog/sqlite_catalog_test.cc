#include "firn/iceberg/catalog/sqlite_catalog.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/resource.h>

#include <barrier>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "firn/env/testing/faulty_store.h"
#include "firn/env/testing/manual_clock.h"
#include "firn/env/testing/memory_store.h"
#include "firn/iceberg/catalog/metadata_file.h"

namespace firn::iceberg {
namespace {

const TableIdentifier kEvents{{"db"}, "events"};

CreateTableRequest Request() {
  CreateTableRequest request;
  schema::Field field;
  field.id = FieldId(1);
  field.name = "a";
  field.type = schema::Type::Primitive(schema::TypeKind::kLong);
  request.schema.fields = {field};
  return request;
}

// A second pair of eyes on the file, and hands for what no catalog would write.
std::string Sql(const std::string& path, const std::string& sql) {
  sqlite3* handle = nullptr;
  EXPECT_EQ(sqlite3_open(path.c_str(), &handle), SQLITE_OK);
  std::string out;
  auto collect = [](void* text, int count, char** values, char**) {
    auto& row = *static_cast<std::string*>(text);
    for (int i = 0; i < count; ++i) row += std::string(values[i] ? values[i] : "NULL") + "|";
    return 0;
  };
  char* message = nullptr;
  EXPECT_EQ(sqlite3_exec(handle, sql.c_str(), collect, &out, &message), SQLITE_OK) << message;
  sqlite3_free(message);
  sqlite3_close(handle);
  return out;
}

class SqliteCatalogTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "firn-catalog-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = folder_ / "catalog.db";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<SqliteCatalog> Open(int64_t busy_timeout_ms = 10'000) {
    auto made = SqliteCatalog::Create({path_, "firn", "file:///lake/", busy_timeout_ms}, store_, clock_, random_);
    EXPECT_TRUE(made.has_value()) << made.error().ToString();
    return made.has_value() ? std::move(*made) : nullptr;
  }

  LoadedTable Make(Catalog& catalog) {
    EXPECT_TRUE(catalog.EnsureNamespace({"db"}).has_value());
    auto made = catalog.CreateTable(kEvents, Request());
    EXPECT_TRUE(made.has_value()) << made.error().ToString();
    return made.value();
  }

  std::filesystem::path folder_;
  std::string path_;
  env::ManualClock clock_;
  env::SeededRandom random_{11};
  env::MemoryStore memory_;
  env::FaultyStore store_{memory_};
};

const std::vector<TableUpdate> kSetA = {SetProperties{{{"a", "1"}}}};

TEST_F(SqliteCatalogTest, CreatesLoadsCommitsDrops) {
  auto catalog = Open();
  LoadedTable made = Make(*catalog);
  EXPECT_EQ(made.metadata.location, "file:///lake/db/events");
  EXPECT_EQ(MetadataVersion(made.metadata_location), 0);
  EXPECT_EQ(made.metadata.last_updated_ms, clock_.WallMs());
  EXPECT_EQ(catalog->CreateTable(kEvents, Request()).error().code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(catalog->ServerTimeMs(), clock_.WallMs());
  EXPECT_TRUE(catalog->Ping().has_value());

  clock_.Advance(5);
  auto committed = catalog->CommitTable(kEvents, {AssertTableUuid{made.metadata.table_uuid}}, kSetA);
  ASSERT_TRUE(committed.has_value()) << committed.error().ToString();
  EXPECT_EQ(MetadataVersion(committed->metadata_location), 1);
  EXPECT_EQ(committed->metadata.metadata_log.back().metadata_file, made.metadata_location);
  EXPECT_EQ(Open()->LoadTable(kEvents)->metadata.Serialize(), committed->metadata.Serialize());
  EXPECT_EQ(Sql(path_, "SELECT * FROM iceberg_tables"),
            "firn|db|events|" + committed->metadata_location + "|" + made.metadata_location + "|TABLE|");

  EXPECT_EQ(catalog->CommitTable(kEvents, {AssertTableUuid{"other"}}, kSetA).error().code(), ErrorCode::kConflict);
  EXPECT_EQ(catalog->CommitTable(kEvents, {}, {SetCurrentSchema{9}}).error().code(), ErrorCode::kInvalidInput);
  EXPECT_EQ(catalog->CommitTable(kEvents, {}, {})->metadata_location, committed->metadata_location);

  EXPECT_TRUE(catalog->DropTable(kEvents).has_value());
  EXPECT_EQ(catalog->DropTable(kEvents).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(catalog->LoadTable(kEvents).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(catalog->CommitTable(kEvents, {}, kSetA).error().code(), ErrorCode::kNotFound);
  EXPECT_TRUE(memory_.Stat(committed->metadata_location).has_value());  // dropped, not purged
}

TEST_F(SqliteCatalogTest, NamespacesHaveMarkerRows) {
  auto catalog = Open();
  EXPECT_FALSE(catalog->NamespaceExists({"a"}).value());
  EXPECT_EQ(catalog->ListTables({"a"}).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(catalog->CreateTable({{"a"}, "t"}, Request()).error().code(), ErrorCode::kNotFound);
  EXPECT_TRUE(catalog->EnsureNamespace({"a", "b"}).has_value());
  EXPECT_TRUE(catalog->EnsureNamespace({"a", "b"}).has_value());
  EXPECT_TRUE(catalog->NamespaceExists({"a"}).value());
  EXPECT_TRUE(catalog->NamespaceExists({"a", "b"}).value());
  EXPECT_FALSE(catalog->NamespaceExists({"a", "%"}).value());
  EXPECT_EQ(Sql(path_, "SELECT namespace, property_key, property_value FROM iceberg_namespace_properties ORDER BY 1"),
            "a|exists|true|a.b|exists|true|");
  ASSERT_TRUE(catalog->CreateTable({{"a", "b"}, "z"}, Request()).has_value());
  ASSERT_TRUE(catalog->CreateTable({{"a", "b"}, "y"}, Request()).has_value());
  EXPECT_EQ(catalog->ListTables({"a", "b"}).value(),
            (std::vector<TableIdentifier>{{{"a", "b"}, "y"}, {{"a", "b"}, "z"}}));
  EXPECT_TRUE(catalog->ListTables({"a"})->empty());
  Sql(path_, "INSERT INTO iceberg_tables VALUES ('firn', 'x.y', 't', 'm', NULL, NULL)");
  EXPECT_TRUE(catalog->NamespaceExists({"x"}).value());  // another writer's table without marker rows
  Sql(path_, "INSERT INTO iceberg_namespace_properties VALUES ('firn', 'a', 'location', 's3://bucket/ns/')");
  EXPECT_EQ(catalog->CreateTable({{"a"}, "t"}, Request())->metadata.location, "s3://bucket/ns/t");
}

TEST_F(SqliteCatalogTest, RefusesNamesThatLeaveTheirPlace) {
  auto catalog = Open();
  Make(*catalog);
  for (const char* name : {"", "..", ".", "a.b", "a/b", "a\\b", "a\nb"}) {
    EXPECT_EQ(catalog->CreateTable({{"db"}, name}, Request()).error().code(), ErrorCode::kInvalidInput) << name;
    EXPECT_EQ(catalog->EnsureNamespace({"db", name}).error().code(), ErrorCode::kInvalidInput) << name;
  }
  EXPECT_EQ(catalog->EnsureNamespace({}).error().code(), ErrorCode::kInvalidInput);
  EXPECT_EQ(catalog->LoadTable({{}, "events"}).error().code(), ErrorCode::kInvalidInput);
  EXPECT_TRUE(catalog->CreateTable({{"db"}, "o'hara; DROP TABLE iceberg_tables"}, Request()).has_value());
}

TEST_F(SqliteCatalogTest, KeepsApartCatalogsViewsAndTheirNames) {
  auto catalog = Open();
  Make(*catalog);
  Sql(path_, "INSERT INTO iceberg_tables VALUES ('other', 'db', 'theirs', 'm', NULL, 'TABLE')");
  Sql(path_, "INSERT INTO iceberg_tables VALUES ('firn', 'db', 'v', 'm', NULL, 'VIEW')");
  EXPECT_EQ(catalog->ListTables({"db"}).value(), std::vector<TableIdentifier>{kEvents});
  EXPECT_EQ(catalog->LoadTable({{"db"}, "v"}).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(catalog->DropTable({{"db"}, "v"}).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(catalog->CreateTable({{"db"}, "v"}, Request()).error().code(), ErrorCode::kAlreadyExists);
}

TEST_F(SqliteCatalogTest, BrokenRowsAndFilesAreCorruptionNotAbsence) {
  auto catalog = Open();
  LoadedTable made = Make(*catalog);
  Sql(path_, "INSERT INTO iceberg_tables VALUES ('firn', 'db', 'null_row', NULL, NULL, NULL)");
  Sql(path_, "INSERT INTO iceberg_tables VALUES ('firn', 'db', 'gone', 'file:///gone.metadata.json', NULL, NULL)");
  Sql(path_, "INSERT INTO iceberg_tables VALUES ('firn', 'db', 'bad', 'file:///bad.metadata.json', NULL, NULL)");
  memory_.Overwrite("file:///bad.metadata.json", "not json");
  for (const char* name : {"null_row", "gone", "bad"}) {
    EXPECT_EQ(catalog->LoadTable({{"db"}, name}).error().code(), ErrorCode::kCorruption) << name;
    EXPECT_EQ(catalog->CommitTable({{"db"}, name}, {}, kSetA).error().code(), ErrorCode::kCorruption) << name;
  }
  ASSERT_TRUE(memory_.Delete(made.metadata_location).has_value());
  EXPECT_EQ(Open()->LoadTable(kEvents).error().code(), ErrorCode::kCorruption);
}

TEST_F(SqliteCatalogTest, OpensTheOlderLayout) {
  Sql(path_,
      "CREATE TABLE iceberg_tables (catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, "
      "table_name VARCHAR(255) NOT NULL, metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000), "
      "PRIMARY KEY (catalog_name, table_namespace, table_name))");
  auto catalog = Open();
  Make(*catalog);
  Sql(path_, "UPDATE iceberg_tables SET iceberg_type = NULL");  // as an old writer leaves it
  EXPECT_TRUE(catalog->CommitTable(kEvents, {}, kSetA).has_value());
}

TEST_F(SqliteCatalogTest, WhoOnlyReadsChangesNoFile) {
  auto open = [&](SqliteAccess access) {
    return SqliteCatalog::Create({path_, "firn", "file:///lake/", 1000, access}, store_, clock_, random_);
  };
  auto content = [&] {
    std::ifstream file(path_, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  for (SqliteAccess access : {SqliteAccess::kRead, SqliteAccess::kWrite}) {
    EXPECT_EQ(open(access).error().code(), ErrorCode::kNotFound);
    EXPECT_NE(open(access).error().message().find(path_), std::string::npos);
    EXPECT_FALSE(std::filesystem::exists(path_));
  }

  // No catalog yet: another program's file.
  Sql(path_, "CREATE TABLE notes (text)");
  std::string before = content();
  auto empty = open(SqliteAccess::kRead).value();
  EXPECT_TRUE(empty->Ping().has_value());
  EXPECT_EQ(empty->LoadTable(kEvents).error().code(), ErrorCode::kNotFound);
  EXPECT_FALSE(empty->NamespaceExists({"db"}).value());
  EXPECT_FALSE(empty->EnsureNamespace({"db"}).has_value());
  EXPECT_EQ(content(), before);

  // The older layout, with a table in it.
  std::filesystem::remove(path_);
  LoadedTable made = Make(*Open());
  Sql(path_, "ALTER TABLE iceberg_tables DROP COLUMN iceberg_type");
  before = content();
  auto older = open(SqliteAccess::kRead).value();
  EXPECT_EQ(older->LoadTable(kEvents).value().metadata_location, made.metadata_location);
  EXPECT_EQ(older->ListTables({"db"}).value().size(), 1u);
  EXPECT_FALSE(older->CommitTable(kEvents, {}, kSetA).has_value());
  EXPECT_FALSE(older->DropTable(kEvents).has_value());
  EXPECT_EQ(content(), before);

  EXPECT_TRUE(open(SqliteAccess::kWrite).value()->CommitTable(kEvents, {}, kSetA).has_value());
  auto newer = open(SqliteAccess::kRead).value();
  EXPECT_EQ(newer->LoadTable(kEvents).value().metadata.Property("a"), "1");
}

TEST_F(SqliteCatalogTest, RefusesOptionsAndFilesThatCannotWork) {
  auto code = [&](SqliteCatalogOptions options) {
    return SqliteCatalog::Create(options, store_, clock_, random_).error().code();
  };
  EXPECT_EQ(code({"", "firn", "file:///lake"}), ErrorCode::kInvalidInput);
  EXPECT_EQ(code({path_, "", "file:///lake"}), ErrorCode::kInvalidInput);
  EXPECT_EQ(code({path_, "firn", "lake"}), ErrorCode::kInvalidInput);
  EXPECT_EQ(code({folder_ / "none" / "c.db", "firn", "file:///lake"}), ErrorCode::kIoError);
  std::ofstream(folder_ / "text.db") << std::string(10'000, 'x');
  EXPECT_EQ(code({folder_ / "text.db", "firn", "file:///lake"}), ErrorCode::kCorruption);
}

TEST_F(SqliteCatalogTest, StoreFailuresNeverLookLikeTheTable) {
  auto catalog = Open();
  Make(*catalog);
  const std::pair<ErrorCode, ErrorCode> cases[] = {{ErrorCode::kTimeout, ErrorCode::kUnavailable},
                                                   {ErrorCode::kUnavailable, ErrorCode::kUnavailable},
                                                   {ErrorCode::kNotFound, ErrorCode::kIoError},
                                                   {ErrorCode::kAlreadyExists, ErrorCode::kIoError},
                                                   {ErrorCode::kUnauthorized, ErrorCode::kUnauthorized},
                                                   {ErrorCode::kResourceExhausted, ErrorCode::kResourceExhausted},
                                                   {ErrorCode::kCommitStateUnknown, ErrorCode::kUnavailable}};
  for (const auto& [from_store, wanted] : cases) {
    store_.Inject({.call = env::StoreCall::kPutIfAbsent, .persistent = true, .code = from_store});
    EXPECT_EQ(catalog->CommitTable(kEvents, {}, kSetA).error().code(), wanted);
    EXPECT_EQ(catalog->CreateTable({{"db"}, "second"}, Request()).error().code(), wanted);
    store_.ClearFaults();
  }
  EXPECT_TRUE(catalog->LoadTable(kEvents)->metadata.properties.empty());
  EXPECT_EQ(catalog->LoadTable({{"db"}, "second"}).error().code(), ErrorCode::kNotFound);
}

TEST_F(SqliteCatalogTest, ALockThatIsKeptIsUnavailable) {
  auto catalog = Open(50);
  Make(*catalog);
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  EXPECT_EQ(catalog->CommitTable(kEvents, {}, kSetA).error().code(), ErrorCode::kUnavailable);
  ASSERT_EQ(sqlite3_exec(other, "ROLLBACK", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(other);
  EXPECT_TRUE(catalog->CommitTable(kEvents, {}, kSetA).has_value());
}

TEST_F(SqliteCatalogTest, AnIoErrorWhileCommittingLeavesTheStateUnknown) {
  auto catalog = Open();
  Make(*catalog);
  rlimit old_limit{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit tiny = old_limit;
  tiny.rlim_cur = 512;  // no file may grow beyond: the journal cannot be written
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tiny), 0);
  auto committed = catalog->CommitTable(kEvents, {}, kSetA);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(committed.has_value());
  EXPECT_EQ(committed.error().code(), ErrorCode::kCommitStateUnknown) << committed.error().ToString();
  auto looked = catalog->LoadTable(kEvents);  // what the caller does next
  ASSERT_TRUE(looked.has_value()) << looked.error().ToString();
  EXPECT_TRUE(looked->metadata.properties.empty());
  EXPECT_TRUE(catalog->CommitTable(kEvents, {}, kSetA).has_value());
}

TEST_F(SqliteCatalogTest, ExpiredMetadataFilesAreDeletedAfterTheCommit) {
  auto catalog = Open();
  LoadedTable made = Make(*catalog);
  std::vector<std::string> locations = {made.metadata_location};
  Properties settings = {{"write.metadata.previous-versions-max", "2"},
                         {"write.metadata.delete-after-commit.enabled", "true"}};
  for (int i = 0; i < 5; ++i) {
    locations.push_back(catalog->CommitTable(kEvents, {}, {SetProperties{settings}})->metadata_location);
  }
  EXPECT_EQ(memory_.object_count(), 3u);
  EXPECT_FALSE(memory_.Stat(locations[2]).has_value());
  EXPECT_TRUE(memory_.Stat(locations[3]).has_value());
  store_.Inject({.call = env::StoreCall::kDelete, .persistent = true});
  EXPECT_TRUE(catalog->CommitTable(kEvents, {}, {SetProperties{settings}}).has_value());
  EXPECT_EQ(memory_.object_count(), 4u);
}

// Two catalogs, as two processes have them, race for the head of main; each round has exactly one winner, and what it
// wrote is what the table then says.
TEST_F(SqliteCatalogTest, OneOfTwoRacingCommitsWins) {
  constexpr int kRounds = 40;
  std::unique_ptr<SqliteCatalog> catalogs[] = {Open(), Open()};
  Make(*catalogs[0]);
  std::barrier start(2);
  std::optional<ErrorCode> outcomes[2][kRounds];
  auto race = [&](int who) {
    for (int round = 0; round < kRounds; ++round) {
      Snapshot snapshot;
      snapshot.snapshot_id = SnapshotId(10 * (round + 1) + who);
      snapshot.sequence_number = round + 1;
      snapshot.manifest_list = "file:///lake/db/events/metadata/list.avro";
      snapshot.summary = {{"operation", "append"}, {"who", std::to_string(who)}};
      std::optional<SnapshotId> head;
      auto base = catalogs[who]->LoadTable(kEvents);
      if (base.has_value()) head = base->metadata.current_snapshot_id;
      snapshot.parent_snapshot_id = head;
      SetSnapshotRef main;
      main.value.snapshot_id = snapshot.snapshot_id;
      start.arrive_and_wait();
      auto committed =
          catalogs[who]->CommitTable(kEvents, {AssertRefSnapshotId{"main", head}}, {AddSnapshot{snapshot}, main});
      if (!committed.has_value()) outcomes[who][round] = committed.error().code();
      start.arrive_and_wait();
    }
  };
  {
    std::jthread first(race, 0);
    std::jthread second(race, 1);
  }
  TableMetadata table = Open()->LoadTable(kEvents)->metadata;
  ASSERT_EQ(table.snapshots.size(), static_cast<size_t>(kRounds));
  for (int round = 0; round < kRounds; ++round) {
    bool first_won = !outcomes[0][round].has_value();
    ASSERT_NE(first_won, !outcomes[1][round].has_value()) << round;
    EXPECT_EQ(outcomes[first_won ? 1 : 0][round], ErrorCode::kConflict) << round;
    EXPECT_EQ(table.snapshots[static_cast<size_t>(round)].summary.at("who"), first_won ? "0" : "1");
  }
}

TEST_F(SqliteCatalogTest, TheLastVersionHasNoNext) {
  auto catalog = Open();
  LoadedTable made = Make(*catalog);
  const std::string last = "file:///lake/db/events/metadata/9223372036854775807-x.metadata.json";
  ASSERT_TRUE(store_.Put(last, made.metadata.Serialize()).has_value());
  Sql(path_, "UPDATE iceberg_tables SET metadata_location = '" + last + "'");
  EXPECT_EQ(catalog->CommitTable(kEvents, {}, kSetA).error().code(), ErrorCode::kCorruption);
}

TEST(TableIdentifier, ParsesDottedNames) {
  EXPECT_EQ(TableIdentifier::Parse("a.b.t").value(), (TableIdentifier{{"a", "b"}, "t"}));
  EXPECT_EQ(TableIdentifier::Parse("a.b.t")->ToString(), "a.b.t");
  for (const char* bad : {"", "t", ".t", "a.", "a..t", "."}) {
    auto parsed = TableIdentifier::Parse(bad);
    ASSERT_FALSE(parsed.has_value()) << bad;
    EXPECT_EQ(parsed.error().code(), ErrorCode::kInvalidInput);
  }
}

}  // namespace
}  // namespace firn::iceberg
