// The program `firn`. Everything it does is in firn/cli.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>

#include "firn/cli/program.h"

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  // Columns grow by reallocation, which the system's allocator does by moving pages; Arrow's own pools copy, and give
  // back and fault in again what the next batch needs. Measured in docs/benchmarks.md. Before any thread is started.
  setenv("ARROW_DEFAULT_MEMORY_POOL", "system", 0);
  firn::cli::Invocation invocation{.out = std::cout,
                                   .err = std::cerr,
                                   .out_is_terminal = isatty(STDOUT_FILENO) == 1,
                                   .err_is_terminal = isatty(STDERR_FILENO) == 1,
                                   .stop = {}};
  try {
    int code = firn::cli::RunProgram(std::vector<std::string>(argv + 1, argv + argc), invocation, true);
    std::cout.flush();
    // A full disk or a closed pipe must not look like success to a script.
    if (!std::cout && code == firn::cli::kSuccess) {
      std::fprintf(stderr, "firn: standard output cannot be written\n");
      return firn::cli::kFailure;
    }
    return code;
  } catch (const std::exception& exception) {
    // Only a bug or a lack of memory gets here: modules do not throw.
    std::fprintf(stderr, "firn: internal error: %s\n", exception.what());
    return firn::cli::kFailure;
  }
}
