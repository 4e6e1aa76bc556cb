#include "firn/kafka/producer.h"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <mutex>
#include <vector>

#include "firn/kafka/kafka_error.h"
#include "firn/kafka/rdkafka_handles.h"

namespace firn::kafka {
namespace {

constexpr int kQueueFullWaitMs = 20;
constexpr int64_t kPollEvery = 4096;          // records between looks at delivery reports
constexpr int64_t kQueueFullTriesMax = 3000;  // a minute

}  // namespace

struct Producer::Impl {
  std::atomic<int64_t> failed = 0;
  std::atomic<int64_t> produced = 0;
  std::mutex mutex;
  std::optional<Error> first_failure;
  RdPtr<rd_kafka_t> client;  // last: its callbacks use the members above

  static void OnDelivery(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) return;
    auto* impl = static_cast<Impl*>(opaque);
    ++impl->failed;
    std::lock_guard lock(impl->mutex);
    if (impl->first_failure.has_value()) return;
    impl->first_failure = ToError(message->err, fmt::format("record for topic '{}' was not delivered",
                                                            rd_kafka_topic_name(message->rkt)));
  }
};

Producer::Producer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Producer::~Producer() { rd_kafka_purge(impl_->client.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT); }

Result<std::unique_ptr<Producer>> Producer::Create(ProducerOptions options) {
  FIRN_ASSIGN(Conf conf, MakeProducerConf(options.bootstrap, options.properties));
  auto impl = std::make_unique<Impl>();
  rd_kafka_conf_set_opaque(conf.get(), impl.get());
  rd_kafka_conf_set_dr_msg_cb(conf.get(), Impl::OnDelivery);
  char text[512];
  // A report for each delivered record would cost more than the record.
  if (rd_kafka_conf_set(conf.get(), "delivery.report.only.error", "true", text, sizeof(text)) != RD_KAFKA_CONF_OK) {
    return Fail(ErrorCode::kInternal, fmt::format("Kafka producer: {}", text));
  }
  impl->client.reset(rd_kafka_new(RD_KAFKA_PRODUCER, conf.get(), text, sizeof(text)));
  if (impl->client == nullptr) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("the Kafka producer does not start: {}", text));
  }
  (void)conf.release();
  return std::unique_ptr<Producer>(new Producer(std::move(impl)));
}

Status Producer::Produce(const std::string& topic, int32_t partition, const ProducedRecord& record) {
  // librdkafka tells null from empty by the pointer alone.
  static constexpr char kEmpty = 0;
  std::array<rd_kafka_vu_t, 7> arguments{};
  size_t count = 0;
  arguments[count++] = {.vtype = RD_KAFKA_VTYPE_TOPIC, .u = {.cstr = topic.c_str()}};
  arguments[count++] = {.vtype = RD_KAFKA_VTYPE_PARTITION, .u = {.i32 = partition}};
  arguments[count++] = {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u = {.i = RD_KAFKA_MSG_F_COPY}};
  if (record.key.has_value()) {
    const char* data = record.key->empty() ? &kEmpty : record.key->data();
    arguments[count++] = {.vtype = RD_KAFKA_VTYPE_KEY,
                          .u = {.mem = {.ptr = const_cast<char*>(data), .size = record.key->size()}}};
  }
  if (record.value.has_value()) {
    const char* data = record.value->empty() ? &kEmpty : record.value->data();
    arguments[count++] = {.vtype = RD_KAFKA_VTYPE_VALUE,
                          .u = {.mem = {.ptr = const_cast<char*>(data), .size = record.value->size()}}};
  }
  arguments[count++] = {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u = {.i64 = record.timestamp_ms}};

  if (++impl_->produced % kPollEvery == 0) rd_kafka_poll(impl_->client.get(), 0);
  for (int64_t attempt = 0;; ++attempt) {
    size_t used = count;
    RdPtr<rd_kafka_headers_t> headers;
    if (!record.headers.empty()) {
      headers.reset(rd_kafka_headers_new(record.headers.size()));
      for (const stream::Header& header : record.headers) {
        const char* value = nullptr;
        if (header.value.has_value()) value = header.value->empty() ? &kEmpty : header.value->data();
        rd_kafka_header_add(headers.get(), header.name.data(), static_cast<ssize_t>(header.name.size()), value,
                            header.value.has_value() ? static_cast<ssize_t>(header.value->size()) : 0);
      }
      arguments[used++] = {.vtype = RD_KAFKA_VTYPE_HEADERS, .u = {.headers = headers.get()}};
    }
    rd_kafka_error_t* error = rd_kafka_produceva(impl_->client.get(), arguments.data(), used);
    if (error == nullptr) {
      (void)headers.release();  // the message's now
      return {};
    }
    if (rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR__QUEUE_FULL || attempt == kQueueFullTriesMax) {
      return ToStatus(error, fmt::format("producing to topic '{}'", topic));
    }
    rd_kafka_error_destroy(error);
    rd_kafka_poll(impl_->client.get(), kQueueFullWaitMs);
  }
}

Status Producer::Flush(int64_t timeout_ms) {
  rd_kafka_resp_err_t code = rd_kafka_flush(impl_->client.get(), static_cast<int>(timeout_ms));
  std::lock_guard lock(impl_->mutex);
  if (impl_->first_failure.has_value()) return std::unexpected<Error>(*impl_->first_failure);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return std::unexpected<Error>(ToError(code, fmt::format("records not yet delivered after {} ms: {}", timeout_ms,
                                                            rd_kafka_outq_len(impl_->client.get()))));
  }
  return {};
}

int64_t Producer::failed() const { return impl_->failed.load(); }

}  // namespace firn::kafka
