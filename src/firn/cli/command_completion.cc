#include <CLI/CLI.hpp>
#include <ostream>

#include "firn/cli/command_factories.h"
#include "firn/cli/completions.h"

namespace firn::cli {
namespace {

class CompletionCommand final : public Command {
 public:
  std::string_view name() const override { return "completion"; }
  std::string_view summary() const override { return "Print the completion script of a shell"; }
  std::string_view details() const override { return "An installation puts the scripts where shells look for them."; }
  std::string_view examples() const override {
    return "source <(firn completion bash)\n"
           "firn completion zsh > ~/.zfunc/_firn\n"
           "firn completion fish > ~/.config/fish/completions/firn.fish";
  }
  std::string_view exit_codes() const override {
    return "0  printed\n"
           "2  no such shell";
  }

  void AddOptions(CLI::App& app) override {
    app.add_option("SHELL", shell_, "Shell")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  }

  int Run(Invocation& invocation) override {
    std::vector<CommandReference> commands = ProgramReference();
    if (shell_ == "bash") {
      invocation.out << BashCompletion(commands);
    } else if (shell_ == "zsh") {
      invocation.out << ZshCompletion(commands);
    } else {
      invocation.out << FishCompletion(commands);
    }
    return kSuccess;
  }

 private:
  std::string shell_;
};

// For the build, which installs what it prints; people have `man firn`.
class ManualCommand final : public Command {
 public:
  std::string_view name() const override { return "manual"; }
  std::string_view summary() const override { return "Print the manual page"; }
  std::string_view details() const override { return "In man(7) macros."; }
  std::string_view examples() const override { return "firn manual | man -l -"; }
  std::string_view exit_codes() const override { return "0  printed"; }
  bool hidden() const override { return true; }
  void AddOptions(CLI::App&) override {}
  int Run(Invocation& invocation) override {
    invocation.out << ManualPage(ProgramReference());
    return kSuccess;
  }
};

}  // namespace

std::unique_ptr<Command> MakeCompletionCommand() {
  return std::make_unique<CompletionCommand>();
}
std::unique_ptr<Command> MakeManualCommand() {
  return std::make_unique<ManualCommand>();
}

}  // namespace firn::cli
