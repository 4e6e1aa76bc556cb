// Which changes of a column's type Iceberg allows without rewriting data (spec: "Schema Evolution").
//
// Pure functions, any thread.
#pragma once

#include "firn/base/error.h"
#include "firn/schema/type.h"

namespace firn::schema {

// Fine when `from` equals `to`, or widens into it: int → long, float → double, decimal(P, S) → decimal(P', S) with
// P' >= P. None of these changes a bucket or truncate result, so partition specs do not stand in the way. Else
// kInvalidInput with the remedy; also for nested types that differ: compare their fields one by one, by id.
Status CheckPromotion(const Type& from, const Type& to);

}  // namespace firn::schema
