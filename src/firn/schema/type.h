// The types of an Iceberg table: primitive, struct, list, map; fields with ids; schemas.
//
// Values without IO; immutable once built, shared freely between threads. Field ids are identity, names are labels
// (spec: "Schemas and Data Types"). Types of format v3 exist so that such tables can be read and refused with a word.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/base/strong_id.h"

namespace firn::schema {

enum class TypeKind : uint8_t {
  kBoolean, kInt, kLong, kFloat, kDouble, kDecimal, kDate, kTime, kTimestamp, kTimestamptz, kTimestampNs,
  kTimestamptzNs, kString, kUuid, kFixed, kBinary, kUnknown, kVariant, kGeometry, kGeography, kStruct, kList, kMap,
};

class Type;
using TypePtr = std::shared_ptr<const Type>;

struct Field {
  FieldId id;
  std::string name;
  TypePtr type;
  bool required = false;
  std::string doc = {};
  // v3 defaults in their JSON single-value form, kept verbatim; empty: none.
  std::string initial_default_json = {};
  std::string write_default_json = {};
};

// How deep types may nest, whoever wrote them: recursion over a type is safe below this.
inline constexpr int32_t kTypeDepthMax = 64;
// Ids from here on belong to metadata columns (spec: "Reserved Field IDs").
inline constexpr int32_t kReservedFieldIdMin = 2147483447;

class Type {
 public:
  static TypePtr Primitive(TypeKind kind);              // any kind without parameters
  static TypePtr Decimal(int32_t precision, int32_t scale);  // 1 <= precision <= 38, 0 <= scale <= precision
  static TypePtr Fixed(int32_t length);
  static TypePtr Struct(std::vector<Field> fields);
  static TypePtr List(Field element);                   // the name is always "element"
  static TypePtr Map(Field key, Field value);           // names "key" (required) and "value"
  // v3 geometry/geography with their parameters as written, e.g. "geometry(srid:4326)".
  static TypePtr Opaque(TypeKind kind, std::string text);

  TypeKind kind() const { return kind_; }
  bool is_primitive() const { return kind_ < TypeKind::kStruct; }
  bool is_nested() const { return kind_ >= TypeKind::kStruct; }
  int32_t precision() const { return precision_; }  // decimal
  int32_t scale() const { return scale_; }          // decimal
  int32_t length() const { return length_; }        // fixed
  const std::string& text() const { return text_; }  // geometry, geography: as written
  // struct: its fields; list: [element]; map: [key, value]; else none
  const std::vector<Field>& fields() const { return fields_; }
  const Field& element() const { return fields_[0]; }
  const Field& key() const { return fields_[0]; }
  const Field& value() const { return fields_[1]; }

  // "decimal(9, 2)", "struct<1: a: optional int>"; for messages.
  std::string ToString() const;

 private:
  TypeKind kind_ = TypeKind::kUnknown;
  int32_t precision_ = 0;
  int32_t scale_ = 0;
  int32_t length_ = 0;
  std::string text_;
  std::vector<Field> fields_;
};

// The spec's word for a kind: "int", "timestamptz", "struct", ...
std::string_view TypeKindName(TypeKind kind);

// Structural equality, field ids, names, requiredness included; docs and defaults not.
bool operator==(const Type& a, const Type& b);
bool operator==(const Field& a, const Field& b);

struct Schema {
  int32_t schema_id = 0;
  std::vector<Field> fields;
  std::vector<FieldId> identifier_field_ids;

  const Field* FindById(FieldId id) const;                      // any depth; nullptr: none
  const Field* FindByName(std::string_view dotted_name) const;  // "a.b", "list.element.x", "map.key"
  std::string NameOf(FieldId id) const;                         // full dotted name; empty: none
  int32_t HighestFieldId() const;
  // The path of fields from the root to `id` (the field itself last); empty: none.
  std::vector<const Field*> PathTo(FieldId id) const;
};

// Leaf columns in the depth-first order in which Parquet stores them. Columns of type `unknown` are left out: they are
// never stored. A variant counts as one leaf here, though Parquet keeps two below it.
struct LeafColumn {
  const Field* field;               // the primitive field
  std::string name;                 // full dotted Iceberg name
  bool in_list_or_map = false;      // below a repeated field: no bounds are kept for it
};
std::vector<LeafColumn> LeafColumns(const Schema& schema);

// The lowest format version that this schema needs: 3 when a v3-only type or a default value is in it, else 1.
int32_t RequiredFormatVersion(const Schema& schema);

}  // namespace firn::schema
