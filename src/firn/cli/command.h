// Command: one subcommand of `firn`. A command is one file, command_<name>.cc, and one line in commands.cc.
//
// Owned by the program for its run; Run is called once, on the main thread. Commands take everything from outside
// (streams, terminal, stop request) through the Invocation, so tests call them like people do.
#pragma once

#include <iosfwd>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"

namespace CLI {
class App;
}

namespace firn::cli {

// docs/cli.md, "Exit codes": an interface for scripts; add, never renumber.
enum ExitCode : int {
  kSuccess = 0,
  kFailure = 1,        // it did not work: unreachable, refused, failed, or a check found an error
  kUsage = 2,          // the command line or the configuration is wrong; nothing was tried
  kDetached = 3,       // caught up, but tables are detached
  kInterrupted = 130,  // stopped by a signal before it was done
};

struct Invocation {
  std::ostream& out;  // results; with --json exactly one JSON document
  std::ostream& err;  // progress and messages for people
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  std::stop_token stop;  // SIGINT or SIGTERM has come; only for commands with handles_stop()
};

class Command {
 public:
  virtual ~Command() = default;
  virtual std::string_view name() const = 0;
  virtual std::string_view summary() const = 0;     // one line, for the list of commands
  virtual std::string_view details() const = 0;     // what it does and does not, for the manual
  virtual std::string_view examples() const = 0;    // lines "firn ...", each with a comment after it or before it
  virtual std::string_view exit_codes() const = 0;  // lines "0  ..."
  virtual bool hidden() const { return false; }
  // It winds up by itself when `stop` is requested; otherwise a signal ends the process at once.
  virtual bool handles_stop() const { return false; }
  virtual void AddOptions(CLI::App& app) = 0;
  virtual int Run(Invocation& invocation) = 0;
};

// Every command, in the order of the help.
std::vector<std::unique_ptr<Command>> AllCommands();

// Says what went wrong: a line on `err`; with `json` also {"error": {...}} on `out`. Gives the exit code for it.
int ReportError(Invocation& invocation, const Error& error, bool json, int exit_code = kFailure);

}  // namespace firn::cli
