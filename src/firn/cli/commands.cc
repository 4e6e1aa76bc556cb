#include "firn/cli/command.h"
#include "firn/cli/command_factories.h"

namespace firn::cli {

std::vector<std::unique_ptr<Command>> AllCommands() {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(MakeRunCommand());
  commands.push_back(MakeCheckCommand());
  commands.push_back(MakeStatusCommand());
  commands.push_back(MakeInferCommand());
  commands.push_back(MakePositionsCommand());
  commands.push_back(MakeCompactCommand());
  commands.push_back(MakeMaintainCommand());
  commands.push_back(MakeConfigCommand());
  commands.push_back(MakeDemoCommand());
  commands.push_back(MakeGenerateCommand());
  commands.push_back(MakeCompletionCommand());
  commands.push_back(MakeManualCommand());
  commands.push_back(MakeVersionCommand());
  return commands;
}

}  // namespace firn::cli
