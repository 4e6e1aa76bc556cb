#include "firn/config/secret.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace firn::config {

bool IsSecretName(std::string_view name) {
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  // librdkafka: sasl.password, ssl.key.pem, ssl.key.password, ssl.keystore.password, sasl.oauthbearer.client.secret,
  // sasl.oauthbearer.config (may hold a secret), sasl.jaas-like settings; HTTP: authorization, x-api-key, cookie.
  static constexpr std::array<std::string_view, 11> kMarks = {"password",   "secret",        "token",
                                                              "credential", "authorization", "cookie",
                                                              "api-key",    "ssl.key.pem",   "sasl.oauthbearer.config",
                                                              "private",    "passphrase"};
  // Where to fetch a token, and with which algorithm, is no secret.
  static constexpr std::array<std::string_view, 3> kHarmless = {"endpoint.url", "location", "algorithm"};
  auto holds = [&](std::string_view mark) { return lower.find(mark) != std::string::npos; };
  if (std::any_of(kHarmless.begin(), kHarmless.end(), holds)) return false;
  return std::any_of(kMarks.begin(), kMarks.end(), holds);
}

std::string MaskUserInfo(std::string_view uri) {
  size_t scheme_end = uri.find("://");
  if (scheme_end == std::string_view::npos) return std::string(uri);
  size_t authority = scheme_end + 3;
  size_t authority_end = std::min(uri.find_first_of("/?#", authority), uri.size());
  size_t at = uri.substr(0, authority_end).rfind('@');
  if (at == std::string_view::npos || at < authority) return std::string(uri);
  return fmt::format("{}{}{}", uri.substr(0, authority), kMasked, uri.substr(at));
}

}  // namespace firn::config
