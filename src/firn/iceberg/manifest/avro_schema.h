// AvroSchema: a writer's Avro schema as a tree of nodes, with the attributes that Iceberg adds (field-id, element-id).
//
// Immutable after Parse; named types are resolved, so a node may be reached by several ways but never by itself:
// recursive schemas are refused, no manifest has one. Limits: depth, fields in all once named types are expanded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"

namespace firn::iceberg {

inline constexpr size_t kAvroSchemaTextBytesMax = 16u << 20;
inline constexpr size_t kAvroSchemaDepthMax = 32;
inline constexpr size_t kAvroSchemaNodesMax = 10'000;
// Nesting of any JSON text in a manifest's header, so that no parser's recursion depends on the input.
inline constexpr size_t kHeaderJsonDepthMax = 256;

enum class AvroKind : uint8_t {
  kNull,
  kBoolean,
  kInt,
  kLong,
  kFloat,
  kDouble,
  kBytes,
  kString,
  kFixed,
  kEnum,
  kRecord,
  kArray,
  kMap,
  kUnion,
};

struct AvroSchema;
using AvroSchemaPtr = std::shared_ptr<const AvroSchema>;

struct AvroField {
  std::string name;
  std::optional<int32_t> field_id;
  AvroSchemaPtr schema;
};

struct AvroSchema {
  AvroKind kind = AvroKind::kNull;
  std::string name;          // record, fixed, enum
  std::string logical_type;  // "decimal", "map", "uuid", ...; empty: none
  size_t fixed_size = 0;
  std::vector<AvroField> fields;      // record
  std::vector<AvroSchemaPtr> items;   // array, map: one; union: the branches
  std::optional<int32_t> element_id;  // array
  size_t expanded_nodes = 1;          // this node and all below it, named types counted at each use
  bool zero_width = false;            // its data take no byte: null, a record without fields, fixed(0)

  // kCorruption: not an Avro schema. kUnsupported: recursive, or an array of items without bytes (a count in the data
  // could then ask for any amount of work). kResourceExhausted: a limit above.
  static Result<AvroSchemaPtr> Parse(std::string_view json_text);
  // "record r2", "union": for messages.
  std::string ToString() const;
};

// kCorruption when the text nests deeper than kHeaderJsonDepthMax; says nothing about the rest of its form.
Status CheckJsonDepth(std::string_view json_text);

}  // namespace firn::iceberg
