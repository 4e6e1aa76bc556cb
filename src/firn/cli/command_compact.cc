#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>
#include <ostream>

#include "firn/base/log.h"
#include "firn/cli/command_factories.h"
#include "firn/cli/compaction_parts.h"
#include "firn/cli/human_format.h"
#include "firn/cli/pipeline_parts.h"
#include "firn/cli/table_loop.h"
#include "firn/compaction/table_compaction.h"
#include "firn/config/config.h"
#include "firn/env/clock.h"
#include "firn/metrics/process_metrics.h"
#include "firn/metrics/status_server.h"

namespace firn::cli {
namespace {

using compaction::CompactionReport;
using nlohmann::json;

json ToJson(const std::string& table, const CompactionReport& report, bool dry_run) {
  const parquet::MergeCounts& pages = report.pages;
  return {
      {"table", table},
      {"dry_run", dry_run},
      {"files_seen", report.files_seen},
      {"groups",
       {{"planned", report.groups_planned}, {"done", report.groups_done}, {"dropped", report.groups_dropped}}},
      {"files", {{"before", report.files_before}, {"after", report.files_after}, {"left_alone", report.left_alone}}},
      {"rows", report.rows},
      {"deletes", {{"applied", report.rows_deleted}, {"files_removed", report.delete_files_removed}}},
      {"bytes", {{"before", report.bytes_before}, {"after", report.bytes_after}}},
      {"commits", report.commits},
      {"conflicts", report.conflicts},
      {"sort",
       {{"rows", report.sort.rows},
        {"runs", report.sort.runs},
        {"passes", report.sort.passes},
        {"bytes_spilled", report.sort.bytes_spilled}}},
      {"cpu_seconds", report.cpu_s},
      {"pages",
       {{"carried", pages.pages_carried},
        {"with_new_levels", pages.pages_with_new_levels},
        {"dictionaries_as_values", pages.dictionaries_as_values},
        {"renumbered", pages.pages_renumbered},
        {"encoded", pages.pages_encoded},
        {"chunks_of_missing_columns", pages.null_pages}}},
      {"chunks_decoded", pages.chunks_decoded},
      {"bloom_filters", {{"made", pages.bloom_filters_made}, {"dropped", pages.bloom_filters_dropped}}}};
}

template <typename Counts>
void PrintReasons(std::string_view what, const Counts& counts, std::ostream& out) {
  for (const auto& [reason, count] : counts) out << fmt::format("{} {}: {}\n", what, reason, FormatCount(count));
}

void Print(const std::string& table, const CompactionReport& report, bool dry_run, std::ostream& out) {
  if (dry_run) {
    out << fmt::format("{}: {} of {} files would become {}, in {} groups ({}, {} rows)\n", table,
                       FormatCount(report.files_before), FormatCount(report.files_seen),
                       FormatCount(report.files_after), FormatCount(report.groups_planned),
                       FormatBytes(static_cast<double>(report.bytes_before)), FormatCount(report.rows));
    PrintReasons("files left alone,", report.left_alone, out);
    return;
  }
  out << fmt::format("{}: {} files became {} ({} -> {}, {} rows) in {} commits, {:.1f} CPU seconds\n", table,
                     FormatCount(report.files_before), FormatCount(report.files_after),
                     FormatBytes(static_cast<double>(report.bytes_before)),
                     FormatBytes(static_cast<double>(report.bytes_after)), FormatCount(report.rows),
                     FormatCount(report.commits), report.cpu_s);
  if (report.sort.rows > 0) {
    out << fmt::format("rows sorted {}, in {} runs and {} passes, {} spilled\n", FormatCount(report.sort.rows),
                       FormatCount(report.sort.runs), FormatCount(report.sort.passes),
                       FormatBytes(static_cast<double>(report.sort.bytes_spilled)));
  }
  const parquet::MergeCounts& pages = report.pages;
  out << fmt::format(
      "pages carried {}, levels written anew {}, renumbered {}, encoded {}; dictionaries carried as "
      "values {}\n",
      FormatCount(pages.pages_carried), FormatCount(pages.pages_with_new_levels), FormatCount(pages.pages_renumbered),
      FormatCount(pages.pages_encoded), FormatCount(pages.dictionaries_as_values));
  if (report.rows_deleted > 0 || report.delete_files_removed > 0) {
    out << fmt::format("deletes applied {}, delete files removed {}\n", FormatCount(report.rows_deleted),
                       FormatCount(report.delete_files_removed));
  }
  PrintReasons("column chunks decoded,", pages.chunks_decoded, out);
  PrintReasons("files left alone,", report.left_alone, out);
  PrintReasons("groups dropped,", report.groups_dropped, out);
  if (pages.bloom_filters_dropped > 0) {
    out << fmt::format("bloom filters dropped, because the table asks for none: {}\n",
                       FormatCount(pages.bloom_filters_dropped));
  }
}

// "a desc, bucket(16, b)": at the commas that are in no parentheses.
std::vector<std::string> SplitFields(std::string_view text) {
  std::vector<std::string> fields(1);
  int depth = 0;
  for (const char c : text) {
    depth += (c == '(') - (c == ')');
    if (c == ',' && depth == 0) {
      fields.emplace_back();
    } else {
      fields.back().push_back(c);
    }
  }
  return fields;
}

// A loop that runs is well: what fails in it is counted and tried again.
class LoopHealth final : public metrics::HealthSource {
 public:
  metrics::HealthState Alive() override { return {}; }
  metrics::HealthState Ready() override { return {}; }
};

std::string PageOf(const config::Config& config, const TableLoop& loop) {
  const json page = {{"pipeline", config.pipeline.pipeline}, {"upkeep", ToJson(loop.upkeep())}};
  return page.dump(2, ' ', false, json::error_handler_t::replace);
}

void PrintTotals(const compaction::LoopStatus& status, std::ostream& out) {
  out << fmt::format("{} files became {} ({} -> {}) in {} commits, {:.1f} CPU seconds, {} errors\n",
                     FormatCount(status.files_before), FormatCount(status.files_after),
                     FormatBytes(static_cast<double>(status.bytes_before)),
                     FormatBytes(static_cast<double>(status.bytes_after)), FormatCount(status.commits), status.cpu_s,
                     FormatCount(status.errors));
}

class CompactCommand final : public Command {
 public:
  std::string_view name() const override { return "compact"; }
  std::string_view summary() const override { return "Put small files of a table together"; }
  std::string_view details() const override {
    return "Files of one partition that are smaller than three quarters of write.target-file-size-bytes become files "
           "of\n"
           "up to that size. Pages move as they are; what cannot be moved is encoded again, column chunk by column\n"
           "chunk, and counted. Rows stay as they are and in their order; queries give what they gave before. Old "
           "files\n"
           "stay in the store until their snapshots expire. Workers may run meanwhile, and others may write: a group\n"
           "whose files were changed by somebody else is dropped, never forced.\n"
           "Rows that others have deleted, by position or by equality, are left out of the new files, and delete\n"
           "files that nothing needs any more are removed; a file with deletes is written anew for their sake alone.\n"
           "Left as they are: files with deletion vectors, files without field ids, encrypted files, column types\n"
           "that do not become the table's. Tables of format v1 and v3 are refused. Each input is read whole, so "
           "memory\n"
           "holds the inputs of one row group (128 MiB, or one larger file).\n"
           "--strategy sort decodes the rows of each partition, sorts them by the table's sort order or by --sort-by,\n"
           "and encodes them anew, so that files do not overlap in the order; files name it (sort_order_id) if it is\n"
           "one of the table's. Sorted is what is not, what overlaps and what is small; a second run finds nothing to\n"
           "do. Rows that do not fit into memory.limit wait in spill.dir.\n"
           "With --watch it goes on until SIGINT or SIGTERM, over all tables of the pipeline (or the one named):\n"
           "files of a partition that still grows wait until enough of like size are there (compaction.files_min,\n"
           "cold_after), a look comes every compaction.interval, inputs are at most an eighth of memory.limit large,\n"
           "the process takes as much of one core as it gets, and /metrics is served on http.listen unless that is\n"
           "taken. Switch it off in the workers then: compaction.enabled: false.";
  }
  std::string_view examples() const override {
    return "firn compact -c firn.yaml --table security.flows --dry-run\n"
           "firn compact -c firn.yaml --table security.flows\n"
           "firn compact -c firn.yaml --table security.flows --where event_day=2026-11-30 --json\n"
           "firn compact -c firn.yaml --table security.flows --strategy sort --sort-by 'src_ip, time desc nulls last'\n"
           "firn compact -c firn.yaml --watch";
  }
  std::string_view exit_codes() const override {
    return "0    done, or nothing to do; with --watch: stopped by a signal\n"
           "1    failed; the message says why; what was committed before stays\n"
           "2    the command line or the configuration is wrong\n"
           "130  stopped by a signal; what was merged by then is committed";
  }
  bool handles_stop() const override { return true; }

  void AddOptions(CLI::App& app) override {
    app.add_option("-c,--config", config_path_, "Configuration file")->type_name("FILE")->default_str(config_path_);
    app.add_option("--table", table_, "The table; with --watch only this one")->type_name("NS.TABLE");
    auto* where =
        app.add_option("--where", options_.where, "Only this partition; may be given several times, all must hold")
            ->type_name("FIELD=VALUE")
            ->allow_extra_args(false);
    auto* strategy = app.add_option("--strategy", strategy_, "Put files together as they are, or sort their rows")
                         ->check(CLI::IsMember({"binpack", "sort"}))
                         ->default_str(strategy_);
    app.add_option("--sort-by", sort_by_, "With --strategy sort: by these fields, not by the table's sort order")
        ->type_name("FIELD,…");
    auto* dry_run = app.add_flag("--dry-run", options_.dry_run, "Only say what would be done");
    auto* json = app.add_flag("--json", json_, "Print one JSON document");
    auto* watch = app.add_flag("--watch", watch_, "Go on, over all tables of the pipeline, until stopped");
    watch->excludes(where)->excludes(strategy)->excludes(dry_run)->excludes(json);
  }

  int Run(Invocation& invocation) override {
    if (table_.empty() && !watch_) {
      const Error error(ErrorCode::kInvalidInput, "--table NS.TABLE says which one; --watch is for all of them");
      return ReportError(invocation, error, json_, kUsage);
    }
    if (strategy_ == "sort") options_.sort.emplace();
    if (!sort_by_.empty()) {
      if (!options_.sort.has_value()) {
        const Error error(ErrorCode::kInvalidInput, "--sort-by needs --strategy sort");
        return ReportError(invocation, error, json_, kUsage);
      }
      options_.sort->by = SplitFields(sort_by_);
    }
    Result<iceberg::TableIdentifier> table = iceberg::TableIdentifier::Parse(table_);
    if (!table.has_value() && !table_.empty()) return ReportError(invocation, table.error(), json_, kUsage);
    Result<config::Config> config = config::LoadConfig(config_path_);
    if (!config.has_value()) return ReportError(invocation, config.error(), json_, kUsage);
    ConfigureLogging(config->log.format, config->log.level);
    const config::Config configured = *config;
    if (!table_.empty()) {
      // So that the catalog is asked for this table's storage too.
      ingest::TableRule rule;
      rule.name = table_;
      config->pipeline.tables.push_back(std::move(rule));
    }
    const LakehouseUse use = options_.dry_run ? LakehouseUse::kLook : LakehouseUse::kChange;
    Result<Lakehouse> lakehouse = OpenLakehouse(*config, use);
    if (!lakehouse.has_value()) return ReportError(invocation, lakehouse.error(), json_);
    compaction::CompactionParts parts{*lakehouse->catalog, lakehouse->store(), env::SystemClock(),
                                      env::SystemRandom()};
    if (watch_) return Watch(invocation, configured, parts);
    auto progress = [&](const CompactionReport& report) { ShowProgress(invocation, report); };
    options_.output_age_ms_max = config->pipeline.commit_max_age_ms;
    options_.sort_memory_bytes = config->pipeline.memory_limit_bytes;
    std::unique_ptr<env::SpillFolder> spill;
    std::optional<env::LimitedSpillFolder> limited;
    if (options_.sort.has_value() && !options_.dry_run) {
      Result<std::unique_ptr<env::SpillFolder>> opened = OpenSpill(config->pipeline);
      if (!opened.has_value()) return ReportError(invocation, opened.error(), json_);
      spill = *std::move(opened);
      if (spill != nullptr) parts.spill = &limited.emplace(*spill, config->pipeline.spill_bytes_max);
    }
    auto report = compaction::CompactTable(parts, *table, options_, progress, invocation.stop);
    if (!report.has_value()) {
      const bool usage = report.error().code() == ErrorCode::kInvalidInput;
      return ReportError(invocation, report.error(), json_, usage ? kUsage : kFailure);
    }
    if (json_) {
      invocation.out << ToJson(table_, *report, options_.dry_run).dump(2) << "\n";
    } else {
      Print(table_, *report, options_.dry_run, invocation.out);
    }
    return invocation.stop.stop_requested() ? kInterrupted : kSuccess;
  }

 private:
  int Watch(Invocation& invocation, const config::Config& config, const compaction::CompactionParts& parts) {
    std::signal(SIGPIPE, SIG_IGN);  // sockets of OpenSSL and the AWS SDK may raise it
    metrics::Registry registry;
    metrics::AddProcessMetrics(registry);
    LoopHealth health;
    std::unique_ptr<metrics::StatusServer> server;
    if (config.http.enabled) {
      const bool is_ipv6 = config.http.host.find(':') != std::string::npos;
      auto listening = metrics::StatusServer::Create(
          fmt::format(fmt::runtime(is_ipv6 ? "[{}]:{}" : "{}:{}"), config.http.host, config.http.port), registry,
          health);
      // A worker with the same configuration may run on this machine.
      if (!listening.has_value()) LogWarning("no status server", {{"error", listening.error()}});
      if (listening.has_value()) server = *std::move(listening);
    }
    compaction::LoopOptions options = LoopOptionsOf(config);
    options.cpu_share = {.low = 1, .high = 1};
    bool was_left_out = false;
    auto scope = [&]() -> Result<compaction::LoopScope> {
      FIRN_ASSIGN(compaction::LoopScope found, LoadScope(parts.catalog, config.pipeline, table_));
      const bool is_left_out = !table_.empty() && found.tables.empty();
      if (is_left_out && !was_left_out) {
        LogWarning("the table is on hold and left alone until a person has decided (firn positions resume)",
                   {{"table", table_}});
      }
      was_left_out = is_left_out;
      return found;
    };
    TableLoop loop(config, options, parts, scope, registry, table_);
    if (server != nullptr) server->AddPage("/status", [&] { return PageOf(config, loop); });
    LogInfo("watching", {{"table", table_.empty() ? "all of the pipeline" : table_},
                         {"interval_ms", options.interval_ms},
                         {"http_port", server ? server->port() : 0}});
    loop.Run(invocation.stop);
    server.reset();  // its pages ask the loop
    PrintTotals(loop.status(), invocation.out);
    return kSuccess;
  }

  void ShowProgress(Invocation& invocation, const CompactionReport& report) {
    if (!invocation.err_is_terminal) return;
    ++groups_merged_;
    const int64_t merged = std::min(groups_merged_, report.groups_planned);
    invocation.err << fmt::format("merged {} of {} groups, {:.1f} CPU seconds\n", FormatCount(merged),
                                  FormatCount(report.groups_planned), report.cpu_s);
  }

  std::string config_path_ = "firn.yaml";
  std::string table_;
  std::string strategy_ = "binpack";
  std::string sort_by_;
  compaction::CompactionOptions options_;
  int64_t groups_merged_ = 0;
  bool json_ = false;
  bool watch_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeCompactCommand() {
  return std::make_unique<CompactCommand>();
}

}  // namespace firn::cli
