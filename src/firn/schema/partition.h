// PartitionSpec and SortOrder as values, with the types they yield for a schema.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "firn/schema/transform.h"
#include "firn/schema/type.h"

namespace firn::schema {

struct PartitionField {
  FieldId source_id;
  FieldId field_id;      // from 1000
  std::string name;
  Transform transform;
  bool operator==(const PartitionField&) const = default;
};

struct PartitionSpec {
  int32_t spec_id = 0;
  std::vector<PartitionField> fields;
  bool is_unpartitioned() const;  // no fields, or void ones only
};

enum class SortDirection : uint8_t { kAscending, kDescending };
enum class NullOrder : uint8_t { kNullsFirst, kNullsLast };

struct SortField {
  FieldId source_id;
  Transform transform;
  SortDirection direction = SortDirection::kAscending;
  NullOrder null_order = NullOrder::kNullsFirst;
  bool operator==(const SortField&) const = default;
};

struct SortOrder {
  int32_t order_id = 0;
  std::vector<SortField> fields;
};

// The partition tuple's type: one optional field a partition field, in order. A source column that was dropped gives
// the transform's own result type (or `unknown` → string) so that old specs stay readable.
Result<TypePtr> PartitionType(const PartitionSpec& spec, const Schema& schema);

using PartitionTuple = std::vector<Value>;
// "event_day=2024-01-15/ip_bucket=3", as Java's paths; empty when unpartitioned.
std::string PartitionPath(const PartitionSpec& spec, const Schema& schema, const PartitionTuple& tuple);

// Human forms of the configuration: "day(time)", "bucket(16, src.ip)", "truncate(8, name)", "identity(x)" or "x",
// "void(x)"; plural names (days, years) are taken too. kInvalidInput names the offending text and the remedy.
Result<PartitionSpec> ParsePartitionSpec(const std::vector<std::string>& fields, const Schema& schema);
// "time", "time desc", "bucket(16, ip) asc nulls last".
Result<SortOrder> ParseSortOrder(const std::vector<std::string>& fields, const Schema& schema);

}  // namespace firn::schema
