// Metrics of a merged file's manifest entry, out of its inputs' entries: true, or left out.
//
// Pure. Counts and sizes come from the merge itself; bounds and counts of NaN only where every input's entry has them,
// or has no value in the column.
#pragma once

#include <vector>

#include "firn/iceberg/manifest/manifest.h"
#include "firn/parquet/file_layout.h"
#include "firn/schema/type.h"

namespace firn::compaction {

// Fills the metrics, record count, size and split offsets of `output`. Metrics modes of `options` hold: a column in
// mode none or counts gets no more than that.
void FillMetrics(const schema::Schema& schema, const parquet::FileLayoutOptions& options,
                 const parquet::FileMetrics& merged, const std::vector<const iceberg::DataFile*>& inputs,
                 iceberg::DataFile& output);

}  // namespace firn::compaction
