#include "firn/iceberg/catalog/rest_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "firn/iceberg/catalog/rest_paths.h"
#include "firn/iceberg/spec/json_members.h"

namespace firn::iceberg {
namespace {

using nlohmann::json;

constexpr int kAttemptsMax = 3;
constexpr int64_t kFirstBackoffMs = 200;
constexpr int64_t kRetryAfterMaxMs = 10'000;
constexpr size_t kQuotedBytesMax = 300;
constexpr int kAuthenticationTimeout = 419;  // REST: AuthenticationTimeoutResponse
constexpr int kTooManyRequests = 429;

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

bool IsSuccess(int status) {
  return status >= 200 && status <= 299;
}
bool IsTransient(int status) {
  return status == 408 || status == kTooManyRequests || status >= 500;
}

ErrorCode CodeOf(int status, Repeat repeat) {
  switch (status) {
    case 401:
    case 403:
    case kAuthenticationTimeout: return ErrorCode::kUnauthorized;
    case 404: return ErrorCode::kNotFound;
    case 406:
    case 501: return ErrorCode::kUnsupported;
    case 409:
    case 412: return ErrorCode::kConflict;  // for certain not applied
    case kTooManyRequests: return ErrorCode::kUnavailable;
    default: break;
  }
  if (!IsTransient(status)) return ErrorCode::kInvalidInput;
  return repeat == Repeat::kHarmless ? ErrorCode::kUnavailable : ErrorCode::kCommitStateUnknown;
}

// {"error": {"message", "type", "code"}} (REST: IcebergErrorResponse), else the start of whatever came.
std::string ReasonOf(const env::HttpResponse& response) {
  auto parsed = ParseJson(response.body, "answer");
  const json* error = parsed.has_value() ? FindMember(*parsed, "error") : nullptr;
  if (error != nullptr && error->is_object()) {
    return fmt::format("{}: {}", StringMember(*error, "type").value_or("error"),
                       StringMember(*error, "message").value_or("no message"));
  }
  if (response.body.empty()) return "no reason given";
  return "the answer is not in the catalog's form: " + response.body;
}

std::string Shortened(std::string text) {
  if (text.size() <= kQuotedBytesMax) return text;
  text.resize(kQuotedBytesMax);
  while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xc0) == 0x80) text.pop_back();
  return text + "…";
}

int64_t RetryAfterMs(const Result<env::HttpResponse>& response) {
  if (!response.has_value()) return 0;
  std::optional<std::string_view> header = response->Header("retry-after");
  if (!header) return 0;
  int64_t seconds = 0;
  auto [end, error] = std::from_chars(header->data(), header->data() + header->size(), seconds);
  if (error == std::errc()) return std::clamp<int64_t>(seconds, 0, kRetryAfterMaxMs / 1000) * 1000;
  // A date (RFC 9110, section 10.2.3), by the server's own clock.
  const env::HttpResponse at{.headers = {{"date", std::string(*header)}}};
  const int64_t wait_ms = at.DateMs().value_or(0) - response->DateMs().value_or(INT64_MAX);
  return std::clamp<int64_t>(wait_ms, 0, kRetryAfterMaxMs);
}

// What an exchange without an answer means.
ErrorCode CodeWithoutAnswer(ErrorCode code, Repeat repeat) {
  switch (code) {
    case ErrorCode::kUnavailable:
    case ErrorCode::kInvalidInput:
    case ErrorCode::kUnauthorized: return code;  // never reached the server
    case ErrorCode::kResourceExhausted:
    case ErrorCode::kCancelled: return repeat == Repeat::kHarmless ? code : ErrorCode::kCommitStateUnknown;
    default: return repeat == Repeat::kHarmless ? ErrorCode::kUnavailable : ErrorCode::kCommitStateUnknown;
  }
}

// Without a token nothing is sent, whatever the reason; the code must say so to a caller who commits.
std::unexpected<Error> NothingSent(Error error) {
  ErrorCode code = error.code();
  bool is_plain = code == ErrorCode::kUnavailable || code == ErrorCode::kInvalidInput;
  return Fail(is_plain ? code : ErrorCode::kUnauthorized, error.message());
}

bool WorthRepeating(const Result<env::HttpResponse>& response, Repeat repeat) {
  // Who is put off (429) has changed nothing; of anything else nobody knows.
  if (repeat == Repeat::kNever) return response.has_value() && response->status == kTooManyRequests;
  if (response.has_value()) return IsTransient(response->status);
  ErrorCode code = response.error().code();
  return code == ErrorCode::kUnavailable || code == ErrorCode::kCommitStateUnknown || code == ErrorCode::kTimeout;
}

}  // namespace

RestClient::RestClient(Options options, RestAuthOptions auth, env::HttpClient& http, env::Clock& clock)
    : options_(std::move(options)), auth_(std::move(auth), http, clock), http_(http), clock_(clock) {}

std::optional<int64_t> RestClient::server_time_ms() const {
  int64_t value = server_time_ms_.load(std::memory_order_relaxed);
  return value < 0 ? std::nullopt : std::optional<int64_t>(value);
}

Result<env::HttpResponse> RestClient::SendOnce(env::HttpRequest request, const std::string& token) {
  bool has_own = std::any_of(options_.headers.begin(), options_.headers.end(),
                             [](const auto& header) { return EqualsIgnoringCase(header.first, "authorization"); });
  if (!token.empty() && !has_own) request.headers.emplace_back("Authorization", "Bearer " + token);
  Result<env::HttpResponse> response = http_.Send(request);
  if (response.has_value()) {
    std::optional<int64_t> date_ms = response->DateMs();
    if (date_ms) server_time_ms_.store(*date_ms, std::memory_order_relaxed);
  }
  return response;
}

Result<env::HttpResponse> RestClient::SendAuthorized(const env::HttpRequest& request) {
  Result<std::string> token = auth_.Token();
  if (!token.has_value()) return NothingSent(std::move(token.error()));
  Result<env::HttpResponse> response = SendOnce(request, *token);
  bool refused = response.has_value() && (response->status == 401 || response->status == kAuthenticationTimeout);
  if (!refused || token->empty()) return response;
  token = auth_.TokenInsteadOf(*token);
  if (!token.has_value()) return NothingSent(std::move(token.error()));
  if (token->empty()) return response;
  return SendOnce(request, *token);
}

Error RestClient::ErrorOf(const env::HttpResponse& response, Repeat repeat) {
  std::string reason = Shortened(auth_.Redact(ReasonOf(response)));
  if (response.status >= 300 && response.status <= 399) {
    std::string target(response.Header("location").value_or("?"));
    reason = fmt::format("redirects are not followed; set the catalog's uri to where it points: '{}'",
                         auth_.Redact(PrintableUri(target)));
  }
  return Error(CodeOf(response.status, repeat), fmt::format("HTTP {}: {}", response.status, reason));
}

Result<json> RestClient::Exchange(const std::string& method, const std::string& path, const std::string& body,
                                  Repeat repeat) {
  env::HttpRequest request;
  request.method = method;
  request.url = options_.uri + path;
  request.timeout_ms = options_.timeout_ms;
  request.body = body;
  request.headers = {{"Accept", "application/json"}};
  if (!body.empty()) request.headers.emplace_back("Content-Type", "application/json");
  request.headers.insert(request.headers.end(), options_.headers.begin(), options_.headers.end());
  std::string what = fmt::format("{} {}", method, path.substr(0, path.find('?')));

  Result<env::HttpResponse> response = SendAuthorized(request);
  int64_t backoff_ms = kFirstBackoffMs;
  for (int attempt = 1; attempt < kAttemptsMax && WorthRepeating(response, repeat); ++attempt) {
    clock_.SleepMs(std::max(backoff_ms, RetryAfterMs(response)), {});
    backoff_ms *= 4;
    response = SendAuthorized(request);
  }
  if (!response.has_value()) {
    ErrorCode code = CodeWithoutAnswer(response.error().code(), repeat);
    return Fail(code, fmt::format("{}: {}", what, auth_.Redact(response.error().message())));
  }
  if (!IsSuccess(response->status)) {
    return std::unexpected<Error>(ErrorOf(*response, repeat).WithContext(what));
  }
  if (response->body.empty()) return json(nullptr);
  Result<json> parsed = ParseJson(response->body, "the answer");
  if (parsed.has_value()) return parsed;
  // The server said yes, but not to what: for a change that is as good as a lost answer.
  ErrorCode code = repeat == Repeat::kNever ? ErrorCode::kCommitStateUnknown : ErrorCode::kCorruption;
  return Fail(code, fmt::format("{}: HTTP {} with a body that is not JSON", what, response->status));
}

}  // namespace firn::iceberg
