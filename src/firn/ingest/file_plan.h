// FilePlan: what every data file of a table in one batch shares, as the table's metadata says it.
//
// Immutable; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "firn/base/error.h"
#include "firn/iceberg/catalog/catalog.h"
#include "firn/parquet/file_layout.h"
#include "firn/schema/partition.h"

namespace arrow {
class Schema;
}

namespace firn::ingest {

struct FilePlan {
  std::shared_ptr<const iceberg::LoadedTable> table;
  const schema::Schema* schema;       // of the table
  const schema::PartitionSpec* spec;  // the table's default
  // The order that rows are to have: the table's, or none where that cannot be computed (unknown transform, column
  // gone). It serves readers' speed only, and a file that does not name one is read rightly (spec: "Sorting").
  schema::SortOrder sort_order;
  std::shared_ptr<const parquet::FileForm> form;
  int64_t target_file_bytes;
  std::shared_ptr<arrow::Schema> arrow_schema;

  bool is_sorted() const { return sort_order.order_id != 0; }
};

// Row groups are cut at `row_group_bytes_max` where the table would have larger ones. kConflict: the schema is gone
// from the table; kInvalidInput: a property that Firn cannot follow.
Result<std::shared_ptr<const FilePlan>> MakeFilePlan(std::shared_ptr<const iceberg::LoadedTable> table,
                                                     int32_t schema_id, int64_t row_group_bytes_max);

// Can files be written as the table's properties say? kInvalidInput names a property that Firn cannot follow (codec,
// sizes, metrics), kUnsupported a column that Parquet cannot store. For whoever attaches or checks a table; a sort
// order that cannot be computed is no failure, it is told in the log: rows are written without order then.
Status CheckWriteProperties(const iceberg::TableMetadata& metadata);

}  // namespace firn::ingest
