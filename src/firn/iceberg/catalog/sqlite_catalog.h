// SqliteCatalog: a catalog in one SQLite file, in the layout of Java's JdbcCatalog and PyIceberg's SqlCatalog, so that
// Spark, Trino and PyIceberg open the same file.
//
// Thread-safe; several processes may use one file. Metadata files are written to the object store before the row is
// swapped, and the swap (UPDATE … WHERE metadata_location = old) decides who won. The journal mode is left as it is:
// the other programs expect the file to stand alone. Store, clock and random outlive the catalog.
// Engines that share the file must use the same `catalog_name`.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "firn/env/clock.h"
#include "firn/env/object_store.h"
#include "firn/iceberg/catalog/catalog.h"

namespace firn::iceberg {

class SqliteDatabase;

enum class SqliteAccess : uint8_t {
  kCreate,  // the file is made if it is missing (its folder must exist)
  kWrite,   // the file must be there
  kRead,    // the same, and nothing is written: a file without a catalog's tables is an empty catalog
};

struct SqliteCatalogOptions {
  std::string path;                   // of the database file
  std::string catalog_name = "firn";  // the rows of another name are another catalog
  std::string warehouse;              // location under which tables are made: "file:///lake", "s3://bucket/lake"
  int64_t busy_timeout_ms = 10'000;   // how long a call waits for another process's write
  SqliteAccess access = SqliteAccess::kCreate;
};

class SqliteCatalog final : public Catalog {
 public:
  // kNotFound: the file is missing and must be there. kInvalidInput, kIoError, kCorruption.
  static Result<std::unique_ptr<SqliteCatalog>> Create(SqliteCatalogOptions options, env::ObjectStore& store,
                                                       env::Clock& clock, env::Random& random);
  ~SqliteCatalog() override;

  Result<LoadedTable> LoadTable(const TableIdentifier& identifier) override;
  Result<LoadedTable> CreateTable(const TableIdentifier& identifier, const CreateTableRequest& request) override;
  Result<LoadedTable> CommitTable(const TableIdentifier& identifier, const std::vector<TableRequirement>& requirements,
                                  const std::vector<TableUpdate>& updates) override;
  Status DropTable(const TableIdentifier& identifier) override;
  Result<std::vector<TableIdentifier>> ListTables(const std::vector<std::string>& namespace_levels) override;
  Status EnsureNamespace(const std::vector<std::string>& namespace_levels) override;
  Result<bool> NamespaceExists(const std::vector<std::string>& namespace_levels) override;
  std::optional<int64_t> ServerTimeMs() const override;
  Status Ping() override;
  std::string description() const override;

 private:
  struct CachedMetadata {
    std::string location;
    std::shared_ptr<const TableMetadata> metadata;
  };

  SqliteCatalog(SqliteCatalogOptions options, std::unique_ptr<SqliteDatabase> database, env::ObjectStore& store,
                env::Clock& clock, env::Random& random);
  Result<std::string> MetadataLocation(const TableIdentifier& identifier);
  Result<TableMetadata> ReadMetadata(const std::string& location);
  void Remember(const std::string& location, const TableMetadata& metadata);
  Result<std::string> DefaultLocation(const TableIdentifier& identifier);
  Status SwapLocation(const TableIdentifier& identifier, const std::string& old_location,
                      const std::string& new_location);

  const SqliteCatalogOptions options_;
  env::ObjectStore& store_;
  env::Clock& clock_;
  env::Random& random_;
  std::mutex mutex_;  // guards database_ and cache_; never held while the store is used
  std::unique_ptr<SqliteDatabase> database_;
  std::list<CachedMetadata> cache_;  // newest first; a metadata file never changes, so its content can be kept
};

}  // namespace firn::iceberg
