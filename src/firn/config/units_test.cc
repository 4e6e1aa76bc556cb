#include "firn/config/units.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace firn::config {
namespace {

TEST(Units, DurationsHaveUnitsAndComeOutInMilliseconds) {
  EXPECT_EQ(ParseDurationMs("500ms").value(), 500);
  EXPECT_EQ(ParseDurationMs("60s").value(), 60'000);
  EXPECT_EQ(ParseDurationMs("60 s").value(), 60'000);
  EXPECT_EQ(ParseDurationMs("1.5s").value(), 1500);
  EXPECT_EQ(ParseDurationMs("2m").value(), 120'000);
  EXPECT_EQ(ParseDurationMs("6h").value(), 21'600'000);
  EXPECT_EQ(ParseDurationMs("30d").value(), 2'592'000'000);
  EXPECT_EQ(ParseDurationMs("0").value(), 0);
}

TEST(Units, WhatIsNoDurationIsRefused) {
  for (std::string text : {"", "60", "s", "-1s", "1.s", ".5s", "1.5ms", "1w", "1S", "0x10s", "1e3s", "1s1s", " 1s",
                           "1..5s", "99999999999999999999s", "9223372036854775807d", "1.0000000000000000001s", "\0s"}) {
    EXPECT_EQ(ParseDurationMs(text).error().code(), ErrorCode::kInvalidInput) << text;
  }
}

TEST(Units, SizesTellBinaryFromDecimal) {
  EXPECT_EQ(ParseSizeBytes("10B").value(), 10);
  EXPECT_EQ(ParseSizeBytes("256MiB").value(), 268'435'456);
  EXPECT_EQ(ParseSizeBytes("256MB").value(), 256'000'000);
  EXPECT_EQ(ParseSizeBytes("1.5KiB").value(), 1536);
  EXPECT_EQ(ParseSizeBytes("64kB").value(), 64'000);
  EXPECT_EQ(ParseSizeBytes("2GiB").value(), int64_t{2} << 30);
  for (std::string text : {"256", "256M", "256mb", "MiB", "-1B", "0.3B", "8388608TiB"}) {
    EXPECT_EQ(ParseSizeBytes(text).error().code(), ErrorCode::kInvalidInput) << text;
  }
}

TEST(Units, PercentagesHaveTheirSign) {
  EXPECT_EQ(ParsePercent("25%").value(), 25);
  EXPECT_EQ(ParsePercent("100 %").value(), 100);
  EXPECT_EQ(ParsePercent("0").value(), 0);
  EXPECT_EQ(FormatPercent(25), "25%");
  for (std::string text : {"", "25", "0.25", "2.5%", "-1%", "%", "25%%", "1e2%"}) {
    EXPECT_EQ(ParsePercent(text).error().code(), ErrorCode::kInvalidInput) << text;
  }
}

TEST(Units, PointsInTimeFollowRfc3339) {
  EXPECT_EQ(ParseTimestampMs("1970-01-01T00:00:00Z").value(), 0);
  EXPECT_EQ(ParseTimestampMs("2026-11-22").value(), 1'795'305'600'000);
  EXPECT_EQ(ParseTimestampMs("2026-11-22T00:00:00Z").value(), 1'795'305'600'000);
  EXPECT_EQ(ParseTimestampMs("2026-11-22T01:00:00+01:00").value(), 1'795'305'600'000);
  EXPECT_EQ(ParseTimestampMs("2026-11-21T22:30:00.250-01:30").value(), 1'795'305'600'250);
  EXPECT_EQ(ParseTimestampMs("1969-12-31T23:59:59Z").value(), -1000);
  for (std::string text : {"", "now", "2026-13-01", "2026-02-30", "2026-11-22T00:00:00", "2026-11-22T24:00:00Z",
                           "2026-11-22T00:00:60Z", "2026-11-22T00:00:00Zx", "2026-11-22T00:00:00.Z",
                           "2026-11-22T00:00:00+1:00", "26-11-22", "2026-11-22T00:00:00.1234Z"}) {
    EXPECT_EQ(ParseTimestampMs(text).error().code(), ErrorCode::kInvalidInput) << text;
  }
}

TEST(Units, FormattedValuesReadBack) {
  for (int64_t value : std::vector<int64_t>{0, 1, 999, 1000, 60'000, 61'000, 86'400'000, 90'061'001}) {
    EXPECT_EQ(ParseDurationMs(FormatDurationMs(value)).value(), value);
    EXPECT_EQ(ParseSizeBytes(FormatSizeBytes(value)).value(), value);
    EXPECT_EQ(ParseTimestampMs(FormatTimestampMs(value)).value(), value);
  }
  EXPECT_EQ(FormatDurationMs(3'600'000), "1h");
  EXPECT_EQ(FormatSizeBytes(512 << 20), "512MiB");
  EXPECT_EQ(FormatTimestampMs(1'795'305'600'250), "2026-11-22T00:00:00.250Z");
}

}  // namespace
}  // namespace firn::config
