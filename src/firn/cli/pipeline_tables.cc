#include "firn/cli/pipeline_tables.h"

#include <set>
#include <string>

#include "firn/ingest/table_state.h"

namespace firn::cli {

Result<PipelineTables> FindPipelineTables(const ingest::PipelineOptions& pipeline, iceberg::Catalog& catalog) {
  PipelineTables found;
  std::set<std::string> names;
  for (const ingest::TableRule& rule : pipeline.tables) {
    if (!rule.is_template()) names.insert(rule.name);
  }
  if (!pipeline.rejects_table.empty() && pipeline.reject_policy == ingest::RejectPolicy::kTable) {
    names.insert(pipeline.rejects_table);
  }
  if (!pipeline.home_table.empty()) {
    FIRN_ASSIGN(const iceberg::TableIdentifier home, iceberg::TableIdentifier::Parse(pipeline.home_table));
    Result<iceberg::LoadedTable> loaded = catalog.LoadTable(home);
    if (!loaded.has_value() && loaded.error().code() != ErrorCode::kNotFound) {
      return std::unexpected<Error>(std::move(loaded.error()));
    }
    if (loaded.has_value()) {
      FIRN_ASSIGN(found.home, WithContext(ingest::MapOf(loaded->metadata, pipeline.pipeline), pipeline.home_table));
    }
    if (found.home.has_value() && found.home->home.has_value()) {
      for (const ingest::ListedTable& listed : found.home->home->tables) names.insert(listed.table);
    }
    names.insert(pipeline.home_table);
  }
  for (const std::string& name : names) {
    FIRN_ASSIGN(iceberg::TableIdentifier table, iceberg::TableIdentifier::Parse(name));
    found.tables.push_back(std::move(table));
  }
  return found;
}

}  // namespace firn::cli
