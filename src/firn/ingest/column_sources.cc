#include "firn/ingest/column_sources.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

namespace firn::ingest {
namespace {

using nlohmann::json;

class Resolver {
 public:
  Resolver(const ColumnSourcesByName& configured, const ColumnSourcesById& remembered)
      : configured_(configured), remembered_(remembered) {}

  // `name`: the dotted column name now; `path`: the JSON path of the parent as resolved.
  void Visit(const schema::Field& field, const std::string& name, std::vector<std::string> path) {
    decode::json::ColumnSource source;
    path.push_back(field.name);
    source.path = path;
    auto by_name = configured_.find(name);
    auto by_id = remembered_.find(field.id);
    if (by_id != remembered_.end()) {
      source = by_id->second;
    } else if (by_name != configured_.end()) {
      if (!by_name->second.path.empty()) source.path = by_name->second.path;
    }
    // Units are configuration, not identity: today's word holds.
    if (by_name != configured_.end()) {
      source.epoch_unit = by_name->second.epoch_unit;
      source.binary_text = by_name->second.binary_text;
    }
    path = source.path;
    resolved_[field.id] = std::move(source);
    for (const schema::Field& child : field.type->fields()) Visit(child, name + "." + child.name, path);
  }

  ColumnSourcesById Take() { return std::move(resolved_); }

 private:
  const ColumnSourcesByName& configured_;
  const ColumnSourcesById& remembered_;
  ColumnSourcesById resolved_;
};

// Keeps only what the decoder would not do by itself.
class DecoderSourcesBuilder {
 public:
  explicit DecoderSourcesBuilder(const ColumnSourcesById& resolved) : resolved_(resolved) {}

  // `parent_path`: where the decoder looks for the parent; `in_element`: a list or map stands above the field.
  void Visit(const schema::Field& field, std::vector<std::string> parent_path, bool in_element) {
    std::vector<std::string> path = std::move(parent_path);
    path.push_back(field.name);
    auto found = resolved_.find(field.id);
    if (found != resolved_.end()) {
      decode::json::ColumnSource source = found->second;
      if (in_element || source.path == path) {
        source.path.clear();
      } else if (!source.path.empty()) {
        path = source.path;
      }
      bool needed = !source.path.empty() || source.epoch_unit.has_value() || source.binary_text.has_value();
      if (needed) needed_[field.id] = std::move(source);
    }
    bool repeated = field.type->kind() == schema::TypeKind::kList || field.type->kind() == schema::TypeKind::kMap;
    for (const schema::Field& child : field.type->fields()) Visit(child, path, in_element || repeated);
  }

  ColumnSourcesById Take() { return std::move(needed_); }

 private:
  const ColumnSourcesById& resolved_;
  ColumnSourcesById needed_;
};

std::string_view UnitName(decode::json::EpochUnit unit) {
  using decode::json::EpochUnit;
  switch (unit) {
    case EpochUnit::kAuto: return "auto";
    case EpochUnit::kSeconds: return "s";
    case EpochUnit::kMillis: return "ms";
    case EpochUnit::kMicros: return "us";
    case EpochUnit::kNanos: return "ns";
  }
  return "auto";
}

std::optional<decode::json::EpochUnit> UnitFromName(std::string_view name) {
  using decode::json::EpochUnit;
  for (EpochUnit unit :
       {EpochUnit::kAuto, EpochUnit::kSeconds, EpochUnit::kMillis, EpochUnit::kMicros, EpochUnit::kNanos}) {
    if (UnitName(unit) == name) return unit;
  }
  return std::nullopt;
}

}  // namespace

ColumnSourcesById ResolveSources(const schema::Schema& schema, const ColumnSourcesByName& configured,
                                 const ColumnSourcesById& remembered) {
  Resolver resolver(configured, remembered);
  for (const schema::Field& field : schema.fields) resolver.Visit(field, field.name, {});
  return resolver.Take();
}

ColumnSourcesById DecoderSources(const schema::Schema& schema, const ColumnSourcesById& resolved,
                                 const decode::json::JsonDecoderOptions& options) {
  DecoderSourcesBuilder builder(resolved);
  for (const schema::Field& field : schema.fields) {
    bool own =
        field.name == options.unknown_column || field.name == options.raw_column || field.name == options.kafka_column;
    if (!own) builder.Visit(field, {}, false);
  }
  return builder.Take();
}

std::string SerializeSources(const ColumnSourcesById& sources) {
  json document = json::object();
  for (const auto& [id, source] : sources) {
    json entry = {{"path", source.path}};
    if (source.epoch_unit.has_value()) entry["epoch_unit"] = UnitName(*source.epoch_unit);
    if (source.binary_text.has_value()) {
      entry["binary"] = *source.binary_text == decode::json::BinaryText::kHex ? "hex" : "base64";
    }
    document[std::to_string(id.value())] = std::move(entry);
  }
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<ColumnSourcesById> ParseSources(std::string_view json_text) {
  ColumnSourcesById sources;
  try {
    const json document = json::parse(json_text);
    for (const auto& [id_text, entry] : document.items()) {
      int32_t id = 0;
      auto [end, error] = std::from_chars(id_text.data(), id_text.data() + id_text.size(), id);
      if (error != std::errc() || end != id_text.data() + id_text.size()) {
        return Fail(ErrorCode::kCorruption,
                    fmt::format("column sources name a field id that is no number: '{}'", id_text));
      }
      decode::json::ColumnSource source;
      source.path = entry.at("path").get<std::vector<std::string>>();
      if (entry.contains("epoch_unit")) source.epoch_unit = UnitFromName(entry.at("epoch_unit").get<std::string>());
      if (entry.contains("binary")) {
        source.binary_text =
            entry.at("binary") == "hex" ? decode::json::BinaryText::kHex : decode::json::BinaryText::kBase64;
      }
      sources[FieldId{id}] = std::move(source);
    }
  } catch (const json::exception& error) {
    return Fail(ErrorCode::kCorruption, fmt::format("column sources are not readable: {}", error.what()));
  }
  return sources;
}

}  // namespace firn::ingest
