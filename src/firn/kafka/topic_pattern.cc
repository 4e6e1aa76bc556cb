#include "firn/kafka/topic_pattern.h"

#include <fmt/format.h>
#include <regex.h>

namespace firn::kafka {

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
  return TopicPattern(std::move(subscription), std::move(compiled));
}

bool TopicPattern::Matches(const std::string& topic) const {
  return regexec(&compiled_->regex, topic.c_str(), 0, nullptr, 0) == 0;
}

}  // namespace firn::kafka
