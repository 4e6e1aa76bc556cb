// History: is the map that stands in a table's property still the truth about its rows? (positions.md, section 5.7)
//
// Reads manifests only in the rare case that the pipeline's snapshots were expired.
#pragma once

#include <string>
#include <string_view>

#include "firn/base/error.h"
#include "firn/env/object_store.h"
#include "firn/iceberg/spec/table_metadata.h"
#include "firn/ingest/positions.h"

namespace firn::ingest {

struct HistoryVerdict {
  bool unchanged = true;
  std::string reason;  // when changed: what was seen
};

inline constexpr std::string_view kSummaryPipeline = "firn.pipeline";

// `map`: what the property of `metadata` says. `table`: the identifier under which it was loaded.
Result<HistoryVerdict> JudgeHistory(const iceberg::TableMetadata& metadata, std::string_view table,
                                    std::string_view pipeline, const PositionsMap& map, env::ObjectStore& store);

// The newest listed snapshot, from current along parents, that the pipeline committed; nullptr: none.
// `chain_complete`: the walk ended in a snapshot without a parent.
const iceberg::Snapshot* NewestSnapshotOf(const iceberg::TableMetadata& metadata, std::string_view pipeline,
                                          bool& chain_complete);

}  // namespace firn::ingest
