// Metrics of a merged file's manifest entry, out of its inputs' entries: true, or left out.
//
// Pure; one thread's. Counts and sizes come from the merge itself; bounds and counts of NaN only where every input's
// entry has them, or has no value in the column. Nothing of an input is kept.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "firn/iceberg/manifest/manifest.h"
#include "firn/parquet/file_layout.h"
#include "firn/schema/type.h"
#include "firn/schema/value.h"

namespace firn::compaction {

class MergedMetrics {
 public:
  // `schema` must outlive it. Metrics modes of `options` hold: a column in mode none or counts gets no more than that.
  MergedMetrics(const schema::Schema& schema, const parquet::FileLayoutOptions& options);
  void Add(const iceberg::DataFile& input);
  // Fills the metrics, record count, size and split offsets of `output`.
  void Fill(const parquet::FileMetrics& merged, iceberg::DataFile& output) const;

 private:
  struct Bound {
    bool is_known = true;
    std::optional<schema::Value> value;  // none: no input has a value so far
  };
  struct Column {
    const schema::Type* type = nullptr;
    int32_t id = 0;
    parquet::ColumnMetricsOptions mode;
    bool has_bounds = false;
    std::optional<int64_t> nans = 0;
    Bound lower;
    Bound upper;
  };

  static void Include(const Column& column, const iceberg::DataFile& input,
                      const std::map<int32_t, std::string>& bounds, int sign, Bound& bound);

  std::vector<Column> columns_;  // with metrics
};

}  // namespace firn::compaction
