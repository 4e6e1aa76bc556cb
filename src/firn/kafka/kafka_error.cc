#include "firn/kafka/kafka_error.h"

#include <fmt/format.h>

#include "firn/base/log.h"
#include "firn/kafka/rdkafka_handles.h"

namespace firn::kafka {

ErrorCode ToErrorCode(int code) {
  switch (code) {
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
    case RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
      return ErrorCode::kUnauthorized;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
      return ErrorCode::kNotFound;
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
      return ErrorCode::kTimeout;
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
      return ErrorCode::kCorruption;
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
    case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE:
      return ErrorCode::kUnsupported;
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_INVALID_REQUEST:
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL:
    case RD_KAFKA_RESP_ERR_INVALID_GROUP_ID:
    case RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT:
      return ErrorCode::kInvalidInput;
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR_STALE_MEMBER_EPOCH:
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST:
    case RD_KAFKA_RESP_ERR__LOG_TRUNCATION:
      return ErrorCode::kConflict;
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
    case RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED:
    case RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED:
      return ErrorCode::kResourceExhausted;
    case RD_KAFKA_RESP_ERR__DESTROY:
    case RD_KAFKA_RESP_ERR__INTR:
      return ErrorCode::kCancelled;
    case RD_KAFKA_RESP_ERR__STATE:
    case RD_KAFKA_RESP_ERR__FAIL:
    case RD_KAFKA_RESP_ERR__CONFLICT:
      return ErrorCode::kInternal;
    default:
      // What is left are broker and network conditions that librdkafka itself retries.
      return ErrorCode::kUnavailable;
  }
}

Error ToError(int code, std::string_view context, std::string_view detail) {
  std::string_view name = rd_kafka_err2str(static_cast<rd_kafka_resp_err_t>(code));
  if (detail.empty() || detail == name) return Error(ToErrorCode(code), fmt::format("{}: {}", context, name));
  return Error(ToErrorCode(code), fmt::format("{}: {}: {}", context, name, detail));
}

Error ToTrouble(int code, std::string_view context, std::string_view detail, bool was_let_in) {
  Error error = ToError(code, context, detail);
  const bool is_authentication =
      code == RD_KAFKA_RESP_ERR__AUTHENTICATION || code == RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED ||
      code == RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM || code == RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE;
  if (!was_let_in || !is_authentication) return error;
  return Error(ErrorCode::kUnavailable, error.message());
}

Status ToStatus(rd_kafka_error_s* error, std::string_view context) {
  if (error == nullptr) return {};
  RdPtr<rd_kafka_error_t> owned(error);
  return std::unexpected<Error>(ToError(rd_kafka_error_code(error), context, rd_kafka_error_string(error)));
}

namespace {

// Called on librdkafka's threads. Levels are those of syslog(3).
void LogLine(const rd_kafka_t* client, int level, const char* facility, const char* text) {
  LogLevel ours = LogLevel::kDebug;
  if (level <= 3) {
    ours = LogLevel::kError;
  } else if (level == 4) {
    ours = LogLevel::kWarning;
  } else if (level <= 6) {
    ours = LogLevel::kInfo;
  }
  Log(ours, text, {{"facility", facility}, {"client", client == nullptr ? "" : rd_kafka_name(client)}});
}

}  // namespace

void InstallLogging(rd_kafka_conf_s* conf) { rd_kafka_conf_set_log_cb(conf, LogLine); }

}  // namespace firn::kafka
