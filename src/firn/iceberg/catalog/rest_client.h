// RestClient: one exchange with a REST catalog: token, headers, retries, and every answer as a value or an Error.
//
// The difference that matters is `Repeat`: what may be sent twice is sent up to three times and ends as kUnavailable;
// what changes the table is sent once (again only after 401, 419 or 429, which no server answers after an effect), and
// when nobody can say whether it was applied it ends as kCommitStateUnknown. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "firn/base/error.h"
#include "firn/env/clock.h"
#include "firn/env/http_client.h"
#include "firn/iceberg/catalog/rest_auth.h"

namespace firn::iceberg {

enum class Repeat { kHarmless, kNever };

class RestClient {
 public:
  struct Options {
    std::string uri;  // without '/' at the end
    std::vector<std::pair<std::string, std::string>> headers;
    int64_t timeout_ms = 30'000;
  };
  RestClient(Options options, RestAuthOptions auth, env::HttpClient& http, env::Clock& clock);

  // `path` starts with '/' and may have a query; `body` empty: none. The answer of a status 2xx, parsed; null when it
  // has no body. Other statuses: 400, 422 kInvalidInput; 401, 403, 419 kUnauthorized; 404 kNotFound; 409 kConflict;
  // 429 kUnavailable; 408 and 5xx as `repeat` says.
  Result<nlohmann::json> Exchange(const std::string& method, const std::string& path, const std::string& body,
                                  Repeat repeat);

  void set_uri(std::string uri) { options_.uri = std::move(uri); }  // before other threads use the client
  std::optional<int64_t> server_time_ms() const;

 private:
  Result<env::HttpResponse> SendAuthorized(const env::HttpRequest& request);
  Result<env::HttpResponse> SendOnce(env::HttpRequest request, const std::string& token);
  Error ErrorOf(const env::HttpResponse& response, Repeat repeat);

  Options options_;
  RestAuth auth_;
  env::HttpClient& http_;
  env::Clock& clock_;
  std::atomic<int64_t> server_time_ms_{-1};
};

}  // namespace firn::iceberg
