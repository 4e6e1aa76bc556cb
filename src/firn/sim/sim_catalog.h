// CatalogServer and SimCatalog: the catalog that all simulated processes share, and how one process reaches it.
//
// CatalogServer keeps TableMetadata as values (one commit in kRoundTripOneIn goes through its JSON, as with a real
// server) and is used directly, without delay or fault, by the world's foreign hands and the checker. SimCatalog adds
// latency before and after each effect, faults, outages and missing permissions.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "firn/iceberg/catalog/catalog.h"
#include "firn/sim/fault_kinds.h"
#include "firn/sim/process.h"
#include "firn/sim/sim_store.h"

namespace firn::sim {

class CatalogServer final : public iceberg::Catalog {
 public:
  static constexpr int kRoundTripOneIn = 16;

  // `without_history`: lists the current snapshot alone, without its parents, as Nessie does.
  CatalogServer(std::function<int64_t()> wall_ms, env::Random& random, bool without_history)
      : wall_ms_(std::move(wall_ms)), random_(random), without_history_(without_history) {}

  Result<iceberg::LoadedTable> LoadTable(const iceberg::TableIdentifier& identifier) override;
  Result<iceberg::LoadedTable> CreateTable(const iceberg::TableIdentifier& identifier,
                                           const iceberg::CreateTableRequest& request) override;
  Result<iceberg::LoadedTable> CommitTable(const iceberg::TableIdentifier& identifier,
                                           const std::vector<iceberg::TableRequirement>& requirements,
                                           const std::vector<iceberg::TableUpdate>& updates) override;
  Status DropTable(const iceberg::TableIdentifier& identifier) override;
  Result<std::vector<iceberg::TableIdentifier>> ListTables(const std::vector<std::string>& levels) override;
  Status EnsureNamespace(const std::vector<std::string>& levels) override;
  Result<bool> NamespaceExists(const std::vector<std::string>& levels) override;
  std::optional<int64_t> ServerTimeMs() const override { return wall_ms_(); }
  Status Ping() override { return {}; }
  std::string description() const override { return "simulated"; }

  // The commit of a worker: counted, and told of, as such.
  Result<iceberg::LoadedTable> CommitByWorker(const iceberg::TableIdentifier& identifier,
                                              const std::vector<iceberg::TableRequirement>& requirements,
                                              const std::vector<iceberg::TableUpdate>& updates);
  struct Change {
    std::string table;
    const iceberg::TableMetadata& before;
    const iceberg::TableMetadata& after;
    bool by_worker = false;
  };
  // Told of each commit that was applied, at that instant.
  void set_on_commit(std::function<void(const Change&)> on_commit) { on_commit_ = std::move(on_commit); }

  // Somebody registers or replaces a table with metadata of his own.
  void Register(const iceberg::TableIdentifier& identifier, iceberg::TableMetadata metadata);
  // How many of the commits go through their JSON; 0: none.
  void set_round_trip_one_in(int one_in) { round_trip_one_in_ = one_in; }
  // From now on everybody is shown the whole truth, history too (for the checker).
  void ShowHistory(bool shown) { history_shown_ = shown; }
  // The whole truth.
  const iceberg::TableMetadata* Find(const iceberg::TableIdentifier& identifier) const;
  std::string MakeUuid();
  bool without_history() const { return without_history_; }
  int64_t commits() const { return commits_; }
  int64_t conflicts() const { return conflicts_; }
  const std::map<std::string, int64_t>& commits_by_table() const { return commits_by_table_; }
  const std::map<std::string, int64_t>& worker_commits_by_table() const { return worker_commits_by_table_; }

 private:
  struct Entry {
    iceberg::TableMetadata metadata;
    int64_t version = 0;
  };
  Result<iceberg::LoadedTable> Commit(const iceberg::TableIdentifier& identifier,
                                      const std::vector<iceberg::TableRequirement>& requirements,
                                      const std::vector<iceberg::TableUpdate>& updates, bool by_worker);
  iceberg::LoadedTable Show(const iceberg::TableIdentifier& identifier, const Entry& entry) const;

  std::function<int64_t()> wall_ms_;
  env::Random& random_;
  const bool without_history_;
  bool history_shown_ = false;
  int round_trip_one_in_ = kRoundTripOneIn;
  std::map<iceberg::TableIdentifier, Entry> tables_;
  std::set<std::vector<std::string>> namespaces_;
  int64_t commits_ = 0;
  int64_t conflicts_ = 0;
  std::map<std::string, int64_t> commits_by_table_;
  std::map<std::string, int64_t> worker_commits_by_table_;
  std::function<void(const Change&)> on_commit_;
};

class SimCatalog final : public iceberg::Catalog {
 public:
  SimCatalog(Process& process, CatalogServer& server, SimFaults& faults, const Weather& weather, env::Random& random,
             const std::map<std::string, int64_t>& forbidden_until_ms)
      : process_(process),
        server_(server),
        faults_(faults),
        weather_(weather),
        random_(random),
        forbidden_until_ms_(forbidden_until_ms) {}

  Result<iceberg::LoadedTable> LoadTable(const iceberg::TableIdentifier& identifier) override;
  Result<iceberg::LoadedTable> CreateTable(const iceberg::TableIdentifier& identifier,
                                           const iceberg::CreateTableRequest& request) override;
  Result<iceberg::LoadedTable> CommitTable(const iceberg::TableIdentifier& identifier,
                                           const std::vector<iceberg::TableRequirement>& requirements,
                                           const std::vector<iceberg::TableUpdate>& updates) override;
  Status DropTable(const iceberg::TableIdentifier& identifier) override;
  Result<std::vector<iceberg::TableIdentifier>> ListTables(const std::vector<std::string>& levels) override;
  Status EnsureNamespace(const std::vector<std::string>& levels) override;
  Result<bool> NamespaceExists(const std::vector<std::string>& levels) override;
  std::optional<int64_t> ServerTimeMs() const override { return answered_ms_; }
  Status Ping() override { return Request(nullptr); }
  std::string description() const override { return "simulated"; }

 private:
  Status Wait();
  // An error: not applied. `table` null: about none.
  Status Request(const iceberg::TableIdentifier* table);
  Status Answer();

  Process& process_;
  CatalogServer& server_;
  SimFaults& faults_;
  const Weather& weather_;
  env::Random& random_;
  const std::map<std::string, int64_t>& forbidden_until_ms_;
  std::optional<int64_t> answered_ms_;
};

}  // namespace firn::sim
