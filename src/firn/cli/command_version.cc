#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <ostream>

#include "firn/cli/command_factories.h"
#include "firn/cli/kafka_probe.h"
#include "firn/cli/program.h"

#ifndef FIRN_VERSION
#error "FIRN_VERSION comes from CMake's project()"
#endif

namespace firn::cli {
namespace {

class VersionCommand final : public Command {
 public:
  std::string_view name() const override { return "version"; }
  std::string_view summary() const override { return "Show the version of Firn and of what it is built with"; }
  std::string_view details() const override { return "Reaches nothing and needs no configuration."; }
  std::string_view examples() const override {
    return "firn version\n"
           "firn version --json";
  }
  std::string_view exit_codes() const override { return "0    printed"; }

  void AddOptions(CLI::App& app) override { app.add_flag("--json", json_, "Print one JSON document"); }

  int Run(Invocation& invocation) override {
    nlohmann::ordered_json versions = {
        {"firn", FirnVersion()}, {"librdkafka", KafkaLibraryVersion()}, {"compiler", __VERSION__}};
    if (json_) {
      invocation.out << versions.dump(2) << "\n";
      return kSuccess;
    }
    for (const auto& [library, version] : versions.items()) {
      invocation.out << library << " " << version.get<std::string>() << "\n";
    }
    return kSuccess;
  }

 private:
  bool json_ = false;
};

}  // namespace

std::string_view FirnVersion() {
  return FIRN_VERSION;
}

std::unique_ptr<Command> MakeVersionCommand() {
  return std::make_unique<VersionCommand>();
}

}  // namespace firn::cli
