#include "firn/metrics/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <exception>
#include <mutex>
#include <string_view>
#include <utility>

#include "firn/base/check.h"

namespace firn::metrics {
namespace {

class PrometheusCounter final : public Counter {
 public:
  explicit PrometheusCounter(prometheus::Counter& series) : series_(series) {}
  void Add(double amount) override { series_.Increment(amount); }
  double value() const override { return series_.Value(); }

 private:
  prometheus::Counter& series_;
};

class PrometheusGauge final : public Gauge {
 public:
  explicit PrometheusGauge(prometheus::Gauge& series) : series_(series) {}
  prometheus::Gauge& series() { return series_; }
  void Set(double value) override { series_.Set(value); }
  double value() const override { return series_.Value(); }

 private:
  prometheus::Gauge& series_;
};

class PrometheusHistogram final : public Histogram {
 public:
  explicit PrometheusHistogram(prometheus::Histogram& series) : series_(series) {}
  void Observe(double value) override { series_.Observe(value); }

 private:
  prometheus::Histogram& series_;
};

// The length of the UTF-8 sequence at the start of `text`, 0 when there is none (RFC 3629: no surrogates, no overlong).
size_t Utf8SequenceLength(std::string_view text) {
  auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  auto continues = [&](size_t i, unsigned low = 0x80, unsigned high = 0xbf) {
    return byte(i) >= low && byte(i) <= high;
  };
  unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    bool second = continues(1, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf);
    return second && continues(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    bool second = continues(1, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf);
    return second && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

// One label value that is not UTF-8 would make Prometheus drop the whole exposition.
std::string ToUtf8(std::string_view text) {
  std::string clean;
  clean.reserve(text.size());
  while (!text.empty()) {
    size_t length = Utf8SequenceLength(text);
    if (length == 0) {
      clean += '?';
    } else {
      clean += text.substr(0, length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return clean;
}

template <typename Interface>
using SeriesByLabels = std::map<Labels, std::unique_ptr<Interface>>;

}  // namespace

class Registry::Impl {
 public:
  Counter& counter(const std::string& name, const std::string& help, const Labels& labels) {
    return Find<PrometheusCounter>(counters_[name], labels, [&](const Labels& used) -> prometheus::Counter& {
      return prometheus::BuildCounter().Name(name).Help(help).Register(registry_).Add(used);
    });
  }

  Gauge& gauge(const std::string& name, const std::string& help, const Labels& labels) {
    return Find<PrometheusGauge>(gauges_[name], labels, [&](const Labels& used) -> prometheus::Gauge& {
      prometheus::Family<prometheus::Gauge>& family =
          prometheus::BuildGauge().Name(name).Help(help).Register(registry_);
      gauge_families_[name] = &family;
      return family.Add(used);
    });
  }

  void RemoveGauge(const std::string& name, const Labels& labels) {
    auto family = gauge_families_.find(name);
    if (family == gauge_families_.end()) return;
    SeriesByLabels<Gauge>& series = gauges_[name];
    auto found = series.find(Cleaned(labels));
    if (found == series.end()) return;
    family->second->Remove(&static_cast<PrometheusGauge&>(*found->second).series());
    series.erase(found);
  }

  Histogram& histogram(const std::string& name, const std::string& help, const std::vector<double>& buckets,
                       const Labels& labels) {
    FIRN_CHECK(std::ranges::is_sorted(buckets), "histogram buckets must ascend: " + name);
    return Find<PrometheusHistogram>(histograms_[name], labels, [&](const Labels& used) -> prometheus::Histogram& {
      return prometheus::BuildHistogram().Name(name).Help(help).Register(registry_).Add(used, buckets);
    });
  }

  // Every map access happens under this lock, taken by the Registry's members.
  std::mutex mutex_;
  prometheus::Registry registry_;
  std::mutex refreshers_mutex_;
  std::vector<std::function<void()>> refreshers_;

 private:
  static Labels Cleaned(const Labels& labels) {
    Labels clean;
    for (const auto& [name, value] : labels) clean[name] = ToUtf8(value);
    return clean;
  }

  template <typename Adapter, typename Interface, typename Make>
  static Interface& Find(SeriesByLabels<Interface>& series, const Labels& labels, Make make) {
    Labels used = Cleaned(labels);
    auto found = series.find(used);
    if (found == series.end() && series.size() >= kSeriesOfNameMax && !used.empty()) {
      for (auto& [name, value] : used) value = "_overflow";
      found = series.find(used);
    }
    if (found != series.end()) return *found->second;
    try {
      return *series.emplace(used, std::make_unique<Adapter>(make(used))).first->second;
    } catch (const std::exception& thrown) {
      // A malformed name, or one name for two kinds of metric: a mistake in our source.
      CheckFailed("metric name and labels are well-formed", __FILE__, __LINE__, thrown.what());
    }
  }

  std::map<std::string, SeriesByLabels<Counter>> counters_;
  std::map<std::string, SeriesByLabels<Gauge>> gauges_;
  std::map<std::string, prometheus::Family<prometheus::Gauge>*> gauge_families_;
  std::map<std::string, SeriesByLabels<Histogram>> histograms_;
};

Registry::Registry() : impl_(std::make_unique<Impl>()) {}
Registry::~Registry() = default;

Counter& Registry::counter(const std::string& name, const std::string& help, const Labels& labels) {
  std::lock_guard lock(impl_->mutex_);
  return impl_->counter(name, help, labels);
}

Gauge& Registry::gauge(const std::string& name, const std::string& help, const Labels& labels) {
  std::lock_guard lock(impl_->mutex_);
  return impl_->gauge(name, help, labels);
}

void Registry::RemoveGauge(const std::string& name, const Labels& labels) {
  std::lock_guard lock(impl_->mutex_);
  impl_->RemoveGauge(name, labels);
}

Histogram& Registry::histogram(const std::string& name, const std::string& help, const std::vector<double>& buckets,
                               const Labels& labels) {
  std::lock_guard lock(impl_->mutex_);
  return impl_->histogram(name, help, buckets, labels);
}

void Registry::OnCollect(std::function<void()> refresh) {
  std::lock_guard lock(impl_->refreshers_mutex_);
  impl_->refreshers_.push_back(std::move(refresh));
}

std::string Registry::ExposeText() {
  {
    // One exposition at a time: a refresher need not be thread-safe against itself. It may ask for series, so the
    // series' own lock is free meanwhile.
    std::lock_guard lock(impl_->refreshers_mutex_);
    for (const auto& refresh : impl_->refreshers_) refresh();
  }
  return prometheus::TextSerializer().Serialize(impl_->registry_.Collect());
}

}  // namespace firn::metrics
