// Column metrics of a written file, as a manifest entry keeps them (spec: "Manifests", data_file 108 to 128), from what
// the column writers counted over every value.
//
// Values and a pure function. Bounds are exact here; modes and truncation are applied at the end, so that a long value
// has a bound too.
#pragma once

#include <cstdint>
#include <vector>

#include "firn/base/error.h"
#include "firn/parquet/column_chunk_writer.h"
#include "firn/parquet/file_layout.h"
#include "firn/schema/type.h"
#include "firn/schema/value.h"

namespace firn::parquet {

// What all chunks of one leaf column say together.
struct ColumnTotals {
  int64_t compressed_bytes = 0;
  int64_t values = 0;  // nulls and NaNs included
  int64_t nulls = 0;
  int64_t nans = 0;
  schema::Value lower;  // null: no value but NaN
  schema::Value upper;

  void Add(const schema::Type& type, const ColumnChunkWriter::Finished& chunk);
};

// `totals` by leaf column, in order. Fills everything but record_count, file_size_in_bytes and
// split_offsets.
FileMetrics MetricsOf(const std::vector<ColumnTotals>& totals, const std::vector<schema::LeafColumn>& leaves,
                      const FileLayoutOptions& options);

}  // namespace firn::parquet
