// RestAuth: the bearer token of a REST catalog's requests, and where the next one comes from.
//
// Three sources: a fixed token, a source that is asked again (a mounted file that somebody rotates), OAuth2 client
// credentials (RFC 6749, section 4.4). A token is renewed before it expires, and once after the server refused it.
// Thread-safe; one thread renews, and only who has no living token waits for it. No secret is ever part of a message.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "firn/base/error.h"
#include "firn/env/clock.h"
#include "firn/env/http_client.h"

namespace firn::iceberg {

struct RestAuthOptions {
  std::string credential;  // "client_id:client_secret", or a client secret alone; empty: no OAuth2
  std::string token;       // used as it is, until it is refused
  std::function<Result<std::string>()> token_source;  // asked at the start and whenever its token is refused
  std::string oauth2_server_uri;                      // the token endpoint; empty: <uri>/v1/oauth/tokens
  std::string scope = "catalog";
  std::map<std::string, std::string> oauth2_parameters;  // further form members: "audience", "resource"
  int64_t timeout_ms = 30'000;
};

class RestAuth {
 public:
  RestAuth(RestAuthOptions options, env::HttpClient& http, env::Clock& clock);

  // The token to send; empty when none is configured. kUnauthorized: the server or the source gives none;
  // kUnavailable: the token endpoint does not answer.
  Result<std::string> Token();
  // After an answer 401 or 419 to `refused`: a token that differs from it, or empty when there is no other.
  Result<std::string> TokenInsteadOf(const std::string& refused);
  // `text` with every secret known here replaced, for text that a server wrote.
  std::string Redact(std::string text);

 private:
  Status FetchFirst();
  void Renew();
  Status Acquire();  // with renewal_mutex_ held, as Fetch
  Status Fetch();
  std::string Current();

  const RestAuthOptions options_;
  env::HttpClient& http_;
  env::Clock& clock_;
  std::mutex renewal_mutex_;  // held while a token is asked for; taken before mutex_
  std::mutex mutex_;          // guards what follows; never held while anybody waits
  std::string token_;
  int64_t renew_at_boot_ms_ = INT64_MAX;
  int64_t expires_at_boot_ms_ = INT64_MAX;
  int64_t retry_after_ms_ = 0;  // from a failed renewal to the next try
};

}  // namespace firn::iceberg
