// S3ObjectRequests: the two S3 requests that Arrow's file system cannot make as we need them.
//
// PutObject with "If-None-Match: *" (Arrow has no conditional write), and DeleteObject alone (Arrow's DeleteFile looks
// first and leaves an empty "folder/" object behind). The HttpClient signs (SigV4, service "s3").
// Thread-safe. Client and clock must outlive it. Bounded retries: 5xx, 429, 408, RequestTimeout and not being reached.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "firn/env/clock.h"
#include "firn/env/http_client.h"

namespace firn::env {

struct S3Address {
  std::string endpoint;     // "https://host" or "http://host:port"; empty: Amazon's, of `region`
  std::string region;
  bool path_style = true;   // with an endpoint: endpoint/bucket/key, else bucket.endpoint/key
};

// The URL of an object; the key is percent-encoded as SigV4 for S3 wants it (all but A-Z a-z 0-9 - . _ ~ and '/').
std::string S3ObjectUrl(const S3Address& address, std::string_view bucket, std::string_view key);

class S3ObjectRequests {
 public:
  S3ObjectRequests(HttpClient& client, Clock& clock, S3Address address, int attempts_max, int64_t timeout_ms)
      : client_(client),
        clock_(clock),
        address_(std::move(address)),
        attempts_max_(attempts_max),
        timeout_ms_(timeout_ms) {}

  // kAlreadyExists: somebody's object is there. kCommitStateUnknown: an attempt may have made it, look before trying
  // again. kUnsupported: the server says that it has no conditional writes.
  Status PutIfAbsent(std::string_view bucket, std::string_view key, std::string_view bytes);
  // A missing object is no error; a delete that may have happened is simply tried again.
  Status Delete(std::string_view bucket, std::string_view key);

 private:
  HttpClient& client_;
  Clock& clock_;
  const S3Address address_;
  const int attempts_max_;
  const int64_t timeout_ms_;
};

}  // namespace firn::env
