// Config: one pipeline's configuration file as values. Loading collects every problem before it gives up.
//
// Immutable once loaded; copied freely. Secrets are of type Secret, or are masked by name (Kafka properties), wherever
// anything is printed. docs/configuration.md is the users' page.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/base/log.h"
#include "firn/config/problems.h"
#include "firn/config/secret.h"
#include "firn/config/yaml_tree.h"
#include "firn/ingest/pipeline_options.h"

namespace firn::config {

struct KafkaConfig {
  std::map<std::string, std::string> properties;  // librdkafka's, group.id included; may hold secrets: mask by name
  std::vector<std::string> topics;
  std::string topics_regex;  // begins with '^'; exclusive with topics
  std::string group_id;
};

enum class CatalogType : uint8_t { kRest, kSqlite };

struct CatalogConfig {
  CatalogType type = CatalogType::kRest;
  std::string uri;
  std::string name = "firn";
  std::string warehouse;
  Secret credential;
  Secret token;
  std::string scope = "catalog";
  std::string oauth2_server_uri;
  std::map<std::string, Secret> headers;
  std::string access_delegation = "vended-credentials";  // "none": no such header
  std::string prefix;
  int64_t timeout_ms = 30'000;
};

struct S3Config {
  std::string endpoint;
  std::string region;
  bool path_style = true;
  std::string access_key_id;
  Secret secret_access_key;
  Secret session_token;
  std::string ca_file;
};

struct StoreConfig {
  S3Config s3;
};

struct CompactionConfig {
  bool enabled = true;
  int64_t cpu_share_percent = 25;
  int64_t cpu_share_max_percent = 75;
  int64_t interval_ms = 60'000;
  int64_t files_min = 8;
  int64_t cold_after_ms = 30 * 60'000;
};

// Commits take expired snapshots off without their files; maintenance does both, here or in another process, so they
// wait for it so long.
inline constexpr int64_t kExpiryGraceIntervals = 3;

// Intervals of 0: never. Orphans are a person's decision: another writer's files may look like them.
struct MaintenanceConfig {
  int64_t expire_interval_ms = 3'600'000;
  int64_t manifests_interval_ms = 6 * 3'600'000;
  int64_t retain_interval_ms = 3'600'000;
  int64_t orphans_interval_ms = 0;
  int64_t orphans_older_than_ms = 3 * 24 * 3'600'000LL;
};

struct HttpConfig {
  bool enabled = true;
  std::string host = "127.0.0.1";
  int port = 9187;
};

struct LagConfig {
  int64_t interval_ms = 60'000;  // 0: never
  int64_t window_ms = 3'600'000;
  int32_t partitions_max = 5;
};

struct LogConfig {
  LogFormat format = LogFormat::kText;
  LogLevel level = LogLevel::kInfo;
};

struct Config {
  ingest::PipelineOptions pipeline;
  KafkaConfig kafka;
  CatalogConfig catalog;
  StoreConfig store;
  CompactionConfig compaction;
  MaintenanceConfig maintenance;
  HttpConfig http;
  LagConfig lag;
  LogConfig log;
};

struct ParseContext {
  std::string source_name = "firn.yaml";  // for messages
  std::string folder = ".";               // schema_file is relative to it
  Environment environment;                // empty: no variable is set
};

// kInvalidInput with all problems in its message; they are in `problems` one by one, too.
Result<Config> ParseConfig(std::string_view yaml, const ParseContext& context, ProblemList& problems);
// Reads the file and parses it with the process's environment. kNotFound, kIoError, kInvalidInput.
Result<Config> LoadConfig(const std::string& path);
Result<Config> LoadConfig(const std::string& path, ProblemList& problems);

}  // namespace firn::config
