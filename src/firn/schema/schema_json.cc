#include "firn/schema/schema_json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <limits>
#include <unordered_set>
#include <utility>

#include "firn/schema/type_parser.h"

namespace firn::schema {
namespace {

using nlohmann::json;

constexpr int32_t kFirstPartitionFieldId = 1000;

// Where in the document we are; rendered only for messages. Lives on the stack of the recursion.
struct Place {
  const Place* parent = nullptr;
  std::string_view name;
  size_t index = std::string::npos;

  std::string ToString() const {
    std::string text = parent == nullptr ? std::string() : parent->ToString();
    if (!name.empty()) text += (text.empty() ? "" : ".") + std::string(name);
    if (index != std::string::npos) text += fmt::format("[{}]", index);
    return text;
  }
};

std::unexpected<Error> Wrong(const Place& place, std::string_view what) {
  return Fail(ErrorCode::kCorruption, fmt::format("{}, at {}", what, place.ToString()));
}

// What stands there, short, for messages. No dump(): that recurses as deep as the document.
std::string Shown(const json& value) {
  if (value.is_string()) return "'" + value.get_ref<const std::string&>().substr(0, 100) + "'";
  if (value.is_number_integer()) return fmt::format("{}", value.get<int64_t>());
  return fmt::format("a JSON {}", value.type_name());
}

// Nothing when the member is missing or null.
const json* Find(const json& object, const char* name) {
  auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

Result<const json*> Require(const json& object, const char* name, const Place& place) {
  const json* member = Find(object, name);
  if (member == nullptr) return Wrong(place, fmt::format("'{}' is missing", name));
  return member;
}

Result<int32_t> ToInt(const json& value, const Place& place) {
  bool fits = value.is_number_integer();
  if (value.is_number_unsigned()) {
    fits = value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int32_t>::max());
  } else if (fits) {
    fits = value.get<int64_t>() >= std::numeric_limits<int32_t>::min();
  }
  if (!fits) return Wrong(place, fmt::format("a 32-bit integer is expected, found {}", Shown(value)));
  return value.get<int32_t>();
}

Result<int32_t> RequireInt(const json& object, const char* name, const Place& place) {
  FIRN_ASSIGN(const json* member, Require(object, name, place));
  return ToInt(*member, Place{&place, name});
}

Result<int32_t> IntOr(const json& object, const char* name, int32_t fallback, const Place& place) {
  const json* member = Find(object, name);
  if (member == nullptr) return fallback;
  return ToInt(*member, Place{&place, name});
}

Result<FieldId> ToFieldId(const json& value, const Place& place) {
  FIRN_ASSIGN(int32_t id, ToInt(value, place));
  if (id < 0) return Wrong(place, fmt::format("a field id cannot be negative: {}", id));
  return FieldId{id};
}

Result<FieldId> RequireFieldId(const json& object, const char* name, const Place& place) {
  FIRN_ASSIGN(const json* member, Require(object, name, place));
  return ToFieldId(*member, Place{&place, name});
}

Result<std::string> RequireString(const json& object, const char* name, const Place& place) {
  FIRN_ASSIGN(const json* member, Require(object, name, place));
  if (!member->is_string()) {
    return Wrong(Place{&place, name}, fmt::format("a string is expected, found {}", Shown(*member)));
  }
  return member->get<std::string>();
}

Result<bool> RequireBool(const json& object, const char* name, const Place& place) {
  FIRN_ASSIGN(const json* member, Require(object, name, place));
  if (!member->is_boolean()) {
    return Wrong(Place{&place, name}, fmt::format("true or false is expected, found {}", Shown(*member)));
  }
  return member->get<bool>();
}

Result<const json*> RequireArray(const json& object, const char* name, const Place& place) {
  FIRN_ASSIGN(const json* member, Require(object, name, place));
  if (!member->is_array()) {
    return Wrong(Place{&place, name}, fmt::format("an array is expected, found {}", Shown(*member)));
  }
  return member;
}

Status RequireObject(const json& value, const Place& place) {
  if (!value.is_object()) return Wrong(place, fmt::format("an object is expected, found {}", Shown(value)));
  return {};
}

bool IsDeeperThan(const json& value, int32_t levels) {
  if (!value.is_structured()) return false;
  if (levels == 0) return true;
  for (const json& child : value) {
    if (IsDeeperThan(child, levels - 1)) return true;
  }
  return false;
}

// A default value as it was written. The depth is bounded because dump() recurses.
Result<std::string> DefaultText(const json& object, const char* name, const Place& place) {
  const json* member = Find(object, name);
  if (member == nullptr) return std::string();
  if (IsDeeperThan(*member, kTypeDepthMax)) return Wrong(Place{&place, name}, "a default value nests too deep");
  return member->dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<TypePtr> ReadType(const json& value, const Place& place, int32_t depth);

Result<Field> ReadField(const json& value, const Place& place, int32_t depth) {
  FIRN_TRY(RequireObject(value, place));
  Field field;
  FIRN_ASSIGN(field.id, RequireFieldId(value, "id", place));
  FIRN_ASSIGN(field.name, RequireString(value, "name", place));
  FIRN_ASSIGN(field.required, RequireBool(value, "required", place));
  FIRN_ASSIGN(const json* type, Require(value, "type", place));
  FIRN_ASSIGN(field.type, ReadType(*type, Place{&place, "type"}, depth + 1));
  if (const json* doc = Find(value, "doc"); doc != nullptr && doc->is_string()) field.doc = doc->get<std::string>();
  FIRN_ASSIGN(field.initial_default_json, DefaultText(value, "initial-default", place));
  FIRN_ASSIGN(field.write_default_json, DefaultText(value, "write-default", place));
  return field;
}

Result<std::vector<Field>> ReadFields(const json& object, const Place& place, int32_t depth) {
  FIRN_ASSIGN(const json* array, RequireArray(object, "fields", place));
  std::vector<Field> fields;
  std::unordered_set<std::string> names;
  for (size_t i = 0; i < array->size(); ++i) {
    Place here{&place, "fields", i};
    FIRN_ASSIGN(Field field, ReadField((*array)[i], here, depth));
    if (!names.insert(field.name).second) {
      return Wrong(here, fmt::format("two fields of one struct have the same name: '{}'", field.name));
    }
    fields.push_back(std::move(field));
  }
  return fields;
}

Result<TypePtr> ReadList(const json& value, const Place& place, int32_t depth) {
  Field element;
  FIRN_ASSIGN(element.id, RequireFieldId(value, "element-id", place));
  FIRN_ASSIGN(element.required, RequireBool(value, "element-required", place));
  FIRN_ASSIGN(const json* type, Require(value, "element", place));
  FIRN_ASSIGN(element.type, ReadType(*type, Place{&place, "element"}, depth + 1));
  return Type::List(std::move(element));
}

Result<TypePtr> ReadMap(const json& value, const Place& place, int32_t depth) {
  Field map_key;
  Field map_value;
  FIRN_ASSIGN(map_key.id, RequireFieldId(value, "key-id", place));
  FIRN_ASSIGN(const json* key_type, Require(value, "key", place));
  FIRN_ASSIGN(map_key.type, ReadType(*key_type, Place{&place, "key"}, depth + 1));
  FIRN_ASSIGN(map_value.id, RequireFieldId(value, "value-id", place));
  FIRN_ASSIGN(map_value.required, RequireBool(value, "value-required", place));
  FIRN_ASSIGN(const json* value_type, Require(value, "value", place));
  FIRN_ASSIGN(map_value.type, ReadType(*value_type, Place{&place, "value"}, depth + 1));
  return Type::Map(std::move(map_key), std::move(map_value));
}

Result<TypePtr> ReadType(const json& value, const Place& place, int32_t depth) {
  if (depth > kTypeDepthMax) return Wrong(place, fmt::format("types nest deeper than {}", kTypeDepthMax));
  if (value.is_string()) {
    auto type = ParsePrimitiveType(value.get_ref<const std::string&>());
    if (type) return type;
    ErrorCode code = type.error().code() == ErrorCode::kUnsupported ? ErrorCode::kUnsupported : ErrorCode::kCorruption;
    return Fail(code, fmt::format("{}, at {}", type.error().message(), place.ToString()));
  }
  FIRN_TRY(RequireObject(value, place));
  FIRN_ASSIGN(std::string kind, RequireString(value, "type", place));
  if (kind == "list") return ReadList(value, place, depth);
  if (kind == "map") return ReadMap(value, place, depth);
  if (kind != "struct") {
    return Wrong(place, fmt::format("a nested type is struct, list or map, not '{}'", kind.substr(0, 100)));
  }
  FIRN_ASSIGN(std::vector<Field> fields, ReadFields(value, place, depth));
  return Type::Struct(std::move(fields));
}

Status CheckIdsUnique(const std::vector<Field>& fields, std::unordered_set<FieldId>& ids) {
  for (const Field& field : fields) {
    if (!ids.insert(field.id).second) {
      return Fail(ErrorCode::kCorruption, fmt::format("two fields of the schema have one id: {}", field.id));
    }
    FIRN_TRY(CheckIdsUnique(field.type->fields(), ids));
  }
  return {};
}

Result<std::vector<FieldId>> ReadFieldIds(const json& object, const char* name, const Place& place) {
  std::vector<FieldId> ids;
  if (Find(object, name) == nullptr) return ids;
  FIRN_ASSIGN(const json* array, RequireArray(object, name, place));
  for (size_t i = 0; i < array->size(); ++i) {
    FIRN_ASSIGN(FieldId id, ToFieldId((*array)[i], Place{&place, name, i}));
    ids.push_back(id);
  }
  return ids;
}

// The source and transform of a partition or sort field. `source-ids` with one id means the same as `source-id`; with
// several, the transform is one that Firn does not know, whatever its name (spec v3: multi-argument transforms).
struct Source {
  FieldId id;
  std::vector<FieldId> ids;
  Transform transform;
};

Result<Source> ReadSource(const json& value, const Place& place) {
  Source source;
  FIRN_ASSIGN(std::string text, RequireString(value, "transform", place));
  FIRN_ASSIGN(source.ids, ReadFieldIds(value, "source-ids", place));
  if (source.ids.size() > 1) {
    source.id = source.ids.front();
    source.transform = Transform{TransformKind::kUnknown, 0, std::move(text)};
    return source;
  }
  if (source.ids.size() == 1 && Find(value, "source-id") == nullptr) {
    source.id = source.ids.front();
  } else {
    FIRN_ASSIGN(source.id, RequireFieldId(value, "source-id", place));
  }
  source.ids.clear();
  auto transform = Transform::Parse(text);
  if (!transform) return Wrong(Place{&place, "transform"}, transform.error().message());
  source.transform = std::move(*transform);
  return source;
}

Result<PartitionField> ReadPartitionField(const json& value, const Place& place, int32_t fallback_id) {
  FIRN_TRY(RequireObject(value, place));
  FIRN_ASSIGN(Source source, ReadSource(value, place));
  PartitionField field;
  field.source_id = source.id;
  field.source_ids = std::move(source.ids);
  field.transform = std::move(source.transform);
  field.field_id = FieldId{fallback_id};
  if (Find(value, "field-id") != nullptr) {
    FIRN_ASSIGN(field.field_id, RequireFieldId(value, "field-id", place));
  }
  FIRN_ASSIGN(field.name, RequireString(value, "name", place));
  return field;
}

Result<SortField> ReadSortField(const json& value, const Place& place) {
  FIRN_TRY(RequireObject(value, place));
  FIRN_ASSIGN(Source source, ReadSource(value, place));
  SortField field;
  field.source_id = source.id;
  field.source_ids = std::move(source.ids);
  field.transform = std::move(source.transform);
  FIRN_ASSIGN(std::string direction, RequireString(value, "direction", place));
  if (direction != "asc" && direction != "desc") {
    return Wrong(Place{&place, "direction"}, fmt::format("asc or desc is expected, found '{}'", direction));
  }
  field.direction = direction == "asc" ? SortDirection::kAscending : SortDirection::kDescending;
  FIRN_ASSIGN(std::string nulls, RequireString(value, "null-order", place));
  if (nulls != "nulls-first" && nulls != "nulls-last") {
    return Wrong(Place{&place, "null-order"}, fmt::format("nulls-first or nulls-last is expected, found '{}'", nulls));
  }
  field.null_order = nulls == "nulls-first" ? NullOrder::kNullsFirst : NullOrder::kNullsLast;
  return field;
}

json FieldsToJson(const std::vector<Field>& fields) {
  json array = json::array();
  for (const Field& field : fields) {
    json object = {{"id", field.id.value()},
                   {"name", field.name},
                   {"required", field.required},
                   {"type", ToJson(*field.type)}};
    if (!field.doc.empty()) object["doc"] = field.doc;
    for (auto [name, text] : {std::pair{"initial-default", &field.initial_default_json},
                              std::pair{"write-default", &field.write_default_json}}) {
      if (text->empty()) continue;
      json value = json::parse(*text, nullptr, false);
      if (!value.is_discarded()) object[name] = std::move(value);
    }
    array.push_back(std::move(object));
  }
  return array;
}

// Rule of the spec: a transform of one argument writes `source-id`, one of several writes `source-ids`.
void PutSource(json& object, FieldId id, const std::vector<FieldId>& ids) {
  if (ids.empty()) {
    object["source-id"] = id.value();
    return;
  }
  json array = json::array();
  for (FieldId each : ids) array.push_back(each.value());
  object["source-ids"] = std::move(array);
}

}  // namespace

json ToJson(const Type& type) {
  switch (type.kind()) {
    case TypeKind::kStruct:
      return {{"type", "struct"}, {"fields", FieldsToJson(type.fields())}};
    case TypeKind::kList:
      return {{"type", "list"},
              {"element-id", type.element().id.value()},
              {"element", ToJson(*type.element().type)},
              {"element-required", type.element().required}};
    case TypeKind::kMap:
      return {{"type", "map"},
              {"key-id", type.key().id.value()},
              {"key", ToJson(*type.key().type)},
              {"value-id", type.value().id.value()},
              {"value", ToJson(*type.value().type)},
              {"value-required", type.value().required}};
    default:
      return type.ToString();
  }
}

json ToJson(const Schema& schema) {
  json object = {{"type", "struct"}, {"schema-id", schema.schema_id}, {"fields", FieldsToJson(schema.fields)}};
  if (!schema.identifier_field_ids.empty()) {
    json ids = json::array();
    for (FieldId id : schema.identifier_field_ids) ids.push_back(id.value());
    object["identifier-field-ids"] = std::move(ids);
  }
  return object;
}

json PartitionFieldsToJson(const PartitionSpec& spec) {
  json array = json::array();
  for (const PartitionField& field : spec.fields) {
    json object = {{"field-id", field.field_id.value()},
                   {"name", field.name},
                   {"transform", field.transform.ToString()}};
    PutSource(object, field.source_id, field.source_ids);
    array.push_back(std::move(object));
  }
  return array;
}

json ToJson(const PartitionSpec& spec) {
  return {{"spec-id", spec.spec_id}, {"fields", PartitionFieldsToJson(spec)}};
}

json ToJson(const SortOrder& order) {
  json array = json::array();
  for (const SortField& field : order.fields) {
    json object = {{"transform", field.transform.ToString()},
                   {"direction", field.direction == SortDirection::kAscending ? "asc" : "desc"},
                   {"null-order", field.null_order == NullOrder::kNullsFirst ? "nulls-first" : "nulls-last"}};
    PutSource(object, field.source_id, field.source_ids);
    array.push_back(std::move(object));
  }
  return {{"order-id", order.order_id}, {"fields", std::move(array)}};
}

Result<TypePtr> TypeFromJson(const json& json) { return ReadType(json, Place{nullptr, "type"}, 1); }

Result<Schema> SchemaFromJson(const json& json) {
  Place place{nullptr, "schema"};
  FIRN_TRY(RequireObject(json, place));
  Schema schema;
  FIRN_ASSIGN(schema.schema_id, IntOr(json, "schema-id", 0, place));
  FIRN_ASSIGN(schema.fields, ReadFields(json, place, 0));
  FIRN_ASSIGN(schema.identifier_field_ids, ReadFieldIds(json, "identifier-field-ids", place));
  std::unordered_set<FieldId> ids;
  FIRN_TRY(CheckIdsUnique(schema.fields, ids));
  for (FieldId id : schema.identifier_field_ids) {
    if (!ids.contains(id)) return Wrong(place, fmt::format("an identifier field is not in the schema: {}", id));
  }
  return schema;
}

Result<PartitionSpec> PartitionSpecFromJson(const json& json) {
  Place place{nullptr, "partition-spec"};
  PartitionSpec spec;
  const nlohmann::json* array = &json;
  if (!json.is_array()) {
    FIRN_TRY(RequireObject(json, place));
    FIRN_ASSIGN(spec.spec_id, IntOr(json, "spec-id", 0, place));
    FIRN_ASSIGN(array, RequireArray(json, "fields", place));
  }
  std::unordered_set<FieldId> ids;
  for (size_t i = 0; i < array->size(); ++i) {
    Place here{&place, "fields", i};
    auto fallback_id = kFirstPartitionFieldId + static_cast<int32_t>(i);
    FIRN_ASSIGN(PartitionField field, ReadPartitionField((*array)[i], here, fallback_id));
    if (!ids.insert(field.field_id).second) {
      return Wrong(here, fmt::format("two partition fields have one id: {}", field.field_id));
    }
    spec.fields.push_back(std::move(field));
  }
  return spec;
}

Result<SortOrder> SortOrderFromJson(const json& json) {
  Place place{nullptr, "sort-order"};
  FIRN_TRY(RequireObject(json, place));
  SortOrder order;
  FIRN_ASSIGN(order.order_id, RequireInt(json, "order-id", place));
  FIRN_ASSIGN(const nlohmann::json* array, RequireArray(json, "fields", place));
  for (size_t i = 0; i < array->size(); ++i) {
    FIRN_ASSIGN(SortField field, ReadSortField((*array)[i], Place{&place, "fields", i}));
    order.fields.push_back(std::move(field));
  }
  return order;
}

}  // namespace firn::schema
