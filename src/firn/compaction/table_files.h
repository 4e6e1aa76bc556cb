// TableFiles out of a store: the live data and delete files of a table's current snapshot.
//
// Thread-safe as the store is. Nothing is written.
#pragma once

#include <cstdint>
#include <optional>

#include "firn/base/error.h"
#include "firn/compaction/picker.h"
#include "firn/env/object_store.h"
#include "firn/iceberg/spec/table_metadata.h"

namespace firn::compaction {

// Metrics of data files come packed, but for those of `sort_field_id`. kCorruption, kUnsupported: as
// iceberg::ReadSnapshotManifests.
Result<TableFiles> ReadTableFiles(const iceberg::TableMetadata& metadata, env::ObjectStore& store,
                                  std::optional<int32_t> sort_field_id = std::nullopt);

}  // namespace firn::compaction
