#include "firn/env/aws_signature.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <string_view>

#include "firn/base/encoding.h"

namespace firn::env {
namespace {

std::string Sha256(std::string_view bytes) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

std::string HmacSha256(std::string_view key, std::string_view bytes) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(bytes.data()),
       bytes.size(), reinterpret_cast<unsigned char*>(digest.data()), nullptr);
  return digest;
}

bool IsUnreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

// The path as it stands, each byte but unreserved ones and '/' encoded: a '%' of the URL becomes "%25".
std::string EncodeOnceMore(std::string_view path) {
  std::string encoded;
  for (char c : path) {
    if (IsUnreserved(c) || c == '/') {
      encoded += c;
    } else {
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

std::string CanonicalQuery(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> parameters;
  while (!query.empty()) {
    size_t end = std::min(query.find('&'), query.size());
    std::string_view parameter = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (parameter.empty()) continue;
    size_t equals = std::min(parameter.find('='), parameter.size());
    parameters.emplace_back(parameter.substr(0, equals), parameter.substr(std::min(equals + 1, parameter.size())));
  }
  std::ranges::sort(parameters);
  std::string canonical;
  for (const auto& [name, value] : parameters) {
    if (!canonical.empty()) canonical += '&';
    canonical += name + "=" + value;
  }
  return canonical;
}

// Outer spaces removed, inner runs of spaces made one.
std::string CanonicalValue(std::string_view value) {
  std::string canonical;
  for (char c : value) {
    bool space = c == ' ' || c == '\t';
    if (space && (canonical.empty() || canonical.back() == ' ')) continue;
    canonical += space ? ' ' : c;
  }
  if (canonical.ends_with(' ')) canonical.pop_back();
  return canonical;
}

struct UrlParts {
  std::string host;  // with the port, as the Host header has it
  std::string path;
  std::string query;
};

UrlParts SplitUrl(std::string_view url) {
  url = url.substr(0, url.find('#'));
  size_t scheme_end = url.find("://");
  std::string_view scheme = url.substr(0, scheme_end);
  std::string_view rest = url.substr(scheme_end + 3);
  size_t host_end = std::min(rest.find_first_of("/?"), rest.size());
  UrlParts parts;
  std::string_view host = rest.substr(0, host_end);
  host.remove_prefix(host.rfind('@') == std::string_view::npos ? 0 : host.rfind('@') + 1);
  // The Host header leaves out the scheme's own port.
  std::string_view own_port = scheme == "http" ? ":80" : ":443";
  if (host.ends_with(own_port)) host.remove_suffix(own_port.size());
  parts.host = host;
  rest.remove_prefix(host_end);
  size_t query = std::min(rest.find('?'), rest.size());
  parts.path = rest.substr(0, query);
  if (parts.path.empty()) parts.path = "/";
  parts.query = rest.substr(std::min(query + 1, rest.size()));
  return parts;
}

Status CheckSigner(const AwsSigV4& signer) {
  if (signer.access_key_id.empty() || signer.secret_access_key.empty()) {
    return Fail(ErrorCode::kUnauthorized, "no AWS credentials to sign with; configure an access key and its secret");
  }
  if (signer.region.empty() || signer.service.empty()) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("signing for AWS needs a region and a service; configure both: "
                                                      "'{}', '{}'", signer.region, signer.service));
  }
  for (const std::string* text : {&signer.access_key_id, &signer.session_token, &signer.region, &signer.service}) {
    if (text->find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) {
      return Fail(ErrorCode::kInvalidInput, "a line break or zero byte in the AWS region or credentials; remove it");
    }
  }
  return {};
}

// "20150830T123600Z"
std::string AmzDate(int64_t wall_ms) {
  std::chrono::sys_seconds time(std::chrono::seconds(wall_ms / 1000));
  auto day = std::chrono::floor<std::chrono::days>(time);
  std::chrono::year_month_day date(day);
  std::chrono::hh_mm_ss clock(time - day);
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), clock.hours().count(),
                     clock.minutes().count(), clock.seconds().count());
}

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
  return lower;
}

}  // namespace

Result<std::vector<std::pair<std::string, std::string>>> AwsSignatureHeaders(const HttpRequest& request,
                                                                             const AwsSigV4& signer, int64_t wall_ms) {
  FIRN_TRY(CheckSigner(signer));
  if (request.url.find("://") == std::string::npos) {
    return Fail(ErrorCode::kInvalidInput, "a URL to sign must be absolute; write http:// or https:// before it");
  }
  UrlParts url = SplitUrl(request.url);
  std::string amz_date = AmzDate(wall_ms);
  std::string body_hash = HexEncode(Sha256(request.body));
  std::vector<std::pair<std::string, std::string>> added = {{"x-amz-content-sha256", body_hash},
                                                            {"x-amz-date", amz_date}};
  if (!signer.session_token.empty()) added.emplace_back("x-amz-security-token", signer.session_token);

  std::map<std::string, std::string> headers = {{"host", url.host}};
  auto sign_header = [&](const auto& header) {
    std::string& joined = headers[LowerCase(header.first)];
    joined += (joined.empty() ? "" : ",") + CanonicalValue(header.second);
  };
  std::ranges::for_each(request.headers, sign_header);
  std::ranges::for_each(added, sign_header);
  std::string canonical_headers;
  std::string signed_names;
  for (const auto& [name, value] : headers) {
    canonical_headers += name + ":" + value + "\n";
    signed_names += (signed_names.empty() ? "" : ";") + name;
  }
  std::string path = signer.service == "s3" ? url.path : EncodeOnceMore(url.path);
  std::string canonical_request = fmt::format("{}\n{}\n{}\n{}\n{}\n{}", request.method, path, CanonicalQuery(url.query),
                                              canonical_headers, signed_names, body_hash);

  std::string day = amz_date.substr(0, 8);
  std::string scope = fmt::format("{}/{}/{}/aws4_request", day, signer.region, signer.service);
  std::string to_sign =
      fmt::format("AWS4-HMAC-SHA256\n{}\n{}\n{}", amz_date, scope, HexEncode(Sha256(canonical_request)));
  std::string key = HmacSha256("AWS4" + signer.secret_access_key, day);
  for (std::string_view part : {std::string_view(signer.region), std::string_view(signer.service),
                                std::string_view("aws4_request")}) {
    key = HmacSha256(key, part);
  }
  added.emplace_back("Authorization",
                     fmt::format("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}",
                                 signer.access_key_id, scope, signed_names, HexEncode(HmacSha256(key, to_sign))));
  return added;
}

}  // namespace firn::env
