// AWS Signature Version 4 of one HTTP request, as a function of values ("Create a signed AWS API request", AWS IAM
// user guide).
//
// Of our own, because libcurl's (7.88 in Debian 12) leaves out x-amz-content-sha256, which S3 demands, and does not
// put query parameters into canonical form.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "firn/env/http_client.h"

namespace firn::env {

struct AwsSigV4 {
  std::string region;
  std::string service;  // "s3", "s3tables", "glue", "execute-api"
  std::string access_key_id;
  std::string secret_access_key;
  std::string session_token;  // empty: none
};

// The headers to add to `request`: authorization, x-amz-date, x-amz-content-sha256 and, with a session token,
// x-amz-security-token. Signs host and the request's own headers. The URL must be absolute and percent-encoded; its
// path is encoded once more in the canonical form, except for S3, as AWS defines it; it has no "." or ".." segments and
// no "//", which AWS would rewrite.
// kUnauthorized without a key pair; kInvalidInput without region or service, or with line breaks in any of them.
Result<std::vector<std::pair<std::string, std::string>>> AwsSignatureHeaders(const HttpRequest& request,
                                                                             const AwsSigV4& signer, int64_t wall_ms);

}  // namespace firn::env
