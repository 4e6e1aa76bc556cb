#include "firn/metrics/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

namespace firn::metrics {
namespace {

std::string ReadWhole(const char* path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// The `index`-th word (from 0) as a number.
std::optional<double> NumberAt(std::string_view text, int index) {
  for (int i = 0;; ++i) {
    size_t start = text.find_first_not_of(" \n");
    if (start == std::string_view::npos) return std::nullopt;
    text.remove_prefix(start);
    size_t end = std::min(text.find_first_of(" \n"), text.size());
    if (i == index) {
      double value = 0;
      auto [rest, error] = std::from_chars(text.data(), text.data() + end, value);
      if (error != std::errc()) return std::nullopt;
      return value;
    }
    text.remove_prefix(end);
  }
}

struct ProcessStat {
  double cpu_seconds = 0;
  double threads = 0;
  double virtual_bytes = 0;
  double resident_bytes = 0;
  double start_ticks_since_boot = 0;
};

// /proc/self/stat, proc(5): fields are counted from 1, and the second, the program's name, may hold any character, so
// counting starts behind its last parenthesis with field 3.
std::optional<ProcessStat> ReadProcessStat() {
  std::string text = ReadWhole("/proc/self/stat");
  size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::string_view fields = std::string_view(text).substr(name_end + 1);
  auto field = [&](int number) { return NumberAt(fields, number - 3); };
  auto user = field(14), system = field(15), threads = field(20), start = field(22), size = field(23), rss = field(24);
  if (!user || !system || !threads || !start || !size || !rss) return std::nullopt;
  double ticks_per_second = static_cast<double>(sysconf(_SC_CLK_TCK));
  return ProcessStat{(*user + *system) / ticks_per_second, *threads, *size,
                     *rss * static_cast<double>(sysconf(_SC_PAGESIZE)), *start};
}

std::optional<double> ReadBootTimeSeconds() {
  std::string text = ReadWhole("/proc/stat");
  size_t line = text.find("\nbtime ");
  if (line == std::string::npos) return std::nullopt;
  return NumberAt(std::string_view(text).substr(line), 1);
}

std::optional<double> CountOpenFds() {
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return std::nullopt;
  double count = -1;  // the directory itself is open while it is read
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] != '.') ++count;
  }
  closedir(directory);
  return count;
}

}  // namespace

void AddProcessMetrics(Registry& registry) {
  Gauge& resident = registry.gauge("process_resident_memory_bytes", "Memory of this process that is in RAM.");
  Gauge& virtual_size = registry.gauge("process_virtual_memory_bytes", "Address space of this process.");
  Counter& cpu = registry.counter("process_cpu_seconds_total", "CPU time used so far, user and kernel together.");
  Gauge& threads = registry.gauge("process_threads", "Threads of this process.");
  Gauge& open_fds = registry.gauge("process_open_fds", "File descriptors in use.");
  Gauge& max_fds = registry.gauge("process_max_fds", "File descriptors the process may have (soft limit).");
  Gauge& start = registry.gauge("process_start_time_seconds", "When the process started, in Unix time.");
  auto boot_seconds = ReadBootTimeSeconds();
  if (auto stat = ReadProcessStat(); stat && boot_seconds) {
    start.Set(*boot_seconds + stat->start_ticks_since_boot / static_cast<double>(sysconf(_SC_CLK_TCK)));
  }
  registry.OnCollect([&resident, &virtual_size, &cpu, &threads, &open_fds, &max_fds] {
    if (auto stat = ReadProcessStat()) {
      resident.Set(stat->resident_bytes);
      virtual_size.Set(stat->virtual_bytes);
      threads.Set(stat->threads);
      cpu.Add(stat->cpu_seconds - cpu.value());
    }
    if (auto count = CountOpenFds()) open_fds.Set(*count);
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) max_fds.Set(static_cast<double>(limit.rlim_cur));
  });
}

}  // namespace firn::metrics
