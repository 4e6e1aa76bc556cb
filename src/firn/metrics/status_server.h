// StatusServer: the HTTP pages of a running program for Prometheus, Kubernetes and people.
//
//   GET /metrics  the registry's text exposition
//   GET /healthz  200 while the process works, 503 when it must be restarted; a JSON body with the reasons
//   GET /readyz   200 when it does its job, 503 with the reasons otherwise
//   GET <page>    JSON pages that modules add
// Read-only, without authentication or TLS: listen on the loopback address, or put a proxy or network policy before it.
// Four threads of its own answer, one request a connection; up to 64 accepted connections wait, the rest stay in the
// kernel's queue. Registry, health source and what the pages refer to must outlive the server.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/metrics/metrics.h"

namespace firn::metrics {

struct HealthReason {
  std::string code;     // a stable word: "catalog_unreachable"
  std::string message;  // for people; no secrets
};

struct HealthState {
  bool ok = true;
  std::vector<HealthReason> reasons;  // may also hold warnings while ok
};

// Called on the server's threads; must answer quickly and be thread-safe.
class HealthSource {
 public:
  virtual ~HealthSource() = default;
  virtual HealthState Alive() = 0;
  virtual HealthState Ready() = 0;
};

class StatusServer {
 public:
  // `listen` is "host:port" or "[ipv6]:port"; port 0 takes a free one. kInvalidInput when it is malformed, in use or
  // not an address of this machine.
  static Result<std::unique_ptr<StatusServer>> Create(const std::string& listen, Registry& registry,
                                                      HealthSource& health);
  ~StatusServer();  // answers what it has accepted, then stops

  int port() const;
  // `json` gives the page's body, on a server thread. May be called at any time; the last page of a path counts.
  void AddPage(const std::string& path, std::function<std::string()> json);

 private:
  class Impl;
  explicit StatusServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace firn::metrics
