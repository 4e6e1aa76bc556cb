// Structured logging: one line an event, a message in words and key=value pairs. Whatever bytes these hold, it stays
// one line without control characters, and the JSON form is JSON.
//
// Thread-safe. The process sets format and level once with ConfigureLogging; before that, text at level info on
// standard error. Never put a secret into a value: configuration values that are secret carry a type that prints "***".
//   LogInfo("committed", {{"table", name}, {"rows", rows}});
#pragma once

#include <fmt/format.h>

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

#include "firn/base/error.h"

namespace firn {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

struct LogField {
  template <typename T>
  LogField(std::string_view name, const T& field_value) : key(name), value(fmt::format("{}", field_value)) {}
  LogField(std::string_view name, const Error& error) : key(name), value(error.ToString()) {}
  std::string_view key;
  std::string value;
};
using LogFields = std::initializer_list<LogField>;

void ConfigureLogging(LogFormat format, LogLevel level);
// Lines go to `sink` instead of standard error, as text without time and level; an empty one ends that. For programs
// that show the log in another place; not to be called while other threads log.
using LogSink = std::function<void(LogLevel level, std::string_view line)>;
void RedirectLog(LogSink sink);
Result<LogLevel> ParseLogLevel(std::string_view text);

void Log(LogLevel level, std::string_view message, LogFields fields);
inline void LogDebug(std::string_view message, LogFields fields = {}) { Log(LogLevel::kDebug, message, fields); }
inline void LogInfo(std::string_view message, LogFields fields = {}) { Log(LogLevel::kInfo, message, fields); }
inline void LogWarning(std::string_view message, LogFields fields = {}) { Log(LogLevel::kWarning, message, fields); }
inline void LogError(std::string_view message, LogFields fields = {}) { Log(LogLevel::kError, message, fields); }

}  // namespace firn
