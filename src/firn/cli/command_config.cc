#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <ostream>

#include "firn/cli/command_factories.h"
#include "firn/config/config.h"
#include "firn/config/effective.h"
#include "firn/config/keys.h"

namespace firn::cli {
namespace {

class ConfigCommand final : public Command {
 public:
  std::string_view name() const override { return "config"; }
  std::string_view summary() const override { return "Show the configuration's keys, or what is in force"; }
  std::string_view details() const override {
    return "Without options: every key with its type, limits, default and meaning. With --effective: the file as it\n"
           "is in force, defaults included, secrets as ***. Reaches nothing; see `firn check` for that.";
  }
  std::string_view examples() const override {
    return "firn config | less\n"
           "firn config --effective -c firn.yaml\n"
           "firn config --json | jq -r '.[].path'";
  }
  std::string_view exit_codes() const override {
    return "0    printed\n"
           "2    the command line or the configuration is wrong; every problem is listed with its line";
  }

  void AddOptions(CLI::App& app) override {
    app.add_option("-c,--config", config_path_, "Configuration file, for --effective")
        ->type_name("FILE")
        ->default_str(config_path_);
    CLI::Option* effective = app.add_flag("--effective", effective_, "What is in force, as YAML");
    CLI::Option* json = app.add_flag("--json", json_, "The reference as JSON");
    app.add_flag("--markdown", markdown_, "The reference as the table of docs/configuration.md")
        ->excludes(effective)
        ->excludes(json);
    effective->excludes(json);
  }

  int Run(Invocation& invocation) override {
    if (effective_) {
      Result<config::Config> config = config::LoadConfig(config_path_);
      if (!config.has_value()) return ReportError(invocation, config.error(), false, kUsage);
      invocation.out << config::EffectiveYaml(*config);
    } else if (json_) {
      invocation.out << ReferenceJson().dump(2) << "\n";
    } else {
      invocation.out << (markdown_ ? config::ReferenceMarkdown() : config::ReferenceText());
    }
    return kSuccess;
  }

 private:
  static nlohmann::json ReferenceJson() {
    nlohmann::json keys = nlohmann::json::array();
    for (const config::Key& key : config::AllKeys()) {
      keys.push_back({{"path", key.path},
                      {"type", config::KeyTypeName(key.type)},
                      {"limits", config::KeyLimits(key)},
                      {"default", key.default_text},
                      {"required", key.required},
                      {"secret", key.secret},
                      {"doc", key.doc}});
    }
    return keys;
  }

  std::string config_path_ = "firn.yaml";
  bool effective_ = false;
  bool json_ = false;
  bool markdown_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeConfigCommand() {
  return std::make_unique<ConfigCommand>();
}

}  // namespace firn::cli
