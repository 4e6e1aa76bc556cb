#include "firn/metrics/status_server.h"

#include <gtest/gtest.h>
#include <httplib.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

namespace firn::metrics {
namespace {

class FakeHealth final : public HealthSource {
 public:
  HealthState Alive() override { return alive; }
  HealthState Ready() override { return ready; }
  HealthState alive;
  HealthState ready;
};

class StatusServerTest : public ::testing::Test {
 protected:
  void Start() {
    auto created = StatusServer::Create("127.0.0.1:0", registry_, health_);
    ASSERT_TRUE(created.has_value()) << created.error().ToString();
    server_ = std::move(*created);
  }

  httplib::Result Get(const std::string& path) {
    httplib::Client client("127.0.0.1", server_->port());
    return client.Get(path);
  }

  Registry registry_;
  FakeHealth health_;
  std::unique_ptr<StatusServer> server_;
};

TEST_F(StatusServerTest, ServesTheExposition) {
  registry_.counter("firn_rows_total", "Rows.").Add(7);
  Start();
  auto answer = Get("/metrics");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->get_header_value("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_NE(answer->body.find("firn_rows_total 7"), std::string::npos);
}

TEST_F(StatusServerTest, HealthAndReadinessAreApart) {
  health_.ready = {false, {{"catalog_unreachable", "no answer from \xff 'c'"}, {"paused", "2 partitions"}}};
  Start();
  auto alive = Get("/healthz");
  ASSERT_TRUE(alive);
  EXPECT_EQ(alive->status, 200);
  EXPECT_EQ(nlohmann::json::parse(alive->body)["status"], "ok");
  auto ready = Get("/readyz");
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->status, 503);
  nlohmann::json body = nlohmann::json::parse(ready->body);
  EXPECT_EQ(body["status"], "failing");
  ASSERT_EQ(body["reasons"].size(), 2u);
  EXPECT_EQ(body["reasons"][0]["code"], "catalog_unreachable");
  EXPECT_EQ(body["reasons"][1]["message"], "2 partitions");
}

TEST_F(StatusServerTest, PagesCanBeAddedWhileItRuns) {
  Start();
  EXPECT_EQ(Get("/status")->status, 404);
  server_->AddPage("/status", [] { return std::string("{\"lag\":3}"); });
  auto answer = Get("/status?verbose=1");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "{\"lag\":3}");
  EXPECT_EQ(answer->get_header_value("Content-Type"), "application/json");
}

TEST_F(StatusServerTest, OnlyReads) {
  Start();
  httplib::Client client("127.0.0.1", server_->port());
  auto post = client.Post("/healthz", "x", "text/plain");
  ASSERT_TRUE(post);
  EXPECT_EQ(post->status, 404);
  auto head = client.Head("/healthz");
  ASSERT_TRUE(head);
  EXPECT_EQ(head->status, 200);
}

TEST_F(StatusServerTest, APortInUseIsInvalidInput) {
  Start();
  std::string taken = "127.0.0.1:" + std::to_string(server_->port());
  auto second = StatusServer::Create(taken, registry_, health_);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code(), ErrorCode::kInvalidInput);
  EXPECT_NE(second.error().message().find(taken), std::string::npos);
  // Free again as soon as the first one is gone.
  server_.reset();
  EXPECT_TRUE(StatusServer::Create(taken, registry_, health_).has_value());
}

TEST_F(StatusServerTest, MalformedAddressesAreInvalidInput) {
  for (std::string listen : {"", ":", "127.0.0.1", "127.0.0.1:", ":9187", "127.0.0.1:x", "127.0.0.1:65536",
                             "127.0.0.1:-1", "127.0.0.1:80 ", "::1:9187", "203.0.113.7:9187", "[::1:9"}) {
    auto created = StatusServer::Create(listen, registry_, health_);
    ASSERT_FALSE(created.has_value()) << listen;
    EXPECT_EQ(created.error().code(), ErrorCode::kInvalidInput) << listen;
  }
}

TEST_F(StatusServerTest, AnswersManyAtOnceAndStopsCleanly) {
  Start();
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> clients;
    for (int i = 0; i < 16; ++i) {
      clients.emplace_back([&] {
        for (int n = 0; n < 10; ++n) {
          auto answer = Get("/metrics");
          if (answer && answer->status == 200) ++good;
        }
      });
    }
  }
  EXPECT_EQ(good, 160);
  server_.reset();
}

TEST_F(StatusServerTest, SilentConnectionsDoNotStopIt) {
  Start();
  std::vector<int> sockets;
  for (int i = 0; i < 3; ++i) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(server_->port()));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    sockets.push_back(fd);
  }
  auto answer = Get("/healthz");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  for (int fd : sockets) close(fd);
}

}  // namespace
}  // namespace firn::metrics
