#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <ostream>

#include "firn/base/log.h"
#include "firn/cli/command_factories.h"
#include "firn/cli/maintain_report.h"
#include "firn/cli/pipeline_parts.h"
#include "firn/config/config.h"
#include "firn/config/table_rules.h"
#include "firn/config/units.h"
#include "firn/env/clock.h"

namespace firn::cli {
namespace {

using nlohmann::json;

class MaintainCommand final : public Command {
 public:
  std::string_view name() const override { return "maintain"; }
  std::string_view summary() const override { return "Clean a table up: orphans, snapshots, old data, manifests"; }
  std::string_view details() const override {
    return "--orphans    deletes files below the table's location that nothing of the table refers to and that are "
           "older\n"
           "             than --older-than: left behind by crashes, lost races, and snapshots that commits have "
           "expired\n"
           "--expire     takes snapshots beyond the table's history.expire.* properties off, and deletes the files "
           "that\n"
           "             only they reached; branches, tags and each pipeline's newest snapshot keep theirs\n"
           "--retain     takes partitions that ended longer than AGE ago out of the table, without reading a file; "
           "the\n"
           "             files stay until no snapshot reaches them: a tag is a legal hold\n"
           "--manifests  writes manifests anew, each with few partitions, where queries would open fewer of them\n"
           "Several go in the order retain, expire, manifests, orphans. Nothing is changed without --apply: the report "
           "then\n"
           "says what would be. Workers may run meanwhile. Refused is what is not safe: gc.enabled=false, a location "
           "that\n"
           "another table shares, files under another scheme or bucket than the listing shows. docs/maintenance.md "
           "has\n"
           "the rules.";
  }
  std::string_view examples() const override {
    return "firn maintain -c firn.yaml --table security.flows --orphans                  # what would be deleted\n"
           "firn maintain -c firn.yaml --table security.flows --orphans --expire --apply # does it\n"
           "firn maintain -c firn.yaml --table security.flows --retain event_day=90d --apply\n"
           "firn maintain -c firn.yaml --table security.flows --manifests --apply --json";
  }
  std::string_view exit_codes() const override {
    return "0    done, or nothing to do; without --apply: planned\n"
           "1    something was refused or failed; the report has what was done before\n"
           "2    the command line or the configuration is wrong\n"
           "130  stopped by a signal; what was done by then is done";
  }
  bool handles_stop() const override { return true; }

  void AddOptions(CLI::App& app) override {
    app.add_option("-c,--config", config_path_, "Configuration file")->type_name("FILE")->default_str(config_path_);
    app.add_option("--table", table_, "The table")->type_name("NS.TABLE")->required();
    app.add_flag("--orphans", do_orphans_, "Files that nothing of the table refers to");
    app.add_option("--older-than", older_than_, "orphans: only files older than this")
        ->type_name("AGE")
        ->default_str(older_than_);
    app.add_flag("--expire", do_expire_, "Snapshots beyond the table's retention, and their files");
    app.add_option("--snapshot-age", snapshot_age_, "expire: instead of history.expire.max-snapshot-age-ms")
        ->type_name("AGE");
    app.add_option("--keep-snapshots", keep_, "expire: instead of history.expire.min-snapshots-to-keep")
        ->type_name("N")
        ->check(CLI::PositiveNumber);
    app.add_option("--retain", retain_, "Only data of the last AGE, by a partition field of time")
        ->type_name("FIELD=AGE");
    app.add_flag("--manifests", do_manifests_, "Manifests with files of few partitions each");
    CLI::Option* dry_run = app.add_flag("--dry-run", dry_run_, "Only say what would be done, as without --apply");
    app.add_flag("--apply", apply_, "Do it")->excludes(dry_run);
    app.add_flag("--json", json_, "Print one JSON document");
  }

  int Run(Invocation& invocation) override {
    Status usage = ReadOptions();
    if (!usage.has_value()) return ReportError(invocation, usage.error(), json_, kUsage);
    Result<iceberg::TableIdentifier> table = iceberg::TableIdentifier::Parse(table_);
    if (!table.has_value()) return ReportError(invocation, table.error(), json_, kUsage);
    Result<config::Config> config = config::LoadConfig(config_path_);
    if (!config.has_value()) return ReportError(invocation, config.error(), json_, kUsage);
    ConfigureLogging(config->log.format, config->log.level);
    // So that the catalog is asked for this table's storage too.
    ingest::TableRule rule;
    rule.name = table_;
    config->pipeline.tables.push_back(std::move(rule));
    orphans_.commit_max_age_ms = config->pipeline.commit_max_age_ms;
    Result<Lakehouse> lakehouse = OpenLakehouse(*config, apply_ ? LakehouseUse::kChange : LakehouseUse::kLook);
    if (!lakehouse.has_value()) return ReportError(invocation, lakehouse.error(), json_);
    const maintenance::MaintenanceParts parts{*lakehouse->catalog, lakehouse->store(), env::SystemClock(),
                                              env::SystemRandom()};
    return RunTasks(parts, *table, invocation);
  }

 private:
  Status ReadOptions() {
    if (!do_orphans_ && !do_expire_ && !do_manifests_ && retain_.empty()) {
      return Fail(ErrorCode::kInvalidInput, "say what to do: --orphans, --expire, --retain or --manifests");
    }
    FIRN_ASSIGN(orphans_.older_than_ms, WithContext(config::ParseDurationMs(older_than_), "--older-than"));
    if (!snapshot_age_.empty()) {
      FIRN_ASSIGN(expiry_.snapshot_age_ms, WithContext(config::ParseDurationMs(snapshot_age_), "--snapshot-age"));
    }
    if (keep_ > 0) expiry_.snapshots_to_keep = keep_;
    orphans_.apply = expiry_.apply = retention_.apply = clustering_.apply = apply_;
    if (retain_.empty()) return {};
    FIRN_ASSIGN(const ingest::DataRetention rule, WithContext(config::ParseRetention(retain_), "--retain"));
    retention_.field = rule.field;
    retention_.age_ms = rule.age_ms;
    return {};
  }

  int RunTasks(const maintenance::MaintenanceParts& parts, const iceberg::TableIdentifier& table,
               Invocation& invocation) {
    MaintainReport report;
    report.table = table_;
    report.applied = apply_;
    using Task = std::function<Status()>;
    const std::stop_token& stop = invocation.stop;
    std::vector<std::pair<bool, Task>> tasks;
    tasks.emplace_back(!retain_.empty(), [&]() -> Status {
      FIRN_ASSIGN(report.retention, maintenance::RetainData(parts, table, retention_, stop));
      return {};
    });
    tasks.emplace_back(do_expire_, [&]() -> Status {
      FIRN_ASSIGN(report.expiry, maintenance::ExpireSnapshots(parts, table, expiry_, stop));
      if (report.expiry->search_error.has_value()) return std::unexpected<Error>(*report.expiry->search_error);
      return FirstError(report.expiry->deleted);
    });
    tasks.emplace_back(do_manifests_, [&]() -> Status {
      FIRN_ASSIGN(report.clustering, maintenance::ClusterManifests(parts, table, clustering_, stop));
      return {};
    });
    tasks.emplace_back(do_orphans_, [&]() -> Status {
      FIRN_ASSIGN(report.orphans, maintenance::RemoveOrphans(parts, table, orphans_, stop));
      return FirstError(report.orphans->deleted);
    });
    for (const auto& [wanted, task] : tasks) {
      if (!wanted || report.error.has_value() || stop.stop_requested()) continue;
      if (Status done = task(); !done.has_value()) report.error = std::move(done.error());
    }
    if (json_) {
      invocation.out << ToJson(report).dump(2, ' ', false, json::error_handler_t::replace) << "\n";
    } else {
      invocation.out << ToText(report);
    }
    if (stop.stop_requested()) return kInterrupted;
    if (!report.error.has_value()) return kSuccess;
    // The JSON document has it already.
    const int code = report.error->code() == ErrorCode::kInvalidInput ? kUsage : kFailure;
    return ReportError(invocation, *report.error, false, code);
  }

  static Status FirstError(const maintenance::DeletionReport& deleted) {
    if (!deleted.first_error.has_value()) return {};
    return std::unexpected<Error>(*deleted.first_error);
  }

  std::string config_path_ = "firn.yaml";
  std::string table_;
  std::string older_than_ = "3d";
  std::string snapshot_age_;
  std::string retain_;
  int64_t keep_ = 0;
  bool do_orphans_ = false;
  bool do_expire_ = false;
  bool do_manifests_ = false;
  bool dry_run_ = false;
  bool apply_ = false;
  bool json_ = false;
  maintenance::OrphanOptions orphans_;
  maintenance::ExpiryOptions expiry_;
  maintenance::RetentionOptions retention_;
  maintenance::ClusteringOptions clustering_;
};

}  // namespace

std::unique_ptr<Command> MakeMaintainCommand() {
  return std::make_unique<MaintainCommand>();
}

}  // namespace firn::cli
