// CheckRequired: does a required column of a batch hold a null? Parquet has no place for it and would store something
// else without a word.
//
// Pure. Only values that exist are looked at: what lies under a null struct or outside the range of a list is not a
// value.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "firn/base/error.h"
#include "firn/columnar/row_pack.h"
#include "firn/schema/type.h"

namespace firn::parquet {

// The top-level columns that are required, or have something required in them: the others need no look.
std::vector<size_t> RequiredColumns(const schema::Schema& schema);

// The batch has the schema's layout, `columns` are what RequiredColumns gives for it. kInvalidInput names a required
// column with a null in it.
Status CheckRequired(const schema::Schema& schema, std::span<const size_t> columns, const columnar::RowSlice& rows);

}  // namespace firn::parquet
