#include "firn/ingest/pipeline_share.h"

#include <algorithm>

#include "firn/ingest/attach.h"
#include "firn/ingest/history.h"

namespace firn::ingest {

PipelineShare ShareOf(const PositionsMap& home, const std::set<PartitionKey>& owned) {
  PipelineShare share;
  for (const auto& [key, mark] : home.marks) {
    if (owned.contains(key)) share.mine.insert(share.shares);
    ++share.shares;
  }
  if (!home.home.has_value()) return share;
  std::set<std::string> held;
  for (const DetachedEntry& entry : home.home->detached) {
    if (entry.hold) held.insert(entry.table);
  }
  for (const ListedTable& listed : home.home->tables) {
    if (listed.state == ListedState::kAttached && !held.contains(listed.table)) share.tables.push_back(listed.table);
  }
  return share;
}

Result<PipelineShare> LoadWholeShare(iceberg::Catalog& catalog, const PipelineOptions& options) {
  PipelineShare share;
  std::set<std::string> held;
  FIRN_ASSIGN(const iceberg::TableIdentifier home, iceberg::TableIdentifier::Parse(options.home_table));
  auto loaded = catalog.LoadTable(home);
  if (loaded.has_value()) {
    FIRN_ASSIGN(const std::optional<PositionsMap> map, MapOf(loaded->metadata, options.pipeline));
    if (map.has_value()) {
      share = ShareOf(*map, {});
      if (map->home.has_value()) {
        for (const DetachedEntry& entry : map->home->detached) held.insert(entry.hold ? entry.table : "");
      }
    }
  } else if (loaded.error().code() != ErrorCode::kNotFound) {
    return std::unexpected<Error>(std::move(loaded.error()));
  }
  auto add = [&](const std::string& name) {
    const bool known = std::find(share.tables.begin(), share.tables.end(), name) != share.tables.end();
    if (!known && !held.contains(name)) share.tables.push_back(name);
  };
  for (const TableRule& rule : options.tables) {
    if (!rule.is_template()) add(rule.name);
  }
  if (options.reject_policy == RejectPolicy::kTable && !options.rejects_table.empty()) add(options.rejects_table);
  share.shares = 1;
  share.mine = {0};
  return share;
}

}  // namespace firn::ingest
