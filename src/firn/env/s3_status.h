// S3 status: turns what Arrow and the AWS SDK say about a failed S3 request into one of our errors.
//
// A pure function of the message: Arrow gives IOError for nearly everything and puts the SDK's error name and the HTTP
// status into the text ("AWS Error ACCESS_DENIED (HTTP status 403) during HeadObject operation: ...").
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"

namespace arrow {
class Status;
}

namespace firn::env {

using SecretList = std::vector<std::string>;

// What an error says of the server, and what it must not say.
struct S3Access {
  std::string endpoint;  // empty: AWS's own
  SecretList secrets;
};

// The code for an SDK message. `fallback` when the message names neither a known error nor an HTTP status.
ErrorCode S3ErrorCodeOf(std::string_view sdk_message, ErrorCode fallback = ErrorCode::kIoError);

// `text` on one line, of bounded length, each secret replaced by "***".
std::string RedactedLine(std::string_view text, const SecretList& secrets);

// "cannot <action>: <what the SDK said>: '<location>'"; names the endpoint when it is that which does not answer.
std::unexpected<Error> S3Error(const arrow::Status& status, std::string_view action, std::string_view location,
                               const S3Access& access);

}  // namespace firn::env
