#include "firn/sim/sim_catalog.h"

#include <fmt/format.h>

#include <utility>

#include "firn/base/check.h"
#include "firn/base/encoding.h"

namespace firn::sim {

using iceberg::LoadedTable;
using iceberg::TableIdentifier;
using iceberg::TableMetadata;

LoadedTable CatalogServer::Show(const TableIdentifier& identifier, const Entry& entry) const {
  LoadedTable shown{identifier, fmt::format("memory:///{}/{}.json", identifier.ToString(), entry.version),
                    entry.metadata, {}};
  if (!without_history_ || history_shown_) return shown;
  TableMetadata& metadata = shown.metadata;
  metadata.snapshots.EraseIf(
      [&](const iceberg::Snapshot& snapshot) { return snapshot.snapshot_id != metadata.current_snapshot_id; });
  metadata.snapshot_log.clear();
  if (const iceberg::Snapshot* current = metadata.CurrentSnapshot(); current != nullptr) {
    metadata.snapshots.Replace(0, [](iceberg::Snapshot& alone) { alone.parent_snapshot_id.reset(); });
    current = metadata.CurrentSnapshot();
    metadata.snapshot_log.push_back({current->timestamp_ms, current->snapshot_id});
  }
  metadata.metadata_log.clear();
  metadata.properties["gc.enabled"] = "false";
  return shown;
}

Result<LoadedTable> CatalogServer::LoadTable(const TableIdentifier& identifier) {
  auto found = tables_.find(identifier);
  if (found == tables_.end()) {
    return Fail(ErrorCode::kNotFound, fmt::format("no such table: '{}'", identifier.ToString()));
  }
  return Show(identifier, found->second);
}

std::string CatalogServer::MakeUuid() {
  return FormatUuid(MakeUuidV4(random_.Next64(), random_.Next64()));
}

Result<LoadedTable> CatalogServer::CreateTable(const TableIdentifier& identifier,
                                               const iceberg::CreateTableRequest& request) {
  if (tables_.contains(identifier)) return Fail(ErrorCode::kAlreadyExists, "the table exists");
  if (!namespaces_.contains(identifier.namespace_levels)) return Fail(ErrorCode::kNotFound, "no such namespace");
  iceberg::CreateTableRequest complete = request;
  const std::string uuid = MakeUuid();
  if (complete.location.empty()) complete.location = fmt::format("memory:///lake/{}-{}", identifier.ToString(), uuid);
  FIRN_ASSIGN(TableMetadata metadata, iceberg::NewTableMetadata(complete, uuid, wall_ms_()));
  tables_[identifier] = Entry{std::move(metadata), 1};
  return LoadTable(identifier);
}

Result<LoadedTable> CatalogServer::CommitTable(const TableIdentifier& identifier,
                                               const std::vector<iceberg::TableRequirement>& requirements,
                                               const std::vector<iceberg::TableUpdate>& updates) {
  return Commit(identifier, requirements, updates, /*by_worker=*/false);
}

Result<LoadedTable> CatalogServer::CommitByWorker(const TableIdentifier& identifier,
                                                  const std::vector<iceberg::TableRequirement>& requirements,
                                                  const std::vector<iceberg::TableUpdate>& updates) {
  return Commit(identifier, requirements, updates, /*by_worker=*/true);
}

Result<LoadedTable> CatalogServer::Commit(const TableIdentifier& identifier,
                                          const std::vector<iceberg::TableRequirement>& requirements,
                                          const std::vector<iceberg::TableUpdate>& updates, bool by_worker) {
  auto found = tables_.find(identifier);
  if (found == tables_.end()) return Fail(ErrorCode::kNotFound, "no such table");
  Entry& entry = found->second;
  for (const auto& requirement : requirements) {
    Status holds = iceberg::CheckRequirement(requirement, &entry.metadata);
    if (holds.has_value()) continue;
    ++conflicts_;
    return std::unexpected<Error>(std::move(holds.error()));
  }
  FIRN_ASSIGN(TableMetadata next, iceberg::ApplyUpdates(entry.metadata, updates, wall_ms_(),
                                                        fmt::format("memory:///{}/{}.json", identifier.ToString(),
                                                                    entry.version)));
  if (round_trip_one_in_ > 0 && Below(random_, round_trip_one_in_) == 0) {
    FIRN_ASSIGN(next, TableMetadata::Parse(next.Serialize()));
  }
  const TableMetadata before = std::exchange(entry.metadata, std::move(next));
  ++entry.version;
  ++commits_;
  const std::string name = identifier.ToString();
  ++commits_by_table_[name];
  if (by_worker) ++worker_commits_by_table_[name];
  if (on_commit_) on_commit_({name, before, entry.metadata, by_worker});
  return Show(identifier, entry);
}

Status CatalogServer::DropTable(const TableIdentifier& identifier) {
  if (tables_.erase(identifier) == 0) return Fail(ErrorCode::kNotFound, "no such table");
  return {};
}

Result<std::vector<TableIdentifier>> CatalogServer::ListTables(const std::vector<std::string>& levels) {
  std::vector<TableIdentifier> found;
  for (const auto& [identifier, entry] : tables_) {
    if (identifier.namespace_levels == levels) found.push_back(identifier);
  }
  return found;
}

Status CatalogServer::EnsureNamespace(const std::vector<std::string>& levels) {
  namespaces_.insert(levels);
  return {};
}

Result<bool> CatalogServer::NamespaceExists(const std::vector<std::string>& levels) {
  return namespaces_.contains(levels);
}

void CatalogServer::Register(const TableIdentifier& identifier, TableMetadata metadata) {
  namespaces_.insert(identifier.namespace_levels);
  Entry& entry = tables_[identifier];
  entry.metadata = std::move(metadata);
  ++entry.version;
}

const TableMetadata* CatalogServer::Find(const TableIdentifier& identifier) const {
  auto found = tables_.find(identifier);
  return found == tables_.end() ? nullptr : &found->second.metadata;
}

Status SimCatalog::Wait() {
  const bool slow = weather_.catalog_slow_until_ms > process_.scheduler().now_ms();
  if (slow) weather_.Meet(FaultKind::kCatalogSlow, faults_);
  if (!process_.Await(Below(random_, slow ? weather_.slow_ms_max : weather_.catalog_latency_ms_max))) {
    return Fail(ErrorCode::kCancelled, "the process is dead");
  }
  return {};
}

Status SimCatalog::Request(const TableIdentifier* table) {
  FIRN_TRY(Wait());
  const int64_t now_ms = process_.scheduler().now_ms();
  if (weather_.catalog_down_until_ms > now_ms) {
    weather_.Meet(FaultKind::kCatalogDown, faults_);
    return Fail(ErrorCode::kUnavailable, "simulated: the catalog is down");
  }
  answered_ms_ = server_.ServerTimeMs();
  if (faults_.Chance(FaultKind::kCatalogUnauthorized, weather_.fault_per_mille / 8)) {
    return Fail(ErrorCode::kUnauthorized, "simulated: the token has expired");
  }
  if (table == nullptr) return {};
  auto forbidden = forbidden_until_ms_.find(table->ToString());
  if (forbidden != forbidden_until_ms_.end() && forbidden->second > now_ms) {
    weather_.Meet(FaultKind::kPermissionLost, faults_);
    return Fail(ErrorCode::kUnauthorized, fmt::format("simulated: no permission for '{}'", table->ToString()));
  }
  return {};
}

Status SimCatalog::Answer() {
  FIRN_TRY(Wait());
  answered_ms_ = server_.ServerTimeMs();
  return {};
}

Result<LoadedTable> SimCatalog::LoadTable(const TableIdentifier& identifier) {
  FIRN_TRY(Request(&identifier));
  if (faults_.Chance(FaultKind::kCatalogReadFails, weather_.fault_per_mille)) {
    return Fail(ErrorCode::kUnavailable, "simulated: the request failed");
  }
  Result<LoadedTable> loaded = server_.LoadTable(identifier);
  FIRN_TRY(Answer());
  return loaded;
}

Result<LoadedTable> SimCatalog::CreateTable(const TableIdentifier& identifier,
                                            const iceberg::CreateTableRequest& request) {
  FIRN_TRY(Request(&identifier));
  if (faults_.Chance(FaultKind::kCatalogServerErrorBefore, weather_.fault_per_mille)) {
    return Fail(ErrorCode::kCommitStateUnknown, "simulated: status 502");
  }
  Result<LoadedTable> created = server_.CreateTable(identifier, request);
  FIRN_TRY(Answer());
  if (faults_.Chance(FaultKind::kCatalogAnswerLost, weather_.fault_per_mille)) {
    return Fail(ErrorCode::kCommitStateUnknown, "simulated: the answer was lost");
  }
  return created;
}

Result<LoadedTable> SimCatalog::CommitTable(const TableIdentifier& identifier,
                                            const std::vector<iceberg::TableRequirement>& requirements,
                                            const std::vector<iceberg::TableUpdate>& updates) {
  FIRN_TRY(Request(&identifier));
  const int rare = weather_.fault_per_mille;
  if (faults_.Chance(FaultKind::kCatalogConflict, rare)) return Fail(ErrorCode::kConflict, "simulated: status 409");
  if (faults_.Chance(FaultKind::kCatalogPreconditionFailed, rare / 2)) {
    return Fail(ErrorCode::kConflict, "simulated: status 412");
  }
  if (faults_.Chance(FaultKind::kCatalogRequestLost, rare)) {
    return Fail(ErrorCode::kCommitStateUnknown, "simulated: the request was lost");
  }
  if (faults_.Chance(FaultKind::kCatalogServerErrorBefore, rare)) {
    return Fail(ErrorCode::kCommitStateUnknown, "simulated: status 500");
  }
  Result<LoadedTable> committed = server_.CommitByWorker(identifier, requirements, updates);
  // Whatever comes now, the commit stands. A process that dies here never learns of it.
  FIRN_TRY(Answer());
  if (!committed.has_value()) return committed;
  if (faults_.Chance(FaultKind::kCatalogAnswerLost, rare)) {
    return Fail(ErrorCode::kCommitStateUnknown, "simulated: the answer was lost");
  }
  if (faults_.Chance(FaultKind::kCatalogServerErrorAfter, rare)) {
    return Fail(ErrorCode::kCommitStateUnknown, "simulated: status 504");
  }
  if (faults_.Chance(FaultKind::kCatalogConflictAfterSuccess, rare)) {
    return Fail(ErrorCode::kConflict, "simulated: status 409 for what was applied");
  }
  return committed;
}

Status SimCatalog::DropTable(const TableIdentifier& identifier) {
  FIRN_TRY(Request(&identifier));
  return server_.DropTable(identifier);
}

Result<std::vector<TableIdentifier>> SimCatalog::ListTables(const std::vector<std::string>& levels) {
  FIRN_TRY(Request(nullptr));
  return server_.ListTables(levels);
}

Status SimCatalog::EnsureNamespace(const std::vector<std::string>& levels) {
  FIRN_TRY(Request(nullptr));
  return server_.EnsureNamespace(levels);
}

Result<bool> SimCatalog::NamespaceExists(const std::vector<std::string>& levels) {
  FIRN_TRY(Request(nullptr));
  return server_.NamespaceExists(levels);
}

}  // namespace firn::sim
