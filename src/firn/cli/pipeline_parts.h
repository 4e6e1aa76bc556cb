// PipelineParts: from a configuration to the running program's parts; what `run`, `check` and `positions` share.
//
// Made and owned by one command; the parts are thread-safe as their own headers say.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "firn/base/error.h"
#include "firn/config/config.h"
#include "firn/env/http_client.h"
#include "firn/env/object_store.h"
#include "firn/env/spill_file.h"
#include "firn/iceberg/catalog/catalog.h"
#include "firn/kafka/kafka_source.h"

namespace firn::cli {

// Members in the order in which they need each other.
struct Lakehouse {
  std::unique_ptr<env::HttpClient> http;  // null with a SQLite catalog
  std::unique_ptr<env::ObjectStore> plain_store;
  std::unique_ptr<iceberg::Catalog> catalog;
  std::unique_ptr<env::ObjectStore> vended_store;  // null when the catalog has no word on the store

  env::ObjectStore& store() { return vended_store ? *vended_store : *plain_store; }
};

// What a command will do to the lake. A REST catalog does not care; a SQLite file is made by kRun alone, must be there
// for the others (kNotFound), and is not written to by kLook.
enum class LakehouseUse : uint8_t { kRun, kChange, kLook };

// A REST catalog is asked for its configuration, a SQLite file is opened. With a REST catalog and without keys in
// store.s3 the store takes endpoint and credentials from what the catalog says about the pipeline's tables, and asks
// again when they are refused or about to expire.
Result<Lakehouse> OpenLakehouse(const config::Config& config, LakehouseUse use = LakehouseUse::kRun);

// Options of the record source; properties that have an option of their own are moved there.
kafka::KafkaSourceOptions SourceOptions(const config::KafkaConfig& kafka, bool topic_identity_by_name);

// Keeps what the Kafka client fetches ahead within its share of memory.limit, where the file does not say how much it
// may, and tells the pipeline's budget of it.
void BoundClientQueue(config::Config& config);

// Where rows go that memory has no room for; null without spill.dir.
Result<std::unique_ptr<env::SpillFolder>> OpenSpill(const ingest::PipelineOptions& pipeline);

// Host name and process id, for PipelineOptions::worker.
std::string WorkerName();

}  // namespace firn::cli
