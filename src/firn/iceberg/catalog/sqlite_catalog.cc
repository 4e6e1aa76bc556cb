#include "firn/iceberg/catalog/sqlite_catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "firn/base/encoding.h"
#include "firn/iceberg/catalog/metadata_file.h"
#include "firn/iceberg/catalog/sqlite_database.h"

namespace firn::iceberg {
namespace {

using Levels = std::vector<std::string>;

constexpr size_t kCachedTablesMax = 64;
constexpr int kReadAttemptsMax = 3;

// Layout V1 of Java's JdbcCatalog; PyIceberg's SqlCatalog makes the same tables.
constexpr const char* kCreateTables =
    "CREATE TABLE IF NOT EXISTS iceberg_tables ("
    "catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL, "
    "metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000), iceberg_type VARCHAR(5), "
    "PRIMARY KEY (catalog_name, table_namespace, table_name))";
constexpr const char* kCreateNamespaces =
    "CREATE TABLE IF NOT EXISTS iceberg_namespace_properties ("
    "catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL, property_key VARCHAR(255), "
    "property_value VARCHAR(1000), PRIMARY KEY (catalog_name, namespace, property_key))";
// For who may only read: what is missing in the file stands in the connection's own temporary database, whose names
// come first.
constexpr const char* kHasTable = "SELECT 1 FROM main.sqlite_master WHERE type = 'table' AND name = ?1";
constexpr const char* kShadowTables =
    "CREATE TEMP TABLE iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, iceberg_type)";
constexpr const char* kShadowNamespaces =
    "CREATE TEMP TABLE iceberg_namespace_properties (catalog_name, namespace, property_key, property_value)";
constexpr const char* kShadowType =
    "CREATE TEMP VIEW iceberg_tables AS SELECT *, NULL AS iceberg_type FROM main.iceberg_tables";
constexpr const char* kTypeColumn = "SELECT 1 FROM pragma_table_info('iceberg_tables') WHERE name = 'iceberg_type'";
constexpr const char* kAddTypeColumn = "ALTER TABLE iceberg_tables ADD COLUMN iceberg_type VARCHAR(5)";

constexpr const char* kSelectTable =
    "SELECT metadata_location FROM iceberg_tables WHERE catalog_name = ?1 AND table_namespace = ?2 "
    "AND table_name = ?3 AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)";
constexpr const char* kInsertTable =
    "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, "
    "previous_metadata_location, iceberg_type) VALUES (?1, ?2, ?3, ?4, NULL, 'TABLE')";
constexpr const char* kSwapTable =
    "UPDATE iceberg_tables SET metadata_location = ?5, previous_metadata_location = ?4 WHERE catalog_name = ?1 "
    "AND table_namespace = ?2 AND table_name = ?3 AND metadata_location = ?4 "
    "AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)";
constexpr const char* kDeleteTable =
    "DELETE FROM iceberg_tables WHERE catalog_name = ?1 AND table_namespace = ?2 AND table_name = ?3 "
    "AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)";
constexpr const char* kListTables =
    "SELECT table_name FROM iceberg_tables WHERE catalog_name = ?1 AND table_namespace = ?2 "
    "AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL) ORDER BY table_name";
// A namespace exists through a property of its own, or through a table or namespace inside it.
constexpr const char* kNamespaceExists =
    "SELECT 1 FROM iceberg_namespace_properties WHERE catalog_name = ?1 "
    "AND (namespace = ?2 OR substr(namespace, 1, length(?2) + 1) = ?2 || '.') "
    "UNION ALL SELECT 1 FROM iceberg_tables WHERE catalog_name = ?1 "
    "AND (table_namespace = ?2 OR substr(table_namespace, 1, length(?2) + 1) = ?2 || '.') LIMIT 1";
constexpr const char* kNamespaceListed =
    "SELECT 1 FROM iceberg_namespace_properties WHERE catalog_name = ?1 AND namespace = ?2 LIMIT 1";
constexpr const char* kInsertNamespace =
    "INSERT OR IGNORE INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value) "
    "VALUES (?1, ?2, 'exists', 'true')";
constexpr const char* kNamespaceLocation =
    "SELECT property_value FROM iceberg_namespace_properties WHERE catalog_name = ?1 AND namespace = ?2 "
    "AND property_key = 'location'";

// Names become folder names and, joined with dots, keys; what would be ambiguous or leave the warehouse is refused.
Status CheckName(const std::string& name, std::string_view what) {
  bool bad = name.empty() || name == ".." || std::any_of(name.begin(), name.end(), [](unsigned char c) {
               return c < 0x20 || c == 0x7f || c == '/' || c == '\\' || c == '.';
             });
  if (!bad) return {};
  return Fail(ErrorCode::kInvalidInput,
              fmt::format("{} must not be empty nor hold dots, slashes or control characters: '{}'", what, name));
}

Result<std::string> NamespaceKey(const Levels& levels) {
  if (levels.empty()) return Fail(ErrorCode::kInvalidInput, "a namespace needs at least one level");
  std::string out;
  for (const std::string& level : levels) {
    FIRN_TRY(CheckName(level, "a namespace level"));
    out += (out.empty() ? "" : ".") + level;
  }
  return out;
}

Result<std::string> NormalizeWarehouse(std::string warehouse) {
  if (warehouse.starts_with('/')) warehouse = "file://" + warehouse;
  if (warehouse.find("://") == std::string::npos) {
    return Fail(
        ErrorCode::kInvalidInput,
        fmt::format("the warehouse must be a URI (file:///…, s3://…) or an absolute path, got: '{}'", warehouse));
  }
  while (warehouse.ends_with('/')) warehouse.pop_back();
  return warehouse;
}

// What a failed write to the store means for a commit: it never came to the swap. Codes that callers read as a word
// about the table (not found, exists) must not come from the store.
Error BeforeSwap(Error error) {
  switch (error.code()) {
    case ErrorCode::kTimeout:
    case ErrorCode::kCommitStateUnknown: return Error(ErrorCode::kUnavailable, error.message());
    case ErrorCode::kNotFound:
    case ErrorCode::kConflict:
    case ErrorCode::kAlreadyExists: return Error(ErrorCode::kIoError, error.message());
    default: return error;
  }
}

std::unexpected<Error> NoSuchTable(const TableIdentifier& identifier) {
  return Fail(ErrorCode::kNotFound, fmt::format("the catalog has no table: '{}'", identifier.ToString()));
}

std::unexpected<Error> NoSuchNamespace(const std::string& key) {
  return Fail(ErrorCode::kNotFound, fmt::format("the catalog has no namespace: '{}'", key));
}

Status PrepareTables(SqliteDatabase& database) {
  FIRN_TRY(database.Write(kCreateTables, {}));
  FIRN_TRY(database.Write(kCreateNamespaces, {}));
  FIRN_ASSIGN(auto has_type, database.Query(kTypeColumn, {}));
  if (!has_type.empty()) return {};
  // A file of layout V0: older Java clients go on working with the added column, which is null for tables.
  Result<int64_t> added = database.Write(kAddTypeColumn, {});
  if (added.has_value()) return {};
  FIRN_ASSIGN(has_type, database.Query(kTypeColumn, {}));  // another process may have been quicker
  if (has_type.empty()) return std::unexpected<Error>(std::move(added.error()));
  return {};
}

Status PrepareReading(SqliteDatabase& database) {
  FIRN_ASSIGN(auto has_tables, database.Query(kHasTable, {"iceberg_tables"}));
  FIRN_ASSIGN(auto has_namespaces, database.Query(kHasTable, {"iceberg_namespace_properties"}));
  FIRN_ASSIGN(auto has_type, database.Query(kTypeColumn, {}));
  if (has_tables.empty()) {
    FIRN_TRY(database.Write(kShadowTables, {}));
  } else if (has_type.empty()) {
    FIRN_TRY(database.Write(kShadowType, {}));
  }
  if (has_namespaces.empty()) FIRN_TRY(database.Write(kShadowNamespaces, {}));
  FIRN_TRY(database.Query("PRAGMA query_only = 1", {}));
  return {};
}

}  // namespace

Result<std::unique_ptr<SqliteCatalog>> SqliteCatalog::Create(SqliteCatalogOptions options, env::ObjectStore& store,
                                                             env::Clock& clock, env::Random& random) {
  if (options.path.empty() || options.catalog_name.empty()) {
    return Fail(ErrorCode::kInvalidInput, "a SQLite catalog needs the path of its file and a catalog name");
  }
  FIRN_ASSIGN(options.warehouse, NormalizeWarehouse(options.warehouse));
  auto context = fmt::format("catalog file '{}'", options.path);
  const bool create = options.access == SqliteAccess::kCreate;
  FIRN_ASSIGN(std::unique_ptr<SqliteDatabase> database,
              WithContext(SqliteDatabase::Open(options.path, options.busy_timeout_ms, create), context));
  const bool read_only = options.access == SqliteAccess::kRead;
  FIRN_TRY(WithContext(read_only ? PrepareReading(*database) : PrepareTables(*database), context));
  return std::unique_ptr<SqliteCatalog>(
      new SqliteCatalog(std::move(options), std::move(database), store, clock, random));
}

SqliteCatalog::SqliteCatalog(SqliteCatalogOptions options, std::unique_ptr<SqliteDatabase> database,
                             env::ObjectStore& store, env::Clock& clock, env::Random& random)
    : options_(std::move(options)), store_(store), clock_(clock), random_(random), database_(std::move(database)) {}

SqliteCatalog::~SqliteCatalog() = default;

Result<std::string> SqliteCatalog::MetadataLocation(const TableIdentifier& identifier) {
  FIRN_ASSIGN(std::string key, NamespaceKey(identifier.namespace_levels));
  std::lock_guard lock(mutex_);
  FIRN_ASSIGN(auto rows, database_->Query(kSelectTable, {options_.catalog_name, key, identifier.name}));
  if (rows.empty()) return NoSuchTable(identifier);
  if (!rows[0][0].has_value() || rows[0][0]->empty()) {
    return Fail(ErrorCode::kCorruption,
                fmt::format("the catalog's row has no metadata location; table '{}'", identifier.ToString()));
  }
  return *rows[0][0];
}

void SqliteCatalog::Remember(const std::string& location, const TableMetadata& metadata) {
  auto kept = std::make_shared<const TableMetadata>(metadata);
  std::lock_guard lock(mutex_);
  // One entry a table: its older versions will not be asked for again.
  cache_.remove_if([&](const CachedMetadata& entry) { return entry.metadata->table_uuid == metadata.table_uuid; });
  cache_.push_front({location, std::move(kept)});
  if (cache_.size() > kCachedTablesMax) cache_.pop_back();
}

Result<TableMetadata> SqliteCatalog::ReadMetadata(const std::string& location) {
  {
    std::lock_guard lock(mutex_);
    for (const CachedMetadata& entry : cache_) {
      if (entry.location == location) return *entry.metadata;
    }
  }
  FIRN_ASSIGN(TableMetadata metadata, ReadMetadataFile(store_, location));
  Remember(location, metadata);
  return metadata;
}

Result<LoadedTable> SqliteCatalog::LoadTable(const TableIdentifier& identifier) {
  LoadedTable out;
  out.identifier = identifier;
  std::string context = fmt::format("table '{}'", identifier.ToString());
  for (int attempt = 1;; ++attempt) {
    FIRN_ASSIGN(out.metadata_location, MetadataLocation(identifier));
    Result<TableMetadata> metadata = ReadMetadata(out.metadata_location);
    if (metadata.has_value()) {
      out.metadata = std::move(*metadata);
      return out;
    }
    Error error = std::move(metadata.error()).WithContext(context);
    if (error.code() != ErrorCode::kNotFound) return std::unexpected<Error>(std::move(error));
    // Between the row and the file, others may have committed and deleted what fell out of the log: look again.
    FIRN_ASSIGN(std::string location_now, MetadataLocation(identifier));
    if (location_now == out.metadata_location || attempt == kReadAttemptsMax) {
      return Fail(ErrorCode::kCorruption, error.message() + "; the catalog names a metadata file that is not there");
    }
  }
}

Result<std::string> SqliteCatalog::DefaultLocation(const TableIdentifier& identifier) {
  FIRN_ASSIGN(std::string key, NamespaceKey(identifier.namespace_levels));
  std::lock_guard lock(mutex_);
  FIRN_ASSIGN(auto rows, database_->Query(kNamespaceLocation, {options_.catalog_name, key}));
  std::string folder;
  if (!rows.empty()) folder = rows[0][0].value_or("");
  while (folder.ends_with('/')) folder.pop_back();
  if (folder.empty()) {
    folder = options_.warehouse;
    for (const std::string& level : identifier.namespace_levels) folder += "/" + level;
  }
  return folder + "/" + identifier.name;
}

Result<LoadedTable> SqliteCatalog::CreateTable(const TableIdentifier& identifier, const CreateTableRequest& request) {
  FIRN_TRY(CheckName(identifier.name, "a table name"));
  FIRN_ASSIGN(std::string key, NamespaceKey(identifier.namespace_levels));
  FIRN_ASSIGN(bool has_namespace, NamespaceExists(identifier.namespace_levels));
  if (!has_namespace) return NoSuchNamespace(key);
  Error exists(ErrorCode::kAlreadyExists, fmt::format("the catalog has a table already: '{}'", identifier.ToString()));
  Result<std::string> present = MetadataLocation(identifier);
  if (present.has_value()) return std::unexpected<Error>(std::move(exists));
  if (present.error().code() != ErrorCode::kNotFound) return std::unexpected<Error>(std::move(present.error()));

  CreateTableRequest located = request;
  if (located.location.empty()) {
    FIRN_ASSIGN(located.location, DefaultLocation(identifier));
  }
  uint64_t uuid_high = random_.Next64();
  std::string uuid = FormatUuid(MakeUuidV4(uuid_high, random_.Next64()));
  LoadedTable out;
  out.identifier = identifier;
  FIRN_ASSIGN(out.metadata, NewTableMetadata(located, uuid, clock_.WallMs()));
  Result<std::string> written = WriteMetadataFile(store_, random_, out.metadata, 0);
  if (!written.has_value()) return std::unexpected<Error>(BeforeSwap(std::move(written.error())));
  out.metadata_location = std::move(*written);
  {
    std::lock_guard lock(mutex_);
    Result<int64_t> inserted =
        database_->Write(kInsertTable, {options_.catalog_name, key, identifier.name, out.metadata_location});
    if (!inserted.has_value()) {
      bool lost = inserted.error().code() == ErrorCode::kAlreadyExists;
      return std::unexpected<Error>(lost ? std::move(exists) : std::move(inserted.error()));
    }
  }
  Remember(out.metadata_location, out.metadata);
  return out;
}

Status SqliteCatalog::SwapLocation(const TableIdentifier& identifier, const std::string& old_location,
                                   const std::string& new_location) {
  FIRN_ASSIGN(std::string key, NamespaceKey(identifier.namespace_levels));
  int64_t changed = 0;
  {
    std::lock_guard lock(mutex_);
    FIRN_ASSIGN(changed, database_->Write(kSwapTable,
                                          {options_.catalog_name, key, identifier.name, old_location, new_location}));
  }
  if (changed == 1) return {};
  Result<std::string> location_now = MetadataLocation(identifier);
  bool dropped = !location_now.has_value() && location_now.error().code() == ErrorCode::kNotFound;
  if (dropped) return std::unexpected<Error>(std::move(location_now.error()));
  return Fail(ErrorCode::kConflict, fmt::format("another commit came first; table '{}' is now at: '{}'",
                                                identifier.ToString(), location_now.value_or("?")));
}

Result<LoadedTable> SqliteCatalog::CommitTable(const TableIdentifier& identifier,
                                               const std::vector<TableRequirement>& requirements,
                                               const std::vector<TableUpdate>& updates) {
  FIRN_ASSIGN(LoadedTable base, LoadTable(identifier));
  std::string context = fmt::format("table '{}'", identifier.ToString());
  for (const TableRequirement& requirement : requirements) {
    FIRN_TRY(WithContext(CheckRequirement(requirement, &base.metadata), context));
  }
  if (updates.empty()) return base;
  LoadedTable out;
  out.identifier = identifier;
  FIRN_ASSIGN(out.metadata,
              WithContext(ApplyUpdates(base.metadata, updates, clock_.WallMs(), base.metadata_location), context));
  int64_t version = 0;
  if (__builtin_add_overflow(MetadataVersion(base.metadata_location), 1, &version)) {
    return Fail(ErrorCode::kCorruption, fmt::format("{}: no version is left after that of the metadata file: '{}'",
                                                    context, base.metadata_location));
  }
  Result<std::string> written = WriteMetadataFile(store_, random_, out.metadata, version);
  if (!written.has_value()) {
    return std::unexpected<Error>(BeforeSwap(std::move(written.error())).WithContext(context));
  }
  out.metadata_location = std::move(*written);
  FIRN_TRY(SwapLocation(identifier, base.metadata_location, out.metadata_location));
  Remember(out.metadata_location, out.metadata);
  DeleteExpiredMetadataFiles(store_, base.metadata, out.metadata);
  return out;
}

Status SqliteCatalog::DropTable(const TableIdentifier& identifier) {
  FIRN_ASSIGN(std::string key, NamespaceKey(identifier.namespace_levels));
  std::lock_guard lock(mutex_);
  FIRN_ASSIGN(int64_t deleted, database_->Write(kDeleteTable, {options_.catalog_name, key, identifier.name}));
  if (deleted == 0) return NoSuchTable(identifier);
  return {};
}

Result<std::vector<TableIdentifier>> SqliteCatalog::ListTables(const Levels& namespace_levels) {
  FIRN_ASSIGN(std::string key, NamespaceKey(namespace_levels));
  FIRN_ASSIGN(bool exists, NamespaceExists(namespace_levels));
  if (!exists) return NoSuchNamespace(key);
  std::lock_guard lock(mutex_);
  FIRN_ASSIGN(auto rows, database_->Query(kListTables, {options_.catalog_name, key}));
  std::vector<TableIdentifier> out;
  for (auto& row : rows) {
    if (row[0].has_value()) out.push_back({namespace_levels, std::move(*row[0])});
  }
  return out;
}

Status SqliteCatalog::EnsureNamespace(const Levels& namespace_levels) {
  FIRN_ASSIGN(std::string whole, NamespaceKey(namespace_levels));
  Levels prefix;
  for (const std::string& level : namespace_levels) {
    prefix.push_back(level);
    FIRN_ASSIGN(std::string key, NamespaceKey(prefix));
    std::lock_guard lock(mutex_);
    FIRN_ASSIGN(auto listed, database_->Query(kNamespaceListed, {options_.catalog_name, key}));
    if (listed.empty()) FIRN_TRY(database_->Write(kInsertNamespace, {options_.catalog_name, key}));
  }
  return {};
}

Result<bool> SqliteCatalog::NamespaceExists(const Levels& namespace_levels) {
  FIRN_ASSIGN(std::string key, NamespaceKey(namespace_levels));
  std::lock_guard lock(mutex_);
  FIRN_ASSIGN(auto rows, database_->Query(kNamespaceExists, {options_.catalog_name, key}));
  return !rows.empty();
}

std::optional<int64_t> SqliteCatalog::ServerTimeMs() const {
  return clock_.WallMs();
}

Status SqliteCatalog::Ping() {
  std::lock_guard lock(mutex_);
  FIRN_TRY(database_->Query("SELECT count(*) FROM iceberg_tables WHERE catalog_name = ?1", {options_.catalog_name}));
  return {};
}

std::string SqliteCatalog::description() const {
  return fmt::format("sqlite {}", options_.path);
}

}  // namespace firn::iceberg
