#include "firn/cli/vended_store.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "firn/env/testing/manual_clock.h"

namespace firn::cli {
namespace {

// Only LoadTable matters here.
class OneTableCatalog final : public iceberg::Catalog {
 public:
  Result<iceberg::LoadedTable> LoadTable(const iceberg::TableIdentifier& identifier) override {
    ++asked;
    if (!table_exists) return Fail(ErrorCode::kNotFound, "none");
    iceberg::LoadedTable table;
    table.identifier = identifier;
    table.storage = storage;
    return table;
  }
  Result<iceberg::LoadedTable> CreateTable(const iceberg::TableIdentifier&,
                                           const iceberg::CreateTableRequest&) override {
    return Fail(ErrorCode::kUnsupported, "");
  }
  Result<iceberg::LoadedTable> CommitTable(const iceberg::TableIdentifier&,
                                           const std::vector<iceberg::TableRequirement>&,
                                           const std::vector<iceberg::TableUpdate>&) override {
    return Fail(ErrorCode::kUnsupported, "");
  }
  Status DropTable(const iceberg::TableIdentifier&) override { return {}; }
  Result<std::vector<iceberg::TableIdentifier>> ListTables(const std::vector<std::string>&) override {
    return std::vector<iceberg::TableIdentifier>();
  }
  Status EnsureNamespace(const std::vector<std::string>&) override { return {}; }
  Result<bool> NamespaceExists(const std::vector<std::string>&) override { return true; }
  std::optional<int64_t> ServerTimeMs() const override { return std::nullopt; }
  Status Ping() override { return {}; }
  std::string description() const override { return "test"; }

  int asked = 0;
  bool table_exists = true;
  iceberg::Properties storage;
};

TEST(MergeStorage, TheCatalogFillsWhatTheConfigurationLeavesOpen) {
  iceberg::Properties storage = {{"s3.endpoint", "http://catalog"}, {"s3.path-style-access", "false"},
                                 {"s3.access-key-id", "k"},         {"s3.secret-access-key", "s"},
                                 {"s3.session-token", "t"},         {"client.region", "eu"}};
  env::S3StoreOptions merged = MergeStorage({}, storage);
  EXPECT_EQ(merged.endpoint, "http://catalog");
  EXPECT_FALSE(merged.path_style);
  EXPECT_EQ(merged.access_key_id, "k");
  EXPECT_EQ(merged.secret_access_key, "s");
  EXPECT_EQ(merged.session_token, "t");
  EXPECT_EQ(merged.region, "eu");

  env::S3StoreOptions own;
  own.endpoint = "http://own";
  own.region = "own";
  own.access_key_id = "own";
  own.secret_access_key = "own";
  merged = MergeStorage(own, storage);
  EXPECT_EQ(merged.endpoint, "http://own");
  EXPECT_TRUE(merged.path_style);
  EXPECT_EQ(merged.region, "own");
  EXPECT_EQ(merged.secret_access_key, "own");
  EXPECT_EQ(merged.session_token, "");
  EXPECT_TRUE(MergeStorage({}, {}).access_key_id.empty());
}

// Nobody listens there: each call fails fast, and what counts is how often the catalog is asked.
env::StoreOptions Nowhere() {
  env::StoreOptions options;
  options.s3.endpoint = "http://127.0.0.1:1";
  options.s3.region = "r";
  options.s3.connect_timeout_ms = 100;
  options.s3.request_timeout_ms = 100;
  options.s3.attempts_max = 1;
  return options;
}

TEST(VendedStore, LocalFilesDoNotAskTheCatalog) {
  OneTableCatalog catalog;
  env::ManualClock clock;
  VendedStore store({}, catalog, {{{"a"}, "b"}}, clock);
  std::string location =
      "file://" + (std::filesystem::path(::testing::TempDir()) / fmt::format("vended_store_{}.txt", getpid())).string();
  ASSERT_TRUE(store.Delete(location).has_value());
  ASSERT_TRUE(store.Put(location, "x").has_value());
  EXPECT_EQ(store.Read(location).value(), "x");
  EXPECT_EQ(catalog.asked, 0);
}

TEST(VendedStore, TheCatalogIsAskedOnceAndAgainBeforeTheCredentialsExpire) {
  OneTableCatalog catalog;
  env::ManualClock clock(1'000'000'000);
  catalog.storage = {{"s3.access-key-id", "k"},
                     {"s3.secret-access-key", "s"},
                     {"s3.session-token-expires-at-ms", std::to_string(1'000'000'000 + 3'600'000)}};
  VendedStore store(Nowhere(), catalog, {{{"a"}, "b"}}, clock);
  EXPECT_FALSE(store.Stat("s3://bucket/key").has_value());
  EXPECT_FALSE(store.Stat("s3://bucket/key").has_value());
  EXPECT_EQ(catalog.asked, 1);
  clock.Advance(3'600'000 - VendedStore::kRenewBeforeMs + 1);
  EXPECT_FALSE(store.Stat("s3://bucket/key").has_value());
  EXPECT_EQ(catalog.asked, 2);
  EXPECT_FALSE(store.Stat("s3://bucket/key").has_value());  // the same answer again: not asked at once
  EXPECT_EQ(catalog.asked, 2);
}

TEST(VendedStore, WhileNoTableExistsTheCatalogIsAskedSoonAgain) {
  OneTableCatalog catalog;
  catalog.table_exists = false;
  env::ManualClock clock;
  env::StoreOptions options = Nowhere();
  options.s3.access_key_id = "k";
  options.s3.secret_access_key = "s";
  VendedStore store(options, catalog, {{{"a"}, "b"}}, clock);
  EXPECT_FALSE(store.Stat("s3://bucket/key").has_value());
  EXPECT_FALSE(store.Stat("s3://bucket/key").has_value());
  EXPECT_EQ(catalog.asked, 1);
  clock.Advance(VendedStore::kUnansweredAgainMs);
  catalog.table_exists = true;
  EXPECT_FALSE(store.Stat("s3://bucket/key").has_value());
  EXPECT_EQ(catalog.asked, 2);
  clock.Advance(10 * VendedStore::kAskAgainMs);
  EXPECT_FALSE(store.Stat("s3://bucket/key").has_value());
  EXPECT_EQ(catalog.asked, 2);  // it has spoken, and nothing expires
}

}  // namespace
}  // namespace firn::cli
