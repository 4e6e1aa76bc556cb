// LeafShape: what is fixed about one leaf column of a file: its Parquet type, its levels, and the way to it from a row.
//
// Values, made once a file from the Iceberg schema and the Parquet schema that stands for it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/parquet/format.h"
#include "firn/schema/type.h"

namespace firn::parquet {

// How the bytes of two values compare, which is what a minimum and a maximum mean.
enum class ValueOrder : uint8_t { kBoolean, kInt32, kInt64, kFloat, kDouble, kUnsignedBytes, kSignedBigEndian };

struct LeafStep {
  enum class Kind : uint8_t { kStruct, kList, kLeaf };
  Kind kind = Kind::kLeaf;
  bool optional = false;  // has a definition level of its own
  int child = 0;          // of a struct: the field that the way goes on through
};

struct LeafShape {
  schema::TypePtr type;
  int32_t field_id = 0;
  format::PhysicalType physical = format::PhysicalType::kInt32;
  ValueOrder order = ValueOrder::kInt32;
  // Bytes of a value as the encoders take it: 1 for booleans, 0 for byte arrays, else those of the physical type.
  int32_t width = 0;
  std::vector<std::string> path;  // of names in the Parquet schema
  uint8_t max_definition_level = 0;
  uint8_t max_repetition_level = 0;
  int root = 0;                   // column of the batch
  std::vector<LeafStep> steps;    // from the column down; the last one is the leaf

  bool is_bytes() const { return physical == format::PhysicalType::kByteArray; }
  bool is_nested() const { return steps.size() > 1; }
};

// Every leaf in file order. kUnsupported where nesting needs more than 255 levels.
Result<std::vector<LeafShape>> LeafShapes(const schema::Schema& schema,
                                          const std::shared_ptr<::parquet::schema::GroupNode>& parquet_schema);

// -1, 0 or 1 for two values in PLAIN form (byte arrays without their length). Neither is NaN.
int ComparePlain(ValueOrder order, std::string_view a, std::string_view b);

}  // namespace firn::parquet
