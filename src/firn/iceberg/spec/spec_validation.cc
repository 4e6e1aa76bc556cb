#include "firn/iceberg/spec/spec_validation.h"

#include <fmt/format.h>

#include <set>
#include <string>

#include "firn/schema/bounds.h"

namespace firn::iceberg {
namespace {

using schema::Field;
using schema::TransformKind;
using schema::Type;
using schema::TypeKind;

std::unexpected<Error> Invalid(std::string message) {
  return Fail(ErrorCode::kInvalidInput, std::move(message));
}

// Fields of one schema: what must differ over all of them is gathered on the way.
class FieldsValidator {
 public:
  Status Validate(const std::vector<Field>& fields, const std::string& prefix, int32_t depth) {
    if (depth > schema::kTypeDepthMax && !fields.empty()) {
      return Invalid(fmt::format("the schema nests too deep; keep the part below {} levels as text: '{}'",
                                 schema::kTypeDepthMax, prefix));
    }
    std::set<std::string_view> siblings;
    for (const Field& field : fields) {
      if (field.name.empty()) return Invalid(fmt::format("a field has no name; its id: {}", field.id));
      if (!schema::IsUtf8(field.name)) {
        return Invalid(fmt::format("the name of a field is not UTF-8; write it in UTF-8; its id: {}", field.id));
      }
      if (!siblings.insert(field.name).second) {
        return Invalid(fmt::format("a struct has two fields of one name; rename one of: '{}'", field.name));
      }
      std::string name = prefix.empty() ? field.name : prefix + "." + field.name;
      FIRN_TRY(ValidateField(field, name));
      if (field.type->is_nested()) FIRN_TRY(Validate(field.type->fields(), name, depth + 1));
    }
    return {};
  }

 private:
  Status ValidateField(const Field& field, const std::string& name) {
    // Readers find columns by their full name, and some refuse a table in which one has two meanings.
    if (!names_.insert(name).second) {
      return Invalid(fmt::format("two fields have one full name: a field's own name has a dot in it and equals the "
                                 "path to another; rename one of: '{}'",
                                 name));
    }
    if (field.id.value() < 1 || field.id.value() > kFieldIdMax) {
      return Invalid(fmt::format("the id of field '{}' must be 1 to {}, found: {}", name, kFieldIdMax, field.id));
    }
    if (!ids_.insert(field.id.value()).second) {
      return Invalid(fmt::format("a field id is used twice, by '{}' and another field: {}", name, field.id));
    }
    if (field.type == nullptr) return Invalid(fmt::format("a field has no type: '{}'", name));
    if (!schema::IsUtf8(field.doc)) {
      return Invalid(fmt::format("the doc of a field is not UTF-8; write it in UTF-8: '{}'", name));
    }
    return {};
  }

  std::set<int32_t> ids_;
  std::set<std::string> names_;  // full, dotted
};

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
  FIRN_TRY(FieldsValidator().Validate(schema.fields, "", 1));
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
    if (!schema::IsUtf8(field.name)) {
      return Invalid(fmt::format("the name of a partition field is not UTF-8; its id: {}", field.field_id));
    }
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

Status ValidateProperties(const std::map<std::string, std::string>& properties) {
  for (const auto& [key, value] : properties) {
    if (!schema::IsUtf8(key)) return Invalid("the name of a table property is not UTF-8; write it in UTF-8");
    if (!schema::IsUtf8(value)) {
      return Invalid(fmt::format("the value of a table property is not UTF-8; write it in UTF-8; property: '{}'", key));
    }
  }
  return {};
}

}  // namespace firn::iceberg
