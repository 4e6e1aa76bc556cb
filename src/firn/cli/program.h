// The program `firn`: from the words of a command line to an exit code.
//
// Called once, on the main thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "firn/cli/command.h"

namespace firn::cli {

std::string_view FirnVersion();  // "0.1.0"

// `arguments` without the program's name. With `catch_signals`, a command that handles stop requests gets SIGINT and
// SIGTERM as one; a second signal ends the process at once with kInterrupted.
int RunProgram(const std::vector<std::string>& arguments, Invocation& invocation, bool catch_signals);

// What the command line offers, as data: for completions, the manual page, and the test that holds docs/cli.md.
struct OptionReference {
  std::vector<std::string> names;  // "-c", "--config"; a positional: "SHELL"
  std::string value_name;          // "FILE"; empty for a flag
  std::string description;
  std::string default_text;
  bool positional = false;
  bool required = false;
  std::vector<std::string> choices;
};
struct CommandReference {
  std::string name;
  std::string summary;
  std::string details;
  std::string examples;
  std::string exit_codes;
  std::vector<OptionReference> options;
};
std::vector<CommandReference> ProgramReference();

}  // namespace firn::cli
