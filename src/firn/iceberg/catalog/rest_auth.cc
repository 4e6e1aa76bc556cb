#include "firn/iceberg/catalog/rest_auth.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "firn/base/log.h"
#include "firn/iceberg/catalog/rest_paths.h"
#include "firn/iceberg/spec/json_members.h"

namespace firn::iceberg {
namespace {

using nlohmann::json;

constexpr int64_t kExpiresInMaxSeconds = int64_t{10} * 365 * 24 * 3600;
// A token server that fails is asked again this often while the token lives, with a pause of at least that.
constexpr int64_t kRenewalTriesInMargin = 8;
constexpr int64_t kRenewalRetryMsMin = 5'000;
constexpr size_t kSecretBytesMin = 4;  // shorter ones would blot out ordinary text

std::string TokenRequestBody(const RestAuthOptions& options) {
  std::string body = "grant_type=client_credentials";
  auto add = [&](std::string_view name, std::string_view value) {
    body += "&" + PercentEncode(name) + "=" + PercentEncode(value);
  };
  size_t colon = options.credential.find(':');
  if (colon != std::string::npos) add("client_id", options.credential.substr(0, colon));
  add("client_secret", colon == std::string::npos ? options.credential : options.credential.substr(colon + 1));
  if (!options.scope.empty()) add("scope", options.scope);
  for (const auto& [name, value] : options.oauth2_parameters) add(name, value);
  return body;
}

// RFC 6749, section 5.2: {"error": code, "error_description": text}; catalogs may answer in their own form.
std::string OAuthErrorText(const std::string& body) {
  auto parsed = ParseJson(body, "answer");
  if (!parsed.has_value()) return "no reason given";
  const json* error = FindMember(*parsed, "error");
  if (error != nullptr && error->is_object()) return StringMember(*error, "message").value_or("no reason given");
  std::string code = StringMember(*parsed, "error").value_or("no reason given");
  auto description = StringMember(*parsed, "error_description");
  return description.has_value() ? code + ": " + *description : code;
}

ErrorCode CodeOfTokenStatus(int status) {
  if (status == 408 || status == 429 || status >= 500) return ErrorCode::kUnavailable;
  if (status == 400 || status == 401 || status == 403) return ErrorCode::kUnauthorized;
  return ErrorCode::kInvalidInput;  // no token endpoint there
}

void ReplaceAll(std::string& text, std::string_view what) {
  if (what.size() < kSecretBytesMin) return;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 3)) {
    text.replace(at, what.size(), "***");
  }
}

}  // namespace

RestAuth::RestAuth(RestAuthOptions options, env::HttpClient& http, env::Clock& clock)
    : options_(std::move(options)), http_(http), clock_(clock), token_(options_.token) {}

std::string RestAuth::Redact(std::string text) {
  ReplaceAll(text, options_.credential);
  size_t colon = options_.credential.find(':');
  if (colon != std::string::npos) ReplaceAll(text, std::string_view(options_.credential).substr(colon + 1));
  ReplaceAll(text, options_.token);
  ReplaceAll(text, Current());
  return text;
}

std::string RestAuth::Current() {
  std::lock_guard lock(mutex_);
  return token_;
}

Status RestAuth::Fetch() {
  env::HttpRequest request;
  request.method = "POST";
  request.url = options_.oauth2_server_uri;
  request.headers = {{"Content-Type", "application/x-www-form-urlencoded"}, {"Accept", "application/json"}};
  request.body = TokenRequestBody(options_);
  request.timeout_ms = options_.timeout_ms;
  auto context = fmt::format("token endpoint '{}'", PrintableUri(options_.oauth2_server_uri));
  Result<env::HttpResponse> response = http_.Send(request);
  if (!response.has_value()) {
    // A token that was made and lost harms nobody, so "may have been applied" is plain unavailability here.
    ErrorCode code = response.error().code();
    if (code == ErrorCode::kCommitStateUnknown || code == ErrorCode::kTimeout) code = ErrorCode::kUnavailable;
    return Fail(code, fmt::format("{}: {}", context, Redact(response.error().message())));
  }
  if (response->status < 200 || response->status > 299) {
    return Fail(CodeOfTokenStatus(response->status),
                fmt::format("{}: HTTP {}: {}; check credential, scope and oauth2-server-uri", context, response->status,
                            Redact(OAuthErrorText(response->body))));
  }
  // The body holds the token: what the parser says about it stays out of the message.
  auto parsed = ParseJson(response->body, "answer");
  auto token = parsed.has_value() ? StringMember(*parsed, "access_token") : Result<std::string>(std::string());
  if (!token.has_value() || token->empty()) {
    return Fail(ErrorCode::kUnauthorized, fmt::format("{}: the answer has no access_token", context));
  }
  int64_t now_ms = clock_.BootMs();
  std::lock_guard lock(mutex_);
  token_ = std::move(*token);
  renew_at_boot_ms_ = expires_at_boot_ms_ = INT64_MAX;
  auto expires_in = OptionalInt64Member(*parsed, "expires_in");
  if (expires_in.has_value() && expires_in->has_value() && **expires_in > 0) {
    int64_t lifetime_ms = std::min(**expires_in, kExpiresInMaxSeconds) * 1000;
    // Early enough for a request that takes its whole time-out, but never sooner than half way.
    int64_t margin_ms = std::min(std::max(lifetime_ms / 10, options_.timeout_ms), lifetime_ms / 2);
    expires_at_boot_ms_ = now_ms + lifetime_ms;
    renew_at_boot_ms_ = expires_at_boot_ms_ - margin_ms;
    retry_after_ms_ = std::max(margin_ms / kRenewalTriesInMargin, kRenewalRetryMsMin);
  }
  return {};
}

Status RestAuth::Acquire() {
  if (options_.token_source) {
    FIRN_ASSIGN(std::string token, WithContext(options_.token_source(), "reading the catalog's token"));
    std::lock_guard lock(mutex_);
    token_ = std::move(token);
    return {};
  }
  if (!options_.credential.empty()) return Fetch();
  return {};
}

// With nothing to send, everybody waits for the one who asks.
Status RestAuth::FetchFirst() {
  std::lock_guard renewal(renewal_mutex_);
  {
    std::lock_guard lock(mutex_);
    if (!token_.empty() && clock_.BootMs() < renew_at_boot_ms_) return {};  // another thread has asked meanwhile
  }
  return Acquire();
}

// The token lives on whatever comes of this.
void RestAuth::Renew() {
  std::lock_guard renewal(renewal_mutex_);
  Status renewed = Acquire();
  if (renewed.has_value()) return;
  int64_t retry_after_ms = 0;
  {
    std::lock_guard lock(mutex_);
    retry_after_ms = retry_after_ms_;
    renew_at_boot_ms_ = std::min(expires_at_boot_ms_, clock_.BootMs() + retry_after_ms);
  }
  LogWarning("the catalog's token could not be renewed yet",
             {{"error", renewed.error()}, {"next_try_ms", retry_after_ms}});
}

Result<std::string> RestAuth::Token() {
  bool alive = false;
  {
    std::lock_guard lock(mutex_);
    int64_t now_ms = clock_.BootMs();
    if (!token_.empty() && now_ms < renew_at_boot_ms_) return token_;
    alive = !token_.empty() && now_ms < expires_at_boot_ms_;
    if (alive) renew_at_boot_ms_ = expires_at_boot_ms_;  // this thread renews, the others go on with what they have
  }
  if (alive) {
    Renew();
  } else {
    FIRN_TRY(FetchFirst());
  }
  return Current();
}

Result<std::string> RestAuth::TokenInsteadOf(const std::string& refused) {
  std::lock_guard renewal(renewal_mutex_);
  if (std::string token = Current(); token != refused) return token;  // another thread has renewed it meanwhile
  FIRN_TRY(Acquire());
  std::string token = Current();
  return token == refused ? std::string() : token;
}

}  // namespace firn::iceberg
