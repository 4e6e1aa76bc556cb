// PipelineTables: which tables a pipeline has, by its configuration and its home, and where the home's positions are.
//
// One load of the home table; nothing is written.
#pragma once

#include <optional>
#include <vector>

#include "firn/base/error.h"
#include "firn/iceberg/catalog/catalog.h"
#include "firn/ingest/pipeline_options.h"
#include "firn/ingest/positions.h"

namespace firn::cli {

struct PipelineTables {
  std::optional<ingest::PositionsMap> home;      // none before the first start
  std::vector<iceberg::TableIdentifier> tables;  // the configured ones, those of templates, rejects, home
};

// Errors: the catalog's (but for a home that is not there), kCorruption and kUnsupported of its map.
Result<PipelineTables> FindPipelineTables(const ingest::PipelineOptions& pipeline, iceberg::Catalog& catalog);

}  // namespace firn::cli
