#include "firn/iceberg/spec/spec_validation.h"

#include <fmt/format.h>

#include <set>
#include <string>

namespace firn::iceberg {
namespace {

using schema::Field;
using schema::TransformKind;
using schema::Type;
using schema::TypeKind;

std::unexpected<Error> Invalid(std::string message) {
  return Fail(ErrorCode::kInvalidInput, std::move(message));
}

Status ValidateFields(const std::vector<Field>& fields, std::set<int32_t>& ids) {
  std::set<std::string_view> names;
  for (const Field& field : fields) {
    if (field.name.empty()) return Invalid(fmt::format("a field has no name; its id: {}", field.id));
    if (!names.insert(field.name).second) {
      return Invalid(fmt::format("a struct has two fields of one name; rename one of: '{}'", field.name));
    }
    if (field.id.value() < 1 || field.id.value() > kFieldIdMax) {
      return Invalid(fmt::format("the id of field '{}' must be 1 to {}, found: {}", field.name, kFieldIdMax, field.id));
    }
    if (!ids.insert(field.id.value()).second) {
      return Invalid(fmt::format("a field id is used twice, by '{}' and another field: {}", field.name, field.id));
    }
    if (field.type == nullptr) return Invalid(fmt::format("a field has no type: '{}'", field.name));
    if (field.type->is_nested()) FIRN_TRY(ValidateFields(field.type->fields(), ids));
  }
  return {};
}

// spec: "Identifier Field IDs".
Status ValidateIdentifierField(const schema::Schema& schema, FieldId id) {
  std::vector<const Field*> path = schema.PathTo(id);
  if (path.empty()) return Invalid(fmt::format("identifier-field-ids names no field: {}", id));
  const Field& field = *path.back();
  bool is_float = field.type->kind() == TypeKind::kFloat || field.type->kind() == TypeKind::kDouble;
  if (!field.type->is_primitive() || !field.required || is_float) {
    return Invalid(fmt::format("an identifier field must be a required primitive and no float or double: '{}'",
                               schema.NameOf(id)));
  }
  for (const Field* parent : path) {
    if (parent == &field) break;
    if (parent->type->kind() != TypeKind::kStruct || !parent->required) {
      return Invalid(fmt::format("an identifier field must not be inside a list, a map or an optional struct: '{}'",
                                 schema.NameOf(id)));
    }
  }
  return {};
}

Status ValidateTransform(const schema::Transform& transform, const Field& source, std::string_view what) {
  if (transform.kind == TransformKind::kUnknown) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("{} has a transform that Firn reads but never writes: '{}'", what, transform.ToString()));
  }
  auto result = transform.ResultType(*source.type);
  if (!result.has_value()) return std::unexpected<Error>(std::move(result.error()).WithContext(what));
  return {};
}

}  // namespace

Status ValidateSchema(const schema::Schema& schema, int32_t format_version) {
  std::set<int32_t> ids;
  FIRN_TRY(ValidateFields(schema.fields, ids));
  for (FieldId id : schema.identifier_field_ids) FIRN_TRY(ValidateIdentifierField(schema, id));
  int32_t needed = schema::RequiredFormatVersion(schema);
  if (needed > format_version) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("the schema has types of format version {}; the table has: {}", needed, format_version));
  }
  return {};
}

Status ValidateSpec(const schema::PartitionSpec& spec, const schema::Schema& schema) {
  std::set<std::string_view> names;
  std::set<int32_t> ids;
  for (const schema::PartitionField& field : spec.fields) {
    std::string what = fmt::format("partition field '{}'", field.name);
    if (field.name.empty()) return Invalid(fmt::format("a partition field has no name; its id: {}", field.field_id));
    if (!names.insert(field.name).second) return Invalid(fmt::format("{}: the name is used twice; give another", what));
    if (!ids.insert(field.field_id.value()).second) {
      return Invalid(fmt::format("{}: its field-id is used twice: {}", what, field.field_id));
    }
    if (field.transform.kind == TransformKind::kVoid) continue;  // its source column may be gone
    const Field* source = schema.FindById(field.source_id);
    if (source == nullptr) return Invalid(fmt::format("{}: no column has the id: {}", what, field.source_id));
    FIRN_TRY(ValidateTransform(field.transform, *source, what));
    // A partition name may equal a column's only where it is that column (Java refuses the rest).
    const Field* same_name = schema.FindByName(field.name);
    bool is_that_column = field.transform.kind == TransformKind::kIdentity && same_name == source;
    if (same_name != nullptr && !is_that_column) {
      return Invalid(fmt::format("{}: the name is that of a column with other values; give another", what));
    }
  }
  return {};
}

Status ValidateSortOrder(const schema::SortOrder& order, const schema::Schema& schema) {
  for (const schema::SortField& field : order.fields) {
    std::string what = fmt::format("sort field '{}'", schema.NameOf(field.source_id));
    const Field* source = schema.FindById(field.source_id);
    if (source == nullptr) return Invalid(fmt::format("{}: no column has the id: {}", what, field.source_id));
    FIRN_TRY(ValidateTransform(field.transform, *source, what));
  }
  return {};
}

}  // namespace firn::iceberg
