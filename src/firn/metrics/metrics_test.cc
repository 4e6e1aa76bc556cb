#include "firn/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <thread>

#include "firn/metrics/process_metrics.h"

namespace firn::metrics {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// The value of the sample line that starts with `series` and a space; NaN when there is none.
double SampleOf(const std::string& text, const std::string& series) {
  size_t at = ("\n" + text).find("\n" + series + " ");
  return at == std::string::npos ? NAN : std::strtod(text.c_str() + at + series.size() + 1, nullptr);
}

TEST(RegistryTest, SameNameAndLabelsAreOneSeries) {
  Registry registry;
  Counter& first = registry.counter("firn_rows_total", "Rows.", {{"table", "a"}});
  Counter& again = registry.counter("firn_rows_total", "Rows.", {{"table", "a"}});
  Counter& other = registry.counter("firn_rows_total", "Rows.", {{"table", "b"}});
  first.Add(2);
  again.Add();
  other.Add(10);
  first.Add(-5);
  EXPECT_EQ(&first, &again);
  EXPECT_EQ(first.value(), 3);
  std::string text = registry.ExposeText();
  EXPECT_EQ(SampleOf(text, "firn_rows_total{table=\"a\"}"), 3);
  EXPECT_EQ(SampleOf(text, "firn_rows_total{table=\"b\"}"), 10);
  EXPECT_THAT(text, HasSubstr("# TYPE firn_rows_total counter"));
}

TEST(RegistryTest, GaugesAndHistograms) {
  Registry registry;
  registry.gauge("firn_lag_seconds", "Lag.").Set(-1.5);
  Histogram& histogram = registry.histogram("firn_commit_seconds", "Commits.", {0.1, 1, 10});
  histogram.Observe(0.1);
  histogram.Observe(5);
  histogram.Observe(100);
  std::string text = registry.ExposeText();
  EXPECT_EQ(SampleOf(text, "firn_lag_seconds"), -1.5);
  EXPECT_EQ(SampleOf(text, "firn_commit_seconds_bucket{le=\"0.1\"}"), 1);
  EXPECT_EQ(SampleOf(text, "firn_commit_seconds_bucket{le=\"1\"}"), 1);
  EXPECT_EQ(SampleOf(text, "firn_commit_seconds_bucket{le=\"10\"}"), 2);
  EXPECT_EQ(SampleOf(text, "firn_commit_seconds_bucket{le=\"+Inf\"}"), 3);
  EXPECT_EQ(SampleOf(text, "firn_commit_seconds_count"), 3);
  EXPECT_DOUBLE_EQ(SampleOf(text, "firn_commit_seconds_sum"), 105.1);
}

TEST(RegistryTest, RefreshersRunBeforeEachExpositionAndMayAskForSeries) {
  Registry registry;
  int runs = 0;
  registry.OnCollect([&] { registry.gauge("firn_runs", "Runs.").Set(++runs); });
  registry.ExposeText();
  EXPECT_EQ(SampleOf(registry.ExposeText(), "firn_runs"), 2);
}

TEST(RegistryTest, LabelValuesFromOutsideCannotBreakTheExposition) {
  Registry registry;
  std::string hostile = "a\"b\\c\nfirn_fake 1\n\xff\xc0\xaf\xed\xa0\x80\xe2\x82\xac";
  registry.counter("firn_rows_total", "Rows.", {{"table", hostile}}).Add();
  std::string text = registry.ExposeText();
  EXPECT_THAT(text, Not(HasSubstr("\nfirn_fake 1\n")));
  EXPECT_THAT(text, Not(HasSubstr("\xff")));
  EXPECT_THAT(text, HasSubstr("??????\xe2\x82\xac\""));
}

TEST(RegistryTest, TooManyLabelSetsShareOneSeries) {
  Registry registry;
  for (size_t i = 0; i < kSeriesOfNameMax + 50; ++i) {
    registry.counter("firn_rows_total", "Rows.", {{"table", std::to_string(i)}}).Add();
  }
  registry.counter("firn_rows_total", "Rows.", {{"table", "7"}}).Add();
  std::string text = registry.ExposeText();
  EXPECT_EQ(SampleOf(text, "firn_rows_total{table=\"_overflow\"}"), 50);
  EXPECT_EQ(SampleOf(text, "firn_rows_total{table=\"7\"}"), 2);
}

TEST(RegistryTest, ARemovedGaugeIsNoLongerShownAndMayComeBack) {
  Registry registry;
  registry.gauge("firn_files", "Files.", {{"partition", "a\xff"}}).Set(1);
  registry.gauge("firn_files", "Files.", {{"partition", "b"}}).Set(2);
  registry.RemoveGauge("firn_files", {{"partition", "a\xff"}});
  registry.RemoveGauge("firn_files", {{"partition", "never there"}});
  registry.RemoveGauge("firn_nothing", {});
  std::string text = registry.ExposeText();
  EXPECT_THAT(text, Not(HasSubstr("partition=\"a")));
  EXPECT_EQ(SampleOf(text, "firn_files{partition=\"b\"}"), 2);
  registry.gauge("firn_files", "Files.", {{"partition", "a\xff"}}).Set(3);
  EXPECT_EQ(SampleOf(registry.ExposeText(), "firn_files{partition=\"a?\"}"), 3);
}

TEST(RegistryTest, ManyThreadsWriteWhileOneReads) {
  Registry registry;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&registry] {
      for (int i = 0; i < 2000; ++i) {
        registry.counter("firn_rows_total", "Rows.", {{"n", std::to_string(i % 10)}}).Add();
      }
    });
  }
  for (int i = 0; i < 20; ++i) registry.ExposeText();
  threads.clear();
  EXPECT_EQ(registry.counter("firn_rows_total", "Rows.", {{"n", "3"}}).value(), 800);
}

TEST(RegistryDeathTest, OneNameForTwoKindsIsOurBug) {
  Registry registry;
  registry.counter("firn_rows_total", "Rows.");
  EXPECT_DEATH(registry.gauge("firn_rows_total", "Rows."), "");
  EXPECT_DEATH(registry.gauge("firn rows", "Rows."), "");
}

TEST(ProcessMetricsTest, SaysWhatTheKernelSays) {
  Registry registry;
  AddProcessMetrics(registry);
  double spun = 0;
  auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(60);
  while (std::chrono::steady_clock::now() < end) spun += std::abs(spun) + 1e-9;
  std::string text = registry.ExposeText();
  double now = static_cast<double>(time(nullptr));
  EXPECT_GT(SampleOf(text, "process_resident_memory_bytes"), 1e6);
  EXPECT_LT(SampleOf(text, "process_resident_memory_bytes"), 1e10);
  EXPECT_GE(SampleOf(text, "process_virtual_memory_bytes"), SampleOf(text, "process_resident_memory_bytes"));
  EXPECT_GT(SampleOf(text, "process_cpu_seconds_total"), 0);
  EXPECT_LT(SampleOf(text, "process_cpu_seconds_total"), 600);
  EXPECT_GE(SampleOf(text, "process_threads"), 1);
  EXPECT_NEAR(SampleOf(text, "process_start_time_seconds"), now, 600);
  EXPECT_GT(SampleOf(text, "process_max_fds"), 0);
}

TEST(ProcessMetricsTest, CountsOpenFileDescriptors) {
  Registry registry;
  AddProcessMetrics(registry);
  double before = SampleOf(registry.ExposeText(), "process_open_fds");
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  EXPECT_EQ(SampleOf(registry.ExposeText(), "process_open_fds"), before + 2);
  close(fds[0]);
  close(fds[1]);
  EXPECT_EQ(SampleOf(registry.ExposeText(), "process_open_fds"), before);
}

}  // namespace
}  // namespace firn::metrics
