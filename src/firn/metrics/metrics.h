// Metrics: counters, gauges and histograms of one process, in Prometheus' text format (names: docs/metrics.md).
//
// Thread-safe. A Registry belongs to the program; modules get a reference and ask once for the series they write, then
// update them without a lock (a histogram takes a short one of its own). Units stand last in names (_seconds, _bytes,
// _total), as Prometheus' conventions want. Names, help, label names and buckets are the program's own constants and
// checked; label values come from outside: bytes that are not UTF-8 become '?', and beyond kSeriesOfNameMax label sets
// of one name, further ones share a series whose label values are all "_overflow".
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace firn::metrics {

using Labels = std::map<std::string, std::string>;

inline constexpr size_t kSeriesOfNameMax = 10'000;

class Counter {
 public:
  virtual ~Counter() = default;
  virtual void Add(double amount = 1) = 0;  // a negative amount is ignored
  virtual double value() const = 0;
};

class Gauge {
 public:
  virtual ~Gauge() = default;
  virtual void Set(double value) = 0;
  virtual double value() const = 0;
};

class Histogram {
 public:
  virtual ~Histogram() = default;
  virtual void Observe(double value) = 0;
};

class Registry {
 public:
  Registry();
  ~Registry();
  // The same name and labels give the same series. The reference lives as long as the registry (RemoveGauge excepted).
  Counter& counter(const std::string& name, const std::string& help, const Labels& labels = {});
  Gauge& gauge(const std::string& name, const std::string& help, const Labels& labels = {});
  Histogram& histogram(const std::string& name, const std::string& help, const std::vector<double>& buckets,
                       const Labels& labels = {});
  // Takes a series out of the exposition; its reference is no longer to be used. For label values that come and go.
  void RemoveGauge(const std::string& name, const Labels& labels);
  // Runs before each exposition, on its thread: for values that are read where they live (memory, queue lengths). What
  // it refers to must outlive the registry's last exposition.
  void OnCollect(std::function<void()> refresh);
  std::string ExposeText();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace firn::metrics
