// One function a command, defined in its command_<name>.cc; commands.cc puts them in order.
//
// No static registration: the list is there to be read, and a linker cannot drop what is called.
#pragma once

#include <memory>

#include "firn/cli/command.h"

namespace firn::cli {

std::unique_ptr<Command> MakeRunCommand();
std::unique_ptr<Command> MakeCheckCommand();
std::unique_ptr<Command> MakeStatusCommand();
std::unique_ptr<Command> MakeInferCommand();
std::unique_ptr<Command> MakePositionsCommand();
std::unique_ptr<Command> MakeCompactCommand();
std::unique_ptr<Command> MakeMaintainCommand();
std::unique_ptr<Command> MakeConfigCommand();
std::unique_ptr<Command> MakeDemoCommand();
std::unique_ptr<Command> MakeGenerateCommand();
std::unique_ptr<Command> MakeCompletionCommand();
std::unique_ptr<Command> MakeManualCommand();
std::unique_ptr<Command> MakeVersionCommand();

}  // namespace firn::cli
