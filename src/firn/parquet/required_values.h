// CheckRequired: does a required column of a batch hold a null? Parquet has no place for it and would store something
// else without a word.
//
// Pure. Only values that exist are looked at: what lies under a null struct or outside the range of a list is not a
// value.
#pragma once

#include "firn/base/error.h"
#include "firn/schema/type.h"

namespace arrow {
class RecordBatch;
}

namespace firn::parquet {

// `batch` has the schema's layout. kInvalidInput names a required column with a null in it.
Status CheckRequired(const schema::Schema& schema, const arrow::RecordBatch& batch);

}  // namespace firn::parquet
