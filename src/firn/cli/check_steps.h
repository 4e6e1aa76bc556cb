// The steps of `firn check`: each looks at one thing and adds what it found to the report.
//
// Reads only; the write probe is the one exception, and asked for. One thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "firn/cli/check_report.h"
#include "firn/cli/pipeline_parts.h"
#include "firn/config/config.h"
#include "firn/kafka/kafka_admin.h"

namespace firn::cli {

// Gives the topics that were found, for the tables' checks.
std::vector<kafka::TopicInfo> CheckKafka(const config::Config& config, CheckReport& report);

// The lake as it is. A SQLite file that `firn run` would make is not made here: an empty catalog in memory stands in
// for it. nullopt: the catalog cannot be used, the rest makes no sense.
std::optional<Lakehouse> CheckCatalog(const config::Config& config, CheckReport& report);

void CheckStore(const config::Config& config, Lakehouse& lakehouse, bool write_probe, CheckReport& report);

// Every table of the pipeline, its rejects table and its home.
void CheckTables(const config::Config& config, iceberg::Catalog& catalog, const std::vector<kafka::TopicInfo>& topics,
                 CheckReport& report);

// How many data files a day a partition spec yields: commits × partitions that one commit touches. Late records make
// more.
struct FilesPerDay {
  double files = 0;
  bool at_least = false;  // some field's number of values is unknown and counted as one
};
FilesPerDay EstimateFilesPerDay(const schema::PartitionSpec& spec, int64_t commit_interval_ms);

}  // namespace firn::cli
