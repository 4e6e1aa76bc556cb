#include "firn/env/s3_status.h"

#include <arrow/status.h>
#include <arrow/util/io_util.h>
#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <utility>

namespace firn::env {
namespace {

constexpr size_t kMessageLengthMax = 600;

struct KnownError {
  std::string_view fragment;
  ErrorCode code;
};

// Looked for in this order: the reason of a connection error decides before the SDK's name for the class.
constexpr KnownError kKnownErrors[] = {
    {"curlCode: 28", ErrorCode::kTimeout},
    {"AWS Error REQUEST_TIMEOUT", ErrorCode::kTimeout},
    {"AWS Error NETWORK_CONNECTION", ErrorCode::kUnavailable},
    {"AWS Error SLOW_DOWN", ErrorCode::kUnavailable},
    {"AWS Error THROTTLING", ErrorCode::kUnavailable},
    {"AWS Error SERVICE_UNAVAILABLE", ErrorCode::kUnavailable},
    {"AWS Error INTERNAL_FAILURE", ErrorCode::kUnavailable},
    {"AWS Error NO_SUCH_KEY", ErrorCode::kNotFound},
    {"AWS Error NO_SUCH_BUCKET", ErrorCode::kNotFound},
    // Somebody cleaned the upload's parts away; the object can be written anew.
    {"AWS Error NO_SUCH_UPLOAD", ErrorCode::kUnavailable},
    {"AWS Error RESOURCE_NOT_FOUND", ErrorCode::kNotFound},
    {"AWS Error ACCESS_DENIED", ErrorCode::kUnauthorized},
    {"AWS Error INVALID_ACCESS_KEY_ID", ErrorCode::kUnauthorized},
    {"AWS Error INVALID_CLIENT_TOKEN_ID", ErrorCode::kUnauthorized},
    {"AWS Error SIGNATURE_DOES_NOT_MATCH", ErrorCode::kUnauthorized},
    {"AWS Error MISSING_AUTHENTICATION_TOKEN", ErrorCode::kUnauthorized},
    {"AWS Error REQUEST_EXPIRED", ErrorCode::kUnauthorized},
    // Names that the SDK does not know stand in its text, with HTTP status 400.
    {"ExpiredToken", ErrorCode::kUnauthorized},
    {"InvalidToken", ErrorCode::kUnauthorized},
    {"RequestTimeout", ErrorCode::kTimeout},
};

ErrorCode CodeOfHttpStatus(int status, ErrorCode fallback) {
  if (status == 301 || status == 307 || status == 400) return ErrorCode::kInvalidInput;
  if (status == 401 || status == 403) return ErrorCode::kUnauthorized;
  if (status == 404) return ErrorCode::kNotFound;
  if (status == 408) return ErrorCode::kTimeout;
  if (status == 412) return ErrorCode::kAlreadyExists;
  if (status == 501) return ErrorCode::kUnsupported;
  if (status == 507) return ErrorCode::kResourceExhausted;
  if (status == 429 || status >= 500) return ErrorCode::kUnavailable;
  return fallback;
}

}  // namespace

ErrorCode S3ErrorCodeOf(std::string_view sdk_message, ErrorCode fallback) {
  for (const KnownError& known : kKnownErrors) {
    if (sdk_message.find(known.fragment) != std::string_view::npos) return known.code;
  }
  constexpr std::string_view kStatus = "(HTTP status ";
  size_t start = sdk_message.find(kStatus);
  if (start == std::string_view::npos) return fallback;
  int status = 0;
  std::string_view digits = sdk_message.substr(start + kStatus.size());
  std::from_chars(digits.data(), digits.data() + digits.size(), status);
  // An answer to HEAD has no body that could name the error; with status 400, credentials that have run out are the one
  // that comes in operation.
  if (status == 400 && sdk_message.find(" during Head") != std::string_view::npos) return ErrorCode::kUnauthorized;
  return CodeOfHttpStatus(status, fallback);
}

std::string RedactedLine(std::string_view text, const SecretList& secrets) {
  std::string line(text);
  for (const std::string& secret : secrets) {
    if (secret.empty()) continue;
    for (size_t at = line.find(secret); at != std::string::npos; at = line.find(secret, at + 3)) {
      line.replace(at, secret.size(), "***");
    }
  }
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  }
  if (line.size() > kMessageLengthMax) {
    line.resize(kMessageLengthMax);
    line += "...";
  }
  return line;
}

std::unexpected<Error> S3Error(const arrow::Status& status, std::string_view action, std::string_view location,
                               const S3Access& access) {
  ErrorCode code = ErrorCode::kIoError;
  if (arrow::internal::ErrnoFromStatus(status) == ENOENT) {
    code = ErrorCode::kNotFound;
  } else if (status.IsInvalid()) {
    code = ErrorCode::kInvalidInput;
  } else if (status.IsNotImplemented()) {
    code = ErrorCode::kUnsupported;
  } else if (status.IsOutOfMemory()) {
    code = ErrorCode::kResourceExhausted;
  } else if (status.IsCancelled()) {
    code = ErrorCode::kCancelled;
  } else {
    code = S3ErrorCodeOf(status.message());
  }
  bool unreachable = code == ErrorCode::kUnavailable || code == ErrorCode::kTimeout;
  std::string server;
  if (unreachable && !access.endpoint.empty()) server = fmt::format(" (S3 endpoint '{}')", access.endpoint);
  return Fail(code, fmt::format("cannot {}{}: {}: '{}'", action, server,
                                RedactedLine(status.message(), access.secrets), location));
}

}  // namespace firn::env
