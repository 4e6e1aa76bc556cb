// What makes a schema, a partition spec and a sort order fit to be stored together (kInvalidInput otherwise).
//
// Pure. Used where Firn makes metadata (new tables, updates), not where it reads other writers' metadata.
#pragma once

#include "firn/base/error.h"
#include "firn/schema/partition.h"
#include "firn/schema/type.h"

namespace firn::iceberg {

// Highest field id a table may use; the ids above are reserved for metadata columns (spec: "Reserved Field IDs").
inline constexpr int32_t kFieldIdMax = 2147483446;
inline constexpr int32_t kFirstPartitionFieldId = 1000;

// Names unique within each struct and not empty, ids unique and in range, identifier fields as the spec wants them
// (required primitives outside of lists and maps, no floats), types known to `format_version` (kUnsupported).
Status ValidateSchema(const schema::Schema& schema, int32_t format_version);

// Sources exist and suit their transforms, names are unique and do not shadow another column.
Status ValidateSpec(const schema::PartitionSpec& spec, const schema::Schema& schema);
Status ValidateSortOrder(const schema::SortOrder& order, const schema::Schema& schema);

}  // namespace firn::iceberg
