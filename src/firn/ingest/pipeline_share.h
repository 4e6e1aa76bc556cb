// PipelineShare: which tables a pipeline feeds, and which part of the work on them falls to one worker (DESIGN 6: to
// whoever is assigned source partition `hash(group) mod P`). For what is done beside ingest, as compaction.
//
// Values; LoadWholeShare asks the catalog.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/iceberg/catalog/catalog.h"
#include "firn/ingest/pipeline_options.h"
#include "firn/ingest/positions.h"

namespace firn::ingest {

struct PipelineShare {
  std::vector<std::string> tables;  // those that are attached, but for those on hold: a person looks at them
  int64_t shares = 0;               // P: source partitions that the home knows
  std::set<int64_t> mine;           // of [0, shares)
};

// Of the worker that owns these partitions. All workers that know the same home number the partitions alike.
PipelineShare ShareOf(const PositionsMap& home, const std::set<PartitionKey>& owned);

// Of a program that does all of the work. Without a home, or before its first checkpoint, the tables that the options
// name; templates yield none then.
Result<PipelineShare> LoadWholeShare(iceberg::Catalog& catalog, const PipelineOptions& options);

}  // namespace firn::ingest
