// The Parquet schema of an Iceberg schema, and the Arrow types that the writer must be given for it.
//
// Pure functions. The Parquet schema is built here and not by Arrow's conversion, because Iceberg prescribes field ids
// at every level, the UUID annotation, minimal decimals and 3-level lists (spec Appendix A, "Parquet").
#pragma once

#include <memory>

#include "firn/base/error.h"
#include "firn/schema/type.h"

namespace arrow {
class DataType;
class RecordBatch;
class Schema;
}  // namespace arrow

namespace parquet::schema {
class GroupNode;
}

namespace firn::parquet {

// kUnsupported names the column whose type Parquet or Firn cannot store (v3-only types, empty structs, fixed[0]).
Result<std::shared_ptr<::parquet::schema::GroupNode>> ToParquetSchema(const schema::Schema& schema);

// The Arrow type with exactly the nullability and child names of `type`: Arrow's writer computes definition levels from
// the nullability in the *array's* type, so an array of the right layout with another nullability would be corrupted.
std::shared_ptr<arrow::DataType> ToArrowType(const schema::Type& type);
std::shared_ptr<arrow::Schema> ToArrowWriteSchema(const schema::Schema& schema);

// The batch with the write schema's types put over its buffers; nothing is copied. kInvalidInput names the column whose
// layout is not the expected one.
Result<std::shared_ptr<arrow::RecordBatch>> ConformBatch(const arrow::RecordBatch& batch,
                                                         const std::shared_ptr<arrow::Schema>& write_schema);

}  // namespace firn::parquet
