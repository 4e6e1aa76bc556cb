#include "firn/kafka/topic_pattern.h"

#include <fmt/format.h>
#include <regex.h>

#include <string_view>

#include "firn/kafka/kafka_config.h"
#include "firn/kafka/rdkafka_handles.h"

namespace firn::kafka {
namespace {

// What a backslash makes literal in both engines. Before letters and digits librdkafka has classes of its own (\d), and
// glibc has other ones (\<).
constexpr std::string_view kEscapable = "^$\\.*+?()[]{}|-";

constexpr std::string_view kNoComma = "no comma outside {}; no topic's name has one";

// What is wrong with the bracket expression after a '['; `at` is moved to its ']'. Empty: nothing.
std::string_view ProblemInBrackets(std::string_view regex, size_t& at) {
  if (at < regex.size() && regex[at] == '^') ++at;
  if (at < regex.size() && regex[at] == ']') return "leave ']' out of brackets; no topic's name has one";
  for (; at < regex.size() && regex[at] != ']'; ++at) {
    if (regex[at] == ',') return kNoComma;
    if (regex[at] == '\\') return "no backslash inside brackets";
    if (regex[at] == '[' && at + 1 < regex.size() && std::string_view(":.=").contains(regex[at + 1])) {
      return "no classes like [:digit:], write [0-9]";
    }
  }
  return {};
}

// What the two engines read differently, or only one of them reads. Empty: nothing.
std::string_view ProblemOf(std::string_view regex) {
  bool after_quantifier = false;
  bool in_braces = false;
  for (size_t at = 0; at < regex.size(); ++at) {
    const char c = regex[at];
    if (after_quantifier && c == '?') return "a quantifier cannot follow another one";
    if (c == '\\') {
      if (++at < regex.size() && !kEscapable.contains(regex[at])) {
        return "a backslash may only stand before one of ^$\\.*+?()[]{}|-; write [0-9] for \\d";
      }
    } else if (c == '[') {
      ++at;
      if (std::string_view problem = ProblemInBrackets(regex, at); !problem.empty()) return problem;
    } else if (c == '(' && at + 1 < regex.size() && regex[at + 1] == '?') {
      return "no groups that begin with (?";
    }
    if (c == '{' && at + 1 < regex.size() && regex[at + 1] == ',') return "write {0,n} for {,n}";
    if (c == '{' || c == '}') in_braces = c == '{';
    if (c == ',' && !in_braces) return kNoComma;
    after_quantifier = c == '*' || c == '+' || c == '?' || c == '}';
  }
  return {};
}

// What librdkafka's own engine says against it, asked by way of a property that holds patterns. Empty: nothing.
std::string RefusedByLibrdkafka(std::string_view subscription) {
  // A comma would begin another pattern there, so {2,5} is asked for as {5}, and {2,} as {2}: the same limits hold.
  std::string pattern;
  for (size_t at = 0; at < subscription.size(); ++at) {
    if (subscription[at] == ',') {
      if (at + 1 < subscription.size() && subscription[at + 1] == '}') continue;
      pattern.resize(pattern.rfind('{') + 1);
    } else {
      pattern += subscription[at];
    }
  }
  Conf conf(rd_kafka_conf_new());
  char text[512] = "";
  if (rd_kafka_conf_set(conf.get(), "topic.blacklist", pattern.c_str(), text, sizeof(text)) == RD_KAFKA_CONF_OK) {
    return {};
  }
  return text;
}

}  // namespace

struct TopicPattern::Compiled {
  regex_t regex{};
  bool valid = false;
  ~Compiled() {
    if (valid) regfree(&regex);
  }
};

TopicPattern::TopicPattern(std::string subscription, std::unique_ptr<Compiled> compiled)
    : subscription_(std::move(subscription)), compiled_(std::move(compiled)) {}
TopicPattern::TopicPattern(TopicPattern&&) noexcept = default;
TopicPattern& TopicPattern::operator=(TopicPattern&&) noexcept = default;
TopicPattern::~TopicPattern() = default;

Result<TopicPattern> TopicPattern::Create(const std::string& regex) {
  if (regex.empty() || regex.find('\0') != std::string::npos) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("the regular expression for topics is empty or holds a zero "
                                                      "byte: '{}'", regex));
  }
  std::string subscription = fmt::format("^({})$", regex);
  auto compiled = std::make_unique<Compiled>();
  if (int failed = regcomp(&compiled->regex, subscription.c_str(), REG_EXTENDED | REG_NOSUB); failed != 0) {
    char text[256];
    regerror(failed, &compiled->regex, text, sizeof(text));
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("not a POSIX extended regular expression ({}): '{}'", text, regex));
  }
  compiled->valid = true;
  if (std::string_view problem = ProblemOf(regex); !problem.empty()) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("the regular expression for topics has what librdkafka does not read that way; {}: '{}'",
                            problem, regex));
  }
  if (std::string refused = RefusedByLibrdkafka(subscription); !refused.empty()) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("librdkafka cannot use the regular expression for topics ({}): '{}'", refused, regex));
  }
  return TopicPattern(std::move(subscription), std::move(compiled));
}

bool TopicPattern::Matches(const std::string& topic) const {
  return regexec(&compiled_->regex, topic.c_str(), 0, nullptr, 0) == 0;
}

}  // namespace firn::kafka
