#include "firn/config/problems.h"

#include <fmt/format.h>

#include <algorithm>

namespace firn::config {

void ProblemList::Add(Problem problem) {
  ++total_;
  if (problems_.size() < kProblemsShownMax) problems_.push_back(std::move(problem));
}

Error ProblemList::ToError(const std::string& source_name) const {
  std::vector<Problem> sorted = problems_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Problem& a, const Problem& b) {
    return std::pair(a.line, a.column) < std::pair(b.line, b.column);
  });
  std::string text = fmt::format("{}: {} problem{}", source_name, total_, total_ == 1 ? "" : "s");
  for (const Problem& problem : sorted) {
    text += "\n  ";
    if (problem.line > 0) text += fmt::format("{}:{} ", problem.line, problem.column);
    if (!problem.key.empty()) text += problem.key + ": ";
    text += problem.message;
  }
  if (total_ > sorted.size()) text += fmt::format("\n  and {} more", total_ - sorted.size());
  return Error(ErrorCode::kInvalidInput, std::move(text));
}

}  // namespace firn::config
