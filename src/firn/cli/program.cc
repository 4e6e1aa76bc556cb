#include "firn/cli/program.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "firn/base/log.h"
#include "firn/cli/stop_signals.h"

namespace firn::cli {
namespace {

constexpr std::string_view kSummary = "Firn: Kafka into Iceberg tables, exactly once";
constexpr std::string_view kFooter =
    "Start with:  firn demo                  see it work, no server needed\n"
    "             firn check -c firn.yaml    what would happen, and what is wrong\n"
    "             firn run -c firn.yaml\n"
    "Manual: docs/cli.md, docs/configuration.md, or man firn.";

std::string Footer(const Command& command) {
  std::string text = fmt::format("\n{}\n\nExamples:\n", command.details());
  auto indent = [&](std::string_view lines) {
    for (size_t start = 0; start < lines.size();) {
      size_t end = std::min(lines.find('\n', start), lines.size());
      text += fmt::format("  {}\n", lines.substr(start, end - start));
      start = end + 1;
    }
  };
  indent(command.examples());
  text += "\nExit codes:\n";
  indent(command.exit_codes());
  return text;
}

struct Program {
  CLI::App app{std::string(kSummary), "firn"};
  std::vector<std::unique_ptr<Command>> commands = AllCommands();
  std::vector<CLI::App*> subcommands;
  bool version = false;

  Program() {
    app.footer(std::string(kFooter));
    app.require_subcommand(0, 1);
    app.set_help_flag("-h,--help", "Show this help");
    app.add_flag("--version", version, "Show the version");
    app.get_formatter()->column_width(34);
    for (const std::unique_ptr<Command>& command : commands) {
      CLI::App* subcommand = app.add_subcommand(std::string(command->name()), std::string(command->summary()));
      if (command->hidden()) subcommand->group("");
      command->AddOptions(*subcommand);
      subcommand->footer(Footer(*command));
      subcommands.push_back(subcommand);
    }
  }
};

OptionReference Reference(const CLI::Option& option) {
  OptionReference reference;
  reference.positional = option.get_positional() && option.get_snames().empty() && option.get_lnames().empty();
  if (reference.positional) {
    reference.names.push_back(option.get_name(true));
  }
  for (const std::string& name : option.get_snames()) reference.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) reference.names.push_back("--" + name);
  if (option.get_type_size() != 0) reference.value_name = option.get_type_name();
  reference.description = option.get_description();
  // A list of choices stands in the type's name as "SHELL:{bash,zsh,fish}".
  if (size_t brace = reference.value_name.find(":{"); brace != std::string::npos) {
    std::string list = reference.value_name.substr(brace + 2);
    list.resize(std::min(list.find('}'), list.size()));
    for (size_t start = 0; start <= list.size();) {
      size_t end = std::min(list.find(',', start), list.size());
      reference.choices.push_back(list.substr(start, end - start));
      start = end + 1;
    }
    reference.value_name.resize(brace);
  }
  // What a check calls itself stands behind the value's name: "N:POSITIVE", "N:INT in [1 - 10]".
  for (std::string_view mark : {":POSITIVE", ":NONNEGATIVE", ":INT in ", ":UINT in "}) {
    reference.value_name.resize(std::min(reference.value_name.find(mark), reference.value_name.size()));
  }
  reference.default_text = option.get_default_str();
  reference.required = option.get_required();
  return reference;
}

int RunCommand(Command& command, Invocation& invocation, bool catch_signals) {
  if (!catch_signals || !command.handles_stop()) return command.Run(invocation);
  StopSignals signals;
  invocation.stop = signals.token();
  return command.Run(invocation);
}

}  // namespace

int ReportError(Invocation& invocation, const Error& error, bool json, int exit_code) {
  invocation.err << "firn: " << error.message() << "\n";
  if (json) {
    nlohmann::json document = {{"error", {{"code", ErrorCodeName(error.code())}, {"message", error.message()}}}};
    invocation.out << document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  }
  return exit_code;
}

int RunProgram(const std::vector<std::string>& arguments, Invocation& invocation, bool catch_signals) {
  Program program;
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    program.app.parse(std::move(reversed));
  } catch (const CLI::ParseError& error) {
    int code = program.app.exit(error, invocation.out, invocation.err);
    return code == 0 ? kSuccess : kUsage;
  }
  for (size_t i = 0; i < program.commands.size(); ++i) {
    if (program.subcommands[i]->parsed()) return RunCommand(*program.commands[i], invocation, catch_signals);
  }
  if (program.version) {
    invocation.out << "firn " << FirnVersion() << "\n";
    return kSuccess;
  }
  invocation.err << program.app.help();
  return kUsage;
}

std::vector<CommandReference> ProgramReference() {
  Program program;
  std::vector<CommandReference> references;
  for (size_t i = 0; i < program.commands.size(); ++i) {
    const Command& command = *program.commands[i];
    if (command.hidden()) continue;
    CommandReference reference{std::string(command.name()),       std::string(command.summary()),
                               std::string(command.details()),    std::string(command.examples()),
                               std::string(command.exit_codes()), {}};
    for (const CLI::Option* option : std::as_const(*program.subcommands[i]).get_options()) {
      if (!option->get_group().empty()) reference.options.push_back(Reference(*option));
    }
    references.push_back(std::move(reference));
  }
  return references;
}

}  // namespace firn::cli
