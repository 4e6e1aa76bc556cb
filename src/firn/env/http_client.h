// HttpClient: one HTTP exchange at a time, with the difference that matters for commits kept apart:
// an Error of kUnavailable means that the request certainly never reached the server; kCommitStateUnknown that it may
// have (time-out, connection lost after sending). Every HTTP status is a Response, not an Error.
//
// Thread-safe. Redirects are not followed. The body is bounded by `response_bytes_max`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "firn/base/error.h"

namespace firn::env {

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  int64_t timeout_ms = 30'000;
};

struct HttpResponse {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;

  std::optional<std::string_view> Header(std::string_view lower_case_name) const;
  // The Date header as milliseconds since the epoch, if it is there and readable (RFC 9110 IMF-fixdate).
  std::optional<int64_t> DateMs() const;
};

class HttpClient {
 public:
  virtual ~HttpClient() = default;
  virtual Result<HttpResponse> Send(const HttpRequest& request) = 0;
};

}  // namespace firn::env
