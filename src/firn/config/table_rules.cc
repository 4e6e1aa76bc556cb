#include "firn/config/table_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "firn/base/text_pattern.h"
#include "firn/config/columns.h"
#include "firn/config/units.h"
#include "firn/schema/partition.h"
#include "firn/schema/schema_json.h"

namespace firn::config {
namespace {

using decode::json::BinaryText;
using decode::json::DuplicateKeys;
using decode::json::EpochUnit;
using decode::json::UnknownFields;

constexpr size_t kRegexBytesMax = 1000;
constexpr size_t kNamePartBytesMax = 128;
constexpr std::string_view kDefaultKafkaColumn = "_kafka";

std::string RegexProblem(const std::string& text) {
  if (text.size() > kRegexBytesMax) return fmt::format("a pattern may have {} bytes", kRegexBytesMax);
  Result<TextPattern> compiled = TextPattern::Create(text);
  return compiled.has_value() ? "" : compiled.error().message();
}

void ReadRegex(const BlockReader& block, std::string_view name, std::string& out) {
  block.Text(name, out);
  if (!block.Has(name)) return;
  if (std::string problem = RegexProblem(out); !problem.empty()) {
    block.Report(name, fmt::format("{}: {}", problem, block.Shown(name)));
  }
}

ingest::RouteMatch ReadMatch(const BlockReader& block) {
  ingest::RouteMatch match;
  std::optional<std::string> equals;
  std::string regex;
  block.Text("topic", match.topic);
  ReadRegex(block, "topic_regex", match.topic_regex);
  block.Path("field", match.field_path);
  block.Text("header", match.header_name);
  block.Text("equals", equals);
  ReadRegex(block, "regex", regex);

  bool has_field = block.Has("field");
  bool has_header = block.Has("header");
  bool has_condition = block.Has("equals") || block.Has("regex");
  if (block.node().entries.empty()) {
    block.Report("", "an empty condition; leave match out when every record belongs to the table");
  } else if (has_field && has_header) {
    block.Report("header", "field and header in one condition; 'equals' and 'regex' can belong to one of them only");
  } else if ((has_field || has_header) && !has_condition) {
    block.Report(has_field ? "field" : "header", "needs 'equals' or 'regex' beside it");
  } else if (!has_field && !has_header && has_condition) {
    block.Report(block.Has("equals") ? "equals" : "regex", "needs 'field' or 'header' beside it");
  }
  if (has_header) {
    match.header_equals = equals;
    match.header_regex = regex;
  } else {
    match.field_equals = equals;
    match.field_regex = regex;
  }
  return match;
}

// Empty: the placeholder is one that the router knows.
std::string PlaceholderProblem(std::string_view inside) {
  if (inside == "topic") return "";
  for (std::string_view prefix : {"field:", "header:"}) {
    if (inside.starts_with(prefix) && inside.size() > prefix.size()) return "";
  }
  return fmt::format("a template may hold {{topic}}, {{field:a.b}} and {{header:x}}, not '{{{}}}'", inside);
}

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

std::optional<schema::Schema> ReadSchemaFile(const BlockReader& block, const std::string& folder) {
  std::string name;
  block.Text("schema_file", name);
  if (name.empty()) return std::nullopt;
  std::filesystem::path path = std::filesystem::path(folder) / name;
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored) || std::filesystem::file_size(path, ignored) > kYamlBytesMax) {
    block.Report("schema_file",
                 fmt::format("no such file, or longer than {} bytes: {}", kYamlBytesMax, block.Shown("schema_file")));
    return std::nullopt;
  }
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  nlohmann::json json = nlohmann::json::parse(text.str(), nullptr, /*allow_exceptions=*/false);
  if (!file || json.is_discarded()) {
    block.Report("schema_file", fmt::format("not JSON: {}", block.Shown("schema_file")));
    return std::nullopt;
  }
  Result<schema::Schema> schema = schema::SchemaFromJson(json);
  if (!schema.has_value()) {
    block.Report("schema_file", fmt::format("not an Iceberg schema: {}", schema.error().message()));
    return std::nullopt;
  }
  return std::move(schema).value();
}

// Partition and sort fields are parsed one by one, so that the message stands at the wrong one.
void CheckLayout(const BlockReader& block, const ingest::TableRule& rule) {
  auto check = [&](std::string_view key, const std::vector<std::string>& fields, auto parse) {
    bool each_is_fine = true;
    for (size_t i = 0; i < fields.size(); ++i) {
      auto parsed = parse(std::vector<std::string>{fields[i]}, rule.schema);
      if (parsed.has_value()) continue;
      each_is_fine = false;
      block.ReportItem(key, i, parsed.error().message());
    }
    if (!each_is_fine) return;
    if (auto parsed = parse(fields, rule.schema); !parsed.has_value()) block.Report(key, parsed.error().message());
  };
  check("partition", rule.partition, schema::ParsePartitionSpec);
  check("sort_order", rule.sort_order, schema::ParseSortOrder);
}

void ReadSchema(const BlockReader& block, const std::string& folder, ingest::TableRule& rule) {
  bool has_columns = block.Has("columns");
  bool has_file = block.Has("schema_file");
  if (has_columns && has_file) {
    block.Report("schema_file", "stands beside columns; keep one of them");
    return;
  }
  std::optional<schema::Schema> schema;
  if (has_columns) schema = ReadColumns(block.Blocks("columns"), rule.sources);
  if (has_columns && schema && schema->fields.empty()) block.Report("columns", "a table needs at least one column");
  if (has_file) schema = ReadSchemaFile(block, folder);
  if (!schema || schema->fields.empty()) {
    for (std::string_view key : {"partition", "sort_order", "properties", "location"}) {
      if (has_columns || has_file || !block.Has(key)) continue;
      block.Report(key, "only says how to make the table; add columns or schema_file, or leave it out");
    }
    return;
  }
  rule.schema = std::move(*schema);
  AddServiceColumns(rule.decode, rule.schema);
  CheckLayout(block, rule);
}

}  // namespace

std::string TableNameProblem(const std::string& name, bool template_allowed) {
  constexpr std::string_view kExpected = "expected namespace.table with letters, digits, '_' and '-'";
  size_t parts = 0;
  bool part_is_empty = true;
  size_t part_bytes = 0;
  for (size_t i = 0; i < name.size(); ++i) {
    char c = name[i];
    if (c == '{' && template_allowed) {
      size_t close = name.find('}', i);
      if (close == std::string::npos) return "'{' without '}'";
      if (std::string problem = PlaceholderProblem(std::string_view(name).substr(i + 1, close - i - 1));
          !problem.empty()) {
        return problem;
      }
      i = close;
      part_is_empty = false;
    } else if (c == '.') {
      if (part_is_empty) return std::string(kExpected);
      ++parts;
      part_is_empty = true;
      part_bytes = 0;
    } else if (!IsNameCharacter(c)) {
      return std::string(kExpected);
    } else {
      part_is_empty = false;
      if (++part_bytes > kNamePartBytesMax) return fmt::format("a part of a name may have {} bytes", kNamePartBytesMax);
    }
  }
  return part_is_empty || parts == 0 ? std::string(kExpected) : "";
}

void ReadHistoryPolicy(const BlockReader& block, std::string_view name, ingest::HistoryPolicy& policy) {
  using ingest::HistoryPolicy;
  static constexpr std::array kPolicies = {HistoryPolicy::kHold, HistoryPolicy::kRewind, HistoryPolicy::kContinue};
  block.Choice(name, policy, kPolicies);
}

void ReadDecodeOptions(const BlockReader& block, decode::json::JsonDecoderOptions& options) {
  static constexpr std::array kUnknown = {UnknownFields::kCount, UnknownFields::kKeep, UnknownFields::kReject};
  static constexpr std::array kDuplicate = {DuplicateKeys::kLast, DuplicateKeys::kFirst, DuplicateKeys::kReject};
  block.Choice("unknown_fields", options.unknown_fields, kUnknown);
  block.Text("unknown_column", options.unknown_column);
  block.Choice("duplicate_keys", options.duplicate_keys, kDuplicate);
  block.Choice("epoch_unit", options.epoch_unit, kEpochUnits);
  block.Choice("binary", options.binary_text, kBinaryTexts);
  block.Number("depth_max", options.depth_max);
  block.Number("record_bytes_max", options.record_bytes_max);
  block.Text("kafka_column", options.kafka_column);
  if (options.kafka_column == "true") options.kafka_column = kDefaultKafkaColumn;
  if (options.kafka_column == "false") options.kafka_column.clear();
  block.Text("raw_column", options.raw_column);
  if (options.unknown_fields == UnknownFields::kKeep && options.unknown_column.empty()) {
    block.Report("unknown_fields", "keep needs unknown_column: the name of the text column that takes them");
  }
}

Result<ingest::DataRetention> ParseRetention(const std::string& text) {
  const size_t equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("a partition field and an age are expected, as event_day=90d: '{}'", text));
  }
  ingest::DataRetention retention;
  retention.field = text.substr(0, equals);
  FIRN_ASSIGN(retention.age_ms, ParseDurationMs(std::string_view(text).substr(equals + 1)));
  if (retention.age_ms < ingest::kRetentionAgeMsMin) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("the age must be at least {}, or rows that are just coming in would go: '{}'",
                            FormatDurationMs(ingest::kRetentionAgeMsMin), text));
  }
  return retention;
}

std::string FormatRetention(const ingest::DataRetention& retention) {
  return fmt::format("{}={}", retention.field, FormatDurationMs(retention.age_ms));
}

ingest::TableRule ReadTableRule(const BlockReader& block, const decode::json::JsonDecoderOptions& pipeline_decode,
                                const std::string& folder) {
  ingest::TableRule rule;
  block.Text("name", rule.name);
  if (block.Has("name")) {
    if (std::string problem = TableNameProblem(rule.name, true); !problem.empty()) {
      block.Report("name", fmt::format("{}: {}", problem, block.Shown("name")));
    }
  }
  for (const BlockReader& match : block.Blocks("match")) rule.match.push_back(ReadMatch(match));
  rule.decode = pipeline_decode;
  if (std::optional<BlockReader> decode = block.Block("decode")) ReadDecodeOptions(*decode, rule.decode);
  if (block.Has("history_policy")) {
    rule.history_policy.emplace();
    ReadHistoryPolicy(block, "history_policy", *rule.history_policy);
  }
  if (block.Has("retain")) {
    std::string text;
    block.Text("retain", text);
    Result<ingest::DataRetention> retention = ParseRetention(text);
    if (!retention.has_value()) block.Report("retain", retention.error().message());
    if (retention.has_value()) rule.retention = *std::move(retention);
  }
  block.TextList("partition", rule.partition);
  block.TextList("sort_order", rule.sort_order);
  block.TextMap("properties", rule.properties);
  block.Text("location", rule.location);
  while (rule.location.size() > 1 && rule.location.ends_with('/')) rule.location.pop_back();
  if (!rule.location.empty() && rule.is_template()) {
    block.Report("location", "one location for all tables of a template; leave it out, the catalog chooses");
  }
  ReadSchema(block, folder, rule);
  return rule;
}

}  // namespace firn::config
