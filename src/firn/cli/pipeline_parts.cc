#include "firn/cli/pipeline_parts.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "firn/base/log.h"
#include "firn/cli/program.h"
#include "firn/cli/vended_store.h"
#include "firn/env/curl_http_client.h"
#include "firn/env/store_router.h"
#include "firn/iceberg/catalog/rest_catalog.h"
#include "firn/iceberg/catalog/sqlite_catalog.h"
#include "firn/ingest/memory_budget.h"

namespace firn::cli {
namespace {

constexpr int64_t kFetchBytesMin = 256 << 10;
constexpr int64_t kFetchBytesMax = 4 << 20;
constexpr int64_t kFetchPartOfClientQueue = 64;
constexpr int64_t kMessageBytesMax = 1'000'000;  // librdkafka's default

// 0: none, which the client refuses later.
int64_t NumberOf(std::string_view text) {
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

env::StoreOptions PlainStoreOptions(const config::S3Config& s3) {
  env::StoreOptions options;
  options.s3.endpoint = s3.endpoint;
  options.s3.region = s3.region;
  options.s3.path_style = s3.path_style;
  options.s3.access_key_id = s3.access_key_id;
  options.s3.secret_access_key = s3.secret_access_key.Reveal();
  options.s3.session_token = s3.session_token.Reveal();
  options.s3.ca_file = s3.ca_file;
  return options;
}

// The tables whose storage the catalog may describe: those that the pipeline feeds, and its own two.
std::vector<iceberg::TableIdentifier> NamedTables(const ingest::PipelineOptions& pipeline) {
  std::vector<iceberg::TableIdentifier> tables;
  auto add = [&](const std::string& name) {
    Result<iceberg::TableIdentifier> identifier = iceberg::TableIdentifier::Parse(name);
    if (identifier.has_value()) tables.push_back(std::move(identifier).value());
  };
  for (const ingest::TableRule& rule : pipeline.tables) {
    if (!rule.is_template()) add(rule.name);
  }
  if (!pipeline.rejects_table.empty()) add(pipeline.rejects_table);
  if (!pipeline.home_table.empty()) add(pipeline.home_table);
  return tables;
}

Result<std::unique_ptr<iceberg::Catalog>> OpenRestCatalog(const config::CatalogConfig& catalog, env::HttpClient& http) {
  iceberg::RestCatalogOptions options;
  options.uri = catalog.uri;
  options.warehouse = catalog.warehouse;
  options.prefix = catalog.prefix;
  options.timeout_ms = catalog.timeout_ms;
  options.auth.credential = catalog.credential.Reveal();
  options.auth.token = catalog.token.Reveal();
  options.auth.scope = catalog.scope;
  options.auth.oauth2_server_uri = catalog.oauth2_server_uri;
  options.auth.timeout_ms = catalog.timeout_ms;
  if (catalog.access_delegation != "none") options.access_delegation = catalog.access_delegation;
  for (const auto& [name, value] : catalog.headers) options.headers.emplace_back(name, value.Reveal());
  return iceberg::RestCatalog::Create(std::move(options), http, env::SystemClock());
}

Result<std::unique_ptr<iceberg::Catalog>> OpenSqliteCatalog(const config::CatalogConfig& catalog,
                                                            env::ObjectStore& store, LakehouseUse use) {
  iceberg::SqliteCatalogOptions options;
  options.path = catalog.uri;
  options.catalog_name = catalog.name;
  options.warehouse = catalog.warehouse;
  options.busy_timeout_ms = catalog.timeout_ms;
  switch (use) {
    case LakehouseUse::kRun: options.access = iceberg::SqliteAccess::kCreate; break;
    case LakehouseUse::kChange: options.access = iceberg::SqliteAccess::kWrite; break;
    case LakehouseUse::kLook: options.access = iceberg::SqliteAccess::kRead; break;
  }
  return iceberg::SqliteCatalog::Create(std::move(options), store, env::SystemClock(), env::SystemRandom());
}

}  // namespace

Result<Lakehouse> OpenLakehouse(const config::Config& config, LakehouseUse use) {
  Lakehouse lakehouse;
  env::StoreOptions store_options = PlainStoreOptions(config.store.s3);
  FIRN_ASSIGN(lakehouse.plain_store, env::StoreRouter::Create(store_options));
  if (config.catalog.type == config::CatalogType::kSqlite) {
    FIRN_ASSIGN(lakehouse.catalog, OpenSqliteCatalog(config.catalog, *lakehouse.plain_store, use));
    return lakehouse;
  }
  FIRN_ASSIGN(lakehouse.http, env::CurlHttpClient::Create({.user_agent = fmt::format("firn/{}", FirnVersion())}));
  FIRN_ASSIGN(lakehouse.catalog, OpenRestCatalog(config.catalog, *lakehouse.http));
  if (config.store.s3.access_key_id.empty()) {
    lakehouse.vended_store = std::make_unique<VendedStore>(store_options, *lakehouse.catalog,
                                                           NamedTables(config.pipeline), env::SystemClock());
  }
  return lakehouse;
}

kafka::KafkaSourceOptions SourceOptions(const config::KafkaConfig& kafka, bool topic_identity_by_name) {
  kafka::KafkaSourceOptions options;
  options.topics = kafka.topics;
  options.topics_regex = kafka.topics_regex;
  options.topic_identity_by_name = topic_identity_by_name;
  options.properties = kafka.properties;
  auto take = [&](const char* name) {
    auto found = options.properties.find(name);
    if (found == options.properties.end()) return std::string();
    std::string value = std::move(found->second);
    options.properties.erase(found);
    return value;
  };
  options.bootstrap = take("bootstrap.servers");
  options.group_id = take("group.id");
  options.read_committed = take("isolation.level") != "read_uncommitted";
  return options;
}

void BoundClientQueue(config::Config& config) {
  constexpr const char* kQueue = "queued.max.messages.kbytes";
  constexpr const char* kFetch = "fetch.max.bytes";
  constexpr const char* kMessage = "message.max.bytes";
  const ingest::MemoryBudget budget(config.pipeline.memory_limit_bytes);
  const int64_t share = budget.share(ingest::MemoryUse::kClientQueue);
  const int64_t fetched = budget.fetched_bytes_max(ingest::MemoryUse::kClientQueue);
  config.kafka.properties.try_emplace(kQueue, fmt::format("{}", fetched >> 10));
  config.pipeline.client_queue_bytes = NumberOf(config.kafka.properties[kQueue]) << 10;
  // One answer of a broker goes beyond the queue's bound, and the client unpacks all of it at once: what can be bounded
  // is how much comes packed. A batch that is larger comes all the same, alone.
  auto [fetch, is_ours] = config.kafka.properties.try_emplace(kFetch, "");
  if (is_ours) {
    const int64_t bytes = std::clamp(share / kFetchPartOfClientQueue, kFetchBytesMin, kFetchBytesMax);
    auto message = config.kafka.properties.find(kMessage);
    const int64_t least = message == config.kafka.properties.end() ? 0 : NumberOf(message->second);
    fetch->second = fmt::format("{}", std::max(bytes, least));
  }
  // Of what a producer sends; but librdkafka refuses to fetch less than that.
  config.kafka.properties.try_emplace(
      kMessage, fmt::format("{}", std::clamp<int64_t>(NumberOf(fetch->second), 1000, kMessageBytesMax)));
}

Result<std::unique_ptr<env::SpillFolder>> OpenSpill(const ingest::PipelineOptions& pipeline) {
  if (pipeline.spill_dir.empty()) return nullptr;
  FIRN_ASSIGN(auto folder, WithContext(env::LocalSpillFolder::Open(pipeline.spill_dir), "spill.dir"));
  if (folder->in_memory()) {
    LogWarning("spill.dir is in memory (tmpfs): what is spilled there is not taken off the process' memory",
               {{"dir", pipeline.spill_dir}});
  }
  return std::unique_ptr<env::SpillFolder>(std::move(folder));
}

std::string WorkerName() {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return fmt::format("{}-{}", host[0] == '\0' ? "host" : host.data(), getpid());
}

}  // namespace firn::cli
