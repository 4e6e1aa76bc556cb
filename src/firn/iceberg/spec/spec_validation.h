// What makes a schema, a partition spec and a sort order fit to be stored together (kInvalidInput otherwise).
//
// Pure. Used where Firn makes metadata (new tables, updates), not where it reads other writers' metadata.
#pragma once

#include <map>
#include <string>

#include "firn/base/error.h"
#include "firn/schema/partition.h"
#include "firn/schema/type.h"

namespace firn::iceberg {

// Highest field id a table may use; the ids above are reserved for metadata columns (spec: "Reserved Field IDs").
inline constexpr int32_t kFieldIdMax = schema::kReservedFieldIdMin - 1;
inline constexpr int32_t kFirstPartitionFieldId = 1000;

// Names not empty, UTF-8 as docs are, and unique, with the path before them too ("a.b" beside a struct a with b), ids
// unique and in range, at most kTypeDepthMax levels, identifier fields as the spec wants them (required primitives
// outside of lists and maps, no floats), types known to `format_version` (kUnsupported).
Status ValidateSchema(const schema::Schema& schema, int32_t format_version);

// JSON takes UTF-8 only.
Status ValidateProperties(const std::map<std::string, std::string>& properties);

// Sources exist and suit their transforms, names are unique and do not shadow another column.
Status ValidateSpec(const schema::PartitionSpec& spec, const schema::Schema& schema);
Status ValidateSortOrder(const schema::SortOrder& order, const schema::Schema& schema);

}  // namespace firn::iceberg
