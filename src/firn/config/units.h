// Durations, sizes and points in time as people write them, and back.
//
// Pure. A number never stands without its unit: "60s", "500ms", "256MiB"; 0 needs none. Errors are kInvalidInput and
// name what would have been right, not the value: the caller knows whether the value may be shown.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "firn/base/error.h"

namespace firn::config {

// ms, s, m, h, d; decimals where they come out as whole milliseconds ("1.5s"). Never negative.
Result<int64_t> ParseDurationMs(std::string_view text);
// B, KiB, MiB, GiB, TiB (1024) and kB, MB, GB, TB (1000); whole bytes. Never negative.
Result<int64_t> ParseSizeBytes(std::string_view text);
// "25%", whole; 0 without a sign. Never negative.
Result<int64_t> ParsePercent(std::string_view text);
// RFC 3339: "2026-11-22T00:00:00Z", an offset "+01:00", a fraction up to ms, or a date alone (midnight UTC).
Result<int64_t> ParseTimestampMs(std::string_view text);

// The shortest exact form: 90000 → "90s", 3600000 → "1h", 0 → "0s".
std::string FormatDurationMs(int64_t duration_ms);
std::string FormatSizeBytes(int64_t bytes);           // binary units: "256MiB", "1000B"
std::string FormatPercent(int64_t percent);           // "25%"
std::string FormatTimestampMs(int64_t timestamp_ms);  // "2026-11-22T00:00:00Z", with ".123" when needed

}  // namespace firn::config
