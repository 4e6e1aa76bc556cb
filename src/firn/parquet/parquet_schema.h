// The Parquet schema of an Iceberg schema, and batches brought into exactly the types that it stands for.
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

// The batch with the types of `write_schema` put over its buffers; nothing is copied. CheckLayout holds, and required
// columns have no null (ValueScan). Arrow's writer computes definition levels from the nullability in the *array's*
// type, so an array whose type says otherwise would be stored wrongly; and it refuses a required column with a validity
// bitmap even where only null structs are above the nulls.
std::shared_ptr<arrow::RecordBatch> WithWriteTypes(const arrow::RecordBatch& batch,
                                                   const std::shared_ptr<arrow::Schema>& write_schema);

}  // namespace firn::parquet
