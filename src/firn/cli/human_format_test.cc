#include "firn/cli/human_format.h"

#include <gtest/gtest.h>

#include "firn/cli/progress.h"

namespace firn::cli {
namespace {

TEST(HumanFormat, CountsAreGrouped) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1000), "1,000");
  EXPECT_EQ(FormatCount(1234567), "1,234,567");
  EXPECT_EQ(FormatCount(-1000), "-1,000");
  EXPECT_EQ(FormatCount(-100), "-100");
}

TEST(HumanFormat, BytesAndDurationsHaveUnits) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(999), "999 B");
  EXPECT_EQ(FormatBytes(1500), "1.5 kB");
  EXPECT_EQ(FormatBytes(999'960), "1.0 MB");
  EXPECT_EQ(FormatBytes(3.2e9), "3.2 GB");
  EXPECT_EQ(FormatElapsedMs(800), "0.8s");
  EXPECT_EQ(FormatElapsedMs(12'900), "12s");
  EXPECT_EQ(FormatElapsedMs(65'000), "1m 05s");
  EXPECT_EQ(FormatElapsedMs(7'380'000), "2h 03m");
  EXPECT_GT(ResidentMemoryBytes(), 1'000'000);
}

TEST(RateMeter, RatesAreOverTheLastTenSamples) {
  RateMeter meter;
  EXPECT_EQ(meter.Add(0, 0, 0).records_per_second, 0);
  EXPECT_EQ(meter.Add(1000, 500, 1000).records_per_second, 500);
  for (int second = 2; second <= 20; ++second) meter.Add(second * 1000, 500, 1000);
  EXPECT_EQ(meter.Add(21'000, 500, 1000).records_per_second, 0);
  EXPECT_EQ(meter.Add(21'000, 500, 1000).bytes_per_second, 0);
}

}  // namespace
}  // namespace firn::cli
