#include "firn/kafka/consumer_handle.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "firn/base/log.h"
#include "firn/kafka/kafka_error.h"

namespace firn::kafka {
namespace {

constexpr int16_t kMetadataApiKey = 3;
constexpr char kInterceptorName[] = "firn-metadata";
constexpr uint64_t kWakeUp = 1;  // what librdkafka writes into an eventfd

rd_kafka_resp_err_t OnResponse(rd_kafka_t*, int, const char*, int32_t, int16_t api_key, int16_t, int32_t, size_t,
                               int64_t, rd_kafka_resp_err_t, void* handle) {
  if (api_key == kMetadataApiKey) static_cast<ConsumerHandle*>(handle)->CountMetadataResponse();
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t OnNew(rd_kafka_t* client, const rd_kafka_conf_t*, void* handle, char*, size_t) {
  return rd_kafka_interceptor_add_on_response_received(client, kInterceptorName, OnResponse, handle);
}

void Drain(int fd) {
  uint64_t count = 0;
  // Nothing to read is fine: the descriptor does not block.
  [[maybe_unused]] ssize_t read_bytes = read(fd, &count, sizeof(count));
}

}  // namespace

Result<std::shared_ptr<ConsumerHandle>> ConsumerHandle::Create(Conf conf, bool oauth) {
  std::shared_ptr<ConsumerHandle> handle(new ConsumerHandle());
  handle->group_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  handle->records_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (handle->group_fd_ < 0 || handle->records_fd_ < 0) {
    return Fail(ErrorCode::kResourceExhausted,
                "no file descriptor left for a Kafka consumer; raise the limit (ulimit -n)");
  }
  rd_kafka_conf_set_events(conf.get(), RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR |
                                           RD_KAFKA_EVENT_OFFSET_COMMIT | RD_KAFKA_EVENT_STATS);
  rd_kafka_conf_interceptor_add_on_new(conf.get(), kInterceptorName, OnNew, handle.get());
  // Tokens must be fetched while Create still waits for the first answer, so not on the poll thread.
  if (oauth) rd_kafka_conf_enable_sasl_queue(conf.get(), 1);

  char text[512];
  handle->client_.reset(rd_kafka_new(RD_KAFKA_CONSUMER, conf.get(), text, sizeof(text)));
  if (handle->client_ == nullptr) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("the Kafka consumer does not start: {}", text));
  }
  (void)conf.release();  // the client's now
  rd_kafka_t* client = handle->client_.get();
  if (oauth) FIRN_TRY(ToStatus(rd_kafka_sasl_background_callbacks_enable(client), "fetching OAuth tokens"));
  if (rd_kafka_resp_err_t code = rd_kafka_poll_set_consumer(client); code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return std::unexpected<Error>(ToError(code, "the Kafka consumer does not start"));
  }
  handle->group_queue_.reset(rd_kafka_queue_get_consumer(client));
  handle->records_queue_.reset(rd_kafka_queue_new(client));
  rd_kafka_queue_io_event_enable(handle->group_queue_.get(), handle->group_fd_, &kWakeUp, sizeof(kWakeUp));
  rd_kafka_queue_io_event_enable(handle->records_queue_.get(), handle->records_fd_, &kWakeUp, sizeof(kWakeUp));
  return handle;
}

ConsumerHandle::~ConsumerHandle() {
  if (group_queue_ != nullptr) rd_kafka_queue_io_event_enable(group_queue_.get(), -1, nullptr, 0);
  if (records_queue_ != nullptr) rd_kafka_queue_io_event_enable(records_queue_.get(), -1, nullptr, 0);
  group_queue_.reset();
  records_queue_.reset();
  // LeaveGroup has had its chance; a second, unbounded one would hang a process whose brokers are gone.
  if (client_ != nullptr) rd_kafka_destroy_flags(client_.release(), RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
  if (group_fd_ >= 0) close(group_fd_);
  if (records_fd_ >= 0) close(records_fd_);
}

void ConsumerHandle::Wait(bool records, int64_t timeout_ms) {
  pollfd watched[2] = {{.fd = group_fd_, .events = POLLIN, .revents = 0},
                       {.fd = records_fd_, .events = POLLIN, .revents = 0}};
  int ready = poll(watched, records ? 2 : 1, static_cast<int>(std::clamp<int64_t>(timeout_ms, 0, 60'000)));
  if (ready <= 0) return;
  // Emptied before the queues are read: what arrives in between writes again.
  if (watched[0].revents != 0) Drain(group_fd_);
  if (records && watched[1].revents != 0) Drain(records_fd_);
}

constexpr int64_t kOwedAnswerAfterMs = 500;

void ConsumerHandle::LeaveGroup(int64_t timeout_ms) {
  if (Status closing = ToStatus(rd_kafka_consumer_close_queue(client_.get(), group_queue_.get()), "leaving the group");
      !closing.has_value()) {
    LogWarning("Kafka consumer closes without leaving its group", {{"error", closing.error()}});
    return;
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  // An answer that the caller still owed is given here; librdkafka takes any answer as "let go" now that it closes. Not
  // at once: a consumer without such a debt closes by itself, and an answer to a closed one is waited for without end.
  const auto owed_after = std::chrono::steady_clock::now() + std::chrono::milliseconds(kOwedAnswerAfterMs);
  bool answered = false;
  while (!rd_kafka_consumer_closed(client_.get())) {
    if (!answered && std::chrono::steady_clock::now() >= owed_after) {
      rd_kafka_assign(client_.get(), nullptr);
      answered = true;
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      LogWarning("Kafka consumer did not leave its group in time; the group notices by itself",
                 {{"timeout_ms", timeout_ms}});
      return;
    }
    RdPtr<rd_kafka_event_t> event(rd_kafka_queue_poll(group_queue_.get(), 50));
    if (event != nullptr && rd_kafka_event_type(event.get()) == RD_KAFKA_EVENT_REBALANCE) {
      rd_kafka_assign(client_.get(), nullptr);
    }
  }
}

}  // namespace firn::kafka
