#include "firn/sim/scale_ages.h"

#include <utility>

#include "firn/ingest/table_state.h"

namespace firn::sim {

void AgeCounts::Add(const AgeCounts& other) {
  for (const auto& [age_ms, count] : other.counts_) counts_[age_ms] += count;
  total_ += other.total_;
}

int64_t AgeCounts::AtShare(double share) const {
  auto left = static_cast<int64_t>(share * static_cast<double>(total_));
  for (const auto& [age_ms, count] : counts_) {
    if (left < count) return age_ms;
    left -= count;
  }
  return Largest();
}

ScaleAges::ScaleAges(std::string pipeline, const std::string& home, const std::vector<std::string>& tables,
                     int32_t partitions)
    : pipeline_(std::move(pipeline)), partitions_(static_cast<size_t>(partitions)) {
  auto map_of = [&](const std::string& table) {
    return Map{iceberg::TableIdentifier::Parse(table).value(), std::nullopt,
               std::vector<int64_t>(static_cast<size_t>(partitions), 0)};
  };
  home_ = map_of(home);
  for (const std::string& table : tables) tables_.push_back(map_of(table));
}

void ScaleAges::Produced(int32_t partition, int32_t table, int64_t at_ms) {
  Partition& to = partitions_[static_cast<size_t>(partition)];
  to.waiting.push_back({at_ms, table});
  to.used = true;
}

std::optional<ingest::PositionsMap> ScaleAges::ReadAgain(Map& map, const CatalogServer& catalog) const {
  const iceberg::TableMetadata* metadata = catalog.Find(map.identifier);
  if (metadata == nullptr || metadata->current_snapshot_id == map.of) return std::nullopt;
  map.of = metadata->current_snapshot_id;
  auto stands = ingest::MapOf(*metadata, pipeline_);
  if (!stands.has_value() || !stands->has_value()) return std::nullopt;
  for (const auto& [key, mark] : (*stands)->marks) {
    const auto at = static_cast<size_t>(key.partition);
    if (at < map.offsets.size()) map.offsets[at] = mark.position.offset;
  }
  return std::move(*stands);
}

void ScaleAges::Look(const CatalogServer& catalog, int64_t now_ms, AgeCounts& ages) {
  if (auto home = ReadAgain(home_, catalog); home.has_value() && home->home.has_value()) {
    detached_ = std::ssize(home->home->detached);
  }
  for (Map& map : tables_) ReadAgain(map, catalog);
  for (size_t i = 0; i < partitions_.size(); ++i) {
    Partition& partition = partitions_[i];
    if (!partition.used) continue;
    while (detached_ == 0 && partition.first < home_.offsets[i] && !partition.waiting.empty()) {
      ++partition.first;
      partition.waiting.pop_front();
    }
    int64_t age_ms = 0;
    int64_t offset = partition.first;
    for (const Waiting& record : partition.waiting) {
      if (tables_[static_cast<size_t>(record.table)].offsets[i] <= offset++) {
        age_ms = now_ms - record.at_ms;
        break;
      }
    }
    ages.Add(age_ms);
  }
}

}  // namespace firn::sim
