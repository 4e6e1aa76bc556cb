// How often, and after which waits, a commit that lost is tried again: the table's commit.retry.* properties, Java's
// names and defaults.
//
// Pure, but for the warning about a property that is no number.
#pragma once

#include <cstdint>

#include "firn/env/clock.h"
#include "firn/iceberg/spec/table_metadata.h"

namespace firn::iceberg {

struct RetryLimits {
  int64_t retries = 4;
  int64_t wait_ms_min = 100;
  int64_t wait_ms_max = 60'000;
  int64_t total_timeout_ms = 30 * 60'000;

  static RetryLimits For(const TableMetadata& metadata);
  // Doubles with each attempt (the first is 0), with a random half so that two losers do not meet again.
  int64_t BackoffMs(int32_t attempt, env::Random& random) const;
  // Is there neither an attempt left nor the time for this wait?
  bool IsOver(int32_t attempt, int64_t elapsed_ms, int64_t wait_ms) const;
};

}  // namespace firn::iceberg
