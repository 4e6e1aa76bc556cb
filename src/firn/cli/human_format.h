// Figures for people: "1,234,567", "3.2 MB", "12.5 MB/s", "1m 05s".
//
// Pure.
#pragma once

#include <cstdint>
#include <string>

namespace firn::cli {

std::string FormatCount(int64_t count);            // "1,234,567"
std::string FormatBytes(double bytes);             // decimal units: "999 B", "1.2 MB"
std::string FormatElapsedMs(int64_t duration_ms);  // "0.8s", "12s", "1m 05s", "2h 03m"
int64_t ResidentMemoryBytes();                     // of this process; 0 when /proc does not say

}  // namespace firn::cli
