#include "firn/decode/json/json_decoder.h"

#include <fmt/format.h>

#include <algorithm>

#include "firn/base/encoding.h"
#include "firn/decode/json/record_decoder.h"

namespace firn::decode::json {
namespace {

using schema::TypeKind;

// The root column of that name; kInvalidInput names the nearest one.
Result<uint32_t> FindColumn(const schema::Schema& schema, std::string_view option, const std::string& name) {
  std::vector<std::string_view> known;
  for (uint32_t i = 0; i < schema.fields.size(); ++i) {
    if (schema.fields[i].name == name) return i;
    known.push_back(schema.fields[i].name);
  }
  std::string_view nearest = NearestWord(name, known);
  std::string hint = nearest.empty() ? "add the column" : fmt::format("add the column or use '{}'", nearest);
  return Fail(ErrorCode::kInvalidInput, fmt::format("{} names a column that is not in the table; {}: '{}'", option,
                                                    hint, name));
}

Status CheckKind(const schema::Field& field, std::string_view option, std::initializer_list<TypeKind> kinds) {
  if (std::ranges::find(kinds, field.type->kind()) != kinds.end()) return {};
  return Fail(ErrorCode::kInvalidInput,
              fmt::format("{}: column '{}' cannot take it; make it {}, not {}", option, field.name,
                          schema::Type::Primitive(*kinds.begin())->ToString(), field.type->ToString()));
}

Status CheckLimits(const JsonDecoderOptions& options) {
  if (options.depth_max < 1 || options.depth_max > kDepthMaxLimit) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("depth_max must be 1 to {}: {}", kDepthMaxLimit, options.depth_max));
  }
  if (options.record_bytes_max < 1 || options.record_bytes_max > kRecordBytesMaxLimit) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("record_bytes_max must be 1 to {}: {}", kRecordBytesMaxLimit,
                                                      options.record_bytes_max));
  }
  bool keeps = options.unknown_fields == UnknownFields::kKeep;
  if (keeps && options.unknown_column.empty()) {
    return Fail(ErrorCode::kInvalidInput, "unknown fields are to be kept: name the string column that takes them");
  }
  if (!keeps && !options.unknown_column.empty()) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("a column for unknown fields is named, but they are not kept; "
                                                      "keep them or remove the name: '{}'", options.unknown_column));
  }
  return {};
}

Result<OwnColumns> FindOwnColumns(const schema::Schema& schema, const JsonDecoderOptions& options,
                                  std::vector<std::string>& taken) {
  OwnColumns own;
  if (!options.unknown_column.empty()) {
    FIRN_ASSIGN(own.unknown, FindColumn(schema, "unknown_column", options.unknown_column));
    FIRN_TRY(CheckKind(schema.fields[*own.unknown], "unknown_column", {TypeKind::kString}));
    own.unknown_required = schema.fields[*own.unknown].required;
    taken.push_back(options.unknown_column);
  }
  if (!options.raw_column.empty()) {
    FIRN_ASSIGN(own.raw, FindColumn(schema, "raw_column", options.raw_column));
    FIRN_TRY(CheckKind(schema.fields[*own.raw], "raw_column", {TypeKind::kBinary, TypeKind::kString}));
    taken.push_back(options.raw_column);
  }
  if (!options.kafka_column.empty()) {
    FIRN_ASSIGN(own.kafka, FindColumn(schema, "kafka_column", options.kafka_column));
    FIRN_ASSIGN(own.kafka_column, KafkaColumn::Create(schema.fields[*own.kafka]));
    taken.push_back(options.kafka_column);
  }
  std::vector<std::string> sorted = taken;
  std::ranges::sort(sorted);
  auto twice = std::ranges::adjacent_find(sorted);
  if (twice != sorted.end()) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("unknown_column, raw_column and kafka_column must differ: '{}'", *twice));
  }
  return own;
}

void AddRequired(const schema::Field& field, const std::string& name, const JsonDecoderOptions& options,
                 std::vector<std::string>& names) {
  auto source = options.sources.find(field.id);
  if (!field.required || (source != options.sources.end() && !source->second.path.empty())) return;
  names.push_back(name);
  if (field.type->kind() != TypeKind::kStruct) return;
  for (const schema::Field& child : field.type->fields()) AddRequired(child, name + "." + child.name, options, names);
}

}  // namespace

Result<DecoderParts> CompileDecoder(const schema::Schema& schema, JsonDecoderOptions options) {
  FIRN_TRY(CheckLimits(options));
  std::vector<std::string> taken;
  DecoderParts parts;
  FIRN_ASSIGN(parts.own, FindOwnColumns(schema, options, taken));
  FIRN_ASSIGN(parts.plan, CompilePlan(schema, options, taken));
  parts.options = std::move(options);
  return parts;
}

Result<std::unique_ptr<JsonDecoder>> JsonDecoder::Create(const schema::Schema& schema, JsonDecoderOptions options) {
  FIRN_ASSIGN(DecoderParts parts, CompileDecoder(schema, std::move(options)));
  return std::make_unique<RecordDecoder>(std::move(parts));
}

std::vector<std::string> RequiredColumnsWithoutSource(const schema::Schema& schema, const JsonDecoderOptions& options) {
  std::vector<std::string> names;
  for (const schema::Field& field : schema.fields) {
    bool own = !field.name.empty() && (field.name == options.unknown_column || field.name == options.raw_column ||
                                       field.name == options.kafka_column);
    if (!own) AddRequired(field, field.name, options, names);
  }
  return names;
}

}  // namespace firn::decode::json
