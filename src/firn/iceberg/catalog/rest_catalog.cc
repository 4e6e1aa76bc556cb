#include "firn/iceberg/catalog/rest_catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "firn/base/log.h"
#include "firn/iceberg/catalog/rest_client.h"
#include "firn/iceberg/spec/json_members.h"
#include "firn/schema/schema_json.h"

namespace firn::iceberg {
namespace {

using nlohmann::json;
using Levels = std::vector<std::string>;

constexpr int kPagesMax = 10'000;
constexpr int32_t kFormatVersion = 2;

// As the server's "endpoints" spells them (REST: CatalogConfig).
const std::string kListTables = "GET /v1/{prefix}/namespaces/{namespace}/tables";
const std::string kCreateTable = "POST /v1/{prefix}/namespaces/{namespace}/tables";
const std::string kLoadTable = "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}";
const std::string kCommitTable = "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}";
const std::string kDropTable = "DELETE /v1/{prefix}/namespaces/{namespace}/tables/{table}";
const std::string kCreateNamespace = "POST /v1/{prefix}/namespaces";
const std::string kLoadNamespace = "GET /v1/{prefix}/namespaces/{namespace}";

bool IsAboutStorage(std::string_view key) {
  constexpr std::array<std::string_view, 4> kFamilies = {"s3.", "gcs.", "adls.", "client."};
  return std::any_of(kFamilies.begin(), kFamilies.end(), [&](auto family) { return key.starts_with(family); });
}

std::string Dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string WithoutSlashes(std::string text) {
  while (text.ends_with('/')) text.pop_back();
  return text;
}

Status CheckUri(const std::string& uri, std::string_view what) {
  if (uri.starts_with("http://") || uri.starts_with("https://")) return {};
  return Fail(ErrorCode::kInvalidInput, fmt::format("{} must start with http:// or https://", what));
}

Status CheckNamespace(const Levels& levels) {
  bool bad = levels.empty() || std::any_of(levels.begin(), levels.end(), [](const auto& l) { return l.empty(); });
  return bad ? Fail(ErrorCode::kInvalidInput, "a namespace needs at least one level, and none may be empty") : Status();
}

Status CheckIdentifier(const TableIdentifier& identifier) {
  FIRN_TRY(CheckNamespace(identifier.namespace_levels));
  if (!identifier.name.empty()) return {};
  return Fail(ErrorCode::kInvalidInput, fmt::format("a table needs a name: '{}'", identifier.ToString()));
}

// An answer that came after the change was applied, and cannot be read, leaves the caller where a lost one does.
std::unexpected<Error> Unreadable(Error error) {
  return Fail(ErrorCode::kCommitStateUnknown,
              "the server applied the change, but its answer cannot be read: " + error.message());
}

Error WithCode(Error error, ErrorCode code) {
  return Error(code, error.message());
}

}  // namespace

Result<std::unique_ptr<RestCatalog>> RestCatalog::Create(RestCatalogOptions options, env::HttpClient& http,
                                                         env::Clock& clock) {
  FIRN_TRY(CheckUri(options.uri, "the catalog's uri"));
  options.uri = WithoutSlashes(options.uri);
  if (options.auth.oauth2_server_uri.empty()) options.auth.oauth2_server_uri = options.uri + "/v1/oauth/tokens";
  FIRN_TRY(CheckUri(options.auth.oauth2_server_uri, "oauth2-server-uri"));
  options.auth.timeout_ms = options.timeout_ms;
  RestClient::Options client_options;
  client_options.uri = options.uri;
  client_options.headers = options.headers;
  client_options.timeout_ms = options.timeout_ms;
  if (!options.access_delegation.empty()) {
    client_options.headers.emplace_back("X-Iceberg-Access-Delegation", options.access_delegation);
  }
  auto client = std::make_unique<RestClient>(std::move(client_options), options.auth, http, clock);
  std::unique_ptr<RestCatalog> out(new RestCatalog(std::move(options), std::move(client)));
  FIRN_TRY(WithContext(out->ReadConfig(), "the catalog's configuration"));
  return out;
}

RestCatalog::RestCatalog(RestCatalogOptions options, std::unique_ptr<RestClient> client)
    : options_(std::move(options)), client_(std::move(client)) {}

RestCatalog::~RestCatalog() = default;

std::string RestCatalog::ConfigPath() const {
  return options_.warehouse.empty() ? "/v1/config" : "/v1/config?warehouse=" + PercentEncode(options_.warehouse);
}

Status RestCatalog::ReadConfig() {
  FIRN_ASSIGN(json answer, client_->Exchange("GET", ConfigPath(), "", Repeat::kHarmless));
  if (!answer.is_object()) {
    return Fail(ErrorCode::kCorruption, "GET /v1/config did not answer with an object; is the uri that of a catalog?");
  }
  FIRN_ASSIGN(Properties merged, StringMapMember(answer, "defaults"));
  if (!options_.prefix.empty()) merged["prefix"] = options_.prefix;
  FIRN_ASSIGN(Properties overrides, StringMapMember(answer, "overrides"));
  for (auto& [key, value] : overrides) merged[key] = value;
  FIRN_ASSIGN(std::vector<std::string> endpoints, StringListMember(answer, "endpoints"));
  endpoints_.insert(endpoints.begin(), endpoints.end());
  paths_.prefix = merged["prefix"];
  while (paths_.prefix.starts_with('/')) paths_.prefix.erase(0, 1);
  paths_.prefix = WithoutSlashes(paths_.prefix);
  if (!merged["namespace-separator"].empty()) paths_.namespace_separator = merged["namespace-separator"];
  std::string uri = WithoutSlashes(overrides["uri"]);
  if (!uri.empty() && uri != options_.uri) {
    FIRN_TRY(CheckUri(uri, "the uri that the server gives"));
    LogInfo("the catalog names another uri, which is used from now on", {{"uri", PrintableUri(uri)}});
    client_->set_uri(uri);
  }
  for (const auto& [key, value] : merged) {
    if (IsAboutStorage(key)) storage_[key] = value;
  }
  return {};
}

Status RestCatalog::Needs(const std::string& endpoint) const {
  if (endpoints_.empty() || endpoints_.contains(endpoint)) return {};
  return Fail(ErrorCode::kUnsupported, fmt::format("the catalog server does not offer: {}", endpoint));
}

// The table's own config, and over it the credentials whose prefix fits its location best (REST: LoadTableResult).
Properties RestCatalog::StorageOfAnswer(const std::string& location, const json& answer) const {
  Properties out = storage_;
  auto config = StringMapMember(answer, "config");
  if (config.has_value()) {
    for (auto& [key, value] : *config) out[key] = value;
  }
  out.erase("token");  // for requests to the catalog, not to the store
  auto credentials = ArrayMember(answer, "storage-credentials");
  if (!credentials.has_value() || *credentials == nullptr) return out;
  std::optional<std::string> best_prefix;
  Properties best;
  for (const json& one : **credentials) {
    auto prefix = StringMember(one, "prefix");
    auto values = StringMapMember(one, "config");
    if (!prefix.has_value() || !values.has_value() || !location.starts_with(*prefix)) continue;
    if (best_prefix && prefix->size() <= best_prefix->size()) continue;
    best_prefix = *prefix;
    best = std::move(*values);
  }
  for (auto& [key, value] : best) out[key] = value;
  return out;
}

Result<LoadedTable> RestCatalog::TableOfAnswer(const TableIdentifier& identifier, const json& answer) const {
  LoadedTable out;
  out.identifier = identifier;
  const json* metadata = FindMember(answer, "metadata");
  if (metadata == nullptr) return Fail(ErrorCode::kCorruption, "the answer has no metadata");
  FIRN_ASSIGN(out.metadata, TableMetadata::FromJson(*metadata));
  FIRN_ASSIGN(std::optional<std::string> location, OptionalStringMember(answer, "metadata-location"));
  out.metadata_location = location.value_or("");
  return out;
}

Result<LoadedTable> RestCatalog::LoadTable(const TableIdentifier& identifier) {
  FIRN_TRY(CheckIdentifier(identifier));
  FIRN_TRY(Needs(kLoadTable));
  std::string context = fmt::format("table '{}'", identifier.ToString());
  FIRN_ASSIGN(json answer,
              WithContext(client_->Exchange("GET", paths_.Table(identifier), "", Repeat::kHarmless), context));
  FIRN_ASSIGN(LoadedTable out, WithContext(TableOfAnswer(identifier, answer), context));
  out.storage = StorageOfAnswer(out.metadata.location, answer);
  return out;
}

Result<LoadedTable> RestCatalog::CreateTable(const TableIdentifier& identifier, const CreateTableRequest& request) {
  FIRN_TRY(CheckIdentifier(identifier));
  FIRN_TRY(Needs(kCreateTable));
  std::string context = fmt::format("table '{}'", identifier.ToString());
  FIRN_ASSIGN(CreateTableRequest fresh, WithContext(WithFreshIds(request), context));
  json body = {{"name", identifier.name},
               {"schema", schema::ToJson(fresh.schema)},
               {"partition-spec", schema::ToJson(fresh.spec)},
               {"write-order", schema::ToJson(fresh.sort_order)},
               {"stage-create", false},
               {"properties", fresh.properties}};
  body["properties"]["format-version"] = std::to_string(kFormatVersion);
  if (!fresh.location.empty()) body["location"] = fresh.location;
  auto answer = client_->Exchange("POST", paths_.Tables(identifier.namespace_levels), Dump(body), Repeat::kNever);
  if (!answer.has_value()) {
    Error error = std::move(answer.error()).WithContext(context);
    bool exists = error.code() == ErrorCode::kConflict;
    return std::unexpected<Error>(exists ? WithCode(std::move(error), ErrorCode::kAlreadyExists) : std::move(error));
  }
  auto out = TableOfAnswer(identifier, *answer);
  if (!out.has_value()) return Unreadable(std::move(out.error()).WithContext(context));
  if (out->metadata.format_version != kFormatVersion) {
    return Fail(ErrorCode::kUnsupported, fmt::format("{}: format version {} was asked for, the server made: {}",
                                                     context, kFormatVersion, out->metadata.format_version));
  }
  out->storage = StorageOfAnswer(out->metadata.location, *answer);
  return out;
}

Result<LoadedTable> RestCatalog::CommitTable(const TableIdentifier& identifier,
                                             const std::vector<TableRequirement>& requirements,
                                             const std::vector<TableUpdate>& updates) {
  FIRN_TRY(CheckIdentifier(identifier));
  FIRN_TRY(Needs(kCommitTable));
  json body = {{"identifier", {{"namespace", identifier.namespace_levels}, {"name", identifier.name}}},
               {"requirements", json::array()},
               {"updates", json::array()}};
  for (const TableRequirement& requirement : requirements) body["requirements"].push_back(ToJson(requirement));
  for (const TableUpdate& update : updates) body["updates"].push_back(ToJson(update));
  std::string context = fmt::format("table '{}'", identifier.ToString());
  FIRN_ASSIGN(json answer,
              WithContext(client_->Exchange("POST", paths_.Table(identifier), Dump(body), Repeat::kNever), context));
  auto out = TableOfAnswer(identifier, answer);
  if (!out.has_value()) return Unreadable(std::move(out.error()).WithContext(context));
  return out;
}

Status RestCatalog::DropTable(const TableIdentifier& identifier) {
  FIRN_TRY(CheckIdentifier(identifier));
  FIRN_TRY(Needs(kDropTable));
  FIRN_TRY(
      WithContext(client_->Exchange("DELETE", paths_.Table(identifier) + "?purgeRequested=false", "", Repeat::kNever),
                  fmt::format("table '{}'", identifier.ToString())));
  return {};
}

Result<std::vector<TableIdentifier>> RestCatalog::ListTables(const Levels& namespace_levels) {
  FIRN_TRY(CheckNamespace(namespace_levels));
  FIRN_TRY(Needs(kListTables));
  std::vector<TableIdentifier> out;
  std::string page;
  for (int i = 0; i < kPagesMax; ++i) {
    std::string path = paths_.Tables(namespace_levels);
    if (!page.empty()) path += "?pageToken=" + PercentEncode(page);
    FIRN_ASSIGN(json answer, client_->Exchange("GET", path, "", Repeat::kHarmless));
    FIRN_ASSIGN(const json* identifiers, ArrayMember(answer, "identifiers"));
    if (identifiers != nullptr) {
      for (const json& one : *identifiers) {
        TableIdentifier identifier;
        FIRN_ASSIGN(identifier.namespace_levels, StringListMember(one, "namespace"));
        FIRN_ASSIGN(identifier.name, StringMember(one, "name"));
        out.push_back(std::move(identifier));
      }
    }
    FIRN_ASSIGN(std::optional<std::string> next, OptionalStringMember(answer, "next-page-token"));
    if (!next || next->empty()) return out;
    page = std::move(*next);
  }
  return Fail(ErrorCode::kResourceExhausted, fmt::format("the list of tables has more pages than: {}", kPagesMax));
}

Result<bool> RestCatalog::NamespaceExists(const Levels& namespace_levels) {
  FIRN_TRY(CheckNamespace(namespace_levels));
  FIRN_TRY(Needs(kLoadNamespace));
  auto answer = client_->Exchange("GET", paths_.Namespace(namespace_levels), "", Repeat::kHarmless);
  if (answer.has_value()) return true;
  if (answer.error().code() == ErrorCode::kNotFound) return false;
  return std::unexpected<Error>(std::move(answer.error()));
}

Status RestCatalog::EnsureNamespace(const Levels& namespace_levels) {
  FIRN_TRY(CheckNamespace(namespace_levels));
  Levels levels;
  for (const std::string& level : namespace_levels) {
    levels.push_back(level);
    FIRN_ASSIGN(bool exists, NamespaceExists(levels));
    if (exists) continue;
    FIRN_TRY(Needs(kCreateNamespace));
    json body = {{"namespace", levels}, {"properties", json::object()}};
    // Repeating is harmless: the second time it is there.
    auto made = client_->Exchange("POST", paths_.Namespaces(), Dump(body), Repeat::kHarmless);
    if (!made.has_value() && made.error().code() != ErrorCode::kConflict) {
      return std::unexpected<Error>(std::move(made.error()).WithContext(fmt::format("namespace level '{}'", level)));
    }
  }
  return {};
}

std::optional<int64_t> RestCatalog::ServerTimeMs() const {
  return client_->server_time_ms();
}

Status RestCatalog::Ping() {
  FIRN_TRY(client_->Exchange("GET", ConfigPath(), "", Repeat::kHarmless));
  return {};
}

std::string RestCatalog::description() const {
  return "rest " + PrintableUri(options_.uri);
}

}  // namespace firn::iceberg
