// From the configuration and a pipeline's share of the work to a compaction loop, and to the figures of its lag; what
// `run`, `compact --watch` and `status` have in common.
//
// Pure, but for what asks the catalog.
#pragma once

#include <optional>

#include "firn/base/error.h"
#include "firn/compaction/loop.h"
#include "firn/config/config.h"
#include "firn/ingest/pipeline_share.h"
#include "firn/lag/table_lag.h"

namespace firn::cli {

// Inputs of one row group and the files they come from are held whole: of `memory.limit`, so much is for them.
inline constexpr int64_t kCompactionShareOfMemory = 8;

compaction::LoopOptions LoopOptionsOf(const config::Config& config);
// As that loop would pick. Where this configuration compacts not itself, somebody with a whole core may.
lag::LagOptions LagOptionsOf(const config::Config& config);
compaction::LoopScope ScopeOf(const ingest::PipelineShare& share);
// All of the work on the pipeline's tables, or on `only` one, whether the pipeline feeds it or not. A table that is on
// hold is left out either way: a person looks at it. Asks the catalog.
Result<compaction::LoopScope> LoadScope(iceberg::Catalog& catalog, ingest::PipelineOptions pipeline,
                                        const std::string& only);

// What the loops of all workers together could take in, bytes a second: each has its part of the shares, and is taken
// to be as fast as this one. nullopt: not measured yet, or this worker has no part.
std::optional<double> CompactionCapacityOf(const config::Config& config, const compaction::LoopStatus& status,
                                           const compaction::LoopScope& scope);

}  // namespace firn::cli
