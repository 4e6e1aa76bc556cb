#include "firn/cli/table_upkeep.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

namespace firn::cli {
namespace {

using nlohmann::json;

StandingError ErrorOf(std::string_view task, const Error& error, int64_t since_ms, int64_t failures) {
  return {.task = std::string(task),
          .code = std::string(ErrorCodeName(error.code())),
          .message = error.message(),
          .remedy = std::string(RemedyOf(error.code())),
          .since_ms = since_ms,
          .failures = failures};
}

TableUpkeep ParseTable(const json& item) {
  TableUpkeep table;
  for (const auto& [name, task] : item.at("maintenance").items()) {
    table.tasks[name] = {.runs = task.at("runs").get<int64_t>(),
                         .last_ms = task.at("last_ms").get<int64_t>(),
                         .next_ms = task.at("next_ms").get<int64_t>(),
                         .freed = task.at("freed").get<std::map<std::string, int64_t>>()};
  }
  for (const json& error : item.at("errors")) {
    table.errors.push_back({.task = error.at("task").get<std::string>(),
                            .code = error.at("code").get<std::string>(),
                            .message = error.at("message").get<std::string>(),
                            .remedy = error.at("remedy").get<std::string>(),
                            .since_ms = error.at("since_ms").get<int64_t>(),
                            .failures = error.at("failures").get<int64_t>()});
  }
  return table;
}

}  // namespace

std::string_view RemedyOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUnauthorized:
      return "let the worker list, read, write and delete below the table's location, and commit to it";
    case ErrorCode::kUnavailable:
    case ErrorCode::kTimeout: return "see with firn check whether catalog and store can be reached from the worker";
    case ErrorCode::kConflict:
    case ErrorCode::kCommitStateUnknown:
      return "none while it passes by itself: others commit to the table at the same time; where it stays, let them "
             "commit less often";
    case ErrorCode::kUnsupported:
    case ErrorCode::kInvalidInput:
      return "change what the message names, in the table or in the configuration, or switch the task off";
    case ErrorCode::kNotFound:
    case ErrorCode::kCorruption: return "restore the file that the message names: queries fail on it too";
    case ErrorCode::kResourceExhausted: return "make room where the message says, or raise memory.limit";
    case ErrorCode::kIoError: return "look after the disk or the store that the message names";
    default: return "report it, with the worker's log";
  }
}

Upkeep UpkeepOf(const compaction::LoopStatus& compaction, const maintenance::MaintenanceStatus& maintenance) {
  Upkeep upkeep;
  for (const auto& [table, standing] : compaction.table_errors) {
    upkeep[table].errors.push_back(ErrorOf("compaction", standing.error, standing.since_ms, standing.failures));
  }
  for (const auto& [table, tasks] : maintenance) {
    for (const auto& [task, status] : tasks) {
      const std::string name(maintenance::TaskName(task));
      upkeep[table].tasks[name] = {status.runs, status.last_ms, status.next_ms, status.freed.ByName()};
      if (!status.error.has_value()) continue;
      upkeep[table].errors.push_back(ErrorOf(name, *status.error, status.error_since_ms, status.failures));
    }
  }
  return upkeep;
}

void Add(Upkeep& upkeep, Upkeep more) {
  for (auto& [name, table] : more) {
    TableUpkeep& mine = upkeep[name];
    for (auto& [task, done] : table.tasks) {
      TaskDone& known = mine.tasks[task];
      if (known.runs == 0 || known.last_ms < done.last_ms) known = std::move(done);
    }
    std::ranges::move(table.errors, std::back_inserter(mine.errors));
  }
}

json ToJson(const TableUpkeep& upkeep) {
  json tasks = json::object();
  for (const auto& [name, task] : upkeep.tasks) {
    tasks[name] = {{"runs", task.runs}, {"last_ms", task.last_ms}, {"next_ms", task.next_ms}, {"freed", task.freed}};
  }
  json errors = json::array();
  for (const StandingError& error : upkeep.errors) {
    errors.push_back({{"task", error.task},
                      {"code", error.code},
                      {"message", error.message},
                      {"remedy", error.remedy},
                      {"since_ms", error.since_ms},
                      {"failures", error.failures}});
  }
  return {{"maintenance", std::move(tasks)}, {"errors", std::move(errors)}};
}

json ToJson(const Upkeep& upkeep) {
  json out = json::object();
  for (const auto& [table, of_table] : upkeep) out[table] = ToJson(of_table);
  return out;
}

Result<Upkeep> ParseUpkeep(std::string_view page, std::string_view pipeline) {
  const json document = json::parse(page, nullptr, false);
  try {
    const std::string theirs = document.at("pipeline").get<std::string>();
    if (theirs != pipeline) {
      return Fail(ErrorCode::kNotFound, fmt::format("the worker there is of another pipeline: '{}'", theirs));
    }
    Upkeep upkeep;
    for (const auto& [table, item] : document.at("upkeep").items()) upkeep[table] = ParseTable(item);
    return upkeep;
  } catch (const json::exception&) {
    return Fail(ErrorCode::kCorruption, "what answers there is no worker of this version");
  }
}

}  // namespace firn::cli
