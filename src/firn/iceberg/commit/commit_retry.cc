#include "firn/iceberg/commit/commit_retry.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <string>

#include "firn/base/log.h"

namespace firn::iceberg {
namespace {

constexpr int32_t kWaitDoublingsMax = 20;

int64_t PropertyOr(const TableMetadata& metadata, const std::string& key, int64_t fallback) {
  std::optional<std::string> text = metadata.Property(key);
  if (!text.has_value()) return fallback;
  int64_t value = 0;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size() || value < 0) {
    LogWarning("table property is not a number, the default holds", {{"property", key}, {"value", *text}});
    return fallback;
  }
  return value;
}

}  // namespace

RetryLimits RetryLimits::For(const TableMetadata& metadata) {
  RetryLimits limits;
  limits.retries = PropertyOr(metadata, "commit.retry.num-retries", limits.retries);
  limits.wait_ms_min = PropertyOr(metadata, "commit.retry.min-wait-ms", limits.wait_ms_min);
  limits.wait_ms_max =
      std::max(limits.wait_ms_min, PropertyOr(metadata, "commit.retry.max-wait-ms", limits.wait_ms_max));
  limits.total_timeout_ms = PropertyOr(metadata, "commit.retry.total-timeout-ms", limits.total_timeout_ms);
  return limits;
}

int64_t RetryLimits::BackoffMs(int32_t attempt, env::Random& random) const {
  const int64_t doubled_max = std::numeric_limits<int64_t>::max() >> kWaitDoublingsMax;
  int64_t base = std::min(wait_ms_min, doubled_max) << std::min(attempt, kWaitDoublingsMax);
  base = std::min(base, wait_ms_max);
  return base / 2 + static_cast<int64_t>(random.Next64() % static_cast<uint64_t>(base / 2 + 1));
}

bool RetryLimits::IsOver(int32_t attempt, int64_t elapsed_ms, int64_t wait_ms) const {
  const int64_t last_wait_at_ms = total_timeout_ms - std::min(wait_ms, total_timeout_ms);
  return attempt >= retries || elapsed_ms >= last_wait_at_ms;
}

}  // namespace firn::iceberg
