// Secret: a text that never prints. Formatting, logging and the effective configuration show "***".
//
// A value; Reveal() is the one way to the text and stands only where a client library takes it.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

namespace firn::config {

inline constexpr std::string_view kMasked = "***";

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}

  const std::string& Reveal() const { return text_; }
  bool empty() const { return text_.empty(); }

 private:
  std::string text_;
};

// Does the name of a Kafka client property or of an HTTP header say that its value is secret?
bool IsSecretName(std::string_view name);
// "https://user:word@host/x" → "https://***@host/x".
std::string MaskUserInfo(std::string_view uri);

}  // namespace firn::config

template <>
struct fmt::formatter<firn::config::Secret> : fmt::formatter<std::string_view> {
  template <typename Context>
  auto format(const firn::config::Secret& secret, Context& context) const {
    return fmt::formatter<std::string_view>::format(secret.empty() ? "" : firn::config::kMasked, context);
  }
};
