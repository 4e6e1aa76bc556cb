#include "firn/base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <memory>

namespace firn {
namespace {

std::atomic<LogFormat> g_format{LogFormat::kText};

spdlog::logger& Logger() {
  static std::shared_ptr<spdlog::logger> logger = [] {
    auto made = std::make_shared<spdlog::logger>("firn", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %-7l %v", spdlog::pattern_time_type::utc);
    made->flush_on(spdlog::level::info);
    return made;
  }();
  return *logger;
}

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarning: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
  }
  return spdlog::level::info;
}

void AppendQuoted(std::string& out, std::string_view text) {
  out += '"';
  for (char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += fmt::format("\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

bool NeedsQuotes(std::string_view text) {
  return text.empty() || text.find_first_of(" \"=\n\r\t\\") != std::string_view::npos;
}

}  // namespace

void ConfigureLogging(LogFormat format, LogLevel level) {
  g_format = format;
  Logger().set_level(ToSpdlog(level));
  if (format == LogFormat::kJson) {
    Logger().set_pattern(R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})", spdlog::pattern_time_type::utc);
  }
}

Result<LogLevel> ParseLogLevel(std::string_view text) {
  if (text == "debug") return LogLevel::kDebug;
  if (text == "info") return LogLevel::kInfo;
  if (text == "warning") return LogLevel::kWarning;
  if (text == "error") return LogLevel::kError;
  return Fail(ErrorCode::kInvalidInput,
              fmt::format("unknown log level, use debug, info, warning or error: '{}'", text));
}

void Log(LogLevel level, std::string_view message, LogFields fields) {
  if (!Logger().should_log(ToSpdlog(level))) return;
  std::string line;
  if (g_format == LogFormat::kJson) {
    line += "\"message\":";
    AppendQuoted(line, message);
    for (const LogField& field : fields) {
      line += ',';
      AppendQuoted(line, field.key);
      line += ':';
      AppendQuoted(line, field.value);
    }
  } else {
    line += message;
    for (const LogField& field : fields) {
      line += ' ';
      line += field.key;
      line += '=';
      if (NeedsQuotes(field.value)) {
        AppendQuoted(line, field.value);
      } else {
        line += field.value;
      }
    }
  }
  Logger().log(ToSpdlog(level), "{}", line);
}

}  // namespace firn
