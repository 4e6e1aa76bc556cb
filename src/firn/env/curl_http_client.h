// CurlHttpClient: the HttpClient of the running program, over libcurl (HTTP/1.1, keep-alive, TLS always verified).
//
// Thread-safe: each Send takes an idle handle or makes one, so concurrent exchanges are as many as the calling threads.
// What an Error says:
//   kUnavailable         name not resolved, refused, TLS failed, time was up before the request was sent
//   kCommitStateUnknown  the request was on its way and no whole answer came back (time-out, lost connection, and for
//                        methods that change something an answer larger than the limit)
//   kInvalidInput        the URL or a header is malformed
//   kUnauthorized        there are no credentials to sign with
//   kResourceExhausted   GET or HEAD with an answer larger than `response_bytes_max`
// libcurl silently repeats a request whose kept-alive connection died; here that is allowed for GET and HEAD only: a
// repeated commit would answer "conflict" although its first copy was applied.
// Messages hold method, scheme, host and path; never query, user info, header or body, which may hold secrets.
// The program ignores SIGPIPE (OpenSSL's writes can raise it).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "firn/env/aws_signature.h"
#include "firn/env/clock.h"
#include "firn/env/http_client.h"

namespace firn::env {

struct CurlHttpClientOptions {
  std::string user_agent = "firn";
  bool direct = false;  // past a proxy that the environment names
  std::string ca_file;  // PEM; empty: the system's store
  // When set, each request is signed with what it gives at that moment (credentials rotate): [=] { return signer; }.
  std::function<Result<AwsSigV4>()> aws_sigv4;
  int64_t connect_timeout_ms = 10'000;
  int64_t response_bytes_max = int64_t{256} << 20;  // after decompression
  int64_t response_header_bytes_max = int64_t{256} << 10;
  size_t idle_connections_max = 16;  // kept for reuse
};

class CurlHttpClient final : public HttpClient {
 public:
  // kInvalidInput when `ca_file` is not readable. The clock, which dates signatures, must outlive the client.
  static Result<std::unique_ptr<CurlHttpClient>> Create(CurlHttpClientOptions options = {},
                                                        Clock& clock = SystemClock());
  ~CurlHttpClient() override;

  Result<HttpResponse> Send(const HttpRequest& request) override;

 private:
  class Impl;
  explicit CurlHttpClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace firn::env
