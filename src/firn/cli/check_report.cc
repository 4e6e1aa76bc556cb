#include "firn/cli/check_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <ostream>

namespace firn::cli {
namespace {

struct Style {
  std::string_view word;
  std::string_view color;
};
constexpr std::array kStyles = {Style{"ok", "\x1b[32m"}, Style{"note", ""}, Style{"warning", "\x1b[33m"},
                                Style{"error", "\x1b[31m"}};

// Further lines of a message stand under the first.
std::string Indent(const std::string& message, size_t columns) {
  std::string out;
  for (char c : message) {
    out += c;
    if (c == '\n') out.append(columns, ' ');
  }
  return out;
}

}  // namespace

void CheckReport::Add(Verdict verdict, std::string area, std::string code, std::string message) {
  findings_.push_back({verdict, std::move(area), std::move(code), std::move(message)});
}

void CheckReport::AddError(std::string area, const Error& error) {
  Add(Verdict::kError, std::move(area), std::string(ErrorCodeName(error.code())), error.message());
}

size_t CheckReport::Count(Verdict verdict) const {
  return static_cast<size_t>(std::count_if(findings_.begin(), findings_.end(),
                                           [&](const Finding& finding) { return finding.verdict == verdict; }));
}

void CheckReport::Print(std::ostream& out, bool color) const {
  std::string area;
  for (const Finding& finding : findings_) {
    if (finding.area != area) out << finding.area << "\n";
    area = finding.area;
    const Style& style = kStyles[static_cast<size_t>(finding.verdict)];
    bool colored = color && !style.color.empty();
    out << fmt::format("  {}{:<8}{}{}\n", colored ? style.color : "", style.word, colored ? "\x1b[0m" : "",
                       Indent(finding.message, 10));
  }
  auto counted = [](size_t count, std::string_view noun) {
    return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
  };
  out << fmt::format("\n{}, {}\n", counted(Count(Verdict::kError), "error"),
                     counted(Count(Verdict::kWarning), "warning"));
}

nlohmann::json CheckReport::ToJson() const {
  nlohmann::json checks = nlohmann::json::array();
  for (const Finding& finding : findings_) {
    checks.push_back({{"verdict", kStyles[static_cast<size_t>(finding.verdict)].word},
                      {"area", finding.area},
                      {"code", finding.code},
                      {"message", finding.message}});
  }
  return {{"ok", ok()},
          {"errors", Count(Verdict::kError)},
          {"warnings", Count(Verdict::kWarning)},
          {"checks", std::move(checks)}};
}

}  // namespace firn::cli
