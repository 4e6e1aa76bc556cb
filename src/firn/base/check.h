// FIRN_CHECK: our own invariants, on in release builds too. It prints the condition and a message and aborts.
//
// Only for what can be false through a bug in Firn alone (positions go forward, row counts agree); never for input
// from outside, which gets an Error or a reject.
#pragma once

#include <string_view>

namespace firn {

[[noreturn]] void CheckFailed(std::string_view condition, std::string_view file, int line, std::string_view message);

}  // namespace firn

#define FIRN_CHECK(condition, message)                                      \
  do {                                                                      \
    if (!(condition)) [[unlikely]] {                                        \
      ::firn::CheckFailed(#condition, __FILE__, __LINE__, message);         \
    }                                                                       \
  } while (false)
