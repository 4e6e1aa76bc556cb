#include "firn/ingest/rules.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <simdjson.h>

#include <nlohmann/json.hpp>
#include <regex>

#include "firn/base/encoding.h"

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

Result<std::optional<std::regex>> CompileRegex(const std::string& text) {
  if (text.empty()) return std::optional<std::regex>();
  try {
    return std::optional<std::regex>(std::regex(text, std::regex::ECMAScript | std::regex::optimize));
  } catch (const std::regex_error& error) {
    return Fail(
        ErrorCode::kInvalidInput,
        fmt::format("regular expression cannot be read ({}); ECMAScript syntax is wanted: '{}'", error.what(), text));
  }
}

struct CompiledMatch {
  RouteMatch match;
  std::optional<std::regex> topic_regex;
  std::optional<std::regex> field_regex;
  std::optional<std::regex> header_regex;
};

struct TemplatePart {
  enum class Kind : uint8_t { kText, kTopic, kField, kHeader } kind = Kind::kText;
  std::string text;               // kText: itself; kHeader: its name
  std::vector<std::string> path;  // kField
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

struct CompiledRule {
  std::vector<CompiledMatch> matches;
  std::vector<TemplatePart> name_parts;  // empty: a fixed name
};

// Reads one scalar out of a JSON value without decoding the rest.
class FieldReader {
 public:
  // Text of the scalar at `path`; nullopt: missing, null, not a scalar. `malformed` is set when the JSON is broken.
  std::optional<std::string> Read(std::string_view value, const std::vector<std::string>& path, bool& malformed) {
    padded_.assign(value);
    padded_.reserve(value.size() + simdjson::SIMDJSON_PADDING);
    simdjson::ondemand::document document;
    if (parser_.iterate(padded_.data(), padded_.size(), padded_.capacity()).get(document) != simdjson::SUCCESS) {
      malformed = true;
      return std::nullopt;
    }
    simdjson::ondemand::object object;
    if (document.get_object().get(object) != simdjson::SUCCESS) return std::nullopt;
    for (size_t level = 0; level < path.size(); ++level) {
      simdjson::ondemand::value found;
      auto error = object.find_field_unordered(path[level]).get(found);
      if (error != simdjson::SUCCESS) {
        malformed = error != simdjson::NO_SUCH_FIELD;
        return std::nullopt;
      }
      if (level + 1 == path.size()) return Scalar(found, malformed);
      if (found.get_object().get(object) != simdjson::SUCCESS) return std::nullopt;
    }
    return std::nullopt;
  }

 private:
  static std::optional<std::string> Scalar(simdjson::ondemand::value value, bool& malformed) {
    simdjson::ondemand::json_type type;
    if (value.type().get(type) != simdjson::SUCCESS) {
      malformed = true;
      return std::nullopt;
    }
    if (type == simdjson::ondemand::json_type::string) {
      std::string_view text;
      if (value.get_string().get(text) != simdjson::SUCCESS) {
        malformed = true;
        return std::nullopt;
      }
      return std::string(text);
    }
    if (type == simdjson::ondemand::json_type::number || type == simdjson::ondemand::json_type::boolean) {
      std::string_view token = value.raw_json_token();
      size_t end = token.find_last_not_of(" \t\r\n,}]");
      return std::string(token.substr(0, end + 1));
    }
    return std::nullopt;
  }

  simdjson::ondemand::parser parser_;
  std::string padded_;
};

class RuleRouter : public Router {
 public:
  explicit RuleRouter(std::vector<CompiledRule> rules) : rules_(std::move(rules)) {
    for (const CompiledRule& rule : rules_) {
      for (const CompiledMatch& compiled : rule.matches) {
        by_topic_only_ &= compiled.match.field_path.empty() && compiled.match.header_name.empty();
      }
      for (const TemplatePart& part : rule.name_parts) {
        by_topic_only_ &= part.kind == TemplatePart::Kind::kText || part.kind == TemplatePart::Kind::kTopic;
      }
    }
  }

  bool by_topic_only() const override { return by_topic_only_; }

  bool RouteRecord(const stream::Record& record, const std::string& topic, Route& route,
                   decode::Reject& reject) override {
    bool malformed = false;
    for (size_t i = 0; i < rules_.size(); ++i) {
      if (!Matches(rules_[i], record, topic, malformed)) continue;
      route.rule = i;
      if (rules_[i].name_parts.empty()) return true;
      if (FillName(rules_[i].name_parts, record, topic, route.table, malformed)) return true;
      break;
    }
    reject.code = malformed ? decode::RejectCode::kMalformedJson : decode::RejectCode::kNoRoute;
    reject.message = malformed ? "the value is not JSON, so the routing rules cannot look into it"
                               : "no rule under 'tables' gives this record a table";
    return false;
  }

 private:
  bool Matches(const CompiledRule& rule, const stream::Record& record, const std::string& topic, bool& malformed) {
    if (rule.matches.empty()) return true;
    for (const CompiledMatch& compiled : rule.matches) {
      if (MatchesOne(compiled, record, topic, malformed)) return true;
    }
    return false;
  }

  bool MatchesOne(const CompiledMatch& compiled, const stream::Record& record, const std::string& topic,
                  bool& malformed) {
    const RouteMatch& match = compiled.match;
    if (!match.topic.empty() && match.topic != topic) return false;
    if (compiled.topic_regex.has_value() && !std::regex_match(topic, *compiled.topic_regex)) return false;
    if (!match.header_name.empty()) {
      std::optional<std::string> text = HeaderText(record, match.header_name);
      if (!Holds(text, match.header_equals, compiled.header_regex)) return false;
    }
    if (!match.field_path.empty()) {
      if (!record.value.has_value()) return false;
      std::optional<std::string> text = fields_.Read(*record.value, match.field_path, malformed);
      if (!Holds(text, match.field_equals, compiled.field_regex)) return false;
    }
    return true;
  }

  static bool Holds(const std::optional<std::string>& text, const std::optional<std::string>& equals,
                    const std::optional<std::regex>& regex) {
    if (!text.has_value()) return false;
    if (equals.has_value() && *equals != *text) return false;
    return !regex.has_value() || std::regex_match(*text, *regex);
  }

  static std::optional<std::string> HeaderText(const stream::Record& record, const std::string& name) {
    for (const stream::Header& header : record.headers) {
      if (header.name == name && header.value.has_value()) return std::string(*header.value);
    }
    return std::nullopt;
  }

  bool FillName(const std::vector<TemplatePart>& parts, const stream::Record& record, const std::string& topic,
                std::string& name, bool& malformed) {
    name.clear();
    for (const TemplatePart& part : parts) {
      std::optional<std::string> text;
      switch (part.kind) {
        case TemplatePart::Kind::kText: name += part.text; continue;
        case TemplatePart::Kind::kTopic: text = topic; break;
        case TemplatePart::Kind::kHeader: text = HeaderText(record, part.text); break;
        case TemplatePart::Kind::kField:
          if (record.value.has_value()) text = fields_.Read(*record.value, part.path, malformed);
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
      CompiledMatch one{match, {}, {}, {}};
      FIRN_ASSIGN(one.topic_regex, CompileRegex(match.topic_regex));
      FIRN_ASSIGN(one.field_regex, CompileRegex(match.field_regex));
      FIRN_ASSIGN(one.header_regex, CompileRegex(match.header_regex));
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
