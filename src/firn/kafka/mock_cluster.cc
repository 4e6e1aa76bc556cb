#include "firn/kafka/mock_cluster.h"

#include <fmt/format.h>

#include <vector>

#include "firn/kafka/kafka_config.h"
#include "firn/kafka/kafka_error.h"
#include "firn/kafka/rdkafka_handles.h"

#include <librdkafka/rdkafka_mock.h>  // wants rdkafka.h before it

namespace firn::kafka {
namespace {

struct MockDelete {
  void operator()(rd_kafka_mock_cluster_t* cluster) const { rd_kafka_mock_cluster_destroy(cluster); }
};

Status FromCode(rd_kafka_resp_err_t code, std::string_view what) {
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return {};
  return std::unexpected<Error>(ToError(code, what));
}

}  // namespace

struct MockCluster::Impl {
  RdPtr<rd_kafka_t> host;  // the cluster lives inside a client that does nothing else
  std::unique_ptr<rd_kafka_mock_cluster_t, MockDelete> cluster;
};

MockCluster::MockCluster(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MockCluster::~MockCluster() = default;

Result<std::unique_ptr<MockCluster>> MockCluster::Create(int brokers) {
  if (brokers < 1 || brokers > 100) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("a mock cluster has 1 to 100 brokers: {}", brokers));
  }
  Conf conf(rd_kafka_conf_new());
  InstallLogging(conf.get());
  char text[256];
  auto impl = std::make_unique<Impl>();
  impl->host.reset(rd_kafka_new(RD_KAFKA_PRODUCER, conf.get(), text, sizeof(text)));
  if (impl->host == nullptr) return Fail(ErrorCode::kInternal, fmt::format("mock cluster: {}", text));
  (void)conf.release();
  impl->cluster.reset(rd_kafka_mock_cluster_new(impl->host.get(), brokers));
  if (impl->cluster == nullptr) {
    return Fail(ErrorCode::kIoError, "mock cluster: no port of 127.0.0.1 could be opened");
  }
  // By default it names a broker 0 as controller, which there is not; admin requests would wait for it.
  rd_kafka_mock_set_controller_id(impl->cluster.get(), 1);
  // Members join at once; the real default of 3 s waits for a fleet to start.
  rd_kafka_mock_group_initial_rebalance_delay_ms(impl->cluster.get(), 0);
  return std::unique_ptr<MockCluster>(new MockCluster(std::move(impl)));
}

std::string MockCluster::bootstrap() const { return rd_kafka_mock_cluster_bootstraps(impl_->cluster.get()); }

Status MockCluster::CreateTopic(const std::string& topic, int partitions) {
  return FromCode(rd_kafka_mock_topic_create(impl_->cluster.get(), topic.c_str(), partitions, 1),
                  fmt::format("creating topic '{}'", topic));
}

Status MockCluster::DeleteTopic(const std::string& topic) {
  return FromCode(rd_kafka_mock_topic_delete(impl_->cluster.get(), topic.c_str()),
                  fmt::format("deleting topic '{}'", topic));
}

Status MockCluster::DeleteRecords(const std::string& topic, int32_t partition, int64_t before_offset) {
  return FromCode(
      rd_kafka_mock_partition_delete_records(impl_->cluster.get(), topic.c_str(), partition, before_offset),
      fmt::format("deleting records of '{}/{}'", topic, partition));
}

Status MockCluster::SetLeader(const std::string& topic, int32_t partition, int32_t broker) {
  return FromCode(rd_kafka_mock_partition_set_leader(impl_->cluster.get(), topic.c_str(), partition, broker),
                  fmt::format("moving the leader of '{}/{}'", topic, partition));
}

Status MockCluster::StopBroker(int32_t broker) {
  return FromCode(rd_kafka_mock_broker_set_down(impl_->cluster.get(), broker), "stopping a mock broker");
}

Status MockCluster::StartBroker(int32_t broker) {
  return FromCode(rd_kafka_mock_broker_set_up(impl_->cluster.get(), broker), "starting a mock broker");
}

void MockCluster::FailRequests(int16_t api_key, int16_t error_code, int times) {
  std::vector<rd_kafka_resp_err_t> errors(times, static_cast<rd_kafka_resp_err_t>(error_code));
  rd_kafka_mock_push_request_errors_array(impl_->cluster.get(), api_key, errors.size(), errors.data());
}

int64_t MockCluster::CountRequests(int16_t api_key) {
  rd_kafka_mock_start_request_tracking(impl_->cluster.get());
  size_t count = 0;
  rd_kafka_mock_request_t** requests = rd_kafka_mock_get_requests(impl_->cluster.get(), &count);
  int64_t matching = 0;
  for (size_t i = 0; i < count; ++i) {
    if (rd_kafka_mock_request_api_key(requests[i]) == api_key) ++matching;
  }
  rd_kafka_mock_request_destroy_array(requests, count);
  return matching;
}

Status MockCluster::LimitApiVersion(int16_t api_key, int16_t version_max) {
  return FromCode(rd_kafka_mock_set_apiversion(impl_->cluster.get(), api_key, 0, version_max),
                  "limiting an API version");
}

}  // namespace firn::kafka
