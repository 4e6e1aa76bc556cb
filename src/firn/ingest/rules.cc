#include "firn/ingest/rules.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <simdjson.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "firn/base/encoding.h"
#include "firn/base/text_pattern.h"

namespace firn::ingest {
namespace {

using nlohmann::json;

constexpr size_t kNamePartBytesMax = 128;

json MatchToJson(const RouteMatch& match) {
  json out = {{"topic", match.topic},
              {"topic_regex", match.topic_regex},
              {"field_path", match.field_path},
              {"field_regex", match.field_regex},
              {"header_name", match.header_name},
              {"header_regex", match.header_regex}};
  if (match.field_equals.has_value()) out["field_equals"] = *match.field_equals;
  if (match.header_equals.has_value()) out["header_equals"] = *match.header_equals;
  return out;
}

Result<std::optional<TextPattern>> CompilePattern(const std::string& text) {
  if (text.empty()) return std::optional<TextPattern>();
  Result<TextPattern> pattern = TextPattern::Create(text);
  if (!pattern.has_value()) {
    return Fail(pattern.error().code(), fmt::format("{}: '{}'", pattern.error().message(), text));
  }
  return std::optional<TextPattern>(std::move(*pattern));
}

struct TemplatePart {
  enum class Kind : uint8_t { kText, kTopic, kField, kHeader } kind = Kind::kText;
  std::string text;               // kText: itself; kHeader: its name
  std::vector<std::string> path;  // kField
  size_t field = 0;               // kField: its number in the FieldReader
};

std::vector<std::string> SplitPath(std::string_view dotted) {
  std::vector<std::string> path(1);
  for (char c : dotted) {
    if (c == '.') {
      path.emplace_back();
    } else {
      path.back() += c;
    }
  }
  return path;
}

Result<std::vector<TemplatePart>> ParseTemplate(const std::string& name) {
  using Kind = TemplatePart::Kind;
  std::vector<TemplatePart> parts;
  size_t at = 0;
  while (at < name.size()) {
    size_t open = name.find('{', at);
    if (open != at) parts.push_back({Kind::kText, name.substr(at, open - at), {}});
    if (open == std::string::npos) break;
    size_t close = name.find('}', open);
    if (close == std::string::npos) {
      return Fail(ErrorCode::kInvalidInput, fmt::format("table name has '{{' without '}}': '{}'", name));
    }
    std::string inside = name.substr(open + 1, close - open - 1);
    if (inside == "topic") {
      parts.push_back({Kind::kTopic, "", {}});
    } else if (inside.starts_with("field:") && inside.size() > 6) {
      parts.push_back({Kind::kField, "", SplitPath(std::string_view(inside).substr(6))});
    } else if (inside.starts_with("header:") && inside.size() > 7) {
      parts.push_back({Kind::kHeader, inside.substr(7), {}});
    } else {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("table name knows {{topic}}, {{field:a.b}} and {{header:x}}, not '{{{}}}' in '{}'",
                              inside, name));
    }
    at = close + 1;
  }
  return parts;
}

struct CompiledMatch {
  RouteMatch match;
  std::optional<TextPattern> topic_pattern;
  std::optional<TextPattern> field_pattern;
  std::optional<TextPattern> header_pattern;
  size_t field = 0;  // where match.field_path is set: its number in the FieldReader
};

struct CompiledRule {
  std::vector<CompiledMatch> matches;
  std::vector<TemplatePart> name_parts;  // empty: a fixed name
};

// Reads scalars out of one JSON value without decoding the rest. The value is indexed once, at the first question, and
// each path is looked up once, however many conditions ask for it.
class FieldReader {
 public:
  // Gives the path a number; the same one for the same path.
  size_t Add(const std::vector<std::string>& path) {
    auto found = std::find_if(fields_.begin(), fields_.end(), [&](const Field& field) { return field.path == path; });
    if (found == fields_.end()) found = fields_.insert(found, Field{.path = path});
    return static_cast<size_t>(found - fields_.begin());
  }

  // What follows is about this value, which stays where it is meanwhile.
  void Begin(const std::optional<std::string_view>& value) {
    value_ = value;
    indexed_ = malformed_ = false;
    for (Field& field : fields_) field.known = false;
  }

  // Text of the scalar; nullptr: missing, null, not a scalar.
  const std::string* Read(size_t number) {
    Field& field = fields_[number];
    if (!field.known) {
      field.known = true;
      field.present = Find(field.path, field.text);
    }
    return field.present ? &field.text : nullptr;
  }

  // The JSON was seen to be broken; from then on nothing more is found in it.
  bool malformed() const { return malformed_; }

 private:
  struct Field {
    std::vector<std::string> path;
    bool known = false;
    bool present = false;
    std::string text;
  };

  bool Broken() {
    malformed_ = true;
    return false;
  }

  // False, as for a record without such a scalar; an error of any other kind says that the JSON is broken, and the
  // document may not be asked again.
  bool NotFound(simdjson::error_code error) {
    if (error != simdjson::NO_SUCH_FIELD && error != simdjson::INCORRECT_TYPE) malformed_ = true;
    return false;
  }

  // Puts the document before its first byte.
  bool Rewind() {
    if (!value_.has_value() || malformed_) return false;
    if (indexed_) {
      document_.rewind();
      return true;
    }
    padded_.reserve(value_->size() + simdjson::SIMDJSON_PADDING);
    padded_.assign(*value_);
    indexed_ = true;
    auto error = parser_.iterate(padded_.data(), padded_.size(), padded_.capacity()).get(document_);
    return error == simdjson::SUCCESS || Broken();
  }

  bool Find(const std::vector<std::string>& path, std::string& text) {
    if (!Rewind()) return false;
    simdjson::ondemand::object object;
    if (auto error = document_.get_object().get(object)) return NotFound(error);
    for (size_t level = 0; level < path.size(); ++level) {
      simdjson::ondemand::value found;
      if (auto error = object.find_field_unordered(path[level]).get(found)) return NotFound(error);
      if (level + 1 == path.size()) return Scalar(found, text);
      if (auto error = found.get_object().get(object)) return NotFound(error);
    }
    return false;
  }

  bool Scalar(simdjson::ondemand::value value, std::string& text) {
    simdjson::ondemand::json_type type;
    if (value.type().get(type) != simdjson::SUCCESS) return Broken();
    if (type == simdjson::ondemand::json_type::string) {
      std::string_view found;
      if (value.get_string().get(found) != simdjson::SUCCESS) return Broken();
      text.assign(found);
      return true;
    }
    if (type == simdjson::ondemand::json_type::number || type == simdjson::ondemand::json_type::boolean) {
      std::string_view token = value.raw_json_token();
      text.assign(token.substr(0, token.find_last_not_of(" \t\r\n,}]") + 1));
      return true;
    }
    return false;
  }

  std::vector<Field> fields_;
  std::optional<std::string_view> value_;
  bool indexed_ = false;
  bool malformed_ = false;
  simdjson::ondemand::parser parser_;
  simdjson::ondemand::document document_;
  std::string padded_;
};

class RuleRouter : public Router {
 public:
  explicit RuleRouter(std::vector<CompiledRule> rules) : rules_(std::move(rules)) {
    for (CompiledRule& rule : rules_) {
      for (CompiledMatch& compiled : rule.matches) {
        if (!compiled.match.field_path.empty()) compiled.field = fields_.Add(compiled.match.field_path);
        by_topic_only_ &= compiled.match.field_path.empty() && compiled.match.header_name.empty();
      }
      for (TemplatePart& part : rule.name_parts) {
        if (part.kind == TemplatePart::Kind::kField) part.field = fields_.Add(part.path);
        by_topic_only_ &= part.kind == TemplatePart::Kind::kText || part.kind == TemplatePart::Kind::kTopic;
      }
    }
  }

  bool by_topic_only() const override { return by_topic_only_; }

  bool RouteRecord(const stream::Record& record, const std::string& topic, Route& route,
                   decode::Reject& reject) override {
    fields_.Begin(record.value);
    for (size_t i = 0; i < rules_.size(); ++i) {
      if (!Matches(rules_[i], record, topic)) continue;
      route.rule = i;
      if (rules_[i].name_parts.empty()) return true;
      if (FillName(rules_[i].name_parts, record, topic, route.table)) return true;
      break;
    }
    reject.code = fields_.malformed() ? decode::RejectCode::kMalformedJson : decode::RejectCode::kNoRoute;
    reject.message = fields_.malformed() ? "the value is not JSON, so the routing rules cannot look into it"
                                         : "no rule under 'tables' gives this record a table";
    return false;
  }

 private:
  bool Matches(const CompiledRule& rule, const stream::Record& record, const std::string& topic) {
    if (rule.matches.empty()) return true;
    for (const CompiledMatch& compiled : rule.matches) {
      if (MatchesOne(compiled, record, topic)) return true;
    }
    return false;
  }

  bool MatchesOne(const CompiledMatch& compiled, const stream::Record& record, const std::string& topic) {
    const RouteMatch& match = compiled.match;
    if (!match.topic.empty() && match.topic != topic) return false;
    if (compiled.topic_pattern.has_value() && !compiled.topic_pattern->Matches(topic)) return false;
    if (!match.header_name.empty()) {
      std::optional<std::string_view> text = HeaderText(record, match.header_name);
      if (!text.has_value() || !Holds(*text, match.header_equals, compiled.header_pattern)) return false;
    }
    if (!match.field_path.empty()) {
      const std::string* text = fields_.Read(compiled.field);
      if (text == nullptr || !Holds(*text, match.field_equals, compiled.field_pattern)) return false;
    }
    return true;
  }

  static bool Holds(std::string_view text, const std::optional<std::string>& equals,
                    const std::optional<TextPattern>& pattern) {
    if (equals.has_value() && *equals != text) return false;
    return !pattern.has_value() || pattern->Matches(text);
  }

  static std::optional<std::string_view> HeaderText(const stream::Record& record, const std::string& name) {
    for (const stream::Header& header : record.headers) {
      if (header.name == name && header.value.has_value()) return header.value;
    }
    return std::nullopt;
  }

  bool FillName(const std::vector<TemplatePart>& parts, const stream::Record& record, const std::string& topic,
                std::string& name) {
    name.clear();
    for (const TemplatePart& part : parts) {
      std::optional<std::string_view> text;
      switch (part.kind) {
        case TemplatePart::Kind::kText: name += part.text; continue;
        case TemplatePart::Kind::kTopic: text = topic; break;
        case TemplatePart::Kind::kHeader: text = HeaderText(record, part.text); break;
        case TemplatePart::Kind::kField:
          if (const std::string* field = fields_.Read(part.field)) text = *field;
          break;
      }
      if (!text.has_value()) return false;
      name += NamePart(*text);
    }
    return true;
  }

  std::vector<CompiledRule> rules_;
  FieldReader fields_;
  bool by_topic_only_ = true;
};

}  // namespace

bool CouldHaveMade(std::string_view name_template, std::string_view table) {
  size_t open = name_template.find('{');
  if (!table.starts_with(name_template.substr(0, open))) return false;
  std::string_view rest = table.substr(std::min(open, table.size()));
  while (open != std::string_view::npos) {
    size_t close = name_template.find('}', open);
    if (close == std::string_view::npos) return false;
    open = name_template.find('{', close);
    std::string_view literal =
        name_template.substr(close + 1, open == std::string_view::npos ? open : open - close - 1);
    if (open == std::string_view::npos) return rest.ends_with(literal);
    size_t found = rest.find(literal);
    if (found == std::string_view::npos) return false;
    rest.remove_prefix(found + literal.size());
  }
  return rest.empty();
}

std::optional<DataRetention> RetentionOf(const PipelineOptions& options, std::string_view table) {
  if (table == options.home_table || table == options.rejects_table) return std::nullopt;
  std::optional<DataRetention> retention;
  bool is_first = true;
  for (const TableRule& rule : options.tables) {
    if (!rule.is_template() && rule.name == table) return rule.retention;
    if (!rule.is_template() || !CouldHaveMade(rule.name, table)) continue;
    if (is_first) retention = rule.retention;
    is_first = false;
    // Nobody knows which template it was: rows stay unless all that it could have been say that they go.
    if (!rule.retention.has_value() || !retention.has_value() || retention->field != rule.retention->field) {
      retention.reset();
    } else {
      retention->age_ms = std::max(retention->age_ms, rule.retention->age_ms);
    }
  }
  return retention;
}

std::string NamePart(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, kNamePartBytesMax)) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    bool allowed = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    out += allowed ? c : '_';
  }
  return out.empty() ? "_empty" : out;
}

std::string RulesHash(const std::vector<TableRule>& rules) {
  json document = {{"decoder_semantics", kDecoderSemanticsVersion}, {"rules", json::array()}};
  for (const TableRule& rule : rules) {
    json matches = json::array();
    for (const RouteMatch& match : rule.match) matches.push_back(MatchToJson(match));
    document["rules"].push_back({{"name", rule.name}, {"match", std::move(matches)}});
  }
  std::string text = document.dump(-1, ' ', false, json::error_handler_t::replace);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  EVP_Digest(text.data(), text.size(), digest, &length, EVP_sha256(), nullptr);
  return HexEncode(std::string_view(reinterpret_cast<const char*>(digest), length)).substr(0, 32);
}

Result<std::unique_ptr<Router>> Router::Create(const std::vector<TableRule>& rules) {
  std::vector<CompiledRule> compiled_rules;
  for (const TableRule& rule : rules) {
    CompiledRule compiled;
    for (const RouteMatch& match : rule.match) {
      CompiledMatch one{.match = match};
      FIRN_ASSIGN(one.topic_pattern, CompilePattern(match.topic_regex));
      FIRN_ASSIGN(one.field_pattern, CompilePattern(match.field_regex));
      FIRN_ASSIGN(one.header_pattern, CompilePattern(match.header_regex));
      compiled.matches.push_back(std::move(one));
    }
    if (rule.is_template()) {
      FIRN_ASSIGN(compiled.name_parts, ParseTemplate(rule.name));
    }
    compiled_rules.push_back(std::move(compiled));
  }
  return std::make_unique<RuleRouter>(std::move(compiled_rules));
}

}  // namespace firn::ingest
