// The Parquet schema of an Iceberg schema, and whether a batch has its layout.
//
// Pure functions. The Parquet schema is built here and not by Arrow's conversion, because Iceberg prescribes field ids
// at every level, the UUID annotation, minimal decimals and 3-level lists (spec Appendix A, "Parquet").
#pragma once

#include <memory>

#include "firn/base/error.h"
#include "firn/schema/type.h"

namespace arrow {
class RecordBatch;
class Schema;
}  // namespace arrow

namespace parquet::schema {
class GroupNode;
}

namespace firn::parquet {

// kUnsupported names the column whose type Parquet or Firn cannot store (v3-only types, empty structs).
Result<std::shared_ptr<::parquet::schema::GroupNode>> ToParquetSchema(const schema::Schema& schema);

// kInvalidInput names the column whose buffers are not those that `write_schema` (columnar::ToArrowSchema) stands for.
Status CheckLayout(const arrow::RecordBatch& batch, const arrow::Schema& write_schema);

}  // namespace firn::parquet
