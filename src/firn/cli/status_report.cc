#include "firn/cli/status_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "firn/cli/human_format.h"
#include "firn/config/units.h"

namespace firn::cli {
namespace {

using lag::LagState;
using lag::PartitionLag;
using lag::TableLag;
using nlohmann::json;

constexpr double kSecondsShownMax = 3'600.0 * 24 * 999;

template <typename T>
json OrNull(const std::optional<T>& value) {
  return value.has_value() ? json(*value) : json();
}

json ErrorJson(const std::optional<Error>& error) {
  if (!error.has_value()) return json();
  return {{"code", ErrorCodeName(error->code())}, {"message", error->message()}};
}

json AgeJson(std::optional<int64_t> since_ms, int64_t now_ms) {
  return since_ms.has_value() ? json(static_cast<double>(now_ms - *since_ms) / 1000.0) : json();
}

json ToJson(const PartitionLag& partition, int64_t now_ms) {
  return {{"spec_id", partition.spec_id},
          {"partition", partition.partition},
          {"files", partition.files},
          {"bytes", partition.bytes},
          {"uncompacted_files", partition.uncompacted_files},
          {"uncompacted_bytes", partition.uncompacted_bytes},
          {"oldest_seconds", AgeJson(partition.oldest_ms, now_ms)},
          {"arrival_bytes_per_second", partition.arrival_bytes_per_s}};
}

json ToJson(const TableLag& lag, int64_t now_ms) {
  json partitions = json::array();
  for (const PartitionLag& partition : lag.worst) partitions.push_back(ToJson(partition, now_ms));
  return {{"rows", lag.rows},
          {"data_files", lag.data_files},
          {"data_bytes", lag.data_bytes},
          {"partitions", lag.partitions},
          {"snapshots", lag.snapshots},
          {"scan",
           {{"data_files", lag.data_files},
            {"delete_files", lag.delete_files},
            {"manifests", lag.manifests},
            {"manifest_bytes", lag.manifest_bytes},
            {"metadata_bytes", OrNull(lag.metadata_bytes)}}},
          {"compaction",
           {{"state", lag::LagStateName(lag.state)},
            {"uncompacted_files", lag.uncompacted_files},
            {"uncompacted_bytes", lag.uncompacted_bytes},
            {"uncompacted_partitions", lag.uncompacted_partitions},
            {"left_alone_files", lag.left_alone},
            {"left_alone_bytes", lag.left_alone_bytes},
            {"waiting_seconds", static_cast<double>(lag.waiting_ms) / 1000.0},
            {"oldest_seconds", AgeJson(lag.oldest_ms, now_ms)},
            {"oldest_is_lower_bound", lag.oldest_at_least},
            {"window_seconds", lag.window_s},
            {"arrival_bytes_per_second", OrNull(lag.arrival_bytes_per_s)},
            {"compacted_bytes_per_second", OrNull(lag.compacted_bytes_per_s)},
            {"capacity_bytes_per_second", OrNull(lag.capacity_bytes_per_s)},
            {"capacity_ratio", OrNull(lag.capacity_ratio)},
            {"forecast_seconds", OrNull(lag.forecast_s)},
            {"write_amplification", OrNull(lag.write_amplification)},
            {"last_compaction_seconds", AgeJson(lag.last_compaction_ms, now_ms)},
            {"worst_partitions", std::move(partitions)}}},
          {"last_commit_seconds", AgeJson(lag.last_commit_ms, now_ms)},
          {"freshness_seconds", AgeJson(lag.watermark_ms, now_ms)}};
}

std::string AgeText(double seconds) {
  if (!(seconds < kSecondsShownMax)) return "never";
  const int64_t ms = std::max<int64_t>(std::llround(seconds * 1000), 0);
  constexpr int64_t kDayMs = 24 * 3'600'000;
  if (ms < 2 * kDayMs) return FormatElapsedMs(ms);
  return fmt::format("{}d {:02}h", ms / kDayMs, ms % kDayMs / 3'600'000);
}

std::string AgeText(std::optional<int64_t> since_ms, int64_t now_ms) {
  return since_ms.has_value() ? AgeText(static_cast<double>(now_ms - *since_ms) / 1000.0) : "-";
}

std::string RateText(const std::optional<double>& bytes_per_s) {
  return bytes_per_s.has_value() ? FormatBytes(*bytes_per_s) + "/s" : "-";
}

std::string Bytes(int64_t bytes) {
  return FormatBytes(static_cast<double>(bytes));
}

std::string ForecastText(const TableLag& lag) {
  const std::string time = lag.forecast_s.has_value() ? AgeText(*lag.forecast_s) : "";
  switch (lag.state) {
    case LagState::kClear: return "clear";
    case LagState::kKeepsUp: return "done in " + time;
    case LagState::kFallsBehind: return time.empty() ? "stands still" : "behind in " + time;
    case LagState::kBehind: return time.empty() ? "behind, growing" : "behind, done in " + time;
    case LagState::kNotCompacted:
      return lag.waiting_ms > 0 ? "not compacted for " + AgeText(static_cast<double>(lag.waiting_ms) / 1000.0)
                                : "not compacted";
    case LagState::kUnknown: return "-";
  }
  return "-";
}

// Rows of cells below each other; the first column to the left, the others to the right.
class Grid {
 public:
  explicit Grid(std::vector<std::string> head) { rows_.push_back(std::move(head)); }
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string text() const {
    std::vector<size_t> widths(rows_[0].size(), 0);
    for (const auto& row : rows_) {
      for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    std::string text;
    for (const auto& row : rows_) {
      std::string line;
      for (size_t i = 0; i < row.size(); ++i) {
        line += i == 0 ? fmt::format("{:<{}}", row[i], widths[i]) : fmt::format("  {:>{}}", row[i], widths[i]);
      }
      line.erase(line.find_last_not_of(' ') + 1);
      text += line + "\n";
    }
    return text;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
};

std::string IngestText(const PipelineStatus& status) {
  if (!status.started) return "ingest: the pipeline has not been started yet\n";
  std::string text;
  if (status.kafka_error.has_value()) {
    text = fmt::format("ingest: lag not known, the brokers were not reached: {}\n", status.kafka_error->message());
  } else if (const auto lag = status.lag_records(); lag.has_value()) {
    const auto behind = std::count_if(status.sources.begin(), status.sources.end(),
                                      [](const SourceStatus& source) { return source.lag().value_or(0) > 0; });
    text = fmt::format("ingest: {} records not yet in their tables, in {} of {} source partitions\n", FormatCount(*lag),
                       FormatCount(behind), FormatCount(std::ssize(status.sources)));
  } else {
    text = "ingest: lag not known of every source partition\n";
  }
  return text;
}

std::string TablesText(const PipelineStatus& status) {
  Grid grid({"TABLE", "FILES", "SIZE", "UNCOMPACTED", "BYTES", "OLDEST", "ARRIVAL", "CAPACITY", "RATIO", "FORECAST",
             "WRITTEN", "MANIFESTS", "SNAPSHOTS", "COMMIT"});
  for (const TableStatus& table : status.tables) {
    if (!table.lag.has_value()) {
      grid.Add({table.table, table.error.has_value() ? "failed" : "none yet"});
      continue;
    }
    const TableLag& lag = *table.lag;
    const std::string at_least = lag.oldest_at_least ? ">" : "";
    grid.Add({table.table, FormatCount(lag.data_files), Bytes(lag.data_bytes), FormatCount(lag.uncompacted_files),
              Bytes(lag.uncompacted_bytes),
              lag.oldest_ms.has_value() ? at_least + AgeText(lag.oldest_ms, status.now_ms) : "-",
              RateText(lag.arrival_bytes_per_s), RateText(lag.capacity_bytes_per_s),
              lag.capacity_ratio.has_value() ? fmt::format("{:.1f}", *lag.capacity_ratio) : "-", ForecastText(lag),
              lag.write_amplification.has_value() ? fmt::format("{:.2f}x", *lag.write_amplification) : "-",
              FormatCount(lag.manifests), FormatCount(lag.snapshots), AgeText(lag.last_commit_ms, status.now_ms)});
  }
  return grid.text();
}

// What compaction does not take, and why.
std::string LeftAloneText(const TableStatus& table) {
  if (!table.lag.has_value() || table.lag->left_alone.empty()) return "";
  std::string text;
  for (const auto& [reason, files] : table.lag->left_alone) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", FormatCount(files), reason);
  }
  return fmt::format("{} leaves small files alone, {}: {}\n", table.table, Bytes(table.lag->left_alone_bytes), text);
}

std::string PartitionsText(const PipelineStatus& status) {
  std::string text;
  for (const TableStatus& table : status.tables) {
    if (!table.lag.has_value() || table.lag->worst.empty()) continue;
    Grid grid({"WORST PARTITIONS OF " + table.table, "FILES", "UNCOMPACTED", "BYTES", "OLDEST", "ARRIVAL"});
    for (const PartitionLag& partition : table.lag->worst) {
      grid.Add({partition.partition.empty() ? "(not partitioned)" : partition.partition, FormatCount(partition.files),
                FormatCount(partition.uncompacted_files), Bytes(partition.uncompacted_bytes),
                AgeText(partition.oldest_ms, status.now_ms), RateText(partition.arrival_bytes_per_s)});
    }
    text += "\n" + grid.text();
  }
  std::string left_alone;
  for (const TableStatus& table : status.tables) left_alone += LeftAloneText(table);
  if (!left_alone.empty()) text += "\n" + left_alone;
  return text;
}

// "3 snapshots, 12 files, 1.2 MB"
std::string FreedText(const std::map<std::string, int64_t>& freed) {
  std::string text;
  for (const auto& [what, amount] : freed) {
    const std::string one = what == "bytes" ? Bytes(amount) : FormatCount(amount) + " " + what;
    text += (text.empty() ? "" : ", ") + one;
  }
  return text.empty() ? "nothing to do" : text;
}

std::string MaintenanceText(const PipelineStatus& status) {
  std::string text;
  for (const WorkerStatusPage& worker : status.workers) {
    if (!worker.error.has_value()) continue;
    text += fmt::format("maintenance: not known of the worker at {}: {}\n", worker.address, worker.error->message());
  }
  std::string done;
  for (const auto& [table, upkeep] : status.upkeep) {
    for (const auto& [name, task] : upkeep.tasks) {
      if (task.last_ms == 0) continue;
      done += fmt::format("  {} {}: {}; last {} ago\n", name, table, FreedText(task.freed),
                          AgeText(task.last_ms, status.now_ms));
    }
  }
  if (!done.empty()) text += "maintenance, since the workers started:\n" + done;
  return text.empty() ? text : "\n" + text;
}

std::string ErrorsText(const PipelineStatus& status) {
  std::string text;
  for (const auto& [table, upkeep] : status.upkeep) {
    for (const StandingError& error : upkeep.errors) {
      text += fmt::format("! {}: {} fails, {} times since {}: {}: {}\n  remedy: {}\n",
                          table.empty() ? "all tables" : table, error.task, FormatCount(error.failures),
                          AgeText(error.since_ms, status.now_ms), error.code, error.message, error.remedy);
    }
  }
  return text;
}

std::string ProblemsText(const PipelineStatus& status) {
  std::string text;
  for (const ingest::DetachedEntry& entry : status.detached) {
    text += fmt::format("! {} is detached{} for {}/{}: {}\n", entry.table,
                        entry.hold ? " and on hold (firn positions resume)" : "", entry.topic,
                        entry.partition.partition, entry.reason);
  }
  for (const TableStatus& table : status.tables) {
    if (table.error.has_value()) text += fmt::format("! {}: {}\n", table.table, table.error->ToString());
  }
  text += ErrorsText(status);
  return text.empty() ? text : "\n" + text;
}

// What the workers that answered have said of the table; null: none has.
json UpkeepJson(const PipelineStatus& status, const std::string& table) {
  const auto found = status.upkeep.find(table);
  return found == status.upkeep.end() ? json() : ToJson(found->second);
}

}  // namespace

std::optional<int64_t> SourceStatus::lag() const {
  if (!end.has_value() || !position.has_value()) return std::nullopt;
  return std::max<int64_t>(*end - *position, 0);
}

std::optional<int64_t> PipelineStatus::lag_records() const {
  if (!started || kafka_error.has_value()) return std::nullopt;
  int64_t sum = 0;
  for (const SourceStatus& source : sources) {
    const std::optional<int64_t> lag = source.lag();
    if (!lag.has_value()) return std::nullopt;
    sum += *lag;
  }
  return sum;
}

bool PipelineStatus::has_failed_tables() const {
  return std::any_of(tables.begin(), tables.end(), [](const TableStatus& table) { return table.error.has_value(); });
}

json ToJson(const PipelineStatus& status) {
  json sources = json::array();
  for (const SourceStatus& source : status.sources) {
    sources.push_back({{"topic", source.topic},
                       {"partition", source.partition},
                       {"end", OrNull(source.end)},
                       {"position", OrNull(source.position)},
                       {"lag_records", OrNull(source.lag())}});
  }
  json detached = json::array();
  for (const ingest::DetachedEntry& entry : status.detached) {
    detached.push_back({{"table", entry.table},
                        {"topic", entry.topic},
                        {"partition", entry.partition.partition},
                        {"reason", entry.reason},
                        {"hold", entry.hold},
                        {"since_ms", entry.since_ms}});
  }
  json tables = json::array();
  for (const TableStatus& table : status.tables) {
    json item = table.lag.has_value() ? ToJson(*table.lag, status.now_ms) : json::object();
    item["table"] = table.table;
    item["exists"] = table.error.has_value() ? json() : json(table.lag.has_value());
    item["error"] = ErrorJson(table.error);
    item["upkeep"] = UpkeepJson(status, table.table);
    tables.push_back(std::move(item));
  }
  json workers = json::array();
  for (const WorkerStatusPage& worker : status.workers) {
    workers.push_back(
        {{"address", worker.address}, {"reachable", !worker.error.has_value()}, {"error", ErrorJson(worker.error)}});
  }
  return {{"pipeline", status.pipeline},
          {"time_ms", status.now_ms},
          {"started", status.started},
          {"kafka",
           {{"reachable", !status.kafka_error.has_value()},
            {"cluster_id", status.cluster_id},
            {"error", ErrorJson(status.kafka_error)}}},
          {"ingest",
           {{"lag_records", OrNull(status.lag_records())},
            {"partitions", std::move(sources)},
            {"detached", std::move(detached)}}},
          {"workers", std::move(workers)},
          {"upkeep", UpkeepJson(status, "")},
          {"tables", std::move(tables)}};
}

std::string ToText(const PipelineStatus& status) {
  return fmt::format("pipeline {}  {}\n", status.pipeline, config::FormatTimestampMs(status.now_ms / 1000 * 1000)) +
         IngestText(status) + "\n" + TablesText(status) + PartitionsText(status) + MaintenanceText(status) +
         ProblemsText(status);
}

}  // namespace firn::cli
