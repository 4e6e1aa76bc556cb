// MemoryCatalog: a Catalog in memory with the same rules as a server, and faults that a server cannot produce on
// demand: conflicts, refusals, and answers lost before or after the effect.
//
// Thread-safe. The clock must outlive it.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "firn/env/clock.h"
#include "firn/iceberg/catalog/catalog.h"

namespace firn::iceberg {

enum class CatalogCall : uint8_t { kLoad, kCreate, kCommit };
enum class CatalogFault : uint8_t {
  kNone,
  kConflict,       // not applied
  kUnavailable,    // not applied
  kUnauthorized,   // not applied
  kLostRequest,    // kCommitStateUnknown, not applied
  kLostAnswer,     // kCommitStateUnknown, applied
  kConflictAfter,  // kConflict, though applied: an answer that was lost and repeated by a proxy
};

class MemoryCatalog final : public Catalog {
 public:
  explicit MemoryCatalog(env::Clock& clock) : clock_(clock) {}

  // Asked before each call; runs without the catalog's lock, so it may change tables by itself.
  using FaultFn = std::function<CatalogFault(CatalogCall call, const TableIdentifier& table)>;
  void SetFaults(FaultFn faults);

  // Somebody else's commit: no requirements, no faults.
  Status CommitAsSomebodyElse(const TableIdentifier& identifier, const std::vector<TableUpdate>& updates);

  // register_table: any metadata under any name, in place of what stands there.
  void Register(const TableIdentifier& identifier, const TableMetadata& metadata);

  Result<LoadedTable> LoadTable(const TableIdentifier& identifier) override;
  Result<LoadedTable> CreateTable(const TableIdentifier& identifier, const CreateTableRequest& request) override;
  Result<LoadedTable> CommitTable(const TableIdentifier& identifier, const std::vector<TableRequirement>& requirements,
                                  const std::vector<TableUpdate>& updates) override;
  Status DropTable(const TableIdentifier& identifier) override;
  Result<std::vector<TableIdentifier>> ListTables(const std::vector<std::string>& namespace_levels) override;
  Status EnsureNamespace(const std::vector<std::string>& namespace_levels) override;
  Result<bool> NamespaceExists(const std::vector<std::string>& namespace_levels) override;
  std::optional<int64_t> ServerTimeMs() const override { return clock_.WallMs(); }
  Status Ping() override { return {}; }
  std::string description() const override { return "memory"; }

 private:
  CatalogFault FaultOf(CatalogCall call, const TableIdentifier& table);
  Result<LoadedTable> LoadLocked(const TableIdentifier& identifier);

  env::Clock& clock_;
  std::mutex mutex_;
  FaultFn faults_;
  std::map<TableIdentifier, std::string> tables_;  // metadata JSON: what a reader would have to parse
  std::map<TableIdentifier, int64_t> versions_;
  std::set<std::vector<std::string>> namespaces_;
  int64_t created_ = 0;
};

}  // namespace firn::iceberg
