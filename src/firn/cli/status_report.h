// What `firn status` shows: lag of ingest and of compaction, for people and as JSON (docs/cli.md, docs/lag.md).
//
// Pure.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/cli/table_upkeep.h"
#include "firn/ingest/positions.h"
#include "firn/lag/table_lag.h"

namespace firn::cli {

struct TableStatus {
  std::string table;
  std::optional<lag::TableLag> lag;  // none: it does not exist yet, or `error`
  std::optional<Error> error;
};

struct SourceStatus {
  std::string topic;
  int32_t partition = 0;
  std::optional<int64_t> end;       // what a consumer may read now
  std::optional<int64_t> position;  // below it, every table that is not detached has everything
  std::optional<int64_t> lag() const;
};

struct WorkerStatusPage {
  std::string address;         // host:port
  std::optional<Error> error;  // why there is no word from it
};

struct PipelineStatus {
  std::string pipeline;
  int64_t now_ms = 0;
  bool started = false;  // the pipeline has positions
  std::string cluster_id;
  std::optional<Error> kafka_error;  // why the sources' ends are not known
  std::vector<SourceStatus> sources;
  std::vector<ingest::DetachedEntry> detached;
  std::vector<TableStatus> tables;
  std::vector<WorkerStatusPage> workers;  // that were asked for what follows; none: nobody was
  Upkeep upkeep;

  // nullopt: not known of every source partition.
  std::optional<int64_t> lag_records() const;
  bool has_failed_tables() const;
};

nlohmann::json ToJson(const PipelineStatus& status);
std::string ToText(const PipelineStatus& status);

}  // namespace firn::cli
