// librdkafka's error codes as ours, and its log lines in our log. The adapter's edge: nothing above this module sees an
// rd_kafka_resp_err_t. Functions of values, any thread.
#pragma once

#include <string_view>

#include "firn/base/error.h"

struct rd_kafka_s;
struct rd_kafka_conf_s;
struct rd_kafka_error_s;

namespace firn::kafka {

// `code` is an rd_kafka_resp_err_t.
ErrorCode ToErrorCode(int code);

// "<context>: <what librdkafka calls the code>: <detail>"; `detail` may be empty.
Error ToError(int code, std::string_view context, std::string_view detail = {});

// The same of a client at work. One that was let in once is refused for a while by brokers that restart and by token
// servers that stumble, and librdkafka tries again by itself: with `was_let_in` that is kUnavailable.
Error ToTrouble(int code, std::string_view context, std::string_view detail, bool was_let_in);

// Takes `error` over; nullptr is success.
Status ToStatus(rd_kafka_error_s* error, std::string_view context);

// Sends librdkafka's log lines to firn/base/log.h.
void InstallLogging(rd_kafka_conf_s* conf);

}  // namespace firn::kafka
