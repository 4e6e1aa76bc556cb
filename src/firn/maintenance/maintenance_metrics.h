// MaintenanceMetrics: the series that maintenance in the loop writes (docs/metrics.md). One thread's; the registry is
// thread-safe.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "firn/base/error.h"
#include "firn/maintenance/schedule.h"
#include "firn/metrics/metrics.h"

namespace firn::maintenance {

struct Freed;

class MaintenanceMetrics {
 public:
  MaintenanceMetrics(metrics::Registry& registry, metrics::Labels labels)
      : registry_(registry), labels_(std::move(labels)) {}

  void Count(const Job& job, const Freed& freed, double cpu_s, const std::optional<Error>& error);
  void Forget(const Job& job);

 private:
  metrics::Labels With(const Job& job) const;

  metrics::Registry& registry_;
  const metrics::Labels labels_;
};

}  // namespace firn::maintenance
