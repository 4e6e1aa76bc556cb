#include "firn/cli/proposal.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "firn/config/columns.h"

namespace firn::cli {
namespace {

using decode::json::Confidence;
using decode::json::InferredColumn;
using decode::json::InferredSchema;

constexpr size_t kColumnIndent = 6;
constexpr size_t kDoubtsShownMax = 5;  // a root column
// In the order in which a time column is looked for.
constexpr std::array<std::string_view, 8> kTimeNames = {"time",       "timestamp", "event_time", "eventTime",
                                                        "@timestamp", "ts",        "created_at", "published"};

std::string_view ConfidenceName(Confidence confidence) {
  switch (confidence) {
    case Confidence::kHigh: return "high";
    case Confidence::kMedium: return "medium";
    case Confidence::kLow: return "low";
  }
  return "";
}

// One comment line, whatever the samples' keys hold.
std::string Comment(size_t indent, const std::string& text) {
  std::string line = fmt::format("{:{}}# ", "", indent);
  for (char c : text) line += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  return line + "\n";
}

bool IsBelow(const std::string& name, const std::string& root) {
  return name == root || (name.size() > root.size() && name.starts_with(root) && name[root.size()] == '.');
}

bool IsTime(const schema::Field& field) {
  return field.type->kind() == schema::TypeKind::kTimestamptz || field.type->kind() == schema::TypeKind::kTimestamp;
}

// A root column by which days can be told apart; empty: none.
std::string TimeColumn(const schema::Schema& schema) {
  for (std::string_view name : kTimeNames) {
    for (const schema::Field& field : schema.fields) {
      if (field.name == name && IsTime(field)) return field.name;
    }
  }
  auto found = std::find_if(schema.fields.begin(), schema.fields.end(), IsTime);
  return found == schema.fields.end() ? "" : found->name;
}

std::string ColumnsText(const InferredSchema& inferred) {
  ingest::ColumnSourcesByName sources;
  for (const InferredColumn& column : inferred.columns) {
    if (column.epoch_unit) sources[column.name].epoch_unit = column.epoch_unit;
  }
  std::string out;
  for (const schema::Field& field : inferred.schema.fields) {
    size_t doubts = 0;
    for (const InferredColumn& column : inferred.columns) {
      if (!IsBelow(column.name, field.name) || column.confidence == Confidence::kHigh) continue;
      if (++doubts > kDoubtsShownMax) continue;
      out += Comment(kColumnIndent,
                     fmt::format("{}: {} confidence, {}", column.name, ConfidenceName(column.confidence), column.note));
    }
    if (doubts > kDoubtsShownMax) {
      out += Comment(kColumnIndent,
                     fmt::format("{}: {} more below it; --json lists them", field.name, doubts - kDoubtsShownMax));
    }
    schema::Schema one;
    one.fields = {field};
    out += config::FormatColumns(one, sources, kColumnIndent);
  }
  return out;
}

std::string TableText(const InferredSchema& inferred, const ProposalFrame& frame) {
  std::string out = "tables:\n";
  out += Comment(2, fmt::format("proposed from {} records ({} more were not JSON objects)", inferred.record_count,
                                inferred.unusable_count));
  for (const std::string& note : inferred.notes) out += Comment(2, note);
  out += fmt::format("  - name: {}\n    columns:\n{}", config::QuoteYaml(frame.table), ColumnsText(inferred));
  // Partition texts have a syntax of their own; a column with an odd name is left to people.
  std::string time = TimeColumn(inferred.schema);
  bool plain = !time.empty() && time.find_first_not_of(
                                    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "0123456789_") == std::string::npos;
  if (plain) out += fmt::format("    partition: [\"day({})\"]\n", time);
  return out;
}

std::string PipelineId(const std::string& table) {
  std::string id;
  for (char c : table.substr(table.rfind('.') + 1)) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    bool allowed = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    id += allowed ? c : '_';
  }
  return id.substr(0, 64);
}

}  // namespace

std::string ProposalYaml(const InferredSchema& inferred, const ProposalFrame& frame) {
  if (frame.table_only) return TableText(inferred, frame);
  std::string out =
      "# Proposed by `firn infer`: samples show what was, not what is allowed. Read it before you run it.\n";
  out += fmt::format("pipeline: {}\nkafka: {{bootstrap.servers: {}}}\nsource: {{topics: [{}]}}\n",
                     config::QuoteYaml(PipelineId(frame.table)), config::QuoteYaml(frame.bootstrap),
                     config::QuoteYaml(frame.topic));
  out += fmt::format("catalog:\n  type: sqlite\n  uri: {}\n  warehouse: {}\n",
                     config::QuoteYaml(frame.folder + "/catalog.db"),
                     config::QuoteYaml("file://" + frame.folder + "/warehouse"));
  return out + TableText(inferred, frame);
}

std::string ProposedTableName(std::string_view topic) {
  std::string name = "lake.";
  for (char c : topic.substr(0, 100)) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    bool allowed = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    name += allowed ? c : '_';
  }
  return topic.empty() ? "lake.events" : name;
}

}  // namespace firn::cli
