#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <ostream>

#include "firn/base/log.h"
#include "firn/cli/check_steps.h"
#include "firn/cli/command_factories.h"
#include "firn/config/config.h"

namespace firn::cli {
namespace {

class CheckCommand final : public Command {
 public:
  std::string_view name() const override { return "check"; }
  std::string_view summary() const override { return "Check a configuration and everything it names"; }
  std::string_view details() const override {
    return "Reads the configuration, reaches brokers, catalog and store, and says for every table whether it can be\n"
           "written or what would be created. Warns of what works but is likely not meant. Reads only, and does not\n"
           "join the consumer group: a running pipeline does not notice. With --write-probe a small object is "
           "written,\n"
           "read and deleted under the warehouse.";
  }
  std::string_view examples() const override {
    return "firn check -c firn.yaml\n"
           "firn check -c firn.yaml --write-probe\n"
           "firn check -c firn.yaml --json | jq '.checks[] | select(.verdict == \"error\")'";
  }
  std::string_view exit_codes() const override {
    return "0  nothing stands against a run; there may be warnings\n"
           "1  at least one error\n"
           "2  the command line or the configuration is wrong; every problem is listed with its line";
  }

  void AddOptions(CLI::App& app) override {
    app.add_option("-c,--config", config_path_, "Configuration file")->type_name("FILE")->default_str(config_path_);
    app.add_flag("--write-probe", write_probe_, "Also write, read and delete a small object in the store");
    app.add_flag("--json", json_, "Print one JSON document");
  }

  int Run(Invocation& invocation) override {
    config::ProblemList problems;
    Result<config::Config> config = config::LoadConfig(config_path_, problems);
    if (!config.has_value()) return ReportConfigError(invocation, config.error(), problems);
    // The findings say it all; what libraries log below a warning would only stand between them.
    ConfigureLogging(config->log.format, LogLevel::kError);
    CheckReport report;
    report.Add(Verdict::kOk, "configuration", "configuration_read",
               fmt::format("'{}': pipeline '{}', {} under 'tables'", config_path_, config->pipeline.pipeline,
                           config->pipeline.tables.size()));
    CheckAll(*config, report);
    if (json_) {
      invocation.out << Dump(report.ToJson()) << "\n";
    } else {
      report.Print(invocation.out, invocation.out_is_terminal);
    }
    return report.ok() ? kSuccess : kFailure;
  }

 private:
  static std::string Dump(const nlohmann::json& document) {
    return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
  }

  void CheckAll(const config::Config& config, CheckReport& report) const {
    std::vector<kafka::TopicInfo> topics = CheckKafka(config, report);
    std::optional<Lakehouse> lakehouse = CheckCatalog(config, report);
    if (!lakehouse.has_value()) return;
    CheckStore(config, *lakehouse, write_probe_, report);
    CheckTables(config, *lakehouse->catalog, topics, report);
  }

  int ReportConfigError(Invocation& invocation, const Error& error, const config::ProblemList& problems) const {
    if (!json_ || problems.empty()) return ReportError(invocation, error, json_, kUsage);
    nlohmann::json list = nlohmann::json::array();
    for (const config::Problem& problem : problems.problems()) {
      list.push_back(
          {{"line", problem.line}, {"column", problem.column}, {"key", problem.key}, {"message", problem.message}});
    }
    nlohmann::json document = {{"ok", false}, {"errors", problems.total()}, {"problems", std::move(list)}};
    invocation.out << Dump(document) << "\n";
    invocation.err << "firn: " << error.message() << "\n";
    return kUsage;
  }

  std::string config_path_ = "firn.yaml";
  bool write_probe_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeCheckCommand() {
  return std::make_unique<CheckCommand>();
}

}  // namespace firn::cli
