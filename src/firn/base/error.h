// Error and Result: how every fallible function of Firn reports.
//
// A function that can fail returns Result<T> (std::expected<T, Error>) or Status (Result<void>). Codes are few and
// canonical: callers decide by code, people read the message. Each layer adds context once (`WithContext`), and the
// offending value stands last: "partition spec of table 'a.b': unknown transform: 'buckets[4]'".
// A bad *record* is not an Error: it is a reject (see decode/reject.h). No exception crosses a module.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace firn {

enum class ErrorCode {
  kInvalidInput,        // what the caller, the configuration or a file says is wrong; trying again will not help
  kNotFound,            // the named thing does not exist
  kAlreadyExists,       // create-if-absent found it there
  kConflict,            // a compare-and-swap lost; certainly not applied; refresh and try again
  kCommitStateUnknown,  // the request may or may not have been applied; look before you try again
  kUnavailable,         // not reached or 5xx before any effect; try again later
  kTimeout,             // no answer in time, and no effect possible or the effect is harmless
  kCorruption,          // bytes from outside contradict their format or themselves
  kUnsupported,         // valid, but Firn does not do it (format v3 writing, ORC, ...)
  kUnauthorized,        // credentials missing, expired or without the permission
  kResourceExhausted,   // disk full, memory limit, a named limit reached
  kCancelled,           // we were asked to stop
  kIoError,             // the operating system or a store failed in another way
  kInternal,            // a bug in Firn
};

// The name used in logs, metrics and JSON output: "invalid_input", "commit_state_unknown", ...
std::string_view ErrorCodeName(ErrorCode code);

class [[nodiscard]] Error {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // Puts "context: " before the message; each layer calls it at most once.
  Error WithContext(std::string_view context) &&;

  // "not_found: table 'a.b': ..."
  std::string ToString() const;

 private:
  ErrorCode code_;
  std::string message_;
};

template <typename T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

inline std::unexpected<Error> Fail(ErrorCode code, std::string message) {
  return std::unexpected<Error>(Error(code, std::move(message)));
}

template <typename T>
Result<T> WithContext(Result<T> result, std::string_view context) {
  if (result.has_value()) return result;
  return std::unexpected<Error>(std::move(result.error()).WithContext(context));
}

}  // namespace firn

#define FIRN_CONCAT_INNER(a, b) a##b
#define FIRN_CONCAT(a, b) FIRN_CONCAT_INNER(a, b)

// Returns the error of `expression` (a Status or Result) from the enclosing function.
#define FIRN_TRY(expression)                                                              \
  do {                                                                                    \
    if (auto firn_status = (expression); !firn_status.has_value()) [[unlikely]] {         \
      return std::unexpected<::firn::Error>(std::move(firn_status.error()));              \
    }                                                                                     \
  } while (false)

// FIRN_ASSIGN(auto table, LoadTable(name)): declares or assigns the value, or returns the error.
#define FIRN_ASSIGN(target, expression) FIRN_ASSIGN_INNER(FIRN_CONCAT(firn_result_, __LINE__), target, expression)
#define FIRN_ASSIGN_INNER(result, target, expression)                                     \
  auto result = (expression);                                                             \
  if (!result.has_value()) [[unlikely]] {                                                 \
    return std::unexpected<::firn::Error>(std::move(result.error()));                     \
  }                                                                                       \
  target = std::move(result).value()
