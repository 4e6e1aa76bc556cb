#include "firn/env/http_client.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <thread>

#include "firn/env/curl_http_client.h"

namespace firn::env {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// A server that the test scripts byte by byte: `serve` gets each accepted connection and its number (from 1).
class RawServer {
 public:
  explicit RawServer(std::function<void(int fd, int number)> serve) : serve_(std::move(serve)) {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    bool ok = bind(listener_, reinterpret_cast<sockaddr*>(&address), length) == 0 && listen(listener_, 16) == 0 &&
              getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) == 0;
    EXPECT_TRUE(ok);
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this] {
      for (int number = 1;; ++number) {
        int fd = accept(listener_, nullptr, nullptr);
        if (fd < 0) return;
        ++connections_;
        current_ = fd;
        if (!stopping_) serve_(fd, number);
        current_ = -1;
        close(fd);
      }
    });
  }
  ~RawServer() {
    stopping_ = true;
    shutdown(listener_, SHUT_RDWR);
    if (int fd = current_; fd >= 0) shutdown(fd, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  std::string Url(const std::string& path = "/") const { return "http://127.0.0.1:" + std::to_string(port_) + path; }
  int connections() const { return connections_; }
  int port() const { return port_; }

 private:
  std::function<void(int, int)> serve_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<int> connections_ = 0;
  std::atomic<int> current_ = -1;
  std::atomic<bool> stopping_ = false;
  std::jthread thread_;
};

// Reads until the blank line after the request's headers.
std::string ReadRequestHead(int fd) {
  std::string head;
  char c = 0;
  while (head.find("\r\n\r\n") == std::string::npos && recv(fd, &c, 1, 0) == 1) head += c;
  return head;
}

void SendText(int fd, std::string_view text) { (void)send(fd, text.data(), text.size(), MSG_NOSIGNAL); }

ErrorCode CodeOf(const Result<HttpResponse>& result) {
  EXPECT_FALSE(result.has_value());
  return result.has_value() ? ErrorCode::kInternal : result.error().code();
}

class HttpClientTest : public ::testing::Test {
 protected:
  void SetUp() override { client_ = CurlHttpClient::Create().value(); }
  std::unique_ptr<CurlHttpClient> client_;
};

// An httplib server that answers with what it saw.
class EchoServer {
 public:
  EchoServer() {
    auto echo = [this](const httplib::Request& request, httplib::Response& response) {
      std::lock_guard lock(mutex_);
      last_ = request;
      response.status = status;
      response.set_header("X-Many", "  one\t");
      response.set_header("Date", "Sun, 06 Nov 1994 08:49:37 GMT");
      if (status != 204) response.set_content(request.method + " " + request.body, "text/plain");
    };
    server_.Get(".*", echo);
    server_.Post(".*", echo);
    server_.Put(".*", echo);
    server_.Delete(".*", echo);
    server_.set_keep_alive_timeout(1);
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::jthread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
  }
  ~EchoServer() { server_.stop(); }
  std::string Url(const std::string& path) const { return "http://127.0.0.1:" + std::to_string(port_) + path; }
  httplib::Request last() {
    std::lock_guard lock(mutex_);
    return last_;
  }
  std::atomic<int> status = 200;

 private:
  httplib::Server server_;
  int port_ = 0;
  std::mutex mutex_;
  httplib::Request last_;
  std::jthread thread_;
};

TEST_F(HttpClientTest, MethodsBodiesAndHeaders) {
  EchoServer server;
  auto answer = client_->Send({.url = server.Url("/v1/config?warehouse=w")});
  ASSERT_TRUE(answer.has_value()) << answer.error().ToString();
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "GET ");
  EXPECT_EQ(answer->Header("x-many"), "one");
  EXPECT_EQ(answer->Header("X-Many"), std::nullopt);
  EXPECT_EQ(answer->DateMs(), 784111777000);
  EXPECT_EQ(server.last().get_header_value("User-Agent"), "firn");
  std::string body("{\"a\":\0}", 7);
  body += std::string(2'000'000, 'b');
  answer = client_->Send({.method = "POST",
                          .url = server.Url("/t"),
                          .headers = {{"Content-Type", "application/json"}, {"Authorization", "Bearer t"}},
                          .body = body});
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->body, "POST " + body);
  EXPECT_EQ(server.last().get_header_value("Content-Type"), "application/json");
  EXPECT_EQ(server.last().get_header_value("Authorization"), "Bearer t");
  EXPECT_EQ(server.last().has_header("Expect"), false);
  EXPECT_EQ(client_->Send({.method = "PUT", .url = server.Url("/t"), .body = "x"})->body, "PUT x");
  EXPECT_EQ(server.last().has_header("Content-Type"), false);
  EXPECT_EQ(client_->Send({.method = "POST", .url = server.Url("/t")})->body, "POST ");
  EXPECT_EQ(server.last().get_header_value("Content-Length"), "0");
  EXPECT_EQ(client_->Send({.method = "DELETE", .url = server.Url("/t")})->body, "DELETE ");
  answer = client_->Send({.method = "HEAD", .url = server.Url("/t")});
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "");
}

TEST_F(HttpClientTest, EveryStatusIsAResponse) {
  EchoServer server;
  for (int status : {201, 204, 302, 400, 401, 403, 404, 409, 429, 500, 503, 504}) {
    server.status = status;
    auto answer = client_->Send({.method = "POST", .url = server.Url("/t"), .body = "x"});
    ASSERT_TRUE(answer.has_value()) << status;
    EXPECT_EQ(answer->status, status);
  }
}

TEST_F(HttpClientTest, RefusedAndUnresolvedAreCertainlyNotSent) {
  int port = 0;
  { port = RawServer([](int, int) {}).port(); }
  std::string url = "http://127.0.0.1:" + std::to_string(port) + "/commit";
  EXPECT_EQ(CodeOf(client_->Send({.method = "POST", .url = url, .body = "x"})), ErrorCode::kUnavailable);
  EXPECT_EQ(CodeOf(client_->Send({.method = "POST", .url = "http://name.invalid/", .body = "x"})),
            ErrorCode::kUnavailable);
}

TEST_F(HttpClientTest, AFailedTlsHandshakeIsCertainlyNotSent) {
  RawServer server([](int fd, int) {
    char bytes[64];
    (void)recv(fd, bytes, sizeof(bytes), 0);
    SendText(fd, "HTTP/1.1 400 Bad Request\r\n\r\n");
  });
  std::string url = "https://127.0.0.1:" + std::to_string(server.port()) + "/";
  EXPECT_EQ(CodeOf(client_->Send({.method = "POST", .url = url, .body = "x"})), ErrorCode::kUnavailable);
}

TEST_F(HttpClientTest, AConnectionLostAfterTheRequestIsUnknown) {
  RawServer server([](int fd, int) { ReadRequestHead(fd); });
  EXPECT_EQ(CodeOf(client_->Send({.method = "POST", .url = server.Url(), .body = "x"})),
            ErrorCode::kCommitStateUnknown);
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(HttpClientTest, ATruncatedAnswerIsUnknown) {
  RawServer server([](int fd, int) {
    ReadRequestHead(fd);
    SendText(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
  });
  EXPECT_EQ(CodeOf(client_->Send({.method = "POST", .url = server.Url(), .body = "x"})),
            ErrorCode::kCommitStateUnknown);
}

TEST_F(HttpClientTest, GarbageIsUnknown) {
  RawServer server([](int fd, int) {
    ReadRequestHead(fd);
    SendText(fd, std::string("\0\xff\xfe not http\r\n\r\n", 17));
  });
  EXPECT_EQ(CodeOf(client_->Send({.method = "POST", .url = server.Url(), .body = "x"})),
            ErrorCode::kCommitStateUnknown);
}

TEST_F(HttpClientTest, ATimeoutAfterTheRequestIsUnknown) {
  std::atomic<bool> done = false;
  RawServer server([&](int fd, int) {
    ReadRequestHead(fd);
    while (!done) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  });
  auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(CodeOf(client_->Send({.method = "POST", .url = server.Url(), .body = "x", .timeout_ms = 200})),
            ErrorCode::kCommitStateUnknown);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
  done = true;
}

TEST_F(HttpClientTest, ATimeoutWhileConnectingIsCertainlyNotSent) {
  // A listener whose queue is full answers no further SYN.
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(listen(listener, 0), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length), 0);
  std::vector<int> fillers;
  for (int i = 0; i < 4; ++i) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    (void)connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address));
    fillers.push_back(fd);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  std::string url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/";
  EXPECT_EQ(CodeOf(client_->Send({.method = "POST", .url = url, .body = "x", .timeout_ms = 300})),
            ErrorCode::kUnavailable);
  for (int fd : fillers) close(fd);
  close(listener);
}

// A keep-alive server that answers one request a connection and then drops the connection upon the next one.
void AnswerOnceThenDrop(int fd, int) {
  ReadRequestHead(fd);
  SendText(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  ReadRequestHead(fd);
}

TEST_F(HttpClientTest, APostIsNeverSentTwice) {
  RawServer server(AnswerOnceThenDrop);
  ASSERT_TRUE(client_->Send({.url = server.Url()}).has_value());
  EXPECT_EQ(CodeOf(client_->Send({.method = "POST", .url = server.Url("/commit")})), ErrorCode::kCommitStateUnknown);
}

TEST_F(HttpClientTest, AGetOverADeadConnectionIsRepeated) {
  RawServer server(AnswerOnceThenDrop);
  ASSERT_TRUE(client_->Send({.url = server.Url()}).has_value());
  auto answer = client_->Send({.url = server.Url()});
  ASSERT_TRUE(answer.has_value()) << answer.error().ToString();
  EXPECT_EQ(answer->body, "ok");
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(HttpClientTest, ConnectionsAreKeptAlive) {
  RawServer server([](int fd, int) {
    while (!ReadRequestHead(fd).empty()) SendText(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(client_->Send({.method = "POST", .url = server.Url()}).has_value());
  EXPECT_EQ(server.connections(), 1);
  client_.reset();
}

TEST_F(HttpClientTest, HeadersOfInterimResponsesAreForgotten) {
  RawServer server([](int fd, int) {
    ReadRequestHead(fd);
    SendText(fd, "HTTP/1.1 103 Early Hints\r\nX-A: early\r\n\r\n"
                 "HTTP/1.1 200 OK\r\nX-A:\r\nx-b:  v:1 \r\nContent-Length: 0\r\n\r\n");
  });
  auto answer = client_->Send({.url = server.Url()});
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->Header("x-a"), "");
  EXPECT_EQ(answer->Header("x-b"), "v:1");
}

TEST(HttpClientLimitTest, LargeAnswersAreRefused) {
  auto client = CurlHttpClient::Create({.response_bytes_max = 1'000, .response_header_bytes_max = 2'000}).value();
  RawServer body_server([](int fd, int) {
    ReadRequestHead(fd);
    SendText(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + std::string(1'001, 'x'));
  });
  EXPECT_EQ(CodeOf(client->Send({.url = body_server.Url()})), ErrorCode::kResourceExhausted);
  EXPECT_EQ(CodeOf(client->Send({.method = "POST", .url = body_server.Url()})), ErrorCode::kCommitStateUnknown);
  RawServer header_server([](int fd, int) {
    ReadRequestHead(fd);
    std::string head = "HTTP/1.1 200 OK\r\n";
    for (int i = 0; i < 100; ++i) head += "X-" + std::to_string(i) + ": " + std::string(50, 'y') + "\r\n";
    SendText(fd, head + "\r\n");
  });
  EXPECT_EQ(CodeOf(client->Send({.url = header_server.Url()})), ErrorCode::kResourceExhausted);
}

TEST_F(HttpClientTest, MalformedRequestsNeverLeave) {
  using Header = std::pair<std::string, std::string>;
  RawServer server([](int, int) {});
  for (std::string url : {"", "ftp://h/", "file:///etc/passwd", "h/path", "http://", "http://a b/", "http://h/\r\nX: y",
                          "http://h:99999999/"}) {
    EXPECT_EQ(CodeOf(client_->Send({.url = url})), ErrorCode::kInvalidInput) << url;
  }
  EXPECT_EQ(CodeOf(client_->Send({.method = "GET /x", .url = server.Url()})), ErrorCode::kInvalidInput);
  for (Header header : {Header{"X", "a\r\nY: b"}, Header{"X", std::string("a\0b", 3)}, Header{"X:Y", "a"},
                        Header{"", "a"}, Header{"X ", "a"}}) {
    EXPECT_EQ(CodeOf(client_->Send({.url = server.Url(), .headers = {header}})), ErrorCode::kInvalidInput);
  }
  EXPECT_EQ(server.connections(), 0);
}

TEST_F(HttpClientTest, SecretsStayOutOfMessages) {
  auto refused = client_->Send({.method = "POST",
                                .url = "http://user:pa55word@127.0.0.1:1/path?token=hush",
                                .headers = {{"Authorization", "Bearer hush"}},
                                .body = "client_secret=hush"});
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().message(), HasSubstr("http://127.0.0.1:1/path"));
  EXPECT_THAT(refused.error().message(), Not(HasSubstr("hush")));
  EXPECT_THAT(refused.error().message(), Not(HasSubstr("pa55word")));
  auto bad_header = client_->Send({.url = "http://127.0.0.1:1/", .headers = {{"Authorization", "Bearer hush\n"}}});
  EXPECT_THAT(bad_header.error().message(), Not(HasSubstr("hush")));
  auto bad_url = client_->Send({.url = "user:hush@host/"});
  EXPECT_THAT(bad_url.error().message(), Not(HasSubstr("hush")));
}

TEST(HttpClientOptionsTest, AnUnreadableCaFileIsInvalidInput) {
  auto client = CurlHttpClient::Create({.ca_file = "/nonexistent/ca.pem"});
  ASSERT_FALSE(client.has_value());
  EXPECT_EQ(client.error().code(), ErrorCode::kInvalidInput);
}

TEST(HttpClientSigningTest, SignsWithTheCredentialsOfTheMoment) {
  EchoServer server;
  std::string token = "first";
  auto client = CurlHttpClient::Create({.aws_sigv4 = [&]() -> Result<AwsSigV4> {
                  return AwsSigV4{"eu-west-1", "execute-api", "AKIDEXAMPLE", "secret", token};
                }}).value();
  ASSERT_TRUE(client->Send({.method = "POST", .url = server.Url("/v1/t"), .body = "x"}).has_value());
  std::string authorization = server.last().get_header_value("Authorization");
  EXPECT_THAT(authorization, HasSubstr("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"));
  EXPECT_THAT(authorization, HasSubstr("/eu-west-1/execute-api/aws4_request"));
  EXPECT_THAT(authorization, HasSubstr("x-amz-security-token"));
  EXPECT_THAT(authorization, Not(HasSubstr("secret,")));
  EXPECT_EQ(server.last().get_header_value("X-Amz-Security-Token"), "first");
  token = "second";
  ASSERT_TRUE(client->Send({.url = server.Url("/v1/t")}).has_value());
  EXPECT_EQ(server.last().get_header_value("X-Amz-Security-Token"), "second");
  token = "broken\r\nX-Evil: 1";
  EXPECT_EQ(CodeOf(client->Send({.url = server.Url("/v1/t")})), ErrorCode::kInvalidInput);
  auto none = CurlHttpClient::Create({.aws_sigv4 = []() -> Result<AwsSigV4> { return AwsSigV4{"r", "s"}; }}).value();
  EXPECT_EQ(CodeOf(none->Send({.url = server.Url("/")})), ErrorCode::kUnauthorized);
}

TEST_F(HttpClientTest, ThreadsShareOneClient) {
  EchoServer server;
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 6; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 10; ++i) {
          std::string body = std::to_string(t) + "/" + std::to_string(i);
          auto answer = client_->Send({.method = "PUT", .url = server.Url("/x"), .body = body});
          if (answer.has_value() && answer->body == "PUT " + body) ++good;
        }
      });
    }
  }
  EXPECT_EQ(good, 60);
}

TEST(HttpResponseTest, DateIsStrict) {
  auto date_ms = [](std::string text) { return HttpResponse{.headers = {{"date", std::move(text)}}}.DateMs(); };
  EXPECT_EQ(date_ms("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
  EXPECT_EQ(date_ms("Tue, 29 Feb 2028 23:59:59 GMT"), 1835481599000);
  EXPECT_EQ(date_ms("Wed, 31 Dec 1969 23:59:59 GMT"), -1000);
  for (std::string text : {"", "Thu, 01 Jan 1970 00:00:00", "Thu, 01 Jan 1970 00:00:00 UTC",
                           "Thu, 1 Jan 1970 00:00:00 GMT", "Fri, 01 Jan 1970 00:00:00 GMT",
                           "Thu, 30 Feb 2028 00:00:00 GMT", "Thu, 01 Jan 1970 24:00:00 GMT",
                           "Thu, 01 Foo 1970 00:00:00 GMT", "Thu, 0x Jan 1970 00:00:00 GMT",
                           "Thursday, 01-Jan-70 00:00:00 GMT", "Thu Jan  1 00:00:00 1970",
                           "Thu, 00 Jan 1970 00:00:00 GMT", "-hu, 01 Jan 19-0 00:00:00 GMT"}) {
    EXPECT_EQ(date_ms(text), std::nullopt) << text;
  }
  EXPECT_EQ(HttpResponse{}.DateMs(), std::nullopt);
}

}  // namespace
}  // namespace firn::env
