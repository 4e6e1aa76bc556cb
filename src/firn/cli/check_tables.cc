#include <fmt/format.h>

#include <set>

#include "firn/cli/check_steps.h"
#include "firn/cli/human_format.h"
#include "firn/decode/json/json_decoder.h"
#include "firn/iceberg/commit/append.h"
#include "firn/ingest/column_sources.h"
#include "firn/ingest/data_files.h"
#include "firn/ingest/positions.h"

namespace firn::cli {
namespace {

constexpr double kFilesPerDayWarning = 20'000;

std::string SpecText(const schema::PartitionSpec& spec, const schema::Schema& schema) {
  std::vector<std::string> fields;
  for (const schema::PartitionField& field : spec.fields) {
    fields.push_back(fmt::format("{}({})", field.transform.ToString(), schema.NameOf(field.source_id)));
  }
  return fields.empty() ? "unpartitioned" : fmt::format("partitioned by {}", fmt::join(fields, ", "));
}

std::string SortText(const schema::SortOrder& order, const schema::Schema& schema) {
  std::vector<std::string> fields;
  for (const schema::SortField& field : order.fields) {
    bool ascending = field.direction == schema::SortDirection::kAscending;
    fields.push_back(fmt::format("{}{}", schema.NameOf(field.source_id), ascending ? "" : " desc"));
  }
  return fields.empty() ? "unsorted" : fmt::format("sorted by {}", fmt::join(fields, ", "));
}

std::string SchemaText(const schema::Schema& schema) {
  std::string text;
  for (const schema::LeafColumn& leaf : schema::LeafColumns(schema)) {
    text +=
        fmt::format("\n{:<40} {}{}", leaf.name, leaf.field->type->ToString(), leaf.field->required ? " required" : "");
  }
  return text;
}

class TableChecks {
 public:
  TableChecks(const config::Config& config, iceberg::Catalog& catalog, const std::vector<kafka::TopicInfo>& topics,
              CheckReport& report)
      : config_(config), catalog_(catalog), report_(report) {
    for (const kafka::TopicInfo& topic : topics) topics_.insert(topic.topic);
  }

  void CheckRule(const ingest::TableRule& rule) {
    area_ = fmt::format("table {}", rule.name);
    if (rule.is_template()) {
      CheckTemplate(rule);
      return;
    }
    std::optional<Result<iceberg::LoadedTable>> table = Load(rule.name);
    if (!table) return;
    if (table->has_value()) {
      CheckExisting(rule, (*table)->metadata);
    } else {
      CheckMissing(rule);
    }
  }

  // The rejects table and the home: Firn's own, made when missing.
  void CheckOwn(const std::string& name, std::string_view what) {
    if (name.empty()) return;
    area_ = fmt::format("table {}", name);
    std::optional<Result<iceberg::LoadedTable>> table = Load(name);
    if (!table) return;
    if (!table->has_value()) {
      Add(Verdict::kOk, "table_to_create", fmt::format("{}: will be created", what));
      return;
    }
    if (CheckWritable((*table)->metadata)) Add(Verdict::kOk, "table_exists", fmt::format("{}: exists", what));
  }

 private:
  void Add(Verdict verdict, std::string code, std::string message) {
    report_.Add(verdict, area_, std::move(code), std::move(message));
  }

  // nullopt: neither there nor certainly missing; that has been reported.
  std::optional<Result<iceberg::LoadedTable>> Load(const std::string& name) {
    Result<iceberg::TableIdentifier> identifier = iceberg::TableIdentifier::Parse(name);
    if (!identifier.has_value()) {
      report_.AddError(area_, identifier.error());
      return std::nullopt;
    }
    Result<iceberg::LoadedTable> table = catalog_.LoadTable(*identifier);
    if (!table.has_value() && table.error().code() != ErrorCode::kNotFound) {
      report_.AddError(area_, table.error());
      return std::nullopt;
    }
    return table;
  }

  bool CheckWritable(const iceberg::TableMetadata& metadata) {
    Status writable = iceberg::CheckWritable(metadata);
    if (writable.has_value()) writable = ingest::CheckWriteProperties(metadata);
    if (!writable.has_value()) report_.AddError(area_, writable.error());
    return writable.has_value();
  }

  void CheckExisting(const ingest::TableRule& rule, const iceberg::TableMetadata& metadata) {
    bool writable = CheckWritable(metadata);
    const schema::Schema& schema = metadata.CurrentSchema();
    if (writable) {
      Add(Verdict::kOk, "table_exists",
          fmt::format("exists: format v{}, {} columns, {}, {}", metadata.format_version, schema.fields.size(),
                      SpecText(metadata.DefaultSpec(), schema), SortText(metadata.DefaultSortOrder(), schema)));
    }
    if (!rule.schema.fields.empty()) CompareColumns(rule.schema, schema);
    // Who wrote columns here knows which of them are required; of a foreign table it may come as a surprise.
    CheckDecoder(rule, schema, rule.schema.fields.empty() ? Verdict::kWarning : Verdict::kNote);
    CheckOtherPipelines(metadata);
    CheckFiles(metadata.DefaultSpec());
  }

  void CompareColumns(const schema::Schema& configured, const schema::Schema& existing) {
    std::vector<std::string> missing;
    for (const schema::LeafColumn& leaf : schema::LeafColumns(configured)) {
      if (existing.FindByName(leaf.name) == nullptr) missing.push_back(leaf.name);
    }
    if (missing.empty()) return;
    Add(Verdict::kWarning, "columns_ignored",
        fmt::format("the table exists and keeps its columns; these of the configuration are not in it: {}",
                    fmt::join(missing, ", ")));
  }

  // Can the decoder be made, and which required columns does nobody name a source for?
  void CheckDecoder(const ingest::TableRule& rule, const schema::Schema& schema, Verdict verdict_of_required) {
    decode::json::JsonDecoderOptions options = rule.decode;
    options.sources = ingest::DecoderSources(schema, ingest::ResolveSources(schema, rule.sources, {}), options);
    Result<std::unique_ptr<decode::json::JsonDecoder>> decoder = decode::json::JsonDecoder::Create(schema, options);
    if (!decoder.has_value()) report_.AddError(area_, decoder.error());
    for (const auto& [name, source] : rule.sources) {
      if (schema.FindByName(name) != nullptr) continue;
      Add(Verdict::kWarning, "source_without_column",
          fmt::format("'from' or a unit for a column it lacks: '{}'", name));
    }
    options.sources.clear();
    for (const auto& [name, source] : rule.sources) {
      if (const schema::Field* field = schema.FindByName(name)) options.sources[field->id] = source;
    }
    std::vector<std::string> required = decode::json::RequiredColumnsWithoutSource(schema, options);
    if (required.empty()) return;
    Add(verdict_of_required, "required_without_source",
        fmt::format("required, and filled only by a field of the same name; a record without it is rejected: {}",
                    fmt::join(required, ", ")));
  }

  void CheckOtherPipelines(const iceberg::TableMetadata& metadata) {
    const std::string prefix = ingest::PositionsProperty("");
    for (const auto& [key, value] : metadata.properties) {
      if (!key.starts_with(prefix) || key == ingest::PositionsProperty(config_.pipeline.pipeline)) continue;
      std::string other = key.substr(prefix.size());
      Result<ingest::PositionsMap> map = ingest::PositionsMap::Parse(value);
      if (!map.has_value()) {
        Add(Verdict::kWarning, "positions_unreadable",
            fmt::format("positions of pipeline '{}' cannot be read: {}", other, map.error().message()));
        continue;
      }
      std::set<std::string> shared;
      for (const auto& [partition, mark] : map->marks) {
        if (topics_.contains(mark.topic)) shared.insert(mark.topic);
      }
      if (shared.empty()) continue;
      bool meant = config_.pipeline.allow_shared_topic;
      Add(meant ? Verdict::kNote : Verdict::kError, "topic_shared",
          fmt::format("pipeline '{}' feeds it from the same topic: every record would be there twice. Stop one of "
                      "them{}: {}",
                      other, meant ? "" : ", or set allow_shared_topic if that is meant", fmt::join(shared, ", ")));
    }
  }

  void CheckFiles(const schema::PartitionSpec& spec) {
    FilesPerDay estimate = EstimateFilesPerDay(spec, config_.pipeline.commit_interval_ms);
    std::string text = fmt::format("about {}{} data files a day at this commit.interval",
                                   FormatCount(static_cast<int64_t>(estimate.files)),
                                   estimate.at_least ? " × the distinct partition values in a commit" : "");
    bool many = estimate.files > kFilesPerDayWarning;
    Add(many ? Verdict::kWarning : Verdict::kNote, "files_per_day",
        many ? text + "; planning a query will take longer than running it. Fewer buckets, or a longer interval"
             : text);
  }

  void CheckMissing(const ingest::TableRule& rule) {
    if (rule.schema.fields.empty()) {
      Add(Verdict::kError, "table_missing",
          "the table does not exist; create it, or say how with columns or schema_file (firn infer writes them)");
      return;
    }
    iceberg::CreateTableRequest request;
    request.schema = rule.schema;
    request.location = rule.location.empty() ? "file:///to-be-chosen" : rule.location;
    request.properties = rule.properties;
    Result<schema::PartitionSpec> spec = schema::ParsePartitionSpec(rule.partition, rule.schema);
    Result<schema::SortOrder> order = schema::ParseSortOrder(rule.sort_order, rule.schema);
    if (!spec.has_value()) return report_.AddError(area_, spec.error());
    if (!order.has_value()) return report_.AddError(area_, order.error());
    request.spec = *spec;
    request.sort_order = *order;
    Result<iceberg::TableMetadata> made = iceberg::NewTableMetadata(request, "00000000-0000-4000-8000-000000000000", 0);
    if (!made.has_value()) return report_.AddError(area_, made.error());
    if (!CheckWritable(*made)) return;
    Add(Verdict::kOk, "table_to_create",
        fmt::format("will be created: {}, {}, location {}{}", SpecText(*spec, rule.schema),
                    SortText(*order, rule.schema), rule.location.empty() ? "chosen by the catalog" : rule.location,
                    SchemaText(rule.schema)));
    CheckDecoder(rule, rule.schema, Verdict::kNote);
    CheckFiles(*spec);
  }

  void CheckTemplate(const ingest::TableRule& rule) {
    if (rule.schema.fields.empty()) {
      Add(Verdict::kNote, "template_existing_only",
          "a template without columns: records for tables that do not exist are rejected");
      return;
    }
    Add(Verdict::kOk, "template",
        fmt::format("a template; each table is created at its first record, at most {} in all{}",
                    FormatCount(config_.pipeline.tables_max), SchemaText(rule.schema)));
    CheckDecoder(rule, rule.schema, Verdict::kNote);
  }

  const config::Config& config_;
  iceberg::Catalog& catalog_;
  CheckReport& report_;
  std::set<std::string> topics_;
  std::string area_;
};

}  // namespace

void CheckTables(const config::Config& config, iceberg::Catalog& catalog, const std::vector<kafka::TopicInfo>& topics,
                 CheckReport& report) {
  TableChecks checks(config, catalog, topics, report);
  for (const ingest::TableRule& rule : config.pipeline.tables) checks.CheckRule(rule);
  checks.CheckOwn(config.pipeline.rejects_table, "rejects");
  checks.CheckOwn(config.pipeline.home_table, "home");
}

}  // namespace firn::cli
