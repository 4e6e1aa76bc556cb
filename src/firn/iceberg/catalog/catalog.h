// Catalog: names → tables, and the one compare-and-swap that everything rests on.
//
// Implementations (SqliteCatalog, RestCatalog) are thread-safe. Errors of CommitTable decide what happens next:
//   kConflict            certainly not applied; refresh and try again
//   kCommitStateUnknown  may have been applied; reload and look before anything else
//   kUnavailable         certainly not applied (not reached); try again later
//   kNotFound, kUnauthorized, kInvalidInput, kUnsupported: certainly not applied; trying again will not help by itself
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/iceberg/spec/table_update.h"

namespace firn::iceberg {

struct TableIdentifier {
  std::vector<std::string> namespace_levels;
  std::string name;
  auto operator<=>(const TableIdentifier&) const = default;
  std::string ToString() const;  // "a.b.name"
  static Result<TableIdentifier> Parse(const std::string& dotted);  // at least one namespace level
};

struct LoadedTable {
  TableIdentifier identifier;
  std::string metadata_location;
  TableMetadata metadata;
  Properties storage;  // the catalog's word on the store for this table (REST "config": s3.endpoint, credentials, ...)
};

class Catalog {
 public:
  virtual ~Catalog() = default;
  virtual Result<LoadedTable> LoadTable(const TableIdentifier& identifier) = 0;  // kNotFound
  // Creates the table; kAlreadyExists. The caller creates the namespace first.
  virtual Result<LoadedTable> CreateTable(const TableIdentifier& identifier, const CreateTableRequest& request) = 0;
  virtual Result<LoadedTable> CommitTable(const TableIdentifier& identifier,
                                          const std::vector<TableRequirement>& requirements,
                                          const std::vector<TableUpdate>& updates) = 0;
  virtual Status DropTable(const TableIdentifier& identifier) = 0;  // without purge
  virtual Result<std::vector<TableIdentifier>> ListTables(const std::vector<std::string>& namespace_levels) = 0;
  // Creates each level that is missing; an existing namespace is no error.
  virtual Status EnsureNamespace(const std::vector<std::string>& namespace_levels) = 0;
  virtual Result<bool> NamespaceExists(const std::vector<std::string>& namespace_levels) = 0;
  // The catalog's clock as of its last answer (REST: Date header; SQLite: ours), milliseconds since the epoch.
  virtual std::optional<int64_t> ServerTimeMs() const = 0;
  // One round trip that proves reachability and credentials.
  virtual Status Ping() = 0;
  virtual std::string description() const = 0;  // "rest https://…", "sqlite /…": no secrets
};

}  // namespace firn::iceberg
