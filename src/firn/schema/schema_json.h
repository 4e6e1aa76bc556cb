// The JSON forms of types, schemas, partition specs and sort orders (spec Appendix C).
//
// Reading is strict about structure (kCorruption with the place) and tolerant of unknown members.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "firn/base/error.h"
#include "firn/schema/partition.h"
#include "firn/schema/type.h"

namespace firn::schema {

nlohmann::json ToJson(const Type& type);
nlohmann::json ToJson(const Schema& schema);
nlohmann::json ToJson(const PartitionSpec& spec);
nlohmann::json ToJson(const SortOrder& order);
// Only the fields array, as the manifest's header wants it.
nlohmann::json PartitionFieldsToJson(const PartitionSpec& spec);

Result<TypePtr> TypeFromJson(const nlohmann::json& json);
Result<Schema> SchemaFromJson(const nlohmann::json& json);
Result<PartitionSpec> PartitionSpecFromJson(const nlohmann::json& json);
Result<SortOrder> SortOrderFromJson(const nlohmann::json& json);

}  // namespace firn::schema
