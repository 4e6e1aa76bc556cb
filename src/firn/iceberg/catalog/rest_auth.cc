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

std::string RestAuth::RedactLocked(std::string text) const {
  ReplaceAll(text, options_.credential);
  size_t colon = options_.credential.find(':');
  if (colon != std::string::npos) ReplaceAll(text, std::string_view(options_.credential).substr(colon + 1));
  ReplaceAll(text, options_.token);
  ReplaceAll(text, token_);
  return text;
}

std::string RestAuth::Redact(std::string text) {
  std::lock_guard lock(mutex_);
  return RedactLocked(std::move(text));
}

Status RestAuth::FetchLocked() {
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
    return Fail(code, fmt::format("{}: {}", context, RedactLocked(response.error().message())));
  }
  if (response->status < 200 || response->status > 299) {
    return Fail(CodeOfTokenStatus(response->status),
                fmt::format("{}: HTTP {}: {}; check credential, scope and oauth2-server-uri", context, response->status,
                            RedactLocked(OAuthErrorText(response->body))));
  }
  // The body holds the token: what the parser says about it stays out of the message.
  auto parsed = ParseJson(response->body, "answer");
  auto token = parsed.has_value() ? StringMember(*parsed, "access_token") : Result<std::string>(std::string());
  if (!token.has_value() || token->empty()) {
    return Fail(ErrorCode::kUnauthorized, fmt::format("{}: the answer has no access_token", context));
  }
  int64_t now_ms = clock_.BootMs();
  token_ = std::move(*token);
  renew_at_boot_ms_ = expires_at_boot_ms_ = INT64_MAX;
  auto expires_in = OptionalInt64Member(*parsed, "expires_in");
  if (expires_in.has_value() && expires_in->has_value() && **expires_in > 0) {
    int64_t lifetime_ms = std::min(**expires_in, kExpiresInMaxSeconds) * 1000;
    // Early enough for a request that takes its whole time-out, but never sooner than half way.
    int64_t margin_ms = std::min(std::max(lifetime_ms / 10, options_.timeout_ms), lifetime_ms / 2);
    expires_at_boot_ms_ = now_ms + lifetime_ms;
    renew_at_boot_ms_ = expires_at_boot_ms_ - margin_ms;
  }
  return {};
}

Status RestAuth::AcquireLocked() {
  if (options_.token_source) {
    FIRN_ASSIGN(token_, WithContext(options_.token_source(), "reading the catalog's token"));
    return {};
  }
  if (!options_.credential.empty()) return FetchLocked();
  return {};
}

Result<std::string> RestAuth::Token() {
  std::lock_guard lock(mutex_);
  if (token_.empty()) {
    FIRN_TRY(AcquireLocked());
    return token_;
  }
  int64_t now_ms = clock_.BootMs();
  if (now_ms < renew_at_boot_ms_) return token_;
  Status renewed = AcquireLocked();
  if (renewed.has_value()) return token_;
  if (now_ms >= expires_at_boot_ms_) return std::unexpected<Error>(std::move(renewed.error()));
  LogWarning("the catalog's token could not be renewed yet", {{"error", renewed.error()}});
  return token_;
}

Result<std::string> RestAuth::TokenInsteadOf(const std::string& refused) {
  std::lock_guard lock(mutex_);
  if (token_ != refused) return token_;  // another thread has renewed it meanwhile
  FIRN_TRY(AcquireLocked());
  return token_ == refused ? std::string() : token_;
}

}  // namespace firn::iceberg
