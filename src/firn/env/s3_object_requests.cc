#include "firn/env/s3_object_requests.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace firn::env {
namespace {

constexpr int64_t kFirstPauseMs = 100;
constexpr int64_t kPauseMsMax = 5'000;
constexpr size_t kErrorNameLengthMax = 64;
constexpr std::string_view kNoName = "no S3 error code";

bool IsUnreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

// The <Code> of an S3 error body, if it looks like one.
std::string_view ErrorNameOf(std::string_view body) {
  constexpr std::string_view kOpen = "<Code>";
  size_t start = body.find(kOpen);
  if (start == std::string_view::npos) return kNoName;
  body.remove_prefix(start + kOpen.size());
  std::string_view name = body.substr(0, body.find('<'));
  bool plain = !name.empty() && name.size() <= kErrorNameLengthMax && std::ranges::all_of(name, IsUnreserved);
  return plain ? name : kNoName;
}

// The server gave up waiting for the request's bytes; it has done nothing.
bool IsRequestTimeout(const HttpResponse& response) {
  return response.status == 408 || (response.status == 400 && ErrorNameOf(response.body) == "RequestTimeout");
}

bool IsWorthAnotherAttempt(const HttpResponse& response) {
  if (response.status == 501) return false;
  // 409: ConditionalRequestConflict, a racing write or delete; S3 asks to try again.
  return response.status >= 500 || response.status == 429 || response.status == 409 || IsRequestTimeout(response);
}

std::unexpected<Error> ErrorOf(const HttpResponse& response, std::string_view bucket, std::string_view key) {
  std::string_view name = ErrorNameOf(response.body);
  auto fail = [&](ErrorCode code, std::string_view reason) {
    return Fail(code, fmt::format("{} (HTTP status {}, {}): 's3://{}/{}'", reason, response.status, name, bucket, key));
  };
  if (IsRequestTimeout(response)) return fail(ErrorCode::kTimeout, "the request's bytes came too slowly");
  if (name == "ExpiredToken" || name == "InvalidToken") {
    return fail(ErrorCode::kUnauthorized, "the session token is not valid any more; get new credentials");
  }
  switch (response.status) {
    case 301:
    case 307: return fail(ErrorCode::kInvalidInput, "the bucket is in another region; configure that one");
    case 400: return fail(ErrorCode::kInvalidInput, "the store refuses the request; check region and endpoint");
    case 401:
    case 403: return fail(ErrorCode::kUnauthorized, "the credentials may not do this; check keys and policies");
    case 404: return fail(ErrorCode::kNotFound, "no such bucket or object");
    case 412: return fail(ErrorCode::kAlreadyExists, "an object is already at this location");
    case 501: return fail(ErrorCode::kUnsupported, "the store does not offer this request");
    case 507: return fail(ErrorCode::kResourceExhausted, "the store is full; free space there");
    default: break;
  }
  if (IsWorthAnotherAttempt(response)) return fail(ErrorCode::kUnavailable, "the store cannot answer now");
  return fail(ErrorCode::kIoError, "the store gave an answer that this request does not have");
}

// Waits before attempt number `attempt` (from 1), twice as long each time.
void Pause(Clock& clock, int attempt) {
  clock.SleepMs(std::min(kFirstPauseMs << std::min(attempt - 1, 16), kPauseMsMax), {});
}

}  // namespace

std::string S3ObjectUrl(const S3Address& address, std::string_view bucket, std::string_view key) {
  std::string encoded;
  for (char c : key) {
    if (IsUnreserved(c) || c == '/') {
      encoded += c;
    } else {
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  if (address.endpoint.empty()) {
    // A dot in the name would not match Amazon's wildcard certificate.
    if (bucket.find('.') != std::string_view::npos) {
      return fmt::format("https://s3.{}.amazonaws.com/{}/{}", address.region, bucket, encoded);
    }
    return fmt::format("https://{}.s3.{}.amazonaws.com/{}", bucket, address.region, encoded);
  }
  if (address.path_style) return fmt::format("{}/{}/{}", address.endpoint, bucket, encoded);
  size_t host = address.endpoint.find("://");
  host = host == std::string::npos ? 0 : host + 3;
  return fmt::format("{}{}.{}/{}", address.endpoint.substr(0, host), bucket, address.endpoint.substr(host), encoded);
}

Status S3ObjectRequests::PutIfAbsent(std::string_view bucket, std::string_view key, std::string_view bytes) {
  HttpRequest request;
  request.method = "PUT";
  request.url = S3ObjectUrl(address_, bucket, key);
  request.headers = {{"If-None-Match", "*"}, {"Content-Type", "application/octet-stream"}};
  request.body = bytes;
  request.timeout_ms = timeout_ms_;
  bool may_be_ours = false;  // an attempt whose outcome is unknown lies behind us
  auto failed = [&](Error error) {
    ErrorCode code = may_be_ours ? ErrorCode::kCommitStateUnknown : error.code();
    return Fail(code, error.message());
  };
  for (int attempt = 1;; ++attempt) {
    Result<HttpResponse> response = client_.Send(request);
    if (response.has_value() && response->status / 100 == 2) return {};
    if (response.has_value() && response->status == 412 && may_be_ours) {
      return Fail(ErrorCode::kCommitStateUnknown,
                  fmt::format("an earlier attempt or somebody else made the object; read it: 's3://{}/{}'", bucket,
                              key));
    }
    if (response.has_value() && !IsWorthAnotherAttempt(*response)) {
      return failed(ErrorOf(*response, bucket, key).error());
    }
    if (!response.has_value() && response.error().code() != ErrorCode::kUnavailable) {
      return failed(std::move(response.error()));
    }
    may_be_ours |= response.has_value() && response->status >= 500 && response->status != 503;
    if (attempt >= attempts_max_) {
      return failed(response.has_value() ? ErrorOf(*response, bucket, key).error() : std::move(response.error()));
    }
    Pause(clock_, attempt);
  }
}

Status S3ObjectRequests::Delete(std::string_view bucket, std::string_view key) {
  HttpRequest request;
  request.method = "DELETE";
  request.url = S3ObjectUrl(address_, bucket, key);
  request.timeout_ms = timeout_ms_;
  for (int attempt = 1;; ++attempt) {
    Result<HttpResponse> response = client_.Send(request);
    if (response.has_value() && (response->status / 100 == 2 || response->status == 404)) return {};
    if (response.has_value() && !IsWorthAnotherAttempt(*response)) return ErrorOf(*response, bucket, key);
    ErrorCode code = response.has_value() ? ErrorCode::kUnavailable : response.error().code();
    if (code != ErrorCode::kUnavailable && code != ErrorCode::kCommitStateUnknown) {
      return std::unexpected(std::move(response.error()));
    }
    if (attempt >= attempts_max_) {
      if (response.has_value()) return ErrorOf(*response, bucket, key);
      // A lost answer harms nothing here: to the caller it is a time-out.
      return Fail(code == ErrorCode::kUnavailable ? code : ErrorCode::kTimeout, response.error().message());
    }
    Pause(clock_, attempt);
  }
}

}  // namespace firn::env
