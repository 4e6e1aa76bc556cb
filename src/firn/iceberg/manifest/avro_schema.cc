#include "firn/iceberg/manifest/avro_schema.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

namespace firn::iceberg {
namespace {

using Json = nlohmann::json;

struct KindName {
  AvroKind kind;
  std::string_view name;
};
constexpr KindName kKindNames[] = {
    {AvroKind::kNull, "null"},   {AvroKind::kBoolean, "boolean"}, {AvroKind::kInt, "int"},
    {AvroKind::kLong, "long"},   {AvroKind::kFloat, "float"},     {AvroKind::kDouble, "double"},
    {AvroKind::kBytes, "bytes"}, {AvroKind::kString, "string"},   {AvroKind::kFixed, "fixed"},
    {AvroKind::kEnum, "enum"},   {AvroKind::kRecord, "record"},   {AvroKind::kArray, "array"},
    {AvroKind::kMap, "map"},     {AvroKind::kUnion, "union"},
};

std::optional<AvroKind> KindOf(std::string_view name) {
  for (const KindName& entry : kKindNames) {
    if (entry.name == name) return entry.kind;
  }
  return std::nullopt;
}

std::string TextMember(const Json& json, const char* key) {
  auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<int32_t> IdMember(const Json& json, const char* key) {
  auto found = json.find(key);
  if (found == json.end() || !found->is_number_integer()) return std::nullopt;
  const int64_t value = found->is_number_unsigned() && found->get<uint64_t>() > INT32_MAX ? -1 : found->get<int64_t>();
  if (value < 0 || value > INT32_MAX) return std::nullopt;
  return static_cast<int32_t>(value);
}

class SchemaParser {
 public:
  Result<AvroSchemaPtr> Parse(const Json& json, size_t depth) {
    if (depth > kAvroSchemaDepthMax) {
      return Fail(ErrorCode::kResourceExhausted,
                  fmt::format("avro schema nests deeper than the limit: {}", kAvroSchemaDepthMax));
    }
    if (json.is_string()) return Named(json.get<std::string>());
    if (json.is_array()) return Union(json, depth);
    if (!json.is_object()) return Fail(ErrorCode::kCorruption, "avro schema: neither a name, a list nor an object");
    auto type = json.find("type");
    if (type == json.end()) return Fail(ErrorCode::kCorruption, "avro schema: an object has no member 'type'");
    // {"type": {"type": ...}} wraps a complete schema.
    if (!type->is_string()) return Parse(*type, depth + 1);
    const auto kind = KindOf(type->get<std::string>());
    if (!kind.has_value()) return Named(type->get<std::string>());
    return Complex(json, *kind, depth);
  }

 private:
  Result<AvroSchemaPtr> Named(const std::string& name) {
    if (auto kind = KindOf(name); kind.has_value() && *kind <= AvroKind::kString) {
      auto schema = std::make_shared<AvroSchema>();
      schema->kind = *kind;
      schema->zero_width = *kind == AvroKind::kNull;
      return schema;
    }
    if (open_.contains(name)) {
      return Fail(ErrorCode::kUnsupported, fmt::format("avro schema contains itself, no manifest does: {}", name));
    }
    auto found = named_.find(name);
    if (found == named_.end()) {
      return Fail(ErrorCode::kCorruption, fmt::format("avro schema names an unknown type: '{}'", name));
    }
    return found->second;
  }

  Result<AvroSchemaPtr> Union(const Json& json, size_t depth) {
    auto schema = std::make_shared<AvroSchema>();
    schema->kind = AvroKind::kUnion;
    for (const Json& branch : json) {
      FIRN_ASSIGN(AvroSchemaPtr item, Parse(branch, depth + 1));
      FIRN_TRY(Count(*schema, *item));
      schema->items.push_back(std::move(item));
    }
    if (schema->items.empty()) return Fail(ErrorCode::kCorruption, "avro schema: a union without branches");
    return schema;
  }

  Result<AvroSchemaPtr> Complex(const Json& json, AvroKind kind, size_t depth) {
    auto schema = std::make_shared<AvroSchema>();
    schema->kind = kind;
    schema->zero_width = kind == AvroKind::kNull;
    schema->logical_type = TextMember(json, "logicalType");
    const bool is_named = kind == AvroKind::kRecord || kind == AvroKind::kFixed || kind == AvroKind::kEnum;
    if (is_named) {
      schema->name = TextMember(json, "name");
      open_.insert(schema->name);
    }
    if (kind == AvroKind::kRecord) FIRN_TRY(RecordFields(json, *schema, depth));
    if (kind == AvroKind::kArray || kind == AvroKind::kMap) {
      auto items = json.find(kind == AvroKind::kArray ? "items" : "values");
      if (items == json.end()) return Fail(ErrorCode::kCorruption, "avro schema: an array or map without an item type");
      FIRN_ASSIGN(AvroSchemaPtr item, Parse(*items, depth + 1));
      FIRN_TRY(Count(*schema, *item));
      if (kind == AvroKind::kArray && item->zero_width) {
        return Fail(ErrorCode::kUnsupported, fmt::format("avro array of items without bytes: {}", item->ToString()));
      }
      schema->items.push_back(std::move(item));
      schema->element_id = IdMember(json, "element-id");
    }
    if (kind == AvroKind::kFixed) {
      auto size = IdMember(json, "size");
      if (!size.has_value()) {
        return Fail(ErrorCode::kCorruption,
                    fmt::format("avro schema: a fixed type without a size: '{}'", schema->name));
      }
      schema->fixed_size = static_cast<size_t>(*size);
      schema->zero_width = *size == 0;
    }
    if (kind == AvroKind::kUnion) return Fail(ErrorCode::kCorruption, "avro schema: 'union' is not a type name");
    if (is_named) {
      open_.erase(schema->name);
      Remember(json, schema);
    }
    return schema;
  }

  Status RecordFields(const Json& json, AvroSchema& schema, size_t depth) {
    auto fields = json.find("fields");
    if (fields == json.end() || !fields->is_array()) {
      return Fail(ErrorCode::kCorruption, fmt::format("avro schema: a record without fields: '{}'", schema.name));
    }
    schema.zero_width = true;
    for (const Json& json_field : *fields) {
      if (!json_field.is_object() || !json_field.contains("type")) {
        return Fail(ErrorCode::kCorruption, fmt::format("avro schema: a field without a type in: '{}'", schema.name));
      }
      AvroField field;
      field.name = TextMember(json_field, "name");
      field.field_id = IdMember(json_field, "field-id");
      FIRN_ASSIGN(field.schema, Parse(json_field["type"], depth + 1));
      FIRN_TRY(Count(schema, *field.schema));
      schema.zero_width = schema.zero_width && field.schema->zero_width;
      schema.fields.push_back(std::move(field));
    }
    return {};
  }

  // A named type is found by its short name and, if it has one, by its full name.
  void Remember(const Json& json, const AvroSchemaPtr& schema) {
    named_[schema->name] = schema;
    if (std::string space = TextMember(json, "namespace"); !space.empty()) named_[space + "." + schema->name] = schema;
  }

  static Status Count(AvroSchema& parent, const AvroSchema& child) {
    parent.expanded_nodes += child.expanded_nodes;
    if (parent.expanded_nodes > kAvroSchemaNodesMax) {
      return Fail(ErrorCode::kResourceExhausted,
                  fmt::format("avro schema has more fields than the limit: {}", kAvroSchemaNodesMax));
    }
    return {};
  }

  std::map<std::string, AvroSchemaPtr> named_;
  std::set<std::string> open_;
};

}  // namespace

Result<AvroSchemaPtr> AvroSchema::Parse(std::string_view json_text) {
  if (json_text.size() > kAvroSchemaTextBytesMax) {
    return Fail(ErrorCode::kResourceExhausted,
                fmt::format("avro schema is longer than {} bytes: {}", kAvroSchemaTextBytesMax, json_text.size()));
  }
  FIRN_TRY(CheckJsonDepth(json_text));
  const Json json = Json::parse(json_text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return Fail(ErrorCode::kCorruption, "avro schema is not JSON");
  return SchemaParser().Parse(json, 0);
}

std::string AvroSchema::ToString() const {
  for (const KindName& entry : kKindNames) {
    if (entry.kind == kind) return name.empty() ? std::string(entry.name) : fmt::format("{} {}", entry.name, name);
  }
  return "?";
}

Status CheckJsonDepth(std::string_view json_text) {
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < json_text.size(); ++i) {
    const char c = json_text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kHeaderJsonDepthMax) {
        return Fail(ErrorCode::kCorruption, fmt::format("JSON nests deeper than the limit: {}", kHeaderJsonDepthMax));
      }
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return {};
}

}  // namespace firn::iceberg
