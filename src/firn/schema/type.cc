#include "firn/schema/type.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "firn/base/check.h"

namespace firn::schema {
namespace {

// In the order of TypeKind.
constexpr std::array<std::string_view, 23> kKindNames = {
    "boolean", "int", "long", "float", "double", "decimal", "date", "time", "timestamp", "timestamptz", "timestamp_ns",
    "timestamptz_ns", "string", "uuid", "fixed", "binary", "unknown", "variant", "geometry", "geography", "struct",
    "list", "map"};
static_assert(kKindNames.size() == static_cast<size_t>(TypeKind::kMap) + 1);

bool IsVersion3Kind(TypeKind kind) {
  switch (kind) {
    case TypeKind::kTimestampNs:
    case TypeKind::kTimestamptzNs:
    case TypeKind::kUnknown:
    case TypeKind::kVariant:
    case TypeKind::kGeometry:
    case TypeKind::kGeography:
      return true;
    default:
      return false;
  }
}

const Field* FindByName(const std::vector<Field>& fields, std::string_view name) {
  for (const Field& field : fields) {
    if (!name.starts_with(field.name)) continue;
    std::string_view rest = name.substr(field.name.size());
    if (rest.empty()) return &field;
    // Names may hold dots themselves, so a prefix that leads nowhere is not yet an answer.
    if (rest.front() != '.') continue;
    if (const Field* found = FindByName(field.type->fields(), rest.substr(1))) return found;
  }
  return nullptr;
}

bool AppendPathTo(const std::vector<Field>& fields, FieldId id, std::vector<const Field*>& path) {
  for (const Field& field : fields) {
    path.push_back(&field);
    if (field.id == id || AppendPathTo(field.type->fields(), id, path)) return true;
    path.pop_back();
  }
  return false;
}

void AppendLeaves(const std::vector<Field>& fields, const std::string& prefix, bool in_list_or_map,
                  std::vector<LeafColumn>& leaves) {
  for (const Field& field : fields) {
    TypeKind kind = field.type->kind();
    std::string name = prefix.empty() ? field.name : prefix + "." + field.name;
    if (field.type->is_nested()) {
      AppendLeaves(field.type->fields(), name, in_list_or_map || kind != TypeKind::kStruct, leaves);
    } else if (kind != TypeKind::kUnknown) {
      leaves.push_back({&field, std::move(name), in_list_or_map});
    }
  }
}

template <typename Visit>
void VisitFields(const std::vector<Field>& fields, const Visit& visit) {
  for (const Field& field : fields) {
    visit(field);
    VisitFields(field.type->fields(), visit);
  }
}

}  // namespace

TypePtr Type::Primitive(TypeKind kind) {
  FIRN_CHECK(kind < TypeKind::kStruct && kind != TypeKind::kDecimal && kind != TypeKind::kFixed,
             "this kind of type has parameters");
  if (kind == TypeKind::kGeometry || kind == TypeKind::kGeography) return Opaque(kind, std::string(TypeKindName(kind)));
  static const std::vector<TypePtr> shared = [] {
    std::vector<TypePtr> types;
    for (size_t i = 0; i < kKindNames.size(); ++i) {
      auto type = std::make_shared<Type>();
      type->kind_ = static_cast<TypeKind>(i);
      types.push_back(std::move(type));
    }
    return types;
  }();
  return shared[static_cast<size_t>(kind)];
}

TypePtr Type::Decimal(int32_t precision, int32_t scale) {
  FIRN_CHECK(precision >= 1 && precision <= 38 && scale >= 0 && scale <= precision, "decimal out of range");
  auto type = std::make_shared<Type>();
  type->kind_ = TypeKind::kDecimal;
  type->precision_ = precision;
  type->scale_ = scale;
  return type;
}

TypePtr Type::Fixed(int32_t length) {
  FIRN_CHECK(length >= 1, "fixed needs a length");
  auto type = std::make_shared<Type>();
  type->kind_ = TypeKind::kFixed;
  type->length_ = length;
  return type;
}

TypePtr Type::Struct(std::vector<Field> fields) {
  auto type = std::make_shared<Type>();
  type->kind_ = TypeKind::kStruct;
  type->fields_ = std::move(fields);
  return type;
}

TypePtr Type::List(Field element) {
  auto type = std::make_shared<Type>();
  type->kind_ = TypeKind::kList;
  element.name = "element";
  type->fields_.push_back(std::move(element));
  return type;
}

TypePtr Type::Map(Field key, Field value) {
  auto type = std::make_shared<Type>();
  type->kind_ = TypeKind::kMap;
  key.name = "key";
  key.required = true;
  value.name = "value";
  type->fields_.push_back(std::move(key));
  type->fields_.push_back(std::move(value));
  return type;
}

TypePtr Type::Opaque(TypeKind kind, std::string text) {
  FIRN_CHECK(kind == TypeKind::kGeometry || kind == TypeKind::kGeography, "not an opaque kind of type");
  auto type = std::make_shared<Type>();
  type->kind_ = kind;
  type->text_ = std::move(text);
  return type;
}

std::string_view TypeKindName(TypeKind kind) { return kKindNames[static_cast<size_t>(kind)]; }

std::string Type::ToString() const {
  switch (kind_) {
    case TypeKind::kDecimal:
      return fmt::format("decimal({}, {})", precision_, scale_);
    case TypeKind::kFixed:
      return fmt::format("fixed[{}]", length_);
    case TypeKind::kGeometry:
    case TypeKind::kGeography:
      return text_;
    case TypeKind::kList:
      return fmt::format("list<{}>", element().type->ToString());
    case TypeKind::kMap:
      return fmt::format("map<{}, {}>", key().type->ToString(), value().type->ToString());
    case TypeKind::kStruct: {
      std::string text = "struct<";
      for (const Field& field : fields_) {
        if (&field != &fields_.front()) text += ", ";
        text += fmt::format("{}: {}: {} {}", field.id, field.name, field.required ? "required" : "optional",
                            field.type->ToString());
      }
      return text + ">";
    }
    default:
      return std::string(TypeKindName(kind_));
  }
}

bool operator==(const Type& a, const Type& b) {
  return &a == &b || (a.kind() == b.kind() && a.precision() == b.precision() && a.scale() == b.scale() &&
                      a.length() == b.length() && a.text() == b.text() && a.fields() == b.fields());
}

bool operator==(const Field& a, const Field& b) {
  return a.id == b.id && a.name == b.name && a.required == b.required && *a.type == *b.type;
}

const Field* Schema::FindById(FieldId id) const {
  std::vector<const Field*> path = PathTo(id);
  return path.empty() ? nullptr : path.back();
}

const Field* Schema::FindByName(std::string_view dotted_name) const {
  return schema::FindByName(fields, dotted_name);
}

std::string Schema::NameOf(FieldId id) const {
  std::string name;
  for (const Field* field : PathTo(id)) {
    if (!name.empty()) name += '.';
    name += field->name;
  }
  return name;
}

int32_t Schema::HighestFieldId() const {
  int32_t highest = 0;
  VisitFields(fields, [&](const Field& field) { highest = std::max(highest, field.id.value()); });
  return highest;
}

std::vector<const Field*> Schema::PathTo(FieldId id) const {
  std::vector<const Field*> path;
  AppendPathTo(fields, id, path);
  return path;
}

std::vector<LeafColumn> LeafColumns(const Schema& schema) {
  std::vector<LeafColumn> leaves;
  AppendLeaves(schema.fields, "", false, leaves);
  return leaves;
}

int32_t RequiredFormatVersion(const Schema& schema) {
  int32_t version = 1;
  VisitFields(schema.fields, [&](const Field& field) {
    bool has_default = !field.initial_default_json.empty() || !field.write_default_json.empty();
    if (has_default || IsVersion3Kind(field.type->kind())) version = 3;
  });
  return version;
}

}  // namespace firn::schema
