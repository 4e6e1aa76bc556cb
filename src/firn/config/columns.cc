#include "firn/config/columns.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "firn/schema/type_parser.h"

namespace firn::config {
namespace {

using decode::json::ColumnSource;
using schema::Field;
using schema::Type;
using schema::TypeKind;
using schema::TypePtr;

constexpr std::array<std::string_view, 1> kNameless = {"name"};

class ColumnsReader {
 public:
  explicit ColumnsReader(ingest::ColumnSourcesByName& sources) : sources_(sources) {}

  // Reads fields of the root or of a struct; names must differ within one struct.
  std::vector<Field> ReadFields(const std::vector<BlockReader>& blocks, const std::string& parent, bool repeated) {
    std::vector<Field> fields;
    std::set<std::string> names;
    for (const BlockReader& block : blocks) {
      std::optional<Field> field = ReadField(block, parent, repeated);
      if (!field) continue;
      if (!names.insert(field->name).second) {
        block.Report("name", fmt::format("two columns of this name: {}", block.Shown("name")));
      }
      fields.push_back(std::move(*field));
    }
    return fields;
  }

  bool good() const { return good_; }

 private:
  std::optional<Field> ReadField(const BlockReader& block, const std::string& parent, bool repeated) {
    Field field;
    field.id = FieldId{next_id_++};
    block.Text("name", field.name);
    if (field.name.empty()) {
      if (block.Has("name")) block.Report("name", "a column needs a name");
      good_ = false;
      return std::nullopt;
    }
    if (!ReadBody(block, parent.empty() ? field.name : parent + "." + field.name, repeated, field)) return std::nullopt;
    return field;
  }

  bool ReadBody(const BlockReader& block, const std::string& dotted_name, bool repeated, Field& field) {
    block.Boolean("required", field.required);
    block.Text("doc", field.doc);
    ReadSource(block, dotted_name, repeated);
    field.type = ReadType(block, dotted_name, repeated);
    return field.type != nullptr;
  }

  void ReadSource(const BlockReader& block, const std::string& dotted_name, bool repeated) {
    if (!block.Has("from") && !block.Has("epoch_unit") && !block.Has("binary")) return;
    ColumnSource source;
    block.Path("from", source.path);
    if (repeated && block.Has("from")) {
      block.Report("from", "has no meaning inside a list or map; give the list or map itself a 'from'");
    }
    EpochUnit unit{};
    BinaryText binary{};
    block.Choice("epoch_unit", unit, kEpochUnits);
    block.Choice("binary", binary, kBinaryTexts);
    if (block.Has("epoch_unit")) source.epoch_unit = unit;
    if (block.Has("binary")) source.binary_text = binary;
    sources_[dotted_name] = std::move(source);
  }

  TypePtr ReadType(const BlockReader& block, const std::string& dotted_name, bool repeated) {
    std::string text;
    block.Text("type", text);
    TypePtr type;
    if (text == "struct") {
      type = ReadStruct(block, dotted_name, repeated);
    } else if (text == "list") {
      type = ReadList(block, dotted_name);
    } else if (text == "map") {
      type = ReadMap(block, dotted_name);
    } else if (!text.empty()) {
      type = ParseText(block, "type", text);
    }
    RefuseStrayParts(block, text);
    if (type == nullptr) good_ = false;
    return type;
  }

  void RefuseStrayParts(const BlockReader& block, const std::string& type) {
    auto refuse = [&](std::string_view key, std::string_view wanted) {
      if (type == wanted || !block.Has(key)) return;
      block.Report(key, fmt::format("belongs to 'type: {}'; the type here is {}", wanted, block.Shown("type")));
    };
    refuse("fields", "struct");
    refuse("element", "list");
    refuse("key", "map");
    refuse("value", "map");
  }

  TypePtr ParseText(const BlockReader& block, std::string_view key, const std::string& text) {
    Result<TypePtr> type = schema::ParseTypeText(text, next_id_);
    if (type.has_value()) return *type;
    block.Report(key, type.error().message());
    return nullptr;
  }

  TypePtr ReadStruct(const BlockReader& block, const std::string& dotted_name, bool repeated) {
    if (!block.Has("fields")) {
      block.Report("type", "struct needs 'fields', or write struct<a: int, b: string>");
      return nullptr;
    }
    std::vector<Field> fields = ReadFields(block.Blocks("fields"), dotted_name, repeated);
    if (!fields.empty()) return Type::Struct(std::move(fields));
    if (good_) block.Report("fields", "a struct needs at least one field");
    return nullptr;
  }

  // `element`, `key` and `value`: a type as text, or a block like a column without a name.
  std::optional<Field> ReadPart(const BlockReader& block, std::string_view key, const std::string& dotted_name) {
    Field field;
    field.id = FieldId{next_id_++};
    field.name = std::string(key);
    const YamlNode* node = block.Raw(key);
    if (node == nullptr || (node->kind != YamlNode::Kind::kScalar && node->kind != YamlNode::Kind::kMap)) {
      block.Report(node == nullptr ? "type" : key,
                   fmt::format("needs '{}': a type, or a block with 'type' in it; or write it in one line, "
                               "as list<int> or map<string, int>",
                               key));
      return std::nullopt;
    }
    if (node->kind == YamlNode::Kind::kScalar) {
      field.type = ParseText(block, key, node->text);
      return field.type == nullptr ? std::nullopt : std::optional(field);
    }
    std::optional<BlockReader> part = block.TypeBlock(key, kNameless);
    if (part->Has("name")) part->Report("name", fmt::format("Iceberg's name for it is always '{}'; leave it out", key));
    if (!ReadBody(*part, dotted_name + "." + std::string(key), true, field)) return std::nullopt;
    return field;
  }

  TypePtr ReadList(const BlockReader& block, const std::string& dotted_name) {
    std::optional<Field> element = ReadPart(block, "element", dotted_name);
    return element ? Type::List(std::move(*element)) : nullptr;
  }

  TypePtr ReadMap(const BlockReader& block, const std::string& dotted_name) {
    std::optional<Field> key = ReadPart(block, "key", dotted_name);
    std::optional<Field> value = ReadPart(block, "value", dotted_name);
    if (!key || !value) return nullptr;
    key->required = true;  // spec: map keys are required
    return Type::Map(std::move(*key), std::move(*value));
  }

  using EpochUnit = decode::json::EpochUnit;
  using BinaryText = decode::json::BinaryText;

  ingest::ColumnSourcesByName& sources_;
  int32_t next_id_ = 1;
  bool good_ = true;
};

// The type with every id given anew from `next_id`, parents before children.
TypePtr Renumber(const TypePtr& type, int32_t& next_id);

Field RenumberField(Field field, int32_t& next_id) {
  field.id = FieldId{next_id++};
  field.type = Renumber(field.type, next_id);
  return field;
}

TypePtr Renumber(const TypePtr& type, int32_t& next_id) {
  switch (type->kind()) {
    case TypeKind::kStruct: {
      std::vector<Field> fields;
      for (const Field& field : type->fields()) fields.push_back(RenumberField(field, next_id));
      return Type::Struct(std::move(fields));
    }
    case TypeKind::kList: return Type::List(RenumberField(type->element(), next_id));
    case TypeKind::kMap: {
      Field key = RenumberField(type->key(), next_id);
      Field value = RenumberField(type->value(), next_id);
      return Type::Map(std::move(key), std::move(value));
    }
    default: return type;
  }
}

class ColumnsFormatter {
 public:
  explicit ColumnsFormatter(const ingest::ColumnSourcesByName& sources) : sources_(sources) {}

  std::string FieldText(const Field& field, const std::string& dotted_name) {
    return fmt::format("{{name: {}, {}}}", QuoteYaml(field.name), Body(field, dotted_name));
  }

 private:
  std::string Body(const Field& field, const std::string& dotted_name) {
    std::string text = TypeText(*field.type, dotted_name);
    if (field.required) text += ", required: true";
    if (auto found = sources_.find(dotted_name); found != sources_.end()) text += SourceText(found->second);
    if (!field.doc.empty()) text += fmt::format(", doc: {}", QuoteYaml(field.doc));
    return text;
  }

  std::string TypeText(const Type& type, const std::string& dotted_name) {
    if (type.kind() == TypeKind::kStruct) {
      std::vector<std::string> fields;
      for (const Field& field : type.fields()) fields.push_back(FieldText(field, dotted_name + "." + field.name));
      return fmt::format("type: struct, fields: [{}]", fmt::join(fields, ", "));
    }
    if (type.kind() == TypeKind::kList) {
      return fmt::format("type: list, element: {{{}}}", Body(type.element(), dotted_name + ".element"));
    }
    if (type.kind() == TypeKind::kMap) {
      Field key = type.key();
      key.required = false;  // always is; saying so would only be noise
      return fmt::format("type: map, key: {{{}}}, value: {{{}}}", Body(key, dotted_name + ".key"),
                         Body(type.value(), dotted_name + ".value"));
    }
    return fmt::format("type: {}", QuoteYaml(type.ToString()));
  }

  std::string SourceText(const ColumnSource& source) {
    std::string text;
    if (!source.path.empty()) {
      std::vector<std::string> keys;
      for (const std::string& key : source.path) keys.push_back(QuoteYaml(key));
      text += fmt::format(", from: [{}]", fmt::join(keys, ", "));
    }
    if (source.epoch_unit) {
      auto index = std::find(kEpochUnits.begin(), kEpochUnits.end(), *source.epoch_unit) - kEpochUnits.begin();
      text += fmt::format(", epoch_unit: {}", kEpochUnitNames[index]);
    }
    if (source.binary_text) {
      auto index = std::find(kBinaryTexts.begin(), kBinaryTexts.end(), *source.binary_text) - kBinaryTexts.begin();
      text += fmt::format(", binary: {}", kBinaryTextNames[index]);
    }
    return text;
  }

  const ingest::ColumnSourcesByName& sources_;
};

}  // namespace

std::optional<schema::Schema> ReadColumns(const std::vector<BlockReader>& columns,
                                          ingest::ColumnSourcesByName& sources) {
  ColumnsReader reader(sources);
  schema::Schema schema;
  schema.fields = reader.ReadFields(columns, "", false);
  if (!reader.good()) return std::nullopt;
  return schema;
}

void AddServiceColumns(const decode::json::JsonDecoderOptions& decode, schema::Schema& schema) {
  int32_t next_id = schema.HighestFieldId() + 1;
  auto add = [&](const std::string& name, const TypePtr& type, std::string_view doc) {
    if (name.empty() || schema.FindByName(name) != nullptr) return;
    Field field;
    field.name = name;
    field.type = type;
    field.doc = doc;
    schema.fields.push_back(RenumberField(std::move(field), next_id));
  };
  if (decode.unknown_fields == decode::json::UnknownFields::kKeep) {
    add(decode.unknown_column, Type::Primitive(TypeKind::kString), "Fields of the record without a column, as JSON");
  }
  if (!decode.kafka_column.empty()) {
    add(decode.kafka_column, decode::json::KafkaColumnType(), "Where the record stood in Kafka");
  }
  add(decode.raw_column, Type::Primitive(TypeKind::kBinary), "The record's own bytes");
}

std::string FormatColumns(const schema::Schema& schema, const ingest::ColumnSourcesByName& sources, size_t indent) {
  ColumnsFormatter formatter(sources);
  std::string out;
  for (const Field& field : schema.fields) {
    out += fmt::format("{:{}}- {}\n", "", indent, formatter.FieldText(field, field.name));
  }
  return out;
}

std::string QuoteYaml(std::string_view text) {
  bool plain = !text.empty() && text != "null" && text != "true" && text != "false" && text != "~" && text[0] != '-';
  for (char c : text) {
    bool harmless = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    std::string_view("_-./+()").find(c) != std::string_view::npos;
    plain = plain && harmless;
  }
  if (plain) return std::string(text);
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '$') {
      out += "$$";  // or it would begin a variable
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace firn::config
