#include "firn/env/testing/faulty_store.h"

#include <fmt/format.h>

#include <array>
#include <mutex>
#include <optional>
#include <utility>

namespace firn::env {
namespace {

constexpr size_t kCalls = static_cast<size_t>(StoreCall::kAny) + 1;

}  // namespace

struct FaultyStore::State {
  struct Armed {
    Fault fault;
    int64_t seen = 0;
  };

  State(ObjectStore& inner_store, Clock& store_clock) : inner(inner_store), clock(store_clock) {}

  // Counts the call, sleeps as told, and gives the fault that applies to it.
  std::optional<Fault> Enter(StoreCall call, const std::string& location) {
    std::optional<Fault> hit;
    int64_t delay_ms = 0;
    {
      std::lock_guard lock(mutex);
      ++counts[static_cast<size_t>(call)];
      ++counts[static_cast<size_t>(StoreCall::kAny)];
      for (Armed& armed : faults) {
        const Fault& fault = armed.fault;
        if (fault.call != StoreCall::kAny && fault.call != call) continue;
        if (location.find(fault.location_contains) == std::string::npos) continue;
        ++armed.seen;
        bool applies = fault.persistent ? armed.seen >= fault.nth : armed.seen == fault.nth;
        if (!applies) continue;
        ++hits;
        delay_ms += fault.delay_ms;
        if (fault.fails && !hit) hit = fault;
      }
    }
    if (delay_ms > 0) clock.SleepMs(delay_ms, {});
    return hit;
  }

  // Runs one call under the faults; `call_inner` returns a Status or Result.
  template <typename CallInner>
  auto Run(StoreCall call, const std::string& location, CallInner call_inner) -> decltype(call_inner()) {
    std::optional<Fault> fault = Enter(call, location);
    if (fault && !fault->after_effect) return Injected(*fault, location);
    auto result = call_inner();
    if (fault && result.has_value()) return Injected(*fault, location);
    return result;
  }

  static std::unexpected<Error> Injected(const Fault& fault, const std::string& location) {
    return Fail(fault.code, fmt::format("injected fault {} effect: '{}'", fault.after_effect ? "after" : "before",
                                        location));
  }

  ObjectStore& inner;
  Clock& clock;
  std::mutex mutex;
  std::vector<Armed> faults;
  std::array<int64_t, kCalls> counts{};
  int64_t hits = 0;
};

class FaultyStore::Writer final : public ObjectWriter {
 public:
  Writer(std::shared_ptr<State> state, std::unique_ptr<ObjectWriter> inner, std::string location)
      : state_(std::move(state)), inner_(std::move(inner)), location_(std::move(location)) {}
  Status Append(std::string_view bytes) override {
    return state_->Run(StoreCall::kAppend, location_, [&] { return inner_->Append(bytes); });
  }
  Status Close() override {
    return state_->Run(StoreCall::kClose, location_, [&] { return inner_->Close(); });
  }
  int64_t bytes_written() const override { return inner_->bytes_written(); }

 private:
  std::shared_ptr<State> state_;
  std::unique_ptr<ObjectWriter> inner_;
  const std::string location_;
};

FaultyStore::FaultyStore(ObjectStore& inner, Clock& clock) : state_(std::make_shared<State>(inner, clock)) {}
FaultyStore::~FaultyStore() = default;

void FaultyStore::Inject(Fault fault) {
  std::lock_guard lock(state_->mutex);
  state_->faults.push_back({std::move(fault), 0});
}

void FaultyStore::ClearFaults() {
  std::lock_guard lock(state_->mutex);
  state_->faults.clear();
}

int64_t FaultyStore::calls(StoreCall call) const {
  std::lock_guard lock(state_->mutex);
  return state_->counts[static_cast<size_t>(call)];
}

int64_t FaultyStore::faults_hit() const {
  std::lock_guard lock(state_->mutex);
  return state_->hits;
}

Result<std::unique_ptr<ObjectWriter>> FaultyStore::OpenWrite(const std::string& location) {
  return state_->Run(StoreCall::kOpenWrite, location, [&]() -> Result<std::unique_ptr<ObjectWriter>> {
    FIRN_ASSIGN(auto inner, state_->inner.OpenWrite(location));
    return std::make_unique<Writer>(state_, std::move(inner), location);
  });
}

Status FaultyStore::Put(const std::string& location, std::string_view bytes) {
  return state_->Run(StoreCall::kPut, location, [&] { return state_->inner.Put(location, bytes); });
}

Status FaultyStore::PutIfAbsent(const std::string& location, std::string_view bytes) {
  return state_->Run(StoreCall::kPutIfAbsent, location, [&] { return state_->inner.PutIfAbsent(location, bytes); });
}

Result<std::string> FaultyStore::Read(const std::string& location) {
  return state_->Run(StoreCall::kRead, location, [&] { return state_->inner.Read(location); });
}

Result<ObjectInfo> FaultyStore::Stat(const std::string& location) {
  return state_->Run(StoreCall::kStat, location, [&] { return state_->inner.Stat(location); });
}

Result<std::vector<ObjectInfo>> FaultyStore::List(const std::string& prefix) {
  return state_->Run(StoreCall::kList, prefix, [&] { return state_->inner.List(prefix); });
}

Status FaultyStore::Delete(const std::string& location) {
  return state_->Run(StoreCall::kDelete, location, [&] { return state_->inner.Delete(location); });
}

}  // namespace firn::env
