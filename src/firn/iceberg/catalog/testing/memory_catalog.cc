#include "firn/iceberg/catalog/testing/memory_catalog.h"

#include <fmt/format.h>

namespace firn::iceberg {

void MemoryCatalog::SetFaults(FaultFn faults) {
  std::lock_guard lock(mutex_);
  faults_ = std::move(faults);
}

CatalogFault MemoryCatalog::FaultOf(CatalogCall call, const TableIdentifier& table) {
  FaultFn faults;
  {
    std::lock_guard lock(mutex_);
    faults = faults_;
  }
  return faults ? faults(call, table) : CatalogFault::kNone;
}

Result<LoadedTable> MemoryCatalog::LoadLocked(const TableIdentifier& identifier) {
  auto found = tables_.find(identifier);
  if (found == tables_.end()) {
    return Fail(ErrorCode::kNotFound, fmt::format("no such table: '{}'", identifier.ToString()));
  }
  FIRN_ASSIGN(TableMetadata metadata, TableMetadata::Parse(found->second));
  return LoadedTable{identifier,
                     fmt::format("memory:///{}/{}", identifier.ToString(), versions_[identifier]),
                     std::move(metadata),
                     {}};
}

Result<LoadedTable> MemoryCatalog::LoadTable(const TableIdentifier& identifier) {
  switch (FaultOf(CatalogCall::kLoad, identifier)) {
    case CatalogFault::kNone: break;
    case CatalogFault::kUnauthorized: return Fail(ErrorCode::kUnauthorized, "injected");
    default: return Fail(ErrorCode::kUnavailable, "injected");
  }
  std::lock_guard lock(mutex_);
  return LoadLocked(identifier);
}

Result<LoadedTable> MemoryCatalog::CreateTable(const TableIdentifier& identifier, const CreateTableRequest& request) {
  CatalogFault fault = FaultOf(CatalogCall::kCreate, identifier);
  if (fault == CatalogFault::kUnavailable) return Fail(ErrorCode::kUnavailable, "injected");
  if (fault == CatalogFault::kUnauthorized) return Fail(ErrorCode::kUnauthorized, "injected");
  if (fault == CatalogFault::kLostRequest) return Fail(ErrorCode::kCommitStateUnknown, "injected");
  std::lock_guard lock(mutex_);
  if (tables_.contains(identifier)) return Fail(ErrorCode::kAlreadyExists, "table exists");
  if (!namespaces_.contains(identifier.namespace_levels)) return Fail(ErrorCode::kNotFound, "no such namespace");
  CreateTableRequest complete = request;
  if (complete.location.empty()) complete.location = fmt::format("memory:///lake/{}", identifier.ToString());
  std::string uuid = fmt::format("00000000-0000-4000-8000-{:012}", ++created_);
  FIRN_ASSIGN(TableMetadata metadata, NewTableMetadata(complete, uuid, clock_.WallMs()));
  tables_[identifier] = metadata.Serialize();
  ++versions_[identifier];
  if (fault == CatalogFault::kLostAnswer) return Fail(ErrorCode::kCommitStateUnknown, "injected");
  return LoadLocked(identifier);
}

Result<LoadedTable> MemoryCatalog::CommitTable(const TableIdentifier& identifier,
                                               const std::vector<TableRequirement>& requirements,
                                               const std::vector<TableUpdate>& updates) {
  CatalogFault fault = FaultOf(CatalogCall::kCommit, identifier);
  switch (fault) {
    case CatalogFault::kConflict: return Fail(ErrorCode::kConflict, "injected");
    case CatalogFault::kUnavailable: return Fail(ErrorCode::kUnavailable, "injected");
    case CatalogFault::kUnauthorized: return Fail(ErrorCode::kUnauthorized, "injected");
    case CatalogFault::kLostRequest: return Fail(ErrorCode::kCommitStateUnknown, "injected");
    default: break;
  }
  std::lock_guard lock(mutex_);
  FIRN_ASSIGN(LoadedTable base, LoadLocked(identifier));
  for (const TableRequirement& requirement : requirements) FIRN_TRY(CheckRequirement(requirement, &base.metadata));
  FIRN_ASSIGN(TableMetadata next, ApplyUpdates(base.metadata, updates, clock_.WallMs(), base.metadata_location));
  tables_[identifier] = next.Serialize();
  ++versions_[identifier];
  if (fault == CatalogFault::kLostAnswer) return Fail(ErrorCode::kCommitStateUnknown, "injected");
  if (fault == CatalogFault::kConflictAfter) return Fail(ErrorCode::kConflict, "injected");
  return LoadLocked(identifier);
}

Status MemoryCatalog::CommitAsSomebodyElse(const TableIdentifier& identifier, const std::vector<TableUpdate>& updates) {
  std::lock_guard lock(mutex_);
  FIRN_ASSIGN(LoadedTable base, LoadLocked(identifier));
  FIRN_ASSIGN(TableMetadata next, ApplyUpdates(base.metadata, updates, clock_.WallMs(), base.metadata_location));
  tables_[identifier] = next.Serialize();
  ++versions_[identifier];
  return {};
}

void MemoryCatalog::Register(const TableIdentifier& identifier, const TableMetadata& metadata) {
  std::lock_guard lock(mutex_);
  tables_[identifier] = metadata.Serialize();
  ++versions_[identifier];
}

Status MemoryCatalog::DropTable(const TableIdentifier& identifier) {
  std::lock_guard lock(mutex_);
  if (tables_.erase(identifier) == 0) return Fail(ErrorCode::kNotFound, "no such table");
  return {};
}

Result<std::vector<TableIdentifier>> MemoryCatalog::ListTables(const std::vector<std::string>& namespace_levels) {
  std::lock_guard lock(mutex_);
  std::vector<TableIdentifier> found;
  for (const auto& [identifier, metadata] : tables_) {
    if (identifier.namespace_levels == namespace_levels) found.push_back(identifier);
  }
  return found;
}

Status MemoryCatalog::EnsureNamespace(const std::vector<std::string>& namespace_levels) {
  std::lock_guard lock(mutex_);
  namespaces_.insert(namespace_levels);
  return {};
}

Result<bool> MemoryCatalog::NamespaceExists(const std::vector<std::string>& namespace_levels) {
  std::lock_guard lock(mutex_);
  return namespaces_.contains(namespace_levels);
}

}  // namespace firn::iceberg
