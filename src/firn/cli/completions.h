// Shell completions and the manual page, made out of the program's own description of itself.
//
// Pure functions of the reference.
#pragma once

#include <string>
#include <vector>

#include "firn/cli/program.h"

namespace firn::cli {

std::string BashCompletion(const std::vector<CommandReference>& commands);
std::string ZshCompletion(const std::vector<CommandReference>& commands);
std::string FishCompletion(const std::vector<CommandReference>& commands);
// A row of an option table in docs/cli.md: "| `-c`, `--config` FILE | Configuration file | `firn.yaml` |".
std::string MarkdownRow(const OptionReference& option);
// firn(1) in man(7) macros.
std::string ManualPage(const std::vector<CommandReference>& commands);

}  // namespace firn::cli
