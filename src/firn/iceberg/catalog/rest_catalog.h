// RestCatalog: a catalog behind the Iceberg REST API (Polaris, Nessie, Lakekeeper, Glue, S3 Tables, ...).
//
// Thread-safe. Create asks /v1/config once and honours it: overrides beat our options, which beat the server's
// defaults. Commits are sent once: only the caller, who can look at the table, may decide to send again. The answer of
// CommitTable says nothing about storage (REST: CommitTableResponse), so its LoadedTable::storage is empty. Client and
// clock outlive the catalog.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "firn/env/clock.h"
#include "firn/env/http_client.h"
#include "firn/iceberg/catalog/catalog.h"
#include "firn/iceberg/catalog/rest_auth.h"
#include "firn/iceberg/catalog/rest_paths.h"

namespace firn::iceberg {

class RestClient;

struct RestCatalogOptions {
  std::string uri;                // "https://catalog.example.com/api/catalog", without /v1
  std::string warehouse;          // name or location, as the server wants it; may be empty
  std::string prefix;             // of the paths; the server's own word wins
  RestAuthOptions auth;           // none set: anonymous, or signed by the HttpClient (SigV4)
  std::string access_delegation;  // "vended-credentials", "remote-signing"; empty: not asked for
  std::vector<std::pair<std::string, std::string>> headers;
  int64_t timeout_ms = 30'000;
};

class RestCatalog final : public Catalog {
 public:
  static Result<std::unique_ptr<RestCatalog>> Create(RestCatalogOptions options, env::HttpClient& http,
                                                     env::Clock& clock);
  ~RestCatalog() override;

  Result<LoadedTable> LoadTable(const TableIdentifier& identifier) override;
  // kUnsupported when the server made the table in another format version than 2; the table exists then.
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
  RestCatalog(RestCatalogOptions options, std::unique_ptr<RestClient> client);
  std::string ConfigPath() const;
  Status ReadConfig();
  Status Needs(const std::string& endpoint) const;  // kUnsupported when the server's list lacks it
  Result<LoadedTable> TableOfAnswer(const TableIdentifier& identifier, const nlohmann::json& answer) const;
  Properties StorageOfAnswer(const std::string& location, const nlohmann::json& answer) const;

  const RestCatalogOptions options_;
  std::unique_ptr<RestClient> client_;
  RestPaths paths_;
  std::set<std::string> endpoints_;  // empty: the server did not say
  Properties storage_;               // of the catalog as a whole
};

}  // namespace firn::iceberg
