// Process metrics: what Prometheus' client conventions want of every process, read from /proc at each exposition.
//
// process_resident_memory_bytes, process_virtual_memory_bytes, process_cpu_seconds_total, process_open_fds,
// process_max_fds, process_start_time_seconds, process_threads. A value that cannot be read keeps its last state.
#pragma once

#include "firn/metrics/metrics.h"

namespace firn::metrics {

// Call once a registry.
void AddProcessMetrics(Registry& registry);

}  // namespace firn::metrics
