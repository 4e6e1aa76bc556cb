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
  // All sources of a transform with several arguments (v3), kept for rewriting; such a transform is kUnknown and
  // source_id is the first of them. Empty otherwise.
  std::vector<FieldId> source_ids = {};
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
  std::vector<FieldId> source_ids = {};  // as in PartitionField
  bool operator==(const SortField&) const = default;
};

struct SortOrder {
  int32_t order_id = 0;
  std::vector<SortField> fields;
};

// The partition tuple's type: one optional field a partition field, in order. A source column that was dropped gives
// the transform's own result type; identity, truncate, void and unknown transforms then give string, so that old specs
// stay readable. Who needs the true type of such a partition asks with the older schema that still has the column.
// kInvalidInput: a transform that its source type does not allow.
Result<TypePtr> PartitionType(const PartitionSpec& spec, const Schema& schema);
// kUnsupported when rows cannot be partitioned by this spec: an unknown transform, or a source that the schema lacks.
// Void transforms are always fine.
Status CheckWritable(const PartitionSpec& spec, const Schema& schema);
// The same of rows that are to be sorted; also for a source inside a list or a map.
Status CheckWritable(const SortOrder& order, const Schema& schema);

using PartitionTuple = std::vector<Value>;
// Of one spec. NaN is a value as any other, null is not the text "null", and a value that was written before its column
// was promoted (int → long, float → double) is the promoted one: PartitionPath tells none of this.
bool SamePartition(const PartitionTuple& a, const PartitionTuple& b);
// An int as a long, a float as a double: what values of a promoted column are compared as.
Value Promoted(const Value& value);
// "event_day=2024-01-15/ip_bucket=3", as Java's paths; empty when unpartitioned.
std::string PartitionPath(const PartitionSpec& spec, const Schema& schema, const PartitionTuple& tuple);

// Human forms of the configuration: "day(time)", "bucket(16, src.ip)", "truncate(8, name)", "identity(x)" or "x",
// "void(x)"; plural names (days, years) are taken too. Fields are named as Java does ("time_day", "src.ip_bucket") or
// as "day(time) as event_day" says. kInvalidInput names the offending text and the remedy.
Result<PartitionSpec> ParsePartitionSpec(const std::vector<std::string>& fields, const Schema& schema);
// "time", "time desc", "bucket(16, ip) asc nulls last"; by default ascending with nulls first, descending with nulls
// last. Order id 1, or 0 (unsorted) without fields.
Result<SortOrder> ParseSortOrder(const std::vector<std::string>& fields, const Schema& schema);

}  // namespace firn::schema
