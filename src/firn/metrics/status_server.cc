#include "firn/metrics/status_server.h"

#include <fmt/format.h>
#include <httplib.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

namespace firn::metrics {
namespace {

constexpr int kThreads = 4;
constexpr size_t kWaitingConnectionsMax = 64;
constexpr time_t kSocketTimeoutSeconds = 5;
constexpr size_t kRequestBodyBytesMax = 1024;  // nobody sends one
constexpr const char* kJsonType = "application/json";
constexpr const char* kExpositionType = "text/plain; version=0.0.4; charset=utf-8";

// httplib's own pool takes any number of connections; this one makes the accepting thread wait.
class BoundedThreads final : public httplib::TaskQueue {
 public:
  BoundedThreads() {
    for (int i = 0; i < kThreads; ++i) threads_.emplace_back([this] { Work(); });
  }

  void enqueue(std::function<void()> task) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return tasks_.size() < kWaitingConnectionsMax; });
    tasks_.push_back(std::move(task));
    changed_.notify_all();
  }

  void shutdown() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    threads_.clear();
  }

 private:
  void Work() {
    while (true) {
      std::function<void()> task;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return !tasks_.empty() || stopping_; });
        if (tasks_.empty()) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      changed_.notify_all();
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::vector<std::jthread> threads_;
};

struct ListenAddress {
  std::string host;
  int port = 0;
};

Result<ListenAddress> ParseListen(std::string_view text) {
  auto bad = [&] {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("a listen address is host:port or [ipv6]:port, port 0 to 65535: '{}'", text));
  };
  size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad();
  std::string_view host = text.substr(0, colon);
  std::string_view digits = text.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return bad();
  }
  ListenAddress address{std::string(host)};
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), address.port);
  bool whole = error == std::errc() && end == digits.data() + digits.size();
  if (host.empty() || !whole || address.port < 0 || address.port > 65535) return bad();
  return address;
}

std::string HealthJson(const HealthState& state) {
  nlohmann::json reasons = nlohmann::json::array();
  for (const HealthReason& reason : state.reasons) {
    reasons.push_back({{"code", reason.code}, {"message", reason.message}});
  }
  nlohmann::json body = {{"status", state.ok ? "ok" : "failing"}, {"reasons", std::move(reasons)}};
  // Messages can quote names from outside; bytes that are not UTF-8 must not throw.
  return body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

void Answer(httplib::Response& response, int status, const std::string& body, const char* type) {
  response.status = status;
  response.set_content(body, type);
}

}  // namespace

class StatusServer::Impl {
 public:
  Impl(Registry& registry, HealthSource& health) : registry_(registry), health_(health) {
    server_.new_task_queue = [] { return new BoundedThreads(); };
    server_.set_read_timeout(kSocketTimeoutSeconds);
    server_.set_write_timeout(kSocketTimeoutSeconds);
    server_.set_payload_max_length(kRequestBodyBytesMax);
    // A kept-alive connection would hold one of the few threads.
    server_.set_keep_alive_max_count(1);
    // httplib's default, SO_REUSEPORT, would let two programs share a port and each answer half of the scrapes.
    server_.set_socket_options([](int socket) {
      int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    server_.Get(".*", [this](const httplib::Request& request, httplib::Response& response) {
      Serve(request.path, response);
    });
  }

  ~Impl() {
    if (server_.is_running()) server_.stop();
  }

  Status Start(const std::string& listen) {
    FIRN_ASSIGN(ListenAddress address, ParseListen(listen));
    errno = 0;
    if (address.port == 0) {
      port_ = server_.bind_to_any_port(address.host);
    } else {
      port_ = server_.bind_to_port(address.host, address.port) ? address.port : -1;
    }
    if (port_ <= 0) {
      std::string reason = errno == 0 ? "not an address" : std::error_code(errno, std::generic_category()).message();
      return Fail(ErrorCode::kInvalidInput, fmt::format("cannot listen ({}); choose another address or stop what "
                                                        "holds it: '{}'", reason, listen));
    }
    thread_ = std::jthread([this] {
      server_.listen_after_bind();
      ended_ = true;
    });
    // stop() does nothing before the loop runs.
    while (!server_.is_running() && !ended_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return {};
  }

  void AddPage(const std::string& path, std::function<std::string()> json) {
    auto page = std::make_shared<const std::function<std::string()>>(std::move(json));
    std::lock_guard lock(mutex_);
    pages_[path] = std::move(page);
  }

  int port() const { return port_; }

 private:
  void Serve(const std::string& path, httplib::Response& response) {
    if (path == "/metrics") return Answer(response, 200, registry_.ExposeText(), kExpositionType);
    if (path == "/healthz" || path == "/readyz") {
      HealthState state = path == "/healthz" ? health_.Alive() : health_.Ready();
      return Answer(response, state.ok ? 200 : 503, HealthJson(state), kJsonType);
    }
    std::shared_ptr<const std::function<std::string()>> page;
    {
      std::lock_guard lock(mutex_);
      if (auto found = pages_.find(path); found != pages_.end()) page = found->second;
    }
    if (page != nullptr) return Answer(response, 200, (*page)(), kJsonType);
    Answer(response, 404, "{\"status\":\"no such page\"}\n", kJsonType);
  }

  Registry& registry_;
  HealthSource& health_;
  httplib::Server server_;
  int port_ = -1;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const std::function<std::string()>>> pages_;
  std::atomic<bool> ended_ = false;
  std::jthread thread_;  // last: joins before what it uses goes
};

Result<std::unique_ptr<StatusServer>> StatusServer::Create(const std::string& listen, Registry& registry,
                                                           HealthSource& health) {
  auto impl = std::make_unique<Impl>(registry, health);
  FIRN_TRY(impl->Start(listen));
  return std::unique_ptr<StatusServer>(new StatusServer(std::move(impl)));
}

StatusServer::StatusServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
StatusServer::~StatusServer() = default;

int StatusServer::port() const { return impl_->port(); }

void StatusServer::AddPage(const std::string& path, std::function<std::string()> json) {
  impl_->AddPage(path, std::move(json));
}

}  // namespace firn::metrics
